//! Strings, object attributes, security records: ntdef.h, wdm.h, ntifs.h.
//!
//! Room: abi. IRQL: any. Locks: none. Source: WDK headers for names; layout tables of `spec/nt-io.md`.

use crate::{Bytes, Ptr, constants, layout};

layout! {
    pub struct UNICODE_STRING: 0x10 {
        Length @ 0x0: u16; MaximumLength @ 0x2: u16; Buffer @ 0x8: Ptr<Bytes>;
    }
    pub struct ANSI_STRING: 0x10 {
        Length @ 0x0: u16; MaximumLength @ 0x2: u16; Buffer @ 0x8: Ptr<Bytes>;
    }
    /// What RtlGenerate8dot3Name keeps between its calls for one name.
    pub struct GENERATE_NAME_CONTEXT: 0x24 align 4 {
        Checksum @ 0x0: u16; ChecksumInserted @ 0x2: u8; NameLength @ 0x3: u8; NameBuffer @ 0x4: [u16; 8];
        ExtensionLength @ 0x14: u32; ExtensionBuffer @ 0x18: [u16; 4]; LastIndexValue @ 0x20: u32;
    }
    pub struct OBJECT_ATTRIBUTES: 0x30 {
        Length @ 0x0: u32; RootDirectory @ 0x8: u64; ObjectName @ 0x10: Ptr<UNICODE_STRING>; Attributes @ 0x18: u32;
        SecurityDescriptor @ 0x20: Ptr<Bytes>; SecurityQualityOfService @ 0x28: Ptr<Bytes>;
    }
    pub struct OBJECT_NAME_INFORMATION: 0x10 { Name @ 0x0: UNICODE_STRING; }
    pub struct OBJECT_HANDLE_INFORMATION: 0x8 { HandleAttributes @ 0x0: u32; GrantedAccess @ 0x4: u32; }
    pub struct LUID: 0x8 align 4 { LowPart @ 0x0: u32; HighPart @ 0x4: i32; }
    pub struct SECURITY_SUBJECT_CONTEXT: 0x20 {
        ClientToken @ 0x0: Ptr<Bytes>; ImpersonationLevel @ 0x8: u32; PrimaryToken @ 0x10: Ptr<Bytes>;
        ProcessAuditId @ 0x18: Ptr<Bytes>;
    }
    pub struct ACCESS_STATE: 0xA0 {
        OperationID @ 0x0: LUID; SecurityEvaluated @ 0x8: u8; GenerateAudit @ 0x9: u8; GenerateOnClose @ 0xA: u8;
        PrivilegesAllocated @ 0xB: u8; Flags @ 0xC: u32; RemainingDesiredAccess @ 0x10: u32;
        PreviouslyGrantedAccess @ 0x14: u32; OriginalDesiredAccess @ 0x18: u32;
        SubjectSecurityContext @ 0x20: SECURITY_SUBJECT_CONTEXT; SecurityDescriptor @ 0x40: Ptr<Bytes>;
        AuxData @ 0x48: Ptr<Bytes>; Privileges @ 0x50: [u32; 11]; AuditPrivileges @ 0x7C: u8;
        ObjectName @ 0x80: UNICODE_STRING; ObjectTypeName @ 0x90: UNICODE_STRING;
    }
    pub struct IO_SECURITY_CONTEXT: 0x18 {
        SecurityQos @ 0x0: Ptr<Bytes>; AccessState @ 0x8: Ptr<ACCESS_STATE>; DesiredAccess @ 0x10: u32;
        FullCreateOptions @ 0x14: u32;
    }
}

constants! {
    u32: OBJ_INHERIT = 0x2, OBJ_PERMANENT = 0x10, OBJ_EXCLUSIVE = 0x20, OBJ_CASE_INSENSITIVE = 0x40, OBJ_OPENIF = 0x80,
        OBJ_OPENLINK = 0x100, OBJ_KERNEL_HANDLE = 0x200, OBJ_FORCE_ACCESS_CHECK = 0x400, OBJ_DONT_REPARSE = 0x1000, OBJ_VALID_ATTRIBUTES = 0x1FF2;
    u32: DUPLICATE_CLOSE_SOURCE = 1, DUPLICATE_SAME_ACCESS = 2, DUPLICATE_SAME_ATTRIBUTES = 4;
    u32: DELETE = 0x1_0000, READ_CONTROL = 0x2_0000, WRITE_DAC = 0x4_0000, WRITE_OWNER = 0x8_0000,
        SYNCHRONIZE = 0x10_0000, STANDARD_RIGHTS_REQUIRED = 0xF_0000, STANDARD_RIGHTS_READ = 0x2_0000,
        STANDARD_RIGHTS_WRITE = 0x2_0000, STANDARD_RIGHTS_EXECUTE = 0x2_0000, STANDARD_RIGHTS_ALL = 0x1F_0000,
        ACCESS_SYSTEM_SECURITY = 0x100_0000, MAXIMUM_ALLOWED = 0x200_0000, GENERIC_ALL = 0x1000_0000,
        GENERIC_EXECUTE = 0x2000_0000, GENERIC_WRITE = 0x4000_0000, GENERIC_READ = 0x8000_0000;
    u32: EVENT_QUERY_STATE = 1, EVENT_MODIFY_STATE = 2, EVENT_ALL_ACCESS = 0x1F_0003, SEMAPHORE_MODIFY_STATE = 2,
        IO_COMPLETION_QUERY_STATE = 1, IO_COMPLETION_MODIFY_STATE = 2, IO_COMPLETION_ALL_ACCESS = 0x1F_0003,
        DIRECTORY_QUERY = 1, DIRECTORY_TRAVERSE = 2, DIRECTORY_CREATE_OBJECT = 4, DIRECTORY_CREATE_SUBDIRECTORY = 8;
}
