//! Named streams as a compiled filter meets them: opened, shared, renamed and deleted by its own requests, with a context on each
//! (tests/drivers/t_stream.c).

mod compiled;

use compiled::at;
use nt_machine::Machine;

/// The driver names each of its checks after the rule; FLT-W-45 is one of them.
#[test]
fn flt_w_45_a_compiled_filter_uses_named_streams_and_every_check_holds() {
    let image = include_bytes!("../../tests/drivers/t_stream.sys");
    compiled::every_check_holds(Machine::builder(), "t_stream.sys", image, &at("260000"), 100);
}
