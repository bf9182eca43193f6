//! `cargo xtask tidy [--fix-status]`: what the compiler does not check about the tree.
//!
//! Room: xtask. Calls: `nt_spec`, `cargo metadata`. Each finding is one line that names the file or rule and what to do.

mod arrows;
mod rules;
mod text;

use crate::{root, say, seeds, support};

/// Runs every check; the arguments are those after `tidy`.
///
/// # Errors
/// How many findings there are, or why the tree could not be read.
pub fn run(args: &[String]) -> Result<(), String> {
    let root = root();
    match args {
        [] => {}
        [only] if only == "--fix-status" => return rules::fix(&root),
        _ => return Err("usage: cargo xtask tidy [--fix-status]".to_owned()),
    }
    let mut findings = rules::check(&root)?;
    findings.extend(text::check(&root)?);
    findings.extend(arrows::check(&root)?);
    findings.extend(seeds::check(&root)?);
    findings.extend(support::check(&root)?);
    for finding in &findings {
        say(finding);
    }
    match findings.len() {
        0 => {
            say("tidy: nothing found");
            Ok(())
        }
        count => Err(format!("tidy: {count} finding(s)")),
    }
}
