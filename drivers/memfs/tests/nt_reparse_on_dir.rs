//! The list of nt_reparse.rs on a `dir` volume.

#[path = "nt_reparse.rs"]
mod list;
