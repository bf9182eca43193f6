//! The life of a mount: which opens belong to it, who locked the volume.
//!
//! Room: drivers/memfs. Locks: the holder's; taken under the tree's. Source: FSCTL_LOCK_VOLUME page; rules NT-S-02, NT-S-16.

use crate::backing::Change;
use crate::node::{Node, Units, open_any};
use crate::shorts::ShortNames;
use nt_abi::io::FILE_OBJECT;
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;
use nt_fsrtl::notify::Notifier;
use nt_fsrtl::tunnel::{Tunnel, Tunneled, now};
use nt_ke::Mutex;
use nt_rtl::cases;
use nt_trace::rule;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What the opens of a volume share.
#[derive(Default)]
pub(crate) struct Mount {
    /// Counts dismounts: an open of an earlier mount is dead.
    generation: AtomicU64,
    state: Mutex<State>,
    /// Who watches which directory.
    pub(crate) changes: Notifier,
    /// Whether names are tunnelled, and what of (NT-REN-37).
    tunnelling: AtomicBool,
    tunnel: Tunnel,
    /// The short names beside the long ones, where there are any.
    pub(crate) shorts: ShortNames,
    /// The volume takes no change (NT-S-03).
    protected: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Opens with a handle.
    opens: u64,
    /// The file object that locked the volume.
    holder: Option<u64>,
}

impl Mount {
    pub(crate) fn set_tunnelling(&self, on: bool) {
        self.tunnelling.store(on, Ordering::Relaxed);
    }

    /// The volume takes no change from now on; ACCESS_DENIED while anything is open on it.
    pub(crate) fn protect(&self) -> NtResult<()> {
        let state = self.state.lock();
        if state.opens != 0 {
            return NtStatus::ACCESS_DENIED.fail();
        }
        self.protected.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Is the volume write-protected?
    pub(crate) fn is_protected(&self) -> bool {
        self.protected.load(Ordering::Relaxed)
    }

    /// What is remembered of a file whose name is about to go, when names are tunnelled: its creation time.
    pub(crate) fn remembered(&self, file: &Node) -> Option<i64> {
        let tunnels = self.tunnelling.load(Ordering::Relaxed) && !file.is_directory();
        tunnels.then(|| file.object.meta().ok())?.map(|meta| meta.created)
    }

    /// The name has gone; `by_short`: whoever took it away had opened the file by its short name.
    pub(crate) fn name_went(&self, remembered: Option<i64>, parent: &Node, name: &[u16], by_short: bool) {
        let short = self.shorts.went(parent, name);
        if let Some(created) = remembered {
            let by_short = by_short && short.is_some();
            let (short, data) = (short.unwrap_or_default(), created.to_le_bytes().to_vec());
            self.tunnel.add(now(), parent.id(), by_short, Tunneled { short, long: name.to_vec(), data });
        }
    }

    /// A directory has gone: its identifier may become another's.
    pub(crate) fn directory_went(&self, directory: &Node) {
        if directory.is_directory() {
            self.tunnel.forget(directory.id());
            self.shorts.forget(directory);
        }
    }

    /// The name that a file gets which is made as `asked`: where a file lost this short name a moment ago, its long one.
    pub(crate) fn name_for(&self, parent: &Node, asked: &[u16]) -> NtResult<Option<Units>> {
        if !self.shorts.is_on() || !self.tunnelling.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let found = self.tunnel.find(now(), parent.id(), asked).filter(|found| cases::equal(&found.short, asked, true));
        let Some(found) = found else { return Ok(None) };
        Ok(if parent.directory()?.child(&found.long, false)?.is_none() { Some(found.long) } else { None })
    }

    /// A file that was to be named as `asked` has a new name: creation time and short name of the one that lost it a moment
    /// ago are its own now. Where the volume cannot keep them the file is there all the same.
    pub(crate) fn name_came(&self, parent: &Node, name: &[u16], asked: &[u16], file: &Node) {
        let tunnels = self.tunnelling.load(Ordering::Relaxed) && !file.is_directory();
        let found = if tunnels { self.tunnel.find(now(), parent.id(), asked) } else { None };
        if let Some(found) = &found {
            rule!(NT_REN_37);
            let created = found.data.first_chunk().map(|bytes| i64::from_le_bytes(*bytes));
            let _file_is_there = file.object.change(&Change { created, ..Change::default() });
        }
        let _file_is_there = self.shorts.came(parent, name, found.as_ref().map(|found| found.short.as_slice()));
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// A create is under way: none succeeds on a locked volume.
    pub(crate) fn enter(&self) -> NtResult<()> {
        let mut state = self.state.lock();
        if state.holder.is_some() {
            return NtStatus::ACCESS_DENIED.fail();
        }
        state.opens += 1;
        Ok(())
    }

    /// The last handle of a file object went: its lock goes with it.
    pub(crate) fn leave(&self, file: Option<Foreign<FILE_OBJECT>>) {
        let mut state = self.state.lock();
        state.opens -= 1;
        if file.is_some_and(|file| state.holder == Some(file.addr())) {
            state.holder = None;
        }
    }

    pub(crate) fn locked_by(&self, file: Foreign<FILE_OBJECT>) -> bool {
        self.state.lock().holder == Some(file.addr())
    }

    /// Locks the volume for one file object, if nothing else is open on it.
    pub(crate) fn lock(&self, file: Foreign<FILE_OBJECT>) -> NtResult<()> {
        let mut state = self.state.lock();
        if state.holder.is_some() || state.opens > 1 {
            return NtStatus::ACCESS_DENIED.fail();
        }
        state.holder = Some(file.addr());
        Ok(())
    }

    pub(crate) fn unlock(&self, file: Foreign<FILE_OBJECT>) -> NtResult<()> {
        let mut state = self.state.lock();
        if state.holder != Some(file.addr()) {
            return NtStatus::NOT_LOCKED.fail();
        }
        state.holder = None;
        Ok(())
    }

    pub(crate) fn dismount(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Was the volume dismounted under this open?
    pub(crate) fn refuses(&self, file: Foreign<FILE_OBJECT>) -> bool {
        open_any(file).map_or(true, |open| open.generation != self.generation())
    }
}
