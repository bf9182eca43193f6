//! nt_fltmgr
