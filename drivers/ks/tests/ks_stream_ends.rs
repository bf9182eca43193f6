//! KsStreamIo against a driver that records: waits, events, status blocks, ports, completion routines (ks.md section 5).
mod device;
mod stream;
#[path = "../../memfs/tests/support/mod.rs"]
mod support;

use device::{Findings, event_object, wait_for};
use nt_abi::NtStatus;
use nt_abi::io::{FILE_OBJECT, IO_STACK_LOCATION, IRP, SL_INVOKE_ON_CANCEL, SL_INVOKE_ON_ERROR, SL_INVOKE_ON_SUCCESS};
use nt_abi::ks::*;
use nt_ex::pool::{self};
use nt_io::irp::IoStatus;
use nt_io::{complete, port};
use nt_ke::{Mode, Mutex, dispatcher};
use nt_ks::completion::{Completed, Routine};
use nt_ks::streamio::{self, StreamRequest};
use nt_ob::object;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use stream::*;
use support::*;

#[test]
fn ks_s_12_the_events_are_clear_when_the_driver_is_called() {
    let world = World::new();
    let event = event_object(&world, true);
    let (at, fast, packet) = (*event, Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let (in_fast, in_packet) = (Arc::clone(&fast), Arc::clone(&packet));
    let kind = Kind::new(move |irp| {
        let file = irp.file().expect("file").at(FILE_OBJECT::Event);
        in_packet.lock().push((dispatcher::read_state(at), dispatcher::read_state(file)));
        irp.complete(NtStatus::SUCCESS, 8)
    });
    let stream = Stream::new(
        &world,
        kind.object(move |_| {
            in_fast.lock().push(dispatcher::read_state(at));
            None
        }),
    );
    dispatcher::set_event(stream.file_event());
    dispatcher::set_event(at);
    assert_eq!(stream.go(&StreamRequest { event: Some(at), ..stream.request() }), NtStatus::SUCCESS);
    assert_eq!((fast.lock().clone(), packet.lock().clone()), (vec![false], vec![(false, false)]));
    assert!(dispatcher::read_state(at), "and set at the end");
}

#[test]
fn ks_s_16_a_synchronous_file_object_waits_and_returns_the_final_status() {
    for (status, count) in [(NtStatus::SUCCESS, 8), (NtStatus::DISK_FULL, 0)] {
        let world = World::new();
        let stream = Stream::new(&world, Kind::later(status, count).options(SYNC));
        assert_eq!(stream.go(&stream.request()), status, "never PENDING");
        assert_eq!(stream.file.get(FILE_OBJECT::FinalStatus), status);
        assert!(stream.file_signalled());
    }
}

#[test]
fn ks_s_16_the_wait_is_not_alertable() {
    const ALERTABLE: u32 = 0x10;
    let world = World::new();
    let (kind, held) = holding();
    let stream = Stream::new(&world, kind.options(ALERTABLE));
    let ran = Routine::new(|_| NtStatus::SUCCESS);
    let apc = nt_ke::apc::UserApc { routine: ran.completion(0).routine, arguments: [0; 3], held: None, object: None };
    nt_ke::apc::queue(&world.frame().thread, apc);
    let kernel = world.kernel.clone();
    nt_ke::work::WorkQueue::queue(&kernel, move || {
        let pended = loop {
            if let Some(pended) = held.lock().pop() {
                break pended;
            }
            std::thread::yield_now();
        };
        // The APC was there before the wait: an alertable wait would have been interrupted long before this ends.
        let _late = nt_ke::wait::delay(&nt_ke::current(), Mode::Kernel, false, -200_000);
        let cancelled = pended.irp().get(IRP::Cancel) != 0;
        pended.complete(if cancelled { NtStatus::CANCELLED } else { NtStatus::SUCCESS }, 8);
    });
    let frame = world.frame();
    let status = frame.with_mode(Mode::User, || streamio::stream_io(&frame, &stream.request()));
    assert_eq!((status, stream.result()), (NtStatus::SUCCESS, OK8), "no APC interrupts the wait, nothing is cancelled");
    assert!(nt_ke::apc::pending(&frame.thread), "the APC waits for an alertable wait");
}

#[test]
fn ks_s_17_an_asynchronous_file_object_pends_and_its_event_tells_the_end() {
    let world = World::new();
    let (kind, held) = holding();
    let stream = Stream::new(&world, kind);
    dispatcher::set_event(stream.file_event());
    assert_eq!(stream.go(&stream.request()), NtStatus::PENDING);
    assert!(stream.untouched() && !stream.file_signalled(), "nothing says yet that the block holds a result");
    held.lock().pop().expect("pended").complete(NtStatus::SUCCESS, 8);
    wait_for(&world, stream.file_event());
    assert_eq!(stream.result(), OK8);
    let world = World::new();
    let stream = Stream::new(&world, Kind::later(NtStatus::SUCCESS, 8));
    for _ in 0..200 {
        stream.reset();
        assert_eq!(stream.go(&stream.request()), NtStatus::PENDING);
        wait_for(&world, stream.file_event());
        assert_eq!(stream.result(), OK8, "the event comes after the block");
    }
}

#[test]
fn ks_s_32_an_event_with_a_synchronous_file_object_is_allowed() {
    let world = World::new();
    let stream = Stream::new(&world, Kind::later(NtStatus::SUCCESS, 8).options(SYNC));
    let findings = Findings::listen(&world);
    let event = event_object(&world, false);
    let request = StreamRequest { event: Some(*event), ..stream.request() };
    assert_eq!((stream.go(&request), stream.result()), (NtStatus::SUCCESS, OK8));
    assert!(dispatcher::read_state(*event) && stream.file_signalled(), "both events are set");
    assert!(findings.rules().is_empty(), "only KsWriteFile and KsReadFile forbid it");
}

#[test]
fn ks_s_18_the_status_block_is_taken_as_good_in_both_modes() {
    let world = World::new();
    let stream = Stream::new(&world, Kind::later(NtStatus::SUCCESS, 8));
    let user = UserList::new(&[Head::of(8, 8)]);
    for mode in [Mode::Kernel, Mode::User] {
        stream.reset();
        // The block lies in kernel memory: a probe for a user-mode requestor would refuse it.
        let headers = if mode == Mode::User { user.addr() } else { stream.list.addr() };
        let request = StreamRequest { mode, headers, ..stream.request() };
        assert_eq!(stream.go_as(mode, &request), NtStatus::PENDING);
        wait_for(&world, stream.file_event());
        assert_eq!(stream.result(), OK8, "once the event is set the block may go");
    }
}

#[test]
fn ks_v_03_a_status_block_of_a_stream_request_freed_before_its_end_is_reported() {
    let world = World::new();
    let (kind, held) = holding();
    let stream = Stream::new(&world, kind);
    let findings = Findings::listen(&world);
    for freed in [false, true] {
        let iosb = pool::zeroed(pool::tag(b"tKsI")).expect("pool");
        assert_eq!(stream.go(&StreamRequest { iosb, ..stream.request() }), NtStatus::PENDING);
        if freed {
            pool::free(iosb);
        }
        held.lock().pop().expect("pended").complete(NtStatus::SUCCESS, 8);
        if !freed {
            pool::free(iosb);
        }
        assert_eq!(findings.rules().len(), usize::from(freed));
    }
    assert_eq!(findings.rules(), ["KS-V-03"]);
}

#[test]
fn ks_v_02_an_event_of_no_object_is_reported_and_refused() {
    let world = World::new();
    let stream = Stream::new(&world, Kind::answering(NtStatus::SUCCESS, 8));
    let findings = Findings::listen(&world);
    let bare = pool::zeroed(pool::tag(b"tKsE")).expect("pool");
    dispatcher::initialize_event(bare, dispatcher::EventType::Notification, false);
    let request = StreamRequest { event: Some(bare), ..stream.request() };
    assert_eq!((stream.go(&request), stream.came()), (NtStatus::INVALID_PARAMETER, vec![]));
    assert_eq!(findings.rules(), ["KS-V-02"]);
    let flags = KSSTREAM_WRITE | KSSTREAM_SYNCHRONOUS;
    assert_eq!(stream.go(&StreamRequest { flags, ..request }), NtStatus::SUCCESS, "a synchronous one may be any");
    assert_eq!(findings.rules().len(), 1);
    pool::free(bare);
}

#[test]
fn ks_s_13_an_event_object_is_counted_once_and_given_back_once() {
    let world = World::new();
    let (kind, held) = holding();
    let stream = Stream::new(&world, kind);
    let event = event_object(&world, false);
    let counts = || (object::pointer_count(*event), object::pointer_count(*stream.file));
    let (before, request) = (counts(), StreamRequest { event: Some(*event), ..stream.request() });
    assert_eq!(stream.go(&request), NtStatus::PENDING);
    assert_eq!(counts().0, before.0 + 1);
    held.lock().pop().expect("pended").complete(NtStatus::SUCCESS, 8);
    wait_for(&world, *event);
    world.kernel.drain();
    assert_eq!(counts(), before);
    drop(stream);
    let world = World::new();
    let stream = Stream::new(&world, Kind::answering(NtStatus::DISK_FULL, 0));
    let event = event_object(&world, false);
    let count = object::pointer_count(*event);
    assert_eq!(stream.go(&StreamRequest { event: Some(*event), ..stream.request() }), NtStatus::DISK_FULL);
    assert_eq!(object::pointer_count(*event), count);
}

#[test]
fn ks_s_19_the_port_gets_one_packet_for_a_port_context() {
    let world = World::new();
    let stream = Stream::new(&world, Kind::later(NtStatus::SUCCESS, 8));
    let with = |port_context| stream.go(&StreamRequest { port_context, ..stream.request() });
    assert_eq!(with(0x77), NtStatus::PENDING, "no port: the context is ignored");
    wait_for(&world, stream.file_event());
    let frame = world.frame();
    let queue = port::create(&frame, 0x001F_0003).expect("port");
    port::associate(&frame, *stream.file, queue, 0xAB).expect("association");
    assert_eq!(with(0), NtStatus::PENDING);
    wait_for(&world, stream.file_event());
    world.kernel.drain();
    assert_eq!(port::remove(&frame, queue, Some(0)).expect("port"), Err(NtStatus::TIMEOUT), "no context: no packet");
    assert_eq!(with(0x77), NtStatus::PENDING);
    let packet = port::Packet { key: 0xAB, context: 0x77, result: IoStatus::new(NtStatus::SUCCESS, 8) };
    assert_eq!(port::remove(&frame, queue, None).expect("port"), Ok(packet));
    world.kernel.drain();
    assert_eq!(port::remove(&frame, queue, Some(0)).expect("port"), Err(NtStatus::TIMEOUT), "one");
}

/// A request whose routine keeps the packet, up to there.
fn keep(kind: Kind, world: &World, check: impl FnOnce(&Stream<'_>, NtStatus, nt_io::irp::Irp)) {
    let stream = Stream::new(world, kind);
    let kept = Arc::new(Mutex::new(None));
    let store = Arc::clone(&kept);
    let routine = Routine::new(move |completed: &Completed| {
        let first = store.lock().replace(completed.packet).is_none();
        if first { NtStatus::MORE_PROCESSING_REQUIRED } else { NtStatus::SUCCESS }
    });
    let event = event_object(world, false);
    let request = StreamRequest { event: Some(*event), completion: Some(routine.completion(7)), ..stream.request() };
    let count = object::pointer_count(*stream.file);
    let status = stream.go(&request);
    let packet = (*kept.lock()).expect("the routine ran");
    assert!(stream.untouched() && !dispatcher::read_state(*event) && !stream.file_signalled());
    check(&stream, status, packet);
    let counted = object::pointer_count(*stream.file);
    assert_eq!(counted, count, "the second completion gives the counts back");
    assert_eq!(stream.result(), OK8);
    assert!(dispatcher::read_state(*event));
}

#[test]
fn ks_s_23_a_routine_that_keeps_the_packet_owns_it() {
    let world = World::new();
    keep(Kind::new(|irp| irp.pend_and_end(8)), &world, |stream, status, packet| {
        assert_eq!(status, NtStatus::PENDING);
        assert!(object::pointer_count(*stream.file) > 1, "the packet still counts its file");
        complete::complete_request(packet);
    });
}

#[test]
fn ks_v_06_a_kept_packet_is_told() {
    let world = World::new();
    let findings = Findings::listen(&world);
    keep(Kind::new(|irp| irp.pend_and_end(8)), &world, |_, _, packet| complete::complete_request(packet));
    assert_eq!(findings.rules(), ["KS-V-06"]);
    let stream = Stream::new(&world, Kind::answering(NtStatus::SUCCESS, 8));
    let routine = Routine::new(|_| NtStatus::SUCCESS);
    let request = StreamRequest { completion: Some(routine.completion(7)), ..stream.request() };
    assert_eq!((stream.go(&request), findings.rules().len()), (NtStatus::SUCCESS, 1), "one that lets go is not");
}

#[test]
fn ks_s_20_each_flag_calls_the_routine_for_its_end() {
    const CANCELLED: (NtStatus, u64) = (NtStatus::CANCELLED, 0);
    for (status, count) in [OK8, (NtStatus::DISK_FULL, 0), CANCELLED] {
        let world = World::new();
        let stream = Stream::new(
            &world,
            Kind::new(move |irp| {
                if status == NtStatus::CANCELLED {
                    irp.irp().set(IRP::Cancel, 1);
                }
                irp.complete(status, count)
            }),
        );
        for invoke in 0..8 {
            let calls = Arc::new(AtomicU32::new(0));
            let counter = Arc::clone(&calls);
            let routine = Routine::new(move |_| {
                counter.fetch_add(1, Ordering::SeqCst);
                NtStatus::SUCCESS
            });
            let request = StreamRequest { completion: Some(routine.completion(invoke)), ..stream.request() };
            assert_eq!(stream.go(&request), status);
            let wanted = match status {
                NtStatus::SUCCESS => invoke & KsInvokeOnSuccess != 0,
                NtStatus::CANCELLED => invoke & (KsInvokeOnCancel | KsInvokeOnError) != 0,
                _ => invoke & KsInvokeOnError != 0,
            };
            assert_eq!(calls.load(Ordering::SeqCst), u32::from(wanted), "{status} with flags {invoke}");
        }
    }
}

#[test]
fn ks_s_24_context_and_flags_mean_something_with_a_routine_only() {
    let world = World::new();
    let (kind, seen) = noting(|irp| {
        let stack = irp.stack();
        let bits = SL_INVOKE_ON_SUCCESS | SL_INVOKE_ON_ERROR | SL_INVOKE_ON_CANCEL;
        (stack.code(IO_STACK_LOCATION::CompletionRoutine), stack.get(IO_STACK_LOCATION::Control) & bits)
    });
    let stream = Stream::new(&world, kind);
    assert_eq!(stream.go(&stream.request()), NtStatus::SUCCESS);
    let (context, routine) = (Arc::new(AtomicU32::new(0)), seen.lock().pop().expect("a packet"));
    assert_eq!(routine, (None, 0), "no routine: neither is in the packet");
    let count = Arc::clone(&context);
    let own = Routine::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        NtStatus::SUCCESS
    });
    let completion = own.completion(KsInvokeOnSuccess);
    assert_eq!(stream.go(&StreamRequest { completion: Some(completion), ..stream.request() }), NtStatus::SUCCESS);
    assert_eq!(seen.lock().pop(), Some((Some(completion.routine), SL_INVOKE_ON_SUCCESS)));
    assert_eq!(context.load(Ordering::SeqCst), 1, "the routine got its own context, which is what found it");
}
