//! Makes the table behind `ntio rules`: the rules of `spec/rules` with the tests of the tree that carry their ids.
//!
//! A rule that the ledger calls absent and that has a test named after it is implemented: the tests are the evidence. One
//! that is called implemented and has none is absent. `partial` and `doc` are set by hand and stay.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../..");
    let mut tests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for folder in ["abi", "ntos", "drivers", "loader", "trace", "machine", "sdk", "front", "tests"] {
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
        scan(&root.join(folder), &root, &mut tests)?;
    }
    println!("cargo::rerun-if-changed={}", root.join("spec/rules").display());
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(root.join("spec/rules"))?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.sort();
    let mut rules = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|ending| ending == "toml")) {
        let table: toml::Table = std::fs::read_to_string(file)?.parse()?;
        for (id, rule) in &table {
            let text = |key: &str| rule.get(key).and_then(toml::Value::as_str).unwrap_or_default();
            let found = tests.remove(&id.to_lowercase().replace('-', "_")).unwrap_or_default();
            let status = match (text("status"), found.is_empty()) {
                ("absent", false) => "implemented",
                ("implemented", true) => "absent",
                (said, _) => said,
            };
            let doors: Vec<&str> = rule
                .get("doors")
                .and_then(toml::Value::as_array)
                .map(|doors| doors.iter().filter_map(toml::Value::as_str).collect())
                .unwrap_or_default();
            rules.push(serde_json::json!({
                "id": id, "status": status, "evidence": text("evidence"), "doors": doors, "tests": found,
                "note": text("note"), "says": text("says"), "page": text("page"),
            }));
        }
    }
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("rules.json");
    std::fs::write(out, serde_json::to_vec(&rules)?)?;
    Ok(())
}

/// Collects names that start with a rule's id: functions of Rust tests, and the checks that fixture drivers print.
fn scan(at: &Path, root: &Path, tests: &mut BTreeMap<String, Vec<String>>) -> std::io::Result<()> {
    let Ok(entries) = std::fs::read_dir(at) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            scan(&path, root, tests)?;
            continue;
        }
        let mark = match path.extension().and_then(|ending| ending.to_str()) {
            Some("rs") => "fn ",
            Some("c" | "h") => "\"",
            _ => continue,
        };
        let text = std::fs::read_to_string(&path)?;
        for (at, _) in text.match_indices(mark) {
            let name: String =
                text[at + mark.len()..].chars().take_while(|&c| c.is_ascii_alphanumeric() || c == '_').collect();
            let Some(id) = id_of(&name) else { continue };
            let place = path.strip_prefix(root).unwrap_or(&path).display();
            let test = format!("{place}: {name}");
            let list = tests.entry(id).or_default();
            if !list.contains(&test) {
                list.push(test);
            }
        }
    }
    Ok(())
}

/// `nt_w_07_append_only` carries `nt_w_07`, `nt_cc_66_x` carries `nt_cc_66`.
fn id_of(name: &str) -> Option<String> {
    let mut words = name.splitn(4, '_');
    let (book, chapter, number, claim) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let known = matches!(book, "nt" | "flt" | "ks") && !chapter.is_empty();
    let numbered = number.len() >= 2 && number.bytes().all(|byte| byte.is_ascii_digit());
    (known && numbered && !claim.is_empty()).then(|| format!("{book}_{chapter}_{number}"))
}
