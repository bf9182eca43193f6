//! What NtReadFile and NtWriteFile share: the validation order, offsets, fast I/O, the packet.
//!
//! Room: ntos/io. Called by: `write`, `read`. IRQL: PASSIVE_LEVEL. Locks: the file object's (synchronous files).
//! Source: ZwWriteFile page; nt-io.md sections 3, 6, 7, 10, 11. Rules NT-V-01 to NT-V-24 in that order.
//! Not here: what the volume does with the request; how the packet ends (`tail`).

use crate::checks::{capture, check_access, check_noncached, probe_status_block};
use crate::device::{self, Device};
use crate::driver::{self, FastCall};
use crate::irp::{self, IoStatus, Irp};
use crate::observe::{self, Request, Scope};
use crate::service::{store_status, violation};
use crate::system::System;
use crate::tail::{own_by_service, run_service};
use crate::{event, fast, file, settle, verify};
use nt_abi::io::{
    DEVICE_OBJECT, DO_BUFFERED_IO, DO_DIRECT_IO, DRIVER_OBJECT, FAST_IO_DISPATCH, FILE_APPEND_DATA, FILE_OBJECT,
    FILE_WRITE_DATA, FO_MAILSLOT, FO_NAMED_PIPE, FO_NO_INTERMEDIATE_BUFFERING, FO_SKIP_SET_FAST_IO, FO_SYNCHRONOUS_IO,
    FO_WRITE_THROUGH, IO_STACK_LOCATION, IRP, IRP_BUFFERED_IO, IRP_DEALLOCATE_BUFFER, IRP_DEFER_IO_COMPLETION,
    IRP_INPUT_OPERATION, IRP_MJ_READ, IRP_MJ_WRITE, IRP_NOCACHE, IRP_READ_OPERATION, IRP_WRITE_OPERATION,
    SL_WRITE_THROUGH,
};
use nt_abi::ke::KEVENT;
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Addr, CodePtr, Foreign, Region};
use nt_ex::pool;
use nt_ke::{Frame, Mode, dispatcher};
use nt_ob::types::ObjectType;
use nt_ob::{Handle, ObjectRef};
use nt_ps::counters::Operation;
use nt_trace::rule;

/// Starts at the current end of file.
pub const FILE_WRITE_TO_END_OF_FILE: i64 = -1;
/// Starts at the position that the I/O manager keeps.
pub const FILE_USE_FILE_POINTER_POSITION: i64 = -2;

/// The nine arguments of NtWriteFile and NtReadFile.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    /// FileHandle.
    pub handle: Handle,
    /// Event, or 0.
    pub event: Handle,
    /// ApcRoutine.
    pub apc_routine: Option<CodePtr>,
    /// ApcContext.
    pub apc_context: u64,
    /// IoStatusBlock.
    pub iosb: Addr,
    /// Buffer.
    pub buffer: Addr,
    /// Length.
    pub length: u32,
    /// ByteOffset: the address of a LARGE_INTEGER, or 0.
    pub byte_offset: Addr,
    /// Key: the address of a ULONG, or 0.
    pub key: Addr,
}

/// Which of the two services.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// NtReadFile.
    Read,
    /// NtWriteFile.
    Write,
}

impl Direction {
    /// IRP_MJ_READ or IRP_MJ_WRITE.
    #[must_use]
    pub const fn major(self) -> u8 {
        match self {
            Self::Read => IRP_MJ_READ,
            Self::Write => IRP_MJ_WRITE,
        }
    }
    const fn service(self) -> &'static str {
        match self {
            Self::Read => "NtReadFile",
            Self::Write => "NtWriteFile",
        }
    }
    /// The counter that such requests belong to.
    #[must_use]
    pub const fn counter(self) -> Operation {
        match self {
            Self::Read => Operation::Read,
            Self::Write => Operation::Write,
        }
    }
}

/// Everything captured and checked, ready to go down.
struct Transfer<'a> {
    frame: &'a Frame,
    system: &'a System,
    direction: Direction,
    file: ObjectRef<FILE_OBJECT>,
    top: Device,
    flags: u32,
    args: &'a Arguments,
    event: Option<ObjectRef<KEVENT>>,
    offset: Option<i64>,
    key: u32,
}

/// NtWriteFile / NtReadFile.
pub fn transfer(frame: &Frame, direction: Direction, args: &Arguments) -> NtStatus {
    frame.service(|| {
        let _service = settle::Service::enter();
        if nt_trace::asked() {
            return traced(frame, direction, args);
        }
        call(frame, direction, args)
    })
}

/// The same, with the rules that it meets.
#[cold]
fn traced(frame: &Frame, direction: Direction, args: &Arguments) -> NtStatus {
    let scope = Scope::start(frame);
    let status = call(frame, direction, args);
    scope.end(direction.service(), status, || refused(frame, direction, args));
    status
}

#[inline(always)]
fn call(frame: &Frame, direction: Direction, args: &Arguments) -> NtStatus {
    let notifies = args.event != Handle::NULL || args.apc_routine.is_some() || args.apc_context != 0;
    verify::service_call(frame, args.handle, notifies);
    match validate(frame, direction, args) {
        Ok(transfer) => transfer.run(),
        Err(error) => error.status(),
    }
}

/// What is told of a call that no request came of.
fn refused(frame: &Frame, direction: Direction, args: &Arguments) -> Request {
    let kernel = frame.mode() == Mode::Kernel;
    let offset = args.byte_offset.load(kernel);
    let request = observe::by_handle(frame, direction.major(), args.handle);
    Request { offset: offset.unwrap_or(0), length: args.length, ..request }
}

// Inlined with `run`: a `Transfer` that moves through memory costs more than the checks.
#[inline(always)]
fn validate<'a>(frame: &'a Frame, direction: Direction, args: &'a Arguments) -> NtResult<Transfer<'a>> {
    let kernel = frame.mode() == Mode::Kernel;
    // V-01, V-02.
    let found = event::reference(frame, args.handle, ObjectType::File, 0, frame.mode());
    let (object, granted) = found.inspect_err(|error| match error.status() {
        NtStatus::OBJECT_TYPE_MISMATCH => rule!(NT_V_02),
        _ => rule!(NT_V_01),
    })?;
    let file: ObjectRef<FILE_OBJECT> = object.retype();
    let flags = file.get(FILE_OBJECT::Flags);
    let top = device::related(*file).ok_or(NtStatus::INVALID_DEVICE_REQUEST.error())?;
    let synchronous = flags & FO_SYNCHRONOUS_IO != 0;
    if !kernel {
        check_access(direction, granted, flags)?; // V-03
        probe_status_block(args.iosb)?; // V-04
        if args.length != 0 {
            // V-05: the range only for a write; a read touches the pages too (NT-R-01, NT-B-02).
            let buffer = args.buffer.region(args.length as usize, false).map_err(|fault| {
                rule!(NT_V_05);
                rule!(NT_B_04);
                violation(fault)
            })?;
            if direction == Direction::Read {
                buffer.probe_write().map_err(|fault| {
                    rule!(NT_B_02);
                    violation(fault)
                })?;
            }
        }
    }
    let mut offset = capture::<i64>(args.byte_offset, kernel).inspect_err(|_| rule!(NT_V_06))?;
    if !kernel && args.apc_routine.is_some() && file.ptr(FILE_OBJECT::CompletionContext).is_some() {
        rule!(NT_V_07);
        return NtStatus::INVALID_PARAMETER.fail();
    }
    // V-14 is decided first (NT-O-11): an append-only handle ignores the offset given.
    if direction == Direction::Write && granted & (FILE_WRITE_DATA | FILE_APPEND_DATA) == FILE_APPEND_DATA {
        rule!(NT_V_14);
        rule!(NT_O_08);
        offset = Some(FILE_WRITE_TO_END_OF_FILE);
    }
    if !kernel && flags & FO_NO_INTERMEDIATE_BUFFERING != 0 {
        check_noncached(direction, args, top, offset, synchronous)?; // V-08 to V-10
    }
    let key = capture::<u32>(args.key, kernel).inspect_err(|_| rule!(NT_V_11))?.unwrap_or(0);
    let special = flags & (FO_NAMED_PIPE | FO_MAILSLOT) != 0;
    match (offset, direction) {
        (Some(at), _) if at < FILE_USE_FILE_POINTER_POSITION => {
            rule!(NT_V_12);
            return NtStatus::INVALID_PARAMETER.fail();
        }
        (Some(FILE_USE_FILE_POINTER_POSITION), _) if !synchronous && !special => {
            rule!(NT_V_13);
            return NtStatus::INVALID_PARAMETER.fail();
        }
        (Some(FILE_WRITE_TO_END_OF_FILE), Direction::Read) => {
            rule!(NT_O_12);
            return NtStatus::INVALID_PARAMETER.fail();
        }
        _ => {}
    }
    let event = event::for_request(frame, args.event, frame.mode()).inspect_err(|_| rule!(NT_V_15))?;
    if let Some(event) = &event {
        rule!(NT_V_16);
        dispatcher::clear_event(**event);
    }
    let system = System::of(&frame.kernel);
    Ok(Transfer { frame, system, direction, file, top, flags, args, event, offset, key })
}

/// Where a synchronous request starts.
#[cold]
fn tell_start(offset: Option<i64>) {
    match offset {
        None => rule!(NT_O_01),
        Some(FILE_USE_FILE_POINTER_POSITION) => rule!(NT_O_02),
        Some(FILE_WRITE_TO_END_OF_FILE) => rule!(NT_O_04),
        Some(_) => rule!(NT_O_03),
    }
}

/// What follows from accepted fast I/O.
#[cold]
fn tell_fast(result: IoStatus) {
    rule!(NT_K_01);
    rule!(NT_K_04);
    if result.status == NtStatus::END_OF_FILE {
        rule!(NT_K_05);
    }
}

impl Transfer<'_> {
    #[inline(always)]
    fn run(mut self) -> NtStatus {
        if self.flags & FO_SYNCHRONOUS_IO == 0 {
            let special = self.flags & (FO_NAMED_PIPE | FO_MAILSLOT) != 0;
            if self.offset.is_none() && !special {
                rule!(NT_V_19);
                return NtStatus::INVALID_PARAMETER;
            }
            let file = *self.file;
            return self.send(file);
        }
        // What a packet takes along, so that the lock below outlives no file object; declared first, dropped last.
        let kept;
        // V-17: the seek and the write are one step under this lock (NT-O-03, NT-W-11).
        let _lock = match file::lock(self.frame, *self.file) {
            Ok(lock) => lock,
            Err(status) => {
                rule!(NT_V_17);
                return status;
            }
        };
        if nt_trace::asked() {
            tell_start(self.offset);
        }
        if matches!(self.offset, None | Some(FILE_USE_FILE_POINTER_POSITION)) {
            self.offset = Some(self.file.get(FILE_OBJECT::CurrentByteOffset)); // V-18
        }
        if self.file.addr_at(FILE_OBJECT::PrivateCacheMap) != 0
            && let Some(status) = self.try_fast()
        {
            return status;
        }
        kept = self.file.clone();
        let file = *kept;
        self.send(file)
    }

    fn request(&self, flags: u32, fast: bool) -> Request {
        Request {
            major: self.direction.major(),
            file: Some(*self.file),
            offset: self.offset.unwrap_or(0),
            length: self.args.length,
            flags,
            fast,
            generated: false,
            process: nt_ps::current_process(self.frame).id(),
        }
    }

    fn count(&self, result: IoStatus) {
        count(self.frame, self.direction, Some(result));
    }

    /// V-20: the fast path; `None` sends the same request as a packet.
    fn try_fast(&self) -> Option<NtStatus> {
        let kernel = self.frame.mode() == Mode::Kernel;
        let buffer = self.args.buffer.region(self.args.length as usize, kernel).ok()?;
        let span = self.system.begin(|| self.request(0, true));
        let call = FastCall {
            file: *self.file,
            offset: self.offset.unwrap_or(0),
            length: self.args.length,
            wait: true,
            key: self.key,
            buffer,
            device: self.top,
        };
        let taken = observe::with_fast_span(span, || call_fast(self.direction, call));
        let accepted = taken.filter(|result| match self.direction {
            Direction::Write => result.status == NtStatus::SUCCESS,
            Direction::Read => {
                matches!(result.status, NtStatus::SUCCESS | NtStatus::BUFFER_OVERFLOW | NtStatus::END_OF_FILE)
            }
        });
        let Some(result) = accepted else {
            rule!(NT_K_01);
            rule!(NT_K_03);
            verify::refused_fast(self.frame, self.direction, self.top);
            self.system.end(span, NtStatus::FLT_DISALLOW_FAST_IO, 0);
            return None;
        };
        let result = settle::settled(*self.file, result);
        // Status block and event; the file object's event stays as it was. NT-B-09 for a block that went away.
        if nt_trace::asked() {
            tell_fast(result);
        }
        self.system.end(span, result.status, result.information);
        self.count(result);
        if result.status.is_error() && self.direction == Direction::Write {
            return Some(result.status); // what was written through did not reach the medium
        }
        if let Err(error) = store_status(self.args.iosb, kernel, result) {
            return Some(error.status());
        }
        if let Some(event) = self.event.as_ref().filter(|_| self.flags & FO_SKIP_SET_FAST_IO == 0) {
            dispatcher::set_event(**event);
        }
        Some(result.status)
    }

    /// `opened` is counted by the caller when the request is synchronous.
    fn send(self, opened: Foreign<FILE_OBJECT>) -> NtStatus {
        dispatcher::clear_event(self.file.at(FILE_OBJECT::Event)); // V-21
        let packet = match self.build() {
            Ok(packet) => packet,
            Err(error) => return error.status(), // V-22, V-23
        };
        let span = self.system.begin(|| self.request(packet.get(IRP::Flags), false));
        irp::set_span(packet, span);
        let Self { frame, file, top, event, direction, .. } = self;
        let synchronous = file::is_synchronous(*file);
        packet.set_ptr(IRP::Tail_OriginalFileObject, Some(file.into_raw()));
        packet.set_ptr(IRP::UserEvent, event.map(ObjectRef::into_raw));
        frame.thread.io().operation(direction.counter());
        let (status, result) = run_service(frame, packet, top, opened, synchronous);
        if let Some(result) = result.filter(|result| result.status.is_success()) {
            frame.thread.io().transferred(direction.counter(), result.information);
        }
        status
    }

    /// Builds the packet (NT-P-01 to NT-P-04).
    fn build(&self) -> NtResult<Irp> {
        let kernel = self.frame.mode() == Mode::Kernel;
        let packet = irp::allocate(self.top.get(DEVICE_OBJECT::StackSize))?;
        let mut flags = IRP_DEFER_IO_COMPLETION
            | match self.direction {
                Direction::Read => IRP_READ_OPERATION,
                Direction::Write => IRP_WRITE_OPERATION,
            };
        if self.flags & FO_NO_INTERMEDIATE_BUFFERING != 0 {
            rule!(NT_N_08);
            flags |= IRP_NOCACHE;
        }
        packet.set(IRP::Flags, flags);
        packet.set(IRP::RequestorMode, self.frame.mode() as u8);
        packet.set_addr(IRP::Tail_Thread, self.frame.thread.object());
        packet.set_addr(IRP::UserIosb, self.args.iosb.value());
        packet.set_code(IRP::UserApcRoutine, self.args.apc_routine);
        packet.set_addr(IRP::UserApcContext, self.args.apc_context);
        let stack = irp::next(packet);
        stack.set(IO_STACK_LOCATION::MajorFunction, self.direction.major());
        if self.flags & FO_WRITE_THROUGH != 0 && self.direction == Direction::Write {
            rule!(NT_W_12);
            stack.set(IO_STACK_LOCATION::Flags, SL_WRITE_THROUGH);
        }
        stack.set_ptr(IO_STACK_LOCATION::FileObject, Some(*self.file));
        stack.set(IO_STACK_LOCATION::Write_Length, self.args.length);
        stack.set(IO_STACK_LOCATION::Write_Key, self.key);
        stack.set(IO_STACK_LOCATION::Write_ByteOffset, self.offset.unwrap_or(0));
        if let Err(error) = give_buffer(packet, self.top, self.direction, self.args.buffer, self.args.length, kernel) {
            rule!(NT_V_23);
            irp::release(packet);
            return Err(error);
        }
        own_by_service(self.frame, packet, 0);
        Ok(packet)
    }
}

/// One operation a call that reached a device, and the bytes of a success (KS-W-11).
pub fn count(frame: &Frame, direction: Direction, result: Option<IoStatus>) {
    let counters = frame.thread.io();
    counters.operation(direction.counter());
    if let Some(result) = result.filter(|result| result.status.is_success()) {
        counters.transferred(direction.counter(), result.information);
    }
}

/// Puts the caller's buffer into a packet by the device's method (NT-P-03, NT-P-04, V-23).
pub fn give_buffer(
    packet: Irp,
    device: Device,
    direction: Direction,
    buffer: Addr,
    length: u32,
    kernel: bool,
) -> NtResult<()> {
    let method = device.get(DEVICE_OBJECT::Flags);
    let size = length as usize;
    if method & DO_BUFFERED_IO != 0 {
        rule!(NT_P_04);
        packet.or32(IRP::Flags, IRP_BUFFERED_IO);
        if length == 0 {
            return Ok(());
        }
        let source = buffer.region(size, kernel).map_err(violation)?;
        let copy = pool::allocate(size, pool::tag(b"IoSB"), pool::PoolKind::NonPaged);
        let copy = copy.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
        if direction == Direction::Write
            && let Err(fault) = Region::pool(copy, size).copy_from(source)
        {
            pool::free(copy);
            return Err(violation(fault));
        }
        packet.or32(IRP::Flags, IRP_DEALLOCATE_BUFFER);
        if direction == Direction::Read {
            packet.or32(IRP::Flags, IRP_INPUT_OPERATION);
            packet.set_addr(IRP::UserBuffer, buffer.value());
        }
        packet.set_ptr(IRP::AssociatedIrp_SystemBuffer, Some(copy));
    } else if method & DO_DIRECT_IO != 0 {
        if length != 0 {
            let region = buffer.region(size, kernel).map_err(violation)?;
            let mdl = nt_mm::mdl::allocate(region)?;
            if let Err(error) = nt_mm::mdl::probe_and_lock(mdl, kernel, direction == Direction::Read) {
                nt_mm::mdl::free(mdl);
                rule!(NT_B_06);
                return Err(error);
            }
            packet.set_ptr(IRP::MdlAddress, Some(mdl));
        }
    } else {
        // The file system probes what it touches; the address itself was checked, or is the kernel's own.
        if kernel {
            buffer.region(size, true).map_err(violation)?;
        }
        packet.set_addr(IRP::UserBuffer, buffer.value());
    }
    Ok(())
}

/// Finds a driver's routine for a transfer.
pub(crate) fn fast_routine(direction: Direction, driver: Foreign<DRIVER_OBJECT>) -> Option<CodePtr> {
    let slot = match direction {
        Direction::Read => FAST_IO_DISPATCH::FastIoRead,
        Direction::Write => FAST_IO_DISPATCH::FastIoWrite,
    };
    fast::routine(driver, slot)
}

/// Calls FastIoRead or FastIoWrite of a device's driver; `None` when it has none or refuses (NT-K-02, NT-K-10).
#[must_use]
pub fn call_fast(direction: Direction, mut call: FastCall) -> Option<IoStatus> {
    loop {
        let driver = call.device.ptr(DEVICE_OBJECT::DriverObject)?;
        let code = fast_routine(direction, driver)?;
        let taken = driver::with_native(driver, |native| match (native.fast_goes_to(direction.major()), direction) {
            (Some(lower), _) => Err(lower),
            (None, Direction::Read) => Ok(native.fast_read(&call)),
            (None, Direction::Write) => Ok(native.fast_write(&call)),
        });
        match taken {
            Some(Ok(taken)) => return taken,
            Some(Err(lower)) => call.device = lower,
            None => return call_fast_code(code, &call, Some(call.offset)),
        }
    }
}

/// Calls a fast I/O routine, FastIoWrite's kind or a KS object's, at its address; `None` when it refuses. Without an offset
/// FileOffset is NULL.
#[must_use]
pub fn call_fast_code(code: CodePtr, call: &FastCall, offset: Option<i64>) -> Option<IoStatus> {
    fast::call(code, |block| {
        let at = offset.and_then(|offset| block.store::<i64>(fast::BEHIND_STATUS, offset).ok());
        [
            call.file.addr(),
            at.map_or(0, |()| block.addr() + fast::BEHIND_STATUS as u64),
            u64::from(call.length),
            u64::from(call.wait),
            u64::from(call.key),
            call.buffer.addr(),
            block.addr(),
            call.device.addr(),
        ]
    })
}
