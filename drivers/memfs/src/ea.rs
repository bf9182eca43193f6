//! Extended attributes: IRP_MJ_QUERY_EA, IRP_MJ_SET_EA.
//!
//! Room: drivers/memfs. IRQL: PASSIVE_LEVEL. Locks: none. Source: FILE_FULL_EA_INFORMATION; rules NT-EA.
//! Names are kept upper-cased, as NTFS does, except those that the POSIX door encodes to keep their case.

use crate::backing::Attribute;
use crate::node::open_of;
use nt_abi::io::{IO_STACK_LOCATION, IRP};
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::{Fault, Region};
use nt_io::driver::OwnedIrp;
use nt_io::irp::IoStatus;

fn bad(_: Fault) -> NtError {
    NtStatus::INVALID_USER_BUFFER.error()
}

fn entry_size(entry: &Attribute) -> usize {
    8 + entry.0.len() + 1 + entry.1.len()
}

/// EaSize as queries show it.
pub(crate) fn size(eas: &[Attribute]) -> u32 {
    eas.iter().map(|entry| entry_size(entry).next_multiple_of(4) as u32).sum()
}

/// Reads a list of FILE_FULL_EA_INFORMATION records.
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
        if at + 9 + name_length + value_length > list.len() || name_length == 0 {
            return Err(inconsistent());
        }
        let mut name = vec![0; name_length];
        let mut value = vec![0; value_length];
        list.sub(at + 8, name_length).read_to(&mut name).map_err(bad)?;
        list.sub(at + 9 + name_length, value_length).read_to(&mut value).map_err(bad)?;
        name.make_ascii_uppercase();
        entries.push((name, value, flags));
        if next == 0 {
            return Ok(entries);
        }
        if !next.is_multiple_of(4) {
            return Err(inconsistent());
        }
        at += next;
    }
}

pub(crate) fn query(irp: &OwnedIrp) -> NtResult<IoStatus> {
    let file = irp.file().ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let open = open_of(file)?;
    let length = irp.stack().get(IO_STACK_LOCATION::QueryFile_Length) as usize;
    let out = irp.irp().region_at(IRP::AssociatedIrp_SystemBuffer, length);
    let eas = open.node.object.eas()?;
    if eas.is_empty() {
        return NtStatus::NO_EAS_ON_FILE.fail();
    }
    let mut at = 0;
    let mut previous = None;
    for entry in &eas {
        let needed = entry_size(entry);
        if at + needed > length {
            return NtStatus::BUFFER_TOO_SMALL.fail();
        }
        if let Some(previous) = previous {
            out.store::<u32>(previous, (at - previous) as u32).map_err(bad)?;
        }
        out.store::<u32>(at, 0).map_err(bad)?;
        out.store::<u8>(at + 4, entry.2).map_err(bad)?;
        out.store::<u8>(at + 5, entry.0.len() as u8).map_err(bad)?;
        out.store::<u16>(at + 6, entry.1.len() as u16).map_err(bad)?;
        out.sub(at + 8, entry.0.len()).write_from(&entry.0).map_err(bad)?;
        out.store::<u8>(at + 8 + entry.0.len(), 0).map_err(bad)?;
        out.sub(at + 9 + entry.0.len(), entry.1.len()).write_from(&entry.1).map_err(bad)?;
        previous = Some(at);
        at = (at + needed).next_multiple_of(4);
    }
    let used = previous.map_or(0, |last| last + eas.last().map_or(0, entry_size));
    Ok(IoStatus::new(NtStatus::SUCCESS, used as u64))
}

pub(crate) fn set(irp: &OwnedIrp) -> NtResult<IoStatus> {
    let file = irp.file().ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let open = open_of(file)?;
    let length = irp.stack().get(IO_STACK_LOCATION::SetEa_Length) as usize;
    let entries = parse(irp.irp().region_at(IRP::AssociatedIrp_SystemBuffer, length))?;
    open.node.object.set_eas(entries, false)?;
    Ok(IoStatus::new(NtStatus::SUCCESS, 0))
}
