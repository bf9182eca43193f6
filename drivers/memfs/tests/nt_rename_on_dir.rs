//! The list of nt_rename.rs on a `dir` volume.

#[path = "nt_rename.rs"]
mod list;
