//! Names: UTF-8 outside, UTF-16 inside.
//!
//! Room: front/fuse. Called by: every operation with a name. Calls: nothing. House rules 8 and 15: characters that
//! Windows forbids are U+F000 plus their code; names that are not UTF-8, or that hold such a private character already, are refused (EILSEQ); names
//! are limited to 255 bytes as well as 255 units. Nothing is normalised, case is kept.

/// Why a name cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BadName {
    /// Not UTF-8, or a private character that stands for a forbidden one.
    Illegal,
    /// Longer than 255 bytes or units.
    TooLong,
}

impl BadName {
    /// Returns the errno.
    #[must_use]
    pub(crate) fn errno(self) -> fuser::Errno {
        fuser::Errno::from_i32(match self {
            Self::Illegal => libc::EILSEQ,
            Self::TooLong => libc::ENAMETOOLONG,
        })
    }
}

const PRIVATE: u16 = 0xF000;

fn forbidden(unit: u16) -> bool {
    (1..0x20).contains(&unit) || b"\"*:<>?|\\".iter().any(|&each| u16::from(each) == unit)
}

/// Turns one component into UTF-16.
pub(crate) fn to_nt(name: &[u8]) -> Result<Vec<u16>, BadName> {
    if name.len() > 255 {
        return Err(BadName::TooLong);
    }
    let text = std::str::from_utf8(name).map_err(|_| BadName::Illegal)?;
    let mut units = Vec::with_capacity(text.len());
    for unit in text.encode_utf16() {
        if unit & 0xFF80 == PRIVATE && forbidden(unit & 0x7F) {
            return Err(BadName::Illegal);
        }
        units.push(if forbidden(unit) { PRIVATE | unit } else { unit });
    }
    if units.len() > 255 { Err(BadName::TooLong) } else { Ok(units) }
}

/// Turns a name of the volume into bytes; `None` for one that has no UTF-8 form (a lone surrogate).
#[must_use]
pub(crate) fn to_host(name: &[u16]) -> Option<Vec<u8>> {
    let plain = |&unit: &u16| if unit & 0xFF80 == PRIVATE && forbidden(unit & 0x7F) { unit & 0x7F } else { unit };
    let units: Vec<u16> = name.iter().map(plain).collect();
    String::from_utf16(&units).ok().map(String::into_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_characters_survive_a_round_trip() {
        for name in ["plain", "a:b", "x*?<>|\"\\y", "\u{1}\u{1f}", "gr\u{fc}n", "\u{1F600}", "trailing. "] {
            let units = to_nt(name.as_bytes()).expect("a legal name");
            assert!(!units.iter().any(|&unit| forbidden(unit)), "{name:?}");
            assert_eq!(to_host(&units).as_deref(), Some(name.as_bytes()));
        }
    }

    #[test]
    fn what_cannot_be_named_is_refused() {
        assert_eq!(to_nt(b"\xff"), Err(BadName::Illegal));
        assert_eq!(to_nt("\u{f03a}".as_bytes()), Err(BadName::Illegal));
        assert_eq!(to_nt(&[b'x'; 256]), Err(BadName::TooLong));
        assert!(to_nt(&[b'x'; 255]).is_ok());
        assert_eq!(to_host(&[0xD800]), None);
    }
}
