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

    /// Adds all counts to a sum of processes.
    pub(crate) fn leave_to(&self, all: &mut IoCounters) {
        let sum = self.0.lock();
        all.absorb(&sum.ended);
        sum.threads.iter().for_each(|thread| all.absorb(thread));
    }
}
