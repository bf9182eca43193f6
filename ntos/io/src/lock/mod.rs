//! Byte-range lock services: `NtLockFile`, `NtUnlockFile`.
//!
//! Room: ntos/io. IRQL: PASSIVE_LEVEL. Locks: the file object's, for synchronous files.
//! Source: ZwLockFile, ZwUnlockFile, IRP_MJ_LOCK_CONTROL pages; rules NT-L-01 to NT-L-04, NT-T-08, NT-C table.
//! Not here: what a lock forbids (`nt_fsrtl`, asked by the volume).

pub mod exports;

use crate::irp::{self, IoStatus, Irp};
use crate::observe::{self, Request};
use crate::service::{self, Caller, store_status, violation};
use crate::system::System;
use crate::tail::{own_by_service, run_service};
use crate::{device, event, file};
use nt_abi::io::{
    DEVICE_OBJECT, FILE_OBJECT, FILE_READ_DATA, FILE_WRITE_DATA, IO_STACK_LOCATION, IRP, IRP_MJ_LOCK_CONTROL,
    IRP_MN_LOCK, IRP_MN_UNLOCK_SINGLE, IRP_SYNCHRONOUS_API, SL_EXCLUSIVE_LOCK, SL_FAIL_IMMEDIATELY,
};
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Addr, Foreign, Region};
use nt_ex::pool;
use nt_ke::{Frame, Mode, dispatcher};
use nt_ob::ObjectRef;
use nt_ob::types::ObjectType;
use nt_trace::rule;

/// The ten arguments of NtLockFile; NtUnlockFile has some of them.
#[derive(Clone, Copy, Debug)]
pub struct LockArguments {
    /// Handle, event, APC, status block.
    pub caller: Caller,
    /// ByteOffset: the address of a LARGE_INTEGER.
    pub byte_offset: Addr,
    /// Length: the address of a LARGE_INTEGER.
    pub length: Addr,
    /// Key.
    pub key: u32,
    /// FailImmediately.
    pub fail_immediately: bool,
    /// ExclusiveLock.
    pub exclusive: bool,
}

/// What both services check: handle, right, addresses.
struct Opened {
    file: ObjectRef<FILE_OBJECT>,
    top: device::Device,
    start: i64,
    length: i64,
}

fn open(frame: &Frame, args: &LockArguments) -> NtResult<Opened> {
    let kernel = frame.mode() == Mode::Kernel;
    let (object, granted) = event::reference(frame, args.caller.handle, ObjectType::File, 0, frame.mode())?;
    let file: ObjectRef<FILE_OBJECT> = object.retype();
    let number = |at: Addr| at.load(kernel).map_err(violation);
    if !kernel {
        if granted & (FILE_READ_DATA | FILE_WRITE_DATA) == 0 {
            rule!(NT_L_01);
            return NtStatus::ACCESS_DENIED.fail();
        }
        service::probe_block(args.caller.iosb)?;
    }
    let (start, length) = (number(args.byte_offset)?, number(args.length)?);
    let top = device::related(*file).ok_or(NtStatus::INVALID_DEVICE_REQUEST.error())?;
    Ok(Opened { file, top, start, length })
}

/// Builds a lock packet; its length lies in a block of its own that goes with the packet (Tail.Overlay.AuxiliaryBuffer).
fn build(frame: &Frame, opened: &Opened, args: &LockArguments, minor: u8) -> NtResult<Irp> {
    let length = pool::allocate(8, pool::tag(b"IoLk"), pool::PoolKind::NonPaged);
    let length = length.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    let packet = irp::allocate(opened.top.get(DEVICE_OBJECT::StackSize)).inspect_err(|_| pool::free(length))?;
    let _own = Region::pool(length, 8).store::<i64>(0, opened.length);
    packet.set_ptr(IRP::Tail_AuxiliaryBuffer, Some(length));
    packet.set(IRP::RequestorMode, frame.mode() as u8);
    packet.set_addr(IRP::Tail_Thread, frame.thread.object());
    let stack = irp::next(packet);
    stack.set(IO_STACK_LOCATION::MajorFunction, IRP_MJ_LOCK_CONTROL);
    stack.set(IO_STACK_LOCATION::MinorFunction, minor);
    let bit = |set: bool, flag: u8| if set { flag } else { 0 };
    let flags = bit(args.fail_immediately, SL_FAIL_IMMEDIATELY) | bit(args.exclusive, SL_EXCLUSIVE_LOCK);
    stack.set(IO_STACK_LOCATION::Flags, flags);
    stack.set_ptr(IO_STACK_LOCATION::FileObject, Some(*opened.file));
    stack.set_ptr(IO_STACK_LOCATION::LockControl_Length, Some(length));
    stack.set(IO_STACK_LOCATION::LockControl_Key, args.key);
    stack.set(IO_STACK_LOCATION::LockControl_ByteOffset, opened.start);
    Ok(packet)
}

fn observed(frame: &Frame, opened: &Opened) -> Request {
    let length = u32::try_from(opened.length).unwrap_or(u32::MAX);
    Request { offset: opened.start, length, ..file::request(frame, *opened.file, IRP_MJ_LOCK_CONTROL) }
}

/// NtLockFile: waits when another owner holds the range, unless it should fail at once; PENDING on an asynchronous
/// handle (NT-L-01).
#[must_use]
pub fn nt_lock_file(frame: &Frame, args: &LockArguments) -> NtStatus {
    observe::service(frame, "NtLockFile", IRP_MJ_LOCK_CONTROL, args.caller.handle, || lock(frame, args))
}

fn lock(frame: &Frame, args: &LockArguments) -> NtResult<NtStatus> {
    let opened = open(frame, args)?;
    if args.caller.apc_routine.is_some() && opened.file.ptr(FILE_OBJECT::CompletionContext).is_some() {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let event = event::for_request(frame, args.caller.event, frame.mode())?;
    if let Some(event) = &event {
        dispatcher::clear_event(**event);
    }
    let kept = opened.file.clone();
    let synchronous = file::is_synchronous(*kept);
    let _lock = match file::lock_if_synchronous(frame, *kept) {
        Ok(lock) => lock,
        Err(status) => return Ok(status),
    };
    rule!(NT_T_08);
    opened.file.set(FILE_OBJECT::LockOperation, 1);
    dispatcher::clear_event(opened.file.at(FILE_OBJECT::Event));
    let packet = build(frame, &opened, args, IRP_MN_LOCK)?;
    packet.set_addr(IRP::UserIosb, args.caller.iosb.value());
    packet.set_code(IRP::UserApcRoutine, args.caller.apc_routine);
    packet.set_addr(IRP::UserApcContext, args.caller.apc_context);
    let system = System::of(&frame.kernel);
    let span = system.begin(|| observed(frame, &opened));
    own_by_service(frame, packet, 0);
    irp::set_span(packet, span);
    packet.set_ptr(IRP::Tail_OriginalFileObject, Some(opened.file.into_raw()));
    packet.set_ptr(IRP::UserEvent, event.map(ObjectRef::into_raw));
    let (status, _) = run_service(frame, packet, opened.top, *kept, synchronous);
    Ok(status)
}

/// NtUnlockFile: synchronous on every handle; RANGE_NOT_LOCKED leaves the status block alone (NT-L-03).
#[must_use]
pub fn nt_unlock_file(frame: &Frame, args: &LockArguments) -> NtStatus {
    observe::service(frame, "NtUnlockFile", IRP_MJ_LOCK_CONTROL, args.caller.handle, || unlock(frame, args))
}

fn unlock(frame: &Frame, args: &LockArguments) -> NtResult<NtStatus> {
    let opened = open(frame, args)?;
    let _lock = if file::is_synchronous(*opened.file) { file::lock(frame, *opened.file).ok() } else { None };
    let packet = build(frame, &opened, args, IRP_MN_UNLOCK_SINGLE)?;
    packet.set(IRP::Flags, IRP_SYNCHRONOUS_API);
    packet.set_ptr(IRP::Tail_OriginalFileObject, Some(*opened.file));
    let system = System::of(&frame.kernel);
    let span = system.begin(|| observed(frame, &opened));
    irp::set_span(packet, span);
    let result = file::send_for_result(frame, packet, opened.top);
    system.end(span, result.status, result.information);
    if result.status.is_error() {
        return Ok(result.status);
    }
    store_status(args.caller.iosb, frame.mode() == Mode::Kernel, IoStatus::new(result.status, 0))?;
    Ok(result.status)
}

/// Frees the block that a lock packet's length lies in; called when the packet ends.
pub(crate) fn free_auxiliary(packet: Irp) {
    if let Some(block) = packet.ptr(IRP::Tail_AuxiliaryBuffer) {
        packet.set_ptr(IRP::Tail_AuxiliaryBuffer, None::<Foreign<nt_abi::Bytes>>);
        pool::free(block);
    }
}
