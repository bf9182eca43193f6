//! The I/O and object manager names that ntoskrnl.exe exports, and the thunks that stand in native drivers' tables.
//!
//! Room: ntos/io. Called by: compiled drivers, `send` (through DRIVER_OBJECT slots).
//! IRQL: as each DDI page says. Locks: the cancel spin lock.
//! Every address that arrives here is a driver's word: it becomes a `Foreign` or an `Addr` at this edge and nowhere else.
#![expect(unsafe_code, reason = "entry points that take raw pointers: SOUNDNESS.md, S-3 and S-4")]

use crate::create::CreateSpec;
use crate::device::{Device, DeviceSpec};
use crate::driver::OwnedIrp;
use crate::info::InfoArguments;
use crate::irp::{self, Irp};
use crate::rw::Arguments;
use crate::service::{self, Caller, violation};
use crate::system::System;
use crate::{cancelable, complete, create, device, driver, event, file, info, read, rw, send, write};
use nt_abi::io::{DEVICE_OBJECT, DRIVER_OBJECT, IO_STACK_LOCATION, IRP};
use nt_abi::ke::KEVENT;
use nt_abi::mm::MDL;
use nt_abi::ob::{OBJECT_ATTRIBUTES, UNICODE_STRING};
use nt_abi::{Bytes, NtError, NtResult, NtStatus, Word};
use nt_cell::callout::Raised;
use nt_cell::{Addr, CodePtr, Foreign, Region, exports};
use nt_ke::dispatcher::EventType;
use nt_ke::{Frame, Mode};
use nt_ob::types::ObjectType;
use nt_ob::{Handle, Node, object};
use std::rc::Rc;

/// Names what a driver's pointer points at; `None` for NULL.
pub(crate) fn at<T>(address: u64) -> Option<Foreign<T>> {
    // SAFETY: S-3: a driver's pointer is taken at its word here, once; what lies there is reached by atomics and guarded
    // copies only, never through a reference.
    unsafe { Foreign::from_raw(address) }
}

/// Names a required structure; NULL ends the call with INVALID_PARAMETER.
fn need<T>(address: u64) -> NtResult<Foreign<T>> {
    at(address).ok_or(NtStatus::INVALID_PARAMETER.error())
}

/// Takes an address that a service was called with: a kernel caller vouches for its own, a user caller for nothing.
pub(crate) fn given(frame: &Frame, address: u64) -> Addr {
    match frame.mode() {
        Mode::User => Addr::user(address),
        // SAFETY: S-3: the caller runs in kernel mode and answers for the address by the service's contract.
        Mode::Kernel => unsafe { Addr::vouched(address) },
    }
}

pub(crate) fn vouched(address: u64) -> Addr {
    // SAFETY: S-3, as above.
    unsafe { Addr::vouched(address) }
}

/// Reads a parameter of a service.
pub(crate) fn load<W: Word>(frame: &Frame, from: u64) -> NtResult<W> {
    given(frame, from).load(frame.mode() == Mode::Kernel).map_err(violation)
}

/// Writes what a service gives back.
pub(crate) fn store<W: Word>(frame: &Frame, to: u64, value: W) -> NtResult<()> {
    given(frame, to).store(frame.mode() == Mode::Kernel, value).map_err(violation)
}

/// Reads a timeout that may be absent.
pub(crate) fn timeout(frame: &Frame, from: u64) -> NtResult<Option<i64>> {
    if from == 0 { Ok(None) } else { load(frame, from).map(Some) }
}

pub(crate) fn code(address: u64) -> Option<CodePtr> {
    // SAFETY: the driver gave it as a routine of the documented arity; the border answers for faults (S-3).
    unsafe { CodePtr::from_raw(address) }
}

pub(crate) fn bytes(address: u64, length: usize) -> Region {
    // SAFETY: S-3: the driver answers for the span by the routine's contract; accesses are guarded.
    unsafe { Region::from_raw(address, length) }
}

pub(crate) fn status(result: NtResult<NtStatus>) -> u32 {
    result.unwrap_or_else(NtError::status).0
}

/// Runs a service as Zw does: previous mode kernel (NT-B-11).
pub(crate) fn zw<R>(body: impl FnOnce(&Rc<Frame>) -> R) -> R {
    let frame = nt_ke::current();
    frame.with_mode(Mode::Kernel, || body(&frame))
}

nt_cell::thunk! {
    /// What stands in every MajorFunction slot that a driver did not set (NT-T-05).
    invalid_request, invalid_request_thunk(_device: u64, packet: u64) -> u32 {
        let Some(packet) = at::<IRP>(packet) else { return NtStatus::INVALID_PARAMETER.0 };
        OwnedIrp::arrived(packet).complete(NtStatus::INVALID_DEVICE_REQUEST, 0).status().0
    }
}
nt_cell::thunk! {
    /// What stands in the MajorFunction slots of Rust drivers.
    native_dispatch, native_dispatch_thunk(device: u64, packet: u64) -> u32 {
        let (Some(device), Some(packet)) = (at::<DEVICE_OBJECT>(device), at::<IRP>(packet)) else {
            return NtStatus::INVALID_PARAMETER.0;
        };
        let answer = device.ptr(DEVICE_OBJECT::DriverObject).and_then(|driver| {
            driver::with_native(driver, |native| native.dispatch(device, OwnedIrp::arrived(packet)))
        });
        let answer = answer.unwrap_or_else(|| OwnedIrp::arrived(packet).complete(NtStatus::INVALID_DEVICE_REQUEST, 0));
        answer.status().0
    }
}

/// A dispatch routine raised and nobody in the driver caught it: on Windows a bug check, here a finding, and the status
/// goes to the sender. The packet stays with the driver that lost it.
pub fn dispatch_raised(driver: Foreign<DRIVER_OBJECT>, major: usize, raised: &Raised) -> NtStatus {
    let name = nt_rtl::unicode::text(driver.at(DRIVER_OBJECT::DriverName));
    if let Some(frame) = nt_ke::try_current() {
        let message =
            format!("the dispatch routine for major {major:#x} raised {} and did not catch it", raised.status);
        System::of(&frame.kernel).finding("NT-M-17", "bugcheck", &name, &message);
    }
    raised.status
}

/// Reads OBJECT_ATTRIBUTES: root, name, attributes.
pub(crate) fn attributes(frame: &Frame, address: u64) -> NtResult<(Handle, Vec<u16>, u32)> {
    let kernel = frame.mode() == Mode::Kernel;
    if address == 0 {
        return Ok((Handle::NULL, Vec::new(), 0));
    }
    let block = given(frame, address).region(OBJECT_ATTRIBUTES::SIZE, kernel).map_err(violation)?;
    if block.load::<u32>(0).map_err(violation)? != OBJECT_ATTRIBUTES::SIZE as u32 {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let root = Handle(block.load::<u64>(OBJECT_ATTRIBUTES::RootDirectory.offset()).map_err(violation)?);
    let name_at = block.load::<u64>(OBJECT_ATTRIBUTES::ObjectName.offset()).map_err(violation)?;
    let flags = block.load::<u32>(OBJECT_ATTRIBUTES::Attributes.offset()).map_err(violation)?;
    if name_at == 0 {
        return Ok((root, Vec::new(), flags));
    }
    Ok((root, text(frame, name_at)?, flags))
}

/// Reads a caller's UNICODE_STRING.
pub(crate) fn text(frame: &Frame, address: u64) -> NtResult<Vec<u16>> {
    let kernel = frame.mode() == Mode::Kernel;
    let string = given(frame, address).region(UNICODE_STRING::SIZE, kernel).map_err(violation)?;
    let length = string.load::<u16>(0).map_err(violation)?;
    let buffer = string.load::<u64>(UNICODE_STRING::Buffer.offset()).map_err(violation)?;
    let bytes = given(frame, buffer).region(usize::from(length), kernel).and_then(Region::to_vec).map_err(violation)?;
    Ok(nt_rtl::unicode::units_of(&bytes))
}

/// A required pointer.
pub(crate) fn need_nonzero(address: u64) -> NtResult<u64> {
    if address == 0 { NtStatus::ACCESS_VIOLATION.fail() } else { Ok(address) }
}

/// The eleven arguments of NtCreateFile.
pub(crate) struct RawCreate {
    pub(crate) handle: u64,
    pub(crate) access: u32,
    pub(crate) attributes: u64,
    pub(crate) iosb: u64,
    pub(crate) allocation: u64,
    pub(crate) file_attributes: u32,
    pub(crate) share: u32,
    pub(crate) disposition: u32,
    pub(crate) options: u32,
    pub(crate) ea: u64,
    pub(crate) ea_length: u32,
}

/// NtCreateFile.
pub(crate) fn create_file(frame: &Frame, raw: &RawCreate) -> NtResult<NtStatus> {
    create_file_as(frame, raw, |_| {})
}

/// NtCreateFile, where `more` is asked for.
pub(crate) fn create_file_as(frame: &Frame, raw: &RawCreate, more: impl FnOnce(&mut CreateSpec)) -> NtResult<NtStatus> {
    let kernel = frame.mode() == Mode::Kernel;
    let out = given(frame, raw.handle).region(8, kernel).map_err(violation)?;
    let iosb = given(frame, raw.iosb);
    let block = iosb.region(16, kernel).map_err(violation)?;
    if !kernel {
        out.probe_write().and_then(|()| block.probe_write()).map_err(violation)?;
    }
    let (root, name, flags) = attributes(frame, raw.attributes)?;
    let allocation = match raw.allocation {
        0 => 0,
        address => load(frame, address)?,
    };
    let ea = match raw.ea_length {
        0 => None,
        length => {
            Some(given(frame, raw.ea).region(length as usize, kernel).and_then(Region::to_vec).map_err(violation)?)
        }
    };
    let mut spec = CreateSpec {
        access: raw.access,
        root,
        name,
        attributes: flags,
        file_attributes: raw.file_attributes,
        share: raw.share,
        disposition: raw.disposition,
        options: raw.options,
        allocation,
        ea,
        security: crate::security::exports::of_attributes(frame, raw.attributes)?,
        ..CreateSpec::default()
    };
    more(&mut spec);
    let (handle, result) = create::create_for(frame, &spec).map_err(|refused| {
        if create::is_told(refused) {
            let _gone = service::store_status(iosb, kernel, refused);
        }
        refused.status.error()
    })?;
    out.store::<u64>(0, handle.0).map_err(violation)?;
    service::store_status(iosb, kernel, result)?;
    Ok(result.status)
}

#[expect(clippy::too_many_arguments, reason = "NtWriteFile's nine")]
fn transfer(
    frame: &Frame,
    direction: rw::Direction,
    handle: u64,
    event: u64,
    apc: u64,
    context: u64,
    iosb: u64,
    buffer: u64,
    length: u32,
    offset: u64,
    key: u64,
) -> u32 {
    let args = Arguments {
        handle: Handle(handle),
        event: Handle(event),
        apc_routine: code(apc),
        apc_context: context,
        iosb: given(frame, iosb),
        buffer: given(frame, buffer),
        length,
        byte_offset: given(frame, offset),
        key: given(frame, key),
    };
    match direction {
        rw::Direction::Read => read::nt_read_file(frame, &args).0,
        rw::Direction::Write => write::nt_write_file(frame, &args).0,
    }
}

/// Who asks, from the first five arguments of most services.
pub(crate) fn caller(frame: &Frame, handle: u64, event: u64, apc: u64, context: u64, iosb: u64) -> Caller {
    Caller {
        handle: Handle(handle),
        event: Handle(event),
        apc_routine: code(apc),
        apc_context: context,
        iosb: given(frame, iosb),
    }
}

pub(crate) fn query(frame: &Frame, handle: u64, iosb: u64, buffer: u64, length: u32, class: u32) -> InfoArguments {
    InfoArguments { handle: Handle(handle), iosb: given(frame, iosb), buffer: given(frame, buffer), length, class }
}

fn create_event(frame: &Frame, out: u64, access: u32, attrs: u64, kind: u32, state: u8) -> NtResult<NtStatus> {
    let kernel = frame.mode() == Mode::Kernel;
    let slot = given(frame, out).region(8, kernel).map_err(violation)?;
    let (_, name, flags) = attributes(frame, attrs)?;
    if !name.is_empty() {
        return NtStatus::NOT_SUPPORTED.fail();
    }
    let kind = if kind == 0 { EventType::Notification } else { EventType::Synchronization };
    let handle = event::create(frame, access, flags, kind, state != 0)?;
    slot.store::<u64>(0, handle.0).map_err(violation)?;
    Ok(NtStatus::SUCCESS)
}

fn reference_by_handle(handle: u64, access: u32, kind: u64, mode: u8, out: u64, info_at: u64) -> NtResult<NtStatus> {
    let frame = nt_ke::current();
    let mode = Mode::from_raw(mode);
    let slot = vouched(out).region(8, true).map_err(violation)?;
    let kernel = mode == Mode::Kernel;
    let (found, granted) = match ObjectType::from_block(kind) {
        Some(kind) => event::reference(&frame, Handle(handle), kind, access, mode)?,
        None if kind == 0 => {
            let found = nt_ps::table_of(&frame, Handle(handle), kernel).reference(Handle(handle))?;
            (found.object, found.granted)
        }
        None => return NtStatus::OBJECT_TYPE_MISMATCH.fail(),
    };
    slot.store::<u64>(0, found.into_raw().addr()).map_err(violation)?;
    if info_at != 0 {
        let block = vouched(info_at).region(8, true).map_err(violation)?;
        block.store::<u32>(0, 0).and_then(|()| block.store::<u32>(4, granted)).map_err(violation)?;
    }
    Ok(NtStatus::SUCCESS)
}

fn create_device(driver: u64, extension: u32, name: u64, kind: u32, flags: u32, out: u64) -> NtResult<NtStatus> {
    let frame = nt_ke::current();
    let name = at::<UNICODE_STRING>(name).map(nt_rtl::unicode::text);
    let spec = DeviceSpec { extension: extension as usize, name: name.as_deref(), kind, characteristics: flags };
    let made = device::create(&frame.kernel, need::<DRIVER_OBJECT>(driver)?, &spec)?;
    vouched(out).store(true, made.body().addr()).map_err(violation)?;
    Ok(NtStatus::SUCCESS)
}

/// IoBuildSynchronousFsdRequest and its asynchronous form (NT-M-03).
fn build_request(
    major: u32,
    device: u64,
    buffer: u64,
    length: u32,
    offset: u64,
    event: u64,
    iosb: u64,
) -> NtResult<Irp> {
    let device: Device = need(device)?;
    let frame = nt_ke::current();
    let packet = irp::allocate(device.get(DEVICE_OBJECT::StackSize))?;
    packet.set(IRP::RequestorMode, 0);
    packet.set_addr(IRP::Tail_Thread, frame.thread.object());
    packet.set_addr(IRP::UserIosb, iosb);
    packet.set_addr(IRP::UserEvent, event);
    let stack = irp::next(packet);
    stack.set(IO_STACK_LOCATION::MajorFunction, major as u8);
    let direction = match major as u8 {
        nt_abi::io::IRP_MJ_READ => Some(rw::Direction::Read),
        nt_abi::io::IRP_MJ_WRITE => Some(rw::Direction::Write),
        _ => None,
    };
    if let Some(direction) = direction {
        let start = match offset {
            0 => 0,
            address => vouched(address).load(true).unwrap_or(0),
        };
        stack.set(IO_STACK_LOCATION::Write_Length, length);
        stack.set(IO_STACK_LOCATION::Write_ByteOffset, start);
        rw::give_buffer(packet, device, direction, vouched(buffer), length, true)?;
    }
    Ok(packet)
}

exports! { "ntoskrnl.exe" =>
    Full code NtWriteFile(handle: u64, event: u64, apc: u64, context: u64, iosb: u64, buffer: u64, length: u32, offset: u64, key: u64) -> u32 {
        let frame = nt_ke::current();
        transfer(&frame, rw::Direction::Write, handle, event, apc, context, iosb, buffer, length, offset, key)
    }
    Full code ZwWriteFile(handle: u64, event: u64, apc: u64, context: u64, iosb: u64, buffer: u64, length: u32, offset: u64, key: u64) -> u32 {
        zw(|frame| transfer(frame, rw::Direction::Write, handle, event, apc, context, iosb, buffer, length, offset, key))
    }
    Full code NtReadFile(handle: u64, event: u64, apc: u64, context: u64, iosb: u64, buffer: u64, length: u32, offset: u64, key: u64) -> u32 {
        let frame = nt_ke::current();
        transfer(&frame, rw::Direction::Read, handle, event, apc, context, iosb, buffer, length, offset, key)
    }
    Full code ZwReadFile(handle: u64, event: u64, apc: u64, context: u64, iosb: u64, buffer: u64, length: u32, offset: u64, key: u64) -> u32 {
        zw(|frame| transfer(frame, rw::Direction::Read, handle, event, apc, context, iosb, buffer, length, offset, key))
    }
    Partial("named pipes and mailslots are absent") code NtCreateFile(handle: u64, access: u32, attributes: u64, iosb: u64, allocation: u64, file_attributes: u32, share: u32, disposition: u32, options: u32, ea: u64, ea_length: u32) -> u32 {
        let raw = RawCreate { handle, access, attributes, iosb, allocation, file_attributes, share, disposition, options, ea, ea_length };
        status(create_file(&nt_ke::current(), &raw))
    }
    Partial("named pipes and mailslots are absent") code ZwCreateFile(handle: u64, access: u32, attributes: u64, iosb: u64, allocation: u64, file_attributes: u32, share: u32, disposition: u32, options: u32, ea: u64, ea_length: u32) -> u32 {
        let raw = RawCreate { handle, access, attributes, iosb, allocation, file_attributes, share, disposition, options, ea, ea_length };
        zw(|frame| status(create_file(frame, &raw)))
    }
    Full code NtClose(handle: u64) -> u32 {
        status(event::close(&nt_ke::current(), Handle(handle)).map(|()| NtStatus::SUCCESS))
    }
    Full code ZwClose(handle: u64) -> u32 {
        zw(|frame| status(event::close(frame, Handle(handle)).map(|()| NtStatus::SUCCESS)))
    }
    Partial("the classes that info::class names") code ZwQueryInformationFile(handle: u64, iosb: u64, buffer: u64, length: u32, class: u32) -> u32 {
        zw(|frame| info::nt_query_information_file(frame, &query(frame, handle, iosb, buffer, length, class)).0)
    }
    Partial("the classes that info::class names") code ZwSetInformationFile(handle: u64, iosb: u64, buffer: u64, length: u32, class: u32) -> u32 {
        zw(|frame| info::nt_set_information_file(frame, &query(frame, handle, iosb, buffer, length, class)).0)
    }
    Partial("the classes that info::class names") code NtQueryInformationFile(handle: u64, iosb: u64, buffer: u64, length: u32, class: u32) -> u32 {
        let frame = nt_ke::current();
        info::nt_query_information_file(&frame, &query(&frame, handle, iosb, buffer, length, class)).0
    }
    Partial("the classes that info::class names") code NtSetInformationFile(handle: u64, iosb: u64, buffer: u64, length: u32, class: u32) -> u32 {
        let frame = nt_ke::current();
        info::nt_set_information_file(&frame, &query(&frame, handle, iosb, buffer, length, class)).0
    }
    Full code ZwWaitForSingleObject(handle: u64, alertable: u8, at_most: u64) -> u32 {
        zw(|frame| status(timeout(frame, at_most).and_then(|t| event::wait_for(frame, Handle(handle), alertable != 0, t))))
    }
    Partial("events without a name only") code ZwCreateEvent(out: u64, access: u32, attributes: u64, kind: u32, state: u8) -> u32 {
        zw(|frame| status(create_event(frame, out, access, attributes, kind, state)))
    }
    Full code ZwSetEvent(handle: u64, previous: u64) -> u32 {
        zw(|frame| status(event::change(frame, Handle(handle), true).map(|was| {
            if previous != 0 { let _gone = vouched(previous).store(true, was); }
            NtStatus::SUCCESS
        })))
    }
    Full code ObReferenceObjectByHandle(handle: u64, access: u32, kind: u64, mode: u8, out: u64, info: u64) -> u32 {
        status(reference_by_handle(handle, access, kind, mode, out, info))
    }
    Full code ObfReferenceObject(body: u64) -> u64 {
        at::<Bytes>(body).map_or(0, |body| { let _kept = object::reference(body).into_raw(); object::pointer_count(body) as u64 })
    }
    Full code ObfDereferenceObject(body: u64) -> u64 { at::<Bytes>(body).map_or(0, |body| object::dereference(body) as u64) }
    Full code ObReferenceObjectByPointer(body: u64, _access: u32, kind: u64, _mode: u8) -> u32 {
        let Some(body) = at::<Bytes>(body) else { return NtStatus::INVALID_PARAMETER.0 };
        if kind != 0 && ObjectType::from_block(kind) != object::kind_of(body) { return NtStatus::OBJECT_TYPE_MISMATCH.0; }
        let _kept = object::reference(body).into_raw();
        NtStatus::SUCCESS.0
    }
    Full data IoFileObjectType() -> u64 { type_slot(ObjectType::File) }
    Full data ExEventObjectType() -> u64 { type_slot(ObjectType::Event) }
    Full data IoDeviceObjectType() -> u64 { type_slot(ObjectType::Device) }
    Full data IoDriverObjectType() -> u64 { type_slot(ObjectType::Driver) }
    Full code IoCreateDevice(driver: u64, extension: u32, name: u64, kind: u32, characteristics: u32, _exclusive: u8, out: u64) -> u32 {
        status(create_device(driver, extension, name, kind, characteristics, out))
    }
    Full code IoDeleteDevice(device: u64) {
        if let Some(device) = at::<DEVICE_OBJECT>(device) { device::delete(&nt_ke::current().kernel, device, None); }
    }
    Full code IoCreateSymbolicLink(link: u64, target: u64) -> u32 {
        let (Some(link), Some(target)) = (at::<UNICODE_STRING>(link), at::<UNICODE_STRING>(target)) else { return NtStatus::INVALID_PARAMETER.0 };
        let (link, target) = (nt_rtl::unicode::text(link), nt_rtl::unicode::text(target));
        status(System::of(&nt_ke::current().kernel).namespace.insert(&link, Node::Link(target)).map(|()| NtStatus::SUCCESS))
    }
    Full code IoDeleteSymbolicLink(link: u64) -> u32 {
        let Some(link) = at::<UNICODE_STRING>(link) else { return NtStatus::INVALID_PARAMETER.0 };
        let link = nt_rtl::unicode::text(link);
        status(System::of(&nt_ke::current().kernel).namespace.remove(&link).map(|()| NtStatus::SUCCESS))
    }
    Full code IoAttachDeviceToDeviceStack(new: u64, target: u64) -> u64 {
        match (at(new), at(target)) {
            (Some(new), Some(target)) => device::attach(new, target).map_or(0, Foreign::addr),
            _ => 0,
        }
    }
    Full code IoDetachDevice(below: u64) { if let Some(below) = at(below) { device::detach(below); } }
    Full code IoGetAttachedDevice(device: u64) -> u64 { at(device).map_or(0, |device| device::top_of_stack(device).addr()) }
    Full code IoGetRelatedDeviceObject(file: u64) -> u64 { at(file).and_then(device::related).map_or(0, Foreign::addr) }
    Full code IoGetBaseFileSystemDeviceObject(file: u64) -> u64 { at(file).and_then(device::base).map_or(0, Foreign::addr) }
    Full code IoGetTopLevelIrp() -> u64 { nt_ke::current().thread.top_level() }
    Full code IoSetTopLevelIrp(packet: u64) { nt_ke::current().thread.set_top_level(packet); }
    Full code IoAllocateIrp(stack_size: i8, _charge: u8) -> u64 { irp::allocate(stack_size).map_or(0, Foreign::addr) }
    Full code IoFreeIrp(packet: u64) { if let Some(packet) = at::<IRP>(packet) { irp::release(packet); } }
    Full code IoReuseIrp(packet: u64, status: u32) { if let Some(packet) = at::<IRP>(packet) { irp::reuse(packet, NtStatus(status)); } }
    Full code IoInitializeIrp(packet: u64, size: u16, stack_size: i8) {
        if let Some(packet) = at::<IRP>(packet) {
            // SAFETY: the driver gives `size` bytes for the packet; the fill is guarded.
            let _fault = unsafe { Region::from_raw(packet.addr(), usize::from(size)) }.fill(0);
            irp::initialize(packet, size, stack_size);
        }
    }
    Full code IofCallDriver(device: u64, packet: u64) -> u32 {
        match (at(device), at(packet)) {
            (Some(device), Some(packet)) => send::call_driver(device, packet).0,
            _ => NtStatus::INVALID_PARAMETER.0,
        }
    }
    Full code IoCallDriver(device: u64, packet: u64) -> u32 {
        match (at(device), at(packet)) {
            (Some(device), Some(packet)) => send::call_driver(device, packet).0,
            _ => NtStatus::INVALID_PARAMETER.0,
        }
    }
    Full code IofCompleteRequest(packet: u64, _boost: i8) { if let Some(packet) = at(packet) { complete::complete_request(packet); } }
    Full code IoCompleteRequest(packet: u64, _boost: i8) { if let Some(packet) = at(packet) { complete::complete_request(packet); } }
    Full code IoCancelIrp(packet: u64) -> u8 { at(packet).map_or(0, |packet| u8::from(cancelable::cancel_irp(packet))) }
    Full code IoAcquireCancelSpinLock(irql: u64) {
        let was = nt_ke::irql::current();
        cancelable::acquire_cancel_lock();
        let _gone = vouched(irql).store(true, was);
    }
    Full code IoReleaseCancelSpinLock(irql: u8) { cancelable::release_cancel_lock(irql); }
    Full code IoGetCurrentProcess() -> u64 { nt_ps::current_process(&nt_ke::current()).object().addr() }
    Full code PsGetCurrentProcess() -> u64 { nt_ps::current_process(&nt_ke::current()).object().addr() }
    Full code PsGetCurrentProcessId() -> u64 { nt_ps::current_process(&nt_ke::current()).id() }
    Full code PsGetCurrentThreadId() -> u64 { nt_ke::current().thread.id() }
    Full code IoBuildSynchronousFsdRequest(major: u32, device: u64, buffer: u64, length: u32, offset: u64, event: u64, iosb: u64) -> u64 {
        build_request(major, device, buffer, length, offset, event, iosb).map_or(0, Foreign::addr)
    }
    Full code IoBuildAsynchronousFsdRequest(major: u32, device: u64, buffer: u64, length: u32, offset: u64, iosb: u64) -> u64 {
        build_request(major, device, buffer, length, offset, 0, iosb).map_or(0, Foreign::addr)
    }
    Partial("quota is not charged; a secondary buffer is chained to the packet's first MDL only") code IoAllocateMdl(address: u64, length: u32, secondary: u8, _quota: u8, packet: u64) -> u64 {
        let Ok(mdl) = nt_mm::mdl::describe(address, length as usize) else { return 0 };
        if let Some(packet) = at::<IRP>(packet) {
            match packet.ptr(IRP::MdlAddress).filter(|_| secondary != 0) {
                Some(first) => {
                    let mut last = first;
                    while let Some(next) = last.ptr(MDL::Next) { last = next; }
                    last.set_ptr(MDL::Next, Some(mdl));
                }
                None => packet.set_ptr(IRP::MdlAddress, Some(mdl)),
            }
        }
        mdl.addr()
    }
    Full code IoFreeMdl(mdl: u64) { if let Some(mdl) = at(mdl) { nt_mm::mdl::free(mdl); } }
    Full code IoCreateNotificationEvent(_name: u64, out: u64) -> u64 { named_event(out, EventType::Notification) }
    Full code IoCreateSynchronizationEvent(_name: u64, out: u64) -> u64 { named_event(out, EventType::Synchronization) }
    Full code IoIsOperationSynchronous(packet: u64) -> u8 {
        u8::from(at(packet).is_some_and(file::is_waited_for))
    }
    Absent("registry keys of drivers come with the registry") missing IoOpenDriverRegistryKey;
}

/// The variable that a type export names: it holds the address of the OBJECT_TYPE block.
pub fn type_slot(kind: ObjectType) -> u64 {
    static SLOTS: [std::sync::OnceLock<u64>; 16] = [const { std::sync::OnceLock::new() }; 16];
    *SLOTS[kind as usize].get_or_init(|| {
        let slot = nt_ex::pool::allocate_permanent(8).expect("no pool for a type variable");
        let _own = Region::pool(slot, 8).store::<u64>(0, kind.block().addr());
        slot.addr()
    })
}

/// NT-M-15: the event starts signalled and the handle is a kernel handle.
fn named_event(out: u64, kind: EventType) -> u64 {
    zw(|frame| {
        let access = 0x001F_0003;
        let Ok(handle) = event::create(frame, access, nt_abi::ob::OBJ_KERNEL_HANDLE, kind, true) else { return 0 };
        let found = event::reference(frame, handle, ObjectType::Event, 0, Mode::Kernel);
        let _gone = vouched(out).store(true, handle.0);
        found.map_or(0, |(object, _)| object.body().view::<KEVENT>().addr())
    })
}
