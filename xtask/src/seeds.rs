//! `cargo xtask seeds`: prints `spec/seeds.toml` with its rules and tests as docs/seeds.md.
//!
//! Room: xtask. Calls: `nt_spec`. Source: style, section 5.

use nt_spec::{Rule, Sentence, Status, claim, rules, seeds, tests};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const PLACE: &str = "docs/seeds.md";

/// A sentence that no test proves is a finding.
const STRICT: bool = true;

/// Writes the page.
///
/// # Errors
/// What could not be read or written.
pub fn run(root: &Path) -> Result<(), String> {
    let page = render(root)?;
    super::write(&root.join(PLACE), &page.text)?;
    super::say(&format!("{PLACE}: {} sentences, {} open, {} partly open", page.sentences, page.open, page.partly));
    Ok(())
}

/// Finds a stale page, ids that are no rules and, when strict, open sentences.
///
/// # Errors
/// What could not be read.
pub fn check(root: &Path) -> Result<Vec<String>, String> {
    let page = render(root)?;
    let mut findings = page.findings;
    if fs::read_to_string(root.join(PLACE)).ok().as_ref() != Some(&page.text) {
        findings.push(format!("{PLACE}: stale (cargo xtask mend)"));
    }
    let open = format!("{PLACE}: {} of {} sentences are open, {} partly", page.open, page.sentences, page.partly);
    if STRICT && page.open + page.partly > 0 {
        findings.push(open);
    } else {
        super::say(&open);
    }
    Ok(findings)
}

struct Page {
    text: String,
    findings: Vec<String>,
    sentences: usize,
    open: usize,
    partly: usize,
}

fn render(root: &Path) -> Result<Page, String> {
    let say = |error: nt_spec::SpecError| error.to_string();
    let rules: BTreeMap<String, Rule> = rules(root).map_err(say)?.into_iter().map(|r| (r.id.clone(), r)).collect();
    let mut proofs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for test in tests(root) {
        if let Some(id) = claim(&test.name) {
            proofs.entry(id).or_default().insert(test.name.clone());
        }
    }
    let mut page = Page { text: String::new(), findings: Vec::new(), sentences: 0, open: 0, partly: 0 };
    let mut body = String::new();
    let mut summary = String::new();
    for seed in seeds(root).map_err(say)? {
        let mut rows = String::new();
        let mut count = [0_usize; 4];
        for sentence in &seed.sentence {
            let state = state(sentence, &rules, &proofs);
            count[state as usize] += 1;
            for id in sentence.rules.iter().filter(|id| !rules.contains_key(*id)) {
                page.findings.push(format!("spec/seeds.toml: {}: \"{}\": no rule {id}", seed.name, sentence.says));
            }
            line(&mut rows, sentence, state, &rules, &proofs);
        }
        let [tested, partly, open, text] = count;
        let _ =
            writeln!(summary, "| {} | {} | {tested} | {partly} | {open} | {text} |", seed.name, seed.sentence.len());
        let _ = writeln!(
            body,
            "\n## {}\n| Sentence | State | Rules and notes | Doors | Tests |\n|---|---|---|---|---|",
            seed.name
        );
        body.push_str(&rows);
        page.sentences += seed.sentence.len();
        page.open += open;
        page.partly += partly;
    }
    page.text = format!(
        "# The five pages, sentence by sentence\n\
         Written by `cargo xtask seeds` from `spec/seeds.toml`, `spec/rules` and the tests in the tree; `cargo xtask tidy` fails when it\n\
         is stale. A sentence is **tested** when each of its rules has a test named after it, **partly** when some have, **open** when none has; *text*\n\
         asks for nothing that a program could show. A rule in bold has a test.\n\n\
         | Page | Sentences | Tested | Partly | Open | Text |\n|---|---|---|---|---|---|\n{summary}{body}"
    );
    Ok(page)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Tested,
    Partly,
    Open,
    Text,
}

fn state(sentence: &Sentence, rules: &BTreeMap<String, Rule>, proofs: &BTreeMap<String, BTreeSet<String>>) -> State {
    let testable = |id: &&String| rules.get(*id).is_none_or(|rule| rule.status != Status::Doc);
    let ids: Vec<&String> = sentence.rules.iter().filter(testable).collect();
    match ids.iter().filter(|id| proofs.contains_key(**id)).count() {
        _ if ids.is_empty() => State::Text,
        0 => State::Open,
        some if some < ids.len() => State::Partly,
        _ => State::Tested,
    }
}

fn line(
    out: &mut String,
    sentence: &Sentence,
    state: State,
    rules: &BTreeMap<String, Rule>,
    proofs: &BTreeMap<String, BTreeSet<String>>,
) {
    let mut cited: Vec<String> = sentence
        .rules
        .iter()
        .map(|id| if proofs.contains_key(id) { format!("**{id}**") } else { id.clone() })
        .collect();
    if !sentence.note.is_empty() {
        cited.push(sentence.note.clone());
    }
    let doors: BTreeSet<&str> =
        sentence.rules.iter().filter_map(|id| rules.get(id)).flat_map(|r| &r.doors).map(String::as_str).collect();
    let doors: Vec<&str> = ["native", "sys", "fuse"].into_iter().filter(|door| doors.contains(door)).collect();
    let names: BTreeSet<&str> =
        sentence.rules.iter().filter_map(|id| proofs.get(id)).flatten().map(String::as_str).collect();
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    let word = match state {
        State::Tested => "tested",
        State::Partly => "partly",
        State::Open => "open",
        State::Text => "text",
    };
    let (says, cited) = (sentence.says.replace('|', "\\|"), cited.join(", "));
    // Writing to a string does not fail.
    let _ = writeln!(out, "| {says} | {word} | {cited} | {} | {} |", doors.join(" "), names.join(" "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_tested_when_each_of_its_rules_is() {
        let proofs = BTreeMap::from([("NT-W-01".to_owned(), BTreeSet::from(["nt_w_01_x".to_owned()]))]);
        let sentence = |ids: &[&str]| Sentence {
            says: "x".to_owned(),
            rules: ids.iter().map(|id| (*id).to_owned()).collect(),
            note: "n".to_owned(),
        };
        let state = |ids: &[&str]| super::state(&sentence(ids), &BTreeMap::new(), &proofs);
        assert_eq!(state(&["NT-W-01"]), State::Tested);
        assert_eq!(state(&["NT-W-01", "NT-W-02"]), State::Partly);
        assert_eq!(state(&["NT-W-02"]), State::Open);
        assert_eq!(state(&[]), State::Text);
    }
}
