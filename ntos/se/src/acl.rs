//! Access-control lists and their entries.
//!
//! Room: ntos/se. Called by: `descriptor`, `check`, `assign`. IRQL: any. Locks: none.
//! Source: ACL, ACE_HEADER pages; MS-DTYP 2.4.4, 2.4.5. Entries of kinds that are not known here are kept as they are.

use crate::sid::Sid;
use nt_abi::se::*;
use nt_abi::{NtResult, NtStatus};

/// An entry: its kind, its flags, and what follows the header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ace {
    /// AceType.
    pub kind: u8,
    /// AceFlags.
    pub flags: u8,
    body: Vec<u8>,
}

impl Ace {
    /// Makes one of the kinds that hold a mask and a SID.
    #[must_use]
    pub fn new(kind: u8, flags: u8, mask: u32, sid: &Sid) -> Self {
        let mut body = Vec::with_capacity(4 + sid.len());
        body.extend(mask.to_le_bytes());
        sid.write_to(&mut body);
        Self { kind, flags, body }
    }

    /// ACCESS_ALLOWED_ACE.
    #[must_use]
    pub fn allow(mask: u32, sid: &Sid) -> Self {
        Self::new(ACCESS_ALLOWED_ACE_TYPE, 0, mask, sid)
    }

    /// ACCESS_DENIED_ACE.
    #[must_use]
    pub fn deny(mask: u32, sid: &Sid) -> Self {
        Self::new(ACCESS_DENIED_ACE_TYPE, 0, mask, sid)
    }

    /// The same with other flags.
    #[must_use]
    pub fn with_flags(mut self, flags: u8) -> Self {
        self.flags = flags;
        self
    }

    /// Does it hold a mask and a SID and nothing in front of the SID?
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        matches!(self.kind, ACCESS_ALLOWED_ACE_TYPE..=SYSTEM_ALARM_ACE_TYPE | SYSTEM_MANDATORY_LABEL_ACE_TYPE)
    }

    /// Returns the mask; 0 where the kind has none.
    #[must_use]
    pub fn mask(&self) -> u32 {
        self.body.first_chunk().map_or(0, |mask| u32::from_le_bytes(*mask))
    }

    /// Returns the SID of a plain entry.
    #[must_use]
    pub fn sid(&self) -> Option<Sid> {
        if self.is_plain() { Sid::parse(self.body.get(4..)?) } else { None }
    }

    /// Returns its size, header included.
    #[must_use]
    pub const fn size(&self) -> usize {
        4 + self.body.len()
    }

    /// Reads one from the start of `bytes`, in which it must lie whole.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [kind, flags, low, high, ..] = *bytes else { return None };
        let size = usize::from(u16::from_le_bytes([low, high]));
        if size < 4 || !size.is_multiple_of(4) {
            return None;
        }
        let ace = Self { kind, flags, body: bytes.get(4..size)?.to_vec() };
        (!ace.is_plain() || ace.sid().is_some()).then_some(ace)
    }

    /// Appends its bytes.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend([self.kind, self.flags]);
        out.extend((self.size() as u16).to_le_bytes());
        out.extend(&self.body);
    }
}

/// A list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acl {
    /// AclRevision.
    pub revision: u8,
    /// The entries, in order.
    pub aces: Vec<Ace>,
}

impl Acl {
    /// Makes a list of entries.
    #[must_use]
    pub fn new(aces: Vec<Ace>) -> Self {
        Self { revision: ACL_REVISION, aces }
    }

    /// Returns its size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        8 + self.aces.iter().map(Ace::size).sum::<usize>()
    }

    /// Reads one from the start of `bytes`; `None` for what RtlValidAcl refuses.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [revision, _, size_low, size_high, count_low, count_high, ..] = *bytes else { return None };
        let size = usize::from(u16::from_le_bytes([size_low, size_high]));
        if !matches!(revision, ACL_REVISION..=ACL_REVISION_DS) || size < 8 || !size.is_multiple_of(4) {
            return None;
        }
        let whole = bytes.get(..size)?;
        let (mut aces, mut at) = (Vec::new(), 8);
        for _ in 0..u16::from_le_bytes([count_low, count_high]) {
            let ace = Ace::parse(whole.get(at..)?)?;
            at += ace.size();
            aces.push(ace);
        }
        Some(Self { revision, aces })
    }

    /// As [`Acl::parse`], INVALID_ACL for a bad one.
    pub fn valid(bytes: &[u8]) -> NtResult<Self> {
        Self::parse(bytes).ok_or(NtStatus::INVALID_ACL.error())
    }

    /// Appends its bytes.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend([self.revision, 0]);
        out.extend((self.size() as u16).to_le_bytes());
        out.extend((self.aces.len() as u16).to_le_bytes());
        out.extend([0, 0]);
        self.aces.iter().for_each(|ace| ace.write_to(out));
    }

    /// Returns its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size());
        self.write_to(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_bad_lists_are_refused() {
        let list = Acl::new(vec![Ace::deny(2, &Sid::USERS), Ace::allow(0x1F_01FF, &Sid::EVERYONE).with_flags(3)]);
        let bytes = list.bytes();
        assert_eq!((bytes.len(), Acl::parse(&bytes)), (list.size(), Some(list)));
        let with = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            Acl::parse(&bytes)
        };
        assert_eq!(with(0, 9), None, "revision");
        assert_eq!(with(2, 200), None, "size past the bytes");
        assert_eq!(with(4, 3), None, "one entry too many");
        assert_eq!(with(10, 3), None, "an entry of 3 bytes");
        assert_eq!(with(16, 2), None, "a SID of another revision");
    }
}
