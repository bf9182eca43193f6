//! What this thread is looking at: notes that cost it two plain stores, and whoever is about to change such a thing a look
//! at the notes of all threads.
//!
//! Room: ntos/cell. Called by: `slab`, `biased`. IRQL: any. Locks: the list of threads' notes, innermost.
//! Source: Michael, "Hazard pointers" (2004); Dice and Kogan, "BRAVO" (2019); membarrier(2).
//!
//! Claim H-1 (SOUNDNESS.md, S-9): let a thread write a note, pass [`light`] and read a word; let another write that word, pass
//! [`heavy`] and read the note. Then one of the two sees the other's store. `heavy` makes every running thread of the process
//! execute a full barrier: it falls before the first thread's read, which then sees the word, or after its store, which is
//! then seen. Where the host has no such call, both are full barriers, and the claim is the textbook's.

use crate::sync::atomic::{AtomicU8, AtomicUsize, Ordering, compiler_fence, fence};
use crate::sync::locks::Mutex;
use crate::sync::thread_local;
use core::cell::Cell;

/// Things that a thread can look at at one time; whoever needs more counts instead. A model check soon gets there.
const NOTES: usize = if cfg!(feature = "shuttle") { 2 } else { 12 };

/// One note. It is written by its thread only; others read `what`.
#[derive(Default)]
struct Line {
    what: AtomicUsize,
    /// How often the thread looks at it. Its own affair.
    depth: Cell<u32>,
}

/// One thread's notes.
#[derive(Default)]
struct Notes {
    notes: [Line; NOTES],
    /// Notes from here on are free. The thread's own affair.
    top: Cell<usize>,
}

// SAFETY: `depth` and `top` are reached through `Note` only, that is by the one thread that leased the notes (what holds a
// `Note` is not Send); `what` is atomic.
unsafe impl Sync for Notes {}

#[derive(Default)]
struct Threads {
    all: Vec<&'static Notes>,
    free: Vec<&'static Notes>,
}

static THREADS: Mutex<Threads> = Mutex::new(Threads { all: Vec::new(), free: Vec::new() });

/// Gives a thread's notes back when it ends.
struct Lease(Cell<Option<&'static Notes>>);

impl Drop for Lease {
    fn drop(&mut self) {
        let _or_gone_too = OWN.try_with(|own| own.set(None));
        // A guard that outlives its thread's notes keeps them: they are not leased again.
        if let Some(notes) = self.0.get().filter(|notes| notes.top.get() == 0) {
            THREADS.lock().free.push(notes);
        }
    }
}

thread_local! {
    static OWN: Cell<Option<&'static Notes>> = const { Cell::new(None) };
    static LEASE: Lease = const { Lease(Cell::new(None)) };
}

/// The first note of a thread, or one of a thread that is about to end: that gets none. Nor does any where the host lacks the
/// dear half of H-1, whose absence would make the cheap half as dear as what notes save.
#[cold]
fn lease() -> Option<&'static Notes> {
    find_out();
    if BARRIER.load(Ordering::Relaxed) != ASYMMETRIC {
        return None;
    }
    LEASE
        .try_with(|lease| {
            let mut threads = THREADS.lock();
            let notes = threads.free.pop().unwrap_or_else(|| {
                let made: &'static Notes = Box::leak(Box::default());
                threads.all.push(made);
                made
            });
            lease.0.set(Some(notes));
            OWN.with(|own| own.set(Some(notes)));
            notes
        })
        .ok()
}

/// A note that stands until [`Note::wipe`]; it belongs to the thread that wrote it.
#[derive(Clone, Copy)]
pub(crate) struct Note {
    notes: &'static Notes,
    at: usize,
}

impl Note {
    /// Notes that the calling thread looks at `what`. `true` when it did already, and need not ask again whether it may;
    /// `None` when it has no note left or is about to end.
    #[inline(always)]
    pub(crate) fn write(what: usize) -> Option<(Self, bool)> {
        let notes = match OWN.with(Cell::get) {
            Some(notes) => notes,
            None => lease()?,
        };
        let at = notes.top.get();
        for (at, note) in notes.notes[..at].iter().enumerate() {
            if note.what.load(Ordering::Relaxed) == what {
                note.depth.set(note.depth.get() + 1);
                return Some((Self { notes, at }, true));
            }
        }
        let note = notes.notes.get(at)?;
        notes.top.set(at + 1);
        note.depth.set(1);
        note.what.store(what, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst); // the cheap half of H-1
        Some((Self { notes, at }, false))
    }

    /// Takes the note back; `true` when the thread no longer looks at the thing.
    #[inline(always)]
    pub(crate) fn wipe(self) -> bool {
        let note = &self.notes.notes[self.at];
        let depth = note.depth.get() - 1;
        note.depth.set(depth);
        if depth != 0 {
            return false;
        }
        note.what.store(0, Ordering::Release);
        if self.notes.top.get() == self.at + 1 {
            self.notes.top.set(self.at);
            if self.at != 0 && self.notes.notes[self.at - 1].depth.get() == 0 {
                self.sink();
            }
        }
        compiler_fence(Ordering::SeqCst); // the cheap half of H-1
        true
    }

    /// Notes below went before this one.
    #[cold]
    fn sink(self) {
        let mut top = self.at;
        while top != 0 && self.notes.notes[top - 1].depth.get() == 0 {
            top -= 1;
        }
        self.notes.top.set(top);
    }
}

/// Whether some thread has a note of `what`. Whoever asks has passed [`heavy`] since it forbade new ones.
pub(crate) fn is_noted(what: usize) -> bool {
    let threads = THREADS.lock();
    threads.all.iter().any(|notes| notes.notes.iter().any(|note| note.what.load(Ordering::Acquire) == what))
}

const UNKNOWN: u8 = 0;
const ASYMMETRIC: u8 = 1;
const SYMMETRIC: u8 = 2;
static BARRIER: AtomicU8 = AtomicU8::new(UNKNOWN);
const QUERY: libc::c_int = 0;
const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

/// A model check's: it empties the store buffers.
#[cfg(feature = "shuttle")]
fn membarrier(command: libc::c_int) -> libc::c_long {
    use crate::sync::{Step, buffers, is_taken};
    match command {
        QUERY if is_taken(Step::OfferBarrier) => libc::c_long::from(PRIVATE_EXPEDITED),
        QUERY => -1,
        PRIVATE_EXPEDITED if is_taken(Step::ReachOthers) => {
            buffers::drain_all();
            0
        }
        _ => 0,
    }
}

#[cfg(not(feature = "shuttle"))]
fn membarrier(command: libc::c_int) -> libc::c_long {
    // SAFETY: membarrier takes three numbers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }
}

/// The cheap half of H-1: for the side that is passed often.
#[inline]
pub fn light() {
    if BARRIER.load(Ordering::Relaxed) == ASYMMETRIC {
        compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst); // enough whatever the other side does
    }
}

/// The dear half of H-1: some 60 ns, 700 ns while other threads run.
pub fn heavy() {
    fence(Ordering::SeqCst);
    find_out();
    if BARRIER.load(Ordering::Relaxed) == ASYMMETRIC {
        assert_eq!(membarrier(PRIVATE_EXPEDITED), 0, "the host took membarrier away");
    }
}

/// Asks the host once which barriers it has. Until then, and without it, both halves are full barriers.
fn find_out() {
    if BARRIER.load(Ordering::Relaxed) != UNKNOWN {
        return;
    }
    let offered = membarrier(QUERY);
    let there = offered > 0 && offered & libc::c_long::from(PRIVATE_EXPEDITED) != 0;
    let mode = if there && membarrier(REGISTER_PRIVATE_EXPEDITED) == 0 { ASYMMETRIC } else { SYMMETRIC };
    let _known = BARRIER.compare_exchange(UNKNOWN, mode, Ordering::SeqCst, Ordering::SeqCst);
}
