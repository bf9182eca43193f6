//! A compiled filter and a compiled device that see queries by fast I/O (tests/drivers/t_query.c).

mod compiled;

use compiled::{at, every_check_holds};
use nt_machine::Machine;

#[test]
fn nt_qry_25_compiled_filters_see_fast_queries_and_refuse_or_answer_them() {
    let image = include_bytes!("../../tests/drivers/t_query.sys");
    every_check_holds(Machine::builder(), "t_query.sys", image, &at("385100"), 30);
}
