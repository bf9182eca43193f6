//! Operation callbacks by the rules of fltmgr.md section 4, and the reference traces of section 16: the native door.
mod support;

use nt_abi::NtStatus;
use nt_abi::flt::*;
use nt_fltmgr::{FltMgr, PostOp, PreOp, generated};
use nt_io::irp::IoStatus;
use nt_ke::work::WorkQueue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::*;

fn order(log: &Log) -> Vec<(&'static str, bool, bool, NtStatus)> {
    log.lock().iter().map(|seen| (seen.filter, seen.post, seen.fast, seen.status)).collect()
}

const OK: NtStatus = NtStatus::SUCCESS;

#[test]
fn flt_o_01_pre_from_high_to_low_and_post_from_low_to_high() {
    let world = filtered();
    let log = Log::default();
    world.probe("B", "200000", &log);
    world.probe("A", "400000", &log);
    assert_eq!(world.sync_file("o01").write(b"abcd", None), success(4));
    let names: Vec<_> = log.lock().iter().map(|seen| (seen.filter, seen.post)).collect();
    assert_eq!(names, [("A", false), ("B", false), ("B", true), ("A", true)]);
}

#[test]
fn flt_tr_01_the_first_write_is_a_packet() {
    let world = filtered();
    let log = Log::default();
    world.probe("A", "400000", &log);
    world.probe("B", "200000", &log);
    let file = world.sync_file("tr1");
    assert_eq!(file.write(b"abcd", None), success(4));
    assert_eq!(
        order(&log),
        [("A", false, false, OK), ("B", false, false, OK), ("B", true, false, OK), ("A", true, false, OK)]
    );
    let seen = log.lock().clone();
    assert_eq!(seen[0].irp_flags, 0xA00);
    assert_eq!((seen[2].information, seen[2].position, file.position()), (4, 4, 4));
}

#[test]
fn flt_tr_02_the_second_write_is_fast_io() {
    let world = filtered();
    let log = Log::default();
    world.probe("A", "400000", &log);
    world.probe("B", "200000", &log);
    let file = world.sync_file("tr2");
    file.write(b"abcd", None);
    log.lock().clear();
    assert_eq!(file.write(b"efgh", None), success(4));
    let seen = order(&log);
    assert!(seen.iter().all(|(_, _, fast, _)| *fast) && seen.len() == 4);
    let first = log.lock()[0].clone();
    assert_eq!((first.offset, first.irp_flags, file.position()), (4, 0, 8));
}

#[test]
fn flt_tr_03_disallowed_fast_io_comes_back_as_a_packet() {
    let world = filtered();
    let log = Log::default();
    world.probe("A", "400000", &log);
    world.deciding(
        "B",
        "200000",
        &log,
        |_, data| {
            if data.is_fast_io() { PreOp::DisallowFastIo } else { PreOp::WithCallback(0) }
        },
    );
    let file = world.sync_file("tr3");
    file.write(b"abcd", None);
    log.lock().clear();
    assert_eq!(file.write(b"efgh", None), success(4));
    let disallowed = NtStatus::FLT_DISALLOW_FAST_IO;
    assert_eq!(
        order(&log),
        [
            ("A", false, true, OK),
            ("B", false, true, OK),
            ("A", true, true, disallowed),
            ("A", false, false, OK),
            ("B", false, false, OK),
            ("B", true, false, OK),
            ("A", true, false, OK),
        ]
    );
    assert_eq!(file.bytes_of("tr3"), b"abcdefgh");
}

#[test]
fn flt_tr_04_a_filter_that_completes_is_seen_above_only() {
    let world = filtered();
    let log = Log::default();
    world.probe("A", "400000", &log);
    world.deciding("B", "200000", &log, |_, _| PreOp::Complete(IoStatus::new(NtStatus::ACCESS_DENIED, 0)));
    let file = world.sync_file("tr4");
    assert_eq!(file.write(b"abcd", None), refused(NtStatus::ACCESS_DENIED));
    assert_eq!(
        order(&log),
        [("A", false, false, OK), ("B", false, false, OK), ("A", true, false, NtStatus::ACCESS_DENIED)]
    );
    assert_eq!((file.position(), file.eof()), (0, 0));
}

#[test]
fn flt_o_07_a_completed_write_changes_no_file() {
    let world = filtered();
    let log = Log::default();
    world.deciding("B", "200000", &log, |_, data| {
        PreOp::Complete(IoStatus::new(NtStatus::SUCCESS, u64::from(data.length())))
    });
    let file = world.sync_file("o07");
    assert_eq!(file.write(b"abcd", None), success(4));
    assert_eq!((file.eof(), file.position()), (0, 0));
}

#[test]
fn flt_tr_06_a_pended_write_on_a_synchronous_handle_blocks_until_resumed() {
    let world = filtered();
    let log = Log::default();
    world.probe("A", "400000", &log);
    let kernel = world.kernel.clone();
    world.deciding("B", "200000", &log, move |_, data| {
        WorkQueue::queue(&kernel, move || {
            let _status = nt_ke::wait::delay(&nt_ke::current(), nt_ke::Mode::Kernel, false, -20_000);
            generated::complete_pended_pre(data, PreOp::WithCallback(1));
        });
        PreOp::Pending
    });
    let file = world.sync_file("tr6");
    assert_eq!(file.write(b"abcd", None), success(4));
    let names: Vec<_> = log.lock().iter().map(|seen| (seen.filter, seen.post)).collect();
    assert_eq!(names, [("A", false), ("B", false), ("B", true), ("A", true)]);
    assert_eq!(file.bytes_of("tr6"), b"abcd");
}

#[test]
fn flt_tr_07_on_an_asynchronous_handle_the_call_returns_pending() {
    let world = filtered();
    let log = Log::default();
    let kernel = world.kernel.clone();
    world.deciding("B", "200000", &log, move |_, data| {
        WorkQueue::queue(&kernel, move || {
            let _status = nt_ke::wait::delay(&nt_ke::current(), nt_ke::Mode::Kernel, false, -20_000);
            generated::complete_pended_pre(data, PreOp::NoCallback);
        });
        PreOp::Pending
    });
    let mut file = world.async_file("tr7");
    file.event = world.event(false);
    let buffer = nt_cell::arena::UserBlock::new(4).expect("arena");
    buffer.region().sub(0, 4).write_from(b"abcd").expect("fill");
    let done = file.raw_write(nt_cell::Addr::user(buffer.addr()), 4, Some(0));
    assert_eq!((done.returned, done.iosb), (NtStatus::PENDING, Iosb::Untouched));
    let waited = nt_io::event::wait_for(&world.frame(), file.event, false, None).expect("wait");
    assert_eq!((waited, file.iosb()), (OK, Iosb::Is(OK, 4)));
    assert!(!world.signaled(file.handle));
}

#[test]
fn flt_o_12_a_pended_operation_may_be_resumed_before_the_callback_returns() {
    let world = filtered();
    let log = Log::default();
    world.deciding("B", "200000", &log, |_, data| {
        generated::complete_pended_pre(data, PreOp::Complete(IoStatus::new(NtStatus::CANCELLED, 0)));
        PreOp::Pending
    });
    let file = world.sync_file("o12");
    assert_eq!(file.write(b"abcd", None).returned, NtStatus::CANCELLED);
}

#[test]
fn flt_tr_08_a_post_callback_may_hold_the_completion() {
    let world = filtered();
    let log = Log::default();
    world.probe("A", "400000", &log);
    let kernel = world.kernel.clone();
    let held = Arc::new(AtomicBool::new(false));
    let was_held = Arc::clone(&held);
    world.filter(
        "B",
        "200000",
        0,
        &log,
        |_, _| PreOp::WithCallback(0),
        move |_, data| {
            was_held.store(true, Ordering::SeqCst);
            WorkQueue::queue(&kernel, move || {
                let _status = nt_ke::wait::delay(&nt_ke::current(), nt_ke::Mode::Kernel, false, -20_000);
                generated::complete_pended_post(data);
            });
            PostOp::MoreProcessing
        },
    );
    let file = world.sync_file("tr8");
    assert_eq!(file.write(b"abcd", None), success(4));
    assert!(held.load(Ordering::SeqCst));
    let names: Vec<_> = log.lock().iter().map(|seen| (seen.filter, seen.post)).collect();
    assert_eq!(names, [("A", false), ("B", false), ("B", true), ("A", true)]);
}

#[test]
fn flt_o_03_skip_flags_bypass_the_callbacks() {
    for (flags, noncached, seen) in [
        (FLTFL_OPERATION_REGISTRATION_SKIP_CACHED_IO, false, 0),
        (FLTFL_OPERATION_REGISTRATION_SKIP_CACHED_IO, true, 2),
        (FLTFL_OPERATION_REGISTRATION_SKIP_NON_CACHED_NON_PAGING_IO, true, 0),
        (FLTFL_OPERATION_REGISTRATION_SKIP_NON_DASD_IO, false, 0),
    ] {
        let world = filtered();
        let log = Log::default();
        world.filter("S", "200000", flags, &log, |_, _| PreOp::WithCallback(0), |_, _| PostOp::Finished);
        let options = if noncached { SYNC | NONCACHED } else { SYNC };
        let file = world.file("o03", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, options);
        assert_eq!(file.write(&[1; 512], Some(0)), success(512));
        assert_eq!(log.lock().len(), seen, "flags {flags:#x}, noncached {noncached}");
    }
}

#[test]
fn flt_o_18_a_post_callback_may_change_the_status() {
    let world = filtered();
    let log = Log::default();
    world.probe("A", "400000", &log);
    world.filter(
        "B",
        "200000",
        0,
        &log,
        |_, _| PreOp::WithCallback(0),
        |_, data| {
            data.set_status(IoStatus::new(NtStatus::DISK_FULL, 0));
            PostOp::Finished
        },
    );
    let file = world.sync_file("o18");
    assert_eq!(file.write(b"abcd", None), refused(NtStatus::DISK_FULL));
    assert_eq!(log.lock().last().map(|seen| seen.status), Some(NtStatus::DISK_FULL));
    assert_eq!(file.eof(), 4, "the write itself is not undone");
}

#[test]
fn flt_o_22_no_post_without_a_request_for_one() {
    let world = filtered();
    let log = Log::default();
    world.deciding("B", "200000", &log, |_, _| PreOp::NoCallback);
    world.sync_file("o22").write(b"abcd", None);
    assert_eq!(log.lock().len(), 1);
}

#[test]
fn flt_o_15_a_synchronized_operation_runs_its_post_in_the_same_thread() {
    let world = filtered();
    world.policy(nt_io::system::AsyncPolicy::Worker);
    let log = Log::default();
    let (pre_thread, post_thread) = (Arc::new(nt_ke::Mutex::new(0)), Arc::new(nt_ke::Mutex::new(0)));
    let (pre, post) = (Arc::clone(&pre_thread), Arc::clone(&post_thread));
    world.filter(
        "B",
        "200000",
        0,
        &log,
        move |_, _| {
            *pre.lock() = nt_ke::current().thread.id();
            PreOp::Synchronize(0)
        },
        move |_, _| {
            *post.lock() = nt_ke::current().thread.id();
            PostOp::Finished
        },
    );
    let file = world.async_file("o15");
    let done = file.write(b"abcd", Some(0));
    assert!(done.returned.is_success());
    assert_eq!((*pre_thread.lock(), *post_thread.lock()), (nt_ke::current().thread.id(), nt_ke::current().thread.id()));
}

#[test]
fn flt_d_03_changes_count_only_with_the_dirty_bit() {
    for dirty in [false, true] {
        let world = filtered();
        let log = Log::default();
        world.probe("A", "400000", &log);
        world.deciding("M", "300000", &log, move |_, data| {
            data.set_length(4);
            if dirty {
                data.set_dirty();
            }
            PreOp::WithCallback(0)
        });
        world.probe("B", "200000", &log);
        let file = world.sync_file("d03");
        file.write(b"0123456789", None);
        assert_eq!(file.eof(), if dirty { 4 } else { 10 });
        // FLT-D-04: filters below see the change, the filter itself and those above see the original.
        let lengths: Vec<_> = log.lock().iter().map(|seen| (seen.filter, seen.post, seen.length)).collect();
        let below = if dirty { 4 } else { 10 };
        let expected = [
            ("A", false, 10),
            ("M", false, 10),
            ("B", false, below),
            ("B", true, below),
            ("M", true, 10),
            ("A", true, 10),
        ];
        assert_eq!(lengths, expected);
    }
}

#[test]
fn flt_d_04_each_filter_sees_its_own_parameters() {
    let world = filtered();
    let log = Log::default();
    world.deciding("M", "300000", &log, |_, data| {
        data.set_offset(100);
        data.set_dirty();
        PreOp::WithCallback(0)
    });
    world.probe("B", "200000", &log);
    world.sync_file("d04").write(b"ab", Some(7));
    let offsets: Vec<_> = log.lock().iter().map(|seen| seen.offset).collect();
    assert_eq!(offsets, [7, 100, 100, 7]);
}

#[test]
fn flt_i_03_one_instance_an_altitude() {
    let world = filtered();
    let log = Log::default();
    world.probe("A", "400000", &log);
    struct Same;
    impl nt_fltmgr::MiniFilter for Same {
        fn name(&self) -> &str {
            "same"
        }
        fn altitude(&self) -> &str {
            "0400000.0"
        }
        fn operations(&self) -> Vec<(u8, u32)> {
            Vec::new()
        }
    }
    let second = nt_fltmgr::register_native(&world.kernel, Arc::new(Same)).err().map(NtStatus::from);
    assert_eq!(second, Some(NtStatus::FLT_INSTANCE_ALTITUDE_COLLISION));
}

#[test]
fn flt_r_09_a_filter_starts_once() {
    let world = filtered();
    let log = Log::default();
    let filter = world.probe("A", "400000", &log);
    let manager = FltMgr::of(&world.kernel).expect("room");
    let again = manager.start(&world.kernel, &filter).err().map(NtStatus::from);
    assert_eq!(again, Some(NtStatus::INVALID_PARAMETER));
}

#[test]
fn flt_r_12_an_unregistered_filter_sees_nothing_more() {
    let world = filtered();
    let log = Log::default();
    let filter = world.probe("A", "400000", &log);
    let file = world.sync_file("r12");
    file.write(b"a", None);
    FltMgr::of(&world.kernel).expect("room").unregister(&filter);
    log.lock().clear();
    assert_eq!(file.write(b"b", None), success(1));
    assert!(log.lock().is_empty());
}

#[test]
fn flt_s_01_a_filter_without_callbacks_changes_nothing() {
    let world = filtered();
    struct Null;
    impl nt_fltmgr::MiniFilter for Null {
        fn name(&self) -> &str {
            "null"
        }
        fn altitude(&self) -> &str {
            "370020"
        }
        fn operations(&self) -> Vec<(u8, u32)> {
            Vec::new()
        }
    }
    nt_fltmgr::register_native(&world.kernel, Arc::new(Null)).expect("register");
    let file = world.sync_file("s01");
    assert_eq!(file.write(b"abc", None), success(3));
    assert_eq!(file.bytes_of("s01"), b"abc");
}
