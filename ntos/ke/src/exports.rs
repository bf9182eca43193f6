//! The Ke names that ntoskrnl.exe exports.
//!
//! Room: ntos/ke. Called by: compiled drivers. IRQL: as each DDI page says. Locks: drivers' own spin locks.
//! An address that arrives here is a driver's word and becomes a `Foreign` at this edge (S-3).
#![expect(unsafe_code, reason = "entry points that take raw pointers: SOUNDNESS.md, S-3 and S-4")]

use crate::context::{Mode, current};
use crate::dispatcher::{self, EventType, kind};
use crate::spin::SPIN_LOCK;
use crate::wait::{self, WaitType};
use crate::{irql, spin};
use nt_abi::NtStatus;
use nt_abi::ke::{DISPATCHER_HEADER, KEVENT, KLOCK_QUEUE_HANDLE, KMUTANT, KSEMAPHORE};
use nt_cell::{CodePtr, Foreign, Region, exports, raise};

/// Names what a driver's pointer points at; `None` for NULL.
pub(crate) fn at<T>(address: u64) -> Option<Foreign<T>> {
    // SAFETY: S-3: a driver's pointer is taken at its word here; what lies there is reached by atomics only.
    unsafe { Foreign::from_raw(address) }
}

pub(crate) fn code(address: u64) -> Option<CodePtr> {
    // SAFETY: the driver gave it as a routine of the documented arity; the border answers for faults (S-3).
    unsafe { CodePtr::from_raw(address) }
}

/// Names bytes that a driver passed; accesses to them are guarded.
fn bytes(address: u64, length: usize) -> Region {
    // SAFETY: S-3: the driver answers for the span by the routine's contract; a bad one shows as a fault.
    unsafe { Region::from_raw(address, length) }
}

fn interval(address: u64) -> Option<i64> {
    (address != 0).then(|| bytes(address, 8).load::<i64>(0).unwrap_or(0))
}

fn wait_for(object: u64, mode: u8, alertable: u8, timeout: u64) -> u32 {
    let Some(header) = at::<DISPATCHER_HEADER>(object) else { return NtStatus::INVALID_PARAMETER.0 };
    let frame = current();
    wait::wait_for_single(&frame, header, Mode::from_raw(mode), alertable != 0, interval(timeout)).0
}

/// KeAcquireInStackQueuedSpinLock: the handle keeps the lock's address and the former IRQL.
fn acquire_queued(lock: u64, handle: u64, raise: bool) {
    let (Some(lock), Some(handle)) = (at::<SPIN_LOCK>(lock), at::<KLOCK_QUEUE_HANDLE>(handle)) else { return };
    let was = irql::current();
    if raise {
        nt_cell::kpcr::set_irql(irql::DISPATCH_LEVEL);
    }
    spin::acquire(lock);
    handle.set_addr(KLOCK_QUEUE_HANDLE::LockQueue_Lock, lock.addr());
    handle.set(KLOCK_QUEUE_HANDLE::OldIrql, was);
}

fn release_queued(handle: u64, lower: bool) {
    let Some(handle) = at::<KLOCK_QUEUE_HANDLE>(handle) else { return };
    if let Some(lock) = at::<SPIN_LOCK>(handle.addr_at(KLOCK_QUEUE_HANDLE::LockQueue_Lock)) {
        spin::release(lock);
    }
    if lower {
        lower_to(handle.get(KLOCK_QUEUE_HANDLE::OldIrql));
    }
}

fn lower_to(level: u8) {
    nt_cell::kpcr::set_irql(level);
    if level < irql::APC_LEVEL {
        current().thread.special_apcs_enabled();
    }
}

fn raise_to_dispatch() -> u8 {
    let was = irql::current();
    nt_cell::kpcr::set_irql(irql::DISPATCH_LEVEL);
    was
}

fn on<T>(address: u64, body: impl FnOnce(Foreign<T>)) {
    if let Some(object) = at::<T>(address) {
        body(object);
    }
}

exports! { "ntoskrnl.exe" =>
    Full code KeInitializeEvent(event: u64, kind: u32, state: u8) {
        if let Some(event) = at::<KEVENT>(event) {
            let kind = if kind == 0 { EventType::Notification } else { EventType::Synchronization };
            dispatcher::initialize_event(event, kind, state != 0);
        }
    }
    Full code KeSetEvent(event: u64, _increment: i32, _wait: u8) -> i32 { at::<KEVENT>(event).map_or(0, dispatcher::set_event) }
    Full code KeResetEvent(event: u64) -> i32 { at::<KEVENT>(event).map_or(0, dispatcher::reset_event) }
    Full code KeClearEvent(event: u64) { if let Some(event) = at::<KEVENT>(event) { dispatcher::clear_event(event); } }
    Partial("a wait for all of several objects may miss the pulse") code KePulseEvent(event: u64, _increment: i32, _wait: u8) -> i32 { at::<KEVENT>(event).map_or(0, dispatcher::pulse_event) }
    Full code KeReadStateEvent(event: u64) -> i32 { at::<KEVENT>(event).map_or(0, |event| i32::from(dispatcher::read_state(event))) }
    Full code KeWaitForSingleObject(object: u64, _reason: u32, mode: u8, alertable: u8, timeout: u64) -> u32 { wait_for(object, mode, alertable, timeout) }
    Full code KeWaitForMutexObject(object: u64, _reason: u32, mode: u8, alertable: u8, timeout: u64) -> u32 { wait_for(object, mode, alertable, timeout) }
    Full code KeWaitForMultipleObjects(count: u32, objects: u64, kind: u32, _reason: u32, mode: u8, alertable: u8, timeout: u64, _blocks: u64) -> u32 {
        let list = bytes(objects, count as usize * 8);
        let mut headers = Vec::with_capacity(count as usize);
        for index in 0..count as usize {
            let header = list.load::<u64>(index * 8).ok().and_then(at::<DISPATCHER_HEADER>);
            let Some(header) = header else { return NtStatus::INVALID_PARAMETER.0 };
            headers.push(header);
        }
        let kind = if kind == 0 { WaitType::All } else { WaitType::Any };
        wait::wait_for_multiple(&current(), &headers, kind, Mode::from_raw(mode), alertable != 0, interval(timeout)).0
    }
    Full code KeDelayExecutionThread(mode: u8, alertable: u8, time: u64) -> u32 {
        wait::delay(&current(), Mode::from_raw(mode), alertable != 0, interval(time).unwrap_or(0)).0
    }
    Full code KeInitializeSemaphore(semaphore: u64, count: i32, limit: i32) {
        if let Some(semaphore) = at::<KSEMAPHORE>(semaphore) {
            dispatcher::initialize_header(semaphore.at(KSEMAPHORE::Header), kind::SEMAPHORE, 8, count);
            semaphore.set(KSEMAPHORE::Limit, limit);
        }
    }
    Full raises KeReleaseSemaphore(semaphore: u64, _increment: i32, adjustment: i32, _wait: u8) -> i32 {
        let Some(semaphore) = at::<KSEMAPHORE>(semaphore) else { return 0 };
        wait::release_semaphore(semaphore, adjustment).unwrap_or_else(|error| { raise::raise(error.status()); 0 })
    }
    Full code KeReadStateSemaphore(semaphore: u64) -> i32 {
        at::<KSEMAPHORE>(semaphore).map_or(0, |s| s.at(KSEMAPHORE::Header).get(DISPATCHER_HEADER::SignalState))
    }
    Full code KeInitializeMutex(mutex: u64, _level: u32) {
        if let Some(mutex) = at::<KMUTANT>(mutex) {
            dispatcher::initialize_header(mutex.at(KMUTANT::Header), kind::MUTANT, 14, 1);
            mutex.set_addr(KMUTANT::OwnerThread, 0);
        }
    }
    Full code KeReadStateMutex(mutex: u64) -> i32 {
        at::<KMUTANT>(mutex).map_or(0, |mutex| mutex.at(KMUTANT::Header).get(DISPATCHER_HEADER::SignalState))
    }
    Full raises KeReleaseMutex(mutex: u64, _wait: u8) -> i32 {
        let Some(mutex) = at::<KMUTANT>(mutex) else { return 0 };
        wait::release_mutant(mutex, current().thread.object()).unwrap_or_else(|error| { raise::raise(error.status()); 0 })
    }
    Full code KeGetCurrentIrql() -> u8 { irql::current() }
    Full code KfRaiseIrql(level: u8) -> u8 { let was = irql::current(); nt_cell::kpcr::set_irql(level); was }
    Full code KeRaiseIrqlToDpcLevel() -> u8 { raise_to_dispatch() }
    Full code KeLowerIrql(level: u8) { lower_to(level); }
    Full code KeInitializeSpinLock(word: u64) { on(word, spin::release); }
    Full code KeAcquireSpinLockRaiseToDpc(word: u64) -> u8 { let was = raise_to_dispatch(); on(word, spin::acquire); was }
    Full code KeReleaseSpinLock(word: u64, level: u8) { on(word, spin::release); lower_to(level); }
    Full code KeAcquireSpinLockAtDpcLevel(word: u64) { on(word, spin::acquire); }
    Full code KeReleaseSpinLockFromDpcLevel(word: u64) { on(word, spin::release); }
    Full code KeTryToAcquireSpinLockAtDpcLevel(word: u64) -> u8 { at(word).map_or(0, |lock| u8::from(spin::try_acquire(lock))) }
    Full code KeTestSpinLock(word: u64) -> u8 { at::<SPIN_LOCK>(word).map_or(1, |lock| u8::from(lock.get(SPIN_LOCK::Value) == 0)) }
    Partial("waiters get the lock in the host's order, not in that of their arrival") code KeAcquireInStackQueuedSpinLock(word: u64, handle: u64) { acquire_queued(word, handle, true); }
    Full code KeReleaseInStackQueuedSpinLock(handle: u64) { release_queued(handle, true); }
    Partial("waiters get the lock in the host's order, not in that of their arrival") code KeAcquireInStackQueuedSpinLockAtDpcLevel(word: u64, handle: u64) { acquire_queued(word, handle, false); }
    Full code KeReleaseInStackQueuedSpinLockFromDpcLevel(handle: u64) { release_queued(handle, false); }
    Full code ExAcquireSpinLockExclusive(word: u64) -> u8 { let was = raise_to_dispatch(); on(word, spin::acquire_exclusive); was }
    Full code ExReleaseSpinLockExclusive(word: u64, level: u8) { on(word, spin::release_exclusive); lower_to(level); }
    Full code ExAcquireSpinLockShared(word: u64) -> u8 { let was = raise_to_dispatch(); on(word, spin::acquire_shared); was }
    Full code ExReleaseSpinLockShared(word: u64, level: u8) { on(word, spin::release_shared); lower_to(level); }
    Full code ExAcquireSpinLockExclusiveAtDpcLevel(word: u64) { on(word, spin::acquire_exclusive); }
    Full code ExReleaseSpinLockExclusiveFromDpcLevel(word: u64) { on(word, spin::release_exclusive); }
    Full code ExAcquireSpinLockSharedAtDpcLevel(word: u64) { on(word, spin::acquire_shared); }
    Full code ExReleaseSpinLockSharedFromDpcLevel(word: u64) { on(word, spin::release_shared); }
    Full code ExTryConvertSharedSpinLockExclusive(word: u64) -> u32 { at(word).map_or(0, |lock| u32::from(spin::try_convert(lock))) }
    Full code KeEnterCriticalRegion() { current().thread.enter_critical_region(); }
    Full code KeLeaveCriticalRegion() { current().leave_critical_region(); }
    Full code KeEnterGuardedRegion() { current().thread.enter_guarded_region(); }
    Full code KeLeaveGuardedRegion() { current().thread.leave_guarded_region(); }
    Full code KeAreApcsDisabled() -> u8 { u8::from(current().thread.apcs_disabled()) }
    Full code KeAreAllApcsDisabled() -> u8 { u8::from(current().thread.all_apcs_disabled()) }
    Full code KeGetCurrentThread() -> u64 { current().thread.object() }
    Full code PsGetCurrentThread() -> u64 { current().thread.object() }
    Full code KeQuerySystemTimePrecise(time: u64) { let _gone = bytes(time, 8).store::<i64>(0, current().kernel.clock.system_time()); }
    Full code KeQueryInterruptTime() -> u64 { current().kernel.clock.interrupt_time() as u64 }
    Full code KeQueryInterruptTimePrecise(counter: u64) -> u64 {
        let time = current().kernel.clock.interrupt_time();
        if counter != 0 { let _gone = bytes(counter, 8).store::<i64>(0, time); }
        time as u64
    }
    Full code KeQueryTimeIncrement() -> u32 { 156_250 }
    Full code KeQueryPerformanceCounter(frequency: u64) -> i64 {
        if frequency != 0 { let _gone = bytes(frequency, 8).store::<i64>(0, 10_000_000); }
        current().kernel.clock.interrupt_time()
    }
    Full code KeBugCheckEx(code: u32, first: u64, second: u64, third: u64, fourth: u64) {
        panic!("bug check {code:#x} asked for by the driver: {first:#x}, {second:#x}, {third:#x}, {fourth:#x}");
    }
}
