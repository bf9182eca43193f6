//! Rust state behind a foreign structure: a table of values, named by a number that a driver may hold and damage.
//!
//! Room: ntos/cell. Called by: rooms that hang state on a structure of theirs. IRQL: any. Locks: none (sharded-slab).
//! The number carries a generation: a stale or invented one finds nothing, never another value or freed memory.

use core::fmt;
use core::ops::Deref;

/// Values of one kind, each under a key of 64 bits that is never 0.
pub struct Slab<T>(sharded_slab::Slab<T>);

/// A value that cannot be dropped while this is held.
pub struct Guard<'a, T>(sharded_slab::Entry<'a, T>);

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Slab<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slab")
    }
}

impl<T> Slab<T> {
    /// Makes an empty table.
    #[must_use]
    pub fn new() -> Self {
        Self(sharded_slab::Slab::new())
    }

    /// Stores a value and returns its key.
    ///
    /// # Panics
    /// When the table is full (2^37 values of one thread).
    pub fn insert(&self, value: T) -> u64 {
        self.0.insert(value).expect("a slab of 2^37 values is full") as u64 + 1
    }

    /// Finds a value; `None` for 0, for a removed value's key and for a number that never was a key.
    #[must_use]
    pub fn get(&self, key: u64) -> Option<Guard<'_, T>> {
        self.0.get(usize::try_from(key.checked_sub(1)?).ok()?).map(Guard)
    }

    /// Removes a value: no later [`get`](Self::get) finds it, and it is dropped when the last guard goes. Returns whether
    /// the key named one.
    pub fn remove(&self, key: u64) -> bool {
        key != 0 && self.0.remove(key as usize - 1)
    }
}
