//! `ntio rules`: every rule of the ledgers, how far it is implemented, and the tests that show it.
//!
//! Room: front/cli. Calls: `ntio_rules`, which found the tests in the tree when it was built.

use crate::args::RulesArgs;
use crate::verdict::{Failure, out};
use std::collections::BTreeMap;
use std::fmt::Write as _;

pub(crate) fn print(args: &RulesArgs) -> Result<u8, Failure> {
    let mut rules = ntio_rules::list();
    for rule in &mut rules {
        // The tests are the evidence, whatever the ledger was last told: one that is named after a rule implements it.
        rule.status = match (rule.status, rule.tests.is_empty()) {
            ("absent", false) => "implemented",
            ("implemented", true) => "absent",
            (told, _) => told,
        };
    }
    if args.json {
        let json = serde_json::to_string_pretty(&rules).map_err(|error| Failure::broken(error.to_string()))?;
        return out(&(json + "\n"));
    }
    let widest = rules.iter().map(|rule| rule.id.len()).max().unwrap_or(0);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut text = String::new();
    for rule in &rules {
        *counts.entry(rule.status).or_default() += 1;
        let note = if rule.note.is_empty() { String::new() } else { format!("  ({})", rule.note) };
        let (id, status, evidence, tests) = (rule.id, rule.status, rule.evidence, rule.tests.len());
        // Writing to a string does not fail.
        let _ = writeln!(text, "{id:<widest$}  {status:<11}  {evidence:<16}  {tests:>2} tests  {}{note}", rule.says);
    }
    let counts: Vec<String> = counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
    let _ = writeln!(text, "{} rules: {}", rules.len(), counts.join(", "));
    out(&text)
}
