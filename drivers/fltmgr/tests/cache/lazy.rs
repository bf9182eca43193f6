//! The lazy writer.

use crate::scene::*;
use nt_abi::NtStatus;
use nt_abi::io::*;
use nt_io::info::class;

#[test]
fn nt_cc_34_rounds_come_by_the_clock_and_write_what_was_dirty_before() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc34", 0);
    let temporary = scene.open("F2", "cc34t", 0);
    temporary.object().or32(FILE_OBJECT::Flags, FO_TEMPORARY_FILE);
    let clock = || scene.world.kernel.clock.nanoseconds() / 1_000_000;
    let start = clock();
    file.write(b"12345", None);
    temporary.write(b"12345", None);
    scene.events();
    let map = scene.map(&file).expect("cached");
    while map.dirty_pages() != 0 && clock() - start < 60_000 {
        scene.sleep(20);
    }
    let took = clock() - start;
    assert!((900..60_000).contains(&took), "{took} ms");
    let trace = scene.take();
    assert_eq!(trace[0], "S> WRITE F1 0+1000 43");
    assert!(!trace.contains(&"S> WRITE F2 0+1000 43".to_owned()), "a temporary file is passed over");
}

#[test]
fn nt_cc_36_the_file_system_is_told_how_far_the_medium_is() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc36", 0);
    file.write(b"12345", None);
    scene.events();
    scene.round();
    let events = scene.events();
    let told = events.iter().find(|event| event.major == IRP_MJ_SET_INFORMATION).expect("told");
    assert_eq!((told.thread, told.irp_flags & IRP_PAGING_IO), ('S', IRP_PAGING_IO));
    assert_eq!(scene.sizes(&file), (5, 5));
    file.write(b"54321", Some(0));
    scene.events();
    scene.round();
    assert_eq!(scene.take(), ["S> WRITE F1 0+1000 43", "S< WRITE F1 5"], "the file has not grown");
    let frame = scene.world.frame();
    assert_eq!(nt_io::paging::advance(&frame, *file.object(), 3), NtStatus::SUCCESS);
    assert_eq!(nt_io::paging::advance(&frame, *file.object(), 500), NtStatus::SUCCESS);
    assert_eq!(scene.sizes(&file), (5, 5), "it never shrinks, nor moves the end");
    let gone = scene.open("F3", "cc36d", 0);
    gone.write(b"1", None);
    gone.set(class::DISPOSITION, &[1]);
    assert_eq!(nt_io::paging::advance(&frame, *gone.object(), 1), NtStatus::SUCCESS, "of a deleted file silently");
}

#[test]
fn nt_cc_38_waiting_for_the_lazy_writer_waits_for_what_is_dirty_now() {
    let scene = Scene::new();
    let (one, two) = (scene.open("F1", "cc38", 0), scene.open("F2", "cc38b", 0));
    one.write(b"1", None);
    two.write(b"2", None);
    assert_eq!(scene.manager().dirty_pages(), 2);
    scene.round();
    assert_eq!(scene.manager().dirty_pages(), 0);
    let row = nt_cc::exports::EXPORTS.iter().find(|row| row.name == "CcWaitForCurrentLazyWriterActivity");
    assert!(row.is_some(), "what drivers call does this");
}

#[test]
fn nt_cc_39_flushed_valid_data() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc39", 0);
    let flushed = || nt_cc::flushed_valid_data(scene.sections(&file));
    assert_eq!(flushed(), i64::MAX, "not cached");
    file.write(&[1; 0x3000], None);
    assert_eq!(flushed(), 0);
    scene.round();
    assert_eq!(flushed(), 0x3000, "nothing is dirty");
    file.write(b"x", Some(0x1800));
    assert_eq!(flushed(), 0x1000, "the lowest dirty page");
}
