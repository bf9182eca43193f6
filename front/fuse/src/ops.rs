//! The operations that the kernel sends.
//!
//! Room: front/fuse. Called by: fuser's readers. Calls: `door`. Locks: none held across a request.
//! Source: docs of the POSIX door, sections 3 to 5. Nothing is cached by the kernel: each lookup and each attribute is a
//! request that filters see.
#![expect(clippy::redundant_closure_call, reason = "the closure of `answer!` is where `?` returns to")]

use crate::attr::{self, DEVICE, GID, MODE, UID};
use crate::caller::Caller;
use crate::door::*;
use crate::errno::{Context, errno};
use crate::handle::Open;
use fuser::*;
use nt_io::info::class;
use nt_machine::{Client, Handle, NtError, NtResult, NtStatus, ea};
use nt_rtl::posix::{self, BadName};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(crate) struct Operations(pub(crate) Door);

const NO_CACHE: Duration = Duration::ZERO;
const FSCTL_SET_REPARSE_POINT: u32 = 0x0009_00A4;
const GENERATION: Generation = Generation(0);

/// What went wrong: a status of the machine, or an errno of the door's own.
enum Failure {
    Status(NtError),
    Host(Errno),
}
impl From<NtError> for Failure {
    fn from(error: NtError) -> Self {
        Self::Status(error)
    }
}
impl From<BadName> for Failure {
    fn from(bad: BadName) -> Self {
        Self::host(match bad {
            BadName::Illegal => libc::EILSEQ,
            BadName::TooLong => libc::ENAMETOOLONG,
        })
    }
}
impl Failure {
    fn host(code: i32) -> Self {
        Self::Host(Errno::from_i32(code))
    }
    fn errno(self, context: Context) -> Errno {
        match self {
            Self::Status(error) => errno(error, context),
            Self::Host(errno) => errno,
        }
    }
}
type Done<T> = Result<T, Failure>;

macro_rules! answer {
    ($reply:ident, $context:expr, $body:expr, $done:pat => $send:expr) => {
        match (|| -> Done<_> { $body })() {
            Ok($done) => $send,
            Err(failure) => $reply.error(failure.errno($context)),
        }
    };
}

impl Operations {
    fn caller(&self, request: &Request) -> NtResult<Arc<Caller>> {
        self.0.callers.of(&self.0.machine, request.pid())
    }
    fn open(&self, fh: FileHandle) -> Done<Arc<Open>> {
        self.0.handles.get(fh.0).ok_or_else(|| Failure::host(libc::EBADF))
    }
    fn child(&self, parent: INodeNo, name: &OsStr) -> Done<(Vec<u16>, Vec<u16>)> {
        let units = posix::to_nt(name.as_bytes())?;
        let path = self.0.nodes.path_of(parent.0, &units).ok_or_else(|| Failure::host(libc::ESTALE))?;
        Ok((units, path))
    }
    /// Owner and mode for a new file, as the attributes that WSL uses.
    fn owner(request: &Request, group: Option<u32>, mode: u32, device: Option<u32>) -> Option<Vec<u8>> {
        let (uid, gid, mode) =
            (request.uid().to_le_bytes(), group.unwrap_or(request.gid()).to_le_bytes(), mode.to_le_bytes());
        let mut list: Vec<(&[u8], &[u8])> = vec![(UID, &uid), (GID, &gid), (MODE, &mode)];
        let numbers = device.map(|device| {
            let device = u64::from(device);
            [libc::major(device).to_le_bytes(), libc::minor(device).to_le_bytes()].concat()
        });
        if let Some(numbers) = &numbers {
            list.push((DEVICE, numbers));
        }
        ea::encode(&list)
    }
    /// The group that a directory with the set-group-id bit gives to what is made in it.
    fn inherited_group(&self, client: &Client, parent: INodeNo) -> NtResult<Option<u32>> {
        let Some(path) = self.0.nodes.path(parent.0) else { return Ok(None) };
        let attr = self.0.stat_path(client, &path)?;
        Ok((attr.perm & 0o2000 != 0).then_some(attr.gid))
    }
    /// Creates a name, lets `shape` work on it, and tells what it is.
    #[expect(clippy::too_many_arguments, reason = "what the host asks for, each of its own type")]
    fn make(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        options: u32,
        device: Option<u32>,
        shape: impl FnOnce(&Client, Handle) -> NtResult<()>,
    ) -> Done<FileAttr> {
        let (units, path) = self.child(parent, name)?;
        let caller = self.caller(request)?;
        let attr = self.0.enter(&caller, |client| {
            let access = READ_ATTRIBUTES | READ_EA | WRITE_ATTRIBUTES | WRITE_EA | DELETE;
            let mut spec = self.0.spec(&path, access, options, CREATE);
            let group = self.inherited_group(client, parent)?;
            let directory = mode & libc::S_IFMT == libc::S_IFDIR && group.is_some();
            let mode = if directory { mode | 0o2000 } else { mode };
            spec.ea = Self::owner(request, group, mode, device);
            let (handle, _) = client.create(&spec)?;
            let done = shape(client, handle).and_then(|()| self.0.stat(client, handle));
            if done.is_err() {
                // The second step was refused: the name must not stay.
                client.set_information(handle, class::DISPOSITION, &[1])?;
            }
            client.close(handle)?;
            done
        })?;
        self.0.nodes.found(attr.ino.0, parent.0, &units);
        Ok(attr)
    }
    fn remove(&self, request: &Request, parent: INodeNo, name: &OsStr, options: u32) -> Done<()> {
        const DELETE_POSIX_READONLY: u32 = 1 | 2 | 0x10;
        let (units, path) = self.child(parent, name)?;
        let caller = self.caller(request)?;
        self.0.enter(&caller, |client| {
            self.0.at_path(client, &path, DELETE | READ_ATTRIBUTES, options, |handle| {
                client.set_information(handle, class::DISPOSITION_EX, &DELETE_POSIX_READONLY.to_le_bytes())
            })
        })?;
        self.0.nodes.unnamed(parent.0, &units);
        Ok(())
    }
    fn set_size(&self, client: &Client, handle: Handle, size: u64) -> NtResult<()> {
        client.set_information(handle, class::END_OF_FILE, &size.to_le_bytes())
    }
    fn apply(&self, client: &Client, handle: Handle, owner: &[(&[u8], [u8; 4])], times: [i64; 2]) -> NtResult<()> {
        if !owner.is_empty() {
            let list: Vec<(&[u8], &[u8])> = owner.iter().map(|(name, value)| (*name, value.as_slice())).collect();
            client.set_ea(handle, &ea::encode(&list).unwrap_or_default())?;
        }
        if times != [0, 0] {
            let mut basic = [0; 40];
            basic[8..16].copy_from_slice(&times[0].to_le_bytes());
            basic[16..24].copy_from_slice(&times[1].to_le_bytes());
            client.set_information(handle, class::BASIC, &basic)?;
        }
        Ok(())
    }
    fn time(&self, time: Option<TimeOrNow>) -> Done<i64> {
        match time {
            None => Ok(0),
            Some(TimeOrNow::Now) => Ok(self.0.machine.kernel().clock.system_time()),
            Some(TimeOrNow::SpecificTime(time)) => attr::to_nt(time).ok_or_else(|| Failure::host(libc::EINVAL)),
        }
    }
    /// The handle to write through: the open's own, or a second one when the O_APPEND flag was changed since.
    fn write_through(&self, client: &Client, open: &Open, append: bool) -> NtResult<(Handle, bool)> {
        match (open.append, append) {
            (true, false) => Ok((self.0.second(client, open, nt_machine::file::GENERIC_WRITE)?, false)),
            (_, append) => Ok((open.handle, append)),
        }
    }
    fn opened(&self, caller: Arc<Caller>, handle: Handle, node: u64, flags: i32) -> FileHandle {
        FileHandle(self.0.handles.insert(Open {
            caller,
            handle,
            node,
            append: flags & libc::O_APPEND != 0 && flags & libc::O_DIRECT == 0,
            writable: flags & libc::O_ACCMODE != libc::O_RDONLY,
            direct: flags & libc::O_DIRECT != 0,
            second: Default::default(),
            listing: Default::default(),
        }))
    }
}

/// Access and options of an open(2), as the door's table has them.
fn access_of(flags: i32) -> (u32, u32) {
    let direct = flags & libc::O_DIRECT != 0;
    // Noncached opens name the generic bits: APPEND_DATA named literally is refused with them (NT-A-10).
    let (read, write) = if direct {
        (0x8000_0000, 0x4000_0000)
    } else {
        (nt_machine::file::GENERIC_READ, nt_machine::file::GENERIC_WRITE)
    };
    let mut access = match flags & libc::O_ACCMODE {
        libc::O_WRONLY => write,
        libc::O_RDWR => read | write,
        _ => read,
    } | READ_ATTRIBUTES
        | READ_EA;
    if flags & libc::O_APPEND != 0 && !direct {
        access &= !WRITE_DATA;
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

fn rename_information(flags: u32, name: &[u16]) -> Vec<u8> {
    let mut information = vec![0; 20];
    information[0..4].copy_from_slice(&flags.to_le_bytes());
    information[16..20].copy_from_slice(&(name.len() as u32 * 2).to_le_bytes());
    information.extend(name.iter().flat_map(|unit| unit.to_le_bytes()));
    information.resize(information.len().max(24), 0);
    information
}

impl Filesystem for Operations {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for wanted in [InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP, InitFlags::FUSE_PARALLEL_DIROPS, InitFlags::FUSE_ASYNC_DIO]
        {
            // An older kernel lacks it: a shared mapping is then ENODEV.
            let _lacks = config.add_capabilities(wanted);
        }
        let _kept = config.set_max_write(1 << 20);
        let _kept = config.set_time_granularity(Duration::from_nanos(100));
        Ok(())
    }

    fn destroy(&mut self) {
        self.0.end();
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        answer!(reply, Context::Path, {
            let (units, path) = self.child(parent, name).map_err(|failure| match failure {
                Failure::Host(errno) if errno.code() == libc::EILSEQ => Failure::host(libc::ENOENT),
                other => other,
            })?;
            let caller = self.caller(request)?;
            let attr = self.0.enter(&caller, |client| self.0.stat_path(client, &path))?;
            self.0.nodes.found(attr.ino.0, parent.0, &units);
            Ok(attr)
        }, attr => reply.entry(&NO_CACHE, &attr, GENERATION));
    }

    fn forget(&self, _request: &Request, node: INodeNo, lookups: u64) {
        self.0.nodes.forget(node.0, lookups);
    }

    fn getattr(&self, request: &Request, node: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        answer!(reply, Context::Path, {
            if let Some(open) = fh.and_then(|fh| self.0.handles.get(fh.0)) {
                return Ok(self.0.enter(&open.caller, |client| self.0.stat(client, open.handle))?);
            }
            let caller = self.caller(request)?;
            let access = READ_ATTRIBUTES | READ_EA;
            Ok(self.0.on_node(&caller, node.0, access, |client, handle| self.0.stat(client, handle))?)
        }, attr => reply.attr(&NO_CACHE, &attr));
    }

    fn setattr(
        &self,
        request: &Request,
        node: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let owned = mode.is_some() || uid.is_some() || gid.is_some();
        let context = if owned { Context::Owner } else { Context::Path };
        answer!(reply, context, {
            let times = [self.time(atime)?, self.time(mtime)?];
            let mut owner: Vec<(&[u8], [u8; 4])> = Vec::new();
            for (name, value) in [(UID, uid), (GID, gid), (MODE, mode)] {
                owner.extend(value.map(|value| (name, value.to_le_bytes())));
            }
            if let (Some(open), Some(size)) = (fh.and_then(|fh| self.0.handles.get(fh.0)), size) {
                // An append-only handle may not set the size: its second one does.
                return Ok(self.0.enter(&open.caller, |client| {
                    let handle = match (open.writable, open.append) {
                        (true, false) => open.handle,
                        _ => self.0.second(client, &open, nt_machine::file::GENERIC_WRITE)?,
                    };
                    self.set_size(client, handle, size)?;
                    if !owner.is_empty() || times != [0, 0] {
                        let other = self.0.second(client, &open, nt_machine::file::GENERIC_WRITE)?;
                        self.apply(client, other, &owner, times)?;
                    }
                    self.0.stat(client, open.handle)
                })?);
            }
            let mut access = READ_ATTRIBUTES | READ_EA;
            access |= if size.is_some() { WRITE_DATA } else { 0 };
            access |= if owner.is_empty() { 0 } else { WRITE_EA };
            access |= if times == [0, 0] { 0 } else { WRITE_ATTRIBUTES };
            let caller = self.caller(request)?;
            Ok(self.0.on_node(&caller, node.0, access, |client, handle| {
                if let Some(size) = size {
                    self.set_size(client, handle, size)?;
                }
                if mode.is_some() {
                    // The type bits of a mode stay as they are.
                    let kind = attr::attributes(client, handle)?
                        .iter()
                        .find(|(name, value)| name == MODE && value.len() >= 4)
                        .map_or(0, |(_, value)| u32::from_le_bytes([value[0], value[1], value[2], value[3]]) & 0o170_000);
                    for (name, value) in &mut owner {
                        if *name == MODE {
                            *value = (u32::from_le_bytes(*value) & 0o7777 | kind).to_le_bytes();
                        }
                    }
                }
                self.apply(client, handle, &owner, times)?;
                self.0.stat(client, handle)
            })?)
        }, attr => reply.attr(&NO_CACHE, &attr));
    }

    fn readlink(&self, request: &Request, node: INodeNo, reply: ReplyData) {
        answer!(reply, Context::ReadLink, {
            let caller = self.caller(request)?;
            Ok(self.0.on_node(&caller, node.0, READ_ATTRIBUTES, |client, handle| {
                let (tag, data) = attr::reparse(client, handle)?;
                attr::target(tag, &data)
            })?)
        }, target => reply.data(&target));
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        answer!(reply, Context::Path, {
            let tag = match mode & libc::S_IFMT {
                libc::S_IFIFO => Some(attr::LX_FIFO),
                libc::S_IFSOCK => Some(attr::AF_UNIX),
                libc::S_IFCHR => Some(attr::LX_CHR),
                libc::S_IFBLK => Some(attr::LX_BLK),
                _ => None,
            };
            let device = matches!(mode & libc::S_IFMT, libc::S_IFCHR | libc::S_IFBLK).then_some(rdev);
            self.make(request, parent, name, mode, NON_DIRECTORY_FILE, device, |client, handle| match tag {
                None => Ok(()),
                Some(tag) => {
                    let data = [tag.to_le_bytes(), [0; 4]].concat();
                    client.control(handle, true, FSCTL_SET_REPARSE_POINT, &data, &mut []).map(|_| ())
                }
            })
        }, attr => reply.entry(&NO_CACHE, &attr, GENERATION));
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        answer!(reply, Context::Path, {
            let mode = mode & 0o7777 | libc::S_IFDIR;
            self.make(request, parent, name, mode, DIRECTORY_FILE, None, |_, _| Ok(()))
        }, attr => reply.entry(&NO_CACHE, &attr, GENERATION));
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, Context::Owner, self.remove(request, parent, name, NON_DIRECTORY_FILE), () => reply.ok());
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, Context::Owner, self.remove(request, parent, name, DIRECTORY_FILE), () => reply.ok());
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        answer!(reply, Context::Path, {
            let target = target.as_os_str().as_bytes();
            let length = u16::try_from(target.len() + 4).map_err(|_| Failure::host(libc::ENAMETOOLONG))?;
            let mut data = attr::LX_SYMLINK.to_le_bytes().to_vec();
            data.extend_from_slice(&length.to_le_bytes());
            data.extend_from_slice(&[0; 2]);
            data.extend_from_slice(&2u32.to_le_bytes());
            data.extend_from_slice(target);
            let mode = libc::S_IFLNK | 0o777;
            self.make(request, parent, name, mode, NON_DIRECTORY_FILE, None, |client, handle| {
                client.control(handle, true, FSCTL_SET_REPARSE_POINT, &data, &mut []).map(|_| ())
            })
        }, attr => reply.entry(&NO_CACHE, &attr, GENERATION));
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        const REPLACE: u32 = 1;
        const POSIX_IGNORE_READONLY: u32 = 2 | 0x40;
        answer!(reply, Context::Path, {
            if flags.intersects(RenameFlags::RENAME_EXCHANGE | RenameFlags::RENAME_WHITEOUT) {
                return Err(Failure::host(libc::EINVAL));
            }
            let (from, old) = self.child(parent, name)?;
            let (to, new) = self.child(newparent, newname)?;
            let replace = if flags.contains(RenameFlags::RENAME_NOREPLACE) { 0 } else { REPLACE };
            let caller = self.caller(request)?;
            let moved = self.0.enter(&caller, |client| {
                // Two links of one file: POSIX says success and nothing done.
                let id = |path: &[u16]| self.0.stat_path(client, path).map(|attr| attr.ino);
                if replace != 0 && old != new && id(&old)? == id(&new).unwrap_or(INodeNo(0)) {
                    return Ok(false);
                }
                self.0.at_path(client, &old, DELETE | READ_ATTRIBUTES, 0, |handle| {
                    let information = rename_information(replace | POSIX_IGNORE_READONLY, &self.0.full(&new));
                    client.set_information(handle, class::RENAME_EX, &information)
                })?;
                Ok(true)
            })?;
            if moved {
                self.0.nodes.renamed((parent.0, &from), (newparent.0, &to));
            }
            Ok(())
        }, () => reply.ok());
    }

    fn link(&self, request: &Request, node: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        answer!(reply, Context::Link, {
            let (units, path) = self.child(newparent, newname)?;
            let caller = self.caller(request)?;
            let access = WRITE_ATTRIBUTES | READ_ATTRIBUTES | READ_EA;
            let attr = self.0.on_node(&caller, node.0, access, |client, handle| {
                client.set_information(handle, class::LINK, &rename_information(0, &self.0.full(&path)))?;
                self.0.stat(client, handle)
            })?;
            self.0.nodes.found(attr.ino.0, newparent.0, &units);
            Ok(attr)
        }, attr => reply.entry(&NO_CACHE, &attr, GENERATION));
    }

    fn open(&self, request: &Request, node: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        answer!(reply, Context::Path, {
            let caller = self.caller(request)?;
            let path = self.0.nodes.path(node.0).ok_or_else(|| Failure::host(libc::ESTALE))?;
            let (access, options) = access_of(flags.0);
            let handle = self.0.enter(&caller, |client| self.0.open_path(client, &path, access, options, OPEN))?;
            Ok(self.opened(caller, handle, node.0, flags.0))
        }, fh => reply.opened(fh, FopenFlags::FOPEN_DIRECT_IO));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        answer!(reply, Context::Path, {
            let (units, path) = self.child(parent, name)?;
            let caller = self.caller(request)?;
            let (access, options) = access_of(flags);
            let disposition = if flags & libc::O_EXCL != 0 { CREATE } else { OPEN_IF };
            let (handle, attr) = self.0.enter(&caller, |client| {
                let mut spec = self.0.spec(&path, access, options, disposition);
                let group = self.inherited_group(client, parent)?;
                spec.ea = Self::owner(request, group, mode & 0o7777 | libc::S_IFREG, None);
                let (handle, _) = client.create(&spec)?;
                match self.0.stat(client, handle) {
                    Ok(attr) => Ok((handle, attr)),
                    Err(error) => {
                        client.close(handle)?;
                        Err(error)
                    }
                }
            })?;
            self.0.nodes.found(attr.ino.0, parent.0, &units);
            Ok((self.opened(caller, handle, attr.ino.0, flags), attr))
        }, (fh, attr) => reply.created(&NO_CACHE, &attr, GENERATION, fh, FopenFlags::FOPEN_DIRECT_IO));
    }

    fn read(
        &self,
        _request: &Request,
        _node: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        answer!(reply, Context::Data, {
            let open = self.open(fh)?;
            let offset = i64::try_from(offset).map_err(|_| Failure::host(libc::EINVAL))?;
            let mut bytes = vec![0; size as usize];
            let count = self.0.enter(&open.caller, |client| match client.read(open.handle, Some(offset), &mut bytes) {
                Err(error) if error.status() == NtStatus::END_OF_FILE => Ok(0),
                // Behind a last sector that is not whole, Linux says end of file where NT wants a sector's multiple.
                Err(error) if error.status() == NtStatus::INVALID_PARAMETER && open.direct => {
                    let size = self.0.stat(client, open.handle)?.size;
                    if offset as u64 >= size { Ok(0) } else { Err(error) }
                }
                other => other,
            })?;
            bytes.truncate(count);
            Ok(bytes)
        }, bytes => reply.data(&bytes));
    }

    fn write(
        &self,
        _request: &Request,
        node: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        answer!(reply, Context::Data, {
            let offset = i64::try_from(offset).map_err(|_| Failure::host(libc::EFBIG))?;
            if write_flags.contains(WriteFlags::FUSE_WRITE_CACHE) {
                // Pages of a mapping: the handle named is a guess of the kernel's, only its stream counts.
                let open = self.0.handles.get(fh.0).or_else(|| self.0.handles.of_node(node.0));
                let open = open.ok_or_else(|| Failure::host(libc::EIO))?;
                let system = Arc::clone(self.0.machine.processes().system());
                self.0.enter(&open.caller, |client| {
                    crate::caller::enter(&self.0.machine, &system, |system| {
                        client.paging_write(system, open.handle, offset, data)
                    })
                })?;
                return Ok(data.len() as u32);
            }
            let open = self.open(fh)?;
            let append = flags.0 & libc::O_APPEND != 0;
            let written = self.0.enter(&open.caller, |client| {
                let (handle, append) = self.write_through(client, &open, append)?;
                client.write(handle, Some(if append { -1 } else { offset }), data)
            })?;
            if write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID) {
                self.drop_privilege_bits(&open)?;
            }
            Ok(written as u32)
        }, written => reply.written(written));
    }

    fn flush(&self, _request: &Request, _node: INodeNo, _fh: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        // Nothing of ours waits behind a close: what was written is in the stream.
        reply.ok();
    }

    fn release(
        &self,
        _request: &Request,
        _node: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        answer!(reply, Context::Data, {
            let open = self.0.handles.remove(fh.0).ok_or_else(|| Failure::host(libc::EBADF))?;
            Ok(self.0.close(&open)?)
        }, () => reply.ok());
    }

    fn fsync(&self, _request: &Request, _node: INodeNo, fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        answer!(reply, Context::Data, {
            let open = self.open(fh)?;
            Ok(self.0.enter(&open.caller, |client| {
                if open.writable {
                    return client.flush(open.handle);
                }
                // NT refuses a read-only handle (NT-F-01), POSIX does not: a second one flushes; without a right to it there
                // is nothing of this program's to flush.
                match self.0.second(client, &open, nt_machine::file::GENERIC_WRITE) {
                    Ok(second) => client.flush(second),
                    Err(_) => Ok(()),
                }
            })?)
        }, () => reply.ok());
    }

    fn opendir(&self, request: &Request, node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        answer!(reply, Context::Path, {
            let caller = self.caller(request)?;
            let path = self.0.nodes.path(node.0).ok_or_else(|| Failure::host(libc::ESTALE))?;
            let access = READ_DATA | READ_ATTRIBUTES | READ_EA;
            let handle = self.0.enter(&caller, |client| self.0.open_path(client, &path, access, DIRECTORY_FILE, OPEN))?;
            Ok(self.opened(caller, handle, node.0, 0))
        }, fh => reply.opened(fh, FopenFlags::empty()));
    }

    fn readdir(&self, _request: &Request, _node: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = (|| -> Done<_> {
            let open = self.open(fh)?;
            if offset == 0 {
                let entries = self.0.enter(&open.caller, |client| self.0.list(client, &open))?;
                *open.listing.lock() = entries;
            }
            Ok(open)
        })();
        match listed {
            Err(failure) => reply.error(failure.errno(Context::Path)),
            Ok(open) => {
                let listing = open.listing.lock();
                for (index, entry) in listing.iter().enumerate().skip(offset as usize) {
                    if reply.add(INodeNo(entry.node), index as u64 + 1, entry.kind, OsStr::from_bytes(&entry.name)) {
                        break;
                    }
                }
                drop(listing);
                reply.ok();
            }
        }
    }

    fn releasedir(&self, request: &Request, node: INodeNo, fh: FileHandle, flags: OpenFlags, reply: ReplyEmpty) {
        self.release(request, node, fh, flags, None, false, reply);
    }

    fn fsyncdir(&self, _request: &Request, _node: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        // A directory's names are in the volume when the call that made them returned.
        reply.ok();
    }

    fn statfs(&self, request: &Request, _node: INodeNo, reply: ReplyStatfs) {
        const FULL_SIZE: u32 = 7;
        answer!(reply, Context::Path, {
            let caller = self.caller(request)?;
            let mut out = [0; 32];
            self.0.enter(&caller, |client| {
                self.0.at_path(client, &[], READ_ATTRIBUTES, 0, |handle| client.query_volume(handle, FULL_SIZE, &mut out))
            })?;
            let long = |at: usize| out[at..at + 8].first_chunk().map_or(0, |part| u64::from_le_bytes(*part));
            let word = |at: usize| out[at..at + 4].first_chunk().map_or(0, |part| u32::from_le_bytes(*part));
            Ok((long(0), long(16), long(8), word(24) * word(28)))
        }, (total, free, available, cluster) => reply.statfs(total, free, available, 0, 0, cluster, 255, cluster));
    }

    fn access(&self, _request: &Request, _node: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        // The kernel answers by mode and owner (default_permissions).
        reply.error(Errno::ENOSYS);
    }

    fn getxattr(&self, request: &Request, node: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        answer!(reply, Context::Attribute, {
            let encoded = posix::attribute_to_nt(name.as_bytes()).ok_or_else(|| Failure::host(libc::ENODATA))?;
            let list = self.xattrs(request, node)?;
            let value = list.into_iter().find(|(there, _)| *there == encoded).map(|(_, value)| value);
            let value = value.ok_or_else(|| Failure::host(libc::ENODATA))?;
            fits(value.get(1..).unwrap_or(&[]).to_vec(), size)
        }, value => sized(reply, &value, size));
    }

    fn listxattr(&self, request: &Request, node: INodeNo, size: u32, reply: ReplyXattr) {
        answer!(reply, Context::Attribute, {
            let mut names = Vec::new();
            for (name, _) in self.xattrs(request, node)? {
                if let Some(name) = posix::attribute_to_host(&name) {
                    names.extend_from_slice(&name);
                    names.push(0);
                }
            }
            fits(names, size)
        }, names => sized(reply, &names, size));
    }

    fn setxattr(
        &self,
        request: &Request,
        node: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        answer!(reply, Context::Attribute, {
            let encoded = posix::attribute_to_nt(name.as_bytes()).ok_or_else(|| Failure::host(libc::ENOTSUP))?;
            if encoded.len() > 254 {
                return Err(Failure::host(libc::ENAMETOOLONG));
            }
            let there = self.xattrs(request, node)?.iter().any(|(name, _)| *name == encoded);
            match (there, flags) {
                (true, libc::XATTR_CREATE) => return Err(Failure::host(libc::EEXIST)),
                (false, libc::XATTR_REPLACE) => return Err(Failure::host(libc::ENODATA)),
                _ => {}
            }
            let stored = [&[1], value].concat();
            let list = ea::encode(&[(&encoded, &stored)]).ok_or_else(|| Failure::host(libc::ENOSPC))?;
            let caller = self.caller(request)?;
            Ok(self.0.on_node(&caller, node.0, WRITE_EA, |client, handle| client.set_ea(handle, &list))?)
        }, () => reply.ok());
    }

    fn removexattr(&self, request: &Request, node: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, Context::Attribute, {
            let encoded = posix::attribute_to_nt(name.as_bytes()).ok_or_else(|| Failure::host(libc::ENOTSUP))?;
            if !self.xattrs(request, node)?.iter().any(|(name, _)| *name == encoded) {
                return Err(Failure::host(libc::ENODATA));
            }
            let list = ea::encode(&[(&encoded, &[])]).ok_or_else(|| Failure::host(libc::ENAMETOOLONG))?;
            let caller = self.caller(request)?;
            Ok(self.0.on_node(&caller, node.0, WRITE_EA, |client, handle| client.set_ea(handle, &list))?)
        }, () => reply.ok());
    }

    fn fallocate(
        &self,
        _request: &Request,
        _node: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        answer!(reply, Context::Data, {
            if mode & !libc::FALLOC_FL_KEEP_SIZE != 0 {
                return Err(Failure::host(libc::EOPNOTSUPP));
            }
            let end = offset.checked_add(length).ok_or_else(|| Failure::host(libc::EFBIG))?;
            let open = self.open(fh)?;
            Ok(self.0.enter(&open.caller, |client| {
                let handle = if open.append { self.0.second(client, &open, nt_machine::file::GENERIC_WRITE)? } else { open.handle };
                let mut standard = [0; 24];
                client.query_information(handle, class::STANDARD, &mut standard)?;
                let long = |at: usize| standard[at..at + 8].first_chunk().map_or(0, |part| u64::from_le_bytes(*part));
                // Never below the end of file: that would cut it (NT-I-11).
                if end > long(0) {
                    client.set_information(handle, class::ALLOCATION, &end.to_le_bytes())?;
                }
                if mode == 0 && end > long(8) {
                    self.set_size(client, handle, end)?;
                }
                Ok(())
            })?)
        }, () => reply.ok());
    }
}

fn fits(value: Vec<u8>, size: u32) -> Done<Vec<u8>> {
    if size != 0 && value.len() > size as usize { Err(Failure::host(libc::ERANGE)) } else { Ok(value) }
}

fn sized(reply: ReplyXattr, value: &[u8], size: u32) {
    if size == 0 { reply.size(value.len() as u32) } else { reply.data(value) }
}

impl Operations {
    fn xattrs(&self, request: &Request, node: INodeNo) -> Done<Vec<ea::Attribute>> {
        let caller = self.caller(request)?;
        Ok(self.0.on_node(&caller, node.0, READ_EA, attr::attributes)?)
    }

    /// A write by a program without the right to keep them drops set-user-id and, with group execution, set-group-id.
    fn drop_privilege_bits(&self, open: &Open) -> NtResult<()> {
        self.0.enter(&open.caller, |client| {
            let mode = u32::from(self.0.stat(client, open.handle)?.perm);
            let group = if mode & 0o010 != 0 { 0o2000 } else { 0 };
            let kept = mode & !0o4000 & !group;
            if kept == mode {
                return Ok(());
            }
            let second = self.0.second(client, open, nt_machine::file::GENERIC_WRITE)?;
            self.apply(client, second, &[(MODE, (kept | libc::S_IFREG).to_le_bytes())], [0, 0])
        })
    }
}
