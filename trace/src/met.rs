//! The rules that the code of this thread met, while somebody asks.
//!
//! Room: trace. Called by: `rule!`, tests, the I/O manager for its listener. Touches: a thread-local list. Locks: none. When nobody
//! asks a rule costs one relaxed load.

use crate::RuleId;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Those who ask: collectors, and listeners that want every request's rules.
static ASKING: Alone = Alone(AtomicUsize::new(0));

/// A cache line that nobody writes while requests read it.
#[repr(align(128))]
struct Alone(AtomicUsize);

#[derive(Default)]
struct List {
    rules: Vec<RuleId>,
    /// The request that they are collected for, as its listener names it; 0 before it starts and after its end.
    span: u64,
    /// A request was started for it.
    named: bool,
}

thread_local! {
    /// One list a collector of this thread, the innermost last.
    static LISTS: RefCell<Vec<List>> = const { RefCell::new(Vec::new()) };
}

/// Notes that a rule was met; see [`rule!`](crate::rule).
#[inline]
pub fn meet(rule: RuleId) {
    if asked() {
        note(rule);
    }
}

/// The same for a rule that is known by its id, as findings name theirs.
pub fn meet_named(id: &str) {
    if asked()
        && let Some(rule) = crate::place(id)
    {
        note(rule);
    }
}

/// Does anybody ask, on any thread?
#[inline]
#[must_use]
pub fn asked() -> bool {
    ASKING.0.load(Ordering::Relaxed) > 0
}

#[cold]
#[inline(never)]
fn note(rule: RuleId) {
    LISTS.with_borrow_mut(|lists| {
        if let Some(list) = lists.last_mut()
            && !list.rules.contains(&rule)
        {
            list.rules.push(rule);
        }
    });
}

/// Asks for the rules of every request, as long as it lives: who starts a request collects them.
#[derive(Debug)]
pub struct Asking(());

impl Asking {
    /// Asks.
    #[must_use]
    pub fn start() -> Self {
        ASKING.0.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        ASKING.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Collects the rules that this thread meets from its start to its end; the innermost collector takes them.
#[derive(Debug)]
pub struct Collector {
    _asking: Asking,
    /// A collector ends on the thread that it began on.
    here: PhantomData<*const ()>,
}

impl Collector {
    /// Starts to collect.
    #[must_use]
    pub fn start() -> Self {
        LISTS.with_borrow_mut(|lists| lists.push(List::default()));
        Self { _asking: Asking::start(), here: PhantomData }
    }
    /// Starts to collect for a request that was started elsewhere.
    #[must_use]
    pub fn start_for(span: u64) -> Self {
        LISTS.with_borrow_mut(|lists| lists.push(List { span, named: true, ..List::default() }));
        Self { _asking: Asking::start(), here: PhantomData }
    }
    /// Ends, and returns each rule once, in the order in which they were met first.
    #[must_use]
    pub fn met(self) -> Vec<RuleId> {
        LISTS.with_borrow_mut(|lists| lists.last_mut().map(|list| std::mem::take(&mut list.rules))).unwrap_or_default()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        LISTS.with_borrow_mut(Vec::pop);
    }
}

/// What the innermost collector of this thread has so far.
#[must_use]
pub fn so_far() -> Vec<RuleId> {
    LISTS.with_borrow(|lists| lists.last().map(|list| list.rules.clone())).unwrap_or_default()
}

/// The request that the innermost collector collects for, 0 for none.
#[must_use]
pub fn span() -> u64 {
    LISTS.with_borrow(|lists| lists.last().map_or(0, |list| list.span))
}

/// Was a request ever started under the innermost collector?
#[must_use]
pub fn was_named() -> bool {
    LISTS.with_borrow(|lists| lists.last().is_some_and(|list| list.named))
}

/// Names the request that the innermost collector collects for; one that is still under way keeps the collector. 0 ends it.
pub fn name_span(span: u64) {
    LISTS.with_borrow_mut(|lists| {
        if let Some(list) = lists.last_mut()
            && (list.span == 0 || span == 0)
        {
            list.span = span;
            list.named |= span != 0;
        }
    });
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
    fn a_collector_belongs_to_one_request_at_a_time() {
        let _asking = Asking::start();
        assert!(asked() && span() == 0);
        let _collector = Collector::start();
        assert!(!was_named());
        name_span(7);
        name_span(8);
        assert_eq!(span(), 7, "the first is still under way");
        meet(NT_W_01);
        name_span(0);
        name_span(8);
        assert_eq!((span(), so_far()), (8, vec![NT_W_01]));
        let inner = Collector::start_for(9);
        assert!(was_named() && span() == 9 && inner.met().is_empty());
    }

    #[test]
    fn another_thread_keeps_its_rules() {
        let collector = Collector::start();
        std::thread::spawn(|| meet(NT_W_01)).join().expect("no panic");
        assert_eq!(collector.met(), []);
    }
}
