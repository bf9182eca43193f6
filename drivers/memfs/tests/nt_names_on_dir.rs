//! The list of nt_names.rs on a `dir` volume.

#[path = "nt_names.rs"]
mod list;
