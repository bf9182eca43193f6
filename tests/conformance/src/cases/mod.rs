//! The cases.
//!
//! Room: tests/conformance. Each is a function whose name is a claim; one that starts with a rule's id counts as that rule's test
//! (`nt_spec` reads the names here). A case that is not in its file's list does not compile: nothing would use it.

mod access;
mod buffers;
mod completion;
mod information;
mod noncached;
mod offset;
mod open;
mod read;
mod validation;
mod volume;
mod write;

use crate::run::{Outcome, Run};

/// One case.
#[derive(Clone, Copy)]
pub struct Case {
    /// The claim.
    pub name: &'static str,
    /// The steps.
    pub run: fn(&Run<'_>) -> Outcome,
}

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(super) const CASES: &[super::Case] = &[$(super::Case { name: stringify!($name), run: $name }),*];
    };
}
pub(crate) use cases;

/// All of them.
pub fn all() -> impl Iterator<Item = Case> {
    let lists = [
        access::CASES,
        buffers::CASES,
        completion::CASES,
        information::CASES,
        noncached::CASES,
        offset::CASES,
        open::CASES,
        read::CASES,
        validation::CASES,
        volume::CASES,
        write::CASES,
    ];
    lists.into_iter().flatten().copied()
}
