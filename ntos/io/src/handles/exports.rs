//! Waits and alerts by handle, events, duplicates, links, and what a pointer or an id names, under their exported names.
//!
//! Room: ntos/io. Called by: compiled drivers. IRQL: PASSIVE_LEVEL. Calls: [`super`], [`crate::event`], [`crate::thread`].

use super::Duplicate;
use crate::exports::{at, attributes, code, load, status, store, timeout, type_slot, zw};
use crate::{event, thread};
use nt_abi::ob::UNICODE_STRING;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Foreign, exports};
use nt_ke::wait::WaitType;
use nt_ke::{Frame, Mode};
use nt_ob::types::ObjectType;
use nt_ob::{Handle, object};

fn wait_one(frame: &Frame, handle: u64, alertable: u8, at_most: u64) -> u32 {
    status(timeout(frame, at_most).and_then(|at_most| event::wait_for(frame, Handle(handle), alertable != 0, at_most)))
}

fn wait_several(frame: &Frame, count: u32, list: u64, kind: u32, alertable: u8, at_most: u64) -> NtResult<NtStatus> {
    if count == 0 || count > nt_abi::ke::MAXIMUM_WAIT_OBJECTS {
        return NtStatus::INVALID_PARAMETER_1.fail();
    }
    let kind = match kind {
        0 => WaitType::All,
        1 => WaitType::Any,
        _ => return NtStatus::INVALID_PARAMETER_3.fail(),
    };
    let handles: NtResult<Vec<_>> =
        (0..u64::from(count)).map(|index| load::<u64>(frame, list + 8 * index).map(Handle)).collect();
    event::wait_for_several(frame, &handles?, kind, alertable != 0, timeout(frame, at_most)?)
}

fn change(frame: &Frame, handle: u64, previous: u64, signal: bool) -> NtResult<NtStatus> {
    let was = event::change(frame, Handle(handle), signal)?;
    if previous != 0 {
        store::<u32>(frame, previous, was as u32)?;
    }
    Ok(NtStatus::SUCCESS)
}

fn delay(frame: &Frame, alertable: u8, interval: u64) -> u32 {
    status(load::<i64>(frame, interval).map(|interval| thread::nt_delay_execution(frame, alertable != 0, interval)))
}

fn queue(frame: &Frame, target: u64, routine: u64, arguments: [u64; 3]) -> u32 {
    let Some(routine) = code(routine) else { return NtStatus::INVALID_PARAMETER.0 };
    thread::nt_queue_apc_thread(frame, Handle(target), routine, arguments).0
}

#[expect(clippy::too_many_arguments, reason = "NtDuplicateObject's seven")]
fn duplicate(
    frame: &Frame,
    source_process: u64,
    source: u64,
    target_process: u64,
    out: u64,
    access: u32,
    attributes: u32,
    options: u32,
) -> NtResult<NtStatus> {
    let what = Duplicate {
        source_process: Handle(source_process),
        source: Handle(source),
        target_process: (target_process != 0).then_some(Handle(target_process)),
        access,
        attributes,
        options,
    };
    if let Some(made) = super::duplicate(frame, &what)?
        && out != 0
    {
        store::<u64>(frame, out, made.0)?;
    }
    Ok(NtStatus::SUCCESS)
}

fn open_by_pointer(body: u64, flags: u32, access: u32, kind: u64, mode: u8, out: u64) -> NtResult<NtStatus> {
    let frame = nt_ke::current();
    let body = at::<Bytes>(body).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let kind = match kind {
        0 => None,
        block => Some(ObjectType::from_block(block).ok_or(NtStatus::OBJECT_TYPE_MISMATCH.error())?),
    };
    let made = super::open_by_pointer(&frame, body, kind, access, flags, Mode::from_raw(mode))?;
    frame.with_mode(Mode::Kernel, || store::<u64>(&frame, out, made.0))?;
    Ok(NtStatus::SUCCESS)
}

fn open_link(frame: &Frame, out: u64, access: u32, named: u64) -> NtResult<NtStatus> {
    let (root, name, flags) = attributes(frame, named)?;
    if root != Handle::NULL {
        return NtStatus::NOT_SUPPORTED.fail(); // directories of the namespace have no handles here
    }
    let made = super::open_link(frame, &name, access, flags)?;
    store::<u64>(frame, out, made.0)?;
    Ok(NtStatus::SUCCESS)
}

/// The target goes into a UNICODE_STRING that the caller laid out; its length is told also where it does not fit.
fn query_link(frame: &Frame, link: u64, string: u64, needed: u64) -> NtResult<NtStatus> {
    let target: Vec<u16> = super::query_link(frame, Handle(link))?.encode_utf16().collect();
    let bytes = u16::try_from(target.len() * 2).map_err(|_| NtStatus::NAME_TOO_LONG.error())?;
    if needed != 0 {
        store::<u32>(frame, needed, bytes.into())?;
    }
    let most = load::<u16>(frame, string + UNICODE_STRING::MaximumLength.offset() as u64)?;
    if bytes > most {
        return NtStatus::BUFFER_TOO_SMALL.fail();
    }
    let buffer = load::<u64>(frame, string + UNICODE_STRING::Buffer.offset() as u64)?;
    for (unit, to) in target.iter().zip((buffer..).step_by(2)) {
        store::<u16>(frame, to, *unit)?;
    }
    store::<u16>(frame, string, bytes)?;
    Ok(NtStatus::SUCCESS)
}

/// Gives the counted object that an id names.
fn look_up(found: Option<Foreign<Bytes>>, out: u64) -> u32 {
    let Some(body) = found else { return NtStatus::INVALID_PARAMETER.0 };
    let stored = zw(|frame| store::<u64>(frame, out, object::reference(body).into_raw().addr()));
    status(stored.map(|()| NtStatus::SUCCESS))
}

exports! { "ntoskrnl.exe" =>
    Full code NtWaitForSingleObject(handle: u64, alertable: u8, at_most: u64) -> u32 { wait_one(&nt_ke::current(), handle, alertable, at_most) }
    Full code NtWaitForMultipleObjects(count: u32, handles: u64, kind: u32, alertable: u8, at_most: u64) -> u32 {
        status(wait_several(&nt_ke::current(), count, handles, kind, alertable, at_most))
    }
    Full code ZwWaitForMultipleObjects(count: u32, handles: u64, kind: u32, alertable: u8, at_most: u64) -> u32 {
        zw(|frame| status(wait_several(frame, count, handles, kind, alertable, at_most)))
    }
    Full code NtTestAlert() -> u32 { thread::nt_test_alert(&nt_ke::current()).0 }
    Full code ZwTestAlert() -> u32 { zw(|frame| thread::nt_test_alert(frame).0) }
    Full code NtAlertThread(handle: u64) -> u32 { thread::nt_alert_thread(&nt_ke::current(), Handle(handle)).0 }
    Full code ZwAlertThread(handle: u64) -> u32 { zw(|frame| thread::nt_alert_thread(frame, Handle(handle)).0) }
    Full code NtDelayExecution(alertable: u8, interval: u64) -> u32 { delay(&nt_ke::current(), alertable, interval) }
    Full code ZwDelayExecution(alertable: u8, interval: u64) -> u32 { zw(|frame| delay(frame, alertable, interval)) }
    Full code NtQueueApcThread(handle: u64, routine: u64, first: u64, second: u64, third: u64) -> u32 {
        queue(&nt_ke::current(), handle, routine, [first, second, third])
    }
    Full code ZwQueueApcThread(handle: u64, routine: u64, first: u64, second: u64, third: u64) -> u32 {
        zw(|frame| queue(frame, handle, routine, [first, second, third]))
    }
    Full code NtResetEvent(handle: u64, previous: u64) -> u32 { status(change(&nt_ke::current(), handle, previous, false)) }
    Full code ZwResetEvent(handle: u64, previous: u64) -> u32 { zw(|frame| status(change(frame, handle, previous, false))) }
    Full code NtClearEvent(handle: u64) -> u32 { status(change(&nt_ke::current(), handle, 0, false)) }
    Full code ZwClearEvent(handle: u64) -> u32 { zw(|frame| status(change(frame, handle, 0, false))) }
    Partial("a user caller gets no more access than the source has: descriptors are not asked") code NtDuplicateObject(from: u64, handle: u64, to: u64, out: u64, access: u32, flags: u32, options: u32) -> u32 {
        status(duplicate(&nt_ke::current(), from, handle, to, out, access, flags, options))
    }
    Full code ZwDuplicateObject(from: u64, handle: u64, to: u64, out: u64, access: u32, flags: u32, options: u32) -> u32 {
        zw(|frame| status(duplicate(frame, from, handle, to, out, access, flags, options)))
    }
    Partial("the passed access state is not looked at") code ObOpenObjectByPointer(body: u64, flags: u32, _state: u64, access: u32, kind: u64, mode: u8, out: u64) -> u32 {
        status(open_by_pointer(body, flags, access, kind, mode, out))
    }
    Full code ObfReferenceObjectWithTag(body: u64, _tag: u32) -> u64 {
        at::<Bytes>(body).map_or(0, |body| { let _kept = object::reference(body).into_raw(); object::pointer_count(body) as u64 })
    }
    Full code ObfDereferenceObjectWithTag(body: u64, _tag: u32) -> u64 { at::<Bytes>(body).map_or(0, |body| object::dereference(body) as u64) }
    Full code ObDereferenceObjectDeferDelete(body: u64) {
        if let Some(body) = at::<Bytes>(body) {
            nt_ke::work::WorkQueue::queue(&nt_ke::current().kernel, move || { object::dereference(body); });
        }
    }
    Full code ObIsKernelHandle(handle: u64) -> u8 { u8::from(Handle(handle).is_kernel()) }
    Full code ZwOpenSymbolicLinkObject(out: u64, access: u32, named: u64) -> u32 { zw(|frame| status(open_link(frame, out, access, named))) }
    Full code ZwQuerySymbolicLinkObject(link: u64, target: u64, needed: u64) -> u32 { zw(|frame| status(query_link(frame, link, target, needed))) }
    Full code PsLookupProcessByProcessId(id: u64, out: u64) -> u32 {
        let frame = nt_ke::current();
        look_up(nt_ps::process::processes(&frame.kernel).process_by_id(id).map(|process| process.object()), out)
    }
    Full code PsLookupThreadByThreadId(id: u64, out: u64) -> u32 {
        let frame = nt_ke::current();
        look_up(nt_ps::process::processes(&frame.kernel).thread_by_id(id).map(|thread| Foreign::of_table(thread.object())), out)
    }
    Full code PsGetProcessId(process: u64) -> u64 {
        nt_ps::process::processes(&nt_ke::current().kernel).process_at(process).map_or(0, |process| process.id())
    }
    Full code PsGetThreadId(thread: u64) -> u64 {
        nt_ps::process::processes(&nt_ke::current().kernel).thread_at(thread).map_or(0, |thread| thread.id())
    }
    Full data PsThreadType() -> u64 { type_slot(ObjectType::Thread) }
    Full data PsProcessType() -> u64 { type_slot(ObjectType::Process) }
}
