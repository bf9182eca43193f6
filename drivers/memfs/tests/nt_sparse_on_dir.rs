//! The list of nt_sparse.rs on a `dir` volume.

#[path = "nt_sparse.rs"]
mod list;
