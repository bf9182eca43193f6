//! Compiled drivers as files: what a PE image says about itself, checked before anything is mapped.
//!
//! Room: loader/pe. Called by: `nt_ldr`, `ntio imports`. Calls: crate `object`. Touches: the bytes it is given.
//! Allocation is bounded by the file's length; there is no unsafe code. Checksum and signature are not looked at.
//! Source: the PE format specification (learn.microsoft.com, "PE Format").

mod error;
mod parse;

pub use error::{Fault, PeError};
pub use parse::{Export, Function, Import, Pe, Relocation, Section, parse};

#[cfg(test)]
mod tests;
