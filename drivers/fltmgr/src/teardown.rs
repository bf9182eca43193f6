//! The end of instances, filters and volumes: outstanding operations are drained, contexts go, what was left is told.
//!
//! Room: drivers/fltmgr. Called by: `filter`, `manual`, `exports`, machines. IRQL: PASSIVE_LEVEL. Locks: the table of pended
//! operations, one operation's state; none while a routine of a filter runs.
//! Source: InstanceTeardownStart/Complete, FltUnregisterFilter, PFLT_FILTER_UNLOAD_CALLBACK pages; rules FLT-I-09 to FLT-I-12,
//! FLT-O-19, FLT-R-10 to FLT-R-13, FLT-D-10, FLT-V-08, FLT-V-15.

use crate::context;
use crate::data::{self, BLOCK, CallbackData};
use crate::dispatch;
use crate::filter::{Filter, FltMgr, Instance, related, unbind};
use crate::operation::{Held, Operation, Parked, Passed};
use crate::volume::Volume;
use nt_abi::flt::*;
use nt_abi::{NtResult, NtStatus};
use nt_cell::{CodePtr, callout};
use nt_ex::pool;
use nt_io::system::System;
use nt_ke::{Mode, Mutex, wait};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// Operations of a volume that somebody holds or that are pended below: a teardown looks them up here.
#[derive(Default)]
pub(crate) struct Pended {
    table: Mutex<HashMap<u64, Weak<Operation>>>,
}

/// An operation's own part in the table.
#[derive(Default)]
pub(crate) struct Listed {
    listed: AtomicBool,
    over: AtomicBool,
}

impl Pended {
    /// Lists an operation. One that is over meanwhile is not kept.
    pub(crate) fn list(&self, operation: &Arc<Operation>) {
        let mark = &operation.listed;
        if mark.listed.swap(true, Ordering::SeqCst) {
            return;
        }
        self.table.lock().insert(operation.key, Arc::downgrade(operation));
        if mark.over.load(Ordering::SeqCst) {
            self.table.lock().remove(&operation.key);
        }
    }

    /// The operation is over.
    pub(crate) fn forget(&self, operation: &Operation) {
        let mark = &operation.listed;
        mark.over.store(true, Ordering::SeqCst);
        if mark.listed.load(Ordering::SeqCst) {
            self.table.lock().remove(&operation.key);
        }
    }

    fn all(&self) -> Vec<Arc<Operation>> {
        self.table.lock().values().filter_map(Weak::upgrade).collect()
    }
}

impl Operation {
    /// Does this instance's filter hold the operation?
    pub(crate) fn held_by(&self, instance: &Arc<Instance>) -> Option<Held> {
        let state = self.state.lock();
        let holder = self.instances.get(state.holder?)?;
        if !Arc::ptr_eq(holder, instance) {
            return None;
        }
        match state.parked {
            Parked::Pre => Some(Held::Pre),
            Parked::Post => Some(Held::Post),
            _ => None,
        }
    }

    /// FLT-O-19: the posts that `instance` is still owed are called now, with a copy of the data and DRAINING.
    pub(crate) fn drain(&self, instance: &Arc<Instance>) {
        loop {
            let taken = {
                let mut state = self.state.lock();
                let own = |passed: &&mut Passed| {
                    let there = self.instances.get(passed.index);
                    !passed.posted && !passed.swapped && there.is_some_and(|each| Arc::ptr_eq(each, instance))
                };
                state.passed.iter_mut().find(own).map(|passed| {
                    passed.posted = true;
                    *passed
                })
            };
            let Some(passed) = taken else { return };
            if let Ok(copy) = data::copy(self.block, &passed.seen) {
                self.show_on(copy, instance);
                let operation = instance.filter.operations[usize::from(self.major())];
                let answer = match (&instance.filter.native, operation.and_then(|operation| operation.post)) {
                    (Some(native), _) => native.post_operation(CallbackData::new(copy), passed.context).told(),
                    (None, Some(post)) => {
                        let data = copy.at(BLOCK::Data).addr();
                        let related = copy.at(BLOCK::Related).addr();
                        let flags = u64::from(FLTFL_POST_OPERATION_DRAINING);
                        callout::call(post, &[data, related, passed.context, flags]).unwrap_or(0) as u32
                    }
                    (None, None) => FLT_POSTOP_FINISHED_PROCESSING,
                };
                if answer != FLT_POSTOP_FINISHED_PROCESSING {
                    self.finding("FLT-V-15", instance, "a draining post callback must return FINISHED_PROCESSING");
                }
                copy.set(BLOCK::Mark, 0);
                pool::free(copy);
            }
            instance.owed.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// How many turns of a millisecond a teardown waits for a filter that still holds an operation.
const TURNS: u32 = 1000;

/// Calls back the posts that an instance still owes, and waits for what cannot be called back (FLT-O-19, FLT-D-10).
fn drain(instance: &Arc<Instance>, volume: &Volume) {
    let frame = nt_ke::current();
    for turn in 0.. {
        for operation in volume.pended.all() {
            operation.drain(instance);
        }
        let (owed, held) = (instance.owed.load(Ordering::Acquire), instance.held.load(Ordering::Acquire));
        if owed == 0 && held == 0 {
            return;
        }
        if turn == TURNS && held != 0 {
            free_held(instance, volume);
        }
        if turn == 5 * TURNS {
            let text = format!("{owed} post callback(s) are still owed and cannot be drained: the teardown goes on");
            System::of(&frame.kernel).finding("FLT-V-08", "violation", instance.filter.name(), &text);
            return;
        }
        let _slept = wait::delay(&frame, Mode::Kernel, false, -10_000);
    }
}

/// FLT-V-08: what the filter never resumed goes on without it.
fn free_held(instance: &Arc<Instance>, volume: &Volume) {
    for operation in volume.pended.all() {
        let Some(held) = operation.held_by(instance) else { continue };
        let what = match held {
            Held::Pre => "pended in its pre callback",
            Held::Post => "held in its post callback",
        };
        let text = format!("an operation of major {:#x} was {what} and never resumed", operation.major());
        System::of(&operation.kernel).finding("FLT-V-08", "violation", instance.filter.name(), &text);
        match held {
            Held::Pre => dispatch::resume_pre(&operation, FLT_PREOP_SUCCESS_NO_CALLBACK, 0),
            Held::Post => dispatch::resume_post(&operation),
        }
    }
}

impl FltMgr {
    /// Takes an instance off its volume: TeardownStart, drain, TeardownComplete, contexts (FLT-I-10).
    pub fn tear_down(&self, instance: &Arc<Instance>, reason: u32) {
        if instance.going.swap(true, Ordering::AcqRel) {
            return;
        }
        let Some(volume) = instance.volume.upgrade() else { return };
        let call = |routine: Option<CodePtr>| {
            if let Some(routine) = routine
                && let Ok(related) = related(instance, &volume)
            {
                let _raised = callout::call(routine, &[related.addr(), u64::from(reason)]);
                pool::free(related);
            }
        };
        let native = instance.filter.native.as_ref();
        call(instance.filter.routines.teardown_start);
        if let Some(native) = native {
            native.teardown_start(instance, reason);
        }
        drain(instance, &volume);
        volume.remove(instance);
        call(instance.filter.routines.teardown_complete);
        if let Some(native) = native {
            native.teardown_complete(instance, reason);
        }
        instance.gone.store(true, Ordering::Release);
        context::drop_instance(instance, &volume);
        unbind(&instance.object);
    }

    /// FltUnregisterFilter: tears every instance down, takes contexts away, forgets the filter (FLT-R-12).
    pub fn unregister(&self, filter: &Arc<Filter>) {
        filter.going.store(true, Ordering::Release);
        let ports = std::mem::take(&mut *filter.ports.lock());
        for port in ports {
            port.end(&nt_ke::current());
        }
        let reason = if filter.mandatory.load(Ordering::Acquire) {
            FLTFL_INSTANCE_TEARDOWN_MANDATORY_FILTER_UNLOAD
        } else {
            FLTFL_INSTANCE_TEARDOWN_FILTER_UNLOAD
        };
        for volume in self.volumes() {
            for instance in volume.instances().iter().filter(|instance| Arc::ptr_eq(&instance.filter, filter)) {
                self.tear_down(instance, reason);
            }
            context::drop_volume(filter, &volume);
        }
        if let (false, Some(kernel)) = (filter.live.lock().is_empty(), filter.kernel.upgrade()) {
            kernel.work.drain(); // a release at DISPATCH_LEVEL frees in a worker
        }
        context::force_out(filter);
        self.filters.write().retain(|each| !Arc::ptr_eq(each, filter));
        unbind(&filter.object);
    }

    /// FltUnloadFilter, or the stop of the service: the filter may refuse (FLT-R-13).
    pub fn unload(&self, filter: &Arc<Filter>) -> NtResult<()> {
        if filter.flags & FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP != 0 {
            return NtStatus::FLT_DO_NOT_DETACH.fail();
        }
        let status = match (&filter.native, filter.routines.unload) {
            (Some(native), _) => native.unload(false),
            (None, None) => NtStatus::FLT_DO_NOT_DETACH,
            (None, Some(routine)) => {
                let answer = callout::call(routine, &[0]);
                answer.map_or_else(|raised| raised.status, |status| NtStatus(status as u32))
            }
        };
        if !status.is_success() {
            return status.fail();
        }
        if self.filters().iter().any(|each| Arc::ptr_eq(each, filter)) {
            self.unregister(filter);
        }
        Ok(())
    }

    /// The volume is dismounted: its instances go with it, whether or not they like it.
    pub fn dismount(&self, volume: &Arc<Volume>) {
        for instance in volume.instances().iter() {
            self.tear_down(instance, FLTFL_INSTANCE_TEARDOWN_VOLUME_DISMOUNT);
        }
        volume.contexts.lock().clone().drop_all();
        self.volumes.write().retain(|each| !Arc::ptr_eq(each, volume));
        unbind(&volume.object);
        volume.forget();
    }

    /// Ends everything: the machine is shut down.
    pub fn shutdown(&self) {
        for filter in self.filters() {
            self.unregister(&filter);
        }
        for volume in self.volumes() {
            self.dismount(&volume);
        }
    }
}
