//! IRP_MJ_READ and FastIoRead.
//!
//! Room: drivers/memfs. IRQL: PASSIVE_LEVEL, paging <= APC_LEVEL. Locks: the node's data, shared.
//! Source: nt-io.md, NT-R; rules NT-R-02 to NT-R-06, NT-C-14, NT-K-05.

use crate::node::{Open, Volume, open_of};
use crate::write::{buffer, start_caching};
use crate::{SECTOR, dasd, lock, set_position};
use nt_abi::io::{
    FILE_OBJECT, FO_CLEANUP_COMPLETE, FO_VOLUME_OPEN, IO_STACK_LOCATION, IRP, IRP_NOCACHE, IRP_PAGING_IO,
};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use nt_io::driver::{FastCall, OwnedIrp};
use nt_io::irp::IoStatus;
use nt_trace::rule;
use std::sync::Weak;

pub(crate) fn read(volume: &Weak<Volume>, irp: &OwnedIrp) -> NtResult<IoStatus> {
    let stack = irp.stack();
    let file = irp.file().ok_or(NtStatus::INVALID_DEVICE_REQUEST.error())?;
    let flags = irp.irp().get(IRP::Flags);
    let length = stack.get(IO_STACK_LOCATION::Read_Length);
    let offset = stack.get(IO_STACK_LOCATION::Read_ByteOffset);
    if file.get(FILE_OBJECT::Flags) & FO_VOLUME_OPEN != 0 {
        return dasd::read(&*crate::mounted(volume)?, irp, file);
    }
    let open = open_of(file)?;
    if open.node.is_directory() {
        return NtStatus::INVALID_DEVICE_REQUEST.fail();
    }
    if length == 0 {
        rule!(NT_R_03);
        return Ok(IoStatus::new(NtStatus::SUCCESS, 0));
    }
    let start = u64::try_from(offset).map_err(|_| NtStatus::INVALID_PARAMETER.error())?;
    if flags & IRP_NOCACHE != 0
        && flags & IRP_PAGING_IO == 0
        && (start % u64::from(SECTOR) != 0 || !length.is_multiple_of(u32::from(SECTOR)))
    {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if flags & (IRP_NOCACHE | IRP_PAGING_IO) == 0 {
        start_caching(file, &open.node)?;
    }
    if flags & IRP_PAGING_IO == 0 {
        lock::may_read(&open.node, irp)?; // NT-R-07
    }
    let count = copy(&open, start, buffer(irp, length as usize)?)?;
    if flags & IRP_PAGING_IO == 0 {
        set_position(file, (start + count) as i64);
    }
    Ok(IoStatus::new(NtStatus::SUCCESS, count))
}

fn copy(open: &Open, start: u64, to: Region) -> NtResult<u64> {
    let mut data = open.node.data.read();
    if start.saturating_add(to.len() as u64) > data.eof {
        // Past the end that we know: where others change the file there may be more by now.
        drop(data);
        open.node.refresh()?;
        data = open.node.data.read();
    }
    if start >= data.eof {
        rule!(NT_R_03);
        return NtStatus::END_OF_FILE.fail();
    }
    let count = (data.eof - start).min(to.len() as u64);
    if count < to.len() as u64 {
        rule!(NT_R_02);
    }
    match data.content.read(start, to.sub(0, count as usize))? {
        0 if count != 0 => NtStatus::END_OF_FILE.fail(),
        count => Ok(count as u64),
    }
}

/// FastIoRead.
pub(crate) fn fast_read(call: &FastCall) -> Option<IoStatus> {
    if call.file.addr_at(FILE_OBJECT::PrivateCacheMap) == 0 {
        return None; // as FastIoWrite
    }
    let open = open_of(call.file).ok()?;
    if open.node.is_directory() || call.offset < 0 || call.file.get(FILE_OBJECT::Flags) & FO_CLEANUP_COMPLETE != 0 {
        return None;
    }
    if call.length == 0 {
        return Some(IoStatus::new(NtStatus::SUCCESS, 0));
    }
    if !lock::may_fast_read(&open.node, call) {
        return None;
    }
    match copy(&open, call.offset as u64, call.buffer) {
        Ok(count) => {
            set_position(call.file, call.offset + count as i64);
            Some(IoStatus::new(NtStatus::SUCCESS, count))
        }
        Err(error) if error.status() == NtStatus::END_OF_FILE => Some(IoStatus::new(NtStatus::END_OF_FILE, 0)),
        Err(_) => None,
    }
}
