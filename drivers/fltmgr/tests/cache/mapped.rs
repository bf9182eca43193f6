//! Sections and views as a filter sees them: who is asked, which paging requests come, in whose thread, with which marker.

use crate::scene::*;
use nt_abi::NtStatus;
use nt_abi::flt::*;
use nt_abi::io::*;
use nt_abi::mm::{PAGE_READWRITE, SEC_COMMIT, SECTION_ALL_ACCESS};
use nt_cell::Region;
use nt_fltmgr::PreOp;
use nt_io::irp::IoStatus;
use nt_ke::Mutex;
use nt_ob::Handle;
use nt_section::{CreateSection, MapView};
use std::sync::Arc;

use crate::support::*;

fn try_section(scene: &Scene, file: &File<'_>) -> Result<Handle, NtStatus> {
    let args = CreateSection {
        access: SECTION_ALL_ACCESS,
        attributes: 0,
        size: None,
        protection: PAGE_READWRITE,
        kind: SEC_COMMIT,
        file: file.handle,
    };
    nt_section::create(&scene.world.frame(), &args).map_err(|error| error.status())
}

fn view(scene: &Scene, section: Handle) -> Region {
    let args =
        MapView { section, process: Handle::CURRENT_PROCESS, base: 0, offset: 0, size: 0, protection: PAGE_READWRITE };
    nt_section::map(&scene.world.frame(), &args).expect("a view")
}

fn unmap(scene: &Scene, view: Region) {
    nt_section::unmap(&scene.world.frame(), Handle::CURRENT_PROCESS, view.addr()).expect("mapped");
}

fn close(scene: &Scene, handle: Handle) {
    nt_io::event::close(&scene.world.frame(), handle).expect("a handle");
}

fn store(view: Region, offset: usize, bytes: &[u8]) {
    nt_section::write(view.sub(offset, bytes.len()), bytes).expect("the view");
}

/// A file of so many bytes that nobody has open or cached.
fn old_file(scene: &Scene, name: &str, length: usize) {
    let file = scene.open("old", name, 0);
    file.write(&pattern(0, length), None);
    drop(file);
    scene.round();
    scene.events();
}

#[test]
fn nt_cc_64_the_creation_of_a_section_is_asked_for_and_may_be_refused() {
    let scene = Scene::new();
    old_file(&scene, "cc64", 0x1100);
    let file = scene.open("F1", "cc64", 0);
    scene.events();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&asked);
    scene.on(move |event, data| {
        if event.major == IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION {
            let iopb = data.iopb();
            told.lock().push((
                iopb.get(FLT_IO_PARAMETER_BLOCK::AcquireForSectionSynchronization_SyncType),
                iopb.get(FLT_IO_PARAMETER_BLOCK::AcquireForSectionSynchronization_PageProtection),
            ));
        }
        None
    });
    let section = try_section(&scene, &file).expect("a section");
    assert_eq!(scene.take(), ["U> FF F1", "U< FF F1", "U> FE F1", "U< FE F1"], "and no data");
    assert_eq!(*asked.lock(), [(1, PAGE_READWRITE)], "SyncTypeCreateSection");
    close(&scene, section);
    scene.events();
    for answer in [NtStatus::INSUFFICIENT_RESOURCES, NtStatus::ACCESS_DENIED] {
        scene.on(move |event, _| {
            let refuses = event.major == IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION;
            refuses.then(|| PreOp::Complete(IoStatus::new(answer, 0)))
        });
        let refused = try_section(&scene, &file).err();
        assert_eq!(refused, Some(NtStatus::INSUFFICIENT_RESOURCES), "{answer}: the one error that is allowed");
        assert_eq!(scene.take(), ["U> FF F1"], "nothing was acquired");
    }
    scene.off();
    assert!(scene.map(&file).is_none(), "nothing is left behind");
}

#[test]
fn nt_ct_08_mapped_write_back() {
    let scene = Scene::new();
    old_file(&scene, "ct08", 0x1100);
    let file = scene.open("F1", "ct08", 0);
    scene.events();
    let section = try_section(&scene, &file).expect("a section");
    let mapped = view(&scene, section);
    close(&scene, section);
    assert_eq!(scene.take(), ["U> FF F1", "U< FF F1", "U> FE F1", "U< FE F1"]);
    store(mapped, 0, b"a");
    let events = scene.events();
    assert_eq!(lines(&scene, &events), ["U> READ F1 0+2000 43", "U< READ F1 1100"], "one cluster");
    assert_eq!((events[0].irql, events[0].process), (nt_ke::irql::APC_LEVEL, scene.world.process.id()));
    store(mapped, 0x10FF, b"b");
    store(mapped, 0x1100, b"past the end");
    drop(file);
    assert_eq!(scene.take(), ["U> CLEANUP F1", "U< CLEANUP F1"], "no CLOSE");
    scene.manager().write_mapped();
    let events = scene.events();
    assert_eq!(
        lines(&scene, &events),
        ["S> FD F1", "S< FD F1", "S> WRITE F1 0+2000 3", "S< WRITE F1 1100", "S> FC F1", "S< FC F1"]
    );
    assert_eq!((events[2].top_level, events[4].irql), (3, nt_ke::irql::APC_LEVEL));
    scene.manager().write_mapped();
    assert_eq!(scene.take(), Vec::<String>::new(), "nothing was stored since");
    let again = scene.open("F2", "ct08", 0);
    assert_eq!((scene.medium(&again, 0, 1), scene.medium(&again, 0x10FF, 1)), (b"a".to_vec(), b"b".to_vec()));
    assert_eq!(scene.sizes(&again), (0x1100, 0x1100), "a store past the end is nobody's");
    drop(again);
    scene.events();
    // With a flush instead: the thread that asks, the flags and notices of a flush.
    store(mapped, 0x10, b"c");
    let frame = scene.world.frame();
    let (part, done) = nt_section::flush(&frame, Handle::CURRENT_PROCESS, mapped.addr() + 0x10, 1).expect("a view");
    assert_eq!((part.addr(), part.len(), done.status), (mapped.addr(), 0x1000, NtStatus::SUCCESS));
    assert_eq!(
        scene.take(),
        ["U> FB F1", "U< FB F1", "U> WRITE F1 0+1000 43", "U< WRITE F1 1000", "U> FA F1", "U< FA F1"]
    );
    unmap(&scene, mapped);
    assert_eq!(scene.take(), ["U> CLOSE F1", "U< CLOSE F1"]);
}

fn lines(scene: &Scene, events: &[Event]) -> Vec<String> {
    events.iter().map(|event| scene.tape.line(event)).collect()
}

#[test]
fn nt_cc_66_the_mapped_page_writer_asks_and_waits_for_its_turn() {
    let scene = Scene::new();
    old_file(&scene, "cc66", 100);
    let file = scene.open("F1", "cc66", 0);
    let section = try_section(&scene, &file).expect("a section");
    assert_eq!(file.set(nt_io::info::class::END_OF_FILE, &0x5000_i64.to_le_bytes()), NtStatus::SUCCESS);
    assert_eq!(nt_section::extend(&scene.world.frame(), section, 0x5000).expect("in the file"), 0x5000);
    let mapped = view(&scene, section);
    assert_eq!(scene.sizes(&file), (0x5000, 100));
    store(mapped, 0x2000, b"beyond the valid data");
    scene.events();
    let ends = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&ends);
    scene.on(move |event, data| {
        let acquires = event.major == IRP_MJ_ACQUIRE_FOR_MOD_WRITE && !event.post;
        acquires.then(|| {
            let at = data.iopb().region_at(FLT_IO_PARAMETER_BLOCK::AcquireForModifiedPageWriter_EndingOffset, 8);
            told.lock().push(at.load::<i64>(0).expect("a LARGE_INTEGER"));
            assert_ne!(data.iopb().addr_at(FLT_IO_PARAMETER_BLOCK::AcquireForModifiedPageWriter_ResourceToRelease), 0);
            PreOp::Complete(IoStatus::new(NtStatus::CANT_WAIT, 0))
        })
    });
    scene.manager().write_mapped();
    assert_eq!(scene.take(), ["S> FD F1"], "later");
    assert_eq!(*ends.lock(), [0x3000]);
    assert_eq!(scene.map(&file).expect("a section").dirty_pages(), 1, "it stays dirty");
    scene.off();
    scene.manager().write_mapped();
    let events = scene.events();
    let seen = lines(&scene, &events);
    assert_eq!(seen[2..4], ["S> WRITE F1 2000+1000 3", "S< WRITE F1 1000"]);
    assert_eq!((events[2].process, events[2].top_level, events[2].irql), (4, 3, nt_ke::irql::APC_LEVEL));
    assert_eq!((seen[4].as_str(), events[4].irql), ("S> FC F1", nt_ke::irql::APC_LEVEL));
    assert_eq!(scene.sizes(&file), (0x5000, 0x3000), "a mapped write moves the valid data");
    assert_eq!(scene.medium(&file, 100, 0x1F00 - 100), vec![0; 0x1F00 - 100], "over zeros");
    store(mapped, 0x4000, b"by the clock");
    let map = scene.map(&file).expect("a section");
    for _ in 0..5000 {
        if map.is_clean() {
            break;
        }
        scene.sleep(20);
    }
    assert!(scene.take().contains(&"S> WRITE F1 4000+1000 3".to_owned()), "about a second later");
    close(&scene, section);
    unmap(&scene, mapped);
}

#[test]
fn nt_cc_67_a_flush_of_a_view_is_the_flush_of_who_asks() {
    let scene = Scene::new();
    old_file(&scene, "cc67", 0x4000);
    let (first, second) = (scene.open("F1", "cc67", 0), scene.open("F2", "cc67", 0));
    let (one, two) = (try_section(&scene, &first).expect("one"), try_section(&scene, &second).expect("two"));
    let mapped = view(&scene, two);
    for page in 0..4 {
        store(mapped, page * 0x1000, b"x");
    }
    scene.events();
    let frame = scene.world.frame();
    let flush = |from: u64, length| nt_section::flush(&frame, Handle::CURRENT_PROCESS, mapped.addr() + from, length);
    let (part, done) = flush(0x1010, 0x1000).expect("a view");
    assert_eq!((part.addr() - mapped.addr(), part.len(), done.status), (0x1000, 0x2000, NtStatus::SUCCESS));
    let events = scene.events();
    assert_eq!(
        lines(&scene, &events),
        ["U> FB F1", "U< FB F1", "U> WRITE F1 1000+2000 43", "U< WRITE F1 2000", "U> FA F1", "U< FA F1"],
        "F1 is the file of the data section"
    );
    assert_eq!(events[2].irql, nt_ke::irql::PASSIVE_LEVEL);
    flush(0, 0).expect("a view");
    let writes: Vec<_> = scene.paging_writes().iter().map(|event| (event.offset, event.length)).collect();
    assert_eq!(writes, [(0, 0x1000), (0x3000, 0x1000)], "the rest, in ascending order");
    flush(0, 0).expect("a view");
    assert_eq!(scene.take(), Vec::<String>::new(), "nothing is dirty");
    store(mapped, 0, b"y");
    scene.fail_paging_writes(NtStatus::DISK_FULL);
    assert_eq!(flush(0, 0).expect("a view").1.status, NtStatus::DISK_FULL);
    scene.off();
    scene.events();
    flush(0, 0).expect("a view");
    assert_eq!(scene.paging_writes().len(), 1, "what failed stays dirty");
    unmap(&scene, mapped);
    close(&scene, one);
    close(&scene, two);
}

/// A cached file of 100 bytes grown to 5000 hex with a view that has stored far beyond the valid data, and whose writer is
/// told to wait: the page is dirty and the lazy writer finds it.
fn beyond_the_valid_data(scene: &Scene, name: &str) {
    let file = scene.open("F1", name, 0);
    file.write(&pattern(0, 100), None);
    scene.round();
    assert_eq!(file.set(nt_io::info::class::END_OF_FILE, &0x5000_i64.to_le_bytes()), NtStatus::SUCCESS);
    let section = try_section(scene, &file).expect("a section");
    let mapped = view(scene, section);
    store(mapped, 0x3000, b"far");
    scene.events();
    scene.on(|event, _| {
        let acquires = event.major == IRP_MJ_ACQUIRE_FOR_MOD_WRITE;
        acquires.then(|| PreOp::Complete(IoStatus::new(NtStatus::CANT_WAIT, 0)))
    });
    for _ in 0..4 {
        scene.round();
        let writes: Vec<_> = scene.events().into_iter().filter(|event| event.major == IRP_MJ_WRITE).collect();
        let seen = lines(scene, &writes);
        assert_eq!(seen, ["S> WRITE F1 3000+1000 43", "S< WRITE F1 C0000054"], "refused, and tried again");
        assert_eq!(writes[0].top_level, 2, "by the lazy writer");
    }
    assert_eq!((scene.sizes(&file), scene.manager().losses().len()), ((0x5000, 100), 0));
    scene.off();
    // Within the page that holds the valid data's end it goes through.
    store(mapped, 0xFF0, b"near");
    scene.manager().write_mapped();
    assert_eq!(scene.sizes(&file), (0x5000, 0x4000), "the mapped page writer may");
    assert_eq!(scene.medium(&file, 0x3000, 3), b"far");
    unmap(scene, mapped);
    close(scene, section);
}

#[test]
fn nt_cc_37_a_lazy_write_beyond_the_valid_data_of_a_mapped_file_is_tried_again() {
    beyond_the_valid_data(&Scene::new(), "cc37");
}

#[test]
fn nt_s_21_a_lazy_write_beyond_the_valid_data_of_a_mapped_file_is_a_lock_conflict() {
    beyond_the_valid_data(&Scene::new(), "s21");
}

#[test]
fn a_page_that_cannot_be_read_is_an_in_page_error_and_nothing_else() {
    let scene = Scene::new();
    old_file(&scene, "inpage", 0x2000);
    let file = scene.open("F1", "inpage", 0);
    let section = try_section(&scene, &file).expect("a section");
    let mapped = view(&scene, section);
    scene.on(|event, _| {
        let reads = event.major == IRP_MJ_READ && event.irp_flags & IRP_PAGING_IO != 0;
        reads.then(|| PreOp::Complete(IoStatus::new(NtStatus::IO_DEVICE_ERROR, 0)))
    });
    let mut byte = [0];
    let failed = nt_section::read(mapped.sub(0, 1), &mut byte).map_err(|error| error.status());
    assert_eq!(failed, Err(NtStatus::IN_PAGE_ERROR));
    let buffer = nt_cell::Addr::user(mapped.addr());
    let other = scene.open("F2", "inpage2", 0);
    assert_eq!(other.raw_write(buffer, 1, Some(0)).returned, NtStatus::INVALID_USER_BUFFER, "as a buffer too");
    scene.off();
    nt_section::read(mapped.sub(0, 1), &mut byte).expect("the next try reads it");
    assert_eq!(byte.to_vec(), pattern(0, 1));
    unmap(&scene, mapped);
    close(&scene, section);
}
