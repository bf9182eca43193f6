//! The `ram` backing: names in maps, bytes in pool memory.
//!
//! Room: drivers/memfs. Called by: the driver, by the traits of `backing`. Touches: data chunks in pool.
//! Locks: a directory's children, a file's metadata; each innermost. A name keeps its node alive, so a file's space goes
//! back when its last name and its last open are gone.

mod runs;
mod store;
mod streams;

use crate::SECTOR;
use crate::backing::{Attribute, Backing, Change, Content, Directory, Entry, Meta, New, Object, Sizes, Space, Streams};
use crate::node::{Node, Units, now, upcase};
use crate::security::Security;
use crate::sparse::UNIT;
use nt_abi::io::{FILE_ATTRIBUTE_ARCHIVE, FILE_ATTRIBUTE_REPARSE_POINT, FILE_ATTRIBUTE_SPARSE_FILE};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use nt_ke::{Kernel, Mutex, RwLock};
use runs::Runs;
use rustix::rand::GetRandomFlags;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use store::Store;

/// What the files of one volume share.
struct Shared {
    size: u64,
    used: AtomicU64,
    next_id: AtomicU64,
    kernel: Weak<Kernel>,
}

/// Names of one file.
const MOST_LINKS: u32 = 1024;

/// A volume in memory.
pub(crate) struct Ram {
    shared: Arc<Shared>,
    object_id: [u8; 16],
    root: Arc<Node>,
}

#[derive(Default)]
struct Inner {
    meta: Meta,
    eas: Vec<Attribute>,
    reparse: Option<Vec<u8>>,
    security: Security,
    streams: Vec<Arc<Node>>,
}

/// A file or directory.
struct RamObject {
    id: u64,
    links: AtomicU32,
    inner: Mutex<Inner>,
    children: Option<RwLock<BTreeMap<Units, Arc<Node>>>>,
    minds_case: AtomicBool,
    shared: Arc<Shared>,
}

/// The bytes of a file, and its part of the volume.
struct RamContent {
    store: Store,
    /// What of the volume's room it takes.
    allocation: u64,
    /// The units that a sparse stream has: those that take room. Of any other it is all.
    units: Option<Box<Runs>>,
    shared: Arc<Shared>,
}

impl Ram {
    /// Makes a volume with room for `size` bytes.
    pub(crate) fn new(kernel: &Arc<Kernel>, size: u64) -> NtResult<Self> {
        let shared = Arc::new(Shared {
            size,
            used: AtomicU64::new(0),
            next_id: AtomicU64::new(16),
            kernel: Arc::downgrade(kernel),
        });
        let new = New { directory: true, attributes: 0x10, eas: Vec::new(), security: None };
        let mut object_id = [0; 16];
        rustix::rand::getrandom(&mut object_id, GetRandomFlags::empty())
            .map_err(|_| NtStatus::INSUFFICIENT_RESOURCES.error())?;
        Ok(Self { root: node(&shared, ROOT, new)?, shared, object_id })
    }
}

/// File ids are NTFS' (NT-QRY-09): an index, and over it how often it was used. No index is used again here.
const FIRST_USE: u64 = 1 << 48;
const ROOT: u64 = 5 << 48 | 5;

fn node(shared: &Arc<Shared>, id: u64, new: New) -> NtResult<Arc<Node>> {
    let now = now(&shared.kernel);
    let secured = new.security.is_some();
    let meta = Meta { created: now, accessed: now, written: now, changed: now, attributes: new.attributes, secured };
    let object = RamObject {
        id,
        links: AtomicU32::new(1),
        inner: Mutex::new(Inner { meta, eas: new.eas, security: new.security, ..Inner::default() }),
        children: new.directory.then(|| RwLock::new(BTreeMap::new())),
        minds_case: AtomicBool::new(false),
        shared: Arc::clone(shared),
    };
    let content = RamContent::new(shared);
    Node::new(Box::new(object), Box::new(content), Sizes::default())
}

impl Backing for Ram {
    fn root(&self) -> Arc<Node> {
        Arc::clone(&self.root)
    }
    fn object_id(&self) -> Option<[u8; 16]> {
        Some(self.object_id)
    }
    fn space(&self) -> NtResult<Space> {
        let free = self.shared.size.saturating_sub(self.shared.used.load(Ordering::Relaxed));
        Ok(Space { total: self.shared.size, free, available: free })
    }
    fn sync(&self) -> NtResult<()> {
        Ok(())
    }
    fn keeps_holes(&self) -> bool {
        true
    }
    fn sectors(&self) -> Option<u64> {
        Some(self.shared.size / u64::from(SECTOR) * u64::from(SECTOR))
    }
}

impl RamObject {
    fn now(&self) -> i64 {
        now(&self.shared.kernel)
    }
    /// The directory's contents changed.
    fn touch(&self) {
        let now = self.now();
        let mut inner = self.inner.lock();
        inner.meta.written = now;
        inner.meta.changed = now;
    }
    fn children(&self) -> NtResult<&RwLock<BTreeMap<Units, Arc<Node>>>> {
        self.children.as_ref().ok_or(NtStatus::NOT_A_DIRECTORY.error())
    }
}

/// The object behind a node of this volume.
fn of(node: &Node) -> NtResult<&RamObject> {
    let object: &dyn std::any::Any = node.object.as_any();
    object.downcast_ref().ok_or(NtStatus::NOT_SAME_DEVICE.error())
}

fn tag(reparse: Option<&Vec<u8>>) -> Option<u32> {
    reparse.and_then(|data| data.first_chunk::<4>()).map(|tag| u32::from_le_bytes(*tag))
}

impl Object for RamObject {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
    fn id(&self) -> u64 {
        self.id
    }
    fn links(&self) -> NtResult<u32> {
        Ok(self.links.load(Ordering::Relaxed))
    }
    fn open(&self, _read: bool, _write: bool) -> NtResult<()> {
        Ok(())
    }
    fn meta(&self) -> NtResult<Meta> {
        Ok(self.inner.lock().meta)
    }
    fn change(&self, change: &Change) -> NtResult<()> {
        let now = self.now();
        let meta = &mut self.inner.lock().meta;
        meta.created = change.created.unwrap_or(meta.created);
        meta.accessed = change.accessed.unwrap_or(meta.accessed);
        meta.written = change.written.unwrap_or(meta.written);
        meta.changed = change.changed.unwrap_or(now);
        let kept = meta.attributes & FILE_ATTRIBUTE_SPARSE_FILE;
        meta.attributes = change.attributes.map_or(meta.attributes, |set| set & !FILE_ATTRIBUTE_SPARSE_FILE | kept);
        Ok(())
    }
    fn modified(&self, _late: bool) -> NtResult<()> {
        self.touch();
        self.inner.lock().meta.attributes |= FILE_ATTRIBUTE_ARCHIVE;
        Ok(())
    }
    fn mark_sparse(&self, sparse: bool) -> NtResult<()> {
        let now = self.now();
        let meta = &mut self.inner.lock().meta;
        let bit = if sparse { FILE_ATTRIBUTE_SPARSE_FILE } else { 0 };
        meta.attributes = meta.attributes & !FILE_ATTRIBUTE_SPARSE_FILE | bit;
        meta.changed = now;
        Ok(())
    }
    fn eas(&self) -> NtResult<Vec<Attribute>> {
        Ok(self.inner.lock().eas.clone())
    }
    fn set_eas(&self, list: Vec<Attribute>, replace: bool) -> NtResult<()> {
        let now = self.now();
        let mut inner = self.inner.lock();
        let mut eas = if replace { Vec::new() } else { inner.eas.clone() };
        for (name, value, flags) in list {
            eas.retain(|(there, _, _)| *there != name);
            if !value.is_empty() {
                eas.push((name, value, flags));
            }
        }
        if crate::ea::size(&eas) > crate::ea::MOST {
            return NtStatus::EA_TOO_LARGE.fail();
        }
        inner.eas = eas;
        inner.meta.changed = now;
        if self.children.is_none() {
            inner.meta.attributes |= FILE_ATTRIBUTE_ARCHIVE; // NT-EA-22
        }
        Ok(())
    }
    fn security(&self) -> NtResult<Security> {
        Ok(self.inner.lock().security.clone())
    }
    fn set_security(&self, security: Security) -> NtResult<()> {
        let mut inner = self.inner.lock();
        inner.meta.secured = security.is_some();
        inner.security = security;
        Ok(())
    }
    fn reparse(&self) -> NtResult<Option<Vec<u8>>> {
        Ok(self.inner.lock().reparse.clone())
    }
    fn minds_case(&self) -> NtResult<bool> {
        Ok(self.minds_case.load(Ordering::Relaxed))
    }
    fn set_minds_case(&self, minds: bool) -> NtResult<()> {
        self.minds_case.store(minds, Ordering::Relaxed);
        Ok(())
    }
    fn is_reparse_point(&self) -> bool {
        self.inner.lock().reparse.is_some()
    }
    fn set_reparse(
        &self,
        _node: &Arc<Node>,
        _place: Option<&(Arc<Node>, Units)>,
        data: Option<Vec<u8>>,
    ) -> NtResult<()> {
        let now = self.now();
        let mut inner = self.inner.lock();
        match data {
            Some(_) => inner.meta.attributes |= FILE_ATTRIBUTE_REPARSE_POINT,
            None => inner.meta.attributes &= !FILE_ATTRIBUTE_REPARSE_POINT,
        }
        inner.reparse = data;
        inner.meta.changed = now;
        Ok(())
    }
    fn sync(&self) -> NtResult<()> {
        Ok(())
    }
    fn directory(&self) -> Option<&dyn Directory> {
        self.children.is_some().then_some(self as &dyn Directory)
    }
    fn streams(&self) -> Option<&dyn Streams> {
        Some(self)
    }
}

impl Directory for RamObject {
    fn child(&self, name: &[u16], exact: bool) -> NtResult<Option<(Units, Arc<Node>)>> {
        let children = self.children()?.read();
        if let Some((key, node)) = children.get_key_value(name) {
            return Ok(Some((key.clone(), Arc::clone(node))));
        }
        if exact || self.minds_case.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let wanted = upcase(name);
        let found = children.iter().find(|(key, _)| upcase(key) == wanted);
        Ok(found.map(|(key, node)| (key.clone(), Arc::clone(node))))
    }
    fn names(&self) -> NtResult<Vec<Units>> {
        Ok(self.children()?.read().keys().cloned().collect())
    }
    fn entry(&self, name: &[u16]) -> NtResult<Option<Entry>> {
        let Some(node) = self.children()?.read().get(name).cloned() else { return Ok(None) };
        let object = of(&node)?;
        let sizes = {
            let data = node.data.read();
            Sizes { eof: data.eof, allocation: data.allocation }
        };
        let inner = object.inner.lock();
        let ea_size = tag(inner.reparse.as_ref()).unwrap_or_else(|| crate::ea::size(&inner.eas));
        Ok(Some(Entry { id: object.id, meta: inner.meta, sizes, ea_size }))
    }
    fn is_empty(&self) -> NtResult<bool> {
        Ok(self.children()?.read().is_empty())
    }
    fn make(&self, name: &[u16], new: New) -> NtResult<Arc<Node>> {
        let id = FIRST_USE | self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let node = node(&self.shared, id, new)?;
        self.children()?.write().insert(name.to_vec(), Arc::clone(&node));
        self.touch();
        Ok(node)
    }
    fn remove(&self, name: &[u16], node: &Arc<Node>) -> NtResult<bool> {
        let mut children = self.children()?.write();
        if !children.get(name).is_some_and(|there| Arc::ptr_eq(there, node)) {
            return Ok(false);
        }
        children.remove(name);
        drop(children);
        self.touch();
        let object = of(node)?;
        object.inner.lock().meta.changed = self.now();
        object.links.fetch_sub(1, Ordering::Relaxed);
        Ok(true)
    }
    fn link(&self, name: &[u16], node: &Arc<Node>, replaced: Option<&Arc<Node>>) -> NtResult<()> {
        let object = of(node)?;
        if object.links.load(Ordering::Relaxed) >= MOST_LINKS {
            return NtStatus::TOO_MANY_LINKS.fail(); // NT-LNK-09
        }
        if let Some(there) = replaced {
            self.remove(name, there)?;
        }
        object.links.fetch_add(1, Ordering::Relaxed);
        self.children()?.write().insert(name.to_vec(), Arc::clone(node));
        self.touch();
        object.inner.lock().meta.changed = self.now();
        Ok(())
    }
    fn rename(
        &self,
        name: &[u16],
        node: &Arc<Node>,
        to: &Arc<Node>,
        new: &[u16],
        replaced: Option<&Arc<Node>>,
    ) -> NtResult<()> {
        let target = of(to)?;
        if node.is_directory() && inside(node, to) {
            return NtStatus::INVALID_PARAMETER.fail();
        }
        if let Some(replaced) = replaced {
            target.remove(new, replaced)?;
        }
        self.children()?.write().remove(name);
        self.touch();
        target.children()?.write().insert(new.to_vec(), Arc::clone(node));
        target.touch();
        let object = of(node)?;
        let mut inner = object.inner.lock();
        inner.meta.changed = self.now();
        if object.children.is_none() {
            inner.meta.attributes |= FILE_ATTRIBUTE_ARCHIVE; // NT-REN-31
        }
        Ok(())
    }
}

/// Is `below` the directory `top`, or somewhere under it?
fn inside(top: &Arc<Node>, below: &Arc<Node>) -> bool {
    if Arc::ptr_eq(top, below) {
        return true;
    }
    let Ok(Some(children)) = of(top).map(|object| object.children.as_ref()) else { return false };
    let children = children.read();
    children.values().filter(|child| child.is_directory()).any(|child| inside(child, below))
}

/// The longest sparse stream: NTFS' longest file with clusters of 4 KiB. Any other ends where the volume does.
const LONGEST: u64 = (1 << 44) - UNIT;

/// The units that `[start, end)` touches.
fn touched(start: u64, end: u64) -> (u64, u64) {
    (start / UNIT, end.div_ceil(UNIT))
}

impl RamContent {
    fn new(shared: &Arc<Shared>) -> Self {
        Self { store: Store::default(), allocation: 0, units: None, shared: Arc::clone(shared) }
    }

    /// Takes room of the volume, or gives it back; DISK_FULL when there is not so much.
    fn take(&mut self, allocation: u64) -> NtResult<u64> {
        let used = &self.shared.used;
        if allocation > self.allocation {
            let more = allocation - self.allocation;
            let before = used.fetch_add(more, Ordering::Relaxed);
            if before.checked_add(more).is_none_or(|after| after > self.shared.size) {
                used.fetch_sub(more, Ordering::Relaxed);
                return NtStatus::DISK_FULL.fail();
            }
        } else {
            used.fetch_sub(self.allocation - allocation, Ordering::Relaxed);
        }
        self.allocation = allocation;
        Ok(allocation)
    }

    /// Gives the sparse stream units `[from, to)`.
    fn add(&mut self, from: u64, to: u64) -> NtResult<u64> {
        let Some(units) = &self.units else { return Ok(self.allocation) };
        let (here, lacking) = (units.count(), units.lacking(from, to));
        let allocation = here.checked_add(lacking).and_then(|count| count.checked_mul(UNIT));
        let allocation = self.take(allocation.ok_or(NtStatus::DISK_FULL.error())?)?;
        if let Some(units) = &mut self.units {
            units.insert(from, to);
        }
        Ok(allocation)
    }

    /// Takes units `[from, to)` away from the sparse stream.
    fn drop_units(&mut self, from: u64, to: u64) -> NtResult<u64> {
        let Some(units) = self.units.as_mut().filter(|_| from < to) else { return Ok(self.allocation) };
        units.remove(from, to);
        let left = units.count() * UNIT;
        self.store.free(from, to);
        self.take(left)
    }
}

impl Content for RamContent {
    fn holds(&self, start: u64, length: usize) -> bool {
        // A hole inside the file has no memory yet: filling it changes the store. What has memory has a unit.
        self.store.holds(start, length)
    }
    fn has_room(&self, start: u64, end: u64) -> NtResult<bool> {
        let (from, to) = touched(start, end);
        Ok(self.units.as_ref().is_none_or(|units| units.hold(from, to)))
    }
    fn reserve(&mut self, start: u64, length: usize) -> NtResult<()> {
        self.store.reserve(start, length)
    }
    fn read(&self, start: u64, to: Region) -> NtResult<usize> {
        self.store.read(start, to).map_err(|_| NtStatus::ACCESS_VIOLATION.error())?;
        Ok(to.len())
    }
    fn write(&self, start: u64, from: Region) -> NtResult<()> {
        self.store.write(start, from).map_err(|_| NtStatus::INVALID_USER_BUFFER.error())
    }
    fn zero(&self, start: u64, end: u64) -> NtResult<()> {
        self.store.zero(start, end);
        Ok(())
    }
    fn set_length(&mut self, end: u64) -> NtResult<()> {
        if self.units.is_some() && end > LONGEST {
            return NtStatus::DISK_FULL.fail(); // NT-SPA-13
        }
        self.store.truncate(end);
        Ok(())
    }
    fn room(&mut self, start: u64, end: u64) -> NtResult<u64> {
        match self.units {
            None => self.allocate(end, end),
            Some(_) if end > LONGEST => NtStatus::DISK_FULL.fail(),
            Some(_) => {
                let (from, to) = touched(start, end);
                self.add(from, to)
            }
        }
    }
    fn allocate(&mut self, allocation: u64, eof: u64) -> NtResult<u64> {
        if self.units.is_none() {
            let rounded = allocation.checked_next_multiple_of(4096).ok_or(NtStatus::DISK_FULL.error())?;
            return self.take(rounded);
        }
        // NT-SPA-16: holes stay; room past the end is kept, or given up.
        let (from, to) = touched(eof.next_multiple_of(UNIT), allocation.max(eof));
        self.drop_units(from.max(to), u64::MAX)?;
        self.add(from, to)
    }
    fn set_sparse(&mut self, sparse: bool, eof: u64) -> NtResult<u64> {
        match (&self.units, sparse) {
            (None, true) => {
                let mut units = Runs::default();
                units.insert(0, self.allocation.div_ceil(UNIT));
                self.take(units.count() * UNIT)?;
                self.units = Some(Box::new(units));
            }
            (Some(units), false) => {
                let end = (units.end() * UNIT).max(eof);
                self.take(end.checked_next_multiple_of(4096).ok_or(NtStatus::DISK_FULL.error())?)?;
                self.units = None;
            }
            _ => {}
        }
        Ok(self.allocation)
    }
    fn punch(&mut self, start: u64, end: u64, eof: u64) -> NtResult<u64> {
        self.store.zero(start, end);
        let to = if end >= eof { end.div_ceil(UNIT) } else { end / UNIT };
        self.drop_units(start.div_ceil(UNIT), to)
    }
    fn allocated(&self, start: u64, end: u64) -> NtResult<Option<(u64, u64)>> {
        let Some(units) = &self.units else { return Ok(Some((start, end))) };
        let (from, to) = touched(start, end);
        Ok(units.next(from, to).map(|(from, to)| ((from * UNIT).max(start), (to * UNIT).min(end))))
    }
    fn outside(&self) -> NtResult<Option<Sizes>> {
        Ok(None)
    }
}

impl Drop for RamContent {
    fn drop(&mut self) {
        self.shared.used.fetch_sub(self.allocation, Ordering::Relaxed);
    }
}
