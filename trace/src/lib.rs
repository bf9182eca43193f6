//! nt_trace
