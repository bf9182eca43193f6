//! Cached reads, faults, read-ahead; noncached reads of a cached stream.

use crate::scene::*;
use crate::support::*;
use nt_abi::NtStatus;
use nt_abi::io::*;
use nt_abi::mm::MDL_IO_PAGE_READ;
use nt_fltmgr::PreOp;
use nt_io::info::class;
use nt_io::irp::IoStatus;

#[test]
fn nt_cc_49_the_shape_of_a_paging_read() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc49", 0);
    file.write(&pattern(0, 0x1234), None);
    scene.forget(&file);
    let buffer = nt_cell::arena::UserBlock::new(0x3000).expect("arena");
    let done = file.raw_read(nt_cell::Addr::user(buffer.addr()), 0x3000, Some(0x1010));
    assert_eq!(done, success(0x224));
    let events = scene.events();
    let fault = events.iter().find(|event| !event.post && event.irp_flags == 0x43).expect("a fault");
    let shape = (fault.major, fault.offset, fault.length, fault.irql, fault.file == file.object().addr());
    assert_eq!(shape, (IRP_MJ_READ, 0x1000, 0x1000, 1, true));
    assert!(fault.mdl.expect("an MDL").0 & MDL_IO_PAGE_READ != 0);
    let end = events.iter().find(|event| event.post && event.irp_flags == 0x43).expect("a fault");
    assert_eq!(end.information, 0x234, "bytes up to the end of file");
    file.set(class::END_OF_FILE, &0x1800_i64.to_le_bytes());
    assert_eq!(file.read(0x100, Some(0x1234)).1, [0; 0x100], "the tail of the page is zero");
}

#[test]
fn nt_cc_50_past_the_valid_data_there_are_zeros_and_no_read() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc50", 0);
    file.write(&[1; 0x1000], None);
    file.set(class::END_OF_FILE, &0x8000_i64.to_le_bytes());
    scene.events();
    assert_eq!(file.read(0x4000, Some(0x2000)).1, [0; 0x4000]);
    assert!(scene.take().iter().all(|line| !line.contains(" 43")));
    // Who moves the valid data behind the cache's back tells it.
    let raw = scene.open("F2", "cc50", NONCACHED);
    raw.write(&[7; 0x200], Some(0x4000));
    assert_eq!(file.read(4, Some(0x4000)).1, [7; 4]);
}

#[test]
fn nt_cc_51_a_cached_read_ends_at_the_end_and_tells_the_faults_status() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc51", 0);
    file.write(&pattern(0, 100), None);
    assert_eq!(file.read(500, Some(40)), (success(60), pattern(40, 60)));
    scene.forget(&file);
    let failing = |event: &Event, _| {
        let fault = event.irp_flags == 0x43;
        fault.then_some(PreOp::Complete(IoStatus::new(NtStatus::IO_DEVICE_ERROR, 0)))
    };
    scene.on(failing);
    assert_eq!(file.read(10, Some(0)).0.returned, NtStatus::IO_DEVICE_ERROR);
    scene.off();
    let events = scene.events();
    let markers: Vec<_> =
        events.iter().filter(|event| !event.post && event.irp_flags == 0x43).map(|event| event.top_level).collect();
    assert!(markers[0] == 4 && markers[1] > 0xFFFF, "fast first, then the packet: {markers:x?}");
    assert_eq!(file.read(10, Some(0)).1, pattern(0, 10), "the page is tried again");
}

#[test]
fn nt_cc_52_a_sequential_reader_is_read_ahead_for() {
    let scene = Scene::new();
    scene.manager().set_read_ahead(true);
    let ahead = |name: &str, options: u32| {
        let file = scene.open("F1", name, options);
        file.write(&pattern(0, 0x80000), None);
        scene.forget(&file);
        for at in 0..3 {
            file.read(0x1000, Some(at * 0x1000));
        }
        let events = scene.events();
        let system = events.iter().filter(|event| event.thread == 'S' && !event.post && event.irp_flags == 0x43);
        system.map(|event| (event.top_level, u64::from(event.length))).collect::<Vec<_>>()
    };
    let plain = ahead("cc52", 0);
    assert!(!plain.is_empty() && plain.iter().all(|(marker, _)| *marker == 2), "{plain:?}");
    let sum = |list: &[(u64, u64)]| list.iter().map(|(_, length)| length).sum::<u64>();
    assert!(sum(&ahead("cc52s", 4)) > sum(&plain), "more for SEQUENTIAL_ONLY");
    assert!(ahead("cc52r", 0x800).is_empty(), "none for RANDOM_ACCESS");
    scene.manager().set_read_ahead(false);
    assert!(ahead("cc52o", 0).is_empty());
}

#[test]
fn nt_cc_53_a_noncached_read_is_flushed_for() {
    let scene = Scene::new();
    let (file, raw) = (scene.open("F1", "cc53", 0), scene.open("F2", "cc53", NONCACHED));
    file.write(&[1; 0x2000], None);
    scene.round();
    file.write(b"12345", Some(0));
    file.write(b"67890", Some(0x1000));
    scene.events();
    assert_eq!(raw.read(0x200, Some(0)).1[..6], *b"12345\x01");
    let events = scene.events();
    let sent: Vec<_> = events.iter().filter(|event| event.irp_flags == 0x43 && !event.post).collect();
    assert_eq!((sent.len(), sent[0].offset, sent[0].thread), (1, 0, 'U'), "of the range, in the reader's thread");
    file.read(5, Some(0));
    assert!(scene.take().iter().all(|line| !line.contains(" 43")), "nothing was purged");
    file.write(b"54321", Some(0));
    scene.fail_paging_writes(NtStatus::IO_DEVICE_ERROR);
    assert_eq!(raw.read(0x200, Some(0)).0.returned, NtStatus::IO_DEVICE_ERROR);
    scene.off();
}

#[test]
fn nt_cc_54_a_short_paging_read_makes_the_page_wrong_for_everyone() {
    let scene = Scene::new();
    let (file, other) = (scene.open("F1", "cc54", 0), scene.open("F2", "cc54", 0));
    file.write(&[1; 0x1000], None);
    scene.forget(&file);
    scene.on(|event, data| {
        if event.irp_flags != 0x43 || event.major != IRP_MJ_READ {
            return None;
        }
        let _unused = data;
        Some(PreOp::Complete(IoStatus::new(NtStatus::SUCCESS, 0)))
    });
    assert_eq!(file.read(16, Some(0)).1, [0; 16]);
    scene.off();
    assert_eq!(other.read(16, Some(0)).1, [0; 16], "the same page");
}
