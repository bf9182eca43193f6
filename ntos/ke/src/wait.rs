//! Waits on dispatcher objects.
//!
//! Room: ntos/ke. IRQL: PASSIVE_LEVEL (a zero timeout: any). Locks: bucket of the wait table, then the waiter's own.
//! Source: KeWaitForSingleObject, KeWaitForMultipleObjects, "Waits and APCs"; rules NT-E-06, NT-Q-01, NT-X-05.
//!
//! The signal state lives in the driver's memory and is changed by atomics; who waits is kept beside it, in a table
//! hashed by address. A signaller that finds nobody in the bucket is done after one load.

use crate::context::{Frame, Mode};
use crate::dispatcher::kind;
use crate::lock::{Condvar, Mutex};
use crate::{apc, irql};
use nt_abi::NtStatus;
use nt_abi::ke::{DISPATCHER_HEADER, KMUTANT, KSEMAPHORE};
use nt_cell::Foreign;
use nt_cell::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::Instant;

/// Wait for any or for all objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitType {
    /// WaitAny.
    Any,
    /// WaitAll.
    All,
}

/// Blocks and wakes one host thread.
#[derive(Default, Debug)]
pub(crate) struct Parker {
    state: Mutex<Parked>,
    wake: Condvar,
}

#[derive(Default, Debug)]
struct Parked {
    woken: bool,
    satisfied: Option<usize>,
}

impl Parker {
    /// Wakes the thread so that it looks at its APCs, its alert state and its objects again.
    pub(crate) fn interrupt(&self) {
        self.state.lock().woken = true;
        self.wake.notify_all();
    }
}

struct Waiter {
    thread: Arc<crate::Thread>,
    any: bool,
}

struct Entry {
    header: u64,
    index: usize,
    waiter: Arc<Waiter>,
}

struct Bucket {
    count: AtomicU32,
    entries: Mutex<Vec<Entry>>,
}

const BUCKETS: usize = 256;
static TABLE: [Bucket; BUCKETS] =
    [const { Bucket { count: AtomicU32::new(0), entries: Mutex::new(Vec::new()) } }; BUCKETS];

fn bucket(address: u64) -> &'static Bucket {
    &TABLE[((address >> 4).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as usize]
}

/// Takes the object's signal as its type says; `false` when it is not signalled.
fn acquire(header: Foreign<DISPATCHER_HEADER>, thread: u64) -> bool {
    match header.get(DISPATCHER_HEADER::Type) & 0x7F {
        kind::SYNCHRONIZATION_EVENT | kind::TIMER_SYNCHRONIZATION => {
            header.cas32(DISPATCHER_HEADER::SignalState, 1, 0).is_ok()
        }
        kind::SEMAPHORE => loop {
            let state = header.get(DISPATCHER_HEADER::SignalState);
            if state <= 0 {
                return false;
            }
            if header.cas32(DISPATCHER_HEADER::SignalState, state, state - 1).is_ok() {
                return true;
            }
        },
        kind::MUTANT => acquire_mutant(header, thread),
        _ => header.get(DISPATCHER_HEADER::SignalState) > 0,
    }
}

fn mutant(header: Foreign<DISPATCHER_HEADER>) -> Foreign<KMUTANT> {
    header.container(KMUTANT::Header)
}

fn acquire_mutant(header: Foreign<DISPATCHER_HEADER>, thread: u64) -> bool {
    let owner = mutant(header).addr_at(KMUTANT::OwnerThread);
    if owner == thread && owner != 0 && header.get(DISPATCHER_HEADER::SignalState) <= 0 {
        header.add32(DISPATCHER_HEADER::SignalState, -1);
        return true;
    }
    if header.cas32(DISPATCHER_HEADER::SignalState, 1, 0).is_ok() {
        mutant(header).set_addr(KMUTANT::OwnerThread, thread);
        return true;
    }
    false
}

/// KeReleaseMutex by its owner: returns the former state, or MUTANT_NOT_OWNED.
pub fn release_mutant(object: Foreign<KMUTANT>, thread: u64) -> nt_abi::NtResult<i32> {
    let header = object.at(KMUTANT::Header);
    if object.addr_at(KMUTANT::OwnerThread) != thread {
        return NtStatus::MUTANT_NOT_OWNED.fail();
    }
    let was = header.get(DISPATCHER_HEADER::SignalState);
    if was == 0 {
        object.set_addr(KMUTANT::OwnerThread, 0);
    }
    header.add32(DISPATCHER_HEADER::SignalState, 1);
    if was == 0 {
        release(header);
    }
    Ok(was)
}

/// KeReleaseSemaphore: adds to the count and releases waiters; SEMAPHORE_LIMIT_EXCEEDED past the limit.
pub fn release_semaphore(object: Foreign<KSEMAPHORE>, adjustment: i32) -> nt_abi::NtResult<i32> {
    let header = object.at(KSEMAPHORE::Header);
    loop {
        let was = header.get(DISPATCHER_HEADER::SignalState);
        let Some(next) = was.checked_add(adjustment).filter(|&n| n <= object.get(KSEMAPHORE::Limit) && adjustment > 0)
        else {
            return NtStatus::SEMAPHORE_LIMIT_EXCEEDED.fail();
        };
        if header.cas32(DISPATCHER_HEADER::SignalState, was, next).is_ok() {
            release(header);
            return Ok(was);
        }
    }
}

/// Lets waiters of an object that has just been signalled go, oldest first, while its signal lasts.
pub fn release(header: Foreign<DISPATCHER_HEADER>) {
    let bucket = bucket(header.addr());
    if bucket.count.load(Ordering::SeqCst) == 0 {
        return;
    }
    let entries = bucket.entries.lock();
    for entry in entries.iter().filter(|entry| entry.header == header.addr()) {
        let parker = &entry.waiter.thread.parker;
        let mut parked = parker.state.lock();
        if parked.satisfied.is_some() {
            continue;
        }
        if entry.waiter.any {
            if !acquire(header, entry.waiter.thread.object()) {
                break;
            }
            parked.satisfied = Some(entry.index);
        }
        parked.woken = true;
        parker.wake.notify_all();
    }
}

/// KeWaitForSingleObject. `timeout`: `None` waits for ever; negative is relative, positive absolute, in 100 ns.
#[must_use]
pub fn wait_for_single(
    frame: &Frame,
    object: Foreign<DISPATCHER_HEADER>,
    mode: Mode,
    alertable: bool,
    timeout: Option<i64>,
) -> NtStatus {
    if acquire(object, frame.thread.object()) {
        return NtStatus::SUCCESS; // before alerts and APCs are looked at
    }
    wait_for_multiple(frame, &[object], WaitType::Any, mode, alertable, timeout)
}

/// What ends a wait now, apart from its objects (NT-E-06): the end of the thread, for a user-mode wait; an alert, for an
/// alertable one; user APCs, for one that is both.
fn interrupted(frame: &Frame, mode: Mode, alertable: bool) -> Option<NtStatus> {
    if mode == Mode::User && frame.thread.has_ended() {
        return Some(NtStatus::THREAD_IS_TERMINATING);
    }
    if !alertable {
        return None;
    }
    if frame.thread.alerted.swap(false, Ordering::AcqRel) {
        return Some(NtStatus::ALERTED);
    }
    // Inside a critical region too: it holds back the routine, not the end of the wait (NT-E-02, NT-X-05).
    (mode == Mode::User && apc::pending(&frame.thread)).then_some(NtStatus::USER_APC)
}

fn acquire_all(objects: &[Foreign<DISPATCHER_HEADER>], thread: u64) -> bool {
    // All or nothing: look first, then take; a signal lost in between is put back.
    if !objects.iter().all(|o| o.get(DISPATCHER_HEADER::SignalState) > 0) {
        return false;
    }
    for (taken, object) in objects.iter().enumerate() {
        if !acquire(*object, thread) {
            for back in &objects[..taken] {
                if !matches!(back.get(DISPATCHER_HEADER::Type) & 0x7F, kind::NOTIFICATION_EVENT) {
                    back.add32(DISPATCHER_HEADER::SignalState, 1);
                    release(*back);
                }
            }
            return false;
        }
    }
    true
}

/// KeWaitForMultipleObjects: WAIT_0 + index, TIMEOUT, ALERTED or USER_APC.
#[must_use]
pub fn wait_for_multiple(
    frame: &Frame,
    objects: &[Foreign<DISPATCHER_HEADER>],
    kind: WaitType,
    mode: Mode,
    alertable: bool,
    timeout: Option<i64>,
) -> NtStatus {
    let thread = &frame.thread;
    let deadline = match timeout {
        Some(0) | None => None,
        Some(ticks) => Some(frame.kernel.clock.deadline(ticks)),
    };
    let status = loop {
        thread.special_apcs_enabled();
        let status = wait_once(frame, objects, kind, mode, alertable, timeout == Some(0), deadline);
        if status != KERNEL_APC {
            break status;
        }
    };
    if status == NtStatus::USER_APC {
        apc::ended_wait(frame);
    }
    status
}

/// STATUS_KERNEL_APC: the wait is given up for special kernel APCs, and begun again after them.
const KERNEL_APC: NtStatus = NtStatus(0x100);

fn wait_once(
    frame: &Frame,
    objects: &[Foreign<DISPATCHER_HEADER>],
    kind: WaitType,
    mode: Mode,
    alertable: bool,
    poll: bool,
    deadline: Option<Instant>,
) -> NtStatus {
    let thread = &frame.thread;
    let waiter = Arc::new(Waiter { thread: Arc::clone(thread), any: kind == WaitType::Any });
    {
        let mut parked = thread.parker.state.lock();
        *parked = Parked::default();
    }
    for (index, object) in objects.iter().enumerate() {
        let bucket = bucket(object.addr());
        let mut entries = bucket.entries.lock();
        bucket.count.fetch_add(1, Ordering::SeqCst);
        entries.push(Entry { header: object.addr(), index, waiter: Arc::clone(&waiter) });
    }
    let status = block(frame, objects, kind, mode, alertable, poll, deadline);
    for object in objects {
        let bucket = bucket(object.addr());
        let mut entries = bucket.entries.lock();
        let before = entries.len();
        entries.retain(|entry| !Arc::ptr_eq(&entry.waiter, &waiter));
        bucket.count.fetch_sub((before - entries.len()) as u32, Ordering::SeqCst);
    }
    // A signal handed over while the wait ended for another reason counts: the object was taken for us.
    let late = thread.parker.state.lock().satisfied.take();
    match late {
        Some(index) if kind == WaitType::Any => NtStatus(index as u32),
        _ => status,
    }
}

fn block(
    frame: &Frame,
    objects: &[Foreign<DISPATCHER_HEADER>],
    kind: WaitType,
    mode: Mode,
    alertable: bool,
    poll: bool,
    deadline: Option<Instant>,
) -> NtStatus {
    let thread = &frame.thread;
    debug_assert!(poll || irql::current() < irql::DISPATCH_LEVEL, "a wait at DISPATCH_LEVEL");
    loop {
        if let Some(index) = thread.parker.state.lock().satisfied {
            return NtStatus(index as u32);
        }
        if apc::specials_due(thread) || crate::kapc::deliverable(thread) {
            return KERNEL_APC;
        }
        match kind {
            WaitType::Any => {
                for (index, object) in objects.iter().enumerate() {
                    let mut parked = thread.parker.state.lock();
                    if parked.satisfied.is_none() && acquire(*object, thread.object()) {
                        parked.satisfied = Some(index);
                        return NtStatus(index as u32);
                    }
                }
            }
            WaitType::All => {
                if acquire_all(objects, thread.object()) {
                    return NtStatus::SUCCESS;
                }
            }
        }
        if let Some(status) = interrupted(frame, mode, alertable) {
            return status;
        }
        if poll {
            return NtStatus::TIMEOUT;
        }
        let mut parked = thread.parker.state.lock();
        while !parked.woken && parked.satisfied.is_none() {
            match deadline {
                None => thread.parker.wake.wait(&mut parked),
                Some(at) => {
                    if thread.parker.wake.wait_until(&mut parked, at).timed_out() {
                        return NtStatus::TIMEOUT;
                    }
                }
            }
        }
        parked.woken = false;
    }
}

/// KeDelayExecutionThread: an alertable or plain sleep.
#[must_use]
pub fn delay(frame: &Frame, mode: Mode, alertable: bool, interval: i64) -> NtStatus {
    let status = wait_for_multiple(frame, &[], WaitType::Any, mode, alertable, Some(interval));
    if status == NtStatus::TIMEOUT { NtStatus::SUCCESS } else { status }
}

/// Alerts a thread (NtAlertThread): ends an alertable wait with ALERTED.
pub fn alert(thread: &crate::Thread) {
    thread.alerted.store(true, Ordering::Release);
    thread.parker.interrupt();
}
