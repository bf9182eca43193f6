//! Memory for pool blocks: an arena of its own, size classes, a header in front of each small block.
//!
//! Room: ntos/cell. Called by: `nt_ex` only. IRQL: <= DISPATCH_LEVEL. Locks: a class's shared list, the table of large
//! blocks; a thread's own lists need none. The pool is process-wide by nature: addresses are; what is live is counted by
//! machine and tag (`tally`).
//! Memory of the arena is never unmapped and never handed to Rust, so a stale address reads stale pool bytes (S-2).
//! Free blocks are listed in Rust memory: a driver that writes to a freed block cannot lead the allocator astray.

use nt_abi::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::{Foreign, Region, tally};

pub use crate::tally::{forget, outstanding};

const RESERVE: usize = 64 << 30;
const HEADER: usize = 16;
const PAGE: usize = 4096;
const CHUNK: usize = 256 << 10;
const LARGEST: usize = PAGE - 1;
const LIVE: u32 = 0x4C49_5645;
const FREE: u32 = 0x4652_4545;
/// Blocks that a thread keeps for itself, of one class.
const CACHE: usize = 32;

/// Who a block belongs to and what it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockInfo {
    /// The tag that it was allocated with.
    pub tag: u32,
    /// The length asked for.
    pub size: usize,
    /// The owner's word for the kind of pool.
    pub kind: u8,
    /// The machine that it was allocated for, 0 for none.
    pub machine: u32,
}

/// Why a block could not be freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FreeError {
    /// The address is no block of the pool.
    NotABlock,
    /// The block is free already; the tag it had.
    Twice(u32),
}

const CLASSES: [usize; 27] = [
    32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1280, 1536, 1792, 2048,
    2560, 3072, 3584, 4112,
];

struct Arena {
    start: u64,
    next: AtomicU64,
    shared: [Mutex<Vec<u64>>; CLASSES.len()],
    large: Mutex<Large>,
}

#[derive(Default)]
struct Large {
    live: HashMap<u64, BlockInfo>,
    free: HashMap<usize, Vec<u64>>,
    /// Blocks whose memory can be mapped elsewhere too; that stays, whoever has the block.
    shared: HashSet<u64>,
}

static ARENA: LazyLock<Arena> = LazyLock::new(|| {
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches no memory of Rust's.
    let start = unsafe {
        libc::mmap(
            core::ptr::null_mut(),
            RESERVE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    assert!(start != libc::MAP_FAILED, "the host refused {RESERVE} bytes of address space for the pool");
    Arena {
        start: start as u64,
        // The first page stays: a block always has a header's room before it.
        next: AtomicU64::new(start as u64 + PAGE as u64),
        shared: [const { Mutex::new(Vec::new()) }; CLASSES.len()],
        large: Mutex::new(Large::default()),
    }
});

thread_local! {
    static CACHED: RefCell<Cache> = const { RefCell::new(Cache([const { Vec::new() }; CLASSES.len()])) };
}

/// A thread's own free blocks; they go back to the shared lists when it ends.
struct Cache([Vec<u64>; CLASSES.len()]);

impl Drop for Cache {
    fn drop(&mut self) {
        for (class, blocks) in self.0.iter_mut().enumerate() {
            lock(&ARENA.shared[class]).append(blocks);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    static MACHINE: Cell<u32> = const { Cell::new(0) };
}

/// Says which machine this host thread allocates for from now on, 0 for none; returns which it was.
pub fn charge(machine: u32) -> u32 {
    MACHINE.replace(machine & MACHINES)
}

/// Machines are told apart by so many bits.
pub const MACHINES: u32 = 0xFF_FFFF;

fn carve(bytes: usize) -> Option<u64> {
    let at = ARENA.next.fetch_add(bytes as u64, Ordering::Relaxed);
    (at + bytes as u64 <= ARENA.start + RESERVE as u64).then_some(at)
}

/// The class of each size, in steps of 16 bytes.
const CLASS_OF: [u8; 4112 / 16 + 1] = {
    let mut table = [0; 4112 / 16 + 1];
    let mut step = 0;
    while step < table.len() {
        while CLASSES[table[step] as usize] < step * 16 {
            table[step] += 1;
        }
        if step + 1 < table.len() {
            table[step + 1] = table[step];
        }
        step += 1;
    }
    table
};

#[inline]
fn class_of(size: usize) -> usize {
    usize::from(CLASS_OF[size.div_ceil(16)])
}

fn small(class: usize) -> Option<u64> {
    let cached = CACHED.try_with(|cache| cache.borrow_mut().0[class].pop()).ok().flatten();
    if cached.is_some() {
        return cached;
    }
    let mut shared = lock(&ARENA.shared[class]);
    if shared.is_empty() {
        // Blocks start at a multiple of 16, headers included.
        let step = CLASSES[class].next_multiple_of(16);
        let start = carve(CHUNK)?;
        shared.extend((0..CHUNK / step).rev().map(|index| start + (index * step) as u64));
    }
    let take = shared.len().min(CACHE / 2);
    let at = shared.len() - take;
    let mut taken = shared.split_off(at);
    drop(shared);
    let first = taken.pop();
    let _ended = CACHED.try_with(|cache| cache.borrow_mut().0[class].append(&mut taken));
    lock(&ARENA.shared[class]).append(&mut taken);
    first
}

/// Allocates `size` zeroed bytes, 16-aligned, page-aligned from a page on.
#[must_use]
pub fn allocate(size: usize, tag: u32, kind: u8) -> Option<Foreign<Bytes>> {
    counted(size, tag, kind, true)
}

/// As [`allocate`], but a block of a page or more that was used before keeps its bytes.
#[must_use]
pub fn allocate_as_is(size: usize, tag: u32, kind: u8) -> Option<Foreign<Bytes>> {
    counted(size, tag, kind, false)
}

fn counted(size: usize, tag: u32, kind: u8, zeroed: bool) -> Option<Foreign<Bytes>> {
    let machine = MACHINE.try_with(Cell::get).unwrap_or(0);
    let info = BlockInfo { tag, size, kind, machine };
    let body = if size > LARGEST { large(info, zeroed)? } else { small_block(info)? };
    tally::count(info.machine, info.tag, info.size, 1);
    Some(Foreign::of_table(body))
}

fn small_block(info: BlockInfo) -> Option<u64> {
    let BlockInfo { tag, size, kind, machine } = info;
    let class = class_of(size + HEADER);
    let block = small(class)?;
    let header = block as *mut u32;
    // SAFETY: the block is this call's alone: it came off a free list or out of fresh arena memory, is at least
    // HEADER + size bytes long and 16-aligned; nobody holds a reference into the arena (S-2).
    unsafe {
        header.write(tag);
        header.add(1).write(size as u32);
        header.add(2).write(u32::from(kind) | machine << 8);
        header.add(3).write(LIVE);
        core::ptr::write_bytes((block as usize + HEADER) as *mut u8, 0, size);
    }
    Some(block + HEADER as u64)
}

fn large(info: BlockInfo, zeroed: bool) -> Option<u64> {
    let pages = info.size.checked_next_multiple_of(PAGE)?;
    let mut table = lock(&ARENA.large);
    let reused = table.free.get_mut(&pages).and_then(Vec::pop);
    let block = match reused {
        Some(block) => block,
        None => {
            let spare = carve(pages + PAGE)?;
            spare.next_multiple_of(PAGE as u64)
        }
    };
    table.live.insert(block, info);
    drop(table);
    if reused.is_some() && zeroed {
        // SAFETY: the block is `pages` bytes of the arena that no one else was given (it came off the free list).
        unsafe { core::ptr::write_bytes(block as *mut u8, 0, pages) };
    }
    Some(block)
}

/// Pages of a block that can be mapped elsewhere too.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    block: u64,
    len: usize,
}

impl Shared {
    /// Names part of the pages; panics when it would leave them or cut a page.
    #[must_use]
    pub fn sub(self, offset: usize, len: usize) -> Self {
        assert!(offset <= self.len && len <= self.len - offset, "a part lies outside its pages");
        assert!(offset.is_multiple_of(PAGE) && len.is_multiple_of(PAGE), "pages are whole");
        Self { block: self.block + offset as u64, len }
    }
    pub(crate) fn len(self) -> usize {
        self.len
    }
    pub(crate) fn offset(self) -> i64 {
        (self.block - ARENA.start) as i64
    }
    #[expect(
        clippy::unused_self,
        reason = "there is one file for the process: whoever has `Shared` knows that it is there"
    )]
    pub(crate) fn descriptor(self) -> RawFd {
        MEMORY.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }
}

/// What backs shared blocks: a file without a name, as long as the arena, in which a block lies where it lies there.
static MEMORY: LazyLock<Option<OwnedFd>> = LazyLock::new(|| {
    // SAFETY: the name is a C string; the call makes a descriptor and nothing else.
    let made = unsafe { libc::memfd_create(c"ntio-pages".as_ptr(), libc::MFD_CLOEXEC) };
    // SAFETY: a descriptor that was just made belongs to nobody else.
    let file = (made >= 0).then(|| unsafe { OwnedFd::from_raw_fd(made) })?;
    // SAFETY: the call takes numbers only. The file is sparse: it takes memory where pages are touched.
    let sized = unsafe { libc::ftruncate(file.as_raw_fd(), RESERVE as i64) };
    (sized == 0).then_some(file)
});

/// Makes the memory of a block of whole pages one that can be mapped elsewhere too. The block stays where it is and keeps the
/// bytes of the pages `kept` (numbers in the block); what the others hold is undefined. A store by another thread meanwhile
/// waits in the fault handler (`is_moving`); a system call of the host that is given the block meanwhile fails.
pub fn share(block: Foreign<Bytes>, kept: impl IntoIterator<Item = usize>) -> io::Result<Shared> {
    let block = block.addr();
    let mut table = lock(&ARENA.large);
    let info = table.live.get(&block).ok_or_else(|| io::Error::other("no block of whole pages"))?;
    let shared = Shared { block, len: info.size.next_multiple_of(PAGE) };
    if table.shared.contains(&block) {
        return Ok(shared);
    }
    let file = MEMORY.as_ref().ok_or_else(|| io::Error::other("the host gives no memory file"))?.as_raw_fd();
    let at = |page: usize| (block as usize + page * PAGE) as *mut libc::c_void;
    // SAFETY: pages of a live block of the arena, which no Rust object lies in; loads go on, stores wait in `is_moving`.
    if unsafe { libc::mprotect(at(0), shared.len, libc::PROT_READ) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let copied = kept.into_iter().all(|page| {
        // SAFETY: the kernel reads a page of the block, which stays mapped.
        let done = unsafe { libc::pwrite(file, at(page), PAGE, shared.offset() + (page * PAGE) as i64) };
        page < shared.len / PAGE && done == PAGE as isize
    });
    let flags = libc::MAP_SHARED | libc::MAP_FIXED | libc::MAP_NORESERVE;
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: replaces the block's own pages, at once for every thread, by the memory that has their bytes: foreign before and
    // after (S-2). Nobody has stored to them since they were copied.
    let moved =
        copied && unsafe { libc::mmap(at(0), shared.len, rights, flags, file, shared.offset()) } != libc::MAP_FAILED;
    if moved {
        table.shared.insert(block);
        return Ok(shared);
    }
    let error = io::Error::last_os_error();
    // SAFETY: gives the block its rights back.
    let restored = unsafe { libc::mprotect(at(0), shared.len, rights) };
    assert_eq!(restored, 0, "the host took a pool block away: {error}");
    Err(error)
}

/// Whether a store that faulted at `address` met a block that [`share`] is at: it is to be tried again. Nothing else takes
/// the right to store from the arena. Asked in signal context.
pub(crate) fn is_moving(address: u64) -> bool {
    LazyLock::get(&ARENA).is_some_and(|arena| (arena.start..arena.next.load(Ordering::Relaxed)).contains(&address))
}

/// Frees a block.
pub fn free(block: u64) -> Result<BlockInfo, FreeError> {
    free_as(block, false)
}

/// Frees a block that by its owner's own counts nobody else can free at the same moment: a second free is told all the same,
/// two at once need not be.
pub fn free_alone(block: u64) -> Result<BlockInfo, FreeError> {
    free_as(block, true)
}

fn free_as(block: u64, alone: bool) -> Result<BlockInfo, FreeError> {
    let info = take_back(block, alone)?;
    tally::count(info.machine, info.tag, info.size, -1);
    Ok(info)
}

/// Returns whether an address lies in the part of the arena that was handed out at some time.
#[must_use]
pub fn inside(block: u64) -> bool {
    block >= ARENA.start + HEADER as u64 && block < ARENA.next.load(Ordering::Relaxed)
}

fn take_back(block: u64, alone: bool) -> Result<BlockInfo, FreeError> {
    if !inside(block) || !block.is_multiple_of(16) {
        return Err(FreeError::NotABlock);
    }
    if block.is_multiple_of(PAGE as u64) {
        let mut table = lock(&ARENA.large);
        if let Some(info) = table.live.remove(&block) {
            let pages = info.size.next_multiple_of(PAGE);
            table.free.entry(pages).or_default().push(block);
            return Ok(info);
        }
    }
    let info = header(block)?;
    // SAFETY: `header` found a live block's header at that address; the store is atomic so that of two frees at the
    // same time one is told.
    let state = unsafe { AtomicU32::from_ptr((block as usize - 4) as *mut u32) };
    if alone {
        state.store(FREE, Ordering::Release); // `header` found it live
    } else if state.compare_exchange(LIVE, FREE, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        return Err(FreeError::Twice(info.tag));
    }
    let class = class_of(info.size + HEADER);
    let start = block - HEADER as u64;
    let kept = CACHED.try_with(|cache| {
        let list = &mut cache.borrow_mut().0[class];
        if list.len() < CACHE {
            list.push(start);
            return true;
        }
        false
    });
    if !kept.unwrap_or(false) {
        lock(&ARENA.shared[class]).push(start);
    }
    Ok(info)
}

fn header(block: u64) -> Result<BlockInfo, FreeError> {
    let at = (block as usize - HEADER) as *mut u32;
    // SAFETY: the address lies inside the arena, which stays mapped; atomic, because a second free may be under way.
    let word = |index| unsafe { AtomicU32::from_ptr(at.add(index)).load(Ordering::Relaxed) };
    told([word(0), word(1), word(2), word(3)])
}

/// As [`header`], of memory that may be another block's, which its owner writes as it likes: read as a driver's is.
fn peek(block: u64) -> Result<BlockInfo, FreeError> {
    let at = Region::pool(Foreign::of_table(block - HEADER as u64), HEADER);
    let word = |index: usize| at.load::<u32>(index * 4).map_err(|_| FreeError::NotABlock);
    told([word(0)?, word(1)?, word(2)?, word(3)?])
}

fn told(words: [u32; 4]) -> Result<BlockInfo, FreeError> {
    match words[3] {
        LIVE if words[1] as usize <= LARGEST => {
            Ok(BlockInfo { tag: words[0], size: words[1] as usize, kind: words[2] as u8, machine: words[2] >> 8 })
        }
        FREE => Err(FreeError::Twice(words[0])),
        _ => Err(FreeError::NotABlock),
    }
}

/// Returns what is known of the live block that starts at `block`.
#[must_use]
pub fn info(block: u64) -> Option<BlockInfo> {
    if !inside(block) || !block.is_multiple_of(16) {
        return None;
    }
    if block.is_multiple_of(PAGE as u64)
        && let Some(info) = lock(&ARENA.large).live.get(&block)
    {
        return Some(*info);
    }
    header(block).ok()
}

/// Returns the live block that contains `address`, found by a walk back over headers; slow, for checks only.
#[must_use]
pub fn containing(address: u64) -> Option<(u64, BlockInfo)> {
    if !inside(address) {
        return None;
    }
    let table = lock(&ARENA.large);
    let within = |(start, info): &(&u64, &BlockInfo)| (**start..**start + info.size as u64).contains(&address);
    if let Some((start, info)) = table.live.iter().find(within) {
        return Some((*start, *info));
    }
    drop(table);
    let mut at = address & !15;
    for _ in 0..=PAGE / 16 {
        if !inside(at) {
            return None;
        }
        if let Ok(info) = peek(at)
            && address < at + info.size as u64
        {
            return Some((at, info));
        }
        at -= 16;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_zeroed_aligned_and_counted() {
        let tag = u32::from_le_bytes(*b"tSt1");
        for size in [1, 16, 31, 100, 4000, 4096, 70_000] {
            let block = allocate(size, tag, 1).unwrap();
            assert!(block.addr().is_multiple_of(16) && (size < PAGE || block.addr().is_multiple_of(PAGE as u64)));
            assert_eq!(info(block.addr()), Some(BlockInfo { tag, size, kind: 1, machine: 0 }));
            assert_eq!(crate::Region::pool(block, size).to_vec().unwrap(), vec![0; size]);
            crate::Region::pool(block, size).fill(0xFF).unwrap();
            assert!(free(block.addr()).is_ok());
        }
        assert!(outstanding(0).iter().all(|(each, _, _)| *each != tag));
    }

    #[test]
    fn blocks_are_counted_for_the_machine_that_they_were_made_for() {
        let tag = u32::from_le_bytes(*b"tSt3");
        let (one, two) = (0xFFFF01, 0xFFFF02);
        let was = charge(one);
        let first = [allocate(40, tag, 0).unwrap(), allocate(5000, tag, 0).unwrap()];
        assert_eq!((charge(two), outstanding(two)), (one, Vec::new()));
        let second = allocate(1, tag, 0).unwrap();
        charge(was);
        assert_eq!((outstanding(one), outstanding(two)), (vec![(tag, 2, 5040)], vec![(tag, 1, 1)]));
        assert!(first.iter().all(|block| free(block.addr()).is_ok()), "by a thread of another machine");
        forget(one);
        forget(two);
        assert_eq!((outstanding(one), outstanding(two)), (Vec::new(), vec![(tag, 1, 1)]), "what is live stays counted");
        assert!(free(second.addr()).is_ok() && outstanding(two).is_empty());
    }

    #[test]
    fn a_second_free_and_a_foreign_address_are_told() {
        let tag = u32::from_le_bytes(*b"tSt2");
        let block = allocate(40, tag, 0).unwrap();
        assert_eq!(containing(block.addr() + 39).map(|(start, _)| start), Some(block.addr()));
        assert!(free(block.addr()).is_ok());
        assert_eq!(free(block.addr()), Err(FreeError::Twice(tag)));
        assert_eq!(free(0x1000), Err(FreeError::NotABlock));
    }

    #[test]
    fn a_shared_block_keeps_its_bytes_and_is_one_memory_with_what_shows_it() {
        use crate::{Fault, Protection, UserBlock};
        let tag = u32::from_le_bytes(*b"tSt4");
        let block = allocate(4 * PAGE, tag, 1).unwrap();
        let region = crate::Region::pool(block, 4 * PAGE);
        region.sub(PAGE, 5).write_from(b"there").unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let counted = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut count = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    count += 1;
                    region.store::<u64>(2 * PAGE, count).unwrap();
                }
                count
            });
            std::thread::sleep(std::time::Duration::from_millis(5));
            share(block, [1, 2]).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(5));
            stop.store(true, Ordering::Relaxed);
            writer.join().unwrap()
        });
        assert_eq!(region.load::<u64>(2 * PAGE), Ok(counted), "no store was lost while the block moved");
        let shared = share(block, []).unwrap().sub(PAGE, 2 * PAGE);
        let view = UserBlock::reserved(2 * PAGE).unwrap();
        let (mut bytes, other) = ([0; 5], UserBlock::reserved(2 * PAGE).unwrap());
        view.show(0, 2 * PAGE, shared, false).unwrap();
        other.show(0, 2 * PAGE, shared, true).unwrap();
        assert_eq!(
            view.region().load::<u8>(0),
            Err(Fault { address: view.addr(), write: false }),
            "shown without access"
        );
        view.protect(0, 2 * PAGE, Protection::ReadWrite).unwrap();
        other.protect(0, 2 * PAGE, Protection::ReadWrite).unwrap();
        view.region().sub(0, 5).read_to(&mut bytes).unwrap();
        assert_eq!((&bytes, view.region().load::<u64>(PAGE)), (b"there", Ok(counted)));
        view.region().sub(0, 5).write_from(b"where").unwrap();
        region.sub(PAGE, 5).read_to(&mut bytes).unwrap();
        assert_eq!(&bytes, b"where");
        other.region().sub(0, 5).write_from(b"alone").unwrap();
        region.sub(PAGE, 5).read_to(&mut bytes).unwrap();
        assert_eq!(&bytes, b"where", "stores to a private view stay there");
        drop((view, other));
        assert!(free(block.addr()).is_ok());
    }
}
