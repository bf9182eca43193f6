//! Flushes, and cached writes that are written through.

use crate::scene::*;
use crate::support::*;
use nt_abi::NtStatus;
use nt_abi::io::*;
use nt_fltmgr::PreOp;
use nt_io::irp::IoStatus;

const NESTED: [&str; 6] = ["U> FB F1", "U< FB F1", "U> WRITE F1 0+1000 43", "U< WRITE F1 5", "U> FA F1", "U< FA F1"];

#[test]
fn nt_cc_40_a_flush_writes_the_range_in_order_and_counts() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc40", 0);
    let none = nt_cc::flush(scene.sections(&file), None);
    assert_eq!(none.status, NtStatus::SUCCESS, "no cache");
    file.write(&[1; 0x6000], None);
    scene.round();
    for page in [4, 0, 2] {
        file.write(b"x", Some(page * 0x1000));
    }
    scene.events();
    let part = nt_cc::flush(scene.sections(&file), Some((0, 0x3000)));
    assert_eq!((part.status, part.information), (NtStatus::SUCCESS, 0x3000));
    let sent: Vec<_> = scene.paging_writes().iter().map(|event| (event.thread, event.offset)).collect();
    assert_eq!(sent, [('U', 0), ('U', 0x2000)]);
    assert!(nt_cc::flush(scene.sections(&file), None).status.is_success());
    assert_eq!(scene.paging_writes().len(), 1);
    assert!(nt_cc::flush(scene.sections(&file), None).status.is_success());
    assert_eq!(scene.take(), [""; 0], "nothing is dirty");
    for page in [0, 2, 4] {
        file.write(b"y", Some(page * 0x1000));
    }
    scene.on(|event, _| {
        let second = event.irp_flags == 0x43 && event.offset == 0x2000;
        second.then_some(PreOp::Complete(IoStatus::new(NtStatus::IO_DEVICE_ERROR, 0)))
    });
    let failed = nt_cc::flush(scene.sections(&file), None);
    assert_eq!((failed.status, failed.information), (NtStatus::IO_DEVICE_ERROR, 0x1000), "what went before");
    scene.off();
}

#[test]
fn nt_cc_41_filters_see_the_acquisition_around_a_flush_only() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc41", 0);
    file.write(b"12345", None);
    scene.events();
    assert!(nt_cc::flush(scene.sections(&file), None).status.is_success());
    let events = scene.tape.events.lock().clone();
    let notices: Vec<_> = events.iter().filter(|event| event.notice).collect();
    assert!(notices.len() == 4 && notices.iter().all(|event| event.thread == 'U' && !event.fast));
    assert_eq!(scene.take(), NESTED);
    file.write(b"54321", Some(0));
    scene.events();
    scene.round();
    assert!(scene.take().iter().all(|line| !line.contains("FB") && !line.contains("FA F1")));
}

#[test]
fn nt_cc_42_a_flush_inside_a_request_keeps_its_top_level() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc42", 0);
    file.write(b"12345", None);
    scene.events();
    scene.flush(&file);
    let sent = scene.paging_writes();
    assert!(sent[0].top_level > 0xFFFF, "the flush's packet: {:x}", sent[0].top_level);
    assert_eq!(scene.world.frame().thread.top_level(), 0);
}

#[test]
fn nt_cc_43_nt_flush_buffers_file_takes_the_paging_writes_status() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc43", 0);
    file.write(b"12345", None);
    scene.events();
    assert_eq!(scene.flush(&file), NtStatus::SUCCESS);
    assert_eq!(scene.take(), [&["U> FLUSH F1"][..], &NESTED, &["U< FLUSH F1"]].concat());
    file.write(b"54321", Some(0));
    scene.fail_paging_writes(NtStatus::IO_DEVICE_ERROR);
    assert_eq!(scene.flush(&file), NtStatus::IO_DEVICE_ERROR);
    scene.off();
}

#[test]
fn nt_cc_44_a_volume_handle_flushes_every_stream() {
    let scene = Scene::new();
    let (one, two) = (scene.open("F1", "cc44", 0), scene.open("F2", "cc44b", 0));
    one.write(b"1", None);
    two.write(b"2", None);
    let volume = scene.world.volume(GENERIC_READ | GENERIC_WRITE);
    scene.events();
    assert_eq!(scene.flush(&volume), NtStatus::SUCCESS);
    let mut sent: Vec<_> = scene.paging_writes().iter().map(|event| event.file).collect();
    sent.sort_unstable();
    let mut expected = [one.object().addr(), two.object().addr()];
    expected.sort_unstable();
    assert_eq!((sent, scene.manager().dirty_pages()), (expected.to_vec(), 0));
}

#[test]
fn nt_cc_45_a_write_through_handle_writes_inside_the_request() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc45", 2);
    file.read(1, Some(0));
    scene.events();
    file.write(b"12345", Some(0));
    assert_eq!(scene.take(), [&["U> WRITE F1 0+5 a00"][..], &NESTED, &["U< WRITE F1 5"]].concat());
    scene.fail_paging_writes(NtStatus::ACCESS_DENIED);
    assert_eq!(file.write(b"abcde", Some(0)), refused(NtStatus::ACCESS_DENIED));
    assert_eq!(scene.map(&file).expect("cached").dirty_pages(), 1, "the page stays dirty");
    scene.off();
    scene.round();
    assert_eq!(scene.medium(&file, 0, 5), b"abcde");
}

#[test]
fn nt_cc_46_it_is_trimmed_against_the_new_end() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc46", 2);
    scene.events();
    file.write(&[1; 700], Some(0));
    let events = scene.events();
    let done = events.iter().find(|event| event.post && event.irp_flags == 0x43).expect("a paging write");
    assert_eq!((done.information, done.sizes), (700, (700, 0)));
}

#[test]
fn nt_cc_47_noncached_write_through_has_no_paging_write() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc47", 2 | NONCACHED);
    scene.events();
    file.write(&[1; 512], Some(0));
    let events = scene.events();
    assert_eq!((events.len(), events[0].irp_flags & IRP_NOCACHE), (2, IRP_NOCACHE));
    assert_eq!(events[0].stack_flags & SL_WRITE_THROUGH, SL_WRITE_THROUGH);
}

#[test]
fn nt_cc_48_a_filters_own_flush_sees_its_paging_writes_from_the_top() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc48", 0);
    let own = scene.world.watch(Watch::new("Own", "200000", &[IRP_MJ_FLUSH_BUFFERS, IRP_MJ_WRITE]));
    file.write(b"12345", None);
    own.watch.pres();
    scene.events();
    let object = file.object();
    let target = nt_fltmgr::calls::Target { instance: &own.instance, file: *object };
    assert_eq!(nt_fltmgr::calls::flush(&scene.world.frame(), target, 0).status, NtStatus::SUCCESS);
    assert_eq!(own.watch.pres(), [IRP_MJ_WRITE], "the caller sees its own paging write, not the flush");
    assert!(scene.take().contains(&"U> WRITE F1 0+1000 43".to_owned()));
}

#[test]
fn nt_s_22_a_paging_write_under_a_cached_write_is_its_write_through() {
    let scene = Scene::new();
    let through = scene.open("F1", "s22", 2);
    scene.events();
    let user = scene.world.frame().thread.id();
    for (at, valid, length) in [(0, 0, 0x1000), (0x1000, 0x1000, 0x800), (0x1800, 0x1800, 0x800)] {
        let bytes = vec![(at >> 8) as u8 | 1; length];
        assert_eq!(through.write(&bytes, Some(at)), success(bytes.len() as u64));
        let events = scene.events();
        let outer = events.iter().find(|event| event.irp_flags & IRP_PAGING_IO == 0 && !event.fast).expect("the write");
        assert_ne!(outer.stack_flags & SL_WRITE_THROUGH, 0);
        let nested: Vec<_> = events
            .iter()
            .filter(|event| !event.post && event.major == IRP_MJ_WRITE && event.irp_flags & IRP_PAGING_IO != 0)
            .collect();
        assert_eq!(nested.len(), 1, "one, inside the request");
        let nested = nested[0];
        let recursive = IRP_NOCACHE | IRP_PAGING_IO | IRP_SYNCHRONOUS_PAGING_IO;
        assert_eq!(nested.irp_flags & recursive, recursive);
        assert_eq!(nested.thread, 'U', "in the thread of the write");
        assert!(nested.top_level > 0xFFFF, "whose packet is the top-level request");
        assert_eq!(nested.sizes.1, valid, "the valid data length is left to the write");
        let position =
            events.iter().position(|event| event.post && event.irp_flags & IRP_PAGING_IO != 0).expect("it ends");
        assert_eq!(events[position].sizes.1, valid, "and the paging write did not move it");
        let end = at + bytes.len() as i64;
        assert_eq!(scene.sizes(&through), (end, end));
        assert_eq!(scene.medium(&through, at, bytes.len()), bytes, "on the medium when the write returns");
    }
    assert_eq!(scene.world.frame().thread.id(), user);
    // A paging write under no cached write is nobody's write-through: it moves the valid data length itself.
    assert_eq!(through.set(nt_io::info::class::END_OF_FILE, &0x4000_i64.to_le_bytes()), NtStatus::SUCCESS);
    let block = pool_buffer(&[9; 4096]);
    let region = nt_cell::Region::pool(block, 4096);
    let frame = scene.world.frame();
    let flags = nt_io::paging::MAPPED;
    let alone = nt_io::paging::transfer(&frame, *through.object(), IRP_MJ_WRITE, flags, 0x2000, region);
    assert_eq!((alone.information, scene.sizes(&through)), (4096, (0x4000, 0x3000)));
    nt_ex::pool::free(block);
}
