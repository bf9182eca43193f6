//! Requests that a filter makes itself: FltWriteFile, FltReadFile.
//!
//! Room: drivers/fltmgr. IRQL: PASSIVE_LEVEL, <= APC_LEVEL for paging. Locks: none; the file-object lock is not taken
//! (FLT-W-35). Source: FltWriteFile page; rules FLT-W-01 to FLT-W-47, FLT-G-11.

use crate::data::BLOCK;
use crate::dispatch;
use crate::filter::Instance;
use crate::operation::{Operation, Origin, PreEnd};
use crate::volume::Volume;
use nt_abi::flt::*;
use nt_abi::io::{
    DEVICE_OBJECT, FILE_OBJECT, FO_CLEANUP_COMPLETE, FO_NO_INTERMEDIATE_BUFFERING, FO_SYNCHRONOUS_IO, FO_WRITE_THROUGH,
    IO_STACK_LOCATION, IRP, IRP_MJ_READ, IRP_MJ_WRITE, IRP_NOCACHE, IRP_PAGING_IO, IRP_READ_OPERATION,
    IRP_SYNCHRONOUS_API, IRP_SYNCHRONOUS_PAGING_IO, IRP_WRITE_OPERATION, SL_WRITE_THROUGH,
};
use nt_abi::ke::KEVENT;
use nt_abi::mm::MDL;
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Addr, Foreign};
use nt_ex::pool;
use nt_io::event::LocalEvent;
use nt_io::irp::{self, IoStatus};
use nt_io::observe::{Request, Scope};
use nt_io::system::System;
use nt_io::{device, rw, settle};
use nt_ke::{Frame, Mode, Mutex, WindowsVersion, dispatcher, irql, wait};
use nt_trace::rule;
use std::sync::Arc;

const END: i64 = -1;
const POINTER: i64 = -2;
const KNOWN_FLAGS: u32 = 0xF;

/// The arguments of FltWriteFileEx and FltReadFileEx.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// FileObject.
    pub file: Foreign<FILE_OBJECT>,
    /// *ByteOffset, if given.
    pub offset: Option<i64>,
    /// Length.
    pub length: u32,
    /// Buffer.
    pub buffer: Addr,
    /// Mdl.
    pub mdl: Option<Foreign<MDL>>,
    /// FLTFL_IO_OPERATION_*.
    pub flags: u32,
    /// *Key.
    pub key: u32,
    /// True for a write.
    pub write: bool,
}

/// What runs when an asynchronous request is complete: the callback data and the result.
pub type Completed = Box<dyn FnOnce(Foreign<FLT_CALLBACK_DATA>, IoStatus) + Send>;

/// Where the request starts, judged before anything is sent (FLT-W-08 to FLT-W-11, FLT-W-17, FLT-W-18, FLT-W-47).
fn start(frame: &Frame, transfer: &Transfer) -> NtResult<i64> {
    let synchronous = transfer.file.get(FILE_OBJECT::Flags) & FO_SYNCHRONOUS_IO != 0;
    let paging = transfer.flags & FLTFL_IO_OPERATION_PAGING != 0;
    let special = frame.kernel.windows() >= WindowsVersion::Win8;
    match transfer.offset {
        Some(at) if at >= 0 => {
            rule!(FLT_W_08);
            Ok(at)
        }
        Some(END) if transfer.write && special && !paging => {
            rule!(FLT_W_10);
            Ok(END)
        }
        Some(POINTER) if synchronous && special => {
            rule!(FLT_W_09);
            Ok(transfer.file.get(FILE_OBJECT::CurrentByteOffset))
        }
        None if synchronous => {
            rule!(FLT_W_11);
            Ok(transfer.file.get(FILE_OBJECT::CurrentByteOffset))
        }
        other => {
            match other {
                None => rule!(FLT_W_11),
                Some(END) if !transfer.write => rule!(FLT_W_42),
                Some(END | POINTER) if !special => rule!(FLT_W_17),
                Some(END) => rule!(FLT_W_47),
                Some(POINTER) => rule!(FLT_W_09),
                Some(_) => rule!(FLT_W_18),
            }
            NtStatus::INVALID_PARAMETER.fail()
        }
    }
}

/// Checks that stop the call before callback data exists (FLT-W-04 to FLT-W-06, FLT-W-25, FLT-W-26, FLT-W-31).
fn check(instance: &Instance, transfer: &Transfer) -> Result<Arc<Volume>, (NtStatus, &'static str)> {
    let refused = |why| Err((NtStatus::INVALID_PARAMETER, why));
    let flags = transfer.flags;
    if flags & !KNOWN_FLAGS != 0 {
        rule!(FLT_W_26);
        return refused("a flag that means nothing");
    }
    if flags & FLTFL_IO_OPERATION_SYNCHRONOUS_PAGING != 0 && flags & FLTFL_IO_OPERATION_PAGING == 0 {
        rule!(FLT_W_25);
        return refused("SYNCHRONOUS_PAGING without PAGING (FLT-W-25)");
    }
    if transfer.mdl.is_some() && !transfer.buffer.is_null() {
        rule!(FLT_W_40);
        return refused("both a buffer and an MDL (FLT-W-40)");
    }
    if transfer.file.addr_at(FILE_OBJECT::FsContext) == 0 {
        rule!(FLT_W_06);
        return refused("the file is not open yet (FLT-W-06)");
    }
    let volume = instance.volume.upgrade().ok_or((NtStatus::FLT_DELETING_OBJECT, "the instance's volume is gone"))?;
    if device::related(transfer.file) != Some(device::top_of_stack(volume.device)) {
        rule!(FLT_W_05);
        return refused("the file is not on the instance's volume (FLT-W-05)");
    }
    Ok(volume)
}

/// What a checked build would stop at although the call goes on (FLT-W-06, FLT-W-22, FLT-W-36).
fn doubts(volume: &Volume, transfer: &Transfer) -> Option<&'static str> {
    let flags = transfer.file.get(FILE_OBJECT::Flags);
    let paging = transfer.flags & FLTFL_IO_OPERATION_PAGING != 0;
    if flags & FO_CLEANUP_COMPLETE != 0 && !paging {
        return Some("the file is past its cleanup (FLT-W-06)");
    }
    let highest = if paging { irql::APC_LEVEL } else { irql::PASSIVE_LEVEL };
    if irql::current() > highest {
        return Some("called at too high an IRQL (FLT-W-36)");
    }
    let noncached = transfer.flags & FLTFL_IO_OPERATION_NON_CACHED != 0 || flags & FO_NO_INTERMEDIATE_BUFFERING != 0;
    let sector = i64::from(volume.lower.get(DEVICE_OBJECT::SectorSize)).max(1);
    let aligned = |value: i64| value.rem_euclid(sector) == 0;
    let buffer = transfer.buffer.value() & u64::from(volume.lower.get(DEVICE_OBJECT::AlignmentRequirement)) == 0;
    let offset = transfer.offset.is_none_or(|at| at < 0 || aligned(at));
    (noncached && !(aligned(i64::from(transfer.length)) && buffer && offset))
        .then_some("a noncached request that is not aligned (FLT-W-22)")
}

/// FltWriteFile, FltReadFile and their Ex forms. Without `callback` the call waits and returns the final result;
/// with it, it returns at once what the file system returned (FLT-W-28, FLT-W-29).
pub fn transfer(
    frame: &Frame,
    instance: &Arc<Instance>,
    transfer: &Transfer,
    callback: Option<Completed>,
) -> NtResult<IoStatus> {
    let scope = Scope::start(frame);
    let _service = settle::Service::enter();
    let waits = callback.is_none();
    let sent = send(frame, instance, transfer, callback);
    let sent = sent.map(|result| if waits { settle::settled(transfer.file, result) } else { result });
    let status = sent.as_ref().map_or_else(|error| error.status(), |result| result.status);
    let name = if transfer.write { "FltWriteFile" } else { "FltReadFile" };
    scope.end(name, status, || Request {
        major: if transfer.write { IRP_MJ_WRITE } else { IRP_MJ_READ },
        file: Some(transfer.file),
        offset: transfer.offset.unwrap_or(0),
        length: transfer.length,
        flags: 0,
        fast: false,
        generated: true,
        process: nt_ps::current_process(frame).id(),
    });
    sent
}

fn send(
    frame: &Frame,
    instance: &Arc<Instance>,
    transfer: &Transfer,
    callback: Option<Completed>,
) -> NtResult<IoStatus> {
    let report = |text: &str| System::of(&frame.kernel).finding("FLT-V-11", "warning", &instance.filter.name, text);
    let volume = check(instance, transfer).map_err(|(status, why)| {
        report(why);
        status.error()
    })?;
    let offset = start(frame, transfer)?;
    if let Some(why) = doubts(&volume, transfer) {
        report(why);
    }
    let file = transfer.file;
    let file_flags = file.get(FILE_OBJECT::Flags);
    let stack_size = volume.lower.get(DEVICE_OBJECT::StackSize) + 1;
    let packet = irp::allocate(stack_size)?;
    let mut flags = if transfer.write { IRP_WRITE_OPERATION } else { IRP_READ_OPERATION };
    if transfer.flags & FLTFL_IO_OPERATION_NON_CACHED != 0 || file_flags & FO_NO_INTERMEDIATE_BUFFERING != 0 {
        rule!(FLT_W_20);
        flags |= IRP_NOCACHE;
    }
    if transfer.flags & FLTFL_IO_OPERATION_PAGING != 0 {
        rule!(FLT_W_24);
        flags |= IRP_PAGING_IO | IRP_NOCACHE;
    }
    if transfer.flags & FLTFL_IO_OPERATION_SYNCHRONOUS_PAGING != 0 {
        flags |= IRP_SYNCHRONOUS_PAGING_IO;
    }
    if callback.is_none() {
        rule!(FLT_W_27);
        flags |= IRP_SYNCHRONOUS_API;
    }
    packet.set(IRP::Flags, flags);
    packet.set_addr(IRP::Tail_Thread, frame.thread.object());
    packet.set_ptr(IRP::Tail_OriginalFileObject, Some(file));
    // The top location is ours, as if the request had arrived at our device.
    irp::advance(packet, -1);
    let stack = irp::current(packet);
    stack.set(IO_STACK_LOCATION::MajorFunction, if transfer.write { IRP_MJ_WRITE } else { IRP_MJ_READ });
    if transfer.write && file_flags & FO_WRITE_THROUGH != 0 {
        stack.set(IO_STACK_LOCATION::Flags, SL_WRITE_THROUGH);
    }
    stack.set_ptr(IO_STACK_LOCATION::FileObject, Some(file));
    stack.set_ptr(IO_STACK_LOCATION::DeviceObject, Some(volume.device));
    stack.set(IO_STACK_LOCATION::Write_Length, transfer.length);
    stack.set(IO_STACK_LOCATION::Write_Key, transfer.key);
    stack.set(IO_STACK_LOCATION::Write_ByteOffset, offset);
    match transfer.mdl {
        Some(mdl) => packet.set_ptr(IRP::MdlAddress, Some(mdl)),
        None => {
            let direction = if transfer.write { rw::Direction::Write } else { rw::Direction::Read };
            if let Err(error) = rw::give_buffer(packet, volume.lower, direction, transfer.buffer, transfer.length, true)
            {
                irp::release(packet);
                return Err(error);
            }
        }
    }
    let system = System::of(&frame.kernel);
    let span = system.begin(|| Request {
        major: stack.get(IO_STACK_LOCATION::MajorFunction),
        file: Some(file),
        offset,
        length: transfer.length,
        flags,
        fast: false,
        generated: true,
        process: nt_ps::current_process(frame).id(),
    });
    // FLT-W-13 to FLT-W-15: the position that the caller sees is put back before anybody is told.
    let keep =
        transfer.flags & FLTFL_IO_OPERATION_DO_NOT_UPDATE_BYTE_OFFSET != 0 && file_flags & FO_SYNCHRONOUS_IO != 0;
    let launch = Launch {
        file: Some(file),
        packet,
        first: first_below(&volume, instance),
        span,
        position: keep.then(|| file.get(FILE_OBJECT::CurrentByteOffset)),
        own_mdl: transfer.mdl.is_some(),
        kind: FLTFL_CALLBACK_DATA_GENERATED_IO,
        volume,
    };
    Ok(launch.go(frame, callback)?.0)
}

/// A packet that stands in our own location, ready to go down from one of the instances.
pub(crate) struct Launch {
    pub(crate) volume: Arc<Volume>,
    pub(crate) file: Option<Foreign<FILE_OBJECT>>,
    pub(crate) packet: irp::Irp,
    /// The first instance that sees it.
    pub(crate) first: usize,
    pub(crate) span: u64,
    /// The position to put back at the end.
    pub(crate) position: Option<i64>,
    /// The packet's MDL is the caller's.
    pub(crate) own_mdl: bool,
    /// FLTFL_CALLBACK_DATA_GENERATED_IO or REISSUED_IO.
    pub(crate) kind: u32,
}

impl Launch {
    /// Sends the request. Without `callback` it waits and returns the final result; the packet is freed at the end.
    pub(crate) fn go(self, frame: &Frame, callback: Option<Completed>) -> NtResult<(IoStatus, PreEnd)> {
        let Self { volume, file, packet, first, span, position, own_mdl, kind } = self;
        let waiter = if callback.is_none() { LocalEvent::new().map(Arc::new) } else { None };
        if callback.is_none() && waiter.is_none() {
            release(packet, own_mdl);
            return NtStatus::INSUFFICIENT_RESOURCES.fail();
        }
        let outcome = Arc::new(Mutex::new(None));
        let finish = {
            let (outcome, waiter) = (Arc::clone(&outcome), waiter.clone());
            let kernel = Arc::clone(&frame.kernel);
            let callback = Mutex::new(callback);
            move |block: Foreign<BLOCK>, result: IoStatus| {
                if let (Some(position), Some(file)) = (position, file) {
                    rule!(FLT_W_13);
                    file.set(FILE_OBJECT::CurrentByteOffset, position);
                }
                System::of(&kernel).end(span, result.status, result.information);
                if let Some(callback) = callback.lock().take() {
                    callback(block.at(BLOCK::Data), result);
                }
                *outcome.lock() = Some(result); // over only when the callback is: until then the call is pending (FLT-W-30)
                release(packet, own_mdl);
                if let Some(waiter) = waiter {
                    dispatcher::set_event(waiter.event());
                }
            }
        };
        let origin = Origin::Generated(Mutex::new(Some(Box::new(finish))));
        let made = Operation::new(&volume, &frame.kernel, file, Some(packet), origin, first, span);
        let operation = match made {
            Ok(operation) => operation,
            Err(error) => {
                release(packet, own_mdl);
                return Err(error);
            }
        };
        dispatch::prepare(&operation, packet, FLTFL_CALLBACK_DATA_IRP_OPERATION | kind);
        let end = operation.run_pre();
        let status = dispatch::go_on(&operation, packet, end);
        if let Some(waiter) = waiter {
            let header = waiter.event().at(KEVENT::Header);
            let _done = wait::wait_for_single(frame, header, Mode::Kernel, false, None);
            let result = outcome.lock().take();
            return Ok((result.unwrap_or(IoStatus::new(status, 0)), end));
        }
        let done = *outcome.lock();
        Ok((done.unwrap_or(IoStatus::new(NtStatus::PENDING, 0)), end))
    }
}

/// Frees a packet of ours with the buffers that belong to it.
fn release(packet: irp::Irp, own_mdl: bool) {
    if own_mdl {
        packet.set_ptr(IRP::MdlAddress, None); // the caller keeps its MDL (FLT-W-40)
    }
    let flags = packet.get(IRP::Flags);
    if flags & nt_abi::io::IRP_DEALLOCATE_BUFFER != 0
        && let Some(buffer) = packet.ptr(IRP::AssociatedIrp_SystemBuffer)
    {
        pool::free(buffer);
    }
    if let Some(mdl) = packet.ptr(IRP::MdlAddress) {
        nt_mm::mdl::release(mdl);
    }
    irp::release(packet);
}

/// The index of the first instance below the initiating one (FLT-W-02); an instance that is gone starts where it stood.
pub(crate) fn first_below(volume: &crate::volume::Volume, instance: &Instance) -> usize {
    volume.instances().iter().take_while(|each| each.altitude >= instance.altitude).count()
}

/// FltAllocatePoolAlignedWithTag: a block that the instance's device takes in a noncached request (FLT-W-23, FLT-D-16).
#[must_use]
pub fn allocate_aligned(
    instance: Option<&Instance>,
    size: usize,
    tag: u32,
    kind: pool::PoolKind,
) -> Option<Foreign<nt_abi::Bytes>> {
    let volume = instance.and_then(|instance| instance.volume.upgrade());
    let mask = volume.map_or(0, |volume| volume.lower.get(DEVICE_OBJECT::AlignmentRequirement));
    // Every block is 16-aligned, and page-aligned from a page on, which is more than any device may ask for (511).
    pool::allocate(if mask > 15 { size.max(4096) } else { size }, tag, kind)
}

/// FltCompletePendedPreOperation for filters written in Rust.
pub fn complete_pended_pre(data: crate::data::CallbackData, answer: crate::native::PreOp) {
    let Some(operation) = crate::data::block_of(data.data()).and_then(crate::operation::of_block) else { return };
    let (status, context) = answer.told(data);
    dispatch::resume_pre(&operation, status, context);
}

/// FltCompletePendedPostOperation for filters written in Rust.
pub fn complete_pended_post(data: crate::data::CallbackData) {
    if let Some(operation) = crate::data::block_of(data.data()).and_then(crate::operation::of_block) {
        dispatch::resume_post(&operation);
    }
}
