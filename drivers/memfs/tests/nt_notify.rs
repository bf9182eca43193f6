//! Directory change notification, the requests: nt-fs.md section 10, rules NT-NFY-01 to NT-NFY-14.
mod support;

use nt_abi::NtStatus;
use nt_cell::Addr;
use nt_cell::arena::UserBlock;
use nt_io::info::class;
use nt_io::port;
use nt_ke::Mode;
use nt_ob::Handle;
use support::directory::{units, word};
use support::names::*;
use support::notify::*;
use support::*;

const ENUM_DIR: Iosb = Iosb::Is(NtStatus::NOTIFY_ENUM_DIR, 0);

#[test]
fn nt_nfy_01_a_call_without_anything_faults_on_its_status_block() {
    let world = World::new();
    let dir = world.watched("d");
    let nothing = dir.watch_with(0, |args| {
        (args.caller.handle, args.caller.iosb, args.filter) = (Handle::NULL, Addr::NULL, 0);
    });
    assert_eq!(nothing.returned, NtStatus::ACCESS_VIOLATION);
    let with_block = dir.watch_with(0, |args| args.caller.handle = Handle::NULL);
    assert_eq!((with_block.returned, with_block.iosb()), (NtStatus::INVALID_HANDLE, Iosb::Untouched));
}

#[test]
fn nt_nfy_02_a_filter_of_nothing_or_of_unknown_bits_is_refused() {
    let world = World::new();
    let dir = world.watched("d");
    for filter in [0, 0x1000, u32::MAX] {
        for length in [0, 1024] {
            let wait = dir.watch_sized(filter, length);
            assert_eq!((wait.returned, wait.iosb()), (NtStatus::INVALID_PARAMETER, Iosb::Untouched), "{filter:x}");
        }
        let wait = dir.watch_with(1024, |args| (args.filter, args.buffer) = (filter, Addr::user(4)));
        assert_eq!(wait.returned, NtStatus::INVALID_PARAMETER, "whatever the buffer");
    }
    let wait = dir.watch_with(1024, |args| args.buffer = Addr::user(4));
    assert_eq!((wait.returned, wait.iosb()), (NtStatus::ACCESS_VIOLATION, Iosb::Untouched));
    let odd = UserBlock::new(64).expect("arena");
    let wait = dir.watch_with(32, |args| args.buffer = Addr::user(odd.addr() + 2));
    assert_eq!(wait.returned, NtStatus::DATATYPE_MISALIGNMENT);
}

#[test]
fn nt_nfy_03_a_request_waits_with_its_event_or_its_handle_reset() {
    let world = World::new();
    let (dir, event) = (world.watched("d"), world.event(true));
    assert!(world.signaled(dir.handle), "as it was opened");
    let wait = dir.watch_with(1024, |args| args.caller.event = event);
    assert_eq!((wait.returned, wait.iosb()), (NtStatus::PENDING, Iosb::Untouched));
    assert!(!world.signaled(event));
    let other = world.watched("d");
    let plain = other.watch_sized(FILE_NAME, 0);
    assert_eq!((plain.returned, plain.iosb()), (NtStatus::PENDING, Iosb::Untouched), "no buffer");
    assert!(!world.signaled(other.handle));
    world.put("d\\f", b"");
    assert!(!wait.is_waiting() && world.signaled(event) && world.signaled(other.handle));
}

#[test]
fn nt_nfy_03_a_synchronous_handle_waits_inside_the_call() {
    let world = World::new();
    let dir = world.directory("d");
    let (kernel, processes, process) =
        (world.kernel.clone(), world.processes.clone(), std::sync::Arc::clone(&world.process));
    let helper = std::thread::spawn(move || {
        let thread = processes.create_thread(&kernel, &process).expect("thread");
        let entered = nt_ke::enter(&kernel, &thread, Mode::User);
        let _slept = nt_ke::wait::delay(entered.frame(), Mode::Kernel, false, -500_000);
        let spec = nt_io::create::CreateSpec {
            access: GENERIC_WRITE | SYNCHRONIZE,
            name: full("d\\new").encode_utf16().collect(),
            options: SYNC,
            disposition: 3,
            ..nt_io::create::CreateSpec::default()
        };
        let (handle, _) = nt_io::create::nt_create_file(entered.frame(), &spec).expect("a file");
        nt_io::event::close(entered.frame(), handle).expect("open");
        thread.end();
    });
    let wait = dir.watch(FILE_NAME);
    helper.join().expect("the helper");
    assert_eq!((wait.returned, wait.told()), (NtStatus::SUCCESS, told(&[(ADDED, "new")])));
}

#[test]
fn nt_nfy_04_only_a_directory_with_list_access_that_stays() {
    let world = World::new();
    let blind = world.file("d", 0x80 | SYNCHRONIZE, DIR);
    assert_eq!(blind.watch(ALL).returned, NtStatus::ACCESS_DENIED);
    let file = world.async_file("f");
    let wait = file.watch(ALL);
    assert_eq!((wait.returned, wait.iosb()), (NtStatus::INVALID_PARAMETER, Iosb::Untouched));
    let dir = world.watched("d");
    assert_eq!(world.to_delete("d").dispose(true), NtStatus::SUCCESS);
    let wait = dir.watch(ALL);
    assert_eq!((wait.returned, wait.iosb()), (NtStatus::DELETE_PENDING, Iosb::Untouched));
}

#[test]
fn nt_nfy_05_a_record_is_its_head_and_its_name() {
    let world = World::new();
    let dir = world.watched("d");
    let wait = dir.watch(FILE_NAME | DIR_NAME);
    drop(world.directory("d\\hoo"));
    assert_eq!(wait.iosb(), Iosb::Is(NtStatus::SUCCESS, 0x12));
    let bytes = wait.bytes();
    assert_eq!((word(&bytes, 0), word(&bytes, 4), word(&bytes, 8)), (0, ADDED, 6));
    assert_eq!(bytes[12..], units("hoo"), "no NUL");
    // Several: aligned, linked, the last one with 0.
    for name in ["d\\a", "d\\bcd"] {
        world.put(name, b"");
    }
    let wait = dir.watch(FILE_NAME);
    let records = wait.records();
    assert_eq!(records, [(0, 0x10, ADDED, "a".to_owned()), (0x10, 0, ADDED, "bcd".to_owned())]);
    assert_eq!(wait.iosb(), Iosb::Is(NtStatus::SUCCESS, 0x10 + 0xC + 6));
}

#[test]
fn nt_nfy_06_names_are_relative_to_the_watched_directory_in_the_case_kept() {
    let world = World::new();
    drop((world.directory("D"), world.directory("D\\Sub")));
    let (flat, deep, root) = (world.watched("D"), world.watched("D"), world.watched(""));
    let (in_flat, in_deep, in_root) = (flat.watch(FILE_NAME), deep.watch_tree(FILE_NAME), root.watch_tree(FILE_NAME));
    world.put("d\\SUB\\File", b"");
    assert_eq!(in_deep.told(), told(&[(ADDED, "Sub\\File")]));
    assert_eq!(in_root.told(), told(&[(ADDED, "D\\Sub\\File")]));
    assert!(in_flat.is_waiting());
    let in_root = root.watch_tree(FILE_NAME);
    world.put("top", b"");
    assert_eq!(in_root.told(), told(&[(ADDED, "top")]));
    assert!(in_flat.is_waiting());
    // A directory whose name only starts alike is another one.
    drop(world.directory("Dx"));
    let again = deep.watch_tree(FILE_NAME);
    world.put("Dx\\f", b"");
    assert!(again.is_waiting() && in_flat.is_waiting());
}

#[test]
fn nt_nfy_07_what_does_not_fit_asks_for_a_new_listing() {
    let world = World::new();
    let dir = world.watched("d");
    let small = dir.watch_sized(FILE_NAME, 0x10);
    world.put("d\\abc", b"");
    assert_eq!(small.iosb(), ENUM_DIR);
    let none = world.watched("d");
    let none = (none.watch_sized(FILE_NAME, 0), none);
    world.put("d\\x", b"");
    assert_eq!(none.0.iosb(), ENUM_DIR);
    // The first request had room, this one has not.
    let roomy = world.watched("d");
    let first = roomy.watch(FILE_NAME);
    world.put("d\\y", b"");
    assert_eq!(first.told(), told(&[(ADDED, "y")]));
    let short = roomy.watch_sized(FILE_NAME, 8);
    world.put("d\\z", b"");
    assert_eq!(short.iosb(), ENUM_DIR);
}

#[test]
fn nt_nfy_08_the_first_request_fixes_filter_tree_and_size() {
    let world = World::new();
    drop((world.directory("d"), world.directory("d\\gone"), world.directory("d\\sub")));
    let dir = world.watched("d");
    let first = dir.watch_sized(DIR_NAME, 64);
    drop(world.directory("d\\new"));
    assert_eq!(first.told(), told(&[(ADDED, "new")]));
    let later = dir.watch_with(1024, |args| (args.filter, args.watch_tree) = (SIZE, true));
    world.put("d\\sub\\f", b"bytes");
    drop(world.directory("d\\sub\\deep"));
    world.put("d\\f", b"bytes");
    assert!(later.is_waiting(), "neither SIZE nor the tree was asked for at first");
    assert_eq!(world.to_delete("d\\gone").dispose(true), NtStatus::SUCCESS);
    assert_eq!(later.told(), told(&[(REMOVED, "gone")]));
    // 64 bytes were the first buffer: more is not kept for a larger one.
    for name in ["d\\aaaaaaaaaa", "d\\bbbbbbbbbb", "d\\cccccccccc"] {
        drop(world.directory(name));
    }
    assert_eq!(dir.watch_sized(DIR_NAME, 1024).iosb(), ENUM_DIR);
}

#[test]
fn nt_nfy_09_changes_between_requests_are_kept() {
    let world = World::new();
    let dir = world.watched("d");
    let first = dir.watch_sized(FILE_NAME, 40);
    world.put("d\\a", b"");
    assert_eq!(first.told(), told(&[(ADDED, "a")]));
    world.put("d\\b", b"");
    world.put("d\\c", b"");
    let second = dir.watch_sized(FILE_NAME, 40);
    assert_eq!(second.returned, NtStatus::PENDING, "pended and complete");
    assert_eq!(second.told(), told(&[(ADDED, "b"), (ADDED, "c")]));
    for name in ["d\\1", "d\\2", "d\\3"] {
        world.put(name, b"");
    }
    assert_eq!(dir.watch_sized(FILE_NAME, 40).iosb(), ENUM_DIR, "three do not fit");
    let empty = dir.watch_sized(FILE_NAME, 40);
    assert!(empty.is_waiting(), "and the queue is empty then");
    world.put("d\\4", b"");
    assert_eq!(empty.told(), told(&[(ADDED, "4")]));
}

#[test]
fn nt_nfy_10_without_a_first_buffer_only_the_fact_is_kept() {
    let world = World::new();
    let dir = world.watched("d");
    let first = dir.watch_sized(FILE_NAME, 0);
    world.put("d\\a", b"");
    assert_eq!(first.iosb(), ENUM_DIR);
    world.put("d\\b", b"");
    let second = dir.watch(FILE_NAME);
    assert_eq!((second.returned, second.iosb()), (NtStatus::PENDING, ENUM_DIR));
    let third = dir.watch(FILE_NAME);
    assert!(third.is_waiting());
    world.put("d\\c", b"");
    assert_eq!(third.iosb(), ENUM_DIR, "a buffer that comes later changes nothing");
}

#[test]
fn nt_nfy_11_requests_on_a_handle_end_in_order_one_per_change() {
    let world = World::new();
    let dir = world.watched("d");
    let waits = [dir.watch(FILE_NAME), dir.watch(FILE_NAME), dir.watch(FILE_NAME)];
    for (at, name) in ["a", "b"].into_iter().enumerate() {
        world.put(&format!("d\\{name}"), b"");
        assert_eq!(waits[at].told(), told(&[(ADDED, name)]));
        assert!(waits[at + 1].is_waiting());
    }
    // Two handles hear of the same change.
    let other = world.watched("d");
    let heard = other.watch(FILE_NAME);
    world.put("d\\c", b"");
    assert_eq!((heard.told(), waits[2].told()), (told(&[(ADDED, "c")]), told(&[(ADDED, "c")])));
}

#[test]
fn nt_nfy_12_a_cancel_ends_the_requests_and_leaves_the_watch() {
    let world = World::new();
    let dir = world.watched("d");
    let waits = [dir.watch(FILE_NAME), dir.watch(FILE_NAME)];
    let block = UserBlock::new(16).expect("arena");
    let cancel = || nt_io::cancel::nt_cancel_io_file(&world.frame(), dir.handle, Addr::user(block.addr()));
    assert_eq!(cancel(), NtStatus::SUCCESS);
    for wait in &waits {
        assert_eq!(wait.iosb(), Iosb::Is(NtStatus::CANCELLED, 0));
    }
    world.put("d\\kept", b"");
    assert_eq!(dir.watch(DIR_NAME).told(), told(&[(ADDED, "kept")]), "by the first filter, from the queue");
    // One of two: the other goes on.
    let (one, two) = (dir.watch(FILE_NAME), dir.watch(FILE_NAME));
    let status =
        nt_io::cancel::nt_cancel_io_file_ex(&world.frame(), dir.handle, one.args.caller.iosb, Addr::user(block.addr()));
    assert_eq!((status, one.iosb()), (NtStatus::SUCCESS, Iosb::Is(NtStatus::CANCELLED, 0)));
    world.put("d\\more", b"");
    assert_eq!(two.told(), told(&[(ADDED, "more")]));
}

#[test]
fn nt_nfy_13_the_last_close_ends_what_waits() {
    let world = World::new();
    let event = world.event(false);
    let dir = world.watched("d");
    let waits = [dir.watch_with(1024, |args| args.caller.event = event), dir.watch(FILE_NAME)];
    drop(dir);
    for wait in &waits {
        assert_eq!(wait.iosb(), Iosb::Is(NtStatus::NOTIFY_CLEANUP, 0));
    }
    assert!(world.signaled(event));
    assert_eq!(world.processes.in_flight(), 0);
    // A duplicate keeps it waiting.
    let dir = world.watched("d");
    let wait = dir.watch(FILE_NAME);
    let frame = world.frame();
    let table = nt_ps::table_of(&frame, dir.handle, false);
    let found = table.reference(dir.handle).expect("open");
    let twin = table.insert(&found.object, found.granted, 0).expect("a handle");
    drop(dir);
    assert!(wait.is_waiting());
    let twin = world.adopt(twin);
    world.put("d\\f", b"");
    assert_eq!(wait.told(), told(&[(ADDED, "f")]));
    drop(twin);
}

#[test]
fn nt_nfy_14_apc_event_handle_and_port_follow_the_contract() {
    let world = World::new();
    let (dir, event) = (world.watched("d"), world.event(false));
    let wait = dir.watch_with(1024, |args| args.caller.event = event);
    world.put("d\\a", b"");
    assert_eq!(wait.told(), told(&[(ADDED, "a")]));
    assert!(world.signaled(event) && !world.signaled(dir.handle), "the event, not the handle");
    let wait = dir.watch(FILE_NAME);
    assert!(!world.signaled(dir.handle));
    world.put("d\\b", b"");
    assert!(!wait.is_waiting() && world.signaled(dir.handle));

    let wait = dir.watch_with(1024, |args| {
        (args.caller.apc_routine, args.caller.apc_context) = (Some(noting_apc()), 7);
    });
    world.put("d\\c", b"");
    assert!(!wait.is_waiting());
    assert_eq!(apcs(), [], "not before an alertable wait");
    assert_eq!(nt_io::thread::nt_delay_execution(&world.frame(), true, -10_000), NtStatus::USER_APC);
    assert_eq!(apcs(), [(7, wait.args.caller.iosb.value())]);

    let port = port::create(&world.frame(), 0x1F_0003).expect("a port");
    let mut association = [0; 16];
    association[..8].copy_from_slice(&port.0.to_le_bytes());
    association[8..].copy_from_slice(&0x55_u64.to_le_bytes());
    let other = world.watched("d");
    assert_eq!(other.set(class::COMPLETION, &association), NtStatus::SUCCESS);
    let wait = other.watch_with(1024, |args| args.caller.apc_context = 9);
    world.put("d\\e", b"");
    let packet = port::remove(&world.frame(), port, Some(0)).expect("a port").expect("a packet");
    assert_eq!((packet.key, packet.context, packet.result.status), (0x55, 9, NtStatus::SUCCESS));
    assert_eq!(packet.result.information, wait.bytes().len() as u64);
}
