//! The sizes of a cached stream, and what changes of them do to its pages.
//!
//! Room: ntos/cc. Called by: file systems, which hold the file's lock. IRQL: PASSIVE_LEVEL. Locks: the map's pages.
//! Source: CcSetFileSizes page; rules NT-CC-60 to NT-CC-62. The sizes here follow the file system's; they are what a
//! page fault may ask for.

use crate::map::{CacheMap, map_of, map_of_file};
use crate::pages::PAGE;
use nt_abi::io::FILE_OBJECT;
use nt_abi::mm::{CC_FILE_SIZES, SECTION_OBJECT_POINTERS};
use nt_cell::Foreign;

/// CC_FILE_SIZES.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sizes {
    /// AllocationSize.
    pub allocation: u64,
    /// FileSize.
    pub file: u64,
    /// ValidDataLength; `i64::MAX` for a file system that does not keep one.
    pub valid: u64,
}

impl Sizes {
    /// Reads a CC_FILE_SIZES.
    #[must_use]
    pub fn read(at: Foreign<CC_FILE_SIZES>) -> Self {
        Self {
            allocation: at.get(CC_FILE_SIZES::AllocationSize).max(0) as u64,
            file: at.get(CC_FILE_SIZES::FileSize).max(0) as u64,
            valid: at.get(CC_FILE_SIZES::ValidDataLength).max(0) as u64,
        }
    }
}

/// CcSetFileSizes: nothing is sent; a smaller file drops what lies past its end, unwritten (NT-CC-60).
pub fn set_file_sizes(file: Foreign<FILE_OBJECT>, sizes: Sizes) {
    if let Some(map) = map_of_file(file) {
        map.set_sizes(sizes);
    }
}

/// As [`set_file_sizes`], by the stream.
pub fn set_sizes(sections: Foreign<SECTION_OBJECT_POINTERS>, sizes: Sizes) {
    if let Some(map) = map_of(sections) {
        map.set_sizes(sizes);
    }
}

impl CacheMap {
    /// Returns the sizes that the cache knows.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        self.pages.read().sizes
    }

    pub(crate) fn set_sizes(&self, sizes: Sizes) {
        let known = self.pages.read().sizes;
        if sizes.file < known.file {
            self.cut(sizes.file);
        }
        let mut pages = self.pages.write();
        let own = pages.sizes.valid.min(sizes.file);
        pages.sizes =
            Sizes { valid: if sizes.valid > sizes.file { sizes.valid } else { own.max(sizes.valid) }, ..sizes };
        let shown = pages.sizes;
        drop(pages);
        self.show(&shown);
    }

    /// Drops what lies at and past `end`, without writing it, and zeroes the rest of the page that holds `end`. That page
    /// does not become dirty by it.
    pub(crate) fn cut(&self, end: u64) {
        let first = end.div_ceil(PAGE);
        self.drop_pages(first, u64::MAX, true);
        let mut pages = self.pages.write();
        if !end.is_multiple_of(PAGE)
            && let Some(view) = pages.get(end / PAGE)
            && view.resident.get(view.index(end / PAGE))
        {
            let _own_memory = view.bytes(end, first * PAGE).fill(0);
        }
        pages.sizes.file = pages.sizes.file.min(end);
        if pages.sizes.valid < i64::MAX as u64 {
            pages.sizes.valid = pages.sizes.valid.min(end);
        }
        let shown = pages.sizes;
        drop(pages);
        self.show(&shown);
        if self.told.load(std::sync::atomic::Ordering::Relaxed) > end as i64 {
            self.told.store(end as i64, std::sync::atomic::Ordering::Relaxed);
        }
    }
}
