//! The processor control region: one per host thread, behind GS.
//!
//! Room: ntos/cell. Called by: `nt_ke` (IRQL, current thread), `callout`, `raise`, edge stubs, drivers' inline code.
//! IRQL: any. Locks: the list of free blocks, held for a push or a pop.
//! Layout to 7FFFh as on Windows x64 (Self 18h, CurrentPrcb 20h, Irql 50h, Prcb 180h, processor number 184h and 1A4h,
//! CurrentThread 188h); from 8000h ours. glibc uses FS, so GS is free for us. A block is never unmapped: it goes to the
//! next thread, with its processor number, when its thread ends.

use core::cell::Cell;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use parking_lot::Mutex;

/// KPCR.Irql.
const IRQL: usize = 0x50;
const SELF: usize = 0x18;
const CURRENT_PRCB: usize = 0x20;
const PRCB: usize = 0x180;
const NUMBER_BYTE: usize = 0x184;
const CURRENT_THREAD: usize = 0x188;
const NUMBER: usize = 0x1a4;
/// Ours: the status that an import leaves for its edge stub; 0 for none.
pub const RAISE_SLOT: usize = 0x8000;
/// Ours: the bit that tells a raised status 0 from none.
pub const RAISE_SET: u64 = 1 << 32;
/// Ours: RSP of the innermost border frame of this thread, or 0.
pub const BORDER: usize = 0x8008;
/// Ours: what the dispatcher tells the border it unwinds to (status, address, flags, bugcheck code and parameters).
pub const VERDICT: usize = 0x8010;
/// Ours: lowest and highest address of the host thread's stack.
pub const STACK: usize = 0x8080;
/// Ours: a word for the loader: the newest record of handlers under way.
pub const LOADER: usize = 0x8090;

/// Ours: not 0 after a bugcheck that came back as `Err` inside another driver's call: that driver is left too.
pub const DEAD: usize = 0x80c0;

const BLOCK_SIZE: usize = 0x9000;
const ALTERNATE_STACK: usize = 256 << 10;
const GUARD: usize = 0x1000;
const ARCH_SET_GS: libc::c_long = 0x1001;

/// The block of one thread.
///
/// # Invariants
/// 1. The address is that of a mapped block of `BLOCK_SIZE` bytes, which is never unmapped and never seen through a
///    Rust reference; only atomics of this module, assembler and drivers touch it.
#[derive(Clone, Copy)]
pub struct Block(u64);

thread_local! {
    static CURRENT: Cell<u64> = const { Cell::new(0) };
    static RETURN: Cell<Option<Lease>> = const { Cell::new(None) };
}

/// Gives the block back when its thread ends.
struct Lease(Block, u32);

static FREE: Mutex<(Vec<(u64, u32)>, u32)> = Mutex::new((Vec::new(), 0));

impl Drop for Lease {
    fn drop(&mut self) {
        CURRENT.set(0);
        let off = libc::stack_t { ss_sp: core::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        // SAFETY: leaves this thread without an alternate stack, which the next owner of the block will use.
        unsafe { libc::sigaltstack(&raw const off, core::ptr::null_mut()) };
        FREE.lock().0.push((self.0.0, self.1));
    }
}

impl Block {
    /// Returns the address, as GS holds it.
    #[inline(always)]
    #[must_use]
    pub const fn addr(self) -> u64 {
        self.0
    }

    /// Reads an aligned word of the block.
    ///
    /// # Panics
    /// Past the end of the block.
    #[inline(always)]
    #[must_use]
    pub fn get(self, offset: usize) -> u64 {
        self.word(offset).load(Ordering::Relaxed)
    }

    /// Writes an aligned word of the block.
    ///
    /// # Panics
    /// Past the end of the block.
    #[inline(always)]
    pub fn set(self, offset: usize, value: u64) {
        self.word(offset).store(value, Ordering::Relaxed);
    }

    #[inline(always)]
    fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset + 8 <= BLOCK_SIZE && offset.is_multiple_of(8), "a word of the KPCR");
        // SAFETY: inside the mapped block and aligned (line above); reached by atomics only (invariant 1).
        unsafe { AtomicU64::from_ptr((self.0 as usize + offset) as *mut u64) }
    }

    #[inline(always)]
    fn byte(&self, offset: usize) -> &AtomicU8 {
        // SAFETY: callers pass constants of this module, inside the block; reached by atomics only (invariant 1).
        unsafe { AtomicU8::from_ptr((self.0 as usize + offset) as *mut u8) }
    }

    #[inline(always)]
    fn half(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: as `byte`; the constants are aligned.
        unsafe { AtomicU32::from_ptr((self.0 as usize + offset) as *mut u32) }
    }
}

/// Where an NT thread runs: the block of its host thread, if it runs at all. Other threads may ask for its IRQL.
#[derive(Default, Debug)]
pub struct Place(AtomicU64);

impl Place {
    /// The NT thread runs on the calling host thread.
    #[inline]
    pub fn here(&self) {
        self.0.store(current().0, Ordering::Relaxed);
    }

    /// The NT thread runs nowhere.
    #[inline]
    pub fn nowhere(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Returns the IRQL of the host thread; 0 when there is none.
    #[must_use]
    pub fn irql(&self) -> u8 {
        match self.0.load(Ordering::Relaxed) {
            0 => 0,
            // Invariant 1 of `Block`: an address that `here` stored stays that of a mapped block for ever.
            addr => Block(addr).byte(IRQL).load(Ordering::Relaxed),
        }
    }
}

/// Returns this thread's block; the first call of a thread makes it, points GS at it and gives the thread an alternate
/// signal stack.
#[inline(always)]
#[must_use]
pub fn current() -> Block {
    match CURRENT.get() {
        0 => prepare(),
        addr => Block(addr),
    }
}

/// Sees to it that GS points at this thread's block.
#[inline(always)]
pub fn ensure() {
    let _ = current();
}

/// Returns the current IRQL.
#[inline(always)]
#[must_use]
pub fn irql() -> u8 {
    current().byte(IRQL).load(Ordering::Relaxed)
}

/// Sets the current IRQL and returns the former one.
#[inline(always)]
pub fn set_irql(irql: u8) -> u8 {
    let block = current();
    let was = block.byte(IRQL).load(Ordering::Relaxed);
    block.byte(IRQL).store(irql, Ordering::Relaxed);
    was
}

/// Sets what `KeGetCurrentThread` answers here (the address of a KTHREAD); returns the former value.
#[inline(always)]
pub fn set_current_thread(thread: u64) -> u64 {
    let block = current();
    let was = block.get(CURRENT_THREAD);
    block.set(CURRENT_THREAD, thread);
    was
}

/// Returns the processor number of this thread: no two living threads share one.
#[inline(always)]
#[must_use]
pub fn processor() -> u32 {
    current().half(NUMBER).load(Ordering::Relaxed)
}

/// Returns the lowest and highest address of this thread's stack.
#[must_use]
pub fn stack() -> (u64, u64) {
    let block = current();
    (block.get(STACK), block.get(STACK + 8))
}

#[cold]
fn prepare() -> Block {
    let reused = FREE.lock().0.pop();
    let (addr, number) = reused.unwrap_or_else(|| {
        let number = {
            let mut free = FREE.lock();
            free.1 += 1;
            free.1 - 1
        };
        (map_block(), number)
    });
    let block = Block(addr);
    for offset in (0..BLOCK_SIZE).step_by(8) {
        block.set(offset, 0);
    }
    block.set(SELF, addr);
    block.set(CURRENT_PRCB, addr + PRCB as u64);
    block.byte(NUMBER_BYTE).store(number as u8, Ordering::Relaxed);
    block.half(NUMBER).store(number, Ordering::Relaxed);
    let (low, high) = host_stack();
    block.set(STACK, low);
    block.set(STACK + 8, high);
    // SAFETY: GS is unused by the host (glibc uses FS); the block stays mapped for ever.
    let done = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, addr) };
    assert_eq!(done, 0, "arch_prctl(ARCH_SET_GS) failed");
    let alternate = libc::stack_t {
        ss_sp: (addr as usize - GUARD - ALTERNATE_STACK) as *mut libc::c_void,
        ss_flags: 0,
        ss_size: ALTERNATE_STACK,
    };
    // SAFETY: the alternate stack lies in the block's own mapping and is this thread's alone until its lease ends.
    let done = unsafe { libc::sigaltstack(&raw const alternate, core::ptr::null_mut()) };
    assert_eq!(done, 0, "sigaltstack failed");
    CURRENT.set(addr);
    // A thread that is past its thread-local destructors keeps the block for good: nothing could give it back.
    let _ = RETURN.try_with(|lease| lease.set(Some(Lease(block, number))));
    crate::fault::ensure();
    block
}

/// Maps guard page, alternate stack, guard page, block; returns the block's address.
fn map_block() -> u64 {
    let all = GUARD + ALTERNATE_STACK + GUARD + BLOCK_SIZE;
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice.
    let at = unsafe {
        libc::mmap(core::ptr::null_mut(), all, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    };
    assert!(at != libc::MAP_FAILED, "no memory for a KPCR");
    let stack = at.wrapping_byte_add(GUARD);
    let block = stack.wrapping_byte_add(ALTERNATE_STACK + GUARD);
    // SAFETY: both ranges lie in the mapping just made.
    let done = unsafe {
        libc::mprotect(stack, ALTERNATE_STACK, libc::PROT_READ | libc::PROT_WRITE)
            | libc::mprotect(block, BLOCK_SIZE, libc::PROT_READ | libc::PROT_WRITE)
    };
    assert_eq!(done, 0, "no memory for a KPCR");
    block.expose_provenance() as u64
}

/// Asks the host for this thread's stack bounds; (0, all) when it does not know.
fn host_stack() -> (u64, u64) {
    // SAFETY: an all-zero pthread_attr_t is a plain buffer for the next call to fill.
    let mut attributes: libc::pthread_attr_t = unsafe { core::mem::zeroed() };
    // SAFETY: fills the buffer for the calling thread.
    if unsafe { libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes) } != 0 {
        return (0, u64::MAX);
    }
    let (mut low, mut size) = (core::ptr::null_mut(), 0);
    // SAFETY: the buffer was filled above; both outputs are live locals.
    let found = unsafe { libc::pthread_attr_getstack(&raw const attributes, &raw mut low, &raw mut size) };
    // SAFETY: the buffer was filled above and is not used afterwards.
    unsafe { libc::pthread_attr_destroy(&raw mut attributes) };
    if found == 0 { (low.addr() as u64, (low.addr() + size) as u64) } else { (0, u64::MAX) }
}
