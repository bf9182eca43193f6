//! Raising a status in the driver that called an import.
//!
//! Room: ntos/cell. Called by: exported bodies. IRQL: any. Locks: none.
//! An import that may raise returns first and raises afterwards: the status waits in the KPCR's raise slot while the
//! Rust body returns, destructors and all, and the import's edge stub raises it with the driver's registers intact.

use crate::kpcr;
use nt_abi::NtStatus;

/// Leaves `status` for the edge stub to raise. A later call replaces an earlier one.
#[inline]
pub fn raise(status: NtStatus) {
    kpcr::current().set(kpcr::RAISE_SLOT, kpcr::RAISE_SET | u64::from(status.0));
}

/// Takes back what [`raise`] left: for a native caller of a body that may raise, and for tests.
#[inline]
#[must_use]
pub fn take() -> Option<NtStatus> {
    let block = kpcr::current();
    match block.get(kpcr::RAISE_SLOT) {
        0 => None,
        set => {
            block.set(kpcr::RAISE_SLOT, 0);
            Some(NtStatus(set as u32))
        }
    }
}
