//! Links, pipes and sockets of the host as reparse points.
//!
//! Room: drivers/memfs. Called by: the `dir` backing. Calls: the host. Locks: the tree, held by the caller.
//! A symbolic link is LX_SYMLINK with the host's bytes, as WSL keeps it; a pipe and a socket are their tags. Other tags have
//! no place on the host and are refused, devices are never made. Source: house, POSIX face; NT-REP family.

use super::host::{CONFINED, Host, call, name, stat};
use super::object::of;
use super::status::{self, error};
use crate::node::{Node, Units};
use nt_abi::io::{
    IO_REPARSE_TAG_AF_UNIX as AF_UNIX, IO_REPARSE_TAG_LX_BLK as LX_BLK, IO_REPARSE_TAG_LX_CHR as LX_CHR,
    IO_REPARSE_TAG_LX_FIFO as LX_FIFO, IO_REPARSE_TAG_LX_SYMLINK as LX_SYMLINK,
};
use nt_abi::{NtResult, NtStatus};
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use std::sync::Arc;

/// Returns the tag that a kind of thing shows.
pub(super) fn tag(kind: FileType) -> Option<u32> {
    match kind {
        FileType::Symlink => Some(LX_SYMLINK),
        FileType::Socket => Some(AF_UNIX),
        FileType::Fifo => Some(LX_FIFO),
        FileType::CharacterDevice => Some(LX_CHR),
        FileType::BlockDevice => Some(LX_BLK),
        _ => None,
    }
}

/// Returns the reparse data of a file that has some.
pub(super) fn get(host: &Host) -> NtResult<Option<Vec<u8>>> {
    let Some(tag) = tag(host.kind()) else { return Ok(None) };
    let mut body = Vec::new();
    if tag == LX_SYMLINK {
        let base = host.base();
        let target = call(|| rustix::fs::readlinkat(&base, "", Vec::new())).map_err(error)?;
        body.extend_from_slice(&2u32.to_le_bytes());
        body.extend_from_slice(target.as_bytes());
    }
    let length = u16::try_from(body.len()).map_err(|_| NtStatus::IO_REPARSE_DATA_INVALID.error())?;
    let mut data = tag.to_le_bytes().to_vec();
    data.extend_from_slice(&length.to_le_bytes());
    data.extend_from_slice(&[0; 2]);
    data.append(&mut body);
    Ok(Some(data))
}

/// Puts another kind of thing in the place of an empty file, or an empty file in the place of such a thing.
pub(super) fn set(
    host: &Arc<Host>,
    node: &Arc<Node>,
    place: Option<&(Arc<Node>, Units)>,
    data: Option<Vec<u8>>,
) -> NtResult<()> {
    let (parent, units) = place.ok_or(NtStatus::ACCESS_DENIED.error())?;
    let (parent, name) = (of(parent)?, name(units)?);
    let old = host.stat()?;
    // What takes its place could not keep its streams.
    if super::streams::any(host)? || host.is_directory() || (host.kind() == FileType::RegularFile && old.stx_size != 0)
    {
        return NtStatus::NOT_SUPPORTED.fail();
    }
    if !parent.leads_to(&name, host.id())? {
        return NtStatus::OBJECT_NAME_NOT_FOUND.fail();
    }
    if let (Some(new), Some(there)) = (&data, tag(host.kind()))
        && new.first_chunk().map(|tag| u32::from_le_bytes(*tag)) != Some(there)
    {
        return NtStatus::IO_REPARSE_TAG_MISMATCH.fail();
    }
    let temporary = host.shared.temporary();
    let base = parent.base();
    make(&base, &temporary, data.as_deref(), u32::from(old.stx_mode) & 0o777)?;
    let placed = (|| {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = call(|| rustix::fs::openat2(&base, temporary.as_str(), flags, Mode::empty(), CONFINED))?;
        let new = stat(&fd, "")?;
        if (new.stx_uid, new.stx_gid) != (old.stx_uid, old.stx_gid) {
            nt_ke::host_call(|| nt_cell::hostfile::set_owner(fd.as_fd(), Some(old.stx_uid), Some(old.stx_gid)))
                .map_err(|error| status::io(&error))?;
        }
        call(|| rustix::fs::renameat(&base, temporary.as_str(), &base, name.as_slice()))?;
        Ok((fd, new))
    })();
    match placed {
        Ok((fd, new)) => {
            let mut nodes = host.shared.nodes.lock();
            nodes.remove(&host.id());
            nodes.insert(new.stx_ino, Arc::downgrade(node));
            drop(nodes);
            host.become_other(fd, &new);
            host.named(parent);
            Ok(())
        }
        Err(errno) => {
            // The temporary name is ours; what stood there before is untouched.
            let _gone = call(|| rustix::fs::unlinkat(&base, temporary.as_str(), AtFlags::empty()));
            Err(error(errno))
        }
    }
}

fn make(base: &rustix::fd::OwnedFd, temporary: &str, data: Option<&[u8]>, mode: u32) -> NtResult<()> {
    let mode = Mode::from_raw_mode(mode);
    let node = |kind| call(|| rustix::fs::mknodat(base, temporary, kind, mode, 0)).map_err(error);
    let Some(data) = data else { return node(FileType::RegularFile) };
    match data.first_chunk().map(|tag| u32::from_le_bytes(*tag)) {
        Some(LX_SYMLINK) => {
            let length = data.get(4..6).map_or(0, |length| usize::from(u16::from_le_bytes([length[0], length[1]])));
            let target = data.get(12..8 + length).filter(|target| !target.is_empty());
            let target = target.ok_or(NtStatus::IO_REPARSE_DATA_INVALID.error())?;
            call(|| rustix::fs::symlinkat(target, base, temporary)).map_err(error)
        }
        Some(LX_FIFO) => node(FileType::Fifo),
        Some(AF_UNIX) => node(FileType::Socket),
        Some(LX_CHR | LX_BLK) => NtStatus::ACCESS_DENIED.fail(),
        _ => NtStatus::NOT_SUPPORTED.fail(),
    }
}
