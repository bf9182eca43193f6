//! The checks that a compiled driver makes of the kernel rooms (tests/drivers/t_ke.c), run in a machine.

mod compiled;

use nt_machine::Machine;
use nt_machine::driver::DriverOptions;

#[test]
fn nt_kr_24_compiled_code_reads_the_lists_and_locks_of_the_kernel_rooms_as_they_are_laid_out() {
    let image = include_bytes!("../../tests/drivers/t_ke.sys");
    compiled::every_check_holds(Machine::builder(), "t_ke.sys", image, &DriverOptions::default(), 120);
}

#[test]
fn nt_kr_43_compiled_code_starts_threads_queues_apcs_and_waits_by_handle() {
    let image = include_bytes!("../../tests/drivers/t_ob.sys");
    compiled::every_check_holds(Machine::builder(), "t_ob.sys", image, &DriverOptions::default(), 86);
}
