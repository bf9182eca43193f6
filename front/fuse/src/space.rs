//! Operations on room: what is allocated, what is a hole, what the volume has.
//!
//! Room: front/fuse. Called by: `dispatch`. Calls: `door`. Locks: none held across a request.
//! Source: docs of the POSIX door, section 3; FSCTL_SET_SPARSE, FSCTL_SET_ZERO_DATA, FSCTL_QUERY_ALLOCATED_RANGES pages.

use crate::dispatch::{Ask, Done, Failure, Operations};
use crate::door::*;
use crate::handle::Open;
use crate::protocol::Answer;
use nt_abi::io::{FSCTL_QUERY_ALLOCATED_RANGES, FSCTL_SET_SPARSE, FSCTL_SET_ZERO_DATA};
use nt_io::info::class;
use nt_machine::{Client, Handle, NtResult, NtStatus};
use std::sync::atomic::Ordering;

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |part| u64::from_le_bytes(*part))
}

/// What is allocated, and the end of file.
fn sizes(client: &Client, handle: Handle) -> NtResult<(u64, u64)> {
    let mut standard = [0; 24];
    client.query_information(handle, class::STANDARD, &mut standard)?;
    Ok((long(&standard, 0), long(&standard, 8)))
}

/// What an NT volume allocates in a sparse file at a time.
const UNIT: u64 = 64 << 10;

/// Is there a whole unit between the end of a file and what comes behind it?
pub(crate) fn is_gap(eof: u64, next: u64) -> bool {
    eof.div_ceil(UNIT) < next / UNIT
}

/// Makes a file sparse (NT-SPA-21). A volume without sparse files, or a filter that lets none be made, has the zeros all the same.
fn make_sparse(client: &Client, handle: Handle) {
    let _the_gap_takes_room = client.control(handle, true, FSCTL_SET_SPARSE, &[], &mut []);
}

impl Operations {
    /// A write at `offset` may leave a gap behind the end of file: if it does, the gap is to be a hole.
    #[cold]
    pub(crate) fn leave_gap(&self, client: &Client, handle: Handle, open: &Open, offset: u64) -> NtResult<()> {
        let (_, eof) = sizes(client, handle)?;
        open.reach.store(eof, Ordering::Relaxed);
        if is_gap(eof, offset) {
            make_sparse(client, handle);
        }
        Ok(())
    }

    /// Sets the length of a file; what it becomes longer by is a hole.
    pub(crate) fn resize(&self, client: &Client, handle: Handle, node: u64, size: u64) -> NtResult<()> {
        if is_gap(0, size) && is_gap(sizes(client, handle)?.1, size) {
            make_sparse(client, handle);
        }
        client.set_information(handle, class::END_OF_FILE, &size.to_le_bytes())?;
        self.door.nodes.reach(node).store(size, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn fallocate(&self, ask: Ask) -> Done {
        let (offset, length, mode) = (ask.body.long(8), ask.body.long(16), ask.body.word(24) as i32);
        let keeps = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        let zeroes = match mode & !libc::FALLOC_FL_KEEP_SIZE {
            0 => false,
            libc::FALLOC_FL_PUNCH_HOLE if keeps => true,
            libc::FALLOC_FL_ZERO_RANGE => true,
            // Collapsing, inserting and unsharing have no NT word.
            _ => return Err(Failure::Host(libc::EOPNOTSUPP)),
        };
        let punches = mode & libc::FALLOC_FL_PUNCH_HOLE != 0;
        let end = offset.checked_add(length).filter(|&end| i64::try_from(end).is_ok());
        let end = end.ok_or(Failure::Host(libc::EFBIG))?;
        let open = self.handle(ask.body.long(0))?;
        self.on_open(&open, |client| {
            let handle = self.writer(client, &open)?;
            let (allocated, eof) = sizes(client, handle)?;
            if zeroes && offset < eof {
                if punches {
                    make_sparse(client, handle);
                }
                let range = [offset.to_le_bytes(), end.min(eof).to_le_bytes()].concat();
                client.control(handle, true, FSCTL_SET_ZERO_DATA, &range, &mut [])?;
            } else if !zeroes && offset < eof {
                let all = self.on_readable(client, &open, |handle| holes(client, handle, offset, end.min(eof), eof))?;
                match all {
                    None => {}
                    // NT can fill all holes of a file, and no single one.
                    Some(false) => return NtStatus::NOT_SUPPORTED.fail(),
                    Some(true) => drop(client.control(handle, true, FSCTL_SET_SPARSE, &[0], &mut [])?),
                }
            }
            if punches {
                return Ok(());
            }
            // Never below the end of file: that would cut it (NT-I-11).
            if end > allocated.max(eof) {
                client.set_information(handle, class::ALLOCATION, &end.to_le_bytes())?;
            }
            if !keeps && end > eof {
                client.set_information(handle, class::END_OF_FILE, &end.to_le_bytes())?;
            }
            Ok(())
        })?;
        Ok(Vec::new())
    }

    /// Acts with a handle that may ask for ranges, which one that was opened to write only may not.
    fn on_readable<R>(&self, client: &Client, open: &Open, act: impl FnOnce(Handle) -> NtResult<R>) -> NtResult<R> {
        if open.readable {
            return act(open.handle);
        }
        let path = self.door.nodes.path(open.node).ok_or(NtStatus::FILE_INVALID.error())?;
        self.door.at_path(client, &path, READ_DATA, 0, act)
    }

    /// SEEK_DATA and SEEK_HOLE; the other kinds the kernel does itself.
    pub(crate) fn lseek(&self, ask: Ask) -> Done {
        let (offset, whence) = (ask.body.long(8), ask.body.word(16) as i32);
        if !matches!(whence, libc::SEEK_DATA | libc::SEEK_HOLE) {
            return Err(Failure::Host(libc::EINVAL));
        }
        let open = self.handle(ask.body.long(0))?;
        let found = self.on_open(&open, |client| {
            let (_, eof) = sizes(client, open.handle)?;
            if offset >= eof {
                return Ok(None);
            }
            self.on_readable(client, &open, |handle| seek(client, handle, offset, eof, whence))
        })?;
        Ok(Answer::new().long(found.ok_or(Failure::Host(libc::ENXIO))?).done())
    }

    pub(crate) fn statfs(&self, ask: Ask) -> Done {
        const FULL_SIZE: u32 = 7;
        let caller = self.caller(ask)?;
        let mut out = [0; 32];
        self.door.enter(&caller, |client| {
            self.door
                .at_path(client, &[], READ_ATTRIBUTES, 0, |handle| client.query_volume(handle, FULL_SIZE, &mut out))
        })?;
        let word = |at: usize| out[at..at + 4].first_chunk().map_or(0, |part| u32::from_le_bytes(*part));
        let cluster = word(24) * word(28);
        // Blocks in all, free, free for the caller; no count of files.
        let answer = Answer::new().long(long(&out, 0)).long(long(&out, 16)).long(long(&out, 8)).long(0).long(0);
        Ok(answer.word(cluster).word(255).word(cluster).zeroes(28).done())
    }

    /// The kernel asks it of some mounts only.
    pub(crate) fn syncfs(&self, ask: Ask) -> Done {
        let caller = self.caller(ask)?;
        self.door.enter(&caller, |client| {
            let handle = client.create(&self.door.volume_spec())?.0;
            let flushed = client.flush(handle);
            client.close(handle)?;
            flushed
        })?;
        Ok(Vec::new())
    }
}

/// Are there holes in `[start, end)` of a file, and are these all that it has?
fn holes(client: &Client, handle: Handle, start: u64, end: u64, eof: u64) -> NtResult<Option<bool>> {
    let holed = |from: u64, to: u64| {
        let hole = seek(client, handle, from, to, libc::SEEK_HOLE)?;
        Ok(hole.is_some_and(|at| at < to))
    };
    if !holed(start, end)? {
        return Ok(None);
    }
    Ok(Some(!holed(0, start)? && !holed(end, eof)?))
}

/// Where data or a hole begins at or behind `offset`; a volume that does not tell has data all through.
fn seek(client: &Client, handle: Handle, offset: u64, eof: u64, whence: i32) -> NtResult<Option<u64>> {
    let data = whence == libc::SEEK_DATA;
    let mut at = offset;
    while at < eof {
        let asked = [at.to_le_bytes(), (eof - at).to_le_bytes()].concat();
        let mut out = [0; 64 * 16];
        let count = match client.control(handle, true, FSCTL_QUERY_ALLOCATED_RANGES, &asked, &mut out) {
            Ok(count) => count,
            Err(error) if error.status() == NtStatus::INVALID_DEVICE_REQUEST => {
                return Ok(Some(if data { offset } else { eof }));
            }
            Err(error) => return Err(error),
        };
        if count < 16 {
            break;
        }
        for range in out[..count].chunks_exact(16) {
            let (start, end) = (long(range, 0), long(range, 0) + long(range, 8));
            if data {
                return Ok((start < eof).then_some(start.max(offset)));
            }
            if start > at {
                return Ok(Some(at));
            }
            at = at.max(end);
        }
    }
    Ok(if data { None } else { Some(at.min(eof)) })
}
