//! Views of user mode: the cache's own pages, mapped a second time where a program looks at them.
//!
//! Room: ntos/cc. Called by: `nt_section`, probes of buffers and the loader (as the pager of the user arena). IRQL: <=
//! APC_LEVEL. Locks: the map's pages, exclusively; none while a paging read is on its way.
//! Source: rules NT-CC-50, NT-CC-63, NT-CC-65. A view starts without access. The first touch of a page is a page fault, in the
//! thread that touched: it reads the page in and lets the view read it. The first store to a page lets it store, and notes
//! that; whoever wants to know what is dirty takes that right away again and marks the page dirty, before its bytes are read.
//! A page of the cache becomes shared memory when the first view shows it, in place: whoever has its address keeps it.

use crate::fault::Traffic;
use crate::map::CacheMap;
use crate::pages::{Bits, PAGE, Pages, View};
use crate::section::SectionRef;
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Protection, Region, UserBlock, arena};
use nt_ke::{RwLock, irql};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Pages that a fault reads in at once, where they are missing (MmReadClusterSize).
const CLUSTER: u64 = 8;

/// What a view may do with the pages of its section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ViewKind {
    /// PAGE_READONLY.
    ReadOnly,
    /// PAGE_READWRITE: what is stored is the file's.
    ReadWrite,
    /// PAGE_WRITECOPY: what is stored is the view's own.
    WriteCopy,
}

/// One view as the stream's pages know it.
#[derive(Debug)]
pub(crate) struct Mapping {
    block: UserBlock,
    first: u64,
    end: u64,
    kind: ViewKind,
    /// What is shown, by the first page of each span of the cache.
    chunks: BTreeMap<u64, Chunk>,
}

#[derive(Debug)]
struct Chunk {
    view: Arc<View>,
    readable: Bits,
    writable: Bits,
}

/// Views by address: the first one behind, and whose pages.
static VIEWS: RwLock<BTreeMap<u64, (u64, Arc<CacheMap>)>> = RwLock::new(BTreeMap::new());

/// The pager of the user arena: `None` for what is no view of the running machine.
fn page_in(addr: u64, len: u64, write: bool) -> Option<Result<(), NtStatus>> {
    let frame = nt_ke::try_current()?;
    let (base, end, map) = {
        let views = VIEWS.read();
        let (&base, (end, map)) = views.range(..=addr).next_back().filter(|(_, (end, _))| addr < *end)?;
        (base, *end, Arc::clone(map))
    };
    if irql::current() > irql::APC_LEVEL || map.manager.kernel().is_none_or(|kernel| kernel.id() != frame.kernel.id()) {
        return None;
    }
    Some(map.fault(base, addr, len.min(end - addr), write))
}

/// A view of a section, as long as it is mapped.
#[derive(Debug)]
pub struct UserView {
    section: SectionRef,
    region: Region,
    first: u64,
}

impl UserView {
    /// Maps `pages` pages of a section from page `first` on.
    ///
    /// # Errors
    /// NO_MEMORY when the arena has no such range.
    pub fn new(section: SectionRef, first: u64, pages: u64, kind: ViewKind) -> NtResult<Self> {
        let none = NtStatus::NO_MEMORY.error();
        let length = usize::try_from(pages * PAGE).map_err(|_| none)?;
        let block = UserBlock::reserved(length).ok_or(none)?;
        let (region, map) = (block.region(), section.map());
        arena::set_pager(page_in);
        map.pages.write().mappings.push(Mapping { block, first, end: first + pages, kind, chunks: BTreeMap::new() });
        VIEWS.write().insert(region.addr(), (region.addr() + length as u64, Arc::clone(map)));
        Ok(Self { section, region, first })
    }

    /// Returns where the view lies.
    #[must_use]
    pub fn region(&self) -> Region {
        self.region
    }

    /// Returns the section that it is a view of.
    #[must_use]
    pub fn section(&self) -> &SectionRef {
        &self.section
    }

    /// Returns where the view begins in the file.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.first * PAGE
    }
}

impl Drop for UserView {
    fn drop(&mut self) {
        let map = self.section.map();
        VIEWS.write().remove(&self.region.addr());
        let (mut pages, base) = (map.pages.write(), self.region.addr());
        let soiled = map.take_stored(&mut pages, self.first, self.first + self.region.len() as u64 / PAGE);
        if let Some(at) = pages.mappings.iter().position(|mapping| mapping.block.addr() == base) {
            pages.mappings.swap_remove(at);
        }
        drop(pages);
        map.soiled_by_view(soiled);
    }
}

/// Runs `body` for each run of bits of `[from, to)` that is set.
fn runs(bits: &Bits, from: u32, to: u32, mut body: impl FnMut(u32, u32)) {
    let mut at = from;
    while let Some(start) = bits.next(at, to, true) {
        at = bits.next(start, to, false).unwrap_or(to);
        body(start, at);
    }
}

impl Mapping {
    /// Changes what the view may do with pages `[from, to)` of a span.
    fn protect(block: &UserBlock, first: u64, view: &View, (from, to): (u32, u32), rights: Protection) -> NtResult<()> {
        let at = (view.first + u64::from(from) - first) * PAGE;
        let done = block.protect(at as usize, (to - from) as usize * PAGE as usize, rights);
        done.map_err(|_| NtStatus::NO_MEMORY.error())
    }

    /// Shows the pages of a span, without access, if the view does not yet.
    fn show(&mut self, view: &Arc<View>) -> NtResult<()> {
        let none = |_| NtStatus::NO_MEMORY.error();
        if let std::collections::btree_map::Entry::Vacant(slot) = self.chunks.entry(view.first) {
            let (from, to) = (view.first.max(self.first), view.end().min(self.end));
            let (at, length) = (((from - self.first) * PAGE) as usize, ((to - from) * PAGE) as usize);
            let pages = view.share().map_err(none)?.sub(((from - view.first) * PAGE) as usize, length);
            self.block.show(at, length, pages, self.kind == ViewKind::WriteCopy).map_err(none)?;
            slot.insert(Chunk { view: Arc::clone(view), readable: Bits::default(), writable: Bits::default() });
        }
        Ok(())
    }

    /// Lets the view read the resident pages of `[from, to)` of a span, and store to those of `stores`.
    fn open(&mut self, view: &Arc<View>, (from, to): (u32, u32), stores: Option<(u32, u32)>) -> NtResult<()> {
        self.show(view)?;
        let Some(chunk) = self.chunks.get(&view.first) else { return NtStatus::NO_MEMORY.fail() };
        let shut = |page: &u32| view.resident.get(*page) && !chunk.readable.get(*page);
        let mut at = from;
        while let Some(start) = (at..to).find(shut) {
            at = (start..to).find(|page| !shut(page)).unwrap_or(to);
            Self::protect(&self.block, self.first, view, (start, at), Protection::ReadOnly)?;
            chunk.readable.set(start, at);
        }
        if let Some(stores) = stores {
            Self::protect(&self.block, self.first, view, stores, Protection::ReadWrite)?;
            chunk.writable.set(stores.0, stores.1);
        }
        Ok(())
    }
}

impl Pages {
    /// Whether a view reads or stores to a page of `[from, to)`: such a page cannot be purged (NT-CC-63).
    pub(crate) fn is_viewed(&self, from: u64, to: u64) -> bool {
        self.mappings.iter().flat_map(|mapping| mapping.chunks.values()).any(|chunk| {
            let (first, end) = (chunk.view.first, chunk.view.end());
            first < to && from < end && {
                let (a, b) = (chunk.view.index(from.max(first)), chunk.view.index(to.min(end)));
                chunk.readable.next(a, b, true).is_some()
            }
        })
    }

    /// Takes every right from the views of pages `[from, to)`: the pages go.
    pub(crate) fn close_views(&mut self, from: u64, to: u64) {
        for Mapping { block, first, chunks, .. } in &mut self.mappings {
            for Chunk { view, readable, writable } in chunks.values() {
                if view.first < to && from < view.end() {
                    let (a, b) = (view.index(from.max(view.first)), view.index(to.min(view.end())));
                    runs(readable, a, b, |a, b| {
                        let _stays_as_it_is = Mapping::protect(block, *first, view, (a, b), Protection::NoAccess);
                    });
                    readable.clear(a, b);
                    writable.clear(a, b);
                }
            }
        }
    }
}

impl CacheMap {
    /// Serves a page fault: `len` bytes from `addr` on of the view at `base` can be read, or written, or an error says why
    /// not.
    fn fault(&self, base: u64, addr: u64, len: u64, write: bool) -> Result<(), NtStatus> {
        let frame = nt_ke::current();
        let thread = frame.thread.id();
        loop {
            let mut pages = self.pages.write();
            let Some(at) = pages.mappings.iter().position(|mapping| mapping.block.addr() == base) else {
                return Err(NtStatus::ACCESS_VIOLATION);
            };
            let Mapping { first, end, kind, .. } = pages.mappings[at];
            let limit = pages.sizes.file.div_ceil(PAGE).min(end);
            let from = first + (addr - base) / PAGE;
            let to = limit.min(first + (addr - base + len.max(1) - 1) / PAGE + 1);
            if from >= to || (write && kind == ViewKind::ReadOnly) {
                return Err(NtStatus::ACCESS_VIOLATION);
            }
            let missing =
                |pages: &Pages, page: u64| pages.get(page).is_none_or(|view| !view.resident.get(view.index(page)));
            let valid = pages.sizes.valid.div_ceil(PAGE);
            if let Some(page) = (from..to.min(valid)).find(|&page| missing(&pages, page)) {
                drop(pages);
                self.page_in(&frame, page, to.max(page + CLUSTER)).map_err(|error| error.status())?;
                continue;
            }
            // A span that becomes shared memory, and pages that become zeros, must not be on their way.
            let near = to.max((from + CLUSTER).min(limit));
            let (start, stop) = (Pages::start_of_view(from), Pages::end_of_view(near - 1));
            let moves =
                (from..to).any(|page| missing(&pages, page)) || pages.views(start, stop).any(|view| !view.is_shared());
            match if moves { self.traffic(start, stop, thread) } else { Traffic::Clear } {
                Traffic::Clear => {}
                Traffic::Own => return Err(NtStatus::POSSIBLE_DEADLOCK),
                Traffic::Others => {
                    drop(pages);
                    self.wait_for_traffic(start, stop, thread);
                    continue;
                }
            }
            return self.open(&mut pages, at, (from, to, near), write).map_err(|error| error.status());
        }
    }

    /// Opens pages `[from, to)` to the view, for stores too if `write`, and what is resident up to `near`. Pages of `[from,
    /// to)` that are not there lie past the valid data: they are zero (NT-CC-50).
    fn open(&self, pages: &mut Pages, at: usize, (from, to, near): (u64, u64, u64), write: bool) -> NtResult<()> {
        for (start, stop) in crate::copy::pieces(from * PAGE, near * PAGE) {
            let view = Arc::clone(pages.ensure(start / PAGE)?);
            let (a, b) = crate::copy::span(&view, start, stop);
            let asked = (a, view.index(to.clamp(start / PAGE, stop / PAGE)));
            for index in (asked.0..asked.1).filter(|&index| !view.resident.get(index)) {
                let page = (view.first + u64::from(index)) * PAGE;
                let _own_memory = view.bytes(page, page + PAGE).fill(0);
                view.resident.set(index, index + 1);
            }
            view.touch();
            let mapping = &mut pages.mappings[at];
            let stores = Some(asked).filter(|(a, b)| write && a < b);
            mapping.open(&view, (a, b), stores)?;
            if let Some((a, b)) = stores.filter(|_| mapping.kind == ViewKind::ReadWrite) {
                self.stored.fetch_add(view.stored.set(a, b) as usize, Ordering::AcqRel);
                self.manager.arm();
            }
        }
        Ok(())
    }

    /// Finds out what views have stored to in pages `[from, to)`, and marks it dirty; the next store to such a page is told
    /// again.
    pub(crate) fn collect(&self, from: u64, to: u64) {
        if self.stored.load(Ordering::Acquire) != 0 {
            let soiled = self.take_stored(&mut self.pages.write(), from, to);
            self.soiled_by_view(soiled);
        }
    }

    /// As [`CacheMap::collect`], under the page lock; returns how many pages became dirty by it.
    fn take_stored(&self, pages: &mut Pages, from: u64, to: u64) -> u32 {
        let mut soiled = 0;
        let spans: Vec<_> = pages.views(from, to).filter(|view| !view.stored.none()).cloned().collect();
        for view in spans {
            let (a, b) = (view.index(from.max(view.first)), view.index(to.min(view.end())));
            let shows = |mapping: &&Mapping| mapping.kind == ViewKind::ReadWrite;
            let mut taken = true;
            for Mapping { block, first, chunks, .. } in pages.mappings.iter().filter(shows) {
                let Some(chunk) = chunks.get(&view.first) else { continue };
                runs(&chunk.writable, a, b, |a, b| {
                    match Mapping::protect(block, *first, &view, (a, b), Protection::ReadOnly) {
                        Ok(()) => drop(chunk.writable.clear(a, b)),
                        Err(_) => taken = false,
                    }
                });
            }
            runs(&view.stored, a, b, |a, b| {
                soiled += view.dirty.set(a, b);
                view.by_view.set(a, b);
            });
            // Pages whose right stays are looked at again, which costs writes and loses none.
            if taken {
                self.stored.fetch_sub(view.stored.clear(a, b) as usize, Ordering::AcqRel);
            }
        }
        soiled
    }
}
