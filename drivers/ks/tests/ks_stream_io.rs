//! KsStreamIo against a driver that records: arguments, paths, packets (ks.md section 5).
mod device;
mod stream;
#[path = "../../memfs/tests/support/mod.rs"]
mod support;

use device::{Came, Findings, event_object, wait_for};
use nt_abi::NtStatus;
use nt_abi::io::{IO_STACK_LOCATION, IRP, IRP_MJ_DEVICE_CONTROL};
use nt_abi::ks::*;
use nt_cell::Addr;
use nt_cell::arena::{Protection, UserBlock};
use nt_ex::pool::{self, PoolKind};
use nt_io::irp::IoStatus;
use nt_io::port;
use nt_ke::{Mode, Mutex, dispatcher};
use nt_ks::completion::Routine;
use nt_ks::frames::FrameList;
use nt_ks::probe;
use nt_ks::streamio::{self, StreamRequest};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use stream::*;
use support::*;

#[test]
fn ks_s_02_the_write_bit_alone_makes_the_code() {
    let world = World::new();
    let (kind, seen) = noting(code_of);
    let stream = Stream::new(&world, kind);
    for (flags, code) in [
        (0x1101, IOCTL_KS_WRITE_STREAM),
        (0x0001, IOCTL_KS_WRITE_STREAM),
        (0x1100, IOCTL_KS_READ_STREAM),
        (0x1000, IOCTL_KS_READ_STREAM),
        (0, IOCTL_KS_READ_STREAM),
    ] {
        assert_eq!(stream.go(&StreamRequest { flags, ..stream.request() }), NtStatus::SUCCESS);
        assert_eq!(seen.lock().pop(), Some((IRP_MJ_DEVICE_CONTROL, code)), "flags {flags:#x}");
    }
}

#[test]
fn ks_s_03_the_direction_bit_goes_straight_to_the_probe() {
    const { assert!(KSSTREAM_READ == KSPROBE_STREAMREAD && KSSTREAM_WRITE == KSPROBE_STREAMWRITE) };
    let world = World::new();
    // A list whose frame is in use is good for a write and bad for a read: the probe tells which one it was asked for.
    for (flags, expected) in [(KSSTREAM_WRITE, NtStatus::SUCCESS), (KSSTREAM_READ, NtStatus::INVALID_BUFFER_SIZE)] {
        let kind = Kind::new(move |irp| {
            let probed = probe::probe_stream_irp(irp.irp(), flags & 1, 0);
            irp.finish(probed.map(|()| (NtStatus::SUCCESS, 0)))
        });
        let stream = Stream::new(&world, kind);
        assert_eq!(stream.go(&StreamRequest { flags, ..stream.request() }), expected);
    }
}

#[test]
fn ks_s_05_the_list_is_neither_looked_at_nor_checked_before_the_driver_probes_it() {
    let world = World::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let store = Arc::clone(&seen);
    let kind = Kind::new(move |irp| {
        store.lock().push(irp.irp().addr_at(IRP::UserBuffer));
        let probed = probe::probe_stream_irp(irp.irp(), KSPROBE_STREAMWRITE, 0);
        irp.finish(probed.map(|()| (NtStatus::SUCCESS, 0)))
    });
    let stream = Stream::new(&world, kind);
    let gone = UserBlock::pages(4096).expect("arena");
    gone.protect(0, 4096, Protection::NoAccess).expect("protect");
    for mode in [Mode::Kernel, Mode::User] {
        let request = StreamRequest { headers: Addr::from(gone.region()), length: 56, mode, ..stream.request() };
        assert_eq!(stream.go(&request), NtStatus::ACCESS_VIOLATION, "{mode:?}");
        assert_eq!(seen.lock().pop(), Some(gone.addr()), "the driver was asked, with the caller's address");
        assert!(stream.untouched());
    }
    // A list that can be read, and says nonsense.
    let zeros = FrameList::filled(&[b"x"]).expect("pool");
    zeros.header(0).set(KSSTREAM_HEADER::Size, 3);
    let request = StreamRequest { headers: zeros.addr(), length: 56, ..stream.request() };
    assert_eq!((stream.go(&request), stream.came().len()), (NtStatus::INVALID_BUFFER_SIZE, 3));
}

/// Whose list the driver sees, before and after the caller changes its own.
fn list_in_driver(mode: Mode) -> (u64, u64, u32) {
    let world = World::new();
    let (kind, held) = holding();
    let stream = Stream::new(&world, kind);
    let user = UserList::new(&[Head::of(64, 8)]);
    let (headers, length) = match mode {
        Mode::Kernel => (stream.list.addr(), stream.list.length()),
        Mode::User => (user.addr(), user.length),
    };
    assert_eq!(stream.go(&StreamRequest { headers, length, mode, ..stream.request() }), NtStatus::PENDING);
    let pended = held.lock().pop().expect("pended");
    probe::probe_stream_irp(pended.irp(), KSPROBE_STREAMWRITE, 0).expect("a good list");
    let used = KSSTREAM_HEADER::DataUsed.offset();
    match mode {
        Mode::Kernel => stream.list.header(0).set(KSSTREAM_HEADER::DataUsed, 5),
        Mode::User => user.region().store::<u32>(used, 5).expect("block"),
    }
    let list = probe::list(pended.irp());
    let saw = (list.addr(), headers.value(), list.load::<u32>(used).expect("list"));
    pended.complete(NtStatus::SUCCESS, 8);
    wait_for(&world, stream.file_event());
    saw
}

#[test]
fn ks_s_06_a_kernel_callers_list_is_used_where_it_lies() {
    let (system, caller, used) = list_in_driver(Mode::Kernel);
    assert_eq!((system, used), (caller, 5), "the driver sees what the caller changes");
}

#[test]
fn ks_s_07_a_user_callers_list_is_a_copy_in_the_driver() {
    let (system, caller, used) = list_in_driver(Mode::User);
    assert!(system != caller && used == 8, "the driver sees the list as it was");
}

#[test]
fn ks_v_04_a_kernel_list_outside_nonpaged_pool_is_reported() {
    let world = World::new();
    let stream = Stream::new(&world, Kind::answering(NtStatus::SUCCESS, 8));
    let findings = Findings::listen(&world);
    let go = |headers, mode| stream.go(&StreamRequest { headers, length: 56, mode, ..stream.request() });
    assert_eq!(go(stream.list.addr(), Mode::Kernel), NtStatus::SUCCESS);
    let user = UserList::new(&[Head::of(8, 8)]);
    assert_eq!(go(user.addr(), Mode::User), NtStatus::SUCCESS);
    assert!(findings.rules().is_empty(), "nonpaged pool, and a user caller's list, are good");
    assert_eq!(go(Addr::from(user.region()), Mode::Kernel), NtStatus::SUCCESS);
    assert_eq!(findings.rules(), ["KS-V-04"], "user memory");
    let paged = pool::allocate(128, pool::tag(b"tKsP"), PoolKind::Paged).expect("pool");
    assert_eq!(go(Addr::from(paged), Mode::Kernel), NtStatus::SUCCESS);
    assert_eq!(findings.rules().len(), 2, "paged pool");
    pool::free(paged);
    let long = StreamRequest { length: 5000, ..stream.request() };
    assert_eq!(stream.go(&long), NtStatus::SUCCESS);
    assert_eq!(findings.rules().len(), 3, "a list that ends beyond its block");
}

#[test]
fn ks_v_04_nonpaged_data_that_can_be_paged_out_is_reported() {
    let world = World::new();
    let stream = Stream::new(&world, Kind::answering(NtStatus::SUCCESS, 8));
    let findings = Findings::listen(&world);
    let flags = KSSTREAM_WRITE | KSSTREAM_NONPAGED_DATA;
    assert_eq!(stream.go(&StreamRequest { flags, ..stream.request() }), NtStatus::SUCCESS);
    assert!(findings.rules().is_empty());
    let paged = pool::allocate(64, pool::tag(b"tKsP"), PoolKind::Paged).expect("pool");
    stream.list.header(0).set_ptr(KSSTREAM_HEADER::Data, Some(paged));
    assert_eq!(stream.go(&stream.request()), NtStatus::SUCCESS);
    assert!(findings.rules().is_empty(), "without the flag it may be pageable");
    assert_eq!(stream.go(&StreamRequest { flags, ..stream.request() }), NtStatus::SUCCESS);
    assert_eq!(findings.rules(), ["KS-V-04"]);
    pool::free(paged);
}

#[test]
fn ks_s_08_a_ks_objects_own_fast_entry_gets_the_header_list() {
    let world = World::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let store = Arc::clone(&seen);
    let kind = Kind::answering(NtStatus::SUCCESS, 0).plain().object(move |call| {
        let given = (call.offset, call.length, call.wait, call.key, call.buffer.addr(), call.device, call.file);
        store.lock().push(given);
        Some(IoStatus::new(NtStatus::SUCCESS, 8))
    });
    let stream = Stream::new(&world, kind);
    for flags in [KSSTREAM_WRITE, KSSTREAM_READ] {
        assert_eq!(stream.go(&StreamRequest { flags, ..stream.request() }), NtStatus::SUCCESS);
        assert_eq!((stream.came(), stream.result()), (vec![Came::Fast], OK8));
        let expected = (None, 56, false, 0, stream.list.addr().value(), stream.device, stream.file.body());
        assert_eq!(seen.lock().pop(), Some(expected));
        stream.reset();
    }
}

#[test]
fn ks_s_08_a_plain_drivers_fast_write_never_gets_a_header_list() {
    let world = World::new();
    let stream = Stream::new(&world, Kind::answering(NtStatus::SUCCESS, 8).plain()); // its FastIoWrite panics
    assert_eq!((stream.go(&stream.request()), stream.came()), (NtStatus::SUCCESS, vec![Came::Packet]));
}

#[test]
fn ks_s_31_fast_device_control_gets_the_list_as_its_output() {
    let world = World::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let store = Arc::clone(&seen);
    let kind = Kind::answering(NtStatus::SUCCESS, 0).control(move |call| {
        store.lock().push((call.code, call.wait, call.input, call.output));
        Some(IoStatus::new(NtStatus::SUCCESS, 8))
    });
    let stream = Stream::new(&world, kind);
    for (flags, code) in [(KSSTREAM_WRITE, IOCTL_KS_WRITE_STREAM), (KSSTREAM_READ, IOCTL_KS_READ_STREAM)] {
        assert_eq!(stream.go(&StreamRequest { flags, ..stream.request() }), NtStatus::SUCCESS);
        assert_eq!((stream.came(), stream.result()), (vec![Came::Fast], OK8));
        assert_eq!(seen.lock().pop(), Some((code, false, (0, 0), (stream.list.addr().value(), 56))));
        stream.reset();
    }
    drop(stream);
    // FALSE: the packet follows; and a KS object's own entry comes first.
    let world = World::new();
    let stream = Stream::new(&world, Kind::answering(NtStatus::SUCCESS, 8).control(|_| None));
    assert_eq!((stream.go(&stream.request()), stream.came()), (NtStatus::SUCCESS, vec![Came::Fast, Came::Packet]));
    drop(stream);
    let world = World::new();
    let kind = Kind::answering(NtStatus::SUCCESS, 8).control(|_| panic!("the object was there")).object(|_| None);
    let stream = Stream::new(&world, kind);
    assert_eq!((stream.go(&stream.request()), stream.came()), (NtStatus::SUCCESS, vec![Came::Fast, Came::Packet]));
}

#[test]
fn ks_s_09_a_user_requestor_under_kernel_previous_mode_never_goes_fast() {
    let world = World::new();
    let take = |_: &_| Some(IoStatus::new(NtStatus::SUCCESS, 8));
    let stream = Stream::new(&world, Kind::answering(NtStatus::SUCCESS, 8).object(take));
    let user = UserList::new(&[Head::of(8, 8)]);
    for (requestor, previous, came) in [
        (Mode::Kernel, Mode::Kernel, Came::Fast),
        (Mode::User, Mode::User, Came::Fast),
        (Mode::Kernel, Mode::User, Came::Fast),
        (Mode::User, Mode::Kernel, Came::Packet),
    ] {
        let headers = if requestor == Mode::User { user.addr() } else { stream.list.addr() };
        let request = StreamRequest { mode: requestor, headers, ..stream.request() };
        assert_eq!(stream.go_as(previous, &request), NtStatus::SUCCESS);
        assert_eq!(stream.came(), [came], "{requestor:?} under {previous:?}");
        stream.reset();
    }
}

#[test]
fn ks_s_10_a_fast_answer_is_the_result_and_there_is_no_packet() {
    let world = World::new();
    let answer = Arc::new(Mutex::new(IoStatus::new(NtStatus::SUCCESS, 8)));
    let given = Arc::clone(&answer);
    let stream = Stream::new(&world, Kind::answering(NtStatus::SUCCESS, 0).object(move |_| Some(*given.lock())));
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let routine = Routine::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        NtStatus::SUCCESS
    });
    let frame = world.frame();
    let queue = port::create(&frame, 0x001F_0003).expect("port");
    port::associate(&frame, *stream.file, queue, 0xAB).expect("association");
    let event = event_object(&world, false);
    let request = StreamRequest {
        event: Some(*event),
        port_context: 0x77,
        completion: Some(routine.completion(7)),
        ..stream.request()
    };
    for signalled in [false, true] {
        stream.reset();
        dispatcher::clear_event(stream.file_event());
        if signalled {
            dispatcher::set_event(stream.file_event());
        }
        assert_eq!((stream.go(&request), stream.result()), (NtStatus::SUCCESS, OK8));
        assert_eq!((stream.came(), stream.file_signalled()), (vec![Came::Fast], signalled));
        assert!(dispatcher::read_state(*event), "the caller's event is set");
        let packet = port::Packet { key: 0xAB, context: 0x77, result: IoStatus::new(NtStatus::SUCCESS, 8) };
        assert_eq!(port::remove(&frame, queue, Some(0)).expect("port"), Ok(packet));
    }
    *answer.lock() = IoStatus::new(NtStatus::DISK_FULL, 0);
    assert_eq!((stream.go(&request), stream.result()), (NtStatus::DISK_FULL, (NtStatus::DISK_FULL, 0)));
    assert_eq!(port::remove(&frame, queue, Some(0)).expect("port"), Err(NtStatus::TIMEOUT), "no packet for an error");
    assert_eq!(calls.load(Ordering::SeqCst), 0, "the routine belongs to a packet that does not exist");
}

#[test]
fn ks_s_11_a_refused_fast_call_leaves_no_trace() {
    let world = World::new();
    let (inside, state) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let store = Arc::clone(&inside);
    let kind = Kind::answering(NtStatus::SUCCESS, 5).object(move |call| {
        store.lock().push(call.length);
        None
    });
    let stream = Stream::new(&world, kind);
    let sink = Arc::clone(&state);
    let routine = Routine::new(move |completed| {
        sink.lock().push(nt_io::irp::status(completed.packet).information);
        NtStatus::SUCCESS
    });
    let request = StreamRequest { completion: Some(routine.completion(7)), ..stream.request() };
    assert_eq!((stream.go(&request), stream.result()), (NtStatus::SUCCESS, (NtStatus::SUCCESS, 5)));
    assert_eq!(stream.came(), [Came::Fast, Came::Packet]);
    assert_eq!((inside.lock().len(), state.lock().clone()), (1, vec![5]));
    assert!(stream.file_signalled(), "as without a fast call");
}

#[test]
fn ks_s_26_length_is_the_bytes_of_the_list_and_nothing_is_refused_for_it() {
    let world = World::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let store = Arc::clone(&seen);
    let kind = Kind::new(move |irp| {
        store.lock().push(irp.stack().get(IO_STACK_LOCATION::DeviceIoControl_OutputBufferLength));
        let probed = probe::probe_stream_irp(irp.irp(), KSPROBE_STREAMWRITE, 0);
        irp.finish(probed.map(|()| (NtStatus::SUCCESS, 0)))
    });
    let stream = Stream::new(&world, kind);
    let two = FrameList::filled(&[b"a", b"bc"]).expect("pool");
    for (length, expected) in [
        (112, NtStatus::SUCCESS),
        (56, NtStatus::SUCCESS),
        (0, NtStatus::INVALID_BUFFER_SIZE),
        (2, NtStatus::INVALID_BUFFER_SIZE),
    ] {
        let request = StreamRequest { headers: two.addr(), length, ..stream.request() };
        assert_eq!((stream.go(&request), seen.lock().pop()), (expected, Some(length)));
    }
}

#[test]
fn ks_s_27_other_flags_are_ignored_and_noted() {
    let world = World::new();
    let (kind, seen) = noting(code_of);
    let stream = Stream::new(&world, kind);
    let findings = Findings::listen(&world);
    assert_eq!(stream.go(&stream.request()), NtStatus::SUCCESS);
    assert!(findings.rules().is_empty());
    for extra in [KSSTREAM_FAILUREEXCEPTION, 0x8000_0000, 0x10] {
        let request = StreamRequest { flags: KSSTREAM_WRITE | extra, ..stream.request() };
        assert_eq!((stream.go(&request), stream.result()), (NtStatus::SUCCESS, OK8));
        assert_eq!(seen.lock().pop(), Some((IRP_MJ_DEVICE_CONTROL, IOCTL_KS_WRITE_STREAM)));
    }
    assert_eq!(findings.rules(), ["KS-S-27"; 3]);
}

#[test]
fn ks_s_28_it_returns_success_pending_or_the_devices_error() {
    let world = World::new();
    for (kind, expected) in [
        (Kind::answering(NtStatus::SUCCESS, 8), NtStatus::SUCCESS),
        (Kind::answering(NtStatus::DISK_FULL, 0), NtStatus::DISK_FULL),
        (Kind::later(NtStatus::SUCCESS, 8), NtStatus::PENDING),
    ] {
        let stream = Stream::new(&world, kind);
        assert_eq!(stream.go(&stream.request()), expected);
        if expected == NtStatus::PENDING {
            wait_for(&world, stream.file_event());
        }
        assert_eq!(stream.untouched(), expected == NtStatus::DISK_FULL);
    }
}

#[test]
fn ks_s_29_the_requestor_mode_travels_and_decides_how_the_driver_probes() {
    let world = World::new();
    for mode in [Mode::Kernel, Mode::User] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let store = Arc::clone(&seen);
        let kind = Kind::new(move |irp| {
            store.lock().push((irp.irp().get(IRP::RequestorMode), irp.from_user()));
            let probed = probe::probe_stream_irp(irp.irp(), KSPROBE_STREAMWRITE, 0);
            irp.finish(probed.map(|()| (NtStatus::SUCCESS, 0)))
        });
        let stream = Stream::new(&world, kind);
        // A list in kernel memory: good for kernel code only.
        let expected = if mode == Mode::Kernel { NtStatus::SUCCESS } else { NtStatus::ACCESS_VIOLATION };
        assert_eq!(stream.go(&StreamRequest { mode, ..stream.request() }), expected);
        assert_eq!(seen.lock().pop(), Some((mode as u8, mode == Mode::User)));
    }
}

#[test]
fn ks_s_30_a_device_that_does_not_know_the_code_says_so() {
    let world = World::new();
    let stream = Stream::new(&world, Kind::answering(NtStatus::NOT_SUPPORTED, 0));
    assert_eq!(stream.go(&stream.request()), NtStatus::NOT_SUPPORTED, "what the device says");
    drop(stream);
    let world = World::new();
    let _device = nt_ks::device::BuiltIn::install(&world.kernel, "null", nt_ks::sink::Sink::nothing()).expect("device");
    let spec = nt_io::create::CreateSpec {
        access: 0x0010_0003,
        name: "\\??\\NtioKs.null".encode_utf16().collect(),
        disposition: 1,
        ..nt_io::create::CreateSpec::default()
    };
    let (handle, _) = nt_io::create::nt_create_file(&world.frame(), &spec).expect("filter");
    let filter = file_of(&world, handle);
    let list = FrameList::filled(&[b"x"]).expect("pool");
    let local = nt_io::event::LocalEvent::new().expect("event");
    let request = StreamRequest {
        file: *filter,
        event: None,
        port_context: 0,
        completion: None,
        iosb: local.status_block(),
        headers: list.addr(),
        length: list.length(),
        flags: KSSTREAM_WRITE,
        mode: Mode::Kernel,
    };
    let frame = world.frame();
    let status = frame.with_mode(Mode::Kernel, || streamio::stream_io(&frame, &request));
    assert_eq!(status, NtStatus::INVALID_DEVICE_REQUEST, "a filter has no stream");
    drop(filter);
    nt_io::event::close(&frame, handle).expect("close");
}
