//! One compiled driver makes the five calls (tests/drivers/t_five.c), run in a machine with the `null` device.

use nt_machine::driver::{DriverOptions, Unloaded};
use nt_machine::{KsSpec, Machine, VolumeSpec};
use std::sync::{Arc, Mutex};

#[test]
fn ks_s_04_a_compiled_driver_makes_the_five_calls_and_every_check_holds() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let machine = Machine::builder()
        .volume(VolumeSpec::Ram { size: Some(64 << 20) })
        .ks(KsSpec::Null)
        .debug(move |line| sink.lock().expect("no other holder panics").push(line.trim_end().to_owned()))
        .build()
        .expect("a machine with one volume and a streaming device");
    let image = include_bytes!("../../tests/drivers/t_five.sys");
    let options = DriverOptions { altitude: Some("385100".to_owned()), ..DriverOptions::default() };
    let driver = machine.load_driver("t_five.sys", image, &options).expect("the driver loads");
    assert_eq!(machine.unload_driver(driver), Unloaded::Yes);
    let lines = lines.lock().expect("no other holder panics").clone();
    let failed: Vec<_> = lines.iter().filter(|line| line.starts_with("not ok")).collect();
    assert!(failed.is_empty(), "{}", lines.join("\n"));
    let good = lines.iter().filter(|line| line.starts_with("ok ")).count();
    assert!(good >= 150, "{good} checks only:\n{}", lines.join("\n"));
    let leaks = machine.shutdown();
    assert!(leaks.is_empty(), "{leaks:?}");
}
