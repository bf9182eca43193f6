//! How a process ends: a bugcheck that exits, a panic in an import. Each runs in a process of its own.
#![allow(unsafe_code, reason = "the import table of the fixture")]

mod common;

use common::fixture;
use nt_abi::NtStatus;
use nt_cell::{callout, exports, raise};
use nt_ldr::{Binder, Ending, Image, Options};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

exports! { "ntoskrnl.exe" =>
    Full raises ExRaiseStatus(status: u32) {
        assert!(status != 0xc000_0120 || std::env::var_os("PANIC").is_none(), "told to panic");
        raise::raise(NtStatus(status));
    }
    Full code IofCallDriver(status: u32, argument: u64) -> u64 {
        raise::raise(NtStatus(status));
        argument
    }
}

/// Runs one ignored test of this file in a process of its own.
fn alone(test: &str, panic: bool) -> Output {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", test, "--ignored", "--nocapture"]).env_remove("PANIC");
    if panic {
        command.env("PANIC", "1");
    }
    command.output().expect("runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn load() -> Image {
    Image::load("t_seh.sys", &fixture("t_seh.sys"), &Binder::new(&[EXPORTS]), &Options::default()).expect("loads")
}

#[test]
#[ignore = "ends its process; run by the tests below"]
fn victim_of_an_uncaught_exception() {
    nt_ldr::set_ending(Ending::Exit(77));
    let image = load();
    let _ = callout::call(image.export("Uncaught").expect("exported"), &[]);
}

#[test]
#[ignore = "ends its process; run by the tests below"]
fn victim_of_a_wrong_row() {
    let image = load();
    let _ = callout::call(image.export("CallThrough").expect("exported"), &[0xc000_0001, 0]);
}

#[test]
#[ignore = "ends its process; run by the tests below"]
fn victim_of_a_host_fault() {
    let image = load();
    let _ = callout::call(image.export("Case01").expect("exported"), &[]);
    // SAFETY: none: a bug of the host's, on purpose.
    unsafe { core::ptr::without_provenance::<u8>(0x48).read_volatile() };
}

#[test]
fn a_bugcheck_exits_with_its_code_and_names_driver_and_symbol() {
    let output = alone("victim_of_an_uncaught_exception", false);
    assert_eq!(output.status.code(), Some(77), "{}", text(&output));
    for part in ["bugcheck 0x1e (KMODE_EXCEPTION_NOT_HANDLED)", "0xC0000120", "t_seh.sys+0x", "(Uncaught+0x"] {
        assert!(text(&output).contains(part), "{part} in {}", text(&output));
    }
}

#[test]
fn a_panic_in_an_import_ends_the_process_and_names_the_import() {
    let output = alone("victim_of_an_uncaught_exception", true);
    assert_eq!(output.status.signal(), Some(6), "{}", text(&output));
    assert!(
        text(&output).contains("the import ntoskrnl.exe!ExRaiseStatus panicked: told to panic"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_raise_from_a_row_that_does_not_say_so_ends_the_process() {
    let output = alone("victim_of_a_wrong_row", false);
    assert_eq!(output.status.signal(), Some(6), "{}", text(&output));
    assert!(text(&output).contains("IofCallDriver left status 0xc0000001 to raise"), "{}", text(&output));
}

#[test]
fn a_fault_of_our_own_is_reported_as_such_and_kills_the_process() {
    let output = alone("victim_of_a_host_fault", false);
    assert_eq!(output.status.signal(), Some(11), "{}", text(&output));
    assert!(text(&output).contains("ntio: host fault: signal 0xb"), "{}", text(&output));
    assert!(text(&output).contains("; loaded at the time: t_seh.sys"), "{}", text(&output));
}
