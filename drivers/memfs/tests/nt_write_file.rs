//! NtWriteFile on a `ram` volume, by the rules of nt-io.md: the native door.
mod support;

use nt_abi::NtStatus;
use nt_cell::Addr;
use nt_cell::arena::{Protection, UserBlock};
use nt_io::system::AsyncPolicy;
use support::*;

const END: i64 = -1;
const POINTER: i64 = -2;

#[test]
fn nt_w_01_null_offset_starts_at_the_position() {
    let world = World::new();
    let file = world.sync_file("w01");
    assert_eq!(file.write(b"1234567", None), success(7));
    assert_eq!((file.position(), file.eof(), file.bytes_of("w01")), (7, 7, b"1234567".to_vec()));
}

#[test]
fn nt_w_03_a_write_inside_the_file_changes_its_range_only() {
    let world = World::new();
    let file = world.sync_file("w03");
    file.write(b"0123456789", Some(0));
    assert_eq!(file.write(b"DCBA", Some(3)), success(4));
    assert_eq!((file.eof(), file.bytes_of("w03")), (10, b"012DCBA789".to_vec()));
}

#[test]
fn nt_w_04_a_write_across_the_end_extends_the_file() {
    let world = World::new();
    let file = world.sync_file("w04");
    file.write(b"ab", None);
    assert_eq!(file.write(b"cdef", Some(2)), success(4));
    assert_eq!((file.eof(), file.bytes_of("w04")), (6, b"abcdef".to_vec()));
}

#[test]
fn nt_w_05_the_gap_past_the_end_reads_as_zero() {
    let world = World::new();
    let file = world.sync_file("w05");
    file.write(&[0xAA; 256], Some(0));
    assert_eq!(file.write(b"hello", Some(512)), success(5));
    let bytes = file.bytes_of("w05");
    assert_eq!((file.position(), bytes.len()), (517, 517));
    assert!(bytes[256..512].iter().all(|&byte| byte == 0) && &bytes[512..] == b"hello");
}

#[test]
fn nt_w_06_zero_bytes_succeed_and_change_nothing() {
    let world = World::new();
    let mut file = world.sync_file("w06");
    file.write(b"abc", None);
    file.event = world.event(false);
    assert_eq!(file.raw_write(Addr::NULL, 0, None), success(0));
    assert_eq!((file.eof(), file.position(), world.signaled(file.event)), (3, 3, true));
}

#[test]
fn nt_w_07_zero_bytes_with_an_offset_do_not_move_the_position() {
    let world = World::new();
    let file = world.sync_file("w07");
    file.write(b"abc", None);
    assert_eq!(file.write(b"", Some(100)), success(0));
    assert_eq!((file.position(), file.eof()), (3, 3));
}

#[test]
fn nt_w_10_synchronous_handles_never_return_pending() {
    let world = World::new();
    for policy in [AsyncPolicy::Inline, AsyncPolicy::Pend, AsyncPolicy::Worker] {
        world.policy(policy);
        let file = world.sync_file("w10");
        assert_eq!(file.write(b"x", Some(0)), success(1), "{policy:?}");
    }
}

#[test]
fn nt_w_11_two_threads_on_one_handle_get_disjoint_ranges() {
    let world = World::new();
    let file = world.sync_file("w11");
    let handle = file.handle;
    let threads: Vec<_> = (0..4_u8)
        .map(|id| {
            let (kernel, processes) = (world.kernel.clone(), world.processes.clone());
            let process = world.process.clone();
            std::thread::spawn(move || {
                let thread = processes.create_thread(&kernel, &process).expect("thread");
                let entered = nt_ke::enter(&kernel, &thread, nt_ke::Mode::User);
                let block = UserBlock::new(64).expect("arena");
                block.region().sub(32, 4).fill(b'a' + id).expect("buffer");
                for _ in 0..500 {
                    let args = nt_io::rw::Arguments {
                        handle,
                        event: nt_ob::Handle::NULL,
                        apc_routine: None,
                        apc_context: 0,
                        iosb: Addr::user(block.addr()),
                        buffer: Addr::user(block.addr() + 32),
                        length: 4,
                        byte_offset: Addr::NULL,
                        key: Addr::NULL,
                    };
                    assert_eq!(nt_io::write::nt_write_file(entered.frame(), &args), NtStatus::SUCCESS);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("writer");
    }
    assert_eq!(file.position(), 8000);
    let bytes = file.bytes_of("w11");
    assert!(bytes.chunks(4).all(|four| four.iter().all(|byte| *byte == four[0])), "a write was torn");
    for id in 0..4 {
        assert_eq!(bytes.iter().filter(|byte| **byte == b'a' + id).count(), 2000);
    }
}

#[test]
fn nt_w_15_read_only_pages_are_good_buffers() {
    let world = World::new();
    let file = world.sync_file("w15");
    let block = UserBlock::pages(4096).expect("arena");
    block.region().sub(0, 9).write_from(b"read only").expect("fill");
    block.protect(0, 4096, Protection::ReadOnly).expect("protect");
    assert_eq!(file.raw_write(Addr::user(block.addr()), 9, None), success(9));
    assert_eq!(file.bytes_of("w15"), b"read only");
}

#[test]
fn nt_w_16_large_lengths_are_written_whole() {
    let world = World::new();
    let file = world.sync_file("w16");
    let data: Vec<u8> = (0..(8 << 20) + 3_u32).map(|i| ((i * 31) >> 3) as u8).collect();
    assert_eq!(file.write(&data, Some(5)), success(data.len() as u64));
    assert_eq!(file.bytes_of("w16")[5..], data[..]);
}

#[test]
fn nt_w_19_a_null_status_block_is_an_access_violation() {
    let world = World::new();
    let file = world.sync_file("w19");
    assert_eq!(file.with_arguments(|args| args.iosb = Addr::NULL), refused(NtStatus::ACCESS_VIOLATION));
}

#[test]
fn nt_w_20_smoke() {
    let world = World::new();
    let file = world.sync_file("w20");
    assert_eq!(file.write(b"1234567", None), success(7));
    assert_eq!(file.write(b"890abcd", Some(END)), success(7));
    file.seek(10);
    assert_eq!(file.write(b"DCBA", Some(POINTER)), success(4));
    let (done, bytes) = file.read(14, Some(0));
    assert_eq!((done, bytes), (success(14), b"1234567890DCBA".to_vec()));
    assert_eq!((file.eof(), file.position()), (14, 14));
}

#[test]
fn nt_a_01_each_write_right_is_enough() {
    let world = World::new();
    for access in [WRITE_DATA, APPEND_DATA, WRITE_DATA | APPEND_DATA, GENERIC_WRITE] {
        let file = world.file("a01", access | SYNCHRONIZE, SYNC);
        assert_eq!(file.write(b"ab", Some(0)), success(2), "{access:#x}");
    }
}

#[test]
fn nt_a_02_without_a_write_right_access_is_denied() {
    let world = World::new();
    for access in [READ_DATA, GENERIC_READ, SYNCHRONIZE] {
        let file = world.file("a02", access | SYNCHRONIZE, SYNC);
        assert_eq!(file.write(b"ab", Some(0)), refused(NtStatus::ACCESS_DENIED), "{access:#x}");
    }
}

#[test]
fn nt_a_06_handles_that_are_none_or_of_another_type() {
    let world = World::new();
    let file = world.sync_file("a06");
    let event = world.event(false);
    for (handle, status) in [
        (nt_ob::Handle(0), NtStatus::INVALID_HANDLE),
        (nt_ob::Handle(0x7770), NtStatus::INVALID_HANDLE),
        (nt_ob::Handle::CURRENT_PROCESS, NtStatus::OBJECT_TYPE_MISMATCH),
        (event, NtStatus::OBJECT_TYPE_MISMATCH),
    ] {
        assert_eq!(file.with_arguments(|args| args.handle = handle), refused(status), "{handle:?}");
    }
}

#[test]
fn nt_a_08_synchronous_io_needs_synchronize() {
    let world = World::new();
    assert_eq!(world.try_open("a08", WRITE_DATA, SYNC, 3).err(), Some(NtStatus::INVALID_PARAMETER));
}

#[test]
fn nt_a_12_a_fresh_handle_is_signalled_at_position_zero() {
    let world = World::new();
    let file = world.sync_file("a12");
    assert_eq!((file.position(), world.signaled(file.handle)), (0, true));
}

#[test]
fn nt_a_13_sharing_is_asked_both_ways() {
    let world = World::new();
    let open = |access: u32, share: u32| {
        let spec = nt_io::create::CreateSpec {
            access,
            share,
            name: "\\??\\C:\\a13".encode_utf16().collect(),
            disposition: 3,
            ..Default::default()
        };
        nt_io::create::nt_create_file(&world.frame(), &spec).map(|(handle, _)| handle).map_err(NtStatus::from)
    };
    let reader = open(READ_DATA, 1).expect("first");
    assert_eq!(open(WRITE_DATA, 7), Err(NtStatus::SHARING_VIOLATION));
    assert_eq!(open(READ_DATA, 2), Err(NtStatus::SHARING_VIOLATION));
    let second = open(READ_DATA, 1).expect("shares");
    let neutral = open(0x80, 0).expect("attributes only");
    for handle in [reader, second, neutral] {
        nt_io::event::close(&world.frame(), handle).expect("close");
    }
    open(WRITE_DATA, 0).expect("alone");
}

#[test]
fn nt_a_18_dispositions() {
    let world = World::new();
    let open = |disposition| world.try_open("a18", GENERIC_WRITE | SYNCHRONIZE, SYNC, disposition);
    let close = |handle| nt_io::event::close(&world.frame(), handle).expect("close");
    assert_eq!(open(1).err(), Some(NtStatus::OBJECT_NAME_NOT_FOUND));
    assert_eq!(open(4).err(), Some(NtStatus::OBJECT_NAME_NOT_FOUND));
    for (disposition, information) in [(3, 2), (3, 1), (5, 3), (4, 3), (0, 0), (1, 1)] {
        let (handle, got) = open(disposition).expect("open");
        assert_eq!(got, information, "disposition {disposition}");
        close(handle);
    }
    assert_eq!(open(2).err(), Some(NtStatus::OBJECT_NAME_COLLISION));
}

#[test]
fn nt_a_19_a_directory_cannot_be_written() {
    let world = World::new();
    let (handle, _) = world.try_open("a19", WRITE_DATA | SYNCHRONIZE, 1, 3).expect("directory");
    let file = world.sync_file("other");
    let block = UserBlock::new(16).expect("arena");
    let done = file.with_arguments(|args| {
        args.handle = handle;
        args.buffer = Addr::user(block.addr());
        args.length = 12;
    });
    assert_eq!(done, pended(NtStatus::INVALID_DEVICE_REQUEST, 0));
}

#[test]
fn nt_o_01_the_position_advances_by_what_was_written() {
    let world = World::new();
    let file = world.sync_file("o01");
    for step in 1..=3 {
        file.write(b"abc", None);
        assert_eq!(file.position(), step * 3);
    }
}

#[test]
fn nt_o_02_minus_two_is_the_position() {
    let world = World::new();
    let file = world.sync_file("o02");
    file.write(b"0123456789", None);
    file.seek(6);
    assert_eq!(file.write(b"DCBA", Some(POINTER)), success(4));
    assert_eq!((file.position(), file.bytes_of("o02")), (10, b"012345DCBA".to_vec()));
}

#[test]
fn nt_o_03_an_explicit_offset_moves_the_position() {
    let world = World::new();
    let file = world.sync_file("o03");
    file.write(b"0123456789", None);
    assert_eq!(file.write(b"xy", Some(1)), success(2));
    assert_eq!(file.position(), 3);
}

#[test]
fn nt_o_04_minus_one_appends_and_moves_the_position() {
    let world = World::new();
    let file = world.sync_file("o04");
    file.write(b"1234567", None);
    file.seek(0);
    assert_eq!(file.write(b"890abcd", Some(END)), success(7));
    assert_eq!((file.position(), file.eof()), (14, 14));
}

#[test]
fn nt_o_05_an_asynchronous_append_leaves_the_position_at_zero() {
    let world = World::new();
    let file = world.async_file("o05");
    assert_eq!(file.write(b"abc", Some(END)), pended(NtStatus::SUCCESS, 3));
    assert_eq!(file.write(b"def", Some(END)), pended(NtStatus::SUCCESS, 3));
    assert_eq!((file.position(), file.bytes_of("o05")), (0, b"abcdef".to_vec()));
}

#[test]
fn nt_o_07_an_asynchronous_handle_needs_an_offset() {
    let world = World::new();
    let file = world.async_file("o07");
    assert_eq!(file.write(b"abc", None), refused(NtStatus::INVALID_PARAMETER));
}

#[test]
fn nt_o_08_an_append_only_handle_ignores_the_offset() {
    let world = World::new();
    world.sync_file("o08").write(b"fo", None);
    let file = world.file("o08", APPEND_DATA | SYNCHRONIZE, SYNC);
    assert_eq!(file.write(b"ob", Some(1)), success(2));
    assert_eq!(file.write(b"ar", Some(3)), success(2));
    assert_eq!(file.bytes_of("o08"), b"foobar");
}

#[test]
fn nt_o_09_an_append_only_handle_ignores_the_position_too() {
    let world = World::new();
    world.sync_file("o09").write(b"foo", None);
    let file = world.file("o09", APPEND_DATA | SYNCHRONIZE, SYNC);
    assert_eq!(file.write(b"ba", None), success(2));
    assert_eq!(file.write(b"r", Some(POINTER)), success(1));
    assert_eq!(file.bytes_of("o09"), b"foobar");
}

#[test]
fn nt_o_10_an_asynchronous_append_only_handle_takes_no_offset_too() {
    let world = World::new();
    let file = world.file("o10", APPEND_DATA | SYNCHRONIZE, 0);
    assert_eq!(file.write(b"ab", None), pended(NtStatus::SUCCESS, 2));
    assert_eq!(file.write(b"cd", Some(-17)), pended(NtStatus::SUCCESS, 2));
    assert_eq!(file.bytes_of("o10"), b"abcd");
}

#[test]
fn nt_o_11_offsets_below_minus_two_are_refused() {
    let world = World::new();
    for offset in -20..=-3 {
        for file in [world.sync_file("o11"), world.async_file("o11")] {
            assert_eq!(file.write(b"x", Some(offset)), refused(NtStatus::INVALID_PARAMETER), "{offset}");
        }
    }
    assert_eq!(world.async_file("o11").write(b"x", Some(POINTER)), refused(NtStatus::INVALID_PARAMETER));
}

#[test]
fn nt_o_12_reads_take_minus_two_only() {
    let world = World::new();
    let file = world.sync_file("o12");
    file.write(b"abcdef", None);
    file.seek(2);
    assert_eq!(file.read(2, Some(POINTER)), (success(2), b"cd".to_vec()));
    for offset in [-1, -3, -20] {
        assert_eq!(file.read(2, Some(offset)).0, refused(NtStatus::INVALID_PARAMETER));
    }
}

#[test]
fn nt_o_13_both_rights_honour_the_offset() {
    let world = World::new();
    world.sync_file("o13").write(b"foobar", None);
    let file = world.file("o13", WRITE_DATA | APPEND_DATA | SYNCHRONIZE, SYNC);
    assert_eq!(file.write(b"bar", Some(0)), success(3));
    assert_eq!(file.bytes_of("o13"), b"barbar");
}

#[test]
fn nt_o_16_a_position_past_the_end_leaves_a_gap() {
    let world = World::new();
    let file = world.sync_file("o16");
    file.seek(10);
    assert_eq!(file.write(b"x", None), success(1));
    assert_eq!(file.bytes_of("o16"), b"\0\0\0\0\0\0\0\0\0\0x");
}

#[test]
fn nt_o_17_offset_plus_length_may_not_overflow() {
    let world = World::new();
    let file = world.sync_file("o17");
    assert_eq!(file.write(b"xy", Some(i64::MAX)), refused(NtStatus::INVALID_PARAMETER));
    assert_eq!((file.position(), file.eof()), (0, 0));
}

#[test]
fn nt_n_01_noncached_lengths_are_sector_multiples() {
    let world = World::new();
    let file = world.file("n01", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | NONCACHED);
    assert_eq!(file.write(b"four", Some(0)), refused(NtStatus::INVALID_PARAMETER));
    assert_eq!(file.write(&[1; 513], Some(0)), refused(NtStatus::INVALID_PARAMETER));
}

#[test]
fn nt_n_02_noncached_offsets_are_sector_multiples() {
    let world = World::new();
    let file = world.file("n02", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | NONCACHED);
    assert_eq!(file.write(&[1; 512], Some(4)), refused(NtStatus::INVALID_PARAMETER));
}

#[test]
fn nt_n_03_aligned_noncached_requests_succeed() {
    let world = World::new();
    let file = world.file("n03", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | NONCACHED);
    assert_eq!(file.write(&[7; 1024], Some(512)), success(1024));
    assert_eq!(file.eof(), 1536);
}

#[test]
fn nt_n_05_a_noncached_append_at_a_ragged_end_is_refused_by_the_volume() {
    let world = World::new();
    world.sync_file("n05").write(b"abc", None);
    let file = world.file("n05", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | NONCACHED);
    assert_eq!(file.write(&[1; 512], Some(END)), refused(NtStatus::INVALID_PARAMETER));
}

#[test]
fn nt_b_01_a_null_buffer_is_an_invalid_user_buffer_and_clears_the_event() {
    let world = World::new();
    let mut file = world.sync_file("b01");
    file.event = world.event(true);
    assert_eq!(file.raw_write(Addr::NULL, 14, Some(0)), refused(NtStatus::INVALID_USER_BUFFER));
    assert!(!world.signaled(file.event));
}

#[test]
fn nt_b_02_a_read_into_null_leaves_the_event_signalled() {
    let world = World::new();
    let mut file = world.sync_file("b02");
    file.write(b"abc", None);
    file.event = world.event(true);
    assert_eq!(file.raw_read(Addr::NULL, 3, Some(0)), refused(NtStatus::ACCESS_VIOLATION));
    assert!(world.signaled(file.event));
}

#[test]
fn nt_b_03_a_buffer_that_is_half_there_fails_whole() {
    let world = World::new();
    let file = world.sync_file("b03");
    let block = UserBlock::pages(8192).expect("arena");
    block.protect(4096, 4096, Protection::NoAccess).expect("protect");
    assert_eq!(file.raw_write(Addr::user(block.addr() + 4000), 200, Some(0)), refused(NtStatus::INVALID_USER_BUFFER));
    assert_eq!(file.eof(), 0);
    file.write(b"z", Some(300));
    assert!(file.bytes_of("b03")[..300].iter().all(|&byte| byte == 0));
}

#[test]
fn nt_b_04_kernel_addresses_from_user_mode_are_refused() {
    let world = World::new();
    let mut file = world.sync_file("b04");
    file.event = world.event(true);
    let (_, end) = nt_cell::arena::bounds();
    for address in [end, end - 4, 0x7FFF_FFFF_0000, u64::MAX - 3] {
        let done = file.raw_write(Addr::user(address), 14, Some(0));
        assert_eq!(done, refused(NtStatus::ACCESS_VIOLATION), "{address:#x}");
    }
    assert!(world.signaled(file.event));
}

#[test]
fn nt_c_06_an_asynchronous_request_signals_the_event_or_the_file() {
    let world = World::new();
    let mut file = world.async_file("c06");
    file.event = world.event(false);
    assert_eq!(file.write(b"abc", Some(0)), pended(NtStatus::SUCCESS, 3));
    assert_eq!((world.signaled(file.event), world.signaled(file.handle)), (true, false));
    file.event = nt_ob::Handle::NULL;
    assert_eq!(file.write(b"abc", Some(0)), pended(NtStatus::SUCCESS, 3));
    assert!(world.signaled(file.handle));
}

#[test]
fn nt_c_10_the_event_is_reset_at_the_start() {
    let world = World::new();
    let mut file = world.sync_file("c10");
    file.event = world.event(true);
    assert_eq!(file.write(b"a", Some(i64::MAX)), refused(NtStatus::INVALID_PARAMETER));
    assert!(!world.signaled(file.event));
}

#[test]
fn nt_c_13_cached_writes_on_asynchronous_handles_pend_as_the_policy_says() {
    let world = World::new();
    let file = world.async_file("c13");
    assert_eq!(file.write(b"abc", Some(0)), pended(NtStatus::SUCCESS, 3));
    world.policy(AsyncPolicy::Inline);
    assert_eq!(file.write(b"abc", Some(0)), success(3));
    world.policy(AsyncPolicy::Worker);
    let done = file.write(b"abc", Some(0));
    assert_eq!(done.returned, NtStatus::PENDING);
    let waited = nt_io::event::wait_for(&world.frame(), file.handle, false, None).expect("wait");
    assert_eq!((waited, file.iosb()), (NtStatus::SUCCESS, Iosb::Is(NtStatus::SUCCESS, 3)));
}

#[test]
fn nt_c_14_reads_at_the_end() {
    let world = World::new();
    let file = world.sync_file("c14");
    file.write(b"abc", None);
    assert_eq!(file.read(4, Some(3)).0.returned, NtStatus::END_OF_FILE);
    let other = world.async_file("c14");
    assert_eq!(other.read(4, Some(3)).0, pended(NtStatus::END_OF_FILE, 0));
    assert_eq!(other.read(0, Some(99)).0, pended(NtStatus::SUCCESS, 0));
}

#[test]
fn nt_k_04_fast_io_leaves_the_file_event_alone() {
    let world = World::new();
    let mut file = world.sync_file("k04");
    file.write(b"a", None);
    let before = nt_ps::process::processes(&world.kernel).counters(nt_ps::counters::Operation::Write);
    file.event = world.event(false);
    assert_eq!(file.write(b"b", None), success(1));
    assert_eq!((world.signaled(file.event), world.signaled(file.handle)), (true, true));
    let after = nt_ps::process::processes(&world.kernel).counters(nt_ps::counters::Operation::Write);
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 1));
}

#[test]
fn nt_k_05_the_end_of_file_shows_in_the_status_block_on_the_fast_path() {
    let world = World::new();
    let file = world.sync_file("k05");
    file.write(b"abc", None);
    let done = file.read(4, Some(3)).0;
    assert_eq!(done, Done { returned: NtStatus::END_OF_FILE, iosb: Iosb::Is(NtStatus::END_OF_FILE, 0) });
}

#[test]
fn nt_s_05_a_full_volume_changes_nothing() {
    let world = World::with(nt_ke::WindowsVersion::default(), Some(64 << 10));
    let file = world.sync_file("s05");
    assert_eq!(file.write(&[1; 40_000], None), success(40_000));
    assert_eq!(file.write(&[2; 40_000], None), refused(NtStatus::DISK_FULL));
    assert_eq!((file.eof(), file.position()), (40_000, 40_000));
    assert_eq!(file.write(&[3; 10_000], None), success(10_000));
}

#[test]
fn nt_v_12_a_bad_offset_is_refused_before_the_event_is_reset() {
    let world = World::new();
    let mut file = world.async_file("v12");
    file.event = world.event(true);
    assert_eq!(file.write(b"x", Some(-5)), refused(NtStatus::INVALID_PARAMETER));
    assert!(world.signaled(file.event));
}

#[test]
fn nt_v_13_an_asynchronous_handle_has_no_position_to_name_and_keeps_its_event() {
    let world = World::new();
    let mut file = world.async_file("v13");
    file.event = world.event(true);
    assert_eq!(file.write(b"x", Some(-2)), refused(NtStatus::INVALID_PARAMETER));
    assert!(world.signaled(file.event));
}

#[test]
fn nt_v_19_a_missing_offset_is_refused_after_the_event_is_reset() {
    let world = World::new();
    let mut file = world.async_file("v19");
    file.event = world.event(true);
    assert_eq!(file.write(b"x", None), refused(NtStatus::INVALID_PARAMETER));
    assert!(!world.signaled(file.event), "DIS-05");
}

#[test]
fn nt_i_08_cut_and_regrown_bytes_are_zero() {
    let world = World::new();
    let file = world.sync_file("i08");
    file.seek(2);
    file.write(b"data", None);
    let end = nt_io::info::class::END_OF_FILE;
    assert_eq!(file.set(end, &4_i64.to_le_bytes()), NtStatus::SUCCESS);
    assert_eq!(file.set(end, &6_i64.to_le_bytes()), NtStatus::SUCCESS);
    assert_eq!((file.bytes_of("i08"), file.position()), (b"\0\0da\0\0".to_vec(), 6));
}
