//! Times, attributes and extended attributes of a host file.
//!
//! Room: drivers/memfs. Called by: the `dir` backing. Calls: the host. Locks: none.
//! Owner, group and mode are the host's own, shown as the attributes that WSL uses ($LXUID, $LXGID, $LXMOD, $LXDEV). What the
//! host has no place for (DOS attributes that differ from a plain file's, a creation time that was set, EAs without a
//! POSIX name, security descriptors) is kept in extended attributes `user.ntio.*`, and only then. READONLY never follows from a mode.

use super::host::{Host, call};
use super::status::{self, error};
use crate::backing::{Attribute, Change, Meta};
use crate::security::Security;
use crate::sparse::UNIT;
use nt_abi::io::{
    FILE_ATTRIBUTE_ARCHIVE, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_ATTRIBUTE_SPARSE_FILE,
};
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::hostfile::{self, HostTime};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Gid, Mode, Statx, StatxFlags, StatxTimestamp, Timespec, Timestamps, Uid};
use rustix::fs::{UTIME_OMIT, XattrFlags};
use rustix::io::Errno;

const RECORD: &[u8] = b"user.ntio.basic";
/// A directory that has it minds case.
const CASE: &[u8] = b"user.ntio.case";
const SECURITY: &[u8] = b"user.ntio.security";
const OTHERS: &[u8] = b"user.ntio.ea.";
/// Attributes that are kept for a file.
const KEPT: u32 = 0x33A7 & !FILE_ATTRIBUTE_DIRECTORY & !FILE_ATTRIBUTE_NORMAL;
/// 100 ns units between 1601 and 1970.
const EPOCH: i64 = nt_ke::clock::UNIX_EPOCH_AS_FILETIME;
const UID: &[u8] = b"$LXUID";
const GID: &[u8] = b"$LXGID";
const MODE: &[u8] = b"$LXMOD";
const DEVICE: &[u8] = b"$LXDEV";

/// What the host has no place for.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Record {
    attributes: u32,
    /// 0: the host's.
    created: i64,
    /// There is a security descriptor beside it.
    secured: bool,
}

fn from_host(time: StatxTimestamp) -> i64 {
    time.tv_sec.saturating_mul(10_000_000).saturating_add(i64::from(time.tv_nsec / 100)).saturating_add(EPOCH)
}

fn to_host(time: i64) -> (i64, i64) {
    let ticks = time - EPOCH;
    (ticks.div_euclid(10_000_000), ticks.rem_euclid(10_000_000) * 100)
}

fn timespec(time: HostTime) -> Timespec {
    let (tv_sec, tv_nsec) = time.unwrap_or((0, UTIME_OMIT));
    Timespec { tv_sec, tv_nsec }
}

fn kind(stat: &Statx) -> FileType {
    FileType::from_raw_mode(u32::from(stat.stx_mode))
}

/// May the host keep extended attributes of users for this kind of file?
pub(super) fn has_room(kind: FileType) -> bool {
    matches!(kind, FileType::RegularFile | FileType::Directory)
}

fn plain(kind: FileType) -> Record {
    Record {
        attributes: if kind == FileType::RegularFile { FILE_ATTRIBUTE_ARCHIVE } else { 0 },
        created: 0,
        secured: false,
    }
}

/// A path that leads to a file whatever its names are, or to a name in an open directory; for calls that take no handle.
pub(super) struct Spot {
    path: Vec<u8>,
    open: bool,
}

impl Spot {
    /// The file behind a handle.
    pub(super) fn open(host: &Host) -> Self {
        Self { path: host.link().into_bytes(), open: true }
    }
    /// A name in the directory behind a handle.
    pub(super) fn named(directory: &OwnedFd, name: &[u8]) -> Self {
        let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        Self { path, open: false }
    }
    pub(super) fn get(&self, name: &[u8], value: &mut [u8]) -> Result<usize, Errno> {
        // The handle's own path is a link to the file; a name is not followed if it is one.
        let path = self.path.as_slice();
        if self.open {
            call(|| rustix::fs::getxattr(path, name, &mut *value))
        } else {
            call(|| rustix::fs::lgetxattr(path, name, &mut *value))
        }
    }
    fn names(&self, names: &mut [u8]) -> Result<usize, Errno> {
        let path = self.path.as_slice();
        if self.open {
            call(|| rustix::fs::listxattr(path, &mut *names))
        } else {
            call(|| rustix::fs::llistxattr(path, &mut *names))
        }
    }
}

/// Nothing is kept, nothing of ours is, or nothing of it may be read.
pub(super) fn nothing(errno: Errno) -> bool {
    matches!(errno, Errno::NODATA | Errno::OPNOTSUPP | Errno::ACCESS | Errno::PERM | Errno::RANGE | Errno::NOENT)
}

fn record(kind: FileType, spot: &Spot) -> NtResult<Record> {
    if !has_room(kind) {
        return Ok(plain(kind));
    }
    let mut bytes = [0; 16];
    match spot.get(RECORD, &mut bytes) {
        Ok(16) if bytes[0] == 1 => {
            let [_, secured, _, _, a, b, c, d, created @ ..] = bytes;
            let attributes = u32::from_le_bytes([a, b, c, d]) & KEPT;
            Ok(Record { attributes, created: i64::from_le_bytes(created), secured: secured != 0 })
        }
        Ok(_) => Ok(plain(kind)),
        Err(errno) if nothing(errno) => Ok(plain(kind)),
        Err(errno) => Err(error(errno)),
    }
}

/// Returns times and attributes.
pub(super) fn meta(stat: &Statx, spot: &Spot) -> NtResult<Meta> {
    let kind = kind(stat);
    let record = record(kind, spot)?;
    let bits = match kind {
        // Whoever made the hole: one that is too small to tell from how the host counts is not looked at (NT-SPA-09).
        FileType::RegularFile if stat.stx_size.saturating_sub(stat.stx_blocks * 512) >= UNIT => {
            FILE_ATTRIBUTE_SPARSE_FILE
        }
        FileType::RegularFile => 0,
        FileType::Directory => FILE_ATTRIBUTE_DIRECTORY,
        _ => FILE_ATTRIBUTE_REPARSE_POINT,
    };
    let has_birth = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    let birth =
        if has_birth { from_host(stat.stx_btime) } else { from_host(stat.stx_mtime).min(from_host(stat.stx_ctime)) };
    Ok(Meta {
        created: if record.created != 0 { record.created } else { birth },
        accessed: from_host(stat.stx_atime),
        written: from_host(stat.stx_mtime),
        changed: from_host(stat.stx_ctime),
        attributes: record.attributes | bits,
        secured: record.secured,
    })
}

/// Does a file show that it is sparse?
pub(super) fn is_sparse(host: &Host) -> NtResult<bool> {
    Ok(meta(&host.stat()?, &Spot::open(host))?.attributes & FILE_ATTRIBUTE_SPARSE_FILE != 0)
}

/// Does a directory mind case?
pub(super) fn minds_case(host: &Host) -> NtResult<bool> {
    match Spot::open(host).get(CASE, &mut [0; 1]) {
        Ok(_) => Ok(true),
        Err(errno) if nothing(errno) => Ok(false),
        Err(errno) => Err(error(errno)),
    }
}

/// Lets a directory mind case, or no longer.
pub(super) fn set_minds_case(host: &Host, minds: bool) -> NtResult<()> {
    let fd = host.opened().map_err(error)?;
    let done = match minds {
        true => call(|| rustix::fs::fsetxattr(fd, CASE, b"1", XattrFlags::empty())),
        false => call(|| rustix::fs::fremovexattr(fd, CASE)),
    };
    match done {
        Err(Errno::NODATA) if !minds => Ok(()),
        Err(Errno::OPNOTSUPP) => NtStatus::NOT_SUPPORTED.fail(),
        other => other.map_err(error),
    }
}

/// Keeps attributes and creation time where they differ from what the host would show.
pub(super) fn keep(host: &Host, attributes: Option<u32>, created: Option<i64>) -> NtResult<()> {
    rewrite(host, |old| {
        let sparse = old.attributes & FILE_ATTRIBUTE_SPARSE_FILE;
        Record {
            attributes: attributes.map_or(old.attributes, |set| set & KEPT & !FILE_ATTRIBUTE_SPARSE_FILE | sparse),
            created: created.unwrap_or(old.created),
            secured: old.secured,
        }
    })
}

/// Keeps that a file was made sparse, or no longer.
pub(super) fn mark_sparse(host: &Host, sparse: bool) -> NtResult<()> {
    let bit = if sparse { FILE_ATTRIBUTE_SPARSE_FILE } else { 0 };
    rewrite(host, |old| Record { attributes: old.attributes & !FILE_ATTRIBUTE_SPARSE_FILE | bit, ..old })
}

fn rewrite(host: &Host, new: impl FnOnce(Record) -> Record) -> NtResult<()> {
    let kind = host.kind();
    if !has_room(kind) {
        return Ok(());
    }
    let old = record(kind, &Spot::open(host))?;
    let new = new(old);
    if new == old { Ok(()) } else { store(host, new) }
}

fn store(host: &Host, new: Record) -> NtResult<()> {
    let fd = host.opened().map_err(error)?;
    let done = if new == plain(host.kind()) {
        call(|| rustix::fs::fremovexattr(fd, RECORD))
    } else {
        let mut bytes = [0; 16];
        bytes[0] = 1;
        bytes[1] = u8::from(new.secured);
        bytes[4..8].copy_from_slice(&new.attributes.to_le_bytes());
        bytes[8..].copy_from_slice(&new.created.to_le_bytes());
        call(|| rustix::fs::fsetxattr(fd, RECORD, &bytes, XattrFlags::empty()))
    };
    done.map_err(|errno| if errno == Errno::OPNOTSUPP { NtStatus::NOT_SUPPORTED.error() } else { error(errno) })
}

/// Returns the security descriptor that is kept for a file.
pub(super) fn security(host: &Host) -> NtResult<Security> {
    let spot = Spot::open(host);
    if !record(host.kind(), &spot)?.secured {
        return Ok(None);
    }
    let mut bytes = vec![0; 64 << 10];
    let got = match spot.get(SECURITY, &mut bytes) {
        Ok(got) => &bytes[..got],
        // Somebody took it away outside.
        Err(Errno::NODATA) => return Ok(None),
        Err(errno) => return Err(error(errno)),
    };
    let read = nt_se::Descriptor::parse(got).map_err(|_| NtStatus::FILE_CORRUPT_ERROR.error())?;
    Ok(Some(std::sync::Arc::new(read)))
}

/// Keeps a security descriptor, or none.
pub(super) fn secure(host: &Host, security: &Security) -> NtResult<()> {
    let kind = host.kind();
    if !has_room(kind) {
        return if security.is_none() { Ok(()) } else { NtStatus::NOT_SUPPORTED.fail() };
    }
    let old = record(kind, &Spot::open(host))?;
    let new = Record { secured: security.is_some(), ..old };
    match security {
        Some(security) => {
            let fd = host.opened().map_err(error)?;
            let bytes = security.bytes();
            call(|| rustix::fs::fsetxattr(fd, SECURITY, &bytes, XattrFlags::empty())).map_err(|errno| match errno {
                Errno::OPNOTSUPP => NtStatus::NOT_SUPPORTED.error(),
                Errno::NOSPC | Errno::RANGE => NtStatus::DISK_FULL.error(),
                _ => error(errno),
            })?;
            if new == old { Ok(()) } else { store(host, new) }
        }
        None if old.secured => {
            store(host, new)?;
            remove(host, SECURITY)
        }
        None => Ok(()),
    }
}

/// Changes a file by the handle that names it; where the host, or the lock-down, lacks such a call, by one that opened it.
fn either(
    host: &Host,
    by_name: impl FnOnce(BorrowedFd<'_>) -> std::io::Result<()>,
    opened: impl FnMut(BorrowedFd<'_>) -> rustix::io::Result<()>,
) -> NtResult<()> {
    let base = host.base();
    let mut opened = opened;
    let first = nt_ke::host_call(|| by_name(base.as_fd())).map_err(|error| status::io(&error));
    match first {
        Err(Errno::NOSYS | Errno::PERM | Errno::OPNOTSUPP) if has_room(host.kind()) => match host.opened() {
            Ok(fd) => call(|| opened(fd.as_fd())).map_err(error),
            Err(_) => first.map_err(error),
        },
        other => other.map_err(error),
    }
}

/// Sets times and attributes.
pub(super) fn change(host: &Host, change: &Change) -> NtResult<()> {
    if change.accessed.is_some() || change.written.is_some() {
        let _times = host.times.lock();
        let (accessed, written) = (change.accessed.map(to_host), change.written.map(to_host));
        let times = Timestamps { last_access: timespec(accessed), last_modification: timespec(written) };
        either(
            host,
            |named| hostfile::set_times(named, accessed, written),
            |opened| rustix::fs::futimens(opened, &times),
        )?;
    }
    // The time of change is the host's alone.
    keep(host, change.attributes, change.created)
}

/// Data changed: the file is to be archived again.
pub(super) fn archive(host: &Host) -> NtResult<()> {
    let now = record(host.kind(), &Spot::open(host))?;
    keep(host, Some(now.attributes | plain(host.kind()).attributes), None)
}

fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// Returns the mode that a new file is to have.
pub(super) fn mode_of(list: &[Attribute]) -> Option<u32> {
    list.iter().find(|(name, ..)| name == MODE).and_then(|(_, value, _)| number(value))
}

/// Returns the extended attributes: owner, group and mode, then those that programs set.
pub(super) fn list(stat: &Statx, spot: &Spot) -> NtResult<Vec<Attribute>> {
    let word = |value: u32| value.to_le_bytes().to_vec();
    let mut list = vec![
        (UID.to_vec(), word(stat.stx_uid), 0),
        (GID.to_vec(), word(stat.stx_gid), 0),
        (MODE.to_vec(), word(u32::from(stat.stx_mode)), 0),
    ];
    if matches!(kind(stat), FileType::CharacterDevice | FileType::BlockDevice) {
        list.push((DEVICE.to_vec(), [stat.stx_rdev_major, stat.stx_rdev_minor].map(u32::to_le_bytes).concat(), 0));
    }
    if !has_room(kind(stat)) {
        return Ok(list);
    }
    let mut buffer = vec![0; 4096];
    let used = match spot.names(&mut buffer) {
        Err(Errno::RANGE) => {
            buffer.resize(64 << 10, 0);
            spot.names(&mut buffer)
        }
        other => other,
    };
    let used = match used {
        Ok(used) => used,
        Err(errno) if nothing(errno) => 0,
        Err(errno) => return Err(error(errno)),
    };
    let mut value = Vec::new();
    for name in buffer[..used].split(|&byte| byte == 0) {
        if name == RECORD
            || name == SECURITY
            || name == CASE
            || name == super::streams::OWNER
            || !name.starts_with(b"user.")
        {
            continue;
        }
        value.resize(64 << 10, 0);
        let got = match spot.get(name, &mut value) {
            Ok(got) => &value[..got],
            // Gone since, or not to be read.
            Err(errno) if nothing(errno) => continue,
            Err(errno) => return Err(error(errno)),
        };
        let attribute = match (name.strip_prefix(OTHERS), got.split_first()) {
            (Some(name), Some((&flags, value))) => (name.to_vec(), value.to_vec(), flags),
            (Some(_), None) => continue,
            (None, _) => match nt_rtl::posix::attribute_to_nt(name).filter(|name| name.len() <= 255) {
                Some(name) => (name, [&[1], got].concat(), 0),
                None => continue,
            },
        };
        list.push(attribute);
    }
    Ok(list)
}

/// The host's name and value for an attribute; a value of `None` takes it away.
fn outside(name: &[u8], value: &[u8], flags: u8) -> NtResult<(Vec<u8>, Option<Vec<u8>>)> {
    let posix = nt_rtl::posix::attribute_to_host(name);
    match (posix, value.split_first()) {
        (Some(name), _) if name.starts_with(b"user.ntio.") => NtStatus::ACCESS_DENIED.fail(),
        (Some(name), Some((1, value))) => Ok((name, Some(value.to_vec()))),
        (Some(name), None) => Ok((name, None)),
        (_, None) => Ok(([OTHERS, name].concat(), None)),
        (_, Some(_)) => Ok(([OTHERS, name].concat(), Some([&[flags], value].concat()))),
    }
}

/// Sets extended attributes; owner, group and mode go to the host's own.
pub(super) fn set(host: &Host, list: Vec<Attribute>, replace: bool) -> NtResult<()> {
    if list.is_empty() && !replace {
        return Ok(());
    }
    let stat = host.stat()?;
    if replace {
        for (name, ..) in self::list(&stat, &Spot::open(host))? {
            if !name.starts_with(b"$LX") && !list.iter().any(|(there, ..)| *there == name) {
                remove(host, &outside(&name, &[], 0)?.0)?;
            }
        }
    }
    let (mut owner, mut group, mut mode) = (None, None, None);
    for (name, value, flags) in list {
        match (name.as_slice(), number(&value)) {
            (UID, owned) => owner = owned.filter(|&id| id != stat.stx_uid),
            (GID, owned) => group = owned.filter(|&id| id != stat.stx_gid),
            (MODE, wanted) => mode = wanted.map(|mode| mode & 0o7777),
            (DEVICE, _) => {}
            _ => match outside(&name, &value, flags)? {
                (name, None) => remove(host, &name)?,
                (name, Some(value)) => {
                    let fd = opened(host)?;
                    call(|| rustix::fs::fsetxattr(&fd, name.as_slice(), &value, XattrFlags::empty()))
                        .map_err(unsupported)?;
                }
            },
        }
    }
    own(host, &stat, owner, group, mode)
}

/// A handle to keep attributes with; a link or a pipe has no room for any.
fn opened(host: &Host) -> NtResult<std::sync::Arc<OwnedFd>> {
    if has_room(host.kind()) { host.opened().cloned().map_err(error) } else { NtStatus::EAS_NOT_SUPPORTED.fail() }
}

fn unsupported(errno: Errno) -> NtError {
    match errno {
        Errno::OPNOTSUPP => NtStatus::EAS_NOT_SUPPORTED.error(),
        // Both are said of attributes that do not fit beside a file.
        Errno::NOSPC | Errno::RANGE => NtStatus::EA_TOO_LARGE.error(),
        _ => error(errno),
    }
}

fn remove(host: &Host, name: &[u8]) -> NtResult<()> {
    let fd = opened(host)?;
    match call(|| rustix::fs::fremovexattr(&fd, name)) {
        Err(errno) if errno != Errno::NODATA => Err(unsupported(errno)),
        _ => Ok(()),
    }
}

/// Gives the file to somebody, then sets its mode: a change of owner takes mode bits away.
fn own(host: &Host, stat: &Statx, owner: Option<u32>, group: Option<u32>, mode: Option<u32>) -> NtResult<()> {
    let changed = owner.is_some() || group.is_some();
    if changed {
        let (user, members) = (owner.map(Uid::from_raw), group.map(Gid::from_raw));
        either(
            host,
            |named| hostfile::set_owner(named, owner, group),
            |opened| rustix::fs::fchown(opened, user, members),
        )?;
    }
    match mode {
        // A link has no mode of its own.
        Some(mode) if host.kind() != FileType::Symlink && (changed || mode != u32::from(stat.stx_mode) & 0o7777) => {
            either(
                host,
                |named| hostfile::set_mode(named, mode),
                |opened| rustix::fs::fchmod(opened, Mode::from_raw_mode(mode)),
            )
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_do_not_meet() {
        let name = |name: &[u8], value: &[u8]| outside(name, value, 0).expect("a name").0;
        assert_eq!(name(b"U.COMMENT", &[1, b'x']), b"user.comment");
        assert_eq!(name(b"COMMENT", b"x"), b"user.ntio.ea.COMMENT");
        assert_eq!(name(b"U.COMMENT", b"no POSIX value"), b"user.ntio.ea.U.COMMENT");
        assert!(outside(b"U.NTIO.BASIC", &[1, 2], 0).is_err(), "what is kept for the volume is not a program's");
    }

    #[test]
    fn times_come_back_at_100_ns() {
        for time in [EPOCH, EPOCH + 1, EPOCH - 1, 1] {
            let (seconds, nanoseconds) = to_host(time);
            assert!((0..1_000_000_000).contains(&nanoseconds));
            assert_eq!(seconds * 10_000_000 + nanoseconds / 100 + EPOCH, time);
        }
    }
}
