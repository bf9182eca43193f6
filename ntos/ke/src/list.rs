//! Doubly linked lists in memory that drivers own: LIST_ENTRY, as InitializeListHead and its kin leave it.
//!
//! Room: ntos/ke. Called by: every room that links what drivers see. IRQL: any. Locks: the list's, held by the caller.
//! Source: "Singly and Doubly Linked Lists" page. An entry that was never linked has no neighbours; nothing is followed then.

use nt_abi::ke::LIST_ENTRY;
use nt_cell::Foreign;

/// A list's head, or an entry of it.
pub type List = Foreign<LIST_ENTRY>;

/// InitializeListHead: an empty list, an entry that is on none.
pub fn initialize(list: List) {
    list.set_ptr(LIST_ENTRY::Flink, Some(list));
    list.set_ptr(LIST_ENTRY::Blink, Some(list));
}

/// IsListEmpty.
#[must_use]
pub fn is_empty(list: List) -> bool {
    list.ptr(LIST_ENTRY::Flink) == Some(list)
}

/// Returns the first entry, or the head if there is none.
#[must_use]
pub fn first(list: List) -> List {
    list.ptr(LIST_ENTRY::Flink).unwrap_or(list)
}

/// Returns the last entry, or the head if there is none.
#[must_use]
pub fn last(list: List) -> List {
    list.ptr(LIST_ENTRY::Blink).unwrap_or(list)
}

/// Links an entry behind another one, or behind the head: InsertHeadList.
pub fn insert_after(before: List, entry: List) {
    let after = first(before);
    entry.set_ptr(LIST_ENTRY::Flink, Some(after));
    entry.set_ptr(LIST_ENTRY::Blink, Some(before));
    after.set_ptr(LIST_ENTRY::Blink, Some(entry));
    before.set_ptr(LIST_ENTRY::Flink, Some(entry));
}

/// InsertTailList.
pub fn insert_tail(list: List, entry: List) {
    insert_after(last(list), entry);
}

/// RemoveEntryList: the entry's own links stay as they are. Returns whether it had any.
pub fn remove(entry: List) -> bool {
    let (Some(after), Some(before)) = (entry.ptr(LIST_ENTRY::Flink), entry.ptr(LIST_ENTRY::Blink)) else {
        return false;
    };
    before.set_ptr(LIST_ENTRY::Flink, Some(after));
    after.set_ptr(LIST_ENTRY::Blink, Some(before));
    true
}

/// Returns the entries, the first one first.
pub fn entries(list: List) -> impl Iterator<Item = List> {
    let on_list = move |entry: Option<List>| entry.filter(|&entry| entry != list);
    std::iter::successors(on_list(list.ptr(LIST_ENTRY::Flink)), move |entry| on_list(entry.ptr(LIST_ENTRY::Flink)))
}
