//! Dates of files whose data comes to the host later than it was written (`--cache behind`).
//!
//! Room: drivers/memfs. Called by: attributes, content. IRQL: PASSIVE_LEVEL. Locks: a file's `times`, then the table.
//! The host dates a file when its pages come, but the write that they belong to was dated before (NT-S-09). The time of the
//! last write is put back. The time of change cannot be: the host's is shown as it was before, as long as nothing else
//! changed the file. That memory lasts as long as the mount.

use super::host::{Host, call};
use super::status::error;
use nt_abi::NtResult;
use nt_ke::Mutex;
use rustix::fs::{Statx, StatxTimestamp, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

/// How many files are remembered; the oldest go first, and show the host's time then.
const MOST: usize = 1 << 16;

type Time = (i64, u32);

/// The times of change that are shown in the place of the host's.
#[derive(Default)]
pub(super) struct LateDates {
    any: AtomicBool,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// By file id: the host's time of change that a late write left, and the one to show for it.
    shown: HashMap<u64, (Time, Time)>,
    order: VecDeque<u64>,
}

fn time(at: StatxTimestamp) -> Time {
    (at.tv_sec, at.tv_nsec)
}

impl LateDates {
    /// Did anything come late?
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Puts the time of change that is to be shown into what the host told.
    pub(super) fn show(&self, stat: &mut Statx) {
        if !self.any() {
            return;
        }
        if let Some((left, shown)) = self.table.lock().shown.get(&stat.stx_ino)
            && *left == time(stat.stx_ctime)
        {
            (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec) = *shown;
        }
    }

    fn keep(&self, id: u64, left: Time, shown: Time) {
        let mut table = self.table.lock();
        if table.shown.insert(id, (left, shown)).is_none() {
            table.order.push_back(id);
        }
        if table.order.len() > MOST
            && let Some(oldest) = table.order.pop_front()
        {
            table.shown.remove(&oldest);
        }
        self.any.store(true, Ordering::Release);
    }
}

/// Dates the file: what it is dated for comes to the host later.
pub(super) fn date(host: &Host) -> NtResult<()> {
    let _times = host.times.lock();
    set_written(host, Timespec { tv_sec: 0, tv_nsec: UTIME_NOW })
}

/// Writes what was dated before.
pub(super) fn keeping_date<R>(host: &Host, write: impl FnOnce() -> NtResult<R>) -> NtResult<R> {
    let _times = host.times.lock();
    let before = host.stat()?;
    let result = write()?;
    set_written(host, Timespec { tv_sec: before.stx_mtime.tv_sec, tv_nsec: before.stx_mtime.tv_nsec.into() })?;
    let after = super::host::stat(host.base(), "").map_err(error)?;
    host.shared.late.keep(after.stx_ino, time(after.stx_ctime), time(before.stx_ctime));
    Ok(result)
}

fn set_written(host: &Host, written: Timespec) -> NtResult<()> {
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times = Timestamps { last_access, last_modification: written };
    let opened = host.writing().map_err(error)?;
    call(|| rustix::fs::futimens(opened, &times)).map_err(error)
}
