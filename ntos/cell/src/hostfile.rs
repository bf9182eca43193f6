//! Transfers between foreign bytes and files of the host, without a copy in between.
//!
//! Room: ntos/cell. Called by: volumes and the cache manager, through `nt_ke::host_call`. Calls: the host.
//! IRQL: PASSIVE_LEVEL, it may block. Locks: none. The kernel reads and writes the span itself, so a page that is not there
//! is an error of the call (EFAULT) and never a fault of ours (S-2).

use crate::region::Region;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

fn judge(done: isize) -> io::Result<usize> {
    usize::try_from(done).map_err(|_| io::Error::last_os_error())
}

fn offset(at: u64) -> io::Result<i64> {
    i64::try_from(at).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))
}

impl Region {
    /// Writes the span into a file of the host at `at`; returns how many bytes went, which may be fewer.
    pub fn to_file(self, file: BorrowedFd<'_>, at: u64) -> io::Result<usize> {
        let from = std::ptr::with_exposed_provenance::<libc::c_void>(self.addr() as usize);
        // SAFETY: pwrite64 only reads the span, and reports a page that is not there as EFAULT.
        judge(unsafe { libc::pwrite64(file.as_raw_fd(), from, self.len(), offset(at)?) })
    }

    /// Reads from a file of the host at `at` into the span; returns how many bytes came, 0 at its end.
    pub fn from_file(self, file: BorrowedFd<'_>, at: u64) -> io::Result<usize> {
        let to = std::ptr::with_exposed_provenance_mut::<libc::c_void>(self.addr() as usize);
        // SAFETY: the span is no Rust object (Region, invariant 1); pread64 reports a page that is not there as EFAULT.
        judge(unsafe { libc::pread64(file.as_raw_fd(), to, self.len(), offset(at)?) })
    }
}
