//! Open files and directories, as the kernel names them by number.
//!
//! Room: front/fuse. Called by: operations. Calls: nothing. Locks: the table; an entry's own two.
//! Source: docs of the POSIX door, sections 1 and 4. The opener's process is kept until release.

use crate::caller::Caller;
use nt_machine::Handle;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The number of a directory that was removed before it was opened: there is nothing behind it.
pub(crate) const GONE: u64 = 0;

/// An entry of a directory's listing.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) node: u64,
    /// The type bits of a mode.
    pub(crate) kind: u32,
    pub(crate) name: Vec<u8>,
}

/// An open file or directory.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) caller: Arc<Caller>,
    pub(crate) handle: Handle,
    pub(crate) node: u64,
    /// What a file was opened for: access and options.
    pub(crate) way: (u32, u32),
    /// By how many numbers the kernel knows it besides its first.
    pub(crate) again: AtomicU32,
    /// Opened with O_APPEND: the handle is append-only.
    pub(crate) append: bool,
    pub(crate) writable: bool,
    pub(crate) readable: bool,
    /// Opened with O_DIRECT: noncached.
    pub(crate) direct: bool,
    /// See `Nodes::reach`.
    pub(crate) reach: Arc<AtomicU64>,
    /// The path of a file that has no name for programs (O_TMPFILE): it goes when the file is closed.
    pub(crate) hidden: Option<Vec<u16>>,
    /// For what an append-only or a read-only handle lacks; made when it is first asked for.
    pub(crate) second: Mutex<Option<Handle>>,
    /// The listing as it was when it was last read from the start.
    pub(crate) listing: Mutex<Vec<Entry>>,
}

impl Open {
    /// One of its numbers goes: is it the last? The caller holds the table's lock.
    fn is_last(&self) -> bool {
        let before = self.again.load(Ordering::Relaxed);
        self.again.store(before.saturating_sub(1), Ordering::Relaxed);
        before == 0
    }
}

/// What is open on a mount.
#[derive(Default)]
pub(crate) struct Handles {
    next: AtomicU64,
    /// How many have no name for programs.
    hidden: AtomicU64,
    table: RwLock<HashMap<u64, Arc<Open>>>,
}

impl Handles {
    pub(crate) fn insert(&self, open: Open) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        self.hidden.fetch_add(u64::from(open.hidden.is_some()), Ordering::Relaxed);
        self.table.write().insert(number, Arc::new(open));
        number
    }
    /// Gives a further number to an open of a node that is good for this: what opens a file that has no name any more.
    pub(crate) fn again(&self, node: u64, (access, options): (u32, u32)) -> Option<u64> {
        let mut table = self.table.write();
        let good = |open: &&Arc<Open>| open.node == node && open.way.0 & access == access && open.way.1 == options;
        let open = Arc::clone(table.values().find(good)?);
        let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        open.again.fetch_add(1, Ordering::Relaxed);
        self.hidden.fetch_add(u64::from(open.hidden.is_some()), Ordering::Relaxed);
        table.insert(number, open);
        Some(number)
    }
    pub(crate) fn get(&self, number: u64) -> Option<Arc<Open>> {
        self.table.read().get(&number).cloned()
    }
    /// Takes a number away, and tells whether it was the open's last.
    pub(crate) fn remove(&self, number: u64) -> Option<(Arc<Open>, bool)> {
        let mut table = self.table.write();
        let open = table.remove(&number)?;
        self.hidden.fetch_sub(u64::from(open.hidden.is_some()), Ordering::Relaxed);
        let last = open.is_last();
        Some((open, last))
    }
    /// Whether a node has, besides others, a name that programs do not see.
    pub(crate) fn is_hidden(&self, node: u64) -> bool {
        let hidden = |open: &Arc<Open>| open.node == node && open.hidden.is_some();
        self.hidden.load(Ordering::Relaxed) != 0 && self.table.read().values().any(hidden)
    }
    /// Returns any open of a node: what serves a file that has no name any more.
    pub(crate) fn of_node(&self, node: u64) -> Option<Arc<Open>> {
        self.table.read().values().find(|open| open.node == node).cloned()
    }
    /// Returns every open, for the end of the mount.
    pub(crate) fn drain(&self) -> Vec<Arc<Open>> {
        self.table.write().drain().map(|(_, open)| open).filter(|open| open.is_last()).collect()
    }
}
