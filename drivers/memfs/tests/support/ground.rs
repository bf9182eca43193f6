//! Where a `dir` volume of a test lies: a directory of its own, or a small file system of its own.

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use rustix::mount::{fsconfig_create, fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

pub enum Ground {
    Directory(tempfile::TempDir),
    /// Somebody else's: a second machine on the same directory.
    Lent(PathBuf),
    /// A file system that is mounted nowhere: it goes with the handles.
    Mounted {
        path: PathBuf,
        mount: OwnedFd,
        file_system: OwnedFd,
    },
}

impl Ground {
    pub fn new() -> Self {
        Self::Directory(tempfile::tempdir().expect("a directory for the volume"))
    }

    /// A tmpfs with room for `size` bytes of data. `None` where the right to mount is known to be absent.
    pub fn small(size: u64) -> Option<Self> {
        Self::tmpfs(&[("size", size)])
    }

    /// A tmpfs with options.
    pub fn tmpfs(options: &[(&str, u64)]) -> Option<Self> {
        Self::of("tmpfs", options)
    }

    /// A file system of this kind.
    pub fn of(kind: &str, options: &[(&str, u64)]) -> Option<Self> {
        let made = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).and_then(|fs| {
            for (name, value) in options {
                fsconfig_set_string(&fs, *name, value.to_string())?;
            }
            fsconfig_create(&fs)?;
            Ok((fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?, fs))
        });
        match made {
            Ok((mount, file_system)) => {
                let path = format!("/proc/self/fd/{}", mount.as_raw_fd()).into();
                Some(Self::Mounted { path, mount, file_system })
            }
            Err(error) => {
                let known = std::env::var_os("NTIO_NO_MOUNT").is_some_and(|value| value == "1");
                assert!(known, "a small file system for the test: {error}; NTIO_NO_MOUNT=1 says that this is known");
                None
            }
        }
    }

    /// From now on nothing can be changed there.
    pub fn protect(&self) {
        let Self::Mounted { file_system, .. } = self else { panic!("not a file system of its own") };
        fsconfig_set_flag(file_system, "ro").expect("an option");
        fsconfig_reconfigure(file_system).expect("a file system that is read-only");
    }

    /// The same place again.
    pub fn lend(&self) -> Self {
        Self::Lent(self.path().to_owned())
    }

    pub fn path(&self) -> &Path {
        match self {
            Self::Directory(directory) => directory.path(),
            Self::Lent(path) | Self::Mounted { path, .. } => path,
        }
    }
}
