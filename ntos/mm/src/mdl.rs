//! Memory descriptor lists.
//!
//! Room: ntos/mm. Called by: `nt_io` (direct I/O), file systems, fltmgr, ks, `exports`. Calls: `nt_ex::pool`.
//! Touches: the MDL and its frame numbers; the described bytes by probes only. IRQL: DISPATCH_LEVEL at most. Locks: none.
//! Source: wdm.h macros, the IoAllocateMdl and MmProbeAndLockPages pages; rule NT-T-09.
//!
//! Locking probes each page and records it; it does not pin: memory that its owner unmaps while it is locked faults as
//! [`nt_cell::Fault`] when the house touches it.

use nt_abi::mm::*;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Foreign, Region};
use nt_ex::pool::{self, PoolKind};

const PAGE: u64 = PAGE_SIZE;

/// What says that the pages have a system address already.
const RESIDENT: u16 = MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL;

/// ADDRESS_AND_SIZE_TO_SPAN_PAGES.
#[must_use]
pub const fn pages(addr: u64, len: u64) -> u64 {
    ((addr & (PAGE - 1)) + len).div_ceil(PAGE)
}

/// MmSizeOfMdl: the header and one frame number for each page.
#[must_use]
pub const fn size_of_mdl(addr: u64, len: u64) -> u64 {
    MDL::SIZE as u64 + 8 * pages(addr, len)
}

/// Allocates an MDL for a span whose pages are not locked yet (IoAllocateMdl without an IRP).
pub fn allocate(region: Region) -> NtResult<Foreign<MDL>> {
    describe(region.addr(), region.len())
}

/// As [`allocate`], at an address that nothing was said about.
pub fn describe(addr: u64, len: usize) -> NtResult<Foreign<MDL>> {
    let short = NtStatus::INSUFFICIENT_RESOURCES.error();
    let count = u32::try_from(len).map_err(|_| short)?;
    let size = usize::try_from(size_of_mdl(addr, u64::from(count))).map_err(|_| short)?;
    let block = pool::allocate(size, pool::tag(b"Mdl "), PoolKind::NonPaged).ok_or(short)?;
    let mdl = block.view::<MDL>();
    initialize(mdl, addr, count);
    Ok(mdl)
}

/// MmInitializeMdl. Size is a CSHORT: beyond 15 MiB it holds the low bits only, as on Windows.
fn initialize(mdl: Foreign<MDL>, addr: u64, len: u32) {
    mdl.set_ptr(MDL::Next, None);
    mdl.set(MDL::Size, size_of_mdl(addr, u64::from(len)) as i16);
    mdl.set(MDL::MdlFlags, 0);
    mdl.set_addr(MDL::Process, 0);
    mdl.set_addr(MDL::MappedSystemVa, 0);
    mdl.set_addr(MDL::StartVa, addr & !(PAGE - 1));
    mdl.set(MDL::ByteOffset, (addr & (PAGE - 1)) as u32);
    mdl.set(MDL::ByteCount, len);
}

/// IoFreeMdl: one MDL, not what is chained to it.
pub fn free(mdl: Foreign<MDL>) {
    if mdl.get(MDL::MdlFlags) & MDL_PARTIAL_HAS_BEEN_MAPPED != 0 {
        unmap(mdl);
    }
    pool::free(mdl);
}

/// Unlocks the pages if they are locked, and frees the MDL: what completing an IRP does to each of its chain.
pub fn release(mdl: Foreign<MDL>) {
    if mdl.get(MDL::MdlFlags) & MDL_PAGES_LOCKED != 0 {
        unlock(mdl);
    }
    free(mdl);
}

/// MmGetMdlVirtualAddress: the address that the MDL was made for.
#[must_use]
pub fn virtual_address(mdl: Foreign<MDL>) -> u64 {
    mdl.addr_at(MDL::StartVa).wrapping_add(u64::from(mdl.get(MDL::ByteOffset)))
}

/// Names the described bytes at the address they were locked under, or fails if that wraps.
fn described(mdl: Foreign<MDL>) -> NtResult<Region> {
    let (offset, len) = (mdl.get(MDL::ByteOffset) as usize, mdl.get(MDL::ByteCount) as usize);
    if mdl.addr_at(MDL::StartVa).checked_add((offset + len) as u64).is_none() {
        return NtStatus::ACCESS_VIOLATION.fail();
    }
    Ok(mdl.region_at(MDL::StartVa, offset + len).sub(offset, len))
}

/// Names the described bytes by their system address, mapping them if need be (MmGetSystemAddressForMdlSafe).
pub fn region(mdl: Foreign<MDL>) -> NtResult<Region> {
    map(mdl)?;
    Ok(mdl.region_at(MDL::MappedSystemVa, mdl.get(MDL::ByteCount) as usize))
}

/// MmMapLockedPages for kernel mode; returns the system address.
pub fn map(mdl: Foreign<MDL>) -> NtResult<u64> {
    let flags = mdl.get(MDL::MdlFlags);
    if flags & RESIDENT != 0 {
        return Ok(mdl.addr_at(MDL::MappedSystemVa));
    }
    if flags & (MDL_PAGES_LOCKED | MDL_PARTIAL) == 0 {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let address = virtual_address(mdl);
    mdl.set_addr(MDL::MappedSystemVa, address);
    let partial = if flags & MDL_PARTIAL != 0 { MDL_PARTIAL_HAS_BEEN_MAPPED } else { 0 };
    mdl.set(MDL::MdlFlags, flags | MDL_MAPPED_TO_SYSTEM_VA | partial);
    Ok(address)
}

/// MmUnmapLockedPages.
pub fn unmap(mdl: Foreign<MDL>) {
    let flags = mdl.get(MDL::MdlFlags);
    if flags & MDL_MAPPED_TO_SYSTEM_VA != 0 {
        mdl.set_addr(MDL::MappedSystemVa, 0);
        mdl.set(MDL::MdlFlags, flags & !(MDL_MAPPED_TO_SYSTEM_VA | MDL_PARTIAL_HAS_BEEN_MAPPED));
    }
}

/// MmProbeAndLockPages: a caller in user mode may name user memory only; each page is touched as the operation will;
/// `write` is IoWriteAccess or IoModifyAccess: the device writes into the memory.
pub fn probe_and_lock(mdl: Foreign<MDL>, kernel: bool, write: bool) -> NtResult<()> {
    let region = described(mdl)?;
    if !kernel && Region::user(region.addr(), region.len()).is_none() {
        return NtStatus::ACCESS_VIOLATION.fail();
    }
    let touched = if write { region.probe_write() } else { region.probe_read() };
    touched.map_err(|_| NtStatus::ACCESS_VIOLATION.error())?;
    record_frames(mdl);
    let direction = if write { MDL_WRITE_OPERATION } else { 0 };
    mdl.set(MDL::MdlFlags, mdl.get(MDL::MdlFlags) & !MDL_WRITE_OPERATION | MDL_PAGES_LOCKED | direction);
    Ok(())
}

/// MmUnlockPages: a system mapping goes with the lock.
pub fn unlock(mdl: Foreign<MDL>) {
    unmap(mdl);
    mdl.set(MDL::MdlFlags, mdl.get(MDL::MdlFlags) & !(MDL_PAGES_LOCKED | MDL_WRITE_OPERATION | MDL_IO_PAGE_READ));
}

/// MmBuildMdlForNonPagedPool: the memory is always there, its system address is its address.
pub fn build_for_nonpaged(mdl: Foreign<MDL>) {
    record_frames(mdl);
    mdl.set_addr(MDL::MappedSystemVa, virtual_address(mdl));
    mdl.set(MDL::MdlFlags, mdl.get(MDL::MdlFlags) | MDL_SOURCE_IS_NONPAGED_POOL);
}

/// IoBuildPartialMdl: makes `target` describe `len` bytes of `source` from `addr` on (0: up to its end), without locks of
/// its own.
///
/// # Panics
/// If the part leaves the source, or needs more frame numbers than the target was allocated for where its Size says so:
/// Windows stops there (bugcheck 10C).
pub fn build_partial(source: Foreign<MDL>, target: Foreign<MDL>, addr: u64, len: u32) {
    let start = virtual_address(source);
    let count = u64::from(source.get(MDL::ByteCount));
    let skip = addr.wrapping_sub(start);
    assert!(skip <= count, "IoBuildPartialMdl: the part starts outside its source");
    let len = if len == 0 { count - skip } else { u64::from(len) };
    assert!(len <= count - skip, "IoBuildPartialMdl: the part ends outside its source");
    let needed = size_of_mdl(addr, len);
    let room = target.get(MDL::Size);
    assert!(room < 0 || needed <= room as u64, "IoBuildPartialMdl: the target has too few frame numbers");
    target.set_addr(MDL::StartVa, addr & !(PAGE - 1));
    target.set(MDL::ByteOffset, (addr & (PAGE - 1)) as u32);
    target.set(MDL::ByteCount, len as u32);
    target.set_addr(MDL::Process, source.addr_at(MDL::Process));
    let flags = source.get(MDL::MdlFlags);
    let mapped = flags & RESIDENT != 0;
    if mapped {
        target.set_addr(MDL::MappedSystemVa, source.addr_at(MDL::MappedSystemVa).wrapping_add(skip));
    }
    // A part of a mapped source uses its mapping, and must not undo it.
    let kept = target.get(MDL::MdlFlags) & MDL_ALLOCATED_FIXED_SIZE
        | flags & (MDL_SOURCE_IS_NONPAGED_POOL | MDL_WRITE_OPERATION);
    let parent = if mapped { MDL_PARENT_MAPPED_SYSTEM_VA | MDL_MAPPED_TO_SYSTEM_VA } else { 0 };
    target.set(MDL::MdlFlags, kept | parent | MDL_PARTIAL);
    for index in 0..pages(addr, len) as usize {
        let from = (addr & !(PAGE - 1)).wrapping_sub(source.addr_at(MDL::StartVa)) / PAGE;
        frame_cell(target, index).set(FRAME::Number, frame(source, from as usize + index));
    }
}

nt_abi::layout! {
    /// One element of the array that follows an MDL.
    pub struct FRAME: 0x8 { Number @ 0x0: u64; }
}

fn frame_cell(mdl: Foreign<MDL>, index: usize) -> Foreign<FRAME> {
    mdl.following::<FRAME>().element(index)
}

/// Returns frame number `index` (MmGetMdlPfnArray).
#[must_use]
pub fn frame(mdl: Foreign<MDL>, index: usize) -> u64 {
    frame_cell(mdl, index).get(FRAME::Number)
}

fn record_frames(mdl: Foreign<MDL>) {
    let first = mdl.addr_at(MDL::StartVa) / PAGE;
    let count = pages(virtual_address(mdl), u64::from(mdl.get(MDL::ByteCount)));
    for index in 0..count {
        frame_cell(mdl, index as usize).set(FRAME::Number, first + index);
    }
}

/// Hangs `mdl` behind the last of the chain that starts at `first` (IoAllocateMdl with SecondaryBuffer).
pub fn append(first: Foreign<MDL>, mdl: Foreign<MDL>) {
    let mut last = first;
    while let Some(next) = last.ptr(MDL::Next) {
        last = next;
    }
    last.set_ptr(MDL::Next, Some(mdl));
}

/// Returns the MDLs of a chain.
pub fn chain(first: Option<Foreign<MDL>>) -> impl Iterator<Item = Foreign<MDL>> {
    core::iter::successors(first, |mdl| mdl.ptr(MDL::Next))
}

/// Returns the described bytes, for a message.
#[must_use]
pub fn span(mdl: Foreign<MDL>) -> (u64, u32) {
    (virtual_address(mdl), mdl.get(MDL::ByteCount))
}

/// Names untyped memory of the pool as an MDL's source, for callers that have a block.
pub fn for_pool(block: Foreign<Bytes>, len: u32) -> NtResult<Foreign<MDL>> {
    let mdl = describe(block.addr(), len as usize)?;
    build_for_nonpaged(mdl);
    Ok(mdl)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nt_cell::{Protection, UserBlock};

    fn status<T>(result: NtResult<T>) -> NtStatus {
        result.map_or_else(|error| error.status(), |_| NtStatus::SUCCESS)
    }

    #[test]
    fn nt_t_09_a_user_buffer_is_described_by_page_offset_and_count() {
        let block = UserBlock::pages(3 * 4096).expect("arena");
        let region = block.region().sub(0xFF0, 0x1020);
        let mdl = allocate(region).expect("pool");
        assert_eq!(mdl.addr_at(MDL::StartVa), block.addr());
        assert_eq!((mdl.get(MDL::ByteOffset), mdl.get(MDL::ByteCount)), (0xFF0, 0x1020));
        assert_eq!(mdl.get(MDL::Size), 0x30 + 8 * 3, "the span meets three pages");
        assert_eq!(mdl.get(MDL::MdlFlags), 0);
        assert_eq!(status(map(mdl)), NtStatus::INVALID_PARAMETER, "nothing is locked yet");
        probe_and_lock(mdl, false, true).expect("user memory");
        assert_eq!(mdl.get(MDL::MdlFlags), MDL_PAGES_LOCKED | MDL_WRITE_OPERATION);
        for index in 0..3 {
            assert_eq!(frame(mdl, index), block.addr() / PAGE + index as u64);
        }
        assert_eq!(super::region(mdl).expect("locked"), region);
        assert_eq!(mdl.addr_at(MDL::MappedSystemVa), region.addr());
        assert_ne!(mdl.get(MDL::MdlFlags) & MDL_MAPPED_TO_SYSTEM_VA, 0);
        unlock(mdl);
        assert_eq!(mdl.get(MDL::MdlFlags), 0);
        release(mdl);
    }

    #[test]
    fn nt_b_06_locking_checks_range_mode_and_access() {
        let block = UserBlock::pages(2 * 4096).expect("arena");
        let mdl = allocate(block.region()).expect("pool");
        block.protect(4096, 4096, Protection::ReadOnly).expect("pages");
        assert_eq!(status(probe_and_lock(mdl, false, true)), NtStatus::ACCESS_VIOLATION);
        assert_eq!(mdl.get(MDL::MdlFlags), 0, "a failed lock leaves no mark");
        assert_eq!(status(probe_and_lock(mdl, false, false)), NtStatus::SUCCESS);
        unlock(mdl);
        block.protect(4096, 4096, Protection::NoAccess).expect("pages");
        assert_eq!(status(probe_and_lock(mdl, true, false)), NtStatus::ACCESS_VIOLATION);
        free(mdl);
        let kernel = pool::allocate(100, pool::tag(b"Test"), PoolKind::NonPaged).expect("pool");
        let mdl = allocate(Region::pool(kernel, 100)).expect("pool");
        assert_eq!(status(probe_and_lock(mdl, false, false)), NtStatus::ACCESS_VIOLATION, "user mode names no pool");
        assert_eq!(status(probe_and_lock(mdl, true, true)), NtStatus::SUCCESS);
        release(mdl);
        pool::free(kernel);
    }

    #[test]
    fn a_span_that_wraps_is_refused() {
        let mdl = describe(u64::MAX - 10, 100).expect("pool");
        assert_eq!(status(probe_and_lock(mdl, true, false)), NtStatus::ACCESS_VIOLATION);
        free(mdl);
    }

    #[test]
    fn nonpaged_pool_has_its_system_address_at_once() {
        let block = pool::allocate(5000, pool::tag(b"Test"), PoolKind::NonPaged).expect("pool");
        let mdl = for_pool(block, 5000).expect("pool");
        assert_eq!(mdl.get(MDL::MdlFlags), MDL_SOURCE_IS_NONPAGED_POOL);
        assert_eq!(map(mdl).map_err(|e| e.status()), Ok(block.addr()));
        assert_eq!(frame(mdl, 0), block.addr() / PAGE);
        release(mdl);
        pool::free(block);
    }

    #[test]
    fn a_partial_mdl_shares_the_mapping_of_its_source() {
        let block = pool::allocate(3 * 4096, pool::tag(b"Test"), PoolKind::NonPaged).expect("pool");
        let whole = for_pool(block, 3 * 4096).expect("pool");
        let part = describe(block.addr() + 4100, 100).expect("pool");
        build_partial(whole, part, block.addr() + 4100, 100);
        assert_eq!(region(part).expect("mapped"), Region::pool(block, 3 * 4096).sub(4100, 100));
        assert_ne!(part.get(MDL::MdlFlags) & MDL_PARTIAL, 0);
        assert_eq!(frame(part, 0), (block.addr() + 4100) / PAGE);
        let rest = describe(block.addr() + 100, 3 * 4096 - 100).expect("pool");
        build_partial(whole, rest, block.addr() + 100, 0);
        assert_eq!(rest.get(MDL::ByteCount), 3 * 4096 - 100, "no length means up to the end");
        for mdl in [part, rest, whole] {
            free(mdl);
        }
        pool::free(block);
    }

    #[test]
    #[should_panic(expected = "outside its source")]
    fn a_part_that_leaves_its_source_stops() {
        let block = pool::allocate(100, pool::tag(b"Test"), PoolKind::NonPaged).expect("pool");
        let whole = for_pool(block, 100).expect("pool");
        let part = describe(block.addr(), 200).expect("pool");
        build_partial(whole, part, block.addr() + 50, 51);
    }

    #[test]
    fn a_chain_grows_at_its_end() {
        let mdls: Vec<_> = (0..3).map(|i| describe(0x10000 * (i + 1), 10).expect("pool")).collect();
        append(mdls[0], mdls[1]);
        append(mdls[0], mdls[2]);
        assert_eq!(chain(Some(mdls[0])).collect::<Vec<_>>(), mdls);
        mdls.into_iter().for_each(free);
    }

    #[test]
    fn an_empty_span_on_a_page_boundary_has_no_pages() {
        assert_eq!((pages(0x1000, 0), pages(0x1001, 0), pages(0x1FFF, 2), pages(0x1000, 0x1000)), (0, 1, 2, 1));
    }
}
