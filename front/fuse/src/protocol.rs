//! The FUSE protocol as bytes: request headers in, answers out.
//!
//! Room: front/fuse. Called by: `session`, `ops`. Calls: nothing. Source: include/uapi/linux/fuse.h, protocol 7.31 and up
//! (numbers and offsets); Linux Documentation/filesystems/fuse.

use crate::attr::Attr;
use nt_cell::Region;

/// What a request asks for.
pub(crate) mod opcode {
    pub(crate) const LOOKUP: u32 = 1;
    pub(crate) const FORGET: u32 = 2;
    pub(crate) const GETATTR: u32 = 3;
    pub(crate) const SETATTR: u32 = 4;
    pub(crate) const READLINK: u32 = 5;
    pub(crate) const SYMLINK: u32 = 6;
    pub(crate) const MKNOD: u32 = 8;
    pub(crate) const MKDIR: u32 = 9;
    pub(crate) const UNLINK: u32 = 10;
    pub(crate) const RMDIR: u32 = 11;
    pub(crate) const RENAME: u32 = 12;
    pub(crate) const LINK: u32 = 13;
    pub(crate) const OPEN: u32 = 14;
    pub(crate) const READ: u32 = 15;
    pub(crate) const WRITE: u32 = 16;
    pub(crate) const STATFS: u32 = 17;
    pub(crate) const RELEASE: u32 = 18;
    pub(crate) const FSYNC: u32 = 20;
    pub(crate) const SETXATTR: u32 = 21;
    pub(crate) const GETXATTR: u32 = 22;
    pub(crate) const LISTXATTR: u32 = 23;
    pub(crate) const REMOVEXATTR: u32 = 24;
    pub(crate) const FLUSH: u32 = 25;
    pub(crate) const INIT: u32 = 26;
    pub(crate) const OPENDIR: u32 = 27;
    pub(crate) const READDIR: u32 = 28;
    pub(crate) const RELEASEDIR: u32 = 29;
    pub(crate) const FSYNCDIR: u32 = 30;
    pub(crate) const CREATE: u32 = 35;
    pub(crate) const INTERRUPT: u32 = 36;
    pub(crate) const DESTROY: u32 = 38;
    pub(crate) const BATCH_FORGET: u32 = 42;
    pub(crate) const FALLOCATE: u32 = 43;
    pub(crate) const RENAME2: u32 = 45;
    pub(crate) const LSEEK: u32 = 46;
    pub(crate) const SYNCFS: u32 = 50;
    pub(crate) const TMPFILE: u32 = 51;
    pub(crate) const STATX: u32 = 52;
}

/// The header of a request, 40 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) opcode: u32,
    pub(crate) unique: u64,
    pub(crate) node: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) pid: u32,
}

impl Header {
    /// What `struct fuse_in_header` takes.
    pub(crate) const LEN: usize = 40;

    /// Reads one; what is not there reads as zero.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let whole = Body(bytes);
        Self {
            opcode: whole.word(4),
            unique: whole.long(8),
            node: whole.long(16),
            uid: whole.word(24),
            gid: whole.word(28),
            pid: whole.word(32),
        }
    }
}

/// A request: its header and what follows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) header: Header,
    body: &'a [u8],
    /// A WRITE's bytes, in the user arena.
    pub(crate) data: Region,
    /// Memory of the user arena that is the request's while it is served; its data, if it has any, lies there.
    pub(crate) room: Region,
}

impl<'a> Request<'a> {
    /// Reads one; `None` when the bytes are not one.
    pub(crate) fn read(bytes: &'a [u8], data: Region, room: Region) -> Option<Self> {
        if bytes.len() < Header::LEN || Body(bytes).word(0) as usize != bytes.len() + data.len() {
            return None;
        }
        // Extensions (groups, security context) would follow the body; none were asked for.
        Some(Self { header: Header::read(bytes), body: &bytes[Header::LEN..], data, room })
    }
    pub(crate) const fn body(&self) -> Body<'a> {
        Body(self.body)
    }
}

/// What a request is answered with.
#[derive(Debug)]
pub(crate) enum Reply {
    Bytes(Vec<u8>),
    /// So many bytes of the request's room.
    Room(usize),
}

/// The part behind the header. What is not there reads as zero: older kernels send shorter ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    pub(crate) fn word(self, at: usize) -> u32 {
        self.0.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |part| u32::from_le_bytes(*part))
    }
    pub(crate) fn long(self, at: usize) -> u64 {
        self.0.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |part| u64::from_le_bytes(*part))
    }
    pub(crate) fn bytes(self, at: usize, len: usize) -> &'a [u8] {
        self.0.get(at..at.saturating_add(len)).unwrap_or(&[])
    }
    /// The name that begins at `at` and ends with a zero; and where the next begins.
    pub(crate) fn name(self, at: usize) -> (&'a [u8], usize) {
        let rest = self.0.get(at..).unwrap_or(&[]);
        let len = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
        (&rest[..len], at + len + 1)
    }
}

/// Bytes of an answer, written in order.
#[derive(Debug, Default)]
pub(crate) struct Answer(Vec<u8>);

impl Answer {
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(160))
    }
    /// `struct fuse_out_header` in front of `len` bytes.
    pub(crate) fn head(of: &Header, len: usize, error: i32) -> [u8; 16] {
        let mut head = [0; 16];
        head[..4].copy_from_slice(&(16 + len as u32).to_le_bytes());
        head[4..8].copy_from_slice(&error.to_le_bytes());
        head[8..].copy_from_slice(&of.unique.to_le_bytes());
        head
    }
    pub(crate) fn half(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    pub(crate) fn word(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    pub(crate) fn long(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    pub(crate) fn zeroes(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }
    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }
    /// `struct fuse_attr`, 88 bytes.
    fn attr(self, attr: &Attr) -> Self {
        let times = [attr.accessed, attr.written, attr.changed].map(crate::attr::to_host);
        let answer = self.long(attr.node).long(attr.size).long(attr.blocks);
        let answer = times.iter().fold(answer, |answer, time| answer.long(time.0 as u64));
        let answer = times.iter().fold(answer, |answer, time| answer.word(time.1));
        answer.word(attr.mode).word(attr.links).word(attr.uid).word(attr.gid).word(attr.device).word(4096).word(0)
    }
    /// `struct fuse_attr_out`: valid for no time.
    pub(crate) fn attributes(attr: &Attr) -> Vec<u8> {
        Self::new().zeroes(16).attr(attr).done()
    }
    /// `struct fuse_entry_out`: generation 0, valid for no time.
    pub(crate) fn entry(attr: &Attr) -> Self {
        Self::new().long(attr.node).zeroes(32).attr(attr)
    }
    /// `struct fuse_open_out`.
    pub(crate) fn opened(self, fh: u64, flags: u32) -> Vec<u8> {
        self.long(fh).word(flags).word(0).done()
    }
    /// `struct fuse_statx_out`: the basic fields and the time of birth.
    pub(crate) fn statx(attr: &Attr) -> Vec<u8> {
        const BASIC_AND_BIRTH: u32 = 0x7FF | 0x800;
        let answer = Self::new().zeroes(32).word(BASIC_AND_BIRTH).word(4096).long(0);
        let answer = answer.word(attr.links).word(attr.uid).word(attr.gid).half(attr.mode as u16).half(0);
        let answer = answer.long(attr.node).long(attr.size).long(attr.blocks).long(0);
        let times = [attr.accessed, attr.created, attr.changed, attr.written].map(crate::attr::to_host);
        let answer = times.iter().fold(answer, |answer, time| answer.long(time.0 as u64).word(time.1).word(0));
        let device = u64::from(attr.device);
        answer.word(libc::major(device)).word(libc::minor(device)).zeroes(8 + 14 * 8).done()
    }
}

/// Adds a `struct fuse_dirent` if it fits; tells whether it did.
pub(crate) fn add_entry(list: &mut Vec<u8>, most: usize, node: u64, next: u64, kind: u32, name: &[u8]) -> bool {
    let len = (24 + name.len()).next_multiple_of(8);
    if list.len() + len > most {
        return false;
    }
    let end = list.len() + len;
    for part in [
        &node.to_le_bytes()[..],
        &next.to_le_bytes(),
        &(name.len() as u32).to_le_bytes(),
        &(kind >> 12).to_le_bytes(),
        name,
    ] {
        list.extend_from_slice(part);
    }
    list.resize(end, 0);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_the_sizes_of_the_header_file() {
        let attr = Attr::default();
        assert_eq!(Answer::attributes(&attr).len(), 104);
        assert_eq!(Answer::entry(&attr).done().len(), 128);
        assert_eq!(Answer::entry(&attr).opened(1, 0).len(), 144);
        assert_eq!(Answer::statx(&attr).len(), 288);
        let mut list = Vec::new();
        assert!(add_entry(&mut list, 32, 1, 1, libc::S_IFREG, b"12345678"));
        assert_eq!((list.len(), list[20]), (32, libc::DT_REG));
        assert!(!add_entry(&mut list, 63, 1, 1, libc::S_IFREG, b"1"));
    }

    #[test]
    fn a_request_is_read_or_refused() {
        let mut bytes = vec![0; 40];
        bytes.extend_from_slice(b"old\0new\0");
        bytes[0] = 48;
        bytes[4] = 12;
        fn read(bytes: &[u8]) -> Option<Request<'_>> {
            Request::read(bytes, Region::EMPTY, Region::EMPTY)
        }
        let request = read(&bytes).expect("whole");
        let (old, next) = request.body().name(0);
        assert_eq!((request.header.opcode, old, request.body().name(next).0), (12, &b"old"[..], &b"new"[..]));
        assert_eq!((request.body().long(100), request.body().name(100).0), (0, &b""[..]));
        bytes.push(0);
        assert!(read(&bytes).is_none() && read(&bytes[..10]).is_none());
    }
}
