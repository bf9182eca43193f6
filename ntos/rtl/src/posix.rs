//! Names between POSIX and NT: one mapping for the door and for volumes that lie on the host.
//!
//! Room: ntos/rtl. Called by: front/fuse, drivers/memfs (`dir`). Calls: nothing. IRQL: any. Locks: none.
//! Source: house rules 8 and 15; NT-NAM-14. Characters that Windows forbids are U+F000 plus their code; names that are not UTF-8, or that
//! hold such a private character already, have no NT form. Extended attributes: NT names are ASCII without case and an
//! empty value deletes, so `user.NAME` is `U.` and NAME in upper case with all else as `!` and two hex digits.

/// Why a name cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadName {
    /// Not UTF-8, or a private character that stands for a forbidden one.
    Illegal,
    /// Longer than 255 bytes or units.
    TooLong,
}

const PRIVATE: u16 = 0xF000;

fn forbidden(unit: u16) -> bool {
    (1..0x20).contains(&unit) || b"\"*:<>?|\\".iter().any(|&each| u16::from(each) == unit)
}

/// Turns one component into UTF-16.
pub fn to_nt(name: &[u8]) -> Result<Vec<u16>, BadName> {
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

/// Turns a name of a volume into bytes; `None` for one that has no UTF-8 form (a lone surrogate).
#[must_use]
pub fn to_host(name: &[u16]) -> Option<Vec<u8>> {
    let plain = |&unit: &u16| if unit & 0xFF80 == PRIVATE && forbidden(unit & 0x7F) { unit & 0x7F } else { unit };
    let units: Vec<u16> = name.iter().map(plain).collect();
    String::from_utf16(&units).ok().map(String::into_bytes)
}

const PREFIX: &[u8] = b"user.";
const ENCODED: &[u8] = b"U.";

/// Turns `user.name` into the name of an NT extended attribute; `None` for other families.
#[must_use]
pub fn attribute_to_nt(name: &[u8]) -> Option<Vec<u8>> {
    let name = name.strip_prefix(PREFIX).filter(|name| !name.is_empty())?;
    let mut encoded = ENCODED.to_vec();
    for &byte in name {
        match byte {
            b'a'..=b'z' => encoded.push(byte.to_ascii_uppercase()),
            b'0'..=b'9' | b'.' | b'_' | b'-' => encoded.push(byte),
            _ => encoded.extend_from_slice(format!("!{byte:02X}").as_bytes()),
        }
    }
    Some(encoded)
}

/// Turns an NT attribute's name back; `None` for one that is not of this form.
#[must_use]
pub fn attribute_to_host(name: &[u8]) -> Option<Vec<u8>> {
    let name = name.strip_prefix(ENCODED).filter(|name| !name.is_empty())?;
    let mut decoded = PREFIX.to_vec();
    let mut at = 0;
    while let Some(&byte) = name.get(at) {
        at += 1;
        if byte == b'!' {
            let digits = std::str::from_utf8(name.get(at..at + 2)?).ok()?;
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            at += 2;
        } else {
            decoded.push(byte.to_ascii_lowercase());
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nt_nam_14_forbidden_characters_survive_a_round_trip() {
        for name in ["plain", "a:b", "x*?<>|\"\\y", "\u{1}\u{1f}", "gr\u{fc}n", "\u{1F600}", "trailing. "] {
            let units = to_nt(name.as_bytes()).expect("a legal name");
            assert!(!units.iter().any(|&unit| forbidden(unit)), "{name:?}");
            assert_eq!(to_host(&units).as_deref(), Some(name.as_bytes()));
        }
        assert_eq!(to_nt(b"a:*").expect("legal"), [0x61, 0xF03A, 0xF02A]);
    }

    #[test]
    fn what_cannot_be_named_is_refused() {
        assert_eq!(to_nt(b"\xff"), Err(BadName::Illegal));
        assert_eq!(to_nt("\u{f03a}".as_bytes()), Err(BadName::Illegal));
        assert_eq!(to_nt(&[b'x'; 256]), Err(BadName::TooLong));
        assert!(to_nt(&[b'x'; 255]).is_ok());
        assert_eq!(to_host(&[0xD800]), None);
    }

    #[test]
    fn attribute_names_that_differ_in_case_stay_apart() {
        for name in ["user.a", "user.A", "user.Mixed Case!", "user.\u{e9}", "user.a.b_c-d"] {
            let encoded = attribute_to_nt(name.as_bytes()).expect("ours");
            assert_eq!(encoded.to_ascii_uppercase(), encoded);
            assert_eq!(attribute_to_host(&encoded).as_deref(), Some(name.as_bytes()));
        }
        assert_eq!(attribute_to_nt(b"security.capability"), None);
        assert_eq!(attribute_to_host(b"$LXMOD"), None);
    }
}
