//! Memory descriptor lists and section objects: wdm.h, ntifs.h.
//!
//! Room: abi. IRQL: any. Locks: none. Source: WDK headers for names; layout tables of `spec/nt-io.md`.

use crate::io::FILE_OBJECT;
use crate::ke::{ERESOURCE, FAST_MUTEX, LIST_ENTRY};
use crate::{Bytes, Code, Ptr, constants, layout};

layout! {
    /// The page frame numbers follow at [`MDL::SIZE`], eight bytes each.
    pub struct MDL: 0x30 {
        Next @ 0x0: Ptr<MDL>; Size @ 0x8: i16; MdlFlags @ 0xA: u16; AllocationProcessorNumber @ 0xC: u16;
        Reserved @ 0xE: u16; Process @ 0x10: Ptr<Bytes>; MappedSystemVa @ 0x18: Ptr<Bytes>; StartVa @ 0x20: Ptr<Bytes>;
        ByteCount @ 0x28: u32; ByteOffset @ 0x2C: u32;
    }
    pub struct SECTION_OBJECT_POINTERS: 0x18 {
        DataSectionObject @ 0x0: Ptr<Bytes>; SharedCacheMap @ 0x8: Ptr<Bytes>; ImageSectionObject @ 0x10: Ptr<Bytes>;
    }
    pub struct FSRTL_COMMON_FCB_HEADER: 0x30 {
        NodeTypeCode @ 0x0: i16; NodeByteSize @ 0x2: i16; Flags @ 0x4: u8; IsFastIoPossible @ 0x5: u8;
        Flags2 @ 0x6: u8; Reserved @ 0x7: u8; Resource @ 0x8: Ptr<ERESOURCE>; PagingIoResource @ 0x10: Ptr<ERESOURCE>;
        AllocationSize @ 0x18: i64; FileSize @ 0x20: i64; ValidDataLength @ 0x28: i64;
    }
    pub struct FSRTL_ADVANCED_FCB_HEADER: 0x68 {
        NodeTypeCode @ 0x0: i16; NodeByteSize @ 0x2: i16; Flags @ 0x4: u8; IsFastIoPossible @ 0x5: u8;
        Flags2 @ 0x6: u8; Version @ 0x7: u8; Resource @ 0x8: Ptr<ERESOURCE>; PagingIoResource @ 0x10: Ptr<ERESOURCE>;
        AllocationSize @ 0x18: i64; FileSize @ 0x20: i64; ValidDataLength @ 0x28: i64;
        FastMutex @ 0x30: Ptr<FAST_MUTEX>; FilterContexts @ 0x38: LIST_ENTRY; PushLock @ 0x48: u64;
        FileContextSupportPointer @ 0x50: Ptr<Bytes>; Oplock @ 0x58: Ptr<Bytes>; ReservedContext @ 0x60: Ptr<Bytes>;
    }
    pub struct FSRTL_PER_STREAM_CONTEXT: 0x28 {
        Links @ 0x0: LIST_ENTRY; OwnerId @ 0x10: u64; InstanceId @ 0x18: u64; FreeCallback @ 0x20: Code;
    }
    pub struct FILE_LOCK_INFO: 0x30 {
        StartingByte @ 0x0: i64; Length @ 0x8: i64; ExclusiveLock @ 0x10: u8; Key @ 0x14: u32;
        FileObject @ 0x18: Ptr<FILE_OBJECT>; ProcessId @ 0x20: Ptr<Bytes>; EndingByte @ 0x28: i64;
    }
    pub struct FILE_LOCK: 0x60 {
        CompleteLockIrpRoutine @ 0x0: Code; UnlockRoutine @ 0x8: Code; FastIoIsQuestionable @ 0x10: u8;
        LockInformation @ 0x18: u64; LastReturnedLockInfo @ 0x20: FILE_LOCK_INFO; LastReturnedLock @ 0x50: u64;
        LockRequestsInProgress @ 0x58: i32;
    }
    pub struct CC_FILE_SIZES: 0x18 { AllocationSize @ 0x0: i64; FileSize @ 0x8: i64; ValidDataLength @ 0x10: i64; }
    pub struct CACHE_MANAGER_CALLBACKS: 0x20 {
        AcquireForLazyWrite @ 0x0: Code; ReleaseFromLazyWrite @ 0x8: Code; AcquireForReadAhead @ 0x10: Code;
        ReleaseFromReadAhead @ 0x18: Code;
    }
}

constants! {
    u16: MDL_MAPPED_TO_SYSTEM_VA = 0x1, MDL_PAGES_LOCKED = 0x2, MDL_SOURCE_IS_NONPAGED_POOL = 0x4,
        MDL_ALLOCATED_FIXED_SIZE = 0x8, MDL_PARTIAL = 0x10, MDL_PARTIAL_HAS_BEEN_MAPPED = 0x20, MDL_IO_PAGE_READ = 0x40,
        MDL_WRITE_OPERATION = 0x80, MDL_LOCKED_PAGE_TABLES = 0x100, MDL_PARENT_MAPPED_SYSTEM_VA = 0x100,
        MDL_FREE_EXTRA_PTES = 0x200, MDL_DESCRIBES_AWE = 0x400, MDL_IO_SPACE = 0x800, MDL_NETWORK_HEADER = 0x1000,
        MDL_MAPPING_CAN_FAIL = 0x2000, MDL_ALLOCATED_MUST_SUCCEED = 0x4000, MDL_INTERNAL = 0x8000;
    u32: IoReadAccess = 0, IoWriteAccess = 1, IoModifyAccess = 2;
    u8: KernelMode = 0, UserMode = 1;
    u32: MmNonCached = 0, MmCached = 1, MmWriteCombined = 2;
    u32: LowPagePriority = 0, NormalPagePriority = 16, HighPagePriority = 32, MdlMappingNoWrite = 0x8000_0000,
        MdlMappingNoExecute = 0x4000_0000, MdlMappingWithGuardPtes = 0x2000_0000;
    u64: PAGE_SIZE = 0x1000;
    u32: PAGE_NOACCESS = 0x1, PAGE_READONLY = 0x2, PAGE_READWRITE = 0x4, PAGE_WRITECOPY = 0x8, PAGE_EXECUTE = 0x10,
        PAGE_EXECUTE_READ = 0x20, PAGE_EXECUTE_READWRITE = 0x40, PAGE_EXECUTE_WRITECOPY = 0x80;
    u32: SEC_FILE = 0x80_0000, SEC_IMAGE = 0x100_0000, SEC_RESERVE = 0x400_0000, SEC_COMMIT = 0x800_0000,
        SEC_NOCACHE = 0x1000_0000, SEC_LARGE_PAGES = 0x8000_0000;
    u32: SECTION_QUERY = 0x1, SECTION_MAP_WRITE = 0x2, SECTION_MAP_READ = 0x4, SECTION_MAP_EXECUTE = 0x8,
        SECTION_EXTEND_SIZE = 0x10, SECTION_ALL_ACCESS = 0xF_001F;
    u32: MmFlushForDelete = 0, MmFlushForWrite = 1;
    u32: PAGE_SHIFT = 12;
    u8: FSRTL_FLAG_FILE_MODIFIED = 0x1, FSRTL_FLAG_FILE_LENGTH_CHANGED = 0x2, FSRTL_FLAG_LIMIT_MODIFIED_PAGES = 0x4,
        FSRTL_FLAG_ACQUIRE_MAIN_RSRC_EX = 0x8, FSRTL_FLAG_ACQUIRE_MAIN_RSRC_SH = 0x10, FSRTL_FLAG_USER_MAPPED_FILE = 0x20,
        FSRTL_FLAG_ADVANCED_HEADER = 0x40, FSRTL_FLAG_EOF_ADVANCE_ACTIVE = 0x80;
    u8: FSRTL_FLAG2_DO_MODIFIED_WRITE = 0x1, FSRTL_FLAG2_SUPPORTS_FILTER_CONTEXTS = 0x2, FSRTL_FLAG2_PURGE_WHEN_MAPPED = 0x4,
        FSRTL_FLAG2_IS_PAGING_FILE = 0x8;
    u8: FastIoIsNotPossible = 0, FastIoIsPossible = 1, FastIoIsQuestionable = 2;
}
