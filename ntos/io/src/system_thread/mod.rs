//! Threads, work items and APCs of drivers: who runs what, in which thread.
//!
//! Room: ntos/io (they hold device objects and handles). IRQL: PASSIVE_LEVEL; work items and APCs are queued at <= DISPATCH_LEVEL.
//! Locks: none. The exported names are in [`exports`]. Source: PsCreateSystemThread, PsTerminateSystemThread, IoAllocateWorkItem,
//! IoQueueWorkItem pages; rules NT-KR-33 to NT-KR-37, NT-KR-42, NT-KR-43.

use nt_abi::ob::OBJ_KERNEL_HANDLE;
use nt_abi::{Bytes, Code, NtResult, NtStatus, Ptr};
use nt_cell::{CodePtr, Foreign, callout};
use nt_ex::pool;
use nt_ke::work::WorkQueue;
use nt_ke::{Frame, Kernel, systhread};
use nt_ob::types::ObjectType;
use nt_ob::{Handle, object};
use std::cell::Cell;
use std::sync::Arc;

pub mod exports;

nt_abi::layout! {
    /// An IO_WORKITEM; drivers know its address and its size.
    pub struct IO_WORKITEM: 0x40 {
        /// 1 while it is queued.
        Busy @ 0x00: i32;
        /// 1 for a routine that gets the item too.
        Ex @ 0x04: i32;
        /// The device or driver object.
        Object @ 0x08: Ptr<Bytes>;
        /// The routine.
        Routine @ 0x10: Code;
        /// Its context.
        Context @ 0x18: Ptr<Bytes>;
    }
}

/// IoInitializeWorkItem.
pub fn initialize(item: Foreign<IO_WORKITEM>, object: u64) {
    item.set(IO_WORKITEM::Busy, 0);
    item.set_addr(IO_WORKITEM::Object, object);
}

/// IoAllocateWorkItem.
#[must_use]
pub fn allocate(object: u64) -> Option<Foreign<IO_WORKITEM>> {
    let item = pool::zeroed::<IO_WORKITEM>(pool::tag(b"IoWi"))?;
    initialize(item, object);
    Some(item)
}

/// IoQueueWorkItem: the routine runs once, with the object counted until it returns.
///
/// # Panics
/// For an item that is queued (bug check WORKER_INVALID, E4h).
pub fn queue(kernel: &Arc<Kernel>, item: Foreign<IO_WORKITEM>, routine: Option<CodePtr>, context: u64, ex: bool) {
    assert!(item.cas32(IO_WORKITEM::Busy, 0, 1).is_ok(), "bug check 0xE4 WORKER_INVALID: a work item is queued twice");
    item.set(IO_WORKITEM::Ex, i32::from(ex));
    item.set_code(IO_WORKITEM::Routine, routine);
    item.set_addr(IO_WORKITEM::Context, context);
    let counted = item.ptr(IO_WORKITEM::Object).map(object::reference);
    WorkQueue::queue(kernel, move || {
        let (routine, context) = (item.code(IO_WORKITEM::Routine), item.addr_at(IO_WORKITEM::Context));
        let ex = item.get(IO_WORKITEM::Ex) != 0;
        // Off the queue before it runs: the routine may queue the item again, or free it.
        item.set(IO_WORKITEM::Busy, 0);
        let object = counted.as_ref().map_or(0, |object| object.body().addr());
        if let Some(routine) = routine {
            let _raised = if ex {
                callout::call(routine, &[object, context, item.addr()])
            } else {
                callout::call(routine, &[object, context])
            };
        }
        drop(counted);
    });
}

thread_local! {
    /// Whether this host thread is one that PsCreateSystemThread made.
    static SYSTEM: Cell<bool> = const { Cell::new(false) };
}

/// PsCreateSystemThread: a handle to the thread, with its process' and its own id.
pub fn create(
    frame: &Frame,
    process: Handle,
    access: u32,
    attributes: u32,
    routine: CodePtr,
    context: u64,
) -> NtResult<(Handle, u64, u64)> {
    let room = nt_ps::process::processes(&frame.kernel);
    let owner = match process {
        Handle::NULL => Arc::clone(room.system()),
        Handle::CURRENT_PROCESS => {
            let current = nt_ps::current_process(frame).object().addr();
            room.process_at(current).ok_or(NtStatus::PROCESS_IS_TERMINATING.error())?
        }
        handle => {
            let (object, _) = crate::event::reference(frame, handle, ObjectType::Process, 0, frame.mode())?;
            room.process_at(object.body().addr()).ok_or(NtStatus::PROCESS_IS_TERMINATING.error())?
        }
    };
    let thread = room.create_thread(&frame.kernel, &owner)?;
    let (id, body) = (thread.id(), Foreign::<Bytes>::of_table(thread.object()));
    let granted = ObjectType::Thread.routines().mapping.map(access);
    let table = if attributes & OBJ_KERNEL_HANDLE != 0 {
        &room.system().handles
    } else {
        &nt_ps::current_process(frame).handles
    };
    let handle = table.insert(&object::reference(body), granted, attributes)?;
    let started = systhread::start(&frame.kernel, thread, move || {
        SYSTEM.set(true);
        // A raise that nobody takes has been reported; PsTerminateSystemThread comes back this way too.
        let _ended = callout::call(routine, &[context]);
    });
    if !started {
        let _closed = table.close(handle);
        return NtStatus::INSUFFICIENT_RESOURCES.fail();
    }
    Ok((handle, owner.id(), id))
}

/// PsTerminateSystemThread: INVALID_PARAMETER in a thread that no driver made; else the driver's frames are left, and the
/// thread has ended when the import returns.
pub fn terminate(status: NtStatus) -> NtStatus {
    if !SYSTEM.get() {
        return NtStatus::INVALID_PARAMETER;
    }
    callout::abandon(status);
    status
}

/// IoIsSystemThread: whether a thread belongs to the system process.
#[must_use]
pub fn is_system(frame: &Frame, thread: u64) -> bool {
    let room = nt_ps::process::processes(&frame.kernel);
    let process = room.thread_at(thread).and_then(|thread| thread.process_arc::<nt_ps::Process>());
    process.is_some_and(|process| Arc::ptr_eq(&process, room.system()))
}
