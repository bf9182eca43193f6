//! Calls into the host that may block.
//!
//! Room: ntos/ke. Called by: volumes and front ends, around every such call. IRQL: <= APC_LEVEL. Locks: none.
//! House rule 5: the scheduler must know of every wait. Host threads need nothing done for them; the one place where a
//! scheduler under a seed will put the caller aside, and a door replace its reader, is here.

use crate::irql;

/// Runs a call into the host that may block.
///
/// # Panics
/// In builds with debug assertions, when the caller must not wait at its IRQL.
#[inline]
pub fn host_call<R>(call: impl FnOnce() -> R) -> R {
    debug_assert!(irql::current() < irql::DISPATCH_LEVEL, "a host call may block, this IRQL may not");
    call()
}
