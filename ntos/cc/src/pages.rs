//! The pages of one stream: views of pool memory with a resident and a dirty bit for each page.
//!
//! Room: ntos/cc. IRQL: <= APC_LEVEL. Locks: the caller holds the map's page lock; bits are atomic because copies under
//! the shared lock set them. A view never moves: a paging request, an MDL or a pin holds it and its memory stays.

use crate::views::Mapping;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::pool::Shared;
use nt_cell::{Foreign, Region};
use nt_ex::pool;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Pages of the first view: most files are small.
const FIRST: u64 = 16;
/// Pages of a whole view: 1 MiB.
const WHOLE: u64 = 256;
/// Views up to here are found by index (4 GiB of a file), the others in a tree.
const NEAR: u64 = 4096;

/// One bit for each page of a view.
#[derive(Default, Debug)]
pub(crate) struct Bits([AtomicU64; 4]);

fn mask(word: u32, from: u32, to: u32) -> u64 {
    let low = from.saturating_sub(word * 64).min(64);
    let high = to.saturating_sub(word * 64).min(64);
    let up_to = |n: u32| if n >= 64 { u64::MAX } else { (1 << n) - 1 };
    up_to(high) & !up_to(low)
}

/// The word and mask of `[from, to)` where they lie in one word, as those of nearly every transfer do.
#[inline(always)]
fn in_one_word(from: u32, to: u32) -> Option<(usize, u64)> {
    let within = from < to && from / 64 == (to - 1) / 64;
    within.then(|| (from as usize / 64, (u64::MAX >> (64 - (to - from))) << (from % 64)))
}

impl Bits {
    /// Whether all of `[from, to)` are set.
    #[inline(always)]
    pub(crate) fn all(&self, from: u32, to: u32) -> bool {
        if let Some((word, mask)) = in_one_word(from, to) {
            return self.0[word].load(Ordering::Relaxed) & mask == mask;
        }
        self.all_of_many(from, to)
    }
    fn all_of_many(&self, from: u32, to: u32) -> bool {
        (from / 64..=(to - 1) / 64).all(|word| {
            let mask = mask(word, from, to);
            self.0[word as usize].load(Ordering::Relaxed) & mask == mask
        })
    }
    /// Sets `[from, to)`; returns how many were clear.
    #[inline(always)]
    pub(crate) fn set(&self, from: u32, to: u32) -> u32 {
        if let Some((word, mask)) = in_one_word(from, to)
            && self.0[word].load(Ordering::Relaxed) & mask == mask
        {
            return 0;
        }
        self.set_some(from, to)
    }
    fn set_some(&self, from: u32, to: u32) -> u32 {
        let mut new = 0;
        for word in from / 64..=(to - 1) / 64 {
            let (mask, cell) = (mask(word, from, to), &self.0[word as usize]);
            if cell.load(Ordering::Relaxed) & mask != mask {
                new += (mask & !cell.fetch_or(mask, Ordering::Relaxed)).count_ones();
            }
        }
        new
    }
    /// Clears `[from, to)`; returns how many were set.
    pub(crate) fn clear(&self, from: u32, to: u32) -> u32 {
        let mut gone = 0;
        for word in 0..4 {
            let mask = mask(word, from, to);
            gone += (mask & self.0[word as usize].fetch_and(!mask, Ordering::Relaxed)).count_ones();
        }
        gone
    }
    /// Whether bit `at` is set.
    pub(crate) fn get(&self, at: u32) -> bool {
        self.0[at as usize / 64].load(Ordering::Relaxed) >> (at % 64) & 1 != 0
    }
    /// Returns the words.
    pub(crate) fn words(&self) -> [u64; 4] {
        std::array::from_fn(|word| self.0[word].load(Ordering::Relaxed))
    }
    /// Sets exactly the bits of `other`.
    pub(crate) fn become_like(&self, other: &Self) {
        for (mine, theirs) in self.0.iter().zip(&other.0) {
            mine.store(theirs.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
    pub(crate) fn none(&self) -> bool {
        self.words() == [0; 4]
    }
    /// The first bit of `[from, to)` that is `set`.
    pub(crate) fn next(&self, from: u32, to: u32, set: bool) -> Option<u32> {
        (from..to).find(|&at| self.get(at) == set)
    }
}

/// A span of the stream's pages in one block of memory.
pub(crate) struct View {
    block: Foreign<Bytes>,
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) resident: Bits,
    pub(crate) dirty: Bits,
    /// Dirty since the former round of the lazy writer.
    pub(crate) aged: Bits,
    /// A view may have stored to it since that was last asked.
    pub(crate) stored: Bits,
    /// Dirty by what a view stored: the mapped page writer's (NT-CC-66).
    pub(crate) by_view: Bits,
    /// Its memory, once a view shows it.
    shared: OnceLock<Shared>,
    /// Pins, maps and MDLs on it.
    pub(crate) pins: AtomicU32,
    /// Copied from or to since the working set was last gone through.
    used: AtomicBool,
    /// Pages that the views of all streams have room for.
    charge: Arc<AtomicUsize>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "View[{}; {}]", self.first, self.count)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.charge.fetch_sub(self.count as usize, Ordering::Relaxed);
        pool::free(self.block);
    }
}

impl View {
    fn new(first: u64, count: u32, charge: &Arc<AtomicUsize>) -> NtResult<Arc<Self>> {
        let bytes = count as usize * PAGE as usize;
        let block = pool::uninitialized(bytes, pool::tag(b"CcPg"), pool::PoolKind::NonPaged);
        let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
        charge.fetch_add(count as usize, Ordering::Relaxed);
        Ok(Arc::new(Self {
            block,
            used: AtomicBool::new(true),
            charge: Arc::clone(charge),
            first,
            count,
            resident: Bits::default(),
            dirty: Bits::default(),
            aged: Bits::default(),
            stored: Bits::default(),
            by_view: Bits::default(),
            shared: OnceLock::new(),
            pins: AtomicU32::new(0),
        }))
    }
    /// The first page behind the view.
    pub(crate) fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }
    /// It is copied from or to: it stays when the working set is gone through next.
    #[inline(always)]
    pub(crate) fn touch(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }
    /// Whether views can show it.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared.get().is_some()
    }
    /// Makes its memory one that views can show. The caller holds the page lock exclusively, and no request is on its way.
    pub(crate) fn share(&self) -> io::Result<Shared> {
        if let Some(shared) = self.shared.get() {
            return Ok(*shared);
        }
        let resident = (0..self.count).filter(|&page| self.resident.get(page)).map(|page| page as usize);
        let shared = nt_cell::pool::share(self.block, resident)?;
        Ok(*self.shared.get_or_init(|| shared))
    }
    /// The number of a page inside the view.
    #[inline]
    pub(crate) fn index(&self, page: u64) -> u32 {
        (page - self.first) as u32
    }
    /// The bytes `[start, end)` of the stream, which lie in this view.
    #[inline]
    pub(crate) fn bytes(&self, start: u64, end: u64) -> Region {
        let base = self.first * PAGE;
        Region::pool(self.block, self.count as usize * PAGE as usize)
            .sub((start - base) as usize, (end - start) as usize)
    }
}

/// Which view a page lies in: its number, first page and count.
const fn place(page: u64) -> (u64, u64, u64) {
    if page < FIRST {
        (0, 0, FIRST)
    } else if page < WHOLE {
        (1, FIRST, WHOLE - FIRST)
    } else {
        (page / WHOLE + 1, page / WHOLE * WHOLE, WHOLE)
    }
}

/// All pages of a stream, and its sizes.
#[derive(Default, Debug)]
pub(crate) struct Pages {
    pub(crate) sizes: crate::sizes::Sizes,
    near: Vec<Option<Arc<View>>>,
    far: BTreeMap<u64, Arc<View>>,
    charge: Arc<AtomicUsize>,
    /// Views of user mode.
    pub(crate) mappings: Vec<Mapping>,
}

impl Pages {
    /// No pages of a stream of these sizes; what they will have room for counts in `charge`.
    pub(crate) fn new(sizes: crate::sizes::Sizes, charge: Arc<AtomicUsize>) -> Self {
        Self { sizes, charge, ..Self::default() }
    }
    /// The view of a page, if there is one.
    #[inline]
    pub(crate) fn get(&self, page: u64) -> Option<&Arc<View>> {
        let (number, ..) = place(page);
        if number < NEAR { self.near.get(number as usize)?.as_ref() } else { self.far.get(&number) }
    }
    /// The first page behind the view that a page lies in, be it there or not.
    pub(crate) fn end_of_view(page: u64) -> u64 {
        let (_, first, count) = place(page);
        first + count
    }
    /// The first page of the view that a page lies in, be it there or not.
    pub(crate) fn start_of_view(page: u64) -> u64 {
        place(page).1
    }
    /// The view of a page; makes it.
    pub(crate) fn ensure(&mut self, page: u64) -> NtResult<&Arc<View>> {
        let (number, first, count) = place(page);
        if number >= NEAR {
            if let std::collections::btree_map::Entry::Vacant(slot) = self.far.entry(number) {
                slot.insert(View::new(first, count as u32, &self.charge)?);
            }
            return Ok(&self.far[&number]);
        }
        let at = number as usize;
        if self.near.len() <= at {
            self.near.resize(at + 1, None);
        }
        if self.near[at].is_none() {
            self.near[at] = Some(View::new(first, count as u32, &self.charge)?);
        }
        self.near[at].as_ref().ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())
    }
    /// The views that meet pages `[from, to)`, in order.
    pub(crate) fn views(&self, from: u64, to: u64) -> impl Iterator<Item = &Arc<View>> {
        let near = self.near.iter().flatten();
        near.chain(self.far.values()).filter(move |view| view.first < to && from < view.end())
    }
    /// Lets go of views that hold nothing and that nobody holds.
    pub(crate) fn trim(&mut self) {
        let empty = |view: &Arc<View>| {
            view.resident.none() && view.pins.load(Ordering::Acquire) == 0 && Arc::strong_count(view) == 1
        };
        for slot in &mut self.near {
            if slot.as_ref().is_some_and(empty) {
                *slot = None;
            }
        }
        self.far.retain(|_, view| !empty(view));
    }
    /// Lets go of clean views that nobody holds and that were not used since they were last passed here, until `enough`.
    pub(crate) fn evict(&mut self, enough: impl Fn() -> bool) {
        let goes = |view: &Arc<View>| {
            !enough()
                && view.dirty.none()
                && view.pins.load(Ordering::Acquire) == 0
                && Arc::strong_count(view) == 1
                && !view.used.swap(false, Ordering::Relaxed)
        };
        for slot in &mut self.near {
            if slot.as_ref().is_some_and(goes) {
                *slot = None;
            }
        }
        self.far.retain(|_, view| !goes(view));
    }
    /// Lets go of everything.
    pub(crate) fn clear(&mut self) {
        self.near.clear();
        self.far.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_counted_and_found_across_words() {
        let bits = Bits::default();
        assert_eq!(bits.set(60, 70), 10);
        assert_eq!(bits.set(0, 256), 246);
        assert!(bits.all(0, 256));
        assert_eq!(bits.clear(63, 65), 2);
        assert!(!bits.all(60, 70) && bits.all(0, 63) && bits.all(65, 256));
        assert_eq!((bits.next(0, 256, false), bits.next(64, 256, true)), (Some(63), Some(65)));
    }

    #[test]
    fn pages_find_their_view_and_views_do_not_overlap() {
        let mut pages = Pages::default();
        for (page, first, count) in [(0, 0, 16), (15, 0, 16), (16, 16, 240), (255, 16, 240), (256, 256, 256)] {
            let view = pages.ensure(page).expect("pool");
            assert_eq!((view.first, view.count), (first, count), "page {page}");
        }
        let far = 1 << 40;
        assert_eq!(pages.ensure(far).expect("pool").first, far);
        assert_eq!(pages.views(0, u64::MAX).count(), 4);
        assert_eq!(pages.views(15, 17).count(), 2);
        pages.trim();
        assert_eq!(pages.views(0, u64::MAX).count(), 0, "nothing was resident");
    }
}
