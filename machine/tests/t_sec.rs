//! What a compiled driver does with security (tests/drivers/t_sec.c), run in a machine.

mod compiled;

use nt_machine::Machine;
use nt_machine::driver::DriverOptions;

#[test]
fn nt_sec_01_a_compiled_driver_makes_reads_and_sets_descriptors_and_every_check_holds() {
    let image = include_bytes!("../../tests/drivers/t_sec.sys");
    compiled::every_check_holds(Machine::builder(), "t_sec.sys", image, &DriverOptions::default(), 64);
}
