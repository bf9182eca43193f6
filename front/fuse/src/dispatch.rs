//! Which operation a request is.
//!
//! Room: front/fuse. Called by: `session`. Calls: the operations in `paths`, `data`, `attributes`, `space`. Locks: none.
//! docs/posix-door.md has a row for each operation here, and a test holds the two together.

use crate::caller::Caller;
use crate::door::Door;
use crate::errno::{Context, code};
use crate::handle::Open;
use crate::protocol::{Body, Reply, Request, opcode};
use crate::session::Service;
use nt_machine::{Client, NtError, NtResult};
use nt_rtl::posix::BadName;
use std::sync::Arc;

pub(crate) struct Operations {
    pub(crate) door: Door,
}

/// What went wrong: a status of the machine, or an errno of the door's own.
#[derive(Debug)]
pub(crate) enum Failure {
    Status(NtError),
    Host(i32),
}
impl From<NtError> for Failure {
    fn from(error: NtError) -> Self {
        Self::Status(error)
    }
}
impl From<BadName> for Failure {
    fn from(bad: BadName) -> Self {
        Self::Host(match bad {
            BadName::Illegal => libc::EILSEQ,
            BadName::TooLong => libc::ENAMETOOLONG,
        })
    }
}
impl Failure {
    fn code(self, context: Context) -> i32 {
        match self {
            Self::Status(error) => code(error.status(), context),
            Self::Host(code) => code,
        }
    }
}
pub(crate) type Done<T = Vec<u8>> = Result<T, Failure>;

/// A request with what most operations want of it.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) node: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pid: u32,
    pub(crate) body: Body<'a>,
}

const NOTHING: Done = Ok(Vec::new());

impl Service for Operations {
    fn serve(&self, request: &Request) -> Option<Result<Reply, i32>> {
        use Context::{Attribute, Data, Link, Owner, Path, ReadLink};
        let header = &request.header;
        let body = request.body();
        let ask = Ask { node: header.node, uid: header.uid, gid: header.gid, pid: header.pid, body };
        let (context, done) = match header.opcode {
            opcode::LOOKUP => (Path, self.lookup(ask)),
            opcode::FORGET => {
                self.door.nodes.forget(ask.node, body.long(0));
                return None;
            }
            opcode::BATCH_FORGET => {
                for at in 0..body.word(0) as usize {
                    self.door.nodes.forget(body.long(8 + at * 16), body.long(16 + at * 16));
                }
                return None;
            }
            opcode::GETATTR => (Path, self.getattr(ask)),
            opcode::STATX => (Path, self.statx(ask)),
            opcode::SETATTR => self.setattr(ask),
            opcode::READLINK => (ReadLink, self.readlink(ask)),
            opcode::SYMLINK => (Path, self.symlink(ask)),
            opcode::MKNOD => (Owner, self.mknod(ask)),
            opcode::MKDIR => (Path, self.mkdir(ask)),
            opcode::UNLINK => (Path, self.unlink(ask)),
            opcode::RMDIR => (Path, self.rmdir(ask)),
            opcode::RENAME => (Path, self.rename(ask, 0, 8)),
            opcode::RENAME2 => (Path, self.rename(ask, body.word(8), 16)),
            opcode::LINK => (Link, self.link(ask)),
            opcode::OPEN => (Path, self.open(ask)),
            opcode::CREATE => (Path, self.create(ask)),
            opcode::TMPFILE => (Path, self.tmpfile(ask)),
            opcode::READ => {
                return Some(self.read(ask, request.room).map(Reply::Room).map_err(|failure| failure.code(Data)));
            }
            opcode::WRITE => (Data, self.write(ask, request.data)),
            // Nothing of ours waits behind a close: what was written is in the stream.
            opcode::FLUSH => (Data, NOTHING),
            opcode::RELEASE | opcode::RELEASEDIR => (Data, self.release(ask)),
            opcode::FSYNC => (Data, self.fsync(ask)),
            opcode::FSYNCDIR => (Path, self.fsyncdir(ask)),
            opcode::SYNCFS => (Path, self.syncfs(ask)),
            opcode::OPENDIR => (Path, self.opendir(ask)),
            opcode::READDIR => (Path, self.readdir(ask)),
            opcode::STATFS => (Path, self.statfs(ask)),
            opcode::GETXATTR => (Attribute, self.getxattr(ask)),
            opcode::LISTXATTR => (Attribute, self.listxattr(ask)),
            opcode::SETXATTR => (Attribute, self.setxattr(ask)),
            opcode::REMOVEXATTR => (Attribute, self.removexattr(ask)),
            opcode::FALLOCATE => (Path, self.fallocate(ask)),
            opcode::LSEEK => (Path, self.lseek(ask)),
            opcode::DESTROY => (Data, NOTHING),
            // The kernel then answers itself, for good: ACCESS by mode and owner, POLL always ready, IOCTL ENOTTY,
            // COPY_FILE_RANGE by reads and writes, which filters see.
            _ => (Data, Err(Failure::Host(libc::ENOSYS))),
        };
        Some(done.map(Reply::Bytes).map_err(|failure| failure.code(context)))
    }
    fn cancel(&self, thread: &nt_ke::Thread) -> bool {
        self.door.machine.cancel_synchronous(thread) != 0
    }
    fn end(&self) {
        self.door.end();
    }
}

impl Operations {
    pub(crate) fn caller(&self, ask: Ask) -> NtResult<Arc<Caller>> {
        self.door.callers.of(&self.door.machine, ask.pid)
    }
    pub(crate) fn handle(&self, fh: u64) -> Done<Arc<Open>> {
        self.door.handles.get(fh).ok_or(Failure::Host(libc::EBADF))
    }
    /// A name in a directory, in the volume's characters, and its path.
    pub(crate) fn child(&self, parent: u64, name: &[u8]) -> Done<(Vec<u16>, Vec<u16>)> {
        let units = nt_rtl::posix::to_nt(name)?;
        let path = self.door.nodes.path_of(parent, &units).ok_or(Failure::Host(libc::ESTALE))?;
        Ok((units, path))
    }
    /// Acts on an open file as the process that opened it.
    pub(crate) fn on_open<R>(&self, open: &Open, body: impl FnOnce(&Client) -> NtResult<R>) -> NtResult<R> {
        self.door.enter(&open.caller, body)
    }
}
