//! `spec/seeds.toml`: every sentence and parameter of the five pages, and the rules that carry it.
//!
//! Room: spec. Called by: `cargo xtask seeds`, `tidy`.

use crate::{SpecError, read};
use serde::Deserialize;
use std::path::Path;

/// One page.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// `NtWriteFile`.
    pub name: String,
    /// Its sentences, in the page's order.
    pub sentence: Vec<Sentence>,
}

/// One sentence, in our words.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sentence {
    /// What it says.
    pub says: String,
    /// The rules that carry it.
    #[serde(default)]
    pub rules: Vec<String>,
    /// What carries it beside rules: a place in the ledger, or why there is nothing to do.
    #[serde(default)]
    pub note: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    page: Vec<Page>,
}

/// Reads the pages.
///
/// # Errors
/// What is wrong with the file; a sentence that nothing carries.
pub fn seeds(root: &Path) -> Result<Vec<Page>, SpecError> {
    let path = root.join("spec/seeds.toml");
    let file: File = toml::from_str(&read(&path)?).map_err(|error| SpecError::new(&path, error))?;
    for sentence in file.page.iter().flat_map(|page| &page.sentence) {
        if sentence.rules.is_empty() && sentence.note.is_empty() {
            return Err(SpecError::new(&path, format!("\"{}\" has neither rules nor a note", sentence.says)));
        }
    }
    Ok(file.page)
}
