//! Locks for the rooms' own Rust state.
//!
//! Room: ntos/ke. IRQL: <= DISPATCH_LEVEL. Locks: these. None may be held while a driver runs.
//! They are parking_lot's, behind our names, so that a scheduler under a seed can take their place: with feature `shuttle` a
//! model checker's do (`nt_cell::sync`).

/// KSPIN_LOCK's kin: held for a few instructions, let go by a plain store. Whoever finds it taken yields.
#[cfg(not(feature = "shuttle"))]
pub type SpinLock<T> = spin::mutex::SpinMutex<T, spin::relax::Yield>;

/// For what every request looks at and few change: readers take no locked instruction while no writer comes.
pub use nt_cell::biased::{Biased, BiasedReadGuard, BiasedWriteGuard};
pub use nt_cell::sync::locks::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The spin lock is a mutex in a model check: a spinning thread would hide the others' steps.
#[cfg(feature = "shuttle")]
pub type SpinLock<T> = Mutex<T>;
