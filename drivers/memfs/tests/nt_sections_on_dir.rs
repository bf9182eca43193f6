//! The list of nt_sections.rs on a `dir` volume.

#[path = "nt_sections.rs"]
mod list;
