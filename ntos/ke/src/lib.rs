//! nt_ke
