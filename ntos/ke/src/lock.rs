//! Locks for the rooms' own Rust state.
//!
//! Room: ntos/ke. IRQL: <= DISPATCH_LEVEL. Locks: these. None may be held while a driver runs.
//! They are parking_lot's, behind our names, so that a scheduler under a seed can take their place: with feature `shuttle` a
//! model checker's do (`lock_model.rs`).

/// KSPIN_LOCK's kin: held for a few instructions, let go by a plain store. Whoever finds it taken yields.
#[cfg(not(feature = "shuttle"))]
pub type SpinLock<T> = spin::mutex::SpinMutex<T, spin::relax::Yield>;

/// For what every request looks at and few change: readers take no locked instruction while no writer comes.
pub use nt_cell::biased::{Biased, BiasedReadGuard, BiasedWriteGuard};
#[cfg(not(feature = "shuttle"))]
pub use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

#[cfg(feature = "shuttle")]
#[path = "lock_model.rs"]
mod model;
#[cfg(feature = "shuttle")]
pub use model::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, SpinLock};
