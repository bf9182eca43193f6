//! IRP_MJ_QUERY_VOLUME_INFORMATION.
//!
//! Room: drivers/memfs. IRQL: PASSIVE_LEVEL. Locks: none. Source: FSCC volume classes; rules NT-VOL, NT-VOL-08 (the
//! honest set of attribute flags).

use crate::SECTOR;
use crate::backing::Space;
use crate::node::Volume;
use nt_abi::io::{IO_STACK_LOCATION, IRP};
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::{Fault, Region};
use nt_io::driver::OwnedIrp;
use nt_io::irp::IoStatus;

const CLUSTER: u64 = 4096;
/// Case-sensitive search, case-preserved names, Unicode on disk, reparse points, EAs, hard links, POSIX delete, results of cleanups.
const ATTRIBUTES: u32 = 0x1 | 0x2 | 0x4 | 0x80 | 0x80_0000 | 0x40_0000 | 0x400 | 0x200;

fn bad(_: Fault) -> NtError {
    NtStatus::INVALID_USER_BUFFER.error()
}

pub(crate) fn query(volume: &Volume, irp: &OwnedIrp) -> NtResult<IoStatus> {
    let stack = irp.stack();
    let length = stack.get(IO_STACK_LOCATION::QueryVolume_Length) as usize;
    let out = irp.irp().region_at(IRP::AssociatedIrp_SystemBuffer, length);
    let class = stack.get(IO_STACK_LOCATION::QueryVolume_FsInformationClass);
    let needed = match class {
        1 => 24,
        3 => 24,
        4 => 8,
        5 => 16,
        7 => 32,
        _ => return NtStatus::INVALID_INFO_CLASS.fail(),
    };
    if length < needed {
        return NtStatus::INFO_LENGTH_MISMATCH.fail();
    }
    let space = match class {
        3 | 7 => volume.backing.space()?,
        _ => Space { total: 0, free: 0, available: 0 },
    };
    let (total, free, available) = (space.total / CLUSTER, space.free / CLUSTER, space.available / CLUSTER);
    let used = match class {
        1 => {
            out.store::<i64>(0, volume.created).map_err(bad)?;
            out.store::<u32>(8, crate::node::serial(volume.index)).map_err(bad)?;
            return text(out, 18, 12, "ntio");
        }
        3 => sizes(out, &[total, available])?,
        4 => {
            out.store::<u32>(0, nt_abi::io::FILE_DEVICE_DISK).map_err(bad)?;
            out.store::<u32>(4, 0x20).map_err(bad)?;
            8
        }
        5 => {
            out.store::<u32>(0, ATTRIBUTES).map_err(bad)?;
            out.store::<u32>(4, 255).map_err(bad)?;
            return text(out, 12, 8, "NTFS");
        }
        _ => sizes(out, &[total, available, free])?,
    };
    Ok(IoStatus::new(NtStatus::SUCCESS, used))
}

fn sizes(out: Region, units: &[u64]) -> NtResult<u64> {
    for (at, &value) in units.iter().enumerate() {
        out.store::<u64>(at * 8, value).map_err(bad)?;
    }
    let at = units.len() * 8;
    out.store::<u32>(at, (CLUSTER / u64::from(SECTOR)) as u32).map_err(bad)?;
    out.store::<u32>(at + 4, u32::from(SECTOR)).map_err(bad)?;
    Ok(at as u64 + 8)
}

fn text(out: Region, at: usize, length_at: usize, text: &str) -> NtResult<IoStatus> {
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    out.store::<u32>(length_at, bytes.len() as u32).map_err(bad)?;
    let fits = bytes.len().min(out.len().saturating_sub(at)) & !1;
    out.sub(at.min(out.len()), fits).write_from(&bytes[..fits]).map_err(bad)?;
    let status = if fits < bytes.len() { NtStatus::BUFFER_OVERFLOW } else { NtStatus::SUCCESS };
    Ok(IoStatus::new(status, (at + fits) as u64))
}
