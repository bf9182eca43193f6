//! IRP_MJ_CLEANUP and IRP_MJ_CLOSE.
//!
//! Room: drivers/memfs. IRQL: PASSIVE_LEVEL. Locks: the tree. Source: rules NT-M-20, NT-S-09, NT-DEL family.

use crate::link::Mark;
use crate::node::{CCB, Node, OPENS, Open, Volume, open_any, open_of};
use crate::oplock::Kept;
use crate::stream;
use crate::{naming, notice};
use nt_abi::io::{
    FILE_ACTION_REMOVED_STREAM, FILE_NOTIFY_CHANGE_LAST_WRITE, FILE_NOTIFY_CHANGE_SIZE, FILE_OBJECT, FO_FILE_MODIFIED,
    FO_FILE_SIZE_CHANGED, FO_NO_INTERMEDIATE_BUFFERING, FO_VOLUME_OPEN, IO_STACK_LOCATION,
};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;
use nt_ex::pool;
use nt_io::driver::OwnedIrp;
use nt_io::irp::IoStatus;
use std::sync::atomic::Ordering;

const DONE: IoStatus = IoStatus::new(NtStatus::SUCCESS, 0);

/// The last handle of a file object is gone: times, sharing, delete.
pub(crate) fn cleanup(volume: &Volume, irp: &OwnedIrp) -> NtResult<IoStatus> {
    let file = irp.file().ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let open = open_any(file)?;
    volume.mount.leave(Some(file));
    crate::lock::cleanup(&open.node, file);
    // NT-S-09: what a write changed is dated when the handle goes, unless somebody asked for the time or set it since. A
    // refusal is told, but the handle goes all the same.
    let modified = file.get(FILE_OBJECT::Flags) & FO_FILE_MODIFIED != 0;
    let dated = if modified { open.node.date() } else { Ok(()) };
    let changed = changed(file, &open);
    let named = names(volume, file, &open);
    if named.as_ref().is_ok_and(|information| information & (FILE_GONE | LINK_GONE | STREAM_GONE) == 0) {
        notice::written(&open, changed);
    }
    notice::unwatch(&open, file.addr_at(FILE_OBJECT::FsContext2));
    let (last, uncached) = {
        let mut sharing = open.node.sharing.lock();
        let own = file.get(FILE_OBJECT::Flags) & FO_NO_INTERMEDIATE_BUFFERING != 0;
        sharing.leave(file);
        (sharing.handles == 0, !own && sharing.uncached != 0 && sharing.uncached == sharing.handles)
    };
    crate::oplock::cleanup(&open.node, file);
    off_the_cache(file, &open.node, last, uncached)?;
    let information = named?;
    if information & FILE_GONE != 0 {
        stream::bury_all(open.file())?;
    }
    dated.map(|()| IoStatus::new(NtStatus::SUCCESS, information))
}

/// What a writing open changed, that is told when its handle goes (NT-S-09, NT-NFY-19).
fn changed(file: Foreign<FILE_OBJECT>, open: &Open) -> u32 {
    const WRITTEN: u8 = 4;
    let flags = file.get(FILE_OBJECT::Flags);
    let dated = flags & FO_FILE_MODIFIED != 0 && open.frozen.load(Ordering::Relaxed) & WRITTEN == 0;
    let grown = flags & FO_FILE_SIZE_CHANGED != 0;
    (if dated { FILE_NOTIFY_CHANGE_LAST_WRITE } else { 0 }) | if grown { FILE_NOTIFY_CHANGE_SIZE } else { 0 }
}

const FILE_REMAINS: u64 = 2;
const FILE_GONE: u64 = 4;
const LINK_GONE: u64 = 8;
const STREAM_GONE: u64 = 0x10;
const POSIX_STYLE: u64 = 0x20;

/// Sharing goes; a name that is to go goes with its last open, or with the open that marked it (NT-DEL-03, NT-DEL-13).
/// Returns what the cleanup's Information tells of it (NT-DEL-35).
fn names(volume: &Volume, file: Foreign<FILE_OBJECT>, open: &Open) -> NtResult<u64> {
    let _kept = Kept::begin();
    let _tree = volume.tree.lock();
    if let Some(part) = open.part {
        open.node.sharing.lock().counts.remove(part);
    }
    open.freeze(0);
    let dead = open.generation != volume.mount.generation();
    let stream = stream::leave(file, open, dead);
    if stream == Ok(true) {
        notice::stream(open, FILE_ACTION_REMOVED_STREAM);
    }
    let gone = || Ok(if stream? { STREAM_GONE } else { FILE_REMAINS });
    let Some(link) = &open.link else { return gone() };
    let last = link.leave(open.hinders);
    if dead {
        return Ok(0); // of a mount that is gone
    }
    let node = open.file();
    if open.node.named.is_none()
        && *open.delete_on_close.lock()
        && !link.is_pending()
        && !naming::is_filled(node)?
        && !node.is_running()
    {
        naming::mark(link, node, Mark::Classic); // NT-DEL-24, NT-DEL-26
        notice::doomed(&open.mount.changes, node);
    }
    let posix = link.mark() == Mark::Posix(file.addr());
    if link.is_gone() || link.mark() == Mark::None || !(last || posix) {
        return gone();
    }
    let style = if matches!(link.mark(), Mark::Posix(_)) { POSIX_STYLE } else { 0 };
    let streams = notice::streams_of(&open.mount.changes, node);
    if !naming::unlink(&open.mount, open, link)? {
        return gone();
    }
    crate::oplock::children(&link.parent(), file);
    notice::removed(&open.mount.changes, node, Some(link), &streams);
    let kind = if node.is_directory() || node.object.links()? == 0 { FILE_GONE } else { LINK_GONE };
    Ok(kind | style)
}

/// The cache lets go of a file object: what is dirty stays for the lazy writer (NT-CC-69), but that of a deleted file is
/// dropped (NT-CC-74), and that of a file that has noncached handles only from now on is written at once (NT-CC-72).
fn off_the_cache(file: Foreign<FILE_OBJECT>, node: &Node, last: bool, uncached: bool) -> NtResult<()> {
    if node.is_directory() {
        return Ok(());
    }
    let gone = last && node.is_gone()? && !node.is_mapped();
    if gone {
        node.discard()?;
    }
    if uncached && node.is_cached() {
        let _main = node.main.exclusive()?;
        let _errors_are_ignored = nt_cc::coherency_flush_and_purge(node.sections(), 0, u64::MAX, false);
    }
    let _off = nt_cc::uninitialize(file, gone.then_some(0), None);
    Ok(())
}

/// IRP_MN_FLUSH_AND_PURGE. The lesser minor functions ask for less than all that a flush does here.
const FLUSH_AND_PURGE: u8 = 4;

/// IRP_MJ_FLUSH_BUFFERS: what was written is durable when it returns; of a volume, all of it.
pub(crate) fn flush(volume: &Volume, irp: &OwnedIrp) -> NtResult<IoStatus> {
    let file = irp.file().ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let open = open_of(file)?;
    if file.get(FILE_OBJECT::Flags) & FO_VOLUME_OPEN != 0 {
        for map in crate::cached::streams_of(file) {
            written(nt_cc::flush_stream(&map))?; // NT-CC-44
        }
        volume.backing.sync()?;
    } else {
        if open.node.is_cached() {
            written(nt_cc::flush(open.node.sections(), None))?; // NT-CC-43
            if irp.stack().get(IO_STACK_LOCATION::MinorFunction) == FLUSH_AND_PURGE {
                let _what_is_locked_stays = nt_cc::purge(open.node.sections(), None);
            }
        }
        open.node.object.sync()?;
    }
    Ok(DONE)
}

/// The status of a paging write is that of the flush that waits for it (NT-CC-78).
fn written(result: IoStatus) -> NtResult<()> {
    if result.status.is_error() { result.status.fail() } else { Ok(()) }
}

/// The last reference to a file object is gone.
pub(crate) fn close(irp: &OwnedIrp) -> NtResult<IoStatus> {
    let file = irp.file().ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let Some(ccb) = file.ptr(FILE_OBJECT::FsContext2) else { return Ok(DONE) };
    let key = ccb.view::<CCB>().get(CCB::Key);
    file.set_ptr(FILE_OBJECT::FsContext2, None);
    file.set_ptr(FILE_OBJECT::FsContext, None);
    OPENS.remove(key);
    pool::free(ccb);
    Ok(DONE)
}
