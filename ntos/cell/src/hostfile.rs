//! Files and descriptors of the host: transfers without a copy in between, and changes to a file by its handle alone.
//!
//! Room: ntos/cell. Called by: volumes and the cache manager, through `nt_ke::host_call`. Calls: the host.
//! IRQL: PASSIVE_LEVEL, it may block. Locks: none. The kernel reads and writes the span itself, so a page that is not there
//! is an error of the call (EFAULT) and never a fault of ours (S-2).
//! Owner, mode and times of a file that was not opened for data (a link, a file without rights) are changed by calls that
//! take a path: ours is empty, and always the same page, which the kernel keeps from ever changing. So a lock-down can let
//! these calls through with that page and no other path.

use crate::region::Region;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::LazyLock;

/// 100 ns and the like are the caller's business: seconds and nanoseconds, or to leave as it is.
pub type HostTime = Option<(i64, i64)>;

const PAGE: usize = 4096;
const MSEAL: libc::c_long = 462;
const FCHMODAT2: libc::c_long = 452;

fn judge(done: isize) -> io::Result<usize> {
    usize::try_from(done).map_err(|_| io::Error::last_os_error())
}

fn verdict(done: i64) -> io::Result<()> {
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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

    /// Reads what comes next from a descriptor: `head` first, then the span; returns how many bytes came in all.
    pub fn read_behind(self, head: &mut [u8], from: BorrowedFd<'_>) -> io::Result<usize> {
        let to = std::ptr::with_exposed_provenance_mut::<libc::c_void>(self.addr() as usize);
        let head = libc::iovec { iov_base: head.as_mut_ptr().cast(), iov_len: head.len() };
        let parts = [head, libc::iovec { iov_base: to, iov_len: self.len() }];
        // SAFETY: `head` is exclusively ours, the span is no Rust object (Region, invariant 1); readv writes no other memory and
        // reports a page that is not there as EFAULT.
        judge(unsafe { libc::readv(from.as_raw_fd(), parts.as_ptr(), 2) })
    }

    /// Writes `head` and then the span to a descriptor in one call; returns how many bytes went.
    pub fn write_behind(self, head: &[u8], to: BorrowedFd<'_>) -> io::Result<usize> {
        let from = std::ptr::with_exposed_provenance_mut::<libc::c_void>(self.addr() as usize);
        let head = libc::iovec { iov_base: head.as_ptr().cast_mut().cast(), iov_len: head.len() };
        let parts = [head, libc::iovec { iov_base: from, iov_len: self.len() }];
        // SAFETY: writev only reads both, and reports a page that is not there as EFAULT.
        judge(unsafe { libc::writev(to.as_raw_fd(), parts.as_ptr(), 2) })
    }
}

/// The empty path: an address of a page of zeroes, and whether the kernel has sealed it.
struct Empty {
    addr: usize,
    sealed: bool,
}

static EMPTY: LazyLock<Empty> = LazyLock::new(|| {
    // SAFETY: a new mapping at an address that the kernel chooses; nothing of ours is there.
    let page = unsafe {
        libc::mmap(std::ptr::null_mut(), PAGE, libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    };
    if page == libc::MAP_FAILED {
        // A path at address 0 is EFAULT for every call: they fail, nothing else does.
        return Empty { addr: 0, sealed: false };
    }
    // SAFETY: mseal forbids to change or unmap the page just made, which nobody will.
    let sealed = unsafe { libc::syscall(MSEAL, page, PAGE, 0) } == 0;
    Empty { addr: page.expose_provenance(), sealed }
});

fn empty() -> *const libc::c_char {
    std::ptr::with_exposed_provenance(EMPTY.addr)
}

/// Returns the address of the empty path that the calls below use, if nothing in this process can change what is there.
#[must_use]
pub fn sealed_empty_path() -> Option<u64> {
    EMPTY.sealed.then_some(EMPTY.addr as u64)
}

/// Changes the mode of the file behind a handle of any kind.
pub fn set_mode(file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    // SAFETY: the path is a page of zeroes that stays mapped; the call touches no other memory.
    verdict(unsafe { libc::syscall(FCHMODAT2, file.as_raw_fd(), empty(), mode, libc::AT_EMPTY_PATH) })
}

/// Changes owner and group of the file behind a handle of any kind; `None` leaves one as it is.
pub fn set_owner(file: BorrowedFd<'_>, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
    let (owner, group) = (owner.unwrap_or(u32::MAX), group.unwrap_or(u32::MAX));
    let flags = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: as in `set_mode`.
    verdict(i64::from(unsafe { libc::fchownat(file.as_raw_fd(), empty(), owner, group, flags) }))
}

/// Changes times of last access and last change of the data of the file behind a handle of any kind.
pub fn set_times(file: BorrowedFd<'_>, accessed: HostTime, written: HostTime) -> io::Result<()> {
    let time = |time: HostTime| match time {
        None => libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT },
        Some((tv_sec, tv_nsec)) => libc::timespec { tv_sec, tv_nsec },
    };
    let times = [time(accessed), time(written)];
    // SAFETY: as in `set_mode`; the times are read during the call.
    verdict(i64::from(unsafe { libc::utimensat(file.as_raw_fd(), empty(), times.as_ptr(), libc::AT_EMPTY_PATH) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

    #[test]
    fn a_file_is_changed_by_a_handle_that_opens_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("link");
        std::os::unix::fs::symlink("nowhere", &path).expect("a link");
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        let link = std::fs::File::options().read(true).custom_flags(flags).open(&path).expect("a handle");
        set_times(link.as_fd(), Some((1, 2)), Some((3, 4))).expect("times");
        let there = std::fs::symlink_metadata(&path).expect("a link");
        assert_eq!((there.atime(), there.mtime(), there.mtime_nsec()), (1, 3, 4));
        set_owner(link.as_fd(), Some(there.uid()), None).expect("its own owner");
        let path = directory.path().join("file");
        std::fs::write(&path, "x").expect("a file");
        let file = std::fs::File::options().read(true).custom_flags(flags).open(&path).expect("a handle");
        match set_mode(file.as_fd(), 0o640) {
            Ok(()) => assert_eq!(std::fs::metadata(&path).expect("a file").mode() & 0o777, 0o640),
            // Before Linux 6.6.
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOSYS)),
        }
    }

    #[test]
    fn a_message_goes_and_comes_in_two_parts() {
        let (a, b) = std::os::unix::net::UnixStream::pair().expect("two sockets");
        let block = crate::UserBlock::pages(4096).expect("arena");
        let span = block.region().sub(0, 3);
        span.write_from(b"end").expect("written");
        assert_eq!(span.write_behind(b"head", a.as_fd()).expect("sent"), 7);
        let (mut head, to) = ([0; 2], block.region().sub(8, 5));
        assert_eq!(to.read_behind(&mut head, b.as_fd()).expect("received"), 7);
        let mut rest = [0; 5];
        to.read_to(&mut rest).expect("read");
        assert_eq!((&head, &rest), (b"he", b"adend"));
        block.protect(0, 4096, crate::Protection::NoAccess).expect("protected");
        a.set_nonblocking(true).expect("set");
        let refused = span.write_behind(&[], a.as_fd()).expect_err("no page");
        assert_eq!(refused.raw_os_error(), Some(libc::EFAULT));
    }

    #[test]
    fn the_empty_path_cannot_be_changed() {
        let Some(addr) = sealed_empty_path() else { return };
        let page = std::ptr::with_exposed_provenance_mut::<libc::c_void>(addr as usize);
        // SAFETY: what is tried is refused; if it were not, the page would stay mapped and be written by nobody.
        let changed = unsafe { libc::mprotect(page, PAGE, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!((changed, io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EPERM)));
    }
}
