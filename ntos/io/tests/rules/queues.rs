//! NT-Q: user APCs of requests, completion ports, and what a close does to the requests behind a handle.

use crate::support::*;
use nt_abi::NtStatus;
use nt_io::irp::{IRP_PREFIX, IoStatus};
use nt_io::port::{self, Packet};
use nt_io::{cancel, event};
use nt_ke::{Mode, WindowsVersion};
use nt_ob::Handle;
use nt_ob::types::ObjectType;

const WARNING: NtStatus = NtStatus(0x8000_0005);

fn ran(call: &Call, context: u64, status: NtStatus, information: u64) -> Ran {
    Ran { context, iosb: call.block(), reserved: 0, status, information }
}

fn hold(world: &World) {
    world.script.plan(Plan::Hold { cancelable: true });
}

#[test]
fn nt_q_01_an_apc_runs_in_its_thread_at_the_next_alertable_wait() {
    let world = World::new();
    for file in [world.synchronous(), world.asynchronous()] {
        world.script.answers(NtStatus::SUCCESS, 2);
        let call = world.write(&file, b"ab").apc(0x1234);
        assert_eq!(call.make(), success(2));
        assert_eq!(apcs(), [], "not inside the call");
        assert_eq!(nt_io::thread::nt_delay_execution(&world.frame(), false, -10_000), NtStatus::SUCCESS);
        assert_eq!(apcs(), [], "not in a wait that is not alertable");
        assert_eq!(nt_ke::wait::delay(&world.frame(), Mode::Kernel, true, -10_000), NtStatus::SUCCESS);
        assert_eq!(apcs(), [], "not in a kernel-mode wait");
        let elsewhere = world.spawn(|frame| (nt_io::thread::nt_delay_execution(frame, true, -10_000), apcs()));
        assert_eq!(elsewhere.join(), (NtStatus::SUCCESS, vec![]), "not in another thread");
        assert_eq!(world.alertable(), NtStatus::USER_APC);
        assert_eq!(apcs(), [ran(&call, 0x1234, NtStatus::SUCCESS, 2)]);
        assert_eq!(world.alertable(), NtStatus::SUCCESS);
        assert_eq!(apcs(), [], "once");
    }
}

#[test]
fn nt_q_02_an_apc_with_and_without_an_event_sees_the_final_status_block() {
    let world = World::new();
    let file = world.asynchronous();
    for with_event in [false, true] {
        hold(&world);
        let event = world.event(false);
        let mut call = world.write(&file, b"abc").apc(5);
        if with_event {
            call = call.event(event);
        }
        assert_eq!(call.make(), Done { returned: NtStatus::PENDING, iosb: Iosb::Untouched });
        assert_eq!((world.alertable(), apcs()), (NtStatus::SUCCESS, vec![]));
        world.script.finish(WARNING, 3);
        assert_eq!((world.signaled(event), file.event()), (with_event, !with_event));
        assert_eq!(world.alertable(), NtStatus::USER_APC);
        assert_eq!(apcs(), [ran(&call, 5, WARNING, 3)]);
    }
}

#[test]
fn nt_q_03_an_apc_holds_its_packet_until_it_runs_or_the_thread_is_gone() {
    let world = World::new();
    let file = world.asynchronous();
    world.script.answers(NtStatus::SUCCESS, 1);
    // The block of a packet begins with what the I/O manager keeps in front of it.
    let live = |packet: u64| nt_ex::pool::size_of_block(packet - IRP_PREFIX::SIZE as u64).is_some();
    let call = world.write(&file, b"a").apc(1);
    assert_eq!(call.make(), success(1));
    let held = world.script.seen().pop().expect("seen").irp;
    assert!(live(held), "the packet is held while its APC waits");
    assert_eq!(world.alertable(), NtStatus::USER_APC);
    assert_eq!(apcs().len(), 1);
    assert!(!live(held), "and goes with it");

    let handle = file.handle;
    let script = std::sync::Arc::clone(&world.script);
    let never = world.spawn(move |frame| {
        assert_eq!(Call::of(handle, b"b").apc(2).make_in(frame), success(1));
        let held = script.seen().pop().expect("seen").irp;
        let was = live(held);
        cancel::thread_ends(frame);
        (was, live(held), apcs())
    });
    assert_eq!(never.join(), (true, false, vec![]), "a thread that ends runs none and frees the packet");
}

#[test]
fn nt_q_04_only_an_alertable_file_lets_an_apc_run_inside_the_call() {
    let world = World::new();
    for (options, inside) in [(NONALERT, false), (ALERT, true)] {
        let file = world.open(WRITE_DATA | SYNCHRONIZE, options);
        world.script.answers(NtStatus::SUCCESS, 1);
        let first = world.write(&file, b"a").apc(1);
        assert_eq!(first.make(), success(1));
        hold(&world);
        let thread = std::sync::Arc::clone(&world.frame().thread);
        let script = std::sync::Arc::clone(&world.script);
        // The call's own wait: with an alertable file the pending APC ends it, and the request is cancelled.
        let finisher = world.spawn(move |frame| {
            for _ in 0..100_000 {
                if script.held() == 1 {
                    let _slept = nt_ke::wait::delay(frame, Mode::Kernel, false, -300_000);
                    if script.held() == 1 {
                        script.finish(NtStatus::SUCCESS, 1);
                        return true;
                    }
                    return false;
                }
                if script.cancelled() == 1 {
                    return false;
                }
                let _slept = nt_ke::wait::delay(frame, Mode::Kernel, false, -10_000);
            }
            panic!("no request came");
        });
        let second = world.write(&file, b"b").make();
        assert_eq!(finisher.join(), !inside, "completed in its own time");
        if inside {
            assert_eq!(second.returned, NtStatus::CANCELLED);
            assert_eq!(apcs(), [ran(&first, 1, NtStatus::SUCCESS, 1)], "it ran as the call returned");
        } else {
            assert_eq!(second, success(1));
            assert_eq!(apcs(), []);
            assert!(nt_ke::apc::pending(&thread));
            assert_eq!(world.alertable(), NtStatus::USER_APC);
            assert_eq!(apcs().len(), 1);
        }
        world.script.forget();
    }
}

#[test]
fn nt_q_05_a_packet_carries_key_context_and_the_final_block() {
    let world = World::new();
    let (port, file) = (world.port(), world.asynchronous());
    assert_eq!(world.associate(&file, port, 0xAB_CDEF), NtStatus::SUCCESS);
    world.script.answers(WARNING, 0x1_0000_0002);
    let _answered = world.write(&file, b"ab").context(0x77).make();
    assert_eq!(world.packet(port), Ok((0xAB_CDEF, 0x77, WARNING, 0x1_0000_0002)));
    world.script.answers(NtStatus::SUCCESS, 2);
    assert_eq!(world.write(&file, b"ab").make(), success(2));
    assert_eq!(world.packet(port), Err(NtStatus::TIMEOUT), "no context, no packet");
    world.script.answers(NtStatus::DISK_FULL, 0);
    assert_eq!(world.write(&file, b"ab").context(1).make(), refused(NtStatus::DISK_FULL));
    assert_eq!(world.packet(port), Err(NtStatus::TIMEOUT), "an error that was not pended tells nobody");
    hold(&world);
    let call = world.write(&file, b"ab").context(2);
    assert_eq!(call.make().returned, NtStatus::PENDING);
    assert_eq!(world.packet(port), Err(NtStatus::TIMEOUT));
    world.script.finish(NtStatus::DISK_FULL, 0);
    assert_eq!(world.packet(port), Ok((0xAB_CDEF, 2, NtStatus::DISK_FULL, 0)));
    let other = world.asynchronous();
    world.script.answers(NtStatus::SUCCESS, 2);
    assert_eq!(world.write(&other, b"ab").context(3).make(), success(2));
    assert_eq!(world.packet(port), Err(NtStatus::TIMEOUT), "a file without the port");
}

#[test]
fn nt_q_06_an_event_and_a_port_are_both_used() {
    let world = World::new();
    let (port, file, event) = (world.port(), world.asynchronous(), world.event(false));
    assert_eq!(world.associate(&file, port, 1), NtStatus::SUCCESS);
    world.script.answers(NtStatus::SUCCESS, 2);
    assert_eq!(world.write(&file, b"ab").event(event).context(9).make(), success(2));
    assert!(world.signaled(event));
    assert_eq!(world.packet(port), Ok((1, 9, NtStatus::SUCCESS, 2)));
}

#[test]
fn nt_q_07_an_apc_is_refused_on_a_file_with_a_port() {
    let world = World::new();
    let (port, file) = (world.port(), world.asynchronous());
    assert_eq!(world.associate(&file, port, 1), NtStatus::SUCCESS);
    for with_event in [false, true] {
        for context in [0, 7] {
            let event = world.event(true);
            let mut call = world.write(&file, b"ab").apc(context);
            if with_event {
                call = call.event(event);
            }
            assert_eq!(call.make(), refused(NtStatus::INVALID_PARAMETER));
            assert!(world.signaled(event), "the event is not reset");
        }
    }
    assert_eq!(world.script.seen(), []);
    assert_eq!((world.packet(port), world.alertable(), apcs()), (Err(NtStatus::TIMEOUT), NtStatus::SUCCESS, vec![]));
}

#[test]
fn nt_q_08_the_port_is_looked_up_at_the_end_and_an_apc_wins() {
    let world = World::new();
    let (port, file) = (world.port(), world.asynchronous());
    hold(&world);
    let (with_apc, without) = (world.write(&file, b"ab").apc(1), world.write(&file, b"ab").context(2));
    assert_eq!((with_apc.make().returned, without.make().returned), (NtStatus::PENDING, NtStatus::PENDING));
    assert_eq!(world.associate(&file, port, 5), NtStatus::SUCCESS);
    world.script.finish(NtStatus::SUCCESS, 2);
    assert_eq!(world.packet(port), Err(NtStatus::TIMEOUT));
    assert_eq!(world.alertable(), NtStatus::USER_APC);
    assert_eq!(apcs(), [ran(&with_apc, 1, NtStatus::SUCCESS, 2)]);
    world.script.finish(NtStatus::SUCCESS, 2);
    assert_eq!(world.packet(port), Ok((5, 2, NtStatus::SUCCESS, 2)));
    assert_eq!((world.alertable(), apcs()), (NtStatus::SUCCESS, vec![]));
}

#[test]
fn nt_q_09_skip_on_success_spares_the_port_what_was_not_pended() {
    for (windows, skips_warnings) in [(WindowsVersion::Win10, false), (WindowsVersion::Win7, true)] {
        let world = World::windows(windows);
        let (port, file) = (world.port(), world.asynchronous());
        assert_eq!(world.associate(&file, port, 5), NtStatus::SUCCESS);
        world.modes(&file, 1);
        world.script.answers(NtStatus::SUCCESS, 2);
        assert_eq!(world.write(&file, b"ab").context(1).make(), success(2));
        assert_eq!(world.packet(port), Err(NtStatus::TIMEOUT));
        world.script.answers(WARNING, 2);
        let _answered = world.write(&file, b"ab").context(2).make();
        let packet = if skips_warnings { Err(NtStatus::TIMEOUT) } else { Ok((5, 2, WARNING, 2)) };
        assert_eq!(world.packet(port), packet, "{windows:?}");
        // Already complete when the call returns, but it returned PENDING.
        let plan = Plan::Now { pend: true, last: NtStatus::SUCCESS, information: 2, returned: NtStatus::PENDING };
        world.script.plan(plan);
        assert_eq!(world.write(&file, b"ab").context(3).make(), pended(NtStatus::SUCCESS, 2));
        assert_eq!(world.packet(port), Ok((5, 3, NtStatus::SUCCESS, 2)));
        hold(&world);
        assert_eq!(world.write(&file, b"ab").context(4).make().returned, NtStatus::PENDING);
        world.script.finish(NtStatus::SUCCESS, 2);
        assert_eq!(world.packet(port), Ok((5, 4, NtStatus::SUCCESS, 2)));
    }
}

#[test]
fn nt_q_10_skip_set_event_leaves_the_handle_unsignalled_for_ever() {
    let world = World::new();
    let file = world.asynchronous();
    world.modes(&file, 2);
    file.set_event(true);
    for hold_it in [false, true] {
        let event = world.event(false);
        world.script.answers(NtStatus::SUCCESS, 2);
        if hold_it {
            hold(&world);
        }
        let (plain, told) = (world.write(&file, b"ab"), world.write(&file, b"ab").event(event));
        for call in [&plain, &told] {
            let _answered = call.make();
            assert!(!file.event(), "reset at the start");
            if hold_it {
                world.script.finish(NtStatus::SUCCESS, 2);
            }
            assert_eq!((call.iosb(), file.event()), (Iosb::Is(NtStatus::SUCCESS, 2), false));
        }
        assert!(world.signaled(event), "the caller's event is another matter");
    }
}

#[test]
fn nt_q_11_skip_user_event_on_fast_io() {
    let world = World::new();
    let file = world.synchronous();
    file.cache();
    for (mode, signaled) in [(0, true), (4, false)] {
        if mode != 0 {
            world.modes(&file, mode);
        }
        let event = world.event(false);
        world.script.fast(Some(IoStatus::new(NtStatus::SUCCESS, 2)));
        assert_eq!(world.write(&file, b"ab").event(event).make(), success(2));
        assert_eq!(world.signaled(event), signaled, "fast I/O, mode {mode}");
        world.script.fast(None);
        world.script.answers(NtStatus::SUCCESS, 2);
        assert_eq!(world.write(&file, b"ab").event(event).make(), success(2));
        assert!(world.signaled(event), "a packet, mode {mode}");
    }
}

#[test]
fn nt_q_12_a_port_is_first_in_first_out_and_returns_what_was_set() {
    let world = World::new();
    let port = world.port();
    let packet = |at: u64| Packet {
        key: at,
        context: at << 32,
        result: IoStatus::new(NtStatus(0xC0DE_0000 | at as u32), u64::MAX - at),
    };
    let frame = world.frame();
    assert_eq!(world.packet(port), Err(NtStatus::TIMEOUT));
    for at in 0..5 {
        port::set(&frame, port, packet(at)).expect("a port");
    }
    assert_eq!(port::depth(&frame, port), Ok(5));
    assert_eq!(port::remove(&frame, port, Some(0)), Ok(Ok(packet(0))));
    let several = |count| port::remove_several(&frame, port, count, Some(0), false);
    assert_eq!(several(0).map_err(NtStatus::from), Err(NtStatus::INVALID_PARAMETER));
    assert_eq!(several(3), Ok(Ok((1..4).map(packet).collect())));
    assert_eq!(several(8), Ok(Ok(vec![packet(4)])), "as many as there are");
    assert_eq!(several(8), Ok(Err(NtStatus::TIMEOUT)));
    let waiter = world.spawn(move |frame| port::remove(frame, port, None));
    port::set(&frame, port, packet(9)).expect("a port");
    assert_eq!(waiter.join(), Ok(Ok(packet(9))));
    // What the rights of the handle say, and its type.
    let (object, _) = event::reference(&frame, port, ObjectType::IoCompletion, 0, Mode::User).expect("a port");
    let limited = world.process.handles.insert(&object, 1, 0).expect("a handle");
    assert_eq!(port::set(&frame, limited, packet(1)).map_err(NtStatus::from), Err(NtStatus::ACCESS_DENIED));
    assert_eq!(port::depth(&frame, limited), Ok(0));
    let event = world.event(false);
    assert_eq!(port::set(&frame, event, packet(1)).map_err(NtStatus::from), Err(NtStatus::OBJECT_TYPE_MISMATCH));
}

#[test]
fn nt_q_13_a_thread_of_the_port_takes_packets_before_apcs_and_another_after() {
    let world = World::new();
    let (port, frame) = (world.port(), world.frame());
    let packet = Packet { key: 1, context: 2, result: IoStatus::new(NtStatus::SUCCESS, 3) };
    let note = || {
        let apc = nt_ke::apc::UserApc { routine: noting_apc(), arguments: [4, 0, 0], held: None, object: None };
        assert!(nt_ke::apc::queue(&frame.thread, apc));
    };
    let remove = |alertable| port::remove_several(&frame, port, 4, Some(0), alertable).expect("a port");
    port::set(&frame, port, packet).expect("a port");
    for _ in 0..2 {
        note();
        assert_eq!(remove(true), Err(NtStatus::USER_APC), "not bound: the APC is first, and does not bind it");
        assert_eq!((apcs().len(), port::depth(&frame, port)), (1, Ok(1)));
    }
    note();
    assert_eq!((remove(false), apcs().len()), (Ok(vec![packet]), 0), "never in a wait that is not alertable");
    port::set(&frame, port, packet).expect("a port");
    assert_eq!((remove(true), apcs().len()), (Ok(vec![packet]), 0), "bound: the packet is first");
    assert_eq!((remove(false), apcs().len()), (Err(NtStatus::TIMEOUT), 0));
    assert_eq!((remove(true), apcs().len()), (Err(NtStatus::USER_APC), 1), "the APC comes later");
}

/// Duplicates the file's handle into a table.
fn duplicate(world: &World, file: &File, into: &nt_ps::Process) -> Handle {
    let (object, granted) =
        event::reference(&world.frame(), file.handle, ObjectType::File, 0, Mode::User).expect("open");
    into.handles.insert(&object, granted, 0).expect("a handle")
}

#[test]
fn nt_q_14_closing_the_last_handle_of_a_process_cancels_its_requests() {
    let world = World::new();
    let (port, frame) = (world.port(), world.frame());
    let other = world.processes.create_process(&world.kernel, "other.exe").expect("process");
    let close = |file: File| file.close();
    // The only handle there is.
    let file = world.asynchronous();
    hold(&world);
    let call = world.write(&file, b"ab");
    assert_eq!(call.make().returned, NtStatus::PENDING);
    close(file);
    assert_eq!((world.script.held(), world.script.cancelled()), (0, 1));
    world.script.forget();
    // Another process keeps one: a packet for the port, and the block stays as it was.
    let file = world.asynchronous();
    assert_eq!(world.associate(&file, port, 3), NtStatus::SUCCESS);
    let theirs = duplicate(&world, &file, &other);
    let call = world.write(&file, b"ab").context(4);
    assert_eq!(call.make().returned, NtStatus::PENDING);
    close(file);
    assert_eq!((world.script.held(), call.iosb()), (0, Iosb::Untouched));
    assert_eq!(world.packet(port), Ok((3, 4, NtStatus::CANCELLED, 0)));
    other.handles.close(theirs).expect("open");
    // The same process keeps one: nothing happens.
    let file = world.asynchronous();
    assert_eq!(world.associate(&file, port, 3), NtStatus::SUCCESS);
    let mine = duplicate(&world, &file, &world.process);
    let call = world.write(&file, b"ab").context(5);
    assert_eq!(call.make().returned, NtStatus::PENDING);
    close(file);
    assert_eq!((world.script.held(), world.packet(port)), (1, Err(NtStatus::TIMEOUT)));
    world.script.finish(NtStatus::SUCCESS, 2);
    assert_eq!(world.packet(port), Ok((3, 5, NtStatus::SUCCESS, 2)));
    event::close(&frame, mine).expect("open");
    // With an event nobody is told at all.
    let file = world.asynchronous();
    assert_eq!(world.associate(&file, port, 3), NtStatus::SUCCESS);
    let (theirs, event) = (duplicate(&world, &file, &other), world.event(false));
    let call = world.write(&file, b"ab").event(event).context(6);
    assert_eq!(call.make().returned, NtStatus::PENDING);
    close(file);
    assert_eq!((world.script.held(), call.iosb(), world.signaled(event)), (0, Iosb::Untouched, false));
    assert_eq!(world.packet(port), Err(NtStatus::TIMEOUT));
    other.handles.close(theirs).expect("open");
    world.processes.end(&other);
}
