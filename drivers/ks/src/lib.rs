//! nt_ks
