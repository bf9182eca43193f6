//! The lazy writer: rounds over the dirty streams, and what happens to writes that keep failing.
//!
//! Room: ntos/cc. Called by: the machine's timer, throttled writers, tests. IRQL: PASSIVE_LEVEL, in a thread of the
//! system process. Locks: the file system's, by AcquireForLazyWrite.
//! Source: rules NT-CC-34 to NT-CC-38, NT-CC-79, NT-CC-80. A timed round writes what was dirty at the former one.

use crate::flush::Pick;
use crate::manager::{Loss, Manager};
use crate::map::CacheMap;
use nt_abi::io::{FILE_OBJECT, FO_TEMPORARY_FILE};
use nt_abi::ke::{KDPC, KTIMER};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;
use nt_ex::pool;
use nt_io::{System, paging};
use nt_ke::work::WorkQueue;
use nt_ke::{Kernel, dpc, timer};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A second, relative, in 100 ns.
const ROUND: i64 = -10_000_000;
/// A page that failed in so many rounds in a row is given up (NT-CC-80).
const LAST_TRY: u32 = 3;

/// The timer that calls the lazy writer, with its DPC.
#[derive(Debug)]
pub(crate) struct Timer {
    timer: Foreign<KTIMER>,
    dpc: Foreign<KDPC>,
}

impl Timer {
    fn new() -> NtResult<Self> {
        let short = NtStatus::INSUFFICIENT_RESOURCES.error();
        let armed = pool::zeroed::<KTIMER>(pool::tag(b"CcTi")).ok_or(short)?;
        let Some(dpc) = pool::zeroed::<KDPC>(pool::tag(b"CcDp")) else {
            pool::free(armed);
            return Err(short);
        };
        timer::initialize(armed, 0);
        dpc::initialize(dpc, Some(crate::exports::lazy_scan()), 0, false);
        Ok(Self { timer: armed, dpc })
    }
    /// Disarms and frees the timer; a DPC of it that is queued has run.
    pub(crate) fn end(self, kernel: &Kernel) {
        timer::cancel(kernel, self.timer);
        kernel.drain();
        pool::free(self.timer);
        pool::free(self.dpc);
    }
}

/// Errors that are tried again without end (NT-CC-80).
fn is_passing(status: NtStatus) -> bool {
    matches!(
        status,
        NtStatus::FILE_LOCK_CONFLICT
            | NtStatus::INSUFFICIENT_RESOURCES
            | NtStatus::CANT_WAIT
            | NtStatus::VERIFY_REQUIRED
            | NtStatus::DEVICE_NOT_READY
    ) || status.is_warning()
}

impl Manager {
    /// Sets the timer, if it is not set: something is dirty.
    pub(crate) fn arm(&self) {
        if self.armed.swap(true, Ordering::AcqRel) {
            return;
        }
        let Some(kernel) = self.kernel() else { return };
        let mut slot = self.timer.lock();
        if slot.is_none() {
            *slot = Timer::new().ok();
        }
        if let Some(armed) = &*slot {
            timer::set(&kernel, armed.timer, ROUND, 0, Some(armed.dpc));
        }
    }

    /// The timer fired: a worker does the round.
    pub(crate) fn scan_later(kernel: &Arc<Kernel>) {
        let for_job = Arc::clone(kernel);
        WorkQueue::queue(kernel, move || {
            let manager = Self::of(&for_job);
            manager.armed.store(false, Ordering::Release);
            manager.scan(true);
            if manager.dirty_pages() != 0 {
                manager.arm();
            }
        });
    }

    /// A round now, by a worker: writers are throttled.
    pub(crate) fn kick(&self, kernel: &Arc<Kernel>) {
        let for_job = Arc::clone(kernel);
        WorkQueue::queue(kernel, move || Self::of(&for_job).scan(false));
    }

    /// A round of the lazy writer that writes all that is dirty now; it has ended when this returns. What a test calls,
    /// and CcWaitForCurrentLazyWriterActivity (NT-CC-38).
    pub fn write_all(&self) {
        if let Some(kernel) = self.kernel() {
            self.as_system(&kernel, |_| self.scan(false));
        }
    }

    fn scan(&self, aged: bool) {
        let maps = self.maps.lock().clone();
        for map in maps {
            if map.mapped_write() {
                map.lazy_write(aged);
            }
        }
        self.ease();
    }

    /// A round of the mapped page writer (NT-CC-66): what views have stored is written. What a test calls.
    pub fn write_mapped(&self) {
        let Some(kernel) = self.kernel() else { return };
        self.as_system(&kernel, |_| {
            for map in self.streams() {
                let _ended = !map.mapped_write();
            }
        });
    }
}

impl CacheMap {
    /// One stream's part of a round (NT-CC-35). The caller is a thread of the system process.
    fn lazy_write(&self, aged: bool) {
        let Some(callbacks) = self.callbacks() else { return };
        let passed_over = aged && (self.is_through() || self.file.get(FILE_OBJECT::Flags) & FO_TEMPORARY_FILE != 0);
        if self.dirty.load(Ordering::Acquire) != 0
            && !passed_over
            && self.write_behind.load(Ordering::Relaxed)
            && callbacks.acquire_for_lazy_write(!aged)
        {
            let pick = if aged { Pick::Aged } else { Pick::Dirty };
            let (status, written) = self.write_out(0, u64::MAX, pick);
            callbacks.release_from_lazy_write();
            if crate::flush::is_failure(status) {
                self.failed(status);
            } else {
                self.failures.store(0, Ordering::Relaxed);
                if written != 0 {
                    self.tell_valid();
                }
            }
        }
        if aged {
            let pages = self.pages.write();
            pages.views(0, u64::MAX).for_each(|view| view.aged.become_like(&view.dirty));
        }
        if self.opens() == 0 {
            let _not_yet = self.tear_down(None);
        }
    }

    /// Writes what is dirty, as the lazy writer does, for a service that waits (`--cache through`).
    pub(crate) fn write_now(&self) -> NtStatus {
        if self.dirty.load(Ordering::Acquire) == 0 && self.flights.lock().is_empty() {
            return NtStatus::SUCCESS;
        }
        let Some(kernel) = self.manager.kernel() else { return NtStatus::SUCCESS };
        self.manager.as_system(&kernel, |_| {
            let callbacks = self.callbacks().filter(|_| self.write_behind.load(Ordering::Relaxed));
            let Some(callbacks) = callbacks.filter(|callbacks| callbacks.acquire_for_lazy_write(true)) else {
                return NtStatus::SUCCESS;
            };
            let (status, written) = self.write_out(0, u64::MAX, Pick::Dirty);
            callbacks.release_from_lazy_write();
            if status.is_success() && written != 0 {
                self.tell_valid();
            }
            if self.opens() == 0 {
                let _not_yet = self.tear_down(None);
            }
            status
        })
    }

    /// Tells the file system how far the data of a file that has grown is on the medium (NT-CC-36).
    fn tell_valid(&self) {
        let sizes = self.pages.read().sizes;
        if sizes.valid >= i64::MAX as u64 || self.dirty.load(Ordering::Acquire) != 0 {
            return;
        }
        let valid = sizes.valid.min(sizes.file) as i64;
        if self.told.fetch_max(valid, Ordering::AcqRel) < valid {
            let _silent = paging::advance(&nt_ke::current(), self.file, valid);
        }
    }

    /// A round failed and nobody waits: the third in a row loses the data, and says so (NT-CC-79, NT-CC-80).
    pub(crate) fn failed(&self, status: NtStatus) {
        if is_passing(status) || self.failures.fetch_add(1, Ordering::AcqRel) + 1 < LAST_TRY {
            return;
        }
        self.failures.store(0, Ordering::Relaxed);
        let Some((from, to)) = self.give_up() else { return };
        let file = nt_rtl::unicode::text(self.file.at(FILE_OBJECT::FileName));
        let loss = Loss { file: file.clone(), offset: from, length: to - from, status };
        if let Some(kernel) = self.manager.kernel() {
            let message = format!("lost delayed write: {file}, {} bytes at {from:#x}: {status}", to - from);
            System::of(&kernel).finding("NT-CC-79", "error", "", &message);
        }
        self.manager.losses.lock().push(loss);
    }
}
