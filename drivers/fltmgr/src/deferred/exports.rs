//! The names of FLTMGR.SYS for work items, cancel completions and status callbacks.
//!
//! Room: drivers/fltmgr. Called by: compiled minifilters. IRQL: as each DDI page says. Locks: none.
//! Addresses become typed by `crate::exports`, which answers for them.

use crate::exports::{at, code, operation_of, status};
use crate::filter::{self, Opaque};
use nt_abi::flt::FLT_CALLBACK_DATA;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Foreign, callout, exports};
use nt_ex::pool;
use nt_ke::work::WorkQueue;
use std::sync::atomic::Ordering;

nt_abi::layout! {
    /// A work item of either kind.
    pub struct ITEM: 0x20 {
        /// [`MARK`].
        Mark @ 0x00: u64;
        /// 1 while it is queued.
        Busy @ 0x08: u32;
    }
}
const MARK: u64 = 0x464C_545F_5749_0000;

fn allocate() -> u64 {
    let item = pool::zeroed::<ITEM>(pool::tag(b"FMwi"));
    item.inspect(|item| item.set(ITEM::Mark, MARK)).map_or(0, Foreign::addr)
}

fn item_at(address: u64) -> NtResult<Foreign<ITEM>> {
    let item = at::<ITEM>(address).filter(|item| item.get(ITEM::Mark) == MARK);
    item.ok_or(NtStatus::INVALID_PARAMETER.error())
}

fn free(address: u64) {
    if let Ok(item) = item_at(address) {
        item.set(ITEM::Mark, 0);
        pool::free(item);
    }
}

fn queue_deferred(address: u64, data: u64, routine: u64, context: u64) -> NtResult<NtStatus> {
    let (item, routine) = (item_at(address)?, code(routine).ok_or(NtStatus::INVALID_PARAMETER.error())?);
    let unsafe_to_post = NtStatus::FLT_NOT_SAFE_TO_POST_OPERATION.error();
    let operation = operation_of(data).ok_or(unsafe_to_post)?;
    super::queue(&operation, move || {
        let _raised = callout::call(routine, &[item.addr(), data, context]);
    })?;
    Ok(NtStatus::SUCCESS)
}

fn queue_generic(address: u64, object: u64, routine: u64, context: u64) -> NtResult<NtStatus> {
    let (item, routine) = (item_at(address)?, code(routine).ok_or(NtStatus::INVALID_PARAMETER.error())?);
    let body = at::<Bytes>(object).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let going = match filter::look_up(body) {
        Some(Opaque::Filter(filter)) => filter.going.load(Ordering::Acquire),
        Some(Opaque::Instance(instance)) => instance.going.load(Ordering::Acquire),
        _ => true,
    };
    if going {
        return NtStatus::FLT_DELETING_OBJECT.fail();
    }
    let kept = nt_ob::object::reference(body);
    let frame = nt_ke::current();
    WorkQueue::queue(&frame.kernel, move || {
        let _raised = callout::call(routine, &[item.addr(), kept.body().addr(), context]);
    });
    Ok(NtStatus::SUCCESS)
}

fn set_cancel(data: u64, routine: u64) -> NtResult<NtStatus> {
    let operation = operation_of(data).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let routine = code(routine).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    super::set_cancel(&operation, routine).map(|()| NtStatus::SUCCESS)
}

fn request_status(data: u64, routine: u64, context: u64) -> NtResult<NtStatus> {
    let data = at::<FLT_CALLBACK_DATA>(data).map(Foreign::addr).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let operation = operation_of(data).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let routine = code(routine).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    super::request_status(&operation, routine, context).map(|()| NtStatus::SUCCESS)
}

exports! { "fltmgr.sys" =>
    Full code FltAllocateDeferredIoWorkItem() -> u64 { allocate() }
    Full code FltFreeDeferredIoWorkItem(item: u64) { free(item); }
    Full code FltQueueDeferredIoWorkItem(item: u64, data: u64, routine: u64, _queue: u32, context: u64) -> u32 {
        status(queue_deferred(item, data, routine, context))
    }
    Full code FltAllocateGenericWorkItem() -> u64 { allocate() }
    Full code FltFreeGenericWorkItem(item: u64) { free(item); }
    Full code FltQueueGenericWorkItem(item: u64, object: u64, routine: u64, _queue: u32, context: u64) -> u32 {
        status(queue_generic(item, object, routine, context))
    }
    Full code FltSetCancelCompletion(data: u64, routine: u64) -> u32 { status(set_cancel(data, routine)) }
    Full code FltClearCancelCompletion(data: u64) -> u32 {
        let operation = operation_of(data).ok_or(NtStatus::INVALID_PARAMETER.error());
        status(operation.and_then(|operation| super::clear_cancel(&operation)).map(|()| NtStatus::SUCCESS))
    }
    Full code FltRequestOperationStatusCallback(data: u64, routine: u64, context: u64) -> u32 { status(request_status(data, routine, context)) }
}
