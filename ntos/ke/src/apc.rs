//! User APCs: routines that run in a thread at its next alertable user-mode wait.
//!
//! Room: ntos/ke. IRQL: queued at any, run at PASSIVE_LEVEL. Locks: the thread's APC queue.
//! Source: "Types of APCs"; rules NT-Q-01, NT-Q-03, NT-E-05, NT-E-06. Special kernel APCs do not exist as such here:
//! completion for a thread that is not running is done inline by the completer (house rule 4).

use crate::thread::Thread;
use nt_cell::CodePtr;

/// A queued user APC: what runs, with which three arguments.
#[derive(Clone, Copy, Debug)]
pub struct UserApc {
    /// The routine, win64.
    pub routine: CodePtr,
    /// Its three arguments; for I/O completion: ApcContext, the caller's IO_STATUS_BLOCK, 0.
    pub arguments: [u64; 3],
}

/// Queues an APC and wakes the thread if it waits alertably in user mode.
pub fn queue(thread: &Thread, apc: UserApc) {
    thread.apcs.lock().push_back(apc);
    thread.parker.interrupt();
}

/// Returns whether an APC is queued.
#[must_use]
pub fn pending(thread: &Thread) -> bool {
    !thread.apcs.lock().is_empty()
}

/// Runs all queued APCs in the calling thread; returns how many ran.
pub fn deliver(thread: &Thread) -> usize {
    let mut ran = 0;
    loop {
        let next = thread.apcs.lock().pop_front();
        let Some(apc) = next else { return ran };
        ran += 1;
        // An APC that raises ends like any unhandled exception in a callback: the border has reported it.
        let _raised = nt_cell::callout::call(apc.routine, &apc.arguments);
    }
}
