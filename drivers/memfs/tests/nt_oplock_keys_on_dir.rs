//! The list of nt_oplock_keys.rs on a `dir` volume.

#[path = "nt_oplock_keys.rs"]
mod list;
