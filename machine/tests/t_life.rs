//! The checks that a compiled driver makes of requests by handle on a device that keeps them (tests/drivers/t_life.c), run in a machine.

mod compiled;

use nt_machine::Machine;
use nt_machine::driver::DriverOptions;

#[test]
fn nt_k_02_a_compiled_driver_takes_fast_calls_cancels_and_ports_and_every_check_holds() {
    let image = include_bytes!("../../tests/drivers/t_life.sys");
    compiled::every_check_holds(Machine::builder(), "t_life.sys", image, &DriverOptions::default(), 51);
}
