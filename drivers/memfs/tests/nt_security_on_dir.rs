//! The list of nt_security.rs on a `dir` volume.

#[path = "nt_security.rs"]
mod list;
