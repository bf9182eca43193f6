//! Events with handles, waits by handle, and events of our own.
//!
//! Room: ntos/io (the services stand beside the file services that use them). IRQL: PASSIVE_LEVEL. Locks: none.
//! Source: NtCreateEvent, NtWaitForSingleObject, IoCreateNotificationEvent pages; rules NT-A-15, NT-M-15, V-15.

use nt_abi::io::IO_STATUS_BLOCK;
use nt_abi::ke::{DISPATCHER_HEADER, KEVENT};
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::Foreign;
use nt_ex::pool;
use nt_ke::dispatcher::{self, EventType};
use nt_ke::wait::{self, WaitType};
use nt_ke::{Frame, Mode};
use nt_ob::access::{EVENT_MODIFY_STATE, SYNCHRONIZE};
use nt_ob::types::ObjectType;
use nt_ob::{Handle, ObjectRef, object};

/// An event and a status block in pool that only this call uses.
#[derive(Debug)]
pub struct LocalEvent {
    block: Foreign<KEVENT>,
}

impl LocalEvent {
    /// Makes a notification event, not signalled, with an empty status block.
    #[must_use]
    pub fn new() -> Option<Self> {
        let size = KEVENT::SIZE + IO_STATUS_BLOCK::SIZE;
        let block = pool::allocate(size, pool::tag(b"Levt"), pool::PoolKind::NonPaged)?.view::<KEVENT>();
        dispatcher::initialize_event(block, EventType::Notification, false);
        Some(Self { block })
    }
    /// Returns the event.
    #[must_use]
    pub fn event(&self) -> Foreign<KEVENT> {
        self.block
    }
    /// Returns the status block.
    #[must_use]
    pub fn status_block(&self) -> Foreign<IO_STATUS_BLOCK> {
        self.block.following::<IO_STATUS_BLOCK>()
    }
    /// Reads the status block.
    #[must_use]
    pub fn result(&self) -> crate::irp::IoStatus {
        let block = self.status_block();
        crate::irp::IoStatus::new(block.get(IO_STATUS_BLOCK::Status), block.get(IO_STATUS_BLOCK::Information))
    }
}

impl Drop for LocalEvent {
    fn drop(&mut self) {
        pool::free(self.block);
    }
}

/// NtCreateEvent without a name.
pub fn create(frame: &Frame, access: u32, attributes: u32, kind: EventType, signaled: bool) -> NtResult<Handle> {
    let made = object::create::<KEVENT>(ObjectType::Event, KEVENT::SIZE, frame.kernel.id())?;
    dispatcher::initialize_event(made.body(), kind, signaled);
    let granted = ObjectType::Event.routines().mapping.map(access);
    let kernel = frame.mode() == Mode::Kernel && attributes & nt_abi::ob::OBJ_KERNEL_HANDLE != 0;
    let table = if kernel {
        &nt_ps::process::processes(&frame.kernel).system().handles
    } else {
        &nt_ps::current_process(frame).handles
    };
    table.insert(&made.retype::<Bytes>(), granted, attributes)
}

/// References an object by handle: kind and access checked as ObReferenceObjectByHandle does; KernelMode callers'
/// access is not checked.
pub fn reference(
    frame: &Frame,
    handle: Handle,
    kind: ObjectType,
    desired: u32,
    mode: Mode,
) -> NtResult<(ObjectRef<Bytes>, u32)> {
    let kernel = mode == Mode::Kernel;
    if handle == Handle::CURRENT_PROCESS {
        let process = nt_ps::current_process(frame);
        if kind != ObjectType::Process {
            return NtStatus::OBJECT_TYPE_MISMATCH.fail();
        }
        return Ok((object::reference(process.object()), u32::MAX));
    }
    if handle == Handle::CURRENT_THREAD {
        if kind != ObjectType::Thread {
            return NtStatus::OBJECT_TYPE_MISMATCH.fail();
        }
        return Ok((object::reference(Foreign::of_table(frame.thread.object())), u32::MAX));
    }
    let found = nt_ps::table_of(frame, handle, kernel).reference(handle)?;
    if found.kind != kind {
        return NtStatus::OBJECT_TYPE_MISMATCH.fail();
    }
    if !kernel && found.granted & desired != desired {
        return NtStatus::ACCESS_DENIED.fail();
    }
    Ok((found.object, found.granted))
}

/// References the event of a request (V-15): it needs EVENT_MODIFY_STATE.
pub fn for_request(frame: &Frame, handle: Handle, mode: Mode) -> NtResult<Option<ObjectRef<KEVENT>>> {
    if handle == Handle::NULL {
        return Ok(None);
    }
    let (object, _) = reference(frame, handle, ObjectType::Event, EVENT_MODIFY_STATE, mode)?;
    Ok(Some(object.retype()))
}

/// NtClose.
pub fn close(frame: &Frame, handle: Handle) -> NtResult<()> {
    nt_ps::table_of(frame, handle, frame.mode() == Mode::Kernel).close(handle)
}

/// NtWaitForSingleObject: needs SYNCHRONIZE (NT-A-15).
pub fn wait_for(frame: &Frame, handle: Handle, alertable: bool, timeout: Option<i64>) -> NtResult<NtStatus> {
    frame.service(|| wait_for_one(frame, handle, alertable, timeout))
}

fn wait_for_one(frame: &Frame, handle: Handle, alertable: bool, timeout: Option<i64>) -> NtResult<NtStatus> {
    let mode = frame.mode();
    let kernel = mode == Mode::Kernel;
    let found = nt_ps::table_of(frame, handle, kernel).reference(handle)?;
    if !kernel && found.granted & SYNCHRONIZE == 0 {
        return NtStatus::ACCESS_DENIED.fail();
    }
    let header = header_of(&found.object, found.kind)?;
    Ok(wait::wait_for_single(frame, header, mode, alertable, timeout))
}

/// NtWaitForMultipleObjects: 1 to 64 objects, each with SYNCHRONIZE; a wait for all may not name one twice.
pub fn wait_for_several(
    frame: &Frame,
    handles: &[Handle],
    kind: WaitType,
    alertable: bool,
    timeout: Option<i64>,
) -> NtResult<NtStatus> {
    let mode = frame.mode();
    let kernel = mode == Mode::Kernel;
    if handles.is_empty() || handles.len() > nt_abi::ke::MAXIMUM_WAIT_OBJECTS as usize {
        return NtStatus::INVALID_PARAMETER_1.fail();
    }
    frame.service(|| {
        let (mut objects, mut headers) = (Vec::new(), Vec::new());
        for &handle in handles {
            let found = nt_ps::table_of(frame, handle, kernel).reference(handle)?;
            if !kernel && found.granted & SYNCHRONIZE == 0 {
                return NtStatus::ACCESS_DENIED.fail();
            }
            let header = header_of(&found.object, found.kind)?;
            if kind == WaitType::All && headers.contains(&header) {
                return NtStatus::INVALID_PARAMETER_MIX.fail();
            }
            headers.push(header);
            objects.push(found.object);
        }
        Ok(wait::wait_for_multiple(frame, &headers, kind, mode, alertable, timeout))
    })
}

/// Finds the dispatcher header that a wait on an object uses.
pub fn header_of(object: &ObjectRef<Bytes>, kind: ObjectType) -> NtResult<Foreign<DISPATCHER_HEADER>> {
    match kind {
        ObjectType::File => {
            Ok(object.body().view::<nt_abi::io::FILE_OBJECT>().at(nt_abi::io::FILE_OBJECT::Event).at(KEVENT::Header))
        }
        ObjectType::Event
        | ObjectType::Semaphore
        | ObjectType::Mutant
        | ObjectType::IoCompletion
        | ObjectType::Thread
        | ObjectType::Process => Ok(object.body().view()),
        _ => NtStatus::OBJECT_TYPE_MISMATCH.fail(),
    }
}

/// NtSetEvent / NtResetEvent by handle; returns the former state.
pub fn change(frame: &Frame, handle: Handle, signal: bool) -> NtResult<i32> {
    let (object, _) = reference(frame, handle, ObjectType::Event, EVENT_MODIFY_STATE, frame.mode())?;
    let event = object.body().view::<KEVENT>();
    Ok(if signal { dispatcher::set_event(event) } else { dispatcher::reset_event(event) })
}
