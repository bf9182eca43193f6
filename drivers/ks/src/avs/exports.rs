//! The names of AVStream, and of the handlers of property and method sets, that ks.sys exports.
//!
//! Room: drivers/ks. Called by: compiled drivers. Read by: the loader, `ntio imports`. IRQL: as each page says.

use crate::avs::filter::AvFilter;
use crate::avs::pin::AvPin;
use crate::avs::{self, Object, bag, device, pointer, process};
use crate::dispatch;
use crate::events::{self, Guard};
use crate::exports::{at, bytes, code, status, store};
use crate::object;
use crate::sets::{self, Sets};
use nt_abi::io::{DEVICE_OBJECT, DRIVER_OBJECT, FILE_OBJECT, IO_STACK_LOCATION, IRP};
use nt_abi::ks::{GUID, KSFILTERFACTORY, KSGATE, KSPIN_DESCRIPTOR_EX, KSSTREAM_POINTER};
use nt_abi::{Bytes, NtStatus};
use nt_cell::{Foreign, exports};
use nt_io::irp;
use std::sync::Arc;

fn object_at(address: u64) -> Option<Object> {
    avs::object(at::<Bytes>(address)?)
}
fn filter(address: u64) -> Option<Arc<AvFilter>> {
    avs::filter_of(at(address)?)
}
fn pin(address: u64) -> Option<Arc<AvPin>> {
    avs::pin_of(at(address)?)
}
fn stream_pointer(address: u64) -> Option<Foreign<KSSTREAM_POINTER>> {
    at(address)
}
fn address<T>(found: Option<Foreign<T>>) -> u64 {
    found.map_or(0, Foreign::addr)
}

/// What a file object of an AVStream device stands for.
fn of_file(file: Option<Foreign<FILE_OBJECT>>) -> Option<Object> {
    let native = object::native(dispatch::object_header(file?)?)?;
    native.av_filter().map(Object::Filter).or_else(|| native.av_pin().map(Object::Pin))
}

/// What a packet on an AVStream device is about.
fn of_packet(packet: u64) -> Option<Object> {
    of_file(irp::current(at::<IRP>(packet)?).ptr(IO_STACK_LOCATION::FileObject))
}

fn body(object: &Object) -> u64 {
    match object {
        Object::Device(device) => device.body().addr(),
        Object::Factory(factory) => factory.body().addr(),
        Object::Filter(filter) => filter.body().addr(),
        Object::Pin(pin) => pin.body().addr(),
    }
}

/// KSOBJECTTYPE.
fn kind(object: &Object) -> u32 {
    match object {
        Object::Device(_) => 0,
        Object::Factory(_) => 1,
        Object::Filter(_) => 2,
        Object::Pin(_) => 3,
    }
}

fn parent(object: &Object) -> Option<Object> {
    match object {
        Object::Device(_) => None,
        Object::Factory(factory) => factory.device().map(Object::Device),
        Object::Filter(filter) => Some(Object::Factory(Arc::clone(filter.factory()))),
        Object::Pin(pin) => Some(Object::Filter(Arc::clone(pin.filter()))),
    }
}

fn device_above(object: Object) -> Option<Arc<device::AvDevice>> {
    let mut object = object;
    loop {
        match object {
            Object::Device(device) => return Some(device),
            other => object = parent(&other)?,
        }
    }
}

fn filter_above(object: Object) -> Option<Arc<AvFilter>> {
    match object {
        Object::Filter(filter) => Some(filter),
        Object::Pin(pin) => Some(Arc::clone(pin.filter())),
        _ => None,
    }
}

fn next_pin(pin: &Arc<AvPin>) -> u64 {
    let all = pin.filter().instances(pin.id());
    let mine = all.iter().position(|each| Arc::ptr_eq(each, pin));
    mine.and_then(|at| all.get(at + 1)).map_or(0, |next| next.body().addr())
}

nt_cell::thunk! {
    /// AddDevice of AVStream drivers.
    add_device, add_device_thunk(driver: u64, below: u64) -> u32 {
        let (Some(driver), Some(below)) = (at::<DRIVER_OBJECT>(driver), at::<DEVICE_OBJECT>(below)) else {
            return NtStatus::INVALID_PARAMETER.0;
        };
        status(device::add_device(&nt_ke::current().kernel, driver, below))
    }
}
nt_cell::thunk! {
    /// IRP_MJ_PNP, IRP_MJ_POWER, IRP_MJ_SYSTEM_CONTROL of AVStream drivers.
    dispatch_pnp, dispatch_pnp_thunk(device: u64, packet: u64) -> u32 {
        match (at::<DEVICE_OBJECT>(device), at::<IRP>(packet)) {
            (Some(device), Some(packet)) => device::dispatch_pnp(device, packet).0,
            _ => NtStatus::INVALID_PARAMETER.0,
        }
    }
}
nt_cell::thunk! {
    /// DriverUnload of AVStream drivers.
    unload, unload_thunk(driver: u64) -> u64 {
        if let Some(driver) = at::<DRIVER_OBJECT>(driver) {
            device::unload(driver);
        }
        0
    }
}
/// The GUID that a pointer names; `None` for NULL.
fn guid(address: u64) -> Option<GUID> {
    if address == 0 {
        return None;
    }
    let mut raw = [0; 16];
    bytes(address, 16).read_to(&mut raw).ok()?;
    Some(GUID::from_bytes(raw))
}

/// The text that a PWSTR names.
fn text(address: u64) -> Option<String> {
    if address == 0 {
        return None;
    }
    let characters = bytes(address, 0xFFFE);
    let units: Vec<u16> =
        (0..0x7FFF).map_while(|unit| characters.load::<u16>(unit * 2).ok().filter(|unit| *unit != 0)).collect();
    Some(String::from_utf16_lossy(&units))
}

exports! { "ks.sys" =>
    Full code KsInitializeDriver(driver: u64, _path: u64, descriptor: u64) -> u32 {
        at::<DRIVER_OBJECT>(driver).map_or(NtStatus::INVALID_PARAMETER, |driver| device::initialize_driver(driver, at(descriptor))).0
    }
    Partial("security descriptor, sleep and wake routines are not used") code KsCreateFilterFactory(fdo: u64, descriptor: u64, reference: u64, _security: u64, _flags: u32, _sleep: u64, _wake: u64, factory: u64) -> u32 {
        let found = at::<DEVICE_OBJECT>(fdo).and_then(device::of_device_object);
        let (Some(found), Some(descriptor)) = (found, at(descriptor)) else { return NtStatus::INVALID_PARAMETER.0 };
        status(found.create_factory(descriptor, text(reference)).map(|made| store::<u64>(factory, made.body().addr())))
    }
    Full code KsDeleteFilterFactory(factory: u64) -> u32 {
        let Some(gone) = at::<KSFILTERFACTORY>(factory).and_then(avs::factory_of) else { return NtStatus::INVALID_PARAMETER.0 };
        let Some(device) = gone.device() else { return NtStatus::INVALID_PARAMETER.0 };
        status(device.delete_factory(&gone))
    }
    Full code KsGetDeviceForDeviceObject(fdo: u64) -> u64 {
        at::<DEVICE_OBJECT>(fdo).and_then(device::of_device_object).map_or(0, |found| found.body().addr())
    }
    Full code KsGetDevice(object: u64) -> u64 {
        object_at(object).and_then(device_above).map_or(0, |found| found.body().addr())
    }
    Full code KsGetParent(object: u64) -> u64 { object_at(object).and_then(|object| parent(&object)).map_or(0, |found| body(&found)) }
    Full code KsGetFirstChild(object: u64) -> u64 {
        match object_at(object) {
            Some(Object::Device(device)) => device.factories().first().map_or(0, |factory| factory.body().addr()),
            Some(Object::Filter(filter)) => filter.pins().first().map_or(0, |pin| pin.body().addr()),
            _ => 0,
        }
    }
    Full code KsFilterGetChildPinCount(owner: u64, id: u32) -> u32 { filter(owner).map_or(0, |filter| filter.instances(id).len() as u32) }
    Full code KsFilterGetFirstChildPin(owner: u64, id: u32) -> u64 {
        filter(owner).and_then(|filter| filter.instances(id).first().map(|pin| pin.body().addr())).unwrap_or(0)
    }
    Full code KsPinGetNextSiblingPin(of: u64) -> u64 { pin(of).map_or(0, |pin| next_pin(&pin)) }
    Full code KsGetFilterFromIrp(packet: u64) -> u64 { of_packet(packet).and_then(filter_above).map_or(0, |filter| filter.body().addr()) }
    Full code KsGetPinFromIrp(packet: u64) -> u64 {
        of_packet(packet).filter(|object| matches!(object, Object::Pin(_))).map_or(0, |found| body(&found))
    }
    Full code KsGetObjectFromFileObject(file: u64) -> u64 { of_file(at(file)).map_or(0, |found| body(&found)) }
    Full code KsGetObjectTypeFromFileObject(file: u64) -> u32 { of_file(at(file)).map_or(0, |found| kind(&found)) }
    Full code KsGetObjectTypeFromIrp(packet: u64) -> u32 { of_packet(packet).map_or(0, |found| kind(&found)) }
    Full code KsAcquireDevice(owner: u64) { if let Some(device) = object_at(owner).and_then(device_above) { device.mutex.acquire(); } }
    Full code KsReleaseDevice(owner: u64) { if let Some(device) = object_at(owner).and_then(device_above) { device.mutex.release(); } }
    Full code KsAcquireControl(object: u64) { if let Some(filter) = object_at(object).and_then(filter_above) { filter.control.acquire(); } }
    Full code KsReleaseControl(object: u64) { if let Some(filter) = object_at(object).and_then(filter_above) { filter.control.release(); } }
    Full code KsFilterAcquireProcessingMutex(owner: u64) { if let Some(filter) = filter(owner) { filter.processing.acquire(); } }
    Full code KsFilterReleaseProcessingMutex(owner: u64) { if let Some(filter) = filter(owner) { filter.processing.release(); } }
    Full code KsPinAcquireProcessingMutex(of: u64) { if let Some(pin) = pin(of) { pin.processing.acquire(); } }
    Full code KsPinReleaseProcessingMutex(of: u64) { if let Some(pin) = pin(of) { pin.processing.release(); } }
    Full code KsFilterGetAndGate(owner: u64) -> u64 { address::<KSGATE>(filter(owner).map(|filter| filter.gate())) }
    Full code KsPinGetAndGate(of: u64) -> u64 { address::<KSGATE>(pin(of).map(|pin| pin.gate())) }
    Full code KsPinAttemptProcessing(of: u64, asynchronous: u8) { if let Some(pin) = pin(of) { process::attempt_pin(&pin, asynchronous != 0); } }
    Full code KsFilterAttemptProcessing(owner: u64, asynchronous: u8) {
        if let Some(filter) = filter(owner) { process::attempt_filter(&filter, asynchronous != 0); }
    }
    Full code KsFilterCreatePinFactory(owner: u64, descriptor: u64, id: u64) -> u32 {
        let (Some(filter), Some(descriptor)) = (filter(owner), at::<KSPIN_DESCRIPTOR_EX>(descriptor)) else {
            return NtStatus::INVALID_PARAMETER.0;
        };
        store::<u32>(id, filter.add_kind(descriptor));
        NtStatus::SUCCESS.0
    }
    Full code KsAllocateObjectBag(_device: u64, to: u64) -> u32 { status(bag::allocate().map(|made| store::<u64>(to, made.addr()))) }
    Full code KsFreeObjectBag(of: u64) { if let Some(of) = at(of) { bag::release(of); } }
    Full code KsAddItemToObjectBag(to: u64, item: u64, routine: u64) -> u32 {
        match at(to).filter(|_| item != 0) {
            Some(to) => bag::add(to, item, code(routine)).0,
            None => NtStatus::INVALID_PARAMETER.0,
        }
    }
    Full code KsRemoveItemFromObjectBag(from: u64, item: u64, free: u8) -> u32 { at(from).map_or(0, |from| bag::remove(from, item, free != 0)) }
    Full code KsCopyObjectBagItems(to: u64, from: u64) -> u32 {
        match (at(to), at(from)) {
            (Some(to), Some(from)) => bag::copy(to, from).0,
            _ => NtStatus::INVALID_PARAMETER.0,
        }
    }
    Full code _KsEdit(of: u64, pointer: u64, new_size: u32, old_size: u32, tag: u32) -> u32 {
        let Some(of) = at(of) else { return NtStatus::INVALID_PARAMETER.0 };
        let Ok(old) = bytes(pointer, 8).load::<u64>(0) else { return NtStatus::ACCESS_VIOLATION.0 };
        let old = bytes(old, if old == 0 { 0 } else { old_size as usize });
        status(bag::edit(of, old, new_size as usize, tag).map(|made| store::<u64>(pointer, made)))
    }
    Full code KsPinGetLeadingEdgeStreamPointer(of: u64, state: u32) -> u64 { address(pin(of).and_then(|pin| pointer::edge(&pin, false, state))) }
    Full code KsPinGetTrailingEdgeStreamPointer(of: u64, state: u32) -> u64 { address(pin(of).and_then(|pin| pointer::edge(&pin, true, state))) }
    Full code KsPinGetFirstCloneStreamPointer(of: u64) -> u64 { address(pin(of).and_then(|pin| pointer::first_clone(&pin))) }
    Full code KsStreamPointerGetNextClone(of: u64) -> u64 { address(stream_pointer(of).and_then(pointer::next_clone)) }
    Full code KsStreamPointerLock(of: u64) -> u32 { stream_pointer(of).map_or(NtStatus::INVALID_PARAMETER, pointer::lock).0 }
    Full code KsStreamPointerUnlock(of: u64, eject: u8) { if let Some(of) = stream_pointer(of) { pointer::unlock(of, eject != 0); } }
    Full code KsStreamPointerAdvance(of: u64) -> u32 { stream_pointer(of).map_or(NtStatus::INVALID_PARAMETER, pointer::advance).0 }
    Full code KsStreamPointerAdvanceOffsets(of: u64, input: u32, output: u32, eject: u8) -> u32 {
        stream_pointer(of).map_or(NtStatus::INVALID_PARAMETER, |of| pointer::advance_offsets(of, (input, output), eject != 0, false)).0
    }
    Full code KsStreamPointerAdvanceOffsetsAndUnlock(of: u64, input: u32, output: u32, eject: u8) {
        if let Some(of) = stream_pointer(of) { let _status = pointer::advance_offsets(of, (input, output), eject != 0, true); }
    }
    Full code KsStreamPointerClone(of: u64, cancel: u64, context: u32, to: u64) -> u32 {
        let Some(of) = stream_pointer(of) else { return NtStatus::INVALID_PARAMETER.0 };
        status(pointer::clone(of, code(cancel), context).map(|made| store::<u64>(to, made.addr())))
    }
    Full code KsStreamPointerDelete(of: u64) { if let Some(of) = stream_pointer(of) { pointer::delete(of); } }
    Full code KsStreamPointerSetStatusCode(of: u64, code: u32) -> u32 {
        stream_pointer(of).map_or(NtStatus::INVALID_PARAMETER, |of| pointer::set_status(of, NtStatus(code))).0
    }
    Full code KsStreamPointerGetIrp(of: u64, first: u64, last: u64) -> u64 {
        let Some((packet, is_first, is_last)) = stream_pointer(of).and_then(pointer::packet) else { return 0 };
        store::<u8>(first, u8::from(is_first));
        store::<u8>(last, u8::from(is_last));
        packet.addr()
    }
    Full code KsStreamPointerGetMdl(of: u64) -> u64 { address(stream_pointer(of).and_then(pointer::mdl)) }
    Full code KsPinGetAvailableByteCount(of: u64, input: u64, output: u64) -> u32 {
        let Some(pin) = pin(of) else { return NtStatus::INVALID_PARAMETER.0 };
        let Some(count) = pin.queue().available() else { return NtStatus::UNSUCCESSFUL.0 };
        let (data, room) = if pin.input() { (count, 0) } else { (0, count) };
        store::<i32>(input, data as i32);
        store::<i32>(output, room as i32);
        NtStatus::SUCCESS.0
    }
    Partial("no buffered events; no lock but none and a spin lock") code KsEnableEvent(packet: u64, count: u32, first: u64, list: u64, kind: u32, lock: u64) -> u32 {
        let (Some(packet), Some(guard)) = (at(packet), Guard::from_raw(kind, at(lock))) else { return NtStatus::INVALID_PARAMETER.0 };
        events::enable(packet, &Sets::plain(at(first), count), at(list), guard).0
    }
    Partial("no lock but none and a spin lock") code KsDisableEvent(packet: u64, list: u64, kind: u32, lock: u64) -> u32 {
        let (Some(packet), Some(list), Some(guard)) = (at(packet), at(list), Guard::from_raw(kind, at(lock))) else {
            return NtStatus::INVALID_PARAMETER.0;
        };
        events::disable(packet, list, guard).0
    }
    Partial("no lock but none and a spin lock") code KsFreeEventList(file: u64, list: u64, kind: u32, lock: u64) {
        if let (Some(file), Some(list), Some(guard)) = (at(file), at(list), Guard::from_raw(kind, at(lock))) {
            events::free_list(file, list, guard);
        }
    }
    Full code KsGenerateEvent(entry: u64) -> u32 { at(entry).map_or(NtStatus::INVALID_PARAMETER, events::generate).0 }
    Full code KsDiscardEvent(entry: u64) { if let Some(entry) = at(entry) { events::discard(entry); } }
    Partial("no lock but none and a spin lock") code KsGenerateEventList(set: u64, id: u32, list: u64, kind: u32, lock: u64) {
        if let (Some(list), Some(guard)) = (at(list), Guard::from_raw(kind, at(lock))) {
            events::generate_list(guid(set), id, list, guard);
        }
    }
    Partial("no data for buffered events, no callback that chooses") code KsGenerateEvents(object: u64, set: u64, id: u32, _size: u32, _data: u64, _callback: u64, _context: u64) {
        match object_at(object) {
            Some(Object::Pin(pin)) => { pin.events.generate(guid(set), id); }
            Some(Object::Filter(filter)) => { filter.events.generate(guid(set), id); }
            _ => {}
        }
    }
    Full code KsPropertyHandler(packet: u64, count: u32, first: u64) -> u32 {
        at(packet).map_or(NtStatus::INVALID_PARAMETER, |packet| sets::property_handler(packet, &Sets::plain(at(first), count))).0
    }
    Full code KsPropertyHandlerWithAllocator(packet: u64, count: u32, first: u64, allocator: u64, item_size: u32) -> u32 {
        let sets = Sets { first: at(first), count, item_size, allocator: code(allocator) };
        at(packet).map_or(NtStatus::INVALID_PARAMETER, |packet| sets::property_handler(packet, &sets)).0
    }
    Full code KsMethodHandler(packet: u64, count: u32, first: u64) -> u32 {
        at(packet).map_or(NtStatus::INVALID_PARAMETER, |packet| sets::method_handler(packet, &Sets::plain(at(first), count))).0
    }
    Full code KsMethodHandlerWithAllocator(packet: u64, count: u32, first: u64, allocator: u64, item_size: u32) -> u32 {
        let sets = Sets { first: at(first), count, item_size, allocator: code(allocator) };
        at(packet).map_or(NtStatus::INVALID_PARAMETER, |packet| sets::method_handler(packet, &sets)).0
    }
}
