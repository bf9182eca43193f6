//! The stream part of a name.
//!
//! Room: drivers/memfs. IRQL: any. Locks: none. Source: FSCC 2.1.5; rules NT-STR-01 to NT-STR-03, NT-STR-17.

use crate::node::{Units, upcase};
use nt_abi::{NtResult, NtStatus};

const SEPARATOR: u16 = b'\\' as u16;
const COLON: u16 = b':' as u16;

/// What of a file a name means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// No stream is named: the file, or directory.
    Whole,
    /// `::$DATA`.
    Unnamed,
    /// `::$INDEX_ALLOCATION`, also with the name `$I30`: a directory's names.
    Index,
    /// A named stream.
    Stream(Units),
}

fn is(part: &[u16], text: &str) -> bool {
    upcase(part).into_iter().eq(text.encode_utf16())
}

/// Splits `name:stream:$TYPE`.
pub(crate) fn split(name: &[u16]) -> NtResult<(&[u16], Part)> {
    let last = name.iter().rposition(|&unit| unit == SEPARATOR).map_or(0, |at| at + 1);
    let Some(colon) = name[last..].iter().position(|&unit| unit == COLON) else { return Ok((name, Part::Whole)) };
    let (file, stream) = (&name[..last + colon], &name[last + colon + 1..]);
    // A stream of the root is `\:s`; elsewhere a name stands in front of the colon.
    if colon == 0 && last > 1 {
        return NtStatus::OBJECT_NAME_INVALID.fail();
    }
    Ok((file, part(stream)?))
}

/// Reads what follows the first colon.
pub(super) fn part(stream: &[u16]) -> NtResult<Part> {
    let invalid = || NtStatus::OBJECT_NAME_INVALID.error();
    let mut parts = stream.split(|&unit| unit == COLON);
    let (name, kind) = (parts.next().unwrap_or(&[]), parts.next());
    if parts.next().is_some() || name.len() > 255 || name.iter().any(|&unit| matches!(unit, 0 | 0x2F | 0x5C)) {
        return Err(invalid());
    }
    match kind {
        Some(kind) if is(kind, "$INDEX_ALLOCATION") && (name.is_empty() || is(name, "$I30")) => Ok(Part::Index),
        Some(kind) if is(kind, "$DATA") && name.is_empty() => Ok(Part::Unnamed),
        Some(kind) if is(kind, "$DATA") => Ok(Part::Stream(name.to_vec())),
        None if !name.is_empty() => Ok(Part::Stream(name.to_vec())),
        _ => Err(invalid()), // NT-STR-02
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Option<(String, Part)> {
        let units: Vec<u16> = name.encode_utf16().collect();
        split(&units).ok().map(|(file, part)| (String::from_utf16_lossy(file), part))
    }

    #[test]
    fn a_name_is_split_at_the_colon_of_its_last_component() {
        let stream = |name: &str| Part::Stream(name.encode_utf16().collect());
        assert_eq!(of("\\d\\f:s"), Some(("\\d\\f".into(), stream("s"))));
        assert_eq!(of("\\d\\f:s:$data"), Some(("\\d\\f".into(), stream("s"))));
        assert_eq!(of(":s"), Some((String::new(), stream("s"))));
        assert_eq!(of("\\:s"), Some(("\\".into(), stream("s"))));
        assert_eq!(of("\\f::$Data"), Some(("\\f".into(), Part::Unnamed)));
        assert_eq!(of("\\d:$I30:$INDEX_ALLOCATION"), Some(("\\d".into(), Part::Index)));
        assert_eq!(of("\\d:f\\g"), Some(("\\d:f\\g".into(), Part::Whole)), "the walk refuses that colon");
        for bad in ["\\f:", "\\f:s:", "\\f::", "\\f:s:$BITMAP", "\\f:s:$DATA:", "\\f:s:$INDEX_ALLOCATION", "\\d\\:s"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
