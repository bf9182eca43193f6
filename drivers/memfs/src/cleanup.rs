//! IRP_MJ_CLEANUP and IRP_MJ_CLOSE.
//!
//! Room: drivers/memfs. IRQL: PASSIVE_LEVEL. Locks: the tree. Source: rules NT-M-20, NT-S-09, NT-DEL family.

use crate::create::unshare;
use crate::node::{CCB, Node, OPENS, Open, Volume, open_any, open_of};
use nt_abi::io::{FILE_OBJECT, FO_FILE_MODIFIED, FO_VOLUME_OPEN};
use nt_abi::{NtResult, NtStatus};
use nt_ex::pool;
use nt_io::driver::OwnedIrp;
use nt_io::irp::IoStatus;
use std::sync::Arc;

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
    if let Some(map) = file.ptr(FILE_OBJECT::PrivateCacheMap) {
        file.set_ptr(FILE_OBJECT::PrivateCacheMap, None);
        pool::free(map);
    }
    let _tree = volume.tree.lock();
    unshare(&open);
    if open.generation != volume.mount.generation() {
        return Ok(DONE); // of a mount that is gone
    }
    if *open.delete_on_close.lock() {
        *open.node.delete_pending.lock() = true;
    }
    let last = open.node.sharing.lock().opens == 0;
    if *open.node.delete_pending.lock() && (last || *open.posix_delete.lock()) {
        unlink(&open)?;
    }
    dated.map(|()| DONE)
}

/// Takes the name under which this open was made out of its directory.
fn unlink(open: &Open) -> NtResult<()> {
    let Some((parent, name)) = open.place.lock().clone() else { return Ok(()) };
    remove_name(&parent, &name, &open.node)
}

/// Takes a name away if it still leads to `node`.
pub(crate) fn remove_name(parent: &Node, name: &[u16], node: &Arc<Node>) -> NtResult<()> {
    if parent.directory()?.remove(name, node)? {
        *node.delete_pending.lock() = false;
    }
    Ok(())
}

/// IRP_MJ_FLUSH_BUFFERS: what was written is durable when it returns; of a volume, all of it.
pub(crate) fn flush(volume: &Volume, irp: &OwnedIrp) -> NtResult<IoStatus> {
    let file = irp.file().ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let open = open_of(file)?;
    if file.get(FILE_OBJECT::Flags) & FO_VOLUME_OPEN != 0 {
        volume.backing.sync()?;
    } else {
        open.node.object.sync()?;
    }
    Ok(DONE)
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
