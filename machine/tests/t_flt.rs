//! Compiled minifilters between a program and the volume (tests/drivers/t_flt.c, t_null.c, t_missing.c).

mod compiled;

use compiled::{Lines, all_good, at, listening};
use nt_machine::driver::{DriverError, DriverOptions, Unloaded};
use nt_machine::file::spec;
use nt_machine::{Machine, NtStatus};

fn machine() -> (Machine, Lines) {
    listening(Machine::builder())
}

#[test]
fn flt_o_06_a_compiled_filter_sees_writes_and_denies_some() {
    let (machine, lines) = machine();
    let image = include_bytes!("../../tests/drivers/t_flt.sys");
    let driver = machine.load_driver("t_flt.sys", image, &at("385100")).expect("the filter loads");
    let client = machine.process("writer").expect("a process");
    let file = client.create(&spec("C:\\good.txt")).expect("a file").0;
    for _ in 0..10 {
        assert_eq!(client.write(file, None, b"1234567"), Ok(7));
    }
    client.close(file).expect("open");
    let file = client.create(&spec("C:\\bad.deny")).expect("a file").0;
    for _ in 0..3 {
        assert_eq!(client.write(file, None, b"1234567"), Err(NtStatus::ACCESS_DENIED.error()));
    }
    let mut bytes = [0; 8];
    assert_eq!(client.read(file, Some(0), &mut bytes), Err(NtStatus::END_OF_FILE.error()), "nothing reached the file");
    client.close(file).expect("open");
    drop(client);
    assert_eq!(machine.unload_driver(driver), Unloaded::Yes);
    all_good(&lines, 3);
    let told = lines
        .lock()
        .expect("no other holder panics")
        .iter()
        .any(|line| line.starts_with("t_flt: 13 pre, 10 post, 3 denied, ") && line.ends_with(" 70 bytes"));
    assert!(told, "{:?}", lines.lock());
    let leaks = machine.shutdown();
    assert_eq!((leaks.requests, leaks.handles.len()), (0, 0), "{leaks:?}");
}

#[test]
fn flt_r_07_a_compiled_filter_without_operations_loads_and_unloads() {
    let (machine, lines) = machine();
    let image = include_bytes!("../../tests/drivers/t_null.sys");
    let driver = machine.load_driver("t_null.sys", image, &at("370020")).expect("the filter loads");
    assert_eq!(machine.unload_driver(driver), Unloaded::Yes);
    all_good(&lines, 2);
}

#[test]
fn an_import_that_nobody_exports_is_refused_by_name() {
    let (machine, _) = machine();
    let image = include_bytes!("../../tests/drivers/t_missing.sys");
    match machine.load_driver("t_missing.sys", image, &DriverOptions::default()) {
        Err(DriverError::Load(error)) => {
            assert!(error.to_string().contains("NtioRoutineThatNoKernelExports"), "{error}")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn flt_w_01_a_compiled_filter_calls_fltwritefile_and_every_check_holds() {
    let (machine, lines) = machine();
    let image = include_bytes!("../../tests/drivers/t_fltio.sys");
    let driver = machine.load_driver("t_fltio.sys", image, &at("385100")).expect("the filter loads");
    assert_eq!(machine.unload_driver(driver), Unloaded::Yes);
    all_good(&lines, 100);
    let leaks = machine.shutdown();
    assert_eq!((leaks.requests, leaks.handles.len()), (0, 0), "{leaks:?}");
}

#[test]
fn ks_w_01_a_compiled_driver_writes_files_without_a_handle() {
    let (machine, lines) = machine();
    let image = include_bytes!("../../tests/drivers/t_ksfile.sys");
    let driver = machine.load_driver("t_ksfile.sys", image, &at("385100")).expect("the filter loads");
    assert_eq!(machine.unload_driver(driver), Unloaded::Yes);
    all_good(&lines, 100);
    let leaks = machine.shutdown();
    assert_eq!((leaks.requests, leaks.handles.len()), (0, 0), "{leaks:?}");
}
