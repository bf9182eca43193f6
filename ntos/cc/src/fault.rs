//! Paging requests on their way, and pages that are read in.
//!
//! Room: ntos/cc. IRQL: PASSIVE_LEVEL; a paging read is sent at APC_LEVEL. Locks: the map's pages, then its flights;
//! neither is held while a request is on its way. Source: rules NT-CC-49, NT-CC-50; invariant I4 of cc.md: paging
//! requests of one page never overlap in time.

use crate::map::CacheMap;
use crate::pages::{PAGE, View};
use nt_abi::io::{IRP_MJ_READ, IRP_MJ_WRITE};
use nt_abi::{NtResult, NtStatus};
use nt_io::irp::IoStatus;
use nt_io::paging;
use nt_ke::{Frame, irql};
use std::sync::Arc;

/// A paging request that was sent and has not come back.
#[derive(Debug)]
pub(crate) struct Flight {
    from: u64,
    to: u64,
    thread: u64,
    /// The pages were dropped meanwhile: what is read must not stay.
    dropped: bool,
}

/// What is in the way of a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Traffic {
    /// Nothing.
    Clear,
    /// Requests of this thread: it is inside a filter's callback.
    Own,
    /// Requests of others.
    Others,
}

impl CacheMap {
    /// Looks for requests that meet pages `[from, to)`.
    pub(crate) fn traffic(&self, from: u64, to: u64, thread: u64) -> Traffic {
        let flights = self.flights.lock();
        let mut met = flights.iter().filter(|flight| flight.from < to && from < flight.to).peekable();
        if met.peek().is_none() {
            Traffic::Clear
        } else if met.any(|flight| flight.thread != thread) {
            Traffic::Others
        } else {
            Traffic::Own
        }
    }

    /// Waits until no request of another thread meets pages `[from, to)`; the caller holds no lock of the map.
    pub(crate) fn wait_for_traffic(&self, from: u64, to: u64, thread: u64) {
        let mut flights = self.flights.lock();
        while flights.iter().any(|flight| flight.from < to && from < flight.to && flight.thread != thread) {
            self.landed.wait(&mut flights);
        }
    }

    /// Notes a request; the caller holds the page lock, so that nobody looks between.
    pub(crate) fn take_off(&self, from: u64, to: u64, thread: u64) {
        self.flights.lock().push(Flight { from, to, thread, dropped: false });
    }

    /// Takes a request off the list; returns whether its pages were dropped meanwhile.
    pub(crate) fn land(&self, from: u64, to: u64, thread: u64) -> bool {
        let mut flights = self.flights.lock();
        let at = flights.iter().position(|each| (each.from, each.to, each.thread) == (from, to, thread));
        let dropped = at.is_some_and(|at| flights.swap_remove(at).dropped);
        drop(flights);
        self.landed.notify_all();
        dropped
    }

    /// Marks this thread's own requests on pages that are dropped.
    pub(crate) fn disown(&self, from: u64, to: u64) {
        for flight in self.flights.lock().iter_mut().filter(|flight| flight.from < to && from < flight.to) {
            flight.dropped = true;
        }
    }

    /// Sends a paging read or write of whole pages of one view.
    pub(crate) fn send(&self, frame: &Frame, view: &View, from: u64, to: u64, write: bool) -> IoStatus {
        let region = view.bytes(from * PAGE, to * PAGE);
        let offset = (from * PAGE) as i64;
        if write {
            return paging::transfer(frame, self.file, IRP_MJ_WRITE, paging::SYNCHRONOUS, offset, region);
        }
        let _level = irql::at(irql::APC_LEVEL.max(irql::current())); // NT-CC-29
        paging::transfer(frame, self.file, IRP_MJ_READ, paging::SYNCHRONOUS, offset, region)
    }

    /// Reads in the first run of missing pages of `[from, to)` that lie below the valid data length (NT-CC-49); returns
    /// `false` when none is missing.
    pub(crate) fn page_in(&self, frame: &Frame, from: u64, to: u64) -> NtResult<bool> {
        let thread = frame.thread.id();
        let (view, from, to) = {
            let mut pages = self.pages.write();
            let to = to.min(pages.sizes.valid.min(pages.sizes.file).div_ceil(PAGE));
            let missing = |pages: &crate::pages::Pages, page: u64| {
                pages.get(page).is_none_or(|view| !view.resident.get(view.index(page)))
            };
            let Some(first) = (from..to).find(|&page| missing(&pages, page)) else { return Ok(false) };
            let last = to.min(crate::pages::Pages::end_of_view(first));
            let end = (first..last).find(|&page| !missing(&pages, page)).unwrap_or(last);
            match self.traffic(first, end, thread) {
                Traffic::Clear => {}
                // A filter reads through the cache what it is asked to read in: on Windows it waits for itself.
                Traffic::Own => return NtStatus::POSSIBLE_DEADLOCK.fail(),
                Traffic::Others => {
                    drop(pages);
                    self.wait_for_traffic(first, end, thread);
                    return Ok(true);
                }
            }
            let view = Arc::clone(pages.ensure(first)?);
            self.take_off(first, end, thread);
            (view, first, end)
        };
        let result = self.send(frame, &view, from, to, false);
        let read = match result.status {
            NtStatus::END_OF_FILE => Ok(0),
            status if status.is_error() => Err(status.error()),
            _ => Ok((result.information).min((to - from) * PAGE)),
        };
        let pages = self.pages.write();
        let dropped = self.land(from, to, thread);
        let read = read?;
        if !dropped {
            // What lies past the valid data is zero, whatever the medium or a filter says (NT-CC-50).
            let read = read.min(pages.sizes.valid.saturating_sub(from * PAGE));
            let _own_memory = view.bytes(from * PAGE + read, to * PAGE).fill(0);
            view.resident.set(view.index(from), view.index(to - 1) + 1);
        }
        drop(pages);
        Ok(true)
    }
}
