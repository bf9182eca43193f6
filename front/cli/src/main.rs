//! `ntio`: the command line.
fn main() {}
