//! Handle tables.
//!
//! Room: ntos/ob. IRQL: PASSIVE_LEVEL. Locks: an entry's lock bit for the time of one reference; the free list.
//! Source: "Object Handles"; ObReferenceObjectByHandle; rules NT-A-06, NT-E-03, NT-B-12.
//! A lookup takes no lock of the table: it locks the one entry by a bit of its object pointer, counts the object, and
//! lets go, so that a close at the same time either finds the count raised or the lookup finds nothing.

use crate::object::{self, ObjectRef};
use crate::types::ObjectType;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::Foreign;
use nt_cell::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use nt_ke::Mutex;
use std::sync::OnceLock;

/// A HANDLE value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Handle(pub u64);

/// Bits that mark a handle of the system process's table (kernel handles).
pub const KERNEL_HANDLE: u64 = 0xFFFF_FFFF_8000_0000;

impl Handle {
    /// No handle.
    pub const NULL: Self = Self(0);
    /// NtCurrentProcess().
    pub const CURRENT_PROCESS: Self = Self(u64::MAX);
    /// NtCurrentThread().
    pub const CURRENT_THREAD: Self = Self(u64::MAX - 1);

    /// Returns whether the handle belongs to the system process's table.
    #[must_use]
    pub const fn is_kernel(self) -> bool {
        self.0 & KERNEL_HANDLE == KERNEL_HANDLE && self.0 < u64::MAX - 16
    }
}

const CHUNK: usize = 256;
const CHUNKS: usize = 4096;
const LOCK: u64 = 1;

struct Entry {
    object: AtomicU64,
    access: AtomicU32,
    attributes: AtomicU32,
}

/// The handle table of one process.
pub struct HandleTable {
    chunks: Box<[OnceLock<Box<[Entry; CHUNK]>>]>,
    free: Mutex<Free>,
    kernel: bool,
}

#[derive(Default)]
struct Free {
    list: Vec<u32>,
    next: u32,
}

/// The handles to an object that a close leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Left {
    /// In all tables.
    pub anywhere: i64,
    /// Whether the table that the handle was closed in has another one.
    pub here: bool,
}

/// What a handle gives: the object and the granted access.
#[derive(Debug)]
pub struct Referenced {
    /// The object, counted.
    pub object: ObjectRef<Bytes>,
    /// What the object is.
    pub kind: ObjectType,
    /// The access granted at open.
    pub granted: u32,
    /// The handle's attributes (OBJ_INHERIT ...).
    pub attributes: u32,
}

impl HandleTable {
    /// Makes an empty table; `kernel` tables hand out kernel handles.
    #[must_use]
    pub fn new(kernel: bool) -> Self {
        Self { chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect(), free: Mutex::new(Free::default()), kernel }
    }

    fn entry(&self, index: u32) -> Option<&Entry> {
        let index = index as usize;
        self.chunks.get(index / CHUNK)?.get().map(|chunk| &chunk[index % CHUNK])
    }

    fn index(handle: Handle) -> Option<u32> {
        let low = if handle.is_kernel() { handle.0 & !KERNEL_HANDLE } else { handle.0 };
        // The two low bits of a handle are the application's; index 0 is never used.
        u32::try_from(low >> 2).ok()?.checked_sub(1)
    }

    /// Makes a handle to an object; the table keeps a reference of its own.
    pub fn insert(&self, object: &ObjectRef<Bytes>, granted: u32, attributes: u32) -> NtResult<Handle> {
        let index = {
            let mut free = self.free.lock();
            match free.list.pop() {
                Some(index) => index,
                None => {
                    let index = free.next;
                    if index as usize >= CHUNK * CHUNKS {
                        return NtStatus::INSUFFICIENT_RESOURCES.fail();
                    }
                    self.chunks[index as usize / CHUNK].get_or_init(|| {
                        Box::new(std::array::from_fn(|_| Entry {
                            object: AtomicU64::new(0),
                            access: AtomicU32::new(0),
                            attributes: AtomicU32::new(0),
                        }))
                    });
                    free.next += 1;
                    index
                }
            }
        };
        let entry = self.entry(index).ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
        let body = object.clone().into_raw();
        object::add_handle(body);
        entry.access.store(granted, Ordering::Relaxed);
        entry.attributes.store(attributes, Ordering::Relaxed);
        entry.object.store(body.addr(), Ordering::Release);
        let plain = u64::from(index + 1) << 2;
        Ok(Handle(if self.kernel { plain | KERNEL_HANDLE } else { plain }))
    }

    fn lock(entry: &Entry) -> Option<u64> {
        loop {
            let was = entry.object.load(Ordering::Relaxed);
            if was == 0 {
                return None;
            }
            if was & LOCK == 0
                && entry.object.compare_exchange_weak(was, was | LOCK, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return Some(was);
            }
            nt_cell::sync::spin_loop();
        }
    }

    /// Counts the object behind a handle (NT-A-06: INVALID_HANDLE for one that does not exist).
    pub fn reference(&self, handle: Handle) -> NtResult<Referenced> {
        let index = Self::index(handle).filter(|_| handle.is_kernel() == self.kernel);
        let entry = index.and_then(|index| self.entry(index));
        let entry = entry.ok_or(NtStatus::INVALID_HANDLE.error())?;
        let address = Self::lock(entry).ok_or(NtStatus::INVALID_HANDLE.error())?;
        let granted = entry.access.load(Ordering::Relaxed);
        let attributes = entry.attributes.load(Ordering::Relaxed);
        let body = object::at(address);
        let object = object::reference(body);
        entry.object.store(address, Ordering::Release);
        let kind = object::kind_of(body).ok_or(NtStatus::INVALID_HANDLE.error())?;
        Ok(Referenced { object, kind, granted, attributes })
    }

    /// Closes a handle: the type's close routine runs, then the table's reference goes.
    pub fn close(&self, handle: Handle) -> NtResult<()> {
        let index = Self::index(handle).filter(|_| handle.is_kernel() == self.kernel);
        let index = index.ok_or(NtStatus::INVALID_HANDLE.error())?;
        let entry = self.entry(index).ok_or(NtStatus::INVALID_HANDLE.error())?;
        let address = Self::lock(entry).ok_or(NtStatus::INVALID_HANDLE.error())?;
        entry.object.store(0, Ordering::Release);
        self.free.lock().list.push(index);
        let body: Foreign<Bytes> = object::at(address);
        let left = object::remove_handle(body);
        if let Some(close) = object::kind_of(body).and_then(|kind| kind.routines().close) {
            close(body, Left { anywhere: left, here: left > 0 && self.has(address) });
        }
        object::dereference(body);
        Ok(())
    }

    /// Returns whether a handle of this table is to the object at `address`.
    fn has(&self, address: u64) -> bool {
        let end = self.free.lock().next;
        let is = |index| self.entry(index).is_some_and(|e| e.object.load(Ordering::Acquire) & !LOCK == address);
        (0..end).any(is)
    }

    /// Returns every open handle: what a process leaves behind.
    #[must_use]
    pub fn handles(&self) -> Vec<Handle> {
        let end = self.free.lock().next;
        let open = |&index: &u32| self.entry(index).is_some_and(|entry| entry.object.load(Ordering::Acquire) != 0);
        let mark = if self.kernel { KERNEL_HANDLE } else { 0 };
        (0..end).filter(open).map(|index| Handle(u64::from(index + 1) << 2 | mark)).collect()
    }
}
