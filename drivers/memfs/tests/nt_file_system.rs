//! What the `ram` volume does with IRP_MJ_WRITE, seen by its callers: nt-io.md sections 5, 6 and 18.
mod device;
mod support;

use nt_abi::NtStatus;
use nt_abi::io::{DEVICE_OBJECT, FILE_OBJECT, FO_FILE_MODIFIED, IRP_NOCACHE, IRP_PAGING_IO};
use nt_abi::mm::FSRTL_ADVANCED_FCB_HEADER;
use nt_cell::arena::{Protection, UserBlock};
use nt_cell::{Addr, Foreign};
use nt_io::info::class;
use nt_io::irp::IoStatus;
use nt_io::system::AsyncPolicy;
use std::sync::atomic::{AtomicBool, Ordering};
use support::*;

const END: i64 = -1;

type Header = Foreign<FSRTL_ADVANCED_FCB_HEADER>;

fn header(world: &World, file: &File<'_>) -> Header {
    let object = device::file_object(world, file.handle);
    object.ptr(FILE_OBJECT::FsContext).expect("an FCB").view()
}

/// EOF, VDL, ALLOC, the lowest first: each only grows here, so a later load is never below what an earlier one implies.
fn sizes(header: Header) -> (i64, i64, i64) {
    let valid = header.get(FSRTL_ADVANCED_FCB_HEADER::ValidDataLength);
    let eof = header.get(FSRTL_ADVANCED_FCB_HEADER::FileSize);
    (valid, eof, header.get(FSRTL_ADVANCED_FCB_HEADER::AllocationSize))
}

/// A paging write as the memory manager sends it.
fn paging_write(file: &File<'_>, offset: i64, bytes: &[u8]) -> IoStatus {
    let opened = device::file_object(file.world, file.handle);
    let (status, count) = device::send_write(file.world, opened, IRP_PAGING_IO | IRP_NOCACHE, offset, bytes);
    IoStatus::new(status, count)
}

#[test]
fn nt_s_06_allocation_covers_the_file_at_all_times() {
    let world = World::new();
    let file = world.sync_file("s06");
    let header = header(&world, &file);
    let (done, ready) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let (valid, eof, allocation) = sizes(header);
                ready.store(true, Ordering::Relaxed);
                assert!(allocation >= eof && eof >= valid, "{allocation} {eof} {valid}");
            }
        });
        while !ready.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        for step in 0..400_i64 {
            assert_eq!(file.write(&[7; 5000], Some(step * 7001)), success(5000));
            let (valid, eof, allocation) = sizes(header);
            assert_eq!((valid, eof), (step * 7001 + 5000, step * 7001 + 5000));
            assert!(allocation >= eof);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn nt_s_06_the_allocation_is_grown_before_the_end_of_file() {
    let world = World::with(nt_ke::WindowsVersion::default(), Some(8192));
    let file = world.sync_file("s06b");
    assert_eq!(file.write(&[1; 5000], Some(0)), success(5000));
    let before = sizes(header(&world, &file));
    assert_eq!(file.write(&[2; 5000], Some(5000)), refused(NtStatus::DISK_FULL));
    assert_eq!(sizes(header(&world, &file)), before, "no room: the end of file was not moved first");
}

#[test]
fn nt_s_07_a_gap_never_shows_what_was_there_before() {
    let world = World::new();
    for (name, options) in [("s07", SYNC), ("s07n", SYNC | NONCACHED)] {
        let file = world.file(name, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, options);
        assert_eq!(file.write(&[0xAA; 256 << 10], Some(0)), success(256 << 10));
        assert_eq!(file.set(class::END_OF_FILE, &512_i64.to_le_bytes()), NtStatus::SUCCESS);
        assert_eq!(file.write(&[0xBB; 512], Some(128 << 10)), success(512), "{name}");
        let bytes = file.bytes_of(name);
        assert_eq!(bytes.len(), (128 << 10) + 512);
        assert!(bytes[..512].iter().all(|&byte| byte == 0xAA) && bytes[128 << 10..].iter().all(|&byte| byte == 0xBB));
        assert!(bytes[512..128 << 10].iter().all(|&byte| byte == 0), "{name}: stale data in the gap");
    }
}

#[test]
fn nt_s_07_a_reader_in_between_sees_zeros_or_the_data() {
    let world = World::new();
    let file = world.sync_file("s07r");
    assert_eq!(file.write(&[0xAA; 256 << 10], Some(0)), success(256 << 10));
    assert_eq!(file.set(class::END_OF_FILE, &0_i64.to_le_bytes()), NtStatus::SUCCESS);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (kernel, processes, process) = (&world.kernel, &world.processes, &world.process);
        let (handle, done) = (file.handle, &done);
        scope.spawn(move || {
            let thread = processes.create_thread(kernel, process).expect("thread");
            let entered = nt_ke::enter(kernel, &thread, nt_ke::Mode::User);
            let block = UserBlock::new(8192 + 64).expect("arena");
            let region = block.region();
            while !done.load(Ordering::Relaxed) {
                region.store::<i64>(16, 4096).expect("arena");
                let args = nt_io::rw::Arguments {
                    handle,
                    event: nt_ob::Handle::NULL,
                    apc_routine: None,
                    apc_context: 0,
                    iosb: Addr::user(block.addr()),
                    buffer: Addr::user(block.addr() + 64),
                    length: 8192,
                    byte_offset: Addr::user(block.addr() + 16),
                    key: Addr::NULL,
                };
                region.sub(64, 8192).fill(0).expect("arena");
                let status = nt_io::read::nt_read_file(entered.frame(), &args);
                assert!(matches!(status, NtStatus::SUCCESS | NtStatus::END_OF_FILE), "{status}");
                let bytes = region.sub(64, 8192).to_vec().expect("arena");
                assert!(bytes.iter().all(|&byte| byte == 0 || byte == 0xBB), "stale data");
            }
        });
        for step in 1..200_i64 {
            assert_eq!(file.write(&[0xBB; 100], Some(step * 1000)), success(100));
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn nt_s_15_two_appends_never_overlap() {
    let world = World::new();
    world.policy(AsyncPolicy::Inline);
    let shared = world.async_file("s15");
    let handle = shared.handle;
    std::thread::scope(|scope| {
        for id in 0..4_u8 {
            let (kernel, processes, process) = (&world.kernel, &world.processes, &world.process);
            scope.spawn(move || {
                let thread = processes.create_thread(kernel, process).expect("thread");
                let entered = nt_ke::enter(kernel, &thread, nt_ke::Mode::User);
                let block = UserBlock::new(1024).expect("arena");
                block.region().store::<i64>(16, END).expect("arena");
                block.region().sub(64, 700).fill(b'a' + id).expect("arena");
                for _ in 0..300 {
                    let args = nt_io::rw::Arguments {
                        handle,
                        event: nt_ob::Handle::NULL,
                        apc_routine: None,
                        apc_context: 0,
                        iosb: Addr::user(block.addr()),
                        buffer: Addr::user(block.addr() + 64),
                        length: 700,
                        byte_offset: Addr::user(block.addr() + 16),
                        key: Addr::NULL,
                    };
                    assert_eq!(nt_io::write::nt_write_file(entered.frame(), &args), NtStatus::SUCCESS);
                }
            });
        }
    });
    let bytes = shared.bytes_of("s15");
    assert_eq!(bytes.len(), 4 * 300 * 700);
    assert!(bytes.chunks(700).all(|record| record.iter().all(|byte| *byte == record[0])), "two appends overlap");
}

#[test]
fn nt_s_19_a_paging_write_leaves_end_position_and_marks_alone() {
    let world = World::new();
    let writer = world.sync_file("s19");
    assert_eq!(writer.write(b"0123456789", None), success(10));
    let file = world.sync_file("s19");
    file.seek(3);
    assert_eq!(paging_write(&file, 0, b"ABCDEFGHIJKLMNOP"), IoStatus::new(NtStatus::SUCCESS, 10));
    assert_eq!((file.eof(), file.position()), (10, 3));
    // A range that another owner has locked, and a paging write entirely past the end.
    assert_eq!(writer.lock(0, 10, 0, true), success(0));
    assert_eq!(file.write(b"x", Some(0)), refused(NtStatus::FILE_LOCK_CONFLICT), "a write of a caller is asked");
    file.seek(3);
    assert_eq!(paging_write(&file, 0, b"ABCDEFGHIJKLMNOP"), IoStatus::new(NtStatus::SUCCESS, 10), "no lock is asked");
    assert_eq!(writer.unlock(0, 10, 0), success(0));
    assert_eq!(paging_write(&file, 4096, b"ABCDEFGHIJKLMNOP"), IoStatus::new(NtStatus::SUCCESS, 0));
    assert_eq!((file.eof(), file.position()), (10, 3));
    let flags = device::file_object(&world, file.handle).get(FILE_OBJECT::Flags);
    assert_eq!(flags & FO_FILE_MODIFIED, 0);
    assert_eq!(file.bytes_of("s19"), b"ABCDEFGHIJ");
}

#[test]
fn nt_s_20_a_paging_write_ends_at_the_end_of_file() {
    let world = World::new();
    let file = world.sync_file("s20");
    assert_eq!(file.write(&[1; 1000], None), success(1000));
    assert_eq!(paging_write(&file, 4096, &[2; 4096]), IoStatus::new(NtStatus::SUCCESS, 0));
    assert_eq!(paging_write(&file, 1000, &[2; 512]), IoStatus::new(NtStatus::SUCCESS, 0));
    assert_eq!(paging_write(&file, 512, &[2; 1024]), IoStatus::new(NtStatus::SUCCESS, 488));
    let bytes = file.bytes_of("s20");
    assert_eq!((bytes.len(), &bytes[..512], &bytes[512..]), (1000, &[1; 512][..], &[2; 488][..]));
    // What lay past the end in the page is not in the file when it grows over it.
    assert_eq!(file.set(class::END_OF_FILE, &2000_i64.to_le_bytes()), NtStatus::SUCCESS);
    assert!(file.bytes_of("s20")[1000..].iter().all(|&byte| byte == 0));
}

#[test]
fn nt_n_10_a_padded_last_sector_does_not_count() {
    let world = World::new();
    let file = world.sync_file("n10");
    assert_eq!(file.write(&[1; 700], None), success(700));
    // 700 bytes are two sectors on a disk, 1024 bytes.
    assert_eq!(paging_write(&file, 0, &[2; 4096]), IoStatus::new(NtStatus::SUCCESS, 700));
    assert_eq!(file.eof(), 700);
}

#[test]
fn nt_n_04_the_buffer_is_aligned_as_the_device_asks() {
    let world = World::new();
    let block = UserBlock::pages(8192).expect("arena");
    for (mask, offset, fine) in [(0, 1, true), (0x1FF, 256, false), (0x1FF, 512, true), (3, 2, false), (3, 4, true)] {
        world.volume.device.set(DEVICE_OBJECT::AlignmentRequirement, mask);
        let mut file = world.file("n04", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | NONCACHED);
        file.event = world.event(true);
        let done = file.raw_write(Addr::user(block.addr() + offset), 512, Some(0));
        let wanted = if fine { success(512) } else { refused(NtStatus::INVALID_PARAMETER) };
        assert_eq!(done, wanted, "mask {mask:#x}, offset {offset}");
        assert!(world.signaled(file.event), "E0 leaves the event as it was");
        // A cached handle takes any address.
        let cached = world.sync_file("n04");
        assert_eq!(cached.raw_write(Addr::user(block.addr() + offset), 512, Some(0)), success(512));
    }
}

#[test]
fn nt_b_05_a_buffered_device_gets_a_copy_or_nothing() {
    let world = World::new();
    let recorder = device::stand_alone(&world, "Buffered", nt_abi::io::DO_BUFFERED_IO);
    let handle = device::open(&world, "Buffered", SYNC);
    let mut file = world.sync_file("b05");
    file.handle = handle;
    file.event = world.event(true);
    assert_eq!(file.raw_write(Addr::NULL, 32, Some(0)), refused(NtStatus::ACCESS_VIOLATION));
    assert_eq!((world.signaled(file.event), recorder.count()), (false, 0), "the driver was not called");
    assert_eq!(file.raw_write(Addr::NULL, 0, Some(0)), success(0));
    assert_eq!((recorder.count(), recorder.last().system_buffer, recorder.last().length), (1, 0, 0));
    assert_eq!(file.write(b"datadata", Some(0)), success(8));
    let seen = recorder.last();
    assert_eq!(seen.head, Some(u64::from_le_bytes(*b"datadata")));
    assert!(seen.system_buffer != 0 && !nt_cell::arena::contains(seen.system_buffer, 8), "a kernel copy");
}

#[test]
fn nt_b_10_a_bad_buffer_is_the_volumes_to_report() {
    let world = World::new();
    let block = UserBlock::pages(8192).expect("arena");
    block.protect(0, 8192, Protection::NoAccess).expect("protect");
    let bad = Addr::user(block.addr());
    for (name, options) in [("b10", SYNC), ("b10n", SYNC | NONCACHED)] {
        let file = world.file(name, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, options);
        assert_eq!(file.write(&[9; 1024], Some(0)), success(1024));
        // Inside the file, across its end, past it, appended; through a packet and on the fast path.
        for offset in [0, 512, 4096, END] {
            assert_eq!(file.raw_write(bad, 1024, Some(offset)), refused(NtStatus::INVALID_USER_BUFFER), "{offset}");
        }
        assert_eq!((file.eof(), file.bytes_of(name)), (1024, vec![9; 1024]));
    }
    let file = world.async_file("b10a");
    let done = file.raw_write(bad, 1024, Some(0));
    assert_eq!(done.iosb, Iosb::Is(NtStatus::INVALID_USER_BUFFER, 0));
}

#[test]
fn nt_b_14_the_packet_carries_the_callers_previous_mode() {
    let world = World::new();
    let recorder = device::stand_alone(&world, "Modes", 0);
    let handle = device::open(&world, "Modes", SYNC);
    let mut file = world.sync_file("b14");
    file.handle = handle;
    assert_eq!(file.write(b"user", Some(0)), success(4));
    assert!(recorder.last().user);
    let kernel = world.frame().with_mode(nt_ke::Mode::Kernel, || file.write(b"kernel", Some(0)));
    assert_eq!((kernel, recorder.last().user), (success(6), false));
}

#[test]
fn nt_o_14_the_file_system_moves_the_position_and_nobody_else() {
    let world = World::new();
    let file = world.sync_file("o14");
    file.write(b"0123456789", Some(0));
    assert_eq!(file.write(b"abc", Some(4)), success(3));
    assert_eq!(file.position(), 7, "start + Information, through a packet or the fast path");
    assert_eq!(paging_write(&file, 0, b"paging"), IoStatus::new(NtStatus::SUCCESS, 6));
    assert_eq!(file.position(), 7, "not for paging I/O");
    let other = world.async_file("o14");
    other.write(b"xyz", Some(4));
    let position = device::file_object(&world, other.handle).get(FILE_OBJECT::CurrentByteOffset);
    assert_eq!(position, 0, "not without FO_SYNCHRONOUS_IO");
    // Below this handle is no file system: the write succeeds, and the I/O manager moves nothing.
    let _recorder = device::stand_alone(&world, "Bottom", 0);
    let mut raw = world.sync_file("o14");
    raw.handle = device::open(&world, "Bottom", SYNC);
    assert_eq!(raw.write(b"0123456789", Some(4)), success(10));
    assert_eq!(raw.position(), 0);
}

#[test]
fn nt_w_02_information_is_what_the_driver_wrote() {
    let world = World::new();
    let recorder = device::stand_alone(&world, "Short", 0);
    recorder.answers(NtStatus::SUCCESS, 3);
    for options in [SYNC, 0] {
        let mut file = world.sync_file("w02");
        file.handle = device::open(&world, "Short", options);
        assert_eq!(file.write(b"1234567", Some(0)), success(3));
    }
}

#[test]
fn nt_w_09_a_write_is_whole_or_an_error() {
    let world = World::with(nt_ke::WindowsVersion::default(), Some(64 << 10));
    let file = world.sync_file("w09");
    let (mut random, mut failed) = (0x1234_5678_u32, 0);
    for _ in 0..300 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (length, offset) = (1 + (random >> 8) % 9000, i64::from((random >> 16) % 80_000));
        let before = file.eof();
        let done = file.write(&vec![random as u8; length as usize], Some(offset));
        if done.returned == NtStatus::SUCCESS {
            assert_eq!(done, success(u64::from(length)), "never fewer");
        } else {
            assert_eq!((done, file.eof()), (refused(NtStatus::DISK_FULL), before), "or nothing at all");
            failed += 1;
        }
    }
    assert!(failed > 10, "the volume was too large to fail");
}
