//! I/O manager structures and constants: wdm.h, ntifs.h.
//!
//! Room: abi. IRQL: any. Locks: none. Source: layout table of `spec/nt-io.md` section 23; WDK headers for names.
//!
//! Unions are flattened: `Write_Length` is `Parameters.Write.Length`, `Tail_Thread` is `Tail.Overlay.Thread`.
//! File information classes are in [`crate::fileinfo`], constants in [`crate::ioconst`]; both are re-exported here.

pub use crate::fileinfo::*;
pub use crate::ioconst::*;
use crate::ke::{KAPC, KDEVICE_QUEUE, KDEVICE_QUEUE_ENTRY, KDPC, KEVENT, LIST_ENTRY};
use crate::mm::{MDL, SECTION_OBJECT_POINTERS};
pub use crate::ob::IO_SECURITY_CONTEXT;
use crate::ob::UNICODE_STRING;
use crate::{Bytes, Code, GUID, NtStatus, Ptr, layout};

layout! {
    pub struct IO_STATUS_BLOCK: 0x10 { Status @ 0x0: NtStatus; Pointer @ 0x0: Ptr<Bytes>; Information @ 0x8: u64; }
    pub struct FILE_OBJECT: 0xD8 {
        Type @ 0x0: i16; Size @ 0x2: i16; DeviceObject @ 0x8: Ptr<DEVICE_OBJECT>; Vpb @ 0x10: Ptr<VPB>;
        FsContext @ 0x18: Ptr<Bytes>; FsContext2 @ 0x20: Ptr<Bytes>; SectionObjectPointer @ 0x28: Ptr<SECTION_OBJECT_POINTERS>;
        PrivateCacheMap @ 0x30: Ptr<Bytes>; FinalStatus @ 0x38: NtStatus; RelatedFileObject @ 0x40: Ptr<FILE_OBJECT>;
        LockOperation @ 0x48: u8; DeletePending @ 0x49: u8; ReadAccess @ 0x4A: u8; WriteAccess @ 0x4B: u8;
        DeleteAccess @ 0x4C: u8; SharedRead @ 0x4D: u8; SharedWrite @ 0x4E: u8; SharedDelete @ 0x4F: u8; Flags @ 0x50: u32;
        FileName @ 0x58: UNICODE_STRING; CurrentByteOffset @ 0x68: i64; Waiters @ 0x70: u32; Busy @ 0x74: u32;
        LastLock @ 0x78: Ptr<Bytes>; Lock @ 0x80: KEVENT; Event @ 0x98: KEVENT;
        CompletionContext @ 0xB0: Ptr<IO_COMPLETION_CONTEXT>; IrpListLock @ 0xB8: u64; IrpList @ 0xC0: LIST_ENTRY;
        FileObjectExtension @ 0xD0: Ptr<Bytes>;
    }
    pub struct IO_COMPLETION_CONTEXT: 0x18 { Port @ 0x0: Ptr<Bytes>; Key @ 0x8: u64; UsageCount @ 0x10: i64; }
    pub struct DEVICE_OBJECT: 0x150 align 16 {
        Type @ 0x0: i16; Size @ 0x2: u16; ReferenceCount @ 0x4: i32; DriverObject @ 0x8: Ptr<DRIVER_OBJECT>;
        NextDevice @ 0x10: Ptr<DEVICE_OBJECT>; AttachedDevice @ 0x18: Ptr<DEVICE_OBJECT>; CurrentIrp @ 0x20: Ptr<IRP>;
        Timer @ 0x28: Ptr<Bytes>; Flags @ 0x30: u32; Characteristics @ 0x34: u32; Vpb @ 0x38: Ptr<VPB>;
        DeviceExtension @ 0x40: Ptr<Bytes>; DeviceType @ 0x48: u32; StackSize @ 0x4C: i8; Queue @ 0x50: [u64; 9];
        Queue_ListEntry @ 0x50: LIST_ENTRY; AlignmentRequirement @ 0x98: u32; DeviceQueue @ 0xA0: KDEVICE_QUEUE;
        Dpc @ 0xC8: KDPC; ActiveThreadCount @ 0x108: u32; SecurityDescriptor @ 0x110: Ptr<Bytes>; DeviceLock @ 0x118: KEVENT;
        SectorSize @ 0x130: u16; Spare1 @ 0x132: u16; DeviceObjectExtension @ 0x138: Ptr<Bytes>; Reserved @ 0x140: Ptr<Bytes>;
    }
    pub struct DRIVER_EXTENSION: 0x28 {
        DriverObject @ 0x0: Ptr<DRIVER_OBJECT>; AddDevice @ 0x8: Code; Count @ 0x10: u32; ServiceKeyName @ 0x18: UNICODE_STRING;
    }
    pub struct DRIVER_OBJECT: 0x150 {
        Type @ 0x0: i16; Size @ 0x2: i16; DeviceObject @ 0x8: Ptr<DEVICE_OBJECT>; Flags @ 0x10: u32;
        DriverStart @ 0x18: Ptr<Bytes>; DriverSize @ 0x20: u32; DriverSection @ 0x28: Ptr<Bytes>;
        DriverExtension @ 0x30: Ptr<DRIVER_EXTENSION>; DriverName @ 0x38: UNICODE_STRING;
        HardwareDatabase @ 0x48: Ptr<UNICODE_STRING>; FastIoDispatch @ 0x50: Ptr<FAST_IO_DISPATCH>; DriverInit @ 0x58: Code;
        DriverStartIo @ 0x60: Code; DriverUnload @ 0x68: Code; MajorFunction @ 0x70: [Code; 28];
    }
    pub struct IRP: 0xD0 align 16 {
        Type @ 0x0: i16; Size @ 0x2: u16; AllocationProcessorNumber @ 0x4: u16; Reserved @ 0x6: u16;
        MdlAddress @ 0x8: Ptr<MDL>; Flags @ 0x10: u32; AssociatedIrp_MasterIrp @ 0x18: Ptr<IRP>;
        AssociatedIrp_IrpCount @ 0x18: i32; AssociatedIrp_SystemBuffer @ 0x18: Ptr<Bytes>; ThreadListEntry @ 0x20: LIST_ENTRY;
        IoStatus @ 0x30: IO_STATUS_BLOCK; RequestorMode @ 0x40: u8; PendingReturned @ 0x41: u8; StackCount @ 0x42: i8;
        CurrentLocation @ 0x43: i8; Cancel @ 0x44: u8; CancelIrql @ 0x45: u8; ApcEnvironment @ 0x46: i8;
        AllocationFlags @ 0x47: u8; UserIosb @ 0x48: Ptr<IO_STATUS_BLOCK>; UserEvent @ 0x50: Ptr<KEVENT>;
        UserApcRoutine @ 0x58: Code; IssuingProcess @ 0x58: Ptr<Bytes>; UserApcContext @ 0x60: Ptr<Bytes>;
        Overlay_AllocationSize @ 0x58: i64; CancelRoutine @ 0x68: Code; UserBuffer @ 0x70: Ptr<Bytes>;
        Tail_DeviceQueueEntry @ 0x78: KDEVICE_QUEUE_ENTRY; Tail_DriverContext @ 0x78: [u64; 4]; Tail_Thread @ 0x98: Ptr<Bytes>;
        Tail_AuxiliaryBuffer @ 0xA0: Ptr<Bytes>; Tail_ListEntry @ 0xA8: LIST_ENTRY;
        Tail_CurrentStackLocation @ 0xB8: Ptr<IO_STACK_LOCATION>; Tail_PacketType @ 0xB8: u32;
        Tail_OriginalFileObject @ 0xC0: Ptr<FILE_OBJECT>; Tail_IrpExtension @ 0xC8: Ptr<Bytes>; Tail_Apc @ 0x78: KAPC;
        Tail_CompletionKey @ 0x78: Ptr<Bytes>;
    }
    pub struct IO_STACK_LOCATION: 0x48 {
        MajorFunction @ 0x0: u8; MinorFunction @ 0x1: u8; Flags @ 0x2: u8; Control @ 0x3: u8; Parameters @ 0x8: [u64; 4];
        Create_SecurityContext @ 0x8: Ptr<IO_SECURITY_CONTEXT>; Create_Options @ 0x10: u32; Create_FileAttributes @ 0x18: u16;
        Create_ShareAccess @ 0x1A: u16; Create_EaLength @ 0x20: u32;
        Read_Length @ 0x8: u32; Read_Key @ 0x10: u32; Read_ByteOffset @ 0x18: i64;
        Write_Length @ 0x8: u32; Write_Key @ 0x10: u32; Write_ByteOffset @ 0x18: i64;
        QueryDirectory_Length @ 0x8: u32; QueryDirectory_FileName @ 0x10: Ptr<UNICODE_STRING>;
        QueryDirectory_FileInformationClass @ 0x18: u32; QueryDirectory_FileIndex @ 0x20: u32;
        NotifyDirectory_Length @ 0x8: u32; NotifyDirectory_CompletionFilter @ 0x10: u32;
        NotifyDirectoryEx_DirectoryNotifyInformationClass @ 0x18: u32;
        QueryFile_Length @ 0x8: u32; QueryFile_FileInformationClass @ 0x10: u32;
        SetFile_Length @ 0x8: u32; SetFile_FileInformationClass @ 0x10: u32; SetFile_FileObject @ 0x18: Ptr<FILE_OBJECT>;
        SetFile_ReplaceIfExists @ 0x20: u8; SetFile_AdvanceOnly @ 0x21: u8; SetFile_ClusterCount @ 0x20: u32;
        SetFile_DeleteHandle @ 0x20: u64;
        QueryEa_Length @ 0x8: u32; QueryEa_EaList @ 0x10: Ptr<Bytes>; QueryEa_EaListLength @ 0x18: u32;
        QueryEa_EaIndex @ 0x20: u32; SetEa_Length @ 0x8: u32;
        QueryVolume_Length @ 0x8: u32; QueryVolume_FsInformationClass @ 0x10: u32;
        SetVolume_Length @ 0x8: u32; SetVolume_FsInformationClass @ 0x10: u32;
        FileSystemControl_OutputBufferLength @ 0x8: u32; FileSystemControl_InputBufferLength @ 0x10: u32;
        FileSystemControl_FsControlCode @ 0x18: u32; FileSystemControl_Type3InputBuffer @ 0x20: Ptr<Bytes>;
        LockControl_Length @ 0x8: Ptr<Bytes>; LockControl_Key @ 0x10: u32; LockControl_ByteOffset @ 0x18: i64;
        DeviceIoControl_OutputBufferLength @ 0x8: u32; DeviceIoControl_InputBufferLength @ 0x10: u32;
        DeviceIoControl_IoControlCode @ 0x18: u32; DeviceIoControl_Type3InputBuffer @ 0x20: Ptr<Bytes>;
        QuerySecurity_SecurityInformation @ 0x8: u32; QuerySecurity_Length @ 0x10: u32;
        SetSecurity_SecurityInformation @ 0x8: u32; SetSecurity_SecurityDescriptor @ 0x10: Ptr<Bytes>;
        MountVolume_Vpb @ 0x8: Ptr<VPB>; MountVolume_DeviceObject @ 0x10: Ptr<DEVICE_OBJECT>;
        VerifyVolume_Vpb @ 0x8: Ptr<VPB>; VerifyVolume_DeviceObject @ 0x10: Ptr<DEVICE_OBJECT>;
        Others_Argument1 @ 0x8: Ptr<Bytes>; Others_Argument2 @ 0x10: Ptr<Bytes>; Others_Argument3 @ 0x18: Ptr<Bytes>;
        Others_Argument4 @ 0x20: Ptr<Bytes>;
        DeviceObject @ 0x28: Ptr<DEVICE_OBJECT>; FileObject @ 0x30: Ptr<FILE_OBJECT>; CompletionRoutine @ 0x38: Code;
        Context @ 0x40: Ptr<Bytes>;
    }
    pub struct FAST_IO_DISPATCH: 0xE0 {
        SizeOfFastIoDispatch @ 0x0: u32; FastIoCheckIfPossible @ 0x8: Code; FastIoRead @ 0x10: Code; FastIoWrite @ 0x18: Code;
        FastIoQueryBasicInfo @ 0x20: Code; FastIoQueryStandardInfo @ 0x28: Code; FastIoLock @ 0x30: Code;
        FastIoUnlockSingle @ 0x38: Code; FastIoUnlockAll @ 0x40: Code; FastIoUnlockAllByKey @ 0x48: Code;
        FastIoDeviceControl @ 0x50: Code; AcquireFileForNtCreateSection @ 0x58: Code;
        ReleaseFileForNtCreateSection @ 0x60: Code; FastIoDetachDevice @ 0x68: Code; FastIoQueryNetworkOpenInfo @ 0x70: Code;
        AcquireForModWrite @ 0x78: Code; MdlRead @ 0x80: Code; MdlReadComplete @ 0x88: Code; PrepareMdlWrite @ 0x90: Code;
        MdlWriteComplete @ 0x98: Code; FastIoReadCompressed @ 0xA0: Code; FastIoWriteCompressed @ 0xA8: Code;
        MdlReadCompleteCompressed @ 0xB0: Code; MdlWriteCompleteCompressed @ 0xB8: Code; FastIoQueryOpen @ 0xC0: Code;
        ReleaseForModWrite @ 0xC8: Code; AcquireForCcFlush @ 0xD0: Code; ReleaseForCcFlush @ 0xD8: Code;
    }
    pub struct VPB: 0x60 {
        Type @ 0x0: i16; Size @ 0x2: i16; Flags @ 0x4: u16; VolumeLabelLength @ 0x6: u16; DeviceObject @ 0x8: Ptr<DEVICE_OBJECT>;
        RealDevice @ 0x10: Ptr<DEVICE_OBJECT>; SerialNumber @ 0x18: u32; ReferenceCount @ 0x1C: u32; VolumeLabel @ 0x20: [u16; 32];
    }
    pub struct IO_CSQ: 0x40 {
        Type @ 0x0: u32; CsqInsertIrp @ 0x8: Code; CsqRemoveIrp @ 0x10: Code; CsqPeekNextIrp @ 0x18: Code;
        CsqAcquireLock @ 0x20: Code; CsqReleaseLock @ 0x28: Code; CsqCompleteCanceledIrp @ 0x30: Code;
        ReservePointer @ 0x38: Ptr<Bytes>;
    }
    pub struct IO_CSQ_IRP_CONTEXT: 0x18 { Type @ 0x0: u32; Irp @ 0x8: Ptr<IRP>; Csq @ 0x10: Ptr<IO_CSQ>; }
    pub struct SHARE_ACCESS: 0x1C align 4 {
        OpenCount @ 0x0: u32; Readers @ 0x4: u32; Writers @ 0x8: u32; Deleters @ 0xC: u32; SharedRead @ 0x10: u32;
        SharedWrite @ 0x14: u32; SharedDelete @ 0x18: u32;
    }
    pub struct IO_DRIVER_CREATE_CONTEXT: 0x28 {
        Size @ 0x0: i16; ExtraCreateParameter @ 0x8: Ptr<Bytes>; DeviceObjectHint @ 0x10: Ptr<DEVICE_OBJECT>;
        TxnParameters @ 0x18: Ptr<Bytes>; SiloContext @ 0x20: Ptr<Bytes>;
    }
    pub struct OPLOCK_KEY_CONTEXT: 0x28 align 4 {
        Version @ 0x0: u16; Flags @ 0x2: u16; ParentOplockKey @ 0x4: GUID; TargetOplockKey @ 0x14: GUID; Reserved @ 0x24: u32;
    }
    pub struct OPLOCK_KEY_ECP_CONTEXT: 0x14 align 4 { OplockKey @ 0x0: GUID; Reserved @ 0x10: u32; }
    pub struct DUAL_OPLOCK_KEY_ECP_CONTEXT: 0x24 align 4 {
        ParentOplockKey @ 0x0: GUID; TargetOplockKey @ 0x10: GUID; ParentOplockKeySet @ 0x20: u8; TargetOplockKeySet @ 0x21: u8;
    }
}
