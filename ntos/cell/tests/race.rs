//! A data race on purpose, so that a run of `cargo xtask accept tsan` knows that ThreadSanitizer looks: it must report this one.
#![expect(unsafe_code, reason = "the race itself; a crate of unsafe code is the place for it")]

use std::cell::UnsafeCell;

struct Raced(UnsafeCell<u64>);
// SAFETY: it is not; that is the point. Nothing but the ignored test below uses it.
unsafe impl Sync for Raced {}

static RACED: Raced = Raced(UnsafeCell::new(0));

fn write(value: u64) {
    // SAFETY: none: two threads do this at the same time, which the sanitizer has to see.
    unsafe { RACED.0.get().write_volatile(value) };
}

#[test]
#[ignore = "a data race: only `cargo xtask accept tsan` runs it, and expects a report"]
fn a_race_that_the_sanitizer_must_report() {
    let other = std::thread::spawn(|| (0..1000).for_each(write));
    (0..1000).for_each(write);
    other.join().expect("no panic");
}
