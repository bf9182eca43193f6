//! Looks by notes (`cell/hazard.rs`, `steady.rs`, `biased.rs`; SOUNDNESS.md, S-9) under the model checker, on a machine with
//! x86's store buffers and membarrier; and that each check finds the fault when a step of its argument is left out.

use nt_cell::biased::Biased;
use nt_cell::sync::atomic::{AtomicU32, Ordering};
use nt_cell::sync::thread;
use nt_cell::{Steady, hazard};
use ntio_models::check::{explore, is_found_without, stands_without};
use std::sync::Arc;
use std::sync::atomic::AtomicU32 as Told;

/// Stores a flag, passes `between` and loads the other one.
fn store_and_load(mine: &AtomicU32, other: &AtomicU32, between: impl Fn()) -> u32 {
    mine.store(1, Ordering::Relaxed);
    between();
    other.load(Ordering::Relaxed)
}

/// Two threads store a flag each and load the other's; returns what they saw.
fn store_buffering(light: fn(), heavy: fn()) -> (u32, u32) {
    let flags: Arc<[AtomicU32; 2]> = Arc::default();
    let there = Arc::clone(&flags);
    let thread = thread::spawn(move || store_and_load(&there[0], &there[1], light));
    let here = store_and_load(&flags[1], &flags[0], heavy);
    (thread.join().expect("no panic"), here)
}

/// The machine itself: without a barrier both threads may miss the other's store, as on x86; the checker's total order alone
/// would never show it, and every check below would be too kind.
#[test]
fn a_store_may_be_seen_late_but_stores_stay_in_their_order() {
    let both_missed = Arc::new(Told::new(0));
    let missed = Arc::clone(&both_missed);
    explore(move || {
        if store_buffering(|| (), || ()) == (0, 0) {
            missed.fetch_add(1, Ordering::Relaxed);
        }
        let words: Arc<[AtomicU32; 2]> = Arc::default();
        let there = Arc::clone(&words);
        let thread = thread::spawn(move || {
            there[0].store(1, Ordering::Relaxed);
            there[1].store(1, Ordering::Relaxed);
            assert_eq!(there[0].load(Ordering::Relaxed), 1, "a thread sees its own stores at once");
        });
        if words[1].load(Ordering::Relaxed) == 1 {
            assert_eq!(words[0].load(Ordering::Relaxed), 1, "the second store was seen before the first");
        }
        thread.join().expect("no panic");
    });
    assert!(both_missed.load(Ordering::Relaxed) > 100);
}

/// Claim H-1: one of the two sees the other's store.
#[test]
fn of_a_light_and_a_heavy_barrier_one_side_sees_the_other() {
    explore(|| {
        hazard::heavy(); // finds out what the host has
        assert_ne!(store_buffering(hazard::light, hazard::heavy), (0, 0), "both missed the other's store");
    });
}

/// What is in a table; it tells when it is dropped.
struct Value(Arc<AtomicU32>);

impl Drop for Value {
    fn drop(&mut self) {
        assert_eq!(self.0.fetch_add(1, Ordering::SeqCst), 0, "dropped twice");
    }
}

/// `cell/steady.rs`: who finds a value keeps it, in each of more looks than a thread has notes for; the last one to look away
/// drops it, once.
#[test]
fn a_value_that_is_looked_at_is_dropped_after_the_last_look_and_once() {
    explore(|| {
        let table = Arc::new(Steady::new());
        let dropped: Arc<AtomicU32> = Arc::default();
        let key = table.insert(Value(Arc::clone(&dropped)));
        let others = [(); 2].map(|()| table.insert(Value(Arc::default())));
        let look = |of_others: usize| {
            let table = Arc::clone(&table);
            thread::spawn(move || {
                let _more: Vec<_> = others[..of_others].iter().map(|&other| table.get(other)).collect();
                for _ in 0..2 {
                    if let Some(held) = table.get(key) {
                        assert_eq!(held.0.load(Ordering::Relaxed), 0, "dropped while somebody looks");
                        let again = table.get(key);
                        drop(held);
                        assert!(again.is_none_or(|again| again.0.load(Ordering::Relaxed) == 0), "dropped too early");
                    }
                }
            })
        };
        let looks = [look(0), look(2)];
        assert!(table.remove(key), "the key names a value");
        assert!(table.get(key).is_none(), "found after its removal");
        assert!(!table.remove(key));
        looks.into_iter().for_each(|look| look.join().expect("no panic"));
        assert_eq!(dropped.load(Ordering::Relaxed), 1, "nobody dropped it");
        assert!(others.iter().all(|&other| table.remove(other)));
    });
}

/// `cell/steady.rs`: an entry that is used again is no way from an old key to a new value.
#[test]
fn a_key_finds_its_own_value_or_nothing_while_its_entry_is_used_again() {
    explore(|| {
        let table = Arc::new(Steady::new());
        let key = table.insert(7);
        let look = {
            let table = Arc::clone(&table);
            thread::spawn(move || assert!(table.get(key).is_none_or(|held| *held == 7), "another's value"))
        };
        assert!(table.remove(key));
        let next = table.insert(8);
        assert!(table.get(next).is_some_and(|held| *held == 8));
        look.join().expect("no panic");
        assert!(table.remove(next));
    });
}

/// `cell/biased.rs`: nobody is inside beside a writer, whoever reads by a note or by the lock beneath, and no writer sleeps on
/// when the last note goes.
#[test]
fn a_writer_is_alone_inside_and_wakes_when_the_last_reader_goes() {
    explore(|| {
        let lock = Arc::new(Biased::new(()));
        drop(lock.read()); // brings the bias
        let inside: Arc<AtomicU32> = Arc::default();
        let enter = |inside: &AtomicU32, step: u32| {
            let others = inside.fetch_add(step, Ordering::SeqCst);
            assert!(others < 0x100 && !(step == 0x100 && others != 0), "{others:#x} beside a writer");
        };
        let reader = || {
            let (lock, inside) = (Arc::clone(&lock), Arc::clone(&inside));
            thread::spawn(move || {
                for _ in 0..2 {
                    let held = lock.read();
                    enter(&inside, 1);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(held);
                }
            })
        };
        let writer = |waits: bool| {
            let (lock, inside) = (Arc::clone(&lock), Arc::clone(&inside));
            thread::spawn(move || {
                let held = if waits { Some(lock.write()) } else { lock.try_write() };
                if held.is_some() {
                    enter(&inside, 0x100);
                    inside.fetch_sub(0x100, Ordering::SeqCst);
                }
            })
        };
        let all = [reader(), writer(true), reader(), writer(false)];
        all.into_iter().for_each(|one| one.join().expect("no panic"));
    });
}

const H_1: &str = "of_a_light_and_a_heavy_barrier_one_side_sees_the_other";
const STEADY: &str = "a_value_that_is_looked_at_is_dropped_after_the_last_look_and_once";
const AGAIN: &str = "a_key_finds_its_own_value_or_nothing_while_its_entry_is_used_again";
const BIASED: &str = "a_writer_is_alone_inside_and_wakes_when_the_last_reader_goes";

/// A check that a missing step does not fail shows nothing.
#[test]
fn each_check_finds_the_fault_when_a_step_is_left_out() {
    const GONE: &str = "a value that is looked at"; // what `Steady` says of one that is not there
    const LEFT: &str = "nobody dropped it"; // also when the last look's end was not seen by who removes
    is_found_without("ReachOthers", H_1, &["both missed the other's store"]);
    for step in ["ReachOthers", "LookAgain", "LookAtNotes"] {
        let early = ["dropped while somebody looks", "dropped too early", "found after its removal", LEFT, GONE];
        is_found_without(step, STEADY, &early);
        is_found_without(step, BIASED, &["beside a writer", "deadlock"]);
    }
    is_found_without("LookAgain", AGAIN, &["another's value", GONE]);
    is_found_without("LookAway", STEADY, &[LEFT]);
    is_found_without("LookAway", BIASED, &["deadlock"]);
    is_found_without("LockToWake", BIASED, &["deadlock"]);
}

/// Where the host has no membarrier there are counts, locks and full barriers in its place.
#[test]
fn the_claims_stand_on_a_host_without_membarrier() {
    for check in [H_1, STEADY, AGAIN, BIASED] {
        stands_without("OfferBarrier", check);
    }
}
