//! I/O counters that a user can read: of a process, of the machine, in the report.
//!
//! Room: machine. Called by: embedding programs, `recorder`. Calls: `nt_ps`. IRQL: PASSIVE_LEVEL. Locks: the lists of
//! counters, while they are summed. Source: IO_COUNTERS, GetProcessIoCounters pages; rule KS-W-11. A call that reached a device
//! counts once, its bytes when it succeeded; a refused one does not count.

use crate::report::ProcessRow;
use crate::{Client, Machine};
use nt_ps::counters::Operation;

/// IO_COUNTERS: {operations, bytes} of reads, of writes, and of all else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoStatistics {
    /// ReadOperationCount.
    pub reads: u64,
    /// ReadTransferCount.
    pub read_bytes: u64,
    /// WriteOperationCount.
    pub writes: u64,
    /// WriteTransferCount.
    pub write_bytes: u64,
    /// OtherOperationCount.
    pub others: u64,
    /// OtherTransferCount.
    pub other_bytes: u64,
}

impl IoStatistics {
    fn read(of: impl Fn(Operation) -> (u64, u64)) -> Self {
        let ((reads, read_bytes), (writes, write_bytes)) = (of(Operation::Read), of(Operation::Write));
        let (others, other_bytes) = of(Operation::Other);
        Self { reads, read_bytes, writes, write_bytes, others, other_bytes }
    }

    pub(crate) fn of(process: &nt_ps::Process) -> Self {
        Self::read(|operation| process.counters.read(operation))
    }

    /// The row of a process of that name.
    pub(crate) fn row(self, name: &str) -> ProcessRow {
        ProcessRow {
            name: name.to_owned(),
            processes: 1,
            reads: self.reads,
            read_bytes: self.read_bytes,
            writes: self.writes,
            write_bytes: self.write_bytes,
            others: self.others,
        }
    }
}

impl Client {
    /// Returns what this process has read and written so far, by all its threads.
    #[must_use]
    pub fn statistics(&self) -> IoStatistics {
        IoStatistics::of(self.process())
    }
}

impl Machine {
    /// Returns what all processes have read and written so far, those that ended included.
    #[must_use]
    pub fn statistics(&self) -> IoStatistics {
        IoStatistics::read(|operation| self.processes().counters(operation))
    }

    /// Tells the recorder what a process did that is about to end.
    pub(crate) fn account(&self, process: &nt_ps::Process) {
        if let Some(recorder) = self.recorder() {
            recorder.add_process(&IoStatistics::of(process).row(process.name()));
        }
    }
}
