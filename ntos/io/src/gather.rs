//! `NtWriteFileGather`: one write from pages that lie apart.
//!
//! Room: ntos/io. IRQL: PASSIVE_LEVEL. Locks: none. Source: WriteFileGather page; rule NT-N-12.
//! The pages are gathered into one block that goes with the packet: drivers get an MDL of it, as they get one of the
//! caller's pages on Windows.

use crate::service::{self, Caller, violation};
use nt_abi::io::{
    FILE_APPEND_DATA, FILE_OBJECT, FILE_WRITE_DATA, FO_NO_INTERMEDIATE_BUFFERING, FO_SYNCHRONOUS_IO, IO_STACK_LOCATION,
    IRP, IRP_MJ_WRITE, IRP_NOCACHE, IRP_WRITE_OPERATION,
};
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::{Addr, Region};
use nt_ex::pool;
use nt_ke::{Frame, Mode};

/// A segment: what one element of the array points at.
pub const PAGE: u32 = 4096;

/// The arguments.
#[derive(Clone, Copy, Debug)]
pub struct GatherArguments {
    /// FileHandle, Event, APC, status block.
    pub caller: Caller,
    /// SegmentArray: addresses of pages, 8 bytes each.
    pub segments: Addr,
    /// Length: of all pages together.
    pub length: u32,
    /// ByteOffset.
    pub byte_offset: Addr,
    /// Key.
    pub key: Addr,
}

/// NtWriteFileGather.
#[must_use]
pub fn nt_write_file_gather(frame: &Frame, args: &GatherArguments) -> NtStatus {
    frame.service(|| gather(frame, args).unwrap_or_else(NtError::status))
}

fn gather(frame: &Frame, args: &GatherArguments) -> NtResult<NtStatus> {
    let kernel = frame.mode() == Mode::Kernel;
    let opened = service::open(frame, args.caller.handle, FILE_WRITE_DATA | FILE_APPEND_DATA)?;
    let flags = opened.file.get(FILE_OBJECT::Flags);
    if flags & FO_SYNCHRONOUS_IO != 0 || flags & FO_NO_INTERMEDIATE_BUFFERING == 0 {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if args.length == 0 || !args.length.is_multiple_of(PAGE) {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    service::probe(frame, args.caller.iosb, args.caller.iosb, 16)?;
    let offset = match args.byte_offset.value() {
        0 => return NtStatus::INVALID_PARAMETER.fail(),
        _ => args.byte_offset.load::<i64>(kernel).map_err(violation)?,
    };
    if offset < -1 {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let key = match args.key.value() {
        0 => 0,
        _ => args.key.load(kernel).map_err(violation)?,
    };
    let pages = args.length / PAGE;
    let array = args.segments.region(pages as usize * 8, kernel).map_err(violation)?;
    service::send(frame, &args.caller, opened, IRP_MJ_WRITE, args.length, |packet, stack| {
        let block = pool::allocate(args.length as usize, pool::tag(b"IoGa"), pool::PoolKind::NonPaged);
        let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
        packet.set_ptr(IRP::Tail_AuxiliaryBuffer, Some(block)); // freed with the packet
        let whole = Region::pool(block, args.length as usize);
        let filled = (0..pages as usize).try_for_each(|page| {
            let address = array.load::<u64>(page * 8).map_err(violation)?;
            if !address.is_multiple_of(u64::from(PAGE)) {
                return NtStatus::INVALID_PARAMETER.fail();
            }
            let from = Addr::user(address).region(PAGE as usize, false).map_err(violation)?;
            whole.sub(page * PAGE as usize, PAGE as usize).copy_from(from).map_err(violation)
        });
        let mdl = filled.and_then(|()| nt_mm::mdl::for_pool(block, args.length)).inspect_err(|_| {
            packet.set_ptr(IRP::Tail_AuxiliaryBuffer, None::<nt_cell::Foreign<nt_abi::Bytes>>);
            pool::free(block);
        })?;
        packet.set_ptr(IRP::MdlAddress, Some(mdl));
        packet.or32(IRP::Flags, IRP_NOCACHE | IRP_WRITE_OPERATION);
        stack.set(IO_STACK_LOCATION::Write_Length, args.length);
        stack.set(IO_STACK_LOCATION::Write_Key, key);
        stack.set(IO_STACK_LOCATION::Write_ByteOffset, offset);
        Ok(())
    })
}
