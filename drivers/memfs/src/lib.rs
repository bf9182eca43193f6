//! nt_memfs
