//! The one table between NTSTATUS and errno.
//!
//! Room: front/fuse. Called by: every operation. Calls: nothing. Source: docs of the POSIX door, "Status to errno".
//! ENOSYS never comes from a status: the kernel would stop sending that operation for good.

use nt_machine::NtStatus;

/// What the operation was, where one status has two POSIX words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Context {
    /// Anything that names a path.
    Path,
    /// Reading or writing an open file.
    Data,
    /// Making a link.
    Link,
    /// Changing owner or mode, removing.
    Owner,
    /// Reading a symbolic link.
    ReadLink,
    /// Extended attributes.
    Attribute,
}

/// Returns the errno of a failed request.
#[must_use]
pub fn code(status: NtStatus, context: Context) -> i32 {
    use Context::{Attribute, Data, Link, Owner};
    match status.0 {
        0xC000_0022 => {
            if matches!(context, Link | Owner) {
                libc::EPERM
            } else {
                libc::EACCES
            }
        }
        0xC000_0061 | 0xC000_0121 | 0xC000_005A => libc::EPERM,
        0xC000_00A2 => libc::EROFS,
        0xC000_0034 | 0xC000_000F | 0xC000_0123 | 0xC000_003A => libc::ENOENT,
        0xC000_0056 => libc::ENOENT,
        0xC000_0033 | 0xC000_003B => libc::EINVAL,
        0xC000_0035 => libc::EEXIST,
        0xC000_0106 => libc::ENAMETOOLONG,
        0xC000_00BA => {
            if context == Link {
                libc::EPERM
            } else {
                libc::EISDIR
            }
        }
        0xC000_0103 => libc::ENOTDIR,
        0xC000_0101 => libc::ENOTEMPTY,
        0xC000_0043 => libc::EBUSY,
        0xC000_0054 | 0xC000_0055 => libc::EACCES,
        0xC000_0243 => libc::ETXTBSY,
        0xC000_0265 => libc::EMLINK,
        0xC000_00D4 => libc::EXDEV,
        0xC000_007F | 0xC000_0099 => libc::ENOSPC,
        0xC000_0802 | 0xC000_0044 => libc::EDQUOT,
        0xC000_0904 | 0xC000_0427 => libc::EFBIG,
        0xC000_0052 | 0xC000_0051 | 0x8000_0012 => libc::ENODATA,
        0xC000_0050 => libc::ENOSPC,
        0xC000_004F => libc::ENOTSUP,
        0x8000_0013 | 0x8000_0014 => libc::EINVAL,
        0xC000_000D | 0xC000_0474 | 0x8000_0002 | 0xC000_00EF..=0xC000_00FA => libc::EINVAL,
        0xC000_0010 => {
            if context == Data {
                libc::EISDIR
            } else {
                libc::EOPNOTSUPP
            }
        }
        0xC000_00BB | 0xC000_0002 | 0xC000_0003 => {
            if context == Attribute {
                libc::ENOTSUP
            } else {
                libc::EOPNOTSUPP
            }
        }
        0xC000_0008 | 0xC000_0128 | 0xC000_0024 => libc::EBADF,
        0xC000_0005 | 0xC000_00E8 => libc::EFAULT,
        0xC000_009A | 0xC000_0017 | 0xC000_012D | 0xC000_00A1 => libc::ENOMEM,
        0xC000_011F => libc::ENFILE,
        0xC000_0120 => libc::ECANCELED,
        0xC000_00B5 | 0x0000_0102 => libc::ETIMEDOUT,
        0xC000_00D8 | 0xC000_022D | 0x8000_0011 => libc::EAGAIN,
        0xC000_00A3 | 0xC000_0013 => libc::ENXIO,
        0xC000_000E | 0xC000_00C0 | 0xC000_02B6 | 0xC000_026E | 0xC01C_000B => libc::ENODEV,
        0xC000_0189 => libc::ESHUTDOWN,
        0xC000_0098 | 0xC000_0012 => libc::ESTALE,
        0xC000_0102 | 0xC000_0032 => libc::EUCLEAN,
        0xC000_0435 => libc::EBUSY,
        0xC000_0275 => libc::EINVAL,
        0xC000_0279 | 0xC000_0280 | 0x8000_002D => libc::ELOOP,
        0xC000_0906 | 0xC000_0907 | 0xC000_0361 => libc::EACCES,
        0xC000_0162 | 0xC000_0161 => libc::EILSEQ,
        0xC000_010A | 0xC000_004B => libc::EINTR,
        _ => libc::EIO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_become_the_errno_of_the_table() {
        for (status, context, expected) in [
            (0xC000_0022, Context::Path, libc::EACCES),
            (0xC000_0022, Context::Owner, libc::EPERM),
            (0xC000_0034, Context::Path, libc::ENOENT),
            (0xC000_003A, Context::Path, libc::ENOENT),
            (0xC000_0035, Context::Path, libc::EEXIST),
            (0xC000_00BA, Context::Path, libc::EISDIR),
            (0xC000_00BA, Context::Link, libc::EPERM),
            (0xC000_0101, Context::Path, libc::ENOTEMPTY),
            (0xC000_007F, Context::Data, libc::ENOSPC),
            (0xC000_0010, Context::Data, libc::EISDIR),
            (0xC000_0010, Context::Path, libc::EOPNOTSUPP),
            (0xC000_0052, Context::Attribute, libc::ENODATA),
            (0xC000_0904, Context::Data, libc::EFBIG),
            (0xC000_0275, Context::ReadLink, libc::EINVAL),
            (0xC000_0185, Context::Data, libc::EIO),
            (0xC0DE_0001, Context::Path, libc::EIO),
        ] {
            assert_eq!(code(NtStatus(status), context), expected, "{status:#x} {context:?}");
        }
    }

    #[test]
    fn no_status_becomes_enosys() {
        let all = (0..0x1_0000u32).flat_map(|low| [0x8000_0000 | low, 0xC000_0000 | low, 0xC01C_0000 | low]);
        for status in all {
            for context in [Context::Path, Context::Data, Context::Link, Context::Owner, Context::Attribute] {
                let code = code(NtStatus(status), context);
                assert!(code != libc::ENOSYS && code > 0, "{status:#x}");
            }
        }
    }
}
