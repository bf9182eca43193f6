//! One operation of a volume: what it is, and how far it has come.
//!
//! Room: drivers/fltmgr. IRQL: as callbacks. Locks: the operation's own state, never held while a callback runs.
//! Source: fltmgr.md section 4; rules FLT-D-08 to FLT-D-11, FLT-D-15. Its way through the instances is `walk`.

mod walk;

pub(crate) use walk::{PostEnd, PreEnd};

use crate::data::{self, BLOCK, CallbackData, Snapshot};
use crate::deferred::StatusRequest;
use crate::filter::Instance;
use crate::teardown::Listed;
use crate::volume::Volume;
use nt_abi::NtResult;
use nt_abi::flt::*;
use nt_abi::io::FILE_OBJECT;
use nt_abi::mm::MDL;
use nt_cell::{Foreign, Slab};
use nt_ex::pool;
use nt_io::irp::{IoStatus, Irp};
use nt_io::system::System;
use nt_ke::{Kernel, Mutex};
use std::sync::{Arc, LazyLock};

/// What a filter's own request does at its end.
pub(crate) type Finish = Box<dyn FnOnce(Foreign<BLOCK>, IoStatus) + Send>;

/// Where the operation came from.
pub(crate) enum Origin {
    /// A packet that arrived at our device.
    Packet,
    /// A fast I/O call.
    Fast,
    /// An FS-filter operation.
    Notice,
    /// A filter's own request: what happens at its end.
    Generated(Mutex<Option<Finish>>),
}

/// An operation.
pub(crate) struct Operation {
    pub(crate) key: u64,
    pub(crate) volume: Arc<Volume>,
    pub(crate) instances: Arc<Vec<Arc<Instance>>>,
    pub(crate) block: Foreign<BLOCK>,
    pub(crate) packet: Option<Irp>,
    pub(crate) origin: Origin,
    pub(crate) span: u64,
    pub(crate) kernel: Arc<Kernel>,
    /// The buffer, MDL and system buffer that the packet arrived with.
    pub(crate) original: Mutex<[u64; 3]>,
    /// The MDL that a filter put in the place of the packet's (FLT-D-08, FLT-D-09).
    pub(crate) swapped: Mutex<Option<Foreign<MDL>>>,
    /// What FltLockUserBuffer locked: it goes with the callback data (FLT-D-11).
    pub(crate) locked: Mutex<Vec<Foreign<MDL>>>,
    /// What a synchronized operation's own thread waits for.
    pub(crate) done: Mutex<Option<Arc<nt_io::event::LocalEvent>>>,
    /// Its part in the volume's table of pended operations.
    pub(crate) listed: Listed,
    /// FltSetCancelCompletion's routine.
    pub(crate) cancel: Mutex<Option<nt_cell::CodePtr>>,
    /// Who asked for the status that the drivers below return.
    pub(crate) watchers: Mutex<Vec<StatusRequest>>,
    pub(crate) state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    /// Instances passed, in the order of their pre callbacks: index, own post wanted, context, parameters it saw.
    pub(crate) passed: Vec<Passed>,
    /// The next instance whose pre callback runs.
    next: usize,
    /// The parameters in effect below.
    effective: Snapshot,
    changed: bool,
    pub(crate) parked: Parked,
    synchronize: bool,
    /// The packet was marked pending: the dispatch routine returns PENDING.
    marked: bool,
    /// The instance whose filter holds it.
    pub(crate) holder: Option<usize>,
}

#[derive(Clone, Copy)]
pub(crate) struct Passed {
    pub(crate) index: usize,
    pub(crate) context: u64,
    pub(crate) seen: Snapshot,
    pub(crate) posted: bool,
    /// The filter put another buffer in: its post must see the real end (FLT-D-10).
    pub(crate) swapped: bool,
}

#[derive(Default)]
pub(crate) enum Parked {
    #[default]
    No,
    /// A pre callback returned PENDING.
    Pre,
    /// A post callback returned MORE_PROCESSING_REQUIRED.
    Post,
    /// The resume came before the callback returned.
    Resumed(u32, u64),
}

/// In which callback a filter holds an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Held {
    /// It returned PENDING.
    Pre,
    /// It returned MORE_PROCESSING_REQUIRED.
    Post,
}

pub(crate) static OPERATIONS: LazyLock<Slab<Mutex<Option<Arc<Operation>>>>> = LazyLock::new(Slab::new);

/// Returns the operation of a block.
pub(crate) fn of_block(block: Foreign<BLOCK>) -> Option<Arc<Operation>> {
    by_key(block.get(BLOCK::Key))
}

/// Returns the operation of a key.
pub(crate) fn by_key(key: u64) -> Option<Arc<Operation>> {
    OPERATIONS.get(key)?.lock().clone()
}

impl Drop for Operation {
    fn drop(&mut self) {
        for mdl in self.swapped.lock().take().into_iter().chain(self.locked.lock().drain(..)) {
            nt_mm::mdl::release(mdl);
        }
        self.block.set(BLOCK::Mark, 0);
        pool::free(self.block);
    }
}

impl Operation {
    pub(crate) fn new(
        volume: &Arc<Volume>,
        kernel: &Arc<Kernel>,
        file: Option<Foreign<FILE_OBJECT>>,
        packet: Option<Irp>,
        origin: Origin,
        start: usize,
        span: u64,
    ) -> NtResult<Arc<Self>> {
        let key = OPERATIONS.insert(Mutex::new(None));
        let block = match data::allocate(key, file) {
            Ok(block) => block,
            Err(error) => {
                OPERATIONS.remove(key);
                return Err(error);
            }
        };
        let operation = Arc::new(Self {
            key,
            volume: Arc::clone(volume),
            instances: volume.instances(),
            block,
            packet,
            origin,
            span,
            kernel: Arc::clone(kernel),
            original: Mutex::new([0; 3]),
            swapped: Mutex::new(None),
            locked: Mutex::new(Vec::new()),
            done: Mutex::new(None),
            listed: Listed::default(),
            cancel: Mutex::new(None),
            watchers: Mutex::new(Vec::new()),
            state: Mutex::new(State { next: start, ..State::default() }),
        });
        if let Some(slot) = OPERATIONS.get(key) {
            *slot.lock() = Some(Arc::clone(&operation));
        }
        Ok(operation)
    }

    /// The operation is over: its key finds nothing any more.
    pub(crate) fn retire(&self) {
        self.volume.pended.forget(self);
        if let Some(slot) = OPERATIONS.get(self.key) {
            slot.lock().take();
        }
        OPERATIONS.remove(self.key);
    }

    /// The parameters are filled in: they are in effect.
    pub(crate) fn begin(&self) {
        self.state.lock().effective = data::snapshot(self.block);
    }

    pub(crate) fn data(&self) -> CallbackData {
        CallbackData::new(self.block)
    }

    pub(crate) fn major(&self) -> u8 {
        self.data().major()
    }

    pub(crate) fn is_fast(&self) -> bool {
        matches!(self.origin, Origin::Fast)
    }

    pub(crate) fn show_on(&self, block: Foreign<BLOCK>, instance: &Instance) {
        let iopb = block.at(BLOCK::Iopb);
        iopb.set_addr(FLT_IO_PARAMETER_BLOCK::TargetInstance, instance.pointer().addr());
        let related = block.at(BLOCK::Related);
        related.set_addr(FLT_RELATED_OBJECTS::Filter, instance.filter.pointer().addr());
        related.set_addr(FLT_RELATED_OBJECTS::Volume, self.volume.pointer().addr());
        related.set_addr(FLT_RELATED_OBJECTS::Instance, instance.pointer().addr());
        related.set_ptr(FLT_RELATED_OBJECTS::FileObject, iopb.ptr(FLT_IO_PARAMETER_BLOCK::TargetFileObject));
    }

    pub(crate) fn finding(&self, rule: &str, instance: &Instance, message: &str) {
        System::of(&self.kernel).finding(rule, "violation", &instance.filter.name, message);
    }

    /// Somebody will hold the packet: it is marked pending before anybody else can resume it.
    fn mark(&self) {
        if let (Some(packet), Origin::Packet) = (self.packet, &self.origin) {
            nt_io::irp::mark_pending(packet);
            self.state.lock().marked = true;
        }
    }

    pub(crate) fn marked(&self) -> bool {
        self.state.lock().marked
    }

    /// Returns whether the request below differs from the one that arrived.
    pub(crate) fn changed(&self) -> bool {
        self.state.lock().changed
    }

    pub(crate) fn synchronize(&self) -> bool {
        self.state.lock().synchronize
    }

    /// A teardown finds the operation from now on.
    pub(crate) fn list(&self) {
        if let Some(own) = by_key(self.key) {
            self.volume.pended.list(&own);
        }
    }
}
