//! `ntio rules`: every rule of the ledgers, how far it is implemented, and the tests that show it.
//!
//! Room: front/cli. Calls: nothing; the table is made from `spec/rules` and the tests of the tree when ntio is built.

use crate::args::RulesArgs;
use crate::verdict::{Failure, out};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const TABLE: &str = include_str!(concat!(env!("OUT_DIR"), "/rules.json"));

#[derive(Debug, Serialize, Deserialize)]
struct Rule {
    id: String,
    status: String,
    evidence: String,
    doors: Vec<String>,
    tests: Vec<String>,
    note: String,
    says: String,
    page: String,
}

pub(crate) fn print(args: &RulesArgs) -> Result<u8, Failure> {
    let rules: Vec<Rule> = serde_json::from_str(TABLE).map_err(|error| Failure::broken(error.to_string()))?;
    if args.json {
        let json = serde_json::to_string(&rules).map_err(|error| Failure::broken(error.to_string()))?;
        return out(&(json + "\n"));
    }
    let widest = rules.iter().map(|rule| rule.id.len()).max().unwrap_or(0);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut text = String::new();
    for rule in &rules {
        *counts.entry(&rule.status).or_default() += 1;
        let note = if rule.note.is_empty() { String::new() } else { format!("  ({})", rule.note) };
        let _ = writeln!(
            text,
            "{:<widest$}  {:<11}  {:<16}  {:>2} tests  {}{note}",
            rule.id,
            rule.status,
            rule.evidence,
            rule.tests.len(),
            rule.says
        );
    }
    let counts: Vec<String> = counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
    let _ = writeln!(text, "{} rules: {}", rules.len(), counts.join(", "));
    out(&text)
}
