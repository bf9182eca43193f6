//! The list of nt_services.rs on a `dir` volume.

#[path = "nt_services.rs"]
mod list;
