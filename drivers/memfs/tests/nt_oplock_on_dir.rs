//! The list of nt_oplock.rs on a `dir` volume.

#[path = "nt_oplock.rs"]
mod list;
