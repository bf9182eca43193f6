//! KsWriteFile and KsReadFile: I/O on a file object without a handle.
//!
//! Room: drivers/ks (ks.sys). IRQL: PASSIVE_LEVEL. Locks: none: the caller serialises a synchronous file (KS-W-02).
//! Source: KsWriteFile page; rules KS-W-01 to KS-W-33, KS-R-01, KS-R-02.

use nt_abi::io::{
    DEVICE_OBJECT, FILE_OBJECT, IO_STACK_LOCATION, IO_STATUS_BLOCK, IRP, IRP_DEFER_IO_COMPLETION, IRP_READ_OPERATION,
    IRP_WRITE_OPERATION,
};
use nt_abi::ke::KEVENT;
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::{Addr, Foreign};
use nt_io::device::Device;
use nt_io::driver::FastCall;
use nt_io::irp::{self, IoStatus, PREFIX_CHECK_BLOCK, PREFIX_NO_ALERT};
use nt_io::observe::{self, Request, Scope};
use nt_io::rw::{self, Direction};
use nt_io::system::System;
use nt_io::{device, file, port, tail};
use nt_ke::{Frame, Mode, Mutex, dispatcher};
use nt_ob::object;
use nt_ob::types::ObjectType;
use nt_trace::rule;
use std::sync::LazyLock;

/// The arguments of KsWriteFile and KsReadFile.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// FileObject.
    pub file: Foreign<FILE_OBJECT>,
    /// Event.
    pub event: Option<Foreign<KEVENT>>,
    /// PortContext.
    pub port_context: u64,
    /// IoStatusBlock: taken as valid whatever the mode (KS-W-25).
    pub iosb: Foreign<IO_STATUS_BLOCK>,
    /// Buffer.
    pub buffer: Addr,
    /// Length.
    pub length: u32,
    /// Key, 0 for none.
    pub key: u32,
    /// RequestorMode.
    pub mode: Mode,
    /// Which of the two.
    pub direction: Direction,
}

/// KsWriteFile / KsReadFile.
#[must_use]
pub fn transfer(frame: &Frame, transfer: &Transfer) -> NtStatus {
    let scope = Scope::start(frame);
    let status = start(frame, transfer).unwrap_or_else(NtError::status);
    let name = if transfer.direction == Direction::Write { "KsWriteFile" } else { "KsReadFile" };
    scope.end(name, status, || request(frame, transfer, 0, false));
    status
}

fn start(frame: &Frame, transfer: &Transfer) -> NtResult<NtStatus> {
    let top = device::related(transfer.file).ok_or(NtStatus::INVALID_DEVICE_REQUEST.error())?;
    if let Some(event) = transfer.event {
        if object::kind_of(event) != Some(ObjectType::Event) {
            let text = "the event passed to KsWriteFile or KsReadFile was not made by the object manager";
            System::of(&frame.kernel).finding("KS-V-02", "warning", "", text);
            return NtStatus::INVALID_PARAMETER.fail();
        }
        if file::is_synchronous(transfer.file) {
            // KS-W-23: the call goes on all the same, and both events tell its end.
            let text = "an event was passed with a file object that was opened for synchronous I/O";
            System::of(&frame.kernel).finding("KS-V-02", "violation", "", text);
        }
        rule!(KS_W_18);
        dispatcher::clear_event(event);
    }
    let _flight = Flight::begin(frame, transfer.file);
    if transfer.mode == Mode::User && transfer.length != 0 {
        // KS-W-14, KS-W-16: probed under a fault handler, before either path.
        let region = transfer.buffer.region(transfer.length as usize, false);
        let probed = region.and_then(|region| match transfer.direction {
            Direction::Write => region.probe_read(),
            Direction::Read => region.probe_write(), // KS-R-02
        });
        probed.map_err(|_| {
            rule!(KS_W_14);
            NtStatus::ACCESS_VIOLATION.error()
        })?;
    }
    // A user requestor under kernel previous mode never goes the fast way.
    let forbidden = transfer.mode == Mode::User && frame.mode() == Mode::Kernel;
    if forbidden {
        rule!(KS_W_05);
    }
    if !forbidden && let Some(status) = fast(frame, transfer, top) {
        return Ok(status);
    }
    send(frame, transfer, top)
}

/// Calls under way on synchronous file objects, as {file object, thread}; kept only while somebody listens.
static FLIGHTS: LazyLock<Mutex<Vec<(u64, u64)>>> = LazyLock::new(|| Mutex::new(Vec::new()));

/// A call under way: the caller has to serialise them (KS-W-02), and is told when it does not (KS-V-01).
struct Flight(Option<(u64, u64)>);

impl Flight {
    fn begin(frame: &Frame, opened: Foreign<FILE_OBJECT>) -> Self {
        let system = System::of(&frame.kernel);
        if !file::is_synchronous(opened) || system.observer(|_| ()).is_none() {
            return Self(None);
        }
        let own = (opened.addr(), frame.thread.object());
        let mut flights = FLIGHTS.lock();
        let other = flights.iter().find(|each| each.0 == own.0 && each.1 != own.1).map(|each| each.1);
        flights.push(own);
        drop(flights);
        if let Some(other) = other {
            let text = format!(
                "two calls at once on a file object opened for synchronous I/O: thread {:#x} came while {other:#x} was inside",
                own.1
            );
            system.finding("KS-V-01", "violation", "", &text);
        }
        Self(Some(own))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(own) = self.0 {
            let mut flights = FLIGHTS.lock();
            if let Some(at) = flights.iter().position(|each| *each == own) {
                flights.swap_remove(at);
            }
        }
    }
}

fn request(frame: &Frame, transfer: &Transfer, flags: u32, fast: bool) -> Request {
    Request {
        major: transfer.direction.major(),
        file: Some(transfer.file),
        offset: transfer.file.get(FILE_OBJECT::CurrentByteOffset),
        length: transfer.length,
        flags,
        fast,
        generated: false,
        process: nt_ps::current_process(frame).id(),
    }
}

/// Tries the device's FastIoWrite or FastIoRead (KS-W-04, KS-W-06); `None` goes on with a packet (KS-W-07, KS-W-09).
fn fast(frame: &Frame, transfer: &Transfer, top: Device) -> Option<NtStatus> {
    let kernel = transfer.mode == Mode::Kernel;
    let buffer = transfer.buffer.region(transfer.length as usize, kernel).ok()?;
    let system = System::of(&frame.kernel);
    let span = system.begin(|| request(frame, transfer, 0, true));
    let call = FastCall {
        file: transfer.file,
        offset: transfer.file.get(FILE_OBJECT::CurrentByteOffset), // KS-W-03
        length: transfer.length,
        wait: true,
        key: transfer.key,
        buffer,
        device: top,
    };
    let taken = observe::with_fast_span(span, || rw::call_fast(transfer.direction, call));
    let result = taken.unwrap_or(IoStatus::new(NtStatus::FLT_DISALLOW_FAST_IO, 0));
    if taken.is_none() {
        rule!(KS_W_07);
    } else {
        rule!(KS_W_08);
        rule!(KS_W_10);
    }
    system.end(span, result.status, result.information);
    let result = taken?;
    rw::count(frame, transfer.direction, Some(result));
    transfer.iosb.set(IO_STATUS_BLOCK::Information, result.information);
    transfer.iosb.set(IO_STATUS_BLOCK::Status, result.status);
    // The event and the port hear of it, the file object's own event does not.
    if let Some(event) = transfer.event {
        dispatcher::set_event(event);
    }
    if transfer.port_context != 0 && !result.status.is_error() {
        port::queue_completion(transfer.file, transfer.port_context, result, false);
    }
    Some(result.status)
}

/// KS-W-12, KS-W-13: the packet, with the service's completion (KS-W-20 to KS-W-27).
fn send(frame: &Frame, transfer: &Transfer, top: Device) -> NtResult<NtStatus> {
    let kernel = transfer.mode == Mode::Kernel;
    let packet = irp::allocate(top.get(DEVICE_OBJECT::StackSize));
    let packet = packet.map_err(|_| NtStatus::INSUFFICIENT_RESOURCES.error())?; // KS-W-28
    let operation = match transfer.direction {
        Direction::Read => IRP_READ_OPERATION,
        Direction::Write => IRP_WRITE_OPERATION,
    };
    packet.set(IRP::Flags, IRP_DEFER_IO_COMPLETION | operation);
    packet.set(IRP::RequestorMode, transfer.mode as u8);
    packet.set_addr(IRP::Tail_Thread, frame.thread.object());
    packet.set_ptr(IRP::UserIosb, Some(transfer.iosb));
    packet.set_addr(IRP::UserApcContext, transfer.port_context);
    let stack = irp::next(packet);
    stack.set(IO_STACK_LOCATION::MajorFunction, transfer.direction.major());
    stack.set_ptr(IO_STACK_LOCATION::FileObject, Some(transfer.file));
    stack.set(IO_STACK_LOCATION::Write_Length, transfer.length);
    stack.set(IO_STACK_LOCATION::Write_Key, transfer.key);
    stack.set(IO_STACK_LOCATION::Write_ByteOffset, transfer.file.get(FILE_OBJECT::CurrentByteOffset));
    if let Err(error) = rw::give_buffer(packet, top, transfer.direction, transfer.buffer, transfer.length, kernel) {
        irp::release(packet);
        return Err(error);
    }
    let system = System::of(&frame.kernel);
    let flags = packet.get(IRP::Flags);
    let span = system.begin(|| request(frame, transfer, flags, false));
    tail::own_by_service(frame, packet, PREFIX_CHECK_BLOCK | PREFIX_NO_ALERT); // KS-V-03, KS-W-20
    irp::set_span(packet, span);
    rule!(KS_W_21);
    dispatcher::clear_event(transfer.file.at(FILE_OBJECT::Event));
    // Both are counted for the packet; completion drops the counts (KS-W-19).
    packet.set_ptr(IRP::Tail_OriginalFileObject, Some(object::reference(transfer.file).into_raw()));
    packet.set_ptr(IRP::UserEvent, transfer.event.map(|event| object::reference(event).into_raw()));
    let kept = object::reference(transfer.file);
    let synchronous = file::is_synchronous(transfer.file);
    let (status, result) = tail::run_service(frame, packet, top, *kept, synchronous);
    rw::count(frame, transfer.direction, result);
    Ok(status)
}
