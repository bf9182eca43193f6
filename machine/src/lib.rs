//! nt_machine
