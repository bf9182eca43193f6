//! Bad images, made from a good one: each is refused for its own reason.

use crate::{Fault, parse};
use std::path::PathBuf;

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/drivers").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
}

/// Where the PE signature, the optional header and the section table of the fixture lie.
fn places(bytes: &[u8]) -> (usize, usize, usize) {
    let nt = word(bytes, 0x3c);
    (nt, nt + 24, nt + 24 + (word(bytes, nt + 20) & 0xffff))
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn refused(change: impl FnOnce(&mut Vec<u8>)) -> Fault {
    let mut bytes = fixture("t_seh.sys");
    change(&mut bytes);
    parse("bad.sys", &bytes).expect_err("a bad image").fault
}

#[test]
fn a_good_image_says_what_it_holds() {
    let bytes = fixture("t_seh.sys");
    let pe = parse("t_seh.sys", &bytes).expect("an image");
    assert!(pe.imports.iter().any(|i| i.image == "ntoskrnl.exe" && i.name == "ExRaiseStatus"));
    assert!(pe.exports.iter().any(|e| e.name == "Case01"));
    assert!(pe.symbols.iter().any(|(_, name)| name == "Raise"));
    assert!(pe.functions.len() > 50);
    assert!(pe.sections.iter().any(|s| s.name == ".text" && s.execute && !s.write));
}

#[test]
fn each_damage_has_its_own_message() {
    assert!(matches!(refused(|b| b[0] = 0), Fault::NotPe(_)));
    assert!(matches!(refused(|b| b.truncate(40)), Fault::NotPe(_)));
    let machine = |b: &mut Vec<u8>, to: u8| {
        let at = places(b).0 + 4;
        b[at..at + 2].copy_from_slice(&[to, if to == 0x4c { 1 } else { 0xaa }]);
    };
    assert_eq!(refused(|b| machine(b, 0x4c)), Fault::Machine(0x14c));
    assert_eq!(refused(|b| machine(b, 0x64)), Fault::Machine(0xaa64));
    assert_eq!(
        refused(|b| {
            let at = places(b).1 + 32;
            put(b, at, 512);
        }),
        Fault::Alignment(512)
    );
    assert_eq!(
        refused(|b| {
            let at = places(b).0 + 22;
            b[at] |= 1;
        }),
        Fault::Fixed
    );
    assert_eq!(
        refused(|b| {
            let at = places(b).1 + 56;
            put(b, at, 0x4000_0000);
        }),
        Fault::Size(0x4000_0000)
    );
    assert!(matches!(refused(|b| b.truncate(b.len() / 2)), Fault::Truncated(_)));
    assert!(matches!(
        refused(|b| {
            let second = places(b).2 + 40;
            put(b, second + 12, 0x1000);
        }),
        Fault::Overlap(..)
    ));
    assert_eq!(
        refused(|b| {
            let at = places(b).1 + 16;
            put(b, at, 0x10);
        }),
        Fault::Entry(0x10)
    );
    assert!(matches!(
        refused(|b| {
            let at = places(b).1 + 112 + 3 * 8;
            put(b, at, 0x00f0_0000);
        }),
        Fault::Directory("exception", _)
    ));
}

#[test]
fn no_truncated_or_flipped_file_panics() {
    let good = fixture("t_import.sys");
    for len in (0..good.len()).step_by(7) {
        let _ = parse("short.sys", &good[..len]);
    }
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..4 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (seed >> 33) as usize % 1024.min(bytes.len());
            bytes[at] = (seed >> 24) as u8;
        }
        let _ = parse("flipped.sys", &bytes);
    }
}
