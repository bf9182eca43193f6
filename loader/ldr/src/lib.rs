//! nt_ldr
