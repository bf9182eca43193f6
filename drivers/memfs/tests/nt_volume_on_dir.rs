//! The list of nt_volume.rs on a `dir` volume.

#[path = "nt_volume.rs"]
mod list;
