//! The checks that a compiled driver makes of ZwWriteFile and ZwReadFile (tests/drivers/t_five_nt.h), run in a machine.

mod compiled;

use nt_machine::Machine;
use nt_machine::driver::DriverOptions;

#[test]
fn nt_w_18_a_compiled_driver_calls_zwwritefile_and_every_check_holds() {
    let image = include_bytes!("../../tests/drivers/t_zw.sys");
    compiled::every_check_holds(Machine::builder(), "t_zw.sys", image, &DriverOptions::default(), 45);
}
