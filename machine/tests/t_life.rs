//! The checks that a compiled driver makes of requests by handle on a device that keeps them (tests/drivers/t_life.c), run in a machine.

use nt_machine::driver::{DriverOptions, Unloaded};
use nt_machine::{Machine, VolumeSpec};
use std::sync::{Arc, Mutex};

#[test]
fn nt_k_02_a_compiled_driver_takes_fast_calls_cancels_and_ports_and_every_check_holds() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let machine = Machine::builder()
        .volume(VolumeSpec::Ram { size: Some(64 << 20) })
        .debug(move |line| sink.lock().expect("no other holder panics").push(line.trim_end().to_owned()))
        .build()
        .expect("a machine with one volume");
    let image = include_bytes!("../../tests/drivers/t_life.sys");
    let driver = machine.load_driver("t_life.sys", image, &DriverOptions::default()).expect("the driver loads");
    assert_eq!(machine.unload_driver(driver), Unloaded::Yes);
    let lines = lines.lock().expect("no other holder panics").clone();
    let failed: Vec<_> = lines.iter().filter(|line| line.starts_with("not ok")).collect();
    assert!(failed.is_empty(), "{}", lines.join("\n"));
    let good = lines.iter().filter(|line| line.starts_with("ok ")).count();
    assert!(good >= 51, "{good} checks only:\n{}", lines.join("\n"));
    let leaks = machine.shutdown();
    assert!(leaks.is_empty(), "{leaks:?}");
}
