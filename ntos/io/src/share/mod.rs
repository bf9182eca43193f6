//! Sharing: what each open of a file asks for and lets others ask for.
//!
//! Room: ntos/io (ntoskrnl.exe, Io*ShareAccess). Called by: file systems, native and compiled. Calls: nothing. IRQL:
//! PASSIVE_LEVEL. Locks: none: the counts are a file system's, which holds its own. Source: IoCheckShareAccess,
//! IoSetShareAccess, IoUpdateShareAccess, IoRemoveShareAccess pages; rules NT-A-13, NT-SHR-07.

use nt_abi::io::*;
use nt_abi::ob::DELETE;
use nt_abi::{Field, NtResult, NtStatus};
use nt_cell::Foreign;
use nt_trace::rule;

pub mod exports;

/// The part of one open: whether it reads, writes and deletes, and whether it lets others do so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    wants: [bool; 3],
    lets: [bool; 3],
}

const WANTS: [Field<FILE_OBJECT, u8>; 3] =
    [FILE_OBJECT::ReadAccess, FILE_OBJECT::WriteAccess, FILE_OBJECT::DeleteAccess];
const LETS: [Field<FILE_OBJECT, u8>; 3] =
    [FILE_OBJECT::SharedRead, FILE_OBJECT::SharedWrite, FILE_OBJECT::SharedDelete];

impl Share {
    /// The part of an open with these rights; one that has none of the five neither needs nor restricts sharing.
    #[must_use]
    pub fn new(access: u32, share: u32) -> Option<Self> {
        let wants = [FILE_READ_DATA | FILE_EXECUTE, FILE_WRITE_DATA | FILE_APPEND_DATA, DELETE];
        let lets = [FILE_SHARE_READ, FILE_SHARE_WRITE, FILE_SHARE_DELETE];
        let share = Self { wants: wants.map(|bits| access & bits != 0), lets: lets.map(|bit| share & bit != 0) };
        share.wants.contains(&true).then_some(share)
    }

    /// The part that a file object remembers.
    #[must_use]
    pub fn of(file: Foreign<FILE_OBJECT>) -> Option<Self> {
        let flags = |fields: [Field<FILE_OBJECT, u8>; 3]| fields.map(|field| file.get(field) != 0);
        let share = Self { wants: flags(WANTS), lets: flags(LETS) };
        share.wants.contains(&true).then_some(share)
    }

    /// Makes the file object remember the part of its open.
    pub fn mark(file: Foreign<FILE_OBJECT>, share: Option<Self>) {
        let flags = share.map_or([false; 6], |Self { wants: [a, b, c], lets: [d, e, f] }| [a, b, c, d, e, f]);
        for (field, flag) in WANTS.into_iter().chain(LETS).zip(flags) {
            file.set(field, u8::from(flag));
        }
    }

    /// Does it delete?
    #[must_use]
    pub fn deletes(self) -> bool {
        self.wants[2]
    }

    /// Does it let others delete?
    #[must_use]
    pub fn lets_delete(self) -> bool {
        self.lets[2]
    }

    /// Who may not write cannot keep others from reading either (the pages of the two Ex routines).
    #[must_use]
    pub fn without_write_permission(mut self) -> Self {
        self.lets[0] |= self.wants[0];
        self
    }
}

/// The sum of the opens of a file: SHARE_ACCESS.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    opens: u32,
    wants: [u32; 3],
    lets: [u32; 3],
}

const FIELDS: [Field<SHARE_ACCESS, u32>; 7] = [
    SHARE_ACCESS::OpenCount,
    SHARE_ACCESS::Readers,
    SHARE_ACCESS::Writers,
    SHARE_ACCESS::Deleters,
    SHARE_ACCESS::SharedRead,
    SHARE_ACCESS::SharedWrite,
    SHARE_ACCESS::SharedDelete,
];

impl Counts {
    /// Reads a file system's counts.
    #[must_use]
    pub fn load(from: Foreign<SHARE_ACCESS>) -> Self {
        let [opens, a, b, c, d, e, f] = FIELDS.map(|field| from.get(field));
        Self { opens, wants: [a, b, c], lets: [d, e, f] }
    }

    /// Writes them back.
    pub fn store(self, to: Foreign<SHARE_ACCESS>) {
        let Self { opens, wants: [a, b, c], lets: [d, e, f] } = self;
        for (field, count) in FIELDS.into_iter().zip([opens, a, b, c, d, e, f]) {
            to.set(field, count);
        }
    }

    /// May an open with this part join those that are there?
    ///
    /// # Errors
    /// SHARING_VIOLATION.
    pub fn check(&self, share: Share) -> NtResult<()> {
        let conflict = (0..3).any(|kind| {
            (share.wants[kind] && self.lets[kind] < self.opens) || (self.wants[kind] != 0 && !share.lets[kind])
        });
        if conflict {
            rule!(NT_A_13);
            return NtStatus::SHARING_VIOLATION.fail();
        }
        Ok(())
    }

    /// An open joins.
    pub fn add(&mut self, share: Share) {
        self.change(share, |count, by| *count += by);
    }

    /// An open leaves.
    pub fn remove(&mut self, share: Share) {
        self.change(share, |count, by| *count = count.saturating_sub(by));
    }

    fn change(&mut self, share: Share, change: impl Fn(&mut u32, u32)) {
        change(&mut self.opens, 1);
        for kind in 0..3 {
            change(&mut self.wants[kind], share.wants[kind].into());
            change(&mut self.lets[kind], share.lets[kind].into());
        }
    }

    /// Has somebody asked to delete?
    #[must_use]
    pub fn has_deleters(&self) -> bool {
        self.wants[2] != 0
    }

    /// Does everybody let others delete?
    #[must_use]
    pub fn lets_delete(&self) -> bool {
        self.lets[2] >= self.opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nt_shr_07_the_parts_of_opens_add_up_and_go_again() {
        assert_eq!(Share::new(FILE_READ_ATTRIBUTES, 0), None);
        let mut counts = Counts::default();
        let reader = Share::new(FILE_EXECUTE, FILE_SHARE_READ | FILE_SHARE_DELETE).expect("it reads");
        let writer = Share::new(FILE_APPEND_DATA, FILE_SHARE_READ | FILE_SHARE_WRITE).expect("it writes");
        let deleter = Share::new(DELETE, 7).expect("it deletes");
        for _ in 0..2 {
            assert_eq!(counts.check(reader), Ok(()));
            counts.add(reader);
        }
        assert_eq!(counts, Counts { opens: 2, wants: [2, 0, 0], lets: [2, 0, 2] });
        assert_eq!(counts.check(writer), NtStatus::SHARING_VIOLATION.fail());
        assert_eq!((counts.check(deleter), counts.lets_delete()), (Ok(()), true));
        counts.add(deleter);
        assert!(counts.has_deleters());
        let own = Share::new(FILE_READ_DATA, FILE_SHARE_READ).expect("it reads");
        assert_eq!(counts.check(own), NtStatus::SHARING_VIOLATION.fail(), "it would keep the deleter out");
        for share in [deleter, reader, reader] {
            counts.remove(share);
        }
        assert_eq!(counts, Counts::default());
    }
}
