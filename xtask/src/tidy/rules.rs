//! Ids: rule, test and status agree, and whatever cites an id cites one that exists.
//!
//! Room: xtask. Calls: `nt_spec`. Source: style, section 5.

use nt_spec::{Rule, Status, claim, rules, sources, tests};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Finds what disagrees.
pub(super) fn check(root: &Path) -> Result<Vec<String>, String> {
    let rules = rules(root).map_err(|error| error.to_string())?;
    let known: BTreeSet<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
    let mut findings = Vec::new();
    let mut proved = BTreeSet::new();
    for test in tests(root) {
        if let Some(id) = claim(&test.name) {
            match rules.iter().find(|rule| rule.id == id) {
                None => findings.push(format!("{}:{}: {}: there is no rule {id}", test.file, test.line, test.name)),
                Some(rule) => {
                    let place = format!("{}:{}: {}", test.file, test.line, test.name);
                    for door in test.doors.iter().filter(|door| !rule.doors.contains(door)) {
                        findings.push(format!("{place} goes through {door}, which {id} does not name among its doors"));
                    }
                }
            }
            proved.insert(id);
        }
    }
    for rule in &rules {
        if let Some(now) = wanted(rule, &proved) {
            let why = if now == Status::Implemented { "has a test" } else { "has no test that runs" };
            let hint = "cargo xtask mend";
            findings.push(format!("{}: says {} and {why} ({hint})", rule.id, rule.status.word()));
        }
    }
    for file in sources(root) {
        let place = file.display().to_string();
        // These speak of ids that do not exist, in their own tests.
        if ["spec/", "trace/", "xtask/"].iter().any(|home| place.starts_with(home)) {
            continue;
        }
        let text = fs::read_to_string(root.join(&file)).map_err(|error| format!("{place}: {error}"))?;
        for (at, line) in text.lines().enumerate() {
            for id in cited(line).filter(|id| !known.contains(id.as_str())) {
                findings.push(format!("{place}:{}: cites {id}, which is no rule", at + 1));
            }
        }
    }
    Ok(findings)
}

/// Sets each status that the tests contradict.
pub(super) fn fix(root: &Path) -> Result<(), String> {
    let rules = rules(root).map_err(|error| error.to_string())?;
    let proved: BTreeSet<String> = tests(root).iter().filter_map(|test| claim(&test.name)).collect();
    let moved: BTreeMap<&str, Status> =
        rules.iter().filter_map(|rule| Some((rule.id.as_str(), wanted(rule, &proved)?))).collect();
    let folder = root.join("spec/rules");
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let before = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut now = None;
        let mut after = String::with_capacity(before.len());
        for line in before.lines() {
            if let Some(id) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                now = moved.get(id).copied();
            }
            match now {
                Some(status) if line.starts_with("status = ") => {
                    after.push_str(&format!("status = \"{}\"", status.word()));
                }
                _ => after.push_str(line),
            }
            after.push('\n');
        }
        if after != before {
            fs::write(&path, after).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    crate::say(&format!("tidy: {} status(es) moved", moved.len()));
    Ok(())
}

/// The status that the tests ask for, when it differs. `partial` and `doc` are a person's.
fn wanted(rule: &Rule, proved: &BTreeSet<String>) -> Option<Status> {
    match (rule.status, proved.contains(&rule.id)) {
        (Status::Absent, true) => Some(Status::Implemented),
        (Status::Implemented, false) => Some(Status::Absent),
        _ => None,
    }
}

/// The ids that a line cites, as `NT-W-07` or `NT_W_07`.
fn cited(line: &str) -> impl Iterator<Item = String> + '_ {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
        .filter(|word| word.len() < 12 && !word.bytes().any(|b| b.is_ascii_lowercase()))
        .filter_map(|word| claim(&word.to_ascii_lowercase().replace('-', "_")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_citation_is_found_in_either_spelling() {
        let found: Vec<String> = cited("// NT-W-07 and rule!(FLT_W_12), not nt_w_08_x nor NT-W.").collect();
        assert_eq!(found, ["NT-W-07", "FLT-W-12"]);
    }
}
