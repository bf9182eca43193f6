//! The machine's clocks: system time and interrupt time in units of 100 ns.
//!
//! Room: ntos/ke. IRQL: any. Locks: none.
//! Source: KeQuerySystemTime, KeQueryInterruptTime pages. Rules: none of the ledgers; house rule 5.
#![expect(clippy::disallowed_methods, reason = "this is the one place that reads the host's clocks")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// 100 ns units between 1601-01-01 and 1970-01-01.
pub const UNIX_EPOCH_AS_FILETIME: i64 = 116_444_736_000_000_000;

/// The clocks of one machine.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock {
    /// Returns the system time: 100 ns units since 1601 (UTC).
    #[must_use]
    pub fn system_time(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => UNIX_EPOCH_AS_FILETIME + (since.as_nanos() / 100) as i64,
            Err(before) => UNIX_EPOCH_AS_FILETIME - (before.duration().as_nanos() / 100) as i64,
        }
    }

    /// Returns the time since the machine started, in 100 ns units; never goes back.
    #[must_use]
    pub fn interrupt_time(&self) -> i64 {
        (self.start.elapsed().as_nanos() / 100) as i64
    }

    /// Returns the time since the machine started in nanoseconds, for traces and reports.
    #[must_use]
    pub fn nanoseconds(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Turns a wait's timeout (negative: relative, positive: absolute system time) into a host deadline.
    #[must_use]
    pub fn deadline(&self, timeout: i64) -> Instant {
        let ticks = if timeout < 0 { timeout.unsigned_abs() } else { (timeout - self.system_time()).max(0) as u64 };
        let nanos = ticks.min(u64::MAX / 200) * 100;
        Instant::now() + std::time::Duration::from_nanos(nanos)
    }
}
