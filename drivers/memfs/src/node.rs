//! Files and directories of a volume, and the open instances of them.
//!
//! Room: drivers/memfs. Locks: the tree's mutex orders all changes of names; a node's main lock keeps transfers and
//! changes of size apart, its data lock guards sizes and content.
//! Source: FSRTL_ADVANCED_FCB_HEADER (FsContext), house rule 8.

use crate::backing::{Backing, Change, Content, Directory, Object, Sizes};
use crate::dasd::Sectors;
use crate::ea::Cursor;
use crate::link::{Link, Links};
use crate::main_lock::Main;
use crate::stream::{Kept, Named, StreamObject};
use nt_abi::io::{FILE_OBJECT, FO_NO_INTERMEDIATE_BUFFERING};
use nt_abi::mm::{FILE_LOCK, FSRTL_ADVANCED_FCB_HEADER, SECTION_OBJECT_POINTERS};
use nt_abi::{GUID, NtResult, NtStatus};
use nt_cell::{Foreign, Held, Steady};
use nt_ex::pool;
use nt_fsrtl::contexts::{self, FILE_CONTEXTS};
use nt_fsrtl::filelock::{self, FileLock};
use nt_fsrtl::oplock;
use nt_io::oplock_key;
use nt_io::share::{Counts, Share};
use nt_ke::lock::Biased;
use nt_ke::{Kernel, Mutex, RwLock};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

pub(crate) use crate::mount::Mount;

nt_abi::layout! {
    /// What FsContext points at: the documented header, then ours.
    pub struct FCB: 0xF8 {
        /// The header that the I/O manager, filters and FsRtl read.
        Header @ 0x00: FSRTL_ADVANCED_FCB_HEADER;
        /// What SectionObjectPointer points at.
        Sections @ 0x68: SECTION_OBJECT_POINTERS;
        /// The byte-range locks of the stream.
        Lock @ 0x80: FILE_LOCK;
        /// What FileContextSupportPointer points at.
        FileContexts @ 0xE0: FILE_CONTEXTS;
        /// Whether it was written to since it was last dated.
        Undated @ 0xF0: i32;
        /// Whether its cached transfers go straight to the host.
        Straight @ 0xF4: i32;
    }
    /// What FsContext2 points at.
    pub struct CCB: 0x10 {
        /// The key of the [`Open`].
        Key @ 0x00: u64;
    }
}

/// The version of a header that has an OPLOCK.
const FSRTL_FCB_HEADER_V2: u8 = 2;

/// A name, UTF-16.
pub(crate) type Units = Vec<u16>;

/// A volume.
pub struct Volume {
    pub(crate) index: u32,
    pub(crate) backing: Box<dyn Backing>,
    pub(crate) tree: Mutex<()>,
    pub(crate) root: Arc<Node>,
    pub(crate) created: i64,
    pub(crate) label: Mutex<Units>,
    pub(crate) links: Arc<Links>,
    /// Opens that an oplock was granted to, and some that lost theirs since.
    pub(crate) oplocked: Mutex<Vec<Weak<Open>>>,
    pub(crate) mount: Arc<Mount>,
    pub(crate) sectors: RwLock<Sectors>,
}

impl std::fmt::Debug for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "volume {}", self.index)
    }
}

/// The data of a file with its three sizes.
pub(crate) struct Data {
    pub(crate) content: Box<dyn Content>,
    pub(crate) eof: u64,
    pub(crate) valid: u64,
    pub(crate) allocation: u64,
    /// Not all before its end need be allocated (NT-SPA). A file of the host that ever lacked some stays so.
    pub(crate) sparse: bool,
}

/// Who has the file open, by what they ask and allow (NT-A-13).
#[derive(Clone, Default, Debug)]
pub(crate) struct Sharing {
    pub(crate) counts: Counts,
    /// File objects whose CLEANUP is still to come, and those of them that are not cached (NT-CC-72).
    pub(crate) handles: u32,
    pub(crate) uncached: u32,
    /// The oplock keys of those that have one (NT-OPL-14).
    keys: Vec<GUID>,
}

impl Sharing {
    /// A file object opened the stream.
    pub(crate) fn enter(&mut self, file: Foreign<FILE_OBJECT>) {
        self.handles += 1;
        self.uncached += u32::from(file.get(FILE_OBJECT::Flags) & FO_NO_INTERMEDIATE_BUFFERING != 0);
        self.keys.extend(oplock_key::of(file).target);
    }

    /// Its last handle is gone.
    pub(crate) fn leave(&mut self, file: Foreign<FILE_OBJECT>) {
        self.handles = self.handles.saturating_sub(1);
        let uncached = file.get(FILE_OBJECT::Flags) & FO_NO_INTERMEDIATE_BUFFERING != 0;
        self.uncached = self.uncached.saturating_sub(u32::from(uncached));
        if let Some(key) = oplock_key::of(file).target
            && let Some(at) = self.keys.iter().position(|each| *each == key)
        {
            self.keys.swap_remove(at);
        }
    }

    /// Have all of them the same oplock key?
    pub(crate) fn have_one_key(&self) -> bool {
        self.keys.len() == self.handles as usize && self.keys.windows(2).all(|two| two[0] == two[1])
    }
}

/// A file or directory, as long as it is open or its backing keeps it.
pub(crate) struct Node {
    pub(crate) object: Box<dyn Object>,
    /// Who reads, writes or resizes for a caller holds it.
    pub(crate) main: Main,
    /// How its cached transfers go.
    pub(crate) way: crate::straight::Way,
    /// Innermost: sizes and content, also for paging requests.
    pub(crate) data: Biased<Data>,
    /// How many of its names are marked to go (NT-DEL-30).
    pub(crate) marked: AtomicU32,
    /// How often its extended attributes were set.
    pub(crate) ea_changes: AtomicU32,
    /// Opens that froze a time: the fast path asks them.
    pub(crate) freezers: AtomicU32,
    /// It is sparse: the fast path asks for room first.
    pub(crate) sparse: AtomicBool,
    /// It had FILE_ATTRIBUTE_TEMPORARY when it was last opened.
    pub(crate) temporary: AtomicBool,
    /// How often purge-failure mode was set and not taken back (NT-N-07).
    pub(crate) purge_failures: AtomicU32,
    pub(crate) sharing: Mutex<Sharing>,
    pub(crate) fcb: Foreign<FCB>,
    /// What makes it a named stream.
    pub(crate) named: Option<Box<Named>>,
    /// Some named stream of the file was opened or made.
    pub(crate) streamed: AtomicBool,
    /// It was opened on a write-protected volume.
    pub(crate) protected: AtomicBool,
}

impl Drop for Node {
    fn drop(&mut self) {
        contexts::tear_down(self.header());
        if self.named.is_none() {
            contexts::tear_down_for_file(self.fcb.at(FCB::FileContexts));
        }
        filelock::uninitialize(self.lock());
        oplock::uninitialize(self.oplock());
        pool::free(self.fcb);
    }
}

/// One open of a node.
pub(crate) struct Open {
    pub(crate) node: Arc<Node>,
    /// The file, where the node is a named stream of it.
    pub(crate) file: Option<Arc<Node>>,
    /// The name by which it was opened; the root and the volume have none.
    pub(crate) link: Option<Arc<Link>>,
    /// Which components of its name were short names when it was opened ([`crate::path::Place`]).
    pub(crate) by_short: AtomicU32,
    /// It hinders a rename of a directory above it (NT-REN-23).
    pub(crate) hinders: bool,
    pub(crate) access: u32,
    /// What it counts for in the sharing of its stream.
    pub(crate) part: Option<Share>,
    pub(crate) delete_on_close: Mutex<bool>,
    pub(crate) opened_to_delete: bool,
    pub(crate) scan: Mutex<Scan>,
    pub(crate) ea: Mutex<Cursor>,
    /// The times that operations through this open leave alone: bit 0 created, 1 accessed, 2 written, 3 changed.
    pub(crate) frozen: AtomicU8,
    /// The mount that it belongs to, and which one that was.
    pub(crate) mount: Arc<Mount>,
    pub(crate) generation: u64,
    /// A volume handle that dismounted it; one that may go past its end.
    pub(crate) dismounted: AtomicBool,
    pub(crate) extended: AtomicBool,
    /// Its opener held the manage-volume privilege (NT-I-12).
    pub(crate) manages: bool,
}

impl Open {
    /// Was the file opened by its short name?
    pub(crate) fn is_by_short(&self) -> bool {
        self.by_short.load(Ordering::Relaxed) & 1 != 0
    }

    /// Sets which times operations through this open leave alone.
    pub(crate) fn freeze(&self, times: u8) {
        let before = self.frozen.swap(times, Ordering::Relaxed);
        match (before, times) {
            (0, 1..) => _ = self.node.freezers.fetch_add(1, Ordering::Relaxed),
            (1.., 0) => _ = self.node.freezers.fetch_sub(1, Ordering::Relaxed),
            _ => return,
        }
        crate::lock::tell(&self.node);
    }

    /// Acts, and puts back the times that this open froze (NT-QRY-18).
    pub(crate) fn keeping_times<R>(&self, act: impl FnOnce() -> NtResult<R>) -> NtResult<R> {
        let frozen = self.frozen.load(Ordering::Relaxed);
        if frozen == 0 {
            return act();
        }
        self.node.date()?;
        let before = self.node.object.meta()?;
        let result = act()?;
        self.node.date()?;
        let now = self.node.object.meta()?;
        let keep = |bit: u8, before: i64| (frozen & bit != 0).then_some(before);
        self.node.object.change(&Change {
            created: None,
            accessed: keep(2, before.accessed),
            written: keep(4, before.written),
            changed: Some(keep(8, before.changed).unwrap_or(now.changed)),
            attributes: None,
        })?;
        Ok(result)
    }

    /// What queries tell of it.
    pub(crate) fn found(&self) -> Found<'_> {
        Found { node: &self.node, file: self.file(), link: self.link.as_deref() }
    }

    /// Is its name to go, or gone; or the stream?
    pub(crate) fn is_pending(&self) -> bool {
        self.found().is_pending()
    }
}

/// What a name led to, opened or not.
#[derive(Clone, Copy)]
pub(crate) struct Found<'a> {
    pub(crate) node: &'a Node,
    /// The file, where the node is a named stream of it; else the node.
    pub(crate) file: &'a Node,
    pub(crate) link: Option<&'a Link>,
}

impl Found<'_> {
    pub(crate) fn is_pending(&self) -> bool {
        let stream = self.node.named.as_ref().is_some_and(|named| named.is_pending());
        stream || self.link.is_some_and(Link::is_pending)
    }
}

/// Where a directory enumeration stands: a snapshot of the names, in the order of NT-DIR-12, taken at its start.
#[derive(Default)]
pub(crate) struct Scan {
    pub(crate) started: bool,
    /// The first two names are "." and "..".
    pub(crate) dots: bool,
    pub(crate) names: Vec<Units>,
    pub(crate) at: usize,
    pub(crate) pattern: Option<Units>,
}

pub(crate) static OPENS: Steady<Arc<Open>> = Steady::new();

/// Returns the open behind a file object of ours; VOLUME_DISMOUNTED when its mount is gone (NT-S-02).
pub(crate) fn open_of(file: Foreign<FILE_OBJECT>) -> NtResult<Held<'static, Arc<Open>>> {
    let open = open_any(file)?;
    if open.generation == open.mount.generation() { Ok(open) } else { NtStatus::VOLUME_DISMOUNTED.fail() }
}

/// As [`open_of`], also of a volume that was dismounted since.
pub(crate) fn open_any(file: Foreign<FILE_OBJECT>) -> NtResult<Held<'static, Arc<Open>>> {
    let ccb = file.ptr(FILE_OBJECT::FsContext2).ok_or(NtStatus::INVALID_DEVICE_REQUEST.error())?;
    let key = ccb.view::<CCB>().get(CCB::Key);
    OPENS.get(key).ok_or(NtStatus::FILE_CLOSED.error())
}

impl Node {
    /// Makes a node of what a backing holds.
    pub(crate) fn new(object: Box<dyn Object>, content: Box<dyn Content>, sizes: Sizes) -> NtResult<Arc<Self>> {
        Self::build(object, content, sizes, None)
    }

    /// Makes the node of a named stream.
    pub(crate) fn new_stream<K: Kept>(
        file: &Arc<Self>,
        name: &[u16],
        kept: K,
        content: Box<dyn Content>,
        sizes: Sizes,
    ) -> NtResult<Arc<Self>> {
        let object = Box::new(StreamObject::new(file, kept));
        // Contexts of the file are found from each of its streams (FLT-C-15).
        let slot = file.fcb.at(FCB::FileContexts);
        Self::build(object, content, sizes, Some((Box::new(Named::new(file, name)), slot)))
    }

    fn build(
        object: Box<dyn Object>,
        content: Box<dyn Content>,
        sizes: Sizes,
        stream: Option<(Box<Named>, Foreign<FILE_CONTEXTS>)>,
    ) -> NtResult<Arc<Self>> {
        let fcb = pool::zeroed::<FCB>(pool::tag(b"FsFc")).ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
        let header = fcb.at(FCB::Header);
        header.set(FSRTL_ADVANCED_FCB_HEADER::NodeTypeCode, 0x0701);
        header.set(FSRTL_ADVANCED_FCB_HEADER::NodeByteSize, FCB::SIZE as i16);
        header.set(FSRTL_ADVANCED_FCB_HEADER::IsFastIoPossible, u8::from(object.directory().is_none()));
        let (named, slot) = stream.unzip();
        contexts::setup(header, Some(slot.unwrap_or(fcb.at(FCB::FileContexts))));
        header.set(FSRTL_ADVANCED_FCB_HEADER::Version, FSRTL_FCB_HEADER_V2);
        let Sizes { eof, allocation } = sizes;
        let data = Data { content, eof, valid: eof, allocation, sparse: sizes.lack_room() };
        let node = Self {
            object,
            main: Main::default(),
            way: crate::straight::Way::default(),
            data: Biased::new(data),
            marked: AtomicU32::new(0),
            ea_changes: AtomicU32::new(0),
            freezers: AtomicU32::new(0),
            sparse: AtomicBool::new(false),
            temporary: AtomicBool::new(false),
            purge_failures: AtomicU32::new(0),
            sharing: Mutex::new(Sharing::default()),
            fcb,
            named,
            streamed: AtomicBool::new(false),
            protected: AtomicBool::new(false),
        };
        filelock::initialize(node.lock(), None, None);
        oplock::initialize(node.oplock());
        node.publish(&node.data.read());
        Ok(Arc::new(node))
    }

    /// What filters and the I/O manager read of the stream.
    pub(crate) fn header(&self) -> Foreign<FSRTL_ADVANCED_FCB_HEADER> {
        self.fcb.at(FCB::Header)
    }

    /// Dates the file for what was written, to any of its streams, since it was last dated (NT-S-09).
    pub(crate) fn date(&self) -> NtResult<()> {
        if let Some(named) = &self.named {
            return named.file()?.date();
        }
        self.date_own()?;
        if self.streamed.load(Ordering::Relaxed) {
            self.live_streams().iter().try_for_each(|stream| stream.date_own())?;
        }
        Ok(())
    }

    fn date_own(&self) -> NtResult<()> {
        if self.fcb.get(FCB::Undated) != 0 && self.fcb.swap32(FCB::Undated, 0) != 0 {
            self.object.modified(self.is_dirty())
        } else {
            Ok(())
        }
    }

    /// Has all that was written been dated?
    pub(crate) fn is_dated(&self) -> bool {
        self.fcb.get(FCB::Undated) == 0
    }

    /// The byte-range locks of the stream.
    pub(crate) fn lock(&self) -> FileLock {
        self.fcb.at(FCB::Lock)
    }

    pub(crate) fn id(&self) -> u64 {
        self.object.id()
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.object.directory().is_some()
    }

    pub(crate) fn directory(&self) -> NtResult<&dyn Directory> {
        self.object.directory().ok_or(NtStatus::NOT_A_DIRECTORY.error())
    }

    /// Shows the sizes in the FCB header, where filters and the I/O manager look.
    pub(crate) fn publish(&self, data: &Data) {
        let header = self.fcb.at(FCB::Header);
        // A sparse file has less; here it must cover the file.
        header.set(FSRTL_ADVANCED_FCB_HEADER::AllocationSize, data.allocation.max(data.eof) as i64);
        header.set(FSRTL_ADVANCED_FCB_HEADER::FileSize, data.eof as i64);
        header.set(FSRTL_ADVANCED_FCB_HEADER::ValidDataLength, data.valid as i64);
        if self.sparse.load(Ordering::Relaxed) != data.sparse {
            self.sparse.store(data.sparse, Ordering::Relaxed);
            crate::lock::tell(self);
        }
    }

    /// Drops all bytes and their room; the caller holds `main`, and tells the cache (NT-CC-77).
    pub(crate) fn empty(&self) -> NtResult<()> {
        let mut data = self.data.write();
        data.content.set_length(0)?;
        data.eof = 0;
        data.valid = 0;
        data.allocate(0)?;
        data.set_sparse(false)?;
        self.publish(&data);
        Ok(())
    }

    /// Takes over the lengths from outside, where others may have changed them.
    pub(crate) fn refresh(&self) -> NtResult<()> {
        if self.is_directory() {
            return Ok(());
        }
        let outside = self.data.read().content.outside()?;
        // Who is about to change a length has it, or what the cache holds has not got there yet.
        let Some(_main) = outside.and_then(|_| self.main.try_shared()) else { return Ok(()) };
        if self.is_dirty() {
            return Ok(());
        }
        let mut data = self.data.write();
        let before = data.eof;
        data.refresh()?;
        self.publish(&data);
        let changed = data.eof != before;
        drop(data);
        if changed {
            self.tell_cache();
            self.forget();
        }
        Ok(())
    }

    /// As [`Node::refresh`], where `end` lies past the end that we know: there may be more by now.
    pub(crate) fn refresh_past(&self, end: u64) -> NtResult<()> {
        if end > self.data.read().eof { self.refresh() } else { Ok(()) }
    }
}

/// Notes that data changed. The clock is not read for it: the file is dated when somebody asks, or the handle goes.
pub(crate) fn wrote(fcb: Foreign<FCB>) {
    if fcb.get(FCB::Undated) == 0 {
        fcb.set(FCB::Undated, 1);
    }
}

impl Data {
    /// As [`Node::refresh`], with the lock held already.
    pub(crate) fn refresh(&mut self) -> NtResult<()> {
        if let Some(sizes) = self.content.outside()? {
            if sizes.eof != self.eof {
                self.valid = sizes.eof;
            }
            self.eof = sizes.eof;
            self.allocation = sizes.allocation;
            self.sparse |= sizes.lack_room();
        }
        Ok(())
    }

    /// Makes room for a write of `[start, end)`, DISK_FULL past the volume's size (NT-S-05, NT-SPA-14).
    pub(crate) fn make_room(&mut self, start: u64, end: u64) -> NtResult<()> {
        if self.sparse || end > self.allocation {
            self.allocation = self.allocation.max(self.content.room(start, end)?);
        }
        Ok(())
    }

    /// Can the cache bring `[start, end)`, inside the file, without more room than there is?
    pub(crate) fn has_room(&self, start: u64, end: u64) -> NtResult<bool> {
        if self.sparse { self.content.has_room(start, end) } else { Ok(true) }
    }

    /// Makes room for a new length; a sparse file needs none (NT-SPA-13).
    pub(crate) fn extend(&mut self, end: u64) -> NtResult<()> {
        if self.sparse { Ok(()) } else { self.make_room(end, end) }
    }

    /// Sets what is allocated, DISK_FULL past the volume's size (NT-S-05).
    pub(crate) fn allocate(&mut self, allocation: u64) -> NtResult<()> {
        self.allocation = self.content.allocate(allocation, self.eof)?;
        Ok(())
    }

    /// Makes it sparse, or fills its holes (NT-SPA-01, NT-SPA-02).
    pub(crate) fn set_sparse(&mut self, sparse: bool) -> NtResult<()> {
        self.allocation = self.content.set_sparse(sparse, self.eof)?;
        self.sparse = sparse;
        Ok(())
    }
}

/// Upper-cases a name for a comparison that ignores case.
pub(crate) fn upcase(name: &[u16]) -> Units {
    name.iter().map(|&unit| nt_rtl::unicode::upcase(unit)).collect()
}

impl Volume {
    pub(crate) fn new(index: u32, backing: Box<dyn Backing>) -> NtResult<Arc<Self>> {
        let root = backing.root();
        let created = root.object.meta().map_or(0, |meta| meta.created);
        let sectors = match backing.sectors() {
            Some(size) => Sectors::formatted(size, serial(index))?,
            None => Sectors::default(),
        };
        let (tree, links, mount) = (Mutex::new(()), Arc::default(), Arc::default());
        let (oplocked, sectors) = (Mutex::default(), RwLock::new(sectors));
        let label = Mutex::new("ntio".encode_utf16().collect());
        Ok(Arc::new(Self { index, backing, tree, root, created, label, links, oplocked, mount, sectors }))
    }
}

/// The volume's serial number.
pub(crate) fn serial(index: u32) -> u32 {
    0x4E54_494F + index
}

/// The machine's system time.
pub(crate) fn now(kernel: &Weak<Kernel>) -> i64 {
    kernel.upgrade().map_or(0, |kernel| kernel.clock.system_time())
}
