//! Timers and deferred procedure calls.
//!
//! Room: ntos/ke. IRQL: <= DISPATCH_LEVEL; a DPC routine runs at DISPATCH_LEVEL. Locks: the timer list, never held while
//! a routine runs. Source: KeSetTimerEx, KeInitializeDpc pages. One host thread of the machine keeps the time.

use crate::context::{Mode, enter};
use crate::dispatcher::{self, kind};
use crate::irql;
use crate::kernel::Kernel;
use crate::lock::{Condvar, Mutex};
use crate::wait;
use nt_abi::ke::{DISPATCHER_HEADER, KDPC, KTIMER};
use nt_cell::{CodePtr, Foreign, callout};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// The timers of one machine.
#[derive(Default)]
pub struct Timers {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    armed: Vec<Armed>,
    running: bool,
    stop: bool,
}

struct Armed {
    timer: Foreign<KTIMER>,
    due: Instant,
    period: i32,
}

/// KeInitializeTimerEx: notification (0) or synchronization (1), not signalled.
pub fn initialize(timer: Foreign<KTIMER>, of_kind: u32) {
    let of_kind = if of_kind == 0 { kind::TIMER_NOTIFICATION } else { kind::TIMER_SYNCHRONIZATION };
    dispatcher::initialize_header(timer.at(KTIMER::Header), of_kind, 16, 0);
    timer.set_ptr(KTIMER::Dpc, None);
}

/// KeInitializeDpc.
pub fn initialize_dpc(dpc: Foreign<KDPC>, routine: Option<CodePtr>, context: u64) {
    dpc.set_code(KDPC::DeferredRoutine, routine);
    dpc.set_addr(KDPC::DeferredContext, context);
    dpc.set_addr(KDPC::DpcData, 0);
}

/// KeInsertQueueDpc: `false` when the DPC is queued already.
pub fn queue_dpc(kernel: &Arc<Kernel>, dpc: Foreign<KDPC>, first: u64, second: u64) -> bool {
    if !dpc.set_ptr_if_null(KDPC::DpcData, dpc.view()) {
        return false;
    }
    dpc.set_addr(KDPC::SystemArgument1, first);
    dpc.set_addr(KDPC::SystemArgument2, second);
    crate::work::WorkQueue::queue(kernel, move || run_dpc(dpc));
    true
}

fn run_dpc(dpc: Foreign<KDPC>) {
    let arguments = [
        dpc.addr(),
        dpc.addr_at(KDPC::DeferredContext),
        dpc.addr_at(KDPC::SystemArgument1),
        dpc.addr_at(KDPC::SystemArgument2),
    ];
    let routine = dpc.code(KDPC::DeferredRoutine);
    // The routine may free or queue the DPC again: it is off the queue before it runs.
    dpc.set_addr(KDPC::DpcData, 0);
    if let Some(routine) = routine {
        let _level = irql::at(irql::DISPATCH_LEVEL);
        let _raised = callout::call(routine, &arguments);
    }
}

/// KeSetTimerEx: returns whether the timer was armed already. `due` is relative when negative; `period` in ms.
pub fn set(kernel: &Arc<Kernel>, timer: Foreign<KTIMER>, due: i64, period: i32, dpc: Option<Foreign<KDPC>>) -> bool {
    let was = cancel(kernel, timer);
    timer.at(KTIMER::Header).set(DISPATCHER_HEADER::SignalState, 0);
    timer.set_ptr(KTIMER::Dpc, dpc);
    let due = kernel.clock.deadline(due);
    let mut state = kernel.timers.state.lock();
    state.armed.push(Armed { timer, due, period });
    if !state.running && !state.stop {
        state.running = true;
        let weak = Arc::downgrade(kernel);
        let spawned = std::thread::Builder::new().name("nt timer".into()).spawn(move || serve(&weak));
        state.running = spawned.is_ok();
    }
    drop(state);
    kernel.timers.changed.notify_one();
    was
}

/// KeCancelTimer: returns whether the timer was armed.
pub fn cancel(kernel: &Kernel, timer: Foreign<KTIMER>) -> bool {
    let mut state = kernel.timers.state.lock();
    let before = state.armed.len();
    state.armed.retain(|armed| armed.timer != timer);
    before != state.armed.len()
}

#[expect(clippy::disallowed_methods, reason = "the timer thread compares host deadlines")]
fn serve(weak: &Weak<Kernel>) {
    let Some(kernel) = weak.upgrade() else { return };
    let thread = kernel.system_thread();
    let _entered = enter(&kernel, &thread, Mode::Kernel);
    loop {
        let mut state = kernel.timers.state.lock();
        if state.stop {
            state.running = false;
            kernel.timers.changed.notify_all();
            return;
        }
        let now = Instant::now();
        if let Some(at) = state.armed.iter().position(|armed| armed.due <= now) {
            let fired = state.armed.swap_remove(at);
            if fired.period > 0 {
                let due = fired.due + Duration::from_millis(fired.period as u64);
                state.armed.push(Armed { timer: fired.timer, due, period: fired.period });
            }
            drop(state);
            fire(&kernel, fired.timer);
            continue;
        }
        match state.armed.iter().map(|armed| armed.due).min() {
            Some(next) => {
                let _timed_out = kernel.timers.changed.wait_until(&mut state, next);
            }
            None => kernel.timers.changed.wait(&mut state),
        }
    }
}

fn fire(kernel: &Arc<Kernel>, timer: Foreign<KTIMER>) {
    let dpc = timer.ptr(KTIMER::Dpc);
    let header = timer.at(KTIMER::Header);
    header.set(DISPATCHER_HEADER::SignalState, 1);
    wait::release(header);
    if let Some(dpc) = dpc {
        queue_dpc(kernel, dpc, 0, 0);
    }
}

impl Timers {
    /// Ends the timer thread; armed timers never fire.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        state.stop = true;
        state.armed.clear();
        self.changed.notify_all();
        while state.running {
            self.changed.wait(&mut state);
        }
    }
}
