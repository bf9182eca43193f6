//! Copies between callers and the pages of a stream.
//!
//! Room: ntos/cc. Called by: file systems, which hold the file's lock where a size moves. IRQL: PASSIVE_LEVEL.
//! Locks: the map's pages, shared where all pages are there and nothing grows; not held while a paging read is on its
//! way. Source: CcCopyRead, CcCopyWrite, CcZeroData pages; rules NT-CC-10 to NT-CC-17, NT-CC-50, NT-CC-51.

use crate::map::{CacheMap, map_of_file, own_map};
use crate::pages::{PAGE, Pages, View};
use nt_abi::io::{FILE_OBJECT, IRP_MJ_WRITE};
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Fault, Foreign, Region};
use nt_ex::pool::{self, Scratch};
use nt_io::irp::IoStatus;
use nt_ke::work::WorkQueue;
use std::sync::Arc;

/// What a cached write is made of.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    /// The caller's bytes.
    Bytes(Region),
    /// So many zeros.
    Zeros(u64),
}

impl Source {
    fn len(self) -> u64 {
        match self {
            Self::Bytes(region) => region.len() as u64,
            Self::Zeros(len) => len,
        }
    }
    /// Whether it can be read now; brings in what lies in a view.
    fn is_there(self) -> bool {
        match self {
            Self::Bytes(region) => region.probe_read().is_ok(),
            Self::Zeros(_) => true,
        }
    }
    #[inline]
    fn copy(self, done: u64, to: Region) -> Result<(), Fault> {
        match self {
            Self::Bytes(region) => to.copy_from(region.sub(done as usize, to.len())),
            Self::Zeros(_) => to.fill(0),
        }
    }
}

/// Cuts `[start, end)` where views end.
pub(crate) fn pieces(start: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut at = start;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let stop = end.min(Pages::end_of_view(at / PAGE) * PAGE);
        let piece = (at, stop);
        at = stop;
        Some(piece)
    })
}

#[inline]
pub(crate) fn span(view: &View, start: u64, end: u64) -> (u32, u32) {
    (view.index(start / PAGE), view.index((end - 1) / PAGE) + 1)
}

/// Copies into the cache if every page is there and lies below the valid data length: one shared lock, no file system
/// lock. `None` asks for the long way.
#[inline]
pub fn write_resident(file: Foreign<FILE_OBJECT>, start: u64, from: Region) -> Option<Result<(), Fault>> {
    let done = own_map(file, |map| map.write_resident(start, from)).flatten()?;
    if done.is_err() && from.probe_read().is_ok() { None } else { Some(done) }
}

/// Copies out of the cache if every page is there, up to the end of the file; returns how many bytes, 0 past the end.
#[inline]
pub fn read_resident(file: Foreign<FILE_OBJECT>, start: u64, to: Region) -> Option<Result<u64, Fault>> {
    let done = own_map(file, |map| map.read_resident(start, to)).flatten()?;
    if done.is_err() && to.probe_write().is_ok() { None } else { Some(done) }
}

/// CcCopyWrite: `false` when `wait` is not given and a page must be read first.
pub fn copy_write(file: Foreign<FILE_OBJECT>, start: u64, from: Region, wait: bool) -> NtResult<bool> {
    let map = map_of_file(file).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    map.write(start, Source::Bytes(from), wait)
}

/// CcCopyRead: `None` when `wait` is not given and a page must be read first.
pub fn copy_read(file: Foreign<FILE_OBJECT>, start: u64, to: Region, wait: bool) -> NtResult<Option<IoStatus>> {
    let map = map_of_file(file).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let done = map.read(start, to, wait)?;
    if done.is_some() {
        crate::ahead::note_read(&map, file, start, to.len() as u64);
    }
    Ok(done)
}

/// CcZeroData: zeroes `[start, end)` of the stream, in the cache where it is cached (NT-CC-17).
pub fn zero_data(file: Foreign<FILE_OBJECT>, start: u64, end: u64, wait: bool) -> NtResult<bool> {
    if start >= end {
        return Ok(true);
    }
    if let Some(map) = map_of_file(file) {
        let done = map.write(start, Source::Zeros(end - start), wait)?;
        if done && file.addr_at(FILE_OBJECT::PrivateCacheMap) == 0 {
            // The caller is not cached, its stream is: the zeros are written through.
            let result = map.flush_range(start, end - start, true);
            if result.status.is_error() {
                return result.status.fail();
            }
        }
        return Ok(done);
    }
    if !wait {
        return Ok(false);
    }
    zero_medium(file, start, end)?;
    Ok(true)
}

/// Sends zeros to an uncached stream.
fn zero_medium(file: Foreign<FILE_OBJECT>, start: u64, end: u64) -> NtResult<()> {
    let sector = file
        .ptr(FILE_OBJECT::DeviceObject)
        .map_or(0, |device| u64::from(device.get(nt_abi::io::DEVICE_OBJECT::SectorSize)));
    let sector = sector.max(1);
    if !start.is_multiple_of(sector) {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let end = end.next_multiple_of(sector);
    let frame = nt_ke::current();
    let size = (end - start).min(64 << 10) as usize;
    let block = Scratch::new(size, pool::tag(b"CcZe"))?;
    let mut at = start;
    while at < end {
        let zeros = block.region().sub(0, (end - at).min(size as u64) as usize);
        let flags = nt_io::paging::SYNCHRONOUS;
        let sent = nt_io::paging::transfer(&frame, file, IRP_MJ_WRITE, flags, at as i64, zeros);
        if sent.status.is_error() {
            return sent.status.fail();
        }
        at += zeros.len() as u64;
    }
    Ok(())
}

impl CacheMap {
    #[inline]
    fn write_resident(self: &Arc<Self>, start: u64, from: Region) -> Option<Result<(), Fault>> {
        let end = start.checked_add(from.len() as u64)?;
        let pages = self.pages.read();
        if from.is_empty() || end > pages.sizes.valid || end > pages.sizes.file {
            return None;
        }
        let view = pages.get(start / PAGE)?;
        let (a, b) = span(view, start, end);
        if b <= view.count {
            if !view.resident.all(a, b) {
                return None;
            }
            view.touch();
            let copied = view.bytes(start, end).copy_from(from);
            self.soiled(view.dirty.set(a, b));
            return Some(copied);
        }
        let there = pieces(start, end).all(|(at, stop)| {
            pages.get(at / PAGE).is_some_and(|view| {
                let (a, b) = span(view, at, stop);
                view.resident.all(a, b)
            })
        });
        if !there {
            return None;
        }
        for (at, stop) in pieces(start, end) {
            let view = pages.get(at / PAGE)?;
            let (a, b) = span(view, at, stop);
            view.touch();
            let copied = view.bytes(at, stop).copy_from(from.sub((at - start) as usize, (stop - at) as usize));
            self.soiled(view.dirty.set(a, b));
            if copied.is_err() {
                return Some(copied);
            }
        }
        Some(Ok(()))
    }

    #[inline]
    fn read_resident(&self, start: u64, to: Region) -> Option<Result<u64, Fault>> {
        let pages = self.pages.read();
        let end = start.checked_add(to.len() as u64)?.min(pages.sizes.file);
        if start >= end {
            return Some(Ok(0));
        }
        Self::copy_out(&pages, start, to.sub(0, (end - start) as usize)).map(|done| done.map(|()| end - start))
    }

    /// Copies pages that are there; pages past the valid data length need not be: they are zero (NT-CC-50).
    #[inline]
    fn copy_out(pages: &Pages, start: u64, to: Region) -> Option<Result<(), Fault>> {
        let end = start + to.len() as u64;
        let valid = pages.sizes.valid;
        for (at, stop) in pieces(start, end) {
            let view = pages.get(at / PAGE);
            let target = to.sub((at - start) as usize, (stop - at) as usize);
            let copied = match view {
                Some(view)
                    if {
                        let (a, b) = span(view, at, stop);
                        view.resident.all(a, b)
                    } =>
                {
                    view.touch();
                    target.copy_from(view.bytes(at, stop))
                }
                _ => Self::copy_gaps(view.map(|view| &**view), at, stop, valid, target)?,
            };
            if copied.is_err() {
                return Some(copied);
            }
        }
        Some(Ok(()))
    }

    /// As `copy_out`, page by page; `None` when a page below the valid data length is missing.
    #[cold]
    fn copy_gaps(view: Option<&View>, start: u64, end: u64, valid: u64, to: Region) -> Option<Result<(), Fault>> {
        let there = |page: u64| view.is_some_and(|view| view.resident.get(view.index(page)));
        if (start / PAGE..end.div_ceil(PAGE)).any(|page| !there(page) && page * PAGE < valid) {
            return None;
        }
        let mut at = start;
        while at < end {
            let page = at / PAGE;
            let stop = end.min((page + 1) * PAGE);
            let target = to.sub((at - start) as usize, (stop - at) as usize);
            let copied = match view.filter(|_| there(page)) {
                Some(view) => target.copy_from(view.bytes(at, stop)),
                None => target.fill(0),
            };
            if copied.is_err() {
                return Some(copied);
            }
            at = stop;
        }
        Some(Ok(()))
    }

    pub(crate) fn read(self: &Arc<Self>, start: u64, to: Region, wait: bool) -> NtResult<Option<IoStatus>> {
        let end = start.checked_add(to.len() as u64).ok_or(NtStatus::INVALID_PARAMETER.error())?;
        let frame = nt_ke::current();
        loop {
            let copied = Self::copy_out(&self.pages.read(), start, to);
            match copied {
                Some(Ok(())) => {
                    self.manager.trim();
                    return Ok(Some(IoStatus::new(NtStatus::SUCCESS, to.len() as u64)));
                }
                // A view's pages may have to be brought in, which the copy, under the lock, cannot wait for.
                Some(Err(_)) if to.probe_write().is_ok() => continue,
                Some(Err(_)) => return NtStatus::INVALID_USER_BUFFER.fail(),
                None => {}
            }
            let (from, to) = (start / PAGE, end.div_ceil(PAGE));
            if !wait {
                self.page_in_later(&frame, from, to);
                return Ok(None);
            }
            self.page_in(&frame, from, to)?;
        }
    }

    /// Starts the paging read that a caller did not want to wait for (NT-CC-14).
    fn page_in_later(self: &Arc<Self>, frame: &nt_ke::Frame, from: u64, to: u64) {
        let map = Arc::clone(self);
        WorkQueue::queue(&frame.kernel, move || {
            let frame = nt_ke::current();
            while map.page_in(&frame, from, to).is_ok_and(|more| more) {}
        });
    }

    /// Copies into the cache: pages that the write covers in part are read first where they hold valid data; whole pages
    /// and pages past the valid data length are not (NT-CC-13).
    pub(crate) fn write(self: &Arc<Self>, start: u64, source: Source, wait: bool) -> NtResult<bool> {
        if source.len() == 0 {
            return Ok(true);
        }
        let end = start.checked_add(source.len()).filter(|&end| i64::try_from(end).is_ok());
        let end = end.ok_or(NtStatus::INVALID_PARAMETER.error())?;
        let frame = nt_ke::current();
        // A source that cannot be read needs the old bytes of every page that it may cover in part.
        let sound = source.is_there();
        'again: loop {
            let mut pages = self.pages.write();
            let valid = pages.sizes.valid;
            let lacking = |pages: &Pages, page: u64| {
                let covered = sound && start <= page * PAGE && (page + 1) * PAGE <= end;
                page * PAGE < valid
                    && !covered
                    && pages.get(page).is_none_or(|view| !view.resident.get(view.index(page)))
            };
            let (first, last) = (start / PAGE, (end - 1) / PAGE);
            // A sound source covers all pages but the two at its ends.
            let lack = if sound {
                [first, last].into_iter().find(|&page| lacking(&pages, page))
            } else {
                (first..=last).find(|&page| lacking(&pages, page))
            };
            if let Some(page) = lack {
                drop(pages);
                if !wait {
                    self.page_in_later(&frame, page, page + 1);
                    return Ok(false);
                }
                self.page_in(&frame, page, page + 1)?;
                continue;
            }
            // A page that is being read in by somebody else is neither here nor free to fill.
            let thread = frame.thread.id();
            let fresh = (first..=last).any(|page| pages.get(page).is_none_or(|v| !v.resident.get(v.index(page))));
            if fresh && self.traffic(first, last + 1, thread) == crate::fault::Traffic::Others {
                drop(pages);
                self.wait_for_traffic(first, last + 1, thread);
                continue;
            }
            for (at, stop) in pieces(start, end) {
                let view = Arc::clone(pages.ensure(at / PAGE)?);
                if let Err(error) = self.fill_view(&view, at, stop, at - start, source, valid) {
                    drop(pages);
                    if sound && source.is_there() {
                        continue 'again; // the mapped page writer took a right of a view meanwhile
                    }
                    return Err(error);
                }
            }
            if valid < end {
                pages.sizes.valid = end;
                self.block.set(crate::layout::SHARED_CACHE_MAP::ValidDataLength, end as i64);
            }
            drop(pages);
            self.manager.trim(); // not before: what a transfer read in stays until it is copied
            return Ok(true);
        }
    }

    /// Copies into one view, run by run of pages that are there or not; nobody else looks at the pages.
    fn fill_view(
        self: &Arc<Self>,
        view: &View,
        start: u64,
        end: u64,
        done: u64,
        source: Source,
        valid: u64,
    ) -> NtResult<()> {
        view.touch();
        let mut at = start;
        while at < end {
            let (a, last) = span(view, at, end);
            let there = view.resident.get(a);
            let b = view.resident.next(a, last, !there).unwrap_or(last);
            let stop = end.min((view.first + u64::from(b)) * PAGE);
            if !there {
                // What the copy leaves of a fresh page is zero: it lies past the valid data.
                let (head, tail) = (at / PAGE * PAGE, stop.next_multiple_of(PAGE));
                let _own_memory = view.bytes(head, at).fill(0);
                let _own_memory = view.bytes(stop, tail).fill(0);
            }
            match source.copy(done + (at - start), view.bytes(at, stop)) {
                Ok(()) => {
                    view.resident.set(a, b);
                    self.soiled(view.dirty.set(a, b));
                }
                Err(_) if there => {
                    self.soiled(view.dirty.set(a, b));
                    return NtStatus::INVALID_USER_BUFFER.fail();
                }
                Err(_) => {
                    // A fresh page keeps nothing of a copy that failed: past the valid data it is zero, below it is read
                    // again.
                    let keep = (at / PAGE * PAGE..stop).step_by(PAGE as usize).take_while(|page| *page >= valid);
                    for page in keep {
                        let _own_memory = view.bytes(page, page + PAGE).fill(0);
                        let index = view.index(page / PAGE);
                        view.resident.set(index, index + 1);
                    }
                    return NtStatus::INVALID_USER_BUFFER.fail();
                }
            }
            at = stop;
        }
        Ok(())
    }
}
