//! `spec/rules/*.toml`.
//!
//! Room: spec. Called by: everything that wants a rule.

use crate::{SpecError, read};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// How far a rule is implemented.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// A test proves it.
    Implemented,
    /// The note says which part.
    Partial,
    /// Nothing proves it.
    Absent,
    /// There is nothing to test; the note says why.
    Doc,
}

impl Status {
    /// Returns the word of the files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Implemented => "implemented",
            Self::Partial => "partial",
            Self::Absent => "absent",
            Self::Doc => "doc",
        }
    }
}

/// One rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// `NT-W-07`.
    #[serde(skip)]
    pub id: String,
    /// The page or the section of the ledger.
    pub page: String,
    /// The whole rule.
    pub says: String,
    /// H, M, L or D.
    pub confidence: String,
    /// Where it was seen.
    pub sources: Vec<String>,
    /// The strongest thing behind it.
    pub evidence: String,
    /// How far it is implemented.
    pub status: Status,
    /// The doors that can express it.
    pub doors: Vec<String>,
    /// Partial how, what differs.
    #[serde(default)]
    pub note: String,
    /// The ledger's file.
    pub ledger: String,
    /// The line there.
    pub line: u32,
}

/// Reads all rules, in the order of their ids.
///
/// # Errors
/// The file that cannot be read, and why; an id that stands in two files.
pub fn rules(root: &Path) -> Result<Vec<Rule>, SpecError> {
    let folder = root.join("spec/rules");
    let entries = std::fs::read_dir(&folder).map_err(|error| SpecError::new(&folder, error))?;
    let mut all = BTreeMap::new();
    for path in
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|p| p.extension().is_some_and(|e| e == "toml"))
    {
        let table: BTreeMap<String, Rule> =
            toml::from_str(&read(&path)?).map_err(|error| SpecError::new(&path, error))?;
        for (id, rule) in table {
            let rule = Rule { id: id.clone(), ..rule };
            if matches!(rule.status, Status::Partial | Status::Doc) && rule.note.is_empty() {
                return Err(SpecError::new(&path, format!("{id} is {} without a note", rule.status.word())));
            }
            if all.insert(id.clone(), rule).is_some() {
                return Err(SpecError::new(&path, format!("{id} stands twice")));
            }
        }
    }
    Ok(all.into_values().collect())
}
