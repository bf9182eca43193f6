//! Writing dirty pages, dropping pages.
//!
//! Room: ntos/cc. Called by: file systems, `lazy`. IRQL: PASSIVE_LEVEL. Locks: the map's pages; none while a paging
//! write is on its way. Source: CcFlushCache, CcPurgeCacheSection, CcCoherencyFlushAndPurgeCache pages; rules NT-CC-25,
//! NT-CC-26, NT-CC-39 to NT-CC-41, NT-CC-55 to NT-CC-57, NT-CC-63, NT-CC-78.

use crate::fault::Traffic;
use crate::map::{CacheMap, map_of};
use crate::pages::{PAGE, View};
use nt_abi::NtStatus;
use nt_abi::flt::{IRP_MJ_ACQUIRE_FOR_CC_FLUSH, IRP_MJ_RELEASE_FOR_CC_FLUSH};
use nt_abi::mm::SECTION_OBJECT_POINTERS;
use nt_cell::Foreign;
use nt_io::System;
use nt_io::irp::IoStatus;
use nt_ke::Frame;
use std::sync::Arc;
use std::sync::atomic::Ordering;

type Sections = Foreign<SECTION_OBJECT_POINTERS>;

/// CcFlushCache of `[offset, offset + length)`, length 0 or `None` for all of the stream. The paging writes are sent in
/// the calling thread; filters see them between ACQUIRE_FOR_CC_FLUSH and RELEASE_FOR_CC_FLUSH (NT-CC-40, NT-CC-41).
#[must_use]
pub fn flush(sections: Sections, range: Option<(u64, u64)>) -> IoStatus {
    let (offset, length) = match range {
        Some((offset, length)) if length != 0 => (offset, length),
        Some((offset, _)) => (offset, u64::MAX),
        None => (0, u64::MAX),
    };
    match map_of(sections) {
        Some(map) => map.flush_range(offset, length, true),
        None => IoStatus::new(NtStatus::SUCCESS, 0),
    }
}

/// As [`flush`], of all of a stream.
#[must_use]
pub fn flush_stream(map: &CacheMap) -> IoStatus {
    map.flush_range(0, u64::MAX, true)
}

/// CcPurgeCacheSection: drops the pages of the range, unwritten; `false` when one of them cannot go (NT-CC-63).
#[must_use]
pub fn purge(sections: Sections, range: Option<(u64, u64)>) -> bool {
    let Some(map) = map_of(sections) else { return true };
    let (from, to) = match range {
        Some((offset, length)) if length != 0 => (offset / PAGE, offset.saturating_add(length).div_ceil(PAGE)),
        Some((offset, _)) => (offset.div_ceil(PAGE), u64::MAX),
        None => (0, u64::MAX),
    };
    map.drop_pages(from, to, false)
}

/// CcCoherencyFlushAndPurgeCache: what is dirty in the range is written, then the range is dropped (NT-CC-55,
/// NT-CC-56). A flush that fails counts as a purge that fails: CACHE_PAGE_LOCKED (NT-CC-57).
#[must_use]
pub fn coherency_flush_and_purge(sections: Sections, offset: u64, length: u64, no_purge: bool) -> IoStatus {
    let Some(map) = map_of(sections) else { return IoStatus::new(NtStatus::SUCCESS, 0) };
    let flushed = map.flush_range(offset, length, true);
    if no_purge {
        return flushed;
    }
    let (from, to) = (offset / PAGE, offset.saturating_add(length).div_ceil(PAGE));
    if flushed.status.is_error() || !map.drop_pages(from, to, false) {
        return IoStatus::new(NtStatus::CACHE_PAGE_LOCKED, flushed.information);
    }
    flushed
}

/// CcGetFlushedValidData (NT-CC-39).
#[must_use]
pub fn flushed_valid_data(sections: Sections) -> i64 {
    let Some(map) = map_of(sections) else { return i64::MAX };
    let pages = map.pages.read();
    let lowest = pages
        .views(0, u64::MAX)
        .find_map(|view| view.dirty.next(0, view.count, true).map(|index| (view.first + u64::from(index)) * PAGE));
    lowest.unwrap_or(pages.sizes.valid).min(i64::MAX as u64) as i64
}

/// Whether a paging write has not happened: errors, and warnings that ask for another try (NT-CC-80).
pub(crate) fn is_failure(status: NtStatus) -> bool {
    status.is_error() || status.is_warning()
}

/// Which dirty pages are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pick {
    /// All.
    Dirty,
    /// Those that were dirty a round ago.
    Aged,
    /// Those that became dirty by a view.
    ByView,
}

/// A run of pages that is about to be written.
pub(crate) struct Run {
    pub(crate) view: Arc<View>,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// How many pages count as dirty for it until it has landed.
    pages: u32,
    /// A view has made some of it dirty.
    by_view: bool,
}

impl CacheMap {
    /// Flushes a range with its notices; nothing dirty, nothing sent.
    pub(crate) fn flush_range(&self, offset: u64, length: u64, notify: bool) -> IoStatus {
        let (from, to) = (offset / PAGE, offset.saturating_add(length).div_ceil(PAGE));
        self.collect(from, to);
        let notify = notify && self.dirty.load(Ordering::Acquire) != 0 && self.any_dirty(from, to);
        let frame = nt_ke::current();
        let system = System::of(&frame.kernel);
        if notify {
            system.notify_filters(self.file, IRP_MJ_ACQUIRE_FOR_CC_FLUSH);
        }
        let (status, written) = self.write_out(from, to, Pick::Dirty);
        if notify {
            system.notify_filters(self.file, IRP_MJ_RELEASE_FOR_CC_FLUSH);
        }
        let all = if length == u64::MAX { self.pages.read().sizes.file.saturating_sub(offset) } else { length };
        IoStatus::new(status, if status.is_error() { written } else { all })
    }

    /// Whether a page of `[from, to)` is dirty.
    pub(crate) fn any_dirty(&self, from: u64, to: u64) -> bool {
        let pages = self.pages.read();
        pages.views(from, to).any(|view| {
            let (a, b) = (view.index(from.max(view.first)), view.index(to.min(view.end())));
            view.dirty.next(a, b, true).is_some()
        })
    }

    /// Writes dirty pages of `[from, to)` in ascending order; neighbours go in one request (NT-CC-26). Returns the first error,
    /// and how many bytes were written before it.
    pub(crate) fn write_out(&self, from: u64, to: u64, pick: Pick) -> (NtStatus, u64) {
        let frame = nt_ke::current();
        self.write_runs(&frame, from, to, pick, |run| self.send(&frame, &run.view, run.from, run.to, true))
    }

    /// As [`CacheMap::write_out`]; `send` sends the request of a run.
    pub(crate) fn write_runs(
        &self,
        frame: &Frame,
        from: u64,
        to: u64,
        pick: Pick,
        send: impl Fn(&Run) -> IoStatus,
    ) -> (NtStatus, u64) {
        let mut at = from;
        let mut written = 0;
        while let Some(run) = self.next_run(frame, at, to, pick) {
            let result = send(&run);
            self.landed(frame, &run, result.status);
            if is_failure(result.status) {
                return (result.status, written);
            }
            written += (run.to - run.from) * PAGE;
            at = run.to;
        }
        (NtStatus::SUCCESS, written)
    }

    /// Finds dirty pages that are not on their way, and marks them clean and on their way.
    fn next_run(&self, frame: &Frame, from: u64, to: u64, pick: Pick) -> Option<Run> {
        let thread = frame.thread.id();
        let mut at = from;
        loop {
            let pages = self.pages.write();
            let found = pages.views(at, to).find_map(|view| {
                let bits = match pick {
                    Pick::Dirty => &view.dirty,
                    Pick::Aged => &view.aged,
                    Pick::ByView => &view.by_view,
                };
                let (a, b) = (view.index(at.max(view.first)), view.index(to.min(view.end())));
                let first = bits.next(a, b, true)?;
                let end = bits.next(first, b, false).unwrap_or(b);
                Some((Arc::clone(view), first, end))
            });
            let Some((view, a, b)) = found else {
                // Pages on their way by others count as dirty until they have landed: their data is not on the medium.
                if self.traffic(from, to, thread) != Traffic::Others {
                    return None;
                }
                drop(pages);
                self.wait_for_traffic(from, to, thread);
                if pick != Pick::Dirty || !self.any_dirty(from, to) {
                    return None;
                }
                at = from;
                continue;
            };
            let (first, end) = (view.first + u64::from(a), view.first + u64::from(b));
            match self.traffic(first, end, thread) {
                Traffic::Others => {
                    drop(pages);
                    self.wait_for_traffic(first, end, thread);
                    continue;
                }
                // A filter's write inside the paging write of the same pages: that request takes them along or the next
                // flush does.
                Traffic::Own => {
                    at = end;
                    continue;
                }
                Traffic::Clear => {}
            }
            // The exclusive lock is what makes "clean, then read" safe against a writer that sees the page dirty.
            view.aged.clear(a, b);
            let by_view = view.by_view.clear(a, b) != 0;
            let gone = view.dirty.clear(a, b);
            self.take_off(first, end, thread);
            return Some(Run { view, from: first, to: end, pages: gone, by_view });
        }
    }

    /// A run has been written, or has not.
    fn landed(&self, frame: &Frame, run: &Run, status: NtStatus) {
        let pages = self.pages.write();
        let dropped = self.land(run.from, run.to, frame.thread.id());
        let mut clean = run.pages;
        if is_failure(status) && !dropped {
            // NT-CC-78: the pages stay dirty and are tried again.
            let (a, b) = (run.view.index(run.from), run.view.index(run.to - 1) + 1);
            clean = run.pages.saturating_sub(run.view.dirty.set(a, b));
            run.view.aged.set(a, b);
            if run.by_view {
                run.view.by_view.set(a, b);
            }
            if !self.is_through() {
                self.manager.arm();
            }
        }
        drop(pages);
        self.cleaned(clean);
    }

    /// Drops pages `[from, to)`. Pages that are pinned or that a view looks at cannot go: `false`, and
    /// nothing is dropped unless `hard`.
    pub(crate) fn drop_pages(&self, from: u64, to: u64, hard: bool) -> bool {
        if from >= to {
            return true;
        }
        let thread = nt_ke::current().thread.id();
        loop {
            let mut pages = self.pages.write();
            let pinned =
                pages.is_viewed(from, to) || pages.views(from, to).any(|view| view.pins.load(Ordering::Acquire) != 0);
            if pinned && !hard {
                return false;
            }
            match self.traffic(from, to, thread) {
                Traffic::Others => {
                    drop(pages);
                    self.wait_for_traffic(from, to, thread);
                    continue;
                }
                Traffic::Own => self.disown(from, to),
                Traffic::Clear => {}
            }
            pages.close_views(from, to);
            let mut gone = 0;
            for view in pages.views(from, to) {
                let (a, b) = (view.index(from.max(view.first)), view.index(to.min(view.end())));
                view.resident.clear(a, b);
                view.aged.clear(a, b);
                view.by_view.clear(a, b);
                self.stored.fetch_sub(view.stored.clear(a, b) as usize, Ordering::AcqRel);
                gone += view.dirty.clear(a, b);
            }
            pages.trim();
            drop(pages);
            self.cleaned(gone);
            return !pinned;
        }
    }

    /// Gives up what is dirty: the data is lost (NT-CC-79). Returns the range that was dirty.
    pub(crate) fn give_up(&self) -> Option<(u64, u64)> {
        let pages = self.pages.write();
        let mut lost: Option<(u64, u64)> = None;
        let mut gone = 0;
        for view in pages.views(0, u64::MAX) {
            for index in 0..view.count {
                if view.dirty.get(index) {
                    let at = (view.first + u64::from(index)) * PAGE;
                    lost = Some(lost.map_or((at, at + PAGE), |(from, _)| (from, at + PAGE)));
                }
            }
            view.aged.clear(0, view.count);
            view.by_view.clear(0, view.count);
            gone += view.dirty.clear(0, view.count);
        }
        drop(pages);
        self.cleaned(gone);
        lost
    }
}
