//! Compiles the floor model.
fn main() {
    println!("cargo::rerun-if-changed=src/floor.c");
    cc::Build::new().file("src/floor.c").opt_level(2).compile("ntio_floor");
}
