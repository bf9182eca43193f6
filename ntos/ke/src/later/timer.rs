//! Timers.
//!
//! Room: ntos/ke. IRQL: <= DISPATCH_LEVEL. Locks: the timer list, never held while a routine runs.
//! Source: KeSetTimerEx, KeCancelTimer, KeReadStateTimer, KeSetCoalescableTimer pages; rules NT-KR-06 to NT-KR-10. One host
//! thread of the machine keeps the time. A tolerable delay is allowed, not needed: a timer fires when it is due.

use super::dpc;
use crate::context::{Mode, enter};
use crate::dispatcher::{self, kind};
use crate::kernel::Kernel;
use crate::lock::{Condvar, Mutex};
use crate::wait;
use nt_abi::ke::{DISPATCHER_HEADER, KDPC, KTIMER};
use nt_cell::Foreign;
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
    period: Duration,
}

/// KeInitializeTimerEx: notification (0) or synchronization (1), not signalled.
pub fn initialize(timer: Foreign<KTIMER>, of_kind: u32) {
    let of_kind = if of_kind == 0 { kind::TIMER_NOTIFICATION } else { kind::TIMER_SYNCHRONIZATION };
    dispatcher::initialize_header(timer.at(KTIMER::Header), of_kind, 16, 0);
    timer.set(KTIMER::DueTime, 0);
    timer.set(KTIMER::Period, 0);
    timer.set_ptr(KTIMER::Dpc, None);
}

fn inserted(timer: Foreign<KTIMER>, is: bool) {
    timer.at(KTIMER::Header).set(DISPATCHER_HEADER::Inserted, u8::from(is));
}

/// KeSetTimerEx: returns whether the timer was armed already. `due` is relative when negative; `period` in ms. A due time
/// that is over fires at once.
pub fn set(kernel: &Arc<Kernel>, timer: Foreign<KTIMER>, due: i64, period: i32, dpc: Option<Foreign<KDPC>>) -> bool {
    timer.set(KTIMER::Period, period.max(0) as u32);
    set_every(kernel, timer, due, Duration::from_millis(period.max(0) as u64), dpc)
}

/// As [`set`], with a period of any length; zero for none.
#[expect(clippy::disallowed_methods, reason = "a due time that is over is told from one to come")]
pub fn set_every(
    kernel: &Arc<Kernel>,
    timer: Foreign<KTIMER>,
    due: i64,
    period: Duration,
    dpc: Option<Foreign<KDPC>>,
) -> bool {
    let deadline = kernel.clock.deadline(due);
    let over = due >= 0 && deadline <= Instant::now();
    let mut state = kernel.timers.state.lock();
    let was = take(&mut state, timer);
    timer.at(KTIMER::Header).set(DISPATCHER_HEADER::SignalState, 0);
    timer.set(KTIMER::DueTime, due as u64);
    timer.set_ptr(KTIMER::Dpc, dpc);
    let first = if over { deadline + period } else { deadline };
    let ended = over && period.is_zero();
    if !state.stop && !ended {
        inserted(timer, true);
        state.armed.push(Armed { timer, due: first, period });
        if !state.running {
            let weak = Arc::downgrade(kernel);
            let spawned = nt_cell::sync::thread::Builder::new().name("nt timer".into()).spawn(move || serve(&weak));
            state.running = spawned.is_ok();
        }
    }
    drop(state);
    kernel.timers.changed.notify_all();
    if over {
        fire(kernel, timer);
    }
    was
}

fn take(state: &mut State, timer: Foreign<KTIMER>) -> bool {
    let before = state.armed.len();
    state.armed.retain(|armed| armed.timer != timer);
    inserted(timer, false);
    before != state.armed.len()
}

/// KeCancelTimer: returns whether the timer was armed. A DPC that it has queued stays queued.
pub fn cancel(kernel: &Kernel, timer: Foreign<KTIMER>) -> bool {
    take(&mut kernel.timers.state.lock(), timer)
}

/// Whether the timer is set; one that is not any more has queued its DPC.
#[must_use]
pub fn armed(kernel: &Kernel, timer: Foreign<KTIMER>) -> bool {
    kernel.timers.state.lock().armed.iter().any(|armed| armed.timer == timer)
}

/// KeReadStateTimer: whether the timer is signalled.
#[must_use]
pub fn read_state(timer: Foreign<KTIMER>) -> bool {
    timer.at(KTIMER::Header).get(DISPATCHER_HEADER::SignalState) != 0
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
        let next = state.armed.iter().enumerate().min_by_key(|(_, armed)| armed.due).map(|(at, armed)| (at, armed.due));
        match next {
            Some((at, due)) if due <= now => {
                let timer = state.armed[at].timer;
                if state.armed[at].period.is_zero() {
                    state.armed.swap_remove(at);
                    inserted(timer, false);
                } else {
                    let period = state.armed[at].period;
                    state.armed[at].due += period;
                }
                // Under the lock, so that a timer which KeCancelTimer says was not armed has fired by then.
                let dpc = signal(timer);
                if let Some(dpc) = dpc {
                    dpc::insert(&kernel, dpc, 0, 0);
                }
            }
            Some((_, due)) => {
                let _timed_out = kernel.timers.changed.wait_until(&mut state, due);
            }
            None => kernel.timers.changed.wait(&mut state),
        }
    }
}

fn signal(timer: Foreign<KTIMER>) -> Option<Foreign<KDPC>> {
    let dpc = timer.ptr(KTIMER::Dpc);
    let header = timer.at(KTIMER::Header);
    header.set(DISPATCHER_HEADER::SignalState, 1);
    wait::release(header);
    dpc
}

fn fire(kernel: &Arc<Kernel>, timer: Foreign<KTIMER>) {
    if let Some(dpc) = signal(timer) {
        dpc::insert(kernel, dpc, 0, 0);
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
