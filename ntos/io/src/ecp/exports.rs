//! The names of extra create parameters and of oplock keys: FsRtl*, IoCreateFileEx, IoGetOplockKeyContext.
//!
//! Room: ntos/io. Called by: compiled drivers, through the loader. Calls: [`super`], `create`, `oplock_key`. IRQL: as each DDI
//! page says. Locks: none. Source: ntifs.h, ntddk.h, the pages of the routines; rules NT-ECP, NT-OPL-14.

use super::{Context, EcpList, Found, Spec};
use crate::exports::{RawCreate, at, code, create_file_as, status, vouched, zw};
use crate::irp::Irp;
use crate::oplock_key;
use nt_abi::io::*;
use nt_abi::{GUID, NtResult, NtStatus};
use nt_cell::{Foreign, exports};
use nt_ex::lists::Lookaside;
use nt_ex::pool::PoolKind;

/// A GUID that a driver passes.
#[must_use]
pub fn guid(address: u64) -> GUID {
    let block = vouched(address).region(16, true).ok();
    block.and_then(|block| super::guid_at(block, 0)).unwrap_or_default()
}

fn store<W: nt_abi::Word>(out: u64, value: W) {
    if out != 0 {
        let _gone = vouched(out).store(true, value);
    }
}

/// Stores what was made, or NULL with INSUFFICIENT_RESOURCES.
pub fn made<T>(made: Option<Foreign<T>>, out: u64) -> u32 {
    store::<u64>(out, made.map_or(0, Foreign::addr));
    if made.is_some() { NtStatus::SUCCESS.0 } else { NtStatus::INSUFFICIENT_RESOURCES.0 }
}

/// FsRtlAllocateExtraCreateParameter and its twins; `from`: a lookaside list, or 0.
#[must_use]
pub fn allocate(of: u64, size: u32, flags: u32, cleanup: u64, tag: u32, from: u64, out: u64) -> u32 {
    let kind = if flags & FSRTL_ALLOCATE_ECP_FLAG_NONPAGED_POOL != 0 { PoolKind::NonPaged } else { PoolKind::Paged };
    made(super::allocate(&Spec { of: guid(of), size, kind, tag, cleanup: code(cleanup) }, at(from)), out)
}

/// FsRtlInitExtraCreateParameterLookasideList and its twin.
pub fn initialize_lookaside(list: u64, flags: u32, size: u64, tag: u32) {
    if let Some(list) = at::<nt_abi::ke::LOOKASIDE_LIST_EX>(list) {
        super::initialize_lookaside(list, flags & FSRTL_ECP_LOOKASIDE_FLAG_NONPAGED_POOL != 0, size as u32, tag);
    }
}

/// FsRtlDeleteExtraCreateParameterLookasideList and its twin.
pub fn delete_lookaside(list: u64) {
    let list: Option<Lookaside> = at(list);
    if let Some(list) = list {
        nt_ex::lists::exports::delete(list);
    }
}

/// Stores a context and its size; NULL and 0 with NOT_FOUND.
fn told(found: Option<Found>, context: u64, size: u64) -> NtStatus {
    store::<u64>(context, found.map_or(0, |found| found.context.addr()));
    store::<u32>(size, found.map_or(0, |found| found.size));
    if found.is_some() { NtStatus::SUCCESS } else { NtStatus::NOT_FOUND }
}

/// FsRtlInsertExtraCreateParameter and its twin.
#[must_use]
pub fn insert(list: u64, context: u64) -> u32 {
    let (list, context): (Option<EcpList>, Option<Context>) = (at(list), at(context));
    list.zip(context).map_or(NtStatus::INVALID_PARAMETER, |(list, context)| super::insert(list, context)).0
}

/// FsRtlFindExtraCreateParameter and its twin.
#[must_use]
pub fn find(list: u64, of: u64, context: u64, size: u64) -> u32 {
    told(at(list).and_then(|list| super::find(list, guid(of))), context, size).0
}

/// FsRtlRemoveExtraCreateParameter and its twin.
#[must_use]
pub fn remove(list: u64, of: u64, context: u64, size: u64) -> u32 {
    told(at(list).and_then(|list| super::remove(list, guid(of))), context, size).0
}

/// FsRtlGetNextExtraCreateParameter and its twin.
#[must_use]
pub fn next(list: u64, after: u64, of: u64, context: u64, size: u64) -> u32 {
    let Some(list) = at(list) else { return NtStatus::INVALID_PARAMETER.0 };
    let found = super::next(list, at(after));
    if let (Some(found), true) = (found, of != 0) {
        let _gone = vouched(of).region(16, true).and_then(|of| of.write_from(&found.of.to_bytes()));
    }
    told(found, context, size).0
}

/// A routine about one context, one list, one file object.
fn on<T, R: Default>(address: u64, body: impl FnOnce(Foreign<T>) -> R) -> R {
    at(address).map(body).unwrap_or_default()
}

fn list_of(packet: u64, out: u64) -> NtResult<NtStatus> {
    let packet: Irp = at(packet).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    store::<u64>(out, super::of_packet(packet)?.map_or(0, Foreign::addr));
    Ok(NtStatus::SUCCESS)
}

fn attach(packet: u64, list: u64) -> NtStatus {
    let (packet, list): (Option<Irp>, Option<EcpList>) = (at(packet), at(list));
    packet.zip(list).map_or(NtStatus::INVALID_PARAMETER_2, |(packet, list)| super::attach(packet, list))
}

/// The list that an IO_DRIVER_CREATE_CONTEXT names; NULL names none.
///
/// # Errors
/// INVALID_PARAMETER for one that was not initialized, NOT_SUPPORTED where it asks for a transaction or a device.
pub fn of_context(context: u64) -> NtResult<Option<EcpList>> {
    let Some(context) = at::<IO_DRIVER_CREATE_CONTEXT>(context) else { return Ok(None) };
    // SiloContext came later than the rest.
    if context.get(IO_DRIVER_CREATE_CONTEXT::Size) < IO_DRIVER_CREATE_CONTEXT::SiloContext.offset() as i16 {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if context.addr_at(IO_DRIVER_CREATE_CONTEXT::TxnParameters) != 0
        || context.addr_at(IO_DRIVER_CREATE_CONTEXT::DeviceObjectHint) != 0
    {
        return NtStatus::NOT_SUPPORTED.fail();
    }
    Ok(context.ptr(IO_DRIVER_CREATE_CONTEXT::ExtraCreateParameter).map(Foreign::view))
}

/// IoCreateFileEx: a create of the kernel's, whatever its thread's previous mode is.
fn create_file_ex(raw: &RawCreate, kind: (u32, u64), options: u32, context: u64) -> u32 {
    if kind != (0, 0) {
        return NtStatus::NOT_SUPPORTED.0;
    }
    let made = |frame: &_| {
        let ecps = of_context(context)?;
        create_file_as(frame, raw, |spec| {
            spec.ecps = ecps;
            spec.ask(options);
        })
    };
    zw(|frame| status(made(frame)))
}

exports! { "ntoskrnl.exe" =>
    Partial("no quota is charged") code FsRtlAllocateExtraCreateParameterList(_flags: u32, out: u64) -> u32 { made(super::allocate_list(), out) }
    Full code FsRtlFreeExtraCreateParameterList(list: u64) { on(list, super::free_list); }
    Partial("no quota is charged") code FsRtlAllocateExtraCreateParameter(of: u64, size: u32, flags: u32, cleanup: u64, tag: u32, out: u64) -> u32 {
        allocate(of, size, flags, cleanup, tag, 0, out)
    }
    Partial("no quota is charged") code FsRtlAllocateExtraCreateParameterFromLookasideList(of: u64, size: u32, flags: u32, cleanup: u64, list: u64, out: u64) -> u32 {
        allocate(of, size, flags, cleanup, super::TAG, list, out)
    }
    Full code FsRtlInitExtraCreateParameterLookasideList(list: u64, flags: u32, size: u64, tag: u32) { initialize_lookaside(list, flags, size, tag); }
    Full code FsRtlDeleteExtraCreateParameterLookasideList(list: u64, _flags: u32) { delete_lookaside(list); }
    Full code FsRtlFreeExtraCreateParameter(context: u64) { on(context, super::free); }
    Full code FsRtlInsertExtraCreateParameter(list: u64, context: u64) -> u32 { insert(list, context) }
    Full code FsRtlFindExtraCreateParameter(list: u64, of: u64, context: u64, size: u64) -> u32 { find(list, of, context, size) }
    Full code FsRtlGetNextExtraCreateParameter(list: u64, after: u64, of: u64, context: u64, size: u64) -> u32 { next(list, after, of, context, size) }
    Full code FsRtlRemoveExtraCreateParameter(list: u64, of: u64, context: u64, size: u64) -> u32 { remove(list, of, context, size) }
    Full code FsRtlAcknowledgeEcp(context: u64) { on(context, super::acknowledge); }
    Full code FsRtlIsEcpAcknowledged(context: u64) -> u8 { on(context, |context| u8::from(super::is_acknowledged(context))) }
    Full code FsRtlPrepareToReuseEcp(context: u64) { on(context, super::prepare_to_reuse); }
    /// No door lets user mode pass one.
    Full code FsRtlIsEcpFromUserMode(_context: u64) -> u8 { 0 }
    Full code FsRtlGetEcpListFromIrp(packet: u64, out: u64) -> u32 { status(list_of(packet, out)) }
    Full code FsRtlSetEcpListIntoIrp(packet: u64, list: u64) -> u32 { attach(packet, list).0 }
    Absent("the headers of lists and contexts are opaque: what lays one out itself cannot know their sizes") missing FsRtlInitializeExtraCreateParameterList;
    Absent("the headers of lists and contexts are opaque: what lays one out itself cannot know their sizes") missing FsRtlInitializeExtraCreateParameter;
    Partial("device object hints and transactions are refused; IO_IGNORE_SHARE_ACCESS_CHECK is ignored; IO_STOP_ON_SYMLINK returns no buffer") code IoCreateFileEx(handle: u64, access: u32, attributes: u64, iosb: u64, allocation: u64, file_attributes: u32, share: u32, disposition: u32, options: u32, ea: u64, ea_length: u32, kind: u32, internal: u64, flags: u32, context: u64) -> u32 {
        let raw = RawCreate { handle, access, attributes, iosb, allocation, file_attributes, share, disposition, options, ea, ea_length };
        create_file_ex(&raw, (kind, internal), flags, context)
    }
    Full code IoGetOplockKeyContext(file: u64) -> u64 {
        on(file, |file| oplock_key::target_context(file).map_or(0, Foreign::addr))
    }
    Full code IoGetOplockKeyContextEx(file: u64) -> u64 { on(file, |file| oplock_key::context(file).map_or(0, Foreign::addr)) }
}
