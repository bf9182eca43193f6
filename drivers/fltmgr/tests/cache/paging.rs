//! The shape of paging writes.

use crate::scene::*;
use crate::support::*;
use nt_abi::NtStatus;
use nt_abi::io::*;
use nt_abi::mm::*;
use nt_fltmgr::PreOp;
use nt_io::info::class;
use nt_ke::Mutex;
use std::sync::Arc;

/// Every paging request of a life with flush, round, fault and teardown.
fn all_paging(scene: &Scene, name: &str) -> Vec<Event> {
    let file = scene.open("F1", name, 0);
    scene.events();
    file.write(&pattern(0, 0x2800), None);
    scene.flush(&file);
    file.write(b"round", Some(0x100));
    scene.round();
    let mut events = scene.events();
    scene.forget(&file);
    file.write(b"fault", Some(0x1100));
    drop(file);
    scene.round();
    events.extend(scene.events());
    events.into_iter().filter(|event| !event.post && event.irp_flags & IRP_PAGING_IO != 0).collect()
}

#[test]
fn nt_cc_22_paging_means_noncached() {
    let scene = Scene::new();
    let paging = all_paging(&scene, "cc22");
    assert!(paging.iter().filter(|event| event.major == IRP_MJ_WRITE).count() >= 3);
    assert!(paging.iter().all(|event| event.irp_flags & IRP_NOCACHE != 0));
    assert!(paging.iter().all(|event| !event.fast), "no fast call carries one");
}

#[test]
fn nt_cc_23_the_pages_are_locked_and_described() {
    let scene = Scene::new();
    let paging = all_paging(&scene, "cc23");
    for event in paging.iter().filter(|event| event.major != IRP_MJ_SET_INFORMATION) {
        let (flags, _) = event.mdl.expect("an MDL");
        assert!(flags & MDL_PAGES_LOCKED != 0 && flags & MDL_SOURCE_IS_NONPAGED_POOL == 0, "{flags:x}");
        assert_eq!(flags & MDL_IO_PAGE_READ != 0, event.major == IRP_MJ_READ);
    }
    assert!(paging.iter().any(|event| event.major == IRP_MJ_READ));
}

#[test]
fn nt_cc_24_the_buffer_is_the_mdls_address() {
    let scene = Scene::new();
    let paging = all_paging(&scene, "cc24");
    let transfers = paging.iter().filter(|event| event.mdl.is_some());
    let pairs: Vec<_> = transfers.map(|event| (event.mdl.expect("an MDL").1, event.buffer)).collect();
    assert!(pairs.len() >= 4 && pairs.iter().all(|(mdl, buffer)| mdl == buffer));
}

#[test]
fn nt_cc_25_whole_pages_go_and_the_file_system_trims() {
    let scene = Scene::new();
    for (name, count, at) in [("a", 62_i64, 0_i64), ("b", 512, 0), ("c", 1004, 0), ("d", 4097, 0), ("e", 4097, 4097)] {
        let file = scene.open("F1", &format!("cc25{name}"), 0);
        file.write(&vec![9; (at + count) as usize], Some(0));
        scene.round();
        file.write(&vec![1; count as usize], Some(at));
        scene.events();
        assert_eq!(scene.flush(&file), NtStatus::SUCCESS);
        let trace = scene.take();
        let length = if count == 4097 { 0x2000 } else { 0x1000 };
        let (first, trimmed) = (at & !0xFFF, at + count - (at & !0xFFF));
        assert_eq!(trace[3], format!("U> WRITE F1 {first:x}+{length:x} 43"), "{count} at {at}");
        assert_eq!(trace[4], format!("U< WRITE F1 {trimmed:x}"), "fewer is enough");
    }
}

#[test]
fn nt_cc_26_neighbours_go_together_up_to_a_mebibyte() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc26", 0);
    file.write(&[1; 0x3000], None);
    scene.round();
    file.write(b"x", Some(0));
    file.write(b"x", Some(0x2000));
    scene.events();
    scene.flush(&file);
    let sent: Vec<_> = scene.paging_writes().iter().map(|event| (event.offset, event.length)).collect();
    assert_eq!(sent, [(0, 0x1000), (0x2000, 0x1000)]);
    for at in 0..24 {
        file.write(&vec![2; 0x20000], Some(at * 0x20000));
    }
    scene.events();
    scene.flush(&file);
    let sent = scene.paging_writes();
    assert!(sent.iter().all(|event| event.length <= 0x10_0000));
    assert!(sent.iter().any(|event| event.length == 0x10_0000));
    assert_eq!(sent.iter().map(|event| event.length).sum::<u32>(), 24 * 0x20000);
}

#[test]
fn nt_cc_27_the_flags_of_paging_writes() {
    let scene = Scene::new();
    let paging = all_paging(&scene, "cc27");
    for event in paging.iter().filter(|event| event.major == IRP_MJ_WRITE) {
        let shape = (event.irp_flags, event.stack_flags & SL_WRITE_THROUGH, event.minor, event.key, event.from_user);
        assert_eq!(shape, (0x43, 0, 0, 0, false));
    }
}

#[test]
fn nt_cc_28_its_completion_tells_nobody_but_the_sender() {
    let scene = Scene::new();
    let mut file = scene.world.async_file("cc28");
    scene.world.policy(nt_io::system::AsyncPolicy::Inline);
    file.event = scene.world.event(false);
    assert_eq!(file.write(b"12345", Some(0)), success(5));
    let object = file.object();
    let quiet = nt_abi::ke::KEVENT::Header.then(nt_abi::ke::DISPATCHER_HEADER::SignalState);
    object.at(FILE_OBJECT::Event).set(quiet, 0);
    let event = scene.world.event(false);
    file.event = event;
    let mdls = nt_ex::pool::outstanding(scene.world.kernel.id());
    let count = |list: &[(u32, usize, usize)]| {
        list.iter().find(|(tag, ..)| *tag == nt_ex::pool::tag(b"Mdl ")).map_or(0, |(_, blocks, _)| *blocks)
    };
    scene.flush(&file);
    file.write(b"67890", Some(0));
    assert!(scene.world.signaled(event), "that was the write's");
    scene.round();
    assert_eq!(object.at(FILE_OBJECT::Event).get(quiet), 0, "the file object's event stays");
    assert_eq!(object.get(FILE_OBJECT::CurrentByteOffset), 0);
    assert_eq!(count(&nt_ex::pool::outstanding(scene.world.kernel.id())), count(&mdls), "freed once, by the sender");
}

#[test]
fn nt_cc_29_the_irql_of_paging_requests() {
    let scene = Scene::new();
    for event in all_paging(&scene, "cc29") {
        assert_eq!(event.irql, u8::from(event.major == IRP_MJ_READ), "{event:?}");
    }
}

#[test]
fn nt_cc_30_whose_thread_it_is() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc30", 0);
    let raw = scene.open("F2", "cc30", NONCACHED);
    let thread = |act: &dyn Fn()| {
        file.write(&[1; 0x1000], Some(0));
        scene.events();
        act();
        let sent = scene.paging_writes();
        (sent[0].thread, sent[0].process == 4)
    };
    assert_eq!(thread(&|| scene.round()), ('S', true), "lazy writer");
    assert_eq!(thread(&|| assert!(scene.flush(&file).is_success())), ('U', false), "flush");
    assert_eq!(thread(&|| assert_eq!(raw.write(&[2; 512], Some(0)), success(512))), ('U', false), "coherency");
    let through = scene.open("F3", "cc30b", 2);
    scene.events();
    through.write(&[1; 16], Some(0));
    assert_eq!(scene.paging_writes()[0].thread, 'U', "write-through");
    scene.forget(&file);
    file.read(16, Some(0));
    let events = scene.events();
    let fault = events.iter().find(|event| event.irp_flags & IRP_PAGING_IO != 0).expect("a fault");
    assert_eq!((fault.thread, fault.major), ('U', IRP_MJ_READ), "who faulted");
}

#[test]
fn nt_cc_31_what_a_filter_may_not_ask_inside_a_paging_write() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc31", 0);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    scene.on(move |event, data| {
        if event.irp_flags & IRP_PAGING_IO != 0 && event.major == IRP_MJ_WRITE {
            // FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_FILESYSTEM_ONLY
            let asked = data.file_name(0x01 | 0x300).map(|_| ()).map_err(NtStatus::from);
            let posted = data.queue_work(|_| unreachable!("refused")).map_err(NtStatus::from);
            sink.lock().push((asked, posted));
        }
        None::<PreOp>
    });
    let refused = (Err(NtStatus::FLT_INVALID_NAME_REQUEST), Err(NtStatus::FLT_NOT_SAFE_TO_POST_OPERATION));
    file.write(b"12345", None);
    scene.round();
    assert_eq!(seen.lock().drain(..).collect::<Vec<_>>(), [refused], "lazy writer");
    file.write(b"54321", Some(0));
    scene.flush(&file);
    assert_eq!(seen.lock().drain(..).collect::<Vec<_>>(), [refused], "flush");
    let block = pool_buffer(&[7; 4096]);
    let region = nt_cell::Region::pool(block, 4096);
    let frame = scene.world.frame();
    let mapped = nt_io::paging::transfer(&frame, *file.object(), IRP_MJ_WRITE, nt_io::paging::MAPPED, 0, region);
    assert!(mapped.status.is_success());
    assert_eq!(seen.lock().drain(..).collect::<Vec<_>>(), [refused], "mapped pages");
    nt_ex::pool::free(block);
    // That noncached I/O below itself is allowed, nt_cc_11 shows.
}

#[test]
fn nt_cc_32_no_lock_is_asked() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc32", 0);
    let other = scene.open("F2", "cc32", 0);
    file.write(b"12345", None);
    other.lock(0, 100, 0, true);
    scene.events();
    scene.round();
    let trace = scene.take();
    assert_eq!(trace[..2], ["S> WRITE F1 0+1000 43", "S< WRITE F1 5"]);
    assert_eq!(file.write(b"x", Some(0)), refused(NtStatus::FILE_LOCK_CONFLICT), "a caller is");
    let reader = scene.world.file("cc32", GENERIC_READ | SYNCHRONIZE, SYNC);
    assert_eq!(reader.object().get(FILE_OBJECT::WriteAccess), 0);
    other.unlock(0, 100, 0);
}

#[test]
fn nt_cc_33_which_paging_write_moves_the_valid_data() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc33", 0);
    file.write(&[1; 100], None);
    scene.round();
    file.set(class::END_OF_FILE, &8192_i64.to_le_bytes());
    assert_eq!(scene.sizes(&file), (8192, 100));
    file.write(b"x", Some(0));
    scene.round();
    assert_eq!(scene.sizes(&file), (8192, 100), "the lazy writer's carries a page and moves nothing");
    let frame = scene.world.frame();
    let block = pool_buffer(&[7; 4096]);
    let region = nt_cell::Region::pool(block, 4096);
    let mapped =
        |offset| nt_io::paging::transfer(&frame, *file.object(), IRP_MJ_WRITE, nt_io::paging::MAPPED, offset, region);
    assert_eq!(mapped(4096).information, 4096);
    assert_eq!(scene.sizes(&file), (8192, 8192), "a mapping's does");
    assert_eq!(mapped(8192).information, 0, "and none moves the end");
    assert_eq!(scene.sizes(&file), (8192, 8192));
    assert_eq!(scene.medium(&file, 100, 3996), [0; 3996], "the gap is zero");
    nt_ex::pool::free(block);
}
