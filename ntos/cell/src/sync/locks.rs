//! Locks made of a model checker's, under the names and shapes of parking_lot's as far as the rooms under test use them.
//!
//! Room: ntos/cell, feature `shuttle` only. Called by: every room, in the model checks of tests/models. Calls: `buffers`: taking
//! a lock and letting it go are locked instructions. A timed wait ends at once or is woken: both are explored.

use super::buffers;
use shuttle::sync as model;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

/// A mutex without poisoning.
#[derive(Default, Debug)]
pub struct Mutex<T>(model::Mutex<T>);

/// Holds a [`Mutex`].
#[derive(Debug)]
pub struct MutexGuard<'a, T>(Option<model::MutexGuard<'a, T>>);

const NOBODY_PANICS: &str = "a checker ends at the first panic";

impl<T> Mutex<T> {
    /// Makes a free mutex.
    pub const fn new(value: T) -> Self {
        Self(model::Mutex::new(value))
    }
    /// Waits for the mutex and takes it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        buffers::drain();
        MutexGuard(Some(self.0.lock().expect(NOBODY_PANICS)))
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        buffers::drain();
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.0.as_ref().expect("held")
    }
}
impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("held")
    }
}

/// A condition.
#[derive(Default, Debug)]
pub struct Condvar(model::Condvar);

/// Whether a timed wait ended by its time.
#[derive(Clone, Copy, Debug)]
pub struct TimedOut(bool);

impl TimedOut {
    /// Whether the time was over.
    #[must_use]
    pub fn timed_out(self) -> bool {
        self.0
    }
}

impl Condvar {
    /// Makes a condition that nobody waits for.
    pub const fn new() -> Self {
        Self(model::Condvar::new())
    }
    /// Lets the mutex go until the condition is notified.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        buffers::drain();
        let held = guard.0.take().expect("held");
        guard.0 = Some(self.0.wait(held).expect(NOBODY_PANICS));
    }
    /// As [`Condvar::wait`], until a time: the time is over at once.
    pub fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, until: Instant) -> TimedOut {
        buffers::drain();
        let held = guard.0.take().expect("held");
        let (held, _) = self.0.wait_timeout(held, until.elapsed()).expect(NOBODY_PANICS);
        guard.0 = Some(held);
        TimedOut(true)
    }
    /// Wakes one.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }
    /// Wakes all.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A reader-writer lock without poisoning.
#[derive(Default, Debug)]
pub struct RwLock<T>(model::RwLock<T>);

/// Holds a share of a [`RwLock`].
#[derive(Debug)]
pub struct RwLockReadGuard<'a, T>(model::RwLockReadGuard<'a, T>);

/// Holds a [`RwLock`].
#[derive(Debug)]
pub struct RwLockWriteGuard<'a, T>(model::RwLockWriteGuard<'a, T>);

impl<T> RwLock<T> {
    /// Makes a free lock.
    pub const fn new(value: T) -> Self {
        Self(model::RwLock::new(value))
    }
    /// Waits for a share.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        buffers::drain();
        RwLockReadGuard(self.0.read().expect(NOBODY_PANICS))
    }
    /// As [`RwLock::read`]; a thread under test has one share at a time.
    pub fn read_recursive(&self) -> RwLockReadGuard<'_, T> {
        self.read()
    }
    /// Takes a share unless it must wait.
    pub fn try_read_recursive(&self) -> Option<RwLockReadGuard<'_, T>> {
        buffers::drain();
        self.0.try_read().ok().map(RwLockReadGuard)
    }
    /// Waits for the lock.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        buffers::drain();
        RwLockWriteGuard(self.0.write().expect(NOBODY_PANICS))
    }
    /// Takes the lock unless it must wait.
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        buffers::drain();
        self.0.try_write().ok().map(RwLockWriteGuard)
    }
}

impl<T> Deref for RwLockReadGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}
impl<T> Drop for RwLockReadGuard<'_, T> {
    fn drop(&mut self) {
        buffers::drain();
    }
}
impl<T> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}
impl<T> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
impl<T> Drop for RwLockWriteGuard<'_, T> {
    fn drop(&mut self) {
        buffers::drain();
    }
}
