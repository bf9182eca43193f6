//! Addresses that a caller passed to a service, with what we know about where they came from.
//!
//! Room: ntos/cell. Called by: every service with a buffer parameter. IRQL: any. Locks: none.
//! A service takes an [`Addr`] and asks for the [`Region`] under the caller's previous mode. A bare number can name
//! user memory only; a kernel address counts only if it came from a typed handle or a driver's export edge.

use crate::foreign::Foreign;
use crate::region::{Fault, Region};
use crate::{UserBlock, arena};
use nt_abi::Word;

/// An address given by a caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addr {
    value: u64,
    /// How many bytes from `value` on are vouched for.
    vouched: u64,
}

impl Addr {
    /// The null pointer.
    pub const NULL: Self = Self { value: 0, vouched: 0 };

    /// Takes a bare number; usable only where it lies below the end of the user arena.
    #[inline]
    #[must_use]
    pub const fn user(value: u64) -> Self {
        Self { value, vouched: 0 }
    }

    /// Takes an address that may be a kernel address.
    ///
    /// # Safety
    /// What lies at `value`, as far as the service's contract reaches, belongs to no Rust object: a driver passed it, or
    /// the caller allocated it from the pool.
    #[inline]
    #[must_use]
    pub const unsafe fn vouched(value: u64) -> Self {
        Self { value, vouched: u64::MAX }
    }

    /// Returns the address.
    #[inline]
    #[must_use]
    pub const fn value(self) -> u64 {
        self.value
    }

    /// Returns whether this is the null pointer.
    #[inline]
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.value == 0
    }

    /// Names the `len` bytes at this address. A kernel-mode caller may use a vouched address as well as user memory; a
    /// user-mode caller only what lies below MmUserProbeAddress, all of it.
    #[inline]
    pub fn region(self, len: usize, kernel: bool) -> Result<Region, Fault> {
        if kernel && len as u64 <= self.vouched && self.value.checked_add(len as u64).is_some() {
            // SAFETY: the constructor vouched for these bytes; the line above saw that they do not wrap.
            return Ok(unsafe { Region::from_raw(self.value, len) });
        }
        Region::user(self.value, len).ok_or(Fault { address: self.value.max(arena::probe_address()), write: false })
    }

    /// Loads a `W` from this address; see [`region`](Self::region).
    #[inline]
    pub fn load<W: Word>(self, kernel: bool) -> Result<W, Fault> {
        self.region(size_of::<W>(), kernel)?.load::<W>(0)
    }

    /// Stores a `W` at this address; see [`region`](Self::region).
    #[inline]
    pub fn store<W: Word>(self, kernel: bool, value: W) -> Result<(), Fault> {
        self.region(size_of::<W>(), kernel)?.store::<W>(0, value)
    }
}

impl<T> From<Foreign<T>> for Addr {
    /// Vouches for a structure and for what follows it in its block.
    #[inline]
    fn from(to: Foreign<T>) -> Self {
        Self { value: to.addr(), vouched: u64::MAX }
    }
}
impl<T> From<Option<Foreign<T>>> for Addr {
    #[inline]
    fn from(to: Option<Foreign<T>>) -> Self {
        to.map_or(Self::NULL, Self::from)
    }
}
impl From<Region> for Addr {
    /// Vouches for the region's bytes.
    #[inline]
    fn from(region: Region) -> Self {
        Self { value: region.addr(), vouched: region.len() as u64 }
    }
}
impl From<&UserBlock> for Addr {
    #[inline]
    fn from(block: &UserBlock) -> Self {
        Self::user(block.addr())
    }
}
