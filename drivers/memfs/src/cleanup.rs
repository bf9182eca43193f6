//! IRP_MJ_CLEANUP and IRP_MJ_CLOSE.
//!
//! Room: drivers/memfs. IRQL: PASSIVE_LEVEL. Locks: the tree. Source: rules NT-M-20, NT-S-09, NT-DEL family.

use crate::create::{touch, unshare};
use crate::node::{CCB, Node, OPENS, Open, Volume, open_of};
use nt_abi::io::{FILE_ATTRIBUTE_ARCHIVE, FILE_OBJECT, FO_FILE_MODIFIED};
use nt_abi::{NtResult, NtStatus};
use nt_ex::pool;
use nt_io::driver::OwnedIrp;
use nt_io::irp::IoStatus;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const DONE: IoStatus = IoStatus::new(NtStatus::SUCCESS, 0);

/// The last handle of a file object is gone: times, sharing, delete.
pub(crate) fn cleanup(volume: &Volume, irp: &OwnedIrp) -> NtResult<IoStatus> {
    let file = irp.file().ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let open = open_of(file)?;
    if file.get(FILE_OBJECT::Flags) & FO_FILE_MODIFIED != 0 {
        // NT-S-09: what a write changed is dated when the handle goes.
        let now = volume.now();
        let mut meta = open.node.meta.lock();
        meta.written = now;
        meta.changed = now;
        meta.attributes |= FILE_ATTRIBUTE_ARCHIVE;
    }
    if let Some(map) = file.ptr(FILE_OBJECT::PrivateCacheMap) {
        file.set_ptr(FILE_OBJECT::PrivateCacheMap, None);
        pool::free(map);
    }
    let _tree = volume.tree.lock();
    unshare(&open);
    if *open.delete_on_close.lock() {
        *open.node.delete_pending.lock() = true;
    }
    let last = open.node.sharing.lock().opens == 0;
    if *open.node.delete_pending.lock() && (last || *open.posix_delete.lock()) {
        unlink(volume, &open);
    }
    Ok(DONE)
}

/// Takes the name under which this open was made out of its directory.
pub(crate) fn unlink(volume: &Volume, open: &Open) {
    let Some((parent, name)) = open.place.lock().clone() else { return };
    remove_name(volume, &parent, &name, &open.node);
}

/// Takes a name away if it still leads to `node`.
pub(crate) fn remove_name(volume: &Volume, parent: &Node, name: &[u16], node: &Arc<Node>) {
    let Some(children) = &parent.children else { return };
    let mut children = children.write();
    if children.get(name).is_some_and(|there| Arc::ptr_eq(there, node)) {
        children.remove(name);
        drop(children);
        touch(volume, parent);
        *node.delete_pending.lock() = false;
        node.meta.lock().changed = volume.now();
        node.links.fetch_sub(1, Ordering::Relaxed);
        forget_if_gone(volume, node);
    }
}

/// Gives the space of a nameless, unopened file back.
fn forget_if_gone(volume: &Volume, node: &Arc<Node>) {
    if node.links.load(Ordering::Relaxed) == 0 && node.sharing.lock().opens == 0 {
        volume.forget(node);
    }
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
