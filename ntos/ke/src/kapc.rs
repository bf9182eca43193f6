//! KAPC: asynchronous procedure calls that drivers lay out themselves, of all three kinds.
//!
//! Room: ntos/ke. Called by: `nt_io`'s exports, which know the thread behind a PKTHREAD. IRQL: queued at <= DISPATCH_LEVEL; a kernel
//! routine runs at APC_LEVEL, a normal routine at PASSIVE_LEVEL. Locks: the thread's queue, never held while a routine runs.
//! Source: "Types of APCs", "Disabling APCs", "Waits and APCs" pages, KAPC in wdm.h; rules NT-KR-34 to NT-KR-37.
//!
//! A thread is not interrupted: its kernel APCs run when it queues one to itself, waits, leaves a region, lowers its IRQL or
//! leaves a service. One that computes, or is outside the machine, gets them when it next does one of these.

use crate::context::Frame;
use crate::irql;
use crate::thread::Thread;
use nt_abi::ke::{ApcObject, KAPC};
use nt_cell::sync::atomic::{AtomicBool, Ordering};
use nt_cell::{CodePtr, Foreign, callout};
use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;

/// What waits for one thread in kernel mode.
#[derive(Default)]
pub(crate) struct Queue {
    special: VecDeque<Foreign<KAPC>>,
    normal: VecDeque<Foreign<KAPC>>,
    /// A normal routine runs: the next one waits for its end.
    running: bool,
}

/// The queue's lock and its mark, which a look costs one load.
#[derive(Default)]
pub(crate) struct KernelApcs {
    pub(crate) due: AtomicBool,
    queue: crate::Mutex<Queue>,
}

/// The routines of an APC and what they get.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Runs first, at APC_LEVEL.
    pub kernel: Option<CodePtr>,
    /// Runs when the thread ends before the APC could.
    pub rundown: Option<CodePtr>,
    /// Runs at PASSIVE_LEVEL; a special kernel APC has none.
    pub normal: Option<CodePtr>,
    /// Whether it is a user APC.
    pub user: bool,
    /// NormalContext.
    pub context: u64,
}

/// KeInitializeApc.
pub fn initialize(apc: Foreign<KAPC>, thread: u64, environment: u32, spec: &Spec) {
    apc.set(KAPC::Type, ApcObject);
    apc.set(KAPC::Size, KAPC::SIZE as u8);
    apc.set_addr(KAPC::Thread, thread);
    apc.set(KAPC::ApcStateIndex, environment as i8);
    apc.set_code(KAPC::KernelRoutine, spec.kernel);
    apc.set_code(KAPC::RundownRoutine, spec.rundown);
    apc.set_code(KAPC::NormalRoutine, spec.normal);
    let has_normal = spec.normal.is_some();
    apc.set(KAPC::ApcMode, u8::from(spec.user && has_normal));
    apc.set_addr(KAPC::NormalContext, if has_normal { spec.context } else { 0 });
    apc.set(KAPC::Inserted, 0);
}

/// KeInsertQueueApc: `false` when the APC is queued already, or its thread has ended.
pub fn insert(thread: &Thread, apc: Foreign<KAPC>, first: u64, second: u64) -> bool {
    if thread.has_ended() || apc.or8(KAPC::Inserted, 1) != 0 {
        return false;
    }
    apc.set_addr(KAPC::SystemArgument1, first);
    apc.set_addr(KAPC::SystemArgument2, second);
    if apc.get(KAPC::ApcMode) != 0 {
        let Some(routine) = apc.code(KAPC::NormalRoutine) else { return false };
        let user = crate::apc::UserApc { routine, arguments: [0; 3], held: None, object: Some(apc) };
        return crate::apc::queue(thread, user);
    }
    {
        let mut queue = thread.kernel_apcs.queue.lock();
        let special = apc.code(KAPC::NormalRoutine).is_none();
        if special {
            queue.special.push_back(apc)
        } else {
            queue.normal.push_back(apc)
        };
        thread.kernel_apcs.due.store(true, Ordering::SeqCst);
    }
    thread.parker.interrupt();
    if crate::try_current().is_some_and(|frame| std::ptr::eq(&*frame.thread, thread)) {
        deliver(thread);
    }
    true
}

/// KeRemoveQueueApc: whether the APC was queued.
pub fn remove(thread: &Thread, apc: Foreign<KAPC>) -> bool {
    let kernel = {
        let mut queue = thread.kernel_apcs.queue.lock();
        let before = queue.special.len() + queue.normal.len();
        queue.special.retain(|&each| each != apc);
        queue.normal.retain(|&each| each != apc);
        before != queue.special.len() + queue.normal.len()
    };
    let removed = kernel || crate::apc::forget_object(thread, apc);
    if removed {
        apc.set(KAPC::Inserted, 0);
    }
    removed
}

/// Runs the routines of an APC that is off its queue; its memory may be gone after the kernel routine.
pub(crate) fn run(apc: Foreign<KAPC>) {
    let words = [KAPC::NormalContext, KAPC::SystemArgument1, KAPC::SystemArgument2].map(|word| apc.addr_at(word));
    let normal = apc.code(KAPC::NormalRoutine).map_or(0, CodePtr::addr);
    // The kernel routine may change all four through the pointers that it gets.
    let given = [normal, words[0], words[1], words[2]].map(AtomicU64::new);
    apc.set(KAPC::Inserted, 0);
    if let Some(kernel) = apc.code(KAPC::KernelRoutine) {
        let _level = irql::at(irql::APC_LEVEL);
        let at = |index: usize| given[index].as_ptr().expose_provenance() as u64;
        let _raised = callout::call(kernel, &[apc.addr(), at(0), at(1), at(2), at(3)]);
    }
    let [normal, context, first, second] = given.map(AtomicU64::into_inner);
    if let Some(normal) = crate::exports::code(normal) {
        let _raised = callout::call(normal, &[context, first, second]);
    }
}

enum Next {
    Special(Foreign<KAPC>),
    Normal(Foreign<KAPC>),
}

fn next(thread: &Thread) -> Option<Next> {
    let mut queue = thread.kernel_apcs.queue.lock();
    if !thread.specials_disabled()
        && let Some(apc) = queue.special.pop_front()
    {
        return Some(Next::Special(apc));
    }
    if !queue.running
        && !thread.normals_disabled()
        && let Some(apc) = queue.normal.pop_front()
    {
        queue.running = true;
        return Some(Next::Normal(apc));
    }
    thread.kernel_apcs.due.store(!queue.special.is_empty() || !queue.normal.is_empty(), Ordering::SeqCst);
    None
}

/// Whether an APC could run now: a wait is given up for it, and begun again.
pub(crate) fn deliverable(thread: &Thread) -> bool {
    if !thread.kernel_apcs.due.load(Ordering::Relaxed) {
        return false;
    }
    let queue = thread.kernel_apcs.queue.lock();
    (!queue.special.is_empty() && !thread.specials_disabled())
        || (!queue.normal.is_empty() && !queue.running && !thread.normals_disabled())
}

/// Runs what may run in the calling thread.
pub(crate) fn deliver(thread: &Thread) {
    while let Some(apc) = next(thread) {
        match apc {
            Next::Special(apc) => run(apc),
            Next::Normal(apc) => {
                run(apc);
                thread.kernel_apcs.queue.lock().running = false;
            }
        }
    }
}

/// The thread of `frame` ends: kernel APCs that wait run now, whatever held them back; user APCs are run down.
pub(crate) fn run_down(apc: Foreign<KAPC>) {
    let rundown = apc.code(KAPC::RundownRoutine);
    apc.set(KAPC::Inserted, 0);
    if let Some(rundown) = rundown {
        let _raised = callout::call(rundown, &[apc.addr()]);
    }
}

impl Frame {
    /// KeLeaveCriticalRegion, for kernel APCs that waited.
    pub(crate) fn kernel_apcs_enabled(&self) {
        if self.thread.kernel_apcs.due.load(Ordering::Relaxed) {
            deliver(&self.thread);
        }
    }
}
