//! Asynchronous procedure calls: work that a thread does between its own instructions.
//!
//! Room: ntos/ke. IRQL: queued at <= DISPATCH_LEVEL; user APCs run at PASSIVE_LEVEL, special kernel APCs in place of
//! APC_LEVEL. Locks: the thread's APC queues. Source: "Types of APCs", "Waits and APCs", "Disabling APCs"; rules NT-Q-01,
//! NT-Q-03, NT-E-02, NT-E-05, NT-E-06, NT-M-16.
//!
//! User APCs wait for an alertable user-mode wait. When one ends such a wait inside a system service, it runs as the
//! service returns to user mode; in a system thread, which never does, right after the wait.
//! Completion of a request is a special kernel APC on Windows. Here the completer does that work itself, unless the thread has
//! special kernel APCs disabled: then it is queued, and runs when they are enabled again (NT-E-02).

use crate::thread::Thread;
use nt_abi::ke::KAPC;
use nt_cell::sync::atomic::Ordering;
use nt_cell::{CodePtr, Foreign};

/// Memory that an APC lies in: given back when the APC has run, or its thread is gone (rundown).
pub struct Held {
    what: u64,
    release: fn(u64),
}

impl Held {
    /// Holds `what` until `release` is called with it, once.
    #[must_use]
    pub fn new(what: u64, release: fn(u64)) -> Self {
        Self { what, release }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        (self.release)(self.what);
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Held({:#x})", self.what)
    }
}

/// A queued user APC: what runs, with which three arguments.
#[derive(Debug)]
pub struct UserApc {
    /// The routine, win64.
    pub routine: CodePtr,
    /// Its three arguments; for I/O completion: ApcContext, the caller's IO_STATUS_BLOCK, 0.
    pub arguments: [u64; 3],
    /// The memory of the APC: a packet, for I/O completion (NT-Q-03).
    pub held: Option<Held>,
    /// The KAPC that it is, if a driver laid it out: its routines run in place of `routine`.
    pub object: Option<Foreign<KAPC>>,
}

/// What a special kernel APC does.
pub type Special = Box<dyn FnOnce() + Send>;

/// Queues a user APC and wakes the thread if it waits alertably in user mode; `false`, and rundown, when the thread has
/// ended.
pub fn queue(thread: &Thread, apc: UserApc) -> bool {
    {
        let mut queue = thread.apcs.lock();
        if thread.has_ended() {
            drop(queue);
            return false;
        }
        queue.push_back(apc);
    }
    thread.parker.interrupt();
    true
}

/// Takes a driver's user APC off the queue; `false` when it is not there.
pub(crate) fn forget_object(thread: &Thread, object: Foreign<KAPC>) -> bool {
    let mut queue = thread.apcs.lock();
    let before = queue.len();
    queue.retain(|apc| apc.object != Some(object));
    before != queue.len()
}

/// Returns whether a user APC is queued.
#[must_use]
pub fn pending(thread: &Thread) -> bool {
    !thread.apcs.lock().is_empty()
}

/// Runs all queued user APCs in the calling thread; returns how many ran.
pub fn deliver(thread: &Thread) -> usize {
    thread.user_apcs_due.store(false, Ordering::Relaxed);
    let mut ran = 0;
    loop {
        let next = thread.apcs.lock().pop_front();
        let Some(apc) = next else { return ran };
        ran += 1;
        if let Some(object) = apc.object {
            crate::kapc::run(object);
            continue;
        }
        // An APC that raises ends like any unhandled exception in a callback: the border has reported it.
        let _raised = nt_cell::callout::call(apc.routine, &apc.arguments);
    }
}

/// An alertable wait of the calling thread was ended by user APCs.
pub(crate) fn ended_wait(frame: &crate::Frame) {
    if frame.in_service() || frame.thread.apcs_disabled() {
        frame.thread.user_apcs_due.store(true, Ordering::Relaxed);
    } else {
        deliver(&frame.thread);
    }
}

/// The calling thread leaves a critical region, or its outermost service returns to user mode.
#[inline]
pub(crate) fn user_apcs_enabled(thread: &Thread) {
    if thread.user_apcs_due.load(Ordering::Relaxed) && !thread.apcs_disabled() {
        deliver(thread);
    }
}

/// NtTestAlert: takes the alert, else runs pending user APCs; tells whether there was an alert.
pub fn test_alert(thread: &Thread) -> bool {
    let alerted = thread.alerted.swap(false, Ordering::AcqRel);
    if !alerted && !thread.apcs_disabled() {
        deliver(thread);
    }
    alerted
}

/// Does the work of a special kernel APC for `thread`: now, or, while the thread has special kernel APCs disabled, when it
/// enables them again.
pub fn special(thread: &Thread, work: Special) {
    {
        let mut queue = thread.specials.lock();
        // Stored before the look at the regions: a thread that leaves one at this time sees the one or we see the other.
        thread.specials_due.store(true, Ordering::SeqCst);
        if thread.specials_disabled() && !thread.has_ended() {
            queue.push(work);
            drop(queue);
            thread.parker.interrupt();
            return;
        }
        thread.specials_due.store(!queue.is_empty(), Ordering::SeqCst);
    }
    work();
}

/// Returns whether special kernel APCs wait that may run now.
pub(crate) fn specials_due(thread: &Thread) -> bool {
    thread.specials_due.load(Ordering::SeqCst) && !thread.specials_disabled()
}

/// Runs the special kernel APCs that waited for the calling thread to enable them.
#[inline]
pub(crate) fn run_specials(thread: &Thread) {
    while thread.specials_due.load(Ordering::SeqCst) {
        let due = {
            let mut queue = thread.specials.lock();
            thread.specials_due.store(false, Ordering::SeqCst);
            std::mem::take(&mut *queue)
        };
        for work in due {
            work();
        }
    }
}

/// The calling thread ends: what is queued is run down, not run (NT-Q-03).
pub(crate) fn run_down(thread: &Thread) {
    let queued = std::mem::take(&mut *thread.apcs.lock());
    for apc in queued {
        if let Some(object) = apc.object {
            crate::kapc::run_down(object);
        }
    }
    run_specials(thread);
    crate::kapc::deliver(thread);
}
