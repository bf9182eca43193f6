//! Filter Manager structures and constants: fltKernel.h.
//!
//! Room: abi. IRQL: any. Locks: none. Source: layout table of `spec/fltmgr.md` section 15; fltKernel.h for names.
//!
//! `FLT_PARAMETERS` is written twice: as offsets inside the union, and flattened into `FLT_IO_PARAMETER_BLOCK`.

use crate::io::{FILE_OBJECT, IO_CSQ, IO_STATUS_BLOCK, IRP};
use crate::ke::LIST_ENTRY;
use crate::mm::MDL;
use crate::ob::{IO_SECURITY_CONTEXT, UNICODE_STRING};
use crate::{Bytes, Code, Ptr, constants, layout};

layout! {
    pub struct FLT_CALLBACK_DATA: 0x58 {
        Flags @ 0x0: u32; Thread @ 0x8: Ptr<Bytes>; Iopb @ 0x10: Ptr<FLT_IO_PARAMETER_BLOCK>; IoStatus @ 0x18: IO_STATUS_BLOCK;
        TagData @ 0x28: Ptr<FLT_TAG_DATA_BUFFER>; QueueLinks @ 0x30: LIST_ENTRY; QueueContext @ 0x40: [u64; 2];
        FilterContext @ 0x30: [u64; 4]; RequestorMode @ 0x50: u8;
    }
    pub struct FLT_IO_PARAMETER_BLOCK: 0x48 {
        IrpFlags @ 0x0: u32; MajorFunction @ 0x4: u8; MinorFunction @ 0x5: u8; OperationFlags @ 0x6: u8; Reserved @ 0x7: u8;
        TargetFileObject @ 0x8: Ptr<FILE_OBJECT>; TargetInstance @ 0x10: Ptr<Bytes>; Parameters @ 0x18: FLT_PARAMETERS;
        Write_Length @ 0x18: u32; Write_Key @ 0x20: u32; Write_ByteOffset @ 0x28: i64; Write_WriteBuffer @ 0x30: Ptr<Bytes>;
        Write_MdlAddress @ 0x38: Ptr<MDL>;
        Read_Length @ 0x18: u32; Read_Key @ 0x20: u32; Read_ByteOffset @ 0x28: i64; Read_ReadBuffer @ 0x30: Ptr<Bytes>;
        Read_MdlAddress @ 0x38: Ptr<MDL>;
        Create_SecurityContext @ 0x18: Ptr<IO_SECURITY_CONTEXT>; Create_Options @ 0x20: u32; Create_FileAttributes @ 0x28: u16;
        Create_ShareAccess @ 0x2A: u16; Create_EaLength @ 0x30: u32; Create_EaBuffer @ 0x38: Ptr<Bytes>;
        Create_AllocationSize @ 0x40: i64;
        QueryFileInformation_Length @ 0x18: u32; QueryFileInformation_FileInformationClass @ 0x20: u32;
        QueryFileInformation_InfoBuffer @ 0x28: Ptr<Bytes>;
        SetFileInformation_Length @ 0x18: u32; SetFileInformation_FileInformationClass @ 0x20: u32;
        SetFileInformation_ParentOfTarget @ 0x28: Ptr<FILE_OBJECT>; SetFileInformation_ReplaceIfExists @ 0x30: u8;
        SetFileInformation_AdvanceOnly @ 0x31: u8; SetFileInformation_ClusterCount @ 0x30: u32;
        SetFileInformation_DeleteHandle @ 0x30: u64; SetFileInformation_InfoBuffer @ 0x38: Ptr<Bytes>;
        QueryEa_Length @ 0x18: u32; QueryEa_EaList @ 0x20: Ptr<Bytes>; QueryEa_EaListLength @ 0x28: u32;
        QueryEa_EaIndex @ 0x30: u32; QueryEa_EaBuffer @ 0x38: Ptr<Bytes>; QueryEa_MdlAddress @ 0x40: Ptr<MDL>;
        SetEa_Length @ 0x18: u32; SetEa_EaBuffer @ 0x20: Ptr<Bytes>; SetEa_MdlAddress @ 0x28: Ptr<MDL>;
        QueryVolumeInformation_Length @ 0x18: u32; QueryVolumeInformation_FsInformationClass @ 0x20: u32;
        QueryVolumeInformation_VolumeBuffer @ 0x28: Ptr<Bytes>;
        SetVolumeInformation_Length @ 0x18: u32; SetVolumeInformation_FsInformationClass @ 0x20: u32;
        SetVolumeInformation_VolumeBuffer @ 0x28: Ptr<Bytes>;
        QueryDirectory_Length @ 0x18: u32; QueryDirectory_FileName @ 0x20: Ptr<UNICODE_STRING>;
        QueryDirectory_FileInformationClass @ 0x28: u32; QueryDirectory_FileIndex @ 0x30: u32;
        QueryDirectory_DirectoryBuffer @ 0x38: Ptr<Bytes>; QueryDirectory_MdlAddress @ 0x40: Ptr<MDL>;
        NotifyDirectory_Length @ 0x18: u32; NotifyDirectory_CompletionFilter @ 0x20: u32;
        NotifyDirectoryEx_DirectoryNotifyInformationClass @ 0x28: u32;
        NotifyDirectory_DirectoryBuffer @ 0x38: Ptr<Bytes>; NotifyDirectory_MdlAddress @ 0x40: Ptr<MDL>;
        FileSystemControl_OutputBufferLength @ 0x18: u32; FileSystemControl_InputBufferLength @ 0x20: u32;
        FileSystemControl_FsControlCode @ 0x28: u32; FileSystemControl_Neither_InputBuffer @ 0x30: Ptr<Bytes>;
        FileSystemControl_Neither_OutputBuffer @ 0x38: Ptr<Bytes>; FileSystemControl_Neither_OutputMdlAddress @ 0x40: Ptr<MDL>;
        FileSystemControl_Buffered_SystemBuffer @ 0x30: Ptr<Bytes>; FileSystemControl_Direct_InputSystemBuffer @ 0x30: Ptr<Bytes>;
        FileSystemControl_Direct_OutputBuffer @ 0x38: Ptr<Bytes>; FileSystemControl_Direct_OutputMdlAddress @ 0x40: Ptr<MDL>;
        DeviceIoControl_OutputBufferLength @ 0x18: u32; DeviceIoControl_InputBufferLength @ 0x20: u32;
        DeviceIoControl_IoControlCode @ 0x28: u32; DeviceIoControl_Neither_InputBuffer @ 0x30: Ptr<Bytes>;
        DeviceIoControl_Neither_OutputBuffer @ 0x38: Ptr<Bytes>; DeviceIoControl_Neither_OutputMdlAddress @ 0x40: Ptr<MDL>;
        DeviceIoControl_Buffered_SystemBuffer @ 0x30: Ptr<Bytes>; DeviceIoControl_Direct_InputSystemBuffer @ 0x30: Ptr<Bytes>;
        DeviceIoControl_Direct_OutputBuffer @ 0x38: Ptr<Bytes>; DeviceIoControl_Direct_OutputMdlAddress @ 0x40: Ptr<MDL>;
        DeviceIoControl_FastIo_InputBuffer @ 0x30: Ptr<Bytes>; DeviceIoControl_FastIo_OutputBuffer @ 0x38: Ptr<Bytes>;
        LockControl_Length @ 0x18: Ptr<Bytes>; LockControl_Key @ 0x20: u32; LockControl_ByteOffset @ 0x28: i64;
        LockControl_ProcessId @ 0x30: Ptr<Bytes>; LockControl_FailImmediately @ 0x38: u8; LockControl_ExclusiveLock @ 0x39: u8;
        QuerySecurity_SecurityInformation @ 0x18: u32; QuerySecurity_Length @ 0x20: u32;
        QuerySecurity_SecurityBuffer @ 0x28: Ptr<Bytes>; QuerySecurity_MdlAddress @ 0x30: Ptr<MDL>;
        SetSecurity_SecurityInformation @ 0x18: u32; SetSecurity_SecurityDescriptor @ 0x20: Ptr<Bytes>;
        FastIoCheckIfPossible_FileOffset @ 0x18: i64; FastIoCheckIfPossible_Length @ 0x20: u32;
        FastIoCheckIfPossible_LockKey @ 0x28: u32; FastIoCheckIfPossible_CheckForReadOperation @ 0x30: u8;
        NetworkQueryOpen_Irp @ 0x18: Ptr<IRP>; NetworkQueryOpen_NetworkInformation @ 0x20: Ptr<Bytes>;
        QueryOpen_Irp @ 0x18: Ptr<IRP>; QueryOpen_FileInformation @ 0x20: Ptr<Bytes>; QueryOpen_Length @ 0x28: Ptr<Bytes>;
        QueryOpen_FileInformationClass @ 0x30: u32;
        MdlRead_FileOffset @ 0x18: i64; MdlRead_Length @ 0x20: u32; MdlRead_Key @ 0x28: u32;
        MdlRead_MdlChain @ 0x30: Ptr<Bytes>; MdlReadComplete_MdlChain @ 0x18: Ptr<MDL>;
        PrepareMdlWrite_FileOffset @ 0x18: i64; PrepareMdlWrite_Length @ 0x20: u32; PrepareMdlWrite_Key @ 0x28: u32;
        PrepareMdlWrite_MdlChain @ 0x30: Ptr<Bytes>; MdlWriteComplete_FileOffset @ 0x18: i64;
        MdlWriteComplete_MdlChain @ 0x20: Ptr<MDL>;
        AcquireForModifiedPageWriter_EndingOffset @ 0x18: Ptr<Bytes>; AcquireForModifiedPageWriter_ResourceToRelease @ 0x20: Ptr<Bytes>;
        AcquireForSectionSynchronization_SyncType @ 0x18: u32; AcquireForSectionSynchronization_PageProtection @ 0x1C: u32;
        Others_Argument1 @ 0x18: Ptr<Bytes>; Others_Argument2 @ 0x20: Ptr<Bytes>; Others_Argument3 @ 0x28: Ptr<Bytes>;
        Others_Argument4 @ 0x30: Ptr<Bytes>; Others_Argument5 @ 0x38: Ptr<Bytes>; Others_Argument6 @ 0x40: i64;
    }
    pub struct FLT_PARAMETERS: 0x30 {
        Write_Length @ 0x0: u32; Write_Key @ 0x8: u32; Write_ByteOffset @ 0x10: i64; Write_WriteBuffer @ 0x18: Ptr<Bytes>;
        Write_MdlAddress @ 0x20: Ptr<MDL>;
    }
    pub struct FLT_RELATED_OBJECTS: 0x30 {
        Size @ 0x0: u16; TransactionContext @ 0x2: u16; Filter @ 0x8: Ptr<Bytes>; Volume @ 0x10: Ptr<Bytes>;
        Instance @ 0x18: Ptr<Bytes>; FileObject @ 0x20: Ptr<FILE_OBJECT>; Transaction @ 0x28: Ptr<Bytes>;
    }
    pub struct FLT_REGISTRATION: 0x70 {
        Size @ 0x0: u16; Version @ 0x2: u16; Flags @ 0x4: u32; ContextRegistration @ 0x8: Ptr<FLT_CONTEXT_REGISTRATION>;
        OperationRegistration @ 0x10: Ptr<FLT_OPERATION_REGISTRATION>; FilterUnloadCallback @ 0x18: Code;
        InstanceSetupCallback @ 0x20: Code; InstanceQueryTeardownCallback @ 0x28: Code;
        InstanceTeardownStartCallback @ 0x30: Code; InstanceTeardownCompleteCallback @ 0x38: Code;
        GenerateFileNameCallback @ 0x40: Code; NormalizeNameComponentCallback @ 0x48: Code;
        NormalizeContextCleanupCallback @ 0x50: Code; TransactionNotificationCallback @ 0x58: Code;
        NormalizeNameComponentExCallback @ 0x60: Code; SectionNotificationCallback @ 0x68: Code;
    }
    pub struct FLT_OPERATION_REGISTRATION: 0x20 {
        MajorFunction @ 0x0: u8; Flags @ 0x4: u32; PreOperation @ 0x8: Code; PostOperation @ 0x10: Code;
        Reserved1 @ 0x18: Ptr<Bytes>;
    }
    pub struct FLT_CONTEXT_REGISTRATION: 0x38 {
        ContextType @ 0x0: u16; Flags @ 0x2: u16; ContextCleanupCallback @ 0x8: Code; Size @ 0x10: u64; PoolTag @ 0x18: u32;
        ContextAllocateCallback @ 0x20: Code; ContextFreeCallback @ 0x28: Code; Reserved1 @ 0x30: Ptr<Bytes>;
    }
    pub struct FLT_RELATED_CONTEXTS: 0x30 {
        VolumeContext @ 0x0: Ptr<Bytes>; InstanceContext @ 0x8: Ptr<Bytes>; FileContext @ 0x10: Ptr<Bytes>;
        StreamContext @ 0x18: Ptr<Bytes>; StreamHandleContext @ 0x20: Ptr<Bytes>; TransactionContext @ 0x28: Ptr<Bytes>;
    }
    pub struct FLT_FILE_NAME_INFORMATION: 0x78 {
        Size @ 0x0: u16; NamesParsed @ 0x2: u16; Format @ 0x4: u32; Name @ 0x8: UNICODE_STRING; Volume @ 0x18: UNICODE_STRING;
        Share @ 0x28: UNICODE_STRING; Extension @ 0x38: UNICODE_STRING; Stream @ 0x48: UNICODE_STRING;
        FinalComponent @ 0x58: UNICODE_STRING; ParentDir @ 0x68: UNICODE_STRING;
    }
    pub struct FLT_CALLBACK_DATA_QUEUE: 0x80 {
        Csq @ 0x0: IO_CSQ; Flags @ 0x40: u32; Instance @ 0x48: Ptr<Bytes>; InsertIo @ 0x50: Code; RemoveIo @ 0x58: Code;
        PeekNextIo @ 0x60: Code; Acquire @ 0x68: Code; Release @ 0x70: Code; CompleteCanceledIo @ 0x78: Code;
    }
    pub struct FLT_TAG_DATA_BUFFER: 0x1C align 4 {
        FileTag @ 0x0: u32; TagDataLength @ 0x4: u16; UnparsedNameLength @ 0x6: u16; GenericReparseBuffer @ 0x8: [u8; 1];
    }
    pub struct FLT_VOLUME_PROPERTIES: 0x48 {
        DeviceType @ 0x0: u32; DeviceCharacteristics @ 0x4: u32; DeviceObjectFlags @ 0x8: u32;
        AlignmentRequirement @ 0xC: u32; SectorSize @ 0x10: u16; Flags @ 0x12: u16; FileSystemDriverName @ 0x18: UNICODE_STRING;
        FileSystemDeviceName @ 0x28: UNICODE_STRING; RealDeviceName @ 0x38: UNICODE_STRING;
    }
    pub struct FLT_NAME_CONTROL: 0x10 { Name @ 0x0: UNICODE_STRING; }
}

constants! {
    u16: FLT_REGISTRATION_VERSION_0200 = 0x0200, FLT_REGISTRATION_VERSION_0201 = 0x0201, FLT_REGISTRATION_VERSION_0202 = 0x0202,
        FLT_REGISTRATION_VERSION_0203 = 0x0203, FLT_REGISTRATION_VERSION = 0x0203;
    u32: FLT_PREOP_SUCCESS_WITH_CALLBACK = 0, FLT_PREOP_SUCCESS_NO_CALLBACK = 1, FLT_PREOP_PENDING = 2,
        FLT_PREOP_DISALLOW_FASTIO = 3, FLT_PREOP_COMPLETE = 4, FLT_PREOP_SYNCHRONIZE = 5, FLT_PREOP_DISALLOW_FSFILTER_IO = 6;
    u32: FLT_POSTOP_FINISHED_PROCESSING = 0, FLT_POSTOP_MORE_PROCESSING_REQUIRED = 1, FLT_POSTOP_DISALLOW_FSFILTER_IO = 2;
    u32: FLTFL_CALLBACK_DATA_IRP_OPERATION = 0x1, FLTFL_CALLBACK_DATA_FAST_IO_OPERATION = 0x2,
        FLTFL_CALLBACK_DATA_FS_FILTER_OPERATION = 0x4, FLTFL_CALLBACK_DATA_SYSTEM_BUFFER = 0x8,
        FLTFL_CALLBACK_DATA_GENERATED_IO = 0x1_0000, FLTFL_CALLBACK_DATA_REISSUED_IO = 0x2_0000,
        FLTFL_CALLBACK_DATA_DRAINING_IO = 0x4_0000, FLTFL_CALLBACK_DATA_POST_OPERATION = 0x8_0000,
        FLTFL_CALLBACK_DATA_NEW_SYSTEM_BUFFER = 0x10_0000, FLTFL_CALLBACK_DATA_DIRTY = 0x8000_0000;
    u32: FLTFL_POST_OPERATION_DRAINING = 1;
    u32: FLTFL_OPERATION_REGISTRATION_SKIP_PAGING_IO = 1, FLTFL_OPERATION_REGISTRATION_SKIP_CACHED_IO = 2,
        FLTFL_OPERATION_REGISTRATION_SKIP_NON_DASD_IO = 4, FLTFL_OPERATION_REGISTRATION_SKIP_NON_CACHED_NON_PAGING_IO = 8;
    u32: FLTFL_IO_OPERATION_NON_CACHED = 1, FLTFL_IO_OPERATION_PAGING = 2, FLTFL_IO_OPERATION_DO_NOT_UPDATE_BYTE_OFFSET = 4,
        FLTFL_IO_OPERATION_SYNCHRONOUS_PAGING = 8;
    u32: FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP = 1, FLTFL_REGISTRATION_SUPPORT_NPFS_MSFS = 2,
        FLTFL_REGISTRATION_SUPPORT_DAX_VOLUME = 4;
    u16: FLT_VOLUME_CONTEXT = 0x1, FLT_INSTANCE_CONTEXT = 0x2, FLT_FILE_CONTEXT = 0x4, FLT_STREAM_CONTEXT = 0x8,
        FLT_STREAMHANDLE_CONTEXT = 0x10, FLT_TRANSACTION_CONTEXT = 0x20, FLT_SECTION_CONTEXT = 0x40, FLT_CONTEXT_END = 0xFFFF;
    u64: FLT_VARIABLE_SIZED_CONTEXTS = u64::MAX;
    u16: FLTFL_CONTEXT_REGISTRATION_NO_EXACT_SIZE_MATCH = 1;
    u32: FLT_SET_CONTEXT_REPLACE_IF_EXISTS = 0, FLT_SET_CONTEXT_KEEP_IF_EXISTS = 1;
    u32: FLTFL_INSTANCE_SETUP_AUTOMATIC_ATTACHMENT = 1, FLTFL_INSTANCE_SETUP_MANUAL_ATTACHMENT = 2,
        FLTFL_INSTANCE_SETUP_NEWLY_MOUNTED_VOLUME = 4, FLTFL_INSTANCE_SETUP_DETACHED_VOLUME = 8;
    u32: FLTFL_INSTANCE_TEARDOWN_MANUAL = 0x1, FLTFL_INSTANCE_TEARDOWN_FILTER_UNLOAD = 0x2,
        FLTFL_INSTANCE_TEARDOWN_MANDATORY_FILTER_UNLOAD = 0x4, FLTFL_INSTANCE_TEARDOWN_VOLUME_DISMOUNT = 0x8,
        FLTFL_INSTANCE_TEARDOWN_INTERNAL_ERROR = 0x10, FLTFL_FILTER_UNLOAD_MANDATORY = 1;
    u8: IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION = 0xFF, IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION = 0xFE,
        IRP_MJ_ACQUIRE_FOR_MOD_WRITE = 0xFD, IRP_MJ_RELEASE_FOR_MOD_WRITE = 0xFC, IRP_MJ_ACQUIRE_FOR_CC_FLUSH = 0xFB,
        IRP_MJ_RELEASE_FOR_CC_FLUSH = 0xFA, IRP_MJ_QUERY_OPEN = 0xF9, IRP_MJ_FAST_IO_CHECK_IF_POSSIBLE = 0xF3,
        IRP_MJ_NETWORK_QUERY_OPEN = 0xF2, IRP_MJ_MDL_READ = 0xF1, IRP_MJ_MDL_READ_COMPLETE = 0xF0,
        IRP_MJ_PREPARE_MDL_WRITE = 0xEF, IRP_MJ_MDL_WRITE_COMPLETE = 0xEE, IRP_MJ_VOLUME_MOUNT = 0xED,
        IRP_MJ_VOLUME_DISMOUNT = 0xEC, IRP_MJ_OPERATION_END = 0x80;
    u32: FLT_FILE_NAME_NORMALIZED = 0x1, FLT_FILE_NAME_OPENED = 0x2, FLT_FILE_NAME_SHORT = 0x3,
        FLT_FILE_NAME_QUERY_DEFAULT = 0x100, FLT_FILE_NAME_QUERY_CACHE_ONLY = 0x200,
        FLT_FILE_NAME_QUERY_FILESYSTEM_ONLY = 0x300, FLT_FILE_NAME_QUERY_ALWAYS_ALLOW_CACHE_LOOKUP = 0x400;
    u16: FLTFL_FILE_NAME_PARSED_FINAL_COMPONENT = 1, FLTFL_FILE_NAME_PARSED_EXTENSION = 2, FLTFL_FILE_NAME_PARSED_STREAM = 4,
        FLTFL_FILE_NAME_PARSED_PARENT_DIR = 8;
    u32: FLT_PORT_CONNECT = 1, FLT_PORT_ALL_ACCESS = 0x1F_0001;
}
