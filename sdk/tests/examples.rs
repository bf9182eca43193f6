//! The examples run to their end.
#[path = "../examples/five_calls.rs"]
mod five_calls;

#[test]
fn the_five_calls_hold_from_rust() {
    five_calls::main().expect("each call does what it says");
}
