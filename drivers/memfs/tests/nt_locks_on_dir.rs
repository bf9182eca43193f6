//! The list of nt_locks.rs on a `dir` volume.

#[path = "nt_locks.rs"]
mod list;
