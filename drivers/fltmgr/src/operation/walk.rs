//! An operation's way through the instances of its volume: pre callbacks down, post callbacks up, and the stops on it.
//!
//! Room: drivers/fltmgr. Called by: `dispatch`, `generated`, `notice`. Calls: filters. IRQL: as callbacks. Locks: the operation's
//! state, never held while a callback runs. Source: fltmgr.md section 4; rules FLT-O-01 to FLT-O-24, FLT-D-03, FLT-D-04.

use super::{Operation, Origin, Parked, Passed};
use crate::data::{self, BLOCK, Snapshot};
use crate::filter::Instance;
use nt_abi::NtStatus;
use nt_abi::flt::*;
use nt_abi::io::{FILE_OBJECT, FO_VOLUME_OPEN, IRP_MJ_READ, IRP_MJ_WRITE, IRP_NOCACHE, IRP_PAGING_IO};
use nt_cell::callout;
use nt_io::irp::IoStatus;
use nt_io::observe::Hop;
use nt_io::system::System;
use nt_trace::rule;
use std::sync::atomic::Ordering;

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

impl Operation {
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
