//! The bytes of a host file.
//!
//! Room: drivers/memfs. Called by: the driver, with the node's data lock held. IRQL: PASSIVE_LEVEL.
//! Bytes go between the caller's span and the host without a copy in between. Source: NT-B-10 for a span that ends early.

use super::host::{Host, call, transfer};
use super::status::error;
use crate::backing::{Content, Sizes};
use crate::sparse::UNIT;
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use rustix::fd::AsFd;
use rustix::fs::{FallocateFlags, FileType, SeekFrom};
use rustix::io::Errno;
use std::sync::Arc;

const HOLE: FallocateFlags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);

pub(super) struct DirContent(pub(super) Arc<Host>);

impl DirContent {
    /// Has the host room for `[start, end)` of a file?
    fn fits(&self, start: u64, end: u64) -> NtResult<bool> {
        let there = call(|| rustix::fs::fstatvfs(self.0.base())).map_err(error)?;
        let held = self.outside()?.map_or(0, |sizes| sizes.allocation);
        // What lies before it may be a hole, and may have its room already.
        let more = end.saturating_sub(held).min(end - start);
        Ok(more <= there.f_bavail.saturating_mul(there.f_frsize))
    }

    /// The first place at or behind `at` that the host says is so; `None` where it knows of none before the end.
    fn seek(&self, to: SeekFrom) -> NtResult<Option<u64>> {
        let fd = self.0.reading().map_err(error)?;
        match call(|| rustix::fs::seek(fd, to)) {
            Ok(at) => Ok(Some(at)),
            Err(Errno::NXIO) => Ok(None),
            Err(errno) => Err(error(errno)),
        }
    }
}

impl Content for DirContent {
    fn holds(&self, _start: u64, _length: usize) -> bool {
        true
    }
    fn has_room(&self, start: u64, end: u64) -> NtResult<bool> {
        Ok(self.seek(SeekFrom::Hole(start))?.is_some_and(|hole| hole >= end))
    }
    fn reserve(&mut self, _start: u64, _length: usize) -> NtResult<()> {
        Ok(())
    }
    fn promise(&mut self, start: u64, length: u64, late: bool) -> NtResult<()> {
        // What the host would refuse later, after the program was told that it is written.
        let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
        if limit.is_some_and(|limit| start + length > limit) {
            return NtStatus::FILE_TOO_LARGE.fail();
        }
        if late {
            let fd = self.0.writing().map_err(error)?;
            match call(|| rustix::fs::fallocate(fd, FallocateFlags::KEEP_SIZE, start, length)) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                // What is reserved now need not fit once more.
                other => return other.map_err(error),
            }
        }
        if self.fits(start, start + length)? { Ok(()) } else { NtStatus::DISK_FULL.fail() }
    }
    fn read(&self, start: u64, to: Region) -> NtResult<usize> {
        let fd = self.0.reading().map_err(error)?;
        let mut done = 0;
        while done < to.len() {
            let rest = to.sub(done, to.len() - done);
            match transfer(|| rest.from_file(fd.as_fd(), start + done as u64)) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(Errno::FAULT) => return NtStatus::ACCESS_VIOLATION.fail(),
                Err(errno) => return Err(error(errno)),
            }
        }
        Ok(done)
    }
    fn write(&self, start: u64, from: Region) -> NtResult<()> {
        let fd = self.0.writing().map_err(error)?;
        let mut done = 0;
        while done < from.len() {
            let rest = from.sub(done, from.len() - done);
            match transfer(|| rest.to_file(fd.as_fd(), start + done as u64)) {
                Ok(0) => return NtStatus::DISK_FULL.fail(),
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                // NT-S-01: whether there is room is found out before the bytes are touched.
                Err(Errno::FAULT) if !self.fits(start, start + from.len() as u64)? => {
                    return NtStatus::DISK_FULL.fail();
                }
                Err(errno) => return Err(error(errno)),
            }
        }
        Ok(())
    }
    fn write_late(&self, start: u64, from: Region) -> NtResult<()> {
        super::late::keeping_date(&self.0, || self.write(start, from))
    }
    fn zero(&self, start: u64, end: u64) -> NtResult<()> {
        // Past its end a file of the host holds nothing.
        let end = end.min(self.outside()?.map_or(end, |sizes| sizes.eof));
        if end <= start {
            return Ok(());
        }
        let fd = self.0.writing().map_err(error)?;
        match call(|| rustix::fs::fallocate(fd, HOLE, start, end - start)) {
            Err(Errno::OPNOTSUPP) => zero_by_hand(fd, start, end),
            other => other.map_err(error),
        }
    }
    fn set_length(&mut self, end: u64) -> NtResult<()> {
        let fd = self.0.writing().map_err(error)?;
        call(|| rustix::fs::ftruncate(fd, end)).map_err(error)
    }
    fn room(&mut self, _start: u64, end: u64) -> NtResult<u64> {
        // The host allocates when it writes, by its pages, and says then when it is full.
        Ok(end.checked_next_multiple_of(4096).unwrap_or(end))
    }
    fn allocate(&mut self, allocation: u64, _eof: u64) -> NtResult<u64> {
        let now = self.outside()?.unwrap_or_default();
        if allocation > now.allocation.max(now.eof) {
            let fd = self.0.writing().map_err(error)?;
            // The holes of a sparse file stay (NT-SPA-16).
            let from = if super::attributes::is_sparse(&self.0)? { now.eof } else { 0 };
            let flags = FallocateFlags::KEEP_SIZE;
            match call(|| rustix::fs::fallocate(fd, flags, from, allocation - from)) {
                // A host that cannot reserve allocates when it writes.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                Err(errno) => return Err(error(errno)),
            }
        }
        Ok(self.outside()?.map_or(allocation, |sizes| sizes.allocation))
    }
    fn set_sparse(&mut self, sparse: bool, _eof: u64) -> NtResult<u64> {
        let now = self.outside()?.unwrap_or_default();
        if !sparse && now.lack_room() {
            let fd = self.0.writing().map_err(error)?;
            match call(|| rustix::fs::fallocate(fd, FallocateFlags::KEEP_SIZE, 0, now.eof)) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return NtStatus::NOT_SUPPORTED.fail(),
                other => other.map_err(error)?,
            }
        }
        Ok(self.outside()?.unwrap_or_default().allocation)
    }
    fn blank(&self, start: u64, end: u64) -> NtResult<()> {
        // Past its end a file of the host holds nothing.
        let end = end.min(self.outside()?.map_or(end, |sizes| sizes.eof));
        if end <= start {
            return Ok(());
        }
        let fd = self.0.writing().map_err(error)?;
        let flags = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
        match call(|| rustix::fs::fallocate(fd, flags, start, end - start)) {
            Err(Errno::OPNOTSUPP) => zero_by_hand(fd, start, end),
            other => other.map_err(error),
        }
    }
    fn punch(&mut self, start: u64, end: u64, eof: u64) -> NtResult<u64> {
        // The block that the file ends in goes as a whole.
        let end = if end >= eof { end.next_multiple_of(UNIT) } else { end };
        let fd = self.0.writing().map_err(error)?;
        match call(|| rustix::fs::fallocate(fd, HOLE, start, end - start)) {
            Err(Errno::OPNOTSUPP) => self.zero(start, end)?,
            other => other.map_err(error)?,
        }
        Ok(self.outside()?.unwrap_or_default().allocation)
    }
    fn allocated(&self, start: u64, end: u64) -> NtResult<Option<(u64, u64)>> {
        let Some(from) = self.seek(SeekFrom::Data(start))?.filter(|&from| from < end) else { return Ok(None) };
        let to = self.seek(SeekFrom::Hole(from))?.map_or(end, |to| to.min(end));
        Ok((from < to).then_some((from, to)))
    }
    fn outside(&self) -> NtResult<Option<Sizes>> {
        if self.0.kind() != FileType::RegularFile {
            return Ok(Some(Sizes::default()));
        }
        let base = self.0.base();
        let stat = call(|| rustix::fs::fstat(&base)).map_err(error)?;
        Ok(Some(Sizes { eof: stat.st_size as u64, allocation: stat.st_blocks as u64 * 512 }))
    }
}

fn zero_by_hand(fd: &Arc<rustix::fd::OwnedFd>, start: u64, end: u64) -> NtResult<()> {
    let zeroes = [0; 64 << 10];
    let mut at = start;
    while at < end {
        let most = (end - at).min(zeroes.len() as u64) as usize;
        at += call(|| rustix::io::pwrite(fd, &zeroes[..most], at)).map_err(error)? as u64;
    }
    Ok(())
}
