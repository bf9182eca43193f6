//! Finds the tests of the tree and compiles their names in, by rule.
//!
//! Room: front/rules. Calls: `nt_spec`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let root = nt_spec::workspace();
    println!("cargo::rerun-if-changed=build.rs");
    // One that is not there would mean a new build each time.
    for folder in nt_spec::FOLDERS.iter().filter(|folder| root.join(folder).exists()) {
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
    }
    let mut by_rule: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for test in nt_spec::tests(&root) {
        if let Some(id) = nt_spec::claim(&test.name) {
            let names = by_rule.entry(id).or_default();
            if !names.contains(&test.name) {
                names.push(test.name.clone());
            }
        }
    }
    let mut table = String::from("static TESTS: &[(&str, &[&str])] = &[\n");
    for (id, names) in by_rule {
        writeln!(table, "({id:?}, &{names:?}),")?;
    }
    table.push_str("];\n");
    let out = std::env::var_os("OUT_DIR").ok_or("cargo gives OUT_DIR")?;
    std::fs::write(Path::new(&out).join("tests.rs"), table)?;
    Ok(())
}
