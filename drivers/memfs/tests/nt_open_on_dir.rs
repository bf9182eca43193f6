//! The list of nt_open.rs on a `dir` volume.

#[path = "nt_open.rs"]
mod list;
