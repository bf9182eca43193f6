//! The list of nt_short_names.rs on a `dir` volume.

#[path = "nt_short_names.rs"]
mod list;
