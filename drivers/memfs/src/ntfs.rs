//! Controls that only NTFS has: what filters ask to learn what they stand on.
//!
//! Room: drivers/memfs. Called by: `fsctl`. IRQL: PASSIVE_LEVEL. Locks: none. Source: NTFS_VOLUME_DATA_BUFFER, USN_RECORD_V2,
//! FSCTL_QUERY_USN_JOURNAL, FILE_FS_PERSISTENT_VOLUME_INFORMATION pages; rules NT-VOL-20, NT-NAM-26. There is no master file
//! table and no journal: the former's numbers are made up and hold together, the latter says that it is not active.

use crate::SECTOR;
use crate::node::{Open, Volume, serial};
use nt_abi::io::{IO_STACK_LOCATION, IRP};
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::{Fault, Region};
use nt_io::driver::OwnedIrp;
use nt_io::irp::IoStatus;
use nt_rtl::unicode::bytes_of;
use nt_trace::rule;

const GET_NTFS_VOLUME_DATA: u32 = 0x0009_0064;
const READ_FILE_USN_DATA: u32 = 0x0009_00EB;
const QUERY_USN_JOURNAL: u32 = 0x0009_00F4;
const QUERY_PERSISTENT_VOLUME_STATE: u32 = 0x0009_023C;
const CLUSTER: u64 = 4096;
/// BytesPerFileRecordSegment.
const RECORD: u64 = 1024;

fn bad(_: Fault) -> NtError {
    NtStatus::INVALID_USER_BUFFER.error()
}

/// Answers a control of NTFS' own; `None` for any other.
pub(crate) fn control(volume: &Volume, open: &Open, irp: &OwnedIrp, code: u32) -> Option<NtResult<IoStatus>> {
    let length = irp.stack().get(IO_STACK_LOCATION::DeviceIoControl_OutputBufferLength) as usize;
    Some(match code {
        GET_NTFS_VOLUME_DATA => volume_data(volume, irp.irp().region_at(IRP::AssociatedIrp_SystemBuffer, length)),
        READ_FILE_USN_DATA => crate::fsctl::output_of(irp, length).and_then(|out| usn_record(open, out)),
        QUERY_USN_JOURNAL => NtStatus::JOURNAL_NOT_ACTIVE.fail(),
        QUERY_PERSISTENT_VOLUME_STATE => volume_state(volume, irp),
        _ => return None,
    })
}

/// FILE_FS_PERSISTENT_VOLUME_INFORMATION {VolumeFlags, FlagMask, Version, Reserved} of the flags in FlagMask (NT-NAM-26).
fn volume_state(volume: &Volume, irp: &OwnedIrp) -> NtResult<IoStatus> {
    const SIZE: u32 = 16;
    const VERSION: u32 = 1;
    const SHORT_NAME_CREATION_DISABLED: u32 = 1;
    let stack = irp.stack();
    if stack.get(IO_STACK_LOCATION::DeviceIoControl_InputBufferLength) < SIZE {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if stack.get(IO_STACK_LOCATION::DeviceIoControl_OutputBufferLength) < SIZE {
        return NtStatus::BUFFER_TOO_SMALL.fail();
    }
    let buffer = irp.irp().region_at(IRP::AssociatedIrp_SystemBuffer, SIZE as usize);
    let word = |at| buffer.load::<u32>(at).map_err(bad);
    let (mask, version) = (word(4)?, word(8)?);
    if version != VERSION {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let flags = if volume.mount.shorts.is_on() { 0 } else { SHORT_NAME_CREATION_DISABLED };
    for (at, word) in [flags & mask, mask, VERSION, 0].into_iter().enumerate() {
        buffer.store::<u32>(at * 4, word).map_err(bad)?;
    }
    Ok(IoStatus::new(NtStatus::SUCCESS, u64::from(SIZE)))
}

/// NTFS_VOLUME_DATA_BUFFER.
fn volume_data(volume: &Volume, out: Region) -> NtResult<IoStatus> {
    const SIZE: usize = 0x60;
    rule!(NT_VOL_20);
    if out.len() < SIZE {
        return NtStatus::BUFFER_TOO_SMALL.fail();
    }
    let space = volume.backing.space()?;
    let clusters = space.total / CLUSTER;
    // The table lies where a format puts it, its mirror in the middle, its zone is an eighth of the volume.
    let (table, mirror) = ((786_432).min(clusters / 4), clusters / 2);
    let sectors = space.total / u64::from(SECTOR);
    for (at, value) in [
        (0x00, u64::from(serial(volume.index))),
        (0x08, sectors),
        (0x10, clusters),
        (0x18, space.free / CLUSTER),
        (0x20, 0),
        (0x38, 64 * RECORD),
        (0x40, table),
        (0x48, mirror),
        (0x50, table),
        (0x58, table + clusters / 8),
    ] {
        out.store::<u64>(at, value).map_err(bad)?;
    }
    for (at, value) in [(0x28, u32::from(SECTOR)), (0x2C, CLUSTER as u32), (0x30, RECORD as u32), (0x34, 0)] {
        out.store::<u32>(at, value).map_err(bad)?;
    }
    Ok(IoStatus::new(NtStatus::SUCCESS, SIZE as u64))
}

/// USN_RECORD_V2 of a file that no journal knows: Usn, time and reasons are 0.
fn usn_record(open: &Open, out: Region) -> NtResult<IoStatus> {
    const NAME: usize = 0x3C;
    let (parent, name) = match &open.link {
        Some(link) => (link.spot().parent.id(), link.spot().name),
        None => (open.node.id(), vec![u16::from(b'.')]),
    };
    let name = bytes_of(&name);
    let size = (NAME + name.len()).next_multiple_of(8);
    if out.len() < size {
        return NtStatus::BUFFER_TOO_SMALL.fail();
    }
    let out = out.sub(0, size);
    out.fill(0).map_err(bad)?;
    out.store::<u32>(0, size as u32).map_err(bad)?;
    out.store::<u16>(4, 2).map_err(bad)?;
    out.store::<u64>(8, open.file().id()).map_err(bad)?;
    out.store::<u64>(0x10, parent).map_err(bad)?;
    out.store::<u32>(0x34, crate::fileinfo::shown(open.file().object.meta()?.attributes)).map_err(bad)?;
    out.store::<u16>(0x38, name.len() as u16).map_err(bad)?;
    out.store::<u16>(0x3A, NAME as u16).map_err(bad)?;
    out.sub(NAME, name.len()).write_from(&name).map_err(bad)?;
    Ok(IoStatus::new(NtStatus::SUCCESS, size as u64))
}
