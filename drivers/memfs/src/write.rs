//! IRP_MJ_WRITE and FastIoWrite.
//!
//! Room: drivers/memfs. IRQL: PASSIVE_LEVEL, paging <= APC_LEVEL. Locks: the node's data, exclusively when sizes move.
//! Source: nt-io.md section 18; rules NT-S-01 to NT-S-20, NT-W-03 to NT-W-09, NT-O-14, NT-O-15, NT-K-07 to NT-K-09.

use crate::cached::{self, Cached};
use crate::node::{self, Data, FCB, Node, Open, Volume, open_of};
use crate::{SECTOR, dasd, lock, notice, oplock, set_position};
use nt_abi::io::{
    FILE_NOTIFY_CHANGE_SIZE, FILE_OBJECT, FO_CLEANUP_COMPLETE, FO_FILE_MODIFIED, FO_FILE_SIZE_CHANGED,
    FO_SYNCHRONOUS_IO, FO_VOLUME_OPEN, FO_WRITE_THROUGH, IO_STACK_LOCATION, IRP, IRP_MJ_WRITE, IRP_MN_COMPLETE,
    IRP_MN_MDL, IRP_NOCACHE, IRP_PAGING_IO, IRP_SYNCHRONOUS_PAGING_IO, SL_WRITE_THROUGH,
};
use nt_abi::mm::{FSRTL_ADVANCED_FCB_HEADER, FastIoIsNotPossible, FastIoIsPossible, MDL, PAGE_SIZE};
use nt_abi::{NtResult, NtStatus};
use nt_cc::client::{CACHE_TOP_LEVEL, FAST_IO_TOP_LEVEL, LAST_TOP_LEVEL};
use nt_cell::{Foreign, Region};
use nt_io::driver::{FastCall, OwnedIrp};
use nt_io::irp::{self, IoStatus};
use nt_trace::rule;
use std::sync::Weak;
use std::sync::atomic::Ordering;

pub(crate) const APPEND: i64 = -1;

/// Returns the bytes of a transfer: the MDL's if there is one, else the caller's buffer.
pub(crate) fn buffer(irp: &OwnedIrp, length: usize) -> NtResult<Region> {
    match irp.irp().ptr(IRP::MdlAddress) {
        Some(mdl) => {
            let region = nt_mm::mdl::region(mdl)?;
            // A filter may have swapped in one that is too short.
            if region.len() < length { NtStatus::INVALID_PARAMETER.fail() } else { Ok(region.sub(0, length)) }
        }
        None => Ok(irp.irp().region_at(IRP::UserBuffer, length)),
    }
}

/// Asks the cache whether a cached write may make more pages dirty now (NT-CC-10, NT-CC-15): a synchronous caller sleeps
/// until it may, `false` asks to put the write off.
pub(crate) fn may_start(irp: &OwnedIrp) -> bool {
    let Some(file) = irp.file() else { return true };
    let flags = file.get(FILE_OBJECT::Flags);
    let cached = irp.irp().get(IRP::Flags) & (IRP_NOCACHE | IRP_PAGING_IO) == 0;
    let length = u64::from(irp.stack().get(IO_STACK_LOCATION::Write_Length));
    if !cached || length == 0 || flags & (FO_VOLUME_OPEN | FO_CLEANUP_COMPLETE) != 0 {
        return true;
    }
    nt_cc::can_write(file, length, flags & FO_SYNCHRONOUS_IO != 0, false)
}

/// Whether a write may wait inside its request: its file is synchronous, it is paging, or it moves a size of the file, which
/// only its own thread does (NT-N-09, NT-S-14).
pub(crate) fn is_waited_for(irp: &OwnedIrp) -> bool {
    let Some(file) = irp.file() else { return true };
    let flags = file.get(FILE_OBJECT::Flags);
    if flags & (FO_SYNCHRONOUS_IO | FO_VOLUME_OPEN) != 0 || irp.irp().get(IRP::Flags) & IRP_PAGING_IO != 0 {
        return flags & FO_VOLUME_OPEN == 0;
    }
    let stack = irp.stack();
    let offset = stack.get(IO_STACK_LOCATION::Write_ByteOffset);
    let end = offset.checked_add(stack.get(IO_STACK_LOCATION::Write_Length).into());
    let extends = file.ptr(FILE_OBJECT::FsContext).is_some_and(|fcb| {
        let header = fcb.view::<FCB>().at(FCB::Header);
        offset == APPEND || end.is_none_or(|end| end > header.get(FSRTL_ADVANCED_FCB_HEADER::ValidDataLength))
    });
    if extends {
        rule!(NT_S_14);
        if irp.irp().get(IRP::Flags) & IRP_NOCACHE != 0 {
            rule!(NT_N_09);
        }
    }
    extends
}

/// Lends the pages of a cached write, or takes them back filled (NT-S-12).
fn write_by_mdl(open: &Open, irp: &OwnedIrp, file: Foreign<FILE_OBJECT>) -> NtResult<IoStatus> {
    let (stack, packet, node) = (irp.stack(), irp.irp(), &*open.node);
    let length = u64::from(stack.get(IO_STACK_LOCATION::Write_Length));
    let offset = stack.get(IO_STACK_LOCATION::Write_ByteOffset);
    rule!(NT_S_12);
    if stack.get(IO_STACK_LOCATION::MinorFunction) & IRP_MN_COMPLETE != 0 {
        let (Some(chain), Ok(start)) = (packet.ptr(IRP::MdlAddress), u64::try_from(offset)) else {
            return NtStatus::INVALID_PARAMETER.fail();
        };
        packet.set_ptr(IRP::MdlAddress, None);
        let count: u64 = nt_mm::mdl::chain(Some(chain)).map(|mdl| u64::from(mdl.get(MDL::ByteCount))).sum();
        nt_cc::mdl_write_complete(file, start, chain)?;
        if node.object.is_shared_with_the_host() {
            node.flush_range(start, count)?;
        }
        return Ok(IoStatus::new(NtStatus::SUCCESS, count));
    }
    if packet.get(IRP::Flags) & (IRP_NOCACHE | IRP_PAGING_IO) != 0 || packet.ptr(IRP::MdlAddress).is_some() {
        return NtStatus::INVALID_PARAMETER.fail(); // only the cache has pages to lend
    }
    let may = |start| lock::may_write(node, irp, start);
    let from = irp.irp().region_at(IRP::UserBuffer, 0);
    let cached = Cached { file, node, offset, from, write_through: false, wait: true };
    let (written, chain) = cached.lend(length, may)?;
    packet.set_ptr(IRP::MdlAddress, Some(chain));
    done(file, node.fcb, &written, false);
    Ok(IoStatus::new(NtStatus::SUCCESS, length))
}

/// Writes; without `wait` the answer is CANT_WAIT where the request would have to, and nothing was done (NT-S-13).
pub(crate) fn write(volume: &Weak<Volume>, irp: &OwnedIrp, wait: bool) -> NtResult<IoStatus> {
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
        return Ok(IoStatus::new(NtStatus::SUCCESS, 0)); // NT-W-08
    }
    if !paging && open.node.protected.load(Ordering::Relaxed) {
        rule!(NT_S_03);
        return NtStatus::MEDIA_WRITE_PROTECTED.fail();
    }
    if offset < APPEND {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if stack.get(IO_STACK_LOCATION::MinorFunction) & (IRP_MN_MDL | IRP_MN_COMPLETE) != 0 {
        return write_by_mdl(&open, irp, file);
    }
    let from = buffer(irp, length as usize)?;
    if paging {
        return write_paging(&open.node, offset, from, flags & IRP_SYNCHRONOUS_PAGING_IO == 0);
    }
    if open.frozen.load(Ordering::Relaxed) != 0 {
        return open.keeping_times(|| transfer(&open, irp, file, offset, from, wait));
    }
    transfer(&open, irp, file, offset, from, wait)
}

/// A write of a caller, in whatever way its packet asks for.
fn transfer(
    open: &Open,
    irp: &OwnedIrp,
    file: Foreign<FILE_OBJECT>,
    offset: i64,
    from: Region,
    wait: bool,
) -> NtResult<IoStatus> {
    let (stack, flags, length) = (irp.stack(), irp.irp().get(IRP::Flags), from.len());
    let may = |start| {
        oplock::may_write(&open.node, irp)?; // NT-L-12: before the locks
        lock::may_write(&open.node, irp, start)
    };
    let written = if flags & IRP_NOCACHE != 0 {
        write_noncached(&open.node, offset, from, wait, may)?
    } else {
        let write_through = stack.get(IO_STACK_LOCATION::Flags) & SL_WRITE_THROUGH != 0;
        Cached { file, node: &open.node, offset, from, write_through, wait }.write(may)?
    };
    let grew_on_the_medium = written.grew && (flags & IRP_NOCACHE != 0 || is_write_through(file, irp));
    done(file, open.node.fcb, &Written { grew: written.grew && !grew_on_the_medium, ..written }, false);
    if grew_on_the_medium {
        notice::written(open, FILE_NOTIFY_CHANGE_SIZE); // NT-S-08: at once
        notice::tell();
    }
    Ok(IoStatus::new(NtStatus::SUCCESS, length as u64))
}

fn is_write_through(file: Foreign<FILE_OBJECT>, irp: &OwnedIrp) -> bool {
    irp.stack().get(IO_STACK_LOCATION::Flags) & SL_WRITE_THROUGH != 0
        || file.get(FILE_OBJECT::Flags) & FO_WRITE_THROUGH != 0
}

/// What a write did.
pub(crate) struct Written {
    pub(crate) end: u64,
    pub(crate) grew: bool,
}

fn done(file: Foreign<FILE_OBJECT>, fcb: Foreign<FCB>, written: &Written, fast: bool) {
    if nt_trace::asked() {
        tell(written, fast);
    }
    node::wrote(fcb);
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

/// Tells the trace what a write did.
#[cold]
fn tell(written: &Written, fast: bool) {
    if !written.grew {
        rule!(NT_W_03);
    }
    if fast {
        rule!(NT_K_09);
    }
}

/// Writes to the medium, out of the cache's sight (NT-CC-55, NT-CC-58, NT-CC-59). `may` asks the byte-range locks, once
/// the start is known and before anything grows (NT-L-10).
fn write_noncached(
    node: &Node,
    offset: i64,
    from: Region,
    wait: bool,
    may: impl Fn(u64) -> NtResult<()>,
) -> NtResult<Written> {
    let (sector, length) = (u64::from(SECTOR), from.len() as u64);
    from.bring_in(false);
    if !length.is_multiple_of(sector) || !(offset.max(0) as u64).is_multiple_of(sector) {
        rule!(NT_N_06);
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if offset >= 0 && !node.is_cached() {
        let (start, end) = (offset as u64, end_of(offset as u64, length)?);
        let _main = node.main.shared_or(wait)?;
        let data = node.data.read();
        if end <= data.valid && data.content.holds(start, from.len()) {
            may(start)?;
            data.content.write(start, from).inspect_err(|_| rule!(NT_B_10))?;
            return Ok(Written { end, grew: false });
        }
    }
    let _main = node.main.exclusive_or(wait)?;
    let start = {
        let mut data = node.data.write();
        if !node.is_dirty() {
            data.refresh()?;
        }
        if offset == APPEND { data.eof } else { offset as u64 }
    };
    if !start.is_multiple_of(sector) {
        rule!(NT_N_05);
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let end = end_of(start, length)?;
    may(start)?;
    cached::make_way(node, start, length)?;
    let (eof, written) = {
        let mut data = node.data.write();
        data.make_room(start, end)?;
        let eof = data.eof;
        data.eof = eof.max(end);
        node.publish(&data);
        drop(data);
        if end > eof {
            node.tell_cache();
        }
        let mut data = node.data.write();
        (eof, data.content.reserve(start, from.len()).and_then(|()| data.content.write(start, from)))
    };
    let mut data = node.data.write();
    if let Err(error) = written {
        // The file must not grow; what lies past its end stays zero.
        rule!(NT_B_03);
        if end > eof {
            data.content.set_length(eof)?;
            data.content.zero(eof.max(start), end)?;
            data.eof = eof;
        }
        node.publish(&data);
        drop(data);
        node.tell_cache();
        return Err(error);
    }
    data.valid = data.valid.max(end);
    node.publish(&data);
    drop(data);
    if node.is_cached() {
        node.tell_cache();
        // A page that was read in meanwhile took what lay past the old valid data for zeros.
        let _what_is_locked_stays = nt_cc::purge(node.sections(), Some((start, length)));
    }
    Ok(Written { end, grew: end > eof })
}

/// Where a cached write lies, and whether the byte-range locks let it (NT-S-15).
pub(crate) fn place(data: &Data, offset: i64, length: u64, may: impl Fn(u64) -> NtResult<()>) -> NtResult<(u64, u64)> {
    let start = if offset == APPEND {
        rule!(NT_S_15);
        data.eof
    } else {
        offset as u64
    };
    let end = end_of(start, length)?;
    may(start)?;
    Ok((start, end))
}

/// NT-O-17: a signed overflow is INVALID_PARAMETER.
pub(crate) fn end_of(start: u64, length: u64) -> NtResult<u64> {
    let end = start.checked_add(length).filter(|&end| i64::try_from(end).is_ok());
    end.ok_or_else(|| {
        rule!(NT_O_17);
        NtStatus::INVALID_PARAMETER.error()
    })
}

/// Whether a paging write may move the valid data length: not that of the lazy writer, and not the one by which a cached
/// write is written through (NT-CC-33, NT-S-22).
fn moves_valid(node: &Node) -> bool {
    match nt_ke::current().thread.top_level() {
        CACHE_TOP_LEVEL => false,
        0..=LAST_TOP_LEVEL => true,
        packet => !is_cached_write_of(node, packet),
    }
}

fn is_cached_write_of(node: &Node, packet: u64) -> bool {
    let packet = Foreign::<IRP>::of_table(packet);
    let stack = irp::current(packet);
    let file = stack.ptr(IO_STACK_LOCATION::FileObject);
    stack.get(IO_STACK_LOCATION::MajorFunction) == IRP_MJ_WRITE
        && packet.get(IRP::Flags) & IRP_NOCACHE == 0
        && file.is_some_and(|file| file.addr_at(FILE_OBJECT::FsContext) == node.fcb.addr())
}

/// Is this thread inside a cached write of the file, which will be dated for it?
fn is_nested_in_write(node: &Node) -> bool {
    let top = nt_ke::current().thread.top_level();
    top > LAST_TOP_LEVEL && is_cached_write_of(node, top)
}

/// Paging writes never extend the file and never move the position (NT-S-19, NT-S-20).
fn write_paging(node: &Node, offset: i64, from: Region, mapped: bool) -> NtResult<IoStatus> {
    let start = u64::try_from(offset).map_err(|_| NtStatus::INVALID_PARAMETER.error())?;
    let mut data = node.data.write();
    rule!(NT_S_19);
    if start >= data.eof {
        rule!(NT_S_20);
        return Ok(IoStatus::new(NtStatus::SUCCESS, 0));
    }
    let length = (data.eof - start).min(from.len() as u64);
    let lazy = !mapped && nt_ke::current().thread.top_level() == CACHE_TOP_LEVEL;
    if lazy && node.is_mapped() && start + length > data.valid.next_multiple_of(PAGE_SIZE) {
        rule!(NT_S_21);
        rule!(NT_CC_37);
        return NtStatus::FILE_LOCK_CONFLICT.fail(); // a view's stores move the valid data, and only its own writer does
    }
    data.make_room(start, start + length)?; // a view's stores have none yet in a hole (NT-SPA-19)
    data.content.reserve(start, length as usize)?;
    let bytes = from.sub(0, length as usize);
    if !mapped && node.is_dated() && !is_nested_in_write(node) {
        data.content.write_late(start, bytes)?;
    } else {
        data.content.write(start, bytes)?;
    }
    if start + length > data.valid && moves_valid(node) {
        data.valid = start + length;
        node.publish(&data);
        drop(data);
        node.tell_cache(); // it takes what lies past the valid data for zeros (NT-CC-50)
    }
    Ok(IoStatus::new(NtStatus::SUCCESS, length))
}

/// FastIoWrite: refused where the rules ask for a packet (NT-K-07, NT-CC-87).
pub(crate) fn fast_write(call: &FastCall) -> Option<IoStatus> {
    if call.file.addr_at(FILE_OBJECT::PrivateCacheMap) == 0 {
        return None; // the copy goes to the cache map that the first packet makes (NT-K-01)
    }
    if call.length == 0 {
        rule!(NT_K_08);
        return Some(IoStatus::new(NtStatus::SUCCESS, 0));
    }
    let flags = call.file.get(FILE_OBJECT::Flags);
    if flags & (FO_WRITE_THROUGH | FO_CLEANUP_COMPLETE) != 0 || call.offset < APPEND {
        rule!(NT_K_07);
        return None;
    }
    let fcb = call.file.ptr(FILE_OBJECT::FsContext)?.view::<FCB>();
    let possible = fcb.at(FCB::Header).get(FSRTL_ADVANCED_FCB_HEADER::IsFastIoPossible);
    let straight = fcb.get(FCB::Straight) != 0;
    if possible == FastIoIsPossible
        && !straight
        && call.offset >= 0
        && let Some(copied) = nt_cc::write_resident(call.file, call.offset as u64, call.buffer)
    {
        copied.ok()?; // the packet tells what is wrong with the buffer
        done(call.file, fcb, &Written { end: call.offset as u64 + u64::from(call.length), grew: false }, true);
        return Some(IoStatus::new(NtStatus::SUCCESS, u64::from(call.length)));
    }
    if possible == FastIoIsNotPossible {
        rule!(NT_K_07);
        lock::tell_again(call.file);
        return None;
    }
    fast_write_slowly(call, straight)
}

/// As the packet would, with the marker that a paging read of the copy is recognised by (NT-CC-18).
fn fast_write_slowly(call: &FastCall, straight: bool) -> Option<IoStatus> {
    let open = open_of(call.file).ok()?;
    if open.frozen.load(Ordering::Relaxed) != 0 {
        return None; // the packet keeps the times (NT-QRY-18)
    }
    let (valid, eof, allocation) = {
        let data = open.node.data.read();
        (data.valid, data.eof, data.allocation.max(data.eof))
    };
    let start = if call.offset == APPEND { eof } else { call.offset as u64 };
    if start > valid.saturating_add(0x2000) || start.checked_add(call.length.into())? > allocation {
        rule!(NT_K_07);
        return None;
    }
    if !straight && !nt_cc::write_will_not_flush(call.file, call.length) {
        return None;
    }
    let may = |start| lock::may_fast_write(&open.node, call, start);
    let thread = &nt_ke::current().thread;
    let outer = thread.set_top_level(FAST_IO_TOP_LEVEL);
    let (file, node) = (call.file, &*open.node);
    let cached = Cached { file, node, offset: call.offset, from: call.buffer, write_through: false, wait: true };
    let written = cached.write(may);
    thread.set_top_level(outer);
    let written = written.ok()?;
    done(call.file, open.node.fcb, &written, true);
    Some(IoStatus::new(NtStatus::SUCCESS, u64::from(call.length)))
}
