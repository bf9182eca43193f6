//! EX_TIMER: timers that the system allocates, with a callback.
//!
//! Room: ntos/ex. Called by: `exports`. IRQL: set and cancel <= DISPATCH_LEVEL; the callback runs at DISPATCH_LEVEL. Locks: those
//! of the timer list. Source: ExAllocateTimer, ExSetTimer, ExCancelTimer, ExDeleteTimer, EXT_CALLBACK pages; rules NT-KR-29 to
//! NT-KR-31. A timer starts with its KTIMER, so that it can be waited for; its callback is a DPC.

use crate::pool;
use nt_abi::ke::{KDPC, KTIMER};
use nt_abi::{Bytes, Code, Ptr};
use nt_cell::{CodePtr, Foreign, callout};
use nt_ke::{Kernel, dpc, timer};
use std::sync::Arc;
use std::time::Duration;

pub mod exports;

nt_abi::layout! {
    /// An EX_TIMER; drivers know its address only.
    pub struct EX_TIMER: 0x100 align 16 {
        /// What a wait on the timer waits for.
        Timer @ 0x00: KTIMER;
        /// Runs the callback.
        Dpc @ 0x40: KDPC;
        /// The callback.
        Callback @ 0x80: Code;
        /// Its second argument.
        Context @ 0x88: Ptr<Bytes>;
        /// 1 once it is to be deleted when it has fired, 2 when that is under way.
        Going @ 0x90: i32;
        /// Called when the timer is gone.
        Deleted @ 0x98: Code;
        /// Its argument.
        DeletedContext @ 0xA0: Ptr<Bytes>;
        /// Frees the timer: it runs behind a callback that is queued or running.
        End @ 0xC0: KDPC;
    }
}

/// EX_TIMER_HIGH_RESOLUTION.
const HIGH_RESOLUTION: u32 = 4;
/// EX_TIMER_NO_WAKE.
const NO_WAKE: u32 = 8;
/// EX_TIMER_NOTIFICATION.
const NOTIFICATION: u32 = 1 << 31;

/// ExAllocateTimer: `None` for attributes that exclude each other or do not exist.
#[must_use]
pub fn allocate(callback: Option<CodePtr>, context: u64, attributes: u32) -> Option<Foreign<EX_TIMER>> {
    if attributes & !(HIGH_RESOLUTION | NO_WAKE | NOTIFICATION) != 0 || attributes & 12 == 12 {
        return None;
    }
    let made = pool::zeroed::<EX_TIMER>(pool::tag(b"ExTi"))?;
    timer::initialize(made.at(EX_TIMER::Timer), u32::from(attributes & NOTIFICATION == 0));
    dpc::initialize(made.at(EX_TIMER::Dpc), Some(exports::expired()), made.addr(), false);
    dpc::initialize(made.at(EX_TIMER::End), Some(exports::ended()), made.addr(), false);
    made.set_code(EX_TIMER::Callback, callback);
    made.set_addr(EX_TIMER::Context, context);
    Some(made)
}

/// ExSetTimer: `period` in 100 ns; whether the timer was set already.
pub fn set(kernel: &Arc<Kernel>, which: Foreign<EX_TIMER>, due: i64, period: i64) -> bool {
    let period = Duration::from_nanos(u64::try_from(period).unwrap_or(0).saturating_mul(100));
    timer::set_every(kernel, which.at(EX_TIMER::Timer), due, period, Some(which.at(EX_TIMER::Dpc)))
}

/// ExCancelTimer: whether the timer was set.
pub fn cancel(kernel: &Kernel, which: Foreign<EX_TIMER>) -> bool {
    timer::cancel(kernel, which.at(EX_TIMER::Timer))
}

/// The DPC of a timer.
fn fired(which: Foreign<EX_TIMER>) {
    if let Some(callback) = which.code(EX_TIMER::Callback) {
        let _raised = callout::call(callback, &[which.addr(), which.addr_at(EX_TIMER::Context)]);
    }
    if which.cas32(EX_TIMER::Going, 1, 2).is_ok() {
        end(&nt_ke::current().kernel, which);
    }
}

/// The timer fires no more, and goes when what it has queued has run.
fn end(kernel: &Arc<Kernel>, which: Foreign<EX_TIMER>) -> bool {
    let was = cancel(kernel, which);
    dpc::insert(kernel, which.at(EX_TIMER::End), 0, 0);
    was
}

/// The last DPC of a timer.
fn gone(which: Foreign<EX_TIMER>) {
    let (callback, context) = (which.code(EX_TIMER::Deleted), which.addr_at(EX_TIMER::DeletedContext));
    pool::free(which);
    if let Some(callback) = callback {
        let _raised = callout::call(callback, &[context]);
    }
}

/// How a timer is deleted.
#[derive(Clone, Copy, Debug)]
pub struct Deletion {
    /// A set timer is cancelled; else it fires once more first.
    pub cancel: bool,
    /// Returns after the callback has run and the timer is gone.
    pub wait: bool,
    /// Called when the timer is gone, with its argument.
    pub callback: Option<(CodePtr, u64)>,
}

/// ExDeleteTimer: whether a set timer was cancelled.
pub fn delete(kernel: &Arc<Kernel>, which: Foreign<EX_TIMER>, how: Deletion) -> bool {
    let (callback, context) = how.callback.unzip();
    which.set_code(EX_TIMER::Deleted, callback);
    which.set_addr(EX_TIMER::DeletedContext, context.unwrap_or(0));
    if !how.cancel && timer::armed(kernel, which.at(EX_TIMER::Timer)) {
        which.set(EX_TIMER::Going, 1);
        // It may have fired in between, and its DPC may have run before the mark: then it is ours to end.
        if timer::armed(kernel, which.at(EX_TIMER::Timer)) || which.cas32(EX_TIMER::Going, 1, 2).is_err() {
            return false;
        }
    }
    let was = end(kernel, which);
    if how.wait {
        kernel.dpcs.flush();
    }
    was
}
