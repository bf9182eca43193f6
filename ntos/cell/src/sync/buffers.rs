//! The machine of a model check: x86's store buffers over a total order of steps.
//!
//! Room: ntos/cell, feature `shuttle` only. Called by: `atomic`, `locks`, and foreign memory's points. Locks: none across a point.
//! Source: Owens, Sarkar, Sewell, "A better x86 memory model: x86-TSO" (2009): a store waits in its thread's buffer, first in,
//! first out, and leaves it at any time; a load looks into its own thread's buffer first; a locked instruction and MFENCE
//! empty it. membarrier(2), PRIVATE_EXPEDITED: each running thread of the process executes a full barrier before the call
//! returns, so its buffer is emptied at some time in between; who does not run has passed one on its way off the processor.
//! Stores to foreign memory and stores under the checker's locks leave at once, after all before them: TSO allows that too.

use core::sync::atomic::{AtomicU64, Ordering};
use shuttle::rand::RngCore;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// What is in memory of one atomic. It outlives the atomic while a store is on its way, and stays where the atomic moves.
pub(super) type Word = AtomicU64;

#[derive(Default)]
struct Buffer(Mutex<VecDeque<(Arc<Word>, u64)>>);

impl Buffer {
    fn writes(&self) -> MutexGuard<'_, VecDeque<(Arc<Word>, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The oldest store reaches memory.
    fn leave(&self) -> bool {
        let Some((word, value)) = self.writes().pop_front() else { return false };
        word.store(value, Ordering::SeqCst);
        true
    }
}

static ALL: Mutex<Vec<Weak<Buffer>>> = Mutex::new(Vec::new());

fn all() -> Vec<Arc<Buffer>> {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|buffer| buffer.strong_count() != 0);
    all.iter().filter_map(Weak::upgrade).collect()
}

struct Own(Arc<Buffer>);

impl Own {
    fn new() -> Self {
        let buffer = Arc::default();
        ALL.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&buffer));
        Self(buffer)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        switch();
        while self.0.leave() {}
    }
}

shuttle::thread_local! {
    static OWN: Own = Own::new();
}

/// The checker may let another thread run.
fn switch() {
    static POINT: shuttle::sync::atomic::AtomicBool = shuttle::sync::atomic::AtomicBool::new(false);
    let _any = POINT.load(Ordering::SeqCst);
}

fn one_in(many: u64) -> bool {
    shuttle::rand::thread_rng().next_u64().is_multiple_of(many)
}

/// A step: some stores of this thread leave its buffer first, seldom one of another's that rests.
fn step() {
    switch();
    let _at_the_threads_end = OWN.try_with(|own| {
        while !own.0.writes().is_empty() && one_in(2) {
            own.0.leave();
            switch();
        }
        for other in all() {
            if !other.writes().is_empty() && one_in(64) {
                other.leave();
            }
        }
    });
}

/// A locked instruction or a fence: all stores of this thread leave its buffer.
pub(super) fn drain() {
    switch();
    let _at_the_threads_end = OWN.try_with(|own| {
        while own.0.leave() {
            switch();
        }
    });
}

/// membarrier(2): every thread's buffer is emptied, one thread at a time.
pub(crate) fn drain_all() {
    drain();
    for buffer in all() {
        switch();
        while buffer.leave() {}
    }
}

pub(super) fn load(word: &Arc<Word>) -> u64 {
    step();
    let own =
        OWN.try_with(|own| own.0.writes().iter().rev().find(|(to, _)| Arc::ptr_eq(to, word)).map(|&(_, value)| value));
    own.ok().flatten().unwrap_or_else(|| word.load(Ordering::SeqCst))
}

pub(super) fn store(word: &Arc<Word>, value: u64) {
    step();
    if OWN.try_with(|own| own.0.writes().push_back((Arc::clone(word), value))).is_err() {
        word.store(value, Ordering::SeqCst);
    }
}

/// A locked instruction: `change` gives the new value, or leaves the old one.
pub(super) fn change(word: &Word, change: impl FnOnce(u64) -> Option<u64>) -> u64 {
    drain();
    let was = word.load(Ordering::SeqCst);
    if let Some(new) = change(was) {
        word.store(new, Ordering::SeqCst);
    }
    was
}
