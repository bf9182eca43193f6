//! How imports are bound and called: t_import.sys; what happens to those that nothing provides.
#![allow(unsafe_code, reason = "the import table of the fixture")]

mod common;

use common::{call, fixture, load};
use nt_cell::{Entry, Export, Region, Support, exports, kpcr};
use nt_ldr::{Binder, Image, LoadError, Options};
use std::sync::Mutex;

static SEEN: Mutex<Vec<u64>> = Mutex::new(Vec::new());
static TYPE: u64 = 0x7e57;

mod flt {
    nt_cell::exports! { "fltmgr.sys" =>
        Full raises FltCreateFile(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, g: u64, h: u64, i: u64, j: u64, k: u64,
            l: u64, m: u64, n: u64) -> u64 {
            [a, b, c, d, e, f, g, h, i, j, k, l, m, n].into_iter().fold(0, |sum, v| sum * 3 + v) & 0x7fff_ffff
        }
    }
}

exports! { "ntoskrnl.exe" =>
    Full variadic DbgPrint(va: u64) -> u64 {
        // SAFETY: a win64 va_list of eight words on the driver's stack.
        let list = unsafe { Region::from_raw(va, 64) };
        *SEEN.lock().expect("seen") = (0..8).map(|i| list.load::<u64>(8 * i).expect("stack")).collect();
        0x55
    }
    Full code KeGetCurrentIrql() -> u8 { kpcr::irql() }
    Full data IoFileObjectType() -> u64 { (&raw const TYPE).expose_provenance() as u64 }
}

fn binder() -> Binder {
    Binder::new(&[EXPORTS, flt::EXPORTS])
}

fn loaded() -> Image {
    nt_ldr::set_ending(nt_ldr::Ending::Err);
    Image::load("t_import.sys", &fixture("t_import.sys"), &binder(), &Options::default()).expect("loads")
}

#[test]
fn fourteen_arguments_arrive_in_order() {
    let expected = (100..114u64).fold(0u64, |sum, v| sum * 3 + v) & 0x7fff_ffff;
    assert_eq!(call(&loaded(), "Fourteen", &[100]), Ok(expected));
}

#[test]
fn a_variadic_import_sees_all_its_arguments() {
    let image = loaded();
    assert_eq!(call(&image, "Variadic", &[]), Ok(0x55));
    let seen = SEEN.lock().expect("seen").clone();
    let ints = |index: usize| seen[index] as u32;
    assert_eq!((ints(1), seen[3], ints(4), ints(5), ints(6), seen[7]), (1, 0x1234_5678_9abc, 4, 5, 6, 7));
    // SAFETY: a string of the driver's.
    let text = unsafe { Region::from_raw(seen[2], 4) };
    assert_eq!(text.to_vec(), Ok(b"two\0".to_vec()));
}

#[test]
fn data_imports_and_plain_imports_are_bound() {
    let image = loaded();
    assert_eq!(call(&image, "Data", &[]), Ok(TYPE));
    assert_eq!(call(&image, "None", &[]).map(|value| value & 0xff), Ok(0));
}

#[test]
fn the_c_runtimes_leaves_move_and_compare_like_the_naive_ones() {
    assert_eq!(call(&loaded(), "Leaves", &[]), Ok(0));
}

#[test]
fn all_missing_imports_are_listed_at_once_with_what_the_table_says() {
    static KNOWN: &[Export] = &[Export {
        image: "ntoskrnl.exe",
        name: "DbgPrint",
        support: Support::Absent("no output yet"),
        entry: Entry::Missing,
    }];
    let error = Image::load("t_import.sys", &fixture("t_import.sys"), &Binder::new(&[KNOWN]), &Options::default());
    let LoadError::Missing(name, missing) = error.expect_err("nothing provides them") else { panic!("another error") };
    assert_eq!(name, "t_import.sys");
    let names: Vec<_> = missing.iter().map(|m| format!("{}!{}", m.image, m.name)).collect();
    for name in [
        "ntoskrnl.exe!DbgPrint",
        "ntoskrnl.exe!KeGetCurrentIrql",
        "ntoskrnl.exe!IoFileObjectType",
        "fltmgr.sys!FltCreateFile",
    ] {
        assert!(names.iter().any(|n| n == name), "{name} in {names:?}");
    }
    assert_eq!(names.len(), 4);
    assert_eq!(missing.iter().find(|m| m.name == "DbgPrint").and_then(|m| m.why), Some("no output yet"));
}

#[test]
fn a_stub_for_a_missing_import_names_it_when_called() {
    nt_ldr::set_ending(nt_ldr::Ending::Err);
    let options = Options { allow_missing: true, stubs: vec![("DbgPrint".to_owned(), 0xc000_0002)] };
    let image = Image::load("t_import.sys", &fixture("t_import.sys"), &Binder::new(&[]), &options).expect("loads");
    assert_eq!(call(&image, "Variadic", &[]), Ok(0xc000_0002), "--stub");
    let dead = call(&image, "None", &[]).expect_err("missing").bugcheck.expect("a bugcheck");
    assert_eq!(dead.code, 0xc000_0139);
    let report = nt_ldr::take_report().expect("a report");
    assert!(report.contains("ntoskrnl.exe!KeGetCurrentIrql called from t_import.sys+0x"), "{report}");
}

#[test]
fn the_import_report_needs_no_mapping() {
    let bytes = fixture("t_import.sys");
    let rows = nt_ldr::imports(&nt_pe::parse("t_import.sys", &bytes).expect("an image"), &binder());
    assert!(rows.iter().all(|row| row.support == Some(Support::Full)), "{rows:?}");
    assert!(rows.iter().any(|row| row.image == "fltmgr.sys" && row.name == "FltCreateFile"));
}

#[test]
fn a_driver_can_import_from_another_driver() {
    let image = load("t_gs.sys");
    let mut binder = Binder::new(&[]);
    binder.add_image(&image);
    let rows = nt_ldr::imports(&nt_pe::parse("t_gs.sys", &fixture("t_gs.sys")).expect("an image"), &binder);
    assert!(rows.is_empty(), "t_gs imports nothing");
    assert!(image.exports().any(|(name, addr)| name == "Self" && addr > image.base()));
}
