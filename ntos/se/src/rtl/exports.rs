//! Rtl* for security identifiers, access-control lists and descriptors, on a driver's own memory.
//!
//! Room: ntos/se. Called by: compiled drivers, `crate::exports`. IRQL: PASSIVE_LEVEL. Locks: none.
//! Source: the pages of each routine (ntifs.h). A bad pointer raises ACCESS_VIOLATION in the driver, as touching it would.
#![expect(unsafe_code, reason = "unsafe home 3: entry points take a driver's pointers")]

use crate::acl::{Ace, Acl};
use crate::check;
use crate::descriptor::{Descriptor, read_acl, read_sid};
use crate::sid::Sid;
use nt_abi::ob::UNICODE_STRING;
use nt_abi::se::*;
use nt_abi::{NtError, NtResult, NtStatus, Word};
use nt_cell::{Fault, Foreign, Region, exports, raise};
use nt_ob::access::GenericMapping;

pub(crate) fn span(address: u64, length: usize) -> Region {
    let length = if address.checked_add(length as u64).is_none() { 0 } else { length };
    // SAFETY: a driver gave the pointer for this use (S-3); the line above keeps the span from wrapping; accesses are guarded.
    unsafe { Region::from_raw(address, length) }
}

pub(crate) fn fault(_: Fault) -> NtError {
    NtStatus::ACCESS_VIOLATION.error()
}

/// Reads where a driver pointed.
pub(crate) fn read(address: u64, length: usize) -> NtResult<Vec<u8>> {
    span(address, length).to_vec().map_err(fault)
}

pub(crate) fn write(address: u64, bytes: &[u8]) -> NtResult<()> {
    span(address, bytes.len()).write_from(bytes).map_err(fault)
}

pub(crate) fn load<W: Word>(address: u64) -> NtResult<W> {
    span(address, size_of::<W>()).load(0).map_err(fault)
}

pub(crate) fn store<W: Word>(address: u64, value: W) -> NtResult<()> {
    span(address, size_of::<W>()).store(0, value).map_err(fault)
}

/// Stores where the driver wants to hear of it.
fn tell<W: Word>(address: u64, value: W) -> NtResult<()> {
    if address == 0 { Ok(()) } else { store(address, value) }
}

/// The status of a routine; a fault is the caller's exception.
pub(crate) fn status(result: NtResult<()>) -> u32 {
    match result {
        Ok(()) => NtStatus::SUCCESS.0,
        Err(error) if error.status() == NtStatus::ACCESS_VIOLATION => {
            raise::raise(NtStatus::ACCESS_VIOLATION);
            NtStatus::ACCESS_VIOLATION.0
        }
        Err(error) => error.status().0,
    }
}

/// Is it so? A fault is the caller's exception, anything else means no.
fn whether(result: NtResult<bool>) -> u8 {
    match result {
        Err(error) if error.status() == NtStatus::ACCESS_VIOLATION => {
            raise::raise(NtStatus::ACCESS_VIOLATION);
            0
        }
        other => u8::from(other.unwrap_or(false)),
    }
}

pub(crate) fn sid(address: u64) -> NtResult<Sid> {
    read_sid(address, &read)
}

pub(crate) fn descriptor(address: u64) -> NtResult<Descriptor> {
    Descriptor::capture(address, &read)
}

pub(crate) fn mapping(address: u64) -> NtResult<GenericMapping> {
    let word = |at: u64| load::<u32>(address + at);
    Ok(GenericMapping { read: word(0)?, write: word(4)?, execute: word(8)?, all: word(12)? })
}

/// An absolute descriptor whose members may be set.
fn absolute(at: u64) -> NtResult<u16> {
    if load::<u8>(at)? != SECURITY_DESCRIPTOR_REVISION {
        return NtStatus::UNKNOWN_REVISION.fail();
    }
    let control: u16 = load(at + 2)?;
    if control & SE_SELF_RELATIVE != 0 { NtStatus::INVALID_SECURITY_DESCR.fail() } else { Ok(control) }
}

/// Sets a member and its control bits; `clear` says which bits go first.
fn set_part(at: u64, member: usize, part: u64, clear: u16, set: u16) -> NtResult<()> {
    let control = absolute(at)?;
    store(at + member as u64, part)?;
    store(at + 2, control & !clear | set)
}

/// Returns control, and the address of a part in either form.
fn part(at: u64, index: u64) -> NtResult<(u16, u64)> {
    if load::<u8>(at)? != SECURITY_DESCRIPTOR_REVISION {
        return NtStatus::UNKNOWN_REVISION.fail();
    }
    let control: u16 = load(at + 2)?;
    if control & SE_SELF_RELATIVE == 0 {
        return Ok((control, load(at + 8 + index * 8)?));
    }
    let offset: u32 = load(at + 4 + index * 4)?;
    Ok((control, if offset == 0 { 0 } else { at + u64::from(offset) }))
}

fn get_name(at: u64, index: u64, bit: u16, out: u64, defaulted: u64) -> NtResult<()> {
    let (control, name) = part(at, index)?;
    store(out, name)?;
    store(defaulted, u8::from(control & bit != 0))
}

fn get_list(at: u64, index: u64, bits: (u16, u16), present: u64, out: u64, defaulted: u64) -> NtResult<()> {
    let (control, list) = part(at, index)?;
    let there = control & bits.0 != 0;
    store(present, u8::from(there))?;
    if there {
        store(out, list)?;
        store(defaulted, u8::from(control & bits.1 != 0))?;
    }
    Ok(())
}

fn create_list(at: u64, length: u32, revision: u32) -> NtResult<()> {
    if length < 8 {
        return NtStatus::BUFFER_TOO_SMALL.fail();
    }
    if !(2..=4).contains(&revision) || length > 0xFFFF {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let mut head = vec![revision as u8, 0];
    head.extend(((length & !3) as u16).to_le_bytes());
    head.extend([0; 4]);
    write(at, &head)
}

/// Changes the entries of a list in its own room.
fn change(at: u64, act: impl FnOnce(&mut Acl) -> NtResult<()>) -> NtResult<()> {
    let mut list = read_acl(at, &read)?;
    let room: u16 = load(at + 2)?;
    act(&mut list)?;
    if list.size() > usize::from(room) {
        return NtStatus::ALLOTTED_SPACE_EXCEEDED.fail();
    }
    let mut bytes = list.bytes();
    bytes[2..4].copy_from_slice(&room.to_le_bytes()); // AclSize stays the room's
    write(at, &bytes)
}

fn add(at: u64, revision: u32, kind: u8, flags: u32, mask: u32, name: u64) -> NtResult<()> {
    let name = sid(name)?;
    change(at, |list| {
        list.revision = list.revision.max(revision as u8);
        list.aces.push(Ace::new(kind, flags as u8, mask, &name));
        Ok(())
    })
}

fn add_list(at: u64, revision: u32, index: u32, entries: u64, length: u32) -> NtResult<()> {
    let bytes = read(entries, length as usize)?;
    let (mut new, mut rest) = (Vec::new(), bytes.as_slice());
    while !rest.is_empty() {
        let ace = Ace::parse(rest).ok_or(NtStatus::INVALID_PARAMETER.error())?;
        rest = &rest[ace.size()..];
        new.push(ace);
    }
    change(at, |list| {
        let index = list.aces.len().min(index as usize);
        list.revision = list.revision.max(revision as u8);
        list.aces.splice(index..index, new);
        Ok(())
    })
}

fn entry_at(at: u64, index: u32) -> NtResult<u64> {
    let list = read_acl(at, &read)?;
    if index as usize >= list.aces.len() {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    Ok(at + 8 + list.aces[..index as usize].iter().map(|ace| ace.size() as u64).sum::<u64>())
}

/// Writes what is there if it fits where there is room for `*length` bytes, and tells how many there are.
fn fill(out: u64, length: u64, bytes: &[u8]) -> NtResult<()> {
    let room: u32 = load(length)?;
    store(length, bytes.len() as u32)?;
    if (room as usize) < bytes.len() { NtStatus::BUFFER_TOO_SMALL.fail() } else { write(out, bytes) }
}

fn to_absolute(from: u64, to: (u64, u64), lists: [(u64, u64); 2], names: [(u64, u64); 2]) -> NtResult<()> {
    if load::<u16>(from + 2)? & SE_SELF_RELATIVE == 0 {
        return NtStatus::BAD_DESCRIPTOR_FORMAT.fail();
    }
    let given = descriptor(from)?;
    let parts = [
        (lists[0], given.dacl.as_ref().map(Acl::bytes)),
        (lists[1], given.sacl.as_ref().map(Acl::bytes)),
        (names[0], given.owner.as_ref().map(Sid::bytes)),
        (names[1], given.group.as_ref().map(Sid::bytes)),
    ];
    let mut fits = load::<u32>(to.1)? as usize >= SECURITY_DESCRIPTOR::SIZE;
    store(to.1, SECURITY_DESCRIPTOR::SIZE as u32)?;
    for ((_, length), bytes) in &parts {
        let size = bytes.as_ref().map_or(0, Vec::len);
        fits &= load::<u32>(*length)? as usize >= size;
        store(*length, size as u32)?;
    }
    if !fits {
        return NtStatus::BUFFER_TOO_SMALL.fail();
    }
    let mut places = [0_u64; 4];
    for (place, ((out, _), bytes)) in places.iter_mut().zip(&parts) {
        if let Some(bytes) = bytes {
            write(*out, bytes)?;
            *place = *out;
        }
    }
    let [dacl, sacl, owner, group] = places;
    let mut whole = vec![SECURITY_DESCRIPTOR_REVISION, 0];
    whole.extend(given.control.to_le_bytes());
    whole.extend([0; 4]);
    for place in [owner, group, sacl, dacl] {
        whole.extend(place.to_le_bytes());
    }
    write(to.0, &whole)
}

fn to_text(string: u64, name: u64, fresh: bool) -> NtResult<()> {
    let text: Vec<u16> = sid(name)?.to_string().encode_utf16().collect();
    span(string, UNICODE_STRING::SIZE).probe_read().map_err(fault)?;
    // SAFETY: the driver passes a UNICODE_STRING, as the header declares (S-3); the line above saw that it can be read.
    let at: Foreign<UNICODE_STRING> = unsafe { Foreign::from_raw(string) }.ok_or(NtStatus::ACCESS_VIOLATION.error())?;
    if fresh {
        at.set_ptr(UNICODE_STRING::Buffer, None); // what it held before is not ours to free
        return nt_rtl::unicode::store_units(at, &text);
    }
    let bytes = nt_rtl::unicode::bytes_of(&text);
    if bytes.len() > usize::from(at.get(UNICODE_STRING::MaximumLength)) {
        return NtStatus::BUFFER_OVERFLOW.fail();
    }
    write(at.addr_at(UNICODE_STRING::Buffer), &bytes)?;
    at.set(UNICODE_STRING::Length, bytes.len() as u16);
    Ok(())
}

exports! { "ntoskrnl.exe" =>
    Full raises RtlValidSid(at: u64) -> u8 { whether(sid(at).map(|_| true)) }
    Full raises RtlLengthSid(at: u64) -> u32 { load::<u8>(at + 1).map_or_else(|error| status(Err(error)), |count| 8 + 4 * u32::from(count)) }
    Full code RtlLengthRequiredSid(count: u32) -> u32 { 8 + 4 * count }
    Full raises RtlInitializeSid(at: u64, authority: u64, count: u8) -> u32 {
        status(if count > SID_MAX_SUB_AUTHORITIES { NtStatus::INVALID_PARAMETER.fail() } else {
            read(authority, 6).and_then(|authority| write(at, &[&[SID_REVISION, count], authority.as_slice()].concat()))
        })
    }
    Full code RtlSubAuthoritySid(at: u64, index: u32) -> u64 { at + 8 + 4 * u64::from(index) }
    Full code RtlSubAuthorityCountSid(at: u64) -> u64 { at + 1 }
    Full code RtlIdentifierAuthoritySid(at: u64) -> u64 { at + 2 }
    Full raises RtlEqualSid(one: u64, other: u64) -> u8 { whether(sid(one).and_then(|one| Ok(one == sid(other)?))) }
    Full raises RtlEqualPrefixSid(one: u64, other: u64) -> u8 { whether(sid(one).and_then(|one| Ok(one.has_prefix_of(&sid(other)?)))) }
    Full raises RtlCopySid(room: u32, to: u64, from: u64) -> u32 {
        status(sid(from).and_then(|sid| if sid.len() > room as usize { NtStatus::BUFFER_TOO_SMALL.fail() } else { write(to, &sid.bytes()) }))
    }
    Full raises RtlConvertSidToUnicodeString(string: u64, name: u64, fresh: u8) -> u32 { status(to_text(string, name, fresh != 0)) }
    Full raises RtlCreateSecurityDescriptor(at: u64, revision: u32) -> u32 {
        let mut whole = [0; SECURITY_DESCRIPTOR::SIZE];
        whole[0] = SECURITY_DESCRIPTOR_REVISION;
        status(if revision == 1 { write(at, &whole) } else { NtStatus::UNKNOWN_REVISION.fail() })
    }
    Full raises RtlSetOwnerSecurityDescriptor(at: u64, name: u64, defaulted: u8) -> u32 {
        let set = if defaulted != 0 { SE_OWNER_DEFAULTED } else { 0 };
        status(set_part(at, SECURITY_DESCRIPTOR::Owner.offset(), name, SE_OWNER_DEFAULTED, set))
    }
    Full raises RtlSetGroupSecurityDescriptor(at: u64, name: u64, defaulted: u8) -> u32 {
        let set = if defaulted != 0 { SE_GROUP_DEFAULTED } else { 0 };
        status(set_part(at, SECURITY_DESCRIPTOR::Group.offset(), name, SE_GROUP_DEFAULTED, set))
    }
    Full raises RtlSetDaclSecurityDescriptor(at: u64, present: u8, list: u64, defaulted: u8) -> u32 {
        let set = if present == 0 { 0 } else { SE_DACL_PRESENT | if defaulted != 0 { SE_DACL_DEFAULTED } else { 0 } };
        let list = if present == 0 { 0 } else { list };
        status(set_part(at, SECURITY_DESCRIPTOR::Dacl.offset(), list, SE_DACL_PRESENT | SE_DACL_DEFAULTED, set))
    }
    Full raises RtlSetSaclSecurityDescriptor(at: u64, present: u8, list: u64, defaulted: u8) -> u32 {
        let set = if present == 0 { 0 } else { SE_SACL_PRESENT | if defaulted != 0 { SE_SACL_DEFAULTED } else { 0 } };
        let list = if present == 0 { 0 } else { list };
        status(set_part(at, SECURITY_DESCRIPTOR::Sacl.offset(), list, SE_SACL_PRESENT | SE_SACL_DEFAULTED, set))
    }
    Full raises RtlGetOwnerSecurityDescriptor(at: u64, out: u64, defaulted: u64) -> u32 { status(get_name(at, 0, SE_OWNER_DEFAULTED, out, defaulted)) }
    Full raises RtlGetGroupSecurityDescriptor(at: u64, out: u64, defaulted: u64) -> u32 { status(get_name(at, 1, SE_GROUP_DEFAULTED, out, defaulted)) }
    Full raises RtlGetDaclSecurityDescriptor(at: u64, present: u64, out: u64, defaulted: u64) -> u32 {
        status(get_list(at, 3, (SE_DACL_PRESENT, SE_DACL_DEFAULTED), present, out, defaulted))
    }
    Full raises RtlGetSaclSecurityDescriptor(at: u64, present: u64, out: u64, defaulted: u64) -> u32 {
        status(get_list(at, 2, (SE_SACL_PRESENT, SE_SACL_DEFAULTED), present, out, defaulted))
    }
    Full raises RtlLengthSecurityDescriptor(at: u64) -> u32 {
        descriptor(at).map_or_else(|error| status(Err(error)), |given| {
            let head = if load::<u16>(at + 2).unwrap_or(0) & SE_SELF_RELATIVE != 0 { 0 } else { SECURITY_DESCRIPTOR::SIZE - SECURITY_DESCRIPTOR_RELATIVE::SIZE };
            (given.bytes().len() + head) as u32
        })
    }
    Full raises RtlValidSecurityDescriptor(at: u64) -> u8 { whether(descriptor(at).map(|_| true)) }
    Full raises RtlValidRelativeSecurityDescriptor(at: u64, length: u32, required: u32) -> u8 {
        whether(read(at, length as usize).and_then(|bytes| Descriptor::parse(&bytes)).map(|given| {
            let lacks = |bit: u32, there: bool| required & bit != 0 && !there;
            !(lacks(OWNER_SECURITY_INFORMATION, given.owner.is_some()) || lacks(GROUP_SECURITY_INFORMATION, given.group.is_some())
                || lacks(DACL_SECURITY_INFORMATION, given.has_dacl()) || lacks(SACL_SECURITY_INFORMATION, given.has_sacl()))
        }))
    }
    Full raises RtlAbsoluteToSelfRelativeSD(from: u64, to: u64, length: u64) -> u32 {
        status(load::<u16>(from + 2).and_then(|control| {
            if control & SE_SELF_RELATIVE != 0 { NtStatus::BAD_DESCRIPTOR_FORMAT.fail() } else { fill(to, length, &descriptor(from)?.bytes()) }
        }))
    }
    Full raises RtlSelfRelativeToAbsoluteSD(from: u64, to: u64, length: u64, dacl: u64, dacl_length: u64, sacl: u64, sacl_length: u64, owner: u64, owner_length: u64, group: u64, group_length: u64) -> u32 {
        status(to_absolute(from, (to, length), [(dacl, dacl_length), (sacl, sacl_length)], [(owner, owner_length), (group, group_length)]))
    }
    Full raises RtlCreateAcl(at: u64, length: u32, revision: u32) -> u32 { status(create_list(at, length, revision)) }
    Full raises RtlValidAcl(at: u64) -> u8 { whether(read_acl(at, &read).map(|_| true)) }
    Full raises RtlAddAccessAllowedAce(at: u64, revision: u32, mask: u32, name: u64) -> u32 { status(add(at, revision, ACCESS_ALLOWED_ACE_TYPE, 0, mask, name)) }
    Full raises RtlAddAccessAllowedAceEx(at: u64, revision: u32, flags: u32, mask: u32, name: u64) -> u32 {
        status(add(at, revision, ACCESS_ALLOWED_ACE_TYPE, flags, mask, name))
    }
    Full raises RtlAddAccessDeniedAce(at: u64, revision: u32, mask: u32, name: u64) -> u32 { status(add(at, revision, ACCESS_DENIED_ACE_TYPE, 0, mask, name)) }
    Full raises RtlAddAccessDeniedAceEx(at: u64, revision: u32, flags: u32, mask: u32, name: u64) -> u32 {
        status(add(at, revision, ACCESS_DENIED_ACE_TYPE, flags, mask, name))
    }
    Full raises RtlAddAce(at: u64, revision: u32, index: u32, entries: u64, length: u32) -> u32 { status(add_list(at, revision, index, entries, length)) }
    Full raises RtlGetAce(at: u64, index: u32, out: u64) -> u32 { status(entry_at(at, index).and_then(|entry| store(out, entry))) }
    Full raises RtlDeleteAce(at: u64, index: u32) -> u32 {
        status(change(at, |list| {
            if index as usize >= list.aces.len() { return NtStatus::INVALID_PARAMETER.fail(); }
            list.aces.remove(index as usize);
            Ok(())
        }))
    }
    Full raises RtlMapGenericMask(mask: u64, map: u64) {
        status(mapping(map).and_then(|map| store(mask, check::map_generic(load(mask)?, &map))));
    }
    Full raises SeValidSecurityDescriptor(length: u32, at: u64) -> u8 {
        whether(read(at, length as usize).and_then(|bytes| Descriptor::parse(&bytes)).map(|_| true))
    }
    Full raises SeQuerySecurityAccessMask(information: u32, out: u64) { status(tell(out, crate::descriptor::access_to_query(information))); }
    Full raises SeSetSecurityAccessMask(information: u32, out: u64) { status(tell(out, crate::descriptor::access_to_set(information))); }
}
