//! Files and directories of a volume, and the open instances of them.
//!
//! Room: drivers/memfs. Locks: the tree's mutex orders all changes of names; a node's own locks guard its data and
//! metadata. Source: FSRTL_ADVANCED_FCB_HEADER (FsContext), house rule 8.

use crate::store::Store;
use nt_abi::io::FILE_OBJECT;
use nt_abi::mm::{FSRTL_ADVANCED_FCB_HEADER, SECTION_OBJECT_POINTERS};
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Foreign, Slab};
use nt_ex::pool;
use nt_ke::{Kernel, Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};

nt_abi::layout! {
    /// What FsContext points at: the documented header, then ours.
    pub struct FCB: 0xA0 {
        /// The header that the I/O manager, filters and FsRtl read.
        Header @ 0x00: FSRTL_ADVANCED_FCB_HEADER;
        /// What SectionObjectPointer points at.
        Sections @ 0x68: SECTION_OBJECT_POINTERS;
    }
    /// What FsContext2 points at.
    pub struct CCB: 0x10 {
        /// The key of the [`Open`].
        Key @ 0x00: u64;
    }
}

/// A name, UTF-16.
pub(crate) type Units = Vec<u16>;

/// A volume.
pub struct Volume {
    pub(crate) index: u32,
    pub(crate) size: u64,
    pub(crate) used: AtomicU64,
    pub(crate) tree: Mutex<()>,
    pub(crate) root: Arc<Node>,
    pub(crate) created: i64,
    next_id: AtomicU64,
    kernel: Weak<Kernel>,
}

impl std::fmt::Debug for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ram volume {}", self.index)
    }
}

/// Times and attributes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meta {
    pub(crate) created: i64,
    pub(crate) accessed: i64,
    pub(crate) written: i64,
    pub(crate) changed: i64,
    pub(crate) attributes: u32,
    pub(crate) eas: Vec<(Vec<u8>, Vec<u8>, u8)>,
    pub(crate) reparse: Option<Vec<u8>>,
}

/// The data of a file with its three sizes.
#[derive(Default)]
pub(crate) struct Data {
    pub(crate) store: Store,
    pub(crate) eof: u64,
    pub(crate) valid: u64,
    pub(crate) allocation: u64,
}

/// Who has the file open, by what they ask and allow (NT-A-13).
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Sharing {
    pub(crate) opens: u32,
    pub(crate) readers: u32,
    pub(crate) writers: u32,
    pub(crate) deleters: u32,
    pub(crate) share_read: u32,
    pub(crate) share_write: u32,
    pub(crate) share_delete: u32,
}

/// A file or directory.
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) children: Option<RwLock<BTreeMap<Units, Arc<Node>>>>,
    pub(crate) data: RwLock<Data>,
    pub(crate) meta: Mutex<Meta>,
    pub(crate) links: AtomicU32,
    pub(crate) delete_pending: Mutex<bool>,
    pub(crate) sharing: Mutex<Sharing>,
    pub(crate) fcb: Foreign<FCB>,
}

impl Drop for Node {
    fn drop(&mut self) {
        pool::free(self.fcb);
    }
}

/// One open of a node.
pub(crate) struct Open {
    pub(crate) node: Arc<Node>,
    /// Where it was opened: the directory and the name there, which a rename changes.
    pub(crate) place: Mutex<Option<(Arc<Node>, Units)>>,
    pub(crate) path: Mutex<Units>,
    pub(crate) access: u32,
    pub(crate) share: u32,
    pub(crate) delete_on_close: Mutex<bool>,
    pub(crate) posix_delete: Mutex<bool>,
    pub(crate) scan: Mutex<Scan>,
}

/// Where a directory enumeration stands.
#[derive(Default)]
pub(crate) struct Scan {
    pub(crate) started: bool,
    pub(crate) after: Option<Units>,
    pub(crate) dots: u8,
    pub(crate) pattern: Option<Units>,
}

pub(crate) static OPENS: LazyLock<Slab<Arc<Open>>> = LazyLock::new(Slab::new);

/// Returns the open behind a file object of ours.
pub(crate) fn open_of(file: Foreign<FILE_OBJECT>) -> NtResult<Arc<Open>> {
    let ccb = file.ptr(FILE_OBJECT::FsContext2).ok_or(NtStatus::INVALID_DEVICE_REQUEST.error())?;
    let key = ccb.view::<CCB>().get(CCB::Key);
    OPENS.get(key).map(|open| Arc::clone(&open)).ok_or(NtStatus::FILE_CLOSED.error())
}

impl Node {
    pub(crate) fn new(id: u64, directory: bool, attributes: u32, now: i64) -> NtResult<Arc<Self>> {
        let fcb = pool::zeroed::<FCB>(pool::tag(b"RamF")).ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
        let header = fcb.at(FCB::Header);
        header.set(FSRTL_ADVANCED_FCB_HEADER::NodeTypeCode, 0x0701);
        header.set(FSRTL_ADVANCED_FCB_HEADER::NodeByteSize, FCB::SIZE as i16);
        header.set(FSRTL_ADVANCED_FCB_HEADER::IsFastIoPossible, u8::from(!directory));
        Ok(Arc::new(Self {
            id,
            children: directory.then(|| RwLock::new(BTreeMap::new())),
            data: RwLock::new(Data::default()),
            meta: Mutex::new(Meta {
                created: now,
                accessed: now,
                written: now,
                changed: now,
                attributes,
                ..Meta::default()
            }),
            links: AtomicU32::new(1),
            delete_pending: Mutex::new(false),
            sharing: Mutex::new(Sharing::default()),
            fcb,
        }))
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.children.is_some()
    }

    /// Shows the sizes in the FCB header, where filters and the I/O manager look.
    pub(crate) fn publish(&self, data: &Data) {
        let header = self.fcb.at(FCB::Header);
        header.set(FSRTL_ADVANCED_FCB_HEADER::AllocationSize, data.allocation as i64);
        header.set(FSRTL_ADVANCED_FCB_HEADER::FileSize, data.eof as i64);
        header.set(FSRTL_ADVANCED_FCB_HEADER::ValidDataLength, data.valid as i64);
    }

    /// Finds a child: by its exact name, else, when case does not count, by a name that differs in case only.
    pub(crate) fn child(&self, name: &[u16], exact: bool) -> Option<(Units, Arc<Node>)> {
        let children = self.children.as_ref()?.read();
        if let Some((key, node)) = children.get_key_value(name) {
            return Some((key.clone(), Arc::clone(node)));
        }
        if exact {
            return None;
        }
        let wanted = upcase(name);
        children.iter().find(|(key, _)| upcase(key) == wanted).map(|(key, node)| (key.clone(), Arc::clone(node)))
    }
}

/// Upper-cases a name for a comparison that ignores case.
pub(crate) fn upcase(name: &[u16]) -> Units {
    name.iter().map(|&unit| nt_rtl::unicode::upcase(unit)).collect()
}

impl Volume {
    pub(crate) fn new(kernel: &Arc<Kernel>, index: u32, size: u64) -> NtResult<Arc<Self>> {
        let now = kernel.clock.system_time();
        Ok(Arc::new(Self {
            index,
            size,
            used: AtomicU64::new(0),
            tree: Mutex::new(()),
            root: Node::new(5, true, 0x10, now)?,
            created: now,
            next_id: AtomicU64::new(16),
            kernel: Arc::downgrade(kernel),
        }))
    }

    pub(crate) fn now(&self) -> i64 {
        self.kernel.upgrade().map_or(0, |kernel| kernel.clock.system_time())
    }

    pub(crate) fn new_node(&self, directory: bool, attributes: u32) -> NtResult<Arc<Node>> {
        Node::new(self.next_id.fetch_add(1, Ordering::Relaxed), directory, attributes, self.now())
    }

    /// Sets a file's allocation, DISK_FULL past the volume's size (NT-S-05).
    pub(crate) fn allocate(&self, data: &mut Data, allocation: u64) -> NtResult<()> {
        let rounded = allocation.checked_next_multiple_of(4096).ok_or(NtStatus::DISK_FULL.error())?;
        if rounded > data.allocation {
            let more = rounded - data.allocation;
            let before = self.used.fetch_add(more, Ordering::Relaxed);
            if before.checked_add(more).is_none_or(|after| after > self.size) {
                self.used.fetch_sub(more, Ordering::Relaxed);
                return NtStatus::DISK_FULL.fail();
            }
        } else {
            self.used.fetch_sub(data.allocation - rounded, Ordering::Relaxed);
        }
        data.allocation = rounded;
        Ok(())
    }

    /// Gives a file's space back: its last name and its last open are gone.
    pub(crate) fn forget(&self, node: &Node) {
        let mut data = node.data.write();
        self.used.fetch_sub(data.allocation, Ordering::Relaxed);
        data.allocation = 0;
        data.store.truncate(0);
        data.eof = 0;
        data.valid = 0;
    }

    /// Returns bytes of data held in memory.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}
