//! docs/accept.md: the last result of each run in each place.
//!
//! Room: xtask. Called by: `accept`. Calls: git, for the commit.

use super::{Place, RUNS};
use std::fmt::Write as _;
use std::process::Command;

const HEAD: &str = "# The larger runs\n\
The last result of each run of `cargo xtask accept NAME`, by volume and cache policy; the commit is the one that was built, `+` where the tree had more.\n\n";
const COLUMNS: &str =
    "| run | volume | cache | result | seconds | date | commit | figures |\n|---|---|---|---|---|---|---|---|\n";

/// Puts a result in the place of the one before it.
pub(super) fn record(name: &str, place: &Place, result: &Result<String, String>, seconds: u64) -> Result<(), String> {
    let page = crate::root().join("docs/accept.md");
    let key = format!("| {name} | {} | {} |", place.volume, if place.cache.is_empty() { "-" } else { &place.cache });
    let (word, text) = match result {
        Ok(figures) => ("passed", figures),
        Err(why) => ("**failed**", why),
    };
    let text: String = text.lines().next().unwrap_or_default().replace('|', "/").chars().take(400).collect();
    let date = said("date", &["-u", "+%F"])?;
    let row = format!("{key} {word} | {seconds} | {date} | {} | {text} |", commit()?);
    let old = std::fs::read_to_string(&page).unwrap_or_default();
    let mut rows: Vec<String> = old
        .lines()
        .filter(|line| RUNS.iter().any(|run| line.starts_with(&format!("| {} |", run.name))) && !line.starts_with(&key))
        .filter(|line| line.matches('|').count() >= 9)
        .map(str::to_owned)
        .collect();
    rows.push(row);
    let order = |row: &String| RUNS.iter().position(|run| row.starts_with(&format!("| {} |", run.name)));
    rows.sort_by_key(|row| (order(row), !row.contains("| ram |"), row.clone()));
    let mut out = HEAD.to_owned();
    for run in RUNS {
        let _infallible = writeln!(out, "- `{}`: {}", run.name, run.shows);
    }
    out.push('\n');
    out.push_str(COLUMNS);
    for row in rows {
        out.push_str(&row);
        out.push('\n');
    }
    crate::write(&page, &out)
}

fn said(program: &str, words: &[&str]) -> Result<String, String> {
    let done = Command::new(program).args(words).current_dir(crate::root()).output();
    let done = done.map_err(|error| format!("{program}: {error}"))?;
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

fn commit() -> Result<String, String> {
    let commit = said("git", &["rev-parse", "--short=10", "HEAD"])?;
    let changed = said("git", &["status", "--porcelain", "--", ".", ":!docs/accept.md"])?;
    Ok(if changed.is_empty() { commit } else { commit + "+" })
}
