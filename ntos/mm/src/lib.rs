//! nt_mm
