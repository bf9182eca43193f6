//! Atomics, spinning and threads of the lock-free parts: the host's, or those of a model checker.
//!
//! Room: ntos/cell. Called by: rooms whose atomics carry an argument. IRQL: any. Locks: none.
//! With feature `shuttle` each operation on such an atomic, and each access to foreign memory, is a point at which the checker
//! may let another thread run, so the real code is explored and no copy of it. It then runs inside `shuttle::check_*` only.
//! The checker keeps operations in one total order: what orderings weaker than that allow is ThreadSanitizer's to find.

#[cfg(not(feature = "shuttle"))]
pub use core::{hint::spin_loop, sync::atomic};
#[cfg(not(feature = "shuttle"))]
pub use std::thread;

#[cfg(feature = "shuttle")]
pub use shuttle::{
    hint::spin_loop,
    sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic},
    thread, thread_local,
};

/// Another thread may run here, when a model checker says so.
#[inline(always)]
pub(crate) fn point() {
    #[cfg(feature = "shuttle")]
    {
        static POINT: atomic::AtomicBool = atomic::AtomicBool::new(false);
        let _any = POINT.load(atomic::Ordering::Relaxed);
    }
}
