//! The tests in the tree: Rust tests, and the checks of compiled drivers that a Rust test runs.
//!
//! Room: spec. Called by: `tidy`, the build of `ntio_rules`. A name that starts with a rule's id (`nt_w_07_...`) is a claim
//! about that one rule. A driver's check counts only when a Rust test names its image
//! (`t_zw.sys`): a check that nobody runs proves nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One test.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Test {
    /// The function's or check's name.
    pub name: String,
    /// The file, from the workspace's folder.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The doors that it was seen to go through (`native`, `sys`, `fuse`): known of the cases of tests/conformance only.
    pub doors: Vec<String>,
}

/// Folders that hold sources of the tree.
pub const FOLDERS: [&str; 13] = [
    "abi", "bench", "drivers", "front", "loader", "machine", "ntos", "sdk", "spec", "tests", "trace", "verifier",
    "xtask",
];

/// Folders whose tests run drivers in a machine; those of the loader map images without one.
const RUNNERS: [&str; 4] = ["front", "machine", "sdk", "tests"];

/// Where the table of cases stands, and the list of the doors that each went through, which a test of that crate keeps true.
const CASES: &str = "tests/conformance/src/cases";
const DOORS: &str = "tests/conformance/doors.txt";

/// What ids begin with.
const FAMILIES: [&str; 3] = ["nt", "flt", "ks"];

/// Returns every Rust source of the tree, from the workspace's folder, sorted.
#[must_use]
pub fn sources(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|name| root.join(name)).collect();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())) {
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.extend(path.strip_prefix(root).ok().map(Path::to_path_buf));
            }
        }
    }
    found.sort();
    found
}

/// Returns the tests whose names claim something about a rule, sorted.
#[must_use]
pub fn tests(root: &Path) -> Vec<Test> {
    let mut found = BTreeSet::new();
    let mut images = BTreeSet::new();
    let doors = std::fs::read_to_string(root.join(DOORS)).unwrap_or_default();
    for file in sources(root) {
        let text = std::fs::read_to_string(root.join(&file)).unwrap_or_default();
        let is_test = file.components().any(|part| part.as_os_str() == "tests") || text.contains("#[test]");
        rust_tests(&text, &file.to_string_lossy(), &mut found);
        if file.starts_with(CASES) {
            table_cases(&text, &file.to_string_lossy(), &doors, &mut found);
        }
        if is_test && RUNNERS.iter().any(|runner| file.starts_with(runner)) {
            images.extend(text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(image_names));
        }
    }
    for image in images {
        let (mut files, mut checks) = (BTreeSet::new(), BTreeSet::new());
        let filter = driver_checks(root, &format!("{image}.c"), &mut files, &mut checks);
        // Sources are shared: what they ask of a filter is skipped in a driver that is none.
        found.extend(checks.into_iter().filter(|check| filter || !check.name.starts_with("flt_")));
    }
    found.into_iter().collect()
}

/// Returns the id that a test's name claims: none for a name that starts with no id.
#[must_use]
pub fn claim(name: &str) -> Option<String> {
    let mut parts = name.split('_');
    let (family, kind, number) = (parts.next()?, parts.next()?, parts.next()?);
    let known = FAMILIES.contains(&family) && kind.bytes().all(|b| b.is_ascii_lowercase());
    let numbered = number.len() == 2 && number.bytes().all(|b| b.is_ascii_digit());
    (known && numbered).then(|| format!("{family}-{kind}-{number}").to_ascii_uppercase())
}

fn rust_tests(text: &str, file: &str, found: &mut BTreeSet<Test>) {
    let mut marked = false;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        marked |= line.starts_with("#[test]");
        let Some((before, after)) = line.split_once("fn ") else {
            marked &= line.is_empty() || line.starts_with('#') || line.starts_with("//");
            continue;
        };
        let name = after.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
        if marked && !before.contains("//") && claim(name).is_some() {
            found.insert(Test { name: name.to_owned(), file: file.to_owned(), line: at + 1, doors: Vec::new() });
        }
        marked = false;
    }
}

/// Takes the cases of a list `cases![...]`: each is a function that every door runs which can express it. One that no door carried
/// through is not in `doors` with any, and proves nothing.
fn table_cases(text: &str, file: &str, doors: &str, found: &mut BTreeSet<Test>) {
    let Some((_, rest)) = text.split_once("cases![") else { return };
    let list = rest.split("];").next().unwrap_or_default();
    for name in list.split(',').map(str::trim).filter(|name| claim(name).is_some()) {
        let mut words = doors.lines().map(str::split_whitespace);
        let through =
            words.find_map(|mut words| (words.next() == Some(name)).then(|| words.map(str::to_owned).collect()));
        let line = text.lines().position(|line| line.contains(&format!("fn {name}("))).map_or(0, |at| at + 1);
        let through: Vec<String> = through.unwrap_or_default();
        if !through.is_empty() && line > 0 {
            found.insert(Test { name: name.to_owned(), file: file.to_owned(), line, doors: through });
        }
    }
}

/// The drivers of tests/drivers that a line names: `t_zw` for `"t_zw.sys"`.
fn image_names(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = line;
    while let Some(end) = rest.find(".sys\"") {
        let start = rest[..end].rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |at| at + 1);
        names.push(rest[start..end].to_owned());
        rest = &rest[end + 5..];
    }
    names
}

/// Takes the checks of a driver's source and of the sources of ours that it includes; tells whether it registers a filter.
fn driver_checks(root: &Path, name: &str, seen: &mut BTreeSet<String>, found: &mut BTreeSet<Test>) -> bool {
    let file = format!("tests/drivers/{name}");
    if !seen.insert(name.to_owned()) {
        return false;
    }
    let Ok(text) = std::fs::read_to_string(root.join(&file)) else { return false };
    let mut filter = text.contains("FltRegisterFilter(");
    for (at, line) in text.lines().enumerate() {
        if let Some(other) = line.strip_prefix("#include \"").and_then(|rest| rest.split('"').next()) {
            filter |= driver_checks(root, other, seen, found);
        }
        for name in line.split('"').skip(1).step_by(2).filter(|text| claim(text).is_some()) {
            found.insert(Test { name: name.to_owned(), file: file.clone(), line: at + 1, doors: Vec::new() });
        }
    }
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_claims_the_id_it_starts_with() {
        assert_eq!(claim("nt_w_07_append_only").as_deref(), Some("NT-W-07"));
        assert_eq!(claim("nt_dir_25_each").as_deref(), Some("NT-DIR-25"));
        for none in ["nt_w_7_x", "w_07_x", "flt_07", "a_driver_with_28_entries", "nt_write_file_08"] {
            assert_eq!(claim(none), None, "{none}");
        }
    }

    #[test]
    fn only_functions_marked_as_tests_count() {
        let text =
            "#[test]\nfn nt_w_01_a() {}\nfn nt_w_02_b() {}\n    #[test]\n    #[ignore = \"x\"]\n    fn nt_w_03_c() {}";
        let mut found = BTreeSet::new();
        rust_tests(text, "x.rs", &mut found);
        assert_eq!(
            found.iter().map(|t| (t.name.as_str(), t.line)).collect::<Vec<_>>(),
            [("nt_w_01_a", 2), ("nt_w_03_c", 6)]
        );
    }

    #[test]
    fn a_case_counts_with_the_doors_that_carried_it_through() {
        let text =
            "cases![\n    nt_w_01_a,\n    nt_w_02_b,\n    plain,\n];\nfn nt_w_01_a(t: &R) {}\nfn nt_w_02_b(t: &R) {}\n";
        let mut found = BTreeSet::new();
        table_cases(text, "x.rs", "# written\nnt_w_01_a native fuse\nnt_w_02_b\nplain native\n", &mut found);
        let test = found.first().expect("one");
        assert_eq!((found.len(), &*test.name, test.line), (1, "nt_w_01_a", 6));
        assert_eq!(test.doors, ["native", "fuse"]);
    }

    #[test]
    fn an_image_is_named_by_a_string() {
        assert_eq!(image_names("let a = f(\"../drivers/t_zw.sys\", \"t_x.sys\");"), ["t_zw", "t_x"]);
        assert!(image_names("let t_zw_sys = 1;").is_empty());
    }

    #[test]
    fn the_tree_itself_reads_well() {
        let root = crate::workspace();
        let rules = crate::rules(&root).expect("the rules");
        assert!(rules.len() > 1300 && rules.iter().any(|rule| rule.id == "NT-W-07"));
        assert!(tests(&root).iter().any(|test| test.name.starts_with("nt_w_01_")));
        assert_eq!(crate::seeds(&root).expect("the pages").len(), 5);
    }
}
