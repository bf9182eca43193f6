//! Spin locks in memory that drivers own: KSPIN_LOCK, queued ones, EX_SPIN_LOCK.
//!
//! Room: ntos/ke. Called by: `exports`, `nt_ex`'s interlocked lists. IRQL: as each DDI page says; nothing here raises it.
//! Locks: these. Source: KeAcquireSpinLock, KeAcquireInStackQueuedSpinLock, ExAcquireSpinLockShared pages; rule NT-KR-20.
//! A queued lock is a plain one here: the order in which waiters get it is the host's, not that of their arrival.

use crate::irql::Restore;
use nt_cell::Foreign;

nt_abi::layout! {
    /// KSPIN_LOCK.
    pub struct SPIN_LOCK: 0x08 {
        /// 0 when free.
        Value @ 0x00: u64;
    }
    /// EX_SPIN_LOCK: a count of readers, or the sign bit for a writer.
    pub struct EX_SPIN_LOCK: 0x04 align 4 {
        /// 0 when free.
        Value @ 0x00: i32;
    }
}

const WRITER: i32 = i32::MIN;

fn spin(mut taken: impl FnMut() -> bool) {
    let mut spins = 0_u32;
    while !taken() {
        spins += 1;
        if spins.is_multiple_of(64) {
            nt_cell::sync::thread::yield_now();
        } else {
            nt_cell::sync::spin_loop();
        }
    }
}

/// Takes a spin lock if it is free.
pub fn try_acquire(lock: Foreign<SPIN_LOCK>) -> bool {
    lock.cas64(SPIN_LOCK::Value, 0, 1).is_ok()
}

/// Takes a spin lock.
pub fn acquire(lock: Foreign<SPIN_LOCK>) {
    spin(|| try_acquire(lock));
}

/// Lets a spin lock go.
pub fn release(lock: Foreign<SPIN_LOCK>) {
    lock.set(SPIN_LOCK::Value, 0);
}

/// Runs `body` with the lock held at DISPATCH_LEVEL or above, as the ExInterlocked routines do.
pub fn with<R>(lock: Foreign<SPIN_LOCK>, body: impl FnOnce() -> R) -> R {
    let _held = hold(lock);
    body()
}

/// A spin lock that is held; dropped, it is let go, and the level is what it was.
#[derive(Debug)]
pub struct Held {
    lock: Foreign<SPIN_LOCK>,
    _level: Restore,
}

/// Takes a spin lock at DISPATCH_LEVEL or above.
#[must_use]
pub fn hold(lock: Foreign<SPIN_LOCK>) -> Held {
    let level = crate::irql::at(crate::irql::current().max(crate::irql::DISPATCH_LEVEL));
    acquire(lock);
    Held { lock, _level: level }
}

impl Drop for Held {
    fn drop(&mut self) {
        release(self.lock);
    }
}

/// Takes a share of a reader-writer spin lock.
pub fn acquire_shared(lock: Foreign<EX_SPIN_LOCK>) {
    spin(|| {
        let was = lock.get(EX_SPIN_LOCK::Value);
        was >= 0 && lock.cas32(EX_SPIN_LOCK::Value, was, was + 1).is_ok()
    });
}

/// Lets a share go.
pub fn release_shared(lock: Foreign<EX_SPIN_LOCK>) {
    lock.add32(EX_SPIN_LOCK::Value, -1);
}

/// Takes a reader-writer spin lock exclusively.
pub fn acquire_exclusive(lock: Foreign<EX_SPIN_LOCK>) {
    spin(|| lock.cas32(EX_SPIN_LOCK::Value, 0, WRITER).is_ok());
}

/// Lets an exclusively held lock go.
pub fn release_exclusive(lock: Foreign<EX_SPIN_LOCK>) {
    lock.set(EX_SPIN_LOCK::Value, 0);
}

/// Makes the caller's share an exclusive hold, if nobody else has one.
pub fn try_convert(lock: Foreign<EX_SPIN_LOCK>) -> bool {
    lock.cas32(EX_SPIN_LOCK::Value, 1, WRITER).is_ok()
}
