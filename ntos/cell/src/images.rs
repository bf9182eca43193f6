//! Where driver images lie: one reserved region, and a list of what is mapped there.
//!
//! Room: ntos/cell. Called by: the loader (maps, publishes), `callout` and the signal handler (ask). IRQL: any.
//! Locks: none; the handler reads the list in the middle of anything. Addresses are not used twice, so a stale pointer
//! into an unloaded driver meets inaccessible memory, not another driver.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::OnceLock;

/// How many images can be mapped at once.
pub const SLOTS: usize = 256;

struct Slot {
    base: AtomicU64,
    size: AtomicU64,
    key: AtomicU64,
}

static LIST: [Slot; SLOTS] =
    [const { Slot { base: AtomicU64::new(0), size: AtomicU64::new(0), key: AtomicU64::new(0) } }; SLOTS];
static USED: AtomicU32 = AtomicU32::new(0);
static LOW: AtomicU64 = AtomicU64::new(u64::MAX);
static END: AtomicU64 = AtomicU64::new(0);
static NEXT: AtomicU64 = AtomicU64::new(0);
static RESERVED: OnceLock<()> = OnceLock::new();

/// One mapped image, as the list knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapped {
    /// Its first address.
    pub base: u64,
    /// How many bytes belong to it, thunks included.
    pub size: u64,
    /// What the loader knows it by.
    pub key: u64,
}

fn reserve() {
    RESERVED.get_or_init(|| {
        for size in [16u64 << 30, 1 << 30, 256 << 20] {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            // SAFETY: a fresh anonymous mapping at an address of the host's choice.
            let at = unsafe { libc::mmap(core::ptr::null_mut(), size as usize, libc::PROT_NONE, flags, -1, 0) };
            if at != libc::MAP_FAILED {
                let low = (at.expose_provenance() as u64).next_multiple_of(0x1_0000);
                NEXT.store(low, Ordering::Relaxed);
                LOW.store(low, Ordering::Relaxed);
                END.store(at.addr() as u64 + size, Ordering::Release);
                return;
            }
        }
        panic!("the host has no 256 MiB of address space for driver images");
    });
}

/// Returns whether the address lies in the region of driver images.
#[inline(always)]
#[must_use]
pub fn contains(addr: u64) -> bool {
    addr >= LOW.load(Ordering::Relaxed) && addr < END.load(Ordering::Relaxed)
}

/// Sets aside `size` bytes of inaccessible address space, 64 KiB-aligned; `None` when the region is used up.
#[must_use]
pub fn allocate(size: u64) -> Option<u64> {
    reserve();
    let size = size.checked_next_multiple_of(0x1_0000)?.checked_add(0x1_0000)?;
    let mut at = NEXT.load(Ordering::Relaxed);
    loop {
        let next = at.checked_add(size)?;
        if next > END.load(Ordering::Acquire) {
            return None;
        }
        match NEXT.compare_exchange_weak(at, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return Some(at),
            Err(now) => at = now,
        }
    }
}

/// Puts an image on the list; `None` when all slots are taken.
pub fn publish(image: Mapped) -> Option<usize> {
    for (index, slot) in LIST.iter().enumerate() {
        if slot.base.compare_exchange(0, u64::MAX, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            slot.size.store(image.size, Ordering::Relaxed);
            slot.key.store(image.key, Ordering::Relaxed);
            slot.base.store(image.base, Ordering::Release);
            USED.fetch_max(index as u32 + 1, Ordering::AcqRel);
            return Some(index);
        }
    }
    None
}

/// Takes an image off the list.
pub fn withdraw(slot: usize) {
    LIST[slot].base.store(0, Ordering::Release);
}

/// Finds the image that an address lies in.
#[must_use]
pub fn find(addr: u64) -> Option<Mapped> {
    if !contains(addr) {
        return None;
    }
    all().find(|image| addr >= image.base && addr - image.base < image.size)
}

/// Returns what is mapped.
pub fn all() -> impl Iterator<Item = Mapped> {
    LIST[..USED.load(Ordering::Acquire) as usize].iter().filter_map(|slot| {
        let base = slot.base.load(Ordering::Acquire);
        let (size, key) = (slot.size.load(Ordering::Relaxed), slot.key.load(Ordering::Relaxed));
        // A slot that changed hands between the loads names an image that is being loaded or unloaded: none.
        let same = slot.base.load(Ordering::Acquire) == base;
        (base != 0 && base != u64::MAX && same).then_some(Mapped { base, size, key })
    })
}
