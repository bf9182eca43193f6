//! File objects: making, locking, cleanup and close.
//!
//! Room: ntos/io. IRQL: PASSIVE_LEVEL. Locks: the file-object lock (Busy, Waiters, Lock), held across a driver because
//! NT-W-11 asks for it. Source: FILE_OBJECT page; rules NT-M-20, NT-T-06, NT-W-11, NT-E-08, NT-A-13.

use crate::device::{self, Device};
use crate::irp::{self, Irp};
use crate::observe::Scope;
use crate::send;
use crate::system::System;
use nt_abi::io::{
    FILE_OBJECT, FO_ALERTABLE_IO, FO_CLEANUP_COMPLETE, FO_HANDLE_CREATED, FO_SYNCHRONOUS_IO, IO_STACK_LOCATION, IRP,
    IRP_CLOSE_OPERATION, IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_PAGING_IO, IRP_SYNCHRONOUS_API, IRP_SYNCHRONOUS_PAGING_IO,
};
use nt_abi::ke::KEVENT;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::Foreign;
use nt_ke::dispatcher::{self, EventType};
use nt_ke::{Frame, Mode, wait};
use nt_ob::access::GenericMapping;
use nt_ob::handle::Left;
use nt_ob::types::{self, ObjectType, Routines};
use nt_ob::{ObjectRef, object};
use nt_trace::rule;

/// A counted reference to a FILE_OBJECT.
pub type FileObject = ObjectRef<FILE_OBJECT>;

/// Registers the types of objects that this room owns.
pub fn register_types() {
    types::register(
        ObjectType::File,
        Routines {
            mapping: GenericMapping::FILE,
            close: Some(close_handle),
            delete: Some(delete),
            wait: Some(FILE_OBJECT::Event.offset() as u64),
        },
    );
    types::register(
        ObjectType::Event,
        Routines { mapping: GenericMapping::EVENT, close: None, delete: None, wait: Some(0) },
    );
    types::register(
        ObjectType::Driver,
        Routines {
            mapping: GenericMapping::NONE,
            close: None,
            delete: Some(|body| crate::driver::delete(body.view())),
            wait: None,
        },
    );
    types::register(
        ObjectType::Device,
        Routines { mapping: GenericMapping::FILE, close: None, delete: None, wait: None },
    );
    crate::port::register_type();
}

/// Makes a file object for a device: Lock and Event ready, the event signalled (NT-A-12).
pub fn create(frame: &Frame, opened: Device) -> NtResult<FileObject> {
    let made = object::create::<FILE_OBJECT>(ObjectType::File, FILE_OBJECT::SIZE, frame.kernel.id())?;
    let file = made.body();
    file.set(FILE_OBJECT::Type, 5);
    file.set(FILE_OBJECT::Size, FILE_OBJECT::SIZE as i16);
    file.set_ptr(FILE_OBJECT::DeviceObject, Some(opened));
    dispatcher::initialize_event(file.at(FILE_OBJECT::Lock), EventType::Synchronization, false);
    dispatcher::initialize_event(file.at(FILE_OBJECT::Event), EventType::Notification, true);
    nt_ke::list::initialize(file.at(FILE_OBJECT::IrpList));
    Ok(made)
}

/// Returns whether the I/O manager keeps a position for this file (NT-A-07).
#[must_use]
pub fn is_synchronous(file: Foreign<FILE_OBJECT>) -> bool {
    file.get(FILE_OBJECT::Flags) & FO_SYNCHRONOUS_IO != 0
}

/// IoIsOperationSynchronous: the packet's issuer waits for it.
#[must_use]
pub fn is_waited_for(packet: Irp) -> bool {
    let flags = packet.get(IRP::Flags);
    if flags & IRP_PAGING_IO != 0 && flags & IRP_SYNCHRONOUS_PAGING_IO == 0 {
        return false;
    }
    let file = irp::current(packet).ptr(IO_STACK_LOCATION::FileObject);
    flags & IRP_SYNCHRONOUS_API != 0 || file.is_some_and(is_synchronous)
}

/// Holds the file-object lock; a critical region lasts as long (NT-E-08).
#[derive(Debug)]
pub struct FileLock<'a> {
    frame: &'a Frame,
    file: Foreign<FILE_OBJECT>,
}

/// Takes the file-object lock of a synchronous file; `Err` with ALERTED or USER_APC when an alertable wait was ended
/// (NT-X-07; both are success-class, so the pair is returned as it stands).
pub fn lock(frame: &Frame, file: Foreign<FILE_OBJECT>) -> Result<FileLock<'_>, NtStatus> {
    frame.thread.enter_critical_region();
    let busy = FILE_OBJECT::Busy;
    let free = |file: Foreign<FILE_OBJECT>| file.swap_u32(busy, 1) == 0;
    if !free(file) {
        let alertable = file.get(FILE_OBJECT::Flags) & FO_ALERTABLE_IO != 0;
        let mode = if alertable { Mode::User } else { Mode::Kernel };
        file.add_u32(FILE_OBJECT::Waiters, 1);
        while !free(file) {
            if alertable {
                frame.thread.leave_critical_region();
            }
            let header = file.at(FILE_OBJECT::Lock).at(KEVENT::Header);
            let status = wait::wait_for_single(frame, header, mode, alertable, None);
            if alertable {
                frame.thread.enter_critical_region();
            }
            if status != NtStatus::SUCCESS {
                file.add_u32(FILE_OBJECT::Waiters, u32::MAX);
                frame.thread.leave_critical_region();
                return Err(status);
            }
        }
        file.add_u32(FILE_OBJECT::Waiters, u32::MAX);
    }
    Ok(FileLock { frame, file })
}

/// Takes the lock if the file is synchronous; there is none to take on another.
pub(crate) fn lock_if_synchronous(frame: &Frame, file: Foreign<FILE_OBJECT>) -> Result<Option<FileLock<'_>>, NtStatus> {
    if is_synchronous(file) { lock(frame, file).map(Some) } else { Ok(None) }
}

impl Drop for FileLock<'_> {
    fn drop(&mut self) {
        self.file.swap_u32(FILE_OBJECT::Busy, 0);
        if self.file.get(FILE_OBJECT::Waiters) != 0 {
            dispatcher::set_event(self.file.at(FILE_OBJECT::Lock));
        }
        self.frame.thread.leave_critical_region();
    }
}

/// Sends a request that has no caller to tell (cleanup, close) and waits for it.
fn send_and_wait(frame: &Frame, file: Foreign<FILE_OBJECT>, major: u8, top: Device) -> NtStatus {
    let Ok(packet) = irp::allocate(top.get(nt_abi::io::DEVICE_OBJECT::StackSize)) else {
        return NtStatus::INSUFFICIENT_RESOURCES;
    };
    packet.set(IRP::Flags, IRP_SYNCHRONOUS_API | IRP_CLOSE_OPERATION);
    packet.set_ptr(IRP::Tail_OriginalFileObject, Some(file));
    packet.set_addr(IRP::Tail_Thread, frame.thread.object());
    let stack = irp::next(packet);
    stack.set(IO_STACK_LOCATION::MajorFunction, major);
    stack.set_ptr(IO_STACK_LOCATION::FileObject, Some(file));
    send_synchronously(frame, packet, top)
}

/// Sends a packet of the kernel's own to `top` and waits for its end; returns the final status. Frees the packet.
pub fn send_synchronously(frame: &Frame, packet: irp::Irp, top: Device) -> NtStatus {
    send_for_result(frame, packet, top).status
}

/// As [`send_synchronously`], with Information.
pub fn send_for_result(frame: &Frame, packet: irp::Irp, top: Device) -> irp::IoStatus {
    send_for_answer(frame, packet, top).0
}

/// As [`send_for_result`], with whether a driver pended it.
pub fn send_for_answer(frame: &Frame, packet: irp::Irp, top: Device) -> (irp::IoStatus, bool) {
    let Some(waiter) = crate::event::LocalEvent::new() else {
        irp::release(packet);
        return (irp::IoStatus::new(NtStatus::INSUFFICIENT_RESOURCES, 0), false);
    };
    packet.set_ptr(IRP::UserEvent, Some(waiter.event()));
    packet.set_ptr(IRP::UserIosb, Some(waiter.status_block()));
    let pended = send::call_driver(top, packet) == NtStatus::PENDING;
    let _done = wait::wait_for_single(frame, waiter.event().at(KEVENT::Header), Mode::Kernel, false, None);
    (waiter.result(), pended)
}

/// A handle was closed: at the last one the file system gets IRP_MJ_CLEANUP (NT-M-20).
fn close_handle(body: Foreign<Bytes>, left: Left) {
    let file = body.view::<FILE_OBJECT>();
    let mut waiting = false;
    // A packet under way holds its file: where nobody does but the handle that goes, there is none to look for.
    if !left.here && object::pointer_count(file) > 1 {
        rule!(NT_Q_14);
        waiting = crate::cancel::process_closed(&nt_ke::current(), file, left.anywhere == 0);
    }
    if left.anywhere != 0 || file.or32(FILE_OBJECT::Flags, FO_CLEANUP_COMPLETE) & FO_CLEANUP_COMPLETE != 0 {
        return;
    }
    let frame = nt_ke::current();
    if let Some(top) = device::related(file) {
        let system = System::of(&frame.kernel);
        let _scope = Scope::start(&frame);
        let span = system.begin(|| request(&frame, file, IRP_MJ_CLEANUP));
        let status = send_and_wait(&frame, file, IRP_MJ_CLEANUP, top);
        system.end(span, status, 0);
    }
    if waiting {
        // What the file system's cleanup should have ended and did not: a filter holds it (NT-NFY-25).
        crate::cancel::everybody_closed(&frame, file);
    }
}

/// The last reference went: IRP_MJ_CLOSE.
fn delete(body: Foreign<Bytes>) {
    let file = body.view::<FILE_OBJECT>();
    let frame = nt_ke::current();
    if file.get(FILE_OBJECT::Flags) & FO_HANDLE_CREATED != 0
        && let Some(top) = device::related(file)
    {
        // The close itself needs the object's memory: the packet refers to it without a count.
        let system = System::of(&frame.kernel);
        let _scope = Scope::start(&frame);
        let span = system.begin(|| request(&frame, file, IRP_MJ_CLOSE));
        let status = send_and_wait(&frame, file, IRP_MJ_CLOSE, top);
        system.end(span, status, 0);
    }
    crate::port::detach(file);
    crate::oplock_key::release(file);
    nt_rtl::unicode::release(file.at(FILE_OBJECT::FileName));
    if let Some(related) = file.ptr(FILE_OBJECT::RelatedFileObject) {
        object::dereference(related);
    }
}

pub(crate) fn request(frame: &Frame, file: Foreign<FILE_OBJECT>, major: u8) -> crate::observe::Request {
    crate::observe::Request::of(frame, Some(file), major)
}
