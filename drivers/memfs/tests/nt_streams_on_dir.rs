//! The list of nt_streams.rs on a `dir` volume.

#[path = "nt_streams.rs"]
mod list;
