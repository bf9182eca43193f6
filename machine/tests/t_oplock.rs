//! The checks that a compiled driver makes of oplocks (tests/drivers/t_oplock.c): as a file system with the FsRtl package, as a
//! minifilter with oplocks of its own, and as a client of a volume; run in a machine.

mod compiled;

use compiled::{all_good, at, listening};
use nt_machine::driver::Unloaded;
use nt_machine::{Machine, VolumeSpec};

/// Runs the driver; of its checks, those of `rule` held, and no fewer than expected.
fn held(rule: &str, at_least: usize) {
    let (machine, lines) = listening(Machine::builder().volume(VolumeSpec::Ram { size: Some(64 << 20) }));
    let image = include_bytes!("../../tests/drivers/t_oplock.sys");
    let driver = machine.load_driver("t_oplock.sys", image, &at("385200")).expect("the driver loads");
    assert_eq!(machine.unload_driver(driver), Unloaded::Yes);
    all_good(&lines, 590);
    let start = format!("ok {rule}_");
    let good = lines.lock().expect("no other holder panics").iter().filter(|line| line.starts_with(&start)).count();
    assert!(good >= at_least, "{good} checks of {rule}");
    let leaks = machine.shutdown();
    assert!(leaks.is_empty(), "{leaks:?}");
}

#[test]
fn nt_opl_05_a_volume_tells_of_the_break_in_a_create_that_fails() {
    held("nt_opl_05", 8);
}

#[test]
fn nt_opl_06_a_compiled_filter_keeps_oplocks_of_its_own() {
    held("nt_opl_06", 26);
}

#[test]
fn nt_opl_07_a_break_in_progress_is_a_success_that_filters_see() {
    held("nt_opl_07", 2);
}

#[test]
fn nt_opl_10_each_operation_on_each_kind_in_a_compiled_file_system() {
    held("nt_opl_10", 490);
}
