//! A compiled file system on the cache manager (tests/drivers/t_cc.c), run in a machine.

mod compiled;

use nt_machine::Machine;
use nt_machine::driver::DriverOptions;

#[test]
fn nt_cc_14_a_compiled_file_system_caches_its_file_and_every_check_holds() {
    let image = include_bytes!("../../tests/drivers/t_cc.sys");
    compiled::every_check_holds(Machine::builder(), "t_cc.sys", image, &DriverOptions::default(), 50);
}
