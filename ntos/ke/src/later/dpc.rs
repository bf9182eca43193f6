//! Deferred procedure calls.
//!
//! Room: ntos/ke. IRQL: queued at any; a routine runs at DISPATCH_LEVEL, that of a threaded DPC at PASSIVE_LEVEL. Locks: the
//! queue's, never held while a routine runs. Source: KeInitializeDpc, KeInsertQueueDpc, KeRemoveQueueDpc, KeFlushQueuedDpcs,
//! KeSetImportanceDpc, KeInitializeThreadedDpc pages; rules NT-KR-01 to NT-KR-05.
//! A machine has one processor for DPCs: a host thread that runs them one after the other. Threaded ones have a thread of
//! their own. Both start with the first DPC.

use crate::context::{Mode, enter};
use crate::irql;
use crate::kernel::Kernel;
use crate::lock::{Condvar, Mutex};
use nt_abi::ke::{DpcObject, HighImportance, KDPC, MediumImportance, ThreadedDpcObject};
use nt_cell::{CodePtr, Foreign, callout};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

/// The DPC queues of one machine.
#[derive(Default)]
pub struct Dpcs {
    plain: Queue,
    threaded: Queue,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queued: VecDeque<Foreign<KDPC>>,
    thread: bool,
    running: bool,
    stop: bool,
}

/// KeInitializeDpc, KeInitializeThreadedDpc.
pub fn initialize(dpc: Foreign<KDPC>, routine: Option<CodePtr>, context: u64, threaded: bool) {
    dpc.set(KDPC::Type, if threaded { ThreadedDpcObject } else { DpcObject });
    dpc.set(KDPC::Importance, MediumImportance as u8);
    dpc.set(KDPC::Number, 0);
    dpc.set_code(KDPC::DeferredRoutine, routine);
    dpc.set_addr(KDPC::DeferredContext, context);
    dpc.set_addr(KDPC::DpcData, 0);
}

/// KeSetImportanceDpc.
pub fn set_importance(dpc: Foreign<KDPC>, importance: u32) {
    dpc.set(KDPC::Importance, importance as u8);
}

fn queue_of(kernel: &Kernel, dpc: Foreign<KDPC>) -> &Queue {
    if dpc.get(KDPC::Type) == ThreadedDpcObject { &kernel.dpcs.threaded } else { &kernel.dpcs.plain }
}

/// KeInsertQueueDpc: `false` when the DPC is queued already; then its arguments stay.
pub fn insert(kernel: &Arc<Kernel>, dpc: Foreign<KDPC>, first: u64, second: u64) -> bool {
    let queue = queue_of(kernel, dpc);
    let mut state = queue.state.lock();
    if state.stop || !dpc.set_ptr_if_null(KDPC::DpcData, dpc.view()) {
        return false;
    }
    dpc.set_addr(KDPC::SystemArgument1, first);
    dpc.set_addr(KDPC::SystemArgument2, second);
    if u32::from(dpc.get(KDPC::Importance)) == HighImportance {
        state.queued.push_front(dpc);
    } else {
        state.queued.push_back(dpc);
    }
    if !state.thread {
        let weak = Arc::downgrade(kernel);
        let threaded = dpc.get(KDPC::Type) == ThreadedDpcObject;
        let name = if threaded { "nt threaded dpc" } else { "nt dpc" };
        let spawned = nt_cell::sync::thread::Builder::new().name(name.into()).spawn(move || serve(&weak, threaded));
        state.thread = spawned.is_ok();
    }
    drop(state);
    queue.changed.notify_all();
    true
}

/// KeRemoveQueueDpc: whether the DPC was queued; it will not run then.
pub fn remove(kernel: &Kernel, dpc: Foreign<KDPC>) -> bool {
    let mut state = queue_of(kernel, dpc).state.lock();
    let Some(at) = state.queued.iter().position(|&each| each == dpc) else { return false };
    state.queued.remove(at);
    dpc.set_addr(KDPC::DpcData, 0);
    true
}

fn run(dpc: Foreign<KDPC>, arguments: [u64; 4], level: u8) {
    if let Some(routine) = dpc.code(KDPC::DeferredRoutine) {
        let _level = irql::at(level);
        // A routine that raises is an unhandled exception: the border has reported it.
        let _raised = callout::call(routine, &arguments);
    }
}

fn serve(weak: &Weak<Kernel>, threaded: bool) {
    let Some(kernel) = weak.upgrade() else { return };
    let thread = kernel.system_thread();
    let _entered = enter(&kernel, &thread, Mode::Kernel);
    let (queue, level) = match threaded {
        true => (&kernel.dpcs.threaded, irql::PASSIVE_LEVEL),
        false => (&kernel.dpcs.plain, irql::DISPATCH_LEVEL),
    };
    let mut state = queue.state.lock();
    loop {
        if let Some(dpc) = state.queued.pop_front() {
            let arguments = [
                dpc.addr(),
                dpc.addr_at(KDPC::DeferredContext),
                dpc.addr_at(KDPC::SystemArgument1),
                dpc.addr_at(KDPC::SystemArgument2),
            ];
            // The routine may free the DPC or queue it again: it is off the queue before it runs.
            dpc.set_addr(KDPC::DpcData, 0);
            state.running = true;
            drop(state);
            run(dpc, arguments, level);
            state = queue.state.lock();
            state.running = false;
            queue.changed.notify_all();
            continue;
        }
        if state.stop {
            state.thread = false;
            queue.changed.notify_all();
            return;
        }
        queue.changed.wait(&mut state);
    }
}

impl Queue {
    fn flush(&self) {
        let mut state = self.state.lock();
        while state.thread && (state.running || !state.queued.is_empty()) {
            self.changed.wait(&mut state);
        }
    }
    fn stop(&self) {
        let mut state = self.state.lock();
        state.stop = true;
        self.changed.notify_all();
        while state.thread {
            self.changed.wait(&mut state);
        }
    }
}

impl Dpcs {
    /// KeFlushQueuedDpcs: waits until nothing is queued or running. Not to be called from a DPC.
    pub fn flush(&self) {
        self.plain.flush();
        self.threaded.flush();
    }

    /// Runs what is queued and ends the threads.
    pub fn stop(&self) {
        self.plain.stop();
        self.threaded.stop();
    }
}
