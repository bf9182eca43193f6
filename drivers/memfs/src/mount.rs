//! The life of a mount: which opens belong to it, who locked the volume.
//!
//! Room: drivers/memfs. Locks: the holder's; taken under the tree's. Source: FSCTL_LOCK_VOLUME page; rules NT-S-02, NT-S-16.

use crate::node::open_any;
use nt_abi::io::FILE_OBJECT;
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;
use nt_fsrtl::notify::Notifier;
use nt_ke::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the opens of a volume share.
#[derive(Default)]
pub(crate) struct Mount {
    /// Counts dismounts: an open of an earlier mount is dead.
    generation: AtomicU64,
    state: Mutex<State>,
    /// Who watches which directory.
    pub(crate) changes: Notifier,
}

#[derive(Default)]
struct State {
    /// Opens with a handle.
    opens: u64,
    /// The file object that locked the volume.
    holder: Option<u64>,
}

impl Mount {
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
