//! The list of nt_changes.rs on a `dir` volume.

#[path = "nt_changes.rs"]
mod list;
