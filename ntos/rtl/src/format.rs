//! Formatted text for DbgPrint and the printf family: one core for narrow and wide formats.
//!
//! Room: ntos/rtl. Called by: `exports`. Touches: what the arguments point to, by guarded reads only.
//! IRQL: any. Locks: none. Source: Microsoft's printf format page, the DbgPrint page (`%wZ`, `%Z`).
//! Text is collected as UTF-8: narrow strings pass as they are, wide ones are encoded; an unpaired surrogate becomes the
//! three bytes that its number would take, and [`to_units`] turns those back, so wide text survives unchanged.
//! Not here: floating-point conversions (kernel code may not use them without saving state); they print as `%f`.

use nt_abi::ob::UNICODE_STRING;
use nt_cell::{Fault, Region};

/// Where the arguments of one call come from.
pub trait Varargs {
    /// Takes the next eight-byte slot.
    fn next(&mut self) -> Result<u64, Fault>;
    /// Names the bytes at an address that an argument gave.
    fn span(&self, addr: u64, len: usize) -> Region;
}

/// The width of a character.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// `char`.
    Narrow,
    /// `wchar_t`, 16 bits.
    Wide,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    Default,
    Short,
    Byte,
    Long,
    Quad,
}

#[derive(Clone, Copy)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
    size: Size,
}

/// Expands a narrow format; `own` says what `%s` and `%c` mean.
pub fn expand<A: Varargs>(format: &[u8], own: Width, args: &mut A) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::with_capacity(format.len() + 32);
    let mut rest = format;
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        out.extend_from_slice(&rest[..at]);
        let body = &rest[at + 1..];
        rest = &body[conversion(body, own, args, &mut out)?..];
    }
    out.extend_from_slice(rest);
    Ok(out)
}

/// Expands one conversion that follows a `%`; returns how many bytes of the format it took.
fn conversion<A: Varargs>(body: &[u8], own: Width, args: &mut A, out: &mut Vec<u8>) -> Result<usize, Fault> {
    let mut at = 0;
    let peek = |at: usize| body.get(at).copied().unwrap_or(0);
    let mut spec = Spec {
        left: false,
        plus: false,
        space: false,
        alternate: false,
        zero: false,
        width: 0,
        precision: None,
        size: Size::Default,
    };
    loop {
        match peek(at) {
            b'-' => spec.left = true,
            b'+' => spec.plus = true,
            b' ' => spec.space = true,
            b'#' => spec.alternate = true,
            b'0' => spec.zero = true,
            _ => break,
        }
        at += 1;
    }
    if peek(at) == b'*' {
        let given = args.next()? as i32;
        spec.left |= given < 0;
        spec.width = given.unsigned_abs() as usize;
        at += 1;
    } else {
        (spec.width, at) = number(body, at);
    }
    if peek(at) == b'.' {
        at += 1;
        if peek(at) == b'*' {
            spec.precision = usize::try_from(args.next()? as i32).ok();
            at += 1;
        } else {
            let (precision, end) = number(body, at);
            (spec.precision, at) = (Some(precision), end);
        }
    }
    // A width or precision beyond any buffer that could take it is a slip: bound it, so that it cannot exhaust memory.
    spec.width = spec.width.min(0xFFFF);
    spec.precision = spec.precision.map(|p| p.min(0xFFFF));
    let mut wide = None;
    loop {
        let (size, step) = match (peek(at), peek(at + 1), peek(at + 2)) {
            (b'h', b'h', _) => (Size::Byte, 2),
            (b'h', ..) => (Size::Short, 1),
            (b'l', b'l', _) | (b'z' | b'j' | b't', ..) => (Size::Quad, if peek(at) == b'l' { 2 } else { 1 }),
            (b'l' | b'w', ..) => (Size::Long, 1),
            (b'I', b'6', b'4') => (Size::Quad, 3),
            (b'I', b'3', b'2') => (Size::Long, 3),
            (b'I', ..) => (Size::Quad, 1),
            _ => break,
        };
        match peek(at) {
            b'l' | b'w' => wide = Some(Width::Wide),
            b'h' => wide = Some(Width::Narrow),
            _ => {}
        }
        spec.size = size;
        at += step;
    }
    let other = if own == Width::Narrow { Width::Wide } else { Width::Narrow };
    match peek(at) {
        0 if at >= body.len() => {
            out.push(b'%');
            out.extend_from_slice(body);
            return Ok(body.len());
        }
        b'%' => out.push(b'%'),
        b'd' | b'i' => {
            let value = signed(args.next()?, spec.size);
            let sign = match value {
                ..0 => "-",
                _ if spec.plus => "+",
                _ if spec.space => " ",
                _ => "",
            };
            integer(&spec, sign, value.unsigned_abs().to_string(), out);
        }
        b'u' => integer(&spec, "", unsigned(args.next()?, spec.size).to_string(), out),
        b'x' => hexadecimal(&spec, args.next()?, "0x", |v| format!("{v:x}"), out),
        b'X' => hexadecimal(&spec, args.next()?, "0X", |v| format!("{v:X}"), out),
        b'o' => {
            let digits = format!("{:o}", unsigned(args.next()?, spec.size));
            integer(&spec, if spec.alternate && digits != "0" { "0" } else { "" }, digits, out);
        }
        b'p' => {
            let pointer = Spec { precision: Some(16), size: Size::Quad, ..spec };
            hexadecimal(&pointer, args.next()?, "0X", |v| format!("{v:X}"), out);
        }
        b'c' => character(&spec, args.next()?, wide.unwrap_or(own), out),
        b'C' => character(&spec, args.next()?, wide.unwrap_or(other), out),
        b's' => text(&spec, args, wide.unwrap_or(own), out)?,
        b'S' => text(&spec, args, wide.unwrap_or(other), out)?,
        b'Z' => counted(&spec, args, wide.unwrap_or(Width::Narrow), out)?,
        _ => {
            // Unknown: as it stands, and no argument taken.
            out.push(b'%');
            out.extend_from_slice(&body[..=at]);
        }
    }
    Ok(at + 1)
}

fn number(body: &[u8], mut at: usize) -> (usize, usize) {
    let mut value = 0usize;
    while let Some(digit) = body.get(at).filter(|b| b.is_ascii_digit()) {
        value = value.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
        at += 1;
    }
    (value, at)
}

fn signed(slot: u64, size: Size) -> i64 {
    match size {
        Size::Byte => i64::from(slot as i8),
        Size::Short => i64::from(slot as i16),
        Size::Default | Size::Long => i64::from(slot as i32),
        Size::Quad => slot as i64,
    }
}

fn unsigned(slot: u64, size: Size) -> u64 {
    match size {
        Size::Byte => u64::from(slot as u8),
        Size::Short => u64::from(slot as u16),
        Size::Default | Size::Long => u64::from(slot as u32),
        Size::Quad => slot,
    }
}

fn hexadecimal(spec: &Spec, slot: u64, prefix: &str, digits: impl Fn(u64) -> String, out: &mut Vec<u8>) {
    let value = unsigned(slot, spec.size);
    integer(spec, if spec.alternate && value != 0 { prefix } else { "" }, digits(value), out);
}

fn integer(spec: &Spec, prefix: &str, mut digits: String, out: &mut Vec<u8>) {
    if spec.precision == Some(0) && digits == "0" {
        digits.clear();
    }
    let mut zeros = spec.precision.unwrap_or(0).saturating_sub(digits.len());
    if spec.zero && !spec.left && spec.precision.is_none() {
        zeros = spec.width.saturating_sub(prefix.len() + digits.len());
    }
    let mut body = prefix.as_bytes().to_vec();
    body.resize(body.len() + zeros, b'0');
    body.extend_from_slice(digits.as_bytes());
    pad(spec, body.len(), &body, out);
}

/// Writes `body`, which counts as `length` characters, into its field.
fn pad(spec: &Spec, length: usize, body: &[u8], out: &mut Vec<u8>) {
    let fill = spec.width.saturating_sub(length);
    if !spec.left {
        out.resize(out.len() + fill, b' ');
    }
    out.extend_from_slice(body);
    if spec.left {
        out.resize(out.len() + fill, b' ');
    }
}

fn character(spec: &Spec, slot: u64, width: Width, out: &mut Vec<u8>) {
    match width {
        Width::Narrow => pad(spec, 1, &[slot as u8], out),
        Width::Wide => pad(spec, 1, &to_bytes(&[slot as u16]), out),
    }
}

fn text<A: Varargs>(spec: &Spec, args: &mut A, width: Width, out: &mut Vec<u8>) -> Result<(), Fault> {
    let addr = args.next()?;
    let limit = spec.precision.unwrap_or(usize::MAX);
    if addr == 0 {
        let null = &b"(null)"[..limit.min(6)];
        pad(spec, null.len(), null, out);
        return Ok(());
    }
    match width {
        Width::Narrow => {
            let bytes = narrow_string(|at, len| args.span(at, len), addr, limit)?;
            pad(spec, bytes.len(), &bytes, out);
        }
        Width::Wide => {
            let units = wide_string(|at, len| args.span(at, len), addr, limit)?;
            pad(spec, units.len(), &to_bytes(&units), out);
        }
    }
    Ok(())
}

/// `%Z`: a pointer to an ANSI_STRING, `%wZ`: to a UNICODE_STRING.
fn counted<A: Varargs>(spec: &Spec, args: &mut A, width: Width, out: &mut Vec<u8>) -> Result<(), Fault> {
    let addr = args.next()?;
    let (mut length, mut buffer) = (0, 0);
    if addr != 0 {
        let header = args.span(addr, UNICODE_STRING::SIZE);
        length = usize::from(header.load::<u16>(UNICODE_STRING::Length.offset())?);
        buffer = header.load::<u64>(UNICODE_STRING::Buffer.offset())?;
    }
    if buffer == 0 {
        pad(spec, 6, b"(null)", out);
        return Ok(());
    }
    match width {
        Width::Narrow => {
            let bytes = args.span(buffer, length.min(spec.precision.unwrap_or(length))).to_vec()?;
            pad(spec, bytes.len(), &bytes, out);
        }
        Width::Wide => {
            let count = (length / 2).min(spec.precision.unwrap_or(length));
            let units = args.span(buffer, count * 2).to_units()?;
            pad(spec, units.len(), &to_bytes(&units), out);
        }
    }
    Ok(())
}

/// Reads a narrow string up to its NUL or `limit` bytes; never touches a page behind its end.
pub fn narrow_string(span: impl Fn(u64, usize) -> Region, addr: u64, limit: usize) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let mut at = addr;
    while bytes.len() < limit {
        let piece = (0x1000 - (at & 0xFFF) as usize).min(limit - bytes.len());
        let start = bytes.len();
        bytes.resize(start + piece, 0);
        span(at, piece).read_to(&mut bytes[start..])?;
        if let Some(end) = bytes[start..].iter().position(|b| *b == 0) {
            bytes.truncate(start + end);
            break;
        }
        at = at.wrapping_add(piece as u64);
    }
    Ok(bytes)
}

/// Reads a wide string up to its NUL or `limit` units; never touches a page behind its end.
pub fn wide_string(span: impl Fn(u64, usize) -> Region, addr: u64, limit: usize) -> Result<Vec<u16>, Fault> {
    let mut units = Vec::new();
    let mut at = addr;
    while units.len() < limit {
        // A unit may straddle two pages when the string is misaligned: then take it alone.
        let count = ((0x1000 - (at & 0xFFF) as usize) / 2).max(1).min(limit - units.len());
        let piece = span(at, count * 2).to_units()?;
        if let Some(end) = piece.iter().position(|u| *u == 0) {
            units.extend_from_slice(&piece[..end]);
            break;
        }
        units.extend_from_slice(&piece);
        at = at.wrapping_add(count as u64 * 2);
    }
    Ok(units)
}

/// Encodes units as UTF-8; an unpaired surrogate takes three bytes.
#[must_use]
pub fn to_bytes(units: &[u16]) -> Vec<u8> {
    let mut out = Vec::with_capacity(units.len());
    for item in char::decode_utf16(units.iter().copied()) {
        match item {
            Ok(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(lone) => {
                let unit = lone.unpaired_surrogate();
                out.extend([0xE0 | (unit >> 12) as u8, 0x80 | (unit >> 6 & 0x3F) as u8, 0x80 | (unit & 0x3F) as u8]);
            }
        }
    }
    out
}

/// Decodes UTF-8 to units; what [`to_bytes`] made of an unpaired surrogate comes back, other bad bytes become U+FFFD.
#[must_use]
pub fn to_units(bytes: &[u8]) -> Vec<u16> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let (good, bad) = match core::str::from_utf8(rest) {
            Ok(text) => (text, 0),
            Err(error) => {
                let good = core::str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or_default();
                (good, error.error_len().unwrap_or(rest.len() - error.valid_up_to()))
            }
        };
        out.extend(good.encode_utf16());
        rest = &rest[good.len()..];
        if bad == 0 {
            break;
        }
        rest = match *rest {
            [0xED, b @ 0xA0..=0xBF, c @ 0x80..=0xBF, ..] => {
                out.push(0xD000 | u16::from(b & 0x3F) << 6 | u16::from(c & 0x3F));
                &rest[3..]
            }
            _ => {
                out.push(0xFFFD);
                &rest[bad..]
            }
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unicode::bytes_of;
    use nt_cell::UserBlock;

    /// Arguments for a test: values, and strings in user memory.
    struct Slots<'a>(core::slice::Iter<'a, u64>);

    impl Varargs for Slots<'_> {
        fn next(&mut self) -> Result<u64, Fault> {
            self.0.next().copied().ok_or(Fault { address: 0, write: false })
        }
        fn span(&self, addr: u64, len: usize) -> Region {
            Region::user(addr, len).expect("user memory")
        }
    }

    fn print(format: &str, values: &[u64]) -> String {
        let mut args = Slots(values.iter());
        let bytes = expand(format.as_bytes(), Width::Narrow, &mut args).expect("mapped");
        String::from_utf8(bytes).expect("UTF-8")
    }

    fn place(bytes: &[u8]) -> UserBlock {
        let block = UserBlock::guarded(bytes.len()).expect("arena");
        block.region().write_from(bytes).expect("mapped");
        block
    }

    #[test]
    fn integers_are_as_wide_as_their_prefix_says() {
        let all = u64::MAX;
        assert_eq!(print("%d %u %x", &[all, all, all]), "-1 4294967295 ffffffff");
        assert_eq!(print("%ld %lu %lx", &[all, all, all]), "-1 4294967295 ffffffff");
        assert_eq!(print("%lld %llu %llx", &[all, all, all]), "-1 18446744073709551615 ffffffffffffffff");
        assert_eq!(print("%I64d %I64u %I64X", &[all, all, all]), "-1 18446744073709551615 FFFFFFFFFFFFFFFF");
        assert_eq!(print("%I32x %Ix %zu", &[all, all, 7]), "ffffffff ffffffffffffffff 7");
        assert_eq!(print("%hd %hhu %o", &[0x1_8000, 0x1FF, 8]), "-32768 255 10");
        assert_eq!(print("%i", &[0x8000_0000]), "-2147483648");
    }

    #[test]
    fn flags_widths_and_precisions_shape_a_number() {
        assert_eq!(print("[%5d][%-5d][%05d]", &[42, 42, 42]), "[   42][42   ][00042]");
        assert_eq!(print("[%+d][% d][%+05d]", &[1, 1, 1]), "[+1][ 1][+0001]");
        assert_eq!(print("[%#x][%#X][%#08x]", &[255, 255, 255]), "[0xff][0XFF][0x0000ff]");
        assert_eq!(print("[%.3d][%5.3d][%.0d]", &[7, 7, 0]), "[007][  007][]");
        assert_eq!(print("[%*d][%-*d][%.*d]", &[4, 1, (-4i64) as u64, 1, 3, 1]), "[   1][1   ][001]");
        assert_eq!(print("[%08lx]", &[0xBEEF]), "[0000beef]");
        assert_eq!(print("[%-05d]", &[3]), "[3    ]");
    }

    #[test]
    fn a_pointer_has_sixteen_digits() {
        assert_eq!(print("%p", &[0xFFFF_8000_1234_ABCD]), "FFFF80001234ABCD");
        assert_eq!(print("[%20p]", &[0x10]), "[    0000000000000010]");
    }

    #[test]
    fn strings_end_at_nul_or_precision_and_touch_nothing_behind() {
        let (text, bare) = (place(b"hello\0"), place(b"hello"));
        assert_eq!(print("%s %hs", &[text.addr(), text.addr()]), "hello hello");
        assert_eq!(print("[%8s][%-8s][%.2s]", &[text.addr(); 3]), "[   hello][hello   ][he]");
        assert_eq!(print("%.5s", &[bare.addr()]), "hello");
        let fault = expand(b"%s", Width::Narrow, &mut Slots([bare.addr()].iter())).expect_err("no NUL before the hole");
        assert_eq!(fault.address, bare.addr() + 5);
        assert_eq!(print("%s %.3s %ws", &[0, 0, 0]), "(null) (nu (null)");
    }

    #[test]
    fn wide_strings_become_utf_8() {
        let units: Vec<u16> = "näme\0".encode_utf16().collect();
        let wide = place(&bytes_of(&units));
        assert_eq!(print("%ws|%S|%ls|%.2ws|[%6ws]", &[wide.addr(); 5]), "näme|näme|näme|nä|[  näme]");
        assert_eq!(print("%c%C%lc%hc", &[0x41, 0xE4, 0x20AC, 0x42]), "Aä€B");
    }

    #[test]
    fn counted_strings_use_their_length() {
        let body = place(&bytes_of(&"abcdef".encode_utf16().collect::<Vec<_>>()));
        let mut header = [0; 16];
        header[0] = 6;
        header[2] = 12;
        header[8..].copy_from_slice(&body.addr().to_le_bytes());
        let string = place(&header);
        assert_eq!(print("%wZ|%.1wZ|%Z", &[string.addr(), string.addr(), string.addr()]), "abc|a|a\0b\0c\0");
        assert_eq!(print("%wZ", &[0]), "(null)");
        let empty = place(&[0; 16]);
        assert_eq!(print("%wZ", &[empty.addr()]), "(null)");
    }

    #[test]
    fn a_wide_format_takes_wide_arguments() {
        let wide = place(&bytes_of(&"w\0".encode_utf16().collect::<Vec<_>>()));
        let narrow = place(b"n\0");
        let values = [wide.addr(), narrow.addr(), narrow.addr()];
        assert_eq!(expand(b"%s%S%hs", Width::Wide, &mut Slots(values.iter())).expect("mapped"), b"wnn");
    }

    #[test]
    fn what_is_no_conversion_stays() {
        assert_eq!(print("100%% %q %", &[]), "100% %q %");
        assert_eq!(print("%5", &[]), "%5");
    }

    #[test]
    fn unpaired_surrogates_survive_the_way_through_utf_8() {
        let units = [0x41, 0xD800, 0x42, 0xDC00, 0xD83D, 0xDE00, 0xDFFF];
        assert_eq!(to_units(&to_bytes(&units)), units);
        assert_eq!(to_units(&[0x41, 0xFF, 0x42]), [0x41, 0xFFFD, 0x42]);
        assert_eq!(to_units(&[0xE2, 0x82]), [0xFFFD]);
    }
}
