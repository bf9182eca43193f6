//! Checks of addresses that came from user mode.
//!
//! Room: ntos/mm. Called by: services, `exports`. Calls: `nt_cell::arena`. IRQL: APC_LEVEL at most. Locks: none.
//! Source: ProbeForRead and ProbeForWrite pages; rule NT-B-07.

use nt_abi::{NtResult, NtStatus};
use nt_cell::{Region, arena};

/// ProbeForRead: alignment, then range; nothing is touched, and no length means no check (NT-B-07).
pub fn for_read(addr: u64, len: u64, alignment: u32) -> NtResult<()> {
    range(addr, len, alignment).map(drop)
}

/// ProbeForWrite: as [`for_read`], then each page is read and written back (NT-B-07).
pub fn for_write(addr: u64, len: u64, alignment: u32) -> NtResult<()> {
    range(addr, len, alignment)?.probe_write().map_err(|_| NtStatus::ACCESS_VIOLATION.error())
}

fn range(addr: u64, len: u64, alignment: u32) -> NtResult<Region> {
    if len == 0 {
        return Ok(Region::EMPTY);
    }
    if addr & u64::from(alignment.saturating_sub(1)) != 0 {
        return NtStatus::DATATYPE_MISALIGNMENT.fail();
    }
    usize::try_from(len).ok().and_then(|len| Region::user(addr, len)).ok_or(NtStatus::ACCESS_VIOLATION.error())
}

/// MmUserProbeAddress: the first address that user mode may not name.
#[must_use]
pub fn user_probe_address() -> u64 {
    arena::probe_address()
}

/// MmHighestUserAddress.
#[must_use]
pub fn highest_user_address() -> u64 {
    arena::probe_address() - 1
}

/// MmSystemRangeStart.
#[must_use]
pub fn system_range_start() -> u64 {
    arena::bounds().1
}

#[cfg(test)]
mod tests {
    use super::*;
    use nt_cell::{Protection, UserBlock};

    fn status(result: NtResult<()>) -> NtStatus {
        result.map_or_else(|error| error.status(), |()| NtStatus::SUCCESS)
    }

    #[test]
    fn nt_b_07_no_length_means_no_check() {
        for addr in [0, 1, u64::MAX, system_range_start()] {
            assert_eq!(status(for_read(addr, 0, 8)), NtStatus::SUCCESS);
            assert_eq!(status(for_write(addr, 0, 8)), NtStatus::SUCCESS);
        }
    }

    #[test]
    fn nt_b_07_a_misaligned_start_is_told_before_a_bad_range() {
        let block = UserBlock::pages(64).expect("arena");
        assert_eq!(status(for_read(block.addr() + 1, 4, 2)), NtStatus::DATATYPE_MISALIGNMENT);
        assert_eq!(status(for_write(block.addr() + 4, 4, 8)), NtStatus::DATATYPE_MISALIGNMENT);
        assert_eq!(status(for_read(system_range_start() + 1, 4, 4)), NtStatus::DATATYPE_MISALIGNMENT);
        assert_eq!(status(for_read(block.addr() + 1, 4, 1)), NtStatus::SUCCESS);
    }

    #[test]
    fn nt_b_07_the_kernel_range_and_a_wrap_are_access_violations() {
        let end = user_probe_address();
        for (addr, len) in [(end, 1), (end - 4, 8), (u64::MAX - 7, 8), (u64::MAX - 7, 16), (end - 8, u64::MAX)] {
            assert_eq!(status(for_read(addr, len, 1)), NtStatus::ACCESS_VIOLATION, "{addr:#x} {len:#x}");
            assert_eq!(status(for_write(addr, len, 1)), NtStatus::ACCESS_VIOLATION, "{addr:#x} {len:#x}");
        }
    }

    #[test]
    fn nt_b_07_only_the_write_probe_touches_pages() {
        let block = UserBlock::pages(3 * 4096).expect("arena");
        block.region().fill(0x5A).expect("mapped");
        block.protect(4096, 4096, Protection::ReadOnly).expect("pages");
        assert_eq!(status(for_read(block.addr(), 3 * 4096, 1)), NtStatus::SUCCESS);
        assert_eq!(status(for_write(block.addr(), 3 * 4096, 1)), NtStatus::ACCESS_VIOLATION);
        assert_eq!(status(for_write(block.addr(), 4096, 1)), NtStatus::SUCCESS);
        block.protect(4096, 4096, Protection::NoAccess).expect("pages");
        assert_eq!(
            status(for_read(block.addr(), 3 * 4096, 1)),
            NtStatus::SUCCESS,
            "a hole is no matter of ProbeForRead"
        );
        block.protect(4096, 4096, Protection::ReadWrite).expect("pages");
        assert_eq!(status(for_write(block.addr(), 3 * 4096, 1)), NtStatus::SUCCESS);
        assert!(block.region().to_vec().expect("mapped").iter().all(|b| *b == 0x5A), "each byte keeps its value");
    }

    #[test]
    fn the_user_range_ends_below_the_system_range() {
        assert_eq!(highest_user_address() + 1, user_probe_address());
        assert!(user_probe_address() < system_range_start());
    }
}
