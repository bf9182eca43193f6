//! NT-P, NT-K, NT-M: the packet that a read or write becomes, the fast path before it, and how packets end.

use crate::support::*;
use nt_abi::NtStatus;
use nt_abi::io::{DEVICE_OBJECT, DRIVER_OBJECT, FAST_IO_DISPATCH, FILE_OBJECT, IO_STACK_LOCATION, IRP, IRP_MJ_WRITE};
use nt_cell::arena::Protection;
use nt_cell::{Foreign, Region};
use nt_io::device::{self, Device, DeviceSpec};
use nt_io::driver::{self, Answer, NativeDriver, OwnedIrp};
use nt_io::irp::{self, IoStatus};
use nt_io::{cancel, complete, send};
use nt_ke::{Mode, Mutex, irql};
use std::sync::Arc;

const DEFERRED_WRITE: u32 = 0xA00;
const WRITE_THROUGH: u32 = 2;

/// What `look` returns for the one packet of a call.
fn looked<R: Send + 'static>(world: &World, look: fn(&OwnedIrp) -> R, call: impl FnOnce()) -> R {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    world.script.look(move |irp| sink.lock().push(look(irp)));
    call();
    world.script.look(|_| ());
    let mut seen = std::mem::take(&mut *seen.lock());
    assert_eq!(seen.len(), 1, "one packet");
    seen.pop().expect("one packet")
}

#[test]
fn nt_p_01_the_location_holds_captured_values_and_a_resolved_offset() {
    let world = World::new();
    let kinds = [(world.synchronous(), true), (world.asynchronous(), false)];
    let through = world.open(WRITE_DATA | SYNCHRONIZE, NONALERT | WRITE_THROUGH);
    let append = world.open(APPEND_DATA | SYNCHRONIZE, NONALERT);
    let seen = |call: Call| {
        let (minor, file) = looked(
            &world,
            |irp| (irp.stack().get(IO_STACK_LOCATION::MinorFunction), irp.file().map(Foreign::addr)),
            || assert_eq!(call.make().returned, NtStatus::SUCCESS),
        );
        let seen = world.script.seen().pop().expect("a packet");
        assert_eq!((seen.major, minor, file), (4, 0, Some(seen.file)));
        (seen.length, seen.key, seen.offset, seen.stack_flags)
    };
    for (file, synchronous) in &kinds {
        assert_eq!(
            seen(world.write(file, b"abc").offset(Some(0x1_0000_0007)).key(0xFEED)),
            (3, 0xFEED, 0x1_0000_0007, 0)
        );
        assert_eq!(seen(world.write(file, b"abc").offset(Some(-1))), (3, 0, -1, 0), "an append");
        if *synchronous {
            file.seek(77);
            assert_eq!(seen(world.write(file, b"abc").offset(Some(-2))), (3, 0, 77, 0));
            assert_eq!(seen(world.write(file, b"abc").offset(None)), (3, 0, 77, 0));
        }
    }
    assert_eq!(seen(world.write(&append, b"abc").offset(Some(5))).2, -1);
    assert_eq!(seen(world.write(&through, b"abc").offset(Some(5))), (3, 0, 5, 4), "SL_WRITE_THROUGH");
    let kernel = world.frame();
    let file = world.synchronous();
    assert_eq!(kernel.with_mode(Mode::Kernel, || seen(world.write(&file, b"abcd"))), (4, 0, 0, 0));
}

#[test]
fn nt_p_02_the_packet_names_the_caller() {
    let world = World::new();
    world.script.answers(NtStatus::SUCCESS, 2);
    world.device.set(DEVICE_OBJECT::StackSize, 5);
    let frame = world.frame();
    for mode in [Mode::User, Mode::Kernel] {
        for with_event in [false, true] {
            let (file, event) = (world.asynchronous(), world.event(true));
            let mut call = world.write(&file, b"ab").apc(0x77);
            if with_event {
                call = call.event(event);
            }
            let look = |irp: &OwnedIrp| {
                let packet = irp.irp();
                let words = [
                    packet.addr_at(IRP::Tail_Thread),
                    packet.addr_at(IRP::Tail_OriginalFileObject),
                    packet.addr_at(IRP::UserIosb),
                    packet.addr_at(IRP::UserApcContext),
                    packet.addr_at(IRP::UserEvent),
                ];
                let routine = packet.code(IRP::UserApcRoutine);
                let marks = (packet.get(IRP::Cancel), packet.get(IRP::PendingReturned), packet.get(IRP::RequestorMode));
                let event = packet.ptr(IRP::UserEvent).map(nt_ke::dispatcher::read_state);
                (words, routine, marks, packet.get(IRP::StackCount), event)
            };
            let (words, routine, marks, count, state) =
                looked(&world, look, || assert_eq!(frame.with_mode(mode, || call.make()), success(2)));
            assert_eq!(words[..4], [frame.thread.object(), file.object().addr(), call.block(), 0x77]);
            assert_eq!((words[4] != 0, state), (with_event, with_event.then_some(false)), "referenced, and reset");
            assert_eq!((routine, marks, count), (Some(noting_apc()), (0, 0, mode as u8), 5));
            assert_eq!((world.alertable(), apcs().len()), (NtStatus::USER_APC, 1));
            nt_io::event::close(&frame, event).expect("open");
        }
    }
}

#[test]
fn nt_p_03_the_flags_of_a_write() {
    let world = World::new();
    let seen = |options, length| {
        let file = world.open(WRITE_DATA | SYNCHRONIZE, options);
        assert_eq!(world.write(&file, &vec![7; length]).make().returned, NtStatus::SUCCESS);
        world.script.seen().pop().expect("a packet").flags
    };
    for (method, with_data, without) in [(0, 0, 0), (4, 0x30, 0x10), (0x10, 0, 0)] {
        world.method(method);
        for options in [0, NONALERT] {
            assert_eq!(seen(options, 512), DEFERRED_WRITE | with_data, "method {method:#x}");
            assert_eq!(seen(options, 0), DEFERRED_WRITE | without, "method {method:#x}");
            assert_eq!(seen(options | NONCACHED, 512), DEFERRED_WRITE | with_data | 1, "method {method:#x}");
        }
    }
}

#[test]
fn nt_p_04_each_method_gives_the_driver_its_buffer() {
    let world = World::new();
    let file = world.synchronous();
    let look = |irp: &OwnedIrp| {
        let packet = irp.irp();
        let bytes = packet.ptr(IRP::AssociatedIrp_SystemBuffer);
        let copy = bytes.map(|copy| Region::pool(copy, 4).to_vec().expect("pool"));
        let mdl = packet.ptr(IRP::MdlAddress);
        let locked = mdl.map(|mdl| {
            let spans = (nt_mm::mdl::virtual_address(mdl), mdl.get(nt_abi::mm::MDL::ByteCount));
            (spans, mdl.get(nt_abi::mm::MDL::MdlFlags) & 2 != 0)
        });
        (bytes.map(Foreign::addr), copy, locked, packet.addr_at(IRP::UserBuffer))
    };
    let made = |method, bytes: &'static [u8]| {
        world.method(method);
        let call = world.write(&file, bytes);
        let at = call.args.buffer.value();
        (at, looked(&world, look, || assert_eq!(call.make().returned, NtStatus::SUCCESS)))
    };
    let (at, (copy_at, copy, mdl, _)) = made(4, b"data");
    assert_eq!((copy, mdl), (Some(b"data".to_vec()), None));
    let copy_at = copy_at.expect("a copy");
    assert!(copy_at != at && Region::user(copy_at, 4).is_none(), "above the user range");
    assert_eq!(nt_ex::pool::kind_of_block(copy_at), None, "and freed with the packet");
    let (at, (copy, _, mdl, _)) = made(0x10, b"data");
    assert_eq!((copy, mdl), (None, Some(((at, 4), true))), "the caller's pages, locked");
    let (at, (copy, _, mdl, user)) = made(0, b"data");
    assert_eq!((copy, mdl, user), (None, None, at));
    for method in [4, 0x10] {
        let (_, (copy, _, mdl, _)) = made(method, b"");
        assert_eq!((copy, mdl), (None, None), "nothing for no bytes");
    }
}

/// A driver above the scripted one: notes what it met, and passes it on.
struct Above {
    below: Mutex<Option<Device>>,
    met: Mutex<Vec<(u64, u64, u64)>>,
}

impl NativeDriver for Above {
    fn dispatch(&self, device: Device, irp: OwnedIrp) -> Answer {
        let opened = irp.file().map_or(0, |file| file.addr_at(FILE_OBJECT::DeviceObject));
        let named = irp.stack().addr_at(IO_STACK_LOCATION::DeviceObject);
        self.met.lock().push((device.addr(), named, opened));
        let below = (*self.below.lock()).expect("attached");
        irp.skip_to(below)
    }
}

#[test]
fn nt_p_05_a_request_starts_at_the_top_of_the_stack() {
    let world = World::new();
    let above = Arc::new(Above { below: nt_ke::lock::Mutex::new(None), met: nt_ke::lock::Mutex::new(Vec::new()) });
    let driver = driver::create_native(&world.kernel, "\\Driver\\Above", Arc::clone(&above) as _).expect("driver");
    let made =
        device::create(&world.kernel, *driver, &DeviceSpec { kind: 0x22, ..DeviceSpec::default() }).expect("device");
    let file = world.synchronous();
    *above.below.lock() = Some(device::attach(made.body(), world.device).expect("attaches"));
    device::ready(made.body());
    world.script.answers(NtStatus::SUCCESS, 2);
    assert_eq!(world.write(&file, b"ab").make(), success(2));
    let top = made.body().addr();
    assert_eq!(std::mem::take(&mut *above.met.lock()), [(top, top, world.device.addr())]);
    drop(file);
    device::detach(world.device);
}

#[test]
fn nt_p_06_a_buffered_read_is_copied_back_unless_it_failed() {
    let world = World::new();
    world.method(4);
    world.script.look(|irp| {
        if let Some(copy) = irp.irp().ptr(IRP::AssociatedIrp_SystemBuffer) {
            Region::pool(copy, 8).write_from(b"FROMDISK").expect("pool");
        }
    });
    let file = world.asynchronous();
    for (status, copied) in
        [(NtStatus::SUCCESS, 5), (NtStatus(0x8000_0005), 5), (NtStatus::VERIFY_REQUIRED, 0), (NtStatus::DISK_FULL, 0)]
    {
        world.script.plan(Plan::Now { pend: true, last: status, information: 5, returned: NtStatus::PENDING });
        let call = world.read(&file, 8);
        assert_eq!(call.make(), pended(status, 5));
        let mut wanted = vec![0xEE; 8];
        wanted[..copied].copy_from_slice(&b"FROMDISK"[..copied]);
        assert_eq!(call.buffer(), wanted, "{status}");
    }
    // The caller's pages go read-only before the end.
    world.script.plan(Plan::Hold { cancelable: false });
    let call = world.read(&file, 8);
    assert_eq!(call.make().returned, NtStatus::PENDING);
    call.protect(Protection::ReadOnly);
    world.script.finish(NtStatus::SUCCESS, 5);
    assert_eq!(call.iosb(), Iosb::Is(NtStatus::ACCESS_VIOLATION, 0));
    call.protect(Protection::ReadWrite);
    // A write is not copied back.
    world.script.plan(Plan::Now { pend: true, last: NtStatus::SUCCESS, information: 5, returned: NtStatus::PENDING });
    let call = world.write(&file, b"MYBYTES!");
    assert_eq!(call.make(), pended(NtStatus::SUCCESS, 5));
    assert_eq!(call.buffer(), b"MYBYTES!");
}

#[test]
fn nt_p_07_a_packet_is_on_its_threads_list_until_stage_two_and_ends_with_it() {
    let world = World::new();
    let (file, frame) = (world.asynchronous(), world.frame());
    world.script.plan(Plan::Hold { cancelable: true });
    let call = world.write(&file, b"ab");
    assert_eq!(call.make().returned, NtStatus::PENDING);
    assert_eq!(frame.thread.irps(), [world.script.seen()[0].irp]);
    world.script.finish(NtStatus::SUCCESS, 2);
    assert_eq!(frame.thread.irps(), []);
    let handle = file.handle;
    let event = world.event(false);
    let ends = world.spawn(move |frame| {
        let call = Call::of(handle, b"ab").event(event);
        assert_eq!(call.make_in(frame).returned, NtStatus::PENDING);
        cancel::thread_ends(frame);
        (frame.thread.irps().len(), call.iosb())
    });
    assert_eq!(ends.join(), (0, Iosb::Is(NtStatus::CANCELLED, 0)));
    assert_eq!(world.script.cancelled(), 1);
    assert!(world.signaled(event));
}

#[test]
fn nt_k_01_fast_io_needs_a_synchronous_file_with_a_cache_map() {
    let world = World::new();
    world.script.fast(Some(IoStatus::new(NtStatus::SUCCESS, 2)));
    world.script.answers(NtStatus::SUCCESS, 2);
    for (file, fast) in [(world.synchronous(), 1), (world.asynchronous(), 0)] {
        assert_eq!(world.write(&file, b"ab").make(), success(2));
        assert_eq!((world.script.fast_seen().len(), world.script.seen().len()), (0, 1), "no cache map yet");
        file.cache();
        assert_eq!(world.write(&file, b"ab").make(), success(2));
        assert_eq!((world.script.fast_seen().len(), world.script.seen().len()), (fast, 1 - fast));
    }
}

#[test]
fn nt_k_03_only_true_and_success_ends_a_write_and_the_same_request_follows_else() {
    let world = World::new();
    let file = world.synchronous();
    file.cache();
    let others = [
        None,
        Some(NtStatus(0x8000_0005)),
        Some(NtStatus::END_OF_FILE),
        Some(NtStatus::DISK_FULL),
        Some(NtStatus(0x0EAD_BEEF)),
        Some(NtStatus::SUCCESS),
    ];
    for status in others {
        world.script.fast(status.map(|status| IoStatus::new(status, 2)));
        world.script.answers(NtStatus::SUCCESS, 3);
        for write in [true, false] {
            let call = if write { world.write(&file, b"abc") } else { world.read(&file, 3) };
            let call = call.offset(Some(9)).key(4);
            let done = call.make();
            let fast = world.script.fast_seen();
            assert_eq!(fast.len(), 1);
            assert_eq!((fast[0].offset, fast[0].length, fast[0].wait, fast[0].key), (9, 3, true, 4));
            assert_eq!(fast[0].buffer, call.args.buffer.value(), "the caller's own buffer");
            let taken = status == Some(NtStatus::SUCCESS)
                || (!write && matches!(status, Some(NtStatus(0x8000_0005) | NtStatus::END_OF_FILE)));
            let packets = world.script.seen();
            if let Some(status) = status.filter(|_| taken) {
                assert_eq!((done, packets.len()), (Done { returned: status, iosb: Iosb::Is(status, 2) }, 0));
            } else {
                assert_eq!((done, packets.len()), (success(3), 1));
                assert_eq!((packets[0].offset, packets[0].length, packets[0].key), (9, 3, 4), "{status:?}");
            }
        }
    }
}

#[test]
fn nt_k_06_the_fast_path_delivers_no_apc() {
    let world = World::new();
    let file = world.synchronous();
    world.script.answers(NtStatus::SUCCESS, 2);
    assert_eq!(world.write(&file, b"ab").apc(1).make(), success(2));
    assert_eq!((world.alertable(), apcs().len()), (NtStatus::USER_APC, 1), "a packet does");
    file.cache();
    world.script.fast(Some(IoStatus::new(NtStatus::SUCCESS, 2)));
    for call in [world.read(&file, 2), world.write(&file, b"ab")] {
        let event = world.event(false);
        assert_eq!(call.event(event).apc(2).make(), success(2));
        assert!(world.signaled(event));
        assert_eq!((world.alertable(), apcs()), (NtStatus::SUCCESS, vec![]));
    }
}

#[test]
fn nt_k_10_a_missing_table_slot_or_a_short_table_means_packets() {
    let world = World::new();
    let file = world.synchronous();
    file.cache();
    world.script.fast(Some(IoStatus::new(NtStatus::SUCCESS, 2)));
    world.script.answers(NtStatus::SUCCESS, 2);
    let driver = world.device.ptr(DEVICE_OBJECT::DriverObject).expect("a driver");
    let table = driver.ptr(DRIVER_OBJECT::FastIoDispatch).expect("a table");
    let taken = || {
        let before = world.write(&file, b"ab").make();
        assert_eq!(before, success(2));
        let (fast, packets) = (world.script.fast_seen().len(), world.script.seen().len());
        assert_eq!(fast + packets, 1);
        fast == 1
    };
    assert!(taken());
    driver.set_ptr(DRIVER_OBJECT::FastIoDispatch, None);
    assert!(!taken(), "no table");
    driver.set_ptr(DRIVER_OBJECT::FastIoDispatch, Some(table));
    let size = table.get(FAST_IO_DISPATCH::SizeOfFastIoDispatch);
    table.set(FAST_IO_DISPATCH::SizeOfFastIoDispatch, FAST_IO_DISPATCH::FastIoWrite.offset() as u32);
    assert!(!taken(), "a table that ends before the slot");
    table.set(FAST_IO_DISPATCH::SizeOfFastIoDispatch, size);
    let routine = table.swap_code(FAST_IO_DISPATCH::FastIoWrite, None);
    assert!(!taken(), "an empty slot");
    table.set_code(FAST_IO_DISPATCH::FastIoWrite, routine);
    assert!(taken());
}

#[test]
fn nt_k_11_a_cache_map_without_fast_io_is_noted() {
    let world = World::new();
    let file = world.synchronous();
    file.cache();
    world.script.answers(NtStatus::SUCCESS, 2);
    let driver = world.device.ptr(DEVICE_OBJECT::DriverObject).expect("a driver");
    let table = driver.ptr(DRIVER_OBJECT::FastIoDispatch);
    for (verified, has) in [(false, false), (true, true), (true, false)] {
        world.kernel.verify(verified);
        driver.set_ptr(DRIVER_OBJECT::FastIoDispatch, table.filter(|_| has));
        assert_eq!(world.write(&file, b"ab").make(), success(2), "it goes as a packet");
        let found = world.findings.take();
        assert_eq!(found.iter().filter(|f| f.0 == "NT-K-11" && f.1 == "note").count(), usize::from(verified && !has));
    }
    driver.set_ptr(DRIVER_OBJECT::FastIoDispatch, table);
}

fn own_packet(locations: i8) -> irp::Irp {
    let packet = irp::allocate(locations).expect("memory");
    irp::next(packet).set(IO_STACK_LOCATION::MajorFunction, IRP_MJ_WRITE);
    packet
}

#[test]
#[should_panic(expected = "0x35")]
fn nt_m_04_a_packet_without_locations_left_is_a_bug_check() {
    let world = World::new();
    let packet = own_packet(1);
    irp::advance(packet, -1);
    let _never = send::call_driver(world.device, packet);
}

/// Completes a packet: a place that a report can name.
#[inline(never)]
fn completes_it_again(packet: irp::Irp) {
    complete::complete_request(packet);
    std::hint::black_box(packet);
}

/// What a bug check said, and what was found.
fn bug_check(world: &World, act: impl FnOnce()) -> String {
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).expect_err("it stops");
    let text = panic.downcast_ref::<String>().expect("a text").clone();
    let found = world.findings.take();
    let told: Vec<_> = found.iter().filter(|f| f.0 == "NT-M-09" && f.1 == "bugcheck").collect();
    assert_eq!((told.len(), told[0].2.as_str()), (1, text.as_str()), "the report has it too");
    assert!(text.starts_with("bug check 0x44 MULTIPLE_IRP_COMPLETE_REQUESTS: IRP 0x"), "{text}");
    text
}

#[test]
fn nt_m_09_completing_twice_is_a_bug_check_that_shows_both_stacks() {
    let world = World::new();
    for verified in [false, true] {
        world.kernel.verify(verified);
        world.script.answers(NtStatus::SUCCESS, 0);
        let packet = own_packet(1);
        assert_eq!(send::call_driver(world.device, packet), NtStatus::SUCCESS);
        let text = bug_check(&world, || completes_it_again(packet));
        let (first, second) = text.split_once("and again at").expect("two places");
        assert!(second.contains("completes_it_again"), "{second}");
        assert!(!first.contains("completes_it_again"), "{first}");
        // The first place is the script's driver, which the verifier remembers.
        assert_eq!(first.contains("call_driver"), verified, "{first}");
        assert_eq!(first.contains("with the verifier on it would be known where"), !verified, "{first}");
    }
}

#[test]
fn nt_m_09_completing_with_pending_is_a_bug_check() {
    let world = World::new();
    world.script.plan(Plan::Hold { cancelable: false });
    let packet = own_packet(1);
    assert_eq!(send::call_driver(world.device, packet), NtStatus::PENDING);
    irp::set_status(packet, IoStatus::new(NtStatus::PENDING, 0));
    let text = bug_check(&world, || completes_it_again(packet));
    assert!(text.contains("was completed with STATUS_PENDING") && text.contains("completes_it_again"), "{text}");
}

#[test]
fn nt_m_17_requests_arrive_at_passive_level_and_may_be_completed_at_dispatch_level() {
    let world = World::new();
    let (file, event) = (world.asynchronous(), world.event(false));
    world.script.plan(Plan::Hold { cancelable: false });
    let call = world.write(&file, b"ab").event(event);
    assert_eq!(call.make().returned, NtStatus::PENDING);
    assert_eq!(world.script.seen()[0].irql, irql::PASSIVE_LEVEL);
    let script = Arc::clone(&world.script);
    let level = world.spawn(move |_| {
        let _raised = irql::at(irql::DISPATCH_LEVEL);
        script.finish(NtStatus::SUCCESS, 2);
        irql::current()
    });
    assert_eq!(level.join(), irql::DISPATCH_LEVEL, "completing leaves the level as it was");
    assert!(world.signaled(event));
    assert_eq!(call.iosb(), Iosb::Is(NtStatus::SUCCESS, 2));
}

#[test]
fn nt_m_18_returning_another_status_than_the_packets_is_noted() {
    let world = World::new();
    let file = world.synchronous();
    for (verified, returned) in
        [(false, NtStatus(0x0EAD_BEEF)), (true, NtStatus::SUCCESS), (true, NtStatus(0x0EAD_BEEF))]
    {
        world.kernel.verify(verified);
        world.script.plan(Plan::Now { pend: false, last: NtStatus::SUCCESS, information: 2, returned });
        assert_eq!(world.write(&file, b"ab").make().returned, returned, "it is legal");
        let noted = world.findings.take().into_iter().filter(|f| f.0 == "NT-M-18" && f.1 == "note").count();
        assert_eq!(noted, usize::from(verified && returned != NtStatus::SUCCESS));
    }
}
