//! The checks that a compiled driver makes of change notification (tests/drivers/t_notify.c): as a client of a volume, and as a
//! file system with the FsRtlNotify package; run in a machine.

mod compiled;

use nt_machine::Machine;
use nt_machine::driver::DriverOptions;

#[test]
fn nt_nfy_08_a_compiled_file_system_keeps_watches_and_every_check_holds() {
    let image = include_bytes!("../../tests/drivers/t_notify.sys");
    compiled::every_check_holds(Machine::builder(), "t_notify.sys", image, &DriverOptions::default(), 36);
}
