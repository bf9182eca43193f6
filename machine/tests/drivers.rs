//! Compiled drivers in a machine.

use nt_ldr::LoadError;
use nt_machine::Machine;
use nt_machine::driver::{DriverError, DriverOptions};

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/../tests/drivers/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn a_driver_with_a_missing_import_is_refused_by_name() {
    let machine = Machine::builder().build().expect("a machine");
    let loaded = machine.load_driver("t_missing.sys", &fixture("t_missing.sys"), &DriverOptions::default());
    let error = loaded.expect_err("missing");
    let DriverError::Load(LoadError::Missing(_, missing)) = &error else { panic!("{error}") };
    assert_eq!(missing[0].name, "NtioRoutineThatNoKernelExports");
    let leaks = machine.shutdown();
    // The pool is the whole process's: tests that run beside this one use it too.
    assert_eq!((leaks.requests, leaks.handles.len()), (0, 0), "{leaks:?}");
}

#[test]
fn a_file_that_is_no_image_is_refused() {
    let machine = Machine::builder().build().expect("a machine");
    for bytes in [&b""[..], b"MZ", b"#!/bin/sh\n", &[0; 4096]] {
        let error = machine.load_driver("x.sys", bytes, &DriverOptions::default()).expect_err("no image").to_string();
        assert!(error.contains("x.sys"), "{error}");
    }
}
