//! What a file is in POSIX words: sizes and times from the volume, owner and mode from the attributes that WSL uses.
//!
//! Room: front/fuse. Called by: operations. Calls: `nt_machine::Client`. Locks: none.
//! Source: FILE_STAT_LX_INFORMATION page ($LXUID, $LXGID, $LXMOD, $LXDEV); house, POSIX face.

use crate::nodes::ROOT;
use nt_abi::io::FSCTL_GET_REPARSE_POINT;
pub(crate) use nt_abi::io::{
    IO_REPARSE_TAG_AF_UNIX as AF_UNIX, IO_REPARSE_TAG_LX_BLK as LX_BLK, IO_REPARSE_TAG_LX_CHR as LX_CHR,
    IO_REPARSE_TAG_LX_FIFO as LX_FIFO, IO_REPARSE_TAG_LX_SYMLINK as LX_SYMLINK,
    IO_REPARSE_TAG_MOUNT_POINT as MOUNT_POINT, IO_REPARSE_TAG_SYMLINK as SYMLINK,
};
use nt_io::info::class;
use nt_machine::{Client, Handle, NtResult, ea};

pub(crate) const UID: &[u8] = b"$LXUID";
pub(crate) const GID: &[u8] = b"$LXGID";
pub(crate) const MODE: &[u8] = b"$LXMOD";
pub(crate) const DEVICE: &[u8] = b"$LXDEV";

const ATTRIBUTE_READONLY: u32 = 1;
const ATTRIBUTE_DIRECTORY: u32 = 0x10;
/// 100 ns units between 1601 and 1970.
const EPOCH: i64 = 116_444_736_000_000_000;

/// Who owns files that no one gave an owner, and the like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|part| part.first_chunk()).map_or(0, |part| u32::from_le_bytes(*part))
}
fn long(bytes: &[u8], at: usize) -> i64 {
    bytes.get(at..at + 8).and_then(|part| part.first_chunk()).map_or(0, |part| i64::from_le_bytes(*part))
}

/// What a file is, in the kernel's words; times are the volume's.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Attr {
    pub(crate) node: u64,
    pub(crate) size: u64,
    /// Of 512 bytes.
    pub(crate) blocks: u64,
    pub(crate) accessed: i64,
    pub(crate) written: i64,
    pub(crate) changed: i64,
    pub(crate) created: i64,
    /// Type and permissions.
    pub(crate) mode: u32,
    pub(crate) links: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) device: u32,
}

impl Attr {
    pub(crate) const fn kind(&self) -> u32 {
        self.mode & libc::S_IFMT
    }
    pub(crate) const fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }
}

/// Turns a time of the volume into the host's: seconds and nanoseconds.
pub(crate) const fn to_host(time: i64) -> (i64, u32) {
    let ticks = time - EPOCH;
    (ticks.div_euclid(10_000_000), ticks.rem_euclid(10_000_000) as u32 * 100)
}

/// Turns a host's time into the volume's; `None` for what it cannot hold (0 and below mean "keep").
pub(crate) fn to_nt(seconds: i64, nanoseconds: u32) -> Option<i64> {
    let ticks = seconds.checked_mul(10_000_000)?.checked_add(i64::from(nanoseconds / 100))?;
    ticks.checked_add(EPOCH).filter(|&time| time > 0)
}

/// Returns the extended attributes of an open file.
pub(crate) fn attributes(client: &Client, handle: Handle) -> NtResult<Vec<ea::Attribute>> {
    let mut list = vec![0; 0x1_1000];
    match client.query_ea(handle, &mut list) {
        Ok(count) => Ok(ea::decode(&list[..count])),
        Err(error) if error.status().0 == 0xC000_0052 => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Returns the reparse data of an open file: tag and bytes behind the header.
pub(crate) fn reparse(client: &Client, handle: Handle) -> NtResult<(u32, Vec<u8>)> {
    let mut data = vec![0; 16 * 1024];
    let count = client.control(handle, true, FSCTL_GET_REPARSE_POINT, &[], &mut data)?;
    let bytes = data.get(8..count.max(8)).unwrap_or(&[]).to_vec();
    Ok((word(&data, 0), bytes))
}

/// Returns the number that the kernel knows a file by.
pub(crate) const fn node_of(id: u64, root_id: u64) -> u64 {
    if id == root_id { ROOT } else { id }
}

/// FILE_STAT_LX_INFORMATION, and how to read it.
pub(crate) struct Stat {
    told: [u8; 96],
}

impl Stat {
    pub(crate) fn of(query: impl FnOnce(u32, &mut [u8]) -> NtResult<usize>) -> NtResult<Self> {
        let mut told = [0; 96];
        query(class::STAT_LX, &mut told).map(|_| Self { told })
    }

    /// Whether a program sees a link, whose size is its target's length.
    pub(crate) fn is_link(&self) -> bool {
        matches!(word(&self.told, 0x3C), LX_SYMLINK | SYMLINK | MOUNT_POINT)
    }

    /// `root_id` is the root's number on the volume.
    pub(crate) fn attr(&self, root_id: u64, defaults: Defaults) -> Attr {
        /// LxFlags: which of the members behind them count.
        const HAS_UID: u32 = 1;
        const HAS_GID: u32 = 2;
        const HAS_MODE: u32 = 4;
        const HAS_DEVICE: u32 = 8;
        let told = &self.told;
        let (flags, has) = (word(told, 0x38), word(told, 0x48));
        let number = |flag: u32, at: usize| (has & flag != 0).then(|| word(told, at));
        let kind = match word(told, 0x3C) {
            _ if self.is_link() => libc::S_IFLNK,
            AF_UNIX => libc::S_IFSOCK,
            LX_FIFO => libc::S_IFIFO,
            LX_CHR => libc::S_IFCHR,
            LX_BLK => libc::S_IFBLK,
            _ if flags & ATTRIBUTE_DIRECTORY != 0 => libc::S_IFDIR,
            _ => libc::S_IFREG,
        };
        let directory = kind == libc::S_IFDIR;
        let readonly = if flags & ATTRIBUTE_READONLY != 0 { 0o222 } else { 0 };
        let plain = match kind {
            libc::S_IFDIR => 0o755,
            libc::S_IFLNK => 0o777,
            _ => 0o644,
        };
        let mode = number(HAS_MODE, 0x54).unwrap_or(plain & !readonly);
        Attr {
            node: node_of(long(told, 0) as u64, root_id),
            size: if directory { 0 } else { long(told, 0x30).max(0) as u64 },
            blocks: (long(told, 0x28).max(0) as u64).div_ceil(512),
            accessed: long(told, 0x10),
            written: long(told, 0x18),
            changed: long(told, 0x20),
            created: long(told, 8),
            mode: kind | mode & 0o7777,
            links: if directory { word(told, 0x40).min(1) } else { word(told, 0x40) },
            uid: number(HAS_UID, 0x4C).unwrap_or(defaults.uid),
            gid: number(HAS_GID, 0x50).unwrap_or(defaults.gid),
            device: number(HAS_DEVICE, 0x58).map_or(0, |major| libc::makedev(major, word(told, 0x5C)) as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_a_round_trip_at_100_ns() {
        for time in [(0, 0), (1_700_000_000, 123_456_700), (4_000_000_000, 100), (-86_400, 0), (-1, 999_999_900)] {
            assert_eq!(to_host(to_nt(time.0, time.1).expect("in range")), time);
        }
        assert_eq!(to_host(to_nt(5, 199).expect("in range")), (5, 100));
        assert_eq!(to_nt(-11_644_473_600, 0), None, "1601 means keep");
        assert_eq!(to_nt(i64::MAX, 0), None);
    }
}
