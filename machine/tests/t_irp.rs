//! The checks that a compiled driver makes of packets, stack locations and routines (tests/drivers/t_irp.c), run in a machine.

use nt_machine::driver::{DriverOptions, Unloaded};
use nt_machine::{Machine, VolumeSpec};
use std::sync::{Arc, Mutex};

#[test]
fn nt_m_04_a_compiled_driver_sends_and_completes_packets_and_every_check_holds() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let machine = Machine::builder()
        .volume(VolumeSpec::Ram { size: Some(64 << 20) })
        .debug(move |line| sink.lock().expect("no other holder panics").push(line.trim_end().to_owned()))
        .build()
        .expect("a machine with one volume");
    let image = include_bytes!("../../tests/drivers/t_irp.sys");
    let driver = machine.load_driver("t_irp.sys", image, &DriverOptions::default()).expect("the driver loads");
    assert_eq!(machine.unload_driver(driver), Unloaded::Yes);
    let lines = lines.lock().expect("no other holder panics").clone();
    let failed: Vec<_> = lines.iter().filter(|line| line.starts_with("not ok")).collect();
    assert!(failed.is_empty(), "{}", lines.join("\n"));
    let good = lines.iter().filter(|line| line.starts_with("ok ")).count();
    assert!(good >= 100, "{good} checks only:\n{}", lines.join("\n"));
    let leaks = machine.shutdown();
    assert!(leaks.is_empty(), "{leaks:?}");
}
