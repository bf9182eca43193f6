//! Blocking on a word: what push locks and rundown references wait with.
//!
//! Room: ntos/ke. Called by: `nt_ex`. IRQL: <= APC_LEVEL. Locks: one of 64 buckets, for the look at the word.
//! The word lies in a driver's memory. Who changes it so that a waiter may go on calls [`wake`] afterwards; the waiter looks
//! at the word under the bucket's lock, so the change is either seen by it or followed by a wake that reaches it.

use crate::lock::{Condvar, Mutex};

struct Bucket {
    lock: Mutex<()>,
    changed: Condvar,
}

const BUCKETS: usize = 64;
static TABLE: [Bucket; BUCKETS] = [const { Bucket { lock: Mutex::new(()), changed: Condvar::new() } }; BUCKETS];

fn bucket(address: u64) -> &'static Bucket {
    &TABLE[((address >> 3).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58) as usize]
}

/// Blocks until `blocked` is no longer true; it is asked again after each [`wake`] of the address.
pub fn wait(address: u64, blocked: impl Fn() -> bool) {
    debug_assert!(crate::irql::current() < crate::irql::DISPATCH_LEVEL, "a wait at DISPATCH_LEVEL");
    let bucket = bucket(address);
    let mut held = bucket.lock.lock();
    while blocked() {
        bucket.changed.wait(&mut held);
    }
}

/// Lets those who wait at the address look again.
pub fn wake(address: u64) {
    let bucket = bucket(address);
    drop(bucket.lock.lock());
    bucket.changed.notify_all();
}
