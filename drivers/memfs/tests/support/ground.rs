//! Where a `dir` volume of a test lies: a directory of its own, or a small file system of its own.

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

pub enum Ground {
    Directory(tempfile::TempDir),
    /// A file system that is mounted nowhere: it goes with the handle.
    Mounted(PathBuf, OwnedFd),
}

impl Ground {
    pub fn new() -> Self {
        Self::Directory(tempfile::tempdir().expect("a directory for the volume"))
    }

    /// A tmpfs with room for `size` bytes of data. `None` where the right to mount is known to be absent.
    pub fn small(size: u64, attributes: MountAttrFlags) -> Option<Self> {
        let made = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).and_then(|fs| {
            fsconfig_set_string(&fs, "size", size.to_string())?;
            fsconfig_create(&fs)?;
            fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        });
        match made {
            Ok(fd) => Some(Self::Mounted(format!("/proc/self/fd/{}", fd.as_raw_fd()).into(), fd)),
            Err(error) => {
                let known = std::env::var_os("NTIO_NO_MOUNT").is_some_and(|value| value == "1");
                assert!(known, "a small file system for the test: {error}; NTIO_NO_MOUNT=1 says that this is known");
                None
            }
        }
    }

    pub fn path(&self) -> &Path {
        match self {
            Self::Directory(directory) => directory.path(),
            Self::Mounted(path, _) => path,
        }
    }
}
