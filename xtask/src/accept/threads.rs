//! threads: many threads on one file inside one process, without a mount; machine/tests/threads says what they do.
//!
//! Room: xtask. Called by: `accept`. Calls: cargo (a release build of that test). NTIO_SEED gives another seed than the date's.

use super::{Mount, Run};

pub(super) const RUN: Run = Run {
    name: "threads",
    shows: "five minutes of 64 threads on one file, synchronous, overlapped, cancelled, locked and closed under way, under four ways to complete; every byte in its place, each request ended once, nothing left at shutdown",
    needs: &[("cargo", "cargo")],
    options: &[],
    act,
};

fn act(_mount: &Mount) -> Result<String, String> {
    let seed = super::seed()?;
    let root = crate::root();
    // `shell` takes cargo's variables away; the target folder stays where the caller has it.
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| root.join("target").display().to_string());
    let script = format!(
        "CARGO_TARGET_DIR='{target}' NTIO_SEED={seed} cargo test --release -q --offline -p nt_machine --test threads -- --ignored --nocapture the_whole_form 2>&1"
    );
    let said = super::shell(&root, &script, 1500)?;
    let figures = said.lines().find_map(|line| line.split_once("FIGURES ")).map(|(_, figures)| figures.to_owned());
    figures.ok_or_else(|| format!("it told no figures:\n{said}"))
}
