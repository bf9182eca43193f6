//! IRP_MJ_FILE_SYSTEM_CONTROL: reparse points, sparse files, purge-failure mode.
//!
//! Room: drivers/memfs. IRQL: PASSIVE_LEVEL. Locks: the tree. Source: FSCTL_SET_REPARSE_POINT and kin; rules
//! NT-REP. Every other code is INVALID_DEVICE_REQUEST (TW-06); those about oplocks are `oplock`'s.

use crate::fileinfo::bad;
use crate::node::{Node, Open, Volume, open_of};
use crate::{dasd, reparse, sparse};
use nt_abi::io::{
    FILE_OBJECT, FO_FILE_MODIFIED, FSCTL_DELETE_REPARSE_POINT, FSCTL_GET_REPARSE_POINT, FSCTL_QUERY_ALLOCATED_RANGES,
    FSCTL_SET_REPARSE_POINT, FSCTL_SET_REPARSE_POINT_EX, FSCTL_SET_SPARSE, FSCTL_SET_ZERO_DATA, IO_STACK_LOCATION, IRP,
};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use nt_fsrtl::oplock::Control;
use nt_io::driver::OwnedIrp;
use nt_io::irp::IoStatus;
use std::sync::atomic::Ordering;

const FSCTL_SET_PURGE_FAILURE_MODE: u32 = 0x0009_0270;

/// Is it one that the oplocks of the stream answer (`oplock`)?
pub(crate) fn is_about_oplocks(irp: &OwnedIrp) -> bool {
    Control::is_ours(irp.stack().get(IO_STACK_LOCATION::FileSystemControl_FsControlCode))
}

pub(crate) fn control(volume: &Volume, irp: &OwnedIrp) -> NtResult<IoStatus> {
    let stack = irp.stack();
    let file = irp.file().ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let code = stack.get(IO_STACK_LOCATION::DeviceIoControl_IoControlCode);
    if let Some(result) = dasd::control(volume, file, code) {
        return result;
    }
    let open = open_of(file)?;
    let input = stack.get(IO_STACK_LOCATION::DeviceIoControl_InputBufferLength) as usize;
    let output = stack.get(IO_STACK_LOCATION::DeviceIoControl_OutputBufferLength) as usize;
    let region = irp.irp().region_at(IRP::AssociatedIrp_SystemBuffer, input.max(output));
    if let Some(result) = crate::ntfs::control(volume, &open, irp, code) {
        return result;
    }
    match code {
        FSCTL_SET_REPARSE_POINT_EX => reparse::set_ex(volume, &open, region.sub(0, input), irp.from_user()),
        FSCTL_SET_REPARSE_POINT => reparse::set(volume, &open, region.sub(0, input), irp.from_user()),
        FSCTL_GET_REPARSE_POINT => reparse::get(&open, region.sub(0, output)),
        FSCTL_DELETE_REPARSE_POINT => reparse::delete(volume, &open, region.sub(0, input)),
        FSCTL_SET_SPARSE => {
            // Without a buffer it is as TRUE.
            let sparse = input == 0 || region.load::<u8>(0).map_err(bad)? != 0;
            sparse::set(volume, &open, sparse)?;
            Ok(IoStatus::new(NtStatus::SUCCESS, 0))
        }
        FSCTL_SET_ZERO_DATA => {
            if input < 16 {
                return NtStatus::INVALID_PARAMETER.fail();
            }
            let (start, beyond) = (region.load::<i64>(0).map_err(bad)?, region.load::<i64>(8).map_err(bad)?);
            open.keeping_times(|| sparse::set_zero_data(file, &open.node, start, beyond))?;
            file.or32(FILE_OBJECT::Flags, FO_FILE_MODIFIED);
            Ok(IoStatus::new(NtStatus::SUCCESS, 0))
        }
        FSCTL_SET_PURGE_FAILURE_MODE => {
            if irp.from_user() || open.node.is_directory() {
                return NtStatus::INVALID_PARAMETER.fail();
            }
            if input < 4 {
                return NtStatus::BUFFER_TOO_SMALL.fail();
            }
            set_purge_failure_mode(&open.node, region.load::<u32>(0).map_err(bad)?)
        }
        FSCTL_QUERY_ALLOCATED_RANGES => allocated_ranges(&open, irp, input, output),
        _ => NtStatus::INVALID_DEVICE_REQUEST.fail(),
    }
}

/// A count for each who brackets a section by it: enabled (1), disabled (2). For kernel-mode callers (decision).
fn set_purge_failure_mode(node: &Node, flags: u32) -> NtResult<IoStatus> {
    let change = match flags {
        1 => |count: u32| count.checked_add(1),
        2 => |count: u32| count.checked_sub(1),
        _ => return NtStatus::INVALID_PARAMETER.fail(),
    };
    match node.purge_failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change) {
        Ok(_) => Ok(IoStatus::new(NtStatus::SUCCESS, 0)),
        Err(_) => NtStatus::INVALID_PARAMETER.fail(),
    }
}

/// METHOD_NEITHER: the buffers are the caller's, and nobody has looked at them yet.
pub(crate) fn output_of(irp: &OwnedIrp, length: usize) -> NtResult<Region> {
    let region = irp.irp().region_at(IRP::UserBuffer, length);
    if irp.from_user() {
        nt_mm::probe::for_write(region.addr(), region.len() as u64, 1)?;
    }
    Ok(region)
}

fn input_of(irp: &OwnedIrp, length: usize) -> NtResult<Region> {
    let region = irp.stack().region_at(IO_STACK_LOCATION::DeviceIoControl_Type3InputBuffer, length);
    if irp.from_user() {
        nt_mm::probe::for_read(region.addr(), region.len() as u64, 1)?;
    }
    Ok(region)
}

fn allocated_ranges(open: &Open, irp: &OwnedIrp, input: usize, output: usize) -> NtResult<IoStatus> {
    const RANGE: usize = 16;
    if input < RANGE {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let asked = input_of(irp, input)?;
    let (start, length) = (asked.load::<i64>(0).map_err(bad)?, asked.load::<i64>(8).map_err(bad)?);
    let out = output_of(irp, output)?;
    let (mut used, mut more) = (0, false);
    sparse::allocated_ranges(&open.node, start, length, |from, to| {
        more = used + RANGE > output;
        if !more {
            out.store::<u64>(used, from).and_then(|()| out.store::<u64>(used + 8, to - from)).map_err(bad)?;
            used += RANGE;
        }
        Ok(!more)
    })?;
    let status = match (more, used) {
        (true, 0) => return NtStatus::BUFFER_TOO_SMALL.fail(),
        (true, _) => NtStatus::BUFFER_OVERFLOW,
        (false, _) => NtStatus::SUCCESS,
    };
    Ok(IoStatus::new(status, used as u64))
}
