//! The Ke names that ntoskrnl.exe exports.
//!
//! Room: ntos/ke. Called by: compiled drivers. IRQL: as each DDI page says. Locks: drivers' own spin locks.
//! An address that arrives here is a driver's word and becomes a `Foreign` at this edge (S-3).
#![expect(unsafe_code, reason = "entry points that take raw pointers: SOUNDNESS.md, S-3 and S-4")]

use crate::context::{Mode, current};
use crate::dispatcher::{self, EventType, kind};
use crate::wait::{self, WaitType};
use crate::{irql, timer};
use nt_abi::NtStatus;
use nt_abi::ke::{DISPATCHER_HEADER, KDPC, KEVENT, KMUTANT, KSEMAPHORE, KTIMER};
use nt_cell::{CodePtr, Foreign, Region, exports, raise};
use std::hint;

/// Names what a driver's pointer points at; `None` for NULL.
fn at<T>(address: u64) -> Option<Foreign<T>> {
    // SAFETY: S-3: a driver's pointer is taken at its word here; what lies there is reached by atomics only.
    unsafe { Foreign::from_raw(address) }
}

fn code(address: u64) -> Option<CodePtr> {
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

fn lock(word: u64) {
    let Some(lock) = at::<SPIN_LOCK>(word) else { return };
    let mut spins = 0_u32;
    while lock.cas64(SPIN_LOCK::Value, 0, 1).is_err() {
        spins += 1;
        if spins.is_multiple_of(64) {
            std::thread::yield_now();
        } else {
            hint::spin_loop();
        }
    }
}

fn unlock(word: u64) {
    if let Some(lock) = at::<SPIN_LOCK>(word) {
        lock.set(SPIN_LOCK::Value, 0);
    }
}

nt_abi::layout! {
    /// KSPIN_LOCK.
    pub struct SPIN_LOCK: 0x08 {
        /// 0 when free.
        Value @ 0x00: u64;
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
    Full raises KeReleaseMutex(mutex: u64, _wait: u8) -> i32 {
        let Some(mutex) = at::<KMUTANT>(mutex) else { return 0 };
        wait::release_mutant(mutex, current().thread.object()).unwrap_or_else(|error| { raise::raise(error.status()); 0 })
    }
    Full code KeGetCurrentIrql() -> u8 { irql::current() }
    Full code KfRaiseIrql(level: u8) -> u8 { let was = irql::current(); nt_cell::kpcr::set_irql(level); was }
    Full code KeRaiseIrqlToDpcLevel() -> u8 { let was = irql::current(); nt_cell::kpcr::set_irql(irql::DISPATCH_LEVEL); was }
    Full code KeLowerIrql(level: u8) { nt_cell::kpcr::set_irql(level); current().thread.special_apcs_enabled(); }
    Full code KeInitializeSpinLock(word: u64) { unlock(word); }
    Full code KeAcquireSpinLockRaiseToDpc(word: u64) -> u8 {
        let was = irql::current();
        nt_cell::kpcr::set_irql(irql::DISPATCH_LEVEL);
        lock(word);
        was
    }
    Full code KeReleaseSpinLock(word: u64, level: u8) { unlock(word); nt_cell::kpcr::set_irql(level); }
    Full code KeAcquireSpinLockAtDpcLevel(word: u64) { lock(word); }
    Full code KeReleaseSpinLockFromDpcLevel(word: u64) { unlock(word); }
    Full code KeTryToAcquireSpinLockAtDpcLevel(word: u64) -> u8 {
        at::<SPIN_LOCK>(word).map_or(0, |lock| u8::from(lock.cas64(SPIN_LOCK::Value, 0, 1).is_ok()))
    }
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
    Full code KeQueryTimeIncrement() -> u32 { 156_250 }
    Full code KeQueryPerformanceCounter(frequency: u64) -> i64 {
        if frequency != 0 { let _gone = bytes(frequency, 8).store::<i64>(0, 10_000_000); }
        current().kernel.clock.interrupt_time()
    }
    Full code KeInitializeDpc(dpc: u64, routine: u64, context: u64) {
        if let Some(dpc) = at::<KDPC>(dpc) { timer::initialize_dpc(dpc, code(routine), context); }
    }
    Full code KeInsertQueueDpc(dpc: u64, first: u64, second: u64) -> u8 {
        at::<KDPC>(dpc).map_or(0, |dpc| u8::from(timer::queue_dpc(&current().kernel, dpc, first, second)))
    }
    Full code KeInitializeTimer(timer: u64) { if let Some(timer) = at::<KTIMER>(timer) { timer::initialize(timer, 0); } }
    Full code KeInitializeTimerEx(timer: u64, kind: u32) { if let Some(timer) = at::<KTIMER>(timer) { timer::initialize(timer, kind); } }
    Full code KeSetTimer(timer: u64, due: i64, dpc: u64) -> u8 {
        at::<KTIMER>(timer).map_or(0, |timer| u8::from(timer::set(&current().kernel, timer, due, 0, at::<KDPC>(dpc))))
    }
    Full code KeSetTimerEx(timer: u64, due: i64, period: i32, dpc: u64) -> u8 {
        at::<KTIMER>(timer).map_or(0, |timer| u8::from(timer::set(&current().kernel, timer, due, period, at::<KDPC>(dpc))))
    }
    Full code KeCancelTimer(timer: u64) -> u8 { at::<KTIMER>(timer).map_or(0, |timer| u8::from(timer::cancel(&current().kernel, timer))) }
    Full code KeBugCheckEx(code: u32, first: u64, second: u64, third: u64, fourth: u64) {
        panic!("bug check {code:#x} asked for by the driver: {first:#x}, {second:#x}, {third:#x}, {fourth:#x}");
    }
    Absent("kernel APC objects: completion runs in the completer's thread") missing KeInitializeApc;
    Absent("kernel APC objects: completion runs in the completer's thread") missing KeInsertQueueApc;
}
