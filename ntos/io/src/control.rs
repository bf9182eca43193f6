//! `NtDeviceIoControlFile`, `NtFsControlFile`: the four transfer methods.
//!
//! Room: ntos/io. IRQL: PASSIVE_LEVEL. Locks: the file object's, for synchronous files.
//! Source: "Buffer descriptions for I/O control codes"; rules KS-I-02 (access bits of the code), NT-C table, NT-C-10.

use crate::device::{self, Device};
use crate::driver::{self, FastControl};
use crate::irp::{self, IoStatus, Irp};
use crate::observe::{self, Request, Scope};
use crate::service::{self, Caller, violation};
use crate::system::System;
use crate::tail::{own_by_service, run_service};
use crate::{event, fast, file};
use nt_abi::io::{
    DEVICE_OBJECT, DRIVER_OBJECT, FAST_IO_DISPATCH, FILE_OBJECT, FILE_READ_DATA, FILE_WRITE_DATA, IO_STACK_LOCATION,
    IRP, IRP_BUFFERED_IO, IRP_DEALLOCATE_BUFFER, IRP_INPUT_OPERATION, IRP_MJ_DEVICE_CONTROL,
    IRP_MJ_FILE_SYSTEM_CONTROL,
};
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Addr, CodePtr, Foreign, Region};
use nt_ex::pool;
use nt_ke::{Frame, Mode, dispatcher};
use nt_ob::ObjectRef;
use nt_ob::types::ObjectType;
use nt_ps::counters::Operation;

/// The ten arguments.
#[derive(Clone, Copy, Debug)]
pub struct ControlArguments {
    /// Handle, event, APC, status block.
    pub caller: Caller,
    /// IoControlCode or FsControlCode.
    pub code: u32,
    /// InputBuffer and its length.
    pub input: (Addr, u32),
    /// OutputBuffer and its length.
    pub output: (Addr, u32),
    /// True for NtFsControlFile.
    pub file_system: bool,
}

/// NtDeviceIoControlFile / NtFsControlFile.
#[must_use]
pub fn nt_control_file(frame: &Frame, args: &ControlArguments) -> NtStatus {
    let (name, major) = if args.file_system {
        ("NtFsControlFile", IRP_MJ_FILE_SYSTEM_CONTROL)
    } else {
        ("NtDeviceIoControlFile", IRP_MJ_DEVICE_CONTROL)
    };
    frame.service(|| observe::service(frame, name, major, args.caller.handle, || control(frame, args)))
}

fn control(frame: &Frame, args: &ControlArguments) -> NtResult<NtStatus> {
    let kernel = frame.mode() == Mode::Kernel;
    let (object, granted) = event::reference(frame, args.caller.handle, ObjectType::File, 0, frame.mode())?;
    let opened: ObjectRef<FILE_OBJECT> = object.retype();
    if !kernel {
        service::probe_block(args.caller.iosb)?;
        let access = (args.code >> 14) & 3;
        if (access & 1 != 0 && granted & FILE_READ_DATA == 0) || (access & 2 != 0 && granted & FILE_WRITE_DATA == 0) {
            return NtStatus::ACCESS_DENIED.fail();
        }
    }
    if !kernel && args.caller.apc_routine.is_some() && opened.ptr(FILE_OBJECT::CompletionContext).is_some() {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let event = event::for_request(frame, args.caller.event, frame.mode())?;
    if let Some(event) = &event {
        dispatcher::clear_event(**event);
    }
    let top = device::related(*opened).ok_or(NtStatus::INVALID_DEVICE_REQUEST.error())?;
    let synchronous = file::is_synchronous(*opened);
    let kept = opened.clone();
    let _lock = match file::lock_if_synchronous(frame, *kept) {
        Ok(lock) => lock,
        Err(status) => return Ok(status),
    };
    dispatcher::clear_event(opened.at(FILE_OBJECT::Event));
    let packet = irp::allocate(top.get(DEVICE_OBJECT::StackSize))?;
    let major = if args.file_system { IRP_MJ_FILE_SYSTEM_CONTROL } else { IRP_MJ_DEVICE_CONTROL };
    packet.set(IRP::RequestorMode, frame.mode() as u8);
    packet.set_addr(IRP::Tail_Thread, frame.thread.object());
    packet.set_addr(IRP::UserIosb, args.caller.iosb.value());
    packet.set_code(IRP::UserApcRoutine, args.caller.apc_routine);
    packet.set_addr(IRP::UserApcContext, args.caller.apc_context);
    let stack = irp::next(packet);
    stack.set(IO_STACK_LOCATION::MajorFunction, major);
    stack.set_ptr(IO_STACK_LOCATION::FileObject, Some(*opened));
    stack.set(IO_STACK_LOCATION::DeviceIoControl_OutputBufferLength, args.output.1);
    stack.set(IO_STACK_LOCATION::DeviceIoControl_InputBufferLength, args.input.1);
    stack.set(IO_STACK_LOCATION::DeviceIoControl_IoControlCode, args.code);
    if let Err(error) = buffers(packet, args.code, args.input, args.output, kernel) {
        irp::release(packet);
        return Err(error);
    }
    let system = System::of(&frame.kernel);
    let span =
        system.begin(|| Request { length: args.input.1.max(args.output.1), ..file::request(frame, *opened, major) });
    own_by_service(frame, packet, 0);
    irp::set_span(packet, span);
    packet.set_ptr(IRP::Tail_OriginalFileObject, Some(opened.into_raw()));
    packet.set_ptr(IRP::UserEvent, event.map(ObjectRef::into_raw));
    frame.thread.io().operation(Operation::Other);
    let (status, _) = run_service(frame, packet, top, *kept, synchronous);
    Ok(status)
}

/// METHOD_BUFFERED 0, IN_DIRECT 1, OUT_DIRECT 2, NEITHER 3.
fn buffers(packet: Irp, code: u32, input: (Addr, u32), output: (Addr, u32), kernel: bool) -> NtResult<()> {
    let (input, input_length) = (input.0, input.1 as usize);
    let (output, output_length) = (output.0, output.1 as usize);
    let stack = irp::next(packet);
    let method = code & 3;
    if method == 3 {
        if kernel {
            input.region(input_length, true).map_err(violation)?;
            output.region(output_length, true).map_err(violation)?;
        }
        stack.set_addr(IO_STACK_LOCATION::DeviceIoControl_Type3InputBuffer, input.value());
        packet.set_addr(IRP::UserBuffer, output.value());
        return Ok(());
    }
    let size = if method == 0 { input_length.max(output_length) } else { input_length };
    if size != 0 {
        let copy = pool::allocate(size, pool::tag(b"IoSB"), pool::PoolKind::NonPaged);
        let copy = copy.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
        packet.or32(IRP::Flags, IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER);
        packet.set_ptr(IRP::AssociatedIrp_SystemBuffer, Some(copy));
        let copied = input
            .region(input_length, kernel)
            .and_then(|source| Region::pool(copy, size).sub(0, input_length).copy_from(source));
        if let Err(fault) = copied {
            pool::free(copy);
            return Err(violation(fault));
        }
    }
    if method == 0 {
        if output_length != 0 {
            packet.or32(IRP::Flags, IRP_INPUT_OPERATION);
            packet.set_addr(IRP::UserBuffer, output.value());
        }
    } else if output_length != 0 {
        let mdl = nt_mm::mdl::allocate(output.region(output_length, kernel).map_err(violation)?)?;
        if let Err(error) = nt_mm::mdl::probe_and_lock(mdl, kernel, method == 2) {
            nt_mm::mdl::free(mdl);
            return Err(error);
        }
        packet.set_ptr(IRP::MdlAddress, Some(mdl));
    }
    Ok(())
}

/// A request made by kernel code for its own use; returns the final result (KsSynchronousIoControlDevice and kin).
pub fn synchronous(
    frame: &Frame,
    opened: Foreign<FILE_OBJECT>,
    mode: Mode,
    code: u32,
    input: (Addr, u32),
    output: (Addr, u32),
) -> IoStatus {
    let _scope = Scope::start(frame);
    let Some(top) = device::related(opened) else { return IoStatus::new(NtStatus::INVALID_DEVICE_REQUEST, 0) };
    let Ok(packet) = irp::allocate(top.get(DEVICE_OBJECT::StackSize)) else {
        return IoStatus::new(NtStatus::INSUFFICIENT_RESOURCES, 0);
    };
    packet.set(IRP::Flags, nt_abi::io::IRP_SYNCHRONOUS_API);
    packet.set(IRP::RequestorMode, mode as u8);
    packet.set_addr(IRP::Tail_Thread, frame.thread.object());
    packet.set_ptr(IRP::Tail_OriginalFileObject, Some(opened));
    let stack = irp::next(packet);
    stack.set(IO_STACK_LOCATION::MajorFunction, IRP_MJ_DEVICE_CONTROL);
    stack.set_ptr(IO_STACK_LOCATION::FileObject, Some(opened));
    stack.set(IO_STACK_LOCATION::DeviceIoControl_OutputBufferLength, output.1);
    stack.set(IO_STACK_LOCATION::DeviceIoControl_InputBufferLength, input.1);
    stack.set(IO_STACK_LOCATION::DeviceIoControl_IoControlCode, code);
    if let Err(error) = buffers(packet, code, input, output, mode == Mode::Kernel) {
        irp::release(packet);
        return IoStatus::new(error.status(), 0);
    }
    let system = System::of(&frame.kernel);
    let span = system.begin(|| file::request(frame, opened, IRP_MJ_DEVICE_CONTROL));
    let result = file::send_for_result(frame, packet, top);
    system.end(span, result.status, result.information);
    result
}

fn fast_entry(device: Device) -> Option<(Foreign<DRIVER_OBJECT>, CodePtr)> {
    let driver = device.ptr(DEVICE_OBJECT::DriverObject)?;
    Some((driver, fast::routine(driver, FAST_IO_DISPATCH::FastIoDeviceControl)?))
}

/// Returns whether a device's driver has a FastIoDeviceControl routine.
#[must_use]
pub fn has_fast_control(device: Device) -> bool {
    fast_entry(device).is_some()
}

/// Calls FastIoDeviceControl of a device's driver; `None` when it has none or refuses (KS-S-31, KS-X-05).
#[must_use]
pub fn call_fast(call: &FastControl) -> Option<IoStatus> {
    let (driver, code) = fast_entry(call.device)?;
    if let Some(taken) = driver::with_native(driver, |native| native.fast_device_control(call)) {
        return taken;
    }
    fast::call(code, |block| {
        [
            call.file.addr(),
            u64::from(call.wait),
            call.input.0,
            u64::from(call.input.1),
            call.output.0,
            u64::from(call.output.1),
            u64::from(call.code),
            block.addr(),
            call.device.addr(),
        ]
    })
}
