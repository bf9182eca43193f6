//! Named streams: each has a node of its own, with its own control block, lengths, locks, sharing and cache; all else is
//! the file's, to which its object hands on.
//!
//! Room: drivers/memfs. Called by: `create`, `cleanup`, `fileinfo`, the backings. IRQL: PASSIVE_LEVEL. Locks: the tree where
//! streams come, go or change names; a stream's fate is innermost.
//! Source: FSCC 2.1.5 (pathnames), FILE_STREAM_INFORMATION; rules NT-STR, NT-SHR-05.

mod fate;
mod name;
mod open;
mod query;
mod rename;

pub(crate) use fate::{bury_all, dispose, drop_all, leave, may_be_replaced, replaced};
pub(crate) use name::{Part, split};
pub(crate) use open::{couples, find_or_make, unmake};
pub(crate) use query::list;
pub(crate) use rename::{concerns, rename};

use crate::backing::{Attribute, Change, Directory, Meta, Object, Streams};
use crate::link::Mark;
use crate::node::{Node, Open, Units};
use crate::security::Security;
use nt_abi::io::FILE_ATTRIBUTE_DIRECTORY;
use nt_abi::{NtResult, NtStatus};
use nt_ke::Mutex;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

/// What makes a node a named stream.
pub(crate) struct Named {
    file: Weak<Node>,
    name: Mutex<Units>,
    fate: Mutex<Fate>,
}

/// Is it to go (NT-STR-14), or gone?
#[derive(Default)]
struct Fate {
    /// Opens whose cleanup is still to come.
    opens: u32,
    mark: Mark,
    gone: bool,
}

impl Named {
    pub(crate) fn new(file: &Arc<Node>, name: &[u16]) -> Self {
        Self { file: Arc::downgrade(file), name: Mutex::new(name.to_vec()), fate: Mutex::default() }
    }
    /// The file that it is a stream of: whoever has the stream open holds it.
    pub(crate) fn file(&self) -> NtResult<Arc<Node>> {
        self.file.upgrade().ok_or(NtStatus::FILE_DELETED.error())
    }
    pub(crate) fn name(&self) -> Units {
        self.name.lock().clone()
    }
    pub(crate) fn set_name(&self, name: &[u16]) {
        *self.name.lock() = name.to_vec();
    }
    /// An open begins.
    pub(crate) fn enter(&self) {
        self.fate.lock().opens += 1;
    }
    /// An open ends, or goes over to another stream.
    fn left(&self) {
        self.fate.lock().opens -= 1;
    }
    pub(crate) fn is_open(&self) -> bool {
        self.fate.lock().opens != 0
    }
    pub(crate) fn is_gone(&self) -> bool {
        self.fate.lock().gone
    }
    pub(crate) fn is_pending(&self) -> bool {
        let fate = self.fate.lock();
        fate.gone || fate.mark != Mark::None
    }
}

impl Open {
    /// The file: of a named stream the one that it belongs to.
    pub(crate) fn file(&self) -> &Arc<Node> {
        self.file.as_ref().unwrap_or(&self.node)
    }
}

impl Node {
    /// Is it a stream of a directory?
    pub(crate) fn is_of_directory(&self) -> bool {
        self.named.as_ref().and_then(|named| named.file().ok()).is_some_and(|file| file.is_directory())
    }

    /// The file's named streams that have a node.
    pub(crate) fn live_streams(&self) -> Vec<Arc<Node>> {
        if !self.streamed.load(Ordering::Relaxed) {
            return Vec::new();
        }
        self.object.streams().map(|streams| streams.streams_live()).unwrap_or_default()
    }

    pub(crate) fn streams(&self) -> NtResult<&dyn Streams> {
        self.object.streams().ok_or(NtStatus::INVALID_PARAMETER.error())
    }

    /// Nobody will see its bytes again: the file has no name any more, or the stream was deleted.
    pub(crate) fn is_gone(&self) -> NtResult<bool> {
        Ok(self.named.as_ref().is_some_and(|named| named.is_gone()) || self.object.links()? == 0)
    }
}

/// The file changed in what its streams are.
pub(crate) fn touch(file: &Node) -> NtResult<()> {
    let now = nt_ke::current().kernel.clock.system_time();
    file.object.change(&Change { written: Some(now), changed: Some(now), ..Change::default() })?;
    file.object.modified(false)
}

/// What a backing keeps of one stream, besides its bytes.
pub(crate) trait Kept: Send + Sync + 'static {
    /// An open asks for the data.
    fn open(&self, read: bool, write: bool) -> NtResult<()>;
    /// Makes the data durable, and that the file has it.
    fn sync(&self) -> NtResult<()>;
    /// As [`Object::is_shared_with_the_host`].
    fn is_shared_with_the_host(&self) -> bool;
    /// For the backing to find its own type again.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// The object of a stream: the file's, but for the bytes.
pub(crate) struct StreamObject<K> {
    file: Weak<Node>,
    pub(crate) kept: K,
}

impl<K: Kept> StreamObject<K> {
    pub(crate) fn new(file: &Arc<Node>, kept: K) -> Self {
        Self { file: Arc::downgrade(file), kept }
    }
    fn file(&self) -> NtResult<Arc<Node>> {
        self.file.upgrade().ok_or(NtStatus::FILE_DELETED.error())
    }
}

impl<K: Kept> Object for StreamObject<K> {
    fn as_any(&self) -> &dyn std::any::Any {
        self.kept.as_any()
    }
    fn id(&self) -> u64 {
        self.file.upgrade().map_or(0, |file| file.id())
    }
    fn is_shared_with_the_host(&self) -> bool {
        self.kept.is_shared_with_the_host()
    }
    fn links(&self) -> NtResult<u32> {
        self.file()?.object.links()
    }
    fn open(&self, read: bool, write: bool) -> NtResult<()> {
        self.kept.open(read, write)
    }
    fn meta(&self) -> NtResult<Meta> {
        let mut meta = self.file()?.object.meta()?;
        meta.attributes &= !FILE_ATTRIBUTE_DIRECTORY; // NT-STR-06: what is open is data
        Ok(meta)
    }
    fn change(&self, change: &Change) -> NtResult<()> {
        let file = self.file()?;
        let directory = if file.is_directory() { FILE_ATTRIBUTE_DIRECTORY } else { 0 };
        let attributes = change.attributes.map(|attributes| attributes | directory);
        file.object.change(&Change { attributes, ..*change })
    }
    fn mark_sparse(&self, sparse: bool) -> NtResult<()> {
        self.file()?.object.mark_sparse(sparse)
    }
    fn modified(&self, _late: bool) -> NtResult<()> {
        touch(&*self.file()?)
    }
    fn eas(&self) -> NtResult<Vec<Attribute>> {
        self.file()?.object.eas()
    }
    fn set_eas(&self, list: Vec<Attribute>, replace: bool) -> NtResult<()> {
        self.file()?.object.set_eas(list, replace)
    }
    fn security(&self) -> NtResult<Security> {
        self.file()?.object.security()
    }
    fn set_security(&self, security: Security) -> NtResult<()> {
        self.file()?.object.set_security(security)
    }
    fn reparse(&self) -> NtResult<Option<Vec<u8>>> {
        self.file()?.object.reparse()
    }
    fn is_reparse_point(&self) -> bool {
        self.file.upgrade().is_some_and(|file| file.object.is_reparse_point())
    }
    fn set_reparse(&self, _: &Arc<Node>, place: Option<&(Arc<Node>, Units)>, data: Option<Vec<u8>>) -> NtResult<()> {
        let file = self.file()?;
        file.object.set_reparse(&file, place, data)
    }
    fn sync(&self) -> NtResult<()> {
        self.kept.sync()?;
        self.file()?.object.sync()
    }
    fn directory(&self) -> Option<&dyn Directory> {
        None
    }
    fn streams(&self) -> Option<&dyn Streams> {
        None
    }
}
