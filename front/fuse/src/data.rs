//! Operations on open files: open, read, write, flush, close.
//!
//! Room: front/fuse. Called by: `dispatch`. Calls: `door`. Locks: none held across a request.
//! Source: docs of the POSIX door, sections 3 and 4. Every read(2) and write(2) is one NT request with the program's own offset
//! and length; what the host's page cache gives back is paging I/O.

use crate::attr::MODE;
use crate::caller::Caller;
use crate::dispatch::{Ask, Done, Failure, Operations};
use crate::door::*;
use crate::handle::{GONE, Open};
use crate::protocol::Answer;
use crate::space;
use nt_cell::Region;
use nt_io::info::class;
use nt_machine::file::{GENERIC_READ, GENERIC_WRITE};
use nt_machine::{Client, Handle, NtResult, NtStatus};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// FOPEN_DIRECT_IO.
pub(crate) const DIRECT_IO: u32 = 1;
/// FUSE_WRITE_CACHE, FUSE_WRITE_KILL_SUIDGID.
const FROM_PAGE_CACHE: u32 = 1;
const DROP_PRIVILEGE_BITS: u32 = 4;
/// FMODE_EXEC, as the kernel passes it in the flags of an open for execve(2).
const FOR_EXECUTION: i32 = 0x20;
const FILE_EXECUTE: u32 = 0x20;

/// Access and options of an open(2), as the door's table has them.
pub(crate) fn access_of(flags: i32) -> (u32, u32) {
    let direct = flags & libc::O_DIRECT != 0;
    // Noncached opens name the generic bits: APPEND_DATA named literally is refused with them (NT-A-10).
    let (read, write) = if direct { (0x8000_0000, 0x4000_0000) } else { (GENERIC_READ, GENERIC_WRITE) };
    let mut access = match flags & libc::O_ACCMODE {
        libc::O_WRONLY => write,
        libc::O_RDWR => read | write,
        _ => read,
    } | READ_ATTRIBUTES
        | READ_EA;
    if flags & libc::O_APPEND != 0 && !direct {
        access &= !WRITE_DATA;
    }
    if flags & FOR_EXECUTION != 0 {
        access |= FILE_EXECUTE;
    }
    let mut options = NON_DIRECTORY_FILE;
    if direct {
        options |= 8;
    }
    if flags & (libc::O_SYNC | libc::O_DSYNC) != 0 {
        options |= 2;
    }
    (access, options)
}

impl Operations {
    /// Notes an open file; `hidden` is the path of one that goes when it is closed.
    pub(crate) fn opened(
        &self,
        caller: Arc<Caller>,
        handle: Handle,
        node: u64,
        flags: i32,
        hidden: Option<Vec<u16>>,
    ) -> u64 {
        self.door.handles.insert(Open {
            caller,
            handle,
            node,
            way: access_of(flags),
            again: Default::default(),
            append: flags & libc::O_APPEND != 0 && flags & libc::O_DIRECT == 0,
            writable: flags & libc::O_ACCMODE != libc::O_RDONLY,
            readable: flags & libc::O_ACCMODE != libc::O_WRONLY,
            direct: flags & libc::O_DIRECT != 0,
            reach: self.door.nodes.reach(node),
            hidden,
            second: Default::default(),
            listing: Default::default(),
        })
    }

    pub(crate) fn open(&self, ask: Ask) -> Done {
        let flags = ask.body.word(0) as i32;
        let caller = self.caller(ask)?;
        let (access, options) = access_of(flags);
        let Some(path) = self.door.nodes.path(ask.node) else {
            // NT opens nothing that has no name (DELETE_PENDING, FILE_DELETED): what is open already goes on under a further number.
            let number = self.door.handles.again(ask.node, (access, options)).ok_or(Failure::Host(libc::ESTALE))?;
            return Ok(Answer::new().opened(number, DIRECT_IO));
        };
        let spec = self.door.through(&path, access, options, OPEN);
        let (handle, _) = self.door.enter(&caller, |client| client.create(&spec))?;
        Ok(Answer::new().opened(self.opened(caller, handle, ask.node, flags, None), DIRECT_IO))
    }

    /// Reads into the request's room.
    pub(crate) fn read(&self, ask: Ask, room: Region) -> Done<usize> {
        let open = self.handle(ask.body.long(0))?;
        let offset = i64::try_from(ask.body.long(8)).map_err(|_| Failure::Host(libc::EINVAL))?;
        let room = room.sub(0, room.len().min(ask.body.word(16) as usize));
        Ok(self.on_open(&open, |client| match client.read_region(open.handle, Some(offset), room) {
            Err(error) if error.status() == NtStatus::END_OF_FILE => Ok(0),
            // Behind a last sector that is not whole, Linux says end of file where NT wants a sector's multiple.
            Err(error) if error.status() == NtStatus::INVALID_PARAMETER && open.direct => {
                let size = self.door.stat(client, open.handle)?.size;
                if offset as u64 >= size { Ok(0) } else { Err(error) }
            }
            other => other,
        })?)
    }

    pub(crate) fn write(&self, ask: Ask, data: Region) -> Done {
        let (fh, how, flags) = (ask.body.long(0), ask.body.word(20), ask.body.word(32) as i32);
        let offset = i64::try_from(ask.body.long(8)).map_err(|_| Failure::Host(libc::EFBIG))?;
        let data = data.sub(0, data.len().min(ask.body.word(16) as usize));
        if how & FROM_PAGE_CACHE != 0 {
            self.write_back(ask.node, fh, offset, data)?;
            return Ok(Answer::new().word(data.len() as u32).word(0).done());
        }
        let open = self.handle(fh)?;
        let append = flags & libc::O_APPEND != 0;
        let written = self.on_open(&open, |client| {
            // The O_APPEND flag can have been changed since the open (F_SETFL): an append-only handle has a second one.
            let (handle, append) = match (open.append, append) {
                (true, false) => (self.door.second(client, &open, GENERIC_WRITE)?, false),
                (_, append) => (open.handle, append),
            };
            if append {
                return client.write_region(handle, Some(-1), data);
            }
            if space::is_gap(open.reach.load(Ordering::Relaxed), offset as u64) {
                self.leave_gap(client, handle, &open, offset as u64)?;
            }
            let written = client.write_region(handle, Some(offset), data)?;
            let end = offset as u64 + written;
            if end > open.reach.load(Ordering::Relaxed) {
                open.reach.fetch_max(end, Ordering::Relaxed);
            }
            Ok(written)
        })?;
        if how & DROP_PRIVILEGE_BITS != 0 {
            self.drop_privilege_bits(&open)?;
        }
        Ok(Answer::new().word(written as u32).word(0).done())
    }

    /// Pages of a mapping: the handle named is a guess of the kernel's, only its stream counts. POSIX dates the file for it.
    fn write_back(&self, node: u64, fh: u64, offset: i64, data: Region) -> Done<()> {
        let open = self.door.handles.get(fh).or_else(|| self.door.handles.of_node(node));
        let open = open.ok_or(Failure::Host(libc::EIO))?;
        let system = Arc::clone(self.door.machine.processes().system());
        self.on_open(&open, |client| {
            crate::caller::enter(&self.door.machine, &system, |system| {
                client.paging_write(system, open.handle, offset, data)
            })?;
            if open.writable {
                let mut basic = [0; 40];
                let now = self.door.machine.kernel().clock.system_time();
                basic[16..24].copy_from_slice(&now.to_le_bytes());
                client.set_information(open.handle, class::BASIC, &basic)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// A write by a program without the right to keep them drops set-user-id and, with group execution, set-group-id.
    fn drop_privilege_bits(&self, open: &Open) -> NtResult<()> {
        self.on_open(open, |client| {
            let mode = self.door.stat(client, open.handle)?.permissions();
            let group = if mode & 0o010 != 0 { 0o2000 } else { 0 };
            let kept = mode & !0o4000 & !group;
            if kept == mode {
                return Ok(());
            }
            let second = self.door.second(client, open, GENERIC_WRITE)?;
            self.apply(client, second, &[(MODE, (kept | libc::S_IFREG).to_le_bytes())], [0, 0])
        })
    }

    /// A handle that may write data: the open's own, or its second one.
    pub(crate) fn writer(&self, client: &Client, open: &Open) -> NtResult<Handle> {
        match (open.writable, open.append) {
            (true, false) => Ok(open.handle),
            _ => self.door.second(client, open, GENERIC_WRITE),
        }
    }

    pub(crate) fn release(&self, ask: Ask) -> Done {
        if ask.body.long(0) == GONE {
            return Ok(Vec::new());
        }
        let (open, last) = self.door.handles.remove(ask.body.long(0)).ok_or(Failure::Host(libc::EBADF))?;
        if last {
            self.door.close(&open)?;
        }
        Ok(Vec::new())
    }

    pub(crate) fn fsync(&self, ask: Ask) -> Done {
        let open = self.handle(ask.body.long(0))?;
        self.on_open(&open, |client| {
            if open.writable {
                return client.flush(open.handle);
            }
            // NT refuses a read-only handle (NT-F-01), POSIX does not: a second one flushes; without a right to it there
            // is nothing of this program's to flush.
            match self.door.second(client, &open, GENERIC_WRITE) {
                Ok(second) => client.flush(second),
                Err(_) => Ok(()),
            }
        })?;
        Ok(Vec::new())
    }
}
