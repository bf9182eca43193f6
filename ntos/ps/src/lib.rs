//! nt_ps
