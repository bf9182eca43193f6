//! Sparse files as a driver makes them, on both kinds of volume (tests/drivers/t_sparse.c).

mod compiled;

use nt_machine::driver::{DriverOptions, Unloaded};
use nt_machine::{Machine, VolumeSpec};

#[test]
fn a_driver_makes_zeroes_and_fills_a_sparse_file() {
    let folder = tempfile::tempdir().expect("a folder");
    for volume in [VolumeSpec::Ram { size: Some(64 << 20) }, VolumeSpec::Dir { path: folder.path().to_owned() }] {
        let (machine, lines) = compiled::listening(Machine::builder().volume(volume));
        let image = include_bytes!("../../tests/drivers/t_sparse.sys");
        let driver = machine.load_driver("t_sparse.sys", image, &DriverOptions::default()).expect("the driver loads");
        assert_eq!(machine.unload_driver(driver), Unloaded::Yes);
        compiled::all_good(&lines, 50);
        let leaks = machine.shutdown();
        assert!(leaks.is_empty(), "{leaks:?}");
    }
}
