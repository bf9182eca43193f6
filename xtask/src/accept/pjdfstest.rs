//! pjdfstest: what POSIX says of file system calls. The suite is fetched and built outside; NTIO_PJDFSTEST names its folder.
//!
//! Room: xtask. Called by: `accept`. Each failure is in pjdfstest.expected with its reason; one that is not, or one of them that
//! passes, fails the run.

use super::{Mount, Run, shell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub(super) const RUN: Run = Run {
    name: "pjdfstest",
    shows: "the POSIX suite (folder in NTIO_PJDFSTEST); every failure is listed with its reason in xtask/src/accept/pjdfstest.expected",
    needs: &[("openssl", "openssl"), ("sh", "dash")],
    options: &["--allow-other"],
    act,
};

const EXPECTED: &str = include_str!("pjdfstest.expected");

/// Lines are `FILE NUMBERS [VOLUME]: reason`, NUMBERS as 3,5-8.
fn expected(volume: &str) -> Result<BTreeMap<String, BTreeSet<u32>>, String> {
    let mut all: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for line in EXPECTED.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let bad = || format!("pjdfstest.expected: '{line}' is not FILE NUMBERS [VOLUME]: reason");
        let (place, reason) = line.split_once(": ").ok_or_else(bad)?;
        let (file, numbers) = place.split_once(' ').ok_or_else(bad)?;
        if reason.trim().is_empty() {
            return Err(bad());
        }
        let (numbers, only) = numbers.split_once(' ').unwrap_or((numbers, volume));
        if only != volume {
            continue;
        }
        let set = all.entry(file.to_owned()).or_default();
        for part in numbers.split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let range = from.parse::<u32>().ok().zip(to.parse::<u32>().ok()).ok_or_else(bad)?;
            set.extend(range.0..=range.1);
        }
    }
    Ok(all)
}

/// A copy of the suite whose lists of file types leave out devices: a server that holds drivers makes none on the host.
fn without_devices(suite: &Path, mount: &Mount) -> Result<PathBuf, String> {
    let copy = mount.scratch.join("suite");
    let script = format!(
        "mkdir {copy}; cp -r {from}/tests {from}/pjdfstest {copy}; grep -rlE 'block|char' {copy}/tests | xargs sed -i -E \
         's/\\b(fifo )?block char\\b/\\1/'",
        copy = copy.display(),
        from = suite.display()
    );
    shell(suite, &script, 60)?;
    Ok(copy)
}

fn act(mount: &Mount) -> Result<String, String> {
    let suite = std::env::var_os("NTIO_PJDFSTEST").map(PathBuf::from);
    let suite = suite.ok_or("NTIO_PJDFSTEST is not set: the folder of a built pjdfstest (github.com/pjd/pjdfstest)")?;
    let expected = expected(&mount.volume)?;
    let devices = mount.volume == "ram";
    let suite = if devices { suite } else { without_devices(&suite, mount)? };
    let listed = shell(&suite.join("tests"), "ls */*.t", 10)?;
    let (mut passed, mut known, mut files) = (0_u32, 0_u32, 0_u32);
    let mut wrong = Vec::new();
    for file in listed.lines() {
        let script = format!("mkdir -p w; cd w; sh {} 2>/dev/null || true", suite.join("tests").join(file).display());
        let said = shell(&mount.at, &script, 300).map_err(|why| format!("{file}: {why}"))?;
        let mut failures = BTreeSet::new();
        let mut plan = None;
        let mut seen = 0;
        for line in said.lines() {
            let number = |words: &str| words.split(' ').next().and_then(|word| word.parse::<u32>().ok());
            if let Some(rest) = line.strip_prefix("not ok ") {
                seen += 1;
                if !line.contains("# TODO") {
                    failures.extend(number(rest));
                }
            } else if line.starts_with("ok ") {
                seen += 1;
                passed += 1;
            } else if let Some(rest) = line.strip_prefix("1..") {
                plan = number(rest);
            }
        }
        files += 1;
        if devices && plan != Some(seen) {
            wrong.push(format!("{file}: {seen} of {plan:?} tests ran"));
        }
        let known_here = expected.get(file).cloned().unwrap_or_default();
        known += failures.intersection(&known_here).count() as u32;
        for number in failures.difference(&known_here) {
            let line = said.lines().find(|line| line.starts_with(&format!("not ok {number} "))).unwrap_or_default();
            wrong.push(format!("{file} {number} failed: {line}"));
        }
        for number in known_here.difference(&failures) {
            wrong.push(format!("{file} {number} is expected to fail and passed"));
        }
    }
    if wrong.is_empty() {
        let left = if devices { "" } else { "; without block and character devices, which a dir volume refuses" };
        Ok(format!("{passed} tests of {files} files passed, {known} failed as explained{left}"))
    } else {
        Err(format!("{passed} passed, {known} failed as explained, {} otherwise\n{}", wrong.len(), wrong.join("\n")))
    }
}
