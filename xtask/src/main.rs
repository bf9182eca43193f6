//! Tasks of the project: `cargo xtask TASK`.
//!
//! Room: xtask. Source: design of the tree, section 9. Prints through [`say`] only.

mod accept;
mod ci;
mod fixtures;
mod seeds;
mod support;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask ci | accept [NAME] | tidy [--fix-status] | mend | seeds | support | fixtures [--check] [--if-tools]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.split_first() {
        Some((task, [])) if task == "ci" => ci::run(),
        Some((task, [])) if task == "mend" => mend(),
        Some((task, [])) if task == "seeds" => seeds::run(&root()),
        Some((task, [])) if task == "support" => support::run(&root()),
        Some((task, rest)) if task == "accept" => accept::run(rest),
        Some((task, rest)) if task == "tidy" => tidy::run(rest),
        Some((task, rest)) if task == "fixtures" => fixtures::run(rest),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            say(&text);
            ExitCode::FAILURE
        }
    }
}

/// Brings up to date what follows from the sources: statuses, docs/seeds.md, docs/support.md.
fn mend() -> Result<(), String> {
    tidy::run(&["--fix-status".to_owned()])?;
    seeds::run(&root())?;
    support::run(&root())
}

/// Prints a line for people.
#[expect(clippy::print_stderr, reason = "a task talks to the person that started it")]
fn say(line: &str) {
    eprintln!("{line}");
}

/// The workspace's folder.
fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Writes a generated page.
fn write(path: &Path, text: &str) -> Result<(), String> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|error| format!("{}: {error}", path.display()))
}
