//! FileRenameInformation of a stream.
//!
//! Room: drivers/memfs. Called by: `fileinfo`. IRQL: PASSIVE_LEVEL. Locks: the tree, throughout.
//! Source: FSA 2.1.5.15.11.1; FILE_RENAME_INFORMATION page; rules NT-REN-34, NT-LNK-11.

use super::name::{Part, part};
use crate::naming::Kind;
use crate::node::{Node, Open, Volume, upcase};
use nt_abi::{NtResult, NtStatus};
use std::sync::Arc;

const COLON: u16 = b':' as u16;
const REPLACE: u32 = 1;
const VALID_FLAGS: u32 = 0x1FF;

/// Is it a stream that this rename or link is about?
pub(crate) fn concerns(open: &Open, name: &[u16]) -> bool {
    open.node.named.is_some() || name.first() == Some(&COLON)
}

/// Gives a stream another name within its file.
pub(crate) fn rename(volume: &Volume, open: &Open, name: &[u16], flags: u32, kind: Kind) -> NtResult<()> {
    let invalid = || NtStatus::INVALID_PARAMETER.error();
    let Some((&COLON, name)) = name.split_first() else { return Err(invalid()) };
    if flags & !VALID_FLAGS != 0 || kind == Kind::Link {
        return Err(invalid()); // NT-LNK-11
    }
    let new = match part(name).map_err(|_| invalid())? {
        Part::Stream(new) => new,
        Part::Unnamed => Vec::new(),
        _ => return Err(invalid()),
    };
    let _tree = volume.tree.lock();
    if open.is_pending() {
        return NtStatus::ACCESS_DENIED.fail(); // NT-REN-28
    }
    let (stream, file) = (&open.node, open.file());
    let Some(named) = &stream.named else { return NtStatus::INVALID_PARAMETER.fail() };
    let old = named.name();
    if old == new {
        return Ok(());
    }
    if new.is_empty() {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let streams = file.streams()?;
    if upcase(&old) != upcase(&new)
        && let Some(there) = streams.find_stream(file, &new, false)?
    {
        make_way(file, &there, flags)?;
    }
    streams.rename_stream(stream, &new)?;
    named.set_name(&new);
    crate::notice::stream_moved(open, &old);
    super::touch(file)
}

/// Only an empty stream that nobody has open is replaced.
fn make_way(file: &Arc<Node>, there: &Arc<Node>, flags: u32) -> NtResult<()> {
    if flags & REPLACE == 0 {
        return NtStatus::OBJECT_NAME_COLLISION.fail();
    }
    if there.named.as_ref().is_some_and(|named| named.is_open()) || there.data.read().eof != 0 {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    file.streams()?.remove_stream(there)
}
