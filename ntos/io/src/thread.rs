//! Threads by handle: `NtQueueApcThread`, `NtAlertThread`, `NtTestAlert`, `NtDelayExecution`, `NtOpenThread` by id.
//!
//! Room: ntos/io (beside the waits that these services end). IRQL: PASSIVE_LEVEL. Locks: none.
//! Source: QueueUserAPC, SleepEx, NtOpenThread pages, "Waits and APCs"; rules NT-Q-01, NT-Q-03, NT-E-06.

use crate::event;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{CodePtr, Foreign};
use nt_ke::apc::{self, UserApc};
use nt_ke::{Frame, Thread, wait};
use nt_ob::types::ObjectType;
use nt_ob::{Handle, object};
use std::sync::Arc;

const THREAD_ALERT: u32 = 4;
const THREAD_SET_CONTEXT: u32 = 0x10;

/// NtOpenThread by thread id: INVALID_CID when there is no such thread.
pub fn open(frame: &Frame, id: u64, access: u32) -> NtResult<Handle> {
    let found = nt_ps::process::processes(&frame.kernel).thread_by_id(id).ok_or(NtStatus::INVALID_CID.error())?;
    let body = Foreign::<Bytes>::of_table(found.object());
    let granted = ObjectType::Thread.routines().mapping.map(access);
    nt_ps::current_process(frame).handles.insert(&object::reference(body), granted, 0)
}

/// Finds the thread that a handle names.
pub fn by_handle(frame: &Frame, handle: Handle, access: u32) -> NtResult<Arc<Thread>> {
    let (object, _) = event::reference(frame, handle, ObjectType::Thread, access, frame.mode())?;
    let found = nt_ps::process::processes(&frame.kernel).thread_at(object.body().addr());
    found.ok_or(NtStatus::THREAD_IS_TERMINATING.error())
}

/// NtQueueApcThread: `routine` runs in the thread, with three arguments, when it next waits alertably in user mode.
#[must_use]
pub fn nt_queue_apc_thread(frame: &Frame, thread: Handle, routine: CodePtr, arguments: [u64; 3]) -> NtStatus {
    match by_handle(frame, thread, THREAD_SET_CONTEXT) {
        Err(error) => error.status(),
        Ok(thread) if apc::queue(&thread, UserApc { routine, arguments, held: None, object: None }) => {
            NtStatus::SUCCESS
        }
        Ok(_) => NtStatus::THREAD_IS_TERMINATING,
    }
}

/// NtAlertThread: ends the thread's alertable wait, now or next, with ALERTED.
#[must_use]
pub fn nt_alert_thread(frame: &Frame, thread: Handle) -> NtStatus {
    match by_handle(frame, thread, THREAD_ALERT) {
        Err(error) => error.status(),
        Ok(thread) => {
            wait::alert(&thread);
            NtStatus::SUCCESS
        }
    }
}

/// NtTestAlert: ALERTED when the thread was alerted; else pending user APCs run.
#[must_use]
pub fn nt_test_alert(frame: &Frame) -> NtStatus {
    if apc::test_alert(&frame.thread) { NtStatus::ALERTED } else { NtStatus::SUCCESS }
}

/// NtDelayExecution: SUCCESS when the time is over, USER_APC or ALERTED when something else ended the sleep.
#[must_use]
pub fn nt_delay_execution(frame: &Frame, alertable: bool, interval: i64) -> NtStatus {
    frame.service(|| wait::delay(frame, frame.mode(), alertable, interval))
}
