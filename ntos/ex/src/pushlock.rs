//! Push locks: a word that one thread holds, or many share.
//!
//! Room: ntos/ex. Called by: `locks`, `nt_fltmgr`. IRQL: <= APC_LEVEL. Locks: these; waiting by `nt_ke::park`.
//! Source: ExInitializePushLock, ExAcquirePushLockExclusive, FltAcquirePushLockShared pages; rules NT-KR-15, NT-KR-16.
//! Bit 0: held. Bit 1: somebody waits. From bit 4 on: how many share it, 0 when it is held exclusively. Not recursive: a thread
//! that takes exclusively what it holds waits for ever, as on Windows.

use nt_cell::Foreign;
use nt_ke::park;

nt_abi::layout! {
    /// EX_PUSH_LOCK.
    pub struct EX_PUSH_LOCK: 0x08 {
        /// 0 when free.
        Value @ 0x00: u64;
    }
}

const HELD: u64 = 1;
const WAITING: u64 = 2;
const SHARE: u64 = 16;

/// A lock: the driver's memory.
pub type Lock = Foreign<EX_PUSH_LOCK>;

/// The word once the caller has the lock too, or `None` while it must wait.
fn granted(was: u64, exclusive: bool) -> Option<u64> {
    match (exclusive, was & !WAITING) {
        (true, 0) => Some(HELD | was),
        (false, 0) => Some((HELD | was) + SHARE),
        // A share beside others, unless somebody waits who would be passed over for ever.
        (false, held) if held >= SHARE && was & WAITING == 0 => Some(was + SHARE),
        _ => None,
    }
}

/// ExInitializePushLock.
pub fn initialize(lock: Lock) {
    lock.set(EX_PUSH_LOCK::Value, 0);
}

/// Takes the lock if nobody stands in the way.
pub fn try_acquire(lock: Lock, exclusive: bool) -> bool {
    let was = lock.get(EX_PUSH_LOCK::Value);
    granted(was, exclusive).is_some_and(|now| lock.cas64(EX_PUSH_LOCK::Value, was, now).is_ok())
}

/// ExAcquirePushLockExclusive, ExAcquirePushLockShared. The caller is in a critical region.
pub fn acquire(lock: Lock, exclusive: bool) {
    loop {
        let was = lock.get(EX_PUSH_LOCK::Value);
        if let Some(now) = granted(was, exclusive) {
            if lock.cas64(EX_PUSH_LOCK::Value, was, now).is_ok() {
                return;
            }
        } else if was & WAITING != 0 || lock.cas64(EX_PUSH_LOCK::Value, was, was | WAITING).is_ok() {
            park::wait(lock.addr(), || {
                let now = lock.get(EX_PUSH_LOCK::Value);
                now & WAITING != 0 && granted(now, exclusive).is_none()
            });
        }
    }
}

/// Lets the lock go, however it was held.
pub fn release(lock: Lock) {
    loop {
        let was = lock.get(EX_PUSH_LOCK::Value);
        debug_assert!(was & HELD != 0, "a push lock is released that nobody holds");
        let last = was < 2 * SHARE;
        let now = if last { 0 } else { was - SHARE };
        if lock.cas64(EX_PUSH_LOCK::Value, was, now).is_ok() {
            if last && was & WAITING != 0 {
                park::wake(lock.addr());
            }
            return;
        }
    }
}
