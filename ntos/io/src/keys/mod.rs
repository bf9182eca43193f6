//! Registry keys as drivers open them, and what else a driver looks up by name: routines, drive letters.
//!
//! Room: ntos/io, until a configuration manager is there. Called by: `exports` of this folder. Calls: `registry`, the handle table.
//! IRQL: PASSIVE_LEVEL. Locks: the registry's. Source: ZwOpenKey, ZwQueryValueKey, IoVolumeDeviceToDosName pages.

pub mod exports;

use crate::device::Device;
use crate::event;
use crate::registry::Value;
use crate::system::System;
use nt_abi::io::DEVICE_OBJECT;
use nt_abi::ob::OBJ_KERNEL_HANDLE;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Foreign, Slab};
use nt_ke::Frame;
use nt_ob::access::GenericMapping;
use nt_ob::types::{self, ObjectType, Routines};
use nt_ob::{Handle, object};
use std::sync::{LazyLock, OnceLock};

/// The paths behind open keys.
static PATHS: LazyLock<Slab<String>> = LazyLock::new(Slab::new);
static ROUTINES: OnceLock<fn(&str) -> u64> = OnceLock::new();

/// Says how MmGetSystemRoutineAddress finds a routine; the first call of a process stands.
pub fn set_routines(find: fn(&str) -> u64) {
    let _again = ROUTINES.set(find);
}

/// MmGetSystemRoutineAddress: 0 for a name that nothing exports.
#[must_use]
pub fn routine(name: &str) -> u64 {
    ROUTINES.get().map_or(0, |find| find(name))
}

fn forget(body: Foreign<Bytes>) {
    PATHS.remove(object::native_key(body));
}

fn path_of(body: Foreign<Bytes>) -> Option<String> {
    PATHS.get(object::native_key(body)).map(|path| String::clone(&path))
}

/// ZwOpenKey: a full path, or one below an open key.
pub fn open(frame: &Frame, root: Handle, name: &str, attributes: u32) -> NtResult<Handle> {
    types::register(
        ObjectType::Key,
        Routines { mapping: GenericMapping::NONE, close: None, delete: Some(forget), wait: None },
    );
    let path = if root == Handle::NULL {
        name.to_owned()
    } else {
        let (above, _) = event::reference(frame, root, ObjectType::Key, 0, frame.mode())?;
        let above = path_of(above.body()).ok_or(NtStatus::INVALID_HANDLE.error())?;
        if name.is_empty() { above } else { format!("{above}\\{name}") }
    };
    if !System::of(&frame.kernel).registry.exists(&path) {
        return NtStatus::OBJECT_NAME_NOT_FOUND.fail();
    }
    let made = object::create::<Bytes>(ObjectType::Key, 0x10, frame.kernel.id())?;
    object::set_native_key(made.body(), PATHS.insert(path));
    let table = if attributes & OBJ_KERNEL_HANDLE != 0 {
        &nt_ps::process::processes(&frame.kernel).system().handles
    } else {
        &nt_ps::current_process(frame).handles
    };
    table.insert(&made, u32::MAX, attributes)
}

/// A value as ZwQueryValueKey gives it: {REG_*, data}.
pub fn value(frame: &Frame, key: Handle, name: &str) -> NtResult<(u32, Vec<u8>)> {
    let (key, _) = event::reference(frame, key, ObjectType::Key, 0, frame.mode())?;
    let path = path_of(key.body()).ok_or(NtStatus::INVALID_HANDLE.error())?;
    match System::of(&frame.kernel).registry.get(&path, name) {
        None => NtStatus::OBJECT_NAME_NOT_FOUND.fail(),
        Some(Value::Dword(value)) => Ok((4, value.to_le_bytes().to_vec())),
        Some(Value::Text(text)) => {
            let units = text.encode_utf16().chain(std::iter::once(0));
            Ok((1, units.flat_map(u16::to_le_bytes).collect()))
        }
    }
}

/// IoVolumeDeviceToDosName: the drive letter that leads to a storage or volume device.
pub fn drive_of(frame: &Frame, device: Device) -> NtResult<String> {
    let namespace = &System::of(&frame.kernel).namespace;
    let real = device.ptr(DEVICE_OBJECT::Vpb).and_then(|vpb| vpb.ptr(nt_abi::io::VPB::RealDevice));
    for letter in 'A'..='Z' {
        let link: Vec<u16> = format!("\\??\\{letter}:").encode_utf16().collect();
        let Ok(found) = namespace.lookup(&link) else { continue };
        let there = found.object.body().addr();
        if there == device.addr() || real.is_some_and(|real| real.addr() == there) {
            return Ok(format!("{letter}:"));
        }
    }
    NtStatus::INVALID_DEVICE_REQUEST.fail()
}
