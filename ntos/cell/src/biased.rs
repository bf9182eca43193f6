//! A lock of readers and writers whose readers, where writers are rare, pay two plain stores.
//!
//! Room: ntos/cell. Called by: `nt_ke::lock`, which gives it out. Calls: `hazard`. IRQL: as any lock. Locks: itself.
//! Source: Dice and Kogan, "BRAVO: biased locking for reader-writer locks" (2019), with hazard.rs' barriers in place of its
//! fence, and notes of threads in place of its table.
//!
//! Beneath is an ordinary lock. While the bias is on, a reader only notes that it reads; a writer takes the lock beneath, turns
//! the bias off, passes [`hazard::heavy`] and waits until nobody has a note. By H-1 a reader either sees that the bias is off,
//! and wipes its note, or the writer sees the note. The bias comes back after many readers without a writer, from a reader
//! that holds the lock beneath: no writer is inside then.

use crate::hazard::{self, Note};
use crate::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use crate::sync::locks::{Condvar, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::sync::{Step, is_taken};
use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

/// Readers go to the lock beneath.
const OFF: u32 = 0;
/// Readers leave a note.
const ON: u32 = 1;
/// A writer waits for those who left one.
const DRAINING: u32 = 2;
/// So many readers in a row bring the bias back: their locked instructions would have paid for a writer's barrier.
const PATIENCE: u32 = if cfg!(feature = "shuttle") { 0 } else { 128 };

/// Where writers wait for readers that left a note: rarely, so one place is enough for all locks.
static DRAIN: Mutex<()> = Mutex::new(());
static DRAINED: Condvar = Condvar::new();

/// The lock.
pub struct Biased<T> {
    beneath: RwLock<()>,
    state: AtomicU32,
    /// What notes of it say: a number that no other lock of the process has or had, 0 until the bias is first on.
    id: AtomicUsize,
    /// Readers still to come before the bias is back.
    patience: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: as for any lock of readers and writers: `&T` goes to many threads at a time, `&mut T` to one.
unsafe impl<T: Send + Sync> Sync for Biased<T> {}

/// Shared access.
pub struct BiasedReadGuard<'a, T> {
    lock: &'a Biased<T>,
    /// A note, or the lock beneath.
    note: Option<Note>,
    _beneath: Option<RwLockReadGuard<'a, ()>>,
    /// A note belongs to its thread.
    _here: PhantomData<*const ()>,
}

/// Exclusive access.
pub struct BiasedWriteGuard<'a, T> {
    lock: &'a Biased<T>,
    _beneath: RwLockWriteGuard<'a, ()>,
}

// SAFETY: a shared guard gives `&T` and nothing else.
unsafe impl<T: Sync> Sync for BiasedReadGuard<'_, T> {}

impl<T> Biased<T> {
    /// Makes a lock.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self {
            beneath: RwLock::new(()),
            state: AtomicU32::new(OFF),
            id: AtomicUsize::new(0),
            patience: AtomicU32::new(PATIENCE),
            value: UnsafeCell::new(value),
        }
    }

    /// An odd number: notes of other things are addresses. Were it this lock's address, a guard that was forgotten and a new
    /// lock in the same place would let a reader in beside a writer.
    fn id(&self) -> usize {
        self.id.load(Ordering::Relaxed)
    }

    /// Takes it shared by a note; `None` when the lock beneath is to be asked.
    #[inline(always)]
    fn noted(&self) -> Option<BiasedReadGuard<'_, T>> {
        if self.state.load(Ordering::Acquire) == OFF {
            return None;
        }
        let (note, again) = Note::write(self.id())?;
        // Who reads already goes on reading: no writer is inside before its first note goes.
        if again || self.state.load(Ordering::Acquire) == ON || !is_taken(Step::LookAgain) {
            return Some(BiasedReadGuard { lock: self, note: Some(note), _beneath: None, _here: PhantomData });
        }
        self.wipe(note);
        None
    }

    #[inline(always)]
    fn wipe(&self, note: Note) {
        if note.wipe() && self.state.load(Ordering::Relaxed) == DRAINING && is_taken(Step::LookAway) {
            wake();
        }
    }

    /// A reader that holds the lock beneath: is it time for the bias?
    fn beneath<'a>(&'a self, guard: RwLockReadGuard<'a, ()>) -> BiasedReadGuard<'a, T> {
        let left = self.patience.load(Ordering::Relaxed);
        // Readers may lose each other's counts: it takes a little longer then.
        self.patience.store(left.saturating_sub(1), Ordering::Relaxed);
        if left == 0 {
            self.turn_on();
        }
        BiasedReadGuard { lock: self, note: None, _beneath: Some(guard), _here: PhantomData }
    }

    #[cold]
    fn turn_on(&self) {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        if self.id() == 0 {
            let id = NEXT.fetch_add(1, Ordering::Relaxed) * 2 + 1;
            let _another_reader_was_first = self.id.compare_exchange(0, id, Ordering::Relaxed, Ordering::Relaxed);
        }
        self.state.store(ON, Ordering::Release);
    }

    /// Takes it shared; a thread that has it shared may do so again whoever waits.
    #[inline(always)]
    pub fn read(&self) -> BiasedReadGuard<'_, T> {
        match self.noted() {
            Some(guard) => guard,
            None => self.read_beneath(),
        }
    }

    #[cold]
    fn read_beneath(&self) -> BiasedReadGuard<'_, T> {
        self.beneath(self.beneath.read_recursive())
    }

    /// As [`Biased::read`], unless it must wait.
    #[inline]
    pub fn try_read(&self) -> Option<BiasedReadGuard<'_, T>> {
        match self.noted() {
            Some(guard) => Some(guard),
            None => self.beneath.try_read_recursive().map(|guard| self.beneath(guard)),
        }
    }

    /// Takes it exclusively.
    pub fn write(&self) -> BiasedWriteGuard<'_, T> {
        let guard = self.beneath.write();
        if self.state.load(Ordering::Relaxed) != OFF {
            self.drain();
        }
        self.exclusive(guard)
    }

    /// As [`Biased::write`], unless it must wait.
    pub fn try_write(&self) -> Option<BiasedWriteGuard<'_, T>> {
        let guard = self.beneath.try_write()?;
        if self.state.load(Ordering::Relaxed) != OFF {
            self.state.store(DRAINING, Ordering::SeqCst);
            hazard::heavy();
            if self.is_noted() {
                self.state.store(ON, Ordering::Release);
                return None;
            }
            self.state.store(OFF, Ordering::Relaxed);
        }
        Some(self.exclusive(guard))
    }

    fn is_noted(&self) -> bool {
        hazard::is_noted(self.id()) && is_taken(Step::LookAtNotes)
    }

    fn exclusive<'a>(&'a self, guard: RwLockWriteGuard<'a, ()>) -> BiasedWriteGuard<'a, T> {
        self.patience.store(PATIENCE, Ordering::Relaxed);
        BiasedWriteGuard { lock: self, _beneath: guard }
    }

    /// Turns the bias off and waits until nobody has a note; the caller holds the lock beneath exclusively.
    #[cold]
    fn drain(&self) {
        self.state.store(DRAINING, Ordering::SeqCst);
        hazard::heavy();
        if self.is_noted() {
            // A reader that wipes its note after this sees DRAINING (H-1) and takes the mutex before it wakes us.
            let mut waiting = DRAIN.lock();
            while self.is_noted() {
                DRAINED.wait(&mut waiting);
            }
        }
        self.state.store(OFF, Ordering::Relaxed);
    }
}

#[cold]
fn wake() {
    if is_taken(Step::LockToWake) {
        drop(DRAIN.lock());
    }
    DRAINED.notify_all();
}

impl<T: Default> Default for Biased<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> fmt::Debug for Biased<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Biased")
    }
}

impl<T> Deref for BiasedReadGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: a note that stands, or the lock beneath, keeps writers out (module head).
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> Drop for BiasedReadGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(note) = self.note.take() {
            self.lock.wipe(note);
        }
    }
}

impl<T> Deref for BiasedWriteGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the lock beneath is held exclusively and nobody has a note (module head).
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for BiasedWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as for `deref`, and the guard is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> fmt::Debug for BiasedReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shared")
    }
}

impl<T> fmt::Debug for BiasedWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("exclusive")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    fn biased() -> Biased<[u64; 2]> {
        let lock = Biased::new([0, 0]);
        for _ in 0..=PATIENCE {
            drop(lock.read());
        }
        assert_eq!(lock.state.load(Ordering::Relaxed), ON, "many readers bring the bias");
        lock
    }

    #[test]
    fn the_bias_comes_with_readers_and_goes_with_a_writer() {
        let lock = biased();
        let (one, two) = (lock.read(), lock.read());
        assert!(one.note.is_some() && two.note.is_some() && lock.try_write().is_none());
        drop(one);
        assert!(lock.try_write().is_none(), "a thread that reads twice reads until both are gone");
        drop(two);
        lock.write()[0] = 7;
        assert_eq!((lock.state.load(Ordering::Relaxed), lock.read()[0]), (OFF, 7));
    }

    #[test]
    fn a_writer_waits_for_a_reader_that_may_come_again_meanwhile() {
        let lock = Arc::new(biased());
        let first = lock.read();
        let writer = std::thread::spawn({
            let lock = Arc::clone(&lock);
            move || lock.write()[0] = 1
        });
        while lock.state.load(Ordering::Relaxed) != DRAINING {
            std::thread::yield_now();
        }
        let again = lock.read();
        drop(first);
        assert!(!writer.is_finished() && again[0] == 0);
        drop(again);
        writer.join().expect("the writer");
        assert_eq!(lock.read()[0], 1);
    }

    #[test]
    fn readers_never_see_a_writer_half_way() {
        let (lock, stop) = (Arc::new(biased()), Arc::new(AtomicBool::new(false)));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (lock, stop) = (Arc::clone(&lock), Arc::clone(&stop));
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let seen = lock.read();
                        let inner = lock.try_read();
                        assert_eq!(seen[0], seen[1]);
                        drop(seen);
                        assert!(inner.is_none_or(|inner| inner[0] == inner[1]));
                    }
                })
            })
            .collect();
        for round in 1..=3000 {
            let mut inside = lock.write();
            inside[0] = round;
            inside[1] = round;
            drop(inside);
            if round % 10 == 0 {
                std::thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().expect("a reader"));
        assert_eq!(*lock.read(), [3000, 3000]);
    }

    #[test]
    fn a_forgotten_guard_does_not_open_the_next_lock_in_its_place() {
        let mut place = Box::new(biased());
        core::mem::forget(place.read());
        *place = biased();
        let inside = place.write();
        assert!(place.try_read().is_none());
        drop(inside);
    }
}
