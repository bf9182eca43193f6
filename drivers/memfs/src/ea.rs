//! Extended attributes: IRP_MJ_QUERY_EA, IRP_MJ_SET_EA.
//!
//! Room: drivers/memfs. IRQL: PASSIVE_LEVEL. Locks: the open's cursor. Source: FILE_FULL_EA_INFORMATION; rules NT-EA.
//! Names are kept upper-cased, as NTFS does; those that the POSIX door encodes keep their case in another way.

use crate::backing::Attribute;
use crate::fileinfo::bad;
use crate::node::{Node, open_of};
use nt_abi::io::{
    FILE_NOTIFY_CHANGE_EA, IO_STACK_LOCATION, IRP, SL_INDEX_SPECIFIED, SL_RESTART_SCAN, SL_RETURN_SINGLE_ENTRY,
};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use nt_io::driver::OwnedIrp;
use nt_io::irp::IoStatus;
use std::sync::atomic::Ordering;

/// FILE_NEED_EA.
const NEED: u8 = 0x80;
/// What only kernel code may set.
const KERNEL: &[u8] = b"$KERNEL.";
/// The packed size that a file's attributes may have (NT-EA-15).
pub(crate) const MOST: u32 = 0xFFFB;

/// Where a scan of an open stands, and how often the attributes had been set then (NT-EA-26).
#[derive(Clone, Copy, Default)]
pub(crate) struct Cursor {
    at: usize,
    seen: u32,
}

fn entry_size(entry: &Attribute) -> usize {
    8 + entry.0.len() + 1 + entry.1.len()
}

/// EaSize as queries show it: the packed size (NT-EA-16).
pub(crate) fn size(eas: &[Attribute]) -> u32 {
    let packed: usize = eas.iter().map(|entry| 5 + entry.0.len() + entry.1.len()).sum();
    if eas.is_empty() { 0 } else { 4 + packed as u32 }
}

/// NT-EA-12.
fn is_legal(name: &[u8]) -> bool {
    let illegal = |byte: &u8| *byte < 0x20 || b"\\/:*?\"<>|,+=[];".contains(byte);
    (1..=254).contains(&name.len()) && !name.iter().any(illegal)
}

/// Reads a list of FILE_FULL_EA_INFORMATION records, that the I/O manager or IoCheckEaBufferValidity passed.
pub(crate) fn parse(list: Region) -> NtResult<Vec<Attribute>> {
    let inconsistent = || NtStatus::EA_LIST_INCONSISTENT.error();
    let mut entries = Vec::new();
    let mut at = 0;
    loop {
        if at + 9 > list.len() {
            return Err(inconsistent());
        }
        let next = list.load::<u32>(at).map_err(bad)? as usize;
        let flags = list.load::<u8>(at + 4).map_err(bad)?;
        let name_length = usize::from(list.load::<u8>(at + 5).map_err(bad)?);
        let value_length = usize::from(list.load::<u16>(at + 6).map_err(bad)?);
        if at + 9 + name_length + value_length > list.len() {
            return Err(inconsistent());
        }
        let mut name = vec![0; name_length];
        let mut value = vec![0; value_length];
        list.sub(at + 8, name_length).read_to(&mut name).map_err(bad)?;
        list.sub(at + 9 + name_length, value_length).read_to(&mut value).map_err(bad)?;
        if !is_legal(&name) || flags & !NEED != 0 {
            return NtStatus::INVALID_EA_NAME.fail(); // NT-EA-14: nothing of the call is applied
        }
        name.make_ascii_uppercase(); // NT-EA-11
        entries.push((name, value, flags));
        if next == 0 {
            return Ok(entries);
        }
        at += next;
    }
}

/// An open by a program that knows nothing of EAs, of a file whose EAs must be known (NT-EA-17).
pub(crate) fn must_be_known(node: &Node) -> NtResult<bool> {
    Ok(node.object.eas()?.iter().any(|entry| entry.2 & NEED != 0))
}

/// The names that a FILE_GET_EA_INFORMATION list asks for, each once (NT-EA-08).
fn asked(list: Region) -> NtResult<Vec<Vec<u8>>> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut at = 0;
    loop {
        let next = list.load::<u32>(at).map_err(bad)? as usize;
        let length = usize::from(list.load::<u8>(at + 4).map_err(bad)?);
        let mut name = list.sub(at + 5, length).to_vec().map_err(bad)?;
        if !is_legal(&name) {
            return NtStatus::INVALID_EA_NAME.fail(); // NT-EA-10
        }
        name.make_ascii_uppercase();
        if !names.contains(&name) {
            names.push(name);
        }
        if next == 0 {
            return Ok(names);
        }
        at += next;
    }
}

pub(crate) fn query(irp: &OwnedIrp) -> NtResult<IoStatus> {
    let file = irp.file().ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let stack = irp.stack();
    let open = open_of(file)?;
    let length = stack.get(IO_STACK_LOCATION::QueryEa_Length) as usize;
    let out = irp.irp().region_at(IRP::AssociatedIrp_SystemBuffer, length);
    let eas = open.node.object.eas()?;
    if eas.is_empty() {
        return NtStatus::NO_EAS_ON_FILE.fail(); // NT-EA-01
    }
    let list_length = stack.get(IO_STACK_LOCATION::QueryEa_EaListLength) as usize;
    if list_length != 0 {
        let find = |name: Vec<u8>| eas.iter().find(|ea| ea.0 == name).cloned().unwrap_or((name, Vec::new(), 0));
        let wanted: Vec<_> =
            asked(stack.region_at(IO_STACK_LOCATION::QueryEa_EaList, list_length))?.into_iter().map(find).collect();
        let (used, count) = fill(out, &wanted, false)?;
        let whole = count == wanted.len();
        let status = if whole { NtStatus::SUCCESS } else { NtStatus::BUFFER_OVERFLOW }; // NT-EA-09
        return Ok(IoStatus::new(status, used as u64));
    }
    let flags = stack.get(IO_STACK_LOCATION::Flags);
    let mut cursor = open.ea.lock();
    let changes = open.file().ea_changes.load(Ordering::Relaxed);
    if flags & SL_INDEX_SPECIFIED != 0 {
        // NT-EA-07
        match stack.get(IO_STACK_LOCATION::QueryEa_EaIndex) as usize {
            index if (1..=eas.len()).contains(&index) => *cursor = Cursor { at: index - 1, seen: changes },
            index if index == eas.len() + 1 => return Ok(IoStatus::new(NtStatus::NO_MORE_EAS, 0)),
            _ => return NtStatus::NONEXISTENT_EA_ENTRY.fail(),
        }
    } else if flags & SL_RESTART_SCAN != 0 || cursor.at == 0 {
        *cursor = Cursor { at: 0, seen: changes };
    } else if cursor.seen != changes {
        return NtStatus::EA_CORRUPT_ERROR.fail(); // NT-EA-26
    }
    let rest = eas.get(cursor.at..).unwrap_or(&[]);
    if rest.is_empty() {
        return Ok(IoStatus::new(NtStatus::NO_MORE_EAS, 0)); // NT-EA-04
    }
    let single = flags & SL_RETURN_SINGLE_ENTRY != 0;
    let (used, count) = fill(out, rest, single)?;
    cursor.at += count;
    if count == 0 {
        return NtStatus::BUFFER_TOO_SMALL.fail(); // NT-EA-06
    }
    let cut = !single && count < rest.len();
    Ok(IoStatus::new(if cut { NtStatus::BUFFER_OVERFLOW } else { NtStatus::SUCCESS }, used as u64))
}

/// Writes the records that fit whole; returns the bytes and how many.
fn fill(out: Region, eas: &[Attribute], single: bool) -> NtResult<(usize, usize)> {
    let (mut used, mut last, mut count) = (0_usize, None, 0);
    for entry in eas {
        let at = used.next_multiple_of(4);
        if at + entry_size(entry) > out.len() || (single && count == 1) {
            break;
        }
        if let Some(last) = last {
            out.store::<u32>(last, (at - last) as u32).map_err(bad)?;
        }
        out.store::<u32>(at, 0).map_err(bad)?;
        out.store::<u8>(at + 4, entry.2).map_err(bad)?;
        out.store::<u8>(at + 5, entry.0.len() as u8).map_err(bad)?;
        out.store::<u16>(at + 6, entry.1.len() as u16).map_err(bad)?;
        out.sub(at + 8, entry.0.len()).write_from(&entry.0).map_err(bad)?;
        out.store::<u8>(at + 8 + entry.0.len(), 0).map_err(bad)?;
        out.sub(at + 9 + entry.0.len(), entry.1.len()).write_from(&entry.1).map_err(bad)?;
        (last, used, count) = (Some(at), at + entry_size(entry), count + 1);
    }
    Ok((used, count))
}

pub(crate) fn set(irp: &OwnedIrp) -> NtResult<IoStatus> {
    let file = irp.file().ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let open = open_of(file)?;
    let length = irp.stack().get(IO_STACK_LOCATION::SetEa_Length) as usize;
    let mut entries = parse(irp.irp().region_at(IRP::AssociatedIrp_SystemBuffer, length))?;
    if irp.from_user() {
        entries.retain(|entry| !entry.0.starts_with(KERNEL)); // NT-EA-23: silently
    }
    open.node.object.set_eas(entries, false)?;
    open.file().ea_changes.fetch_add(1, Ordering::Relaxed);
    crate::notice::modified(&open, FILE_NOTIFY_CHANGE_EA);
    Ok(IoStatus::new(NtStatus::SUCCESS, 0))
}
