//! `NtQuerySecurityObject`, `NtSetSecurityObject` and their Zw forms, as compiled drivers call them.
//!
//! Room: ntos/io. Called by: compiled drivers. IRQL: PASSIVE_LEVEL. Locks: none.
//! Addresses become typed by `crate::exports`, which answers for them.

use super::{nt_query_security_object, nt_set_security_object};
use crate::exports::{given, zw};
use crate::service::violation;
use nt_abi::NtResult;
use nt_abi::ob::OBJECT_ATTRIBUTES;
use nt_cell::{Region, exports};
use nt_ke::{Frame, Mode};
use nt_ob::Handle;
use nt_se::Descriptor;

/// Reads where a caller pointed.
fn read(frame: &Frame, at: u64, length: usize) -> NtResult<Vec<u8>> {
    given(frame, at).region(length, frame.mode() == Mode::Kernel).and_then(Region::to_vec).map_err(violation)
}

/// The descriptor in OBJECT_ATTRIBUTES, self-relative.
pub(crate) fn of_attributes(frame: &Frame, attributes: u64) -> NtResult<Option<Vec<u8>>> {
    if attributes == 0 {
        return Ok(None);
    }
    let slot = read(frame, attributes + OBJECT_ATTRIBUTES::SecurityDescriptor.offset() as u64, 8)?;
    match u64::from_le_bytes(slot.try_into().unwrap_or_default()) {
        0 => Ok(None),
        at => Descriptor::capture(at, &|at, length| read(frame, at, length)).map(|given| Some(given.bytes())),
    }
}

fn query(frame: &Frame, handle: u64, information: u32, buffer: u64, length: u32, needed: u64) -> u32 {
    let (buffer, needed) = (given(frame, buffer), given(frame, needed));
    nt_query_security_object(frame, Handle(handle), information, buffer, length, needed).0
}

fn set(frame: &Frame, handle: u64, information: u32, descriptor: u64) -> u32 {
    nt_set_security_object(frame, Handle(handle), information, descriptor, &|at, length| read(frame, at, length)).0
}

exports! { "ntoskrnl.exe" =>
    Partial("of files; other objects have no descriptor") code NtQuerySecurityObject(handle: u64, information: u32, buffer: u64, length: u32, needed: u64) -> u32 {
        query(&nt_ke::current(), handle, information, buffer, length, needed)
    }
    Partial("of files; other objects have no descriptor") code ZwQuerySecurityObject(handle: u64, information: u32, buffer: u64, length: u32, needed: u64) -> u32 {
        zw(|frame| query(frame, handle, information, buffer, length, needed))
    }
    Partial("of files; other objects have no descriptor") code NtSetSecurityObject(handle: u64, information: u32, descriptor: u64) -> u32 {
        set(&nt_ke::current(), handle, information, descriptor)
    }
    Partial("of files; other objects have no descriptor") code ZwSetSecurityObject(handle: u64, information: u32, descriptor: u64) -> u32 {
        zw(|frame| set(frame, handle, information, descriptor))
    }
}
