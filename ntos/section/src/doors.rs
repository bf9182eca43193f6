//! What file systems ask of sections before they cut, delete or reopen a file.
//!
//! Room: ntos/section. Called by: file systems. IRQL: PASSIVE_LEVEL. Locks: none.
//! Source: MmCanFileBeTruncated, MmFlushImageSection, MmForceSectionClosed, MmDoesFileHaveUserWritableReferences pages; rules
//! NT-I-09, NT-CC-61, NT-CC-75, NT-DEL-10, NT-DEL-12, NT-SHR-03.

use nt_abi::mm::SECTION_OBJECT_POINTERS;
use nt_cell::Foreign;

pub use nt_cc::user_writable_references;

type Sections = Foreign<SECTION_OBJECT_POINTERS>;

/// What an image section would be flushed for: MMFLUSH_TYPE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushFor {
    /// MmFlushForDelete: the file is about to be deleted.
    Delete,
    /// MmFlushForWrite: the file is about to be opened for writing.
    Write,
}

/// Whether the stream has an image section.
#[must_use]
pub fn has_image(sections: Sections) -> bool {
    sections.addr_at(SECTION_OBJECT_POINTERS::ImageSectionObject) != 0
}

/// MmFlushImageSection: whether no image section is in the way. Here an image section goes with its last section object, so
/// there is nothing to flush. A deletion is hindered by sections and views of the data too (NT-DEL-10).
#[must_use]
pub fn flush_image_section(sections: Sections, purpose: FlushFor) -> bool {
    !has_image(sections) && (purpose == FlushFor::Write || nt_cc::user_references(sections) == 0)
}

/// MmCanFileBeTruncated: whether a file may be cut to `size`, or at all: not while it runs, and not below its size while a
/// section or view of its data exists, wherever that ends (NT-I-09).
#[must_use]
pub fn can_file_be_truncated(sections: Sections, size: Option<u64>) -> bool {
    if has_image(sections) {
        return false;
    }
    if nt_cc::user_references(sections) == 0 {
        return true;
    }
    size.is_some_and(|size| nt_cc::map_of(sections).is_none_or(|map| size >= map.sizes().file))
}

/// MmForceSectionClosed: ends the data section of a stream that nobody uses; what is dirty is written first. `false` while a
/// section, a view or a file object's cache map is there, or data cannot be written.
#[must_use]
pub fn force_section_closed(sections: Sections) -> bool {
    !has_image(sections) && nt_cc::user_references(sections) == 0 && nt_cc::close_unused(sections)
}
