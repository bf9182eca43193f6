//! Lists that drivers import: interlocked lists, SLISTs, lookaside lists.
//!
//! Room: ntos/ex. The names stand in [`exports`]. IRQL: <= DISPATCH_LEVEL. Locks: the drivers' spin locks.
//! Source: ExInterlockedInsertHeadList, ExInitializeLookasideListEx, ExInitializeNPagedLookasideList pages, wdm.h for the
//! members that inline code reads; rules NT-KR-23 to NT-KR-26.
//!
//! A lookaside list keeps up to `Depth` free blocks. Inline code of compiled drivers pops and pushes them itself and calls
//! `Allocate` or `Free` of the structure otherwise, so those two are never null.

use crate::slist;
use nt_abi::ke::{LIST_ENTRY, LOOKASIDE_LIST_EX, SINGLE_LIST_ENTRY};
use nt_cell::{CodePtr, Foreign, Region, callout};
use nt_ke::list;

pub mod exports;

/// How many free blocks a list keeps: a fixed number here, where Windows moves it between 4 and 256 by the misses.
const DEPTH: u16 = 32;
const MOST: u16 = 256;

/// What a list is made with.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// POOL_TYPE, with the flags that the caller gave.
    pub pool_type: u32,
    /// Bytes of a block.
    pub size: u32,
    /// The pool tag.
    pub tag: u32,
    /// Gives a block when the list is empty: three arguments, or four in a list of the Ex kind.
    pub allocate: Option<CodePtr>,
    /// Takes a block when the list is full: one argument, or two.
    pub free: Option<CodePtr>,
}

/// A list: the driver's memory. The plain kinds are longer and start with the same members.
pub type Lookaside = Foreign<LOOKASIDE_LIST_EX>;

/// ExInitializeLookasideListEx and kin.
pub fn initialize(list: Lookaside, spec: &Spec) {
    slist::initialize(list.at(LOOKASIDE_LIST_EX::ListHead));
    list.set(LOOKASIDE_LIST_EX::Depth, DEPTH);
    list.set(LOOKASIDE_LIST_EX::MaximumDepth, MOST);
    for counter in [
        LOOKASIDE_LIST_EX::TotalAllocates,
        LOOKASIDE_LIST_EX::AllocateMisses,
        LOOKASIDE_LIST_EX::TotalFrees,
        LOOKASIDE_LIST_EX::FreeMisses,
        LOOKASIDE_LIST_EX::LastTotalAllocates,
        LOOKASIDE_LIST_EX::LastAllocateMisses,
    ] {
        list.set(counter, 0);
    }
    list.set(LOOKASIDE_LIST_EX::Type, spec.pool_type);
    list.set(LOOKASIDE_LIST_EX::Tag, spec.tag);
    list.set(LOOKASIDE_LIST_EX::Size, spec.size);
    list.set_code(LOOKASIDE_LIST_EX::AllocateEx, spec.allocate);
    list.set_code(LOOKASIDE_LIST_EX::FreeEx, spec.free);
}

/// ExAllocateFromLookasideListEx: a kept block, or what the list's routine gives; 0 for none.
pub fn allocate(list: Lookaside, link: impl Fn(u64) -> Option<Region>) -> u64 {
    list.add_u32(LOOKASIDE_LIST_EX::TotalAllocates, 1);
    let kept = slist::pop(list.at(LOOKASIDE_LIST_EX::ListHead), link);
    if kept != 0 {
        return kept;
    }
    list.add_u32(LOOKASIDE_LIST_EX::AllocateMisses, 1);
    let word = |field| u64::from(list.get(field));
    let arguments =
        [word(LOOKASIDE_LIST_EX::Type), word(LOOKASIDE_LIST_EX::Size), word(LOOKASIDE_LIST_EX::Tag), list.addr()];
    let routine = list.code(LOOKASIDE_LIST_EX::AllocateEx);
    routine.and_then(|routine| callout::call(routine, &arguments).ok()).unwrap_or(0)
}

/// ExFreeToLookasideListEx: keeps the block, or hands it to the list's routine.
pub fn free(list: Lookaside, block: Foreign<nt_abi::ke::SLIST_ENTRY>) {
    list.add_u32(LOOKASIDE_LIST_EX::TotalFrees, 1);
    let head = list.at(LOOKASIDE_LIST_EX::ListHead);
    if slist::depth(head) < list.get(LOOKASIDE_LIST_EX::Depth) {
        slist::push(head, block);
        return;
    }
    list.add_u32(LOOKASIDE_LIST_EX::FreeMisses, 1);
    give_back(list, block.addr());
}

fn give_back(list: Lookaside, block: u64) {
    if let Some(routine) = list.code(LOOKASIDE_LIST_EX::FreeEx) {
        // What a free routine raises is its own affair: the block is no longer the list's.
        let _raised = callout::call(routine, &[block, list.addr()]);
    }
}

/// ExFlushLookasideListEx, and what a delete does first: every kept block goes to the list's routine.
pub fn flush(list: Lookaside, link: impl Fn(u64) -> Option<Region>) {
    let mut block = slist::flush(list.at(LOOKASIDE_LIST_EX::ListHead));
    while block != 0 {
        let next = link(block).and_then(|link| link.load::<u64>(0).ok()).unwrap_or(0);
        give_back(list, block);
        block = next;
    }
}

/// Inserts at the head or the tail of a doubly linked list; returns the former first or last entry's address, 0 for none.
/// The list's spin lock is held.
pub fn insert(head: Foreign<LIST_ENTRY>, entry: Foreign<LIST_ENTRY>, front: bool) -> u64 {
    let neighbour = if front { list::first(head) } else { list::last(head) };
    list::insert_after(if front { head } else { neighbour }, entry);
    if neighbour == head { 0 } else { neighbour.addr() }
}

/// Removes the first entry of a doubly linked list; its address, 0 for none. The list's spin lock is held.
pub fn remove_head(head: Foreign<LIST_ENTRY>) -> u64 {
    let first = list::first(head);
    if first == head {
        return 0;
    }
    list::remove(first);
    first.addr()
}

/// Pushes on a singly linked list; returns the former first entry's address. The list's spin lock is held.
pub fn push_single(head: Foreign<SINGLE_LIST_ENTRY>, entry: Foreign<SINGLE_LIST_ENTRY>) -> u64 {
    let first = head.addr_at(SINGLE_LIST_ENTRY::Next);
    entry.set_addr(SINGLE_LIST_ENTRY::Next, first);
    head.set_ptr(SINGLE_LIST_ENTRY::Next, Some(entry));
    first
}

/// Pops from a singly linked list; 0 for none. The list's spin lock is held.
pub fn pop_single(head: Foreign<SINGLE_LIST_ENTRY>) -> u64 {
    let Some(first) = head.ptr(SINGLE_LIST_ENTRY::Next) else { return 0 };
    head.set_addr(SINGLE_LIST_ENTRY::Next, first.addr_at(SINGLE_LIST_ENTRY::Next));
    first.addr()
}
