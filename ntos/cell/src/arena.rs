//! The user arena: the address range that is "user space" here, and blocks of it.
//!
//! Room: ntos/cell. Called by: the embedding API, front ends, tests; probes ask it for bounds. Calls: nothing.
//! IRQL: PASSIVE_LEVEL for allocation, any for bounds. Locks: one leaf lock over the free lists.
//! Reserved at first use from 64 KiB up to 256 GiB where the host allows, else smaller: all else (program, heap,
//! stacks, pool, images) lies above and is "kernel". Page blocks are inaccessible once freed; small blocks are not.

use crate::pool::Shared;
use crate::region::Region;
use nt_abi::NtStatus;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

const PAGE: u64 = 4096;
const LOWEST: u64 = 0x1_0000;
/// The end of user space is no user memory (MM_USER_PROBE_ADDRESS on Windows lies as far below the system range).
const TOP_MARGIN: u64 = 0x1_0000;
const SMALL_LIMIT: usize = 2048;
const CHUNK: u64 = 0x1_0000;

#[derive(Clone, Copy)]
struct Bounds {
    low: u64,
    end: u64,
}

struct Space {
    /// Free page ranges by address: start -> length.
    free: BTreeMap<u64, u64>,
    /// Free small blocks by class (16 << class bytes).
    small: [Vec<u64>; 8],
    /// Where the last range ended: search goes on from there, so that freed addresses stay unused for long.
    next: u64,
}

static BOUNDS: OnceLock<Bounds> = OnceLock::new();
static SPACE: Mutex<Option<Space>> = Mutex::new(None);

/// What a page of a [`UserBlock`] allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protection {
    /// Neither read nor write.
    NoAccess,
    /// Read only.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

fn reserved() -> Bounds {
    *BOUNDS.get_or_init(|| {
        for end in [256u64 << 30, 64 << 30, 8 << 30, 1 << 30] {
            if reserve(LOWEST, end - LOWEST, libc::MAP_FIXED_NOREPLACE) == Some(LOWEST) {
                return Bounds { low: LOWEST, end };
            }
        }
        // The low range is taken (valgrind, a sanitizer, an address-space limit): anywhere will do; probes compare with
        // these bounds, and what lies below them is refused.
        for size in [16u64 << 30, 1 << 30, 64 << 20] {
            if let Some(low) = reserve(0, size, 0) {
                return Bounds { low, end: low + size };
            }
        }
        panic!("the host has no 64 MiB of address space for the user arena");
    })
}

fn reserve(at: u64, len: u64, flags: i32) -> Option<u64> {
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: an anonymous mapping that replaces nothing (no MAP_FIXED).
    let got = unsafe { libc::mmap(at as usize as *mut libc::c_void, len as usize, libc::PROT_NONE, flags, -1, 0) };
    if got == libc::MAP_FAILED {
        return None;
    }
    let got = got.expose_provenance() as u64;
    if at != 0 && got != at {
        // SAFETY: undoes the mapping just made: an old host took the address as a hint.
        unsafe { libc::munmap(got as usize as *mut libc::c_void, len as usize) };
        return None;
    }
    Some(got)
}

/// Returns the first address of the arena and the first behind it (MmSystemRangeStart).
#[must_use]
pub fn bounds() -> (u64, u64) {
    let b = reserved();
    (b.low, b.end)
}

/// Returns MmUserProbeAddress: the first address that a user-mode caller may not name.
#[inline]
#[must_use]
pub fn probe_address() -> u64 {
    reserved().end - TOP_MARGIN
}

/// Returns whether the span lies in the arena.
#[must_use]
pub fn contains(addr: u64, len: usize) -> bool {
    let b = reserved();
    addr >= b.low && addr.checked_add(len as u64).is_some_and(|end| end <= b.end)
}

/// Returns whether user mode may name the span: below MmUserProbeAddress, without wrap. Nothing is mapped below an arena
/// that starts at its regular place, so those addresses count (and fault); below any other arena they do not.
#[inline]
#[must_use]
pub fn is_user_range(addr: u64, len: usize) -> bool {
    let b = reserved();
    (addr >= b.low || b.low == LOWEST || len == 0)
        && addr.checked_add(len as u64).is_some_and(|end| end <= b.end - TOP_MARGIN)
}

/// Who brings in pages of the arena that are shown somewhere but not accessible yet: makes `len` bytes from `addr` on
/// readable, or also writable. `None` for addresses that are not its own.
pub type Pager = fn(addr: u64, len: u64, write: bool) -> Option<Result<(), NtStatus>>;

static PAGER: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Registers the pager. There is one for the process, as there is one arena.
pub fn set_pager(pager: Pager) {
    PAGER.store(pager as *mut (), Ordering::Release);
}

/// Asks the pager for the bytes, in this thread: it may wait, and send requests. `None` when they are not its own.
pub fn page_in(addr: u64, len: u64, write: bool) -> Option<Result<(), NtStatus>> {
    let pager = PAGER.load(Ordering::Acquire);
    if pager.is_null() || !contains(addr, 1) {
        return None;
    }
    // SAFETY: only `set_pager` stores here, and it stores a `Pager`.
    let pager: Pager = unsafe { core::mem::transmute::<*mut (), Pager>(pager) };
    pager(addr, len, write)
}

/// Whether a fault at `address` may be one for the pager: asked in signal context.
#[must_use]
pub fn may_be_paged(address: u64) -> bool {
    let Some(bounds) = BOUNDS.get() else { return false };
    !PAGER.load(Ordering::Relaxed).is_null() && (bounds.low..bounds.end).contains(&address)
}

/// A block of user memory; its pages become inaccessible when it is dropped.
///
/// # Invariants
/// 1. `taken..taken + size` is a range of the arena that no other block names.
#[derive(Debug)]
pub struct UserBlock {
    region: Region,
    taken: u64,
    size: u64,
    class: Option<u8>,
}

impl UserBlock {
    /// Allocates `len` zeroed bytes: from a small-block list up to 2 KiB (16-aligned), else whole pages.
    #[must_use]
    pub fn new(len: usize) -> Option<Self> {
        if len <= SMALL_LIMIT { Self::small(len) } else { Self::pages(len) }
    }

    /// Allocates `len` zeroed bytes on pages of their own, page-aligned.
    #[must_use]
    pub fn pages(len: usize) -> Option<Self> {
        Self::mapped(len, 0, false)
    }

    /// Allocates `len` zeroed bytes that end at an inaccessible page; the address is not aligned.
    #[must_use]
    pub fn guarded(len: usize) -> Option<Self> {
        Self::mapped(len, PAGE, true)
    }

    /// Names the bytes.
    #[inline]
    #[must_use]
    pub const fn region(&self) -> Region {
        self.region
    }

    /// Returns the address of the first byte.
    #[inline]
    #[must_use]
    pub const fn addr(&self) -> u64 {
        self.region.addr()
    }

    /// Returns the length in bytes.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.region.len()
    }

    /// Returns whether the block has no bytes.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.region.is_empty()
    }

    /// Changes what the pages under `offset..offset + len` allow; page blocks only.
    pub fn protect(&self, offset: usize, len: usize, to: Protection) -> std::io::Result<()> {
        if self.class.is_some() {
            return Err(std::io::Error::other("a small block has no pages of its own: use UserBlock::pages"));
        }
        let part = self.region.sub(offset, len);
        let start = part.addr() & !(PAGE - 1);
        let end = (part.addr() + len as u64).next_multiple_of(PAGE);
        set_protection(start, end - start, to)
    }

    /// Takes `len` bytes of addresses with nothing behind them yet: every access faults until [`UserBlock::show`].
    #[must_use]
    pub fn reserved(len: usize) -> Option<Self> {
        Self::taken(len, 0, false)
    }

    /// Puts pages of a shared pool block behind `offset..offset + len`, without access: another mapping of the same memory,
    /// or, `private`, one whose stores stay here. The block's owner keeps it allocated as long as they are shown.
    pub fn show(&self, offset: usize, len: usize, pages: Shared, private: bool) -> std::io::Result<()> {
        assert!(len == pages.len() && self.class.is_none(), "as many bytes as pages, in a block of pages");
        let part = self.region.sub(offset, len);
        let sharing = if private { libc::MAP_PRIVATE } else { libc::MAP_SHARED };
        let (flags, at) = (sharing | libc::MAP_FIXED | libc::MAP_NORESERVE, part.addr() as usize as *mut libc::c_void);
        // SAFETY: replaces pages of this block alone (invariant 1) by pages of the pool: foreign memory before and after (S-2).
        let got = unsafe { libc::mmap(at, len, libc::PROT_NONE, flags, pages.descriptor(), pages.offset()) };
        if got == libc::MAP_FAILED { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    }

    fn mapped(len: usize, guard: u64, at_end: bool) -> Option<Self> {
        let block = Self::taken(len, guard, at_end)?;
        set_protection(block.taken, block.size - guard, Protection::ReadWrite).ok()?;
        Some(block)
    }

    fn taken(len: usize, guard: u64, at_end: bool) -> Option<Self> {
        let body = (len as u64).max(1).checked_next_multiple_of(PAGE)?;
        let size = body.checked_add(guard)?;
        let taken = SPACE.lock().get_or_insert_with(Space::all).take(size)?;
        let addr = if at_end { taken + body - len as u64 } else { taken };
        // SAFETY: the arena holds no Rust object; the range was free.
        Some(Self { region: unsafe { Region::from_raw(addr, len) }, taken, size, class: None })
    }

    fn small(len: usize) -> Option<Self> {
        let size = len.max(16).next_power_of_two() as u64;
        let class = size.trailing_zeros() as u8 - 4;
        let taken = {
            let mut space = SPACE.lock();
            let space = space.get_or_insert_with(Space::all);
            if space.small[usize::from(class)].is_empty() {
                let chunk = space.take(CHUNK)?;
                set_protection(chunk, CHUNK, Protection::ReadWrite).ok()?;
                space.small[usize::from(class)].extend((0..CHUNK / size).rev().map(|at| chunk + at * size));
            }
            space.small[usize::from(class)].pop()?
        };
        // SAFETY: the arena holds no Rust object; the block was free.
        let region = unsafe { Region::from_raw(taken, len) };
        region.fill(0).ok()?;
        Some(Self { region, taken, size, class: Some(class) })
    }
}

impl Drop for UserBlock {
    fn drop(&mut self) {
        let mut space = SPACE.lock();
        let Some(space) = space.as_mut() else { return };
        if let Some(class) = self.class {
            space.small[usize::from(class)].push(self.taken);
            return;
        }
        let at = self.taken as usize as *mut libc::c_void;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        // SAFETY: replaces this block's own pages (invariant 1) by a fresh reservation: contents and rights are gone.
        let got = unsafe { libc::mmap(at, self.size as usize, libc::PROT_NONE, flags, -1, 0) };
        if got != libc::MAP_FAILED {
            space.give(self.taken, self.size);
        }
    }
}

fn set_protection(start: u64, len: u64, to: Protection) -> std::io::Result<()> {
    let bits = match to {
        Protection::NoAccess => libc::PROT_NONE,
        Protection::ReadOnly => libc::PROT_READ,
        Protection::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
    };
    // SAFETY: callers pass page ranges of the arena, where no Rust object lies.
    match unsafe { libc::mprotect(start as usize as *mut libc::c_void, len as usize, bits) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

impl Space {
    fn all() -> Self {
        let b = reserved();
        let mut free = BTreeMap::new();
        free.insert(b.low, b.end - TOP_MARGIN - b.low);
        Self { free, small: Default::default(), next: b.low }
    }

    /// Next fit by address.
    fn take(&mut self, size: u64) -> Option<u64> {
        let cut = self.free.range(..self.next).next_back().filter(|(start, len)| **start + **len >= self.next + size);
        if let Some((&start, &len)) = cut {
            self.free.insert(start, self.next - start);
            self.free.insert(self.next, len - (self.next - start));
        }
        let fits = |(_, len): &(&u64, &u64)| **len >= size;
        let (&start, &len) = self.free.range(self.next..).find(fits).or_else(|| self.free.iter().find(fits))?;
        self.next = start + size;
        self.free.remove(&start);
        if len > size {
            self.free.insert(start + size, len - size);
        }
        Some(start)
    }

    fn give(&mut self, mut start: u64, mut size: u64) {
        if let Some((&before, &len)) = self.free.range(..start).next_back()
            && before + len == start
        {
            self.free.remove(&before);
            start = before;
            size += len;
        }
        if let Some(len) = self.free.remove(&(start + size)) {
            size += len;
        }
        self.free.insert(start, size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Addr, Fault};

    #[test]
    fn a_copy_from_an_inaccessible_page_names_the_first_bad_byte() {
        let block = UserBlock::pages(3 * 4096).expect("arena");
        block.region().fill(7).expect("mapped");
        block.protect(2 * 4096, 4096, Protection::NoAccess).expect("pages");
        let bad = Fault { address: block.addr() + 2 * 4096, write: false };
        for (offset, len) in [(8190, 4), (8188, 8), (8180, 30), (8150, 60), (8000, 1000), (100, 9000), (8192, 1)] {
            let mut out = vec![0; len];
            assert_eq!(block.region().sub(offset, len).read_to(&mut out), Err(bad), "{offset} {len}");
            let into = block.region().sub(offset, len).write_from(&out);
            assert_eq!(into, Err(Fault { write: true, ..bad }), "{offset} {len}");
        }
        assert_eq!(block.region().probe_read(), Err(bad));
        assert_eq!(block.region().fill(1), Err(Fault { write: true, ..bad }));
        assert_eq!(block.region().load::<u8>(8192), Err(bad));
        assert_eq!(block.region().store::<u32>(8192, 1), Err(Fault { write: true, ..bad }));
        block.protect(2 * 4096, 4096, Protection::ReadOnly).expect("pages");
        assert_eq!(block.region().probe_read(), Ok(()));
        assert_eq!(block.region().probe_write(), Err(Fault { write: true, ..bad }));
    }

    #[test]
    fn copies_of_every_length_move_every_byte() {
        let (a, b) = (UserBlock::pages(5000).expect("arena"), UserBlock::guarded(5000).expect("arena"));
        let bytes: Vec<u8> = (0..5000u32).map(|i| (i * 7 % 251) as u8).collect();
        for len in (0..200).chain([255, 256, 257, 1000, 1023, 1024, 1025, 4096, 5000]) {
            a.region().fill(0xaa).expect("mapped");
            a.region().sub(0, len).write_from(&bytes[..len]).expect("mapped");
            b.region().copy_from(a.region()).expect("mapped");
            let got = b.region().to_vec().expect("mapped");
            assert_eq!(got[..len], bytes[..len]);
            assert!(got[len..].iter().all(|byte| *byte == 0xaa), "{len} bytes wrote more");
        }
    }

    #[test]
    fn overlapping_copies_move_as_memmove() {
        let block = UserBlock::pages(4096).expect("arena");
        let bytes: Vec<u8> = (0..4096u32).map(|i| (i % 253) as u8).collect();
        for (to, from, len) in [(1, 0, 50), (1, 0, 100), (0, 1, 2000), (7, 0, 2000), (64, 0, 3000), (0, 64, 3000)] {
            block.region().write_from(&bytes).expect("mapped");
            block.region().sub(to, len).copy_from(block.region().sub(from, len)).expect("mapped");
            assert_eq!(block.region().sub(to, len).to_vec().expect("mapped"), bytes[from..from + len]);
        }
    }

    #[test]
    fn a_freed_page_block_faults_and_a_guarded_one_ends_at_a_hole() {
        let (region, addr) = {
            let block = UserBlock::guarded(100).expect("arena");
            let past = Region::user(block.addr(), 101).expect("user range");
            assert!(past.probe_read().is_err());
            assert_eq!(past.load::<u8>(100), Err(Fault { address: block.addr() + 100, write: false }));
            (block.region(), block.addr())
        };
        assert_eq!(region.load::<u8>(0), Err(Fault { address: addr, write: false }));
    }

    #[test]
    fn user_addresses_end_at_the_probe_address_and_do_not_wrap() {
        let end = probe_address();
        assert!(Region::user(end - 16, 16).is_some());
        assert!(Region::user(end - 16, 17).is_none());
        assert!(Region::user(u64::MAX - 3, 16).is_none());
        let here = 0u8;
        let kernel = core::ptr::from_ref(&here).addr() as u64;
        assert!(kernel >= bounds().1, "the program lies above the arena");
        assert!(Addr::user(kernel).region(1, true).is_err(), "a bare number vouches for nothing");
        let block = UserBlock::new(64).expect("arena");
        assert!(Addr::from(&block).region(64, false).is_ok());
        assert!(Addr::from(block.region()).region(64, true).is_ok());
    }

    #[test]
    fn non_canonical_addresses_are_faults_too() {
        // SAFETY: no Rust object can lie there.
        let wild = unsafe { Region::from_raw(0x8000_0000_0000_0000, 8) };
        assert_eq!(wild.load::<u64>(0), Err(Fault { address: wild.addr(), write: false }));
    }
}
