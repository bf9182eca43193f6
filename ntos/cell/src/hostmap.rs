//! A shared mapping of a host file, for tests and tools that do what programs do: store through it, load through it.
//!
//! Room: ntos/cell. Called by: tests/fsx. Calls: the host, `region`. IRQL: PASSIVE_LEVEL. Locks: none.
//! The host can take pages away at any time (a file that is cut, a mount that is gone): every access is a guarded copy, so
//! that a SIGBUS is a `Fault` of the caller.

use crate::region::{Fault, Region};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A mapping, MAP_SHARED, for loads and, where the file is open for it, stores.
#[derive(Debug)]
pub struct HostMap {
    region: Region,
}

impl HostMap {
    /// Maps the first `len` bytes of a file.
    ///
    /// # Errors
    /// What the host says: no such right, no bytes, no memory.
    pub fn new(file: BorrowedFd<'_>, len: usize, writable: bool) -> io::Result<Self> {
        let protection = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        // SAFETY: a mapping at an address of the kernel's choice touches no memory of Rust's; the descriptor is borrowed
        // for the call and the kernel keeps its own reference.
        let at = unsafe { libc::mmap(core::ptr::null_mut(), len, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping was just made for this value alone: no Rust object lies in it, and mappings do not wrap. The
        // region leaves this value never, and the mapping ends with it.
        Ok(Self { region: unsafe { Region::from_raw(at as u64, len) } })
    }

    /// Loads bytes through the mapping.
    pub fn load(&self, offset: usize, to: &mut [u8]) -> Result<(), Fault> {
        self.region.sub(offset, to.len()).read_to(to)
    }

    /// Stores bytes through the mapping; a mapping without the right to it faults.
    pub fn store(&mut self, offset: usize, from: &[u8]) -> Result<(), Fault> {
        self.region.sub(offset, from.len()).write_from(from)
    }

    /// Waits until what was stored is in the file: msync(MS_SYNC).
    ///
    /// # Errors
    /// What the host says; EIO when the file refused the pages.
    pub fn sync(&self) -> io::Result<()> {
        // SAFETY: the range is this value's own mapping, whole.
        let done = unsafe { libc::msync(self.region.addr() as *mut libc::c_void, self.region.len(), libc::MS_SYNC) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Calls fallocate(2).
///
/// # Errors
/// What the host says; EOPNOTSUPP for a mode that the file system does not offer.
pub fn allocate(file: BorrowedFd<'_>, mode: i32, offset: u64, len: u64) -> io::Result<()> {
    let bad = |_| io::Error::from_raw_os_error(libc::EFBIG);
    let (offset, len) = (i64::try_from(offset).map_err(bad)?, i64::try_from(len).map_err(bad)?);
    // SAFETY: the call takes numbers only, and the descriptor is borrowed for it.
    let done = unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl Drop for HostMap {
    fn drop(&mut self) {
        // SAFETY: the range is this value's own mapping, whole, and nobody has a copy of the region.
        let done = unsafe { libc::munmap(self.region.addr() as *mut libc::c_void, self.region.len()) };
        debug_assert_eq!(done, 0, "a mapping ends once");
    }
}

#[cfg(test)]
mod tests {
    use super::HostMap;
    use std::os::fd::AsFd;

    #[test]
    fn a_file_that_is_cut_faults_and_does_not_kill() {
        let path = std::env::temp_dir().join(format!("hostmap-{}", std::process::id()));
        let file = std::fs::File::options().read(true).write(true).create_new(true).open(&path).expect("a file");
        std::fs::remove_file(&path).expect("unlink");
        file.set_len(8192).expect("two pages");
        let mut map = HostMap::new(file.as_fd(), 8192, true).expect("a mapping");
        map.store(4096, b"second").expect("a store");
        map.sync().expect("msync");
        let mut bytes = [0; 6];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 4096).expect("read");
        assert_eq!(&bytes, b"second");
        file.set_len(4096).expect("one page");
        assert!(map.load(4096, &mut bytes).is_err(), "a page that is gone faults");
        map.load(0, &mut bytes).expect("the other page is there");
    }
}
