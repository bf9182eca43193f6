//! The names of FLTMGR.SYS that tell of filters, volumes and instances, and small helpers of filters.
//!
//! Room: drivers/fltmgr. Called by: compiled minifilters. IRQL: as each DDI page says. Locks: none.
//! Addresses become typed by `crate::exports`, which answers for them.

use super::Neighbour;
use crate::exports::{at, bytes, filter_of, give, status, store, text_at, volume_at};
use crate::filter::{self, FLT_FSTYPE_NTFS, Filter, FltMgr, Instance, Opaque};
use crate::volume::Volume;
use nt_abi::io::{DEVICE_OBJECT, FILE_OBJECT, FILE_READ_ONLY_DEVICE};
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Export, Foreign, exports};
use nt_ex::pushlock;
use nt_io::info::class;
use nt_io::service::violation;
use nt_ob::object;
use std::sync::Arc;

fn instance_of(pointer: u64) -> NtResult<Arc<Instance>> {
    filter::instance_at(at(pointer)).ok_or(NtStatus::INVALID_PARAMETER.error())
}

fn given<T>(address: u64, found: impl FnOnce() -> NtResult<T>) -> NtResult<Option<T>> {
    if address == 0 { Ok(None) } else { found().map(Some) }
}

/// Fills an array with referenced objects; the count tells how many there are.
fn list(bodies: &[Foreign<Bytes>], out: u64, size: u32, count: u64) -> NtResult<NtStatus> {
    if count == 0 {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    bytes(count, 4).store::<u32>(0, bodies.len() as u32).map_err(violation)?;
    if out == 0 || (size as usize) < bodies.len() {
        return if bodies.is_empty() { Ok(NtStatus::SUCCESS) } else { NtStatus::BUFFER_TOO_SMALL.fail() };
    }
    for (index, body) in bodies.iter().enumerate() {
        give(out + 8 * index as u64, *body);
    }
    Ok(NtStatus::SUCCESS)
}

fn manager() -> NtResult<Arc<FltMgr>> {
    FltMgr::of(&nt_ke::current().kernel)
}

fn instances(volume: u64, filter: u64, out: u64, size: u32, count: u64) -> NtResult<NtStatus> {
    let volume = given(volume, || volume_at(volume))?;
    let filter = given(filter, || filter_of(filter))?;
    let all = super::instances(&*manager()?, volume.as_ref(), filter.as_ref());
    let bodies: Vec<_> = all.iter().map(|instance| instance.pointer()).collect();
    list(&bodies, out, size, count)
}

fn neighbour(out: u64, found: NtResult<Arc<Instance>>) -> u32 {
    status(found.map(|instance| {
        give(out, instance.pointer());
        NtStatus::SUCCESS
    }))
}

fn volume_instance(filter: u64, volume: u64, name: u64, out: u64) -> NtResult<NtStatus> {
    let volume = volume_at(volume)?;
    let filter = given(filter, || filter_of(filter))?;
    let name = text_at(name);
    let all = super::instances(&*manager()?, Some(&volume), filter.as_ref());
    let named = |each: &&Arc<Instance>| name.as_ref().is_none_or(|name| each.name().eq_ignore_ascii_case(name));
    let found = all.iter().find(named).ok_or(NtStatus::FLT_INSTANCE_NOT_FOUND.error())?;
    give(out, found.pointer());
    Ok(NtStatus::SUCCESS)
}

fn volume_of_file(file: u64, out: u64) -> NtResult<NtStatus> {
    let file = at::<FILE_OBJECT>(file).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let found = Volume::of_file(&nt_ke::current().kernel, file).ok_or(NtStatus::FLT_VOLUME_NOT_FOUND.error())?;
    give(out, found.pointer());
    Ok(NtStatus::SUCCESS)
}

/// Gives a device away with a reference.
fn give_device(out: u64, device: Option<Foreign<DEVICE_OBJECT>>) -> NtResult<NtStatus> {
    let device = device.ok_or(NtStatus::FLT_NO_DEVICE_OBJECT.error())?;
    let _kept = object::reference(device).into_raw();
    store(out, device.addr());
    Ok(NtStatus::SUCCESS)
}

fn type_of(pointer: u64, out: u64) -> NtResult<NtStatus> {
    match at::<Bytes>(pointer).and_then(filter::look_up) {
        Some(Opaque::Volume(_) | Opaque::Instance(_)) => {
            bytes(out, 4).store::<u32>(0, FLT_FSTYPE_NTFS as u32).map_err(violation)?;
            Ok(NtStatus::SUCCESS)
        }
        _ => NtStatus::INVALID_PARAMETER.fail(),
    }
}

fn is_writable(pointer: u64, out: u64) -> NtResult<NtStatus> {
    let volume = match at::<Bytes>(pointer).and_then(filter::look_up) {
        Some(Opaque::Volume(volume)) => volume,
        Some(Opaque::Instance(instance)) => instance.volume.upgrade().ok_or(NtStatus::FLT_DELETING_OBJECT.error())?,
        _ => return NtStatus::INVALID_PARAMETER.fail(),
    };
    let writable = super::properties(&volume).device[1] & FILE_READ_ONLY_DEVICE == 0;
    bytes(out, 1).store::<u8>(0, u8::from(writable)).map_err(violation)?;
    Ok(NtStatus::SUCCESS)
}

/// FltGetVolumeProperties: the fixed part, then as many whole strings as fit (FLT-I-13).
fn properties(volume: u64, out: u64, length: u32, returned: u64) -> NtResult<NtStatus> {
    const FIXED: usize = 0x48;
    let found = super::properties(&*volume_at(volume)?);
    let strings = found.names.map(|name| name.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    let needed = FIXED + strings.iter().map(Vec::len).sum::<usize>();
    let told = |count: usize| {
        if returned != 0 {
            let _gone = bytes(returned, 4).store::<u32>(0, count as u32);
        }
    };
    if out == 0 || (length as usize) < FIXED {
        told(needed);
        return NtStatus::BUFFER_TOO_SMALL.fail();
    }
    let room = bytes(out, length as usize);
    for (index, value) in found.device.into_iter().enumerate() {
        room.store::<u32>(4 * index, value).map_err(violation)?;
    }
    room.store::<u16>(0x10, found.sector).map_err(violation)?;
    room.store::<u16>(0x12, 0).map_err(violation)?;
    let mut end = FIXED;
    let mut whole = true;
    for (index, string) in strings.iter().enumerate() {
        let fits = end + string.len() <= length as usize;
        whole &= fits;
        let (size, place) = if fits && !string.is_empty() { (string.len(), out + end as u64) } else { (0, 0) };
        let at = 0x18 + 0x10 * index;
        room.store::<u16>(at, size as u16).map_err(violation)?;
        room.store::<u16>(at + 2, size as u16).map_err(violation)?;
        room.store::<u64>(at + 8, place).map_err(violation)?;
        if size != 0 {
            room.sub(end, size).write_from(string).map_err(violation)?;
            end += size;
        }
    }
    told(if whole { end } else { needed });
    if whole { Ok(NtStatus::SUCCESS) } else { NtStatus::BUFFER_OVERFLOW.fail() }
}

/// A record with a fixed part and strings behind it, whose {length, offset} pairs stand at `places`.
fn record(fixed: usize, places: &[usize], strings: &[&str], out: u64, size: u32, returned: u64) -> NtResult<NtStatus> {
    let units: Vec<Vec<u8>> =
        strings.iter().map(|text| text.encode_utf16().flat_map(u16::to_le_bytes).collect()).collect();
    let needed = fixed + units.iter().map(Vec::len).sum::<usize>();
    if returned != 0 {
        bytes(returned, 4).store::<u32>(0, needed as u32).map_err(violation)?;
    }
    if out == 0 || (size as usize) < needed {
        return NtStatus::BUFFER_TOO_SMALL.fail();
    }
    let room = bytes(out, needed);
    room.sub(0, fixed).fill(0).map_err(violation)?;
    let mut end = fixed;
    for (place, string) in places.iter().zip(&units) {
        room.store::<u16>(*place, string.len() as u16).map_err(violation)?;
        room.store::<u16>(place + 2, end as u16).map_err(violation)?;
        room.sub(end, string.len()).write_from(string).map_err(violation)?;
        end += string.len();
    }
    Ok(NtStatus::SUCCESS)
}

/// INSTANCE_BASIC_INFORMATION 0, INSTANCE_PARTIAL_INFORMATION 1, INSTANCE_FULL_INFORMATION 2.
fn instance_information(instance: u64, kind: u32, out: u64, size: u32, returned: u64) -> NtResult<NtStatus> {
    let instance = instance_of(instance)?;
    let volume = instance.volume.upgrade().map(|volume| volume.name().to_owned()).unwrap_or_default();
    let (name, altitude) = (instance.name(), instance.altitude().text());
    match kind {
        0 => record(8, &[4], &[name], out, size, returned),
        1 => record(12, &[4, 8], &[name, altitude], out, size, returned),
        2 => record(20, &[4, 8, 12, 16], &[name, altitude, &volume, instance.filter().name()], out, size, returned),
        _ => NtStatus::INVALID_PARAMETER.fail(),
    }
}

/// FILTER_FULL_INFORMATION 0: frame 0, the number of instances, the name.
fn filter_information(filter: u64, kind: u32, out: u64, size: u32, returned: u64) -> NtResult<NtStatus> {
    const NAME: usize = 14;
    let filter: Arc<Filter> = filter_of(filter)?;
    if kind != 0 {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let name: Vec<u8> = filter.name().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let needed = NAME + name.len();
    if returned != 0 {
        bytes(returned, 4).store::<u32>(0, needed as u32).map_err(violation)?;
    }
    if out == 0 || (size as usize) < needed {
        return NtStatus::BUFFER_TOO_SMALL.fail();
    }
    let room = bytes(out, needed);
    let count = super::instances(&*manager()?, None, Some(&filter)).len() as u32;
    for (index, value) in [0, 0, count].into_iter().enumerate() {
        room.store::<u32>(4 * index, value).map_err(violation)?;
    }
    room.store::<u16>(12, name.len() as u16).map_err(violation)?;
    room.sub(NAME, name.len()).write_from(&name).map_err(violation)?;
    Ok(NtStatus::SUCCESS)
}

fn is_directory(file: u64, instance: u64, out: u64) -> NtResult<NtStatus> {
    let instance = instance_of(instance)?;
    let file = at::<FILE_OBJECT>(file).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let target = crate::calls::Target { instance: &instance, file };
    let found = crate::calls::query_bytes(&nt_ke::current(), target, class::STANDARD, 24)?;
    bytes(out, 1).store::<u8>(0, found.get(21).copied().unwrap_or(0)).map_err(violation)?;
    Ok(NtStatus::SUCCESS)
}

fn irp_name(major: u8) -> u64 {
    crate::data::major_name(major).unwrap_or(c"Unknown").as_ptr().expose_provenance() as u64
}

/// FltGetRoutineAddress: what an import of the name would bind to.
fn routine(name: u64) -> u64 {
    let mut text = Vec::new();
    for index in 0..64 {
        match bytes(name, 64).load::<u8>(index) {
            Ok(0) | Err(_) => break,
            Ok(byte) => text.push(byte),
        }
    }
    let tables: [&[Export]; 8] = [
        EXPORTS,
        crate::exports::EXPORTS,
        crate::calls::exports::EXPORTS,
        crate::context::exports::EXPORTS,
        crate::name::exports::EXPORTS,
        crate::deferred::exports::EXPORTS,
        crate::queue::exports::EXPORTS,
        crate::port::exports::EXPORTS,
    ];
    let found = tables.into_iter().flatten().find(|row| row.name.as_bytes() == text);
    match found.map(|row| row.entry) {
        Some(nt_cell::Entry::Code(code)) => code as usize as u64,
        _ => 0,
    }
}

exports! { "fltmgr.sys" =>
    Full code FltEnumerateFilters(out: u64, size: u32, count: u64) -> u32 {
        status(manager().and_then(|manager| {
            let bodies: Vec<_> = manager.filters().iter().map(|filter| filter.pointer()).collect();
            list(&bodies, out, size, count)
        }))
    }
    Full code FltEnumerateVolumes(_filter: u64, out: u64, size: u32, count: u64) -> u32 {
        status(manager().and_then(|manager| {
            let bodies: Vec<_> = manager.volumes().iter().map(|volume| volume.pointer()).collect();
            list(&bodies, out, size, count)
        }))
    }
    Full code FltEnumerateInstances(volume: u64, filter: u64, out: u64, size: u32, count: u64) -> u32 { status(instances(volume, filter, out, size, count)) }
    Full code FltGetTopInstance(volume: u64, out: u64) -> u32 {
        neighbour(out, volume_at(volume).and_then(|volume| super::neighbour(Neighbour::Top(&volume))))
    }
    Full code FltGetBottomInstance(volume: u64, out: u64) -> u32 {
        neighbour(out, volume_at(volume).and_then(|volume| super::neighbour(Neighbour::Bottom(&volume))))
    }
    Full code FltGetUpperInstance(instance: u64, out: u64) -> u32 {
        neighbour(out, instance_of(instance).and_then(|instance| super::neighbour(Neighbour::Above(&instance))))
    }
    Full code FltGetLowerInstance(instance: u64, out: u64) -> u32 {
        neighbour(out, instance_of(instance).and_then(|instance| super::neighbour(Neighbour::Below(&instance))))
    }
    Full code FltGetVolumeInstanceFromName(filter: u64, volume: u64, name: u64, out: u64) -> u32 { status(volume_instance(filter, volume, name, out)) }
    Full code FltGetFilterFromInstance(instance: u64, out: u64) -> u32 {
        status(instance_of(instance).map(|instance| { give(out, instance.filter().pointer()); NtStatus::SUCCESS }))
    }
    Full code FltGetVolumeFromFileObject(_filter: u64, file: u64, out: u64) -> u32 { status(volume_of_file(file, out)) }
    Full code FltGetInstanceInformation(instance: u64, kind: u32, out: u64, size: u32, returned: u64) -> u32 {
        status(instance_information(instance, kind, out, size, returned))
    }
    Full code FltGetFilterInformation(filter: u64, kind: u32, out: u64, size: u32, returned: u64) -> u32 {
        status(filter_information(filter, kind, out, size, returned))
    }
    Partial("FileSystemDeviceName is empty: our file systems have no control device") code FltGetVolumeProperties(volume: u64, out: u64, length: u32, returned: u64) -> u32 {
        status(properties(volume, out, length, returned))
    }
    Full code FltGetDiskDeviceObject(volume: u64, out: u64) -> u32 { status(volume_at(volume).and_then(|volume| give_device(out, super::disk(&volume)))) }
    Full code FltGetDeviceObject(volume: u64, out: u64) -> u32 { status(volume_at(volume).and_then(|volume| give_device(out, Some(volume.device)))) }
    Full code FltGetFileSystemType(object: u64, out: u64) -> u32 { status(type_of(object, out)) }
    Full code FltIsVolumeWritable(object: u64, out: u64) -> u32 { status(is_writable(object, out)) }
    Full code FltIsDirectory(file: u64, instance: u64, out: u64) -> u32 { status(is_directory(file, instance, out)) }
    Full code FltUnloadFilter(name: u64) -> u32 {
        let name = text_at(name).ok_or(NtStatus::INVALID_PARAMETER.error());
        status(name.and_then(|name| super::unload(&nt_ke::current().kernel, &name)).map(|()| NtStatus::SUCCESS))
    }
    Full code FltGetIrpName(major: u8) -> u64 { irp_name(major) }
    Full code FltGetRoutineAddress(name: u64) -> u64 { routine(name) }
    Full code FltAcquireResourceExclusive(resource: u64) { acquire(resource, true); }
    Full code FltAcquireResourceShared(resource: u64) { acquire(resource, false); }
    Full code FltInitializePushLock(lock: u64) { if let Some(lock) = at(lock) { pushlock::initialize(lock); } }
    Full code FltDeletePushLock(_lock: u64) { }
    Full code FltAcquirePushLockExclusive(lock: u64) { push(lock, true); }
    Full code FltAcquirePushLockExclusiveEx(lock: u64, _flags: u32) { push(lock, true); }
    Full code FltAcquirePushLockShared(lock: u64) { push(lock, false); }
    Full code FltAcquirePushLockSharedEx(lock: u64, _flags: u32) { push(lock, false); }
    Full code FltReleasePushLock(lock: u64) { release_push(lock); }
    Full code FltReleasePushLockEx(lock: u64, _flags: u32) { release_push(lock); }
    Full code FltReleaseResource(resource: u64) {
        if let Some(resource) = at(resource) {
            let frame = nt_ke::current();
            nt_ex::resource::release(resource, frame.thread.object());
            frame.thread.leave_critical_region();
        }
    }
}

/// FltAcquireResourceExclusive, FltAcquireResourceShared: normal kernel APCs stay off until the release.
fn acquire(resource: u64, exclusive: bool) {
    if let Some(resource) = at(resource) {
        let frame = nt_ke::current();
        frame.thread.enter_critical_region();
        let _granted = nt_ex::resource::acquire(resource, frame.thread.object(), exclusive, true);
    }
}

/// FltAcquirePushLockExclusive, FltAcquirePushLockShared (NT-KR-16).
fn push(lock: u64, exclusive: bool) {
    if let Some(lock) = at(lock) {
        nt_ke::current().thread.enter_critical_region();
        pushlock::acquire(lock, exclusive);
    }
}

fn release_push(lock: u64) {
    if let Some(lock) = at(lock) {
        pushlock::release(lock);
        nt_ke::current().leave_critical_region();
    }
}
