//! Dispatcher objects: KEVENT, KSEMAPHORE, KMUTANT in memory that drivers own.
//!
//! Room: ntos/ke. IRQL: <= DISPATCH_LEVEL. Locks: a wait-table bucket when somebody waits.
//! Source: KeInitializeEvent, KeSetEvent, KeClearEvent pages; rules NT-T-06, NT-T-07. Drivers read SignalState directly.

use crate::list;
use crate::wait;
use nt_abi::ke::{DISPATCHER_HEADER, KEVENT};
use nt_cell::Foreign;

/// DISPATCHER_HEADER.Type values.
pub mod kind {
    /// NotificationEvent: stays signalled until reset.
    pub const NOTIFICATION_EVENT: u8 = 0;
    /// SynchronizationEvent: one waiter takes the signal.
    pub const SYNCHRONIZATION_EVENT: u8 = 1;
    /// Mutant (KMUTEX).
    pub const MUTANT: u8 = 2;
    /// Process.
    pub const PROCESS: u8 = 3;
    /// Queue (completion port).
    pub const QUEUE: u8 = 4;
    /// Semaphore.
    pub const SEMAPHORE: u8 = 5;
    /// Thread.
    pub const THREAD: u8 = 6;
    /// Notification timer.
    pub const TIMER_NOTIFICATION: u8 = 8;
    /// Synchronization timer.
    pub const TIMER_SYNCHRONIZATION: u8 = 9;
}

/// KEVENT type as given to KeInitializeEvent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum EventType {
    /// NotificationEvent.
    Notification = 0,
    /// SynchronizationEvent.
    Synchronization = 1,
}

/// Fills a dispatcher header: type, size in longs, state, empty wait list.
pub fn initialize_header(header: Foreign<DISPATCHER_HEADER>, kind: u8, longs: u8, state: i32) {
    header.set(DISPATCHER_HEADER::Type, kind);
    header.set(DISPATCHER_HEADER::Size, longs);
    header.set(DISPATCHER_HEADER::SignalState, state);
    list::initialize(header.at(DISPATCHER_HEADER::WaitListHead));
}

/// KeInitializeEvent.
pub fn initialize_event(event: Foreign<KEVENT>, kind: EventType, signaled: bool) {
    initialize_header(event.at(KEVENT::Header), kind as u8, 6, i32::from(signaled));
}

/// KeSetEvent: signals, releases waiters, returns the former state.
pub fn set_event(event: Foreign<KEVENT>) -> i32 {
    let header = event.at(KEVENT::Header);
    let was = header.swap32(DISPATCHER_HEADER::SignalState, 1);
    if was == 0 {
        wait::release(header);
    }
    was
}

/// KePulseEvent: releases who waits now, and leaves the event not signalled; returns the former state.
pub fn pulse_event(event: Foreign<KEVENT>) -> i32 {
    let was = set_event(event);
    reset_event(event);
    was
}

/// A thread or process object is signalled for ever: what it stands for has ended.
pub fn end_of_thread(object: u64) {
    let header = Foreign::<DISPATCHER_HEADER>::of_table(object);
    if matches!(header.get(DISPATCHER_HEADER::Type), kind::THREAD | kind::PROCESS) {
        header.set(DISPATCHER_HEADER::SignalState, 1);
        wait::release(header);
    }
}

/// KeResetEvent: returns the former state.
pub fn reset_event(event: Foreign<KEVENT>) -> i32 {
    event.at(KEVENT::Header).swap32(DISPATCHER_HEADER::SignalState, 0)
}

/// KeClearEvent: resets without a look at the former state.
pub fn clear_event(event: Foreign<KEVENT>) {
    event.at(KEVENT::Header).set(DISPATCHER_HEADER::SignalState, 0);
}

/// KeReadStateEvent.
#[must_use]
pub fn read_state(event: Foreign<KEVENT>) -> bool {
    event.at(KEVENT::Header).get(DISPATCHER_HEADER::SignalState) != 0
}
