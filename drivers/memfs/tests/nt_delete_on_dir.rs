//! The list of nt_delete.rs on a `dir` volume.

#[path = "nt_delete.rs"]
mod list;
