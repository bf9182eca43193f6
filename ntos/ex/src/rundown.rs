//! Run-down protection: uses of a thing that its end waits for.
//!
//! Room: ntos/ex. Called by: `locks`. IRQL: <= DISPATCH_LEVEL, the wait <= APC_LEVEL. Locks: none; waiting by `nt_ke::park`.
//! Source: "Run-Down Protection", ExAcquireRundownProtection, ExWaitForRundownProtectionRelease pages; rules NT-KR-17 to
//! NT-KR-19. Bit 0: the end has begun; the bits above count uses.

use nt_abi::ke::EX_RUNDOWN_REF;
use nt_cell::Foreign;
use nt_ke::park;

const OVER: u64 = 1;
const USE: u64 = 2;

/// A reference word: the driver's memory.
pub type Rundown = Foreign<EX_RUNDOWN_REF>;

/// ExInitializeRundownProtection, ExReInitializeRundownProtection.
pub fn initialize(rundown: Rundown) {
    rundown.set(EX_RUNDOWN_REF::Count, 0);
}

/// ExAcquireRundownProtectionEx: `false` once the end has begun.
pub fn acquire(rundown: Rundown, count: u32) -> bool {
    loop {
        let was = rundown.get(EX_RUNDOWN_REF::Count);
        if was & OVER != 0 {
            return false;
        }
        if rundown.cas64(EX_RUNDOWN_REF::Count, was, was + USE * u64::from(count)).is_ok() {
            return true;
        }
    }
}

/// ExReleaseRundownProtectionEx.
pub fn release(rundown: Rundown, count: u32) {
    loop {
        let was = rundown.get(EX_RUNDOWN_REF::Count);
        let now = was.wrapping_sub(USE * u64::from(count));
        debug_assert!(now <= was, "more uses are released than were taken");
        if rundown.cas64(EX_RUNDOWN_REF::Count, was, now).is_ok() {
            if now == OVER {
                park::wake(rundown.addr());
            }
            return;
        }
    }
}

/// ExWaitForRundownProtectionRelease: no use begins any more, and those that run are over when this returns.
pub fn wait(rundown: Rundown) {
    loop {
        let was = rundown.get(EX_RUNDOWN_REF::Count);
        if was & OVER != 0 || rundown.cas64(EX_RUNDOWN_REF::Count, was, was | OVER).is_ok() {
            break;
        }
    }
    park::wait(rundown.addr(), || rundown.get(EX_RUNDOWN_REF::Count) != OVER);
}

/// ExRundownCompleted: the thing is gone; uses fail at once.
pub fn completed(rundown: Rundown) {
    rundown.set(EX_RUNDOWN_REF::Count, OVER);
}
