//! Short names in a compiled minifilter, for a kernel-mode client, and as file systems make them (tests/drivers/t_short.c).

mod compiled;

use compiled::{all_good, at, listening};
use nt_machine::driver::Unloaded;
use nt_machine::{Machine, VolumeSpec};

fn every_check_holds(spec: VolumeSpec) {
    let (machine, lines) = listening(Machine::builder().volume(spec));
    for volume in machine.volumes() {
        volume.set_short_names(true);
        volume.set_tunnelling(true);
    }
    let image = include_bytes!("../../tests/drivers/t_short.sys");
    let driver = machine.load_driver("t_short.sys", image, &at("260000")).expect("the driver loads");
    assert_eq!(machine.unload_driver(driver), Unloaded::Yes);
    all_good(&lines, 62);
    let leaks = machine.shutdown();
    assert!(leaks.is_empty(), "{leaks:?}");
}

#[test]
fn flt_n_06_a_compiled_filter_sees_through_short_names() {
    every_check_holds(VolumeSpec::Ram { size: Some(64 << 20) });
}

#[test]
fn nt_nam_21_a_compiled_filter_sees_through_short_names_on_a_dir_volume() {
    let place = tempfile::tempdir().expect("a directory");
    every_check_holds(VolumeSpec::Dir { path: place.path().to_owned() });
}
