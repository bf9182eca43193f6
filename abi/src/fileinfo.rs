//! File, directory and volume information classes: wdm.h, ntifs.h.
//!
//! Room: abi. IRQL: any. Locks: none. Source: WDK headers. A trailing name of variable length is its first element.

use crate::{NtStatus, Ptr, constants, layout};

layout! {
    pub struct FILE_BASIC_INFORMATION: 0x28 {
        CreationTime @ 0x0: i64; LastAccessTime @ 0x8: i64; LastWriteTime @ 0x10: i64; ChangeTime @ 0x18: i64;
        FileAttributes @ 0x20: u32;
    }
    pub struct FILE_STANDARD_INFORMATION: 0x18 {
        AllocationSize @ 0x0: i64; EndOfFile @ 0x8: i64; NumberOfLinks @ 0x10: u32; DeletePending @ 0x14: u8; Directory @ 0x15: u8;
    }
    pub struct FILE_INTERNAL_INFORMATION: 0x8 { IndexNumber @ 0x0: i64; }
    pub struct FILE_EA_INFORMATION: 0x4 align 4 { EaSize @ 0x0: u32; }
    pub struct FILE_ACCESS_INFORMATION: 0x4 align 4 { AccessFlags @ 0x0: u32; }
    pub struct FILE_POSITION_INFORMATION: 0x8 { CurrentByteOffset @ 0x0: i64; }
    pub struct FILE_MODE_INFORMATION: 0x4 align 4 { Mode @ 0x0: u32; }
    pub struct FILE_ALIGNMENT_INFORMATION: 0x4 align 4 { AlignmentRequirement @ 0x0: u32; }
    pub struct FILE_NAME_INFORMATION: 0x8 align 4 { FileNameLength @ 0x0: u32; FileName @ 0x4: [u16; 1]; }
    pub struct FILE_ALL_INFORMATION: 0x68 {
        BasicInformation @ 0x0: FILE_BASIC_INFORMATION; StandardInformation @ 0x28: FILE_STANDARD_INFORMATION;
        InternalInformation @ 0x40: FILE_INTERNAL_INFORMATION; EaInformation @ 0x48: FILE_EA_INFORMATION;
        AccessInformation @ 0x4C: FILE_ACCESS_INFORMATION; PositionInformation @ 0x50: FILE_POSITION_INFORMATION;
        ModeInformation @ 0x58: FILE_MODE_INFORMATION; AlignmentInformation @ 0x5C: FILE_ALIGNMENT_INFORMATION;
        NameInformation @ 0x60: FILE_NAME_INFORMATION;
    }
    pub struct FILE_NETWORK_OPEN_INFORMATION: 0x38 {
        CreationTime @ 0x0: i64; LastAccessTime @ 0x8: i64; LastWriteTime @ 0x10: i64; ChangeTime @ 0x18: i64;
        AllocationSize @ 0x20: i64; EndOfFile @ 0x28: i64; FileAttributes @ 0x30: u32;
    }
    pub struct FILE_END_OF_FILE_INFORMATION: 0x8 { EndOfFile @ 0x0: i64; }
    pub struct FILE_ALLOCATION_INFORMATION: 0x8 { AllocationSize @ 0x0: i64; }
    pub struct FILE_VALID_DATA_LENGTH_INFORMATION: 0x8 { ValidDataLength @ 0x0: i64; }
    pub struct FILE_RENAME_INFORMATION: 0x18 {
        ReplaceIfExists @ 0x0: u8; Flags @ 0x0: u32; RootDirectory @ 0x8: u64; FileNameLength @ 0x10: u32; FileName @ 0x14: [u16; 1];
    }
    pub struct FILE_LINK_INFORMATION: 0x18 {
        ReplaceIfExists @ 0x0: u8; Flags @ 0x0: u32; RootDirectory @ 0x8: u64; FileNameLength @ 0x10: u32; FileName @ 0x14: [u16; 1];
    }
    pub struct FILE_DISPOSITION_INFORMATION: 0x1 align 1 { DeleteFile @ 0x0: u8; }
    pub struct FILE_DISPOSITION_INFORMATION_EX: 0x4 align 4 { Flags @ 0x0: u32; }
    pub struct FILE_COMPLETION_INFORMATION: 0x10 { Port @ 0x0: u64; Key @ 0x8: u64; }
    pub struct FILE_IO_COMPLETION_NOTIFICATION_INFORMATION: 0x4 align 4 { Flags @ 0x0: u32; }
    pub struct FILE_IO_COMPLETION_INFORMATION: 0x20 {
        KeyContext @ 0x0: u64; ApcContext @ 0x8: u64; IoStatusBlock_Status @ 0x10: NtStatus; IoStatusBlock_Information @ 0x18: u64;
    }
    pub struct FILE_ATTRIBUTE_TAG_INFORMATION: 0x8 align 4 { FileAttributes @ 0x0: u32; ReparseTag @ 0x4: u32; }
    pub struct FILE_STREAM_INFORMATION: 0x20 {
        NextEntryOffset @ 0x0: u32; StreamNameLength @ 0x4: u32; StreamSize @ 0x8: i64; StreamAllocationSize @ 0x10: i64;
        StreamName @ 0x18: [u16; 1];
    }
    pub struct FILE_ID_INFORMATION: 0x18 { VolumeSerialNumber @ 0x0: u64; FileId @ 0x8: [u8; 16]; }
    pub struct FILE_FS_SIZE_INFORMATION: 0x18 {
        TotalAllocationUnits @ 0x0: i64; AvailableAllocationUnits @ 0x8: i64; SectorsPerAllocationUnit @ 0x10: u32;
        BytesPerSector @ 0x14: u32;
    }
    pub struct FILE_FS_FULL_SIZE_INFORMATION: 0x20 {
        TotalAllocationUnits @ 0x0: i64; CallerAvailableAllocationUnits @ 0x8: i64; ActualAvailableAllocationUnits @ 0x10: i64;
        SectorsPerAllocationUnit @ 0x18: u32; BytesPerSector @ 0x1C: u32;
    }
    pub struct FILE_FS_VOLUME_INFORMATION: 0x18 {
        VolumeCreationTime @ 0x0: i64; VolumeSerialNumber @ 0x8: u32; VolumeLabelLength @ 0xC: u32; SupportsObjects @ 0x10: u8;
        VolumeLabel @ 0x12: [u16; 1];
    }
    pub struct FILE_FS_ATTRIBUTE_INFORMATION: 0x10 align 4 {
        FileSystemAttributes @ 0x0: u32; MaximumComponentNameLength @ 0x4: i32; FileSystemNameLength @ 0x8: u32;
        FileSystemName @ 0xC: [u16; 1];
    }
    pub struct FILE_FS_DEVICE_INFORMATION: 0x8 align 4 { DeviceType @ 0x0: u32; Characteristics @ 0x4: u32; }
    pub struct FILE_DIRECTORY_INFORMATION: 0x48 {
        NextEntryOffset @ 0x0: u32; FileIndex @ 0x4: u32; CreationTime @ 0x8: i64; LastAccessTime @ 0x10: i64;
        LastWriteTime @ 0x18: i64; ChangeTime @ 0x20: i64; EndOfFile @ 0x28: i64; AllocationSize @ 0x30: i64;
        FileAttributes @ 0x38: u32; FileNameLength @ 0x3C: u32; FileName @ 0x40: [u16; 1];
    }
    pub struct FILE_FULL_DIR_INFORMATION: 0x48 {
        NextEntryOffset @ 0x0: u32; FileIndex @ 0x4: u32; CreationTime @ 0x8: i64; LastAccessTime @ 0x10: i64;
        LastWriteTime @ 0x18: i64; ChangeTime @ 0x20: i64; EndOfFile @ 0x28: i64; AllocationSize @ 0x30: i64;
        FileAttributes @ 0x38: u32; FileNameLength @ 0x3C: u32; EaSize @ 0x40: u32; FileName @ 0x44: [u16; 1];
    }
    pub struct FILE_ID_FULL_DIR_INFORMATION: 0x58 {
        NextEntryOffset @ 0x0: u32; FileIndex @ 0x4: u32; CreationTime @ 0x8: i64; LastAccessTime @ 0x10: i64;
        LastWriteTime @ 0x18: i64; ChangeTime @ 0x20: i64; EndOfFile @ 0x28: i64; AllocationSize @ 0x30: i64;
        FileAttributes @ 0x38: u32; FileNameLength @ 0x3C: u32; EaSize @ 0x40: u32; FileId @ 0x48: i64; FileName @ 0x50: [u16; 1];
    }
    pub struct FILE_BOTH_DIR_INFORMATION: 0x60 {
        NextEntryOffset @ 0x0: u32; FileIndex @ 0x4: u32; CreationTime @ 0x8: i64; LastAccessTime @ 0x10: i64;
        LastWriteTime @ 0x18: i64; ChangeTime @ 0x20: i64; EndOfFile @ 0x28: i64; AllocationSize @ 0x30: i64;
        FileAttributes @ 0x38: u32; FileNameLength @ 0x3C: u32; EaSize @ 0x40: u32; ShortNameLength @ 0x44: i8;
        ShortName @ 0x46: [u16; 12]; FileName @ 0x5E: [u16; 1];
    }
    pub struct FILE_ID_BOTH_DIR_INFORMATION: 0x70 {
        NextEntryOffset @ 0x0: u32; FileIndex @ 0x4: u32; CreationTime @ 0x8: i64; LastAccessTime @ 0x10: i64;
        LastWriteTime @ 0x18: i64; ChangeTime @ 0x20: i64; EndOfFile @ 0x28: i64; AllocationSize @ 0x30: i64;
        FileAttributes @ 0x38: u32; FileNameLength @ 0x3C: u32; EaSize @ 0x40: u32; ShortNameLength @ 0x44: i8;
        ShortName @ 0x46: [u16; 12]; FileId @ 0x60: i64; FileName @ 0x68: [u16; 1];
    }
    pub struct FILE_NAMES_INFORMATION: 0x10 align 4 {
        NextEntryOffset @ 0x0: u32; FileIndex @ 0x4: u32; FileNameLength @ 0x8: u32; FileName @ 0xC: [u16; 1];
    }
    pub struct FILE_NOTIFY_INFORMATION: 0x10 align 4 {
        NextEntryOffset @ 0x0: u32; Action @ 0x4: u32; FileNameLength @ 0x8: u32; FileName @ 0xC: [u16; 1];
    }
    pub struct FILE_NOTIFY_EXTENDED_INFORMATION: 0x58 {
        NextEntryOffset @ 0x0: u32; Action @ 0x4: u32; CreationTime @ 0x8: i64; LastModificationTime @ 0x10: i64;
        LastChangeTime @ 0x18: i64; LastAccessTime @ 0x20: i64; AllocatedLength @ 0x28: i64; FileSize @ 0x30: i64;
        FileAttributes @ 0x38: u32; ReparsePointTag @ 0x3C: u32; EaSize @ 0x3C: u32; FileId @ 0x40: i64;
        ParentFileId @ 0x48: i64; FileNameLength @ 0x50: u32; FileName @ 0x54: [u16; 1];
    }
    pub struct FILE_FULL_EA_INFORMATION: 0xC align 4 {
        NextEntryOffset @ 0x0: u32; Flags @ 0x4: u8; EaNameLength @ 0x5: u8; EaValueLength @ 0x6: u16; EaName @ 0x8: [u8; 1];
    }
    pub struct FILE_GET_EA_INFORMATION: 0x8 align 4 { NextEntryOffset @ 0x0: u32; EaNameLength @ 0x4: u8; EaName @ 0x5: [u8; 1]; }
    pub struct REPARSE_DATA_BUFFER: 0x18 align 4 {
        ReparseTag @ 0x0: u32; ReparseDataLength @ 0x4: u16; Reserved @ 0x6: u16;
        SymbolicLink_SubstituteNameOffset @ 0x8: u16; SymbolicLink_SubstituteNameLength @ 0xA: u16;
        SymbolicLink_PrintNameOffset @ 0xC: u16; SymbolicLink_PrintNameLength @ 0xE: u16; SymbolicLink_Flags @ 0x10: u32;
        SymbolicLink_PathBuffer @ 0x14: [u16; 1];
        MountPoint_SubstituteNameOffset @ 0x8: u16; MountPoint_SubstituteNameLength @ 0xA: u16;
        MountPoint_PrintNameOffset @ 0xC: u16; MountPoint_PrintNameLength @ 0xE: u16; MountPoint_PathBuffer @ 0x10: [u16; 1];
        Generic_DataBuffer @ 0x8: [u8; 1];
    }
    pub struct FILE_SEGMENT_ELEMENT: 0x8 { Buffer @ 0x0: Ptr<crate::Bytes>; Alignment @ 0x0: u64; }
}

constants! {
    u32: FileDirectoryInformation = 1, FileFullDirectoryInformation = 2, FileBothDirectoryInformation = 3, FileBasicInformation = 4,
        FileStandardInformation = 5, FileInternalInformation = 6, FileEaInformation = 7, FileAccessInformation = 8,
        FileNameInformation = 9, FileRenameInformation = 10, FileLinkInformation = 11, FileNamesInformation = 12,
        FileDispositionInformation = 13, FilePositionInformation = 14, FileFullEaInformation = 15, FileModeInformation = 16,
        FileAlignmentInformation = 17, FileAllInformation = 18, FileAllocationInformation = 19, FileEndOfFileInformation = 20,
        FileAlternateNameInformation = 21, FileStreamInformation = 22, FilePipeInformation = 23, FilePipeLocalInformation = 24,
        FileCompletionInformation = 30, FileNetworkOpenInformation = 34, FileAttributeTagInformation = 35,
        FileIdBothDirectoryInformation = 37, FileIdFullDirectoryInformation = 38, FileValidDataLengthInformation = 39,
        FileShortNameInformation = 40, FileIoCompletionNotificationInformation = 41, FileNormalizedNameInformation = 48,
        FileIdInformation = 59, FileReplaceCompletionInformation = 61, FileDispositionInformationEx = 64,
        FileRenameInformationEx = 65;
    u32: FileFsVolumeInformation = 1, FileFsLabelInformation = 2, FileFsSizeInformation = 3, FileFsDeviceInformation = 4,
        FileFsAttributeInformation = 5, FileFsFullSizeInformation = 7, FileFsObjectIdInformation = 8;
}
