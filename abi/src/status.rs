//! NTSTATUS: any 32-bit status, and the failing ones that `?` carries.
//!
//! Room: abi. Source: ntstatus.h; severity rules of ntdef.h (NT_SUCCESS, NT_WARNING, NT_ERROR).

use core::fmt;

/// Any NTSTATUS value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct NtStatus(pub u32);

/// A status that ends a routine early and that `?` carries upward: an error, or a warning raised by a probe
/// (DATATYPE_MISALIGNMENT). A warning that completes a request is an `Ok` with its Information.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct NtError(NtStatus);

/// `Err` holds the error class only: warnings and PENDING are `Ok` values with a meaning.
pub type NtResult<T> = Result<T, NtError>;

impl NtStatus {
    /// NT_SUCCESS: success and informational codes.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 < 0x8000_0000
    }
    /// NT_WARNING: 8xxxxxxx.
    #[must_use]
    pub const fn is_warning(self) -> bool {
        self.0 >> 30 == 2
    }
    /// NT_ERROR: Cxxxxxxx.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 >> 30 == 3
    }
    /// Returns `Ok` for success, informational and warning codes, `Err` for errors.
    pub const fn ok(self) -> NtResult<Self> {
        if self.is_error() { Err(NtError(self)) } else { Ok(self) }
    }
    /// Returns this failing code as the error that `?` carries; panics for a success code.
    #[must_use]
    pub const fn error(self) -> NtError {
        NtError::new(self)
    }
    /// Returns `Err` of this failing code; panics for a success code.
    pub const fn fail<T>(self) -> NtResult<T> {
        Err(NtError::new(self))
    }
    /// Returns the header's name without `STATUS_`, if this table knows the code.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(code, _)| *code == self.0).map(|(_, name)| *name)
    }
    /// Finds a code by the header's name, with or without `STATUS_`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let bare = name.strip_prefix("STATUS_").unwrap_or(name);
        NAMES.iter().find(|(_, n)| *n == bare).map(|(code, _)| Self(*code))
    }
}

impl NtError {
    /// Makes an error of a code that is not NT_SUCCESS; panics (in a constant: does not compile) for others.
    #[must_use]
    pub const fn new(status: NtStatus) -> Self {
        assert!(!status.is_success(), "a success-class NTSTATUS ends nothing");
        Self(status)
    }
    /// Returns the status.
    #[must_use]
    pub const fn status(self) -> NtStatus {
        self.0
    }
}

impl From<NtError> for NtStatus {
    fn from(error: NtError) -> Self {
        error.0
    }
}

impl fmt::Display for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "STATUS_{name} (0x{:08X})", self.0),
            None => write!(f, "0x{:08X}", self.0),
        }
    }
}
impl fmt::Debug for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl fmt::Display for NtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl fmt::Debug for NtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl core::error::Error for NtError {}

macro_rules! statuses {
    ($($name:ident = $code:literal)*) => {
        impl NtStatus { $(#[doc = concat!("STATUS_", stringify!($name), ".")] pub const $name: Self = Self($code);)* }
        /// Every code this table knows, with the header's name.
        pub const NAMES: &[(u32, &str)] = &[$(($code, stringify!($name))),*];
    };
}

statuses! {
    SUCCESS = 0x0000_0000
    WAIT_1 = 0x0000_0001
    ABANDONED_WAIT_0 = 0x0000_0080
    USER_APC = 0x0000_00C0
    KERNEL_APC = 0x0000_0100
    ALERTED = 0x0000_0101
    TIMEOUT = 0x0000_0102
    PENDING = 0x0000_0103
    REPARSE = 0x0000_0104
    MORE_ENTRIES = 0x0000_0105
    NOT_ALL_ASSIGNED = 0x0000_0106
    SOME_NOT_MAPPED = 0x0000_0107
    OPLOCK_BREAK_IN_PROGRESS = 0x0000_0108
    NOTIFY_CLEANUP = 0x0000_010B
    NOTIFY_ENUM_DIR = 0x0000_010C
    CACHE_PAGE_LOCKED = 0x0000_0115
    OPLOCK_SWITCHED_TO_NEW_HANDLE = 0x0000_0215
    OPLOCK_HANDLE_CLOSED = 0x0000_0216
    FLT_IO_COMPLETE = 0x001C_0001
    OBJECT_NAME_EXISTS = 0x4000_0000
    DATATYPE_MISALIGNMENT = 0x8000_0002
    BREAKPOINT = 0x8000_0003
    BUFFER_OVERFLOW = 0x8000_0005
    NO_MORE_FILES = 0x8000_0006
    DEVICE_BUSY = 0x8000_0011
    NO_MORE_EAS = 0x8000_0012
    INVALID_EA_NAME = 0x8000_0013
    EA_LIST_INCONSISTENT = 0x8000_0014
    INVALID_EA_FLAG = 0x8000_0015
    VERIFY_REQUIRED = 0x8000_0016
    NO_MORE_ENTRIES = 0x8000_001A
    AF_UNIX = 0x8000_0023
    LX_FIFO = 0x8000_0024
    LX_CHR = 0x8000_0025
    LX_BLK = 0x8000_0026
    STOPPED_ON_SYMLINK = 0x8000_002D
    FLT_BUFFER_TOO_SMALL = 0x801C_0001
    UNSUCCESSFUL = 0xC000_0001
    NOT_IMPLEMENTED = 0xC000_0002
    INVALID_INFO_CLASS = 0xC000_0003
    INFO_LENGTH_MISMATCH = 0xC000_0004
    ACCESS_VIOLATION = 0xC000_0005
    IN_PAGE_ERROR = 0xC000_0006
    INVALID_HANDLE = 0xC000_0008
    INVALID_CID = 0xC000_000B
    INVALID_PARAMETER = 0xC000_000D
    NO_SUCH_DEVICE = 0xC000_000E
    NO_SUCH_FILE = 0xC000_000F
    INVALID_DEVICE_REQUEST = 0xC000_0010
    END_OF_FILE = 0xC000_0011
    MORE_PROCESSING_REQUIRED = 0xC000_0016
    NO_MEMORY = 0xC000_0017
    CONFLICTING_ADDRESSES = 0xC000_0018
    NOT_MAPPED_VIEW = 0xC000_0019
    ILLEGAL_INSTRUCTION = 0xC000_001D
    INVALID_VIEW_SIZE = 0xC000_001F
    INVALID_FILE_FOR_SECTION = 0xC000_0020
    ACCESS_DENIED = 0xC000_0022
    BUFFER_TOO_SMALL = 0xC000_0023
    OBJECT_TYPE_MISMATCH = 0xC000_0024
    NONCONTINUABLE_EXCEPTION = 0xC000_0025
    INVALID_DISPOSITION = 0xC000_0026
    UNWIND = 0xC000_0027
    NOT_LOCKED = 0xC000_002A
    INVALID_PARAMETER_MIX = 0xC000_0030
    OBJECT_NAME_INVALID = 0xC000_0033
    OBJECT_NAME_NOT_FOUND = 0xC000_0034
    OBJECT_NAME_COLLISION = 0xC000_0035
    PORT_DISCONNECTED = 0xC000_0037
    OBJECT_PATH_INVALID = 0xC000_0039
    OBJECT_PATH_NOT_FOUND = 0xC000_003A
    OBJECT_PATH_SYNTAX_BAD = 0xC000_003B
    SECTION_TOO_BIG = 0xC000_0040
    SHARING_VIOLATION = 0xC000_0043
    QUOTA_EXCEEDED = 0xC000_0044
    INVALID_PAGE_PROTECTION = 0xC000_0045
    MUTANT_NOT_OWNED = 0xC000_0046
    SEMAPHORE_LIMIT_EXCEEDED = 0xC000_0047
    SECTION_NOT_IMAGE = 0xC000_0049
    THREAD_IS_TERMINATING = 0xC000_004B
    SECTION_PROTECTION = 0xC000_004E
    EAS_NOT_SUPPORTED = 0xC000_004F
    EA_TOO_LARGE = 0xC000_0050
    NONEXISTENT_EA_ENTRY = 0xC000_0051
    NO_EAS_ON_FILE = 0xC000_0052
    EA_CORRUPT_ERROR = 0xC000_0053
    FILE_LOCK_CONFLICT = 0xC000_0054
    LOCK_NOT_GRANTED = 0xC000_0055
    DELETE_PENDING = 0xC000_0056
    UNKNOWN_REVISION = 0xC000_0058
    INVALID_OWNER = 0xC000_005A
    INVALID_PRIMARY_GROUP = 0xC000_005B
    NO_SUCH_PRIVILEGE = 0xC000_0060
    PRIVILEGE_NOT_HELD = 0xC000_0061
    INVALID_ACL = 0xC000_0077
    INVALID_SID = 0xC000_0078
    INVALID_SECURITY_DESCR = 0xC000_0079
    PROCEDURE_NOT_FOUND = 0xC000_007A
    INVALID_IMAGE_FORMAT = 0xC000_007B
    RANGE_NOT_LOCKED = 0xC000_007E
    DISK_FULL = 0xC000_007F
    INVALID_VOLUME_LABEL = 0xC000_0086
    SECTION_NOT_EXTENDED = 0xC000_0087
    INTEGER_DIVIDE_BY_ZERO = 0xC000_0094
    INTEGER_OVERFLOW = 0xC000_0095
    PRIVILEGED_INSTRUCTION = 0xC000_0096
    FILE_INVALID = 0xC000_0098
    ALLOTTED_SPACE_EXCEEDED = 0xC000_0099
    INSUFFICIENT_RESOURCES = 0xC000_009A
    WORKING_SET_QUOTA = 0xC000_00A1
    MEDIA_WRITE_PROTECTED = 0xC000_00A2
    DEVICE_NOT_READY = 0xC000_00A3
    IO_TIMEOUT = 0xC000_00B5
    FILE_IS_A_DIRECTORY = 0xC000_00BA
    NOT_SUPPORTED = 0xC000_00BB
    NOT_SAME_DEVICE = 0xC000_00D4
    NO_SECURITY_ON_OBJECT = 0xC000_00D7
    CANT_WAIT = 0xC000_00D8
    OPLOCK_NOT_GRANTED = 0xC000_00E2
    INVALID_OPLOCK_PROTOCOL = 0xC000_00E3
    BAD_DESCRIPTOR_FORMAT = 0xC000_00E7
    INVALID_USER_BUFFER = 0xC000_00E8
    UNEXPECTED_IO_ERROR = 0xC000_00E9
    INVALID_PARAMETER_1 = 0xC000_00EF
    INVALID_PARAMETER_2 = 0xC000_00F0
    INVALID_PARAMETER_3 = 0xC000_00F1
    INVALID_PARAMETER_4 = 0xC000_00F2
    INVALID_PARAMETER_5 = 0xC000_00F3
    INVALID_PARAMETER_6 = 0xC000_00F4
    INVALID_PARAMETER_9 = 0xC000_00F7
    STACK_OVERFLOW = 0xC000_00FD
    DIRECTORY_NOT_EMPTY = 0xC000_0101
    FILE_CORRUPT_ERROR = 0xC000_0102
    NOT_A_DIRECTORY = 0xC000_0103
    NAME_TOO_LONG = 0xC000_0106
    PROCESS_IS_TERMINATING = 0xC000_010A
    MAPPED_FILE_SIZE_ZERO = 0xC000_011E
    TOO_MANY_OPENED_FILES = 0xC000_011F
    CANCELLED = 0xC000_0120
    CANNOT_DELETE = 0xC000_0121
    FILE_DELETED = 0xC000_0123
    FILE_CLOSED = 0xC000_0128
    DLL_NOT_FOUND = 0xC000_0135
    ENTRYPOINT_NOT_FOUND = 0xC000_0139
    INVALID_CONNECTION = 0xC000_0140
    PIPE_BROKEN = 0xC000_014B
    INVALID_DEVICE_STATE = 0xC000_0184
    IO_DEVICE_ERROR = 0xC000_0185
    TOO_LATE = 0xC000_0189
    POSSIBLE_DEADLOCK = 0xC000_0194
    SHORT_NAMES_NOT_ENABLED_ON_VOLUME = 0xC000_019F
    INVALID_LOCK_RANGE = 0xC000_01A1
    INVALID_BUFFER_SIZE = 0xC000_0206
    MAPPED_ALIGNMENT = 0xC000_0220
    NOT_FOUND = 0xC000_0225
    OBJECTID_EXISTS = 0xC000_022B
    RETRY = 0xC000_022D
    PROPSET_NOT_FOUND = 0xC000_0230
    HANDLE_NOT_CLOSABLE = 0xC000_0235
    USER_MAPPED_FILE = 0xC000_0243
    CONNECTION_COUNT_LIMIT = 0xC000_0246
    DRIVER_ENTRYPOINT_NOT_FOUND = 0xC000_0263
    TOO_MANY_LINKS = 0xC000_0265
    VOLUME_DISMOUNTED = 0xC000_026E
    NO_MATCH = 0xC000_0272
    NOT_A_REPARSE_POINT = 0xC000_0275
    IO_REPARSE_TAG_INVALID = 0xC000_0276
    IO_REPARSE_TAG_MISMATCH = 0xC000_0277
    IO_REPARSE_DATA_INVALID = 0xC000_0278
    IO_REPARSE_TAG_NOT_HANDLED = 0xC000_0279
    REPARSE_POINT_NOT_RESOLVED = 0xC000_0280
    DIRECTORY_IS_A_REPARSE_POINT = 0xC000_0281
    VOLUME_NOT_UPGRADED = 0xC000_029C
    DEVICE_REMOVED = 0xC000_02B6
    JOURNAL_NOT_ACTIVE = 0xC000_02B8
    NOINTERFACE = 0xC000_02B9
    REPARSE_ATTRIBUTE_CONFLICT = 0xC000_02B2
    OBJECTID_NOT_FOUND = 0xC000_02F0
    MOUNT_POINT_NOT_RESOLVED = 0xC000_0368
    INVALID_DEVICE_OBJECT_PARAMETER = 0xC000_0369
    FILE_SYSTEM_LIMITATION = 0xC000_0427
    PURGE_FAILED = 0xC000_0435
    INTERMIXED_KERNEL_EA_OPERATION = 0xC000_0471
    CASE_DIFFERING_NAMES_IN_DIR = 0xC000_04B3
    REPARSE_POINT_ENCOUNTERED = 0xC000_050B
    DISK_QUOTA_EXCEEDED = 0xC000_0802
    FILE_TOO_LARGE = 0xC000_0904
    CANNOT_BREAK_OPLOCK = 0xC000_0909
    FLT_NO_HANDLER_DEFINED = 0xC01C_0001
    FLT_CONTEXT_ALREADY_DEFINED = 0xC01C_0002
    FLT_INVALID_ASYNCHRONOUS_REQUEST = 0xC01C_0003
    FLT_DISALLOW_FAST_IO = 0xC01C_0004
    FLT_INVALID_NAME_REQUEST = 0xC01C_0005
    FLT_NOT_SAFE_TO_POST_OPERATION = 0xC01C_0006
    FLT_NOT_INITIALIZED = 0xC01C_0007
    FLT_FILTER_NOT_READY = 0xC01C_0008
    FLT_POST_OPERATION_CLEANUP = 0xC01C_0009
    FLT_INTERNAL_ERROR = 0xC01C_000A
    FLT_DELETING_OBJECT = 0xC01C_000B
    FLT_MUST_BE_NONPAGED_POOL = 0xC01C_000C
    FLT_DUPLICATE_ENTRY = 0xC01C_000D
    FLT_CBDQ_DISABLED = 0xC01C_000E
    FLT_DO_NOT_ATTACH = 0xC01C_000F
    FLT_DO_NOT_DETACH = 0xC01C_0010
    FLT_INSTANCE_ALTITUDE_COLLISION = 0xC01C_0011
    FLT_INSTANCE_NAME_COLLISION = 0xC01C_0012
    FLT_FILTER_NOT_FOUND = 0xC01C_0013
    FLT_VOLUME_NOT_FOUND = 0xC01C_0014
    FLT_INSTANCE_NOT_FOUND = 0xC01C_0015
    FLT_CONTEXT_ALLOCATION_NOT_FOUND = 0xC01C_0016
    FLT_INVALID_CONTEXT_REGISTRATION = 0xC01C_0017
    FLT_NAME_CACHE_MISS = 0xC01C_0018
    FLT_NO_DEVICE_OBJECT = 0xC01C_0019
    FLT_VOLUME_ALREADY_MOUNTED = 0xC01C_001A
    FLT_ALREADY_ENLISTED = 0xC01C_001B
    FLT_CONTEXT_ALREADY_LINKED = 0xC01C_001C
    FLT_NO_WAITER_FOR_REPLY = 0xC01C_0020
    FLT_REGISTRATION_BUSY = 0xC01C_0023
}
