//! Case mapping and comparison of UTF-16 units.
//!
//! Room: ntos/rtl. Called by: `unicode`, file systems (name lookup), fltmgr (patterns). IRQL: any. Locks: none.
//! NT maps single units by a table that never changes a unit's class: only letters whose lower case is the unit again
//! have an upper case there, so U+0131, U+017F and U+00B5 stay as they are; the final sigma is the one exception.

use core::cmp::Ordering;

const FINAL_SIGMA: u16 = 0x03C2;
const CAPITAL_SIGMA: u16 = 0x03A3;

/// RtlUpcaseUnicodeChar.
#[inline]
#[must_use]
pub fn upcase(unit: u16) -> u16 {
    match unit {
        0x61..=0x7A => unit - 0x20,
        0..=0x7F => unit,
        FINAL_SIGMA => CAPITAL_SIGMA,
        _ => mapped(unit, |c| single(c.to_uppercase()), |c| single(c.to_lowercase())),
    }
}

/// RtlDowncaseUnicodeChar.
#[inline]
#[must_use]
pub fn downcase(unit: u16) -> u16 {
    match unit {
        0x41..=0x5A => unit + 0x20,
        0..=0x7F => unit,
        _ => mapped(unit, |c| single(c.to_lowercase()), |c| single(c.to_uppercase())),
    }
}

fn single(mut all: impl Iterator<Item = char>) -> Option<char> {
    let first = all.next()?;
    all.next().is_none().then_some(first)
}

/// Maps a unit one way if the other way leads back to it, and it stays one unit.
fn mapped(unit: u16, there: impl Fn(char) -> Option<char>, back: impl Fn(char) -> Option<char>) -> u16 {
    let Some(from) = char::from_u32(u32::from(unit)) else { return unit };
    match there(from) {
        Some(to) if back(to) == Some(from) => u16::try_from(u32::from(to)).unwrap_or(unit),
        _ => unit,
    }
}

/// RtlCompareUnicodeString's order: by units, upcased if case does not count, then by length.
#[must_use]
pub fn compare(a: &[u16], b: &[u16], ignore_case: bool) -> Ordering {
    if ignore_case { a.iter().map(|u| upcase(*u)).cmp(b.iter().map(|u| upcase(*u))) } else { a.cmp(b) }
}

/// What RtlCompareUnicodeString returns: the difference of the first units that differ, else of the lengths.
#[must_use]
pub fn difference(a: &[u16], b: &[u16], ignore_case: bool) -> i32 {
    let map = |u: &u16| i32::from(if ignore_case { upcase(*u) } else { *u });
    let first = a.iter().zip(b).map(|(x, y)| map(x) - map(y)).find(|d| *d != 0);
    first.unwrap_or_else(|| 2 * (a.len() as i32 - b.len() as i32))
}

/// Whether two strings are equal.
#[must_use]
pub fn equal(a: &[u16], b: &[u16], ignore_case: bool) -> bool {
    a.len() == b.len() && compare(a, b, ignore_case).is_eq()
}

/// RtlPrefixUnicodeString.
#[must_use]
pub fn is_prefix(prefix: &[u16], of: &[u16], ignore_case: bool) -> bool {
    of.len() >= prefix.len() && equal(prefix, &of[..prefix.len()], ignore_case)
}

/// RtlHashUnicodeString with HASH_STRING_ALGORITHM_X65599.
#[must_use]
pub fn hash(units: &[u16], ignore_case: bool) -> u32 {
    let map = |u: &u16| u32::from(if ignore_case { upcase(*u) } else { *u });
    units.iter().fold(0u32, |hash, unit| hash.wrapping_mul(65599).wrapping_add(map(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    #[test]
    fn letters_have_an_upper_case_only_if_it_leads_back() {
        let up = |c: char| upcase(u16::try_from(u32::from(c)).expect("one unit"));
        for (from, to) in
            [('a', 'A'), ('z', 'Z'), ('é', 'É'), ('ÿ', 'Ÿ'), ('я', 'Я'), ('σ', 'Σ'), ('ς', 'Σ'), ('[', '[')]
        {
            assert_eq!(up(from), to as u16, "{from}");
        }
        for same in ['ı', 'ſ', 'µ', 'ß', '0', 'A'] {
            assert_eq!(up(same), same as u16, "{same}");
        }
        assert_eq!(upcase(0xD800), 0xD800, "a lone surrogate is no letter");
        assert_eq!((downcase(0x41), downcase(0x178), downcase(0x130)), (0x61, 0xFF, 0x130));
    }

    #[test]
    fn comparison_sees_case_only_when_asked() {
        let (a, b) = (wide("File.TXT"), wide("file.txt"));
        assert!(equal(&a, &b, true) && !equal(&a, &b, false));
        assert!(difference(&a, &b, false) < 0 && difference(&a, &b, true) == 0);
        assert_eq!(difference(&wide("ab"), &wide("abc"), true), -2, "the lengths decide, in bytes");
        assert_eq!(compare(&wide("b"), &wide("A"), true), Ordering::Greater);
    }

    #[test]
    fn a_prefix_is_no_longer_than_the_whole() {
        assert!(is_prefix(&wide("\\dev"), &wide("\\Device"), true));
        assert!(!is_prefix(&wide("\\dev"), &wide("\\Device"), false));
        assert!(!is_prefix(&wide("\\Device0"), &wide("\\Device"), true));
        assert!(is_prefix(&[], &wide("x"), false));
    }

    #[test]
    fn the_hash_is_x65599() {
        assert_eq!(hash(&wide("ab"), false), 0x61 * 65599 + 0x62);
        assert_eq!(hash(&wide("ab"), true), hash(&wide("AB"), false));
    }
}
