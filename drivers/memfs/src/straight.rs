//! Cached transfers that go straight to the host: a `dir` volume whose paging requests nobody would see.
//!
//! Room: drivers/memfs. Called by: `cached`. IRQL: PASSIVE_LEVEL. Locks: the node's main lock, then its data lock.
//! Source: house rule 9: where no filter wants paging writes, `through` on `dir` is one write of the host. What the host
//! changes is seen at once, and a server that falls leaves no request half-done but the one that the host was at.
//! A stream changes from one way to the other under its main lock, and with nothing left in the cache.

use crate::cached::{self, Cached};
use crate::node::{FCB, Node, open_of};
use crate::write::{APPEND, Written, end_of, place};
use nt_abi::io::FILE_OBJECT;
use nt_abi::{NtResult, NtStatus};
use nt_cc::Policy;
use nt_cell::{Foreign, Region};
use nt_io::device;
use nt_ke::lock::BiasedReadGuard;
use nt_trace::rule;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How the cached transfers of a stream go.
#[derive(Default)]
pub(crate) struct Way {
    straight: AtomicBool,
    /// The device stacks that this was found out for ([`device::changes`]).
    decided: AtomicU64,
    /// A section was made of it: its views show the cache's pages, and nothing may pass those by.
    mapped: AtomicBool,
    /// A paging read was answered since: the cache may have pages, for a mapping or for a driver's own copy.
    pages: AtomicBool,
}

impl Way {
    pub(crate) fn is_straight(&self) -> bool {
        self.straight.load(Ordering::Acquire)
    }

    /// Notes that the cache is about to hold pages of the stream; the next transfer writes and drops them first. The caller
    /// holds the main lock exclusively.
    pub(crate) fn lends_pages(&self) {
        self.pages.store(true, Ordering::SeqCst);
    }

    /// Noted before a paging read looks at the medium: a write that it misses sees the note, and drops the page.
    pub(crate) fn note_paging_read(&self) {
        if self.is_straight() {
            self.pages.store(true, Ordering::SeqCst);
        }
    }
}

fn is_wanted(file: Foreign<FILE_OBJECT>, node: &Node) -> bool {
    !node.is_mapped()
        && cached::policy(node) == Policy::Through
        && device::base(file).is_some_and(|base| !device::is_paging_seen(base))
}

/// Takes the main lock shared for a transfer that goes straight; `None` for one that goes through the cache. Without `wait`
/// CANT_WAIT where somebody else holds the lock, or the way has to be changed.
pub(crate) fn enter(file: Foreign<FILE_OBJECT>, node: &Node, wait: bool) -> NtResult<Option<BiasedReadGuard<'_, ()>>> {
    if !node.object.is_shared_with_the_host() {
        return Ok(None);
    }
    let way = &node.way;
    {
        let main = node.main.shared_or(wait)?;
        if way.decided.load(Ordering::Acquire) == device::changes() {
            match way.is_straight() {
                true if !way.pages.load(Ordering::SeqCst) => return Ok(Some(main)),
                true => {}
                false if way.mapped.load(Ordering::Relaxed) && !node.is_mapped() => {}
                false => return Ok(None),
            }
        }
    }
    change(file, node, wait)
}

/// Finds out which way is right now, and takes it; CANT_WAIT where that waits and `wait` is not given (NT-S-13).
#[cold]
fn change(file: Foreign<FILE_OBJECT>, node: &Node, wait: bool) -> NtResult<Option<BiasedReadGuard<'_, ()>>> {
    let way = &node.way;
    loop {
        let changes = device::changes();
        let wanted = is_wanted(file, node);
        {
            let main = node.main.shared_or(wait)?;
            way.mapped.store(node.is_mapped(), Ordering::Relaxed);
            let settled = wanted == way.is_straight() && !(wanted && way.pages.load(Ordering::SeqCst));
            if settled {
                way.decided.store(changes, Ordering::Release);
                return Ok(wanted.then_some(main));
            }
        }
        if wanted && node.is_cached() && !wait {
            return NtStatus::CANT_WAIT.fail(); // for what is dirty to reach the host
        }
        let _main = node.main.exclusive_or(wait)?;
        if !wanted {
            way.straight.store(false, Ordering::Release);
            node.fcb.set(FCB::Straight, 0);
            continue;
        }
        way.pages.store(false, Ordering::SeqCst);
        // What somebody has locked in the cache, or the host did not take, keeps the stream there.
        let flushed = !node.is_cached() || !nt_cc::flush(node.sections(), None).status.is_error();
        let clean = flushed && nt_cc::purge(node.sections(), None);
        way.straight.store(clean, Ordering::Release);
        node.fcb.set(FCB::Straight, i32::from(clean));
        if !clean {
            return Ok(None);
        }
    }
}

/// Runs `body`, which makes a section of the file, while its sizes stand still, and its transfers go through the cache from
/// then on.
pub(crate) fn hold_for_section(file: Foreign<FILE_OBJECT>, body: &mut dyn FnMut()) {
    let Ok(open) = open_of(file) else { return body() };
    let (node, way) = (&*open.node, &open.node.way);
    let Ok(_main) = node.main.exclusive() else { return };
    if way.straight.swap(false, Ordering::AcqRel) {
        node.fcb.set(FCB::Straight, 0);
        let _what_is_locked_stays = nt_cc::purge(node.sections(), None);
    }
    way.mapped.store(true, Ordering::Relaxed);
    body();
}

/// Drops what a paging read may have brought into the cache while the range was written.
fn drop_pages(node: &Node, start: u64, length: u64) {
    if node.way.pages.load(Ordering::SeqCst) {
        let _what_is_locked_stays = nt_cc::purge(node.sections(), Some((start, length)));
    }
}

impl Cached<'_> {
    /// Write-through is durable, on the host too (NT-CC-45).
    fn sync(self) -> NtResult<()> {
        if self.write_through { self.node.object.sync() } else { Ok(()) }
    }

    /// Writes to the host; the caller holds the main lock shared. `None` where a size moves.
    pub(crate) fn write_straight_inside(self, may: impl Fn(u64) -> NtResult<()>) -> NtResult<Option<Written>> {
        let (node, length) = (self.node, self.from.len() as u64);
        if self.offset <= APPEND {
            return Ok(None);
        }
        let start = self.offset as u64;
        let end = end_of(start, length)?;
        let data = node.data.read();
        if end > data.valid {
            return Ok(None);
        }
        may(start)?;
        cached::start(self.file, node)?;
        data.content.write(start, self.from).inspect_err(|_| rule!(NT_B_10))?;
        drop(data);
        drop_pages(node, start, length);
        self.sync()?;
        Ok(Some(Written { end, grew: false }))
    }

    /// Writes to the host and moves the size; the caller holds the main lock exclusively.
    pub(crate) fn extend_straight(self, may: impl Fn(u64) -> NtResult<()>) -> NtResult<Written> {
        let (node, length) = (self.node, self.from.len() as u64);
        cached::start(self.file, node)?;
        let mut data = node.data.write();
        data.refresh()?;
        let (start, end) = place(&data, self.offset, length, may)?;
        let eof = data.eof;
        data.make_room(start, end)?;
        if let Err(error) = data.content.write(start, self.from) {
            rule!(NT_B_03);
            // The file must not grow by what the host took of it.
            if end > eof {
                data.content.set_length(eof)?;
            }
            data.refresh()?;
            node.publish(&data);
            return Err(error);
        }
        // A file that was extended without a write: the cache takes what lies past its valid data for zeroes, and needs no page
        // to say so.
        let moved = end > eof || data.valid < eof;
        data.eof = eof.max(end);
        data.valid = data.eof;
        node.publish(&data);
        drop(data);
        if moved {
            node.tell_cache();
        }
        drop_pages(node, start, length);
        self.sync()?;
        if nt_trace::asked() {
            cached::tell_growth(start, end, eof);
        }
        Ok(Written { end, grew: end > eof })
    }
}

/// Reads from the host; the caller holds the main lock shared.
pub(crate) fn read(file: Foreign<FILE_OBJECT>, node: &Node, start: u64, to: Region) -> NtResult<u64> {
    cached::start(file, node)?;
    crate::read::copy(node, start, to)
}
