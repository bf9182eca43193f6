//! Cleanup, close, delete.

use crate::scene::*;
use crate::support::*;
use nt_abi::NtStatus;
use nt_abi::io::*;
use nt_abi::ke::{DISPATCHER_HEADER, KEVENT};
use nt_cc::layout::CACHE_UNINITIALIZE_EVENT;
use nt_fltmgr::PreOp;
use nt_io::info::class;
use nt_io::irp::IoStatus;

#[test]
fn nt_cc_69_cleanup_takes_the_handle_off_the_cache_and_writes_nothing() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc69", 0);
    let other = scene.open("F2", "cc69", 0);
    file.write(b"12345", None);
    other.read(1, Some(0));
    file.lock(0, 5, 0, true);
    let object = file.object();
    scene.events();
    drop(file);
    assert_eq!(scene.paging_writes().len(), 0);
    assert_eq!(object.addr_at(FILE_OBJECT::PrivateCacheMap), 0);
    assert!(object.get(FILE_OBJECT::Flags) & FO_CLEANUP_COMPLETE != 0);
    assert_eq!(scene.map(&other).expect("cached still").dirty_pages(), 1);
    assert_eq!(other.write(b"x", Some(0)), success(1), "its locks went with it");
}

#[test]
fn nt_cc_70_the_first_file_object_is_closed_when_the_cache_lets_go() {
    let scene = Scene::new();
    let clean = scene.open("F1", "cc70", 0);
    clean.write(b"12345", None);
    scene.round();
    scene.events();
    drop(clean);
    assert_eq!(scene.take(), ["U> CLEANUP F1", "U< CLEANUP F1", "U> CLOSE F1", "U< CLOSE F1"], "nothing is dirty");
    let dirty = scene.open("F2", "cc70", 0);
    let second = scene.open("F3", "cc70", 0);
    dirty.write(b"12345", Some(0));
    second.write(b"67890", Some(0));
    scene.events();
    drop(second);
    assert_eq!(scene.take(), ["U> CLEANUP F3", "U< CLEANUP F3", "U> CLOSE F3", "U< CLOSE F3"], "not the first one");
    drop(dirty);
    scene.round();
    let events = scene.tape.events.lock().clone();
    let trace = scene.take();
    assert_eq!(trace[..3], ["U> CLEANUP F2", "U< CLEANUP F2", "S> WRITE F2 0+1000 43"]);
    assert_eq!(trace[trace.len() - 2], "S> CLOSE F2", "later, from the cache's thread");
    assert_eq!((events[2].irp_flags, scene.manager().cached_streams()), (0x43, 0));
}

#[test]
fn nt_cc_71_the_event_of_an_uninitialize_is_set_when_the_data_is_there_or_gone() {
    let scene = Scene::new();
    let waiting = || {
        let event = nt_ex::pool::zeroed::<CACHE_UNINITIALIZE_EVENT>(nt_ex::pool::tag(b"tEvt")).expect("pool");
        let kind = nt_ke::dispatcher::EventType::Notification;
        nt_ke::dispatcher::initialize_event(event.at(CACHE_UNINITIALIZE_EVENT::Event), kind, false);
        event
    };
    let set = |event: nt_cell::Foreign<CACHE_UNINITIALIZE_EVENT>| {
        event.at(CACHE_UNINITIALIZE_EVENT::Event).get(KEVENT::Header.then(DISPATCHER_HEADER::SignalState)) != 0
    };
    let (written, dropped) = (waiting(), waiting());
    let file = scene.open("F1", "cc71", 0);
    file.write(b"12345", None);
    assert!(!nt_cc::uninitialize(*file.object(), None, Some(written)));
    assert!(!set(written));
    scene.round();
    assert!(set(written) && scene.medium(&file, 0, 5) == b"12345");
    file.write(b"54321", Some(0));
    assert!(nt_cc::uninitialize(*file.object(), Some(0), Some(dropped)));
    assert!(set(dropped) && scene.medium(&file, 0, 5) == b"12345");
    for event in [written, dropped] {
        nt_ex::pool::free(event);
    }
    // With write-behind off the teardown writes, and nothing before it.
    let quiet = scene.open("F2", "cc71b", 0);
    quiet.write(b"1", None);
    nt_cc::set_attributes(*quiet.object(), false, true);
    quiet.write(b"12345", Some(0));
    quiet.set(class::END_OF_FILE, &100_i64.to_le_bytes());
    scene.events();
    scene.round();
    assert_eq!(scene.paging_writes().len(), 0);
    drop(quiet);
    assert_eq!(scene.paging_writes().len(), 1);
}

#[test]
fn nt_cc_72_the_last_cached_handle_leaves_noncached_ones_a_clean_stream() {
    let scene = Scene::new();
    let (file, raw) = (scene.open("F1", "cc72", 0), scene.open("F2", "cc72", NONCACHED));
    file.write(&[1; 0x200], None);
    scene.events();
    drop(file);
    let trace = scene.take();
    assert_eq!(trace[0], "U> CLEANUP F1");
    assert!(trace.contains(&"U> WRITE F1 0+1000 43".to_owned()), "nested, in the closing thread: {trace:?}");
    assert!(scene.map(&raw).is_none());
    assert_eq!(raw.read(0x200, Some(0)).1, [1; 0x200]);
    // Its errors are ignored.
    let (file, _raw) = (scene.open("F1", "cc72b", 0), scene.open("F2", "cc72b", NONCACHED));
    file.write(&[1; 0x200], None);
    scene.fail_paging_writes(NtStatus::IO_DEVICE_ERROR);
    drop(file);
    let trace = scene.take();
    assert!(trace.contains(&"U< CLEANUP F1".to_owned()), "{trace:?}");
    scene.off();
}

#[test]
fn nt_cc_73_valid_data_below_the_end_sends_nothing_at_the_last_cleanup() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc73", 0);
    file.write(b"12345", None);
    scene.round();
    file.set(class::END_OF_FILE, &0x4000_i64.to_le_bytes());
    scene.events();
    drop(file);
    assert_eq!(scene.take(), ["U> CLEANUP F1", "U< CLEANUP F1", "U> CLOSE F1", "U< CLOSE F1"]);
    let again = scene.open("F1", "cc73", 0);
    assert_eq!((again.eof(), again.read(16, Some(0)).1), (0x4000, b"12345\0\0\0\0\0\0\0\0\0\0\0".to_vec()));
}

#[test]
fn nt_cc_74_a_deleted_files_dirty_data_is_dropped() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc74", 0);
    file.write(&[1; 0x3000], None);
    file.set(class::DISPOSITION, &[1]);
    let object = file.object();
    scene.events();
    drop(file);
    assert_eq!(scene.paging_writes().len(), 0);
    assert_eq!(scene.world.try_open("cc74", READ_DATA, 0, 1).err(), Some(NtStatus::OBJECT_NAME_NOT_FOUND), "already");
    let frame = scene.world.frame();
    let block = pool_buffer(&[7; 4096]);
    let region = nt_cell::Region::pool(block, 4096);
    let late = nt_io::paging::transfer(&frame, *object, IRP_MJ_WRITE, nt_io::paging::SYNCHRONOUS, 0, region);
    assert_eq!(late, IoStatus::new(NtStatus::SUCCESS, 0), "one under way finds nothing to write");
    nt_ex::pool::free(block);
    // That of a replaced file as well, and what held the file for it sends its CLOSE before the rename returns.
    let replaced = scene.open("F1", "cc74b", 0);
    replaced.write(&[1; 0x3000], None);
    drop(replaced);
    let file = scene.open("F2", "cc74c", 0);
    scene.events();
    let name: Vec<u8> = "cc74b".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let data = [&[1; 1][..], &[0; 15], &(name.len() as u32).to_le_bytes(), &name].concat();
    assert_eq!(file.set(class::RENAME, &data), NtStatus::SUCCESS);
    let trace = scene.take();
    assert!(trace.contains(&"U< CLOSE F1".to_owned()) && trace.iter().all(|line| !line.contains(" 43")), "{trace:?}");
    drop(file);
    scene.round();
}

#[test]
fn nt_cc_76_a_file_opened_again_joins_what_is_cached() {
    let scene = Scene::new();
    let first = scene.open("F1", "cc76", 0);
    first.write(b"12345", None);
    let address = first.object().addr();
    drop(first);
    let again = scene.open("F2", "cc76", 0);
    scene.events();
    assert_eq!(again.read(5, Some(0)).1, b"12345");
    assert!(scene.take().iter().all(|line| !line.contains(" 43")), "the old data is cached still");
    again.write(b"54321", Some(0));
    scene.events();
    scene.round();
    let sent = scene.paging_writes();
    assert_eq!((sent[0].file, scene.map(&again).expect("cached").file().addr()), (address, address));
    assert_ne!(again.object().addr(), address);
}

#[test]
fn nt_cc_77_an_overwritten_files_dirty_data_never_arrives() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc77", 0);
    file.write(&[1; 0x2000], None);
    drop(file);
    scene.events();
    for disposition in [5, 0] {
        let (handle, _) =
            scene.world.try_open("cc77", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC, disposition).expect("open");
        let again = scene.world.adopt(handle);
        assert_eq!(scene.sizes(&again), (0, 0));
        assert_eq!(scene.paging_writes().len(), 0);
        again.write(&[2; 0x1000], None);
    }
    let _none: Option<PreOp> = None;
}
