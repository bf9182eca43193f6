//! Short names on the host, which has no place for them: a file beside the streams of their directory.
//!
//! Room: drivers/memfs. Called by: `directory`, for `crate::shorts`, with the tables' lock held. Calls: the host, `streams`.
//! Locks: none. Source: house rule 8, NT-NAM-21.
//!
//! `.ntio/INODE/8.3` of a directory holds records: units of the long name, units of the short one (a byte each), and both,
//! little-endian. A new name is a record more, and a later record counts before an earlier one; when most of them are old the
//! file is written anew. The file goes with the directory; a record whose name the host took away is nobody's, and one that
//! a crash cut off is left out. A copy that the host makes of a directory has other short names.

use super::host::{CONFINED, Host, call};
use super::status::error;
use super::streams::{folder, folder_made};
use crate::shorts::Pair;
use nt_abi::NtResult;
use nt_rtl::unicode::{bytes_of, units_of};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

const FILE: &str = "8.3";

fn open(folder: &OwnedFd, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = if flags.contains(OFlags::CREATE) { Mode::RUSR | Mode::WUSR } else { Mode::empty() };
    call(|| rustix::fs::openat2(folder, name, flags, mode, CONFINED))
}

/// A record, and what stands behind it.
fn record(bytes: &[u8]) -> Option<(Pair, &[u8])> {
    let [long, short, rest @ ..] = bytes else { return None };
    let (long, rest) = rest.split_at_checked(usize::from(*long) * 2)?;
    let (short, rest) = rest.split_at_checked(usize::from(*short) * 2)?;
    Some(((units_of(long), units_of(short)), rest))
}

fn written(pairs: &[Pair]) -> Vec<u8> {
    let one =
        |(long, short): &Pair| [&[long.len() as u8, short.len() as u8][..], &bytes_of(long), &bytes_of(short)].concat();
    pairs.iter().flat_map(one).collect()
}

/// The short names that were kept in a directory.
pub(super) fn kept(host: &Host) -> NtResult<Vec<Pair>> {
    let Some(folder) = folder(host)? else { return Ok(Vec::new()) };
    let file = match open(&folder, FILE, OFlags::RDWR) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(Vec::new()),
        // On a host that lets nothing be written.
        Err(Errno::ROFS | Errno::ACCESS) => open(&folder, FILE, OFlags::RDONLY).map_err(error)?,
        Err(errno) => return Err(error(errno)),
    };
    let mut bytes = vec![0; super::host::stat(&file, "").map_err(error)?.stx_size as usize];
    let mut got = 0;
    while got < bytes.len() {
        match call(|| rustix::io::pread(&file, &mut bytes[got..], got as u64)).map_err(error)? {
            0 => break,
            more => got += more,
        }
    }
    let (mut rest, mut pairs) = (&bytes[..got], Vec::new());
    while let Some((pair, behind)) = record(rest) {
        pairs.push(pair);
        rest = behind;
    }
    if !rest.is_empty() {
        // What is written behind half a record would be a part of it.
        let _or_not_at_all = call(|| rustix::fs::ftruncate(&file, (got - rest.len()) as u64));
    }
    Ok(pairs)
}

/// Keeps short names in a directory, besides or in the place of those that are kept.
pub(super) fn keep(host: &Host, pairs: &[Pair], anew: bool) -> NtResult<()> {
    let folder = folder_made(host)?;
    let temporary = host.shared.temporary();
    let (name, how) = if anew { (temporary.as_str(), OFlags::EXCL) } else { (FILE, OFlags::APPEND) };
    let file = open(&folder, name, OFlags::WRONLY | OFlags::CREATE | how).map_err(error)?;
    let before = super::host::stat(&file, "").map_err(error)?.stx_size;
    let bytes = written(pairs);
    let mut rest = bytes.as_slice();
    let mut all_of_it = || {
        while !rest.is_empty() {
            let count = call(|| rustix::io::write(&file, rest))?;
            rest = &rest[count..];
        }
        if anew { call(|| rustix::fs::renameat(&folder, name, &folder, FILE)) } else { Ok(()) }
    };
    let done = all_of_it();
    if done.is_err() {
        let _none_of_it = match anew {
            true => call(|| rustix::fs::unlinkat(&folder, name, AtFlags::empty())),
            false => call(|| rustix::fs::ftruncate(&file, before)),
        };
    }
    done.map_err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_but_for_one_that_is_cut_off() {
        let units = |text: &str| text.encode_utf16().collect::<Vec<u16>>();
        let pairs = vec![(units("A long name"), units("ALONGN~1")), (vec![0xD800; 255], Vec::new())];
        let bytes = written(&pairs);
        let (first, rest) = record(&bytes).expect("a record");
        let (second, rest) = record(rest).expect("another");
        assert_eq!((vec![first, second], rest), (pairs, &[][..]));
        for cut in 0..=40 {
            assert_eq!(record(&bytes[..cut]).is_some(), cut == 40, "{cut} bytes");
        }
    }
}
