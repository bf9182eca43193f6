//! The list of nt_write_path.rs on a `dir` volume.

#[path = "nt_write_path.rs"]
mod list;
