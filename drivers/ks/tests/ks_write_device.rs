//! KsWriteFile against a driver that records: paths, packets, buffers, ends (ks.md section 3).
mod device;
#[path = "../../memfs/tests/support/mod.rs"]
mod support;

use device::*;
use nt_abi::NtStatus;
use nt_abi::io::{
    DEVICE_OBJECT, DO_BUFFERED_IO, DO_DIRECT_IO, DRIVER_OBJECT, FAST_IO_DISPATCH, FILE_OBJECT, IO_STACK_LOCATION, IRP,
    IRP_BUFFERED_IO, IRP_DEALLOCATE_BUFFER, IRP_WRITE_OPERATION,
};
use nt_cell::arena::{Protection, UserBlock};
use nt_cell::{Addr, Region};
use nt_io::driver::PendedIrp;
use nt_io::irp::IoStatus;
use nt_io::port;
use nt_ke::{Mode, Mutex, dispatcher};
use nt_ks::clientio::{self, Transfer};
use nt_ob::object;
use std::sync::Arc;
use support::*;

const ASYNC: u32 = 0;
const OK8: (NtStatus, u64) = (NtStatus::SUCCESS, 8);

/// Two threads in KsWriteFile on one synchronous file object: both packets are in the driver before either ends.
fn overlap(world: &World) -> (NtStatus, NtStatus, Vec<Came>) {
    let held = Arc::new(Mutex::new(None::<PendedIrp>));
    let (arrived, first) = std::sync::mpsc::channel();
    let target = Target::new(
        world,
        SYNC,
        move |irp| {
            let other = held.lock().take();
            match other {
                None => {
                    let (pended, answer) = irp.pend();
                    *held.lock() = Some(pended);
                    arrived.send(()).expect("the test waits");
                    answer
                }
                Some(other) => {
                    other.complete(NtStatus::SUCCESS, 8);
                    irp.complete(NtStatus::SUCCESS, 8)
                }
            }
        },
        None,
    );
    let request = target.request();
    let (kernel, processes, process) = (world.kernel.clone(), world.processes.clone(), world.process.clone());
    let other = std::thread::spawn(move || {
        let thread = processes.create_thread(&kernel, &process).expect("thread");
        let entered = nt_ke::enter(&kernel, &thread, Mode::Kernel);
        clientio::transfer(entered.frame(), &request)
    });
    first.recv().expect("the first packet arrived");
    let second = target.go(&target.request());
    (other.join().expect("writer"), second, target.came())
}

#[test]
fn ks_w_02_no_lock_is_taken_on_a_synchronous_file_object() {
    let world = World::new();
    assert_eq!(overlap(&world), (NtStatus::SUCCESS, NtStatus::SUCCESS, vec![Came::Packet, Came::Packet]));
}

#[test]
fn ks_v_01_two_calls_at_once_on_a_synchronous_file_object_are_reported() {
    let world = World::new();
    let findings = Findings::listen(&world);
    overlap(&world);
    assert_eq!(findings.rules(), ["KS-V-01"]);
    drop(findings);
    let findings = Findings::listen(&world);
    let world = World::new();
    let target = Target::answering(&world, SYNC, NtStatus::SUCCESS, 8);
    for _ in 0..2 {
        assert_eq!(target.go(&target.request()), NtStatus::SUCCESS);
    }
    assert!(findings.rules().is_empty(), "one after the other is fine");
}

#[test]
fn ks_w_04_the_fast_routine_is_tried_before_any_packet() {
    let world = World::new();
    let refuse = Box::new(|_: &_| None);
    let target = Target::new(&world, ASYNC, |irp| irp.complete(NtStatus::SUCCESS, 8), Some(refuse));
    assert_eq!((target.go(&target.request()), target.came()), (NtStatus::SUCCESS, vec![Came::Fast, Came::Packet]));
    assert_eq!(target.result(), OK8);
}

#[test]
fn ks_w_04_what_the_fast_routine_takes_is_done() {
    let world = World::new();
    let take = Box::new(|call: &nt_io::driver::FastCall| Some(IoStatus::new(NtStatus::SUCCESS, call.length.into())));
    let target = Target::new(&world, ASYNC, |irp| irp.complete(NtStatus::SUCCESS, 0), Some(take));
    assert_eq!((target.go(&target.request()), target.came()), (NtStatus::SUCCESS, vec![Came::Fast]));
    assert_eq!(target.result(), OK8);
}

#[test]
fn ks_w_07_a_refused_fast_call_falls_through_to_the_packet() {
    // The routine is asked through the table, so it has a status block of its own to spoil: the thunk of a refusal
    // stores nothing, and what the caller's block holds in the end is the packet's result.
    let world = World::new();
    let refuse = Box::new(|_: &_| None);
    let target = Target::new(&world, ASYNC, |irp| irp.complete(NtStatus::SUCCESS, 5), Some(refuse));
    assert_eq!((target.go(&target.request()), target.result()), (NtStatus::SUCCESS, (NtStatus::SUCCESS, 5)));
    assert_eq!(target.came(), [Came::Fast, Came::Packet]);
}

#[test]
fn ks_w_08_a_fast_failure_is_the_result_and_no_packet_follows() {
    let world = World::new();
    let full = Box::new(|_: &_| Some(IoStatus::new(NtStatus::DISK_FULL, 0)));
    let target = Target::new(&world, ASYNC, |irp| irp.complete(NtStatus::SUCCESS, 8), Some(full));
    assert_eq!((target.go(&target.request()), target.came()), (NtStatus::DISK_FULL, vec![Came::Fast]));
    assert_eq!(target.result(), (NtStatus::DISK_FULL, 0));
}

#[test]
fn ks_w_09_without_a_fast_table_or_routine_a_packet_goes() {
    let world = World::new();
    let target = Target::answering(&world, ASYNC, NtStatus::SUCCESS, 8);
    let driver = target.device.ptr(DEVICE_OBJECT::DriverObject).expect("driver");
    assert_eq!(driver.ptr(DRIVER_OBJECT::FastIoDispatch), None);
    assert_eq!((target.go(&target.request()), target.came()), (NtStatus::SUCCESS, vec![Came::Packet]));
    drop(target);

    let world = World::new();
    let take = Box::new(|_: &_| Some(IoStatus::new(NtStatus::SUCCESS, 1)));
    let target = Target::new(&world, ASYNC, |irp| irp.complete(NtStatus::SUCCESS, 8), Some(take));
    let driver = target.device.ptr(DEVICE_OBJECT::DriverObject).expect("driver");
    let table = driver.ptr(DRIVER_OBJECT::FastIoDispatch).expect("table");
    table.set_code(FAST_IO_DISPATCH::FastIoWrite, None);
    assert_eq!((target.go(&target.request()), target.came()), (NtStatus::SUCCESS, vec![Came::Packet]));
    target.reset();
    table.set(FAST_IO_DISPATCH::SizeOfFastIoDispatch, FAST_IO_DISPATCH::FastIoWrite.offset() as u32);
    assert_eq!((target.go(&target.request()), target.came()), (NtStatus::SUCCESS, vec![Came::Packet]));
}

#[test]
fn ks_w_12_the_packet_is_the_services_packet_of_this_file_object() {
    let world = World::new();
    let seen = Arc::new(Mutex::new(None));
    let store = Arc::clone(&seen);
    let target = Target::new(
        &world,
        SYNC,
        move |owned| {
            let (packet, stack) = (owned.irp(), owned.stack());
            *store.lock() = Some((
                (stack.get(IO_STACK_LOCATION::MajorFunction), stack.get(IO_STACK_LOCATION::MinorFunction)),
                stack.get(IO_STACK_LOCATION::Write_Length),
                stack.get(IO_STACK_LOCATION::Write_Key),
                stack.get(IO_STACK_LOCATION::Write_ByteOffset),
                [stack.addr_at(IO_STACK_LOCATION::FileObject), packet.addr_at(IRP::Tail_OriginalFileObject)],
                packet.get(IRP::RequestorMode),
                [packet.addr_at(IRP::UserApcContext), packet.addr_at(IRP::UserEvent), packet.addr_at(IRP::UserIosb)],
                packet.addr_at(IRP::Tail_Thread),
                packet.get(IRP::Flags) & IRP_WRITE_OPERATION,
                stack.addr_at(IO_STACK_LOCATION::DeviceObject),
            ));
            owned.complete(NtStatus::SUCCESS, 8)
        },
        None,
    );
    target.file.set(FILE_OBJECT::CurrentByteOffset, 0x1234);
    let event = event_object(&world, false);
    let user = UserBlock::new(8).expect("arena");
    for mode in [Mode::Kernel, Mode::User] {
        let buffer = if mode == Mode::User { Addr::user(user.addr()) } else { Addr::from(target.buffer) };
        let request = Transfer { mode, buffer, key: 7, port_context: 0x99, event: Some(*event), ..target.request() };
        assert_eq!(target.go(&request), NtStatus::SUCCESS);
        let file = target.file.addr();
        let expected = (
            (4, 0),
            8,
            7,
            0x1234,
            [file, file],
            mode as u8,
            [0x99, event.addr(), target.iosb.addr()],
            world.frame().thread.object(),
            IRP_WRITE_OPERATION,
            target.device.addr(),
        );
        assert_eq!(seen.lock().take(), Some(expected), "{mode:?}");
    }
}

/// The three buffer members and the buffer flags of a packet, and the bytes that it describes.
type Form = (bool, bool, u64, u32, Vec<u8>);

fn form(world: &World, method: u32) -> (Form, u64) {
    let seen = Arc::new(Mutex::new(None));
    let store = Arc::clone(&seen);
    let target = Target::new(
        world,
        ASYNC,
        move |owned| {
            let packet = owned.irp();
            let bytes = match (packet.ptr(IRP::AssociatedIrp_SystemBuffer), packet.ptr(IRP::MdlAddress)) {
                (Some(copy), _) => Region::pool(copy, 8).to_vec(),
                (None, Some(mdl)) => nt_mm::mdl::region(mdl).expect("locked").to_vec(),
                (None, None) => packet.region_at(IRP::UserBuffer, 8).to_vec(),
            };
            *store.lock() = Some((
                packet.ptr(IRP::AssociatedIrp_SystemBuffer).is_some(),
                packet.ptr(IRP::MdlAddress).is_some(),
                packet.addr_at(IRP::UserBuffer),
                packet.get(IRP::Flags) & (IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER),
                bytes.expect("the bytes are there"),
            ));
            owned.complete(NtStatus::SUCCESS, 8)
        },
        None,
    )
    .method(method);
    assert_eq!(target.go(&target.request()), NtStatus::SUCCESS);
    let form = seen.lock().take().expect("sent");
    (form, target.buffer.addr())
}

#[test]
fn ks_w_13_the_device_decides_how_the_buffer_travels() {
    let bytes = BYTES.to_vec();
    let (buffered, _) = form(&World::new(), DO_BUFFERED_IO);
    assert_eq!(buffered, (true, false, 0, IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER, bytes.clone()));
    let (direct, _) = form(&World::new(), DO_DIRECT_IO);
    assert_eq!(direct, (false, true, 0, 0, bytes.clone()));
    let (neither, own) = form(&World::new(), 0);
    assert_eq!(neither, (false, false, own, 0, bytes));
}

#[test]
fn ks_w_15_a_kernel_requestor_is_not_probed_but_its_faults_are_caught() {
    let world = World::new();
    let target = Target::answering(&world, ASYNC, NtStatus::SUCCESS, 8).method(DO_DIRECT_IO);
    assert_eq!(target.go(&target.request()), NtStatus::SUCCESS, "an address above the user range is good");
    target.reset();
    let block = UserBlock::pages(8192).expect("arena");
    block.protect(4096, 4096, Protection::NoAccess).expect("protect");
    for method in [DO_DIRECT_IO, DO_BUFFERED_IO] {
        let count = object::pointer_count(*target.file);
        target.device.and32(DEVICE_OBJECT::Flags, !(DO_DIRECT_IO | DO_BUFFERED_IO));
        target.device.or32(DEVICE_OBJECT::Flags, method);
        let request = Transfer { buffer: Addr::user(block.addr() + 4092), ..target.request() };
        assert_eq!(target.go(&request), NtStatus::ACCESS_VIOLATION, "method {method:#x}");
        assert!(target.came().is_empty() && target.untouched());
        assert_eq!(object::pointer_count(*target.file), count);
    }
}

#[test]
fn ks_w_16_user_buffers_are_probed_for_every_kind_of_device_before_either_path() {
    let world = World::new();
    let take = Box::new(|_: &_| Some(IoStatus::new(NtStatus::SUCCESS, 8)));
    let target = Target::new(&world, ASYNC, |irp| irp.complete(NtStatus::SUCCESS, 8), Some(take));
    let block = UserBlock::pages(8192).expect("arena");
    block.protect(4096, 4096, Protection::NoAccess).expect("protect");
    // Previous mode kernel goes by packet, previous mode user the fast way: neither is reached.
    let user = |from: u64| Transfer { mode: Mode::User, buffer: Addr::user(block.addr() + from), ..target.request() };
    for previous in [Mode::Kernel, Mode::User] {
        let frame = world.frame();
        let status = frame.with_mode(previous, || clientio::transfer(&frame, &user(4089)));
        assert_eq!((status, target.came()), (NtStatus::ACCESS_VIOLATION, vec![]), "the last byte is not readable");
    }
    assert_eq!(target.go(&user(4087)), NtStatus::SUCCESS, "an odd address is good: the alignment asked for is 1");
    block.protect(0, 4096, Protection::ReadOnly).expect("protect");
    assert_eq!(target.go(&user(0)), NtStatus::SUCCESS, "the probe is for reading");
}

#[test]
fn ks_w_23_an_event_with_a_synchronous_file_object_still_works() {
    let world = World::new();
    let target = Target::new(
        &world,
        SYNC,
        |irp| {
            let (pended, answer) = irp.pend();
            let kernel = Arc::clone(&nt_ke::current().kernel);
            nt_ke::work::WorkQueue::queue(&kernel, move || pended.complete(NtStatus::SUCCESS, 8));
            answer
        },
        None,
    );
    let event = event_object(&world, false);
    let request = Transfer { event: Some(*event), ..target.request() };
    assert_eq!((target.go(&request), target.result()), (NtStatus::SUCCESS, OK8));
    assert_eq!((dispatcher::read_state(*event), target.file_event()), (true, true));
}

#[test]
fn ks_v_02_an_event_with_a_synchronous_file_object_and_one_without_a_header_are_reported() {
    let world = World::new();
    let target = Target::answering(&world, SYNC, NtStatus::SUCCESS, 8);
    let findings = Findings::listen(&world);
    let event = event_object(&world, false);
    assert_eq!(target.go(&target.request()), NtStatus::SUCCESS);
    assert!(findings.rules().is_empty());
    assert_eq!(target.go(&Transfer { event: Some(*event), ..target.request() }), NtStatus::SUCCESS);
    assert_eq!(findings.rules(), ["KS-V-02"]);
    let bare = nt_ex::pool::zeroed(nt_ex::pool::tag(b"tKsE")).expect("pool");
    assert_eq!(target.go(&Transfer { event: Some(bare), ..target.request() }), NtStatus::INVALID_PARAMETER);
    assert_eq!(findings.rules(), ["KS-V-02", "KS-V-02"]);
    nt_ex::pool::free(bare);
}

#[test]
fn ks_w_24_the_port_gets_one_packet_for_a_port_context() {
    let world = World::new();
    let target = Target::new(
        &world,
        ASYNC,
        |irp| {
            let (pended, answer) = irp.pend();
            pended.complete(NtStatus::SUCCESS, 8);
            answer
        },
        None,
    );
    let with = |port_context| target.go(&Transfer { port_context, ..target.request() });
    assert_eq!((with(0x77), target.result()), (NtStatus::PENDING, OK8), "no port: the context is ignored");
    let frame = world.frame();
    let queue = port::create(&frame, 0x001F_0003).expect("port");
    port::associate(&frame, *target.file, queue, 0xAB).expect("association");
    let next = || port::remove(&frame, queue, Some(0)).expect("port");
    assert_eq!(with(0), NtStatus::PENDING);
    assert_eq!(next(), Err(NtStatus::TIMEOUT), "no context: no packet");
    assert_eq!(with(0x77), NtStatus::PENDING);
    let packet = port::Packet { key: 0xAB, context: 0x77, result: IoStatus::new(NtStatus::SUCCESS, 8) };
    assert_eq!((next(), next()), (Ok(packet), Err(NtStatus::TIMEOUT)));
}

#[test]
fn ks_w_26_block_then_event_then_port() {
    let world = World::new();
    let target = Target::new(
        &world,
        ASYNC,
        |irp| {
            let (pended, answer) = irp.pend();
            let kernel = Arc::clone(&nt_ke::current().kernel);
            nt_ke::work::WorkQueue::queue(&kernel, move || pended.complete(NtStatus::SUCCESS, 8));
            answer
        },
        None,
    );
    let frame = world.frame();
    let queue = port::create(&frame, 0x001F_0003).expect("port");
    port::associate(&frame, *target.file, queue, 1).expect("association");
    let event = event_object(&world, false);
    for round in 0..200 {
        target.reset();
        let request = Transfer { port_context: 9, event: Some(*event), ..target.request() };
        assert_eq!(target.go(&request), NtStatus::PENDING);
        if round % 2 == 0 {
            wait_for(&world, *event);
            assert_eq!(target.result(), OK8, "the event is set after the block is written");
        }
        let packet = port::remove(&frame, queue, None).expect("port").expect("a packet");
        assert_eq!(packet.context, 9);
        assert_eq!((target.result(), dispatcher::read_state(*event)), (OK8, true), "the packet comes last");
    }
}

#[test]
fn ks_w_27_an_inline_failure_touches_neither_block_nor_events() {
    let world = World::new();
    let event = event_object(&world, false);
    for options in [ASYNC, SYNC] {
        let world = World::new();
        let target = Target::answering(&world, options, NtStatus::DISK_FULL, 3);
        let counts = (object::pointer_count(*target.file), object::pointer_count(*event));
        for event in [None, Some(*event)] {
            assert_eq!(target.go(&Transfer { event, ..target.request() }), NtStatus::DISK_FULL);
            assert!(target.untouched() && !target.file_event());
        }
        assert!(!dispatcher::read_state(*event));
        assert_eq!((object::pointer_count(*target.file), object::pointer_count(*event)), counts);
    }
}

#[test]
fn ks_w_32_a_pending_packet_holds_the_callers_event_or_none() {
    let world = World::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let store = Arc::clone(&seen);
    let target = Target::new(
        &world,
        ASYNC,
        move |irp| {
            store.lock().push(irp.irp().addr_at(IRP::UserEvent));
            let (pended, answer) = irp.pend();
            let kernel = Arc::clone(&nt_ke::current().kernel);
            nt_ke::work::WorkQueue::queue(&kernel, move || pended.complete(NtStatus::SUCCESS, 8));
            answer
        },
        None,
    );
    let event = event_object(&world, false);
    assert_eq!(target.go(&target.request()), NtStatus::PENDING);
    wait_for(&world, target.file.at(FILE_OBJECT::Event));
    assert_eq!(target.go(&Transfer { event: Some(*event), ..target.request() }), NtStatus::PENDING);
    wait_for(&world, *event);
    assert_eq!(*seen.lock(), [0, event.addr()]);
}

#[test]
fn ks_v_03_a_status_block_freed_before_the_end_is_reported() {
    let world = World::new();
    let held = Arc::new(Mutex::new(None::<PendedIrp>));
    let hold = Arc::clone(&held);
    let target = Target::new(
        &world,
        ASYNC,
        move |irp| {
            let (pended, answer) = irp.pend();
            *hold.lock() = Some(pended);
            answer
        },
        None,
    );
    let findings = Findings::listen(&world);
    for freed in [false, true] {
        let iosb = nt_ex::pool::zeroed(nt_ex::pool::tag(b"tKsI")).expect("pool");
        assert_eq!(target.go(&Transfer { iosb, ..target.request() }), NtStatus::PENDING);
        if freed {
            nt_ex::pool::free(iosb);
        }
        let pended = held.lock().take().expect("pended");
        pended.complete(NtStatus::SUCCESS, 8);
        if !freed {
            nt_ex::pool::free(iosb);
        }
        assert_eq!(findings.rules().len(), usize::from(freed));
    }
    assert_eq!(findings.rules(), ["KS-V-03"]);
}

#[test]
fn ks_w_12_a_device_without_stack_locations_gets_nothing() {
    let world = World::new();
    let target = Target::answering(&world, ASYNC, NtStatus::SUCCESS, 8);
    target.device.set(DEVICE_OBJECT::StackSize, -1);
    let count = object::pointer_count(*target.file);
    assert_eq!(target.go(&target.request()), NtStatus::INSUFFICIENT_RESOURCES);
    assert_eq!((target.came(), object::pointer_count(*target.file)), (vec![], count));
    target.device.set(DEVICE_OBJECT::StackSize, 1);
}
