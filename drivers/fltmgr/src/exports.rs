//! The names that FLTMGR.SYS exports, and the thunks that stand in packets and driver objects.
//!
//! Room: drivers/fltmgr. Called by: compiled minifilters, `nt_io` (completion). IRQL: as each DDI page says. Locks: none.
#![expect(unsafe_code, reason = "entry points that take raw pointers: SOUNDNESS.md, S-3 and S-4")]

use crate::altitude::Altitude;
use crate::data::{self, BLOCK};
use crate::dispatch;
use crate::filter::{self, Filter, FltMgr, Opaque, Registration, Routines};
use crate::generated::{self, Completed, Transfer};
use crate::operation;
use crate::{buffers, parameters};
use nt_abi::flt::*;
use nt_abi::io::{
    DRIVER_OBJECT, FILE_OBJECT, FO_SYNCHRONOUS_IO, IRP, IRP_PAGING_IO, IRP_SYNCHRONOUS_API, IRP_SYNCHRONOUS_PAGING_IO,
};
use nt_abi::ob::UNICODE_STRING;
use nt_abi::{Bytes, NtError, NtResult, NtStatus};
use nt_cell::{Addr, CodePtr, Foreign, Region, callout, exports};
use nt_ex::pool;
use nt_io::registry::service_key;
use nt_io::service::violation;
use nt_io::system::System;
use nt_ob::object;
use nt_trace::rule;
use std::sync::{Arc, LazyLock};

pub(crate) fn at<T>(address: u64) -> Option<Foreign<T>> {
    // SAFETY: S-3: a driver's pointer is taken at its word here, once; what lies there is reached by atomics only.
    unsafe { Foreign::from_raw(address) }
}

pub(crate) fn code(address: u64) -> Option<CodePtr> {
    // SAFETY: the driver gave it as a routine of the documented arity; the border answers for faults (S-3).
    unsafe { CodePtr::from_raw(address) }
}

pub(crate) fn vouched(address: u64) -> Addr {
    // SAFETY: S-3: a minifilter runs in kernel mode and answers for its buffers.
    unsafe { Addr::vouched(address) }
}

pub(crate) fn bytes(address: u64, length: usize) -> Region {
    // SAFETY: S-3: the driver answers for the span by the routine's contract; accesses are guarded.
    unsafe { Region::from_raw(address, length) }
}

pub(crate) fn status(result: NtResult<NtStatus>) -> u32 {
    result.unwrap_or_else(NtError::status).0
}

pub(crate) fn store(address: u64, value: u64) {
    if address != 0 {
        let _gone = bytes(address, 8).store::<u64>(0, value);
    }
}

extern "win64" fn completion_thunk(_device: u64, packet: u64, key: u64) -> u32 {
    nt_cell::export::body("fltmgr completion", move || {
        let goes_on = at::<IRP>(packet).is_none_or(|packet| dispatch::completed(packet, key));
        if goes_on { NtStatus::SUCCESS.0 } else { NtStatus::MORE_PROCESSING_REQUIRED.0 }
    })
}

extern "win64" fn driver_unload_thunk(driver: u64) {
    nt_cell::export::body("fltmgr unload", move || {
        if let Some(driver) = at::<DRIVER_OBJECT>(driver) {
            unload(driver);
        }
    });
}

/// The completion routine of our location in a packet.
pub(crate) fn completion_routine() -> CodePtr {
    static ADDRESS: LazyLock<CodePtr> = LazyLock::new(|| {
        let routine: extern "win64" fn(u64, u64, u64) -> u32 = completion_thunk;
        code(routine as usize as u64).expect("a function has an address")
    });
    *ADDRESS
}

/// What replaces a registering driver's DriverUnload (FLT-R-06).
pub(crate) fn driver_unload() -> CodePtr {
    static ADDRESS: LazyLock<CodePtr> = LazyLock::new(|| {
        let routine: extern "win64" fn(u64) = driver_unload_thunk;
        code(routine as usize as u64).expect("a function has an address")
    });
    *ADDRESS
}

/// The unload of a minifilter driver: FilterUnloadCallback with the mandatory flag, then its own former routine.
fn unload(driver: Foreign<DRIVER_OBJECT>) {
    let frame = nt_ke::current();
    let Ok(manager) = FltMgr::of(&frame.kernel) else { return };
    let of_driver: Vec<Arc<Filter>> =
        manager.filters().into_iter().filter(|filter| filter.driver == Some(driver)).collect();
    for filter in of_driver {
        filter.mandatory.store(true, std::sync::atomic::Ordering::Release);
        match filter.routines.unload {
            Some(routine) => {
                rule!(FLT_R_13);
                let _ignored = callout::call(routine, &[u64::from(FLTFL_FILTER_UNLOAD_MANDATORY)]);
            }
            None => {
                let text = "the filter has no FilterUnloadCallback: it was taken down without one";
                System::of(&frame.kernel).finding("FLT-R-13", "note", filter.name(), text);
            }
        }
        let still = manager.filters().iter().any(|each| Arc::ptr_eq(each, &filter));
        if still {
            let text = "FilterUnloadCallback returned without FltUnregisterFilter";
            System::of(&frame.kernel).finding("FLT-R-12", "violation", filter.name(), text);
            manager.unregister(&filter);
        }
        if let Some(former) = filter.former_unload {
            let _raised = callout::call(former, &[driver.addr()]);
        }
    }
}

fn register(driver: u64, registration: u64, out: u64) -> NtResult<NtStatus> {
    let frame = nt_ke::current();
    let manager = FltMgr::of(&frame.kernel)?;
    let driver = at::<DRIVER_OBJECT>(driver).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let given = at::<FLT_REGISTRATION>(registration).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    if given.get(FLT_REGISTRATION::Version) >> 8 != 2 {
        rule!(FLT_R_01);
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let full = nt_rtl::unicode::text(driver.at(DRIVER_OBJECT::DriverName));
    let name = full.rsplit('\\').next().unwrap_or(&full).to_owned();
    let key = service_key(&name);
    let registry = &System::of(&frame.kernel).registry;
    let instance_name = registry.text(&format!("{key}\\Instances"), "DefaultInstance");
    let instance_name = instance_name.ok_or(NtStatus::OBJECT_NAME_NOT_FOUND.error())?; // FLT-R-04
    let altitude = registry.text(&format!("{key}\\Instances\\{instance_name}"), "Altitude");
    let altitude = Altitude::parse(&altitude.ok_or(NtStatus::OBJECT_NAME_NOT_FOUND.error())?)?;
    let registration = Registration {
        name,
        contexts: crate::context::read(given.ptr(FLT_REGISTRATION::ContextRegistration))?,
        operations: filter::read_operations(given.ptr(FLT_REGISTRATION::OperationRegistration))?,
        routines: Routines {
            unload: given.code(FLT_REGISTRATION::FilterUnloadCallback),
            setup: given.code(FLT_REGISTRATION::InstanceSetupCallback),
            query_teardown: given.code(FLT_REGISTRATION::InstanceQueryTeardownCallback),
            teardown_start: given.code(FLT_REGISTRATION::InstanceTeardownStartCallback),
            teardown_complete: given.code(FLT_REGISTRATION::InstanceTeardownCompleteCallback),
        },
        native: None,
        altitude,
        instance_name,
        driver: Some(driver),
        flags: given.get(FLT_REGISTRATION::Flags),
    };
    let filter = manager.register(&frame.kernel, registration)?;
    store(out, filter.pointer().addr());
    Ok(NtStatus::SUCCESS)
}

pub(crate) fn filter_of(pointer: u64) -> NtResult<Arc<Filter>> {
    filter::filter_at(at(pointer)).ok_or(NtStatus::INVALID_PARAMETER.error())
}

/// The raw arguments of FltWriteFileEx and FltReadFileEx.
struct Raw {
    instance: u64,
    file: u64,
    offset: u64,
    length: u32,
    buffer: u64,
    flags: u32,
    count: u64,
    callback: u64,
    context: u64,
    key: u64,
    mdl: u64,
    write: bool,
}

fn transfer(raw: &Raw) -> NtResult<NtStatus> {
    let frame = nt_ke::current();
    let (Some(instance), Some(file)) = (filter::instance_at(at(raw.instance)), at::<FILE_OBJECT>(raw.file)) else {
        let text = "the instance or the file object is NULL or no such object (FLT-W-04)";
        System::of(&frame.kernel).finding("FLT-V-11", "warning", "", text);
        return NtStatus::INVALID_PARAMETER.fail();
    };
    let offset = match raw.offset {
        0 => None,
        address => Some(bytes(address, 8).load::<i64>(0).map_err(violation)?),
    };
    let key = match raw.key {
        0 => 0,
        address => bytes(address, 4).load::<u32>(0).map_err(violation)?,
    };
    let request = Transfer {
        file,
        offset,
        length: raw.length,
        buffer: if raw.buffer == 0 { Addr::NULL } else { vouched(raw.buffer) },
        mdl: at(raw.mdl),
        flags: raw.flags,
        key,
        write: raw.write,
    };
    let context = raw.context;
    let callback = code(raw.callback).map(|routine| -> Completed {
        Box::new(move |data, _result| {
            let _raised = callout::call(routine, &[data.addr(), context]);
        })
    });
    let synchronous = callback.is_none();
    let result = generated::transfer(&frame, &instance, &request, callback)?;
    if synchronous && raw.count != 0 {
        rule!(FLT_W_32);
        let _gone = bytes(raw.count, 4).store::<u32>(0, result.information as u32);
    }
    Ok(result.status)
}

pub(crate) fn operation_of(data: u64) -> Option<Arc<operation::Operation>> {
    at::<FLT_CALLBACK_DATA>(data).and_then(data::block_of).and_then(operation::of_block)
}

pub(crate) fn flags_of(data: u64) -> Option<Foreign<FLT_CALLBACK_DATA>> {
    at::<FLT_CALLBACK_DATA>(data)
}

/// FLT-D-13.
fn is_synchronous(data: Foreign<FLT_CALLBACK_DATA>) -> bool {
    if data.get(FLT_CALLBACK_DATA::Flags) & FLTFL_CALLBACK_DATA_IRP_OPERATION == 0 {
        return true;
    }
    let Some(iopb) = data.ptr(FLT_CALLBACK_DATA::Iopb) else { return true };
    let flags = iopb.get(FLT_IO_PARAMETER_BLOCK::IrpFlags);
    if flags & IRP_PAGING_IO != 0 {
        return flags & IRP_SYNCHRONOUS_PAGING_IO != 0;
    }
    let file = iopb.ptr(FLT_IO_PARAMETER_BLOCK::TargetFileObject);
    flags & IRP_SYNCHRONOUS_API != 0 || file.is_some_and(|file| file.get(FILE_OBJECT::Flags) & FO_SYNCHRONOUS_IO != 0)
}

fn do_when_safe(data: u64, related: u64, context: u64, flags: u32, routine: u64, answer: u64) -> bool {
    // FLT-O-21: below DISPATCH_LEVEL the routine runs now.
    let Some(routine) = code(routine) else { return false };
    let say = |answered: u32| {
        let _gone = bytes(answer, 4).store::<u32>(0, answered);
    };
    if nt_ke::irql::current() < nt_ke::irql::DISPATCH_LEVEL {
        say(callout::call(routine, &[data, related, context, u64::from(flags)]).unwrap_or(0) as u32);
        return true;
    }
    let queued = operation_of(data).is_some_and(|operation| {
        let held = Arc::clone(&operation);
        let work = move || {
            let returned = callout::call(routine, &[data, related, context, u64::from(flags)]).unwrap_or(0);
            if returned as u32 == FLT_POSTOP_FINISHED_PROCESSING {
                dispatch::resume_post(&held);
            }
        };
        crate::deferred::queue(&operation, work).is_ok()
    });
    say(if queued { FLT_POSTOP_MORE_PROCESSING_REQUIRED } else { FLT_POSTOP_FINISHED_PROCESSING });
    queued
}

fn volume_name(volume: u64, name: u64, needed: u64) -> NtResult<NtStatus> {
    let Some(Opaque::Volume(volume)) = at(volume).and_then(filter::look_up) else {
        return NtStatus::INVALID_PARAMETER.fail();
    };
    let units: Vec<u8> = volume.name().encode_utf16().flat_map(u16::to_le_bytes).collect();
    if needed != 0 {
        let _gone = bytes(needed, 4).store::<u32>(0, units.len() as u32);
    }
    let Some(string) = at::<UNICODE_STRING>(name) else { return NtStatus::BUFFER_TOO_SMALL.fail() };
    if usize::from(string.get(UNICODE_STRING::MaximumLength)) < units.len() {
        return NtStatus::BUFFER_TOO_SMALL.fail();
    }
    let room = string.region_at(UNICODE_STRING::Buffer, units.len());
    room.write_from(&units).map_err(|_| NtStatus::ACCESS_VIOLATION.error())?;
    string.set(UNICODE_STRING::Length, units.len() as u16);
    Ok(NtStatus::SUCCESS)
}

pub(crate) fn text_at(string: u64) -> Option<String> {
    at::<UNICODE_STRING>(string).map(nt_rtl::unicode::text)
}

pub(crate) fn volume_at(volume: u64) -> NtResult<Arc<crate::volume::Volume>> {
    match at(volume).and_then(filter::look_up) {
        Some(Opaque::Volume(volume)) => Ok(volume),
        _ => NtStatus::INVALID_PARAMETER.fail(),
    }
}

/// Gives a pointer to one of our objects away, with a reference (FLT-I-13).
pub(crate) fn give(out: u64, body: Foreign<Bytes>) {
    if out != 0 {
        let _kept = object::reference(body).into_raw();
        store(out, body.addr());
    }
}

fn attach(filter: u64, volume: u64, altitude: Option<u64>, name: u64, out: u64) -> NtResult<NtStatus> {
    let frame = nt_ke::current();
    let manager = FltMgr::of(&frame.kernel)?;
    let (filter, volume) = (filter_of(filter)?, volume_at(volume)?);
    let altitude = match altitude {
        None => None,
        Some(string) => Some(text_at(string).ok_or(NtStatus::INVALID_PARAMETER.error())?),
    };
    let name = text_at(name);
    let made = manager.attach_manually(&frame.kernel, &filter, &volume, name.as_deref(), altitude.as_deref())?;
    give(out, made.pointer());
    Ok(NtStatus::SUCCESS)
}

fn detach(filter: u64, volume: u64, name: u64) -> NtResult<NtStatus> {
    let manager = FltMgr::of(&nt_ke::current().kernel)?;
    manager.detach_manually(&filter_of(filter)?, &volume_at(volume)?, text_at(name).as_deref())?;
    Ok(NtStatus::SUCCESS)
}

fn named(name: u64, out: u64, find: impl Fn(&FltMgr, &str) -> NtResult<Foreign<Bytes>>) -> NtResult<NtStatus> {
    let manager = FltMgr::of(&nt_ke::current().kernel)?;
    let name = text_at(name).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    give(out, find(&manager, &name)?);
    Ok(NtStatus::SUCCESS)
}

exports! { "fltmgr.sys" =>
    Partial("name-provider, section and transaction callbacks are not called") code FltRegisterFilter(driver: u64, registration: u64, filter: u64) -> u32 {
        status(register(driver, registration, filter))
    }
    Full code FltStartFiltering(filter: u64) -> u32 {
        let frame = nt_ke::current();
        status(filter_of(filter).and_then(|filter| FltMgr::of(&frame.kernel)?.start(&frame.kernel, &filter)).map(|()| NtStatus::SUCCESS))
    }
    Full code FltUnregisterFilter(filter: u64) {
        let frame = nt_ke::current();
        if let (Ok(filter), Ok(manager)) = (filter_of(filter), FltMgr::of(&frame.kernel)) { manager.unregister(&filter); }
    }
    Full code FltWriteFile(instance: u64, file: u64, offset: u64, length: u32, buffer: u64, flags: u32, count: u64, callback: u64, context: u64) -> u32 {
        status(transfer(&Raw { instance, file, offset, length, buffer, flags, count, callback, context, key: 0, mdl: 0, write: true }))
    }
    Full code FltWriteFileEx(instance: u64, file: u64, offset: u64, length: u32, buffer: u64, flags: u32, count: u64, callback: u64, context: u64, key: u64, mdl: u64) -> u32 {
        status(transfer(&Raw { instance, file, offset, length, buffer, flags, count, callback, context, key, mdl, write: true }))
    }
    Full code FltReadFile(instance: u64, file: u64, offset: u64, length: u32, buffer: u64, flags: u32, count: u64, callback: u64, context: u64) -> u32 {
        status(transfer(&Raw { instance, file, offset, length, buffer, flags, count, callback, context, key: 0, mdl: 0, write: false }))
    }
    Full code FltCompletePendedPreOperation(data: u64, answer: u32, context: u64) {
        if let Some(operation) = operation_of(data) { dispatch::resume_pre(&operation, answer, context); }
    }
    Full code FltCompletePendedPostOperation(data: u64) {
        if let Some(operation) = operation_of(data) { dispatch::resume_post(&operation); }
    }
    Full code FltDoCompletionProcessingWhenSafe(data: u64, related: u64, context: u64, flags: u32, routine: u64, answer: u64) -> u8 {
        u8::from(do_when_safe(data, related, context, flags, routine, answer))
    }
    Full code FltSetCallbackDataDirty(data: u64) { if let Some(data) = flags_of(data) { data.or32(FLT_CALLBACK_DATA::Flags, FLTFL_CALLBACK_DATA_DIRTY); } }
    Full code FltClearCallbackDataDirty(data: u64) { if let Some(data) = flags_of(data) { data.and32(FLT_CALLBACK_DATA::Flags, !FLTFL_CALLBACK_DATA_DIRTY); } }
    Full code FltIsCallbackDataDirty(data: u64) -> u8 {
        flags_of(data).map_or(0, |data| u8::from(data.get(FLT_CALLBACK_DATA::Flags) & FLTFL_CALLBACK_DATA_DIRTY != 0))
    }
    Full code FltIsOperationSynchronous(data: u64) -> u8 { flags_of(data).map_or(1, |data| u8::from(is_synchronous(data))) }
    Full code FltLockUserBuffer(data: u64) -> u32 {
        let operation = operation_of(data).ok_or(NtStatus::INVALID_PARAMETER.error());
        status(operation.and_then(|operation| buffers::lock_user_buffer(&operation)).map(|()| NtStatus::SUCCESS))
    }
    Full code FltDecodeParameters(data: u64, mdl: u64, buffer: u64, length: u64, access: u64) -> u32 {
        status(decode_parameters(data, mdl, buffer, length, access))
    }
    Full code FltGetSwappedBufferMdlAddress(data: u64) -> u64 {
        operation_of(data).and_then(|operation| buffers::swapped(&operation)).map_or(0, Foreign::addr)
    }
    Full code FltRetainSwappedBufferMdlAddress(data: u64) { if let Some(operation) = operation_of(data) { buffers::retain(&operation); } }
    Full code FltIsIoCanceled(data: u64) -> u8 {
        let block = flags_of(data).and_then(data::block_of);
        block.and_then(|block| block.ptr(BLOCK::Packet)).map_or(0, |packet| u8::from(packet.get(IRP::Cancel) != 0))
    }
    Full code FltGetRequestorProcess(data: u64) -> u64 { requestor(data).map_or(0, |process| process.object().addr()) }
    Full code FltGetRequestorProcessId(data: u64) -> u32 { requestor(data).map_or(0, |process| process.id() as u32) }
    Full code FltAllocatePoolAlignedWithTag(instance: u64, kind: u32, size: u64, tag: u32) -> u64 {
        let kind = if kind & 1 != 0 { pool::PoolKind::Paged } else { pool::PoolKind::NonPaged };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        generated::allocate_aligned(filter::instance_at(at(instance)).as_deref(), size, tag, kind).map_or(0, Foreign::addr)
    }
    Full code FltFreePoolAlignedWithTag(_instance: u64, block: u64, _tag: u32) { if let Some(block) = at::<Bytes>(block) { pool::free(block); } }
    Full code FltObjectReference(object: u64) -> u32 {
        match at::<Bytes>(object).filter(|object| filter::look_up(*object).is_some()) {
            Some(body) => { let _kept = object::reference(body).into_raw(); NtStatus::SUCCESS.0 }
            None => NtStatus::FLT_DELETING_OBJECT.0,
        }
    }
    Full code FltObjectDereference(object: u64) { if let Some(body) = at::<Bytes>(object) { object::dereference(body); } }
    Full code FltGetVolumeName(volume: u64, name: u64, needed: u64) -> u32 { status(volume_name(volume, name, needed)) }
    Full code FltGetVolumeFromInstance(instance: u64, out: u64) -> u32 {
        let volume = filter::instance_at(at(instance)).and_then(|instance| instance.volume.upgrade());
        match volume {
            Some(volume) => {
                let _kept = object::reference(volume.pointer()).into_raw();
                store(out, volume.pointer().addr());
                NtStatus::SUCCESS.0
            }
            None => NtStatus::FLT_DELETING_OBJECT.0,
        }
    }
    Full code FltCompareInstanceAltitudes(first: u64, second: u64) -> i32 {
        match (filter::instance_at(at(first)), filter::instance_at(at(second))) {
            (Some(first), Some(second)) => first.altitude().cmp(second.altitude()) as i32,
            _ => 0,
        }
    }
    Partial("a named instance gets the filter's default altitude, not its own from the registry; FLT_DELETING_OBJECT is never returned") code FltAttachVolume(filter: u64, volume: u64, name: u64, out: u64) -> u32 { status(attach(filter, volume, None, name, out)) }
    Full code FltAttachVolumeAtAltitude(filter: u64, volume: u64, altitude: u64, name: u64, out: u64) -> u32 {
        status(attach(filter, volume, Some(altitude), name, out))
    }
    Full code FltDetachVolume(filter: u64, volume: u64, name: u64) -> u32 { status(detach(filter, volume, name)) }
    Full code FltGetVolumeFromName(_filter: u64, name: u64, out: u64) -> u32 {
        status(named(name, out, |manager, name| Ok(manager.volume_named(name)?.pointer())))
    }
    Full code FltGetFilterFromName(name: u64, out: u64) -> u32 {
        status(named(name, out, |manager, name| Ok(manager.filter_named(name)?.pointer())))
    }
}

/// FLT-D-12: pointers to the members; NULL where the major has none.
fn decode_parameters(data: u64, mdl: u64, buffer: u64, length: u64, access: u64) -> NtResult<NtStatus> {
    let iopb = flags_of(data).and_then(|data| data.ptr(FLT_CALLBACK_DATA::Iopb));
    let iopb = iopb.ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let decoded = parameters::decode(iopb).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    store(mdl, decoded.mdl.map_or(0, |field| iopb.addr() + field.offset() as u64));
    store(buffer, iopb.addr() + decoded.buffer.offset() as u64);
    store(length, decoded.length.map_or(0, |field| iopb.addr() + field.offset() as u64));
    if access != 0 {
        let _gone = bytes(access, 4).store::<u32>(0, decoded.access as u32);
    }
    Ok(NtStatus::SUCCESS)
}

fn requestor(data: u64) -> Option<Arc<nt_ps::Process>> {
    let thread = flags_of(data)?.addr_at(FLT_CALLBACK_DATA::Thread);
    let frame = nt_ke::current();
    nt_ps::process::processes(&frame.kernel).thread_at(thread)?.process_arc::<nt_ps::Process>()
}
