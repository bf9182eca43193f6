//! Sequenced singly linked lists: SLIST_HEADER.
//!
//! Room: ntos/ex. Called by: `lists` (drivers' lists), `lookaside`. IRQL: <= DISPATCH_LEVEL (any, for lists in resident memory).
//! Locks: none. Source: InitializeSListHead, ExInterlockedPushEntrySList, ExInterlockedPopEntrySList, ExQueryDepthSList
//! pages, the header's x64 form in wdm.h; rules NT-KR-21, NT-KR-22.
//!
//! The head is two words that change together: {depth 16 bits, sequence 48 bits}, {4 bits reserved, entry's address}. A pop
//! reads the next link of an entry that another pop may have taken and freed meanwhile: the read is guarded and its value is
//! used only if the head, whose sequence every push raises, is still the one that was read before.

use nt_abi::ke::{SLIST_ENTRY, SLIST_HEADER};
use nt_cell::{Foreign, Region};

/// A list head: the driver's memory.
pub type Head = Foreign<SLIST_HEADER>;

const DEPTH: u64 = 0xFFFF;
/// One more in the sequence.
const STEP: u64 = 0x1_0000;

fn read(head: Head) -> [u64; 2] {
    // Two loads: a head that changed between them fails the exchange.
    [head.get(SLIST_HEADER::Alignment), head.get(SLIST_HEADER::Region)]
}

fn address(word: u64) -> u64 {
    word & !0xF
}

/// InitializeSListHead.
pub fn initialize(head: Head) {
    head.set(SLIST_HEADER::Alignment, 0);
    head.set(SLIST_HEADER::Region, 0);
}

/// ExQueryDepthSList.
#[must_use]
pub fn depth(head: Head) -> u16 {
    head.get(SLIST_HEADER::Alignment) as u16
}

/// RtlFirstEntrySList: the address of the first entry, 0 for none.
#[must_use]
pub fn first(head: Head) -> u64 {
    address(head.get(SLIST_HEADER::Region))
}

/// Puts an entry in front; returns the address of the former first one, 0 for none.
pub fn push(head: Head, entry: Foreign<SLIST_ENTRY>) -> u64 {
    let mut was = read(head);
    loop {
        let first = address(was[1]);
        entry.set_addr(SLIST_ENTRY::Next, first);
        let depth = was[0].wrapping_add(1) & DEPTH;
        match head.cas128(was, [depth | (was[0] & !DEPTH).wrapping_add(STEP), entry.addr()]) {
            Ok(()) => return first,
            Err(now) => was = now,
        }
    }
}

/// Takes the first entry's address, 0 for an empty list. `next` reads the link of the entry at an address.
pub fn pop(head: Head, next: impl Fn(u64) -> Option<Region>) -> u64 {
    let mut was = read(head);
    loop {
        let first = address(was[1]);
        if first == 0 {
            return 0;
        }
        let Some(Ok(link)) = next(first).map(|link| link.load::<u64>(0)) else {
            // The entry is gone: so is this head, unless the list is broken.
            let now = read(head);
            assert!(now != was, "bug check 0x50 PAGE_FAULT_IN_NONPAGED_AREA: a list entry at {first:#x} is no memory");
            was = now;
            continue;
        };
        let depth = was[0].wrapping_sub(1) & DEPTH;
        match head.cas128(was, [depth | (was[0] & !DEPTH), link]) {
            Ok(()) => return first,
            Err(now) => was = now,
        }
    }
}

/// ExInterlockedFlushSList: takes the whole chain; returns its first entry's address.
pub fn flush(head: Head) -> u64 {
    let mut was = read(head);
    loop {
        if was[1] == 0 {
            return 0;
        }
        match head.cas128(was, [was[0] & !DEPTH, 0]) {
            Ok(()) => return address(was[1]),
            Err(now) => was = now,
        }
    }
}
