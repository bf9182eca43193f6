//! The names that ks.sys exports, as far as drivers of the write path ask for them.
//!
//! Room: drivers/ks. Called by: compiled drivers. Read by: the loader, `ntio imports`. IRQL: PASSIVE_LEVEL. Locks: none.
#![expect(unsafe_code, reason = "entry points that take raw pointers: SOUNDNESS.md, S-3 and S-4")]

use crate::clientio::{self, Transfer};
use crate::completion::{self, Completed};
use crate::dispatch::{self, KS_CONTEXT};
use crate::forward::{self, Ends};
use crate::object::ObjectCall;
use crate::streamio::{self, Completion, ControlRequest, StreamRequest};
use crate::{connect, object, probe, queue};
use nt_abi::io::{DEVICE_OBJECT, DRIVER_OBJECT, FILE_OBJECT, IRP};
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::{Addr, CodePtr, Foreign, Region, exports};
use nt_io::cancelable;
use nt_io::driver::OwnedIrp;
use nt_io::rw::Direction;
use nt_ke::Mode;
use nt_ob::Handle;

pub(crate) fn at<T>(address: u64) -> Option<Foreign<T>> {
    // SAFETY: S-3: a driver's pointer is taken at its word here; what lies there is reached by atomics only.
    unsafe { Foreign::from_raw(address) }
}

/// Names the bytes of a driver's variable, buffer or string.
pub(crate) fn bytes(address: u64, length: usize) -> Region {
    // SAFETY: S-3: the driver answers for the span by the routine's contract; accesses are guarded.
    unsafe { Region::from_raw(address, length) }
}

/// The eight arguments of KsWriteFile and KsReadFile.
type Raw = (u64, u64, u64, u64, u64, u32, u32, u8);

fn transfer(direction: Direction, (file, event, context, iosb, buffer, length, key, mode): Raw) -> u32 {
    let (Some(file), Some(iosb)) = (at(file), at(iosb)) else { return NtStatus::INVALID_PARAMETER.0 };
    let mode = Mode::from_raw(mode);
    let buffer = given(buffer, mode);
    let request =
        Transfer { file, event: at(event), port_context: context, iosb, buffer, length, key, mode, direction };
    clientio::transfer(&nt_ke::current(), &request).0
}

pub(crate) fn code(address: u64) -> Option<CodePtr> {
    // SAFETY: the driver gave it as a routine of the documented arity; the border answers for faults (S-3).
    unsafe { CodePtr::from_raw(address) }
}

/// Takes an address under a requestor mode: a kernel-mode caller answers for its own, a user-mode one for nothing.
fn given(address: u64, mode: Mode) -> Addr {
    match mode {
        Mode::User => Addr::user(address),
        // SAFETY: S-3: a kernel-mode requestor answers for its buffers (KS-W-15, KS-S-05).
        Mode::Kernel => unsafe { Addr::vouched(address) },
    }
}

pub(crate) fn status(result: NtResult<()>) -> u32 {
    result.map_or_else(NtError::status, |()| NtStatus::SUCCESS).0
}

pub(crate) fn store<W: nt_abi::Word>(address: u64, value: W) {
    if address != 0 {
        let _gone = bytes(address, size_of::<W>()).store::<W>(0, value);
    }
}

nt_cell::thunk! {
    /// What KsSetMajorFunctionHandler puts into a MajorFunction slot.
    dispatch_irp, dispatch_irp_thunk(device: u64, packet: u64) -> u32 {
        match (at::<DEVICE_OBJECT>(device), at::<IRP>(packet)) {
            (Some(device), Some(packet)) => dispatch::dispatch(device, packet).0,
            _ => NtStatus::INVALID_PARAMETER.0,
        }
    }
}
nt_cell::thunk! {
    /// What stands in the dispatch tables of Rust objects.
    native_object, native_object_thunk(device: u64, packet: u64) -> u32 {
        let (Some(device), Some(packet)) = (at::<DEVICE_OBJECT>(device), at::<IRP>(packet)) else {
            return NtStatus::INVALID_PARAMETER.0;
        };
        match OwnedIrp::arrived(packet).file().and_then(dispatch::object_header) {
            Some(header) => object::dispatch(header, device, packet).0,
            None => OwnedIrp::arrived(packet).complete(NtStatus::INVALID_DEVICE_REQUEST, 0).status().0,
        }
    }
}
nt_cell::thunk! {
    /// What stands in the create items of Rust factories.
    native_create, native_create_thunk(device: u64, packet: u64) -> u32 {
        let (Some(device), Some(packet)) = (at::<DEVICE_OBJECT>(device), at::<IRP>(packet)) else {
            return NtStatus::INVALID_PARAMETER.0;
        };
        match at(packet.get(IRP::Tail_DriverContext.index(0))) {
            Some(item) => object::create(device, packet, item).0,
            None => OwnedIrp::arrived(packet).complete(NtStatus::OBJECT_NAME_NOT_FOUND, 0).status().0,
        }
    }
}
nt_cell::thunk! {
    /// What stands in a packet for a completion routine that is written in Rust.
    native_completion, native_completion_thunk(device: u64, packet: u64, context: u64) -> u32 {
        let Some(packet) = at(packet) else { return NtStatus::SUCCESS.0 };
        completion::run(context, &Completed { device: at(device), packet }).0
    }
}

fn fast(direction: Direction, [file, offset, length, wait, key, buffer, iosb, device]: [u64; 8]) -> u8 {
    let (Some(file), Some(device)) = (at::<FILE_OBJECT>(file), at::<DEVICE_OBJECT>(device)) else { return 0 };
    let Some(header) = dispatch::object_header(file) else { return 0 };
    let offset = (offset != 0).then(|| bytes(offset, 8).load::<i64>(0).unwrap_or(0));
    let buffer = bytes(buffer, length as u32 as usize);
    let (length, key, wait) = (length as u32, key as u32, wait & 0xFF != 0);
    let call = ObjectCall { file, offset, length, wait, key, buffer, device };
    let Some(Some(result)) = dispatch::call_fast(header, direction, &call) else { return 0 };
    store::<u64>(iosb + 8, result.information);
    store::<u32>(iosb, result.status.0);
    1
}

nt_cell::thunk! {
    /// FastIoRead of drivers that asked KS for it.
    fast_read, fast_read_thunk(file: u64, offset: u64, length: u32, wait: u8, key: u32, buffer: u64, iosb: u64, device: u64) -> u8 {
        fast(Direction::Read, [file, offset, length.into(), wait.into(), key.into(), buffer, iosb, device])
    }
}
nt_cell::thunk! {
    /// FastIoWrite of drivers that asked KS for it.
    fast_write, fast_write_thunk(file: u64, offset: u64, length: u32, wait: u8, key: u32, buffer: u64, iosb: u64, device: u64) -> u8 {
        fast(Direction::Write, [file, offset, length.into(), wait.into(), key.into(), buffer, iosb, device])
    }
}
nt_cell::thunk! {
    /// FastIoDeviceControl of drivers that asked KS for it: no object here has a fast entry for control requests yet.
    fast_control, fast_control_thunk(_file: u64, _wait: u8, _input: u64, _input_length: u32, _output: u64, _output_length: u32, _code: u32, _iosb: u64, _device: u64) -> u8 {
        0
    }
}
nt_cell::thunk! {
    /// KsDispatchFastIoDeviceControlFailure (KS-D-12).
    fast_control_failure, fast_control_failure_thunk(_file: u64, _wait: u8, _input: u64, _input_length: u32, _output: u64, _output_length: u32, _code: u32, _iosb: u64, _device: u64) -> u8 {
        0
    }
}

exports! { "ks.sys" =>
    Full code KsWriteFile(file: u64, event: u64, context: u64, iosb: u64, buffer: u64, length: u32, key: u32, mode: u8) -> u32 {
        transfer(Direction::Write, (file, event, context, iosb, buffer, length, key, mode))
    }
    Full code KsReadFile(file: u64, event: u64, context: u64, iosb: u64, buffer: u64, length: u32, key: u32, mode: u8) -> u32 {
        transfer(Direction::Read, (file, event, context, iosb, buffer, length, key, mode))
    }
    Full code KsStreamIo(file: u64, event: u64, context: u64, routine: u64, routine_context: u64, invoke: u32, iosb: u64, headers: u64, length: u32, flags: u32, mode: u8) -> u32 {
        let (Some(file), Some(iosb)) = (at(file), at(iosb)) else { return NtStatus::INVALID_PARAMETER.0 };
        let mode = Mode::from_raw(mode);
        let completion = code(routine).map(|routine| Completion { routine, context: routine_context, invoke });
        let headers = given(headers, mode);
        let request =
            StreamRequest { file, event: at(event), port_context: context, completion, iosb, headers, length, flags, mode };
        streamio::stream_io(&nt_ke::current(), &request).0
    }
    Full code KsSynchronousIoControlDevice(file: u64, mode: u8, control: u32, input: u64, input_length: u32, output: u64, output_length: u32, returned: u64) -> u32 {
        let Some(file) = at(file) else { return NtStatus::INVALID_PARAMETER.0 };
        let mode = Mode::from_raw(mode);
        let (input, output) = ((given(input, mode), input_length), (given(output, mode), output_length));
        let request = ControlRequest { file, mode, code: control, input, output };
        let result = streamio::synchronous_control(&nt_ke::current(), &request);
        store::<u32>(returned, result.information as u32);
        result.status.0
    }
    Full code KsProbeStreamIrp(packet: u64, flags: u32, header_size: u32) -> u32 {
        at(packet).map_or(NtStatus::INVALID_PARAMETER.0, |packet| status(probe::probe_stream_irp(packet, flags, header_size)))
    }
    Full code KsAllocateExtraData(packet: u64, extra: u32, block: u64) -> u32 {
        let Some(packet) = at(packet) else { return NtStatus::INVALID_PARAMETER.0 };
        status(probe::allocate_extra_data(packet, extra).map(|made| store::<u64>(block, made.addr())))
    }
    Full code KsAllocateObjectHeader(header: u64, count: u32, items: u64, create: u64, table: u64) -> u32 {
        let Some(to) = at::<KS_CONTEXT>(header) else { return NtStatus::INVALID_PARAMETER.0 };
        let made = dispatch::allocate_object_header(count, at(items), at(create), at(table));
        status(made.map(|made| dispatch::give(to, made)))
    }
    Full code KsFreeObjectHeader(header: u64) { if let Some(header) = at(header) { dispatch::free_header(header); } }
    Full code KsAllocateDeviceHeader(header: u64, count: u32, items: u64) -> u32 {
        let Some(to) = at::<KS_CONTEXT>(header) else { return NtStatus::INVALID_PARAMETER.0 };
        status(dispatch::allocate_device_header(count, at(items)).map(|made| dispatch::give(to, made)))
    }
    Full code KsFreeDeviceHeader(header: u64) { if let Some(header) = at(header) { dispatch::free_header(header); } }
    Full code KsSetMajorFunctionHandler(driver: u64, major: u32) -> u32 {
        at::<DRIVER_OBJECT>(driver)
            .map_or(NtStatus::INVALID_PARAMETER, |driver| dispatch::set_major_function_handler(driver, major)).0
    }
    Full code KsDispatchIrp(device: u64, packet: u64) -> u32 { dispatch_irp_thunk(device, packet) }
    Full code KsDispatchInvalidDeviceRequest(_device: u64, packet: u64) -> u32 {
        let Some(packet) = at(packet) else { return NtStatus::INVALID_PARAMETER.0 };
        OwnedIrp::arrived(packet).complete(NtStatus::INVALID_DEVICE_REQUEST, 0).status().0
    }
    Full code KsDefaultDeviceIoCompletion(_device: u64, packet: u64) -> u32 {
        at(packet).map_or(NtStatus::INVALID_PARAMETER, dispatch::default_device_io_completion).0
    }
    Full code KsCreatePin(filter: u64, connect: u64, access: u32, handle: u64) -> u32 {
        // A KSPIN_CONNECT with a KSDATAFORMAT behind it.
        let record = |length: usize| bytes(connect, length);
        match connect::create_pin(&nt_ke::current(), Handle(filter), record, access) {
            Ok(made) => {
                store::<u64>(handle, made.0);
                NtStatus::SUCCESS.0
            }
            Err(error) => error.status().0,
        }
    }
    Full code KsAcquireResetValue(packet: u64, value: u64) -> u32 {
        let Some(packet) = at(packet) else { return NtStatus::INVALID_PARAMETER.0 };
        status(crate::property::reset_value(packet).map(|found| store::<u32>(value, found)))
    }
    Full code KsAddObjectCreateItemToDeviceHeader(header: u64, create: u64, context: u64, class: u64, _security: u64) -> u32 {
        // The class is a string of wide characters that the driver keeps (KS-D-10).
        let (Some(header), Some(create)) = (at(header), code(create)) else { return NtStatus::INVALID_PARAMETER.0 };
        let characters = bytes(class, 0xFFFE);
        let length = (0..0x7FFF_usize).find(|&unit| characters.load::<u16>(unit * 2).unwrap_or(0) == 0).unwrap_or(0);
        dispatch::add_create_item(header, create, context, characters.sub(0, length * 2)).0
    }
    Full code KsAddIrpToCancelableQueue(list: u64, lock: u64, packet: u64, end: u32, routine: u64) {
        if let (Some(list), Some(lock), Some(packet)) = (at(list), at(lock), at(packet)) {
            queue::add(list, lock, packet, queue::End::from_raw(end), code(routine));
        }
    }
    Full code KsRemoveIrpFromCancelableQueue(list: u64, lock: u64, end: u32, operation: u32) -> u64 {
        let (Some(list), Some(lock)) = (at(list), at(lock)) else { return 0 };
        let operation = queue::Removal::from_raw(operation);
        queue::remove(list, lock, queue::End::from_raw(end), operation).map_or(0, Foreign::addr)
    }
    Full code KsRemoveSpecificIrpFromCancelableQueue(packet: u64) {
        if let Some(packet) = at(packet) { queue::remove_specific(packet); }
    }
    Full code KsReleaseIrpOnCancelableQueue(packet: u64, routine: u64) {
        if let Some(packet) = at(packet) { queue::release(packet, code(routine)); }
    }
    Full code KsMoveIrpsOnCancelableQueue(from: u64, from_lock: u64, to: u64, to_lock: u64, end: u32, callback: u64, context: u64) -> u32 {
        let (Some(from), Some(to), Some(callback)) = (at(from), at(to), code(callback)) else { return NtStatus::INVALID_PARAMETER.0 };
        let (from, to) = (Ends { list: from, lock: at(from_lock) }, Ends { list: to, lock: at(to_lock) });
        let mut wanted = |packet: Option<nt_io::irp::Irp>| {
            match nt_cell::callout::call(callback, &[packet.map_or(0, Foreign::addr), context]) {
                Ok(status) => NtStatus(status as u32),
                Err(raised) => raised.status,
            }
        };
        forward::move_irps(from, to, queue::End::from_raw(end), &mut wanted).0
    }
    Full code KsForwardIrp(packet: u64, file: u64, reuse: u8) -> u32 {
        let (Some(packet), Some(file)) = (at(packet), at(file)) else { return NtStatus::INVALID_PARAMETER.0 };
        forward::forward(packet, file, reuse != 0).0
    }
    Full code KsForwardAndCatchIrp(device: u64, packet: u64, file: u64, stack_use: u32) -> u32 {
        let (Some(device), Some(packet)) = (at(device), at(packet)) else { return NtStatus::INVALID_PARAMETER.0 };
        forward::forward_and_catch(device, packet, at(file), stack_use).0
    }
    Full code KsDispatchFastWriteFailure(_file: u64, _offset: u64, _length: u32, _wait: u8, _key: u32, _buffer: u64, _iosb: u64, _device: u64) -> u8 { 0 }
    Full code KsCancelIo(list: u64, lock: u64) {
        if let (Some(list), Some(lock)) = (at(list), at(lock)) { queue::cancel_io(list, lock); }
    }
    Full code KsCancelRoutine(_device: u64, packet: u64) {
        if let Some(packet) = at(packet) { cancelable::cancelled::<queue::Listed>(packet); }
    }
    Full code KsDispatchFastReadFailure(_file: u64, _offset: u64, _length: u32, _wait: u8, _key: u32, _buffer: u64, _iosb: u64, _device: u64) -> u8 { 0 }
    Full code KsDispatchFastIoDeviceControlFailure(_file: u64, _wait: u8, _input: u64, _input_length: u32, _output: u64, _output_length: u32, _code: u32, _iosb: u64, _device: u64) -> u8 { 0 }
}
