//! The cache manager of one machine: its maps, what is dirty, system threads for its own work.
//!
//! Room: ntos/cc. IRQL: PASSIVE_LEVEL. Locks: births (innermost but for a map's state), the list of idle threads.
//! House rule 9: `behind` writes once a second; `through` writes before the outermost service returns. Either way in a
//! thread of the system process.

use crate::layout::CACHE_UNINITIALIZE_EVENT;
use crate::map::CacheMap;
use crate::throttle::{Deferred, Posts};
use nt_abi::NtStatus;
use nt_abi::io::FILE_OBJECT;
use nt_cell::Foreign;
use nt_ke::kernel::Slot;
use nt_ke::lock::Condvar;
use nt_ke::{Frame, Kernel, Mode, Mutex, Thread};
use nt_ob::ObjectRef;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// When dirty pages are written (`--cache`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// By the lazy writer, about a second later.
    #[default]
    Behind,
    /// By the lazy writer at once, awaited by the outermost service.
    Through,
}

const BEHIND: u8 = 1;
const THROUGH: u8 = 2;

/// A lost delayed write (NT-CC-79, NT-CC-80).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The file.
    pub file: String,
    /// Where.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
    /// The status of the last paging write.
    pub status: NtStatus,
}

/// Dirty bytes that throttle writers: 256 MiB.
const LIMIT: usize = 256 << 20 >> 12;

/// Cached bytes from which on clean pages that nobody uses are let go of: 512 MiB, twice what may be dirty.
const WORKING_SET: usize = 512 << 20 >> 12;

/// The cache manager of one machine.
pub struct Manager {
    kernel: Weak<Kernel>,
    policy: AtomicU8,
    pub(crate) maps: Mutex<Vec<Arc<CacheMap>>>,
    pub(crate) births: Mutex<()>,
    /// Dirty pages of all maps.
    pub(crate) dirty: AtomicUsize,
    pub(crate) limit: AtomicUsize,
    /// Whether a stream ever had a limit of its own: only then is a stream's asked for.
    pub(crate) thresholds: AtomicBool,
    /// Pages that the views of all streams have room for, and how many may have when a transfer has ended.
    pub(crate) cached: Arc<AtomicUsize>,
    working_set: AtomicUsize,
    /// Where the next look for views to let go of begins; held by who looks.
    hand: Mutex<usize>,
    pub(crate) waiting: Mutex<VecDeque<Deferred>>,
    pub(crate) posts: Mutex<Posts>,
    pub(crate) eased: Condvar,
    pub(crate) easing: Mutex<()>,
    pub(crate) armed: AtomicBool,
    pub(crate) timer: Mutex<Option<crate::lazy::Timer>>,
    pub(crate) losses: Mutex<Vec<Loss>>,
    read_ahead: AtomicBool,
    idle: Mutex<Vec<Arc<Thread>>>,
}

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cache manager, {} dirty pages", self.dirty.load(Ordering::Relaxed))
    }
}

impl Manager {
    /// Returns the cache manager of a machine; the first caller makes it.
    #[must_use]
    pub fn of(kernel: &Arc<Kernel>) -> &Self {
        kernel.room_or(Slot::Cc, || Self::new(kernel))
    }

    pub(crate) fn arc(kernel: &Arc<Kernel>) -> Arc<Self> {
        let _made = Self::of(kernel);
        kernel.try_room::<Self>(Slot::Cc).unwrap_or_else(|| Self::new(kernel))
    }

    fn new(kernel: &Arc<Kernel>) -> Arc<Self> {
        Arc::new(Self {
            kernel: Arc::downgrade(kernel),
            policy: AtomicU8::new(0),
            maps: Mutex::new(Vec::new()),
            births: Mutex::new(()),
            dirty: AtomicUsize::new(0),
            limit: AtomicUsize::new(LIMIT),
            thresholds: AtomicBool::new(false),
            cached: Arc::default(),
            working_set: AtomicUsize::new(WORKING_SET),
            hand: Mutex::new(0),
            waiting: Mutex::new(VecDeque::new()),
            posts: Mutex::default(),
            eased: Condvar::new(),
            easing: Mutex::new(()),
            armed: AtomicBool::new(false),
            timer: Mutex::new(None),
            losses: Mutex::new(Vec::new()),
            read_ahead: AtomicBool::new(false),
            idle: Mutex::new(Vec::new()),
        })
    }

    pub(crate) fn kernel(&self) -> Option<Arc<Kernel>> {
        self.kernel.upgrade()
    }

    /// Returns when dirty pages are written, whatever the volume; `None` leaves it to each volume.
    #[must_use]
    pub fn policy(&self) -> Option<Policy> {
        match self.policy.load(Ordering::Relaxed) {
            BEHIND => Some(Policy::Behind),
            THROUGH => Some(Policy::Through),
            _ => None,
        }
    }

    /// Chooses when the dirty pages of streams that are cached from now on are written.
    pub fn set_policy(&self, policy: Option<Policy>) {
        let number = match policy {
            None => 0,
            Some(Policy::Behind) => BEHIND,
            Some(Policy::Through) => THROUGH,
        };
        self.policy.store(number, Ordering::Relaxed);
        nt_io::device::note_change();
    }

    /// Returns the cached streams.
    #[must_use]
    pub fn streams(&self) -> Vec<Arc<CacheMap>> {
        self.maps.lock().clone()
    }

    /// Whether sequential reads are read ahead (NT-CC-52).
    #[must_use]
    pub fn read_ahead(&self) -> bool {
        self.read_ahead.load(Ordering::Relaxed)
    }

    /// Chooses whether sequential reads are read ahead.
    pub fn set_read_ahead(&self, on: bool) {
        self.read_ahead.store(on, Ordering::Relaxed);
    }

    /// Sets how many dirty pages of all streams together throttle writers (NT-CC-15).
    pub fn set_dirty_limit(&self, pages: usize) {
        self.limit.store(pages, Ordering::Relaxed);
    }

    /// Sets how many pages of all streams together may stay cached when a transfer has ended. Dirty, pinned and travelling
    /// pages stay whatever the number.
    pub fn set_working_set(&self, pages: usize) {
        self.working_set.store(pages, Ordering::Relaxed);
    }

    /// Returns how many pages the views of all streams have room for.
    #[must_use]
    pub fn cached_pages(&self) -> usize {
        self.cached.load(Ordering::Relaxed)
    }

    /// A transfer has ended that may have brought pages in: lets go of clean views, an eighth below the limit, so that this
    /// does not happen at every transfer. Second chance: a view that was used since the last look stays for this one. Streams
    /// whose pages somebody holds are passed by.
    #[inline]
    pub(crate) fn trim(&self) {
        if self.cached_pages() > self.working_set.load(Ordering::Relaxed) {
            self.evict();
        }
    }

    #[cold]
    fn evict(&self) {
        let Some(mut hand) = self.hand.try_lock() else { return };
        let limit = self.working_set.load(Ordering::Relaxed);
        let enough = || self.cached_pages() <= limit - limit / 8;
        let maps = self.streams();
        for _ in 0..2 * maps.len() {
            *hand = (*hand + 1) % maps.len();
            if let Some(mut pages) = maps[*hand].pages.try_write() {
                pages.evict(enough);
            }
            if enough() {
                return;
            }
        }
    }

    /// Returns how many pages are dirty.
    #[must_use]
    pub fn dirty_pages(&self) -> usize {
        self.dirty.load(Ordering::Relaxed)
    }

    /// Returns how many writes wait for room (NT-CC-16).
    #[must_use]
    pub fn deferred(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Returns how many streams are cached.
    #[must_use]
    pub fn cached_streams(&self) -> usize {
        self.maps.lock().len()
    }

    /// Returns the delayed writes that were given up.
    #[must_use]
    pub fn losses(&self) -> Vec<Loss> {
        self.losses.lock().clone()
    }

    /// Runs `body` as a thread of the system process, on this host thread: what the caller awaits needs no other one.
    pub(crate) fn as_system<R>(&self, kernel: &Arc<Kernel>, body: impl FnOnce(&Rc<Frame>) -> R) -> R {
        let idle = self.idle.lock().pop();
        let thread = idle.unwrap_or_else(|| kernel.system_thread());
        let entered = nt_ke::enter(kernel, &thread, Mode::Kernel);
        let result = body(entered.frame());
        drop(entered);
        self.idle.lock().push(thread);
        result
    }

    /// Lets go of a stream's file object; when that may send IRP_MJ_CLOSE to a file system that is being called, a
    /// worker does it (NT-CC-70).
    pub(crate) fn let_go(&self, file: Foreign<FILE_OBJECT>, here: bool) {
        let held = ObjectRef::<FILE_OBJECT>::adopt(file);
        match self.kernel() {
            Some(kernel) if !here => nt_ke::work::WorkQueue::queue(&kernel, move || drop(held)),
            _ => drop(held),
        }
    }

    /// Tells those who wait for a stream's end (NT-CC-71).
    pub(crate) fn tell(events: Vec<Foreign<CACHE_UNINITIALIZE_EVENT>>) {
        for event in events {
            nt_ke::dispatcher::set_event(event.at(CACHE_UNINITIALIZE_EVENT::Event));
        }
    }

    /// Ends the cache: everything dirty is written, every cache map goes. What cannot be written is a loss.
    pub fn shutdown(&self) {
        let Some(kernel) = self.kernel() else { return };
        // A page is given up at its third failure, so that a dead medium does not keep the machine.
        for _ in 0..8 {
            self.write_all();
            kernel.drain();
            if self.dirty_pages() == 0 && self.maps.lock().iter().all(|map| map.opens() != 0 || map.users().0 != 0) {
                break;
            }
        }
        if let Some(timer) = self.timer.lock().take() {
            timer.end(&kernel);
        }
        self.idle.lock().clear();
    }
}
