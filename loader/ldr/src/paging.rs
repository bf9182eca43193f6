//! Page faults of driver code in a view: served before anybody calls them exceptions.
//!
//! Room: loader/ldr. Called by: the assembler stub that the fault handler sends the thread to, on the driver's stack, outside of
//! the signal handler: the pager waits and sends requests. IRQL: the driver's. Locks: none here.
//! The instruction is tried again in any case. Where the page could not be had, the note left here makes its second fault an
//! exception. Source: rule NT-CC-65; EXCEPTION_RECORD page (in-page errors).

use nt_abi::NtStatus;
use nt_cell::{arena, kpcr};

/// KPCR words of the loader behind the target of an unwind: the address that could not be had, and why.
const ADDRESS: usize = kpcr::LOADER + 32;
const STATUS: usize = kpcr::LOADER + 40;
const _: () = assert!(STATUS + 8 <= kpcr::DEAD);

/// Brings the page in that a driver touched.
pub(crate) extern "C" fn on_page(address: u64, write: u64) {
    let status = match arena::page_in(address, 1, write != 0) {
        Some(Ok(())) => return,
        Some(Err(status)) => status,
        None => NtStatus::ACCESS_VIOLATION,
    };
    let block = kpcr::current();
    block.set(ADDRESS, address);
    block.set(STATUS, u64::from(status.0));
}

/// Why the page at `address` was given up just now, if it was; asked once. In signal context.
pub(crate) fn given_up(address: u64) -> Option<NtStatus> {
    let block = kpcr::current();
    let same = block.get(ADDRESS) == address;
    block.set(ADDRESS, 0);
    same.then(|| NtStatus(block.get(STATUS) as u32))
}
