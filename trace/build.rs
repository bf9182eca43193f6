//! Compiles the rules of `spec/rules` into `RULES` and one constant an id.
//!
//! Room: trace. Calls: `nt_spec`. Runs again only when a rule changes, because every room stands on this crate.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let root = nt_spec::workspace();
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", root.join("spec/rules").display());
    let rules = nt_spec::rules(&root)?;
    let mut table = String::from("/// Every rule, in the order of the ids.\npub static RULES: &[Rule] = &[\n");
    let mut ids = String::new();
    for (at, rule) in rules.iter().enumerate() {
        let status = format!("{:?}", rule.status);
        writeln!(
            table,
            "Rule {{ id: {:?}, page: {:?}, says: {:?}, status: Status::{status}, evidence: {:?}, doors: &{:?}, note: {:?} }},",
            rule.id, rule.page, rule.says, rule.evidence, rule.doors, rule.note
        )?;
        let constant = rule.id.replace('-', "_");
        writeln!(ids, "#[doc = {:?}]\npub const {constant}: RuleId = RuleId({at});", format!("{}.", rule.id))?;
    }
    table.push_str("];\n");
    let out = std::env::var_os("OUT_DIR").ok_or("cargo gives OUT_DIR")?;
    std::fs::write(Path::new(&out).join("rules.rs"), table)?;
    std::fs::write(Path::new(&out).join("ids.rs"), ids)?;
    Ok(())
}
