//! Kernel Streaming structures, constants and GUIDs: ks.h, ksmedia.h.
