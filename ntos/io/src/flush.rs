//! `NtFlushBuffersFile`, `NtFlushBuffersFileEx`.
//!
//! Room: ntos/io. IRQL: PASSIVE_LEVEL. Locks: the file object's, for synchronous files.
//! Source: ZwFlushBuffersFile page; rules NT-F-01 to NT-F-05.

use crate::irp::IoStatus;
use crate::{device, event, file, info, observe, service};
use nt_abi::io::{
    FILE_APPEND_DATA, FILE_OBJECT, FILE_WRITE_DATA, FO_NAMED_PIPE, IO_STACK_LOCATION, IRP_MJ_FLUSH_BUFFERS,
};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Addr;
use nt_ke::{Frame, Mode, dispatcher};
use nt_ob::types::ObjectType;
use nt_ob::{Handle, ObjectRef};

/// NtFlushBuffersFile: synchronous, also on an asynchronous handle (NT-F-03).
#[must_use]
pub fn nt_flush_buffers_file(frame: &Frame, handle: Handle, iosb: Addr) -> NtStatus {
    observe::service(frame, "NtFlushBuffersFile", IRP_MJ_FLUSH_BUFFERS, handle, || flush(frame, handle, iosb, 0))
}

/// NtFlushBuffersFileEx: one of FLUSH_FLAGS_FILE_DATA_ONLY (1), FLUSH_FLAGS_NO_SYNC (2), FLUSH_FLAGS_FILE_DATA_SYNC_ONLY (4),
/// FLUSH_FLAGS_FLUSH_AND_PURGE (8), or none; the file system sees it as the minor function 1 to 4.
#[must_use]
pub fn nt_flush_buffers_file_ex(frame: &Frame, handle: Handle, flags: u32, iosb: Addr) -> NtStatus {
    let minor = match flags {
        0 => 0,
        1 => 1,
        2 => 2,
        4 => 3,
        8 => 4,
        _ => return NtStatus::INVALID_PARAMETER,
    };
    observe::service(frame, "NtFlushBuffersFileEx", IRP_MJ_FLUSH_BUFFERS, handle, || flush(frame, handle, iosb, minor))
}

fn flush(frame: &Frame, handle: Handle, iosb: Addr, minor: u8) -> NtResult<NtStatus> {
    let kernel = frame.mode() == Mode::Kernel;
    if !kernel {
        service::probe_block(iosb)?;
    }
    let (object, granted) = event::reference(frame, handle, ObjectType::File, 0, frame.mode())?;
    let opened: ObjectRef<FILE_OBJECT> = object.retype();
    let flags = opened.get(FILE_OBJECT::Flags);
    let needed = if flags & FO_NAMED_PIPE != 0 { FILE_WRITE_DATA } else { FILE_WRITE_DATA | FILE_APPEND_DATA };
    if !kernel && granted & needed == 0 {
        return NtStatus::ACCESS_DENIED.fail();
    }
    let top = device::related(*opened).ok_or(NtStatus::INVALID_DEVICE_REQUEST.error())?;
    let _lock = if file::is_synchronous(*opened) { file::lock(frame, *opened).ok() } else { None };
    dispatcher::clear_event(opened.at(FILE_OBJECT::Event));
    let buffer = info::system_buffer(0)?;
    let end = info::exchange(frame, *opened, top, IRP_MJ_FLUSH_BUFFERS, 0, buffer.block(), 0, |stack| {
        stack.set(IO_STACK_LOCATION::MinorFunction, minor);
    });
    let result = end.result;
    dispatcher::set_event(opened.at(FILE_OBJECT::Event));
    if result.status.is_error() {
        return Ok(result.status);
    }
    service::store_status(iosb, kernel, IoStatus::new(result.status, 0))?;
    Ok(result.status)
}
