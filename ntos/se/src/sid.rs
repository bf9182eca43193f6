//! Security identifiers.
//!
//! Room: ntos/se. Called by: the other modules here, programs that name users. IRQL: any. Locks: none.
//! Source: "Security Identifiers", SID page, MS-DTYP 2.4.2: revision 1, at most 15 sub-authorities, 8 + 4 * count bytes.

use nt_abi::se::{SID_MAX_SUB_AUTHORITIES, SID_REVISION};
use std::fmt;
use std::str::FromStr;

/// A security identifier, such as S-1-5-32-544.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sid {
    authority: [u8; 6],
    count: u8,
    sub: [u32; SID_MAX_SUB_AUTHORITIES as usize],
}

const fn nt<const N: usize>(sub: [u32; N]) -> Sid {
    Sid::new(5, sub)
}

impl Sid {
    /// S-1-0-0.
    pub const NULL: Self = Self::new(0, [0]);
    /// Everyone.
    pub const EVERYONE: Self = Self::new(1, [0]);
    /// Local.
    pub const LOCAL: Self = Self::new(2, [0]);
    /// CREATOR OWNER: stands for the owner in an ACE that is to be inherited.
    pub const CREATOR_OWNER: Self = Self::new(3, [0]);
    /// CREATOR GROUP.
    pub const CREATOR_GROUP: Self = Self::new(3, [1]);
    /// OWNER RIGHTS: an ACE for it replaces what an owner has without one.
    pub const OWNER_RIGHTS: Self = Self::new(3, [4]);
    /// NT AUTHORITY itself.
    pub const NT_AUTHORITY: Self = nt([]);
    /// INTERACTIVE.
    pub const INTERACTIVE: Self = nt([4]);
    /// ANONYMOUS LOGON.
    pub const ANONYMOUS: Self = nt([7]);
    /// Authenticated Users.
    pub const AUTHENTICATED_USERS: Self = nt([11]);
    /// LOCAL SYSTEM.
    pub const SYSTEM: Self = nt([18]);
    /// LOCAL SERVICE.
    pub const LOCAL_SERVICE: Self = nt([19]);
    /// NETWORK SERVICE.
    pub const NETWORK_SERVICE: Self = nt([20]);
    /// BUILTIN\Administrators.
    pub const ADMINISTRATORS: Self = nt([32, 544]);
    /// BUILTIN\Users.
    pub const USERS: Self = nt([32, 545]);
    /// BUILTIN\Guests.
    pub const GUESTS: Self = nt([32, 546]);
    /// The mandatory levels: untrusted, low, medium, high, system.
    pub const LABELS: [Self; 5] = [
        Self::new(16, [0]),
        Self::new(16, [0x1000]),
        Self::new(16, [0x2000]),
        Self::new(16, [0x3000]),
        Self::new(16, [0x4000]),
    ];
    /// The most bytes that one takes: SECURITY_MAX_SID_SIZE.
    pub const MOST: usize = 8 + 4 * SID_MAX_SUB_AUTHORITIES as usize;

    /// Makes one of an authority (below 256) and its sub-authorities.
    ///
    /// # Panics
    /// With more than 15 sub-authorities.
    #[must_use]
    pub const fn new<const N: usize>(authority: u8, sub: [u32; N]) -> Self {
        assert!(N <= SID_MAX_SUB_AUTHORITIES as usize, "a SID has at most 15 sub-authorities");
        let mut all = [0; SID_MAX_SUB_AUTHORITIES as usize];
        let mut at = 0;
        while at < N {
            all[at] = sub[at];
            at += 1;
        }
        Self { authority: [0, 0, 0, 0, 0, authority], count: N as u8, sub: all }
    }

    /// An account of this machine by its relative id, such as 500 for Administrator.
    #[must_use]
    pub const fn account(relative: u32) -> Self {
        nt([21, 0x4E54, 0x494F, 0x2026, relative])
    }

    /// Reads one from the start of `bytes`.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [SID_REVISION, count @ ..=SID_MAX_SUB_AUTHORITIES, rest @ ..] = bytes else { return None };
        let (authority, rest) = rest.split_first_chunk::<6>()?;
        let words = rest.get(..usize::from(*count) * 4)?;
        let mut sub = [0; SID_MAX_SUB_AUTHORITIES as usize];
        for (to, word) in sub.iter_mut().zip(words.chunks_exact(4)) {
            *to = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        }
        Some(Self { authority: *authority, count: *count, sub })
    }

    /// Returns its size in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a SID is never empty")]
    #[must_use]
    pub const fn len(&self) -> usize {
        8 + 4 * self.count as usize
    }

    /// Returns the sub-authorities.
    #[must_use]
    pub fn sub_authorities(&self) -> &[u32] {
        &self.sub[..usize::from(self.count)]
    }

    /// Appends its bytes.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend([SID_REVISION, self.count]);
        out.extend(self.authority);
        out.extend(self.sub_authorities().iter().flat_map(|sub| sub.to_le_bytes()));
    }

    /// Returns its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        self.write_to(&mut out);
        out
    }

    /// Are they the same but for the last sub-authority (RtlEqualPrefixSid)?
    #[must_use]
    pub fn has_prefix_of(&self, other: &Self) -> bool {
        let cut = |sid: &Self| sid.sub_authorities().split_last().map_or(0, |(_, rest)| rest.len());
        self.authority == other.authority
            && self.count == other.count
            && self.sub[..cut(self)] == other.sub[..cut(other)]
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, rest @ ..] = self.authority;
        if a == 0 && b == 0 {
            write!(f, "S-1-{}", u32::from_be_bytes(rest))?;
        } else {
            write!(f, "S-1-0x{a:02x}{b:02x}{:08x}", u32::from_be_bytes(rest))?;
        }
        self.sub_authorities().iter().try_for_each(|sub| write!(f, "-{sub}"))
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no SID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoSid;

impl fmt::Display for NoSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a security identifier (S-1-...)")
    }
}

impl std::error::Error for NoSid {}

impl FromStr for Sid {
    type Err = NoSid;
    fn from_str(text: &str) -> Result<Self, NoSid> {
        let mut parts = text.strip_prefix("S-1-").ok_or(NoSid)?.split('-');
        let authority = parts.next().ok_or(NoSid)?;
        let authority: u64 = match authority.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).map_err(|_| NoSid)?,
            None => authority.parse().map_err(|_| NoSid)?,
        };
        let [0, 0, authority @ ..] = authority.to_be_bytes() else { return Err(NoSid) };
        let (mut sub, mut count) = ([0; SID_MAX_SUB_AUTHORITIES as usize], 0);
        for part in parts {
            *sub.get_mut(usize::from(count)).ok_or(NoSid)? = part.parse().map_err(|_| NoSid)?;
            count += 1;
        }
        Ok(Self { authority, count, sub })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_texts_come_back() {
        for sid in [Sid::ADMINISTRATORS, Sid::EVERYONE, Sid::NT_AUTHORITY, Sid::account(500), Sid::new(22, [1, 1000])] {
            assert_eq!(Sid::parse(&sid.bytes()), Some(sid));
            assert_eq!(sid.to_string().parse(), Ok(sid));
        }
        assert_eq!(Sid::ADMINISTRATORS.to_string(), "S-1-5-32-544");
        assert_eq!(Sid::ADMINISTRATORS.bytes(), [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0]);
        assert_eq!(Sid::parse(&[2, 0, 0, 0, 0, 0, 0, 5]), None, "revision 2");
        assert_eq!(Sid::parse(&[1, 1, 0, 0, 0, 0, 0, 5, 1]), None, "cut");
        assert!("S-2-5".parse::<Sid>().is_err() && "S-1-5-".parse::<Sid>().is_err());
    }

    #[test]
    fn prefixes_are_all_but_the_last() {
        assert!(Sid::account(500).has_prefix_of(&Sid::account(501)));
        assert!(!Sid::account(500).has_prefix_of(&Sid::ADMINISTRATORS));
    }
}
