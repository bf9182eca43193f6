//! The names of system threads, device work items and kernel APC objects.
//!
//! Room: ntos/io. Called by: compiled drivers. IRQL: as each DDI page says. Calls: [`super`], `nt_ke::kapc`.

use super::IO_WORKITEM;
use crate::exports::{at, attributes, code, store};
use nt_abi::ke::KAPC;
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::{Foreign, exports};
use nt_ke::kapc::{self, Spec};
use nt_ke::{Mode, Thread};
use nt_ob::Handle;
use std::sync::Arc;

fn create(
    out: u64,
    access: u32,
    named: u64,
    process: u64,
    client: u64,
    start: u64,
    context: u64,
) -> NtResult<NtStatus> {
    let frame = nt_ke::current();
    let routine = code(start).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    frame.with_mode(Mode::Kernel, || {
        let (_, _, flags) = attributes(&frame, named)?;
        let (handle, process, thread) = super::create(&frame, Handle(process), access, flags, routine, context)?;
        store(&frame, out, handle.0)?;
        if client != 0 {
            store(&frame, client, process).and_then(|()| store(&frame, client + 8, thread))?;
        }
        Ok(NtStatus::SUCCESS)
    })
}

fn queue(item: u64, routine: u64, context: u64, ex: bool) {
    if let Some(item) = at::<IO_WORKITEM>(item) {
        super::queue(&nt_ke::current().kernel, item, code(routine), context, ex);
    }
}

fn thread_of(apc: Foreign<KAPC>) -> Option<Arc<Thread>> {
    nt_ps::process::processes(&nt_ke::current().kernel).thread_at(apc.addr_at(KAPC::Thread))
}

exports! { "ntoskrnl.exe" =>
    Full code PsCreateSystemThread(out: u64, access: u32, named: u64, process: u64, client: u64, start: u64, context: u64) -> u32 {
        create(out, access, named, process, client, start, context).unwrap_or_else(NtError::status).0
    }
    Full raises PsTerminateSystemThread(status: u32) -> u32 { super::terminate(NtStatus(status)).0 }
    Full code IoIsSystemThread(thread: u64) -> u8 { u8::from(super::is_system(&nt_ke::current(), thread)) }
    Full code PsIsSystemThread(thread: u64) -> u8 { u8::from(super::is_system(&nt_ke::current(), thread)) }
    Full code IoAllocateWorkItem(object: u64) -> u64 { super::allocate(object).map_or(0, Foreign::addr) }
    Full code IoSizeofWorkItem() -> u32 { IO_WORKITEM::SIZE as u32 }
    Full code IoInitializeWorkItem(object: u64, item: u64) { if let Some(item) = at::<IO_WORKITEM>(item) { super::initialize(item, object); } }
    Full code IoUninitializeWorkItem(_item: u64) { }
    Full code IoQueueWorkItem(item: u64, routine: u64, _queue: u32, context: u64) { queue(item, routine, context, false); }
    Full code IoQueueWorkItemEx(item: u64, routine: u64, _queue: u32, context: u64) { queue(item, routine, context, true); }
    Full code IoFreeWorkItem(item: u64) { if let Some(item) = at::<IO_WORKITEM>(item) { nt_ex::pool::free(item); } }
    Partial("APCs of every environment run in the thread's own process") code KeInitializeApc(apc: u64, thread: u64, environment: u32, kernel: u64, rundown: u64, normal: u64, mode: u8, context: u64) {
        if let Some(apc) = at::<KAPC>(apc) {
            let spec = Spec { kernel: code(kernel), rundown: code(rundown), normal: code(normal), user: mode != 0, context };
            kapc::initialize(apc, thread, environment, &spec);
        }
    }
    Partial("a thread that computes is not interrupted: its kernel APCs run when it waits, leaves a region or a service, or lowers its IRQL") code KeInsertQueueApc(apc: u64, first: u64, second: u64, _increment: i32) -> u8 {
        let Some(apc) = at::<KAPC>(apc) else { return 0 };
        thread_of(apc).map_or(0, |thread| u8::from(kapc::insert(&thread, apc, first, second)))
    }
    Full code KeRemoveQueueApc(apc: u64) -> u8 {
        let Some(apc) = at::<KAPC>(apc) else { return 0 };
        thread_of(apc).map_or(0, |thread| u8::from(kapc::remove(&thread, apc)))
    }
}
