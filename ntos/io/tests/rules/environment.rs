//! NT-E: where and how the services may be called: IRQL, regions, handles of processes, waits, power requests.

use crate::support::*;
use nt_abi::NtStatus;
use nt_abi::io::{FILE_OBJECT, IO_STACK_LOCATION, IRP_MJ_POWER};
use nt_abi::ob::OBJ_KERNEL_HANDLE;
use nt_io::create::{self, CreateSpec};
use nt_io::device::{self, DeviceSpec};
use nt_io::driver::{self, Answer, NativeDriver, OwnedIrp};
use nt_io::{event, irp, send};
use nt_ke::dispatcher::{self, EventType};
use nt_ke::wait::{self, WaitType};
use nt_ke::{Frame, Mode, Mutex, irql};
use nt_ob::Handle;
use std::sync::Arc;

fn texts(world: &World, rule: &str) -> Vec<String> {
    world.findings.take().into_iter().filter(|f| f.0 == rule && f.1 == "violation").map(|f| f.2).collect()
}

/// Puts a user APC that notes itself into the thread's queue.
fn queue_apc(thread: &nt_ke::Thread) {
    assert!(nt_ke::apc::queue(
        thread,
        nt_ke::apc::UserApc { routine: noting_apc(), arguments: [0; 3], held: None, object: None }
    ));
}

#[test]
fn nt_e_01_the_verifier_finds_calls_above_passive_level_and_in_guarded_regions() {
    let world = World::new();
    let (file, frame) = (world.synchronous(), world.frame());
    world.script.answers(NtStatus::SUCCESS, 2);
    for verified in [false, true] {
        world.kernel.verify(verified);
        let call = world.write(&file, b"ab");
        assert_eq!(call.make(), success(2));
        assert_eq!(texts(&world, "NT-E-01"), Vec::<String>::new(), "at PASSIVE_LEVEL with APCs enabled");
        {
            let _level = irql::at(irql::APC_LEVEL);
            assert_eq!(call.make(), success(2), "what completes inline goes through");
        }
        let found = texts(&world, "NT-E-01");
        assert_eq!(found.len(), usize::from(verified), "{found:?}");
        assert!(found.iter().all(|text| text.starts_with("IRQL")), "{found:?}");
        frame.thread.enter_guarded_region();
        assert_eq!(call.make(), success(2));
        frame.thread.leave_guarded_region();
        let found = texts(&world, "NT-E-01");
        assert_eq!(found.len(), usize::from(verified), "{found:?}");
        assert!(found.iter().all(|text| text.starts_with("APCs disabled")), "{found:?}");
        frame.thread.enter_critical_region();
        assert_eq!(call.make(), success(2), "a critical region is no matter");
        frame.leave_critical_region();
        assert_eq!(texts(&world, "NT-E-01"), Vec::<String>::new());
    }
}

#[test]
fn nt_e_01_a_call_that_would_wait_for_ever_is_reported_and_let_through() {
    let world = World::new();
    let (handle, frame) = (world.synchronous(), world.frame());
    world.script.plan(Plan::Hold { cancelable: false });
    let script = Arc::clone(&world.script);
    let finisher = world.spawn(move |frame| {
        while script.held() == 0 {
            let _slept = wait::delay(frame, Mode::Kernel, false, -10_000);
        }
        script.finish(NtStatus::SUCCESS, 2);
    });
    frame.thread.enter_guarded_region();
    assert_eq!(world.write(&handle, b"ab").make(), success(2));
    frame.thread.leave_guarded_region();
    finisher.join();
    let found = texts(&world, "NT-E-01");
    assert!(found.len() == 1 && found[0].contains("deadlock"), "{found:?}");
}

#[test]
fn nt_e_02_a_critical_region_holds_back_user_apcs_only() {
    let world = World::new();
    let (file, frame) = (world.asynchronous(), world.frame());
    world.script.plan(Plan::Hold { cancelable: false });
    frame.thread.enter_critical_region();
    let call = world.write(&file, b"ab").apc(1);
    assert_eq!(call.make().returned, NtStatus::PENDING);
    let script = Arc::clone(&world.script);
    world.spawn(move |_| script.finish(NtStatus::SUCCESS, 2)).join();
    assert_eq!(call.iosb(), Iosb::Is(NtStatus::SUCCESS, 2), "stage 2 is a special kernel APC: it ran");
    assert!(file.event());
    assert_eq!(world.alertable(), NtStatus::USER_APC);
    assert_eq!(apcs(), [], "the user APC waits until the region is left");
    frame.leave_critical_region();
    assert_eq!(apcs().len(), 1);
}

#[test]
fn nt_e_02_a_guarded_region_and_apc_level_hold_back_stage_two() {
    let world = World::new();
    let (file, frame) = (world.asynchronous(), world.frame());
    world.script.plan(Plan::Hold { cancelable: false });
    for guarded in [true, false] {
        let (call, event) = (world.write(&file, b"ab"), world.event(false));
        let call = call.event(event);
        assert_eq!(call.make().returned, NtStatus::PENDING);
        let level = (!guarded).then(|| irql::at(irql::APC_LEVEL));
        if guarded {
            frame.thread.enter_guarded_region();
        }
        let script = Arc::clone(&world.script);
        world.spawn(move |_| script.finish(NtStatus::SUCCESS, 2)).join();
        assert_eq!(call.iosb(), Iosb::Untouched);
        let (object, _) =
            event::reference(&frame, event, nt_ob::types::ObjectType::Event, 0, Mode::User).expect("open");
        assert!(!dispatcher::read_state(object.body().view()));
        assert_eq!(frame.thread.irps().len(), 1, "the packet stays with its thread");
        if guarded {
            frame.thread.leave_guarded_region();
        }
        drop(level);
        assert_eq!(call.iosb(), Iosb::Is(NtStatus::SUCCESS, 2), "the moment that APCs are enabled");
        assert!(dispatcher::read_state(object.body().view()));
        assert_eq!(frame.thread.irps().len(), 0);
    }
}

fn kernel_handle(frame: &Frame) -> Handle {
    let spec = CreateSpec {
        access: WRITE_DATA | SYNCHRONIZE,
        name: "\\Device\\Script".encode_utf16().collect(),
        options: NONALERT,
        attributes: OBJ_KERNEL_HANDLE,
        ..CreateSpec::default()
    };
    create::nt_create_file(frame, &spec).expect("the device opens").0
}

#[test]
fn nt_e_03_a_handle_is_good_in_the_process_that_opened_it() {
    let world = World::new();
    world.script.answers(NtStatus::SUCCESS, 2);
    let other = world.processes.create_process(&world.kernel, "other.exe").expect("process");
    let file = world.synchronous();
    let handle = file.handle;
    let there = |world: &World| world.spawn_in(&other, move |frame| Call::of(handle, b"ab").make_in(frame)).join();
    assert_eq!(there(&world), refused(NtStatus::INVALID_HANDLE));
    let kernel = world.frame().with_mode(Mode::Kernel, || kernel_handle(&world.frame()));
    assert!(kernel.is_kernel());
    // This thread, attached to the other process: its table counts, for both modes.
    {
        let attached = nt_ps::process::attach(&world.frame(), &other);
        for mode in [Mode::User, Mode::Kernel] {
            let write = || Call::of(handle, b"ab").make_in(attached.frame());
            assert_eq!(attached.frame().with_mode(mode, write), refused(NtStatus::INVALID_HANDLE));
        }
        assert_eq!(nt_ps::current_process(&nt_ke::current()).id(), other.id());
        let write = || Call::of(kernel, b"ab").make_in(attached.frame());
        assert_eq!(attached.frame().with_mode(Mode::Kernel, write), success(2), "a kernel handle is good anywhere");
        assert_eq!(
            attached.frame().with_mode(Mode::User, write),
            refused(NtStatus::INVALID_HANDLE),
            "for the kernel only"
        );
    }
    assert_eq!(nt_ps::current_process(&nt_ke::current()).id(), world.process.id());
    assert_eq!(world.write(&file, b"ab").make(), success(2));
    // A handle of the same value that the other process happens to have is another file.
    let theirs = world.spawn_in(&other, move |frame| {
        let spec = CreateSpec {
            access: WRITE_DATA | SYNCHRONIZE,
            name: "\\Device\\Script".encode_utf16().collect(),
            options: NONALERT,
            ..CreateSpec::default()
        };
        (0..64).map(|_| create::nt_create_file(frame, &spec).expect("opens").0).find(|&other| other == handle)
    });
    assert_eq!(theirs.join(), Some(handle));
    let _seen = world.script.seen();
    assert_eq!(there(&world), success(2));
    let met = world.script.seen().pop().expect("a packet").file;
    assert_ne!(met, file.object().addr(), "the wrong object");
    world.processes.end(&other);
    world.frame().with_mode(Mode::Kernel, || event::close(&world.frame(), kernel)).expect("open");
}

#[test]
fn nt_e_04_a_system_thread_may_do_all_three_things_that_a_users_thread_may_not() {
    let world = World::new();
    world.kernel.verify(true);
    world.script.answers(NtStatus::SUCCESS, 2);
    let system = Arc::clone(world.processes.system());
    assert_eq!(system.id(), 4);
    let ran = world.spawn_as(&system, Mode::Kernel, |frame| {
        let spec = CreateSpec {
            access: WRITE_DATA,
            name: "\\Device\\Script".encode_utf16().collect(),
            ..CreateSpec::default()
        };
        // Created by the driver: the file handle, the event, and an APC of this very thread.
        let (handle, _) = create::nt_create_file(frame, &spec).expect("opens");
        let told = event::create(frame, 0x001F_0003, 0, EventType::Notification, false).expect("event");
        assert_eq!(Call::of(handle, b"ab").event(told).make_in(frame), success(2));
        assert_eq!(event::wait_for(frame, told, false, Some(0)), Ok(NtStatus::SUCCESS));
        assert_eq!(Call::of(handle, b"ab").apc(9).make_in(frame), success(2));
        assert_eq!(wait::delay(frame, Mode::User, true, -10_000), NtStatus::USER_APC);
        let ran = apcs().len();
        for handle in [handle, told] {
            event::close(frame, handle).expect("open");
        }
        ran
    });
    assert_eq!(ran.join(), 1);
    assert_eq!(texts(&world, "NT-E-04"), Vec::<String>::new());
    // A driver in a user's thread: the handle is of a table that the user can change.
    let (file, frame) = (world.synchronous(), world.frame());
    assert_eq!(frame.with_mode(Mode::Kernel, || world.write(&file, b"ab").make()), success(2));
    let found = texts(&world, "NT-E-04");
    assert!(found.len() == 1 && found[0].contains(&format!("process {}", world.process.id())), "{found:?}");
    let kernel = frame.with_mode(Mode::Kernel, || kernel_handle(&frame));
    assert_eq!(frame.with_mode(Mode::Kernel, || Call::of(kernel, b"ab").make_in(&frame)), success(2));
    assert_eq!(world.write(&file, b"ab").make(), success(2), "the user's own call");
    assert_eq!(texts(&world, "NT-E-04"), Vec::<String>::new());
    frame.with_mode(Mode::Kernel, || event::close(&frame, kernel)).expect("open");
}

#[test]
fn nt_e_05_an_apc_of_a_driver_in_a_users_thread_waits_for_the_user() {
    let world = World::new();
    world.script.answers(NtStatus::SUCCESS, 2);
    let (file, frame) = (world.asynchronous(), world.frame());
    assert_eq!(frame.with_mode(Mode::Kernel, || world.write(&file, b"ab").apc(3).make()), success(2));
    for _ in 0..3 {
        assert_eq!(wait::delay(&frame, Mode::Kernel, true, -10_000), NtStatus::SUCCESS);
        assert_eq!(world.write(&file, b"ab").make(), success(2));
        assert_eq!(apcs(), [], "neither waits of the driver nor calls of the user deliver it");
    }
    assert_eq!(world.alertable(), NtStatus::USER_APC, "a wait that the driver cannot make happen does");
    assert_eq!(apcs().len(), 1);
}

#[test]
fn nt_e_06_what_ends_a_wait() {
    let world = World::new();
    let frame = world.frame();
    let sleep = |mode, alertable| wait::delay(&frame, mode, alertable, -10_000);
    for (mode, alertable) in [(Mode::User, true), (Mode::User, false), (Mode::Kernel, true), (Mode::Kernel, false)] {
        queue_apc(&frame.thread);
        let by_apc = if (mode, alertable) == (Mode::User, true) { NtStatus::USER_APC } else { NtStatus::SUCCESS };
        assert_eq!(sleep(mode, alertable), by_apc, "an APC, {mode:?}, alertable {alertable}");
        assert_eq!(apcs().len(), usize::from(by_apc == NtStatus::USER_APC));
        if by_apc == NtStatus::SUCCESS {
            assert_eq!((world.alertable(), apcs().len()), (NtStatus::USER_APC, 1));
        }
        wait::alert(&frame.thread);
        let by_alert = if alertable { NtStatus::ALERTED } else { NtStatus::SUCCESS };
        assert_eq!(sleep(mode, alertable), by_alert, "an alert, {mode:?}, alertable {alertable}");
        if !alertable {
            assert_eq!(world.alertable(), NtStatus::ALERTED);
        }
        // The end of the thread.
        let waits = world.spawn(move |frame| wait::delay(frame, mode, alertable, -3_000_000));
        waits.thread.end();
        let by_end = if mode == Mode::User { NtStatus::THREAD_IS_TERMINATING } else { NtStatus::SUCCESS };
        assert_eq!(waits.join(), by_end, "the end, {mode:?}, alertable {alertable}");
    }
}

#[test]
fn nt_e_06_a_special_kernel_apc_runs_and_ends_no_wait() {
    let world = World::new();
    let file = world.asynchronous();
    world.script.plan(Plan::Hold { cancelable: false });
    let (handle, event) = (file.handle, world.event(false));
    let (tell, told) = std::sync::mpsc::channel();
    let waits = world.spawn(move |frame| {
        let call = Call::of(handle, b"ab");
        assert_eq!(call.make_in(frame).returned, NtStatus::PENDING);
        tell.send(()).expect("the test listens");
        let ended = event::wait_for(frame, event, true, None);
        (ended, call.iosb())
    });
    told.recv().expect("the thread waits");
    world.script.finish(NtStatus::SUCCESS, 2);
    world.until(|| file.event());
    assert!(!waits.is_over());
    let (object, _) =
        event::reference(&world.frame(), event, nt_ob::types::ObjectType::Event, 2, Mode::User).expect("open");
    dispatcher::set_event(object.body().view());
    assert_eq!(waits.join(), (Ok(NtStatus::SUCCESS), Iosb::Is(NtStatus::SUCCESS, 2)));
    assert_eq!(
        wait::wait_for_multiple(&world.frame(), &[], WaitType::Any, Mode::User, true, Some(0)),
        NtStatus::TIMEOUT
    );
}

/// A driver that writes to a file while it handles a power request.
struct Powered {
    handle: Mutex<Handle>,
}

impl NativeDriver for Powered {
    fn dispatch(&self, _device: device::Device, irp: OwnedIrp) -> Answer {
        let handle = *self.handle.lock();
        let frame = nt_ke::current();
        assert_eq!(frame.with_mode(Mode::Kernel, || Call::of(handle, b"ab").make_in(&frame)), success(2));
        irp.complete(NtStatus::SUCCESS, 0)
    }
}

#[test]
fn nt_e_07_a_write_inside_a_power_request_breaks_powerirpddis() {
    let world = World::new();
    world.script.answers(NtStatus::SUCCESS, 2);
    let frame = world.frame();
    let handle = frame.with_mode(Mode::Kernel, || kernel_handle(&frame));
    let powered = Arc::new(Powered { handle: nt_ke::lock::Mutex::new(handle) });
    let made = driver::create_native(&world.kernel, "\\Driver\\Powered", powered).expect("driver");
    let made =
        device::create(&world.kernel, *made, &DeviceSpec { kind: 0x22, ..DeviceSpec::default() }).expect("device");
    device::ready(made.body());
    for (verified, major) in [(false, IRP_MJ_POWER), (true, IRP_MJ_POWER), (true, 0x0E)] {
        world.kernel.verify(verified);
        let packet = irp::allocate(1).expect("memory");
        irp::next(packet).set(IO_STACK_LOCATION::MajorFunction, major);
        irp::next(packet).set_ptr(IO_STACK_LOCATION::FileObject, None::<nt_cell::Foreign<FILE_OBJECT>>);
        assert_eq!(send::call_driver(made.body(), packet), NtStatus::SUCCESS);
        irp::release(packet);
        let found = texts(&world, "NT-E-07");
        assert_eq!(found.len(), usize::from(verified && major == IRP_MJ_POWER), "{found:?}");
        assert!(found.iter().all(|text| text.starts_with("PowerIrpDDis")), "{found:?}");
    }
    frame.with_mode(Mode::Kernel, || event::close(&frame, handle)).expect("open");
}

#[test]
fn nt_e_08_a_dispatch_routine_behind_a_synchronous_file_runs_in_a_critical_region() {
    let world = World::new();
    world.script.answers(NtStatus::SUCCESS, 2);
    for (file, disabled) in [(world.synchronous(), true), (world.asynchronous(), false)] {
        assert_eq!(world.write(&file, b"ab").make(), success(2));
        assert_eq!(world.script.seen().pop().expect("a packet").apcs_disabled, disabled);
        assert!(!world.frame().thread.apcs_disabled(), "and it is left again");
    }
    let system = Arc::clone(world.processes.system());
    let nested = world.spawn_as(&system, Mode::Kernel, |frame| {
        let thread = &frame.thread;
        let mut seen = vec![thread.apcs_disabled()];
        thread.enter_critical_region();
        thread.enter_critical_region();
        seen.push(thread.apcs_disabled());
        frame.leave_critical_region();
        seen.push(thread.apcs_disabled());
        frame.leave_critical_region();
        seen.push(thread.apcs_disabled());
        (seen, thread.all_apcs_disabled())
    });
    assert_eq!(nested.join(), (vec![false, true, true, false], false));
}

#[test]
fn nt_m_16_stage_two_is_a_special_kernel_apc_unless_the_call_itself_can_do_it() {
    let world = World::new();
    let (file, frame) = (world.asynchronous(), world.frame());
    frame.thread.enter_guarded_region();
    world.script.answers(NtStatus::SUCCESS, 2);
    assert_eq!(world.write(&file, b"ab").make(), success(2), "not pended: inline, whatever is disabled");
    // Complete already, but pended: an APC of the requesting thread, which has them disabled.
    let plan = Plan::Now { pend: true, last: NtStatus::SUCCESS, information: 2, returned: NtStatus::PENDING };
    world.script.plan(plan);
    let call = world.write(&file, b"ab");
    assert_eq!(call.make(), Done { returned: NtStatus::PENDING, iosb: Iosb::Untouched });
    frame.thread.leave_guarded_region();
    assert_eq!(call.iosb(), Iosb::Is(NtStatus::SUCCESS, 2));
    // A packet of a driver's own belongs to no thread and has no stage two: it stays as it is, the driver's.
    let packet = irp::allocate(1).expect("memory");
    assert_eq!(packet.addr_at(nt_abi::io::IRP::Tail_Thread), 0);
    irp::next(packet).set(IO_STACK_LOCATION::MajorFunction, nt_abi::io::IRP_MJ_WRITE);
    world.script.answers(NtStatus::SUCCESS, 2);
    assert_eq!(send::call_driver(world.device, packet), NtStatus::SUCCESS);
    assert_eq!((irp::status(packet).information, frame.thread.irps().len()), (2, 0));
    irp::release(packet);
}
