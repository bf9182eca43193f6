//! Short (8.3) names: RtlGenerate8dot3Name, RtlIsNameLegalDOS8Dot3.
//!
//! Room: ntos/rtl. Called by: file systems, `exports`. IRQL: any. Locks: none.
//! Source: the two DDI pages, knowledge base article 142982 (what is left out of a long name), GENERATE_NAME_CONTEXT in ntifs.h;
//! rule NT-NAM-21. Which four digits follow from a long name is documented nowhere ("nondeterministic"): they are ours.

use crate::cases::{hash, upcase};
use crate::format::to_bytes;
use crate::unicode::{bytes_of, units_of};
use nt_abi::ob::GENERATE_NAME_CONTEXT;
use nt_cell::{Fault, Foreign};

const SPACE: u16 = b' ' as u16;
const DOT: u16 = b'.' as u16;
const TILDE: u16 = b'~' as u16;
/// Units of a long name that a short one begins with.
const KEPT: usize = 6;
/// After so many tries the name is short of letters: two of them and a hash take their place.
const PLAIN_TRIES: u32 = 4;
/// How often a long name gives another short one.
const TRIES: u32 = 1_000_000;

/// A legal 8.3 name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Legal {
    /// There are spaces in it.
    pub spaces: bool,
}

/// The name in upper case and the OEM code page, which is UTF-8 like the ANSI one.
#[must_use]
pub fn oem(name: &[u16]) -> Vec<u8> {
    to_bytes(&name.iter().map(|&unit| upcase(unit)).collect::<Vec<_>>())
}

/// Whether these bytes of [`oem`] are an 8.3 name; `None`: they are not.
#[must_use]
pub fn legal(oem: &[u8]) -> Option<Legal> {
    const LONGEST: usize = 12;
    if matches!(oem, b"." | b"..") {
        return Some(Legal { spaces: false });
    }
    let mut parts = oem.split(|&byte| byte == b'.');
    let (base, extension) = (parts.next()?, parts.next());
    let fits = |part: &[u8], most: usize| (1..=most).contains(&part.len()) && !part.ends_with(b" ");
    let forbidden = |byte: &u8| *byte < b' ' || b"\"*+,/:;<=>?[\\]|".contains(byte);
    let well_formed = oem.len() <= LONGEST
        && parts.next().is_none()
        && fits(base, 8)
        && extension.is_none_or(|extension| fits(extension, 3))
        && !oem.iter().any(forbidden);
    well_formed.then(|| Legal { spaces: oem.contains(&b' ') })
}

/// A name that needs no short one beside it: legal, without spaces and characters beyond ASCII (which volumes
/// leave out of short names unless NtfsAllowExtendedCharacterIn8dot3Name says otherwise).
#[must_use]
pub fn is_short(name: &[u16]) -> bool {
    name.len() <= 12 && name.iter().all(|unit| *unit < 0x80) && legal(&oem(name)).is_some_and(|legal| !legal.spaces)
}

/// What GENERATE_NAME_CONTEXT keeps between two short names of one long name.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Generator {
    /// Checksum, once it stands in the name.
    pub checksum: Option<u16>,
    /// What stands in front of the tilde: NameBuffer, of NameLength units.
    pub base: Vec<u16>,
    /// ExtensionBuffer, of ExtensionLength units, with its dot.
    pub extension: Vec<u16>,
    /// LastIndexValue.
    pub last: u32,
}

/// What a unit of a long name is in a short one; nothing for what is left out.
fn kept(unit: u16, extended: bool) -> Option<u16> {
    const UNDERSCORE: u16 = b'_' as u16;
    match unit {
        0..=SPACE | DOT | 0x7F => None,
        0x80.. => extended.then(|| upcase(unit)),
        _ if b":;,+=[]\"*/<>?\\|".iter().any(|&bad| u16::from(bad) == unit) => Some(UNDERSCORE),
        _ => Some(upcase(unit)),
    }
}

impl Generator {
    fn begin(&mut self, name: &[u16], extended: bool) {
        let start = name.iter().position(|&unit| unit != DOT).unwrap_or(name.len());
        let name = &name[start..];
        let dot = name.iter().rposition(|&unit| unit == DOT);
        let (base, extension) = dot.map_or((name, &[][..]), |dot| (&name[..dot], &name[dot + 1..]));
        let short = |part: &[u16], most| part.iter().filter_map(|&unit| kept(unit, extended)).take(most).collect();
        self.base = short(base, KEPT);
        self.extension = short(extension, 3);
        if !self.extension.is_empty() {
            self.extension.insert(0, DOT);
        }
        // One letter or two are told apart by nothing but the number.
        if self.base.len() <= 2 {
            self.insert_checksum(name);
        }
    }

    fn insert_checksum(&mut self, name: &[u16]) {
        let whole = hash(name, false);
        let checksum = (whole >> 16) as u16 ^ whole as u16;
        self.base.truncate(2);
        self.base.extend(format!("{checksum:04X}").encode_utf16());
        self.checksum = Some(checksum);
        self.last = 0;
    }

    /// Reads a caller's context; all zeroes is a new one.
    pub fn load(context: Foreign<GENERATE_NAME_CONTEXT>) -> Result<Self, Fault> {
        const NAME: usize = GENERATE_NAME_CONTEXT::NameBuffer.offset();
        const EXTENSION: usize = GENERATE_NAME_CONTEXT::ExtensionBuffer.offset();
        let part =
            |at, length: usize, most: usize| Ok(units_of(&context.region().sub(at, length.min(most) * 2).to_vec()?));
        let inserted = context.get(GENERATE_NAME_CONTEXT::ChecksumInserted) != 0;
        Ok(Self {
            checksum: inserted.then(|| context.get(GENERATE_NAME_CONTEXT::Checksum)),
            base: part(NAME, context.get(GENERATE_NAME_CONTEXT::NameLength).into(), KEPT)?,
            extension: part(EXTENSION, context.get(GENERATE_NAME_CONTEXT::ExtensionLength) as usize, 4)?,
            last: context.get(GENERATE_NAME_CONTEXT::LastIndexValue),
        })
    }

    /// Writes it back.
    pub fn store(&self, context: Foreign<GENERATE_NAME_CONTEXT>) -> Result<(), Fault> {
        context.set(GENERATE_NAME_CONTEXT::Checksum, self.checksum.unwrap_or(0));
        context.set(GENERATE_NAME_CONTEXT::ChecksumInserted, u8::from(self.checksum.is_some()));
        context.set(GENERATE_NAME_CONTEXT::NameLength, self.base.len() as u8);
        context.set(GENERATE_NAME_CONTEXT::ExtensionLength, self.extension.len() as u32);
        context.set(GENERATE_NAME_CONTEXT::LastIndexValue, self.last);
        for (at, units) in [
            (GENERATE_NAME_CONTEXT::NameBuffer.offset(), &self.base),
            (GENERATE_NAME_CONTEXT::ExtensionBuffer.offset(), &self.extension),
        ] {
            context.region().sub(at, units.len() * 2).write_from(&bytes_of(units))?;
        }
        Ok(())
    }

    /// The next short name of `name`; `None` after a million. All calls are for one long name.
    pub fn next(&mut self, name: &[u16], extended: bool) -> Option<Vec<u16>> {
        if self.last == 0 && self.base.is_empty() {
            self.begin(name, extended);
        }
        if self.last == PLAIN_TRIES && self.checksum.is_none() {
            self.insert_checksum(name);
        }
        if self.last >= TRIES {
            return None;
        }
        self.last += 1;
        let number: Vec<u16> = self.last.to_string().encode_utf16().collect();
        let room = self.base.len().min(8 - 1 - number.len());
        Some([&self.base[..room], &[TILDE], &number, &self.extension].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    fn names(of: &str, count: usize) -> Vec<String> {
        let (mut generator, of) = (Generator::default(), wide(of));
        (0..count).map(|_| String::from_utf16_lossy(&generator.next(&of, false).expect("a name"))).collect()
    }

    #[test]
    fn nt_nam_21_what_windows_calls_legal_is_legal() {
        // Name, legal, with spaces.
        for (name, result) in [
            ("12345678", Some(false)),
            ("123 5678", Some(true)),
            ("12345678.", None),
            ("1234 678.", None),
            ("12345678.a", Some(false)),
            ("12345678.a ", None),
            ("12345678.a c", Some(true)),
            (" 2345678.a ", None),
            ("1 345678.abc", Some(true)),
            ("1      8.a c", Some(true)),
            ("1 3 5 7 .abc", None),
            ("12345678.  c", Some(true)),
            ("123456789.a", None),
            ("12345.abcd", None),
            ("12345.ab d", None),
            (".abc", None),
            ("12.abc.d", None),
            (".", Some(false)),
            ("..", Some(false)),
            ("...", None),
            ("", None),
            ("a+b", None),
            ("a~b!@#$.%^&", Some(false)),
            ("a very long name", None),
        ] {
            assert_eq!(legal(&oem(&wide(name))).map(|legal| legal.spaces), result, "{name}");
        }
        assert_eq!(oem(&wide("é.txt")), "É.TXT".as_bytes());
        assert!(is_short(&wide("Read.me")) && !is_short(&wide("Read me")) && !is_short(&wide("é.txt")));
    }

    #[test]
    fn nt_nam_21_a_short_name_is_what_the_articles_say() {
        for (long, short) in [
            ("TextFile1.Mine.txt", "TEXTFI~1.TXT"),
            ("ver +1.2.text", "VER_12~1.TEX"),
            (".bashrc.swp", "BASHRC~1.SWP"),
            ("Program Files", "PROGRA~1"),
            ("a name that 8.3 does not hold.text", "ANAMET~1.TEX"),
            ("[x];y=z,w.c++", "_X__Y_~1.C__"),
            ("stra\u{df}e.txt", "STRAE~1.TXT"),
            ("trailing dot.", "TRAILI~1"),
        ] {
            assert_eq!(names(long, 1), [short], "{long}");
        }
        assert_eq!(names(".gitmodules", 4), ["GITMOD~1", "GITMOD~2", "GITMOD~3", "GITMOD~4"]);
    }

    #[test]
    fn nt_nam_21_after_four_names_four_digits_of_a_hash_follow_two_letters() {
        let all = names(".gitmodules", 4 + 1000);
        let shape = |name: &str, letters: &str, hash: usize, number: &str| {
            let rest = name.strip_prefix(letters).expect("its letters");
            let (digits, last) = rest.split_once('~').expect("a tilde");
            assert!(digits.len() == hash && digits.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)));
            assert_eq!(last, number, "{name}");
        };
        shape(&all[4], "GI", 4, "1");
        shape(&all[4 + 8], "GI", 4, "9");
        shape(&all[4 + 9], "GI", 3, "10");
        shape(&all[4 + 99], "GI", 2, "100");
        shape(&all[4 + 999], "GI", 1, "1000");
        let mut distinct = all.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), all.len());
        assert!(all.iter().all(|name| is_short(&wide(name))));
        // Other long names have other digits, in all likelihood.
        assert_ne!(names(".gitmodulus", 5)[4], all[4]);
        // What leaves two letters or fewer has the digits from the start.
        shape(&names("a b", 1)[0], "AB", 4, "1");
        shape(&names("\u{44F}.\u{44F}", 1)[0], "", 4, "1");
        shape(&names("...", 1)[0], "", 4, "1");
    }

    #[test]
    fn nt_nam_21_a_million_names_are_all_that_there_are() {
        let mut generator =
            Generator { last: TRIES - 1, base: wide("GI7EBA"), checksum: Some(0), ..Generator::default() };
        assert_eq!(generator.next(&wide("x"), false), None.or(Some(wide("~1000000"))));
        assert_eq!(generator.next(&wide("x"), false), None);
        let mut extended = Generator::default();
        assert_eq!(extended.next(&wide("\u{e9}t\u{e9} long.txt"), true), Some(wide("\u{c9}T\u{c9}LON~1.TXT")));
    }
}
