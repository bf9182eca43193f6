//! What a file is in POSIX words: sizes and times from the volume, owner and mode from the attributes that WSL uses.
//!
//! Room: front/fuse. Called by: operations. Calls: `nt_machine::Client`. Locks: none.
//! Source: FILE_ALL_INFORMATION, FILE_STAT_LX_INFORMATION pages ($LXUID, $LXGID, $LXMOD, $LXDEV); house, POSIX face.

use crate::links;
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
const ATTRIBUTE_REPARSE: u32 = 0x400;
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

/// Returns what an open file is.
pub(crate) fn stat(
    client: &Client,
    handle: Handle,
    volume: &[u16],
    root_id: u64,
    defaults: Defaults,
) -> NtResult<Attr> {
    let mut all = [0; 104 + 512];
    client.query_information(handle, class::ALL, &mut all)?;
    let flags = word(&all, 32);
    let directory = flags & ATTRIBUTE_DIRECTORY != 0;
    let list = if word(&all, 72) != 0 { attributes(client, handle)? } else { Vec::new() };
    let value = |name: &[u8]| list.iter().find(|(there, _)| there == name).map(|(_, value)| value.as_slice());
    let number = |name: &[u8]| value(name).filter(|value| value.len() >= 4).map(|value| word(value, 0));
    let mut size = long(&all, 48).max(0) as u64;
    let mut kind = if directory { libc::S_IFDIR } else { libc::S_IFREG };
    if flags & ATTRIBUTE_REPARSE != 0 {
        let (tag, data) = reparse(client, handle)?;
        kind = match tag {
            LX_SYMLINK | SYMLINK | MOUNT_POINT => {
                size = links::target(client, handle, volume, tag, &data)?.len() as u64;
                libc::S_IFLNK
            }
            AF_UNIX => libc::S_IFSOCK,
            LX_FIFO => libc::S_IFIFO,
            LX_CHR => libc::S_IFCHR,
            LX_BLK => libc::S_IFBLK,
            _ => kind,
        };
    }
    let directory = kind == libc::S_IFDIR;
    let readonly = if flags & ATTRIBUTE_READONLY != 0 { 0o222 } else { 0 };
    let plain = match kind {
        libc::S_IFDIR => 0o755,
        libc::S_IFLNK => 0o777,
        _ => 0o644,
    };
    let mode = number(MODE).unwrap_or(plain & !readonly);
    let device = value(DEVICE).filter(|value| value.len() >= 8);
    Ok(Attr {
        node: node_of(long(&all, 64) as u64, root_id),
        size: if directory { 0 } else { size },
        blocks: (long(&all, 40).max(0) as u64).div_ceil(512),
        accessed: long(&all, 8),
        written: long(&all, 16),
        changed: long(&all, 24),
        created: long(&all, 0),
        mode: kind | mode & 0o7777,
        links: if directory { 1 } else { word(&all, 56) },
        uid: number(UID).unwrap_or(defaults.uid),
        gid: number(GID).unwrap_or(defaults.gid),
        device: device.map_or(0, |value| libc::makedev(word(value, 0), word(value, 4)) as u32),
    })
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
