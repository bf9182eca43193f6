//! NT-C: what a call returns and leaves, by handle, by what the dispatch routine returned, by whether the packet was marked
//! pending and by its final status.

use crate::support::*;
use nt_abi::NtStatus;
use nt_abi::io::FILE_OBJECT;
use nt_ke::{Mode, WindowsVersion};
use nt_ob::Handle;

const BUFFER_OVERFLOW: NtStatus = NtStatus(0x8000_0005);
/// One of each class, and some that have names.
const STATUSES: [NtStatus; 9] = [
    NtStatus::SUCCESS,
    NtStatus(0x0EAD_BEEF),
    NtStatus(0x4EAD_BEEF),
    NtStatus(0x8EAD_BEEF),
    NtStatus(0xCEAD_BEEF),
    BUFFER_OVERFLOW,
    NtStatus::INVALID_PARAMETER,
    NtStatus::DEVICE_NOT_READY,
    NtStatus::REPARSE,
];

/// How the caller wants to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    Nothing,
    Apc,
    Port,
}

/// What the table says about a call.
#[derive(PartialEq, Eq, Debug)]
struct Row {
    done: Done,
    event: bool,
    file_event: bool,
    apcs: usize,
    packets: usize,
}

fn table(synchronous: bool, told: Told, event: bool, pend: bool, returned: NtStatus, last: NtStatus) -> Row {
    let error = last.is_error();
    let pending = returned == NtStatus::PENDING;
    let notify = !error || (pending && !synchronous);
    let answer = match (synchronous, pending) {
        (true, true) => last,
        (false, false) if told == Told::Port && returned.is_warning() => NtStatus::PENDING, // NT-C-08
        _ => returned,
    };
    let file_event = match (synchronous, notify) {
        (true, true) => true,
        (true, false) => pend,
        (false, notify) => notify && !event,
    };
    Row {
        done: Done { returned: answer, iosb: if notify { Iosb::Is(last, 3) } else { Iosb::Untouched } },
        event: notify && event,
        file_event,
        apcs: usize::from(notify && told == Told::Apc),
        packets: usize::from(notify && told == Told::Port),
    }
}

fn observe(world: &World, file: &File, told: Told, with_event: bool, port: Handle) -> Row {
    let event = world.event(true);
    let mut call = world.write(file, b"abc");
    if with_event {
        call = call.event(event);
    }
    call = match told {
        Told::Nothing => call,
        Told::Apc => call.apc(7),
        Told::Port => call.context(7),
    };
    let done = call.make();
    let row = Row {
        done,
        event: with_event && world.signaled(event),
        file_event: file.event(),
        apcs: if world.alertable() == NtStatus::USER_APC { apcs().len() } else { 0 },
        packets: std::iter::from_fn(|| world.packet(port).ok()).count(),
    };
    nt_io::event::close(&world.frame(), event).expect("open");
    row
}

/// Goes through every pair of statuses; returns how many cases there were.
fn every_pair(synchronous: bool, told: Told) -> usize {
    let world = World::new();
    let port = world.port();
    let file = if synchronous { world.synchronous() } else { world.asynchronous() };
    if told == Told::Port {
        assert_eq!(world.associate(&file, port, 1), NtStatus::SUCCESS);
    }
    let mut cases = 0;
    for method in [0, 4, 0x10] {
        world.method(method);
        for last in STATUSES {
            let unpended = STATUSES.iter().map(|&returned| (false, returned));
            let marked = STATUSES.iter().filter(|_| synchronous).map(|&returned| (true, returned));
            for (pend, returned) in unpended.chain(marked).chain([(true, NtStatus::PENDING)]) {
                for event in [false, true] {
                    world.script.plan(Plan::Now { pend, last, information: 3, returned });
                    let seen = observe(&world, &file, told, event, port);
                    let wanted = table(synchronous, told, event, pend, returned, last);
                    let handle = if synchronous { "S" } else { "A" };
                    assert_eq!(seen, wanted, "{handle} R={returned} P={pend} F={last} event={event} {told:?}");
                    cases += 1;
                }
            }
        }
    }
    cases
}

#[test]
fn nt_c_01_the_call_returns_what_the_dispatch_routine_returned() {
    let world = World::new();
    let odd = NtStatus(0x0EAD_BEEF);
    world.script.plan(Plan::Now { pend: false, last: NtStatus::SUCCESS, information: 2, returned: odd });
    for file in [world.synchronous(), world.asynchronous()] {
        let done = world.write(&file, b"ab").make();
        assert_eq!(done, Done { returned: odd, iosb: Iosb::Is(NtStatus::SUCCESS, 2) });
    }
    assert_eq!(every_pair(true, Told::Nothing), 3 * 9 * 19 * 2);
}

#[test]
fn nt_c_02_an_error_of_a_synchronous_call_shows_in_what_it_returns_only() {
    let world = World::new();
    let file = world.synchronous();
    for status in [NtStatus::DISK_FULL, NtStatus(0xCEAD_BEEF)] {
        for (pend, returned) in [(false, status), (true, status), (true, NtStatus::PENDING)] {
            world.script.plan(Plan::Now { pend, last: status, information: 9, returned });
            let event = world.event(true);
            assert_eq!(world.write(&file, b"ab").event(event).make(), refused(status));
            assert!(!world.signaled(event));
        }
    }
    // One that is completed later, by another thread.
    world.script.plan(Plan::Hold { cancelable: false });
    let (handle, event) = (file.handle, world.event(true));
    let waiting = world.spawn(move |frame| Call::of(handle, b"ab").event(event).make_in(frame));
    world.until(|| world.script.held() == 1);
    world.script.finish(NtStatus::DEVICE_NOT_READY, 1);
    assert_eq!(waiting.join(), refused(NtStatus::DEVICE_NOT_READY));
    assert!(!world.signaled(event) && file.event());
    assert_eq!(every_pair(true, Told::Apc), 3 * 9 * 19 * 2);
}

#[test]
fn nt_c_03_an_error_that_was_not_pended_tells_nobody() {
    let world = World::new();
    let port = world.port();
    for told in [Told::Nothing, Told::Apc, Told::Port] {
        let file = world.asynchronous();
        if told == Told::Port {
            world.associate(&file, port, 1);
        }
        world.script.answers(NtStatus::DISK_FULL, 0);
        for event in [false, true] {
            let nothing =
                Row { done: refused(NtStatus::DISK_FULL), event: false, file_event: false, apcs: 0, packets: 0 };
            assert_eq!(observe(&world, &file, told, event, port), nothing);
        }
    }
}

#[test]
fn nt_c_04_an_error_that_was_pended_tells_everybody() {
    let world = World::new();
    let port = world.port();
    for told in [Told::Apc, Told::Port] {
        let file = world.asynchronous();
        if told == Told::Port {
            world.associate(&file, port, 1);
        }
        let (last, returned) = (NtStatus::DISK_FULL, NtStatus::PENDING);
        world.script.plan(Plan::Now { pend: true, last, information: 0, returned });
        let row = observe(&world, &file, told, true, port);
        assert_eq!((row.done, row.event, row.apcs + row.packets), (pended(last, 0), true, 1));
    }
    assert_eq!(every_pair(false, Told::Apc), 3 * 9 * 10 * 2);
}

#[test]
fn nt_c_05_warnings_and_information_count_as_success() {
    for status in [BUFFER_OVERFLOW, NtStatus(0x4EAD_BEEF), NtStatus(0x8EAD_BEEF)] {
        let world = World::new();
        let port = world.port();
        let file = world.asynchronous();
        world.associate(&file, port, 5);
        world.script.plan(Plan::Now { pend: true, last: status, information: 3, returned: NtStatus::PENDING });
        let event = world.event(false);
        assert_eq!(world.write(&file, b"abc").event(event).context(6).make(), pended(status, 3));
        assert!(world.signaled(event));
        assert_eq!(world.packet(port), Ok((5, 6, status, 3)));
        let synchronous = world.synchronous();
        world.script.answers(status, 3);
        let event = world.event(false);
        let done = world.write(&synchronous, b"abc").event(event).make();
        assert_eq!(done, Done { returned: status, iosb: Iosb::Is(status, 3) });
        assert!(world.signaled(event));
    }
    assert_eq!(every_pair(false, Told::Port), 3 * 9 * 10 * 2);
}

#[test]
fn nt_c_06_the_event_or_the_file_is_signalled_and_not_both() {
    assert_eq!(every_pair(false, Told::Nothing), 3 * 9 * 10 * 2);
    let world = World::new();
    let file = world.asynchronous();
    world.script.plan(Plan::Hold { cancelable: false });
    let event = world.event(false);
    world.write(&file, b"x").event(event).make();
    world.script.finish(NtStatus::SUCCESS, 1);
    assert_eq!((world.signaled(event), world.signaled(file.handle)), (true, false));
    world.write(&file, b"x").make();
    assert!(!world.signaled(file.handle));
    world.script.finish(NtStatus::SUCCESS, 1);
    assert!(world.signaled(file.handle));
}

#[test]
fn nt_c_07_a_synchronous_call_with_an_event_signals_the_file_too() {
    let world = World::new();
    let file = world.synchronous();
    let ok = NtStatus::SUCCESS;
    world.script.plan(Plan::Now { pend: true, last: ok, information: 1, returned: NtStatus::PENDING });
    let event = world.event(false);
    assert_eq!(world.write(&file, b"x").event(event).make(), success(1));
    assert_eq!((world.signaled(event), world.signaled(file.handle)), (true, true));
}

#[test]
fn nt_c_08_an_unpended_warning_on_a_file_with_a_port_returns_pending() {
    for (windows, with_port) in
        [(WindowsVersion::Win7, NtStatus(0x8EAD_BEEF)), (WindowsVersion::Win10, NtStatus::PENDING)]
    {
        let world = World::windows(windows);
        let port = world.port();
        let file = world.asynchronous();
        world.script.answers(NtStatus(0x8EAD_BEEF), 3);
        assert_eq!(world.write(&file, b"abc").make().returned, NtStatus(0x8EAD_BEEF), "no port");
        world.associate(&file, port, 1);
        assert_eq!(world.write(&file, b"abc").context(2).make().returned, with_port, "{windows:?}");
        assert_eq!(world.packet(port), Ok((1, 2, NtStatus(0x8EAD_BEEF), 3)), "the packet comes all the same");
    }
}

#[test]
fn nt_c_09_pending_without_the_mark_is_found_and_treated_as_pended() {
    let world = World::new();
    let (last, returned) = (NtStatus::DISK_FULL, NtStatus::PENDING);
    world.script.plan(Plan::Now { pend: false, last, information: 0, returned });
    let file = world.asynchronous();
    let event = world.event(false);
    assert_eq!(world.write(&file, b"x").event(event).make(), pended(last, 0));
    assert!(world.signaled(event));
    assert_eq!(world.findings.rules(), ["NT-C-09"]);
    assert_eq!(world.write(&world.synchronous(), b"x").make(), refused(last));
    assert_eq!(world.findings.rules(), ["NT-C-09"]);
}

#[test]
fn nt_c_10_calls_that_fail_after_the_reset_leave_the_event_reset() {
    let world = World::new();
    for file in [world.synchronous(), world.asynchronous()] {
        world.script.answers(NtStatus::DISK_FULL, 0);
        let event = world.event(true);
        world.write(&file, b"x").event(event).make();
        assert!(!world.signaled(event));
    }
}

#[test]
fn nt_c_11_what_the_event_releases_sees_everything_but_the_apc() {
    let world = World::new();
    world.method(4);
    let file = world.asynchronous();
    world.script.plan(Plan::Hold { cancelable: false });
    let event = world.event(false);
    let (handle, issuer) = (file.handle, world.frame().thread.id());
    let call = world.read(&file, 4).event(event).apc(1);
    call.make();
    let at = call.block();
    let waiting = world.spawn(move |frame| {
        let waited = nt_io::event::wait_for(frame, event, false, None).expect("wait");
        let block = nt_cell::Addr::user(at).region(16, false).expect("block");
        (waited, block.load::<u32>(0).expect("status"), block.load::<u64>(8).expect("count"), frame.thread.id())
    });
    let packet = nt_cell::Foreign::<nt_abi::io::IRP>::of_table(world.script.seen()[0].irp);
    let data = packet.region_at(nt_abi::io::IRP::AssociatedIrp_SystemBuffer, 4);
    data.write_from(b"read").expect("system buffer");
    world.script.finish(NtStatus::SUCCESS, 4);
    let (waited, status, count, other) = waiting.join();
    assert_eq!((waited, status, count), (NtStatus::SUCCESS, 0, 4));
    assert!(other != issuer);
    assert_eq!(call.buffer(), b"read", "copied back before the event");
    assert_eq!(world.frame().thread.irps(), [], "off the thread's list");
    assert!(apcs().is_empty(), "the APC comes when the thread waits");
    assert_eq!((world.alertable(), apcs().len()), (NtStatus::USER_APC, 1));
    // Never both: with an APC, which a kernel caller may pass beside a port, there is no packet.
    world.method(0);
    let port = world.port();
    world.associate(&file, port, 1);
    world.script.answers(NtStatus::SUCCESS, 1);
    let done = world.frame().with_mode(Mode::Kernel, || Call::of(handle, b"x").apc(2).make());
    assert_eq!(done, success(1));
    assert_eq!((world.packet(port), world.alertable(), apcs().len()), (Err(NtStatus::TIMEOUT), NtStatus::USER_APC, 1));
}

#[test]
fn nt_c_12_the_file_object_keeps_the_final_status() {
    let world = World::new();
    let file = world.synchronous();
    for last in [NtStatus::DISK_FULL, NtStatus(0x4EAD_BEEF), NtStatus::SUCCESS] {
        world.script.plan(Plan::Now { pend: true, last, information: 0, returned: NtStatus::PENDING });
        assert_eq!(world.write(&file, b"x").make().returned, last);
        assert_eq!(file.object().get(FILE_OBJECT::FinalStatus), last);
    }
}

#[test]
fn nt_c_15_a_wait_on_the_file_tells_of_one_pended_request_without_event() {
    let world = World::new();
    let file = world.asynchronous();
    world.script.plan(Plan::Hold { cancelable: false });
    let one = world.write(&file, b"x");
    assert_eq!(one.make(), refused(NtStatus::PENDING));
    assert!(!world.signaled(file.handle));
    let handle = file.handle;
    let waiting = world.spawn(move |frame| nt_io::event::wait_for(frame, handle, false, None).expect("wait"));
    world.script.finish(NtStatus::SUCCESS, 1);
    assert_eq!((waiting.join(), one.iosb()), (NtStatus::SUCCESS, Iosb::Is(NtStatus::SUCCESS, 1)));
    // With two outstanding the first that ends signals the file: the other is still on its way.
    let (first, second) = (world.write(&file, b"x"), world.write(&file, b"y"));
    first.make();
    second.make();
    world.script.finish(NtStatus::SUCCESS, 1);
    assert_eq!((world.signaled(handle), second.iosb()), (true, Iosb::Untouched));
    world.script.finish(NtStatus::SUCCESS, 1);
    // After a refusal there is nothing to wait for.
    world.script.answers(NtStatus::DISK_FULL, 0);
    world.write(&file, b"x").make();
    assert!(!world.signaled(handle));
}

#[test]
fn nt_c_16_the_status_block_is_written_at_the_end_and_not_before() {
    let world = World::new();
    let file = world.asynchronous();
    world.script.plan(Plan::Hold { cancelable: false });
    let call = world.write(&file, b"abc");
    assert_eq!(call.make(), refused(NtStatus::PENDING));
    world.script.finish(NtStatus(0x4EAD_BEEF), 2);
    assert_eq!(call.iosb(), Iosb::Is(NtStatus(0x4EAD_BEEF), 2));
    // Not pended: what the call returned counts, whatever the block says.
    world.script.plan(Plan::Now {
        pend: false,
        last: NtStatus::SUCCESS,
        information: 3,
        returned: NtStatus::DISK_FULL,
    });
    assert_eq!(call.make(), Done { returned: NtStatus::DISK_FULL, iosb: Iosb::Is(NtStatus::SUCCESS, 3) });
    // A block that went away meanwhile is the caller's loss: the event comes, and nothing breaks.
    world.script.plan(Plan::Hold { cancelable: false });
    let event = world.event(false);
    let mut lost = world.write(&file, b"abc").event(event);
    let gone = nt_cell::arena::UserBlock::pages(4096).expect("arena");
    lost.args.iosb = nt_cell::Addr::user(gone.addr());
    lost.make();
    gone.protect(0, 4096, nt_cell::arena::Protection::NoAccess).expect("protect");
    world.script.finish(NtStatus::SUCCESS, 3);
    assert!(world.signaled(event));
}

#[test]
fn nt_c_17_a_driver_that_passes_an_event_is_noted_when_verified() {
    let world = World::new();
    let file = world.synchronous();
    let event = world.event(false);
    world.script.answers(NtStatus::SUCCESS, 1);
    let zw = |call: Call| world.frame().with_mode(Mode::Kernel, || call.make());
    for verify in [false, true] {
        world.kernel.verify(verify);
        assert_eq!(zw(world.write(&file, b"x")), success(1));
        assert_eq!(world.findings.rules().iter().filter(|rule| *rule == "NT-C-17").count(), 0);
        for call in [
            world.write(&file, b"x").event(event),
            world.write(&file, b"x").apc(0),
            world.write(&file, b"x").context(3),
        ] {
            assert_eq!(zw(call), success(1), "accepted either way");
            let notes: Vec<_> = world.findings.take().into_iter().filter(|(rule, ..)| rule == "NT-C-17").collect();
            assert_eq!(notes.len(), usize::from(verify));
            assert!(notes.iter().all(|(_, severity, _)| severity == "note"));
        }
        assert_eq!(world.write(&file, b"x").event(event).make(), success(1));
        assert_eq!(world.findings.rules(), Vec::<String>::new(), "users pass what they like");
    }
    world.alertable();
    apcs();
}
