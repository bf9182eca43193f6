//! The list of nt_query_fast.rs on a `dir` volume.

#[path = "nt_query_fast.rs"]
mod list;
