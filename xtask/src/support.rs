//! `cargo xtask support`: prints the table of exports as docs/support.md.
//!
//! Room: xtask. Calls: `nt_machine::exports`. Source: house rule 12: the loader, `ntio imports` and the docs read one table.

use nt_cell::Support;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const PLACE: &str = "docs/support.md";

/// Writes the page.
///
/// # Errors
/// What could not be written.
pub fn run(root: &Path) -> Result<(), String> {
    super::write(&root.join(PLACE), &render())
}

/// Finds a stale page.
///
/// # Errors
/// None; the signature is that of the other checks.
pub fn check(root: &Path) -> Result<Vec<String>, String> {
    let fresh = fs::read_to_string(root.join(PLACE)).is_ok_and(|text| text == render());
    Ok(if fresh { Vec::new() } else { vec![format!("{PLACE}: stale (cargo xtask mend)")] })
}

fn render() -> String {
    let mut images: BTreeMap<&str, BTreeMap<&str, (&str, &str)>> = BTreeMap::new();
    for row in nt_machine::exports().into_iter().flatten() {
        let cell = match row.support {
            Support::Full => ("full", ""),
            Support::Partial(why) => ("partial", why),
            Support::Absent(why) => ("absent", why),
        };
        images.entry(row.image).or_default().insert(row.name, cell);
    }
    let mut text = String::from(
        "# What a compiled driver can import\n\
         Written by `cargo xtask support` from the tables in each room's `exports.rs`; `cargo xtask tidy` fails when it is stale. A name\n\
         that is not listed is absent. `ntio imports x.sys` prints the rows that a driver needs.\n\n\
         | Image | Full | Partial | Absent |\n|---|---|---|---|\n",
    );
    // Writing to a string does not fail.
    for (image, rows) in &images {
        let count = |word: &str| rows.values().filter(|(support, _)| *support == word).count();
        let _ = writeln!(text, "| {image} | {} | {} | {} |", count("full"), count("partial"), count("absent"));
    }
    for (image, rows) in &images {
        let _ = writeln!(text, "\n## {image}\n| Name | Support | Why |\n|---|---|---|");
        for (name, (support, why)) in rows {
            let _ = writeln!(text, "| {name} | {support} | {} |", why.replace('|', "\\|"));
        }
    }
    text
}
