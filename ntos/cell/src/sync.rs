//! Atomics, locks, spinning and threads of the lock-free parts: the host's, or those of a model checker.
//!
//! Room: ntos/cell. Called by: rooms whose atomics carry an argument. IRQL: any. Locks: none.
//! With feature `shuttle` each operation on such an atomic, and each access to foreign memory, is a point at which the checker
//! may let another thread run, so the real code is explored and no copy of it. It then runs inside `shuttle::check_*` only.
//! The checker keeps operations in one total order; `buffers` puts x86's store buffers, and membarrier(2), between a thread's
//! stores and that order. What a compiler may reorder beyond that is ThreadSanitizer's to find.

#[cfg(not(feature = "shuttle"))]
pub use core::{hint::spin_loop, sync::atomic};
#[cfg(not(feature = "shuttle"))]
pub use std::{thread, thread_local};

#[cfg(not(feature = "shuttle"))]
pub use parking_lot as locks;

#[cfg(feature = "shuttle")]
pub mod atomic;
#[cfg(feature = "shuttle")]
pub mod buffers;
#[cfg(feature = "shuttle")]
pub mod locks;
#[cfg(feature = "shuttle")]
pub use shuttle::{hint::spin_loop, thread, thread_local};

/// A step that an argument names. A model check may leave one out, to show that it finds what the step is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Who noted something looks once more whether it may.
    LookAgain,
    /// Who changes something looks at the notes.
    LookAtNotes,
    /// Who wipes a note looks whether somebody waits for that.
    LookAway,
    /// Who wakes a waiter takes its lock first.
    LockToWake,
    /// The dear barrier reaches the other threads.
    #[cfg(feature = "shuttle")]
    ReachOthers,
    /// The host offers membarrier.
    #[cfg(feature = "shuttle")]
    OfferBarrier,
}

/// Whether a step is taken: always, outside of a model check.
#[cfg(not(feature = "shuttle"))]
#[inline(always)]
pub(crate) const fn is_taken(_: Step) -> bool {
    true
}

/// Whether a step is taken: `NTIO_LEFT_OUT` names the one that is not, for a whole process.
#[cfg(feature = "shuttle")]
pub(crate) fn is_taken(step: Step) -> bool {
    static LEFT_OUT: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| std::env::var("NTIO_LEFT_OUT").unwrap_or_default());
    *LEFT_OUT != format!("{step:?}")
}

/// Another thread may run here, when a model checker says so.
#[inline(always)]
pub(crate) fn point() {
    #[cfg(feature = "shuttle")]
    buffers::drain();
}
