//! A host file as the driver sees it.
//!
//! Room: drivers/memfs. Called by: the driver. Calls: `host`, `attributes`, `reparse`. Locks: the node table.

use super::attributes::{self, Spot};
use super::content::DirContent;
use super::host::Host;
use super::late;
use super::status::error;
use super::streams::Live;
use crate::backing::{Attribute, Change, Directory, Meta, Object, Sizes, Streams};
use crate::node::{Node, Units};
use crate::security::Security;
use nt_abi::{NtResult, NtStatus};
use rustix::fs::{FileType, Statx};
use std::sync::Arc;

/// The host file, and the streams of it that have a node.
pub(super) struct DirObject(pub(super) Arc<Host>, pub(super) Live);

impl Drop for DirObject {
    fn drop(&mut self) {
        let mut nodes = self.0.shared.nodes.lock();
        let id = self.0.id();
        // Another node may stand for the file since: that one stays.
        if nodes.get(&id).is_some_and(|node| node.strong_count() == 0) {
            nodes.remove(&id);
        }
    }
}

/// Returns the node of a file that was just opened: the one that somebody holds already, else a new one.
pub(super) fn node(host: &Arc<Host>, stat: &Statx) -> NtResult<Arc<Node>> {
    let known = host.shared.live(stat.stx_ino);
    if let Some(node) = known {
        return Ok(node);
    }
    let sizes = match host.kind() {
        FileType::RegularFile => Sizes { eof: stat.stx_size, allocation: stat.stx_blocks * 512 },
        _ => Sizes::default(),
    };
    let object = Box::new(DirObject(Arc::clone(host), Live::default()));
    let node = Node::new(object, Box::new(DirContent(Arc::clone(host))), sizes)?;
    host.shared.nodes.lock().insert(stat.stx_ino, Arc::downgrade(&node));
    Ok(node)
}

/// The host file behind a node of this kind of volume.
pub(super) fn of(node: &Node) -> NtResult<&Arc<Host>> {
    let object = node.object.as_any().downcast_ref::<DirObject>();
    object.map(|object| &object.0).ok_or(NtStatus::NOT_SAME_DEVICE.error())
}

impl Object for DirObject {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
    fn id(&self) -> u64 {
        self.0.number()
    }
    fn is_shared_with_the_host(&self) -> bool {
        true
    }
    fn links(&self) -> NtResult<u32> {
        if self.0.is_directory() { Ok(1) } else { Ok(self.0.stat()?.stx_nlink) }
    }
    fn open(&self, read: bool, write: bool) -> NtResult<()> {
        match self.0.kind() {
            FileType::RegularFile => {
                if write {
                    self.0.writing().map_err(error)?;
                }
                if read {
                    self.0.reading().map_err(error)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
    fn meta(&self) -> NtResult<Meta> {
        // Not between a late write and the time that is put back.
        let stat = {
            let _times = self.0.times.lock();
            self.0.stat()?
        };
        attributes::meta(&stat, &Spot::open(&self.0))
    }
    fn change(&self, change: &Change) -> NtResult<()> {
        attributes::change(&self.0, change)
    }
    fn mark_sparse(&self, sparse: bool) -> NtResult<()> {
        attributes::mark_sparse(&self.0, sparse)
    }
    fn modified(&self, late: bool) -> NtResult<()> {
        // The host dates its files itself, but not what it does not have yet.
        if late {
            late::date(&self.0)?;
        }
        attributes::archive(&self.0)
    }
    fn eas(&self) -> NtResult<Vec<Attribute>> {
        attributes::list(&self.0.stat()?, &Spot::open(&self.0))
    }
    fn set_eas(&self, list: Vec<Attribute>, replace: bool) -> NtResult<()> {
        attributes::set(&self.0, list, replace)
    }
    fn minds_case(&self) -> NtResult<bool> {
        attributes::minds_case(&self.0)
    }
    fn set_minds_case(&self, minds: bool) -> NtResult<()> {
        attributes::set_minds_case(&self.0, minds)
    }
    fn security(&self) -> NtResult<Security> {
        attributes::security(&self.0)
    }
    fn set_security(&self, security: Security) -> NtResult<()> {
        attributes::secure(&self.0, &security)
    }
    fn is_reparse_point(&self) -> bool {
        !matches!(self.0.kind(), FileType::RegularFile | FileType::Directory)
    }
    fn reparse(&self) -> NtResult<Option<Vec<u8>>> {
        super::reparse::get(&self.0)
    }
    fn set_reparse(&self, node: &Arc<Node>, place: Option<&(Arc<Node>, Units)>, data: Option<Vec<u8>>) -> NtResult<()> {
        super::reparse::set(&self.0, node, place, data)
    }
    fn sync(&self) -> NtResult<()> {
        self.0.sync()
    }
    fn directory(&self) -> Option<&dyn Directory> {
        self.0.is_directory().then_some(self as &dyn Directory)
    }
    fn streams(&self) -> Option<&dyn Streams> {
        Some(self)
    }
}
