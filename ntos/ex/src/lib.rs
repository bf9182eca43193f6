//! nt_ex
