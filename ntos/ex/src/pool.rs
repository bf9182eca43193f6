//! Pool: zeroed memory with a tag.
//!
//! Room: ntos/ex. IRQL: <= DISPATCH_LEVEL. Locks: inside `nt_cell::pool`.
//! Source: ExAllocatePool2, ExFreePoolWithTag pages. A caller that frees what it may not has broken the pool: that is
//! bug check 0xC2, here a panic that names the tag.

use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::pool::{self as memory, FreeError};
use nt_cell::{Foreign, Region};
use std::sync::atomic::{AtomicU32, Ordering};

/// Which pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum PoolKind {
    /// NonPagedPool and its kin.
    NonPaged = 0,
    /// PagedPool.
    Paged = 1,
    /// Ours, for the life of the process.
    Permanent = 2,
}

/// Makes a tag of its four characters.
#[must_use]
pub const fn tag(name: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*name)
}

thread_local! {
    /// The tag whose allocations fail in this thread.
    static STARVED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}
static STARVING: AtomicU32 = AtomicU32::new(0);

/// Low resources, simulated: until the result goes, allocations with this tag fail in the calling thread.
#[must_use]
pub fn starve(tag: u32) -> Starved {
    STARVING.fetch_add(1, Ordering::Relaxed);
    Starved { was: STARVED.replace(tag) }
}

/// Ends what [`starve`] began.
#[derive(Debug)]
pub struct Starved {
    was: u32,
}

impl Drop for Starved {
    fn drop(&mut self) {
        STARVED.set(self.was);
        STARVING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Allocates zeroed memory: 16-aligned, page-aligned from a page on; length 0 gets a block too.
#[must_use]
pub fn allocate(len: usize, tag: u32, kind: PoolKind) -> Option<Foreign<Bytes>> {
    if STARVING.load(Ordering::Relaxed) != 0 && STARVED.get() == tag {
        return None;
    }
    memory::allocate(len.max(1), tag, kind as u8)
}

/// Allocates memory with whatever bytes were there (POOL_FLAG_UNINITIALIZED), for owners that write before they read.
#[must_use]
pub fn uninitialized(len: usize, tag: u32, kind: PoolKind) -> Option<Foreign<Bytes>> {
    memory::allocate_as_is(len.max(1), tag, kind as u8)
}

/// Allocates zeroed memory that lives as long as the process and counts as no leak.
#[must_use]
pub fn allocate_permanent(len: usize) -> Option<Foreign<Bytes>> {
    memory::allocate(len.max(1), tag(b"Perm"), PoolKind::Permanent as u8)
}

/// Allocates a zeroed structure of nonpaged pool.
#[must_use]
pub fn zeroed<T>(tag: u32) -> Option<Foreign<T>> {
    allocate(size_of::<T>(), tag, PoolKind::NonPaged).map(Foreign::view)
}

/// Zeroed nonpaged pool that is freed with this value: what a request or a driver's routine has for the time of one call.
#[derive(Debug)]
pub struct Scratch {
    block: Foreign<Bytes>,
    length: usize,
}

impl Scratch {
    /// Makes one; length 0 has a block too.
    ///
    /// # Errors
    /// INSUFFICIENT_RESOURCES.
    pub fn new(length: usize, tag: u32) -> NtResult<Self> {
        let block = allocate(length, tag, PoolKind::NonPaged).ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
        Ok(Self { block, length })
    }
    /// Makes a copy of bytes.
    ///
    /// # Errors
    /// INSUFFICIENT_RESOURCES.
    pub fn of(bytes: &[u8], tag: u32) -> NtResult<Self> {
        let made = Self::new(bytes.len(), tag)?;
        made.region().write_from(bytes).map_err(|_| NtStatus::ACCESS_VIOLATION.error())?;
        Ok(made)
    }
    /// Returns the block.
    #[must_use]
    pub fn block(&self) -> Foreign<Bytes> {
        self.block
    }
    /// Returns the bytes.
    #[must_use]
    pub fn region(&self) -> Region {
        Region::pool(self.block, self.length)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        free(self.block);
    }
}

/// Frees a block.
///
/// # Panics
/// On an address that is no live block (bug check 0xC2 BAD_POOL_CALLER).
pub fn free<T>(block: Foreign<T>) {
    freed(block.addr(), memory::free(block.addr()));
}

/// As [`free`], of a block that by its owner's own counts nobody else can free at the same moment: a packet without holders.
///
/// # Panics
/// As [`free`].
pub fn free_alone<T>(block: Foreign<T>) {
    freed(block.addr(), memory::free_alone(block.addr()));
}

#[inline]
fn freed(block: u64, done: Result<memory::BlockInfo, FreeError>) {
    match done {
        Ok(_) => {}
        Err(FreeError::Twice(tag)) => {
            let name = String::from_utf8_lossy(&tag.to_le_bytes()).into_owned();
            panic!("bug check 0xC2 BAD_POOL_CALLER: block {block:#x} with tag '{name}' was freed twice")
        }
        Err(FreeError::NotABlock) => {
            panic!("bug check 0xC2 BAD_POOL_CALLER: {block:#x} is no pool block")
        }
    }
}

/// Returns the length that a live block was asked with.
#[must_use]
pub fn size_of_block(address: u64) -> Option<usize> {
    memory::info(address).map(|info| info.size)
}

/// Returns which pool the block that contains `address` is of; slow, for checks only.
#[must_use]
pub fn kind_of_block(address: u64) -> Option<PoolKind> {
    memory::containing(address).map(|(_, info)| if info.kind == 1 { PoolKind::Paged } else { PoolKind::NonPaged })
}

/// Returns which pool a span lies in, if one live block holds all of it; quick where the span starts with the block.
#[must_use]
pub fn kind_of_span(address: u64, len: usize) -> Option<PoolKind> {
    let (start, info) = match memory::info(address) {
        Some(info) => (address, info),
        None => memory::containing(address)?,
    };
    let held = address.checked_add(len as u64).is_some_and(|end| end <= start + info.size as u64);
    held.then_some(if info.kind == 1 { PoolKind::Paged } else { PoolKind::NonPaged })
}

/// Returns whether an address lies in the memory that blocks are made of, live or not.
#[must_use]
pub fn is_pool(address: u64) -> bool {
    memory::inside(address)
}

/// Returns {tag, blocks, bytes} of everything of a machine that is not freed; 0 is what belongs to no machine.
#[must_use]
pub fn outstanding(machine: u64) -> Vec<(u32, usize, usize)> {
    memory::outstanding(machine as u32).into_iter().filter(|(each, _, _)| *each != tag(b"Perm")).collect()
}

/// Ends the counting for a machine that is gone.
pub fn forget(machine: u64) {
    memory::forget(machine as u32);
}
