//! One compiled driver makes the five calls (tests/drivers/t_five.c), run in a machine with the `null` device.

mod compiled;

use nt_machine::{KsSpec, Machine};

#[test]
fn ks_s_04_a_compiled_driver_makes_the_five_calls_and_every_check_holds() {
    let image = include_bytes!("../../tests/drivers/t_five.sys");
    compiled::every_check_holds(Machine::builder().ks(KsSpec::Null), "t_five.sys", image, &compiled::at("385100"), 150);
}
