//! Names of extended attributes: exact outside, without case inside.
//!
//! Room: front/fuse. Called by: operations. Calls: nothing. Source: docs of the POSIX door, section 5; house rule 15.
//! NT names are ASCII without case and an empty value deletes: so `user.NAME` is `U.` and NAME in upper case, with
//! upper-case and other characters as `!` and two hex digits; a value has one byte in front.

const PREFIX: &[u8] = b"user.";
const ENCODED: &[u8] = b"U.";

/// Turns `user.name` into the volume's name; `None` for other families.
pub(crate) fn encode(name: &[u8]) -> Option<Vec<u8>> {
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

/// Turns the volume's name back; `None` for attributes that are not ours to list.
pub(crate) fn decode(name: &[u8]) -> Option<Vec<u8>> {
    let name = name.strip_prefix(ENCODED)?;
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
    fn names_that_differ_in_case_stay_apart() {
        for name in ["user.a", "user.A", "user.Mixed Case!", "user.\u{e9}", "user.a.b_c-d"] {
            let encoded = encode(name.as_bytes()).expect("ours");
            assert_eq!(encoded.to_ascii_uppercase(), encoded);
            assert_eq!(decode(&encoded).as_deref(), Some(name.as_bytes()));
        }
        assert_eq!(encode(b"security.capability"), None);
        assert_eq!(decode(b"$LXMOD"), None);
    }
}
