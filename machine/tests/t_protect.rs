//! A compiled driver on a write-protected volume (tests/drivers/t_protect.c).

mod compiled;

use compiled::{at, every_check_holds};
use nt_machine::Machine;

#[test]
fn nt_s_03_a_compiled_driver_changes_nothing_of_a_protected_volume() {
    let image = include_bytes!("../../tests/drivers/t_protect.sys");
    every_check_holds(Machine::builder().read_only(true), "t_protect.sys", image, &at("385100"), 10);
}
