//! Operations on what a file is: attributes, owner, mode, times, size; extended attributes.
//!
//! Room: front/fuse. Called by: `dispatch`. Calls: `door`. Locks: none held across a request.
//! Source: docs of the POSIX door, sections 3 and 5.

use crate::attr::{self, Attr, GID, MODE, UID};
use crate::dispatch::{Ask, Done, Failure, Operations};
use crate::door::*;
use crate::errno::Context;
use crate::protocol::{Answer, Body};
use crate::streams;
use nt_io::info::class;
use nt_machine::file::GENERIC_WRITE;
use nt_machine::{Client, Handle, NtResult, ea};
use nt_rtl::posix;

/// Which members of a SETATTR count.
mod valid {
    pub(super) const MODE: u32 = 1;
    pub(super) const UID: u32 = 2;
    pub(super) const GID: u32 = 4;
    pub(super) const SIZE: u32 = 8;
    pub(super) const ATIME: u32 = 0x10;
    pub(super) const MTIME: u32 = 0x20;
    pub(super) const FH: u32 = 0x40;
    pub(super) const ATIME_NOW: u32 = 0x80;
    pub(super) const MTIME_NOW: u32 = 0x100;
}

/// A change, read from a SETATTR.
struct Change {
    size: Option<u64>,
    owner: Vec<(&'static [u8], [u8; 4])>,
    times: [i64; 2],
}

impl Operations {
    pub(crate) fn getattr(&self, ask: Ask) -> Done {
        const BY_HANDLE: u32 = 1;
        Ok(Answer::attributes(&self.attr(ask, ask.body.word(0) & BY_HANDLE != 0, ask.body.long(8))?))
    }

    pub(crate) fn statx(&self, ask: Ask) -> Done {
        const BY_HANDLE: u32 = 1;
        Ok(Answer::statx(&self.attr(ask, ask.body.word(0) & BY_HANDLE != 0, ask.body.long(8))?))
    }

    fn attr(&self, ask: Ask, by_handle: bool, fh: u64) -> Done<Attr> {
        let mut attr = match self.door.handles.get(fh).filter(|_| by_handle) {
            Some(open) => self.on_open(&open, |client| self.door.stat(client, open.handle))?,
            None => {
                let caller = self.caller(ask)?;
                self.door.stat_node(&caller, ask.node)?
            }
        };
        self.told(&attr);
        // The name that a nameless file has does not count.
        attr.links -= u32::from(attr.links > 0 && self.door.handles.is_hidden(ask.node));
        Ok(attr)
    }

    /// In the order size, owner and mode, times; a refusal half-way leaves the former done.
    pub(crate) fn setattr(&self, ask: Ask) -> (Context, Done) {
        let valid = ask.body.word(0);
        let owned = valid & (valid::MODE | valid::UID | valid::GID) != 0;
        let context = if owned { Context::Owner } else { Context::Path };
        let changed = self.change(ask, valid).inspect(|attr| self.told(attr));
        (context, changed.map(|attr| Answer::attributes(&attr)))
    }

    fn read_change(&self, body: Body, valid: u32) -> Done<Change> {
        let time = |set: u32, now: u32, seconds: usize, part: usize| {
            if valid & now != 0 {
                Ok(self.door.machine.kernel().clock.system_time())
            } else if valid & set != 0 {
                attr::to_nt(body.long(seconds) as i64, body.word(part)).ok_or(Failure::Host(libc::EINVAL))
            } else {
                Ok(0)
            }
        };
        let times = [time(valid::ATIME, valid::ATIME_NOW, 32, 56)?, time(valid::MTIME, valid::MTIME_NOW, 40, 60)?];
        let mut owner: Vec<(&'static [u8], [u8; 4])> = Vec::new();
        for (bit, name, at) in [(valid::UID, UID, 76), (valid::GID, GID, 80), (valid::MODE, MODE, 68)] {
            if valid & bit != 0 {
                owner.push((name, body.word(at).to_le_bytes()));
            }
        }
        Ok(Change { size: (valid & valid::SIZE != 0).then(|| body.long(16)), owner, times })
    }

    fn change(&self, ask: Ask, valid: u32) -> Done<Attr> {
        let Change { size, mut owner, times } = self.read_change(ask.body, valid)?;
        let by_handle = if valid & valid::FH != 0 { self.door.handles.get(ask.body.long(8)) } else { None };
        if let (Some(open), Some(size)) = (by_handle, size) {
            // An append-only handle may not set the size: its second one does.
            return Ok(self.on_open(&open, |client| {
                let handle = self.writer(client, &open)?;
                self.resize(client, handle, open.node, size)?;
                if !owner.is_empty() || times != [0, 0] {
                    let other = self.door.second(client, &open, GENERIC_WRITE)?;
                    self.keep_type(client, other, &mut owner)?;
                    self.apply(client, other, &owner, times)?;
                }
                self.door.stat(client, open.handle)
            })?);
        }
        let mut access = READ_ATTRIBUTES | READ_EA;
        access |= if size.is_some() { WRITE_DATA } else { 0 };
        access |= if owner.is_empty() { 0 } else { WRITE_EA };
        access |= if times == [0, 0] { 0 } else { WRITE_ATTRIBUTES };
        let caller = self.caller(ask)?;
        Ok(self.door.on_node(&caller, ask.node, access, |client, handle| {
            if let Some(size) = size {
                self.resize(client, handle, ask.node, size)?;
            }
            self.keep_type(client, handle, &mut owner)?;
            self.apply(client, handle, &owner, times)?;
            self.door.stat(client, handle)
        })?)
    }

    /// The type bits of a mode stay as they are.
    fn keep_type(&self, client: &Client, handle: Handle, owner: &mut [(&[u8], [u8; 4])]) -> NtResult<()> {
        let Some((_, value)) = owner.iter_mut().find(|(name, _)| *name == MODE) else { return Ok(()) };
        let kind = attr::attributes(client, handle)?
            .iter()
            .find_map(|(name, value)| if name == MODE { value.first_chunk().copied() } else { None })
            .map_or(0, |there| u32::from_le_bytes(there) & libc::S_IFMT);
        *value = (u32::from_le_bytes(*value) & 0o7777 | kind).to_le_bytes();
        Ok(())
    }

    pub(crate) fn apply(
        &self,
        client: &Client,
        handle: Handle,
        owner: &[(&[u8], [u8; 4])],
        times: [i64; 2],
    ) -> NtResult<()> {
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

    fn xattrs(&self, ask: Ask) -> Done<Vec<ea::Attribute>> {
        let caller = self.caller(ask)?;
        Ok(self.door.on_node(&caller, ask.node, READ_EA, attr::attributes)?)
    }

    pub(crate) fn getxattr(&self, ask: Ask) -> Done {
        if let Some(stream) = streams::of_attribute(ask.body.name(8).0) {
            return sized(self.stream(ask, stream)?, ask.body.word(0));
        }
        // Families that there are not are answered without an open: the kernel asks for some before many writes.
        let encoded = posix::attribute_to_nt(ask.body.name(8).0).ok_or(Failure::Host(libc::ENODATA))?;
        let value = self.xattrs(ask)?.into_iter().find(|(there, _)| *there == encoded).map(|(_, value)| value);
        let value = value.ok_or(Failure::Host(libc::ENODATA))?;
        sized(value.get(1..).unwrap_or(&[]).to_vec(), ask.body.word(0))
    }

    pub(crate) fn listxattr(&self, ask: Ask) -> Done {
        let caller = self.caller(ask)?;
        let names = self.door.on_node(&caller, ask.node, READ_EA, |client, handle| {
            let attributes = attr::attributes(client, handle)?;
            let mut names: Vec<Vec<u8>> =
                attributes.iter().filter_map(|(name, _)| posix::attribute_to_host(name)).collect();
            names.extend(streams::names(client, handle));
            Ok(names)
        })?;
        let list: Vec<u8> = names.into_iter().flat_map(|name| name.into_iter().chain([0])).collect();
        sized(list, ask.body.word(0))
    }

    pub(crate) fn setxattr(&self, ask: Ask) -> Done {
        let (size, flags) = (ask.body.word(0) as usize, ask.body.word(4) as i32);
        let (name, next) = ask.body.name(8);
        let value = ask.body.bytes(next, size);
        if streams::of_attribute(name).is_some() {
            return Err(Failure::Host(libc::EPERM)); // NT-STR-18: read only
        }
        let encoded = posix::attribute_to_nt(name).ok_or_else(|| unknown(name))?;
        if encoded.len() > 254 {
            return Err(Failure::Host(libc::ENAMETOOLONG));
        }
        let there = self.xattrs(ask)?.iter().any(|(name, _)| *name == encoded);
        match (there, flags) {
            (true, libc::XATTR_CREATE) => return Err(Failure::Host(libc::EEXIST)),
            (false, libc::XATTR_REPLACE) => return Err(Failure::Host(libc::ENODATA)),
            _ => {}
        }
        let stored = [&[1], value].concat();
        let list = ea::encode(&[(&encoded, &stored)]).ok_or(Failure::Host(libc::ENOSPC))?;
        self.set_xattr(ask, &list)
    }

    pub(crate) fn removexattr(&self, ask: Ask) -> Done {
        let (name, _) = ask.body.name(0);
        if streams::of_attribute(name).is_some() {
            return Err(Failure::Host(libc::EPERM));
        }
        let encoded = posix::attribute_to_nt(name).ok_or_else(|| unknown(name))?;
        if !self.xattrs(ask)?.iter().any(|(name, _)| *name == encoded) {
            return Err(Failure::Host(libc::ENODATA));
        }
        let list = ea::encode(&[(&encoded, &[])]).ok_or(Failure::Host(libc::ENAMETOOLONG))?;
        self.set_xattr(ask, &list)
    }

    fn set_xattr(&self, ask: Ask, list: &[u8]) -> Done {
        let caller = self.caller(ask)?;
        self.door.on_node(&caller, ask.node, WRITE_EA, |client, handle| client.set_ea(handle, list))?;
        Ok(Vec::new())
    }
}

/// Why a name can be neither set nor removed: its family is not there, or it ends with its family.
fn unknown(name: &[u8]) -> Failure {
    Failure::Host(if name == b"user." { libc::EINVAL } else { libc::ENOTSUP })
}

/// A value, or its size for who asked with no room.
fn sized(value: Vec<u8>, room: u32) -> Done {
    match room as usize {
        0 => Ok(Answer::new().word(value.len() as u32).word(0).done()),
        room if room < value.len() => Err(Failure::Host(libc::ERANGE)),
        _ => Ok(value),
    }
}
