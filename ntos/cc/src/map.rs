//! Cache maps: their birth at the first cached transfer, and their end.
//!
//! Room: ntos/cc. Called by: file systems. IRQL: PASSIVE_LEVEL. Locks: births, then a map's pages, then its state.
//! Source: CcInitializeCacheMap, CcUninitializeCacheMap pages; rules NT-CC-01 to NT-CC-08, NT-CC-69 to NT-CC-71.

use crate::client::Callbacks;
use crate::fault::Flight;
use crate::flush::Pick;
use crate::layout::*;
use crate::manager::{Manager, Policy};
use crate::pages::{PAGE, Pages};
use crate::sizes::Sizes;
use nt_abi::io::FILE_OBJECT;
use nt_abi::mm::{FSRTL_COMMON_FCB_HEADER, FSRTL_FLAG_USER_MAPPED_FILE, SECTION_OBJECT_POINTERS};
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Foreign, Steady};
use nt_ex::pool;
use nt_io::settle::{self, Debt};
use nt_ke::lock::{Biased, Condvar};
use nt_ke::{Mutex, RwLock};
use nt_ob::object;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicUsize, Ordering};

/// One cached stream.
pub struct CacheMap {
    pub(crate) manager: Arc<Manager>,
    pub(crate) sections: Foreign<SECTION_OBJECT_POINTERS>,
    pub(crate) block: Foreign<SHARED_CACHE_MAP>,
    /// FO1: what every paging request of the stream carries (NT-CC-05).
    pub(crate) file: Foreign<FILE_OBJECT>,
    /// Whom the stream's cache calls back; none while the section is there for views only.
    callbacks: RwLock<Option<Callbacks>>,
    pub(crate) pages: Biased<Pages>,
    pub(crate) flights: Mutex<Vec<Flight>>,
    pub(crate) landed: Condvar,
    state: Mutex<State>,
    /// Dirty pages.
    pub(crate) dirty: AtomicUsize,
    /// Pages that views may have stored to since that was last asked.
    pub(crate) stored: AtomicUsize,
    /// Dirty pages that throttle writers of this stream; 0 for none.
    pub(crate) threshold: AtomicU32,
    /// The valid data length that the file system was told of last (NT-CC-36).
    pub(crate) told: AtomicI64,
    pub(crate) write_behind: AtomicBool,
    pub(crate) read_ahead: AtomicBool,
    /// Written before the outermost service returns; never by a timed round.
    pub(crate) through: AtomicBool,
    /// Rounds in a row that failed.
    pub(crate) failures: AtomicU32,
}

#[derive(Default)]
struct State {
    opens: u32,
    /// Sections and views of user mode, and those of them that may store.
    users: u32,
    writers: u32,
    members: Vec<Foreign<FILE_OBJECT>>,
    dead: bool,
    events: Vec<Foreign<CACHE_UNINITIALIZE_EVENT>>,
}

pub(crate) static MAPS: Steady<Arc<CacheMap>> = Steady::new();

impl std::fmt::Debug for CacheMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CacheMap of {:?}, {} dirty pages", self.file, self.dirty.load(Ordering::Relaxed))
    }
}

impl Debt for CacheMap {
    fn stream(&self) -> u64 {
        self.sections.addr()
    }
    fn pay(&self) -> NtStatus {
        self.write_now()
    }
}

/// Returns the pages of a stream: those of its cache map, or of a section that has none.
#[must_use]
pub fn map_of(sections: Foreign<SECTION_OBJECT_POINTERS>) -> Option<Arc<CacheMap>> {
    let section = sections.ptr(SECTION_OBJECT_POINTERS::DataSectionObject)?.view::<CONTROL_AREA>();
    MAPS.get(section.get(CONTROL_AREA::Key)).map(|map| Arc::clone(&map))
}

/// The cache map of the stream behind a file object, whether or not that file object takes part.
pub(crate) fn map_of_file(file: Foreign<FILE_OBJECT>) -> Option<Arc<CacheMap>> {
    map_of(file.ptr(FILE_OBJECT::SectionObjectPointer)?)
}

/// The cache map that a file object takes part in: NT-K-01 asks for its own.
#[inline]
pub(crate) fn own_map<R>(file: Foreign<FILE_OBJECT>, body: impl FnOnce(&Arc<CacheMap>) -> R) -> Option<R> {
    let private = file.ptr(FILE_OBJECT::PrivateCacheMap)?.view::<PRIVATE_CACHE_MAP>();
    MAPS.get(private.get(PRIVATE_CACHE_MAP::Key)).map(|map| body(&map))
}

/// CcIsFileCached: whether the stream of a file object is, by whomever (NT-CC-03).
#[must_use]
pub fn is_cached(file: Foreign<FILE_OBJECT>) -> bool {
    file.ptr(FILE_OBJECT::SectionObjectPointer)
        .is_some_and(|sections| sections.ptr(SECTION_OBJECT_POINTERS::SharedCacheMap).is_some())
}

/// CcInitializeCacheMap: gives a file object its private cache map, and its stream a shared one (NT-CC-01).
pub fn initialize(file: Foreign<FILE_OBJECT>, sizes: Sizes, callbacks: Callbacks) -> NtResult<()> {
    let short = NtStatus::INSUFFICIENT_RESOURCES.error();
    let sections = file.ptr(FILE_OBJECT::SectionObjectPointer).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let kernel = Arc::clone(&nt_ke::current().kernel);
    let manager = Manager::arc(&kernel);
    let _birth = manager.births.lock();
    if file.addr_at(FILE_OBJECT::PrivateCacheMap) != 0 {
        return Ok(());
    }
    let private = pool::zeroed::<PRIVATE_CACHE_MAP>(pool::tag(b"CcPr")).ok_or(short)?;
    let map = match map_of(sections) {
        Some(map) => map,
        None => match CacheMap::new(&manager, file, sections, sizes) {
            Ok(map) => map,
            Err(error) => {
                pool::free(private);
                return Err(error); // NT-CC-08: nothing is left behind
            }
        },
    };
    if !map.is_caching() {
        map.set_sizes(sizes);
        map.begin_caching(callbacks);
    }
    let opens = {
        let mut state = map.state.lock();
        state.opens += 1;
        state.members.push(file);
        state.opens
    };
    map.block.set(SHARED_CACHE_MAP::OpenCount, opens);
    private.set(PRIVATE_CACHE_MAP::NodeTypeCode, NODE_PRIVATE);
    private.set(PRIVATE_CACHE_MAP::ReadAheadMask, PAGE as u32 - 1);
    private.set_ptr(PRIVATE_CACHE_MAP::FileObject, Some(file));
    private.set(PRIVATE_CACHE_MAP::Key, map.block.get(SHARED_CACHE_MAP::Key));
    file.set_ptr(FILE_OBJECT::PrivateCacheMap, Some(private.view()));
    Ok(())
}

/// CcUninitializeCacheMap: takes a file object off the cache. `truncate` drops what lies past it, unwritten. Returns
/// whether the stream is off the cache now.
pub fn uninitialize(
    file: Foreign<FILE_OBJECT>,
    truncate: Option<u64>,
    event: Option<Foreign<CACHE_UNINITIALIZE_EVENT>>,
) -> bool {
    let map = map_of_file(file);
    if let (Some(map), Some(size)) = (&map, truncate) {
        map.cut(size);
    }
    if let Some(private) = file.ptr(FILE_OBJECT::PrivateCacheMap) {
        file.set_ptr(FILE_OBJECT::PrivateCacheMap, None);
        pool::free(private);
        if let Some(map) = &map {
            let mut state = map.state.lock();
            state.opens = state.opens.saturating_sub(1);
            state.members.retain(|member| *member != file);
            map.block.set(SHARED_CACHE_MAP::OpenCount, state.opens);
        }
    }
    let Some(map) = map else {
        Manager::tell(event.into_iter().collect());
        return true;
    };
    map.state.lock().events.extend(event);
    if map.is_through() && map.dirty_pages() != 0 {
        settle::owe(&map); // what failed is tried again before the close returns
    }
    if map.opens() != 0 {
        return false;
    }
    if !map.write_behind.load(Ordering::Relaxed) && map.dirty.load(Ordering::Acquire) != 0 {
        let _lost = map.write_out(0, u64::MAX, Pick::Dirty); // NT-CC-71: the teardown writes, and nothing before it
    }
    map.tear_down(Some(file))
}

/// CcSetAdditionalCacheAttributes.
pub fn set_attributes(file: Foreign<FILE_OBJECT>, no_read_ahead: bool, no_write_behind: bool) {
    let _uncached = own_map(file, |map| {
        map.write_behind.store(!no_write_behind, Ordering::Relaxed);
        map.read_ahead.store(!no_read_ahead, Ordering::Relaxed);
    });
}

/// Takes every file object off the cache of a stream (UNINITIALIZE_CACHE_MAPS of CcPurgeCacheSection).
pub fn uninitialize_all(sections: Foreign<SECTION_OBJECT_POINTERS>) {
    let Some(map) = map_of(sections) else { return };
    let members = std::mem::take(&mut map.state.lock().members);
    for file in members {
        let _off = uninitialize(file, None, None);
    }
}

impl CacheMap {
    pub(crate) fn new(
        manager: &Arc<Manager>,
        file: Foreign<FILE_OBJECT>,
        sections: Foreign<SECTION_OBJECT_POINTERS>,
        sizes: Sizes,
    ) -> NtResult<Arc<Self>> {
        let short = NtStatus::INSUFFICIENT_RESOURCES.error();
        let block = pool::zeroed::<SHARED_CACHE_MAP>(pool::tag(b"CcSc")).ok_or(short)?;
        let Some(section) = pool::zeroed::<CONTROL_AREA>(pool::tag(b"MmCa")) else {
            pool::free(block);
            return Err(short);
        };
        block.set(SHARED_CACHE_MAP::NodeTypeCode, NODE_SHARED);
        block.set(SHARED_CACHE_MAP::NodeByteSize, SHARED_CACHE_MAP::SIZE as i16);
        nt_ke::list::initialize(block.at(SHARED_CACHE_MAP::BcbList));
        block.set_ptr(SHARED_CACHE_MAP::FileObject, Some(file));
        section.set_ptr(CONTROL_AREA::SharedCacheMap, Some(block));
        section.set_ptr(CONTROL_AREA::FilePointer, Some(file));
        let map = Arc::new(Self {
            manager: Arc::clone(manager),
            sections,
            block,
            file: object::reference(file).into_raw(),
            through: AtomicBool::new(false),
            callbacks: RwLock::new(None),
            pages: Biased::new(Pages::new(sizes, Arc::clone(&manager.cached))),
            flights: Mutex::new(Vec::new()),
            landed: Condvar::new(),
            state: Mutex::new(State::default()),
            dirty: AtomicUsize::new(0),
            stored: AtomicUsize::new(0),
            threshold: AtomicU32::new(0),
            told: AtomicI64::new(sizes.valid as i64),
            write_behind: AtomicBool::new(true),
            read_ahead: AtomicBool::new(true),
            failures: AtomicU32::new(0),
        });
        map.show(&sizes);
        let key = MAPS.insert(Arc::clone(&map));
        block.set(SHARED_CACHE_MAP::Key, key);
        section.set(CONTROL_AREA::Key, key);
        manager.maps.lock().push(Arc::clone(&map));
        sections.set_ptr(SECTION_OBJECT_POINTERS::DataSectionObject, Some(section.view()));
        Ok(map)
    }

    /// Makes a cache of the section; the caller holds the births.
    fn begin_caching(&self, callbacks: Callbacks) {
        let through = self.manager.policy().unwrap_or(callbacks.policy()) == Policy::Through;
        self.through.store(through, Ordering::Relaxed);
        *self.callbacks.write() = Some(callbacks);
        self.sections.set_ptr(SECTION_OBJECT_POINTERS::SharedCacheMap, Some(self.block.view()));
    }

    fn is_caching(&self) -> bool {
        self.sections.addr_at(SECTION_OBJECT_POINTERS::SharedCacheMap) != 0
    }

    /// Whom the stream's cache calls back, if the section is one.
    pub(crate) fn callbacks(&self) -> Option<Callbacks> {
        self.callbacks.read().clone()
    }

    #[inline]
    pub(crate) fn is_through(&self) -> bool {
        self.through.load(Ordering::Relaxed)
    }

    /// Counts a section or view of user mode. The caller holds the births, or is one already.
    pub(crate) fn add_user(&self, writes: bool) {
        let mut state = self.state.lock();
        state.users += 1;
        state.writers += u32::from(writes);
        self.show_mapped(true);
    }

    /// Shows in the FCB header whether there are sections or views of user mode. The caller holds the state.
    fn show_mapped(&self, mapped: bool) {
        let Some(header) = self.file.ptr(FILE_OBJECT::FsContext) else { return };
        let (header, bit) = (header.view::<FSRTL_COMMON_FCB_HEADER>(), FSRTL_FLAG_USER_MAPPED_FILE);
        let flags = header.get(FSRTL_COMMON_FCB_HEADER::Flags);
        header.set(FSRTL_COMMON_FCB_HEADER::Flags, if mapped { flags | bit } else { flags & !bit });
    }

    /// A section or view of user mode has gone; the map goes with the last one, if nothing else keeps it.
    pub(crate) fn drop_user(&self, writes: bool) {
        let left = {
            let mut state = self.state.lock();
            state.users -= 1;
            state.writers -= u32::from(writes);
            if state.users == 0 {
                self.show_mapped(false);
            }
            state.users
        };
        if left == 0 && self.opens() == 0 {
            let _not_yet = self.tear_down(None);
        }
    }

    /// How many sections and views of user mode there are, and how many of them may store.
    pub(crate) fn users(&self) -> (u32, u32) {
        let state = self.state.lock();
        (state.users, state.writers)
    }

    /// Shows the sizes where drivers look.
    pub(crate) fn show(&self, sizes: &Sizes) {
        self.block.set(SHARED_CACHE_MAP::FileSize, sizes.file as i64);
        self.block.set(SHARED_CACHE_MAP::SectionSize, sizes.allocation as i64);
        self.block.set(SHARED_CACHE_MAP::ValidDataLength, sizes.valid as i64);
    }

    /// How many file objects take part.
    pub(crate) fn opens(&self) -> u32 {
        self.state.lock().opens
    }

    /// The stream's pointers.
    #[must_use]
    pub fn sections(&self) -> Foreign<SECTION_OBJECT_POINTERS> {
        self.sections
    }

    /// The stream's FO1.
    #[must_use]
    pub fn file(&self) -> Foreign<FILE_OBJECT> {
        self.file
    }

    /// Returns how many of the stream's pages are dirty.
    #[must_use]
    pub fn dirty_pages(&self) -> usize {
        self.dirty.load(Ordering::Acquire)
    }

    /// Whether the medium has all that the cache has: nothing is dirty, nor on its way.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let _nobody_lands = self.pages.read();
        self.dirty.load(Ordering::Acquire) == 0
            && self.stored.load(Ordering::Acquire) == 0
            && self.flights.lock().is_empty()
    }

    /// Counts pages that became dirty; the first one calls the lazy writer.
    pub(crate) fn soiled(self: &Arc<Self>, pages: u32) {
        if pages != 0 {
            let before = self.dirty.fetch_add(pages as usize, Ordering::AcqRel);
            self.manager.dirty.fetch_add(pages as usize, Ordering::AcqRel);
            if before == 0 && !self.is_through() {
                self.manager.arm();
            }
        }
        if self.is_through() {
            settle::owe(self);
        }
    }

    /// Counts pages that became dirty by a view: nobody waits for them, whatever the policy.
    pub(crate) fn soiled_by_view(&self, pages: u32) {
        if pages != 0 {
            self.dirty.fetch_add(pages as usize, Ordering::AcqRel);
            self.manager.dirty.fetch_add(pages as usize, Ordering::AcqRel);
            self.manager.arm();
        }
    }

    /// Counts pages that are clean again, or dropped.
    pub(crate) fn cleaned(&self, pages: u32) {
        if pages != 0 {
            self.dirty.fetch_sub(pages as usize, Ordering::AcqRel);
            self.manager.dirty.fetch_sub(pages as usize, Ordering::AcqRel);
            self.manager.ease();
        }
    }

    /// Ends the map if no file object takes part, nothing is dirty, on its way or pinned (NT-CC-70). `inside` is the file
    /// object whose CLEANUP this is: letting go of another one may send a CLOSE, which waits for a worker then.
    pub(crate) fn tear_down(&self, inside: Option<Foreign<FILE_OBJECT>>) -> bool {
        let _birth = self.manager.births.lock();
        let mut pages = self.pages.write();
        let events = {
            let mut state = self.state.lock();
            let busy = state.opens != 0
                || self.dirty.load(Ordering::Acquire) != 0
                || !self.flights.lock().is_empty()
                || pages.views(0, u64::MAX).any(|view| view.pins.load(Ordering::Acquire) != 0);
            if busy || state.dead {
                return state.dead;
            }
            let events = std::mem::take(&mut state.events);
            if state.users != 0 {
                // The section goes on for its views; the stream is off the cache.
                self.sections.set_ptr(SECTION_OBJECT_POINTERS::SharedCacheMap, None);
                *self.callbacks.write() = None;
                drop(state);
                Manager::tell(events);
                return true;
            }
            state.dead = true;
            events
        };
        pages.clear();
        drop(pages);
        let section = self.sections.ptr(SECTION_OBJECT_POINTERS::DataSectionObject);
        self.sections.set_ptr(SECTION_OBJECT_POINTERS::SharedCacheMap, None);
        self.sections.set_ptr(SECTION_OBJECT_POINTERS::DataSectionObject, None);
        MAPS.remove(self.block.get(SHARED_CACHE_MAP::Key));
        self.manager.maps.lock().retain(|map| map.sections != self.sections);
        if let Some(section) = section {
            pool::free(section);
        }
        pool::free(self.block);
        drop(_birth);
        Manager::tell(events);
        self.manager.let_go(self.file, inside.is_none_or(|file| file == self.file));
        true
    }
}
