//! nt_pe
