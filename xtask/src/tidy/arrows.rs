//! Arrows between crates point down.
//!
//! Room: xtask. Calls: `cargo metadata`. Source: style, section 9. Dependencies of tests are free.

use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Crates by storey, the lowest first. A crate may use those of lower storeys.
const STOREYS: [&[&str]; 13] = [
    &["nt_spec", "nt_pe", "nt_abi"],
    &["nt_trace", "nt_cell"],
    &["nt_ke"],
    &["nt_ex"],
    &["nt_ob", "nt_mm", "nt_ps", "nt_rtl"],
    &["nt_se"],
    &["nt_io"],
    &["nt_fsrtl", "nt_cc"],
    &["nt_section"],
    &["nt_fltmgr", "nt_ks", "nt_memfs", "nt_ldr"],
    &["nt_machine", "ntio_rules"],
    &["ntio_fuse", "ntio", "nt_bench", "ntio_fsx", "ntio_crash", "ntio_models"],
    &["ntio_cli", "ntio_conformance", "xtask"],
];

/// Arrows inside a storey, with the reason.
const BESIDE: [(&str, &str, &str); 1] = [("nt_ps", "nt_ob", "processes and threads are objects")];

/// Arrows down that are refused all the same: (from, to, why).
const REFUSED: [(&str, &str, &str); 4] = [
    ("ntio", "nt_ldr", "a driver author's crate does not load images"),
    ("ntio", "nt_pe", "a driver author's crate does not load images"),
    ("nt_trace", "nt_cell", "trace needs only abi"),
    ("nt_cell", "nt_trace", "cell needs only abi"),
];

/// Finds arrows that point up or sideways.
pub(super) fn check(root: &Path) -> Result<Vec<String>, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    let mut findings = Vec::new();
    for package in list(&metadata["packages"]) {
        let from = text(&package["name"]);
        for dependency in list(&package["dependencies"]) {
            let (to, kind) = (text(&dependency["name"]), text(&dependency["kind"]));
            if dependency["path"].is_string() && kind != "dev" {
                findings.extend(refusal(from, to, kind == "build"));
            }
        }
        if storey(from).is_none() {
            findings.push(format!("{from}: has no storey; give it one in xtask/src/tidy/arrows.rs"));
        }
    }
    Ok(findings)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn storey(name: &str) -> Option<usize> {
    STOREYS.iter().position(|storey| storey.contains(&name))
}

fn refusal(from: &str, to: &str, build: bool) -> Option<String> {
    if to == "nt_spec" && !build && from != "xtask" {
        return Some(format!("{from} -> nt_spec: the contract's files are read at build time only"));
    }
    if let Some((.., why)) = REFUSED.iter().find(|(f, t, _)| (*f, *t) == (from, to)) {
        return Some(format!("{from} -> {to}: {why}"));
    }
    let down = storey(to) < storey(from) || BESIDE.iter().any(|(f, t, _)| (*f, *t) == (from, to));
    (!down).then(|| format!("{from} -> {to}: the arrow does not point down"))
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn arrows_point_down() {
        for (from, to) in [("nt_io", "nt_ob"), ("nt_ps", "nt_ob"), ("nt_machine", "nt_ldr"), ("ntio_cli", "ntio_fuse")]
        {
            assert_eq!(refusal(from, to, false), None);
        }
        for (from, to) in
            [("nt_ob", "nt_io"), ("nt_ob", "nt_ps"), ("nt_ks", "nt_fltmgr"), ("nt_memfs", "nt_ldr"), ("ntio", "nt_ldr")]
        {
            assert!(refusal(from, to, false).is_some(), "{from} -> {to}");
        }
        assert!(refusal("nt_io", "nt_spec", false).is_some() && refusal("nt_trace", "nt_spec", true).is_none());
    }
}
