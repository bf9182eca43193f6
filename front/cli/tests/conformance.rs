//! The conformance cases as a Linux process does them under `ntio run`: this program, started again inside the mount.
#![expect(clippy::print_stdout, reason = "the program inside tells the one outside")]

use ntio_conformance::table;
use std::path::Path;
use std::process::Command;

const INSIDE: &str = "NTIO_TEST_INSIDE";

/// What the process inside does; nothing in an ordinary test run.
#[test]
fn inside_a_mount() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let mount = std::env::var_os("NTIO_MOUNT").expect("ntio run says where it mounted");
    let hosted = std::env::var_os(INSIDE).is_some_and(|volume| volume == "dir");
    let column = table::in_mount(Path::new(&mount), hosted);
    let (ok, not, wrong) = column.counts();
    println!("{ok} ok, {not} not expressible, {wrong} wrong");
    assert!(column.wrong().is_empty(), "{}", column.wrong().join("\n"));
}

fn holds(volume: &str, words: &[&str]) {
    if std::env::var_os("NTIO_NO_FUSE").is_some_and(|value| value == "1") {
        return;
    }
    let own = std::env::current_exe().expect("this program");
    let done = Command::new(env!("CARGO_BIN_EXE_ntio"))
        .arg("run")
        .args(words)
        .arg("--")
        .arg(own)
        .args(["--exact", "inside_a_mount", "--nocapture"])
        .env(INSIDE, volume)
        .output()
        .expect("ntio runs");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}\n{err}");
    let count = out.lines().find_map(|line| line.split_once(" ok, ")).and_then(|(count, _)| {
        count.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse::<u32>().ok())
    });
    assert!(count.is_some_and(|count| count >= 50), "{out}");
}

#[test]
fn the_cases_hold_under_ntio_run() {
    holds("ram", &["--report", "none"]);
}

#[test]
fn and_below_a_filter_that_sees_every_request() {
    holds("ram", &["-f", "spy", "--report", "none"]);
}

#[test]
fn and_on_a_dir_volume() {
    let folder = tempfile::tempdir().expect("a folder");
    holds("dir", &["-v", &format!("dir:{}", folder.path().display()), "--report", "none"]);
}
