//! Records of changes, as a caller gets them, and what is kept of them between two requests.
//!
//! Room: ntos/fsrtl. Called by: `notify`. IRQL: any. Locks: none. Source: FILE_NOTIFY_INFORMATION,
//! FILE_NOTIFY_EXTENDED_INFORMATION; rules NT-NFY-05, NT-NFY-07, NT-NFY-09, NT-NFY-10, NT-NFY-24.

use nt_abi::NtStatus;
use nt_trace::rule;

/// What the extended record tells of a file beside its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// CreationTime.
    pub created: i64,
    /// LastModificationTime.
    pub written: i64,
    /// LastChangeTime.
    pub changed: i64,
    /// LastAccessTime.
    pub accessed: i64,
    /// AllocatedLength.
    pub allocation: u64,
    /// FileSize.
    pub size: u64,
    /// FileAttributes.
    pub attributes: u32,
    /// ReparsePointTag, or EaSize.
    pub tag: u32,
    /// FileId.
    pub id: u64,
    /// ParentFileId.
    pub parent: u64,
}

/// Which record a watch gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// FILE_NOTIFY_INFORMATION.
    Plain,
    /// FILE_NOTIFY_EXTENDED_INFORMATION.
    Extended,
}

impl Form {
    const fn head(self) -> usize {
        match self {
            Self::Plain => 0x0C,
            Self::Extended => 0x54,
        }
    }

    /// Each record starts at a multiple of its widest member.
    const fn align(self) -> usize {
        match self {
            Self::Plain => 4,
            Self::Extended => 8,
        }
    }
}

/// What happened since the last request.
#[derive(Debug)]
pub(crate) struct Kept {
    form: Form,
    /// How many bytes of records may be kept: the first request's buffer.
    room: usize,
    bytes: Vec<u8>,
    last: Option<usize>,
    /// More than that happened.
    overflow: bool,
}

impl Kept {
    pub(crate) const fn new(form: Form, room: usize) -> Self {
        Self { form, room, bytes: Vec::new(), last: None, overflow: false }
    }

    pub(crate) const fn form(&self) -> Form {
        self.form
    }

    pub(crate) const fn is_empty(&self) -> bool {
        !self.overflow && self.bytes.is_empty()
    }

    /// Keeps a change; what does not fit leaves the fact alone.
    pub(crate) fn add(&mut self, action: u32, name: &[u16], facts: &Facts) {
        if self.overflow {
            return;
        }
        let (head, at) = (self.form.head(), self.bytes.len().next_multiple_of(self.form.align()));
        let end = at + head + name.len() * 2;
        if end > self.room {
            self.overflow = true;
            self.bytes.clear();
            self.last = None;
            return;
        }
        self.bytes.resize(end, 0);
        if let Some(last) = self.last {
            let next = (at - last) as u32;
            self.bytes[last..last + 4].copy_from_slice(&next.to_le_bytes());
        }
        self.last = Some(at);
        let record = &mut self.bytes[at..];
        record[4..8].copy_from_slice(&action.to_le_bytes());
        if self.form == Form::Extended {
            let sizes = [facts.allocation, facts.size];
            let times = [facts.created, facts.written, facts.changed, facts.accessed].map(|time| time as u64);
            for (slot, value) in times.into_iter().chain(sizes).enumerate() {
                record[8 + slot * 8..16 + slot * 8].copy_from_slice(&value.to_le_bytes());
            }
            record[0x38..0x3C].copy_from_slice(&facts.attributes.to_le_bytes());
            record[0x3C..0x40].copy_from_slice(&facts.tag.to_le_bytes());
            record[0x40..0x48].copy_from_slice(&facts.id.to_le_bytes());
            record[0x48..0x50].copy_from_slice(&facts.parent.to_le_bytes());
        }
        record[head - 4..head].copy_from_slice(&((name.len() * 2) as u32).to_le_bytes());
        for (slot, unit) in record[head..].chunks_exact_mut(2).zip(name) {
            slot.copy_from_slice(&unit.to_le_bytes());
        }
    }

    /// Gives what is kept to a request with a buffer of `length` bytes, and forgets it.
    pub(crate) fn take(&mut self, length: usize) -> (NtStatus, Vec<u8>) {
        let bytes = std::mem::take(&mut self.bytes);
        self.last = None;
        if std::mem::take(&mut self.overflow) || bytes.len() > length {
            rule!(NT_NFY_07);
            return (NtStatus::NOTIFY_ENUM_DIR, Vec::new());
        }
        (NtStatus::SUCCESS, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
    }

    #[test]
    fn nt_nfy_05_records_are_aligned_and_linked_relative_to_each_other() {
        let mut kept = Kept::new(Form::Plain, 64);
        kept.add(1, &[0x68, 0x6F, 0x6F], &Facts::default());
        kept.add(2, &[0x61], &Facts::default());
        let (status, bytes) = kept.take(64);
        assert_eq!((status, bytes.len()), (NtStatus::SUCCESS, 0x14 + 0xC + 2));
        assert_eq!((word(&bytes, 0), word(&bytes, 4), word(&bytes, 8)), (0x14, 1, 6));
        assert_eq!((word(&bytes, 0x14), word(&bytes, 0x18), word(&bytes, 0x1C)), (0, 2, 2));
        assert!(kept.is_empty());
    }

    #[test]
    fn nt_nfy_09_what_does_not_fit_leaves_only_the_fact() {
        let mut kept = Kept::new(Form::Plain, 0x12);
        kept.add(1, &[1, 2, 3], &Facts::default());
        kept.add(1, &[1], &Facts::default());
        assert!(!kept.is_empty());
        assert_eq!(kept.take(100), (NtStatus::NOTIFY_ENUM_DIR, Vec::new()));
        assert!(kept.is_empty());
        kept.add(1, &[1, 2, 3], &Facts::default());
        assert_eq!(kept.take(0x11).0, NtStatus::NOTIFY_ENUM_DIR, "a later request's buffer is smaller");
    }
}
