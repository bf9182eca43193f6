//! The data section of a stream, as its users hold it: section objects and views.
//!
//! Room: ntos/cc. Called by: `nt_section`. IRQL: PASSIVE_LEVEL. Locks: births; the file system's sizes stand still
//! (`System::hold_for_section`). Source: NtCreateSection page; rules NT-CC-05, NT-CC-63, NT-CC-64, NT-I-09, NT-SHR-03.
//! The section is the same thing as the cache's pages of the stream: what is cached and what is mapped is one memory. A stream
//! that nobody reads through the cache has a section without a cache map.

use crate::manager::Manager;
use crate::map::{CacheMap, map_of};
use crate::sizes::Sizes;
use nt_abi::io::FILE_OBJECT;
use nt_abi::mm::{FSRTL_COMMON_FCB_HEADER, SECTION_OBJECT_POINTERS};
use nt_abi::{Field, NtResult, NtStatus};
use nt_cell::Foreign;
use std::sync::Arc;

/// One user's hold of a stream's data section.
#[derive(Debug)]
pub struct SectionRef {
    map: Arc<CacheMap>,
    writes: bool,
}

impl SectionRef {
    /// Takes hold of the data section of a file's stream; makes it if there is none. `writes`: it may be stored to. The caller
    /// holds the file for a section.
    ///
    /// # Errors
    /// INVALID_FILE_FOR_SECTION for what has no stream; INSUFFICIENT_RESOURCES.
    pub fn of(file: Foreign<FILE_OBJECT>, writes: bool) -> NtResult<Self> {
        let invalid = NtStatus::INVALID_FILE_FOR_SECTION.error();
        let sections = file.ptr(FILE_OBJECT::SectionObjectPointer).ok_or(invalid)?;
        let header = file.ptr(FILE_OBJECT::FsContext).ok_or(invalid)?.view::<FSRTL_COMMON_FCB_HEADER>();
        let size = |field: Field<_, i64>| header.get(field).max(0) as u64;
        let sizes = Sizes {
            allocation: size(FSRTL_COMMON_FCB_HEADER::AllocationSize),
            file: size(FSRTL_COMMON_FCB_HEADER::FileSize),
            valid: size(FSRTL_COMMON_FCB_HEADER::ValidDataLength),
        };
        let manager = Manager::arc(&nt_ke::current().kernel);
        let _birth = manager.births.lock();
        let map = match map_of(sections) {
            Some(map) => map,
            None => CacheMap::new(&manager, file, sections, sizes)?,
        };
        map.add_user(writes);
        Ok(Self { map, writes })
    }

    /// Another hold, that may be stored to if `writes`.
    #[must_use]
    pub fn again(&self, writes: bool) -> Self {
        self.map.add_user(writes);
        Self { map: Arc::clone(&self.map), writes }
    }

    pub(crate) fn map(&self) -> &Arc<CacheMap> {
        &self.map
    }

    /// Returns the file object that the stream's paging requests carry (NT-CC-05).
    #[must_use]
    pub fn file(&self) -> Foreign<FILE_OBJECT> {
        self.map.file()
    }

    /// Returns the size of the file, as the cache knows it.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.map.sizes().file
    }
}

impl SectionRef {
    /// Writes what is dirty of `length` bytes from `offset` on, what views stored included (NT-CC-67).
    #[must_use]
    pub fn flush(&self, offset: u64, length: u64) -> nt_io::irp::IoStatus {
        self.map.flush_range(offset, length, true)
    }
}

impl Drop for SectionRef {
    fn drop(&mut self) {
        self.map.drop_user(self.writes);
    }
}

/// Returns how many sections and views of user mode a stream has.
#[must_use]
pub fn user_references(sections: Foreign<SECTION_OBJECT_POINTERS>) -> u32 {
    map_of(sections).map_or(0, |map| map.users().0)
}

/// Ends the data section of a stream that no file object caches and nobody views; what is dirty is written first. `false` when
/// it stays.
#[must_use]
pub fn close_unused(sections: Foreign<SECTION_OBJECT_POINTERS>) -> bool {
    map_of(sections).is_none_or(|map| {
        let flushed = map.opens() == 0 && !map.flush_range(0, u64::MAX, true).status.is_error();
        flushed && map.users().0 == 0 && map.tear_down(None)
    })
}

/// MmDoesFileHaveUserWritableReferences: how many of them may store.
#[must_use]
pub fn user_writable_references(sections: Foreign<SECTION_OBJECT_POINTERS>) -> u32 {
    map_of(sections).map_or(0, |map| map.users().1)
}
