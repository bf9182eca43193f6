//! Spans of foreign bytes, and the copies that turn a bad one into an error.
//!
//! Room: ntos/cell. Called by: every room that moves file data or caller buffers. Calls: `guarded`, `arena`.
//! IRQL: any. Locks: none. Nothing here is a `&[u8]`: bytes leave and enter by guarded copies only (S-2).

use crate::foreign::Foreign;
use crate::guarded::{self, Outcome};
use crate::{arena, fault};
use nt_abi::{Bytes, Field, Ptr, Word};

/// A span of memory that a driver, a user thread or the host may change or unmap at any time.
///
/// # Invariants
/// 1. The span is no memory of a Rust object: it lies in the user arena, the pool, a driver's memory or a file mapping
///    (contract of every constructor).
/// 2. It does not wrap around the address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    addr: u64,
    len: usize,
}

/// A memory access that the host refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The first byte that could not be reached.
    pub address: u64,
    /// Whether it was to be written.
    pub write: bool,
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} of address {:#x} failed", if self.write { "write" } else { "read" }, self.address)
    }
}
impl std::error::Error for Fault {}

fn judge(done: Outcome) -> Result<u64, Fault> {
    if done.fault == 0 { Ok(done.value) } else { Err(Fault { address: done.value, write: done.fault & 2 != 0 }) }
}

/// Whether two spans share a byte and a forward copy would read what it has written.
const fn smears(to: u64, from: u64, len: usize) -> bool {
    to > from && to - from < len as u64
}

impl Region {
    /// A span of no bytes.
    pub const EMPTY: Self = Self { addr: 0, len: 0 };

    /// Names the span if it lies in the range that user mode may use; the bytes need not be there.
    #[inline]
    #[must_use]
    pub fn user(addr: u64, len: usize) -> Option<Self> {
        arena::is_user_range(addr, len).then_some(Self { addr, len })
    }

    /// Names any span.
    ///
    /// # Safety
    /// The span belongs to no Rust object while any copy of the result is used, and does not wrap.
    #[inline]
    #[must_use]
    pub const unsafe fn from_raw(addr: u64, len: usize) -> Self {
        Self { addr, len }
    }

    /// Names `len` bytes of a pool block; the caller allocated at least that many.
    #[inline]
    #[must_use]
    pub const fn pool(block: Foreign<Bytes>, len: usize) -> Self {
        Self { addr: block.addr(), len }
    }

    /// Names part of this span; panics when it would leave it.
    #[inline]
    #[must_use]
    pub const fn sub(self, offset: usize, len: usize) -> Self {
        assert!(offset <= self.len && len <= self.len - offset, "a part lies outside its region");
        Self { addr: self.addr + offset as u64, len }
    }

    /// Returns the address of the first byte.
    #[inline]
    #[must_use]
    pub const fn addr(self) -> u64 {
        self.addr
    }

    /// Returns the length in bytes.
    #[inline]
    #[must_use]
    pub const fn len(self) -> usize {
        self.len
    }

    /// Returns whether there are no bytes.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Copies the span into `to`, which has the same length; after a fault part of `to` may have been written.
    #[inline]
    pub fn read_to(self, to: &mut [u8]) -> Result<(), Fault> {
        assert_eq!(to.len(), self.len, "a copy has two ends of one length");
        fault::ensure();
        // SAFETY: `to` is exclusively ours and as long as the span; a fault on the span resumes in the leaf's `ret`.
        judge(unsafe { guarded::ntcell_copy(to.as_mut_ptr().expose_provenance() as u64, self.addr, self.len) })?;
        Ok(())
    }

    /// Copies `from`, which has the same length, into the span; after a fault part of the span may have been written.
    #[inline]
    pub fn write_from(self, from: &[u8]) -> Result<(), Fault> {
        assert_eq!(from.len(), self.len, "a copy has two ends of one length");
        fault::ensure();
        // SAFETY: `from` is as long as the span and only read; the span is no Rust object (invariant 1).
        judge(unsafe { guarded::ntcell_copy(self.addr, from.as_ptr().expose_provenance() as u64, self.len) })?;
        Ok(())
    }

    /// Copies another span of the same length into this one, as RtlMoveMemory does where they overlap.
    #[inline]
    pub fn copy_from(self, from: Self) -> Result<(), Fault> {
        assert_eq!(from.len, self.len, "a copy has two ends of one length");
        fault::ensure();
        if self.len > 64 && smears(self.addr, from.addr, self.len) {
            // SAFETY: as below.
            judge(unsafe { guarded::ntcell_copy_down(self.addr, from.addr, self.len) })?;
        } else {
            // SAFETY: neither span is a Rust object (invariant 1); a fault resumes in the leaf's `ret`.
            judge(unsafe { guarded::ntcell_copy(self.addr, from.addr, self.len) })?;
        }
        Ok(())
    }

    /// Sets every byte.
    #[inline]
    pub fn fill(self, byte: u8) -> Result<(), Fault> {
        fault::ensure();
        // SAFETY: the span is no Rust object (invariant 1); a fault resumes in the leaf's `ret`.
        judge(unsafe { guarded::ntcell_fill(self.addr, u64::from(byte), self.len) })?;
        Ok(())
    }

    /// Brings in what lies in a view, from a fault on, or says again that it failed. Only what probes does this: copies are
    /// made under locks that a page fault may need.
    #[cold]
    fn page_in(self, fault: Fault) -> Result<(), Fault> {
        match arena::page_in(fault.address, (self.addr + self.len as u64).saturating_sub(fault.address), fault.write) {
            Some(Ok(())) => Ok(()),
            _ => Err(fault),
        }
    }

    /// Touches the span until no fault of it is the pager's.
    #[inline]
    fn touch(self, leaf: unsafe extern "sysv64" fn(u64, usize) -> Outcome) -> Result<(), Fault> {
        if self.len == 0 {
            return Ok(());
        }
        fault::ensure();
        // SAFETY: the leaves of `probe_*` change no byte of memory that is no Rust object (invariant 1); a fault resumes in
        // their `ret`.
        while let Err(fault) = judge(unsafe { leaf(self.addr, self.len) }) {
            self.page_in(fault)?;
        }
        Ok(())
    }

    /// Brings in what lies in a view, before a copy under locks: costs two loads where there is none. A fault is left to the
    /// copy.
    #[inline]
    pub fn bring_in(self, write: bool) {
        if arena::may_be_paged(self.addr) {
            let _told_by_the_copy = if write { self.probe_write() } else { self.probe_read() };
        }
    }

    /// Reads one byte of each page.
    pub fn probe_read(self) -> Result<(), Fault> {
        self.touch(guarded::ntcell_touch_read)
    }

    /// Writes one byte of each page with its own value, atomically.
    pub fn probe_write(self) -> Result<(), Fault> {
        self.touch(guarded::ntcell_touch_write)
    }

    /// As [`Region::probe_write`], of bytes that the caller alone may write until the call is over, as a status block is:
    /// without the lock prefix, so that a write by another thread at the same moment could be lost, as by ProbeForWrite.
    #[inline]
    pub fn probe_own(self) -> Result<(), Fault> {
        self.touch(guarded::ntcell_touch_own)
    }

    /// Reads one scalar with a single load; panics when it would leave the span.
    #[inline]
    pub fn load<W: Word>(self, offset: usize) -> Result<W, Fault> {
        let at = self.sub(offset, size_of::<W>()).addr;
        fault::ensure();
        // SAFETY: only reads; a fault resumes in the leaf's `ret`.
        let done = unsafe {
            match size_of::<W>() {
                1 => guarded::ntcell_load1(at),
                2 => guarded::ntcell_load2(at),
                4 => guarded::ntcell_load4(at),
                _ => guarded::ntcell_load8(at),
            }
        };
        judge(done).map(W::from_bits)
    }

    /// Writes one scalar with a single store; panics when it would leave the span.
    #[inline]
    pub fn store<W: Word>(self, offset: usize, value: W) -> Result<(), Fault> {
        let (at, bits) = (self.sub(offset, size_of::<W>()).addr, value.to_bits());
        fault::ensure();
        // SAFETY: the bytes are no Rust object (invariant 1); a fault resumes in the leaf's `ret`.
        let done = unsafe {
            match size_of::<W>() {
                1 => guarded::ntcell_store1(at, bits),
                2 => guarded::ntcell_store2(at, bits),
                4 => guarded::ntcell_store4(at, bits),
                _ => guarded::ntcell_store8(at, bits),
            }
        };
        judge(done).map(drop)
    }

    /// Copies the span into a fresh vector.
    pub fn to_vec(self) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; self.len];
        self.read_to(&mut bytes)?;
        Ok(bytes)
    }

    /// Copies the span's UTF-16 units into a fresh vector; an odd last byte does not count.
    pub fn to_units(self) -> Result<Vec<u16>, Fault> {
        let mut units = vec![0_u16; self.len / 2];
        let to = units.as_mut_ptr().expose_provenance() as u64;
        fault::ensure();
        // SAFETY: the vector is exclusively ours and its units take that many bytes, any of which make a unit; a fault on the
        // span resumes in the leaf's `ret`.
        judge(unsafe { guarded::ntcell_copy(to, self.addr, units.len() * 2) })?;
        Ok(units)
    }

    /// Copies UTF-16 units, which take as much room, into the span; after a fault part of the span may have been written.
    pub fn write_units(self, units: &[u16]) -> Result<(), Fault> {
        assert_eq!(size_of_val(units), self.len, "a copy has two ends of one length");
        fault::ensure();
        // SAFETY: the units are as long as the span and only read; the span is no Rust object (invariant 1).
        judge(unsafe { guarded::ntcell_copy(self.addr, units.as_ptr().expose_provenance() as u64, self.len) })?;
        Ok(())
    }
}

impl<T> Foreign<T> {
    /// Names the structure's own bytes.
    #[inline]
    #[must_use]
    pub const fn region(self) -> Region {
        Region { addr: self.addr(), len: size_of::<T>() }
    }

    /// Names `len` bytes that an untyped pointer member points to. Nothing is checked here: a bad pointer shows as a
    /// [`Fault`] of the copy.
    #[inline]
    #[must_use]
    pub fn region_at<U>(self, field: Field<T, Ptr<U>>, len: usize) -> Region {
        Region { addr: self.addr_at(field), len }
    }

    /// Names the `len` bytes that lie right behind the structure in its block (the page array of an MDL).
    #[inline]
    #[must_use]
    pub const fn trailing(self, len: usize) -> Region {
        Region { addr: self.addr() + size_of::<T>() as u64, len }
    }
}
