//! What the Filter Manager remembers of the file objects of a volume: where their requests start, handle contexts, names.
//!
//! Room: drivers/fltmgr. Called by: `dispatch`, `calls`, `context`, `name`. IRQL: <= APC_LEVEL. Locks: the volume's table of
//! files, never held while a routine of a filter runs. Rules: FLT-G-08, FLT-G-09, FLT-C-13.
//! A file object is in the table only as long as there is something to remember of it; IRP_MJ_CLOSE takes it out.

use crate::altitude::Altitude;
use crate::context::Links;
use crate::filter::Instance;
use crate::name::Cached;
use crate::volume::Volume;
use nt_abi::io::{FILE_OBJECT, IRP_MJ_CLOSE, IRP_MJ_CREATE};
use nt_cell::Foreign;
use nt_io::info::class;
use nt_ke::Mutex;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One file object.
#[derive(Default)]
pub(crate) struct FileState {
    /// Requests for it start below this altitude: it was opened through an instance.
    pub(crate) below: Option<Altitude>,
    pub(crate) contexts: Links,
    pub(crate) names: Vec<Cached>,
}

impl FileState {
    fn is_empty(&self) -> bool {
        self.below.is_none() && self.contexts.is_empty() && self.names.is_empty()
    }
}

/// The file objects of one volume.
#[derive(Default)]
pub(crate) struct Files {
    table: Mutex<HashMap<u64, FileState>>,
    count: AtomicUsize,
}

impl Files {
    /// Looks at or changes what is remembered of a file; an entry that is empty afterwards goes.
    pub(crate) fn with<R>(&self, file: Foreign<FILE_OBJECT>, body: impl FnOnce(&mut FileState) -> R) -> R {
        let mut table = self.table.lock();
        let state = table.entry(file.addr()).or_default();
        let result = body(state);
        if state.is_empty() {
            table.remove(&file.addr());
        }
        self.count.store(table.len(), Ordering::Release);
        result
    }

    /// Is anything remembered of any file? One load, for the path of every request.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) != 0
    }

    /// Takes a file out.
    pub(crate) fn remove(&self, file: Foreign<FILE_OBJECT>) -> Option<FileState> {
        if !self.any() {
            return None;
        }
        let mut table = self.table.lock();
        let gone = table.remove(&file.addr());
        self.count.store(table.len(), Ordering::Release);
        gone
    }

    /// Changes every entry; those that are empty afterwards go.
    pub(crate) fn each(&self, mut body: impl FnMut(&mut FileState)) {
        if !self.any() {
            return;
        }
        let mut table = self.table.lock();
        for state in table.values_mut() {
            body(state);
        }
        table.retain(|_, state| !state.is_empty());
        self.count.store(table.len(), Ordering::Release);
    }
}

/// A create that this thread is about to send from below an instance.
struct Aimed {
    device: u64,
    below: Option<Altitude>,
    file: Option<Foreign<FILE_OBJECT>>,
}

/// Creates under way from below an instance, of all threads.
static AIMS: AtomicUsize = AtomicUsize::new(0);

/// Is some thread about to send a create from below an instance?
#[inline]
pub(crate) fn aiming() -> bool {
    AIMS.load(Ordering::Acquire) != 0
}

thread_local! {
    static AIMED: RefCell<Vec<Aimed>> = const { RefCell::new(Vec::new()) };
}

/// The create is under way.
pub(crate) struct Aim {
    volume: Arc<Volume>,
    below: Altitude,
}

impl Aim {
    /// The create met a reparse point and is sent again, with another file object: it starts where the first one did.
    pub(crate) fn again(&self) {
        let former = AIMED.with_borrow_mut(|stack| {
            let last = stack.last_mut()?;
            last.below = Some(self.below.clone());
            last.file.take()
        });
        if let Some(former) = former {
            let _gone = self.volume.gate.files.remove(former);
        }
    }

    /// The create is over; a file object that was not opened is forgotten.
    pub(crate) fn done(self, opened: bool) {
        let aimed = AIMED.with_borrow_mut(Vec::pop);
        AIMS.fetch_sub(1, Ordering::AcqRel);
        if let Some(file) = aimed.and_then(|aimed| aimed.file).filter(|_| !opened) {
            let _gone = self.volume.gate.files.remove(file);
        }
    }
}

impl Volume {
    /// The next create that this thread sends to our device starts below `instance` (FLT-G-08).
    pub(crate) fn aim(self: &Arc<Self>, instance: &Instance) -> Aim {
        let altitude = instance.altitude().clone();
        let below = Some(altitude.clone());
        AIMS.fetch_add(1, Ordering::AcqRel);
        AIMED.with_borrow_mut(|stack| stack.push(Aimed { device: self.device.addr(), below, file: None }));
        Aim { volume: Arc::clone(self), below: altitude }
    }

    /// The index of the first instance that sees a packet for `file`.
    pub(crate) fn first_for(&self, major: u8, file: Option<Foreign<FILE_OBJECT>>) -> usize {
        let Some(file) = file else { return 0 };
        let aimed = if major == IRP_MJ_CREATE { self.take_aim(file) } else { None };
        let below = match aimed {
            Some(below) => {
                self.gate.files.with(file, |state| state.below = Some(below.clone()));
                Some(below)
            }
            None if self.gate.files.any() => self.gate.files.with(file, |state| state.below.clone()),
            None => None,
        };
        let Some(below) = below else { return 0 };
        self.instances().iter().take_while(|each| each.altitude >= below).count()
    }

    fn take_aim(&self, file: Foreign<FILE_OBJECT>) -> Option<Altitude> {
        AIMED.with_borrow_mut(|stack| {
            let last = stack.last_mut().filter(|last| last.device == self.device.addr())?;
            let below = last.below.take()?;
            last.file = Some(file);
            Some(below)
        })
    }

    /// A packet goes to the file system: at IRP_MJ_CLOSE what hung on the file object goes too (FLT-C-13).
    pub(crate) fn leaving(&self, major: u8, file: Option<Foreign<FILE_OBJECT>>) {
        if let (IRP_MJ_CLOSE, Some(file)) = (major, file)
            && let Some(state) = self.gate.files.remove(file)
        {
            state.contexts.drop_all();
        }
    }

    /// A rename or link is done, or a short name set: what is remembered of names may be wrong now (FLT-N-06).
    pub(crate) fn renamed(&self, class: u32) {
        if matches!(class, class::RENAME | class::RENAME_EX | class::LINK | class::LINK_EX | class::SHORT_NAME) {
            let mut old = Vec::new();
            self.gate.files.each(|state| old.append(&mut state.names));
        }
    }
}
