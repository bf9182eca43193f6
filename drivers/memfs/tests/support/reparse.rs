//! Reparse points as a test makes them.

use super::names::*;
use super::*;

/// A tag of nobody's, in the GUID form.
pub const OURS: u32 = 0x5678;
pub const MOUNT: u32 = 0xA000_0003;
pub const SYMLINK: u32 = 0xA000_000C;
const SET: u32 = 0x9_00A4;

pub fn guid_data(tag: u32, guid: u8, bytes: &[u8]) -> Vec<u8> {
    let mut data = tag.to_le_bytes().to_vec();
    data.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
    data.extend_from_slice(&[0, 0]);
    data.extend_from_slice(&[guid; 16]);
    data.extend_from_slice(bytes);
    data
}

/// A tag of Microsoft's with any data.
pub fn reparse_data(tag: u32, bytes: &[u8]) -> Vec<u8> {
    let mut data = tag.to_le_bytes().to_vec();
    data.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
    data.extend_from_slice(&[0, 0]);
    data.extend_from_slice(bytes);
    data
}

pub fn mount_data(target: &str) -> Vec<u8> {
    let name: Vec<u8> = target.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let length = name.len() as u16;
    let mut data = MOUNT.to_le_bytes().to_vec();
    for part in [12 + length, 0, 0, length, length + 2, 0] {
        data.extend_from_slice(&part.to_le_bytes());
    }
    data.extend_from_slice(&name);
    data.extend_from_slice(&[0; 4]);
    data
}

/// FSCTL_SET_REPARSE_POINT.
pub fn set(file: &File<'_>, data: &[u8]) -> NtStatus {
    file.control(SET, data, 0).0
}

impl World {
    /// A new directory.
    pub fn folder(&self, name: &str) {
        drop(self.file(name, READ_DATA | SYNCHRONIZE, SYNC | DIR));
    }

    /// Opens a reparse point itself.
    pub fn itself(&self, name: &str) -> File<'_> {
        self.open_file(name, GENERIC_READ | GENERIC_WRITE | DELETE | SYNCHRONIZE, SYNC | OPEN_REPARSE)
    }

    /// A new file with reparse data.
    pub fn linked(&self, name: &str, data: &[u8]) {
        let file = self.file(name, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | 0x40);
        assert_eq!(set(&file, data), NtStatus::SUCCESS, "{name}");
    }

    /// A new directory with reparse data.
    pub fn directory_link(&self, name: &str, data: &[u8]) {
        let file = self.file(name, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | DIR);
        assert_eq!(set(&file, data), NtStatus::SUCCESS, "{name}");
    }

    /// A new file that is a symbolic link.
    pub fn symlink(&self, name: &str, target: &str, relative: bool) {
        self.linked(name, &symlink_data(target, relative));
    }
}
