//! The names in a directory of the host.
//!
//! Room: drivers/memfs. Called by: the driver, with the tree lock held where names change. Calls: `host`.
//! A name that is checked and then used may mean another file in between when the host changes it: the check is as close
//! to the use as the host's calls allow. Source: NT-NAM-14, NT-NAM-18, NT-NAM-19, NT-DIR-12.

use super::attributes::{self, Spot};
use super::host::{Access, CONFINED, Host, call, name, number, stat};
use super::object::{DirObject, node, of};
use super::status::error;
use super::streams;
use crate::backing::{Directory, Entry, New, Sizes};
use crate::node::{Node, Units, upcase};
use crate::shorts::Pair;
use nt_abi::{NtResult, NtStatus};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, RenameFlags};
use rustix::io::Errno;
use std::sync::Arc;

impl DirObject {
    /// Is it the volume's own: where streams lie?
    fn is_hidden(&self, name: &[u8]) -> bool {
        name == streams::FOLDER && self.0.id() == self.0.shared.root_id
    }

    fn lookup(&self, name: &[u8]) -> NtResult<Option<Arc<Node>>> {
        if self.is_hidden(name) {
            return NtStatus::ACCESS_DENIED.fail();
        }
        match self.0.find(name)? {
            None => Ok(None),
            Some((fd, stat)) => node(&Host::new(&self.0.shared, fd, Access::Path, &stat), &stat).map(Some),
        }
    }

    /// Calls `each` with every name as the host has it, "." and ".." left out, until it says stop.
    fn scan(&self, mut each: impl FnMut(&[u8]) -> bool) -> NtResult<()> {
        let base = self.0.base();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = call(|| rustix::fs::openat2(&base, ".", flags, Mode::empty(), CONFINED))
            .map_err(|errno| self.0.refused(errno))?;
        let mut buffer = Vec::with_capacity(32 << 10);
        let mut entries = RawDir::new(fd, buffer.spare_capacity_mut());
        while let Some(entry) = nt_ke::host_call(|| entries.next()) {
            match entry {
                Ok(entry) => {
                    let name = entry.file_name().to_bytes();
                    if name != b"." && name != b".." && !self.is_hidden(name) && !each(name) {
                        return Ok(());
                    }
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(error(errno)),
            }
        }
        Ok(())
    }

    fn make_file(&self, name: &[u8], mode: Option<u32>) -> NtResult<Arc<Node>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode.unwrap_or(0o666) & 0o777);
        let base = self.0.base();
        let fd = call(|| rustix::fs::openat2(&base, name, flags, mode, CONFINED));
        let fd = fd.map_err(|errno| self.0.refused(errno))?;
        let stat = stat(&fd, "").map_err(error)?;
        node(&Host::new(&self.0.shared, fd, Access::ReadWrite, &stat), &stat)
    }

    fn make_directory(&self, name: &[u8], mode: Option<u32>) -> NtResult<Arc<Node>> {
        let mode = Mode::from_raw_mode(mode.unwrap_or(0o777) & 0o777);
        let base = self.0.base();
        call(|| rustix::fs::mkdirat(&base, name, mode)).map_err(|errno| self.0.refused(errno))?;
        self.lookup(name)?.ok_or(NtStatus::OBJECT_NAME_NOT_FOUND.error())
    }
}

impl Directory for DirObject {
    fn child(&self, wanted: &[u16], exact: bool) -> NtResult<Option<(Units, Arc<Node>)>> {
        if let Some(node) = self.lookup(&name(wanted)?)? {
            return Ok(Some((wanted.to_vec(), node)));
        }
        if exact || attributes::minds_case(&self.0)? {
            return Ok(None);
        }
        let upper = upcase(wanted);
        let found = self.names()?.into_iter().filter(|name| upcase(name) == upper).min();
        match found {
            None => Ok(None),
            Some(there) => Ok(self.lookup(&name(&there)?)?.map(|node| (there, node))),
        }
    }

    fn names(&self) -> NtResult<Vec<Units>> {
        let mut names = Vec::new();
        self.scan(|name| {
            // What has no NT name cannot be shown: no path leads to it.
            names.extend(nt_rtl::posix::to_nt(name).ok());
            true
        })?;
        Ok(names)
    }

    fn kept_shorts(&self) -> NtResult<Vec<Pair>> {
        super::shorts::kept(&self.0)
    }

    fn keep_shorts(&self, pairs: &[Pair], anew: bool) -> NtResult<()> {
        super::shorts::keep(&self.0, pairs, anew)
    }

    fn entry(&self, units: &[u16]) -> NtResult<Option<Entry>> {
        let name = name(units)?;
        if self.is_hidden(&name) {
            return Ok(None);
        }
        let base = self.0.base();
        let stat = match stat(&base, name.as_slice()) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(self.0.refused(errno)),
        };
        let device = (stat.stx_dev_major, stat.stx_dev_minor);
        if device != self.0.shared.device || stat.stx_mnt_id != self.0.shared.mount {
            return Ok(None);
        }
        let spot = Spot::named(&base, &name);
        let meta = match self.0.shared.late.any().then(|| self.0.shared.live(stat.stx_ino)).flatten() {
            Some(node) => node.object.meta()?,
            None => attributes::meta(&stat, &spot)?,
        };
        let kind = FileType::from_raw_mode(u32::from(stat.stx_mode));
        let sizes = match kind {
            FileType::RegularFile => Sizes { eof: stat.stx_size, allocation: stat.stx_blocks * 512 },
            _ => Sizes::default(),
        };
        let ea_size = match super::reparse::tag(kind) {
            Some(tag) => tag,
            None => crate::ea::size(&attributes::list(&stat, &spot)?),
        };
        Ok(Some(Entry { id: number(&stat), meta, sizes, ea_size }))
    }

    fn is_empty(&self) -> NtResult<bool> {
        let mut empty = true;
        self.scan(|_| {
            empty = false;
            false
        })?;
        Ok(empty)
    }

    fn make(&self, units: &[u16], new: New) -> NtResult<Arc<Node>> {
        let name = name(units)?;
        let mode = attributes::mode_of(&new.eas);
        let node = if new.directory { self.make_directory(&name, mode) } else { self.make_file(&name, mode) }?;
        let host = of(&node)?;
        let dressed = attributes::set(host, new.eas, false)
            .and_then(|()| attributes::keep(host, Some(new.attributes), None))
            .and_then(|()| attributes::secure(host, &new.security));
        if let Err(error) = dressed {
            // Half a file is none: the name goes again.
            self.remove(units, &node)?;
            return Err(error);
        }
        host.named(&self.0);
        Ok(node)
    }

    fn lets_go(&self) -> NtResult<()> {
        use rustix::fs::{Access, accessat};
        let base = self.0.base();
        let asked = || accessat(&base, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS);
        match call(asked) {
            // A host that does not tell says so when the name is to go.
            Ok(()) | Err(Errno::NOSYS | Errno::INVAL) => Ok(()),
            Err(errno) => Err(self.0.refused(errno)),
        }
    }

    fn remove(&self, units: &[u16], node: &Arc<Node>) -> NtResult<bool> {
        let (name, host) = (name(units)?, of(node)?);
        if !self.0.leads_to(&name, host.id())? {
            return Ok(false);
        }
        let flags = if host.is_directory() { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        let base = self.0.base();
        match call(|| rustix::fs::unlinkat(&base, name.as_slice(), flags)) {
            Ok(()) => streams::unlinked(host).map(|()| true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.0.refused(errno)),
        }
    }

    fn link(&self, units: &[u16], node: &Arc<Node>, replaced: Option<&Arc<Node>>) -> NtResult<()> {
        let (name, host) = (name(units)?, of(node)?);
        let (link, base) = (host.link(), self.0.base());
        let linked = |to: &[u8]| call(|| rustix::fs::linkat(CWD, link.as_str(), &base, to, AtFlags::SYMLINK_FOLLOW));
        let done = match replaced {
            None => linked(&name),
            // The name that is there must not be gone when the link cannot be made.
            Some(_) => {
                let temporary = self.0.shared.temporary();
                linked(temporary.as_bytes()).and_then(|()| {
                    let placed = call(|| rustix::fs::renameat(&base, temporary.as_str(), &base, name.as_slice()));
                    if placed.is_err() {
                        let _gone = call(|| rustix::fs::unlinkat(&base, temporary.as_str(), AtFlags::empty()));
                    }
                    placed
                })
            }
        };
        done.map_err(|errno| self.0.refused(errno))?;
        host.named(&self.0);
        replaced.map_or(Ok(()), |there| streams::unlinked(of(there)?))
    }

    fn rename(
        &self,
        units: &[u16],
        node: &Arc<Node>,
        to: &Arc<Node>,
        new: &[u16],
        replaced: Option<&Arc<Node>>,
    ) -> NtResult<()> {
        let (old, new, host, target) = (name(units)?, name(new)?, of(node)?, of(to)?);
        if !self.0.leads_to(&old, host.id())? {
            return NtStatus::OBJECT_NAME_NOT_FOUND.fail();
        }
        let flags = if replaced.is_some() { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        let (from, into) = (self.0.base(), target.base());
        let rename = |flags| call(|| rustix::fs::renameat_with(&from, old.as_slice(), &into, new.as_slice(), flags));
        match rename(flags) {
            // Some file systems know no flags; whether the name is free was looked up before.
            Err(Errno::INVAL) if !flags.is_empty() => rename(RenameFlags::empty()),
            other => other,
        }
        .map_err(|errno| target.refused(errno))?;
        host.named(target);
        host.named(&self.0);
        replaced.map_or(Ok(()), |there| streams::unlinked(of(there)?))
    }
}
