//! A compiled driver that maps a file and touches the view (tests/drivers/t_section.c), run in a machine.

mod compiled;

use nt_machine::Machine;
use nt_machine::driver::DriverOptions;

#[test]
fn nt_cc_65_a_compiled_driver_touches_a_view_and_every_check_holds() {
    let image = include_bytes!("../../tests/drivers/t_section.sys");
    compiled::every_check_holds(Machine::builder(), "t_section.sys", image, &DriverOptions::default(), 44);
}
