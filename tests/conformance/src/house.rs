//! The machine that a door stands in: two volumes, a recorder, and where asked a filter that refuses fast I/O.
//!
//! Room: tests/conformance. Called by: `doors`, `table`. Calls: `nt_machine`.

use nt_abi::io::{IRP_MJ_READ, IRP_MJ_WRITE};
use nt_fltmgr::{CallbackData, MiniFilter, PreOp};
use nt_machine::{Machine, Recorder, VolumeSpec};
use std::sync::Arc;

/// Sends every read and write down as a packet.
#[derive(Debug)]
struct Refuser;

impl MiniFilter for Refuser {
    fn name(&self) -> &str {
        "nofast"
    }
    fn altitude(&self) -> &str {
        "385999"
    }
    fn operations(&self) -> Vec<(u8, u32)> {
        vec![(IRP_MJ_READ, 0), (IRP_MJ_WRITE, 0)]
    }
    fn pre_operation(&self, data: CallbackData) -> PreOp {
        if data.is_fast_io() { PreOp::DisallowFastIo } else { PreOp::NoCallback }
    }
}

/// A machine for one run of the list.
#[derive(Debug)]
pub struct House {
    machine: Arc<Machine>,
    recorder: Arc<Recorder>,
    refuses: bool,
    hosted: bool,
}

impl House {
    /// Builds one: `C:` with 256 MiB, `D:` with 64 KiB.
    #[must_use]
    pub fn new(refuses: bool) -> Self {
        Self::with(VolumeSpec::Ram { size: Some(256 << 20) }, refuses)
    }

    /// Builds one with a volume `C:`.
    #[must_use]
    pub fn with(volume: VolumeSpec, refuses: bool) -> Self {
        let recorder = Recorder::new(None);
        let hosted = matches!(volume, VolumeSpec::Dir { .. });
        let small = VolumeSpec::Ram { size: Some(64 << 10) };
        let built = Machine::builder().volume(volume).volume(small).recorder(recorder.clone()).build();
        let machine = Arc::new(built.expect("a machine"));
        if refuses {
            machine.add_filter(Arc::new(Refuser)).expect("the filter registers");
        }
        Self { machine, recorder, refuses, hosted }
    }

    /// Returns the machine.
    #[must_use]
    pub fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// Are the files of `C:` the host's?
    #[must_use]
    pub fn is_hosted(&self) -> bool {
        self.hosted
    }

    /// Does a filter refuse fast I/O?
    #[must_use]
    pub fn refuses_fast_io(&self) -> bool {
        self.refuses
    }

    /// How many reads and writes reached a driver so far, fast or as packets; an attempt that was refused is one. What the cache
    /// manager reads and writes, when it likes, is none.
    #[must_use]
    pub fn transfers(&self) -> u64 {
        self.count(|_, _| true)
    }

    /// How many fast I/O routines took.
    #[must_use]
    pub fn fast_transfers(&self) -> u64 {
        self.count(|fast, status| fast && status != "0xc01c0004")
    }

    fn count(&self, which: impl Fn(bool, &str) -> bool) -> u64 {
        let report = self.recorder.report();
        let transfers = |major: &str| matches!(major, "IRP_MJ_READ" | "IRP_MJ_WRITE");
        let rows = report.requests.iter().filter(|row| transfers(&row.major) && !row.paging);
        rows.flat_map(|row| row.statuses.iter().filter(|(status, _)| which(row.fast, status)).map(|(_, count)| count))
            .sum()
    }

    /// Ends the machine; what was left behind is an error of the list.
    pub fn end(self) -> Result<(), String> {
        let machine = Arc::into_inner(self.machine).ok_or("somebody still holds the machine")?;
        let leaks = machine.shutdown();
        if leaks.requests == 0 && leaks.handles.is_empty() { Ok(()) } else { Err(format!("{leaks:?}")) }
    }
}
