//! The one table from the host's errors to NTSTATUS.
//!
//! Room: drivers/memfs. Called by: the `dir` backing. Calls: nothing. Locks: none.
//! Source: docs of the POSIX door, "errno to NTSTATUS"; through the door's own table each comes out as the errno it was.

use nt_abi::{NtError, NtStatus};
use rustix::io::Errno;

/// Returns the status of a failed host call on a name's last component or on an open file.
pub(crate) fn status(error: Errno) -> NtStatus {
    match error {
        Errno::PERM | Errno::ACCESS => NtStatus::ACCESS_DENIED,
        Errno::NOENT => NtStatus::OBJECT_NAME_NOT_FOUND,
        Errno::EXIST => NtStatus::OBJECT_NAME_COLLISION,
        Errno::NOTDIR => NtStatus::NOT_A_DIRECTORY,
        Errno::ISDIR => NtStatus::FILE_IS_A_DIRECTORY,
        Errno::NOTEMPTY => NtStatus::DIRECTORY_NOT_EMPTY,
        Errno::XDEV => NtStatus::NOT_SAME_DEVICE,
        Errno::MLINK => NtStatus::TOO_MANY_LINKS,
        Errno::NAMETOOLONG => NtStatus::NAME_TOO_LONG,
        Errno::ILSEQ => NtStatus::OBJECT_NAME_INVALID,
        Errno::ROFS => NtStatus::MEDIA_WRITE_PROTECTED,
        Errno::NOSPC => NtStatus::DISK_FULL,
        Errno::DQUOT => NtStatus::DISK_QUOTA_EXCEEDED,
        Errno::FBIG => NtStatus::FILE_TOO_LARGE,
        Errno::INVAL => NtStatus::INVALID_PARAMETER,
        Errno::BADF => NtStatus::FILE_CLOSED,
        Errno::FAULT => NtStatus::INVALID_USER_BUFFER,
        Errno::NOMEM | Errno::NOBUFS => NtStatus::INSUFFICIENT_RESOURCES,
        Errno::MFILE | Errno::NFILE => NtStatus::TOO_MANY_OPENED_FILES,
        Errno::BUSY | Errno::TXTBSY => NtStatus::SHARING_VIOLATION,
        Errno::LOOP => NtStatus::REPARSE_POINT_NOT_RESOLVED,
        Errno::NODEV | Errno::NXIO => NtStatus::NO_SUCH_DEVICE,
        Errno::IO | Errno::UCLEAN | Errno::REMOTEIO => NtStatus::IO_DEVICE_ERROR,
        Errno::STALE => NtStatus::FILE_INVALID,
        Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOTTY => NtStatus::INVALID_DEVICE_REQUEST,
        Errno::NODATA => NtStatus::NONEXISTENT_EA_ENTRY,
        Errno::RANGE => NtStatus::BUFFER_OVERFLOW,
        Errno::TOOBIG => NtStatus::EA_TOO_LARGE,
        Errno::TIMEDOUT => NtStatus::IO_TIMEOUT,
        Errno::CANCELED => NtStatus::CANCELLED,
        _ => NtStatus::UNEXPECTED_IO_ERROR,
    }
}

/// The same as an error.
pub(crate) fn error(error: Errno) -> NtError {
    status(error).error()
}

/// The same for an error of the standard library's kind.
pub(crate) fn io(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_status_that_is_an_error() {
        for code in 1..134 {
            let status = status(Errno::from_raw_os_error(code));
            assert!(status.is_error() || status == NtStatus::BUFFER_OVERFLOW, "errno {code} became {status}");
        }
        assert_eq!(status(Errno::NOSPC), NtStatus::DISK_FULL);
        assert_eq!(status(Errno::ROFS), NtStatus::MEDIA_WRITE_PROTECTED);
    }
}
