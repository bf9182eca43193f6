//! Compiled drivers that check for themselves: what they print, and what of it is counted.
#![allow(dead_code, reason = "each test file uses its part")]

use nt_machine::driver::{DriverOptions, Unloaded};
use nt_machine::{Machine, MachineBuilder, VolumeSpec};
use std::sync::{Arc, Mutex};

/// What drivers printed, line by line.
pub type Lines = Arc<Mutex<Vec<String>>>;

/// Builds a machine whose drivers' lines are kept.
pub fn listening(builder: MachineBuilder) -> (Machine, Lines) {
    let lines = Lines::default();
    let sink = Arc::clone(&lines);
    let debug = move |line: &str| sink.lock().expect("no other holder panics").push(line.trim_end().to_owned());
    (builder.debug(debug).build().expect("a machine"), lines)
}

/// Options of a filter at an altitude.
pub fn at(altitude: &str) -> DriverOptions {
    DriverOptions { altitude: Some(altitude.to_owned()), ..DriverOptions::default() }
}

/// Every check held, and no fewer than expected were made.
pub fn all_good(lines: &Lines, at_least: usize) {
    let lines = lines.lock().expect("no other holder panics").clone();
    let bad = lines.iter().filter(|line| line.starts_with("not ok")).count();
    let good = lines.iter().filter(|line| line.starts_with("ok ")).count();
    assert!(bad == 0 && good >= at_least, "{good} ok, {bad} not ok:\n{}", lines.join("\n"));
}

/// Loads and unloads a driver that makes its checks meanwhile; nothing is left behind.
pub fn every_check_holds(builder: MachineBuilder, name: &str, image: &[u8], options: &DriverOptions, at_least: usize) {
    let (machine, lines) = listening(builder.volume(VolumeSpec::Ram { size: Some(64 << 20) }));
    let driver = machine.load_driver(name, image, options).expect("the driver loads");
    assert_eq!(machine.unload_driver(driver), Unloaded::Yes);
    all_good(&lines, at_least);
    let leaks = machine.shutdown();
    assert!(leaks.is_empty(), "{leaks:?}");
}
