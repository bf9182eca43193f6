//! Structured exceptions in compiled driver code: t_seh.sys.
#![allow(unsafe_code, reason = "the import table of the fixture")]
#![allow(clippy::print_stderr, reason = "measured costs are printed")]

mod common;

use common::{call, load, routine};
use nt_abi::NtStatus;
use nt_cell::{CodePtr, callout, exports, kpcr, raise};
use std::cell::Cell;

thread_local! { static DROPS: Cell<u64> = const { Cell::new(0) }; }

/// Tells when the import's body let go of what it holds.
struct Mark;
impl Drop for Mark {
    fn drop(&mut self) {
        DROPS.set(DROPS.get() * 10 + 2);
    }
}

exports! { "ntoskrnl.exe" =>
    Full raises ExRaiseStatus(status: u32) { raise::raise(NtStatus(status)); }
    Full raises IofCallDriver(routine: u64, argument: u64) -> u64 {
        let _mark = Mark;
        // SAFETY: the fixture passes a routine of its own or of another image.
        let code = unsafe { CodePtr::from_raw(routine) }.expect("a routine");
        match callout::call(code, &[argument]) {
            Ok(value) => value,
            Err(raised) => {
                DROPS.set(DROPS.get() * 10 + 1);
                raise::raise(raised.status);
                0
            }
        }
    }
}

const CASES: [(&str, u64); 27] = [
    ("Case01", 12),
    ("Case02", 0xc000_00bb),
    ("Case03", 1),
    ("Case04", 123),
    ("Case05", 1234),
    ("Case06", 123),
    ("Case07", 12),
    ("Case08", 12),
    ("Case09", 2164),
    ("Case10", 2064),
    ("Case11", 1),
    ("Case12", 1),
    ("Case13", 127),
    ("Case14", 0xc000_0002),
    ("Case15", 123),
    ("Case16", 12),
    ("Case17", 12),
    ("Case18", 12),
    ("Case19", 3322),
    ("Case20", 1000),
    ("Case21", 1050),
    ("Case22", 125),
    ("Case23", 12),
    ("Case24", 22),
    ("Case25", 123),
    ("Case26", 0xc000_0003 * 100 + 12),
    ("Case27", 123),
];

#[test]
fn every_case_runs_its_handlers_in_windows_order() {
    let image = load("t_seh.sys");
    for (name, expected) in CASES {
        let got = call(&image, name, &[]);
        assert_eq!(got, Ok(expected), "{name}: {}", nt_ldr::take_report().unwrap_or_default());
        let block = kpcr::current();
        assert_eq!((block.get(kpcr::BORDER), block.get(kpcr::LOADER)), (0, 0), "{name} left a record behind");
    }
}

#[test]
fn four_threads_raise_and_fault_at_once() {
    let image = load("t_seh.sys");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..300 {
                    assert_eq!(call(&image, "Case24", &[]), Ok(22));
                    assert_eq!(call(&image, "OneFault", &[]), Ok(1));
                    assert_eq!(call(&image, "Case19", &[]), Ok(3322));
                }
            });
        }
    });
}

#[test]
fn a_raise_crosses_rust_as_err_between_two_drivers() {
    let (a, b) = (load("t_seh.sys"), load("t_seh.sys"));
    assert_ne!(a.base(), b.base());
    let mark = nt_cell::UserBlock::new(8).expect("arena");
    DROPS.set(0);
    let got = call(&a, "CallThrough", &[routine(&b, "RaiseThrough").addr(), mark.addr()]);
    // B's __finally ran (it wrote 1), Rust's Err arm came next, then Rust's Drop, then A's __except.
    assert_eq!(got, Ok(4));
    assert_eq!(mark.region().load::<u64>(0), Ok(1));
    assert_eq!(DROPS.get(), 12);
    assert_eq!(raise::take(), None);
    assert_eq!(kpcr::current().get(kpcr::BORDER), 0);
}

#[test]
fn an_exception_that_nobody_takes_is_a_bugcheck_with_its_place() {
    let image = load("t_seh.sys");
    let raised = call(&image, "Uncaught", &[]).expect_err("nobody catches");
    let dead = raised.bugcheck.expect("a bugcheck");
    assert_eq!((raised.status, dead.code, dead.parameters[0]), (NtStatus(0xc000_0120), 0x1e, 0xc000_0120));
    let place = image.symbolize(raised.address);
    assert!(place.starts_with("t_seh.sys+0x") && place.contains("(Raise+"), "{place}");
    assert_eq!(call(&image, "Case01", &[]), Ok(12), "the thread can go on");
}

#[test]
fn a_bugcheck_of_an_inner_driver_leaves_the_outer_one_too() {
    let (outer, inner) = (load("t_seh.sys"), load("t_fault.sys"));
    for _ in 0..2 {
        let got = call(&outer, "CallThrough", &[routine(&inner, "FastFail").addr(), 5]);
        let dead = got.expect_err("no handler runs").bugcheck.expect("the inner driver's bugcheck");
        assert_eq!((dead.code, dead.parameters[0]), (0x139, 5));
        assert_eq!(call(&outer, "Case05", &[]), Ok(1234), "another machine's call on this thread");
    }
}

#[test]
fn unwind_data_that_leads_in_a_circle_is_a_bugcheck_not_a_hang() {
    nt_ldr::set_ending(nt_ldr::Ending::Err);
    let mut bytes = common::fixture("t_seh.sys");
    let at = {
        let pe = nt_pe::parse("t_seh.sys", &bytes).expect("an image");
        let (touch, _) = pe.symbols.iter().find(|(_, name)| name == "Touch").expect("a symbol");
        let function = *pe.functions.iter().find(|f| f.begin == *touch).expect("unwind data");
        let section = pe.sections.iter().find(|s| s.rva <= function.unwind && function.unwind - s.rva < s.size);
        let section = section.expect("a section");
        let place = section.raw.start + (function.unwind - section.rva) as usize;
        (place, function)
    };
    let (place, function) = at;
    // Version 1, chained, no codes; the chained entry is the function's own.
    bytes[place..place + 4].copy_from_slice(&[1 | 4 << 3, 0, 0, 0]);
    for (index, word) in [function.begin, function.end, function.unwind].into_iter().enumerate() {
        bytes[place + 4 + 4 * index..place + 8 + 4 * index].copy_from_slice(&word.to_le_bytes());
    }
    let binder = nt_ldr::Binder::new(&[EXPORTS]);
    let image = nt_ldr::Image::load("t_seh.sys", &bytes, &binder, &nt_ldr::Options::default()).expect("loads");
    let raised = call(&image, "Case11", &[]).expect_err("the stack cannot be walked");
    assert!(raised.bugcheck.is_some() && image.symbolize(raised.address).contains("Touch"));
}

#[test]
fn an_unwind_to_a_frame_that_is_not_there_is_a_bugcheck() {
    let image = load("t_seh.sys");
    let dead = call(&image, "Unwindable", &[]).expect_err("no such frame").bugcheck.expect("a bugcheck");
    assert_eq!(dead.parameters[0], 0xc000_0029);
}

#[test]
fn costs() {
    let image = load("t_seh.sys");
    // The best of many short turns: some of them nobody interrupts.
    let time = |name: &str, args: &[u64], rounds: u32| {
        let code = routine(&image, name);
        let best = (0..50).map(|_| {
            let start = std::time::Instant::now();
            for _ in 0..rounds {
                let _ = callout::call(code, args);
            }
            start.elapsed().as_nanos() as f64 / f64::from(rounds)
        });
        best.fold(f64::MAX, f64::min)
    };
    let here = nt_cell::UserBlock::new(64).expect("arena");
    let callback = time("Nothing", &[], 10_000);
    let import = time("Import", &[here.addr(), 1_000], 10) / 1_000.0;
    let raise = time("OneRaise", &[], 100);
    let fault = time("OneFault", &[], 50);
    eprintln!("callback {callback:.1} ns, memcpy import {import:.1} ns, raise {raise:.0} ns, fault {fault:.0} ns");
    assert!(callback < 1_000.0 && raise < 50_000.0 && fault < 200_000.0, "a cost left its order of magnitude");
}
