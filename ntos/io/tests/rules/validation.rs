//! The order of NtWriteFile's checks, by pairs: of two faults in one call the earlier row of the table wins.

use crate::support::*;
use nt_abi::NtStatus;
use nt_abi::io::{DEVICE_OBJECT, FILE_OBJECT};
use nt_cell::Addr;
use nt_io::irp::IoStatus;
use nt_ke::Mode;
use nt_ob::Handle;

/// The parts of one call that faults change.
struct Case {
    access: u32,
    options: u32,
    port: bool,
    handle: Option<Handle>,
    apc: bool,
    iosb: Option<u64>,
    buffer: Option<u64>,
    length: u32,
    offset: Option<i64>,
    offset_at: Option<u64>,
    key_at: Option<u64>,
    event: Option<Which>,
    starved: bool,
    buffered: bool,
    answer: NtStatus,
}

#[derive(Clone, Copy)]
enum Which {
    None,
    File,
    Powerless,
}

/// One way to break one row. `touches`: the argument that it needs, where it excludes others that need another value there.
struct Fault {
    row: u32,
    name: &'static str,
    status: NtStatus,
    touches: &'static str,
    spoil: fn(&mut Case),
}

/// Where no user memory can be: odd, so that it is a misaligned buffer too.
const KERNEL: u64 = 0x7FFF_FFFF_0001;
const AV: NtStatus = NtStatus::ACCESS_VIOLATION;
const MISALIGNED: NtStatus = NtStatus::DATATYPE_MISALIGNMENT;
const INVALID: NtStatus = NtStatus::INVALID_PARAMETER;

const FAULTS: &[Fault] = &[
    Fault {
        row: 1,
        name: "no handle",
        status: NtStatus::INVALID_HANDLE,
        touches: "handle",
        spoil: |c| c.handle = Some(Handle(0x7770)),
    },
    Fault {
        row: 2,
        name: "a process",
        status: NtStatus::OBJECT_TYPE_MISMATCH,
        touches: "handle",
        spoil: |c| c.handle = Some(Handle::CURRENT_PROCESS),
    },
    Fault {
        row: 3,
        name: "read access",
        status: NtStatus::ACCESS_DENIED,
        touches: "access",
        spoil: |c| c.access = READ_DATA,
    },
    Fault { row: 4, name: "status block NULL", status: AV, touches: "iosb", spoil: |c| c.iosb = Some(0) },
    Fault { row: 4, name: "status block misaligned", status: MISALIGNED, touches: "iosb", spoil: |c| c.iosb = Some(2) },
    Fault { row: 5, name: "kernel buffer", status: AV, touches: "buffer", spoil: |c| c.buffer = Some(KERNEL) },
    Fault { row: 5, name: "wrapping buffer", status: AV, touches: "buffer", spoil: |c| c.buffer = Some(u64::MAX - 14) },
    Fault {
        row: 6,
        name: "offset unreadable",
        status: AV,
        touches: "offset",
        spoil: |c| c.offset_at = Some(KERNEL & !3),
    },
    Fault {
        row: 6,
        name: "offset misaligned",
        status: MISALIGNED,
        touches: "offset",
        spoil: |c| c.offset_at = Some(1),
    },
    Fault { row: 7, name: "APC and port", status: INVALID, touches: "apc", spoil: |c| (c.apc, c.port) = (true, true) },
    Fault {
        row: 8,
        name: "ragged length",
        status: INVALID,
        touches: "length",
        spoil: |c| {
            c.options |= NONCACHED;
            c.length = 100
        },
    },
    Fault {
        row: 9,
        name: "odd buffer",
        status: INVALID,
        touches: "buffer",
        spoil: |c| {
            c.options |= NONCACHED;
            c.buffer = Some(1)
        },
    },
    Fault {
        row: 10,
        name: "ragged offset",
        status: INVALID,
        touches: "offset",
        spoil: |c| {
            c.options |= NONCACHED;
            c.offset = Some(100)
        },
    },
    Fault { row: 11, name: "key unreadable", status: AV, touches: "key", spoil: |c| c.key_at = Some(KERNEL & !3) },
    Fault { row: 11, name: "key misaligned", status: MISALIGNED, touches: "key", spoil: |c| c.key_at = Some(2) },
    Fault { row: 12, name: "offset -5", status: INVALID, touches: "offset", spoil: |c| c.offset = Some(-5) },
    Fault { row: 13, name: "offset -2", status: INVALID, touches: "offset", spoil: |c| c.offset = Some(-2) },
    Fault {
        row: 15,
        name: "no event",
        status: NtStatus::INVALID_HANDLE,
        touches: "event",
        spoil: |c| c.event = Some(Which::None),
    },
    Fault {
        row: 15,
        name: "a file as event",
        status: NtStatus::OBJECT_TYPE_MISMATCH,
        touches: "event",
        spoil: |c| c.event = Some(Which::File),
    },
    Fault {
        row: 15,
        name: "an event without right",
        status: NtStatus::ACCESS_DENIED,
        touches: "event",
        spoil: |c| c.event = Some(Which::Powerless),
    },
    Fault { row: 19, name: "no offset", status: INVALID, touches: "offset", spoil: |c| c.offset = None },
    Fault {
        row: 22,
        name: "no packet",
        status: NtStatus::INSUFFICIENT_RESOURCES,
        touches: "pool",
        spoil: |c| c.starved = true,
    },
    Fault {
        row: 23,
        name: "unreadable data",
        status: AV,
        touches: "buffer",
        spoil: |c| {
            c.buffered = true;
            c.buffer = Some(8)
        },
    },
    Fault {
        row: 24,
        name: "the driver refuses",
        status: NtStatus::DISK_FULL,
        touches: "answer",
        spoil: |c| c.answer = NtStatus::DISK_FULL,
    },
];

/// Rows from here on find the event reset already (V-16).
const EVENT_RESET: u32 = 16;

/// What a call left: what it returned, whether the status block was written, whether the events are still set, and how
/// many requests reached the driver.
#[derive(PartialEq, Eq, Debug)]
struct Outcome {
    done: Done,
    event: bool,
    file_event: bool,
    requests: usize,
}

fn run(world: &World, faults: &[&Fault], mode: Mode) -> Outcome {
    let mut case = Case {
        access: WRITE_DATA,
        options: 0,
        port: false,
        handle: None,
        apc: false,
        iosb: None,
        buffer: None,
        length: 512,
        offset: Some(0),
        offset_at: None,
        key_at: None,
        event: None,
        starved: false,
        buffered: false,
        answer: NtStatus::SUCCESS,
    };
    // The earlier fault is put in last: where both need one argument its value has both faults.
    faults.iter().rev().for_each(|fault| (fault.spoil)(&mut case));
    let file = world.open(case.access | SYNCHRONIZE, case.options);
    let port = world.port();
    if case.port {
        assert_eq!(world.associate(&file, port, 1), NtStatus::SUCCESS);
    }
    file.set_event(true);
    world.device.set(DEVICE_OBJECT::AlignmentRequirement, 1);
    world.method(if case.buffered { 4 } else { 0 });
    world.script.answers(case.answer, 512);
    let event = world.event(true);
    let powerless =
        nt_io::event::create(&world.frame(), SYNCHRONIZE, 0, nt_ke::dispatcher::EventType::Notification, true);
    let powerless = powerless.expect("event");
    let mut call = world.write(&file, &[7; 512]).offset(case.offset).event(event);
    // Small numbers are offsets from the good address.
    let near = |good: u64, given: Option<u64>| match given {
        Some(by @ 1..=4) => good + by,
        Some(other) => other,
        None => good,
    };
    let block = call.block();
    call.args.handle = case.handle.unwrap_or(file.handle);
    call.args.iosb = Addr::user(near(block, case.iosb));
    call.args.buffer = Addr::user(near(block + 4096, case.buffer));
    call.args.length = case.length;
    if case.offset_at.is_some() {
        call.args.byte_offset = Addr::user(near(block + 16, case.offset_at));
    }
    if case.key_at.is_some() {
        call.args.key = Addr::user(near(block + 24, case.key_at));
    }
    match case.event {
        None => {}
        Some(Which::None) => call.args.event = Handle(0x7770),
        Some(Which::File) => call.args.event = file.handle,
        Some(Which::Powerless) => call.args.event = powerless,
    }
    call.args.apc_routine = case.apc.then(noting_apc);
    let starved = case.starved.then(|| nt_ex::pool::starve(nt_ex::pool::tag(b"Irp ")));
    let done = world.frame().with_mode(mode, || call.make());
    drop(starved);
    let outcome = Outcome {
        done,
        event: world.signaled(event),
        file_event: file.event(),
        requests: world.script.seen().len() + world.script.fast_seen().len(),
    };
    for handle in [event, powerless, port] {
        nt_io::event::close(&world.frame(), handle).expect("open");
    }
    outcome
}

/// What a refusal at a row leaves: E0 before the event's reset, E1 before the file's, then E2.
fn expected(fault: &Fault) -> Outcome {
    Outcome {
        done: refused(fault.status),
        event: fault.row < EVENT_RESET,
        file_event: fault.row < 21,
        requests: usize::from(fault.row == 24),
    }
}

/// Checks each fault of `row` alone, and against each fault of a later row that would show otherwise.
fn wins_over_later(row: u32) -> usize {
    let world = World::new();
    let mut cases = 0;
    for early in FAULTS.iter().filter(|fault| fault.row == row) {
        assert_eq!(run(&world, &[early], Mode::User), expected(early), "V-{row:02} {}", early.name);
        cases += 1;
        for late in FAULTS.iter().filter(|fault| fault.row > row) {
            // One argument cannot have two faults, but for a buffer that is out of range and odd.
            let both = row == 5 && early.name == "kernel buffer" && late.row == 9;
            if (early.touches == late.touches && !both) || expected(early) == expected(late) {
                continue;
            }
            let case = format!("V-{row:02} {} before V-{:02} {}", early.name, late.row, late.name);
            assert_eq!(run(&world, &[early, late], Mode::User), expected(early), "{case}");
            cases += 1;
        }
    }
    cases
}

#[test]
fn nt_v_01_the_handle_comes_first() {
    assert!(wins_over_later(1) > 15);
}
#[test]
fn nt_v_02_then_the_type_of_the_object() {
    assert!(wins_over_later(2) > 15);
}
#[test]
fn nt_v_03_then_the_granted_access() {
    assert!(wins_over_later(3) > 15);
    let world = World::new();
    for (access, options, status) in [
        (WRITE_DATA, NONALERT, NtStatus::SUCCESS),
        (APPEND_DATA, NONALERT, NtStatus::SUCCESS),
        (0x80, NONALERT, NtStatus::ACCESS_DENIED),
        (SYNCHRONIZE, NONALERT, NtStatus::ACCESS_DENIED),
    ] {
        let file = world.open(access | SYNCHRONIZE, options);
        assert_eq!(world.write(&file, b"ab").make().returned, status, "{access:#x}");
    }
    // A pipe needs FILE_WRITE_DATA: its bit 4 is another right.
    let pipe = world.open(APPEND_DATA | SYNCHRONIZE, NONALERT);
    pipe.object().or32(FILE_OBJECT::Flags, nt_abi::io::FO_NAMED_PIPE);
    assert_eq!(world.write(&pipe, b"ab").make(), refused(NtStatus::ACCESS_DENIED));
}
#[test]
fn nt_v_04_then_the_status_block() {
    assert!(wins_over_later(4) > 20);
}
#[test]
fn nt_v_05_then_the_range_of_the_buffer() {
    assert!(wins_over_later(5) > 15);
    let world = World::new();
    let file = world.synchronous();
    // The range only: pages are not touched, and length 0 is no range.
    for (buffer, length, status) in [(0, 14, NtStatus::SUCCESS), (KERNEL, 0, NtStatus::SUCCESS), (KERNEL, 1, AV)] {
        let mut call = world.write(&file, b"x");
        (call.args.buffer, call.args.length) = (Addr::user(buffer), length);
        assert_eq!(call.make().returned, status, "{buffer:#x} {length}");
    }
}
#[test]
fn nt_v_06_then_the_offset_is_captured() {
    assert!(wins_over_later(6) > 10);
}
#[test]
fn nt_v_07_then_apc_and_port_exclude_each_other() {
    assert!(wins_over_later(7) > 5);
}
#[test]
fn nt_v_08_then_the_noncached_length() {
    assert!(wins_over_later(8) > 5);
    let world = World::new();
    let file = world.open(WRITE_DATA | SYNCHRONIZE, NONALERT | NONCACHED);
    assert_eq!(world.write(&file, &[1; 1024]).make().returned, NtStatus::SUCCESS);
    assert_eq!(world.write(&file, &[1; 513]).make(), refused(INVALID));
    assert_eq!(world.write(&file, &[]).make().returned, NtStatus::SUCCESS, "0 is a multiple");
}
#[test]
fn nt_v_09_then_the_noncached_address() {
    assert!(wins_over_later(9) > 5);
    let world = World::new();
    world.device.set(DEVICE_OBJECT::AlignmentRequirement, 0);
    let file = world.open(WRITE_DATA | SYNCHRONIZE, NONALERT | NONCACHED);
    let mut call = world.write(&file, &[1; 1024]);
    call.args.buffer = Addr::user(call.block() + 4097);
    call.args.length = 512;
    assert_eq!(call.make().returned, NtStatus::SUCCESS, "a device without a requirement takes any address");
}
#[test]
fn nt_v_10_then_the_noncached_offset_with_its_exemptions() {
    assert!(wins_over_later(10) > 3);
    let world = World::new();
    let synchronous = world.open(WRITE_DATA | SYNCHRONIZE, NONALERT | NONCACHED);
    let asynchronous = world.open(WRITE_DATA | SYNCHRONIZE, NONCACHED);
    synchronous.seek(100);
    for (file, offset, status) in [
        (&synchronous, Some(512), NtStatus::SUCCESS),
        (&synchronous, Some(100), INVALID),
        (&synchronous, Some(-1), NtStatus::SUCCESS),
        (&synchronous, Some(-2), NtStatus::SUCCESS),
        (&synchronous, None, NtStatus::SUCCESS),
        (&asynchronous, Some(-1), NtStatus::SUCCESS),
        (&asynchronous, Some(-2), INVALID),
    ] {
        assert_eq!(world.write(file, &[1; 512]).offset(offset).make().returned, status, "{offset:?}");
    }
}
#[test]
fn nt_v_11_then_the_key_is_captured() {
    assert!(wins_over_later(11) > 8);
    let world = World::new();
    let file = world.synchronous();
    world.write(&file, b"x").key(0x4B45_5921).make();
    world.write(&file, b"x").make();
    assert_eq!(world.script.seen().iter().map(|seen| seen.key).collect::<Vec<_>>(), [0x4B45_5921, 0]);
}
#[test]
fn nt_v_12_then_offsets_below_minus_two() {
    assert!(wins_over_later(12) > 3);
}
#[test]
fn nt_v_13_then_a_position_that_nobody_keeps() {
    assert!(wins_over_later(13) > 3);
}

#[test]
fn nt_v_14_an_append_only_handle_has_no_bad_offset() {
    let world = World::new();
    for options in [0, NONALERT, NONCACHED | NONALERT, NONCACHED] {
        // The right to append must not stand literally beside NO_INTERMEDIATE_BUFFERING at the open: the flag is set after it.
        let file = world.open(APPEND_DATA | SYNCHRONIZE, options & !NONCACHED);
        if options & NONCACHED != 0 {
            file.object().or32(FILE_OBJECT::Flags, nt_abi::io::FO_NO_INTERMEDIATE_BUFFERING);
        }
        file.seek(77);
        for offset in [Some(0), Some(100), Some(-1), Some(-2), Some(-5), Some(i64::MIN), None] {
            let done = world.write(&file, &[1; 512]).offset(offset).make();
            assert_eq!(done.returned, NtStatus::SUCCESS, "{options:#x} {offset:?}");
            assert_eq!(world.script.seen()[0].offset, -1, "{options:#x} {offset:?}");
        }
    }
    // The earlier rows still see the pointer.
    let file = world.open(APPEND_DATA | SYNCHRONIZE, NONALERT);
    let mut call = world.write(&file, b"x");
    call.args.byte_offset = Addr::user(KERNEL & !3);
    assert_eq!(call.make(), refused(AV));
}

#[test]
fn nt_v_15_then_the_event() {
    assert!(wins_over_later(15) > 6);
}

#[test]
fn nt_v_16_the_event_is_reset_when_its_handle_is_good() {
    let world = World::new();
    for late in FAULTS.iter().filter(|fault| fault.row > 15) {
        assert!(!run(&world, &[late], Mode::User).event, "V-{} {}", late.row, late.name);
    }
    for early in FAULTS.iter().filter(|fault| fault.row < 15) {
        assert!(run(&world, &[early], Mode::User).event, "V-{} {}", early.row, early.name);
    }
}

#[test]
fn nt_v_17_a_wait_for_the_file_that_is_interrupted_does_nothing_more() {
    for (alert, status) in [(true, NtStatus::ALERTED), (false, NtStatus::USER_APC)] {
        let world = World::new();
        let file = world.open(WRITE_DATA | SYNCHRONIZE, ALERT);
        world.script.plan(Plan::Hold { cancelable: true });
        let handle = file.handle;
        let first = world.spawn(move |frame| Call::of(handle, b"x").make_in(frame));
        world.until(|| world.script.held() == 1);
        // The event was signalled: it is reset before the wait for the file.
        let event = world.event(true);
        let second = world.spawn(move |frame| {
            let call = Call::of(handle, b"x").event(event);
            (call.make_in(frame), apcs().len())
        });
        world.until(|| file.object().get(FILE_OBJECT::Waiters) == 1);
        let target = nt_io::thread::open(&world.frame(), second.thread.id(), 0x1F_FFFF).expect("thread");
        if alert {
            assert_eq!(nt_io::thread::nt_alert_thread(&world.frame(), target), NtStatus::SUCCESS);
        } else {
            let queued = nt_io::thread::nt_queue_apc_thread(&world.frame(), target, noting_apc(), [9, 0, 0]);
            assert_eq!(queued, NtStatus::SUCCESS);
        }
        let (done, ran) = second.join();
        assert_eq!((done, ran), (refused(status), usize::from(!alert)));
        assert!(!world.signaled(event), "E1: the event stays reset");
        assert_eq!(world.script.seen().len(), 1, "only the first call reached the driver");
        world.script.finish(NtStatus::SUCCESS, 1);
        assert_eq!(first.join(), success(1));
    }
}

#[test]
fn nt_v_18_no_offset_or_minus_two_is_the_position() {
    let world = World::new();
    let file = world.synchronous();
    for offset in [None, Some(-2)] {
        file.seek(4711);
        world.write(&file, b"x").offset(offset).make();
        assert_eq!(world.script.seen()[0].offset, 4711, "{offset:?}");
    }
    world.write(&file, b"x").offset(Some(5)).make();
    assert_eq!(world.script.seen()[0].offset, 5);
    let append = world.open(APPEND_DATA | SYNCHRONIZE, NONALERT);
    append.seek(4711);
    world.write(&append, b"x").offset(None).make();
    assert_eq!(world.script.seen()[0].offset, -1, "V-14 wins");
}

#[test]
fn nt_v_19_an_offset_is_needed_without_a_position() {
    assert!(wins_over_later(19) > 1);
    let world = World::new();
    let pipe = world.asynchronous();
    pipe.object().or32(FILE_OBJECT::Flags, nt_abi::io::FO_NAMED_PIPE);
    assert_eq!(world.write(&pipe, b"x").offset(None).make().returned, NtStatus::SUCCESS, "pipes have no offsets");
}

#[test]
fn nt_v_20_fast_io_ends_the_call_when_it_succeeds() {
    let world = World::new();
    let file = world.synchronous();
    world.script.fast(Some(IoStatus::new(NtStatus::SUCCESS, 5)));
    assert_eq!(world.write(&file, b"hello").make(), success(0), "no cache map: a packet");
    assert_eq!((world.script.seen().len(), world.script.fast_seen().len()), (1, 0));
    file.cache();
    let event = world.event(false);
    assert_eq!(world.write(&file, b"hello").event(event).make(), success(5));
    assert_eq!((world.script.seen().len(), world.script.fast_seen().len()), (0, 1));
    assert!(world.signaled(event));
    let other = world.asynchronous();
    other.cache();
    world.write(&other, b"hello").make();
    assert_eq!((world.script.seen().len(), world.script.fast_seen().len()), (1, 0), "never on an A-handle");
}

#[test]
fn nt_v_21_the_file_event_is_reset_before_the_packet_goes() {
    let world = World::new();
    for file in [world.synchronous(), world.asynchronous()] {
        file.set_event(true);
        world.write(&file, b"x").make();
        assert!(!world.script.seen()[0].file_event);
    }
}

#[test]
fn nt_v_22_without_a_packet_there_are_no_resources() {
    assert!(wins_over_later(22) > 1);
}

#[test]
fn nt_v_23_the_buffer_is_taken_before_the_driver_is_called() {
    assert!(wins_over_later(23) > 1);
    let world = World::new();
    for method in [4, 0x10] {
        world.method(method);
        let file = world.synchronous();
        let event = world.event(true);
        let mut call = world.write(&file, &[1; 32]).event(event);
        call.args.buffer = Addr::NULL;
        assert_eq!(call.make(), refused(AV), "method {method:#x}");
        assert!(!world.signaled(event) && !file.event() && world.script.seen().is_empty());
        call.args.length = 0;
        assert_eq!(call.make(), success(0));
        let seen = world.script.seen()[0];
        assert_eq!((seen.system_buffer, seen.mdl), (0, 0), "nothing to take");
    }
}

#[test]
fn nt_v_24_at_last_the_driver_decides() {
    assert!(wins_over_later(24) > 0);
    let world = World::new();
    for status in [NtStatus::DISK_FULL, NtStatus::INVALID_USER_BUFFER, NtStatus::FILE_LOCK_CONFLICT] {
        for file in [world.synchronous(), world.asynchronous()] {
            world.script.answers(status, 0);
            let event = world.event(true);
            assert_eq!(world.write(&file, b"x").event(event).make(), refused(status));
            assert!(!world.signaled(event) && !file.event(), "E2");
        }
    }
}

#[test]
fn nt_v_12_a_kernel_caller_skips_rows_3_to_11_and_no_other() {
    let world = World::new();
    for fault in FAULTS {
        let outcome = run_as_kernel(&world, fault);
        let skipped = matches!(fault.row, 3 | 7..=10);
        let Some(outcome) = outcome else { continue };
        if skipped {
            assert_eq!(outcome.done.returned, NtStatus::SUCCESS, "V-{:02} {}", fault.row, fault.name);
        } else {
            assert_eq!(outcome.done.returned, fault.status, "V-{:02} {}", fault.row, fault.name);
        }
    }
}

/// Pointers of a kernel caller are its own affair: those faults have no meaning.
fn run_as_kernel(world: &World, fault: &Fault) -> Option<Outcome> {
    let pointer = matches!(fault.row, 4..=6 | 11) || fault.name == "an event without right";
    (!pointer).then(|| run(world, &[fault], Mode::Kernel))
}

#[test]
fn nt_v_15_a_kernel_caller_needs_no_right_to_its_event() {
    let world = World::new();
    let fault = FAULTS.iter().find(|fault| fault.name == "an event without right").expect("in the table");
    assert_eq!(run(&world, &[fault], Mode::Kernel).done.returned, NtStatus::SUCCESS);
}
