//! One operation on its way through the instances of a volume.
//!
//! Room: drivers/fltmgr. IRQL: as callbacks. Locks: the operation's own state, never held while a callback runs.
//! Source: fltmgr.md section 4; rules FLT-O-01 to FLT-O-24, FLT-D-03, FLT-D-04.

use crate::data::{self, BLOCK, CallbackData, Snapshot};
use crate::deferred::StatusRequest;
use crate::filter::Instance;
use crate::teardown::Listed;
use crate::volume::Volume;
use nt_abi::flt::*;
use nt_abi::io::{FILE_OBJECT, FO_VOLUME_OPEN, IRP_MJ_READ, IRP_MJ_WRITE, IRP_NOCACHE, IRP_PAGING_IO};
use nt_abi::mm::MDL;
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Foreign, Slab, callout};
use nt_ex::pool;
use nt_io::irp::{IoStatus, Irp};
use nt_io::observe::Hop;
use nt_io::system::System;
use nt_ke::{Kernel, Mutex};
use nt_trace::rule;
use std::sync::atomic::Ordering;
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

/// How the pre callbacks ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PreEnd {
    /// All have run: the request goes down.
    Down,
    /// A filter completed it.
    Completed,
    /// A filter refused fast I/O.
    Disallowed,
    /// A filter holds it.
    Pended,
}

/// How the post callbacks ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PostEnd {
    /// All have run.
    Done,
    /// A filter holds it.
    Held,
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

    fn is_packet(&self) -> bool {
        !matches!(self.origin, Origin::Fast | Origin::Notice)
    }

    /// Is it a query of a name that a filter may refuse by FLT_PREOP_DISALLOW_FSFILTER_IO?
    fn is_query_open(&self) -> bool {
        self.major() == IRP_MJ_QUERY_OPEN
    }

    fn skipped(&self, flags: u32) -> bool {
        let data = self.data();
        let transfer = matches!(data.major(), IRP_MJ_READ | IRP_MJ_WRITE);
        let irp_flags = data.irp_flags();
        let paging = irp_flags & IRP_PAGING_IO != 0;
        let noncached = irp_flags & IRP_NOCACHE != 0;
        let volume_open = data.file().is_some_and(|file| file.get(FILE_OBJECT::Flags) & FO_VOLUME_OPEN != 0);
        (flags & FLTFL_OPERATION_REGISTRATION_SKIP_PAGING_IO != 0 && transfer && !self.is_fast() && paging)
            || (flags & FLTFL_OPERATION_REGISTRATION_SKIP_CACHED_IO != 0 && transfer && (self.is_fast() || !noncached))
            || (flags & FLTFL_OPERATION_REGISTRATION_SKIP_NON_CACHED_NON_PAGING_IO != 0
                && transfer
                && !self.is_fast()
                && noncached
                && !paging)
            || (flags & FLTFL_OPERATION_REGISTRATION_SKIP_NON_DASD_IO != 0 && !volume_open)
    }

    fn show(&self, instance: &Instance) {
        self.show_on(self.block, instance);
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

    fn hop(&self, instance: &Instance, post: bool, started: Option<u64>, verdict: &str) {
        let Some(started) = started else { return };
        let nanoseconds = self.kernel.clock.nanoseconds() - started;
        System::of(&self.kernel).observer(|observer| {
            let hop =
                Hop { filter: &instance.filter.name, altitude: instance.altitude.text(), post, nanoseconds, verdict };
            observer.hop(self.span, &hop);
        });
    }

    fn clock(&self) -> Option<u64> {
        (self.span != 0).then(|| self.kernel.clock.nanoseconds())
    }

    fn call_pre(&self, instance: &Instance, operation: crate::filter::Operation) -> (u32, u64) {
        let data = self.block.at(BLOCK::Data);
        data.and32(FLT_CALLBACK_DATA::Flags, !FLTFL_CALLBACK_DATA_DIRTY);
        self.block.set(BLOCK::Context, 0);
        if let Some(native) = &instance.filter.native {
            return native.pre_operation(self.data()).told(self.data());
        }
        let Some(pre) = operation.pre else { return (FLT_PREOP_SUCCESS_WITH_CALLBACK, 0) };
        let arguments =
            [data.addr(), self.block.at(BLOCK::Related).addr(), self.block.addr() + BLOCK::Context.offset() as u64];
        match callout::call(pre, &arguments) {
            Ok(answer) => (answer as u32, self.block.get(BLOCK::Context)),
            Err(raised) => {
                self.finding("FLT-V-01", instance, &format!("the pre callback raised {}", raised.status));
                data::set_status(self.block, IoStatus::new(raised.status, 0));
                (FLT_PREOP_COMPLETE, 0)
            }
        }
    }

    /// Runs pre callbacks from the next instance on.
    pub(crate) fn run_pre(&self) -> PreEnd {
        let major = usize::from(self.data().major());
        loop {
            let index = {
                let mut state = self.state.lock();
                let index = state.next;
                state.next += 1;
                index
            };
            let Some(instance) = self.instances.get(index) else { return PreEnd::Down };
            let Some(operation) = instance.filter.operations[major] else { continue };
            if instance.going.load(Ordering::Acquire) {
                continue;
            }
            if self.skipped(operation.flags) {
                rule!(FLT_O_03);
                continue;
            }
            self.show(instance);
            let seen = data::snapshot(self.block);
            let started = self.clock();
            let (answer, context) = self.call_pre(instance, operation);
            let has_post = instance.filter.native.is_some() || operation.post.is_some();
            self.hop(instance, false, started, verdict(answer));
            match self.judge(index, instance, answer, context, seen, has_post) {
                None => {}
                Some(end) => return end,
            }
        }
    }

    fn judge(
        &self,
        index: usize,
        instance: &Instance,
        answer: u32,
        context: u64,
        seen: Snapshot,
        has_post: bool,
    ) -> Option<PreEnd> {
        let mut answer = answer;
        if !self.is_packet() && answer == FLT_PREOP_PENDING {
            self.finding("FLT-O-09", instance, "FLT_PREOP_PENDING for an operation that is no IRP");
            data::set_status(self.block, IoStatus::new(NtStatus::INVALID_DEVICE_REQUEST, 0));
            answer = FLT_PREOP_COMPLETE;
        }
        if !self.is_fast() && answer == FLT_PREOP_DISALLOW_FASTIO {
            self.finding("FLT-O-09", instance, "FLT_PREOP_DISALLOW_FASTIO for an operation that is no fast I/O");
            answer = FLT_PREOP_SUCCESS_NO_CALLBACK;
        }
        if !self.is_query_open() && answer == FLT_PREOP_DISALLOW_FSFILTER_IO {
            self.finding(
                "FLT-O-09",
                instance,
                "FLT_PREOP_DISALLOW_FSFILTER_IO for another operation than IRP_MJ_QUERY_OPEN",
            );
            answer = FLT_PREOP_SUCCESS_NO_CALLBACK;
        }
        match answer {
            FLT_PREOP_SUCCESS_WITH_CALLBACK | FLT_PREOP_SYNCHRONIZE | FLT_PREOP_SUCCESS_NO_CALLBACK => {
                let wants_post = answer != FLT_PREOP_SUCCESS_NO_CALLBACK;
                let swapped = self.settle(seen);
                let posted = !(wants_post && has_post);
                if !posted {
                    instance.owed.fetch_add(1, Ordering::AcqRel);
                }
                let mut state = self.state.lock();
                if answer == FLT_PREOP_SYNCHRONIZE {
                    rule!(FLT_O_15);
                    state.synchronize = true;
                }
                state.passed.push(Passed { index, context, seen, posted, swapped });
                None
            }
            FLT_PREOP_PENDING => {
                self.mark();
                instance.held.fetch_add(1, Ordering::AcqRel);
                let resumed = {
                    let mut state = self.state.lock();
                    state.holder = Some(index);
                    state.passed.push(Passed { index, context: 0, seen, posted: true, swapped: false });
                    match std::mem::replace(&mut state.parked, Parked::Pre) {
                        Parked::Resumed(status, context) => {
                            state.parked = Parked::No;
                            Some((status, context))
                        }
                        _ => None,
                    }
                };
                let (status, context) = match resumed {
                    None => return Some(PreEnd::Pended),
                    Some(resumed) => resumed,
                };
                self.resume_verdict(status, context)
            }
            FLT_PREOP_COMPLETE => {
                rule!(FLT_O_06);
                self.settle(seen);
                Some(PreEnd::Completed)
            }
            FLT_PREOP_DISALLOW_FASTIO | FLT_PREOP_DISALLOW_FSFILTER_IO => {
                rule!(FLT_O_10);
                data::set_status(self.block, IoStatus::new(NtStatus::FLT_DISALLOW_FAST_IO, 0));
                Some(PreEnd::Disallowed)
            }
            other => {
                self.finding(
                    "FLT-V-01",
                    instance,
                    &format!("the pre callback returned {other:#x}, which means nothing"),
                );
                self.settle(seen);
                self.state.lock().passed.push(Passed { index, context: 0, seen, posted: true, swapped: false });
                None
            }
        }
    }

    /// Applies what a filter that held the operation decided: FLT-O-12.
    fn resume_verdict(&self, status: u32, context: u64) -> Option<PreEnd> {
        rule!(FLT_O_12);
        let mut state = self.state.lock();
        let holder = state.holder.take();
        let last = state.passed.last_mut()?;
        let seen = last.seen;
        let instance = self.instances.get(last.index)?;
        if holder.is_some() {
            instance.held.fetch_sub(1, Ordering::AcqRel);
        }
        match status {
            FLT_PREOP_SUCCESS_WITH_CALLBACK => {
                last.posted = false;
                last.context = context;
                instance.owed.fetch_add(1, Ordering::AcqRel);
            }
            FLT_PREOP_SUCCESS_NO_CALLBACK => {}
            _ => {
                drop(state);
                if status != FLT_PREOP_COMPLETE {
                    data::set_status(self.block, IoStatus::new(NtStatus::INVALID_PARAMETER, 0));
                }
                return Some(PreEnd::Completed);
            }
        }
        drop(state);
        let swapped = self.settle(seen);
        if let Some(last) = self.state.lock().passed.last_mut() {
            last.swapped = swapped;
        }
        None
    }

    /// FltCompletePendedPreOperation: `None` when the callback has not returned yet, else how the rest ended.
    pub(crate) fn resume_pre(&self, status: u32, context: u64) -> Option<PreEnd> {
        {
            let mut state = self.state.lock();
            match state.parked {
                Parked::Pre => state.parked = Parked::No,
                _ => {
                    state.parked = Parked::Resumed(status, context);
                    return None;
                }
            }
        }
        match self.resume_verdict(status, context) {
            Some(end) => Some(end),
            None => Some(self.run_pre()),
        }
    }

    /// FLT-D-03: changed parameters count only with the dirty bit; FLT-D-05: some never.
    /// Returns whether the buffer is another one now.
    fn settle(&self, seen: Snapshot) -> bool {
        let data = self.block.at(BLOCK::Data);
        let dirty = data.get(FLT_CALLBACK_DATA::Flags) & FLTFL_CALLBACK_DATA_DIRTY != 0;
        let mut state = self.state.lock();
        if dirty {
            let mut now = data::snapshot(self.block);
            // MajorFunction and Reserved are read-only; the flags word in front of them is not.
            let fixed = 0xFF00_00FF_0000_0000_u64;
            now[0] = (now[0] & !fixed) | (seen[0] & fixed);
            now[2] = seen[2];
            if now != seen {
                rule!(FLT_D_03);
                rule!(FLT_D_04); // its own post and those above see the former values
            }
            state.changed |= now != seen;
            state.effective = now;
        }
        data::restore(self.block, &state.effective);
        dirty && crate::parameters::buffer_words(self.block).any(|word| state.effective[word] != seen[word])
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

    /// Runs post callbacks from the lowest instance up; a filter that holds the operation stops it.
    pub(crate) fn run_post(&self) -> PostEnd {
        let data = self.block.at(BLOCK::Data);
        data.or32(FLT_CALLBACK_DATA::Flags, FLTFL_CALLBACK_DATA_POST_OPERATION);
        let major = usize::from(self.data().major());
        loop {
            let Some(passed) = ({
                let mut state = self.state.lock();
                loop {
                    match state.passed.pop() {
                        Some(passed) if passed.posted => {}
                        other => break other,
                    }
                }
            }) else {
                return PostEnd::Done;
            };
            let Some(instance) = self.instances.get(passed.index) else { continue };
            data::restore(self.block, &passed.seen);
            self.show(instance);
            let started = self.clock();
            let post = instance.filter.operations[major].and_then(|operation| operation.post);
            let answer = match (&instance.filter.native, post) {
                (Some(native), _) => native.post_operation(self.data(), passed.context).told(),
                (None, Some(post)) => {
                    let arguments = [data.addr(), self.block.at(BLOCK::Related).addr(), passed.context, 0];
                    match callout::call(post, &arguments) {
                        Ok(answer) => answer as u32,
                        Err(raised) => {
                            self.finding("FLT-V-01", instance, &format!("the post callback raised {}", raised.status));
                            FLT_POSTOP_FINISHED_PROCESSING
                        }
                    }
                }
                (None, None) => FLT_POSTOP_FINISHED_PROCESSING,
            };
            self.hop(instance, true, started, post_verdict(answer));
            if answer == FLT_POSTOP_DISALLOW_FSFILTER_IO && self.is_query_open() {
                data::set_status(self.block, IoStatus::new(NtStatus::FLT_DISALLOW_FAST_IO, 0));
            }
            let more = answer == FLT_POSTOP_MORE_PROCESSING_REQUIRED;
            if more && !self.is_packet() {
                self.finding("FLT-O-17", instance, "MORE_PROCESSING_REQUIRED for an operation that is no IRP");
            }
            if !more || !self.is_packet() {
                instance.owed.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            self.mark();
            instance.held.fetch_add(1, Ordering::AcqRel);
            instance.owed.fetch_sub(1, Ordering::AcqRel);
            let mut state = self.state.lock();
            if matches!(state.parked, Parked::Resumed(..)) {
                state.parked = Parked::No;
                instance.held.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            rule!(FLT_O_16);
            state.parked = Parked::Post;
            state.holder = Some(passed.index);
            drop(state);
            self.list();
            return PostEnd::Held;
        }
    }

    /// FltCompletePendedPostOperation: `None` when the callback has not returned yet.
    pub(crate) fn resume_post(&self) -> Option<PostEnd> {
        {
            let mut state = self.state.lock();
            match state.parked {
                Parked::Post => state.parked = Parked::No,
                _ => {
                    state.parked = Parked::Resumed(0, 0);
                    return None;
                }
            }
            if let Some(instance) = state.holder.take().and_then(|index| self.instances.get(index)) {
                instance.held.fetch_sub(1, Ordering::AcqRel);
            }
        }
        Some(self.run_post())
    }
}

fn post_verdict(answer: u32) -> &'static str {
    match answer {
        FLT_POSTOP_MORE_PROCESSING_REQUIRED => "MORE_PROCESSING_REQUIRED",
        FLT_POSTOP_DISALLOW_FSFILTER_IO => "DISALLOW_FSFILTER_IO",
        _ => "FINISHED",
    }
}

fn verdict(answer: u32) -> &'static str {
    match answer {
        FLT_PREOP_SUCCESS_WITH_CALLBACK => "SUCCESS_WITH_CALLBACK",
        FLT_PREOP_SUCCESS_NO_CALLBACK => "SUCCESS_NO_CALLBACK",
        FLT_PREOP_PENDING => "PENDING",
        FLT_PREOP_DISALLOW_FASTIO => "DISALLOW_FASTIO",
        FLT_PREOP_DISALLOW_FSFILTER_IO => "DISALLOW_FSFILTER_IO",
        FLT_PREOP_COMPLETE => "COMPLETE",
        FLT_PREOP_SYNCHRONIZE => "SYNCHRONIZE",
        _ => "INVALID",
    }
}
