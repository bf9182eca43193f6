//! Handles as values: duplicates, handles to what a pointer names, symbolic links of the namespace.
//!
//! Room: ntos/io (beside the services that create handles). IRQL: PASSIVE_LEVEL. Locks: none. The exported names are in
//! [`exports`]. Source: ZwDuplicateObject, ObOpenObjectByPointer, ZwOpenSymbolicLinkObject, ZwQuerySymbolicLinkObject pages;
//! rules NT-KR-44 to NT-KR-47.

use crate::System;
use nt_abi::ob::{OBJ_KERNEL_HANDLE, UNICODE_STRING};
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::Foreign;
use nt_ke::{Frame, Mode};
use nt_ob::access::GenericMapping;
use nt_ob::handle::Referenced;
use nt_ob::types::{self, ObjectType, Routines};
use nt_ob::{Handle, HandleTable, ObjectRef, object};
use nt_ps::Process;
use std::sync::{Arc, Once};

pub mod exports;

/// PROCESS_DUP_HANDLE.
const PROCESS_DUP_HANDLE: u32 = 0x40;
/// SYMBOLIC_LINK_QUERY.
pub const SYMBOLIC_LINK_QUERY: u32 = 1;

/// What a duplicate is made of.
#[derive(Clone, Copy, Debug)]
pub struct Duplicate {
    /// The process whose handle it is.
    pub source_process: Handle,
    /// The handle.
    pub source: Handle,
    /// The process that gets one; `None` with CLOSE_SOURCE only closes.
    pub target_process: Option<Handle>,
    /// The access wanted, without SAME_ACCESS.
    pub access: u32,
    /// The attributes, without SAME_ATTRIBUTES.
    pub attributes: u32,
    /// DUPLICATE_CLOSE_SOURCE 1, DUPLICATE_SAME_ACCESS 2, DUPLICATE_SAME_ATTRIBUTES 4.
    pub options: u32,
}

fn process_of(frame: &Frame, handle: Handle) -> NtResult<Arc<Process>> {
    let room = nt_ps::process::processes(&frame.kernel);
    let address = match handle {
        Handle::CURRENT_PROCESS => nt_ps::current_process(frame).object().addr(),
        handle => {
            let (object, _) =
                crate::event::reference(frame, handle, ObjectType::Process, PROCESS_DUP_HANDLE, frame.mode())?;
            object.body().addr()
        }
    };
    room.process_at(address).ok_or(NtStatus::PROCESS_IS_TERMINATING.error())
}

fn table<'a>(frame: &'a Frame, process: &'a Process, handle: Handle) -> &'a HandleTable {
    if handle.is_kernel() && frame.mode() == Mode::Kernel {
        &nt_ps::process::processes(&frame.kernel).system().handles
    } else {
        &process.handles
    }
}

/// What the caller's own pseudo handles, or a handle of `process`, name.
fn named(frame: &Frame, process: &Process, handle: Handle) -> NtResult<Referenced> {
    let pseudo = |body: Foreign<Bytes>, kind| Referenced {
        object: object::reference(body),
        kind,
        granted: 0x001F_FFFF,
        attributes: 0,
    };
    match handle {
        Handle::CURRENT_PROCESS => Ok(pseudo(nt_ps::current_process(frame).object(), ObjectType::Process)),
        Handle::CURRENT_THREAD => Ok(pseudo(Foreign::of_table(frame.thread.object()), ObjectType::Thread)),
        handle => table(frame, process, handle).reference(handle),
    }
}

/// NtDuplicateObject. With CLOSE_SOURCE the source is closed whatever else happens.
pub fn duplicate(frame: &Frame, what: &Duplicate) -> NtResult<Option<Handle>> {
    let source = process_of(frame, what.source_process)?;
    let found = named(frame, &source, what.source)?;
    let made = what.target_process.map(|target| give(frame, &found, target, what));
    drop(found);
    if what.options & 1 != 0 && !matches!(what.source, Handle::CURRENT_PROCESS | Handle::CURRENT_THREAD) {
        table(frame, &source, what.source).close(what.source)?;
    }
    made.transpose()
}

fn give(frame: &Frame, found: &Referenced, target: Handle, what: &Duplicate) -> NtResult<Handle> {
    let target = process_of(frame, target)?;
    let attributes = if what.options & 4 != 0 { found.attributes } else { what.attributes };
    let granted = match what.options & 2 != 0 {
        true => found.granted,
        false => found.kind.routines().mapping.map(what.access),
    };
    // More than the source has would be for the object's descriptor to grant; a user caller gets no more than it had.
    if frame.mode() == Mode::User && granted & !found.granted != 0 {
        return NtStatus::ACCESS_DENIED.fail();
    }
    insert(frame, &target, &found.object, granted, attributes)
}

fn insert(
    frame: &Frame,
    process: &Process,
    object: &ObjectRef<Bytes>,
    granted: u32,
    attributes: u32,
) -> NtResult<Handle> {
    let kernel = frame.mode() == Mode::Kernel && attributes & OBJ_KERNEL_HANDLE != 0;
    let table = if kernel { &nt_ps::process::processes(&frame.kernel).system().handles } else { &process.handles };
    table.insert(object, granted, attributes)
}

/// ObOpenObjectByPointer: a handle to an object that the caller has a pointer to.
pub fn open_by_pointer(
    frame: &Frame,
    body: Foreign<Bytes>,
    kind: Option<ObjectType>,
    access: u32,
    attributes: u32,
    mode: Mode,
) -> NtResult<Handle> {
    let is = object::kind_of(body).ok_or(NtStatus::OBJECT_TYPE_MISMATCH.error())?;
    if kind.is_some_and(|kind| kind != is) {
        return NtStatus::OBJECT_TYPE_MISMATCH.fail();
    }
    let granted = is.routines().mapping.map(access);
    let kept = object::reference(body);
    frame.with_mode(mode, || insert(frame, nt_ps::current_process(frame), &kept, granted, attributes))
}

fn delete_link(body: Foreign<Bytes>) {
    nt_rtl::unicode::release(body.view::<UNICODE_STRING>());
}

/// NtOpenSymbolicLinkObject.
pub fn open_link(frame: &Frame, path: &[u16], access: u32, attributes: u32) -> NtResult<Handle> {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        let mapping = GenericMapping { read: 0x0002_0001, write: 0x0002_0000, execute: 0x0002_0001, all: 0x000F_0001 };
        let routines = Routines { mapping, close: None, delete: Some(delete_link), wait: None };
        types::register(ObjectType::SymbolicLink, routines);
    });
    let path = String::from_utf16(path).map_err(|_| NtStatus::OBJECT_NAME_INVALID.error())?;
    if !path.starts_with('\\') {
        return NtStatus::OBJECT_PATH_SYNTAX_BAD.fail();
    }
    let namespace = &System::of(&frame.kernel).namespace;
    let Some(target) = namespace.link_target(&path) else {
        let wide: Vec<u16> = path.encode_utf16().collect();
        return match namespace.lookup(&wide) {
            Ok(_) => NtStatus::OBJECT_TYPE_MISMATCH.fail(),
            Err(error) => Err(error),
        };
    };
    let made = object::create::<UNICODE_STRING>(ObjectType::SymbolicLink, UNICODE_STRING::SIZE, frame.kernel.id())?;
    nt_rtl::unicode::store(made.body(), &target)?;
    let granted = ObjectType::SymbolicLink.routines().mapping.map(access);
    insert(frame, nt_ps::current_process(frame), &made.retype(), granted, attributes)
}

/// NtQuerySymbolicLinkObject: where the link leads.
pub fn query_link(frame: &Frame, handle: Handle) -> NtResult<String> {
    let (link, _) =
        crate::event::reference(frame, handle, ObjectType::SymbolicLink, SYMBOLIC_LINK_QUERY, frame.mode())?;
    Ok(nt_rtl::unicode::text(link.body().view::<UNICODE_STRING>()))
}
