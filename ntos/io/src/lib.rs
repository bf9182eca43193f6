//! nt_io
