//! KsStreamIo, and KsSynchronousIoControlDevice: stream requests and control requests made by kernel code.
//!
//! Room: drivers/ks (ks.sys). Called by: `exports`, the Rust client. Calls: `nt_io`. IRQL: PASSIVE_LEVEL. Locks: none.
//! Source: KsStreamIo, KsSynchronousIoControlDevice pages; rules KS-S-01 to KS-S-33, KS-X-04 to KS-X-06.
//! Nothing here looks at the headers, but for the MDLs of nonpaged data: the driver's KsProbeStreamIrp judges them (KS-S-05).

use crate::frames::FrameList;
use crate::object::ObjectCall;
use crate::{dispatch, probe, verify};
use nt_abi::io::{
    DEVICE_OBJECT, FILE_OBJECT, IO_STACK_LOCATION, IO_STATUS_BLOCK, IRP, IRP_MJ_DEVICE_CONTROL, IRP_SYNCHRONOUS_API,
    SL_INVOKE_ON_CANCEL, SL_INVOKE_ON_ERROR, SL_INVOKE_ON_SUCCESS,
};
use nt_abi::ke::KEVENT;
use nt_abi::ks::{
    IOCTL_KS_READ_STREAM, IOCTL_KS_WRITE_STREAM, KSSTREAM_NONPAGED_DATA, KSSTREAM_SYNCHRONOUS, KSSTREAM_WRITE,
    KsInvokeOnCancel, KsInvokeOnError, KsInvokeOnSuccess,
};
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::{Addr, CodePtr, Foreign};
use nt_io::device::Device;
use nt_io::driver::FastControl;
use nt_io::event::LocalEvent;
use nt_io::irp::{self, IoStatus, Irp, PREFIX_CHECK_BLOCK, PREFIX_NO_ALERT};
use nt_io::observe::{self, Request, Scope};
use nt_io::rw::Direction;
use nt_io::system::System;
use nt_io::{control, device, file, port, tail};
use nt_ke::{Frame, Mode, dispatcher};
use nt_mm::mdl;
use nt_ob::object;
use nt_ob::types::ObjectType;
use nt_trace::rule;

/// CompletionRoutine, CompletionContext, CompletionInvocationFlags.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// CompletionRoutine.
    pub routine: CodePtr,
    /// CompletionContext.
    pub context: u64,
    /// KSCOMPLETION_INVOCATION bits.
    pub invoke: u32,
}

/// The arguments of KsStreamIo.
#[derive(Clone, Copy, Debug)]
pub struct StreamRequest {
    /// FileObject.
    pub file: Foreign<FILE_OBJECT>,
    /// Event: of the object manager, unless `flags` has KSSTREAM_SYNCHRONOUS.
    pub event: Option<Foreign<KEVENT>>,
    /// PortContext.
    pub port_context: u64,
    /// The completion routine, if any (KS-S-24).
    pub completion: Option<Completion>,
    /// IoStatusBlock: taken as valid whatever the mode (KS-S-18).
    pub iosb: Foreign<IO_STATUS_BLOCK>,
    /// StreamHeaders.
    pub headers: Addr,
    /// Length of the whole list in bytes (KS-S-26).
    pub length: u32,
    /// KSSTREAM_* bits.
    pub flags: u32,
    /// RequestorMode.
    pub mode: Mode,
}

impl StreamRequest {
    /// A synchronous request of kernel code for these frames, told by `local`; `flags` say which way.
    #[must_use]
    pub fn of_kernel(file: Foreign<FILE_OBJECT>, frames: &FrameList, local: &LocalEvent, flags: u32) -> Self {
        Self {
            file,
            event: Some(local.event()),
            port_context: 0,
            completion: None,
            iosb: local.status_block(),
            headers: frames.addr(),
            length: frames.length(),
            flags: flags | KSSTREAM_SYNCHRONOUS,
            mode: Mode::Kernel,
        }
    }
    /// KS-S-01, KS-S-02: one bit decides; without it the request is a read.
    fn direction(&self) -> Direction {
        if self.flags & KSSTREAM_WRITE != 0 { Direction::Write } else { Direction::Read }
    }
    fn code(&self) -> u32 {
        if self.flags & KSSTREAM_WRITE != 0 { IOCTL_KS_WRITE_STREAM } else { IOCTL_KS_READ_STREAM }
    }
    fn synchronous(&self) -> bool {
        self.flags & KSSTREAM_SYNCHRONOUS != 0
    }
}

/// KsStreamIo.
#[must_use]
pub fn stream_io(frame: &Frame, request: &StreamRequest) -> NtStatus {
    let scope = Scope::start(frame);
    let status = start(frame, request).unwrap_or_else(NtError::status);
    scope.end("KsStreamIo", status, || observed(frame, request, 0, false));
    status
}

fn start(frame: &Frame, request: &StreamRequest) -> NtResult<NtStatus> {
    let top = device::related(request.file).ok_or(NtStatus::INVALID_DEVICE_REQUEST.error())?;
    if let Some(event) = request.event {
        // KS-S-13, KS-S-14: a synchronous request's event may be any KEVENT, so what lies in front of it is not looked at.
        if !request.synchronous() && object::kind_of(event) != Some(ObjectType::Event) {
            let text = "the event passed to KsStreamIo without KSSTREAM_SYNCHRONOUS was not made by the object manager";
            System::of(&frame.kernel).finding("KS-V-02", "warning", "", text);
            return NtStatus::INVALID_PARAMETER.fail();
        }
        rule!(KS_S_12);
        dispatcher::clear_event(event);
    }
    verify::stream_request(frame, request);
    let forbidden = request.mode == Mode::User && frame.mode() == Mode::Kernel;
    if forbidden {
        rule!(KS_S_09);
    }
    if !forbidden && let Some(result) = fast(frame, request, top) {
        return Ok(finish_fast(request, result));
    }
    send(frame, request, top)
}

fn observed(frame: &Frame, request: &StreamRequest, flags: u32, fast: bool) -> Request {
    Request {
        major: IRP_MJ_DEVICE_CONTROL,
        file: Some(request.file),
        offset: 0,
        length: request.length,
        flags,
        fast,
        generated: false,
        process: nt_ps::current_process(frame).id(),
    }
}

/// KS-S-08, KS-S-31: the object's own entry for streams, or the driver's FastIoDeviceControl; `None` goes on with a packet.
fn fast(frame: &Frame, request: &StreamRequest, top: Device) -> Option<IoStatus> {
    let header = dispatch::object_header(request.file);
    if header.is_none() && !control::has_fast_control(top) {
        return None;
    }
    let buffer = request.headers.region(request.length as usize, request.mode == Mode::Kernel).ok()?;
    let system = System::of(&frame.kernel);
    rule!(KS_S_08);
    let span = system.begin(|| observed(frame, request, 0, true));
    let call = ObjectCall {
        file: request.file,
        offset: None,
        length: request.length,
        wait: false,
        key: 0,
        buffer,
        device: top,
    };
    let taken = observe::with_fast_span(span, || {
        match header.and_then(|header| dispatch::call_fast(header, request.direction(), &call)) {
            Some(answer) => answer,
            None => control::call_fast(&FastControl {
                file: request.file,
                wait: false,
                input: (0, 0),
                output: (buffer.addr(), request.length),
                code: request.code(),
                device: top,
            }),
        }
    });
    let result = taken.unwrap_or(IoStatus::new(NtStatus::FLT_DISALLOW_FAST_IO, 0));
    if taken.is_some() {
        rule!(KS_S_10);
    } else {
        rule!(KS_S_11);
    }
    system.end(span, result.status, result.information);
    taken
}

/// KS-S-10: no packet, so no completion routine; the file object's own event stays as it is.
fn finish_fast(request: &StreamRequest, result: IoStatus) -> NtStatus {
    request.iosb.set(IO_STATUS_BLOCK::Information, result.information);
    request.iosb.set(IO_STATUS_BLOCK::Status, result.status);
    if let Some(event) = request.event {
        dispatcher::set_event(event);
    }
    if request.port_context != 0 && !result.status.is_error() {
        port::queue_completion(request.file, request.port_context, result, false);
    }
    result.status
}

/// KS-S-04: the packet, with the service's completion.
fn send(frame: &Frame, request: &StreamRequest, top: Device) -> NtResult<NtStatus> {
    let packet = irp::allocate(top.get(DEVICE_OBJECT::StackSize))?; // KS-S-28
    if let Err(error) = fill(frame, request, packet) {
        irp::release(packet);
        return Err(error);
    }
    let system = System::of(&frame.kernel);
    let flags = packet.get(IRP::Flags);
    let span = system.begin(|| observed(frame, request, flags, false));
    tail::own_by_service(frame, packet, PREFIX_CHECK_BLOCK | PREFIX_NO_ALERT);
    irp::set_span(packet, span);
    rule!(KS_S_12);
    dispatcher::clear_event(request.file.at(FILE_OBJECT::Event));
    packet.set_ptr(IRP::Tail_OriginalFileObject, Some(object::reference(request.file).into_raw()));
    let event = match request.event {
        Some(event) if !request.synchronous() => Some(object::reference(event).into_raw()), // KS-S-13
        other => other,
    };
    packet.set_ptr(IRP::UserEvent, event);
    let kept = object::reference(request.file);
    let waits = file::is_synchronous(request.file); // KS-S-16, KS-S-32
    let (status, _) = tail::run_service(frame, packet, top, *kept, waits);
    Ok(status)
}

fn fill(frame: &Frame, request: &StreamRequest, packet: Irp) -> NtResult<()> {
    if request.synchronous() {
        rule!(KS_S_14);
        packet.set(IRP::Flags, IRP_SYNCHRONOUS_API); // KS-S-14: completion leaves the event's count alone
    }
    rule!(KS_S_29);
    packet.set(IRP::RequestorMode, request.mode as u8);
    packet.set_addr(IRP::Tail_Thread, frame.thread.object());
    packet.set_ptr(IRP::UserIosb, Some(request.iosb));
    packet.set_addr(IRP::UserApcContext, request.port_context);
    packet.set_addr(IRP::UserBuffer, request.headers.value());
    let stack = irp::next(packet);
    stack.set(IO_STACK_LOCATION::MajorFunction, IRP_MJ_DEVICE_CONTROL);
    stack.set_ptr(IO_STACK_LOCATION::FileObject, Some(request.file));
    stack.set(IO_STACK_LOCATION::DeviceIoControl_OutputBufferLength, request.length);
    stack.set(IO_STACK_LOCATION::DeviceIoControl_IoControlCode, request.code());
    if let Some(completion) = request.completion {
        // KS-S-20, KS-S-21: the top location is nobody's, so the routine gets no device.
        let bits = [
            (KsInvokeOnSuccess, SL_INVOKE_ON_SUCCESS),
            (KsInvokeOnError, SL_INVOKE_ON_ERROR),
            (KsInvokeOnCancel, SL_INVOKE_ON_CANCEL),
        ];
        let chosen = bits.iter().filter(|(flag, _)| completion.invoke & flag != 0).fold(0, |all, (_, bit)| all | bit);
        stack.set_code(IO_STACK_LOCATION::CompletionRoutine, Some(completion.routine));
        stack.set_addr(IO_STACK_LOCATION::Context, completion.context);
        stack.set(IO_STACK_LOCATION::Control, chosen);
    }
    if request.flags & KSSTREAM_NONPAGED_DATA != 0 && request.mode == Mode::Kernel {
        describe_nonpaged(request, packet)?; // KS-S-25
    }
    Ok(())
}

/// Gives the packet the MDLs of frames that are always there; a list that cannot be walked is left for the driver's probe.
fn describe_nonpaged(request: &StreamRequest, packet: Irp) -> NtResult<()> {
    let Ok(list) = request.headers.region(request.length as usize, true) else { return Ok(()) };
    let chain = match probe::mdls_of(list) {
        Ok(chain) => chain,
        Err(error) if error.status() == NtStatus::INSUFFICIENT_RESOURCES => return Err(error),
        Err(_) => return Ok(()),
    };
    for each in mdl::chain(chain) {
        mdl::build_for_nonpaged(each);
    }
    packet.set_ptr(IRP::MdlAddress, chain);
    Ok(())
}

/// The arguments of KsSynchronousIoControlDevice.
#[derive(Clone, Copy, Debug)]
pub struct ControlRequest {
    /// FileObject.
    pub file: Foreign<FILE_OBJECT>,
    /// RequestorMode.
    pub mode: Mode,
    /// IoControl.
    pub code: u32,
    /// InBuffer, InSize.
    pub input: (Addr, u32),
    /// OutBuffer, OutSize.
    pub output: (Addr, u32),
}

/// KsSynchronousIoControlDevice: waits, and returns the final status and Information (KS-X-04 to KS-X-06).
#[must_use]
pub fn synchronous_control(frame: &Frame, request: &ControlRequest) -> IoStatus {
    let Some(top) = device::related(request.file) else { return IoStatus::new(NtStatus::INVALID_DEVICE_REQUEST, 0) };
    let forbidden = request.mode == Mode::User && frame.mode() == Mode::Kernel;
    if !forbidden && control::has_fast_control(top) {
        let kernel = request.mode == Mode::Kernel;
        let named = |(at, length): (Addr, u32)| at.region(length as usize, kernel).is_ok();
        let call = FastControl {
            file: request.file,
            wait: true,
            input: (request.input.0.value(), request.input.1),
            output: (request.output.0.value(), request.output.1),
            code: request.code,
            device: top,
        };
        if named(request.input)
            && named(request.output)
            && let Some(result) = control::call_fast(&call)
        {
            return result;
        }
    }
    control::synchronous(frame, request.file, request.mode, request.code, request.input, request.output)
}
