//! A file of the host: its handles, and what the host says of it.
//!
//! Room: drivers/memfs. Called by: the `dir` backing. Locks: the handles, never across a host call.
//! The first handle names the file without opening it (O_PATH), whoever may read or write it; the file is opened when an
//! open asks for its data, through the handle and not by name, so a rename in between does not matter.

use super::Shared;
use super::status::{self, error};
use nt_abi::{NtResult, NtStatus};
use nt_ke::{Mutex, RwLock, host_call};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// What a handle of the host may be used for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Path,
    Read,
    ReadWrite,
}

/// The handles of the data, made when somebody asks: found without a lock.
#[derive(Default)]
struct Opened {
    reading: OnceLock<Arc<OwnedFd>>,
    writing: OnceLock<Arc<OwnedFd>>,
    /// Those of the file that took this one's place.
    next: OnceLock<Box<Opened>>,
}

impl Opened {
    #[inline]
    fn now(&self) -> &Self {
        let mut at = self;
        while let Some(next) = at.next.get() {
            at = next;
        }
        at
    }
}

/// A file, directory, link, socket or pipe of the host.
pub(crate) struct Host {
    pub(crate) shared: Arc<Shared>,
    id: AtomicU64,
    /// The file id that NT programs see.
    number: AtomicU64,
    mode: AtomicU32,
    /// Replaced only where a file becomes another kind of thing (a link).
    base: RwLock<Arc<OwnedFd>>,
    opened: Opened,
    /// Directories whose names of this file changed since the last flush: the names are durable when they are flushed too.
    named_in: Mutex<Vec<Arc<Host>>>,
    /// Held while the time of the last write is set, or kept over a write.
    pub(super) times: Mutex<()>,
}

/// Makes a call that may block; an interruption is none.
pub(crate) fn call<T>(body: impl FnMut() -> rustix::io::Result<T>) -> Result<T, Errno> {
    host_call(|| rustix::io::retry_on_intr(body))
}

/// Asks for all that the host knows of a name in `directory`, or of what is open when the name is empty.
pub(crate) fn stat(directory: impl AsFd, name: impl rustix::path::Arg + Copy) -> Result<Statx, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
    call(|| rustix::fs::statx(directory.as_fd(), name, flags, wanted))
}

/// The file id of a file (NT-QRY-09): its inode, and over it a hash of when it was born, so that a number that the host uses
/// again is another file. An inode that needs all the bits is itself.
pub(crate) fn number(stat: &Statx) -> u64 {
    if stat.stx_ino >> 48 != 0 || stat.stx_mask & StatxFlags::BTIME.bits() == 0 {
        return stat.stx_ino;
    }
    let born = (stat.stx_btime.tv_sec as u64) << 30 ^ u64::from(stat.stx_btime.tv_nsec);
    born.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48 << 48 | stat.stx_ino
}

/// Never out of the directory, over a link or into another mount.
pub(crate) const CONFINED: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_XDEV);

impl Host {
    pub(crate) fn new(shared: &Arc<Shared>, fd: impl Into<Arc<OwnedFd>>, access: Access, stat: &Statx) -> Arc<Self> {
        let fd = fd.into();
        let opened = Opened::default();
        if access != Access::Path {
            opened.reading.get_or_init(|| Arc::clone(&fd));
        }
        if access == Access::ReadWrite {
            opened.writing.get_or_init(|| Arc::clone(&fd));
        }
        Arc::new(Self {
            shared: Arc::clone(shared),
            id: AtomicU64::new(stat.stx_ino),
            number: AtomicU64::new(number(stat)),
            mode: AtomicU32::new(u32::from(stat.stx_mode)),
            base: RwLock::new(fd),
            opened,
            named_in: Mutex::new(Vec::new()),
            times: Mutex::new(()),
        })
    }

    pub(crate) fn id(&self) -> u64 {
        self.id.load(Ordering::Relaxed)
    }

    /// Returns the file id.
    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// Returns what kind of thing it is.
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode.load(Ordering::Relaxed))
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// Returns the handle that names the file.
    pub(crate) fn base(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.base.read())
    }

    /// Another thing of the host takes this file's place.
    pub(crate) fn become_other(&self, fd: OwnedFd, stat: &Statx) {
        *self.base.write() = Arc::new(fd);
        let _nobody_else_changes_it = self.opened.now().next.set(Box::default());
        self.id.store(stat.stx_ino, Ordering::Relaxed);
        self.number.store(number(stat), Ordering::Relaxed);
        self.mode.store(u32::from(stat.stx_mode), Ordering::Relaxed);
    }

    pub(crate) fn stat(&self) -> NtResult<Statx> {
        let mut stat = stat(self.base(), "").map_err(error)?;
        self.shared.late.show(&mut stat);
        Ok(stat)
    }

    /// Returns a path that leads to the file itself, for calls that take no handle of this kind.
    pub(crate) fn link(&self) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/self/fd/{}", self.base().as_raw_fd())
    }

    fn reopen(&self, flags: OFlags) -> Result<Arc<OwnedFd>, Errno> {
        // To open a pipe waits for the other end, to open a device does what the device likes: neither is the volume's.
        if !matches!(self.kind(), FileType::RegularFile | FileType::Directory) {
            return Err(Errno::ACCESS);
        }
        let link = self.link();
        call(|| rustix::fs::openat(CWD, link.as_str(), flags | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty()))
            .map(Arc::new)
    }

    /// Returns a handle to read with.
    #[inline]
    pub(crate) fn reading(&self) -> Result<&Arc<OwnedFd>, Errno> {
        let opened = self.opened.now();
        match opened.reading.get() {
            Some(fd) => Ok(fd),
            None => {
                let fd = self.reopen(OFlags::RDONLY)?;
                Ok(opened.reading.get_or_init(|| fd))
            }
        }
    }

    /// Returns a handle to write with; where the host allows it reads too.
    #[inline]
    pub(crate) fn writing(&self) -> Result<&Arc<OwnedFd>, Errno> {
        let opened = self.opened.now();
        match opened.writing.get() {
            Some(fd) => Ok(fd),
            None => self.open_to_write(opened),
        }
    }

    #[cold]
    fn open_to_write<'a>(&self, opened: &'a Opened) -> Result<&'a Arc<OwnedFd>, Errno> {
        let fd = match self.reopen(OFlags::RDWR) {
            Ok(fd) => {
                opened.reading.get_or_init(|| Arc::clone(&fd));
                fd
            }
            Err(Errno::ACCESS) => self.reopen(OFlags::WRONLY)?,
            Err(error) => return Err(error),
        };
        Ok(opened.writing.get_or_init(|| fd))
    }

    /// Returns a handle that opened the file, for whatever: for calls that a handle that only names it is not enough for.
    pub(crate) fn opened(&self) -> Result<&Arc<OwnedFd>, Errno> {
        match self.opened.now().writing.get().map_or_else(|| self.reading(), Ok) {
            Err(Errno::ACCESS) if !self.is_directory() => self.writing(),
            other => other,
        }
    }

    /// Makes the file durable, and the names that it got.
    pub(crate) fn sync(&self) -> NtResult<()> {
        if matches!(self.kind(), FileType::RegularFile | FileType::Directory) {
            let fd = self.opened.now().writing.get().map_or_else(|| self.reading(), Ok).map_err(error)?;
            call(|| rustix::fs::fsync(fd)).map_err(error)?;
        }
        let directories = std::mem::take(&mut *self.named_in.lock());
        directories.iter().try_for_each(|directory| directory.sync_names())
    }

    /// Makes the names in this directory durable.
    fn sync_names(&self) -> NtResult<()> {
        let fd = self.reading().map_err(error)?;
        call(|| rustix::fs::fsync(fd)).map_err(error)
    }

    /// Notes that a name of this file in `directory` is durable when that is flushed too.
    pub(crate) fn named(&self, directory: &Arc<Self>) {
        let mut directories = self.named_in.lock();
        if !directories.iter().any(|there| Arc::ptr_eq(there, directory)) {
            directories.push(Arc::clone(directory));
        }
    }

    /// Sorts the failure of a call on a name in this directory. A directory that is gone itself has no names: the volume's
    /// own says so clearly.
    pub(crate) fn refused(&self, errno: Errno) -> nt_abi::NtError {
        let gone = errno == Errno::NOENT && stat(self.base(), "").is_ok_and(|stat| stat.stx_nlink == 0);
        match gone {
            true if self.id() == self.shared.root_id => NtStatus::VOLUME_DISMOUNTED.error(),
            true => NtStatus::OBJECT_PATH_NOT_FOUND.error(),
            false => error(errno),
        }
    }

    /// Opens a name in this directory, without opening what it leads to.
    pub(crate) fn find(&self, name: &[u8]) -> NtResult<Option<(OwnedFd, Statx)>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let base = self.base();
        let fd = match call(|| rustix::fs::openat2(&base, name, flags, Mode::empty(), CONFINED)) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => {
                return match self.refused(Errno::NOENT) {
                    gone if gone.status() != NtStatus::OBJECT_NAME_NOT_FOUND => Err(gone),
                    _ => Ok(None),
                };
            }
            // A mount point: what is mounted there is not of this volume.
            Err(Errno::XDEV) => return Ok(None),
            Err(errno) => return Err(self.refused(errno)),
        };
        let stat = stat(&fd, "").map_err(error)?;
        if (stat.stx_dev_major, stat.stx_dev_minor) != self.shared.device {
            return Ok(None);
        }
        Ok(Some((fd, stat)))
    }

    /// Is the name, in this directory, a name of the file `id`?
    pub(crate) fn leads_to(&self, name: &[u8], id: u64) -> NtResult<bool> {
        match stat(self.base(), name) {
            Ok(stat) => Ok(stat.stx_ino == id),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.refused(errno)),
        }
    }
}

/// Turns a name of the volume into the host's.
pub(crate) fn name(units: &[u16]) -> NtResult<Vec<u8>> {
    let name = nt_rtl::posix::to_host(units).filter(|name| name.len() <= 255);
    name.ok_or(NtStatus::OBJECT_NAME_INVALID.error())
}

/// Turns the standard library's error of a transfer into ours.
pub(crate) fn transfer(body: impl FnOnce() -> std::io::Result<usize>) -> Result<usize, Errno> {
    host_call(body).map_err(|error| status::io(&error))
}
