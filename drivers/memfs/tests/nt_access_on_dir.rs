//! The list of nt_access.rs on a `dir` volume.

#[path = "nt_access.rs"]
mod list;
