//! The Ex names that ntoskrnl.exe exports: pool, lookaside lists, fast mutexes, raising.
//!
//! Room: ntos/ex. Called by: compiled drivers. IRQL: as each DDI page says. Locks: drivers' own.
//! Source: the routines' DDI pages. Lists of free blocks are not kept: a lookaside list allocates from the pool, whose
//! per-thread lists serve the same end; the header fields that its inline macros read are filled in.
#![expect(unsafe_code, reason = "entry points that take raw pointers: SOUNDNESS.md, S-3 and S-4")]

use crate::pool::{self, PoolKind};
use crate::resource;
use nt_abi::NtStatus;
use nt_abi::ke::{FAST_MUTEX, KEVENT};
use nt_cell::{CodePtr, Foreign, callout, exports, kpcr, raise};
use nt_ke::dispatcher::{self, EventType};
use nt_ke::{Mode, irql, wait};

fn at<T>(address: u64) -> Option<Foreign<T>> {
    // SAFETY: S-3: a driver's pointer is taken at its word here; what lies there is reached by atomics only.
    unsafe { Foreign::from_raw(address) }
}

fn code(address: u64) -> Option<CodePtr> {
    // SAFETY: the driver gave it as a routine of the documented arity; the border answers for faults (S-3).
    unsafe { CodePtr::from_raw(address) }
}

/// POOL_TYPE: the low bit tells paged pool.
fn kind_of(pool_type: u32) -> PoolKind {
    if pool_type & 1 != 0 { PoolKind::Paged } else { PoolKind::NonPaged }
}

fn allocate(kind: PoolKind, bytes: u64, tag: u32) -> u64 {
    usize::try_from(bytes).ok().and_then(|bytes| pool::allocate(bytes, tag, kind)).map_or(0, Foreign::addr)
}

fn free(block: u64) {
    if let Some(block) = at::<nt_abi::Bytes>(block) {
        pool::free(block);
    }
}

nt_abi::layout! {
    /// GENERAL_LOOKASIDE, as the inline allocation macros read it.
    pub struct LOOKASIDE: 0x80 align 16 {
        /// The list of free blocks; always empty here.
        ListHead @ 0x00: [u64; 2];
        /// Depth.
        Depth @ 0x10: u16;
        /// MaximumDepth.
        MaximumDepth @ 0x12: u16;
        /// TotalAllocates.
        TotalAllocates @ 0x14: u32;
        /// AllocateMisses.
        AllocateMisses @ 0x18: u32;
        /// TotalFrees.
        TotalFrees @ 0x1C: u32;
        /// FreeMisses.
        FreeMisses @ 0x20: u32;
        /// Type.
        Type @ 0x24: u32;
        /// Tag.
        Tag @ 0x28: u32;
        /// Size.
        Size @ 0x2C: u32;
        /// AllocateEx.
        Allocate @ 0x30: nt_abi::Code;
        /// FreeEx.
        Free @ 0x38: nt_abi::Code;
    }
    /// Eight bytes: an SLIST_ENTRY.
    pub struct LINK: 0x08 {
        /// Next.
        Next @ 0x00: u64;
        /// The same bytes of a list head: how many entries hang on it.
        Depth @ 0x00: i64;
    }
}

fn initialize_lookaside(list: u64, allocate: u64, release: u64, size: u64, tag: u32, paged: bool) {
    let Some(list) = at::<LOOKASIDE>(list) else { return };
    list.set(LOOKASIDE::ListHead.index(0), 0);
    list.set(LOOKASIDE::ListHead.index(1), 0);
    // Depth 0: the inline free macro hands every block to Free, so the list stays empty.
    list.set(LOOKASIDE::Depth, 0);
    list.set(LOOKASIDE::MaximumDepth, 0);
    for counter in [LOOKASIDE::TotalAllocates, LOOKASIDE::AllocateMisses, LOOKASIDE::TotalFrees, LOOKASIDE::FreeMisses]
    {
        list.set(counter, 0);
    }
    list.set(LOOKASIDE::Type, u32::from(paged));
    list.set(LOOKASIDE::Tag, tag);
    list.set(LOOKASIDE::Size, size as u32);
    // The macros call these when the list is empty, which it always is.
    list.set_code(LOOKASIDE::Allocate, code(allocate).or_else(allocate_routine));
    list.set_code(LOOKASIDE::Free, code(release).or_else(free_routine));
}

extern "win64" fn lookaside_allocate(pool_type: u32, bytes: u64, tag: u32) -> u64 {
    nt_cell::export::body("ExAllocatePoolWithTag", move || allocate(kind_of(pool_type), bytes, tag))
}
extern "win64" fn lookaside_free(block: u64) {
    nt_cell::export::body("ExFreePool", move || free(block));
}
fn allocate_routine() -> Option<CodePtr> {
    let routine: extern "win64" fn(u32, u64, u32) -> u64 = lookaside_allocate;
    code(routine as usize as u64)
}
fn free_routine() -> Option<CodePtr> {
    let routine: extern "win64" fn(u64) = lookaside_free;
    code(routine as usize as u64)
}

fn acquire_fast_mutex(mutex: Foreign<FAST_MUTEX>) {
    let frame = nt_ke::current();
    if mutex.add32(FAST_MUTEX::Count, -1) != 1 {
        let event = mutex.at(FAST_MUTEX::Event).at(KEVENT::Header);
        let _status = wait::wait_for_single(&frame, event, Mode::Kernel, false, None);
    }
    mutex.set_addr(FAST_MUTEX::Owner, frame.thread.object());
}

fn release_fast_mutex(mutex: Foreign<FAST_MUTEX>) {
    mutex.set_addr(FAST_MUTEX::Owner, 0);
    if mutex.add32(FAST_MUTEX::Count, 1) != 0 {
        dispatcher::set_event(mutex.at(FAST_MUTEX::Event));
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
    Full code ExInitializeNPagedLookasideList(list: u64, allocate: u64, free: u64, _flags: u32, size: u64, tag: u32, _depth: u16) {
        initialize_lookaside(list, allocate, free, size, tag, false);
    }
    Full code ExInitializePagedLookasideList(list: u64, allocate: u64, free: u64, _flags: u32, size: u64, tag: u32, _depth: u16) {
        initialize_lookaside(list, allocate, free, size, tag, true);
    }
    Full code ExDeleteNPagedLookasideList(_list: u64) { }
    Full code ExDeletePagedLookasideList(_list: u64) { }
    Full code ExAllocateFromLookasideListEx(list: u64) -> u64 {
        let Some(list) = at::<LOOKASIDE>(list) else { return 0 };
        let arguments = [u64::from(list.get(LOOKASIDE::Type)), u64::from(list.get(LOOKASIDE::Size)), u64::from(list.get(LOOKASIDE::Tag))];
        list.code(LOOKASIDE::Allocate).and_then(|routine| callout::call(routine, &arguments).ok()).unwrap_or(0)
    }
    Full code ExFreeToLookasideListEx(list: u64, block: u64) {
        let Some(list) = at::<LOOKASIDE>(list) else { return };
        if let Some(routine) = list.code(LOOKASIDE::Free) { let _raised = callout::call(routine, &[block]); }
    }
    Full code ExQueryDepthSList(head: u64) -> u16 { at::<LINK>(head).map_or(0, |head| head.get(LINK::Next) as u16) }
    Full code InitializeSListHead(head: u64) {
        if let Some(head) = at::<LINK>(head) {
            head.set(LINK::Next, 0);
            head.element(1).set(LINK::Next, 0);
        }
    }
    Partial("two pops of one entry at the same time are told apart by its address only") code ExpInterlockedPopEntrySList(head: u64) -> u64 {
        let Some(head) = at::<LINK>(head) else { return 0 };
        let list = head.element(1);
        loop {
            let first = list.get(LINK::Next);
            let Some(entry) = at::<LINK>(first) else { return 0 };
            if list.cas64(LINK::Next, first, entry.get(LINK::Next)).is_ok() {
                head.add64(LINK::Depth, -1);
                return first;
            }
        }
    }
    Partial("two pops of one entry at the same time are told apart by its address only") code ExpInterlockedPushEntrySList(head: u64, entry: u64) -> u64 {
        let (Some(head), Some(link)) = (at::<LINK>(head), at::<LINK>(entry)) else { return 0 };
        let list = head.element(1);
        loop {
            let first = list.get(LINK::Next);
            link.set(LINK::Next, first);
            if list.cas64(LINK::Next, first, entry).is_ok() {
                head.add64(LINK::Depth, 1);
                return first;
            }
        }
    }
    Full code ExInitializeFastMutex(mutex: u64) {
        let Some(mutex) = at::<FAST_MUTEX>(mutex) else { return };
        mutex.set(FAST_MUTEX::Count, 1);
        mutex.set_addr(FAST_MUTEX::Owner, 0);
        dispatcher::initialize_event(mutex.at(FAST_MUTEX::Event), EventType::Synchronization, false);
    }
    Full code ExAcquireFastMutex(mutex: u64) {
        let Some(mutex) = at::<FAST_MUTEX>(mutex) else { return };
        let was = irql::current();
        kpcr::set_irql(irql::APC_LEVEL);
        acquire_fast_mutex(mutex);
        mutex.set(FAST_MUTEX::OldIrql, u32::from(was));
    }
    Full code ExReleaseFastMutex(mutex: u64) {
        let Some(mutex) = at::<FAST_MUTEX>(mutex) else { return };
        let was = mutex.get(FAST_MUTEX::OldIrql) as u8;
        release_fast_mutex(mutex);
        kpcr::set_irql(was);
        nt_ke::current().thread.special_apcs_enabled();
    }
    Full code ExAcquireFastMutexUnsafe(mutex: u64) { if let Some(mutex) = at::<FAST_MUTEX>(mutex) { acquire_fast_mutex(mutex); } }
    Full code ExReleaseFastMutexUnsafe(mutex: u64) { if let Some(mutex) = at::<FAST_MUTEX>(mutex) { release_fast_mutex(mutex); } }
    Full code ExGetPreviousMode() -> u8 { nt_ke::current().mode() as u8 }
    Full raises ExRaiseStatus(status: u32) { raise::raise(NtStatus(status)); }
    Full raises ExRaiseAccessViolation() { raise::raise(NtStatus::ACCESS_VIOLATION); }
    Full raises ExRaiseDatatypeMisalignment() { raise::raise(NtStatus::DATATYPE_MISALIGNMENT); }
    Full code ExInitializeResourceLite(resource: u64) -> u32 {
        if let Some(resource) = at(resource) { resource::initialize(resource); }
        NtStatus::SUCCESS.0
    }
    Full code ExReinitializeResourceLite(resource: u64) -> u32 {
        if let Some(resource) = at(resource) { resource::initialize(resource); }
        NtStatus::SUCCESS.0
    }
    Full code ExDeleteResourceLite(resource: u64) -> u32 {
        if let Some(resource) = at(resource) { resource::delete(resource); }
        NtStatus::SUCCESS.0
    }
    Full code ExAcquireResourceExclusiveLite(resource: u64, wait: u8) -> u8 { u8::from(acquire_resource(resource, true, wait != 0, false)) }
    Full code ExAcquireResourceSharedLite(resource: u64, wait: u8) -> u8 { u8::from(acquire_resource(resource, false, wait != 0, false)) }
    Full code ExAcquireSharedStarveExclusive(resource: u64, wait: u8) -> u8 { u8::from(acquire_resource(resource, false, wait != 0, true)) }
    Full code ExAcquireSharedWaitForExclusive(resource: u64, wait: u8) -> u8 { u8::from(acquire_resource(resource, false, wait != 0, false)) }
    Full code ExReleaseResourceLite(resource: u64) {
        if let Some(resource) = at(resource) { let _owned = resource::release(resource, this_thread()); }
    }
    Full code ExReleaseResourceForThreadLite(resource: u64, thread: u64) {
        if let Some(resource) = at(resource) { let _owned = resource::release(resource, thread); }
    }
    Full code ExConvertExclusiveToSharedLite(resource: u64) { if let Some(resource) = at(resource) { resource::convert_to_shared(resource, this_thread()); } }
    Full code ExIsResourceAcquiredExclusiveLite(resource: u64) -> u8 {
        at(resource).map_or(0, |resource| u8::from(resource::held(resource, this_thread(), true) != 0))
    }
    Full code ExIsResourceAcquiredSharedLite(resource: u64) -> u32 { at(resource).map_or(0, |resource| resource::held(resource, this_thread(), false)) }
    Absent("work items of drivers come with the work-item room") missing ExQueueWorkItem;
}

fn this_thread() -> u64 {
    nt_ke::current().thread.object()
}

fn acquire_resource(resource: u64, exclusive: bool, wait: bool, starve: bool) -> bool {
    at(resource).is_some_and(|resource| resource::acquire_as(resource, this_thread(), exclusive, wait, starve))
}
