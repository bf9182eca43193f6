//! Byte-range locks and the writes that they refuse: nt-io.md section 16.
mod device;
mod support;

use nt_abi::NtStatus;
use nt_abi::io::{FILE_OBJECT, IRP_NOCACHE, IRP_PAGING_IO};
use nt_abi::mm::FSRTL_ADVANCED_FCB_HEADER;
use nt_cell::Addr;
use nt_io::system::AsyncPolicy;
use support::*;

const END: i64 = -1;
const EXCLUSIVE: bool = true;
const SHARED: bool = false;

fn conflict() -> Done {
    refused(NtStatus::FILE_LOCK_CONFLICT)
}

fn not_granted() -> Done {
    refused(NtStatus::LOCK_NOT_GRANTED)
}

/// A file of 256 bytes, opened twice by one process.
fn pair<'a>(world: &'a World, name: &str) -> (File<'a>, File<'a>) {
    let first = world.sync_file(name);
    assert_eq!(first.write(&[b'.'; 256], Some(0)), success(256));
    (first, world.sync_file(name))
}

#[test]
fn nt_l_01_who_may_lock_what() {
    let world = World::new();
    let (mine, other) = pair(&world, "l01");
    assert_eq!(mine.lock(0, 10, 0, EXCLUSIVE), success(0));
    assert_eq!(other.lock(5, 10, 0, EXCLUSIVE), not_granted());
    assert_eq!(other.lock(5, 10, 0, SHARED), not_granted());
    assert_eq!(mine.lock(0, 10, 0, EXCLUSIVE), not_granted(), "exclusive over own exclusive");
    assert_eq!(mine.lock(2, 3, 0, SHARED), success(0), "shared over own exclusive");
    assert_eq!(mine.lock(2, 3, 0, EXCLUSIVE), not_granted(), "exclusive over own shared");
    assert_eq!(mine.lock(100, 10, 0, SHARED), success(0));
    assert_eq!(other.lock(100, 10, 0, SHARED), success(0), "shared over shared");
    assert_eq!(mine.lock(100, 10, 0, EXCLUSIVE), not_granted());
    assert_eq!(other.lock(105, 1, 0, EXCLUSIVE), not_granted());
    for access in [APPEND_DATA, 0x80] {
        let weak = world.file("l01", access | SYNCHRONIZE, SYNC);
        assert_eq!(weak.lock(200, 1, 0, SHARED), refused(NtStatus::ACCESS_DENIED), "{access:#x}");
        assert_eq!(weak.unlock(200, 1, 0), refused(NtStatus::ACCESS_DENIED), "{access:#x}");
    }
    for access in [READ_DATA, WRITE_DATA] {
        let enough = world.file("l01", access | SYNCHRONIZE, SYNC);
        assert_eq!(enough.lock(200, 1, 0, EXCLUSIVE), success(0), "{access:#x}");
    }
}

#[test]
fn nt_l_01_without_fail_immediately_the_request_waits_its_turn() {
    let world = World::new();
    let (mine, _) = pair(&world, "l01w");
    let waiting = world.async_file("l01w");
    assert_eq!(mine.lock(0, 10, 0, EXCLUSIVE), success(0));
    let args = waiting.lock_arguments(0, 10, 0, EXCLUSIVE, true);
    assert_eq!(nt_io::lock::nt_lock_file(&world.frame(), &args), NtStatus::PENDING);
    assert_eq!((waiting.iosb(), world.signaled(waiting.handle)), (Iosb::Untouched, false));
    assert_eq!(mine.unlock(0, 10, 0), success(0));
    assert_eq!((waiting.iosb(), world.signaled(waiting.handle)), (Iosb::Is(NtStatus::SUCCESS, 0), true));
    assert_eq!(mine.lock(0, 10, 0, EXCLUSIVE), not_granted(), "it is the waiter's now");
}

#[test]
fn nt_l_01_a_synchronous_handle_waits_in_the_call() {
    let world = World::new();
    let (mine, other) = pair(&world, "l01s");
    assert_eq!(mine.lock(0, 10, 0, EXCLUSIVE), success(0));
    let args = other.lock_arguments(0, 10, 0, SHARED, true);
    let (kernel, processes, process) = (&world.kernel, &world.processes, &world.process);
    let granted = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (args, granted) = (&args, &granted);
        let waiter = scope.spawn(move || {
            let thread = processes.create_thread(kernel, process).expect("thread");
            let entered = nt_ke::enter(kernel, &thread, nt_ke::Mode::User);
            let status = nt_io::lock::nt_lock_file(entered.frame(), args);
            granted.store(true, std::sync::atomic::Ordering::SeqCst);
            status
        });
        let never = world.event(false);
        let waited = nt_io::event::wait_for(&world.frame(), never, false, Some(-200_000)).expect("an event");
        assert_eq!(waited, NtStatus::TIMEOUT);
        assert!(!granted.load(std::sync::atomic::Ordering::SeqCst), "the call waits");
        assert_eq!(mine.unlock(0, 10, 0), success(0));
        assert_eq!(waiter.join().expect("waiter"), NtStatus::SUCCESS);
    });
    assert_eq!(mine.lock(0, 10, 0, EXCLUSIVE), not_granted());
}

#[test]
fn nt_l_02_another_handle_or_key_or_process_is_another_owner() {
    let world = World::new();
    let (mine, other) = pair(&world, "l02");
    assert_eq!(mine.lock(0, 10, 7, EXCLUSIVE), success(0));
    assert_eq!(mine.lock(0, 10, 7, SHARED), success(0), "file object, process and key agree");
    assert_eq!(mine.lock(0, 10, 8, SHARED), not_granted(), "another key");
    assert_eq!(other.lock(0, 10, 7, SHARED), not_granted(), "another handle of the same process");
    let node = device::file_object(&world, mine.handle).ptr(FILE_OBJECT::FsContext);
    assert!(node.is_some());
    let elsewhere = world.processes.create_process(&world.kernel, "other.exe").expect("process");
    let thread = world.processes.create_thread(&world.kernel, &elsewhere).expect("thread");
    let kind = nt_ob::types::ObjectType::File;
    let object = nt_io::event::reference(&world.frame(), mine.handle, kind, 0, nt_ke::Mode::Kernel).expect("file").0;
    let shared = elsewhere.handles.insert(&object, 0x0012_019F, 0).expect("a handle to the same file object");
    let mut args = mine.lock_arguments(0, 10, 7, SHARED, false);
    args.caller.handle = shared;
    let entered = nt_ke::enter(&world.kernel, &thread, nt_ke::Mode::User);
    let status = nt_io::lock::nt_lock_file(entered.frame(), &args);
    drop(entered);
    assert_eq!(status, NtStatus::LOCK_NOT_GRANTED, "another process through the same file object");
    world.processes.end(&elsewhere);
}

#[test]
fn nt_l_03_unlock_names_one_lock_exactly() {
    let world = World::new();
    let (mine, other) = pair(&world, "l03");
    let missing = refused(NtStatus::RANGE_NOT_LOCKED);
    assert_eq!(mine.unlock(0, 10, 0), missing, "before any lock");
    assert_eq!(mine.lock(0, 10, 3, EXCLUSIVE), success(0));
    assert_eq!(mine.lock(0, 10, 3, SHARED), success(0));
    for (start, length, key) in [(0, 9, 3), (1, 9, 3), (0, 11, 3), (0, 10, 0)] {
        assert_eq!(mine.unlock(start, length, key), missing, "{start} {length} {key}");
    }
    assert_eq!(other.unlock(0, 10, 3), missing, "not its owner");
    assert_eq!(mine.unlock(0, 10, 3), success(0));
    assert_eq!(other.lock(0, 10, 0, SHARED), success(0), "the exclusive one went first");
    assert_eq!(other.lock(0, 10, 0, EXCLUSIVE), not_granted(), "the shared one is still there");
    assert_eq!(mine.unlock(0, 10, 3), success(0));
    assert_eq!(mine.unlock(0, 10, 3), missing);
}

#[test]
fn nt_l_04_neighbours_past_the_end_and_no_wrap() {
    let world = World::new();
    let (mine, other) = pair(&world, "l04");
    assert_eq!(mine.lock(10, 20, 0, EXCLUSIVE), success(0));
    assert_eq!(other.lock(5, 5, 0, EXCLUSIVE), success(0), "adjacent");
    assert_eq!(other.lock(30, 1, 0, EXCLUSIVE), success(0), "adjacent");
    assert_eq!(other.lock(1 << 40, 1 << 40, 0, EXCLUSIVE), success(0), "beyond the end of the file");
    assert_eq!(mine.lock(u64::MAX, 1, 0, EXCLUSIVE), success(0), "the last byte there is");
    assert_eq!(mine.lock(u64::MAX - 5, 10, 0, SHARED), refused(NtStatus::INVALID_LOCK_RANGE));
    assert_eq!(mine.eof(), 256);
}

#[test]
fn nt_l_05_an_empty_lock_conflicts_with_what_contains_it() {
    let world = World::new();
    let (mine, other) = pair(&world, "l05");
    assert_eq!(mine.lock(100, 0, 0, EXCLUSIVE), success(0));
    assert_eq!(other.lock(98, 4, 0, EXCLUSIVE), not_granted());
    assert_eq!(other.lock(90, 10, 0, EXCLUSIVE), success(0));
    assert_eq!(other.lock(100, 10, 0, EXCLUSIVE), not_granted());
    assert_eq!(other.unlock(100, 10, 0), refused(NtStatus::RANGE_NOT_LOCKED));
    assert_eq!(mine.unlock(100, 10, 0), refused(NtStatus::RANGE_NOT_LOCKED));
    assert_eq!(other.write(b"", Some(100)), success(0), "a write of nothing is never refused");
    assert_eq!(mine.unlock(100, 0, 0), success(0));
    assert_eq!(other.lock(100, 10, 0, EXCLUSIVE), success(0));
}

#[test]
fn nt_l_06_anothers_lock_refuses_the_whole_write() {
    let world = World::new();
    for (name, exclusive) in [("l06x", EXCLUSIVE), ("l06s", SHARED)] {
        let (mine, other) = pair(&world, name);
        assert_eq!(mine.lock(100, 10, 0, exclusive), success(0));
        for round in 0..2 {
            // The first refusal comes as a packet, the second after the fast path said no.
            assert_eq!(other.write(&[b'x'; 20], Some(95)), conflict(), "{name} {round}");
            assert_eq!(other.write(&[b'x'; 500], Some(105)), conflict(), "{name} {round}");
        }
        assert_eq!((other.eof(), other.read(256, Some(0)).0), (256, if exclusive { conflict() } else { success(256) }));
        assert_eq!(other.write(b"fine", Some(110)), success(4), "beside the lock");
        assert_eq!(mine.unlock(100, 10, 0), success(0));
        assert_eq!(other.write(&[b'x'; 20], Some(95)), success(20));
    }
}

#[test]
fn nt_l_06_an_asynchronous_handle_is_told_at_once_or_by_its_block() {
    let world = World::new();
    let (mine, _) = pair(&world, "l06a");
    assert_eq!(mine.lock(0, 10, 0, EXCLUSIVE), success(0));
    let other = world.async_file("l06a");
    world.policy(AsyncPolicy::Inline);
    assert_eq!(other.write(b"x", Some(5)), conflict());
    world.policy(AsyncPolicy::Pend);
    assert_eq!(other.write(b"x", Some(5)), pended(NtStatus::FILE_LOCK_CONFLICT, 0));
    assert_eq!(mine.read(256, Some(0)).1, vec![b'.'; 256]);
}

#[test]
fn nt_l_07_the_owner_of_an_exclusive_lock_writes_in_it() {
    let world = World::new();
    let (mine, _) = pair(&world, "l07");
    assert_eq!(mine.lock(100, 10, 0, EXCLUSIVE), success(0));
    for _ in 0..2 {
        assert_eq!(mine.write(&[b'y'; 30], Some(90)), success(30));
    }
    assert_eq!(mine.read(30, Some(90)), (success(30), vec![b'y'; 30]));
}

#[test]
fn nt_l_08_a_shared_lock_keeps_its_owner_from_writing_too() {
    let world = World::new();
    let (mine, _) = pair(&world, "l08");
    assert_eq!(mine.lock(100, 10, 0, SHARED), success(0));
    assert_eq!(mine.write(b"x", Some(105)), conflict());
    assert_eq!(mine.read(1, Some(105)), (success(1), b".".to_vec()));
    assert_eq!(mine.write(b"x", Some(110)), success(1));
}

#[test]
fn nt_l_09_the_key_of_a_write_is_part_of_its_owner() {
    let world = World::new();
    let (mine, _) = pair(&world, "l09");
    assert_eq!(mine.lock(100, 10, 7, EXCLUSIVE), success(0));
    for _ in 0..2 {
        assert_eq!(mine.write_keyed(b"x", Some(100), Some(7)), success(1));
        assert_eq!(mine.write_keyed(b"x", Some(100), Some(8)), conflict());
        assert_eq!(mine.write_keyed(b"x", Some(100), None), conflict(), "no key is key 0");
        assert_eq!(mine.read(1, Some(100)).0, conflict(), "a read's key too");
    }
    assert_eq!(mine.write_keyed(b"z", Some(0), Some(99)), success(1), "outside the lock any key will do");
}

#[test]
fn nt_w_14_the_key_travels_and_moves_no_data() {
    let world = World::new();
    let recorder = device::over_the_volume(&world);
    let file = world.file("w14", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | 2);
    assert_eq!(file.write_keyed(b"0123456789", None, None), success(10));
    assert_eq!(recorder.last().key, 0);
    assert_eq!(file.write_keyed(b"abc", Some(2), Some(0xDEAD_BEEF)), success(3));
    assert_eq!((recorder.last().key, recorder.last().offset), (0xDEAD_BEEF, 2));
    assert_eq!((file.position(), file.bytes_of("w14")), (5, b"01abc56789".to_vec()));
}

#[test]
fn nt_l_10_the_check_takes_the_resolved_start_and_comes_before_growth() {
    let world = World::new();
    let (mine, other) = pair(&world, "l10");
    assert_eq!(mine.lock(256, 100, 0, EXCLUSIVE), success(0));
    let header = device::file_object(&world, other.handle).ptr(FILE_OBJECT::FsContext).expect("an FCB");
    let header = header.view::<FSRTL_ADVANCED_FCB_HEADER>();
    let allocation = header.get(FSRTL_ADVANCED_FCB_HEADER::AllocationSize);
    assert_eq!(other.write(&[1; 9000], Some(END)), conflict(), "an append starts at the end of the file");
    assert_eq!((other.eof(), header.get(FSRTL_ADVANCED_FCB_HEADER::AllocationSize)), (256, allocation));
    let opened = device::file_object(&world, other.handle);
    assert_eq!(mine.lock(0, 16, 0, EXCLUSIVE), success(0));
    let paging = device::send_write(&world, opened, IRP_PAGING_IO | IRP_NOCACHE, 0, &[b'p'; 16]);
    assert_eq!(paging, (NtStatus::SUCCESS, 16), "paging I/O is not asked");
    assert_eq!(device::send_write(&world, opened, 0, 0, &[b'p'; 16]).0, NtStatus::FILE_LOCK_CONFLICT);
}

#[test]
fn nt_l_11_locks_go_with_the_last_handle() {
    let world = World::new();
    let (mine, other) = pair(&world, "l11");
    assert_eq!(mine.lock(0, 10, 1, EXCLUSIVE), success(0));
    assert_eq!(mine.lock(20, 10, 2, SHARED), success(0));
    let waiting = world.async_file("l11");
    assert_eq!(other.lock(100, 10, 0, EXCLUSIVE), success(0));
    let args = waiting.lock_arguments(100, 10, 0, EXCLUSIVE, true);
    assert_eq!(nt_io::lock::nt_lock_file(&world.frame(), &args), NtStatus::PENDING);
    let frame = world.frame();
    let in_flight = || nt_ps::process::processes(&frame.kernel).in_flight();
    assert_eq!(in_flight(), 1);
    nt_io::event::close(&frame, waiting.handle).expect("close");
    assert_eq!(in_flight(), 0, "the waiting request ended; nobody is told (NT-Q-14)");
    drop(mine);
    assert_eq!(other.lock(0, 50, 0, EXCLUSIVE), success(0));
    assert_eq!(other.unlock(100, 10, 0), success(0));
    let third = world.sync_file("l11");
    assert_eq!(third.lock(100, 10, 0, EXCLUSIVE), success(0), "the request that waited left nothing behind");
}

#[test]
fn nt_o_15_where_a_failed_write_leaves_the_position() {
    let world = World::with(nt_ke::WindowsVersion::default(), Some(64 << 10));
    let (mine, other) = pair(&world, "o15");
    other.seek(50);
    // (a) refused before the file system's main body.
    assert_eq!(other.write(b"x", Some(-5)), refused(NtStatus::INVALID_PARAMETER));
    assert_eq!(other.with_arguments(|args| args.iosb = Addr::NULL), refused(NtStatus::ACCESS_VIOLATION));
    assert_eq!((other.write(b"", Some(10)), other.position()), (success(0), 50));
    // (b) failed in it with a status: the resolved start (FAT-derived).
    assert_eq!(mine.lock(100, 10, 0, EXCLUSIVE), success(0));
    for offset in [100, 105] {
        assert_eq!(other.write(b"xy", Some(offset)), conflict());
        assert_eq!(other.position(), offset);
    }
    assert_eq!(mine.lock(256, 10, 0, EXCLUSIVE), success(0));
    assert_eq!((other.write(b"xy", Some(END)), other.position()), (conflict(), 256));
    // (c) failed by an exception, or for want of room: as it was, and the sizes too.
    other.seek(50);
    assert_eq!(other.raw_write(Addr::NULL, 50, Some(20)), refused(NtStatus::INVALID_USER_BUFFER));
    assert_eq!((other.position(), other.eof()), (50, 256));
    assert_eq!(other.raw_write(Addr::NULL, 100, Some(1000)), refused(NtStatus::INVALID_USER_BUFFER));
    assert_eq!((other.position(), other.eof()), (50, 256));
    assert_eq!(other.write(&[1; 100 << 10], Some(1000)), refused(NtStatus::DISK_FULL));
    assert_eq!((other.position(), other.eof()), (50, 256));
}

#[test]
fn nt_r_07_an_exclusive_lock_keeps_others_from_reading() {
    let world = World::new();
    let (mine, other) = pair(&world, "r07");
    assert_eq!(mine.lock(100, 10, 0, EXCLUSIVE), success(0));
    assert_eq!(mine.lock(200, 10, 0, SHARED), success(0));
    for _ in 0..2 {
        assert_eq!(other.read(20, Some(95)).0, conflict());
        assert_eq!(other.read(20, Some(195)).0, success(20));
        assert_eq!(mine.read(20, Some(95)).0, success(20));
    }
}

#[test]
fn nt_w_08_a_write_of_nothing_succeeds_where_others_fail() {
    let world = World::with(nt_ke::WindowsVersion::default(), Some(4096));
    let (mine, other) = pair(&world, "w08");
    assert_eq!(mine.lock(0, 256, 0, EXCLUSIVE), success(0));
    assert_eq!((other.write(b"x", Some(0)), other.write(b"", Some(0))), (conflict(), success(0)));
    let full = world.sync_file("w08b");
    assert_eq!((full.write(b"x", Some(0)).returned, full.write(b"", Some(0))), (NtStatus::DISK_FULL, success(0)));
    // The checks of the service come first all the same.
    assert_eq!(other.write(b"", Some(-5)), refused(NtStatus::INVALID_PARAMETER));
    let reader = world.file("w08", READ_DATA | SYNCHRONIZE, SYNC);
    assert_eq!(reader.write(b"", Some(0)), refused(NtStatus::ACCESS_DENIED));
}

#[test]
fn nt_s_01_the_checks_come_in_this_order() {
    let world = World::with(nt_ke::WindowsVersion::default(), Some(4096));
    let (mine, other) = pair(&world, "s01");
    // (1) length 0 before everything; (10) locks before (11) room; (11) room before (14) the data is touched.
    assert_eq!(mine.lock(0, 1 << 20, 0, EXCLUSIVE), success(0));
    assert_eq!(other.raw_write(Addr::NULL, 0, Some(0)), success(0));
    assert_eq!(other.raw_write(Addr::NULL, 100_000, Some(0)), conflict());
    // (8) an append is resolved before the locks are asked.
    assert_eq!(other.raw_write(Addr::NULL, 100_000, Some(END)), conflict());
    assert_eq!(mine.unlock(0, 1 << 20, 0), success(0));
    assert_eq!(mine.lock(0, 256, 0, EXCLUSIVE), success(0));
    assert_eq!(other.raw_write(Addr::NULL, 100_000, Some(END)), refused(NtStatus::DISK_FULL));
    assert_eq!(other.raw_write(Addr::NULL, 100, Some(END)), refused(NtStatus::INVALID_USER_BUFFER));
    // (12) and (13): the end is raised and the gap is zero before the data; (15) the position last.
    assert_eq!(other.write(b"tail", Some(1000)), success(4));
    assert_eq!((other.eof(), other.position()), (1004, 1004));
    assert_eq!(mine.read(748, Some(256)).1, [vec![0; 744], b"tail".to_vec()].concat());
}
