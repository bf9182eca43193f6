//! Completion ports.
//!
//! Room: ntos/io. IRQL: queueing <= DISPATCH_LEVEL, removing PASSIVE_LEVEL. Locks: the port's packet queue.
//! Source: NtCreateIoCompletion family; rules NT-Q-05, NT-Q-08, NT-Q-09, NT-Q-12, NT-I-16. The port object is a KQUEUE-like
//! dispatcher header whose SignalState counts packets, so that a wait on the handle works too.

use crate::irp::IoStatus;
use nt_abi::io::{FILE_OBJECT, FO_SKIP_COMPLETION_PORT, FO_SYNCHRONOUS_IO, IO_COMPLETION_CONTEXT};
use nt_abi::ke::{DISPATCHER_HEADER, KSEMAPHORE};
use nt_abi::ob::{IO_COMPLETION_MODIFY_STATE, IO_COMPLETION_QUERY_STATE};
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Foreign, Steady};
use nt_ex::pool;
use nt_ke::wait::{self, WaitType};
use nt_ke::{Frame, Mode, Mutex};
use nt_ob::access::GenericMapping;
use nt_ob::types::{self, ObjectType, Routines};
use nt_ob::{Handle, ObjectRef, object};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;

/// One packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// The key of the association.
    pub key: u64,
    /// ApcContext of the request.
    pub context: u64,
    /// The result.
    pub result: IoStatus,
}

static QUEUES: Steady<Mutex<VecDeque<Packet>>> = Steady::new();

pub(crate) fn register_type() {
    types::register(
        ObjectType::IoCompletion,
        Routines {
            mapping: GenericMapping::PORT,
            close: None,
            delete: Some(|body| {
                QUEUES.remove(object::native_key(body));
            }),
            wait: Some(0),
        },
    );
}

/// NtCreateIoCompletion.
pub fn create(frame: &Frame, access: u32) -> NtResult<Handle> {
    let made = object::create::<KSEMAPHORE>(ObjectType::IoCompletion, KSEMAPHORE::SIZE, frame.kernel.id())?;
    nt_ke::dispatcher::initialize_header(made.body().at(KSEMAPHORE::Header), nt_ke::dispatcher::kind::SEMAPHORE, 8, 0);
    made.body().set(KSEMAPHORE::Limit, i32::MAX);
    object::set_native_key(made.body(), QUEUES.insert(Mutex::new(VecDeque::new())));
    let granted = ObjectType::IoCompletion.routines().mapping.map(access);
    nt_ps::current_process(frame).handles.insert(&made.retype(), granted, 0)
}

/// Queues a packet (NtSetIoCompletion, completions).
pub fn queue(port: Foreign<KSEMAPHORE>, packet: Packet) {
    if let Some(queue) = QUEUES.get(object::native_key(port)) {
        queue.lock().push_back(packet);
        let _full = wait::release_semaphore(port, 1);
    }
}

fn port_of(frame: &Frame, handle: Handle, access: u32) -> NtResult<ObjectRef<KSEMAPHORE>> {
    let (object, _) = crate::event::reference(frame, handle, ObjectType::IoCompletion, access, frame.mode())?;
    Ok(object.retype())
}

/// NtSetIoCompletion: queues a packet that is returned as it is.
pub fn set(frame: &Frame, handle: Handle, packet: Packet) -> NtResult<()> {
    queue(*port_of(frame, handle, IO_COMPLETION_MODIFY_STATE)?, packet);
    Ok(())
}

/// NtQueryIoCompletion: how many packets are queued.
pub fn depth(frame: &Frame, handle: Handle) -> NtResult<u32> {
    let port = port_of(frame, handle, IO_COMPLETION_QUERY_STATE)?;
    Ok(port.at(KSEMAPHORE::Header).get(DISPATCHER_HEADER::SignalState).max(0).cast_unsigned())
}

/// NtRemoveIoCompletion: TIMEOUT when none came.
pub fn remove(frame: &Frame, handle: Handle, timeout: Option<i64>) -> NtResult<Result<Packet, NtStatus>> {
    let port = port_of(frame, handle, IO_COMPLETION_MODIFY_STATE)?;
    let mut taken = None;
    let done = frame.service(|| take(frame, *port, 1, timeout, false, |packet| taken = Some(packet)));
    Ok(done.and_then(|()| taken.ok_or(NtStatus::TIMEOUT)))
}

/// NtRemoveIoCompletionEx: up to `count` packets that are there once one is (NT-Q-12, NT-Q-13).
pub fn remove_several(
    frame: &Frame,
    handle: Handle,
    count: u32,
    timeout: Option<i64>,
    alertable: bool,
) -> NtResult<Result<Vec<Packet>, NtStatus>> {
    if count == 0 {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let port = port_of(frame, handle, IO_COMPLETION_MODIFY_STATE)?;
    let mut packets = Vec::new();
    let done = frame.service(|| take(frame, *port, count, timeout, alertable, |packet| packets.push(packet)));
    Ok(done.map(|()| packets))
}

fn take(
    frame: &Frame,
    port: Foreign<KSEMAPHORE>,
    count: u32,
    timeout: Option<i64>,
    alertable: bool,
    mut each: impl FnMut(Packet),
) -> Result<(), NtStatus> {
    let header = port.at(KSEMAPHORE::Header);
    let mine = &frame.thread.port;
    // NT-Q-13: a thread that has not taken a packet from this port before looks at its APCs first.
    if alertable && mine.load(Ordering::Relaxed) != port.addr() {
        let status = wait::wait_for_multiple(frame, &[], WaitType::Any, frame.mode(), true, Some(0));
        if status != NtStatus::TIMEOUT {
            return Err(status);
        }
    }
    let status = wait::wait_for_single(frame, header, frame.mode(), alertable, timeout);
    if status != NtStatus::SUCCESS {
        return Err(status);
    }
    mine.store(port.addr(), Ordering::Relaxed);
    let queue = QUEUES.get(object::native_key(port));
    let mut got = 0;
    let mut next = || {
        if let Some(packet) = queue.as_ref().and_then(|queue| queue.lock().pop_front()) {
            each(packet);
            got += 1;
        }
        got
    };
    let more = || wait::wait_for_single(frame, header, Mode::Kernel, false, Some(0)) == NtStatus::SUCCESS;
    while next() < count && more() {}
    Ok(())
}

/// FileCompletionInformation: associates a file with a port (NT-I-16).
pub fn associate(frame: &Frame, file: Foreign<FILE_OBJECT>, handle: Handle, key: u64) -> NtResult<()> {
    if file.get(FILE_OBJECT::Flags) & FO_SYNCHRONOUS_IO != 0 || file.ptr(FILE_OBJECT::CompletionContext).is_some() {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let (object, _) = crate::event::reference(frame, handle, ObjectType::IoCompletion, 2, frame.mode())?;
    let context = pool::zeroed::<IO_COMPLETION_CONTEXT>(pool::tag(b"IoCc"));
    let context = context.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    context.set_ptr(IO_COMPLETION_CONTEXT::Port, Some(object.into_raw()));
    context.set(IO_COMPLETION_CONTEXT::Key, key);
    file.set_ptr(FILE_OBJECT::CompletionContext, Some(context));
    Ok(())
}

/// FileReplaceCompletionInformation: another port, or none for handle 0 (NT-I-16).
pub fn replace(frame: &Frame, file: Foreign<FILE_OBJECT>, handle: Handle, key: u64) -> NtResult<()> {
    if file.get(FILE_OBJECT::Flags) & FO_SYNCHRONOUS_IO != 0 {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if handle != Handle::NULL {
        // The new port is looked up first: a bad handle leaves the association as it was.
        drop(port_of(frame, handle, IO_COMPLETION_MODIFY_STATE)?);
    }
    detach(file);
    if handle == Handle::NULL { Ok(()) } else { associate(frame, file, handle, key) }
}

/// Drops a file's association.
pub(crate) fn detach(file: Foreign<FILE_OBJECT>) {
    if let Some(context) = file.ptr(FILE_OBJECT::CompletionContext) {
        file.set_ptr(FILE_OBJECT::CompletionContext, None);
        if let Some(port) = context.ptr(IO_COMPLETION_CONTEXT::Port) {
            drop(ObjectRef::<Bytes>::adopt(port));
        }
        pool::free(context);
    }
}

/// Queues the packet of a completed request, if the file has a port (NT-Q-05, NT-Q-09).
pub fn queue_completion(file: Foreign<FILE_OBJECT>, context: u64, result: IoStatus, pended: bool) {
    let Some(association) = file.ptr(FILE_OBJECT::CompletionContext) else { return };
    let skip = file.get(FILE_OBJECT::Flags) & FO_SKIP_COMPLETION_PORT != 0;
    let skipped = if nt_ke::current().kernel.windows() >= nt_ke::WindowsVersion::Win8 {
        result.status.is_success()
    } else {
        !result.status.is_error()
    };
    if skip && !pended && skipped {
        return;
    }
    if let Some(port) = association.ptr(IO_COMPLETION_CONTEXT::Port) {
        queue(port.view(), Packet { key: association.get(IO_COMPLETION_CONTEXT::Key), context, result });
    }
}
