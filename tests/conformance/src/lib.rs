//! nt_conformance
