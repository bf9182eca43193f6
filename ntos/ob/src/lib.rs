//! nt_ob
