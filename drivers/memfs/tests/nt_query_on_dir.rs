//! The list of nt_query.rs on a `dir` volume.

#[path = "nt_query.rs"]
mod list;
