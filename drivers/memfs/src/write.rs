//! IRP_MJ_WRITE and FastIoWrite.
//!
//! Room: drivers/memfs. IRQL: PASSIVE_LEVEL, paging <= APC_LEVEL. Locks: the node's data, exclusively when sizes move.
//! Source: nt-io.md section 18; rules NT-S-01 to NT-S-20, NT-W-03 to NT-W-09, NT-O-14, NT-O-15, NT-K-07 to NT-K-09.

use crate::node::{Data, Node, Volume, open_of};
use crate::{SECTOR, dasd, lock, set_position};
use nt_abi::io::{
    FILE_OBJECT, FO_CLEANUP_COMPLETE, FO_FILE_MODIFIED, FO_FILE_SIZE_CHANGED, FO_VOLUME_OPEN, FO_WRITE_THROUGH,
    IO_STACK_LOCATION, IRP, IRP_NOCACHE, IRP_PAGING_IO,
};
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Foreign, Region};
use nt_ex::pool;
use nt_io::driver::{FastCall, OwnedIrp};
use nt_io::irp::IoStatus;
use nt_trace::rule;
use std::sync::Weak;

const APPEND: i64 = -1;

nt_abi::layout! {
    /// What FILE_OBJECT.PrivateCacheMap points at: opaque to drivers, who test it against NULL.
    pub struct PRIVATE_CACHE_MAP: 0x20 {
        /// NodeTypeCode.
        NodeTypeCode @ 0x00: i16;
        /// FileObject.
        FileObject @ 0x08: nt_abi::Ptr<FILE_OBJECT>;
    }
}

/// Returns the bytes of a transfer: the MDL's if there is one, else the caller's buffer.
pub(crate) fn buffer(irp: &OwnedIrp, length: usize) -> NtResult<Region> {
    match irp.irp().ptr(IRP::MdlAddress) {
        Some(mdl) => Ok(nt_mm::mdl::region(mdl)?.sub(0, length)),
        None => Ok(irp.irp().region_at(IRP::UserBuffer, length)),
    }
}

pub(crate) fn write(volume: &Weak<Volume>, irp: &OwnedIrp) -> NtResult<IoStatus> {
    let stack = irp.stack();
    let file = irp.file().ok_or(NtStatus::INVALID_DEVICE_REQUEST.error())?;
    let flags = irp.irp().get(IRP::Flags);
    let paging = flags & IRP_PAGING_IO != 0;
    let length = stack.get(IO_STACK_LOCATION::Write_Length);
    let offset = stack.get(IO_STACK_LOCATION::Write_ByteOffset);
    if file.get(FILE_OBJECT::Flags) & FO_VOLUME_OPEN != 0 {
        return dasd::write(&*crate::mounted(volume)?, irp, file);
    }
    let open = open_of(file)?;
    if open.node.is_directory() {
        rule!(NT_S_04);
        return NtStatus::INVALID_DEVICE_REQUEST.fail();
    }
    if !paging && file.get(FILE_OBJECT::Flags) & FO_CLEANUP_COMPLETE != 0 {
        rule!(NT_W_17);
        return NtStatus::FILE_CLOSED.fail();
    }
    if length == 0 {
        rule!(NT_W_06);
        rule!(NT_W_07);
        return Ok(IoStatus::new(NtStatus::SUCCESS, 0));
    }
    if offset < APPEND {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let noncached = flags & IRP_NOCACHE != 0;
    let from = buffer(irp, length as usize)?;
    if paging {
        return write_paging(&open.node, offset, from);
    }
    if !noncached {
        start_caching(file, &open.node)?;
    }
    let request = Request { offset, noncached };
    let may = |start| lock::may_write(&open.node, irp, start);
    let written = write_data(&open.node, request, from, may)?;
    done(file, &open.node, written, false);
    Ok(IoStatus::new(NtStatus::SUCCESS, u64::from(length)))
}

#[derive(Clone, Copy)]
struct Request {
    offset: i64,
    noncached: bool,
}

/// What a write did.
struct Written {
    end: u64,
    grew: bool,
}

fn done(file: Foreign<FILE_OBJECT>, node: &Node, written: Written, fast: bool) {
    if nt_trace::asked() {
        tell(&written, fast);
    }
    node.wrote();
    set_position(file, written.end as i64);
    let mut bits = FO_FILE_MODIFIED;
    if written.grew {
        bits |= FO_FILE_SIZE_CHANGED;
    }
    if file.get(FILE_OBJECT::Flags) & bits != bits {
        rule!(NT_S_08);
        file.or32(FILE_OBJECT::Flags, bits);
    }
}

/// The rules of a success; `write_growing` told of a file that grew.
#[cold]
fn tell(written: &Written, fast: bool) {
    if !written.grew {
        rule!(NT_W_03);
    }
    if fast {
        rule!(NT_K_09);
    }
}

/// Writes a range that lies inside the file with the data shared, all else exclusively (NT-S-15). `may` asks the byte-range
/// locks, once the start is known and before anything grows (NT-L-10).
fn write_data(node: &Node, request: Request, from: Region, may: impl Fn(u64) -> NtResult<()>) -> NtResult<Written> {
    let length = from.len() as u64;
    if request.noncached
        && (!length.is_multiple_of(u64::from(SECTOR))
            || !(request.offset.max(0) as u64).is_multiple_of(u64::from(SECTOR)))
    {
        rule!(NT_N_06);
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let inside = write_inside(&node.data.read(), request, from, &may);
    inside.unwrap_or_else(|| write_growing(node, request, from, may))
}

/// Writes a range that changes no size; `None` when it does.
fn write_inside(
    data: &Data,
    request: Request,
    from: Region,
    may: impl Fn(u64) -> NtResult<()>,
) -> Option<NtResult<Written>> {
    let start = u64::try_from(request.offset).ok()?;
    let end = end_of(start, from.len() as u64).ok()?;
    if end > data.valid || !data.content.holds(start, from.len()) {
        return None;
    }
    let copied = may(start).and_then(|()| data.content.write(start, from).inspect_err(|_| rule!(NT_B_10)));
    Some(copied.map(|()| Written { end, grew: false }))
}

fn write_growing(node: &Node, request: Request, from: Region, may: impl Fn(u64) -> NtResult<()>) -> NtResult<Written> {
    let length = from.len() as u64;
    let mut data = node.data.write();
    data.refresh()?;
    let start = if request.offset < 0 {
        rule!(NT_S_15);
        data.eof
    } else {
        request.offset as u64
    };
    if request.noncached && start % u64::from(SECTOR) != 0 {
        rule!(NT_N_05);
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let end = end_of(start, length)?;
    may(start)?;
    data.grow(end)?;
    data.content.reserve(start, from.len())?;
    if let Err(error) = data.content.write(start, from) {
        // The file must not grow; what lies past its end stays zero.
        rule!(NT_B_03);
        let eof = data.eof;
        if end > eof {
            data.content.set_length(eof)?;
            data.content.zero(eof.max(start), end)?;
        }
        return Err(error);
    }
    let grew = end > data.eof;
    match start.cmp(&data.eof) {
        std::cmp::Ordering::Greater => rule!(NT_W_05),
        _ if grew => rule!(NT_W_04),
        _ => {}
    }
    data.eof = data.eof.max(end);
    data.valid = data.valid.max(end);
    node.publish(&data);
    Ok(Written { end, grew })
}

/// A signed overflow is INVALID_PARAMETER.
fn end_of(start: u64, length: u64) -> NtResult<u64> {
    let end = start.checked_add(length).filter(|&end| i64::try_from(end).is_ok());
    end.ok_or_else(|| {
        rule!(NT_O_17);
        NtStatus::INVALID_PARAMETER.error()
    })
}

/// Paging writes never extend the file and never move the position (NT-S-19, NT-S-20).
fn write_paging(node: &Node, offset: i64, from: Region) -> NtResult<IoStatus> {
    let start = u64::try_from(offset).map_err(|_| NtStatus::INVALID_PARAMETER.error())?;
    let mut data = node.data.write();
    rule!(NT_S_19);
    if start >= data.eof {
        rule!(NT_S_20);
        return Ok(IoStatus::new(NtStatus::SUCCESS, 0));
    }
    let length = (data.eof - start).min(from.len() as u64);
    data.content.reserve(start, length as usize)?;
    data.content.write(start, from.sub(0, length as usize))?;
    data.valid = data.valid.max(start + length);
    node.publish(&data);
    Ok(IoStatus::new(NtStatus::SUCCESS, length))
}

/// The first cached transfer through a file object gives it a cache map, which opens the fast path (NT-S-10, NT-K-01).
pub(crate) fn start_caching(file: Foreign<FILE_OBJECT>, _node: &Node) -> NtResult<()> {
    if file.addr_at(FILE_OBJECT::PrivateCacheMap) != 0 {
        return Ok(());
    }
    let map = pool::zeroed::<PRIVATE_CACHE_MAP>(pool::tag(b"CcPr"));
    let map = map.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    map.set(PRIVATE_CACHE_MAP::NodeTypeCode, 0x02FE);
    map.set_ptr(PRIVATE_CACHE_MAP::FileObject, Some(file));
    let field = FILE_OBJECT::PrivateCacheMap;
    if file.set_ptr_if_null(field, map.view()) {
        return Ok(());
    }
    pool::free(map);
    Ok(())
}

/// FastIoWrite: refused where the rules ask for a packet (NT-K-07).
pub(crate) fn fast_write(call: &FastCall) -> Option<IoStatus> {
    if call.file.addr_at(FILE_OBJECT::PrivateCacheMap) == 0 {
        return None; // the copy goes to the cache map that the first packet makes (NT-K-01)
    }
    if call.length == 0 {
        rule!(NT_K_08);
        return Some(IoStatus::new(NtStatus::SUCCESS, 0));
    }
    let open = open_of(call.file).ok()?;
    let flags = call.file.get(FILE_OBJECT::Flags);
    if open.node.is_directory() || flags & (FO_WRITE_THROUGH | FO_CLEANUP_COMPLETE) != 0 || call.offset < APPEND {
        rule!(NT_K_07);
        return None;
    }
    let request = Request { offset: call.offset, noncached: false };
    let may = |start| lock::may_fast_write(&open.node, call, start);
    let inside = {
        let data = open.node.data.read();
        if call.offset >= 0 && call.offset as u64 > data.eof.saturating_add(0x2000) {
            rule!(NT_K_07);
            return None;
        }
        write_inside(&data, request, call.buffer, may)
    };
    match inside.unwrap_or_else(|| write_growing(&open.node, request, call.buffer, may)) {
        Ok(written) => {
            done(call.file, &open.node, written, true);
            Some(IoStatus::new(NtStatus::SUCCESS, u64::from(call.length)))
        }
        Err(_) => None,
    }
}
