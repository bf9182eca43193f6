//! The list of nt_write_file.rs on a `dir` volume.

#[path = "nt_write_file.rs"]
mod list;
