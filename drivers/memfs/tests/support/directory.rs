//! Directory queries, and the entries that they give.

use super::*;
use nt_io::directory::{DirectoryArguments, nt_query_directory_file};
use nt_io::service::Caller;

pub const RESTART: u8 = 1;
pub const SINGLE: u8 = 2;
pub const NAMES: u32 = 12;
pub const LIST: u32 = 1;
pub const DIRECTORY: u32 = 1;

/// A class's offsets: {name, name length, EA size, tag, id}; 0 for what it lacks.
pub const CLASSES: [(u32, usize, usize, usize, usize, usize); 9] = [
    (1, 0x40, 0x3C, 0, 0, 0),
    (2, 0x44, 0x3C, 0x40, 0, 0),
    (3, 0x5E, 0x3C, 0x40, 0, 0),
    (12, 0x0C, 8, 0, 0, 0),
    (37, 0x68, 0x3C, 0x40, 0, 0x60),
    (38, 0x50, 0x3C, 0x40, 0, 0x48),
    (50, 0x5C, 0x3C, 0, 0, 0x40),
    (60, 0x58, 0x3C, 0x40, 0x44, 0x48),
    (63, 0x72, 0x3C, 0x40, 0x44, 0x48),
];

/// What one call gave.
pub struct Listing {
    pub status: NtStatus,
    pub iosb: Iosb,
    pub bytes: Vec<u8>,
}

pub fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

pub fn units(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A record cut out of a listing.
pub struct Record {
    pub at: usize,
    pub next: usize,
    pub bytes: Vec<u8>,
    pub name: String,
}

impl Listing {
    /// The records of a class's listing.
    pub fn records(&self, class: u32) -> Vec<Record> {
        let Iosb::Is(_, count) = self.iosb else { return Vec::new() };
        let (_, name, length, ..) = *CLASSES.iter().find(|row| row.0 == class).expect("a class");
        let bytes = &self.bytes[..count as usize];
        let (mut at, mut records) = (0, Vec::new());
        while !bytes.is_empty() {
            let next = word(bytes, at) as usize;
            let size = word(bytes, at + length) as usize;
            let raw = &bytes[at + name..at + name + size];
            let text: Vec<u16> = raw.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
            let record = bytes[at..at + name + size].to_vec();
            records.push(Record { at, next, bytes: record, name: String::from_utf16_lossy(&text) });
            if next == 0 {
                break;
            }
            at += next;
        }
        records
    }
}

impl World {
    /// Opens directory `C:\NAME`, created if absent.
    pub fn directory(&self, name: &str) -> File<'_> {
        self.file(name, LIST | 0x80 | SYNCHRONIZE, SYNC | DIRECTORY)
    }

    /// Makes files of these names in `C:\DIR`.
    pub fn fill(&self, dir: &str, names: &[&str]) {
        drop(self.directory(dir));
        for name in names {
            drop(self.sync_file(&format!("{dir}\\{name}")));
        }
    }
}

impl File<'_> {
    pub fn list_arguments(&self, block: &UserBlock, iosb: &UserBlock) -> DirectoryArguments {
        DirectoryArguments {
            caller: Caller::plain(self.handle, Addr::user(iosb.addr())),
            buffer: Addr::user(block.addr()),
            length: 0,
            class: NAMES,
            flags: 0,
            pattern: None,
        }
    }

    /// NtQueryDirectoryFile(Ex) into a buffer of `length` bytes (filled with EE before).
    pub fn list(&self, class: u32, length: usize, flags: u8, pattern: Option<&str>) -> Listing {
        let block = UserBlock::new(length.max(1)).expect("arena");
        block.region().fill(0xEE).expect("arena");
        let iosb = pattern_block();
        let mut args = self.list_arguments(&block, &iosb);
        (args.length, args.class, args.flags) = (length as u32, class, flags);
        args.pattern = pattern.map(|text| text.encode_utf16().collect());
        let status = nt_query_directory_file(&self.world.frame(), &args);
        let bytes = block.region().sub(0, length).to_vec().expect("arena");
        Listing { status, iosb: iosb_at(&iosb), bytes }
    }

    /// All names that a new scan with this pattern gives.
    pub fn names(&self, pattern: Option<&str>) -> Vec<String> {
        let mut all = Vec::new();
        let mut flags = RESTART;
        loop {
            let listing = self.list(NAMES, 4096, flags, pattern);
            if listing.status != NtStatus::SUCCESS {
                return all;
            }
            all.extend(listing.records(NAMES).into_iter().map(|record| record.name));
            flags = 0;
        }
    }
}
