//! The list of nt_protection.rs on a `dir` volume.

#[path = "nt_protection.rs"]
mod list;
