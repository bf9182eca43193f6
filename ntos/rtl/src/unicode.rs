//! Counted strings in foreign memory: UNICODE_STRING and ANSI_STRING.
//!
//! Room: ntos/rtl. Called by: every room that names something, `exports`. Calls: `nt_ex::pool`.
//! Touches: the string's header and buffer, by guarded copies; a [`Fault`] is what a driver would see as an exception.
//! IRQL: any for compare and copy within buffers, DISPATCH_LEVEL at most where a buffer is allocated. Locks: none.
//! A buffer that a routine here allocates comes from nonpaged pool with tag `Strg`, and [`release`] frees it.

pub use crate::cases::{downcase, upcase};
use crate::format::{to_bytes, to_units};
use nt_abi::ob::{ANSI_STRING, UNICODE_STRING};
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Fault, Foreign, Region};
use nt_ex::pool::{self, PoolKind};

/// The longest string that a UNICODE_STRING describes, in bytes, without a terminator.
const LONGEST: usize = 0xFFFC;
/// STATUS_INVALID_PARAMETER_2.
const INVALID_PARAMETER_2: NtStatus = NtStatus(0xC000_00F0);

/// Reads little-endian units from bytes; an odd last byte does not count.
#[must_use]
pub fn units_of(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// Returns units as little-endian bytes.
#[must_use]
pub fn bytes_of(units: &[u16]) -> Vec<u8> {
    units.iter().flat_map(|unit| unit.to_le_bytes()).collect()
}

/// Returns the units of a string.
pub fn units(string: Foreign<UNICODE_STRING>) -> Result<Vec<u16>, Fault> {
    let length = usize::from(string.get(UNICODE_STRING::Length) & !1);
    string.region_at(UNICODE_STRING::Buffer, length).to_units()
}

/// Reads a string for people: what is no UTF-16 becomes U+FFFD.
#[must_use]
pub fn text(string: Foreign<UNICODE_STRING>) -> String {
    units(string).map_or_else(|_| "<unreadable>".to_owned(), |units| String::from_utf16_lossy(&units))
}

/// Returns the bytes of an ANSI string.
pub fn ansi_bytes(string: Foreign<ANSI_STRING>) -> Result<Vec<u8>, Fault> {
    string.region_at(ANSI_STRING::Buffer, usize::from(string.get(ANSI_STRING::Length))).to_vec()
}

/// Makes `string` describe a fresh copy of `text`, terminated by a NUL that does not count.
pub fn store(string: Foreign<UNICODE_STRING>, text: &str) -> NtResult<()> {
    store_units(string, &text.encode_utf16().collect::<Vec<_>>())
}

/// As [`store`], of units. The former buffer is freed.
pub fn store_units(string: Foreign<UNICODE_STRING>, units: &[u16]) -> NtResult<()> {
    if units.len() * 2 > LONGEST {
        return NtStatus::NAME_TOO_LONG.fail();
    }
    let buffer = units_to_pool(units, 2).ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    release(string);
    describe(string, units.len() * 2, units.len() * 2 + 2, Some(buffer));
    Ok(())
}

/// Empties a string and frees its buffer if that is a pool block: [`store`]'s, or one that a driver put there
/// (IoReplaceFileObjectName's contract).
pub fn release(string: Foreign<UNICODE_STRING>) {
    if let Some(buffer) = string.ptr(UNICODE_STRING::Buffer) {
        describe(string, 0, 0, None);
        if pool::size_of_block(buffer.addr()).is_some() {
            pool::free(buffer);
        }
    }
}

/// RtlFreeUnicodeString: empties a string and frees its buffer.
///
/// # Panics
/// If the buffer is no pool block (bug check 0xC2).
pub fn free(string: Foreign<UNICODE_STRING>) {
    if let Some(buffer) = string.ptr(UNICODE_STRING::Buffer) {
        describe(string, 0, 0, None);
        pool::free(buffer);
    }
}

fn describe(string: Foreign<UNICODE_STRING>, length: usize, maximum: usize, buffer: Option<Foreign<Bytes>>) {
    string.set(UNICODE_STRING::Length, length as u16);
    string.set(UNICODE_STRING::MaximumLength, maximum as u16);
    string.set_ptr(UNICODE_STRING::Buffer, buffer);
}

/// Copies bytes to a pool block of their own with `extra` zero bytes behind them.
fn copy_to_pool(bytes: &[u8], extra: usize) -> Option<Foreign<Bytes>> {
    string_block(bytes.len(), extra).filter(|&block| Region::pool(block, bytes.len()).write_from(bytes).is_ok())
}

/// As [`copy_to_pool`], of units.
fn units_to_pool(units: &[u16], extra: usize) -> Option<Foreign<Bytes>> {
    let length = size_of_val(units);
    string_block(length, extra).filter(|&block| Region::pool(block, length).write_units(units).is_ok())
}

fn string_block(length: usize, extra: usize) -> Option<Foreign<Bytes>> {
    pool::allocate((length + extra).max(1), pool::tag(b"Strg"), PoolKind::NonPaged)
}

/// Writes units over the buffer's start, sets Length, and terminates the text where a NUL still fits.
fn put(string: Foreign<UNICODE_STRING>, at: usize, units: &[u16]) -> Result<(), Fault> {
    let maximum = usize::from(string.get(UNICODE_STRING::MaximumLength));
    let end = at + units.len() * 2;
    let terminated = end + 2 <= maximum;
    let mut bytes = bytes_of(units);
    if terminated {
        bytes.extend([0, 0]);
    }
    let whole = at + bytes.len();
    string.region_at(UNICODE_STRING::Buffer, whole).sub(at, bytes.len()).write_from(&bytes)?;
    string.set(UNICODE_STRING::Length, end as u16);
    Ok(())
}

/// RtlCopyUnicodeString: as much as fits; no source empties the target.
pub fn copy(to: Foreign<UNICODE_STRING>, from: Option<Foreign<UNICODE_STRING>>) -> Result<(), Fault> {
    let mut source = from.map_or(Ok(Vec::new()), units)?;
    source.truncate(usize::from(to.get(UNICODE_STRING::MaximumLength)) / 2);
    if source.is_empty() {
        to.set(UNICODE_STRING::Length, 0);
        return Ok(());
    }
    put(to, 0, &source)
}

/// RtlAppendUnicodeStringToString and RtlAppendUnicodeToString: all of it or BUFFER_TOO_SMALL.
pub fn append(to: Foreign<UNICODE_STRING>, more: &[u16]) -> Result<NtStatus, Fault> {
    let length = usize::from(to.get(UNICODE_STRING::Length));
    if length + more.len() * 2 > usize::from(to.get(UNICODE_STRING::MaximumLength)) {
        return Ok(NtStatus::BUFFER_TOO_SMALL);
    }
    if !more.is_empty() {
        put(to, length, more)?;
    }
    Ok(NtStatus::SUCCESS)
}

/// RtlUpcaseUnicodeString and RtlDowncaseUnicodeString: `map` of every unit, in a fresh buffer if `fresh`.
pub fn mapped(
    to: Foreign<UNICODE_STRING>,
    from: Foreign<UNICODE_STRING>,
    map: impl Fn(u16) -> u16,
    fresh: bool,
) -> Result<NtStatus, Fault> {
    let units: Vec<u16> = units(from)?.into_iter().map(map).collect();
    if fresh {
        let Some(buffer) = units_to_pool(&units, 0) else { return Ok(NtStatus::NO_MEMORY) };
        describe(to, units.len() * 2, units.len() * 2, Some(buffer));
        return Ok(NtStatus::SUCCESS);
    }
    if units.len() * 2 > usize::from(to.get(UNICODE_STRING::MaximumLength)) {
        return Ok(NtStatus::BUFFER_OVERFLOW);
    }
    to.region_at(UNICODE_STRING::Buffer, units.len() * 2).write_units(&units)?;
    to.set(UNICODE_STRING::Length, (units.len() * 2) as u16);
    Ok(NtStatus::SUCCESS)
}

/// RtlAnsiStringToUnicodeString: with a terminator that must fit too.
pub fn from_ansi(to: Foreign<UNICODE_STRING>, from: Foreign<ANSI_STRING>, fresh: bool) -> Result<NtStatus, Fault> {
    let units = to_units(&ansi_bytes(from)?);
    let needed = units.len() * 2 + 2;
    if needed > 0xFFFE {
        return Ok(INVALID_PARAMETER_2);
    }
    if fresh {
        let Some(buffer) = units_to_pool(&units, 2) else { return Ok(NtStatus::NO_MEMORY) };
        describe(to, units.len() * 2, needed, Some(buffer));
        return Ok(NtStatus::SUCCESS);
    }
    if needed > usize::from(to.get(UNICODE_STRING::MaximumLength)) {
        return Ok(NtStatus::BUFFER_OVERFLOW);
    }
    put(to, 0, &units)?;
    Ok(NtStatus::SUCCESS)
}

/// RtlUnicodeStringToAnsiString: what does not fit is cut and said so, except that a terminator always fits.
pub fn to_ansi(to: Foreign<ANSI_STRING>, from: Foreign<UNICODE_STRING>, fresh: bool) -> Result<NtStatus, Fault> {
    let mut bytes = to_bytes(&units(from)?);
    if bytes.len() + 1 > 0xFFFF {
        return Ok(INVALID_PARAMETER_2);
    }
    if fresh {
        let Some(buffer) = copy_to_pool(&bytes, 1) else { return Ok(NtStatus::NO_MEMORY) };
        to.set(ANSI_STRING::Length, bytes.len() as u16);
        to.set(ANSI_STRING::MaximumLength, bytes.len() as u16 + 1);
        to.set_ptr(ANSI_STRING::Buffer, Some(buffer));
        return Ok(NtStatus::SUCCESS);
    }
    let maximum = usize::from(to.get(ANSI_STRING::MaximumLength));
    if maximum == 0 {
        return Ok(NtStatus::BUFFER_OVERFLOW);
    }
    let status = if bytes.len() < maximum { NtStatus::SUCCESS } else { NtStatus::BUFFER_OVERFLOW };
    bytes.truncate(maximum - 1);
    to.set(ANSI_STRING::Length, bytes.len() as u16);
    bytes.push(0);
    to.region_at(ANSI_STRING::Buffer, bytes.len()).write_from(&bytes)?;
    Ok(status)
}

/// RtlFreeAnsiString.
pub fn free_ansi(string: Foreign<ANSI_STRING>) {
    if let Some(buffer) = string.ptr(ANSI_STRING::Buffer) {
        string.set(ANSI_STRING::Length, 0);
        string.set(ANSI_STRING::MaximumLength, 0);
        string.set_ptr(ANSI_STRING::Buffer, None);
        pool::free(buffer);
    }
}

/// RtlIntegerToUnicodeString and RtlInt64ToUnicodeString: upper-case digits.
pub fn from_integer(to: Foreign<UNICODE_STRING>, value: u64, base: u32) -> Result<NtStatus, Fault> {
    let text = match base {
        0 | 10 => value.to_string(),
        16 => format!("{value:X}"),
        8 => format!("{value:o}"),
        2 => format!("{value:b}"),
        _ => return Ok(NtStatus::INVALID_PARAMETER),
    };
    if text.len() * 2 > usize::from(to.get(UNICODE_STRING::MaximumLength)) {
        return Ok(NtStatus::BUFFER_OVERFLOW);
    }
    put(to, 0, &text.encode_utf16().collect::<Vec<_>>())?;
    Ok(NtStatus::SUCCESS)
}

/// RtlUnicodeStringToInteger: spaces, a sign, a prefix where base is 0, digits up to the first that is none.
pub fn to_integer(units: &[u16], base: u32) -> NtResult<u32> {
    let text: Vec<char> = units.iter().map(|u| char::from_u32(u32::from(*u)).unwrap_or('\u{FFFD}')).collect();
    let mut rest = &text[text.iter().take_while(|c| **c <= ' ').count()..];
    let negative = rest.first() == Some(&'-');
    if matches!(rest.first(), Some('-' | '+')) {
        rest = &rest[1..];
    }
    let base = match (base, rest) {
        (0, ['0', prefix @ ('x' | 'o' | 'b'), after @ ..]) => {
            rest = after;
            match prefix {
                'x' => 16,
                'o' => 8,
                _ => 2,
            }
        }
        (0, _) => 10,
        (2 | 8 | 10 | 16, _) => base,
        _ => return NtStatus::INVALID_PARAMETER.fail(),
    };
    let digits = rest.iter().map_while(|c| c.to_digit(base));
    let value = digits.fold(0u32, |value, digit| value.wrapping_mul(base).wrapping_add(digit));
    Ok(if negative { value.wrapping_neg() } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    fn string() -> Foreign<UNICODE_STRING> {
        pool::zeroed::<UNICODE_STRING>(pool::tag(b"Test")).expect("pool")
    }

    /// A string with a buffer of `maximum` bytes.
    fn room(maximum: usize) -> Foreign<UNICODE_STRING> {
        let s = string();
        let buffer = pool::allocate(maximum.max(2) + 2, pool::tag(b"Test"), PoolKind::NonPaged).expect("pool");
        Region::pool(buffer, maximum.max(2) + 2).fill(0xEE).expect("pool");
        describe(s, 0, maximum, Some(buffer));
        s
    }

    fn stored(text: &str) -> Foreign<UNICODE_STRING> {
        let s = string();
        store(s, text).expect("pool");
        s
    }

    fn drop_all(strings: &[Foreign<UNICODE_STRING>]) {
        for s in strings {
            release(*s);
            pool::free(*s);
        }
    }

    #[test]
    fn a_stored_string_reads_back_and_is_terminated() {
        let s = stored("näme");
        assert_eq!(units(s).expect("pool"), wide("näme"));
        assert_eq!((s.get(UNICODE_STRING::Length), s.get(UNICODE_STRING::MaximumLength)), (8, 10));
        assert_eq!(s.region_at(UNICODE_STRING::Buffer, 10).load::<u16>(8), Ok(0));
        release(s);
        assert!(s.ptr(UNICODE_STRING::Buffer).is_none());
        release(s);
        pool::free(s);
    }

    #[test]
    fn a_string_longer_than_its_length_field_is_refused() {
        let s = string();
        let error = store_units(s, &vec![0x41; 0x7FFF]).expect_err("too long");
        assert_eq!(error.status(), NtStatus::NAME_TOO_LONG);
        pool::free(s);
    }

    #[test]
    fn copy_takes_what_fits() {
        let (from, to) = (stored("abcdef"), room(8));
        copy(to, Some(from)).expect("pool");
        assert_eq!(units(to).expect("pool"), wide("abcd"));
        assert_eq!(to.region_at(UNICODE_STRING::Buffer, 10).load::<u16>(8), Ok(0xEEEE), "nothing past the maximum");
        copy(to, None).expect("pool");
        assert_eq!(to.get(UNICODE_STRING::Length), 0);
        drop_all(&[from, to]);
    }

    #[test]
    fn append_is_all_or_nothing() {
        let to = room(10);
        assert_eq!(append(to, &wide("abc")), Ok(NtStatus::SUCCESS));
        assert_eq!(append(to, &wide("def")), Ok(NtStatus::BUFFER_TOO_SMALL));
        assert_eq!(units(to).expect("pool"), wide("abc"));
        assert_eq!(append(to, &wide("de")), Ok(NtStatus::SUCCESS));
        assert_eq!(units(to).expect("pool"), wide("abcde"));
        assert_eq!(to.region_at(UNICODE_STRING::Buffer, 12).load::<u16>(10), Ok(0xEEEE));
        drop_all(&[to]);
    }

    #[test]
    fn upcase_maps_in_place_or_into_a_fresh_buffer() {
        let (from, to, small) = (stored("Straße"), string(), room(4));
        assert_eq!(mapped(to, from, upcase, true), Ok(NtStatus::SUCCESS));
        assert_eq!(units(to).expect("pool"), wide("STRAßE"));
        assert_eq!(mapped(small, from, upcase, false), Ok(NtStatus::BUFFER_OVERFLOW));
        assert_eq!(mapped(from, from, upcase, false), Ok(NtStatus::SUCCESS));
        assert_eq!(units(from).expect("pool"), wide("STRAßE"));
        drop_all(&[from, to, small]);
    }

    #[test]
    fn ansi_and_unicode_convert_both_ways() {
        let (wide_in, wide_out) = (stored("dé€"), string());
        let ansi = pool::zeroed::<ANSI_STRING>(pool::tag(b"Test")).expect("pool");
        assert_eq!(to_ansi(ansi, wide_in, true), Ok(NtStatus::SUCCESS));
        assert_eq!(ansi_bytes(ansi).expect("pool"), "dé€".as_bytes());
        assert_eq!(from_ansi(wide_out, ansi, true), Ok(NtStatus::SUCCESS));
        assert_eq!(units(wide_out).expect("pool"), wide("dé€"));
        let small = room(6);
        assert_eq!(from_ansi(small, ansi, false), Ok(NtStatus::BUFFER_OVERFLOW), "the terminator counts");
        ansi.set(ANSI_STRING::MaximumLength, 3);
        assert_eq!(to_ansi(ansi, wide_in, false), Ok(NtStatus::BUFFER_OVERFLOW));
        assert_eq!(ansi.get(ANSI_STRING::Length), 2, "cut, and terminated");
        free_ansi(ansi);
        pool::free(ansi);
        drop_all(&[wide_in, wide_out, small]);
    }

    #[test]
    fn integers_are_read_with_sign_and_prefix() {
        for (text, base, value) in [
            ("42", 10, 42),
            ("  +42x", 0, 42),
            ("0x1F", 0, 31),
            ("1F", 16, 31),
            ("0b101", 0, 5),
            ("0o17", 0, 15),
            ("-1", 0, u32::MAX),
            ("", 0, 0),
            ("4294967296", 10, 0),
        ] {
            assert_eq!(to_integer(&wide(text), base).map_err(|e| e.status()), Ok(value), "{text}");
        }
        assert_eq!(to_integer(&wide("1"), 7).map_err(|e| e.status()), Err(NtStatus::INVALID_PARAMETER));
    }

    #[test]
    fn integers_are_written_where_they_fit() {
        let to = room(8);
        assert_eq!(from_integer(to, 0xBEEF, 16), Ok(NtStatus::SUCCESS));
        assert_eq!(units(to).expect("pool"), wide("BEEF"));
        assert_eq!(from_integer(to, 12345, 0), Ok(NtStatus::BUFFER_OVERFLOW));
        assert_eq!(from_integer(to, 1, 3), Ok(NtStatus::INVALID_PARAMETER));
        drop_all(&[to]);
    }
}
