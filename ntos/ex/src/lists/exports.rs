//! The names of interlocked lists, SLISTs and lookaside lists.
//!
//! Room: ntos/ex. Called by: compiled drivers, also through `Allocate` and `Free` of a lookaside list. IRQL: as each DDI page
//! says. Locks: drivers' spin locks. An address that arrives here is a driver's word (S-3).
#![expect(unsafe_code, reason = "entry points that take raw pointers: SOUNDNESS.md, S-3 and S-4")]

use super::{Lookaside, Spec};
use crate::exports::{allocate, at, code, free, kind_of};
use crate::slist::{self, Head};
use nt_abi::ke::{SLIST_ENTRY, SLIST_HEADER};
use nt_abi::{Bytes, NtStatus};
use nt_cell::{CodePtr, Foreign, Region, exports, raise};
use nt_ke::spin;

/// POOL_RAISE_IF_ALLOCATION_FAILURE.
const RAISE: u32 = 16;
/// Flags of ExInitializeLookasideListEx.
const EX_RAISE_ON_FAIL: u32 = 1;
const EX_FAIL_NO_RAISE: u32 = 2;

nt_cell::thunk! {
    /// What gives blocks to a list that has no routine of its own.
    default_allocate, lookaside_allocate(pool_type: u32, bytes: u64, tag: u32) -> u64 {
        allocate(kind_of(pool_type), u64::from(bytes as u32), tag)
    }
}
nt_cell::thunk! {
    /// What takes them back.
    default_free, lookaside_free(block: u64) -> u64 { free(block); 0 }
}

/// The eight bytes of a link, read under guard: another pop may have freed the entry.
fn link(entry: u64) -> Option<Region> {
    // SAFETY: S-3: the address stood in a list head of the driver; the read is guarded.
    Some(unsafe { Region::from_raw(entry, 8) })
}

/// A list head; one that is not aligned raises, as the routine that makes it does on Windows.
fn head(address: u64) -> Option<Head> {
    if !address.is_multiple_of(16) {
        raise::raise(NtStatus::DATATYPE_MISALIGNMENT);
        return None;
    }
    at::<SLIST_HEADER>(address)
}

fn make(list: u64, allocate: u64, free: u64, pool_type: u32, size: u64, tag: u32) {
    let Some(list) = at(list) else { return };
    let (allocate, free): (Option<CodePtr>, Option<CodePtr>) = (code(allocate), code(free));
    let spec = Spec {
        pool_type,
        size: size as u32,
        tag,
        allocate: allocate.or_else(|| Some(default_allocate())),
        free: free.or_else(|| Some(default_free())),
    };
    super::initialize(list, &spec);
}

fn make_ex(list: u64, allocate: u64, free: u64, pool_type: u32, flags: u32, size: u64, tag: u32) -> NtStatus {
    if flags & EX_RAISE_ON_FAIL != 0 && flags & EX_FAIL_NO_RAISE != 0
        || flags & !(EX_RAISE_ON_FAIL | EX_FAIL_NO_RAISE) != 0
    {
        return NtStatus::INVALID_PARAMETER_5;
    }
    if size < SLIST_ENTRY::SIZE as u64 {
        return NtStatus::INVALID_PARAMETER_6;
    }
    let raise = if flags & EX_RAISE_ON_FAIL != 0 { RAISE } else { 0 };
    make(list, allocate, free, pool_type | raise, size, tag);
    NtStatus::SUCCESS
}

/// ExInitializeNPagedLookasideList or its paged twin, without routines of the caller's.
pub fn initialize(list: Lookaside, pool_type: u32, size: u32, tag: u32) {
    let (allocate, free) = (Some(default_allocate()), Some(default_free()));
    super::initialize(list, &Spec { pool_type, size, tag, allocate, free });
}

/// A block of the list's size: one that it kept, or a new one, as what was there before left it.
#[must_use]
pub fn take(list: Lookaside) -> Option<Foreign<Bytes>> {
    at(super::allocate(list, link))
}

/// ExDeleteNPagedLookasideList or its paged twin: the blocks that it kept are freed.
pub fn delete(list: Lookaside) {
    super::flush(list, link);
}

fn on(list: u64, body: impl FnOnce(Lookaside)) {
    if let Some(list) = at(list) {
        body(list);
    }
}

/// Two structures and their spin lock.
fn locked<T, U>(list: u64, entry: u64, lock: u64, body: impl FnOnce(Foreign<T>, Foreign<U>) -> u64) -> u64 {
    match (at(list), at(entry), at(lock)) {
        (Some(list), Some(entry), Some(lock)) => spin::with(lock, || body(list, entry)),
        _ => 0,
    }
}

nt_abi::layout! {
    /// A ULONG.
    pub struct LONG_CELL: 0x04 align 4 {
        /// Its value.
        Value @ 0x00: u32;
    }
    /// A LARGE_INTEGER.
    pub struct LARGE_CELL: 0x08 {
        /// Its value.
        Value @ 0x00: i64;
    }
}

exports! { "ntoskrnl.exe" =>
    Full raises InitializeSListHead(list: u64) { if let Some(head) = head(list) { slist::initialize(head); } }
    Full code ExQueryDepthSList(list: u64) -> u16 { at::<SLIST_HEADER>(list).map_or(0, slist::depth) }
    Full code RtlFirstEntrySList(list: u64) -> u64 { at::<SLIST_HEADER>(list).map_or(0, slist::first) }
    Full raises ExpInterlockedPopEntrySList(list: u64) -> u64 { head(list).map_or(0, |head| slist::pop(head, link)) }
    Full raises ExpInterlockedPushEntrySList(list: u64, entry: u64) -> u64 {
        match (head(list), at::<SLIST_ENTRY>(entry)) {
            (Some(head), Some(entry)) => slist::push(head, entry),
            _ => 0,
        }
    }
    Full raises ExpInterlockedFlushSList(list: u64) -> u64 { head(list).map_or(0, slist::flush) }
    Full code ExInterlockedInsertHeadList(list: u64, entry: u64, lock: u64) -> u64 { locked(list, entry, lock, |list, entry| super::insert(list, entry, true)) }
    Full code ExInterlockedInsertTailList(list: u64, entry: u64, lock: u64) -> u64 { locked(list, entry, lock, |list, entry| super::insert(list, entry, false)) }
    Full code ExInterlockedRemoveHeadList(list: u64, lock: u64) -> u64 { locked(list, list, lock, |list, _: Foreign<u8>| super::remove_head(list)) }
    Full code ExInterlockedPushEntryList(list: u64, entry: u64, lock: u64) -> u64 { locked(list, entry, lock, super::push_single) }
    Full code ExInterlockedPopEntryList(list: u64, lock: u64) -> u64 { locked(list, list, lock, |list, _: Foreign<u8>| super::pop_single(list)) }
    Full code ExInterlockedAddUlong(value: u64, more: u32, _lock: u64) -> u32 {
        at::<LONG_CELL>(value).map_or(0, |value| value.add_u32(LONG_CELL::Value, more))
    }
    Full code ExInterlockedAddLargeInteger(value: u64, more: i64, _lock: u64) -> i64 {
        at::<LARGE_CELL>(value).map_or(0, |value| value.add64(LARGE_CELL::Value, more))
    }
    Partial("an allocation of inline code that fails does not raise") code ExInitializeNPagedLookasideList(list: u64, allocate: u64, free: u64, flags: u32, size: u64, tag: u32, _depth: u16) {
        make(list, allocate, free, flags & (RAISE | 512), size, tag);
    }
    Partial("an allocation of inline code that fails does not raise") code ExInitializePagedLookasideList(list: u64, allocate: u64, free: u64, flags: u32, size: u64, tag: u32, _depth: u16) {
        make(list, allocate, free, 1 | flags & RAISE, size, tag);
    }
    Partial("an allocation of inline code that fails does not raise") code ExInitializeLookasideListEx(list: u64, allocate: u64, free: u64, pool_type: u32, flags: u32, size: u64, tag: u32, _depth: u16) -> u32 {
        make_ex(list, allocate, free, pool_type, flags, size, tag).0
    }
    Full code ExDeleteNPagedLookasideList(list: u64) { on(list, |list| super::flush(list, link)); }
    Full code ExDeletePagedLookasideList(list: u64) { on(list, |list| super::flush(list, link)); }
    Full code ExDeleteLookasideListEx(list: u64) { on(list, |list| super::flush(list, link)); }
    Full code ExFlushLookasideListEx(list: u64) { on(list, |list| super::flush(list, link)); }
    Full raises ExAllocateFromLookasideListEx(list: u64) -> u64 {
        let Some(list) = at::<nt_abi::ke::LOOKASIDE_LIST_EX>(list) else { return 0 };
        let block = super::allocate(list, link);
        if block == 0 && list.get(nt_abi::ke::LOOKASIDE_LIST_EX::Type) & RAISE != 0 { raise::raise(NtStatus::INSUFFICIENT_RESOURCES); }
        block
    }
    Full code ExFreeToLookasideListEx(list: u64, block: u64) {
        if let (Some(list), Some(block)) = (at(list), at(block)) { super::free(list, block); }
    }
}
