//! Typed addresses of memory that a driver may write.
//!
//! Room: ntos/cell. IRQL: any. Locks: none.
//! A [`Foreign`] is an address, not a reference: every access is one atomic load or store of the member's width (S-2),
//! so a racing store by a driver changes a value and nothing else. Liveness is the room's affair: a room that keeps a
//! `Foreign` beyond one call holds a count on the object (`nt_ob::ObjectRef`). Blocks of the pool arena stay mapped and
//! are never handed to Rust, so a stale address reads stale pool bytes, never a Rust object.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use nt_abi::{Code, Field, Ptr, Word};

/// The address of a `T` in memory shared with drivers; never 0.
#[repr(transparent)]
pub struct Foreign<T> {
    addr: u64,
    _to: PhantomData<fn() -> T>,
}

/// The address of code that a driver, or a native room, gave for a callback; never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct CodePtr(u64);

impl<T> Clone for Foreign<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Foreign<T> {}
impl<T> PartialEq for Foreign<T> {
    fn eq(&self, other: &Self) -> bool {
        self.addr == other.addr
    }
}
impl<T> Eq for Foreign<T> {}
impl<T> Hash for Foreign<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.addr.hash(state);
    }
}
impl<T> fmt::Debug for Foreign<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{:#x}", core::any::type_name::<T>(), self.addr)
    }
}

impl<T> Foreign<T> {
    /// Names the `T` at `addr`, or returns `None` for 0.
    ///
    /// # Safety
    /// While any copy of the result is used, `addr` is the address of memory laid out as `T`, aligned for it, that is
    /// reached through `Foreign`, guarded copies or driver code only.
    #[inline(always)]
    #[must_use]
    pub const unsafe fn from_raw(addr: u64) -> Option<Self> {
        if addr == 0 { None } else { Some(Self { addr, _to: PhantomData }) }
    }

    /// Returns the address.
    #[inline(always)]
    #[must_use]
    pub const fn addr(self) -> u64 {
        self.addr
    }

    /// Names an embedded member.
    #[inline(always)]
    #[must_use]
    pub const fn at<U>(self, field: Field<T, U>) -> Foreign<U> {
        Foreign { addr: self.addr + field.offset() as u64, _to: PhantomData }
    }

    /// Reads a scalar member with one load.
    #[inline(always)]
    #[must_use]
    pub fn get<V: Word>(self, field: Field<T, V>) -> V {
        V::from_bits(self.load::<V>(field.offset()))
    }

    /// Writes a scalar member with one store.
    #[inline(always)]
    pub fn set<V: Word>(self, field: Field<T, V>, value: V) {
        self.store::<V>(field.offset(), value.to_bits());
    }

    /// Reads a pointer member.
    #[inline(always)]
    #[must_use]
    pub fn ptr<U>(self, field: Field<T, Ptr<U>>) -> Option<Foreign<U>> {
        let addr = self.load::<u64>(field.offset());
        // SAFETY: contract of pointer members: rooms store only addresses of live `U`s there (`set_ptr`); a driver that
        // stores anything else has broken the host already (S-3).
        unsafe { Foreign::from_raw(addr) }
    }

    /// Reads a pointer member as a bare address.
    #[inline(always)]
    #[must_use]
    pub fn addr_at<U>(self, field: Field<T, Ptr<U>>) -> u64 {
        self.load::<u64>(field.offset())
    }

    /// Writes a pointer member.
    #[inline(always)]
    pub fn set_ptr<U>(self, field: Field<T, Ptr<U>>, to: Option<Foreign<U>>) {
        self.store::<u64>(field.offset(), to.map_or(0, Foreign::addr));
    }

    /// Writes a bare address (user buffers, opaque contexts) into a pointer member that is only read back as a
    /// `Region` or as an address.
    #[inline(always)]
    pub fn set_addr<U>(self, field: Field<T, Ptr<U>>, addr: u64) {
        self.store::<u64>(field.offset(), addr);
    }

    /// Writes a pointer member that is null; `false` when it is not.
    #[inline]
    pub fn set_ptr_if_null<U>(self, field: Field<T, Ptr<U>>, to: Foreign<U>) -> bool {
        let cell = self.atomic64(field.offset());
        cell.compare_exchange(0, to.addr(), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Reads a function-pointer member.
    #[inline(always)]
    #[must_use]
    pub fn code(self, field: Field<T, Code>) -> Option<CodePtr> {
        match self.load::<u64>(field.offset()) {
            0 => None,
            addr => Some(CodePtr(addr)),
        }
    }

    /// Writes a function-pointer member.
    #[inline(always)]
    pub fn set_code(self, field: Field<T, Code>, code: Option<CodePtr>) {
        self.store::<u64>(field.offset(), code.map_or(0, CodePtr::addr));
    }

    /// Swaps a function-pointer member atomically (IoSetCancelRoutine).
    #[inline(always)]
    pub fn swap_code(self, field: Field<T, Code>, code: Option<CodePtr>) -> Option<CodePtr> {
        match self.atomic64(field.offset()).swap(code.map_or(0, CodePtr::addr), Ordering::AcqRel) {
            0 => None,
            addr => Some(CodePtr(addr)),
        }
    }

    /// Sets bits of a 32-bit member; returns the former value.
    #[inline(always)]
    pub fn or32(self, field: Field<T, u32>, bits: u32) -> u32 {
        self.atomic32(field.offset()).fetch_or(bits, Ordering::AcqRel)
    }

    /// Keeps only the given bits of a 32-bit member; returns the former value.
    #[inline(always)]
    pub fn and32(self, field: Field<T, u32>, bits: u32) -> u32 {
        self.atomic32(field.offset()).fetch_and(bits, Ordering::AcqRel)
    }

    /// Sets bits of an 8-bit member; returns the former value.
    #[inline(always)]
    pub fn or8(self, field: Field<T, u8>, bits: u8) -> u8 {
        self.atomic8(field.offset()).fetch_or(bits, Ordering::AcqRel)
    }

    /// Adds to a 32-bit member; returns the former value.
    #[inline(always)]
    pub fn add32(self, field: Field<T, i32>, delta: i32) -> i32 {
        self.atomic32(field.offset()).fetch_add(delta as u32, Ordering::AcqRel) as i32
    }

    /// Adds to an unsigned 32-bit member, wrapping; returns the former value.
    #[inline(always)]
    pub fn add_u32(self, field: Field<T, u32>, delta: u32) -> u32 {
        self.atomic32(field.offset()).fetch_add(delta, Ordering::AcqRel)
    }

    /// Adds to a 64-bit member; returns the former value.
    #[inline(always)]
    pub fn add64(self, field: Field<T, i64>, delta: i64) -> i64 {
        self.atomic64(field.offset()).fetch_add(delta as u64, Ordering::AcqRel) as i64
    }

    /// Swaps an unsigned 32-bit member.
    #[inline(always)]
    pub fn swap_u32(self, field: Field<T, u32>, value: u32) -> u32 {
        self.atomic32(field.offset()).swap(value, Ordering::AcqRel)
    }

    /// Swaps a 32-bit member.
    #[inline(always)]
    pub fn swap32(self, field: Field<T, i32>, value: i32) -> i32 {
        self.atomic32(field.offset()).swap(value as u32, Ordering::AcqRel) as i32
    }

    /// Compares and exchanges a 32-bit member; `Err` holds what was there.
    #[inline(always)]
    pub fn cas32(self, field: Field<T, i32>, from: i32, to: i32) -> Result<i32, i32> {
        let cell = self.atomic32(field.offset());
        match cell.compare_exchange(from as u32, to as u32, Ordering::AcqRel, Ordering::Acquire) {
            Ok(was) => Ok(was as i32),
            Err(was) => Err(was as i32),
        }
    }

    /// Compares and exchanges a 64-bit member; `Err` holds what was there.
    #[inline(always)]
    pub fn cas64(self, field: Field<T, u64>, from: u64, to: u64) -> Result<u64, u64> {
        self.atomic64(field.offset()).compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
    }

    /// Compares and exchanges sixteen bytes that start here, as two words; `Err` holds what was there.
    ///
    /// # Panics
    /// If the address is not aligned to 16, or the processor is older than 2005 and lacks the instruction.
    #[inline]
    pub fn cas128(self, from: [u64; 2], to: [u64; 2]) -> Result<(), [u64; 2]> {
        assert!(self.addr.is_multiple_of(16) && size_of::<T>() >= 16, "sixteen aligned bytes");
        assert!(std::arch::is_x86_feature_detected!("cmpxchg16b"), "a processor with cmpxchg16b");
        crate::sync::point();
        let wide = |words: [u64; 2]| u128::from(words[0]) | u128::from(words[1]) << 64;
        // SAFETY: aligned and inside the `T` that `from_raw`'s contract keeps live (first assertion), no reference to it
        // exists (S-2), and the processor has the instruction (second assertion).
        let was = unsafe { exchange16(self.addr as *mut u128, wide(from), wide(to)) };
        if was == wide(from) { Ok(()) } else { Err([was as u64, (was >> 64) as u64]) }
    }

    /// Names the structure that this one is embedded in, for a room that knows from a type tag that it is
    /// (`DISPATCHER_HEADER` of a `KMUTANT`, `IRP` of a list entry).
    #[inline(always)]
    #[must_use]
    pub const fn container<P>(self, member: Field<P, T>) -> Foreign<P> {
        Foreign { addr: self.addr - member.offset() as u64, _to: PhantomData }
    }

    /// Names element `index` of an array of `T`s that starts here.
    #[inline(always)]
    #[must_use]
    pub const fn element(self, index: usize) -> Self {
        Self { addr: self.addr + (index * size_of::<T>()) as u64, _to: PhantomData }
    }

    /// Sees the same memory as another structure that starts there; for rooms that know what a block holds (an object's
    /// body by its type number, an information buffer by its class).
    #[inline(always)]
    #[must_use]
    pub const fn view<U>(self) -> Foreign<U> {
        Foreign { addr: self.addr, _to: PhantomData }
    }

    /// Names the `U` that lies right behind this structure in the same block.
    #[inline(always)]
    #[must_use]
    pub const fn following<U>(self) -> Foreign<U> {
        Foreign { addr: self.addr + size_of::<T>() as u64, _to: PhantomData }
    }

    /// Names the `P` that lies right in front of this structure in the same block.
    #[inline(always)]
    #[must_use]
    pub const fn preceding<P>(self) -> Foreign<P> {
        Foreign { addr: self.addr - size_of::<P>() as u64, _to: PhantomData }
    }

    /// Names the `T` whose address a room kept in a table of its own (`Foreign::addr` of a live structure).
    ///
    /// # Panics
    /// For address 0.
    #[inline(always)]
    #[must_use]
    pub const fn of_table(addr: u64) -> Self {
        assert!(addr != 0, "a table holds no null addresses");
        Self { addr, _to: PhantomData }
    }

    #[inline(always)]
    fn load<V>(self, offset: usize) -> u64 {
        match size_of::<V>() {
            1 => u64::from(self.atomic8(offset).load(Ordering::Acquire)),
            2 => u64::from(self.atomic16(offset).load(Ordering::Acquire)),
            4 => u64::from(self.atomic32(offset).load(Ordering::Acquire)),
            _ => self.atomic64(offset).load(Ordering::Acquire),
        }
    }

    #[inline(always)]
    fn store<V>(self, offset: usize, bits: u64) {
        match size_of::<V>() {
            1 => self.atomic8(offset).store(bits as u8, Ordering::Release),
            2 => self.atomic16(offset).store(bits as u16, Ordering::Release),
            4 => self.atomic32(offset).store(bits as u32, Ordering::Release),
            _ => self.atomic64(offset).store(bits, Ordering::Release),
        }
    }

    #[inline(always)]
    fn atomic8(&self, offset: usize) -> &AtomicU8 {
        crate::sync::point();
        // SAFETY: `offset` comes from a `Field` of `T`, so it lies inside memory that `from_raw`'s contract keeps live;
        // no reference to that memory exists elsewhere (S-2), only atomics like this one and a driver's own stores.
        unsafe { AtomicU8::from_ptr((self.addr as usize + offset) as *mut u8) }
    }
    #[inline(always)]
    fn atomic16(&self, offset: usize) -> &AtomicU16 {
        crate::sync::point();
        // SAFETY: as `atomic8`; `Field::at` checked the member's alignment and `from_raw`'s contract the structure's.
        unsafe { AtomicU16::from_ptr((self.addr as usize + offset) as *mut u16) }
    }
    #[inline(always)]
    fn atomic32(&self, offset: usize) -> &AtomicU32 {
        crate::sync::point();
        // SAFETY: as `atomic16`.
        unsafe { AtomicU32::from_ptr((self.addr as usize + offset) as *mut u32) }
    }
    #[inline(always)]
    fn atomic64(&self, offset: usize) -> &AtomicU64 {
        crate::sync::point();
        // SAFETY: as `atomic16`.
        unsafe { AtomicU64::from_ptr((self.addr as usize + offset) as *mut u64) }
    }
}

/// One `lock cmpxchg16b`. In assembler: the intrinsic, pulled into code that is compiled for any x86-64 as link-time optimisation
/// does even where it is told not to inline, becomes a call of a library that is not there.
///
/// # Safety
/// Sixteen live, aligned bytes that are reached by atomics only, on a processor that has the instruction.
#[cfg(not(ntio_tsan))]
#[inline]
unsafe fn exchange16(at: *mut u128, from: u128, to: u128) -> u128 {
    let (low, high): (u64, u64);
    // SAFETY: the caller's. RBX, which the compiler keeps for itself, is put back; flags are clobbered as asm! assumes.
    unsafe {
        core::arch::asm!(
            "xchg rsi, rbx",
            "lock cmpxchg16b [rdi]",
            "mov rbx, rsi",
            in("rdi") at,
            inout("rsi") to as u64 => _,
            in("rcx") (to >> 64) as u64,
            inout("rax") from as u64 => low,
            inout("rdx") (from >> 64) as u64 => high,
            options(nostack),
        );
    }
    u128::from(low) | u128::from(high) << 64
}

/// As above, where ThreadSanitizer watches: it sees the intrinsic and who goes before whom by it, and has the library.
///
/// # Safety
/// As above.
#[cfg(ntio_tsan)]
unsafe fn exchange16(at: *mut u128, from: u128, to: u128) -> u128 {
    // SAFETY: the caller's.
    unsafe { core::arch::x86_64::cmpxchg16b(at, from, to, Ordering::AcqRel, Ordering::Acquire) }
}

macro_rules! routines {
    ($($(#[$doc:meta])* fn($($arg:ty),*) -> $ret:ty;)*) => {$(
        impl From<extern "win64" fn($($arg),*) -> $ret> for CodePtr {
            $(#[$doc])*
            #[inline]
            fn from(routine: extern "win64" fn($($arg),*) -> $ret) -> Self {
                // A safe routine of up to four words: a call passes at least four, so each it reads was given (callout).
                Self(routine as usize as u64)
            }
        }
    )*};
}
routines! {
    /// Names a routine of this program: an ApcRoutine, a completion or cancel routine written in Rust.
    fn(u64, u64, u64) -> u64;
    /// As above, with two arguments.
    fn(u64, u64) -> u64;
    /// As above, with one.
    fn(u64) -> u64;
    /// As above, with four.
    fn(u64, u64, u64, u64) -> u64;
    /// As above; what it leaves in RAX means nothing.
    fn(u64, u64, u64) -> ();
    /// As above, with two arguments.
    fn(u64, u64) -> ();
}

impl CodePtr {
    /// Names code at `addr`, or returns `None` for 0.
    ///
    /// # Safety
    /// `addr` is the entry of a win64 routine of the arity with which the result will be called, or comes from a driver
    /// (then the border answers for faults, S-3).
    #[inline(always)]
    #[must_use]
    pub const unsafe fn from_raw(addr: u64) -> Option<Self> {
        if addr == 0 { None } else { Some(Self(addr)) }
    }

    /// Returns the address.
    #[inline(always)]
    #[must_use]
    pub const fn addr(self) -> u64 {
        self.0
    }
}
