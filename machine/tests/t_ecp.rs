//! The checks that a compiled driver makes of extra create parameters and oplock keys (tests/drivers/t_ecp.c): as a caller with a
//! list, as a device that finds and adds, as a minifilter whose key the volume finds; run in a machine.

mod compiled;

use compiled::{all_good, at, listening};
use nt_machine::driver::Unloaded;
use nt_machine::{Machine, Recorder, VolumeSpec};

/// Runs the driver; of its checks, those of `rule` held, and no fewer than expected. What it did wrong on purpose was found.
fn held(rule: &str, at_least: usize) {
    let recorder = Recorder::new(None);
    let (machine, lines) =
        listening(Machine::builder().recorder(recorder.clone()).volume(VolumeSpec::Ram { size: Some(64 << 20) }));
    let image = include_bytes!("../../tests/drivers/t_ecp.sys");
    let driver = machine.load_driver("t_ecp.sys", image, &at("385200")).expect("the driver loads");
    assert_eq!(machine.unload_driver(driver), Unloaded::Yes);
    all_good(&lines, 108);
    let start = format!("ok {rule}_");
    let good = lines.lock().expect("no other holder panics").iter().filter(|line| line.starts_with(&start)).count();
    assert!(good >= at_least, "{good} checks of {rule}");
    let report = recorder.report();
    let found: Vec<&str> = report.findings.iter().map(|each| each.rule.as_str()).collect();
    assert_eq!(found, ["NT-ECP-08"], "an ECP freed in its list");
    assert!(report.findings[0].message.contains("FSRTL_EXTRA_CREATE_PARAMETER_VIOLATION, 0x6"));
    let leaks = machine.shutdown();
    assert!(leaks.is_empty(), "{leaks:?}");
}

#[test]
fn nt_ecp_01_contexts_of_a_compiled_driver() {
    held("nt_ecp_01", 8);
}

#[test]
fn nt_ecp_02_lists_of_a_compiled_driver() {
    held("nt_ecp_02", 18);
}

#[test]
fn nt_ecp_03_marks_of_a_compiled_driver() {
    held("nt_ecp_03", 5);
}

#[test]
fn nt_ecp_04_a_compiled_drivers_list_goes_with_its_creates() {
    held("nt_ecp_04", 10);
}

#[test]
fn nt_ecp_05_what_a_compiled_driver_adds_goes_with_the_create() {
    held("nt_ecp_05", 11);
}

#[test]
fn nt_ecp_06_a_compiled_cleanup_callback() {
    held("nt_ecp_06", 4);
}

#[test]
fn nt_ecp_08_a_compiled_driver_that_frees_wrongly_is_found() {
    held("nt_ecp_08", 2);
}

#[test]
fn flt_g_16_the_filter_managers_names() {
    held("flt_g_16", 8);
}

#[test]
fn nt_opl_05_a_compiled_create_that_requires_an_oplock() {
    held("nt_opl_05", 4);
}

#[test]
fn nt_opl_10_a_compiled_filter_makes_two_files_one_owner() {
    held("nt_opl_10", 5);
}

#[test]
fn nt_opl_14_keys_in_a_compiled_file_system_and_from_a_compiled_filter() {
    held("nt_opl_14", 25);
}
