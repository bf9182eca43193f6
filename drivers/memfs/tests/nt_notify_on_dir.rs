//! The list of nt_notify.rs on a `dir` volume.

#[path = "nt_notify.rs"]
mod list;
