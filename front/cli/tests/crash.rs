//! The short form of `cargo xtask accept dir-kill`: the built `ntio` is killed under load five times.

use ntio_crash::{Plan, run};

#[test]
fn a_killed_server_loses_nothing_that_was_acknowledged_on_a_dir_volume() {
    if std::env::var_os("NTIO_NO_FUSE").is_some_and(|value| value == "1") {
        return;
    }
    let base = tempfile::tempdir().expect("a directory");
    let plan =
        Plan { program: env!("CARGO_BIN_EXE_ntio").into(), words: Vec::new(), behind: false, rounds: 5, seed: 5 };
    let done = run(base.path(), &plan).unwrap_or_else(|why| panic!("{why}"));
    assert!(done.rounds == 5 && done.acknowledged > 50 && done.under_way != 0, "{done:?}");
}

#[test]
fn a_killed_server_loses_nothing_that_was_flushed_on_a_dir_volume_that_writes_behind() {
    if std::env::var_os("NTIO_NO_FUSE").is_some_and(|value| value == "1") {
        return;
    }
    let base = tempfile::tempdir().expect("a directory");
    let words = vec!["--cache".to_owned(), "behind".to_owned()];
    let plan = Plan { program: env!("CARGO_BIN_EXE_ntio").into(), words, behind: true, rounds: 5, seed: 6 };
    let done = run(base.path(), &plan).unwrap_or_else(|why| panic!("{why}"));
    assert!(done.rounds == 5 && done.flushes != 0 && done.acknowledged > 50, "{done:?}");
}
