//! Work that a filter puts off: work items, cancel completions, callbacks about an operation's status.
//!
//! Room: drivers/fltmgr. Called by: `exports`, filters written in Rust. Calls: the machine's worker threads. IRQL: queued at
//! <= DISPATCH_LEVEL, run at PASSIVE_LEVEL. Locks: none while a routine runs.
//! Source: FltQueueDeferredIoWorkItem, FltQueueGenericWorkItem, FltSetCancelCompletion, FltRequestOperationStatusCallback
//! pages; rules FLT-Q-08, FLT-Q-09, FLT-D-15, FLT-G-07, FLT-O-21.

pub mod exports;

use crate::data::{BLOCK, CallbackData};
use crate::filter::{Instance, related};
use crate::operation::Operation;
use nt_abi::flt::*;
use nt_abi::io::{IRP, IRP_MJ_CLOSE, IRP_PAGING_IO};
use nt_abi::{NtResult, NtStatus};
use nt_cell::{CodePtr, Foreign, callout};
use nt_ex::pool;
use nt_io::cancelable::{self, Keeper, routine_of};
use nt_io::irp::Irp;
use nt_ke::work::WorkQueue;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// May a worker continue the operation? Packets only, no paging, no request inside another file system (FLT-Q-08).
pub(crate) fn postable(operation: &Operation) -> NtResult<Irp> {
    let refused = NtStatus::FLT_NOT_SAFE_TO_POST_OPERATION.error();
    let packet = operation.packet.ok_or(refused)?;
    let paging = packet.get(IRP::Flags) & IRP_PAGING_IO != 0;
    if paging || nt_ke::current().thread.top_level() != 0 {
        return Err(refused);
    }
    Ok(packet)
}

fn alive(operation: &Operation) -> NtResult<()> {
    let target = operation.block.at(BLOCK::Iopb).ptr(FLT_IO_PARAMETER_BLOCK::TargetInstance);
    match crate::filter::instance_at(target.map(Foreign::view)) {
        Some(instance) if !instance.going.load(Ordering::Acquire) => Ok(()),
        _ => NtStatus::FLT_DELETING_OBJECT.fail(),
    }
}

/// FltQueueDeferredIoWorkItem: `work` runs in a worker thread, with the operation still held by the filter.
pub(crate) fn queue(operation: &Arc<Operation>, work: impl FnOnce() + Send + 'static) -> NtResult<()> {
    let _packet = postable(operation)?;
    alive(operation)?;
    let held = Arc::clone(operation);
    WorkQueue::queue(&operation.kernel, move || {
        work();
        drop(held);
    });
    Ok(())
}

impl CallbackData {
    /// FltQueueDeferredIoWorkItem: the caller then returns PENDING or MORE_PROCESSING_REQUIRED.
    pub fn queue_work(self, work: impl FnOnce(Self) + Send + 'static) -> NtResult<()> {
        let operation = crate::data::block_of(self.data()).and_then(crate::operation::of_block);
        queue(&operation.ok_or(NtStatus::FLT_NOT_SAFE_TO_POST_OPERATION.error())?, move || work(self))
    }
}

/// FltSetCancelCompletion: the routine runs when the packet is cancelled while the filter holds it (FLT-D-15).
pub(crate) fn set_cancel(operation: &Operation, routine: CodePtr) -> NtResult<()> {
    let packet = operation.packet.ok_or(NtStatus::INVALID_PARAMETER.error())?;
    *operation.cancel.lock() = Some(routine);
    packet.set(IRP::Tail_DriverContext.index(2), operation.key);
    if cancelable::set_routine(packet, routine_of::<Deferred>()) {
        operation.cancel.lock().take();
        return NtStatus::CANCELLED.fail();
    }
    Ok(())
}

/// FltClearCancelCompletion: CANCELLED when the routine runs already.
pub(crate) fn clear_cancel(operation: &Operation) -> NtResult<()> {
    let packet = operation.packet.ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let taken = cancelable::take_routine(packet);
    operation.cancel.lock().take();
    if !taken && packet.get(IRP::Cancel) != 0 { NtStatus::CANCELLED.fail() } else { Ok(()) }
}

struct Deferred;

impl Keeper for Deferred {
    fn cancelled(packet: Irp) {
        let Some(operation) = crate::operation::by_key(packet.get(IRP::Tail_DriverContext.index(2))) else { return };
        let routine = operation.cancel.lock().take();
        if let Some(routine) = routine {
            let _raised = callout::call(routine, &[operation.block.at(BLOCK::Data).addr()]);
        }
    }
}

/// Somebody who wants to know what the drivers below returned (FLT-G-07).
#[derive(Clone)]
pub(crate) struct StatusRequest {
    instance: Arc<Instance>,
    routine: CodePtr,
    context: u64,
}

/// FltRequestOperationStatusCallback: from a pre callback, for a packet that is no close.
pub(crate) fn request_status(operation: &Operation, routine: CodePtr, context: u64) -> NtResult<()> {
    let data = CallbackData::new(operation.block);
    let post = data.flags() & FLTFL_CALLBACK_DATA_POST_OPERATION != 0;
    if post || operation.packet.is_none() || data.major() == IRP_MJ_CLOSE {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    alive(operation)?;
    let instance = data.target_instance().ok_or(NtStatus::FLT_DELETING_OBJECT.error())?;
    operation.watchers.lock().push(StatusRequest { instance, routine, context });
    Ok(())
}

/// Calls those who asked, in the thread that sent the request, with the parameters and the status it returned.
pub(crate) fn tell_status(operation: &Operation, snapshot: &crate::data::Snapshot, status: NtStatus) {
    let watchers = std::mem::take(&mut *operation.watchers.lock());
    for watcher in watchers {
        let (Ok(objects), Ok(copy)) = (related(&watcher.instance, &operation.volume), crate::data::allocate(0, None))
        else {
            continue;
        };
        crate::data::restore(copy, snapshot);
        let iopb = copy.at(BLOCK::Iopb);
        objects.set_ptr(FLT_RELATED_OBJECTS::FileObject, iopb.ptr(FLT_IO_PARAMETER_BLOCK::TargetFileObject));
        let arguments = [objects.addr(), iopb.addr(), u64::from(status.0), watcher.context];
        let _raised = callout::call(watcher.routine, &arguments);
        copy.set(BLOCK::Mark, 0);
        pool::free(copy);
        pool::free(objects);
    }
}
