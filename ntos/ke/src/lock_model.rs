//! The locks of `lock`, made of a model checker's: feature `shuttle` only.
//!
//! Room: ntos/ke. Called by: every room, in the model checks of tests/models. The names and shapes are parking_lot's, as far as
//! the rooms under test use them. A timed wait ends at once or is woken: both are explored.

use nt_cell::sync as model;
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
        MutexGuard(Some(self.0.lock().expect(NOBODY_PANICS)))
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
        let held = guard.0.take().expect("held");
        guard.0 = Some(self.0.wait(held).expect(NOBODY_PANICS));
    }
    /// As [`Condvar::wait`], until a time: the time is over at once.
    pub fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, until: Instant) -> TimedOut {
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
pub use model::{RwLockReadGuard, RwLockWriteGuard};

impl<T> RwLock<T> {
    /// Makes a free lock.
    pub const fn new(value: T) -> Self {
        Self(model::RwLock::new(value))
    }
    /// Waits for a share.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().expect(NOBODY_PANICS)
    }
    /// Waits for the lock.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().expect(NOBODY_PANICS)
    }
}

/// The spin lock of `lock` is a mutex here: a spinning thread would hide the others' steps.
pub type SpinLock<T> = Mutex<T>;
