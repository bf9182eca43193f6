//! Operations on names: find, make, remove, rename, link, list.
//!
//! Room: front/fuse. Called by: `dispatch`. Calls: `door`. Locks: none held across a request.
//! Source: docs of the POSIX door, sections 3 and 5. Nothing is cached by the kernel: each lookup is a request that filters see.

use crate::attr::{self, Attr, DEVICE, GID, MODE, UID};
use crate::data::{DIRECT_IO, access_of};
use crate::dispatch::{Ask, Done, Failure, Operations};
use crate::door::*;
use crate::handle::GONE;
use crate::protocol::{Answer, add_entry};
use nt_abi::io::FSCTL_SET_REPARSE_POINT;
use nt_io::info::class;
use nt_machine::{Client, Handle, NtResult, NtStatus, ea};
use std::sync::atomic::{AtomicU64, Ordering};

/// Begins the name of a file that has none for programs (O_TMPFILE).
const HIDDEN: &[u8] = b".ntio-tmp-";

/// Owner and mode for a new file, as the attributes that WSL uses.
fn owner(ask: Ask, group: Option<u32>, mode: u32, device: Option<u32>) -> Option<Vec<u8>> {
    let (uid, gid, mode) = (ask.uid.to_le_bytes(), group.unwrap_or(ask.gid).to_le_bytes(), mode.to_le_bytes());
    let numbers = device.map(u64::from).map(|device| [libc::major(device), libc::minor(device)].map(u32::to_le_bytes));
    let numbers = numbers.as_ref().map_or(&[][..], |numbers| numbers.as_flattened());
    let list: [(&[u8], &[u8]); 4] = [(UID, &uid), (GID, &gid), (MODE, &mode), (DEVICE, numbers)];
    ea::encode(if device.is_some() { &list } else { &list[..3] })
}

/// What is to be made.
struct New {
    /// Type and permissions.
    mode: u32,
    options: u32,
    device: Option<u32>,
}

impl Operations {
    pub(crate) fn lookup(&self, ask: Ask) -> Done {
        let (name, _) = ask.body.name(0);
        if name.starts_with(HIDDEN) {
            return Err(Failure::Host(libc::ENOENT));
        }
        // A name that cannot be is a name that is not there.
        let (units, path) = self.child(ask.node, name).map_err(|failure| match failure {
            Failure::Host(libc::EILSEQ) => Failure::Host(libc::ENOENT),
            other => other,
        })?;
        let caller = self.caller(ask)?;
        let attr = self.door.enter(&caller, |client| self.door.stat_path(client, &path))?;
        self.found(&attr, ask.node, &units)
    }

    /// Notes a name and tells the kernel.
    fn found(&self, attr: &Attr, parent: u64, units: &[u16]) -> Done {
        self.door.nodes.found(attr.node, attr.size, parent, units);
        self.told(attr);
        Ok(Answer::entry(attr).done())
    }

    /// Notes what the kernel is told of a directory.
    pub(crate) fn told(&self, attr: &Attr) {
        if attr.kind() == libc::S_IFDIR {
            self.door.nodes.told(attr);
        }
    }

    /// Creates a name, lets `shape` work on it, and tells what it is.
    fn make(&self, ask: Ask, name: &[u8], new: &New, shape: impl FnOnce(&Client, Handle) -> NtResult<()>) -> Done {
        let (units, path) = self.child(ask.node, name)?;
        let caller = self.caller(ask)?;
        let attr = self.door.enter(&caller, |client| {
            let access = READ_ATTRIBUTES | READ_EA | WRITE_ATTRIBUTES | WRITE_EA | DELETE;
            let mut spec = self.door.spec(&path, access, new.options, CREATE);
            let group = self.door.nodes.given(ask.node);
            let directory = new.mode & libc::S_IFMT == libc::S_IFDIR && group.is_some();
            let mode = if directory { new.mode | 0o2000 } else { new.mode };
            spec.ea = owner(ask, group, mode, new.device);
            let (handle, _) = client.create(&spec)?;
            let done = shape(client, handle).and_then(|()| self.door.stat(client, handle));
            if done.is_err() {
                // The second step was refused: the name must not stay.
                client.set_information(handle, class::DISPOSITION, &[1])?;
            }
            client.close(handle)?;
            done
        })?;
        self.found(&attr, ask.node, &units)
    }

    pub(crate) fn mknod(&self, ask: Ask) -> Done {
        let (mode, device) = (ask.body.word(0), ask.body.word(4));
        let tag = match mode & libc::S_IFMT {
            libc::S_IFIFO => Some(attr::LX_FIFO),
            libc::S_IFSOCK => Some(attr::AF_UNIX),
            libc::S_IFCHR => Some(attr::LX_CHR),
            libc::S_IFBLK => Some(attr::LX_BLK),
            _ => None,
        };
        let device = matches!(mode & libc::S_IFMT, libc::S_IFCHR | libc::S_IFBLK).then_some(device);
        let new = New { mode, options: NON_DIRECTORY_FILE, device };
        self.make(ask, ask.body.name(16).0, &new, |client, handle| match tag {
            None => Ok(()),
            Some(tag) => {
                let data = [tag.to_le_bytes(), [0; 4]].concat();
                client.control(handle, true, FSCTL_SET_REPARSE_POINT, &data, &mut []).map(|_| ())
            }
        })
    }

    pub(crate) fn mkdir(&self, ask: Ask) -> Done {
        let mode = ask.body.word(0) & 0o7777 | libc::S_IFDIR;
        self.make(ask, ask.body.name(8).0, &New { mode, options: DIRECTORY_FILE, device: None }, |_, _| Ok(()))
    }

    pub(crate) fn symlink(&self, ask: Ask) -> Done {
        let (name, next) = ask.body.name(0);
        let (target, _) = ask.body.name(next);
        let length = u16::try_from(target.len() + 4).map_err(|_| Failure::Host(libc::ENAMETOOLONG))?;
        let mut data = attr::LX_SYMLINK.to_le_bytes().to_vec();
        data.extend_from_slice(&length.to_le_bytes());
        data.extend_from_slice(&[0; 2]);
        data.extend_from_slice(&2u32.to_le_bytes());
        data.extend_from_slice(target);
        let new = New { mode: libc::S_IFLNK | 0o777, options: NON_DIRECTORY_FILE, device: None };
        self.make(ask, name, &new, |client, handle| {
            client.control(handle, true, FSCTL_SET_REPARSE_POINT, &data, &mut []).map(|_| ())
        })
    }

    pub(crate) fn readlink(&self, ask: Ask) -> Done {
        let caller = self.caller(ask)?;
        Ok(self.door.on_node(&caller, ask.node, READ_ATTRIBUTES, |client, handle| self.door.target(client, handle))?)
    }

    pub(crate) fn unlink(&self, ask: Ask) -> Done {
        self.remove(ask, NON_DIRECTORY_FILE)
    }

    pub(crate) fn rmdir(&self, ask: Ask) -> Done {
        self.remove(ask, DIRECTORY_FILE)
    }

    fn remove(&self, ask: Ask, options: u32) -> Done {
        let (units, path) = self.child(ask.node, ask.body.name(0).0)?;
        let caller = self.caller(ask)?;
        self.door.enter(&caller, |client| self.door.delete(client, &path, options))?;
        self.door.nodes.unnamed(ask.node, &units);
        Ok(Vec::new())
    }

    pub(crate) fn rename(&self, ask: Ask, flags: u32, names: usize) -> Done {
        const POSIX: u32 = 2;
        const REPLACE_IGNORE_READONLY: u32 = 1 | 0x40;
        // EXCHANGE would be three renames that others see, WHITEOUT has no NT word.
        if flags & !libc::RENAME_NOREPLACE != 0 {
            return Err(Failure::Host(libc::EINVAL));
        }
        let (name, next) = ask.body.name(names);
        let parent = ask.body.long(0);
        let (from, old) = self.child(ask.node, name)?;
        let (to, new) = self.child(parent, ask.body.name(next).0)?;
        let replace = if flags & libc::RENAME_NOREPLACE != 0 { 0 } else { REPLACE_IGNORE_READONLY };
        let caller = self.caller(ask)?;
        let moved = self.door.enter(&caller, |client| {
            // Two links of one file: POSIX says success and nothing done.
            let id = |path: &[u16]| self.door.stat_path(client, path).map(|attr| attr.node);
            if replace != 0 && old != new && id(&old)? == id(&new).unwrap_or(0) {
                return Ok(false);
            }
            self.door.at_path(client, &old, DELETE | READ_ATTRIBUTES, 0, |handle| {
                let information = rename_information(replace | POSIX, &self.door.full(&new));
                client.set_information(handle, class::RENAME_EX, &information)
            })?;
            Ok(true)
        })?;
        if moved {
            self.door.nodes.renamed((ask.node, &from), (parent, &to));
        }
        Ok(Vec::new())
    }

    pub(crate) fn link(&self, ask: Ask) -> Done {
        let (units, path) = self.child(ask.node, ask.body.name(8).0)?;
        let caller = self.caller(ask)?;
        let access = WRITE_ATTRIBUTES | READ_ATTRIBUTES | READ_EA;
        let attr = self.door.on_node(&caller, ask.body.long(0), access, |client, handle| {
            client.set_information(handle, class::LINK, &rename_information(0, &self.door.full(&path)))?;
            self.door.stat(client, handle)
        })?;
        self.found(&attr, ask.node, &units)
    }

    pub(crate) fn create(&self, ask: Ask) -> Done {
        self.create_as(ask, ask.body.name(16).0, false)
    }

    /// O_TMPFILE: a file under a name that programs do not see, removed when it is closed; linkat gives it one that stays.
    pub(crate) fn tmpfile(&self, ask: Ask) -> Done {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = [HIDDEN, format!("{:x}-{number:x}", std::process::id()).as_bytes()].concat();
        self.create_as(ask, &name, true)
    }

    fn create_as(&self, ask: Ask, name: &[u8], hidden: bool) -> Done {
        let (flags, mode) = (ask.body.word(0) as i32, ask.body.word(4));
        let (units, path) = self.child(ask.node, name)?;
        let caller = self.caller(ask)?;
        let (access, options) = access_of(flags);
        let disposition = if hidden || flags & libc::O_EXCL != 0 { CREATE } else { OPEN_IF };
        let (handle, attr) = self.door.enter(&caller, |client| {
            let mut spec = match disposition {
                CREATE => self.door.spec(&path, access, options, disposition),
                _ => self.door.through(&path, access, options, disposition),
            };
            spec.ea = owner(ask, self.door.nodes.given(ask.node), mode & 0o7777 | libc::S_IFREG, None);
            let (handle, _) = client.create(&spec)?;
            match self.door.stat(client, handle) {
                Ok(attr) => Ok((handle, attr)),
                Err(error) => {
                    client.close(handle)?;
                    Err(error)
                }
            }
        })?;
        self.door.nodes.found(attr.node, attr.size, ask.node, &units);
        let fh = self.opened(caller, handle, attr.node, flags, hidden.then_some(path));
        Ok(Answer::entry(&attr).opened(fh, DIRECT_IO))
    }

    pub(crate) fn opendir(&self, ask: Ask) -> Done {
        let caller = self.caller(ask)?;
        let Some(path) = self.door.nodes.path(ask.node) else {
            // NT opens nothing that has no name; there is nothing in it either.
            return match self.door.nodes.gone(ask.node) {
                Some(_) => Ok(Answer::new().opened(GONE, 0)),
                None => Err(Failure::Host(libc::ESTALE)),
            };
        };
        let access = READ_DATA | READ_ATTRIBUTES | READ_EA;
        let spec = self.door.through(&path, access, DIRECTORY_FILE, OPEN);
        let (handle, _) = self.door.enter(&caller, |client| client.create(&spec))?;
        Ok(Answer::new().opened(self.opened(caller, handle, ask.node, 0, None), 0))
    }

    pub(crate) fn readdir(&self, ask: Ask) -> Done {
        let (offset, most) = (ask.body.long(8) as usize, ask.body.word(16) as usize);
        if ask.body.long(0) == GONE {
            return Ok(Vec::new());
        }
        let open = self.handle(ask.body.long(0))?;
        if offset == 0 {
            let entries = self.on_open(&open, |client| self.door.list(client, &open))?;
            *open.listing.lock() = entries;
        }
        let mut list = Vec::with_capacity(most);
        for (index, entry) in open.listing.lock().iter().enumerate().skip(offset) {
            if entry.name.starts_with(HIDDEN) {
                continue;
            }
            if !add_entry(&mut list, most, entry.node, index as u64 + 1, entry.kind, &entry.name) {
                break;
            }
        }
        Ok(list)
    }

    /// A directory's names are in the volume when the call that made them returned; a backing may have to be told to keep them.
    pub(crate) fn fsyncdir(&self, ask: Ask) -> Done {
        const ADD_FILE: u32 = 2;
        if ask.body.long(0) == GONE {
            return Ok(Vec::new());
        }
        let open = self.handle(ask.body.long(0))?;
        self.on_open(&open, |client| {
            let Some(path) = self.door.nodes.path(open.node) else { return Ok(()) };
            let flushed = self.door.at_path(client, &path, ADD_FILE, DIRECTORY_FILE, |handle| client.flush(handle));
            match flushed {
                // A program that may not add names here has none of its own to keep; FAT has no such flush.
                Err(error)
                    if matches!(
                        error.status(),
                        NtStatus::ACCESS_DENIED | NtStatus::INVALID_DEVICE_REQUEST | NtStatus::INVALID_PARAMETER
                    ) =>
                {
                    Ok(())
                }
                other => other,
            }
        })?;
        Ok(Vec::new())
    }
}

fn rename_information(flags: u32, name: &[u16]) -> Vec<u8> {
    let mut information = vec![0; 20];
    information[0..4].copy_from_slice(&flags.to_le_bytes());
    information[16..20].copy_from_slice(&(name.len() as u32 * 2).to_le_bytes());
    information.extend(name.iter().flat_map(|unit| unit.to_le_bytes()));
    information.resize(information.len().max(24), 0);
    information
}
