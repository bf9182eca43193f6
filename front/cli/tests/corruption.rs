//! Damaged driver images: each is refused by name, or runs, or ends with a bug check that names it; the host's program never falls
//! without saying whose doing it was.
//!
//! NTIO_CORRUPTION_SEED=N runs the image of one seed; NTIO_CORRUPTION_COUNT=N that many.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SEED: u64 = 0x6E74_696F_0000_0000;
const COUNT: u64 = 320;

/// xorshift64*: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 33) as usize) % limit.max(1)
    }
}

/// An image, and where its parts lie in the file.
struct Image {
    bytes: Vec<u8>,
    header: usize,
    sections: usize,
    count: usize,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |part| u32::from_le_bytes(part.try_into().expect("four bytes")))
}

impl Image {
    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).expect("a fixture");
        let header = word(&bytes, 0x3C) as usize;
        let sections = header + 24 + (word(&bytes, header + 20) & 0xFFFF) as usize;
        let count = (word(&bytes, header + 6) & 0xFFFF) as usize;
        Self { bytes, header, sections, count }
    }
    /// Where an address lies in the file.
    fn at(&self, rva: u32) -> Option<usize> {
        (0..self.count).map(|index| self.sections + 40 * index).find_map(|section| {
            let (size, start, raw) =
                (word(&self.bytes, section + 8), word(&self.bytes, section + 12), word(&self.bytes, section + 20));
            rva.checked_sub(start).filter(|offset| *offset < size).map(|offset| (raw + offset) as usize)
        })
    }
    /// A data directory's span in the file.
    fn directory(&self, index: usize) -> Option<(usize, usize)> {
        let at = self.header + 24 + 112 + 8 * index;
        Some((self.at(word(&self.bytes, at))?, word(&self.bytes, at + 4) as usize))
    }
    /// The parts that a loader reads, by name.
    fn parts(&self, random: &mut Random) -> Vec<(&'static str, usize, usize)> {
        let optional = self.header + 24;
        let mut parts = vec![
            ("DOS header", 0, 64),
            ("file header", self.header, 24),
            ("optional header", optional, 112),
            ("image base", optional + 24, 8),
            ("directories", optional + 112, 128),
            ("sections", self.sections, 40 * self.count),
            ("anything", 0, self.bytes.len()),
        ];
        for (name, index) in [("imports", 1), ("unwind table", 3), ("relocations", 5), ("load config", 10)] {
            parts.extend(self.directory(index).map(|(at, len)| (name, at, len.max(16))));
        }
        if let Some((table, len)) = self.directory(3).filter(|(_, len)| *len >= 12) {
            let info = word(&self.bytes, table + 12 * random.below(len / 12) + 8);
            parts.extend(self.at(info).map(|at| ("unwind information", at, 24)));
        }
        parts.extend(self.at(word(&self.bytes, optional + 16)).map(|at| ("entry code", at, 64)));
        let code = (0..self.count)
            .map(|index| self.sections + 40 * index)
            .filter(|at| word(&self.bytes, at + 36) & 0x2000_0000 != 0);
        let code: Vec<_> =
            code.map(|at| ("code", word(&self.bytes, at + 20) as usize, word(&self.bytes, at + 16) as usize)).collect();
        parts.extend(code.get(random.below(code.len())));
        parts
    }
    fn damage(&mut self, random: &mut Random) -> String {
        let parts = self.parts(random);
        let (name, start, len) = parts[random.below(parts.len())];
        let times = [1, 1, 2, 4, 16, 64][random.below(6)];
        for _ in 0..times {
            let at = start + random.below(len);
            let length = self.bytes.len() as u32;
            let Some(byte) = self.bytes.get_mut(at) else { continue };
            match random.below(4) {
                0 => *byte = random.next() as u8,
                1 => *byte ^= 1 << random.below(8),
                2 => *byte = [0, 0xFF, 0x80, 0x7F][random.below(4)],
                _ => {
                    let value = [0, u32::MAX, 0x8000_0000, 0x7FFF_FFFF, 0xFFFF_F000, length][random.below(6)];
                    if let Some(place) = self.bytes.get_mut(at..at + 4) {
                        place.copy_from_slice(&value.to_le_bytes());
                    }
                }
            }
        }
        if random.below(16) == 0 {
            let left = random.below(self.bytes.len());
            self.bytes.truncate(left);
            return format!("{times} in {name}, cut at {left}");
        }
        format!("{times} in {name}")
    }
}

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/drivers");
    let all = fs::read_dir(folder).expect("the fixtures").map(|entry| entry.expect("an entry").path());
    let mut all: Vec<_> = all.filter(|path| path.extension().is_some_and(|ending| ending == "sys")).collect();
    all.sort();
    assert!(all.len() > 10);
    all
}

/// What is wrong with how an image ended, if anything.
fn verdict(name: &str, code: Option<i32>, said: &str) -> Option<&'static str> {
    // The second is a fault on a thread that no driver ran on: then the report says which were loaded.
    let after = said.split_once("bugcheck").or_else(|| said.split_once("host fault"));
    let bugcheck = after.map(|(_, rest)| rest.split("ntio: error").next().unwrap_or(rest));
    match code {
        Some(0) => None,
        Some(3) if said.contains(name) => None,
        Some(3) => Some("a refusal that does not name the image"),
        Some(1) if !said.contains("the machine fell") => None,
        Some(1) if bugcheck.is_some_and(|report| report.contains(name)) => None,
        Some(1) => Some("a fall without a bug check that names the image"),
        _ => Some("an exit code that is neither"),
    }
}

/// Returns how it ended.
fn one(seed: u64, fixtures: &[PathBuf], folder: &Path) -> Result<i32, String> {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let from = &fixtures[random.below(fixtures.len())];
    let mut image = Image::read(from);
    let how = image.damage(&mut random);
    let name = format!("x{seed:x}.sys");
    let path = folder.join(&name);
    fs::write(&path, &image.bytes).expect("written");
    let done = Command::new(env!("CARGO_BIN_EXE_ntio"))
        .args(["load", "--timeout", "10"])
        .arg(&path)
        .output()
        .expect("ntio runs");
    fs::remove_file(&path).expect("removed");
    let (code, said) = (done.status.code(), String::from_utf8_lossy(&done.stderr));
    match verdict(&name, code, &said) {
        None => Ok(code.unwrap_or_default()),
        Some(why) => Err(format!(
            "NTIO_CORRUPTION_SEED={seed} ({}, {how}): {why}; {}\n{said}",
            from.file_name().unwrap_or_default().display(),
            done.status
        )),
    }
}

#[test]
fn a_damaged_image_is_refused_or_falls_by_its_name() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let seeds: Vec<u64> = match number("NTIO_CORRUPTION_SEED") {
        Some(seed) => vec![seed],
        None => (SEED..SEED + number("NTIO_CORRUPTION_COUNT").unwrap_or(COUNT)).collect(),
    };
    let (fixtures, folder) = (fixtures(), tempfile::tempdir().expect("a folder"));
    let half = seeds.len().div_ceil(2);
    let results: Vec<_> = std::thread::scope(|scope| {
        let run = |seeds: &[u64]| seeds.iter().map(|&seed| one(seed, &fixtures, folder.path())).collect::<Vec<_>>();
        let halves: Vec<_> = seeds.chunks(half).map(|seeds| scope.spawn(move || run(seeds))).collect();
        halves.into_iter().flat_map(|half| half.join().expect("a thread")).collect()
    });
    let bad: Vec<&String> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(bad.is_empty(), "{} of {}:\n{}", bad.len(), seeds.len(), bad[0]);
    if seeds.len() as u64 >= COUNT {
        for code in [0, 1, 3] {
            let count = results.iter().filter(|result| **result == Ok(code)).count();
            assert!(count >= 20, "only {count} ended with {code}: the damage does not reach what it should");
        }
    }
}

/// The image that once ended the server without a name: its base is where no address of a program can be.
#[test]
fn an_image_base_in_the_kernels_half_ends_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    for fixture in fixtures() {
        let mut image = Image::read(&fixture);
        let at = image.header + 24 + 24;
        image.bytes[at..at + 8].copy_from_slice(&0xFFFF_FFFF_FFFF_0000_u64.to_le_bytes());
        let name = format!("based-{}", fixture.file_name().expect("a name").display());
        let path = folder.path().join(&name);
        fs::write(&path, &image.bytes).expect("written");
        let done = Command::new(env!("CARGO_BIN_EXE_ntio"))
            .args(["load", "--timeout", "10"])
            .arg(&path)
            .output()
            .expect("ntio runs");
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(verdict(&name, done.status.code(), &said), None, "{name}: {}\n{said}", done.status);
    }
}
