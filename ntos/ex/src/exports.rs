//! The Ex names that ntoskrnl.exe exports: pool, raising, times. Locks, lists and timers stand in their own rooms.
//!
//! Room: ntos/ex. Called by: compiled drivers. IRQL: as each DDI page says. Locks: none. Source: the routines' DDI pages.
#![expect(unsafe_code, reason = "entry points that take raw pointers: SOUNDNESS.md, S-3 and S-4")]

use crate::pool::{self, PoolKind};
use nt_abi::NtStatus;
use nt_cell::{CodePtr, Foreign, Region, exports, raise};

pub(crate) fn at<T>(address: u64) -> Option<Foreign<T>> {
    // SAFETY: S-3: a driver's pointer is taken at its word here; what lies there is reached by atomics only.
    unsafe { Foreign::from_raw(address) }
}

pub(crate) fn code(address: u64) -> Option<CodePtr> {
    // SAFETY: the driver gave it as a routine of the documented arity; the border answers for faults (S-3).
    unsafe { CodePtr::from_raw(address) }
}

/// POOL_TYPE: the low bit tells paged pool.
pub(crate) fn kind_of(pool_type: u32) -> PoolKind {
    if pool_type & 1 != 0 { PoolKind::Paged } else { PoolKind::NonPaged }
}

pub(crate) fn allocate(kind: PoolKind, bytes: u64, tag: u32) -> u64 {
    usize::try_from(bytes).ok().and_then(|bytes| pool::allocate(bytes, tag, kind)).map_or(0, Foreign::addr)
}

pub(crate) fn free(block: u64) {
    if let Some(block) = at::<nt_abi::Bytes>(block) {
        pool::free(block);
    }
}

exports! { "ntoskrnl.exe" =>
    Full code ExAllocatePoolWithTag(pool_type: u32, bytes: u64, tag: u32) -> u64 { allocate(kind_of(pool_type), bytes, tag) }
    Full code ExAllocatePool(pool_type: u32, bytes: u64) -> u64 { allocate(kind_of(pool_type), bytes, pool::tag(b"None")) }
    Full raises ExAllocatePoolWithQuotaTag(pool_type: u32, bytes: u64, tag: u32) -> u64 {
        let block = allocate(kind_of(pool_type), bytes, tag);
        if block == 0 && pool_type & 8 == 0 { raise::raise(NtStatus::INSUFFICIENT_RESOURCES); }
        block
    }
    Full raises ExAllocatePool2(flags: u64, bytes: u64, tag: u32) -> u64 {
        let kind = if flags & 0x100 != 0 { PoolKind::Paged } else { PoolKind::NonPaged };
        let block = if bytes == 0 || tag == 0 { 0 } else { allocate(kind, bytes, tag) };
        if block == 0 && flags & 0x20 != 0 { raise::raise(NtStatus::INSUFFICIENT_RESOURCES); }
        block
    }
    Full code ExFreePool(block: u64) { free(block); }
    Full code ExFreePoolWithTag(block: u64, _tag: u32) { free(block); }
    Full code ExGetPreviousMode() -> u8 { nt_ke::current().mode() as u8 }
    Full raises ExRaiseStatus(status: u32) { raise::raise(NtStatus(status)); }
    Full raises ExRaiseAccessViolation() { raise::raise(NtStatus::ACCESS_VIOLATION); }
    Full raises ExRaiseDatatypeMisalignment() { raise::raise(NtStatus::DATATYPE_MISALIGNMENT); }
    Full code ExQueueWorkItem(item: u64, _queue: u32) {
        if let Some(item) = at(item) { crate::workitem::queue(&nt_ke::current().kernel, item); }
    }
    Full code ExSystemTimeToLocalTime(system: u64, local: u64) { copy_time(system, local); }
    Full code ExLocalTimeToSystemTime(local: u64, system: u64) { copy_time(local, system); }
}

/// The machine's time zone is UTC.
fn copy_time(from: u64, to: u64) {
    // SAFETY: S-3: the caller answers for both addresses; load and store are guarded.
    let at = |address| unsafe { Region::from_raw(address, 8) };
    if let Ok(time) = at(from).load::<i64>(0) {
        let _gone = at(to).store::<i64>(0, time);
    }
}
