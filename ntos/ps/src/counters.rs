//! I/O counters of a process: the sum of its threads', those that ended included.
//!
//! Room: ntos/ps. IRQL: PASSIVE_LEVEL. Locks: the list of threads' counters. Rules: KS-W-11, and NtWriteFile's statistics.

use nt_ke::Mutex;
pub use nt_ke::counters::{IoCounters, Operation};
use std::sync::Arc;

/// The counters of a process.
#[derive(Default, Debug)]
pub struct ProcessCounters(Mutex<Sum>);

#[derive(Default, Debug)]
struct Sum {
    ended: IoCounters,
    threads: Vec<Arc<IoCounters>>,
}

impl Sum {
    /// Takes the counts of threads that are no more: nobody else holds their counters.
    fn settle(&mut self) {
        let Self { ended, threads } = self;
        threads.retain(|thread| {
            let alive = Arc::strong_count(thread) > 1;
            if !alive {
                ended.absorb(thread);
            }
            alive
        });
    }
}

impl ProcessCounters {
    /// A thread of the process starts.
    pub(crate) fn join(&self, thread: &Arc<IoCounters>) {
        let mut sum = self.0.lock();
        sum.settle();
        sum.threads.push(Arc::clone(thread));
    }

    /// Returns {operations, bytes}.
    #[must_use]
    pub fn read(&self, operation: Operation) -> (u64, u64) {
        let sum = self.0.lock();
        let threads = sum.threads.iter().map(|thread| thread.read(operation));
        threads.fold(sum.ended.read(operation), |all, one| (all.0 + one.0, all.1 + one.1))
    }

    /// Returns packets sent less packets ended by these threads.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        let sum = self.0.lock();
        sum.ended.in_flight() + sum.threads.iter().map(|thread| thread.in_flight()).sum::<i64>()
    }

    /// The process ends: its counts, and those of threads that still run, go over to `all`.
    pub(crate) fn leave_to(&self, all: &Self) {
        let mut sum = self.0.lock();
        let mut all = all.0.lock();
        all.settle();
        all.ended.absorb(&sum.ended);
        all.threads.append(&mut sum.threads);
        sum.ended = IoCounters::default();
    }
}
