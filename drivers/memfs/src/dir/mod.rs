//! The `dir` backing: a directory of the host is the volume's content.
//!
//! Room: drivers/memfs. Called by: the driver, by the traits of `backing`. Calls: the host, through `nt_ke::host_call`.
//! Touches: nothing outside the directory: each step is one component, opened with openat2 and RESOLVE_BENEATH, links and other
//! mounts are not followed. Locks: the node table, a node's handles; both innermost, neither held across a host call.
//! The host may change anything at any time. Lengths, times and attributes are therefore asked for, never remembered
//! (but for dates of what the cache brings late: `late.rs`).

mod attributes;
mod content;
mod directory;
mod host;
mod late;
mod object;
mod reparse;
mod shorts;
mod status;
mod streams;

use crate::backing::{Backing, Space};
use crate::node::Node;
use crate::sparse::UNIT;
use host::{Host, call};
use nt_abi::NtResult;
use nt_ke::Mutex;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FallocateFlags, Mode, OFlags, StatVfsMountFlags};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// What the files of one volume share.
struct Shared {
    /// The mount that the directory lies on; what is mounted below it is not part of the volume.
    mount: u64,
    device: (u32, u32),
    root_id: u64,
    /// Nodes that somebody holds, by inode number; each pins its inode, so a number means one file as long as it is here.
    nodes: Mutex<HashMap<u64, Weak<Node>>>,
    next_temporary: AtomicU64,
    /// Where named streams lie.
    side: streams::Store,
    late: late::LateDates,
}

impl Shared {
    /// Returns the node of a file that somebody holds.
    fn live(&self, id: u64) -> Option<Arc<Node>> {
        self.nodes.lock().get(&id).and_then(Weak::upgrade)
    }

    /// Returns a name that nobody else uses, for what is about to get its own.
    fn temporary(&self) -> String {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        format!(".ntio-{}-{number}", std::process::id())
    }
}

/// A volume on a directory of the host.
pub(crate) struct Dir {
    host: Arc<Host>,
    root: Arc<Node>,
    keeps_holes: bool,
    /// The host's file system was mounted read-only when the volume was.
    read_only: bool,
}

/// Does the host give back the room of a hole here? Tried on a file without a name; where there can be none, it is taken to.
fn keeps_holes(directory: &OwnedFd) -> bool {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let Ok(file) = call(|| rustix::fs::openat(directory, c".", flags, Mode::RUSR | Mode::WUSR)) else { return true };
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    call(|| rustix::fs::ftruncate(&file, UNIT)).is_ok() && call(|| rustix::fs::fallocate(&file, hole, 0, UNIT)).is_ok()
}

impl Dir {
    /// Opens the directory.
    pub(crate) fn new(path: &Path) -> NtResult<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = call(|| rustix::fs::openat(CWD, path, flags, Mode::empty())).map_err(status::error)?;
        let stat = host::stat(&fd, "").map_err(status::error)?;
        let fd = Arc::new(fd);
        let shared = Arc::new(Shared {
            mount: stat.stx_mnt_id,
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            root_id: stat.stx_ino,
            nodes: Mutex::new(HashMap::new()),
            next_temporary: AtomicU64::new(0),
            side: streams::Store::new(&fd)?,
            late: late::LateDates::default(),
        });
        let there = call(|| rustix::fs::fstatvfs(&fd)).map_err(status::error)?;
        let read_only = there.f_flag.contains(StatVfsMountFlags::RDONLY);
        let host = Host::new(&shared, fd, host::Access::Read, &stat);
        let root = object::node(&host, &stat)?;
        let keeps_holes = keeps_holes(&host.base());
        Ok(Self { host, root, keeps_holes, read_only })
    }
}

impl Backing for Dir {
    fn root(&self) -> Arc<Node> {
        Arc::clone(&self.root)
    }
    fn space(&self) -> NtResult<Space> {
        let there = call(|| rustix::fs::fstatvfs(self.host.base())).map_err(status::error)?;
        let unit = there.f_frsize;
        Ok(Space { total: there.f_blocks * unit, free: there.f_bfree * unit, available: there.f_bavail * unit })
    }
    fn keeps_holes(&self) -> bool {
        self.keeps_holes
    }
    fn is_read_only(&self) -> bool {
        self.read_only
    }
    fn sync(&self) -> NtResult<()> {
        call(|| rustix::fs::syncfs(self.host.base())).map_err(status::error)
    }
}
