//! Memory descriptor lists.
//!
//! Room: ntos/mm. IRQL: <= DISPATCH_LEVEL. Locks: none. Source: MDL, MmProbeAndLockPages pages; rules NT-T-09, NT-B-06.
//! There is one address space, so the system address of a buffer is the buffer's own address; what "locking" does is to
//! touch each page, which is where a bad buffer shows. The page array holds page numbers of those addresses.

use nt_abi::mm::{MDL, MDL_MAPPED_TO_SYSTEM_VA, MDL_PAGES_LOCKED, MDL_SOURCE_IS_NONPAGED_POOL, MDL_WRITE_OPERATION};
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Foreign, Region};
use nt_ex::pool;

const PAGE: u64 = 4096;

/// Returns how many pages a buffer spans (ADDRESS_AND_SIZE_TO_SPAN_PAGES).
#[must_use]
pub const fn pages_of(address: u64, length: usize) -> usize {
    ((address & (PAGE - 1)) as usize + length).div_ceil(PAGE as usize)
}

/// IoAllocateMdl: describes a buffer, locks nothing.
pub fn allocate(buffer: Region) -> NtResult<Foreign<MDL>> {
    describe(buffer.addr(), buffer.len())
}

/// As [`allocate`], of an address that a driver gave.
pub fn describe(address: u64, length: usize) -> NtResult<Foreign<MDL>> {
    let pages = pages_of(address, length);
    let size = MDL::SIZE + pages * 8;
    let count = u32::try_from(length).map_err(|_| NtStatus::INSUFFICIENT_RESOURCES.error())?;
    let block = pool::allocate(size, pool::tag(b"Mdl "), pool::PoolKind::NonPaged);
    let mdl = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?.view::<MDL>();
    mdl.set(MDL::Size, i16::try_from(size).unwrap_or(i16::MAX));
    mdl.set_addr(MDL::StartVa, address & !(PAGE - 1));
    mdl.set(MDL::ByteOffset, (address & (PAGE - 1)) as u32);
    mdl.set(MDL::ByteCount, count);
    Ok(mdl)
}

/// Returns the address that an MDL describes (MmGetMdlVirtualAddress).
#[must_use]
pub fn virtual_address(mdl: Foreign<MDL>) -> u64 {
    mdl.addr_at(MDL::StartVa) + u64::from(mdl.get(MDL::ByteOffset))
}

fn span(mdl: Foreign<MDL>, kernel: bool) -> NtResult<Region> {
    let length = mdl.get(MDL::ByteCount) as usize;
    if !kernel && !nt_cell::arena::is_user_range(virtual_address(mdl), length) {
        return NtStatus::ACCESS_VIOLATION.fail();
    }
    // The bytes start in the page that StartVa names: the member is the region's base, the offset skips into it.
    let skip = mdl.get(MDL::ByteOffset) as usize;
    Ok(mdl.region_at(MDL::StartVa, skip + length).sub(skip, length))
}

fn fill_pages(mdl: Foreign<MDL>) {
    let pages = pages_of(virtual_address(mdl), mdl.get(MDL::ByteCount) as usize);
    let first = mdl.addr_at(MDL::StartVa) / PAGE;
    let array = mdl.trailing(pages * 8);
    for index in 0..pages {
        let _own_block = array.store::<u64>(index * 8, first + index as u64);
    }
}

/// MmProbeAndLockPages: ACCESS_VIOLATION where a page cannot be read, or written for `write`.
pub fn probe_and_lock(mdl: Foreign<MDL>, kernel: bool, write: bool) -> NtResult<()> {
    let region = span(mdl, kernel)?;
    let touched = if write { region.probe_write() } else { region.probe_read() };
    touched.map_err(|_| NtStatus::ACCESS_VIOLATION.error())?;
    fill_pages(mdl);
    let direction = if write { MDL_WRITE_OPERATION } else { 0 };
    mdl.set(MDL::MdlFlags, mdl.get(MDL::MdlFlags) | MDL_PAGES_LOCKED | direction);
    Ok(())
}

/// MmBuildMdlForNonPagedPool.
pub fn build_for_nonpaged(mdl: Foreign<MDL>) {
    fill_pages(mdl);
    mdl.set_addr(MDL::MappedSystemVa, virtual_address(mdl));
    mdl.set(MDL::MdlFlags, mdl.get(MDL::MdlFlags) | MDL_SOURCE_IS_NONPAGED_POOL | MDL_MAPPED_TO_SYSTEM_VA);
}

/// MmUnlockPages.
pub fn unlock(mdl: Foreign<MDL>) {
    mdl.set(
        MDL::MdlFlags,
        mdl.get(MDL::MdlFlags) & !(MDL_PAGES_LOCKED | MDL_MAPPED_TO_SYSTEM_VA | MDL_WRITE_OPERATION),
    );
    mdl.set_addr(MDL::MappedSystemVa, 0);
}

/// MmMapLockedPagesSpecifyCache for kernel mode: the system address.
pub fn map(mdl: Foreign<MDL>) -> u64 {
    let address = virtual_address(mdl);
    mdl.set_addr(MDL::MappedSystemVa, address);
    mdl.set(MDL::MdlFlags, mdl.get(MDL::MdlFlags) | MDL_MAPPED_TO_SYSTEM_VA);
    address
}

/// Returns the bytes of an MDL whose pages are locked or nonpaged (MmGetSystemAddressForMdlSafe).
pub fn region(mdl: Foreign<MDL>) -> NtResult<Region> {
    let flags = mdl.get(MDL::MdlFlags);
    if flags & (MDL_PAGES_LOCKED | MDL_SOURCE_IS_NONPAGED_POOL | nt_abi::mm::MDL_PARTIAL) == 0 {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if flags & MDL_MAPPED_TO_SYSTEM_VA == 0 {
        map(mdl);
    }
    Ok(mdl.region_at(MDL::MappedSystemVa, mdl.get(MDL::ByteCount) as usize))
}

/// IoFreeMdl.
pub fn free(mdl: Foreign<MDL>) {
    pool::free(mdl);
}

/// Unlocks if locked, then frees: what completion does with the MDLs of a packet (KS-P-25).
pub fn release(mdl: Foreign<MDL>) {
    if mdl.get(MDL::MdlFlags) & MDL_PAGES_LOCKED != 0 {
        unlock(mdl);
    }
    free(mdl);
}

#[cfg(test)]
mod tests {
    use super::*;
    use nt_cell::arena::{Protection, UserBlock};

    #[test]
    fn nt_t_09_an_mdl_describes_its_pages() {
        let block = UserBlock::pages(3 * 4096).expect("arena");
        let mdl = allocate(block.region().sub(100, 8000)).expect("pool");
        assert_eq!(mdl.addr_at(MDL::StartVa), block.addr());
        assert_eq!((mdl.get(MDL::ByteOffset), mdl.get(MDL::ByteCount)), (100, 8000));
        assert_eq!(mdl.get(MDL::Size), 0x30 + 2 * 8);
        assert_eq!(probe_and_lock(mdl, false, false), Ok(()));
        assert_eq!(mdl.trailing(16).load::<u64>(8), Ok(block.addr() / 4096 + 1));
        assert_eq!(region(mdl).expect("locked").addr(), block.addr() + 100);
        assert_ne!(mdl.get(MDL::MdlFlags) & MDL_MAPPED_TO_SYSTEM_VA, 0);
        release(mdl);
    }

    #[test]
    fn nt_b_06_locking_touches_the_pages() {
        let block = UserBlock::pages(2 * 4096).expect("arena");
        block.protect(4096, 4096, Protection::NoAccess).expect("protect");
        let mdl = allocate(block.region()).expect("pool");
        assert_eq!(probe_and_lock(mdl, false, false), Err(NtStatus::ACCESS_VIOLATION.error()));
        block.protect(4096, 4096, Protection::ReadOnly).expect("protect");
        assert_eq!(probe_and_lock(mdl, false, true), Err(NtStatus::ACCESS_VIOLATION.error()));
        assert_eq!(probe_and_lock(mdl, false, false), Ok(()));
        release(mdl);
    }
}
