//! The contract as data: the rules of `spec/rules`, the sentences of `spec/seeds.toml`, and the tests in the tree that prove them.
//!
//! Room: spec. Called by: `xtask`, the build scripts of `nt_trace` and `ntio_rules`. Calls: nothing of the tree. Used at build
//! time only: what the programs print is compiled in.
//! Not here: what is done about a mismatch (`cargo xtask tidy`).

mod rule;
mod seed;
mod test;

pub use rule::{Rule, Status, rules};
pub use seed::{Page, Sentence, seeds};
pub use test::{FOLDERS, Test, claim, sources, tests};

use std::path::{Path, PathBuf};

/// Why the contract could not be read: the file and what is wrong with it.
#[derive(Debug)]
pub struct SpecError(String);

impl SpecError {
    fn new(path: &Path, what: impl std::fmt::Display) -> Self {
        Self(format!("{}: {what}", path.display()))
    }
}

impl std::fmt::Display for SpecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SpecError {}

fn read(path: &Path) -> Result<String, SpecError> {
    std::fs::read_to_string(path).map_err(|error| SpecError::new(path, error))
}

/// The workspace's folder as this crate was built.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").components().fold(PathBuf::new(), |mut path, part| {
        if part == std::path::Component::ParentDir {
            path.pop();
        } else {
            path.push(part);
        }
        path
    })
}
