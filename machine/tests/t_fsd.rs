//! The checks that a compiled file system makes of what the kernel lends it (tests/drivers/t_fsd.c), run in a machine.

mod compiled;

use nt_machine::Machine;
use nt_machine::driver::DriverOptions;

#[test]
fn nt_shr_07_a_compiled_file_system_counts_sharing_and_keeps_a_tunnel_cache() {
    let image = include_bytes!("../../tests/drivers/t_fsd.sys");
    compiled::every_check_holds(Machine::builder(), "t_fsd.sys", image, &DriverOptions::default(), 44);
}
