//! `NtQueryEaFile`, `NtSetEaFile`, and the check of an EA buffer.
//!
//! Room: ntos/io. IRQL: PASSIVE_LEVEL. Locks: the file object's, for synchronous files.
//! Source: ZwQueryEaFile, ZwSetEaFile, IoCheckEaBufferValidity pages; rules NT-EA. The cursor is the file system's.

use crate::info::{Exchanged, exchange, system_buffer};
use crate::irp::IoStatus;
use crate::service::{self, Opened, violation};
use crate::{file, observe};
use nt_abi::io::{
    FILE_READ_EA, FILE_WRITE_EA, IO_STACK_LOCATION, IRP_MJ_QUERY_EA, IRP_MJ_SET_EA, SL_INDEX_SPECIFIED,
    SL_RESTART_SCAN, SL_RETURN_SINGLE_ENTRY,
};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Addr;
use nt_ex::pool::Scratch;
use nt_ke::{Frame, Mode};
use nt_ob::Handle;

/// The arguments of a query.
#[derive(Clone, Debug)]
pub struct EaArguments {
    /// FileHandle.
    pub handle: Handle,
    /// IoStatusBlock.
    pub iosb: Addr,
    /// Buffer.
    pub buffer: Addr,
    /// Length.
    pub length: u32,
    /// ReturnSingleEntry.
    pub single: bool,
    /// EaList: FILE_GET_EA_INFORMATION records.
    pub list: Option<Vec<u8>>,
    /// EaIndex.
    pub index: Option<u32>,
    /// RestartScan.
    pub restart: bool,
}

/// IoCheckEaBufferValidity: the offset of the first bad FILE_FULL_EA_INFORMATION record.
pub fn check_full(list: &[u8]) -> Result<(), u32> {
    check(list, |record| {
        let name = usize::from(*record.get(5)?);
        let value = usize::from(u16::from_le_bytes([*record.get(6)?, *record.get(7)?]));
        let size = 9 + name + value;
        (record.len() >= size && record[8 + name] == 0).then_some(size)
    })
}

/// As [`check_full`], for FILE_GET_EA_INFORMATION records.
fn check_get(list: &[u8]) -> Result<(), u32> {
    check(list, |record| {
        let size = 6 + usize::from(*record.get(4)?);
        (record.get(size - 1) == Some(&0)).then_some(size)
    })
}

/// Walks records by their NextEntryOffset; `size_of` tells the bytes of a good one, `None` for a bad one.
fn check(list: &[u8], size_of: impl Fn(&[u8]) -> Option<usize>) -> Result<(), u32> {
    let mut at = 0_usize;
    loop {
        let bad = at as u32;
        let record = list.get(at..).ok_or(bad)?;
        let size = size_of(record).ok_or(bad)?;
        let next = u32::from_le_bytes([record[0], record[1], record[2], record[3]]) as usize;
        if next == 0 {
            return Ok(());
        }
        if !next.is_multiple_of(4) || next < size {
            return Err(bad);
        }
        at += next;
    }
}

/// NtQueryEaFile.
#[must_use]
pub fn nt_query_ea_file(frame: &Frame, args: &EaArguments) -> NtStatus {
    observe::service(frame, "NtQueryEaFile", IRP_MJ_QUERY_EA, args.handle, || query(frame, args))
}

fn query(frame: &Frame, args: &EaArguments) -> NtResult<NtStatus> {
    service::probe(frame, args.iosb, args.buffer, args.length)?;
    let opened = service::open(frame, args.handle, FILE_READ_EA)?;
    let list = match &args.list {
        None => None,
        Some(list) => {
            if let Err(at) = check_get(list) {
                return tell(frame, args.iosb, IoStatus::new(NtStatus::EA_LIST_INCONSISTENT, u64::from(at)));
            }
            let block = system_buffer(list.len())?;
            block.region().write_from(list).map_err(violation)?;
            Some((block, list.len() as u32))
        }
    };
    let bit = |set: bool, flag: u8| if set { flag } else { 0 };
    let flags = bit(args.restart, SL_RESTART_SCAN)
        | bit(args.single, SL_RETURN_SINGLE_ENTRY)
        | bit(args.index.is_some(), SL_INDEX_SPECIFIED);
    let buffer = system_buffer(args.length as usize)?;
    let end = send(frame, &opened, IRP_MJ_QUERY_EA, &buffer, args.length, |stack| {
        stack.set(IO_STACK_LOCATION::Flags, flags);
        stack.set(IO_STACK_LOCATION::QueryEa_EaIndex, args.index.unwrap_or(0));
        stack.set(IO_STACK_LOCATION::QueryEa_EaListLength, list.as_ref().map_or(0, |(_, length)| *length));
        stack.set_ptr(IO_STACK_LOCATION::QueryEa_EaList, list.as_ref().map(|(block, _)| block.block()));
    });
    let out = args.buffer.region(args.length as usize, frame.mode() == Mode::Kernel).map_err(violation)?;
    if end.result.status == NtStatus::NO_EAS_ON_FILE {
        out.fill(0).map_err(violation)?; // NT-EA-01
    }
    if end.result.status.is_error() {
        return late(frame, args.iosb, &opened, end);
    }
    let length = (end.result.information as usize).min(args.length as usize);
    out.sub(0, length).copy_from(buffer.region().sub(0, length)).map_err(violation)?;
    tell(frame, args.iosb, end.result)
}

/// NtSetEaFile.
#[must_use]
pub fn nt_set_ea_file(frame: &Frame, handle: Handle, iosb: Addr, buffer: Addr, length: u32) -> NtStatus {
    observe::service(frame, "NtSetEaFile", IRP_MJ_SET_EA, handle, || set(frame, handle, iosb, buffer, length))
}

fn set(frame: &Frame, handle: Handle, iosb: Addr, buffer: Addr, length: u32) -> NtResult<NtStatus> {
    let kernel = frame.mode() == Mode::Kernel;
    let list = buffer.region(length as usize, kernel).and_then(nt_cell::Region::to_vec).map_err(violation)?;
    if !kernel {
        service::probe_block(iosb)?;
    }
    let opened = service::open(frame, handle, FILE_WRITE_EA)?;
    if let Err(at) = check_full(&list) {
        return tell(frame, iosb, IoStatus::new(NtStatus::EA_LIST_INCONSISTENT, u64::from(at)));
    }
    let block = system_buffer(list.len())?;
    block.region().write_from(&list).map_err(violation)?;
    let end = send(frame, &opened, IRP_MJ_SET_EA, &block, length, |_| {});
    if end.result.status.is_error() {
        return late(frame, iosb, &opened, end);
    }
    tell(frame, iosb, end.result)
}

fn send(
    frame: &Frame,
    opened: &Opened,
    major: u8,
    buffer: &Scratch,
    length: u32,
    fill: impl FnOnce(crate::irp::Stack),
) -> Exchanged {
    let synchronous = file::is_synchronous(*opened.file);
    let _lock = if synchronous { file::lock(frame, *opened.file).ok() } else { None };
    exchange(frame, *opened.file, opened.top, major, 0, buffer.block(), length, fill)
}

fn tell(frame: &Frame, iosb: Addr, result: IoStatus) -> NtResult<NtStatus> {
    service::store_status(iosb, frame.mode() == Mode::Kernel, result)?;
    Ok(result.status)
}

fn late(frame: &Frame, iosb: Addr, opened: &Opened, end: Exchanged) -> NtResult<NtStatus> {
    if end.pended && !file::is_synchronous(*opened.file) {
        return tell(frame, iosb, end.result);
    }
    Ok(end.result.status)
}
