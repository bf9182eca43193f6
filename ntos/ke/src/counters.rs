//! I/O counters of a thread (those of KTHREAD), and sums of them.
//!
//! Room: ntos/ke. IRQL: any. Locks: none. Rules: KS-W-11, and NtWriteFile's own statistics.
//! A thread counts only for itself, so counting is a load and a store; whoever asks for a process or the system sums up.

use nt_cell::sync::atomic::{AtomicU64, Ordering};

/// IO_COUNTERS of one thread, or a sum.
#[derive(Default, Debug)]
pub struct IoCounters {
    operations: [AtomicU64; 3],
    bytes: [AtomicU64; 3],
    sent: AtomicU64,
    ended: AtomicU64,
}

/// Which counter a request belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Reads.
    Read = 0,
    /// Writes.
    Write = 1,
    /// All else.
    Other = 2,
}

/// Adds for the one thread that ever writes this counter: a plain load and store lose nothing.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

impl IoCounters {
    /// Counts a request that reached a device. Only the thread whose counters these are may call it.
    pub fn operation(&self, operation: Operation) {
        add(&self.operations[operation as usize], 1);
    }

    /// Counts the bytes of a request that succeeded. Only the thread whose counters these are may call it.
    pub fn transferred(&self, operation: Operation, bytes: u64) {
        add(&self.bytes[operation as usize], bytes);
    }

    /// Counts a packet that a service sent. Only the thread whose counters these are may call it.
    pub fn packet_sent(&self) {
        add(&self.sent, 1);
    }

    /// Counts a packet whose end this thread brought about, whoever sent it. Only the thread itself may call it.
    pub fn packet_ended(&self) {
        add(&self.ended, 1);
    }

    /// Returns packets sent less packets ended: what is in flight, once all threads' figures are added up.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.sent.load(Ordering::Relaxed).wrapping_sub(self.ended.load(Ordering::Relaxed)) as i64
    }

    /// Returns {operations, bytes}.
    #[must_use]
    pub fn read(&self, operation: Operation) -> (u64, u64) {
        let at = operation as usize;
        (self.operations[at].load(Ordering::Relaxed), self.bytes[at].load(Ordering::Relaxed))
    }

    /// Adds another's counts to this sum, whose owner holds it exclusively.
    pub fn absorb(&mut self, other: &Self) {
        let pairs = self.operations.iter_mut().zip(&other.operations).chain(self.bytes.iter_mut().zip(&other.bytes));
        for (mine, more) in pairs.chain([(&mut self.sent, &other.sent), (&mut self.ended, &other.ended)]) {
            mine.store(mine.load(Ordering::Relaxed).wrapping_add(more.load(Ordering::Relaxed)), Ordering::Relaxed);
        }
    }
}
