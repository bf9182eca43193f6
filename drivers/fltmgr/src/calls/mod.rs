//! Requests that a filter makes of the instances below it and the file system: queries, controls, flushes, creates.
//!
//! Room: drivers/fltmgr. Called by: `exports`, `name`, filters written in Rust. Calls: `generated` (sends), `nt_io::create`.
//! IRQL: PASSIVE_LEVEL. Locks: none while a request is below. Source: FltQueryInformationFile, FltFsControlFile,
//! FltCreateFileEx, FltCancelFileOpen pages; rules FLT-G-08 to FLT-G-15.

pub mod data;
pub mod exports;
mod open;

pub use open::{Opened, cancel_open, create, create_file};

use crate::filter::Instance;
use crate::generated::{Launch, first_below};
use crate::volume::Volume;
use nt_abi::flt::FLTFL_CALLBACK_DATA_GENERATED_IO;
use nt_abi::io::*;
use nt_abi::ob::UNICODE_STRING;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Foreign, Region};
use nt_ex::pool;
use nt_io::device;
use nt_io::irp::{self, IoStatus, Irp, Stack};
use nt_io::observe::{Request, Scope};
use nt_io::service::violation;
use nt_io::system::System;
use nt_ke::Frame;
use std::sync::Arc;

/// A file object and the instance below which requests for it start.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// Instance.
    pub instance: &'a Arc<Instance>,
    /// FileObject.
    pub file: Foreign<FILE_OBJECT>,
}

/// Finds the instance's volume and checks that the file is open on it.
pub(crate) fn volume_of(instance: &Instance, file: Option<Foreign<FILE_OBJECT>>) -> NtResult<Arc<Volume>> {
    let volume = instance.volume.upgrade().ok_or(NtStatus::FLT_DELETING_OBJECT.error())?;
    if let Some(file) = file
        && device::related(file) != Some(device::top_of_stack(volume.device))
    {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    Ok(volume)
}

/// A packet that stands in our own location, as if it had just arrived at our device.
pub(crate) fn packet_for(frame: &Frame, volume: &Volume, file: Option<Foreign<FILE_OBJECT>>) -> NtResult<Irp> {
    let packet = irp::allocate(volume.lower.get(DEVICE_OBJECT::StackSize) + 1)?;
    packet.set_addr(IRP::Tail_Thread, frame.thread.object());
    packet.set_ptr(IRP::Tail_OriginalFileObject, file);
    irp::advance(packet, -1);
    let stack = irp::current(packet);
    stack.set_ptr(IO_STACK_LOCATION::FileObject, file);
    stack.set_ptr(IO_STACK_LOCATION::DeviceObject, Some(volume.device));
    Ok(packet)
}

/// Sends one request of `major` below an instance and waits for its end (FLT-G-10).
pub(crate) fn send(
    frame: &Frame,
    target: Target<'_>,
    major: u8,
    length: u32,
    fill: impl FnOnce(Irp, Stack) -> NtResult<()>,
) -> NtResult<IoStatus> {
    let file = target.file;
    let volume = volume_of(target.instance, Some(file))?;
    let packet = packet_for(frame, &volume, Some(file))?;
    packet.set(IRP::Flags, IRP_SYNCHRONOUS_API);
    let stack = irp::current(packet);
    stack.set(IO_STACK_LOCATION::MajorFunction, major);
    if let Err(error) = fill(packet, stack) {
        irp::release(packet);
        return Err(error);
    }
    let _scope = Scope::start(frame);
    let span = System::of(&frame.kernel).begin(|| Request {
        major,
        file: Some(file),
        offset: 0,
        length,
        flags: packet.get(IRP::Flags),
        fast: false,
        generated: true,
        process: nt_ps::current_process(frame).id(),
    });
    let first = first_below(&volume, target.instance);
    let kind = FLTFL_CALLBACK_DATA_GENERATED_IO;
    let launch = Launch { volume, file: Some(file), packet, first, span, position: None, own_mdl: true, kind };
    Ok(launch.go(frame, None)?.0)
}

fn outcome(result: NtResult<IoStatus>) -> IoStatus {
    result.unwrap_or_else(|error| IoStatus::new(error.status(), 0))
}

/// A request whose buffer is the caller's own memory, given as the system buffer.
fn with_buffer(
    frame: &Frame,
    target: Target<'_>,
    major: u8,
    class: u32,
    buffer: Foreign<Bytes>,
    length: u32,
) -> IoStatus {
    outcome(send(frame, target, major, length, |packet, stack| {
        packet.or32(IRP::Flags, IRP_BUFFERED_IO);
        packet.set_ptr(IRP::AssociatedIrp_SystemBuffer, Some(buffer));
        stack.set(IO_STACK_LOCATION::QueryFile_Length, length);
        stack.set(IO_STACK_LOCATION::QueryFile_FileInformationClass, class);
        Ok(())
    }))
}

/// FltQueryInformationFile: Information is LengthReturned.
#[must_use]
pub fn query_information(frame: &Frame, target: Target<'_>, class: u32, out: Foreign<Bytes>, length: u32) -> IoStatus {
    with_buffer(frame, target, IRP_MJ_QUERY_INFORMATION, class, out, length)
}

/// FltSetInformationFile. A rename or link to another directory opens the target's directory below the instance (FLT-G-14).
#[must_use]
pub fn set_information(frame: &Frame, target: Target<'_>, class: u32, data: Foreign<Bytes>, length: u32) -> IoStatus {
    match open::target_directory(frame, target, class, data, length) {
        Err(error) => IoStatus::new(error.status(), 0),
        Ok(directory) => outcome(set_at(frame, target, class, data, length, directory.as_ref())),
    }
}

fn set_at(
    frame: &Frame,
    target: Target<'_>,
    class: u32,
    data: Foreign<Bytes>,
    length: u32,
    directory: Option<&Opened>,
) -> NtResult<IoStatus> {
    let volume = volume_of(target.instance, Some(target.file))?;
    let result = send(frame, target, IRP_MJ_SET_INFORMATION, length, |packet, stack| {
        packet.or32(IRP::Flags, IRP_BUFFERED_IO);
        packet.set_ptr(IRP::AssociatedIrp_SystemBuffer, Some(data));
        stack.set(IO_STACK_LOCATION::SetFile_Length, length);
        stack.set(IO_STACK_LOCATION::SetFile_FileInformationClass, class);
        stack.set_ptr(IO_STACK_LOCATION::SetFile_FileObject, directory.map(Opened::file));
        let first = Region::pool(data, length as usize).load::<u8>(0).unwrap_or(0);
        stack.set(IO_STACK_LOCATION::SetFile_ReplaceIfExists, first);
        Ok(())
    });
    volume.renamed(class);
    result
}

/// FltQueryVolumeInformationFile (`query`), FltSetVolumeInformation.
#[must_use]
pub fn volume_information(
    frame: &Frame,
    target: Target<'_>,
    class: u32,
    buffer: Foreign<Bytes>,
    length: u32,
    query: bool,
) -> IoStatus {
    let major = if query { IRP_MJ_QUERY_VOLUME_INFORMATION } else { IRP_MJ_SET_VOLUME_INFORMATION };
    with_buffer(frame, target, major, class, buffer, length)
}

/// FltFlushBuffers, and FltFlushBuffers2 with its flush type as the minor code (FLT-G-13).
#[must_use]
pub fn flush(frame: &Frame, target: Target<'_>, minor: u8) -> IoStatus {
    outcome(send(frame, target, IRP_MJ_FLUSH_BUFFERS, 0, |_, stack| {
        stack.set(IO_STACK_LOCATION::MinorFunction, minor);
        Ok(())
    }))
}

/// FltQuerySecurityObject: Information is LengthNeeded, also when the buffer is too small.
#[must_use]
pub fn query_security(
    frame: &Frame,
    target: Target<'_>,
    information: u32,
    out: Option<Foreign<Bytes>>,
    length: u32,
) -> IoStatus {
    let result = outcome(send(frame, target, IRP_MJ_QUERY_SECURITY, length, |packet, stack| {
        packet.set_ptr(IRP::UserBuffer, out); // neither I/O, as the I/O manager sends it
        stack.set(IO_STACK_LOCATION::QuerySecurity_SecurityInformation, information);
        stack.set(IO_STACK_LOCATION::QuerySecurity_Length, if out.is_some() { length } else { 0 });
        Ok(())
    }));
    let status = if result.status == NtStatus::BUFFER_OVERFLOW { NtStatus::BUFFER_TOO_SMALL } else { result.status };
    IoStatus::new(status, result.information)
}

/// FltSetSecurityObject with a self-relative descriptor.
#[must_use]
pub fn set_security(frame: &Frame, target: Target<'_>, information: u32, descriptor: &[u8]) -> IoStatus {
    let copy = match nt_io::info::system_buffer(descriptor.len()) {
        Ok(copy) => copy,
        Err(error) => return IoStatus::new(error.status(), 0),
    };
    outcome(send(frame, target, IRP_MJ_SET_SECURITY, descriptor.len() as u32, |_, stack| {
        copy.region().write_from(descriptor).map_err(violation)?;
        stack.set(IO_STACK_LOCATION::SetSecurity_SecurityInformation, information);
        stack.set_ptr(IO_STACK_LOCATION::SetSecurity_SecurityDescriptor, Some(copy.block()));
        Ok(())
    }))
}

/// What FltFsControlFile and FltDeviceIoControlFile are given.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// True for FltFsControlFile.
    pub file_system: bool,
    /// The code, whose low bits say how the buffers travel.
    pub code: u32,
    /// InputBuffer.
    pub input: Region,
    /// OutputBuffer.
    pub output: Region,
}

/// FltFsControlFile, FltDeviceIoControlFile: Information is LengthReturned.
#[must_use]
pub fn control(frame: &Frame, target: Target<'_>, control: &Control) -> IoStatus {
    let major = if control.file_system { IRP_MJ_FILE_SYSTEM_CONTROL } else { IRP_MJ_DEVICE_CONTROL };
    let (input, output) = (control.input.len(), control.output.len());
    let method = control.code & 3;
    let size = if method == 0 {
        input.max(output)
    } else if method == 3 {
        0
    } else {
        input
    };
    let system = match size {
        0 => None,
        _ => match nt_io::info::system_buffer(size) {
            Ok(buffer) => Some(buffer),
            Err(error) => return IoStatus::new(error.status(), 0),
        },
    };
    let result = send(frame, target, major, input.max(output) as u32, |packet, stack| {
        stack.set(IO_STACK_LOCATION::DeviceIoControl_OutputBufferLength, output as u32);
        stack.set(IO_STACK_LOCATION::DeviceIoControl_InputBufferLength, input as u32);
        stack.set(IO_STACK_LOCATION::DeviceIoControl_IoControlCode, control.code);
        if let Some(system) = &system {
            system.region().sub(0, input).copy_from(control.input).map_err(violation)?;
            packet.or32(IRP::Flags, IRP_BUFFERED_IO);
            packet.set_ptr(IRP::AssociatedIrp_SystemBuffer, Some(system.block()));
        }
        match method {
            0 => {}
            3 => {
                stack.set_addr(IO_STACK_LOCATION::DeviceIoControl_Type3InputBuffer, control.input.addr());
                packet.set_addr(IRP::UserBuffer, control.output.addr());
            }
            _ if output != 0 => {
                let mdl = nt_mm::mdl::allocate(control.output)?;
                nt_mm::mdl::probe_and_lock(mdl, true, method == 2)?;
                packet.set_ptr(IRP::MdlAddress, Some(mdl));
            }
            _ => {}
        }
        Ok(())
    });
    let result = outcome(result);
    if let (0, Some(system), false) = (method, &system, result.status.is_error()) {
        let count = (result.information as usize).min(output);
        if control.output.sub(0, count).copy_from(system.region().sub(0, count)).is_err() {
            return IoStatus::new(NtStatus::ACCESS_VIOLATION, 0);
        }
    }
    result
}

/// What FltQueryDirectoryFile is given.
#[derive(Clone, Copy, Debug)]
pub struct Directory {
    /// FileInformation and its length.
    pub out: Foreign<Bytes>,
    /// Length.
    pub length: u32,
    /// FileInformationClass.
    pub class: u32,
    /// ReturnSingleEntry.
    pub single: bool,
    /// FileName, the pattern.
    pub pattern: Option<Foreign<UNICODE_STRING>>,
    /// RestartScan.
    pub restart: bool,
}

/// FltQueryDirectoryFile.
#[must_use]
pub fn query_directory(frame: &Frame, target: Target<'_>, request: &Directory) -> IoStatus {
    outcome(send(frame, target, IRP_MJ_DIRECTORY_CONTROL, request.length, |packet, stack| {
        packet.set_ptr(IRP::UserBuffer, Some(request.out)); // neither I/O, as the I/O manager sends it
        stack.set(IO_STACK_LOCATION::MinorFunction, 1);
        let flags = u8::from(request.restart) | if request.single { 2 } else { 0 };
        stack.set(IO_STACK_LOCATION::Flags, flags);
        stack.set(IO_STACK_LOCATION::QueryDirectory_Length, request.length);
        stack.set_ptr(IO_STACK_LOCATION::QueryDirectory_FileName, request.pattern);
        stack.set(IO_STACK_LOCATION::QueryDirectory_FileInformationClass, request.class);
        Ok(())
    }))
}

/// Queries into a fresh buffer; the bytes that the file system gave.
pub(crate) fn query_bytes(frame: &Frame, target: Target<'_>, class: u32, length: u32) -> NtResult<Vec<u8>> {
    let block = pool::allocate(length as usize, pool::tag(b"FMqi"), pool::PoolKind::NonPaged);
    let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    let result = query_information(frame, target, class, block, length);
    let bytes = Region::pool(block, (result.information.min(u64::from(length))) as usize).to_vec();
    pool::free(block);
    if result.status.is_error() {
        return result.status.fail();
    }
    bytes.map_err(|_| NtStatus::ACCESS_VIOLATION.error())
}
