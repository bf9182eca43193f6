//! The bytes of a host file.
//!
//! Room: drivers/memfs. Called by: the driver, with the node's data lock held. IRQL: PASSIVE_LEVEL.
//! Bytes go between the caller's span and the host without a copy in between. Source: NT-B-10 for a span that ends early.

use super::host::{Host, call, transfer};
use super::status::error;
use crate::backing::{Content, Sizes};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use rustix::fd::AsFd;
use rustix::fs::{FallocateFlags, FileType};
use rustix::io::Errno;
use std::sync::Arc;

pub(super) struct DirContent(pub(super) Arc<Host>);

impl DirContent {
    /// Has the host room for a file up to `end`?
    fn has_room(&self, end: u64) -> NtResult<bool> {
        let there = call(|| rustix::fs::fstatvfs(self.0.base())).map_err(error)?;
        let held = self.outside()?.map_or(0, |sizes| sizes.allocation);
        Ok(end.saturating_sub(held) <= there.f_bavail.saturating_mul(there.f_frsize))
    }
}

impl Content for DirContent {
    fn holds(&self, _start: u64, _length: usize) -> bool {
        true
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
                other => return other.map_err(error),
            }
        }
        if self.has_room(start + length)? { Ok(()) } else { NtStatus::DISK_FULL.fail() }
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
                Err(Errno::FAULT) if !self.has_room(start + from.len() as u64)? => return NtStatus::DISK_FULL.fail(),
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
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match call(|| rustix::fs::fallocate(fd, flags, start, end - start)) {
            Err(Errno::OPNOTSUPP) => zero_by_hand(fd, start, end),
            other => other.map_err(error),
        }
    }
    fn set_length(&mut self, end: u64) -> NtResult<()> {
        let fd = self.0.writing().map_err(error)?;
        call(|| rustix::fs::ftruncate(fd, end)).map_err(error)
    }
    fn grow(&mut self, end: u64) -> NtResult<u64> {
        // The host allocates when it writes, by its pages, and says then when it is full.
        Ok(end.checked_next_multiple_of(4096).unwrap_or(end))
    }
    fn allocate(&mut self, allocation: u64) -> NtResult<u64> {
        let now = self.outside()?.unwrap_or_default();
        if allocation > now.allocation.max(now.eof) {
            let fd = self.0.writing().map_err(error)?;
            match call(|| rustix::fs::fallocate(fd, FallocateFlags::KEEP_SIZE, 0, allocation)) {
                // A host that cannot reserve allocates when it writes.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                Err(errno) => return Err(error(errno)),
            }
        }
        Ok(self.outside()?.map_or(allocation, |sizes| sizes.allocation))
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
