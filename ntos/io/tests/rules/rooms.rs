//! Kernel rooms by their services: device work items, APC objects, waits and alerts by handle, threads, duplicates, links, ids.

use crate::support::{World, apcs};
use nt_abi::ke::{KAPC, KEVENT};
use nt_abi::ob::OBJ_KERNEL_HANDLE;
use nt_abi::{Bytes, NtStatus};
use nt_cell::{CodePtr, Foreign};
use nt_ex::pool;
use nt_io::handles::{self, Duplicate};
use nt_io::system_thread::{self, IO_WORKITEM};
use nt_io::{event, thread};
use nt_ke::dispatcher::{self, EventType};
use nt_ke::kapc::{self, Spec};
use nt_ke::wait::{self, WaitType};
use nt_ke::{Frame, Mode, Mutex, irql};
use nt_ob::types::ObjectType;
use nt_ob::{Handle, Node, object};

fn made<T>() -> Foreign<T> {
    pool::zeroed(pool::tag(b"tRoo")).expect("pool")
}

type Ran = ([u64; 3], u64, u8);
static RAN: Mutex<Vec<Ran>> = Mutex::new(Vec::new());
fn note(arguments: [u64; 3]) -> u64 {
    RAN.lock().push((arguments, nt_ke::current().thread.object(), irql::current()));
    0
}
/// What ran of this test: its first or second argument is `mark`.
fn ran(mark: u64) -> Vec<Ran> {
    RAN.lock().iter().filter(|(arguments, _, _)| arguments[..2].contains(&mark)).copied().collect()
}

/// Frees a structure of a test; the next one at its address starts without calls.
fn done<T>(block: Foreign<T>) {
    RAN.lock().retain(|(arguments, _, _)| !arguments[..2].contains(&block.addr()));
    pool::free(block);
}

extern "win64" fn three(a: u64, b: u64, c: u64) -> u64 {
    note([a, b, c])
}
extern "win64" fn one(a: u64) -> u64 {
    note([a, 0, 1])
}
/// A kernel routine: changes the last argument through its pointer.
extern "win64" fn kernel_part(apc: u64, _normal: u64, _context: u64, _first: u64) -> u64 {
    note([apc, 0, 0])
}
fn code3() -> Option<CodePtr> {
    let routine: extern "win64" fn(u64, u64, u64) -> u64 = three;
    Some(routine.into())
}
fn code1() -> Option<CodePtr> {
    let routine: extern "win64" fn(u64) -> u64 = one;
    Some(routine.into())
}
fn code4() -> Option<CodePtr> {
    let routine: extern "win64" fn(u64, u64, u64, u64) -> u64 = kernel_part;
    Some(routine.into())
}

#[test]
fn nt_kr_33_a_device_work_item_runs_once_with_its_object_counted() {
    let world = World::new();
    let counted = || object::pointer_count(world.device);
    let before = counted();
    let item = system_thread::allocate(world.device.addr()).expect("an item");
    system_thread::queue(&world.kernel, item, code3(), item.addr(), true);
    world.kernel.drain();
    assert_eq!(ran(item.addr()).len(), 1);
    let (arguments, _, level) = ran(item.addr())[0];
    assert_eq!((arguments, level), ([world.device.addr(), item.addr(), item.addr()], irql::PASSIVE_LEVEL));
    assert_eq!((counted(), item.get(IO_WORKITEM::Busy)), (before, 0), "counted while it was queued only");
    done(item);
}

fn apc(of: &nt_ke::Thread, normal: bool, user: bool) -> Foreign<KAPC> {
    let apc = made::<KAPC>();
    let normal = if normal { code3() } else { None };
    let spec = Spec { kernel: code4(), rundown: code1(), normal, user, context: apc.addr() };
    kapc::initialize(apc, of.object(), 0, &spec);
    apc
}

#[test]
fn nt_kr_34_a_special_apc_runs_in_a_critical_region_and_after_a_guarded_one() {
    let world = World::new();
    let frame = world.frame();
    let one = apc(&frame.thread, false, false);
    frame.thread.enter_critical_region();
    assert!(kapc::insert(&frame.thread, one, 0, 0));
    assert_eq!(ran(one.addr()), [([one.addr(), 0, 0], frame.thread.object(), irql::APC_LEVEL)]);
    frame.leave_critical_region();
    frame.thread.enter_guarded_region();
    assert!(kapc::insert(&frame.thread, one, 0, 0) && ran(one.addr()).len() == 1 && one.get(KAPC::Inserted) == 1);
    frame.thread.leave_guarded_region();
    assert_eq!((ran(one.addr()).len(), one.get(KAPC::Inserted)), (2, 0));
    // Another thread's: in its wait, and the wait goes on.
    let waits = world.spawn(|frame| wait::delay(frame, Mode::Kernel, false, -1_000_000));
    let other = apc(&waits.thread, false, false);
    assert!(kapc::insert(&waits.thread, other, 0, 0));
    world.until(|| !ran(other.addr()).is_empty());
    assert_eq!(ran(other.addr())[0].1, waits.thread.object());
    assert_eq!(waits.join(), NtStatus::SUCCESS);
    done(one);
    done(other);
}

#[test]
fn nt_kr_35_a_normal_apc_waits_for_the_end_of_a_critical_region_and_runs_both_routines() {
    let world = World::new();
    let frame = world.frame();
    let one = apc(&frame.thread, true, false);
    frame.thread.enter_critical_region();
    assert!(kapc::insert(&frame.thread, one, 5, 6) && ran(one.addr()).is_empty());
    frame.leave_critical_region();
    let own = frame.thread.object();
    let both = [([one.addr(), 0, 0], own, irql::APC_LEVEL), ([one.addr(), 5, 6], own, irql::PASSIVE_LEVEL)];
    assert_eq!(ran(one.addr()), both);
    let waits = world.spawn(|frame| wait::delay(frame, Mode::Kernel, true, -1_000_000));
    let other = apc(&waits.thread, true, false);
    assert!(kapc::insert(&waits.thread, other, 0, 0));
    world.until(|| ran(other.addr()).len() == 2);
    assert_eq!(waits.join(), NtStatus::SUCCESS, "it does not end the wait");
    done(one);
    done(other);
}

#[test]
fn nt_kr_36_a_user_apc_object_ends_an_alertable_wait_in_user_mode() {
    let world = World::new();
    let frame = world.frame();
    let one = apc(&frame.thread, true, true);
    assert!(kapc::insert(&frame.thread, one, 7, 8));
    assert_eq!(wait::delay(&frame, Mode::Kernel, true, -10_000), NtStatus::SUCCESS, "not in kernel mode");
    assert!(ran(one.addr()).is_empty());
    assert_eq!(world.alertable(), NtStatus::USER_APC);
    assert_eq!(ran(one.addr()).iter().map(|each| each.0).collect::<Vec<_>>(), [[one.addr(), 0, 0], [one.addr(), 7, 8]]);
    assert_eq!((world.alertable(), apcs().len()), (NtStatus::SUCCESS, 0));
    done(one);
}

#[test]
fn nt_kr_37_an_apc_is_queued_once_can_be_removed_and_is_run_down() {
    let world = World::new();
    let frame = world.frame();
    for (normal, user) in [(true, false), (true, true)] {
        let one = apc(&frame.thread, normal, user);
        frame.thread.enter_critical_region();
        assert!(kapc::insert(&frame.thread, one, 0, 0) && !kapc::insert(&frame.thread, one, 0, 0));
        assert!(kapc::remove(&frame.thread, one) && !kapc::remove(&frame.thread, one));
        frame.leave_critical_region();
        assert_eq!(world.alertable(), NtStatus::SUCCESS);
        assert!(ran(one.addr()).is_empty());
        done(one);
    }
    let waits = world.spawn(|frame| {
        let slept = wait::delay(frame, Mode::Kernel, false, -500_000);
        frame.thread.end();
        slept
    });
    let ended = std::sync::Arc::clone(&waits.thread);
    let one = apc(&ended, true, true);
    assert!(kapc::insert(&ended, one, 0, 0));
    assert_eq!(waits.join(), NtStatus::SUCCESS);
    assert_eq!(ran(one.addr()).iter().map(|each| each.0).collect::<Vec<_>>(), [[one.addr(), 0, 1]], "run down");
    assert!(!kapc::insert(&ended, one, 0, 0), "it has ended");
    done(one);
}

#[test]
fn nt_kr_38_a_wait_for_all_takes_all_or_none_and_one_for_any_tells_which() {
    let world = World::new();
    let frame = world.frame();
    let (a, b) = (made::<KEVENT>(), made::<KEVENT>());
    dispatcher::initialize_event(a, EventType::Synchronization, true);
    dispatcher::initialize_event(b, EventType::Notification, false);
    let headers = [a.at(KEVENT::Header), b.at(KEVENT::Header)];
    let wait = |kind| wait::wait_for_multiple(&frame, &headers, kind, Mode::Kernel, false, Some(-100_000));
    assert_eq!((wait(WaitType::All), dispatcher::read_state(a)), (NtStatus::TIMEOUT, true));
    dispatcher::set_event(b);
    assert_eq!((wait(WaitType::All), dispatcher::read_state(a)), (NtStatus::SUCCESS, false));
    assert_eq!(wait(WaitType::Any), NtStatus(1));
    pool::free(a);
    pool::free(b);
}

#[test]
fn nt_kr_39_a_wait_for_several_handles_checks_how_many_which_and_what_they_grant() {
    let world = World::new();
    let frame = world.frame();
    let (off, on) = (world.event(false), world.event(true));
    let wait = |list: &[Handle], kind| {
        event::wait_for_several(&frame, list, kind, false, Some(0)).unwrap_or_else(|error| error.status())
    };
    assert_eq!(wait(&[off, on], WaitType::Any), NtStatus(1));
    assert_eq!(wait(&[off, on], WaitType::All), NtStatus::TIMEOUT);
    assert_eq!(
        (wait(&[], WaitType::Any), wait(&[on; 65], WaitType::Any)),
        (NtStatus::INVALID_PARAMETER_1, NtStatus::INVALID_PARAMETER_1)
    );
    assert_eq!(wait(&[on; 64], WaitType::Any), NtStatus::SUCCESS);
    assert_eq!(wait(&[on, on], WaitType::All), NtStatus::INVALID_PARAMETER_MIX);
    assert_eq!(wait(&[on, Handle(0x4000)], WaitType::Any), NtStatus::INVALID_HANDLE);
    let deaf = event::create(&frame, 2, 0, EventType::Notification, true).expect("event");
    assert_eq!(wait(&[on, deaf], WaitType::Any), NtStatus::ACCESS_DENIED, "without SYNCHRONIZE");
    for handle in [off, on, deaf] {
        event::close(&frame, handle).expect("open");
    }
}

#[test]
fn nt_kr_40_an_alert_ends_one_alertable_wait_and_is_taken_once() {
    let world = World::new();
    let frame = world.frame();
    let alert = || assert_eq!(thread::nt_alert_thread(&frame, Handle::CURRENT_THREAD), NtStatus::SUCCESS);
    alert();
    assert_eq!((thread::nt_test_alert(&frame), thread::nt_test_alert(&frame)), (NtStatus::ALERTED, NtStatus::SUCCESS));
    alert();
    assert_eq!(thread::nt_delay_execution(&frame, false, -10_000), NtStatus::SUCCESS, "not alertable");
    assert_eq!(thread::nt_delay_execution(&frame, true, -10_000), NtStatus::ALERTED);
    let routine = crate::support::noting_apc();
    assert_eq!(thread::nt_queue_apc_thread(&frame, Handle::CURRENT_THREAD, routine, [4, 0, 0]), NtStatus::SUCCESS);
    assert_eq!((thread::nt_test_alert(&frame), apcs().len()), (NtStatus::SUCCESS, 1), "user APCs run");
}

#[test]
fn nt_kr_41_events_by_handle_tell_their_former_state() {
    let world = World::new();
    let frame = world.frame();
    let handle = world.event(false);
    let change = |signal| event::change(&frame, handle, signal).expect("open");
    assert_eq!([change(true), change(true), change(false), change(false)], [0, 1, 1, 0]);
    assert!(!world.signaled(handle));
    event::close(&frame, handle).expect("open");
}

fn as_kernel<R>(frame: &Frame, body: impl FnOnce() -> R) -> R {
    frame.with_mode(Mode::Kernel, body)
}

#[test]
fn nt_kr_42_a_system_thread_has_a_handle_and_is_signalled_when_it_has_ended() {
    let world = World::new();
    let frame = world.frame();
    let mark = made::<u64>();
    let start = || {
        system_thread::create(&frame, Handle::NULL, 0x1F_FFFF, OBJ_KERNEL_HANDLE, code1().expect("code"), mark.addr())
    };
    let (handle, process, id) = as_kernel(&frame, start).expect("a thread");
    assert!(handle.is_kernel() && process == 4);
    let ended = as_kernel(&frame, || event::wait_for(&frame, handle, false, Some(-50_000_000)));
    assert_eq!(ended.expect("a wait"), NtStatus::SUCCESS, "NT-KR-43: signalled at its end");
    let (_, ran_in, level) = ran(mark.addr())[0];
    assert_eq!((ran_in != frame.thread.object(), level), (true, irql::PASSIVE_LEVEL));
    assert_ne!(id, frame.thread.id());
    assert_eq!(system_thread::terminate(NtStatus::SUCCESS), NtStatus::INVALID_PARAMETER, "this one is no driver's");
    as_kernel(&frame, || event::close(&frame, handle)).expect("open");
    done(mark);
}

#[test]
fn nt_kr_44_a_symbolic_link_is_opened_as_itself_and_tells_its_target() {
    let world = World::new();
    let frame = world.frame();
    let names = &world.system().namespace;
    names.insert("\\DosDevices\\Here", Node::Link("\\Device\\Script".into())).expect("free");
    let taken = names.insert("\\??\\HERE", Node::Link("\\Device\\Other".into()));
    assert_eq!(taken.map_err(|error| error.status()), Err(NtStatus::OBJECT_NAME_COLLISION));
    let open = |name: &str| {
        let wide: Vec<u16> = name.encode_utf16().collect();
        handles::open_link(&frame, &wide, handles::SYMBOLIC_LINK_QUERY, 0).map_err(|error| error.status())
    };
    let link = open("\\??\\here").expect("a link");
    assert_eq!(handles::query_link(&frame, link).expect("query"), "\\Device\\Script");
    assert_eq!(open("\\??\\there"), Err(NtStatus::OBJECT_NAME_NOT_FOUND));
    assert_eq!(open("\\Device\\Script"), Err(NtStatus::OBJECT_TYPE_MISMATCH));
    assert_eq!(
        handles::query_link(&frame, world.event(false)).map_err(|e| e.status()),
        Err(NtStatus::OBJECT_TYPE_MISMATCH)
    );
    event::close(&frame, link).expect("open");
    names.remove("\\DosDevices\\Here").expect("there");
}

#[test]
fn nt_kr_45_a_duplicate_is_another_handle_to_the_object_in_either_process() {
    let world = World::new();
    let frame = world.frame();
    let other = world.processes.create_process(&world.kernel, "other.exe").expect("process");
    let body: nt_ob::ObjectRef<Bytes> = object::reference(other.object());
    let theirs = world.process.handles.insert(&body, 0x1F_FFFF, 0).expect("handle");
    let deaf = world.process.handles.insert(&body, 0, 0).expect("handle");
    drop(body);
    let source = event::create(&frame, 0x10_0002, 0, EventType::Notification, false).expect("event");
    let plain = Duplicate {
        source_process: Handle::CURRENT_PROCESS,
        source,
        target_process: Some(Handle::CURRENT_PROCESS),
        access: 0,
        attributes: 0,
        options: 2,
    };
    let make = |what: Duplicate| handles::duplicate(&frame, &what).map_err(|error| error.status());
    let copy = make(plain).expect("made").expect("a handle");
    assert_ne!(copy, source);
    event::change(&frame, copy, true).expect("same access");
    assert!(world.signaled(source), "one object");
    assert_eq!(make(Duplicate { access: 0x1F_0003, options: 0, ..plain }), Err(NtStatus::ACCESS_DENIED));
    assert_eq!(make(Duplicate { source: Handle(0x4000), ..plain }), Err(NtStatus::INVALID_HANDLE));
    assert_eq!(make(Duplicate { target_process: Some(deaf), ..plain }), Err(NtStatus::ACCESS_DENIED));
    let there = make(Duplicate { target_process: Some(theirs), options: 3, ..plain }).expect("made").expect("a handle");
    assert!(other.handles.reference(there).is_ok(), "in the other process");
    assert_eq!(
        event::close(&frame, source).map_err(|e| e.status()),
        Err(NtStatus::INVALID_HANDLE),
        "the source is closed"
    );
    let back = Duplicate { source_process: theirs, source: there, options: 1, access: 0x10_0000, ..plain };
    let back = make(back).expect("made").expect("a handle");
    assert!(world.signaled(back) && other.handles.reference(there).is_err());
    for handle in [copy, back, theirs, deaf] {
        event::close(&frame, handle).expect("open");
    }
    world.processes.end(&other);
}

#[test]
fn nt_kr_46_a_pointer_gives_a_handle_of_its_own_type() {
    let world = World::new();
    let frame = world.frame();
    let source = world.event(true);
    let (object, _) = event::reference(&frame, source, ObjectType::Event, 0, Mode::User).expect("open");
    let open = |kind, flags, mode| {
        handles::open_by_pointer(&frame, object.body(), kind, 0x10_0000, flags, mode).map_err(|e| e.status())
    };
    let own = open(Some(ObjectType::Event), 0, Mode::User).expect("a handle");
    assert!(world.signaled(own) && !own.is_kernel());
    let kernel = open(None, OBJ_KERNEL_HANDLE, Mode::Kernel).expect("a handle");
    assert!(kernel.is_kernel());
    assert_eq!(open(Some(ObjectType::File), 0, Mode::Kernel), Err(NtStatus::OBJECT_TYPE_MISMATCH));
    as_kernel(&frame, || event::close(&frame, kernel)).expect("open");
    event::close(&frame, own).expect("open");
}

#[test]
fn nt_kr_47_processes_and_threads_are_found_by_their_ids() {
    let world = World::new();
    let room = &world.processes;
    let found = room.process_by_id(world.process.id()).expect("found");
    assert_eq!(found.object(), world.process.object());
    assert!(room.process_by_id(0x7FFF_FFF0).is_none());
    let thread = &world.frame().thread;
    assert_eq!(room.thread_by_id(thread.id()).map(|found| found.object()), Some(thread.object()));
}
