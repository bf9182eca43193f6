//! NT-X: cancelling requests, and alertable files.

use crate::support::*;
use nt_abi::NtStatus;
use nt_cell::Addr;
use nt_io::{cancel, event, thread};
use nt_ke::wait;
use nt_ke::{Frame, Mode};
use nt_ob::Handle;
use std::sync::Arc;

const CANCELLED: Iosb = Iosb::Is(NtStatus::CANCELLED, 0);

fn hold(world: &World) {
    world.script.plan(Plan::Hold { cancelable: true });
}

/// The status block of a cancelling service, and what the service made of it.
fn with_block(service: impl FnOnce(Addr) -> NtStatus) -> Done {
    let block = pattern_block();
    let returned = service(Addr::user(block.addr()));
    Done { returned, iosb: iosb_at(&block) }
}

fn cancel_file(frame: &Frame, handle: Handle) -> Done {
    with_block(|block| cancel::nt_cancel_io_file(frame, handle, block))
}

fn cancel_ex(frame: &Frame, handle: Handle, request: u64) -> Done {
    with_block(|block| cancel::nt_cancel_io_file_ex(frame, handle, Addr::user(request), block))
}

fn not_found() -> Done {
    Done { returned: NtStatus::NOT_FOUND, iosb: Iosb::Is(NtStatus::NOT_FOUND, 0) }
}

#[test]
fn nt_x_01_cancel_io_file_ends_what_this_thread_has_on_this_file() {
    let world = World::new();
    let (file, other, frame) = (world.asynchronous(), world.asynchronous(), world.frame());
    assert_eq!(cancel_file(&frame, file.handle), success(0), "nothing to cancel is no failure");
    hold(&world);
    let (event, told) = (world.event(false), world.event(false));
    let mine = world.write(&file, b"ab").event(event).apc(7);
    let elsewhere = world.write(&other, b"ab");
    assert_eq!((mine.make().returned, elsewhere.make().returned), (NtStatus::PENDING, NtStatus::PENDING));
    let handle = file.handle;
    let theirs = world.spawn(move |frame| {
        let call = Call::of(handle, b"cd").event(told);
        assert_eq!(call.make_in(frame).returned, NtStatus::PENDING);
        assert_eq!(event::wait_for(frame, told, false, Some(-100_000_000)), Ok(NtStatus::SUCCESS));
        call.iosb()
    });
    world.until(|| world.script.held() == 3);
    assert_eq!(cancel_file(&frame, file.handle), success(0));
    assert_eq!((mine.iosb(), world.signaled(event)), (CANCELLED, true));
    assert_eq!(apcs(), []);
    assert_eq!(world.alertable(), NtStatus::USER_APC);
    let ran = apcs();
    assert_eq!((ran.len(), ran[0].context, ran[0].status), (1, 7, NtStatus::CANCELLED));
    assert_eq!((world.script.held(), elsewhere.iosb()), (2, Iosb::Untouched), "not another file, not another thread");
    world.script.finish(NtStatus::SUCCESS, 2);
    world.script.finish(NtStatus::SUCCESS, 2);
    assert_eq!(theirs.join(), Iosb::Is(NtStatus::SUCCESS, 2));
    assert_eq!(cancel_file(&frame, Handle(0x7770)), refused(NtStatus::INVALID_HANDLE));
    assert_eq!(cancel_file(&frame, event), refused(NtStatus::OBJECT_TYPE_MISMATCH));
}

#[test]
fn nt_x_02_cancel_io_file_ex_ends_what_the_process_has_or_one_request() {
    let world = World::new();
    let (file, frame) = (world.asynchronous(), world.frame());
    assert_eq!(cancel_ex(&frame, file.handle, 0), not_found());
    hold(&world);
    let calls = [world.write(&file, b"1"), world.write(&file, b"2"), world.write(&file, b"3")];
    for call in &calls {
        assert_eq!(call.make().returned, NtStatus::PENDING);
    }
    assert_eq!(cancel_ex(&frame, file.handle, calls[0].block() + 16), not_found());
    assert_eq!(cancel_ex(&frame, file.handle, calls[1].block()), success(0));
    assert_eq!([calls[0].iosb(), calls[1].iosb(), calls[2].iosb()], [Iosb::Untouched, CANCELLED, Iosb::Untouched]);
    // Another thread of the process cancels the rest; one of another process does not.
    let handle = file.handle;
    let other = world.processes.create_process(&world.kernel, "other.exe").expect("process");
    let (object, granted) =
        event::reference(&frame, handle, nt_ob::types::ObjectType::File, 0, Mode::User).expect("open");
    let theirs = other.handles.insert(&object, granted, 0).expect("a handle");
    drop(object);
    assert_eq!(world.spawn_in(&other, move |frame| cancel_ex(frame, theirs, 0)).join(), not_found());
    assert_eq!(world.spawn(move |frame| cancel_ex(frame, handle, 0)).join(), success(0));
    assert_eq!([calls[0].iosb(), calls[2].iosb()], [CANCELLED, CANCELLED]);
    world.processes.end(&other);
}

fn thread_handle(world: &World, thread: &nt_ke::Thread) -> Handle {
    thread::open(&world.frame(), thread.id(), 0x1F_FFFF).expect("a thread")
}

#[test]
fn nt_x_03_cancel_synchronous_ends_what_a_thread_is_blocked_in() {
    let world = World::new();
    let (file, frame) = (world.synchronous(), world.frame());
    let sync = |thread, request: u64| {
        with_block(|block| cancel::nt_cancel_synchronous_io_file(&frame, thread, Addr::user(request), block))
    };
    assert_eq!(sync(Handle(0x7770), 0), refused(NtStatus::INVALID_HANDLE));
    hold(&world);
    let own = thread_handle(&world, &frame.thread);
    let unrelated = world.asynchronous();
    assert_eq!(world.write(&unrelated, b"ab").make().returned, NtStatus::PENDING);
    assert_eq!(sync(own, 0), not_found(), "asynchronous requests do not count");
    let bad = cancel::nt_cancel_synchronous_io_file(&frame, own, Addr::NULL, Addr::user(8));
    assert_eq!(bad, NtStatus::ACCESS_VIOLATION);
    let handle = file.handle;
    for by_block in [false, true] {
        let (tell, told) = std::sync::mpsc::channel();
        let blocked = world.spawn(move |frame| {
            let call = Call::of(handle, b"ab");
            tell.send(call.block()).expect("the test listens");
            call.make_in(frame)
        });
        let block = told.recv().expect("the call is made");
        world.until(|| world.script.held() == 2);
        let thread = thread_handle(&world, &blocked.thread);
        assert_eq!(sync(thread, block + 8), not_found());
        assert_eq!(sync(thread, if by_block { block } else { 0 }), success(0));
        assert_eq!(blocked.join(), refused(NtStatus::CANCELLED));
        event::close(&frame, thread).expect("open");
    }
    assert_eq!(cancel_file(&frame, unrelated.handle), success(0));
    event::close(&frame, own).expect("open");
}

#[test]
fn nt_x_04_cancelling_is_a_wish() {
    let world = World::new();
    let (file, frame) = (world.asynchronous(), world.frame());
    world.script.plan(Plan::Hold { cancelable: false });
    let call = world.write(&file, b"ab");
    assert_eq!(call.make().returned, NtStatus::PENDING);
    assert_eq!(cancel_file(&frame, file.handle), success(0));
    assert_eq!(call.iosb(), Iosb::Untouched, "without a routine it completes in its own time");
    let packet = nt_cell::Foreign::<nt_abi::io::IRP>::of_table(world.script.seen()[0].irp);
    assert_eq!(packet.get(nt_abi::io::IRP::Cancel), 1);
    world.script.finish(NtStatus::SUCCESS, 2);
    assert_eq!(call.iosb(), Iosb::Is(NtStatus::SUCCESS, 2), "and what was done is not undone");
    hold(&world);
    let call = world.write(&file, b"ab");
    assert_eq!(call.make().returned, NtStatus::PENDING);
    assert_eq!(cancel_file(&frame, file.handle), success(0));
    assert_eq!((call.iosb(), world.script.cancelled()), (CANCELLED, 1));
}

#[test]
fn nt_x_05_a_user_apc_cancels_the_request_of_an_alertable_file() {
    let world = World::new();
    let file = world.open(WRITE_DATA | SYNCHRONIZE, ALERT);
    hold(&world);
    let (handle, event) = (file.handle, world.event(true));
    let blocked = world.spawn(move |frame| {
        let call = Call::of(handle, b"ab").event(event).apc(0x10);
        let done = call.make_in(frame);
        let ran = apcs();
        let later = thread::nt_delay_execution(frame, true, -10_000);
        (done, ran.iter().map(|ran| ran.context).collect::<Vec<_>>(), later, apcs().len())
    });
    world.until(|| world.script.held() == 1);
    let thread = thread_handle(&world, &blocked.thread);
    assert_eq!(thread::nt_queue_apc_thread(&world.frame(), thread, noting_apc(), [0x20, 0, 0]), NtStatus::SUCCESS);
    let (done, ran, later, more) = blocked.join();
    assert_eq!(done, refused(NtStatus::CANCELLED));
    assert!(!world.signaled(event));
    assert_eq!((ran, later, more), (vec![0x20], NtStatus::SUCCESS, 0), "the request's own APC does not run");
    assert_eq!(world.script.cancelled(), 1);
    event::close(&world.frame(), thread).expect("open");
}

#[test]
fn nt_x_06_a_user_apc_waits_behind_a_file_that_is_not_alertable() {
    let world = World::new();
    let file = world.synchronous();
    hold(&world);
    let handle = file.handle;
    let blocked = world.spawn(move |frame| {
        let done = Call::of(handle, b"ab").apc(0x10).make_in(frame);
        let during = apcs().len();
        let later = thread::nt_delay_execution(frame, true, -10_000);
        (done, during, later, apcs().iter().map(|ran| ran.context).collect::<Vec<_>>())
    });
    world.until(|| world.script.held() == 1);
    let thread = thread_handle(&world, &blocked.thread);
    assert_eq!(thread::nt_queue_apc_thread(&world.frame(), thread, noting_apc(), [0x20, 0, 0]), NtStatus::SUCCESS);
    let _slept = wait::delay(&world.frame(), Mode::Kernel, false, -200_000);
    assert_eq!(world.script.held(), 1, "the request goes on");
    world.script.finish(NtStatus::SUCCESS, 2);
    assert_eq!(blocked.join(), (success(2), 0, NtStatus::USER_APC, vec![0x20, 0x10]));
    event::close(&world.frame(), thread).expect("open");
}

#[test]
fn nt_x_07_waiting_for_an_alertable_file_can_be_interrupted() {
    let world = World::new();
    let file = world.open(WRITE_DATA | SYNCHRONIZE, ALERT);
    for by_apc in [true, false] {
        world.script.forget();
        hold(&world);
        let handle = file.handle;
        let owner = world.spawn(move |frame| Call::of(handle, b"ab").make_in(frame));
        world.until(|| world.script.held() == 1);
        let event = world.event(true);
        let waiter = world.spawn(move |frame| {
            let done = Call::of(handle, b"cd").event(event).make_in(frame);
            (done, apcs().len())
        });
        // The event is reset just before the wait for the file.
        world.until(|| !world.signaled(event));
        let thread = thread_handle(&world, &waiter.thread);
        let status = if by_apc {
            assert_eq!(thread::nt_queue_apc_thread(&world.frame(), thread, noting_apc(), [1, 0, 0]), NtStatus::SUCCESS);
            NtStatus::USER_APC
        } else {
            assert_eq!(thread::nt_alert_thread(&world.frame(), thread), NtStatus::SUCCESS);
            NtStatus::ALERTED
        };
        assert_eq!(waiter.join(), (refused(status), usize::from(by_apc)));
        assert!(!world.signaled(event), "already reset");
        assert_eq!(world.script.seen().len(), 1, "and nothing done");
        world.script.finish(NtStatus::SUCCESS, 2);
        assert_eq!(owner.join(), success(2));
        event::close(&world.frame(), thread).expect("open");
    }
}

#[test]
fn threads_ends_are_run_down_also_when_the_driver_is_late() {
    let world = World::new();
    let file = world.asynchronous();
    world.script.plan(Plan::Hold { cancelable: false });
    let handle = file.handle;
    let script = Arc::clone(&world.script);
    let ends = world.spawn(move |frame| {
        assert_eq!(Call::of(handle, b"ab").make_in(frame).returned, NtStatus::PENDING);
        cancel::thread_ends(frame);
        frame.thread.irps().len()
    });
    world.until(|| world.script.held() == 1);
    let _slept = wait::delay(&world.frame(), Mode::Kernel, false, -500_000);
    assert!(!ends.is_over(), "it waits for its packet");
    script.finish(NtStatus::SUCCESS, 2);
    assert_eq!(ends.join(), 0);
}
