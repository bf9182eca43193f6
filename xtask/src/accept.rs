//! `cargo xtask accept [NAME]`: the larger runs, each under 30 minutes, the last result of each kept in docs/accept.md.
//!
//! Room: xtask. Calls: cargo (a release build of `ntio`), the runs. A run gets a fresh mount of a fresh volume; it fails when
//! it says so, when the machine's report holds a violation or an error, or when the server falls. Nothing is installed:
//! a program that is absent is named with its Debian package.

mod build;
mod fio;
mod fsx;
mod git;
mod kill;
mod model;
mod mount;
mod page;
mod pjdfstest;
mod sqlite;
mod tar;
mod threads;
mod tsan;

pub(crate) use mount::Mount;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// A run: its name, what it shows, what it needs.
struct Run {
    name: &'static str,
    shows: &'static str,
    /// Programs with their Debian packages.
    needs: &'static [(&'static str, &'static str)],
    /// Options of `ntio mount` besides the volume.
    options: &'static [&'static str],
    /// Returns figures, or why it failed.
    act: fn(&Mount) -> Result<String, String>,
}

const RUNS: &[Run] = &[
    git::RUN,
    sqlite::RUN,
    fio::RUN,
    tar::RUN,
    build::RUN,
    fsx::RUN,
    pjdfstest::RUN,
    kill::RUN,
    threads::RUN,
    model::RUN,
    tsan::RUN,
];

/// Runs that are about one volume only.
const ONLY: &[(&str, &str)] = &[("dir-kill", "dir"), ("threads", "ram"), ("tsan", "ram")];

/// Where a run takes place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// `ram` or `dir`.
    pub(crate) volume: String,
    /// `through` or `behind`; empty: as the machine has it.
    pub(crate) cache: String,
}

const USAGE: &str = "usage: cargo xtask accept [NAME...|all] [--volume ram,dir] [--cache through,behind]";

/// Lists the runs, or does some.
///
/// # Errors
/// The names of the runs that failed.
pub fn run(words: &[String]) -> Result<(), String> {
    let (mut names, mut volumes, mut caches) = (Vec::new(), vec!["ram".to_owned()], vec![String::new()]);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let list = |value: Option<&String>| -> Result<Vec<String>, String> {
            Ok(value.ok_or(USAGE)?.split(',').map(str::to_owned).collect())
        };
        match word.as_str() {
            "--volume" => volumes = list(words.next())?,
            "--cache" => caches = list(words.next())?,
            "all" => names.extend(RUNS.iter().map(|run| run.name.to_owned())),
            option if option.starts_with('-') => return Err(USAGE.into()),
            name => names.push(name.to_owned()),
        }
    }
    if names.is_empty() {
        for run in RUNS {
            crate::say(&format!("{:12} {}", run.name, run.shows));
        }
        return Ok(());
    }
    let chosen = names.iter().map(|name| {
        RUNS.iter().find(|run| run.name == name.as_str()).ok_or_else(|| format!("there is no run '{name}'\n{USAGE}"))
    });
    let chosen = chosen.collect::<Result<Vec<_>, _>>()?;
    for run in &chosen {
        for (program, package) in run.needs {
            if !there(program) {
                return Err(format!("{}: '{program}' is absent; the Debian package is {package}", run.name));
            }
        }
    }
    if other_binary().is_none() {
        crate::ci::cargo(&["build", "--release", "--quiet", "-p", "ntio_cli"])?;
    }
    let mut failed = Vec::new();
    for run in chosen {
        let only = ONLY.iter().find(|(name, _)| *name == run.name).map(|(_, volume)| vec![(*volume).to_owned()]);
        for volume in only.as_ref().unwrap_or(&volumes) {
            for cache in &caches {
                let place = Place { volume: volume.clone(), cache: cache.clone() };
                crate::say(&format!("== {} on {volume} {cache}", run.name));
                let begun = Instant::now();
                let result = mount::with(run, &place);
                let seconds = begun.elapsed().as_secs();
                match &result {
                    Ok(figures) => crate::say(&format!("passed in {seconds} s: {figures}")),
                    Err(why) => {
                        crate::say(&format!("FAILED after {seconds} s: {why}"));
                        failed.push(format!("{} on {volume} {cache}", run.name));
                    }
                }
                if other_binary().is_none() {
                    page::record(run.name, &place, &result, seconds)?;
                }
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("accept: failed: {}", failed.join(", "))) }
}

/// A binary to try instead of a fresh build; what it shows is not recorded, because nobody knows its commit.
fn other_binary() -> Option<PathBuf> {
    std::env::var_os("NTIO_BIN").map(PathBuf::from)
}

/// NTIO_SEED, or a number that follows from the date.
pub(crate) fn seed() -> Result<u64, String> {
    match std::env::var("NTIO_SEED") {
        Ok(word) => word.parse().map_err(|_| format!("NTIO_SEED={word} is not a number")),
        Err(_) => Ok(std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_secs() / 86_400)),
    }
}

fn there(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|at| at.join(program).is_file()))
}

/// Runs a shell script in a folder, for at most so many seconds; returns what it printed.
pub(crate) fn shell(at: &Path, script: &str, seconds: u64) -> Result<String, String> {
    let mut command = Command::new("timeout");
    command.args(["-k", "5", &seconds.to_string(), "sh", "-euc", script]).current_dir(at).env("LC_ALL", "C");
    // Cargo's own variables would reach a cargo inside the mount.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO") && text != "CARGO_HOME" || text == "RUSTUP_TOOLCHAIN" || text == "LD_LIBRARY_PATH"
        {
            command.env_remove(&name);
        }
    }
    let done = command.output().map_err(|error| format!("timeout: {error}"))?;
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    match done.status.code() {
        Some(0) => Ok(out),
        Some(124 | 137) => Err(format!("did not end within {seconds} s; it had said:\n{}", tail(&out))),
        _ => {
            let said = String::from_utf8_lossy(&done.stderr);
            Err(format!("{}; it had said:\n{}\n{}", done.status, tail(&out), tail(&said)))
        }
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
