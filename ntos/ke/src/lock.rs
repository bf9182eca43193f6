//! Locks for the rooms' own Rust state.
//!
//! Room: ntos/ke. IRQL: <= DISPATCH_LEVEL. Locks: these. None may be held while a driver runs.
//! They are parking_lot's, behind our names, so that a scheduler under a seed can take their place.

pub use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
