//! Byte ranges and who holds them: the arithmetic of locks, no memory of drivers.
//!
//! Room: ntos/fsrtl. Called by: `filelock`. IRQL: any. Locks: none. Rules: NT-L-01 to NT-L-09.

use nt_abi::{NtResult, NtStatus};

/// Whose a lock is (NT-L-02).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// The file object's address.
    pub file: u64,
    /// The process object's address.
    pub process: u64,
    /// Key.
    pub key: u32,
}

/// A range of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Range {
    pub(crate) start: u64,
    pub(crate) length: u64,
}

impl Range {
    /// Makes a range; INVALID_LOCK_RANGE when its last byte would lie past 2^64 - 1 (NT-L-04).
    pub(crate) fn new(start: u64, length: u64) -> NtResult<Self> {
        if length != 0 && start.checked_add(length - 1).is_none() {
            return NtStatus::INVALID_LOCK_RANGE.fail();
        }
        Ok(Self { start, length })
    }

    /// The last byte; of an empty range, the byte before its start.
    pub(crate) fn last(self) -> u64 {
        self.start.wrapping_add(self.length).wrapping_sub(1)
    }

    fn holds(self, byte: u64) -> bool {
        self.length != 0 && byte >= self.start && byte <= self.last()
    }

    /// Do two ranges conflict? An empty one does with a range that contains its offset (NT-L-05), two empty ones never.
    pub(crate) fn meets(self, other: Self) -> bool {
        match (self.length, other.length) {
            (0, 0) => false,
            (0, _) => other.holds(self.start),
            (_, 0) => self.holds(other.start),
            _ => self.start <= other.last() && other.start <= self.last(),
        }
    }
}

/// A lock, held or wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lock {
    pub(crate) range: Range,
    pub(crate) exclusive: bool,
    pub(crate) owner: Owner,
}

/// Does `held` stand in the way of a new lock? An exclusive one meets nothing, its own owner's neither; a shared one meets
/// no other owner's exclusive lock (NT-L-01).
pub(crate) fn refuses(held: &Lock, wanted: &Lock) -> bool {
    held.range.meets(wanted.range) && (wanted.exclusive || (held.exclusive && held.owner != wanted.owner))
}

/// Does `held` stand in the way of a write by `owner`? Everything does but its own exclusive lock (NT-L-06 to NT-L-09).
pub(crate) fn refuses_write(held: &Lock, range: Range, owner: Owner) -> bool {
    held.range.meets(range) && !(held.exclusive && held.owner == owner)
}

/// Does `held` stand in the way of a read by `owner`? Another owner's exclusive lock does (NT-R-07).
pub(crate) fn refuses_read(held: &Lock, range: Range, owner: Owner) -> bool {
    held.range.meets(range) && held.exclusive && held.owner != owner
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, length: u64) -> Range {
        Range::new(start, length).expect("a range")
    }

    #[test]
    fn nt_l_05_an_empty_range_meets_what_contains_its_offset() {
        let empty = range(100, 0);
        for (start, length, meets) in
            [(98, 4, true), (90, 10, false), (100, 10, true), (101, 5, false), (100, 0, false)]
        {
            assert_eq!(empty.meets(range(start, length)), meets, "{start} {length}");
            assert_eq!(range(start, length).meets(empty), meets, "{start} {length}");
        }
    }

    #[test]
    fn nt_l_04_ranges_that_touch_do_not_meet_and_none_wraps() {
        assert!(!range(10, 20).meets(range(5, 5)) && !range(5, 5).meets(range(10, 20)));
        assert!(range(10, 20).meets(range(29, 1)) && !range(10, 20).meets(range(30, 1)));
        assert!(range(0, u64::MAX).meets(range(u64::MAX - 1, 1)));
        assert!(
            Range::new(u64::MAX, 1).is_ok() && Range::new(u64::MAX, 2).is_err() && Range::new(2, u64::MAX).is_err()
        );
    }
}
