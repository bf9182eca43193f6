//! The checks that a compiled driver makes of packets, stack locations and routines (tests/drivers/t_irp.c), run in a machine.

mod compiled;

use nt_machine::Machine;
use nt_machine::driver::DriverOptions;

#[test]
fn nt_m_04_a_compiled_driver_sends_and_completes_packets_and_every_check_holds() {
    let image = include_bytes!("../../tests/drivers/t_irp.sys");
    compiled::every_check_holds(Machine::builder(), "t_irp.sys", image, &DriverOptions::default(), 100);
}
