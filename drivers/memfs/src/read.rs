//! IRP_MJ_READ and FastIoRead.
//!
//! Room: drivers/memfs. IRQL: PASSIVE_LEVEL, paging <= APC_LEVEL. Locks: the node's data, shared.
//! Source: nt-io.md, NT-R; rules NT-R-02 to NT-R-06, NT-C-14, NT-K-05.

use crate::node::{FCB, Node, Volume, open_of};
use crate::write::buffer;
use crate::{SECTOR, cached, dasd, lock, set_position};
use nt_abi::io::{
    FILE_OBJECT, FO_CLEANUP_COMPLETE, FO_VOLUME_OPEN, IO_STACK_LOCATION, IRP, IRP_NOCACHE, IRP_PAGING_IO,
};
use nt_abi::mm::{FSRTL_ADVANCED_FCB_HEADER, FastIoIsNotPossible, FastIoIsPossible};
use nt_abi::{NtResult, NtStatus};
use nt_cc::client::FAST_IO_TOP_LEVEL;
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
    let to = buffer(irp, length as usize)?;
    if flags & IRP_PAGING_IO != 0 {
        open.node.way.note_paging_read();
        return Ok(IoStatus::new(NtStatus::SUCCESS, copy(&open.node, start, to)?));
    }
    lock::may_read(&open.node, irp)?; // NT-R-07
    let count = if flags & IRP_NOCACHE != 0 {
        read_noncached(&open.node, start, to)?
    } else {
        cached::read(file, &open.node, start, to)?
    };
    set_position(file, (start + count) as i64);
    Ok(IoStatus::new(NtStatus::SUCCESS, count))
}

/// Reads from the medium what it has, once the cache has written it there (NT-CC-53).
fn read_noncached(node: &Node, start: u64, to: Region) -> NtResult<u64> {
    to.bring_in(true);
    node.refresh_past(start.saturating_add(to.len() as u64))?;
    let _main = node.main.shared()?;
    node.flush_range(start, to.len() as u64)?;
    copy(node, start, to)
}

/// Reads from the medium, up to the end of the file.
pub(crate) fn copy(node: &Node, start: u64, to: Region) -> NtResult<u64> {
    let data = node.data.read();
    if start >= data.eof {
        rule!(NT_R_03);
        return NtStatus::END_OF_FILE.fail();
    }
    let count = (data.eof - start).min(to.len() as u64);
    if count < to.len() as u64 {
        rule!(NT_R_02);
    }
    let to = to.sub(0, count as usize);
    let there = data.content.read(start, to)?;
    // The cache has what moved the end, and the medium gets it later: up to there it is zero. Else somebody else cut it.
    if there < to.len() && node.is_dirty() {
        to.sub(there, to.len() - there).fill(0).map_err(|_| NtStatus::ACCESS_VIOLATION.error())?;
        return Ok(count);
    }
    if there == 0 { NtStatus::END_OF_FILE.fail() } else { Ok(there as u64) }
}

/// FastIoRead.
pub(crate) fn fast_read(call: &FastCall) -> Option<IoStatus> {
    if call.file.addr_at(FILE_OBJECT::PrivateCacheMap) == 0 {
        return None; // as FastIoWrite
    }
    if call.offset < 0 || call.file.get(FILE_OBJECT::Flags) & FO_CLEANUP_COMPLETE != 0 {
        return None;
    }
    if call.length == 0 {
        return Some(IoStatus::new(NtStatus::SUCCESS, 0));
    }
    let fcb = call.file.ptr(FILE_OBJECT::FsContext)?.view::<FCB>();
    let possible = fcb.at(FCB::Header).get(FSRTL_ADVANCED_FCB_HEADER::IsFastIoPossible);
    if possible == FastIoIsPossible
        && fcb.get(FCB::Straight) == 0
        && let Some(Ok(count)) = nt_cc::read_resident(call.file, call.offset as u64, call.buffer)
        && count == u64::from(call.length)
    {
        set_position(call.file, call.offset + count as i64);
        return Some(IoStatus::new(NtStatus::SUCCESS, count));
    }
    if possible == FastIoIsNotPossible {
        lock::tell_again(call.file);
        return None;
    }
    let open = open_of(call.file).ok()?;
    if !lock::may_fast_read(&open.node, call) {
        return None;
    }
    let thread = &nt_ke::current().thread;
    let outer = thread.set_top_level(FAST_IO_TOP_LEVEL);
    let read = cached::read(call.file, &open.node, call.offset as u64, call.buffer);
    thread.set_top_level(outer);
    match read {
        Ok(count) => {
            set_position(call.file, call.offset + count as i64);
            Some(IoStatus::new(NtStatus::SUCCESS, count))
        }
        Err(error) if error.status() == NtStatus::END_OF_FILE => Some(IoStatus::new(NtStatus::END_OF_FILE, 0)),
        Err(_) => None,
    }
}
