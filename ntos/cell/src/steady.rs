//! A [`Slab`](crate::Slab) for what is looked up at every request and made seldom: a look-up takes no locked instruction.
//!
//! Room: ntos/cell. Called by: rooms that hang state on a file object or a stream. Calls: `hazard`. IRQL: any.
//! Locks: the table's, by who makes and removes. Source: Michael, "Hazard pointers" (2004).
//!
//! A look-up notes the entry's address, then compares the entry's key with its own. Who removes a value clears the key, passes
//! [`hazard::heavy`], and drops the value if nobody has a note of the entry; by H-1 a look-up that was in between either sees the
//! key gone or is seen. A value that somebody looks at is dropped by who looks away last: it finds the entry without a key.
//! Entries stay where they are until the table goes, so a stale or invented key leads to an entry or nowhere, never to freed
//! memory, and the key's upper half, which each use of an entry changes, tells a stale one.

use crate::hazard::{self, Note};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use crate::sync::locks::Mutex;
use crate::sync::{Step, is_taken};
use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use std::sync::OnceLock;

/// Entries of the first chunk; each further chunk has twice as many.
const FIRST: u32 = 64;
const CHUNKS: usize = 24;

struct Entry<T> {
    /// Which value is here; 0 for none, or for one that waits to be dropped.
    key: AtomicU64,
    /// Looked at by threads that had no note left.
    counted: AtomicU32,
    /// Changed under the table's lock only, and while nobody looks.
    value: UnsafeCell<Option<T>>,
}

impl<T> Entry<T> {
    /// For a thread without a note: the textbook's count.
    #[cold]
    fn count(&self) {
        self.counted.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }
}

#[derive(Default)]
struct State {
    free: Vec<u32>,
    next: u32,
    /// How often an entry was used, by number: the upper half of its keys.
    uses: Vec<u32>,
    /// Entries without a key whose value somebody looks at.
    retired: u32,
}

/// Values of one kind, each under a key of 64 bits that is never 0.
pub struct Steady<T> {
    chunks: [OnceLock<Box<[Entry<T>]>>; CHUNKS],
    state: Mutex<State>,
}

// SAFETY: `&T` goes to many threads at a time; a value is moved in by one thread and dropped by another.
unsafe impl<T: Send + Sync> Sync for Steady<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Steady<T> {}

/// A value that cannot be dropped while this is held.
pub struct Held<'a, T> {
    table: &'a Steady<T>,
    entry: &'a Entry<T>,
    index: u32,
    note: Option<Note>,
    /// A note belongs to its thread.
    _here: PhantomData<*const ()>,
}

/// Which chunk an entry lies in, and where.
fn place(index: u32) -> (usize, usize) {
    let group = (index / FIRST + 1).ilog2();
    (group as usize, (index - FIRST * ((1 << group) - 1)) as usize)
}

impl<T> Steady<T> {
    /// Makes an empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            chunks: [const { OnceLock::new() }; CHUNKS],
            state: Mutex::new(State { free: Vec::new(), next: 0, uses: Vec::new(), retired: 0 }),
        }
    }

    #[inline(always)]
    fn entry(&self, index: u32) -> Option<&Entry<T>> {
        let (chunk, at) = place(index);
        self.chunks.get(chunk)?.get()?.get(at)
    }

    /// Stores a value and returns its key.
    ///
    /// # Panics
    /// When the table is full (some 10^9 values).
    pub fn insert(&self, value: T) -> u64 {
        let mut state = self.state.lock();
        let index = state.free.pop().unwrap_or_else(|| {
            let index = state.next;
            let (chunk, at) = place(index);
            assert!(chunk < CHUNKS, "a table of {index} values is full");
            if at == 0 {
                let entry =
                    || Entry { key: AtomicU64::new(0), counted: AtomicU32::new(0), value: UnsafeCell::new(None) };
                let _made = self.chunks[chunk].set((0..FIRST << chunk).map(|_| entry()).collect());
            }
            state.next += 1;
            state.uses.push(0);
            index
        });
        let uses = &mut state.uses[index as usize];
        *uses = uses.wrapping_add(1).max(1);
        let key = u64::from(*uses) << 32 | u64::from(index);
        let entry = self.entry(index).expect("an entry that was made");
        // SAFETY: the entry is free and has no key, so nobody looks at its value, and the table's lock is held.
        unsafe { *entry.value.get() = Some(value) };
        entry.key.store(key, Ordering::Release);
        key
    }

    /// Finds a value; `None` for 0, for a removed value's key and for a number that never was a key.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, key: u64) -> Option<Held<'_, T>> {
        if key >> 32 == 0 {
            return None;
        }
        let index = key as u32;
        let entry = self.entry(index)?;
        let note = Note::write(core::ptr::from_ref(entry).addr()).map(|(note, _)| note);
        if note.is_none() {
            entry.count();
        }
        let held = Held { table: self, entry, index, note, _here: PhantomData };
        (entry.key.load(Ordering::Acquire) == key || !is_taken(Step::LookAgain)).then_some(held)
    }

    /// Removes a value: no later [`get`](Self::get) finds it, and it is dropped when nobody looks at it any more. Returns
    /// whether the key named one.
    pub fn remove(&self, key: u64) -> bool {
        let Some(entry) = self.entry(key as u32).filter(|_| key >> 32 != 0) else { return false };
        let mut state = self.state.lock();
        if entry.key.compare_exchange(key, 0, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return false;
        }
        state.retired += 1;
        let gone = self.reclaim(&mut state, key as u32, entry);
        drop(state); // a value may look into the table while it is dropped
        drop(gone);
        true
    }

    /// Takes the value out of an entry without a key unless somebody looks at it.
    fn reclaim(&self, state: &mut State, index: u32, entry: &Entry<T>) -> Option<T> {
        if entry.key.load(Ordering::Relaxed) != 0 {
            return None;
        }
        hazard::heavy();
        let seen = entry.counted.load(Ordering::Acquire) != 0 || hazard::is_noted(core::ptr::from_ref(entry).addr());
        if seen && is_taken(Step::LookAtNotes) {
            return None;
        }
        // SAFETY: the entry has no key and nobody has a note of it: a look-up that writes one now finds no key (H-1) and does
        // not look at the value. The table's lock is held.
        let value = unsafe { (*entry.value.get()).take() }?;
        state.retired -= 1;
        state.free.push(index);
        Some(value)
    }

    /// Somebody looked away from an entry without a key.
    #[cold]
    fn looked_away(&self, index: u32, entry: &Entry<T>) {
        let mut state = self.state.lock();
        let gone = if state.retired == 0 { None } else { self.reclaim(&mut state, index, entry) };
        drop(state);
        drop(gone);
    }
}

impl<T> Default for Steady<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Steady<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Steady")
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the entry had its key after the note (or count) of this guard was there, so the value is there and stays
        // until the guard goes (module head).
        let value = unsafe { &*self.entry.value.get() };
        value.as_ref().expect("a value that is looked at")
    }
}

impl<T> Drop for Held<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        let away = match self.note.take() {
            Some(note) => note.wipe(),
            None => self.entry.counted.fetch_sub(1, Ordering::SeqCst) == 1,
        };
        if away && self.entry.key.load(Ordering::Acquire) == 0 && is_taken(Step::LookAway) {
            self.table.looked_away(self.index, self.entry);
        }
    }
}

impl<T> fmt::Debug for Held<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({})", self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    struct Counted(u64, Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_key_finds_its_value_and_a_stale_or_invented_one_nothing() {
        let table = Steady::new();
        let keys: Vec<u64> = (0..300_u32).map(|value| table.insert(value)).collect();
        assert!(keys.iter().zip(0..).all(|(&key, value)| table.get(key).is_some_and(|held| *held == value)));
        assert!(table.remove(keys[7]) && !table.remove(keys[7]) && table.get(keys[7]).is_none());
        let next = table.insert(7);
        assert!(next as u32 == keys[7] as u32 && next != keys[7], "the entry is used again under another key");
        assert!(table.get(keys[7]).is_none());
        for key in [0, 1, 7, u64::MAX, 1 << 32 | 5000, 9 << 32 | 3] {
            assert!(table.get(key).is_none() && !table.remove(key), "{key:#x}");
        }
    }

    #[test]
    fn a_removed_value_is_dropped_when_the_last_one_looks_away() {
        let (table, drops) = (Steady::new(), Arc::new(AtomicUsize::new(0)));
        let key = table.insert(Counted(5, Arc::clone(&drops)));
        // More looks at different things than a thread has notes for: the others are counted.
        let others: Vec<u64> = (0..30).map(|_| table.insert(Counted(0, Arc::default()))).collect();
        let looks: Vec<_> = others.iter().map(|&other| table.get(other)).collect();
        let held = [table.get(key).expect("there"), table.get(key).expect("there")];
        assert!(table.remove(key) && table.get(key).is_none());
        let [one, two] = held;
        drop(one);
        assert_eq!((drops.load(Ordering::SeqCst), two.0), (0, 5));
        drop(two);
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        drop(looks);
        assert!(others.iter().all(|&other| table.remove(other)));
    }

    #[test]
    fn values_that_come_and_go_under_looks_are_each_dropped_once() {
        const ROUNDS: u64 = 4000;
        let (table, drops) = (Arc::new(Steady::new()), Arc::new(AtomicUsize::new(0)));
        let (current, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (table, current, stop) = (Arc::clone(&table), Arc::clone(&current), Arc::clone(&stop));
                std::thread::spawn(move || {
                    let mut seen = 0_u64;
                    while !stop.load(Ordering::Relaxed) {
                        let key = current.load(Ordering::Acquire);
                        let table: &Steady<Counted> = &table;
                        if let Some(held) = table.get(key) {
                            assert_eq!(held.0, 77);
                            seen += 1;
                        }
                    }
                    seen
                })
            })
            .collect();
        for _ in 0..ROUNDS {
            let key = table.insert(Counted(77, Arc::clone(&drops)));
            current.store(key, Ordering::Release);
            std::hint::spin_loop();
            assert!(table.remove(key));
        }
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| _ = thread.join().expect("a reader"));
        assert_eq!(drops.load(Ordering::SeqCst) as u64, ROUNDS);
    }
}
