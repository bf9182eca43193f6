//! The list of nt_identity.rs on a `dir` volume.

#[path = "nt_identity.rs"]
mod list;
