//! The list of nt_links.rs on a `dir` volume.

#[path = "nt_links.rs"]
mod list;
