//! What SharedCacheMap, PrivateCacheMap and DataSectionObject point at.
//!
//! Room: ntos/cc. Source: ntifs.h (`CcGetFileSizePointer` reads FileSize behind SharedCacheMap) and the public symbols
//! of ntoskrnl.exe for the rest. Drivers test the pointers against NULL; the members past the documented ones are ours.

use nt_abi::Ptr;
use nt_abi::io::FILE_OBJECT;
use nt_abi::ke::{KEVENT, LIST_ENTRY};

/// NodeTypeCode of a SHARED_CACHE_MAP.
pub const NODE_SHARED: i16 = 0x2FF;
/// NodeTypeCode of a PRIVATE_CACHE_MAP.
pub const NODE_PRIVATE: i16 = 0x2FE;

nt_abi::layout! {
    /// One for each cached stream.
    pub struct SHARED_CACHE_MAP: 0x60 {
        /// [`NODE_SHARED`].
        NodeTypeCode @ 0x00: i16;
        /// Its size.
        NodeByteSize @ 0x02: i16;
        /// How many file objects have a private cache map on it.
        OpenCount @ 0x04: u32;
        /// End of file as the cache knows it (`CcGetFileSizePointer`).
        FileSize @ 0x08: i64;
        /// Pinned ranges.
        BcbList @ 0x10: LIST_ENTRY;
        /// Bytes of the section.
        SectionSize @ 0x20: i64;
        /// Valid data length as the cache knows it.
        ValidDataLength @ 0x28: i64;
        /// The file object that paging requests carry.
        FileObject @ 0x38: Ptr<FILE_OBJECT>;
        /// Ours: the key of the [`crate::CacheMap`].
        Key @ 0x58: u64;
    }
    /// One for each file object that has read or written through the cache.
    pub struct PRIVATE_CACHE_MAP: 0x80 {
        /// [`NODE_PRIVATE`].
        NodeTypeCode @ 0x00: i16;
        /// Granularity of read-ahead minus one.
        ReadAheadMask @ 0x04: u32;
        /// Whose it is.
        FileObject @ 0x08: Ptr<FILE_OBJECT>;
        /// The read before the last.
        FileOffset1 @ 0x10: i64;
        /// Its end.
        BeyondLastByte1 @ 0x18: i64;
        /// The last read.
        FileOffset2 @ 0x20: i64;
        /// Its end.
        BeyondLastByte2 @ 0x28: i64;
        /// Reads in sequence so far.
        SequentialReadCount @ 0x30: u32;
        /// Where read-ahead has come to.
        ReadAheadBeyondLastByte @ 0x40: i64;
        /// Ours: the key of the [`crate::CacheMap`].
        Key @ 0x78: u64;
    }
    /// What DataSectionObject and ImageSectionObject point at: opaque.
    pub struct CONTROL_AREA: 0x20 {
        /// The cache map of the stream.
        SharedCacheMap @ 0x00: Ptr<SHARED_CACHE_MAP>;
        /// The file object of the section.
        FilePointer @ 0x08: Ptr<FILE_OBJECT>;
        /// Ours: the key of the [`crate::CacheMap`].
        Key @ 0x10: u64;
    }
    /// What CcUninitializeCacheMap can be given to tell when the stream is off the cache.
    pub struct CACHE_UNINITIALIZE_EVENT: 0x20 {
        /// The next one in Cc's list.
        Next @ 0x00: Ptr<CACHE_UNINITIALIZE_EVENT>;
        /// Set when the data is on the medium, or dropped.
        Event @ 0x08: KEVENT;
    }
}
