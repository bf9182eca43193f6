//! Locks for the rooms' own Rust state.
//!
//! Room: ntos/ke. IRQL: <= DISPATCH_LEVEL. Locks: these. None may be held while a driver runs.
//! They are parking_lot's, behind our names, so that a scheduler under a seed can take their place.

/// KSPIN_LOCK's kin: held for a few instructions, let go by a plain store. Whoever finds it taken yields.
pub type SpinLock<T> = spin::mutex::SpinMutex<T, spin::relax::Yield>;

pub use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
