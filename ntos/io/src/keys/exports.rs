//! The names of ntoskrnl.exe for keys and look-ups.
//!
//! Room: ntos/io. Called by: compiled drivers. IRQL: PASSIVE_LEVEL. Locks: none.

use crate::exports::{at, bytes, status, zw};
use crate::service::violation;
use nt_abi::ob::{OBJECT_ATTRIBUTES, UNICODE_STRING};
use nt_abi::{NtResult, NtStatus};
use nt_cell::exports;
use nt_ke::Frame;
use nt_ob::Handle;

fn open(frame: &Frame, out: u64, attributes: u64) -> NtResult<NtStatus> {
    let given = at::<OBJECT_ATTRIBUTES>(attributes).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let name = given.ptr(OBJECT_ATTRIBUTES::ObjectName).map(nt_rtl::unicode::text).unwrap_or_default();
    let root = Handle(given.get(OBJECT_ATTRIBUTES::RootDirectory));
    let handle = super::open(frame, root, &name, given.get(OBJECT_ATTRIBUTES::Attributes))?;
    bytes(out, 8).store::<u64>(0, handle.0).map_err(violation)?;
    Ok(NtStatus::SUCCESS)
}

/// KEY_VALUE_BASIC_INFORMATION 0, _FULL_INFORMATION 1, _PARTIAL_INFORMATION 2.
fn query(frame: &Frame, key: u64, name: u64, class: u32, out: u64, length: u32, needed: u64) -> NtResult<NtStatus> {
    let name = at::<UNICODE_STRING>(name).map(nt_rtl::unicode::text).unwrap_or_default();
    let (kind, data) = super::value(frame, Handle(key), &name)?;
    let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (fixed, tail) = match class {
        0 => (12, units.clone()),
        1 => (20, [units.clone(), data.clone()].concat()),
        2 => (12, data.clone()),
        _ => return NtStatus::INVALID_PARAMETER.fail(),
    };
    let whole = fixed + tail.len();
    bytes(needed, 4).store::<u32>(0, whole as u32).map_err(violation)?;
    if (length as usize) < fixed {
        return NtStatus::BUFFER_TOO_SMALL.fail();
    }
    let room = bytes(out, length as usize);
    let words: [u32; 5] = match class {
        0 => [0, kind, units.len() as u32, 0, 0],
        1 => [0, kind, (20 + units.len()) as u32, data.len() as u32, units.len() as u32],
        _ => [0, kind, data.len() as u32, 0, 0],
    };
    for (index, word) in words.into_iter().take(fixed / 4).enumerate() {
        room.store::<u32>(4 * index, word).map_err(violation)?;
    }
    let fits = tail.len().min(length as usize - fixed);
    room.sub(fixed, fits).write_from(&tail[..fits]).map_err(violation)?;
    if fits < tail.len() { NtStatus::BUFFER_OVERFLOW.fail() } else { Ok(NtStatus::SUCCESS) }
}

fn drive(frame: &Frame, device: u64, out: u64) -> NtResult<NtStatus> {
    let invalid = NtStatus::INVALID_PARAMETER.error();
    let name = super::drive_of(frame, at(device).ok_or(invalid)?)?;
    nt_rtl::unicode::store(at(out).ok_or(invalid)?, &name)?;
    Ok(NtStatus::SUCCESS)
}

exports! { "ntoskrnl.exe" =>
    Full code ZwOpenKey(out: u64, _access: u32, attributes: u64) -> u32 { zw(|frame| status(open(frame, out, attributes))) }
    Full code ZwQueryValueKey(key: u64, name: u64, class: u32, out: u64, length: u32, needed: u64) -> u32 {
        zw(|frame| status(query(frame, key, name, class, out, length, needed)))
    }
    Full code IoVolumeDeviceToDosName(device: u64, out: u64) -> u32 { zw(|frame| status(drive(frame, device, out))) }
    Partial("routines that may raise, take a variable number of arguments or are data are not found") code MmGetSystemRoutineAddress(name: u64) -> u64 {
        at::<UNICODE_STRING>(name).map_or(0, |name| super::routine(&nt_rtl::unicode::text(name)))
    }
    Full code IoThreadToProcess(thread: u64) -> u64 {
        let frame = nt_ke::current();
        let thread = nt_ps::process::processes(&frame.kernel).thread_at(thread);
        thread.and_then(|thread| thread.process_arc::<nt_ps::Process>()).map_or(0, |process| process.object().addr())
    }
}
