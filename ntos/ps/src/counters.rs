//! I/O counters of a process and of the system (IO_COUNTERS).
//!
//! Room: ntos/ps. IRQL: any. Locks: none; relaxed atomics. Rules: KS-W-11, and NtWriteFile's own statistics.

use std::sync::atomic::{AtomicU64, Ordering};

/// IO_COUNTERS.
#[derive(Default, Debug)]
pub struct IoCounters {
    read_operations: AtomicU64,
    write_operations: AtomicU64,
    other_operations: AtomicU64,
    read_bytes: AtomicU64,
    write_bytes: AtomicU64,
    other_bytes: AtomicU64,
}

/// Which counter a request belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// All else.
    Other,
}

impl IoCounters {
    fn pair(&self, operation: Operation) -> (&AtomicU64, &AtomicU64) {
        match operation {
            Operation::Read => (&self.read_operations, &self.read_bytes),
            Operation::Write => (&self.write_operations, &self.write_bytes),
            Operation::Other => (&self.other_operations, &self.other_bytes),
        }
    }

    /// Counts a request that reached a device.
    pub fn operation(&self, operation: Operation) {
        self.pair(operation).0.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the bytes of a request that succeeded.
    pub fn transferred(&self, operation: Operation, bytes: u64) {
        self.pair(operation).1.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns {operations, bytes}.
    #[must_use]
    pub fn read(&self, operation: Operation) -> (u64, u64) {
        let (count, bytes) = self.pair(operation);
        (count.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed))
    }
}
