//! nt_rtl
