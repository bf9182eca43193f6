//! Named streams of a file as extended attributes: `user.ntio.stream.NAME`, to be listed and read.
//!
//! Room: front/fuse. Called by: `attributes`. Calls: `door`. Locks: none held across a request.
//! Source: docs of the POSIX door; rule NT-STR-18. A program cannot name a stream otherwise: a colon in its names is a plain
//! character. A stream whose name has no such form, or is longer than an attribute's may be, is not listed.

use crate::dispatch::{Ask, Done, Failure, Operations};
use crate::door::{OPEN, READ_ATTRIBUTES, READ_DATA, SYNCHRONIZE, SYNCHRONOUS};
use nt_io::create::CreateSpec;
use nt_io::info::class;
use nt_machine::{Client, Handle, NtResult};

const PREFIX: &[u8] = b"user.ntio.stream.";
/// The longest name of an attribute, and the largest value, that Linux takes.
const LONGEST_NAME: usize = 255;
const LARGEST: u64 = 64 << 10;
const HEADER: usize = 24;

/// The stream that an attribute's name means.
pub(crate) fn of_attribute(name: &[u8]) -> Option<&[u8]> {
    name.strip_prefix(PREFIX)
}

/// The attributes' names for the streams of an open file.
pub(crate) fn names(client: &Client, handle: Handle) -> Vec<Vec<u8>> {
    let mut list = vec![0; 64 << 10];
    // A file system that knows no streams says so in its own way.
    let Ok(used) = client.query_information(handle, class::STREAM, &mut list) else { return Vec::new() };
    let word =
        |at: usize| list.get(at..at + 4).and_then(|bytes| bytes.first_chunk()).map_or(0, |it| u32::from_le_bytes(*it));
    let (mut names, mut at) = (Vec::new(), 0);
    while at + HEADER <= used {
        let (next, length) = (word(at) as usize, word(at + 4) as usize);
        let raw = list.get(at + HEADER..at + HEADER + length).unwrap_or(&[]);
        let units = nt_rtl::unicode::units_of(raw);
        let name = String::from_utf16(&units).ok();
        let name = name.as_deref().and_then(|name| name.strip_prefix(':')?.strip_suffix(":$DATA"));
        let attribute = name.filter(|name| !name.is_empty()).map(|name| [PREFIX, name.as_bytes()].concat());
        names.extend(attribute.filter(|attribute| attribute.len() <= LONGEST_NAME));
        match next {
            0 => break,
            next => at += next,
        }
    }
    names
}

fn read(client: &Client, stream: Handle) -> NtResult<Option<Vec<u8>>> {
    let mut standard = [0; 24];
    client.query_information(stream, class::STANDARD, &mut standard)?;
    let size = standard[8..16].first_chunk().map_or(0, |size| u64::from_le_bytes(*size));
    if size > LARGEST {
        return Ok(None);
    }
    let mut bytes = vec![0; size as usize];
    if !bytes.is_empty() {
        let count = client.read(stream, Some(0), &mut bytes)?;
        bytes.truncate(count);
    }
    Ok(Some(bytes))
}

impl Operations {
    /// The bytes of a stream.
    pub(crate) fn stream(&self, ask: Ask, name: &[u8]) -> Done<Vec<u8>> {
        let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty() && !name.contains(':'));
        let name = name.ok_or(Failure::Host(libc::ENODATA))?;
        let caller = self.caller(ask)?;
        let found = self.door.on_node(&caller, ask.node, READ_ATTRIBUTES, |client, root| {
            let spec = CreateSpec {
                access: READ_DATA | SYNCHRONIZE,
                root,
                name: format!(":{name}").encode_utf16().collect(),
                attributes: 0,
                disposition: OPEN,
                options: SYNCHRONOUS,
                ..CreateSpec::default()
            };
            if !names(client, root).iter().any(|there| of_attribute(there) == Some(name.as_bytes())) {
                return Ok(Err(libc::ENODATA));
            }
            let (stream, _) = client.create(&spec)?;
            let bytes = read(client, stream);
            client.close(stream)?;
            Ok(bytes?.ok_or(libc::E2BIG))
        })?;
        found.map_err(Failure::Host)
    }
}
