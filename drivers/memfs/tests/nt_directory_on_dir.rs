//! The list of nt_directory.rs on a `dir` volume.

#[path = "nt_directory.rs"]
mod list;
