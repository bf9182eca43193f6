//! The rules that the code of this thread met, while somebody asks.
//!
//! Room: trace. Called by: `rule!`, tests, the recorder. Touches: a thread-local list. Locks: none. When nobody asks a rule
//! costs one relaxed load.

use crate::RuleId;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};

static COLLECTORS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// One list a collector of this thread, the innermost last.
    static LISTS: RefCell<Vec<Vec<RuleId>>> = const { RefCell::new(Vec::new()) };
}

/// Notes that a rule was met; see [`rule!`](crate::rule).
#[inline]
pub fn meet(rule: RuleId) {
    if COLLECTORS.load(Ordering::Relaxed) > 0 {
        note(rule);
    }
}

#[cold]
fn note(rule: RuleId) {
    LISTS.with_borrow_mut(|lists| {
        if let Some(list) = lists.last_mut()
            && !list.contains(&rule)
        {
            list.push(rule);
        }
    });
}

/// Collects the rules that this thread meets from its start to its end; the innermost collector takes them.
#[derive(Debug)]
pub struct Collector {
    /// A collector ends on the thread that it began on.
    here: PhantomData<*const ()>,
}

impl Collector {
    /// Starts to collect.
    #[must_use]
    pub fn start() -> Self {
        LISTS.with_borrow_mut(|lists| lists.push(Vec::new()));
        COLLECTORS.fetch_add(1, Ordering::Relaxed);
        Self { here: PhantomData }
    }
    /// Ends, and returns each rule once, in the order in which they were met first.
    #[must_use]
    pub fn met(self) -> Vec<RuleId> {
        LISTS.with_borrow_mut(|lists| lists.last_mut().map(std::mem::take)).unwrap_or_default()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        COLLECTORS.fetch_sub(1, Ordering::Relaxed);
        LISTS.with_borrow_mut(Vec::pop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{NT_W_01, NT_W_07};

    #[test]
    fn the_innermost_collector_takes_each_rule_once() {
        let outer = Collector::start();
        meet(NT_W_01);
        let inner = Collector::start();
        meet(NT_W_07);
        meet(NT_W_07);
        assert_eq!(inner.met(), [NT_W_07]);
        assert_eq!(outer.met(), [NT_W_01]);
        meet(NT_W_01);
        assert_eq!(Collector::start().met(), []);
    }

    #[test]
    fn another_thread_keeps_its_rules() {
        let collector = Collector::start();
        std::thread::spawn(|| meet(NT_W_01)).join().expect("no panic");
        assert_eq!(collector.met(), []);
    }
}
