//! The list of nt_ea.rs on a `dir` volume.

#[path = "nt_ea.rs"]
mod list;
