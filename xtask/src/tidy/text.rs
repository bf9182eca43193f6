//! Sources as text: homes of unsafe code, door plates, lengths, unexplained `#[ignore]`.
//!
//! Room: xtask. Source: style, sections 1, 3 and 10.

use nt_spec::sources;
use std::fs;
use std::path::Path;

/// A file longer than this has a second subject.
const LONGEST: usize = 800;

/// Longer files, each with its reason.
const LONG: [(&str, &str); 0] = [];

/// Files outside the homes that hold unsafe code, with how many lines of it and why.
const OTHER_HOMES: [(&str, usize, &str); 1] = [("bench/src/lib.rs", 2, "the one call of the C model")];

/// Finds what breaks the rules.
pub(super) fn check(root: &Path) -> Result<Vec<String>, String> {
    let mut findings = Vec::new();
    for file in sources(root) {
        let place = file.display().to_string();
        let text = fs::read_to_string(root.join(&file)).map_err(|error| format!("{place}: {error}"))?;
        findings.extend(look(&place, &text));
    }
    for (place, ..) in LONG {
        if !root.join(place).is_file() {
            findings.push(format!("{place}: exempt from the longest length, and not there"));
        }
    }
    Ok(findings)
}

fn look(place: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if !text.lines().find(|line| !line.is_empty()).is_some_and(|line| line.starts_with("//! ")) {
        findings.push(format!("{place}: opens without a door plate (`//! what it is`)"));
    }
    let length = text.lines().count();
    if length > LONGEST && !LONG.iter().any(|(long, _)| *long == place) {
        findings.push(format!(
            "{place}: {length} lines; look for the second subject, or say why in xtask/src/tidy/text.rs"
        ));
    }
    let unsafe_lines: Vec<usize> =
        text.lines().enumerate().filter(|(_, line)| has_unsafe(line)).map(|(at, _)| at + 1).collect();
    let home = place.starts_with("ntos/cell/") || place.starts_with("loader/ldr/") || place.ends_with("/exports.rs");
    let allowed = OTHER_HOMES.iter().find(|(other, ..)| *other == place).map_or(0, |(_, count, _)| *count);
    if !home && unsafe_lines.len() > allowed {
        findings.push(format!(
            "{place}:{}: unsafe outside its homes (ntos/cell, loader/ldr, exports.rs)",
            unsafe_lines.first().copied().unwrap_or(1)
        ));
    }
    for (at, line) in text.lines().enumerate() {
        if line.trim() == concat!("#[", "ignore]") {
            findings.push(format!("{place}:{}: ignored without a reason", at + 1));
        }
    }
    findings
}

/// Whether a line has the keyword outside comments and (nearly always) strings.
fn has_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let code: String = code.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == concat!("un", "safe"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_habit_is_looked_at() {
        let good = "//! A plate.\n\n// unsafe in a comment, \"and\" `unsafe_code`\nfn f() { g(\"unsafe\"); }\n";
        assert_eq!(look("ntos/io/src/a.rs", good), [""; 0]);
        let bad = "fn f() {\n    unsafe { g() }\n}\n";
        assert_eq!(look("ntos/io/src/a.rs", bad).len(), 2);
        assert_eq!(look("ntos/io/src/exports.rs", bad).len(), 1);
        let long = format!("//! A plate.\n{}", "\n".repeat(LONGEST));
        assert_eq!(look("ntos/io/src/a.rs", &long).len(), 1);
        assert_eq!(look("x/tests/a.rs", "//! P.\n#[ignore]\nfn f() {}\n").len(), 1);
    }
}
