//! IRP_MJ_QUERY_VOLUME_INFORMATION and IRP_MJ_SET_VOLUME_INFORMATION.
//!
//! Room: drivers/memfs. IRQL: PASSIVE_LEVEL. Locks: the label's. Source: FSCC volume classes; rules NT-VOL. NT-VOL-08 is
//! the honest set of attribute flags.

use crate::SECTOR;
use crate::fileinfo::bad;
use crate::node::{Volume, open_of, serial};
use nt_abi::io::{DEVICE_OBJECT, FILE_OBJECT, FILE_SUPPORTS_SPARSE_FILES, FO_VOLUME_OPEN, IO_STACK_LOCATION, IRP, VPB};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use nt_io::device::Device;
use nt_io::driver::OwnedIrp;
use nt_io::info::volume_class as class;
use nt_io::irp::IoStatus;
use std::sync::Arc;

const CLUSTER: u64 = 4096;
/// Case-sensitive search, case-preserved names, Unicode on disk, persistent ACLs, reparse points, results of cleanups, POSIX
/// unlink and rename, named streams, hard links, EAs, open by file id (NT-VOL-08). FILE_SUPPORTS_SPARSE_FILES where it is so.
const ATTRIBUTES: u32 = 0x1 | 0x2 | 0x4 | 0x8 | 0x80 | 0x200 | 0x400 | 0x4_0000 | 0x40_0000 | 0x80_0000 | 0x100_0000;
/// As the volume's attributes tell it.
const FILE_READ_ONLY_VOLUME: u32 = 0x8_0000;
/// Units of a label.
const LONGEST_LABEL: usize = 32;

pub(crate) fn query(volume: &Volume, irp: &OwnedIrp) -> NtResult<IoStatus> {
    let stack = irp.stack();
    let length = stack.get(IO_STACK_LOCATION::QueryVolume_Length) as usize;
    let out = irp.irp().region_at(IRP::AssociatedIrp_SystemBuffer, length);
    let class = stack.get(IO_STACK_LOCATION::QueryVolume_FsInformationClass);
    let used = match class {
        class::VOLUME => {
            out.store::<i64>(0, volume.created).map_err(bad)?;
            out.store::<u32>(8, serial(volume.index)).map_err(bad)?;
            out.store::<u8>(16, 1).map_err(bad)?; // SupportsObjects
            return text(out, 18, 12, &volume.label.lock());
        }
        class::SIZE => {
            let space = volume.backing.space()?;
            sizes(out, &[space.total, space.available])?
        }
        class::FULL_SIZE => {
            let space = volume.backing.space()?;
            sizes(out, &[space.total, space.available, space.free])?
        }
        class::FULL_SIZE_EX => full_size_ex(volume, out)?,
        class::ATTRIBUTE => {
            let sparse = if volume.backing.keeps_holes() { FILE_SUPPORTS_SPARSE_FILES } else { 0 };
            let protected = if volume.mount.is_protected() { FILE_READ_ONLY_VOLUME } else { 0 };
            out.store::<u32>(0, ATTRIBUTES | sparse | protected).map_err(bad)?;
            out.store::<u32>(4, 255).map_err(bad)?;
            return text(out, 12, 8, &"NTFS".encode_utf16().collect::<Vec<u16>>());
        }
        class::CONTROL => {
            // NT-VOL-14: no quotas, every threshold and limit off.
            out.sub(0, 48).fill(0).map_err(bad)?;
            for at in [24, 32] {
                out.store::<i64>(at, -1).map_err(bad)?;
            }
            48
        }
        class::OBJECT_ID => {
            let id = volume.backing.object_id().ok_or(NtStatus::OBJECTID_NOT_FOUND.error())?; // NT-VOL-13
            out.sub(0, 64).fill(0).and_then(|()| out.sub(0, 16).write_from(&id)).map_err(bad)?;
            64
        }
        class::SECTOR_SIZE => {
            for (at, word) in [u32::from(SECTOR), 4096, 4096, 4096, 1 | 2, 0, 0].into_iter().enumerate() {
                out.store::<u32>(at * 4, word).map_err(bad)?;
            }
            28
        }
        _ => return NtStatus::INVALID_PARAMETER.fail(),
    };
    Ok(IoStatus::new(NtStatus::SUCCESS, used))
}

fn sizes(out: Region, bytes: &[u64]) -> NtResult<u64> {
    for (at, &value) in bytes.iter().enumerate() {
        out.store::<u64>(at * 8, value / CLUSTER).map_err(bad)?;
    }
    let at = bytes.len() * 8;
    out.store::<u32>(at, (CLUSTER / u64::from(SECTOR)) as u32).map_err(bad)?;
    out.store::<u32>(at + 4, u32::from(SECTOR)).map_err(bad)?;
    Ok(at as u64 + 8)
}

/// FILE_FS_FULL_SIZE_INFORMATION_EX: total, available, pool, used, reserved; as they are and as the caller sees them.
fn full_size_ex(volume: &Volume, out: Region) -> NtResult<u64> {
    let space = volume.backing.space()?;
    let (total, free) = (space.total / CLUSTER, space.free / CLUSTER);
    let available = (space.available / CLUSTER).min(free);
    let used = total - free;
    // Actual and as the caller sees it {total, available, pool}, used, reserved, and three figures of storage spaces.
    let words = [total, free, 0, available + used, available, 0, used, 0, 0, 0, 0];
    for (at, word) in words.into_iter().enumerate() {
        out.store::<u64>(at * 8, word).map_err(bad)?;
    }
    out.store::<u32>(88, (CLUSTER / u64::from(SECTOR)) as u32).map_err(bad)?;
    out.store::<u32>(92, u32::from(SECTOR)).map_err(bad)?;
    Ok(96)
}

/// A counted text; BUFFER_OVERFLOW with what fits when it does not fit.
pub(crate) fn text(out: Region, at: usize, length_at: usize, text: &[u16]) -> NtResult<IoStatus> {
    let bytes = nt_rtl::unicode::bytes_of(text);
    out.store::<u32>(length_at, bytes.len() as u32).map_err(bad)?;
    let fits = bytes.len().min(out.len().saturating_sub(at)) & !1;
    out.sub(at.min(out.len()), fits).write_from(&bytes[..fits]).map_err(bad)?;
    let status = if fits < bytes.len() { NtStatus::BUFFER_OVERFLOW } else { NtStatus::SUCCESS };
    Ok(IoStatus::new(status, (at + fits) as u64))
}

/// The label (NT-VOL-16, NT-VOL-17); the VPB shows it too.
pub(crate) fn set(volume: &Volume, device: Device, irp: &OwnedIrp) -> NtResult<IoStatus> {
    let stack = irp.stack();
    let file = irp.file().ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let open = open_of(file)?;
    if stack.get(IO_STACK_LOCATION::SetVolume_FsInformationClass) != class::LABEL {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let on_the_volume = file.get(FILE_OBJECT::Flags) & FO_VOLUME_OPEN != 0 || Arc::ptr_eq(&open.node, &volume.root);
    if !on_the_volume {
        return NtStatus::ACCESS_DENIED.fail();
    }
    let length = stack.get(IO_STACK_LOCATION::SetVolume_Length) as usize;
    let input = irp.irp().region_at(IRP::AssociatedIrp_SystemBuffer, length);
    let bytes = input.load::<u32>(0).map_err(bad)? as usize;
    if bytes > length - 4 || !bytes.is_multiple_of(2) || bytes / 2 > LONGEST_LABEL {
        return NtStatus::INVALID_VOLUME_LABEL.fail();
    }
    let raw = input.sub(4, bytes).to_vec().map_err(bad)?;
    *volume.label.lock() = nt_rtl::unicode::units_of(&raw);
    if let Some(vpb) = device.ptr(DEVICE_OBJECT::Vpb) {
        vpb.set(VPB::VolumeLabelLength, bytes as u16);
        vpb.region().sub(VPB::VolumeLabel.offset(), bytes).write_from(&raw).map_err(bad)?;
    }
    Ok(IoStatus::new(NtStatus::SUCCESS, 0))
}
