//! What `ntio rules` prints: every rule, how far it is implemented, what is behind it, and the tests that prove it.
//!
//! Room: front/rules. Called by: `front/cli`. Calls: `nt_trace` for the rules; the names of the tests were found in the tree
//! when this crate was built. Not here: where to print.

use nt_trace::{RULES, Rule};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

include!(concat!(env!("OUT_DIR"), "/tests.rs"));

/// One row of `ntio rules --json`.
#[derive(Debug, Serialize)]
pub struct Row {
    /// `NT-W-07`.
    pub id: &'static str,
    /// `implemented`, `partial`, `absent` or `doc`.
    pub status: &'static str,
    /// `windows-test` down to `decision`.
    pub evidence: &'static str,
    /// `native`, `sys`, `fuse`.
    pub doors: &'static [&'static str],
    /// The tests that carry the id: Rust tests, and checks of compiled drivers that one of them runs.
    pub tests: &'static [&'static str],
    /// Partial how, what differs at a door.
    pub note: &'static str,
    /// The page or the section of the ledger.
    pub page: &'static str,
    /// The rule.
    pub says: &'static str,
}

/// Returns the tests of a rule.
#[must_use]
pub fn tests(id: &str) -> &'static [&'static str] {
    TESTS.binary_search_by(|(other, _)| (*other).cmp(id)).map_or(&[], |at| TESTS[at].1)
}

fn row(rule: &'static Rule) -> Row {
    Row {
        id: rule.id,
        status: rule.status.word(),
        evidence: rule.evidence,
        doors: rule.doors,
        tests: tests(rule.id),
        note: rule.note,
        page: rule.page,
        says: rule.says,
    }
}

/// Returns every rule.
#[must_use]
pub fn list() -> Vec<Row> {
    RULES.iter().map(row).collect()
}

/// Returns the list as JSON.
#[must_use]
pub fn json() -> String {
    // A row has text and lists of text only, which always serialise.
    serde_json::to_string_pretty(&list()).unwrap_or_default()
}

/// Returns the list for people: one line a rule, a count at the end.
#[must_use]
pub fn text() -> String {
    let rows = list();
    let widest = rows.iter().map(|row| row.id.len()).max().unwrap_or(0);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut text = String::new();
    // Writing to a string does not fail.
    for row in &rows {
        *counts.entry(row.status).or_default() += 1;
        let (id, status, evidence, tests, says) = (row.id, row.status, row.evidence, row.tests.len(), row.says);
        let note = if row.note.is_empty() { String::new() } else { format!("  ({})", row.note) };
        let _ = writeln!(text, "{id:<widest$}  {status:<11}  {evidence:<16}  {tests:>2} tests  {says}{note}");
    }
    let counts: Vec<String> = counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
    let _ = writeln!(text, "{} rules: {}", rows.len(), counts.join(", "));
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_json_has_the_members_of_the_contract() {
        let rows: Vec<serde_json::Value> = serde_json::from_str(&super::json()).expect("JSON");
        let row = rows.iter().find(|row| row["id"] == "NT-W-01").expect("NT-W-01");
        for list in ["doors", "tests"] {
            assert!(row[list].as_array().is_some_and(|list| !list.is_empty()), "{row}");
        }
        for text in ["status", "evidence", "note"] {
            assert!(row[text].is_string(), "{row}");
        }
        assert_eq!(rows.len(), nt_trace::RULES.len());
    }

    #[test]
    fn what_is_implemented_has_a_test() {
        for row in super::list() {
            assert!(row.status != "implemented" || !row.tests.is_empty(), "{}", row.id);
        }
    }

    #[test]
    fn the_text_ends_with_the_count() {
        let text = super::text();
        assert!(text.lines().last().is_some_and(|line| line.contains(" rules: ")), "{text}");
    }
}
