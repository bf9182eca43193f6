//! Security: identifiers, access-control lists, descriptors, tokens: ntifs.h, winnt.h.
//!
//! Room: abi. IRQL: any. Locks: none. Source: the headers' layouts and values; held against Microsoft's metadata in `tests`.

use crate::ob::LUID;
use crate::{Bytes, Ptr, constants, layout};

layout! {
    pub struct SID: 0xC align 4 {
        Revision @ 0x0: u8; SubAuthorityCount @ 0x1: u8; IdentifierAuthority @ 0x2: [u8; 6]; SubAuthority @ 0x8: [u32; 1];
    }
    pub struct ACL: 0x8 align 2 {
        AclRevision @ 0x0: u8; Sbz1 @ 0x1: u8; AclSize @ 0x2: u16; AceCount @ 0x4: u16; Sbz2 @ 0x6: u16;
    }
    pub struct ACE_HEADER: 0x4 align 2 { AceType @ 0x0: u8; AceFlags @ 0x1: u8; AceSize @ 0x2: u16; }
    pub struct ACCESS_ALLOWED_ACE: 0xC align 4 { Header @ 0x0: ACE_HEADER; Mask @ 0x4: u32; SidStart @ 0x8: u32; }
    pub struct SECURITY_DESCRIPTOR: 0x28 {
        Revision @ 0x0: u8; Sbz1 @ 0x1: u8; Control @ 0x2: u16; Owner @ 0x8: Ptr<SID>; Group @ 0x10: Ptr<SID>;
        Sacl @ 0x18: Ptr<ACL>; Dacl @ 0x20: Ptr<ACL>;
    }
    pub struct SECURITY_DESCRIPTOR_RELATIVE: 0x14 align 4 {
        Revision @ 0x0: u8; Sbz1 @ 0x1: u8; Control @ 0x2: u16; Owner @ 0x4: u32; Group @ 0x8: u32; Sacl @ 0xC: u32;
        Dacl @ 0x10: u32;
    }
    pub struct LUID_AND_ATTRIBUTES: 0xC align 4 { Luid @ 0x0: LUID; Attributes @ 0x8: u32; }
    pub struct PRIVILEGE_SET: 0x14 align 4 {
        PrivilegeCount @ 0x0: u32; Control @ 0x4: u32; Privilege @ 0x8: LUID_AND_ATTRIBUTES;
    }
    pub struct TOKEN_PRIVILEGES: 0x10 align 4 { PrivilegeCount @ 0x0: u32; Privileges @ 0x4: LUID_AND_ATTRIBUTES; }
    pub struct SID_AND_ATTRIBUTES: 0x10 { Sid @ 0x0: Ptr<SID>; Attributes @ 0x8: u32; }
    pub struct TOKEN_GROUPS: 0x18 { GroupCount @ 0x0: u32; Groups @ 0x8: SID_AND_ATTRIBUTES; }
    pub struct TOKEN_SOURCE: 0x10 align 4 { SourceName @ 0x0: [u8; 8]; SourceIdentifier @ 0x8: LUID; }
    pub struct TOKEN_STATISTICS: 0x38 {
        TokenId @ 0x0: LUID; AuthenticationId @ 0x8: LUID; ExpirationTime @ 0x10: i64; TokenType @ 0x18: u32;
        ImpersonationLevel @ 0x1C: u32; DynamicCharged @ 0x20: u32; DynamicAvailable @ 0x24: u32; GroupCount @ 0x28: u32;
        PrivilegeCount @ 0x2C: u32; ModifiedId @ 0x30: LUID;
    }
    pub struct GENERIC_MAPPING: 0x10 align 4 {
        GenericRead @ 0x0: u32; GenericWrite @ 0x4: u32; GenericExecute @ 0x8: u32; GenericAll @ 0xC: u32;
    }
    pub struct SE_EXPORTS: 0x248 {
        SeCreateTokenPrivilege @ 0x0: LUID; SeTcbPrivilege @ 0x28: LUID; SeSecurityPrivilege @ 0x30: LUID;
        SeChangeNotifyPrivilege @ 0xA8: LUID; SeRemoteShutdownPrivilege @ 0xB0: LUID; SeNullSid @ 0xB8: Ptr<SID>;
        SeWorldSid @ 0xC0: Ptr<SID>; SeLocalSid @ 0xC8: Ptr<SID>; SeCreatorOwnerSid @ 0xD0: Ptr<SID>;
        SeCreatorGroupSid @ 0xD8: Ptr<SID>; SeNtAuthoritySid @ 0xE0: Ptr<SID>; SeInteractiveSid @ 0x100: Ptr<SID>;
        SeLocalSystemSid @ 0x108: Ptr<SID>; SeAliasAdminsSid @ 0x110: Ptr<SID>; SeAliasUsersSid @ 0x118: Ptr<SID>;
        SeAuthenticatedUsersSid @ 0x150: Ptr<SID>; SeUndockPrivilege @ 0x168: LUID; SeLocalServiceSid @ 0x180: Ptr<SID>;
        SeNetworkServiceSid @ 0x188: Ptr<SID>; SeManageVolumePrivilege @ 0x190: LUID;
        SeCreateSymbolicLinkPrivilege @ 0x1C8: LUID; SeIUserSid @ 0x1D0: Ptr<SID>;
        SeUntrustedMandatorySid @ 0x1D8: Ptr<SID>; SeSystemMandatorySid @ 0x1F8: Ptr<SID>;
        SeOwnerRightsSid @ 0x200: Ptr<SID>;
    }
    /// What ACCESS_STATE's AuxData points at, as far as it is documented; the rest is ours.
    pub struct AUX_ACCESS_DATA: 0x20 {
        PrivilegesUsed @ 0x0: Ptr<Bytes>; GenericMapping @ 0x8: GENERIC_MAPPING; AccessesToAudit @ 0x18: u32;
    }
}

constants! {
    u32: OWNER_SECURITY_INFORMATION = 1, GROUP_SECURITY_INFORMATION = 2, DACL_SECURITY_INFORMATION = 4,
        SACL_SECURITY_INFORMATION = 8, LABEL_SECURITY_INFORMATION = 0x10, ATTRIBUTE_SECURITY_INFORMATION = 0x20,
        SCOPE_SECURITY_INFORMATION = 0x40, BACKUP_SECURITY_INFORMATION = 0x1_0000,
        PROTECTED_DACL_SECURITY_INFORMATION = 0x8000_0000, PROTECTED_SACL_SECURITY_INFORMATION = 0x4000_0000,
        UNPROTECTED_DACL_SECURITY_INFORMATION = 0x2000_0000, UNPROTECTED_SACL_SECURITY_INFORMATION = 0x1000_0000;
    u16: SE_OWNER_DEFAULTED = 1, SE_GROUP_DEFAULTED = 2, SE_DACL_PRESENT = 4, SE_DACL_DEFAULTED = 8, SE_SACL_PRESENT = 0x10,
        SE_SACL_DEFAULTED = 0x20, SE_SERVER_SECURITY = 0x80, SE_DACL_AUTO_INHERIT_REQ = 0x100,
        SE_SACL_AUTO_INHERIT_REQ = 0x200, SE_DACL_AUTO_INHERITED = 0x400, SE_SACL_AUTO_INHERITED = 0x800,
        SE_DACL_PROTECTED = 0x1000, SE_SACL_PROTECTED = 0x2000, SE_RM_CONTROL_VALID = 0x4000, SE_SELF_RELATIVE = 0x8000;
    u8: ACCESS_ALLOWED_ACE_TYPE = 0, ACCESS_DENIED_ACE_TYPE = 1, SYSTEM_AUDIT_ACE_TYPE = 2, SYSTEM_ALARM_ACE_TYPE = 3,
        ACCESS_ALLOWED_OBJECT_ACE_TYPE = 5, ACCESS_DENIED_OBJECT_ACE_TYPE = 6, SYSTEM_AUDIT_OBJECT_ACE_TYPE = 7,
        SYSTEM_MANDATORY_LABEL_ACE_TYPE = 0x11;
    u8: OBJECT_INHERIT_ACE = 1, CONTAINER_INHERIT_ACE = 2, NO_PROPAGATE_INHERIT_ACE = 4, INHERIT_ONLY_ACE = 8,
        INHERITED_ACE = 0x10, SUCCESSFUL_ACCESS_ACE_FLAG = 0x40, FAILED_ACCESS_ACE_FLAG = 0x80;
    u8: ACL_REVISION = 2, ACL_REVISION_DS = 4, SID_REVISION = 1, SECURITY_DESCRIPTOR_REVISION = 1;
    u8: SID_MAX_SUB_AUTHORITIES = 15;
    u32: SE_GROUP_MANDATORY = 1, SE_GROUP_ENABLED_BY_DEFAULT = 2, SE_GROUP_ENABLED = 4, SE_GROUP_OWNER = 8,
        SE_GROUP_USE_FOR_DENY_ONLY = 0x10, SE_GROUP_LOGON_ID = 0xC000_0000;
    u32: SE_PRIVILEGE_ENABLED_BY_DEFAULT = 1, SE_PRIVILEGE_ENABLED = 2, SE_PRIVILEGE_REMOVED = 4,
        SE_PRIVILEGE_USED_FOR_ACCESS = 0x8000_0000, PRIVILEGE_SET_ALL_NECESSARY = 1;
    u32: SE_CREATE_TOKEN_PRIVILEGE = 2, SE_ASSIGNPRIMARYTOKEN_PRIVILEGE = 3, SE_LOCK_MEMORY_PRIVILEGE = 4,
        SE_INCREASE_QUOTA_PRIVILEGE = 5, SE_TCB_PRIVILEGE = 7, SE_SECURITY_PRIVILEGE = 8,
        SE_TAKE_OWNERSHIP_PRIVILEGE = 9, SE_LOAD_DRIVER_PRIVILEGE = 10, SE_SYSTEM_PROFILE_PRIVILEGE = 11,
        SE_SYSTEMTIME_PRIVILEGE = 12, SE_PROF_SINGLE_PROCESS_PRIVILEGE = 13, SE_INC_BASE_PRIORITY_PRIVILEGE = 14,
        SE_CREATE_PAGEFILE_PRIVILEGE = 15, SE_CREATE_PERMANENT_PRIVILEGE = 16, SE_BACKUP_PRIVILEGE = 17,
        SE_RESTORE_PRIVILEGE = 18, SE_SHUTDOWN_PRIVILEGE = 19, SE_DEBUG_PRIVILEGE = 20, SE_AUDIT_PRIVILEGE = 21,
        SE_SYSTEM_ENVIRONMENT_PRIVILEGE = 22, SE_CHANGE_NOTIFY_PRIVILEGE = 23, SE_REMOTE_SHUTDOWN_PRIVILEGE = 24,
        SE_UNDOCK_PRIVILEGE = 25, SE_SYNC_AGENT_PRIVILEGE = 26, SE_ENABLE_DELEGATION_PRIVILEGE = 27,
        SE_MANAGE_VOLUME_PRIVILEGE = 28, SE_IMPERSONATE_PRIVILEGE = 29, SE_CREATE_GLOBAL_PRIVILEGE = 30,
        SE_RELABEL_PRIVILEGE = 32, SE_INC_WORKING_SET_PRIVILEGE = 33, SE_TIME_ZONE_PRIVILEGE = 34,
        SE_CREATE_SYMBOLIC_LINK_PRIVILEGE = 35;
    u32: SEF_DACL_AUTO_INHERIT = 1, SEF_SACL_AUTO_INHERIT = 2, SEF_DEFAULT_DESCRIPTOR_FOR_OBJECT = 4,
        SEF_AVOID_PRIVILEGE_CHECK = 8, SEF_AVOID_OWNER_CHECK = 0x10, SEF_DEFAULT_OWNER_FROM_PARENT = 0x20,
        SEF_DEFAULT_GROUP_FROM_PARENT = 0x40;
    u32: TOKEN_ASSIGN_PRIMARY = 1, TOKEN_DUPLICATE = 2, TOKEN_IMPERSONATE = 4, TOKEN_QUERY = 8, TOKEN_ADJUST_PRIVILEGES = 0x20,
        TOKEN_ADJUST_DEFAULT = 0x80, TOKEN_ALL_ACCESS = 0xF_01FF;
    u32: TOKEN_USER_CLASS = 1, TOKEN_GROUPS_CLASS = 2, TOKEN_PRIVILEGES_CLASS = 3, TOKEN_OWNER_CLASS = 4,
        TOKEN_PRIMARY_GROUP_CLASS = 5, TOKEN_DEFAULT_DACL_CLASS = 6, TOKEN_SOURCE_CLASS = 7, TOKEN_TYPE_CLASS = 8,
        TOKEN_IMPERSONATION_LEVEL_CLASS = 9, TOKEN_STATISTICS_CLASS = 10, TOKEN_SESSION_ID_CLASS = 12,
        TOKEN_INTEGRITY_LEVEL_CLASS = 25;
}
