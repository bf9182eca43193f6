//! Strings, object attributes, handles: ntdef.h.
