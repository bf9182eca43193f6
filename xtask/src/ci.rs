//! `cargo xtask ci`: everything the check runs, the tests last.
//!
//! Room: xtask. Calls: cargo, `tidy`, `fixtures`. Every step runs even when an earlier one failed, so that one run tells all.

use std::process::Command;

type Step = (&'static str, fn() -> Result<(), String>);

const STEPS: [Step; 6] = [
    ("fmt", || cargo(&["fmt", "--all", "--check"])),
    ("tidy", || crate::tidy::run(&[])),
    ("fixtures", || crate::fixtures::run(&["--check".to_owned()])),
    ("clippy", || cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])),
    ("models", models),
    ("test", || cargo(&["test", "--workspace", "--no-fail-fast"])),
];

/// The model checks: the rooms are built for the checker, apart from the workspace's build.
fn models() -> Result<(), String> {
    let of = ["-p", "ntio_models", "--features", "shuttle", "--quiet"];
    cargo(&[&["clippy", "--all-targets"][..], &of[..], &["--", "-D", "warnings"]].concat())?;
    cargo(&[&["test"][..], &of[..]].concat())
}

/// Runs the steps.
///
/// # Errors
/// The names of the steps that failed.
pub fn run() -> Result<(), String> {
    let mut failed = Vec::new();
    for (name, step) in STEPS {
        crate::say(&format!("== {name}"));
        if let Err(text) = step() {
            crate::say(&text);
            failed.push(name);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("ci: failed: {}", failed.join(", "))) }
}

/// Runs cargo in the workspace.
pub(crate) fn cargo(args: &[&str]) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(cargo).args(args).current_dir(crate::root()).status();
    match done {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("cargo {}: {status}", args.join(" "))),
        Err(error) => Err(format!("cargo: {error}")),
    }
}
