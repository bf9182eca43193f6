//! What services with notification share: the caller's event, APC and status block, the packet, the contract of its end.
//!
//! Room: ntos/io. Called by: the services. IRQL: PASSIVE_LEVEL. Locks: the file object's, for synchronous files.
//! Source: nt-io.md sections 3 and 7; rules NT-C table, NT-V-15, NT-DIR-41.
//! Not here: NtReadFile and NtWriteFile (`rw`), controls (`control`), whose checks have an order of their own.

use crate::device::{self, Device};
use crate::irp::{self, IoStatus, Irp, Stack};
use crate::observe::Request;
use crate::rw::{Direction, count};
use crate::system::System;
use crate::tail::{own_by_service, run_service};
use crate::{event, file};
use nt_abi::io::{DEVICE_OBJECT, FILE_OBJECT, IO_STACK_LOCATION, IRP, IRP_MJ_WRITE};
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::{Addr, CodePtr};
use nt_ke::{Frame, Mode, dispatcher};
use nt_ob::types::ObjectType;
use nt_ob::{Handle, ObjectRef};
use nt_ps::counters::Operation;

/// Who asks, and how it wants to hear of the end.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// FileHandle.
    pub handle: Handle,
    /// Event, or 0.
    pub event: Handle,
    /// ApcRoutine.
    pub apc_routine: Option<CodePtr>,
    /// ApcContext.
    pub apc_context: u64,
    /// IoStatusBlock.
    pub iosb: Addr,
}

impl Caller {
    /// A caller that gives a status block and nothing else.
    #[must_use]
    pub const fn plain(handle: Handle, iosb: Addr) -> Self {
        Self { handle, event: Handle::NULL, apc_routine: None, apc_context: 0, iosb }
    }
}

/// The file behind the handle.
#[derive(Debug)]
pub struct Opened {
    /// The file object.
    pub file: ObjectRef<FILE_OBJECT>,
    /// What the handle was granted.
    pub granted: u32,
    /// The top of its stack.
    pub top: Device,
}

/// A fault in a caller's buffer.
pub fn violation(_: nt_cell::Fault) -> NtError {
    NtStatus::ACCESS_VIOLATION.error()
}

/// Writes a caller's status block; a fault is ACCESS_VIOLATION.
pub fn store_status(iosb: Addr, kernel: bool, result: IoStatus) -> NtResult<()> {
    let block = iosb.region(16, kernel).map_err(violation)?;
    block.store::<u64>(8, result.information).map_err(violation)?;
    block.store::<u32>(0, result.status.0).map_err(violation)
}

/// Probes the status block of a user caller.
pub fn probe_block(iosb: Addr) -> NtResult<()> {
    iosb.region(16, false).and_then(|block| block.probe_write()).map_err(violation)
}

/// Probes the status block and the buffer of a user caller.
pub fn probe(frame: &Frame, iosb: Addr, buffer: Addr, length: u32) -> NtResult<()> {
    if frame.mode() == Mode::Kernel {
        return Ok(());
    }
    probe_block(iosb)?;
    buffer.region(length as usize, false).and_then(|out| out.probe_write()).map_err(violation)
}

/// References the file; a user caller's handle must hold one of `any_of`.
pub fn open(frame: &Frame, handle: Handle, any_of: u32) -> NtResult<Opened> {
    let (object, granted) = event::reference(frame, handle, ObjectType::File, 0, frame.mode())?;
    if frame.mode() == Mode::User && any_of != 0 && granted & any_of == 0 {
        return NtStatus::ACCESS_DENIED.fail();
    }
    let file: ObjectRef<FILE_OBJECT> = object.retype();
    let top = device::related(*file).ok_or(NtStatus::INVALID_DEVICE_REQUEST.error())?;
    Ok(Opened { file, granted, top })
}

/// Sends a request for `caller` and does what the completion contract asks for.
pub fn send(
    frame: &Frame,
    caller: &Caller,
    opened: Opened,
    major: u8,
    length: u32,
    build: impl FnOnce(Irp, Stack) -> NtResult<()>,
) -> NtResult<NtStatus> {
    let Opened { file: opened, top, .. } = opened;
    let kernel = frame.mode() == Mode::Kernel;
    if !kernel && caller.apc_routine.is_some() && opened.ptr(FILE_OBJECT::CompletionContext).is_some() {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let event = event::for_request(frame, caller.event, frame.mode())?;
    if let Some(event) = &event {
        dispatcher::clear_event(**event);
    }
    let kept = opened.clone();
    let synchronous = file::is_synchronous(*kept);
    let _lock = match file::lock_if_synchronous(frame, *kept) {
        Ok(lock) => lock,
        Err(status) => return Ok(status),
    };
    dispatcher::clear_event(opened.at(FILE_OBJECT::Event));
    let packet = irp::allocate(top.get(DEVICE_OBJECT::StackSize))?;
    packet.set(IRP::RequestorMode, frame.mode() as u8);
    packet.set_addr(IRP::Tail_Thread, frame.thread.object());
    packet.set_addr(IRP::UserIosb, caller.iosb.value());
    packet.set_code(IRP::UserApcRoutine, caller.apc_routine);
    packet.set_addr(IRP::UserApcContext, caller.apc_context);
    let stack = irp::next(packet);
    stack.set(IO_STACK_LOCATION::MajorFunction, major);
    stack.set_ptr(IO_STACK_LOCATION::FileObject, Some(*opened));
    if let Err(error) = build(packet, stack) {
        irp::release(packet);
        return Err(error);
    }
    let system = System::of(&frame.kernel);
    let span = system.begin(|| Request { length, ..file::request(frame, *opened, major) });
    own_by_service(frame, packet, 0);
    irp::set_span(packet, span);
    packet.set_ptr(IRP::Tail_OriginalFileObject, Some(opened.into_raw()));
    packet.set_ptr(IRP::UserEvent, event.map(ObjectRef::into_raw));
    let (status, result) = run_service(frame, packet, top, *kept, synchronous);
    match major {
        IRP_MJ_WRITE => count(frame, Direction::Write, result),
        _ => frame.thread.io().operation(Operation::Other),
    }
    Ok(status)
}
