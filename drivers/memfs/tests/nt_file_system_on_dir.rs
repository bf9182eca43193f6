//! The list of nt_file_system.rs on a `dir` volume.

#[path = "nt_file_system.rs"]
mod list;
