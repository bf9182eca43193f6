//! How named streams go: by disposition, with their last handle, with the file's overwriting.
//!
//! Room: drivers/memfs. Called by: `naming`, `cleanup`, `create`. IRQL: PASSIVE_LEVEL. Locks: the tree, held by the caller.
//! Source: FSA 2.1.5.15.3; rules NT-STR-10, NT-STR-14, NT-DEL-31.

use crate::link::Mark;
use crate::node::{Node, Open};
use nt_abi::io::FILE_OBJECT;
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;
use std::sync::Arc;

/// Marks the stream of an open, or takes the mark off.
pub(crate) fn dispose(file: Foreign<FILE_OBJECT>, open: &Open, delete: bool, posix: bool) -> NtResult<()> {
    let Some(named) = &open.node.named else { return NtStatus::INVALID_PARAMETER.fail() };
    let mut fate = named.fate.lock();
    if fate.gone {
        return NtStatus::FILE_DELETED.fail();
    }
    fate.mark = match (delete, posix) {
        (false, _) => Mark::None,
        (true, false) => Mark::Classic,
        (true, true) => Mark::Posix(file.addr()),
    };
    Ok(())
}

/// A handle goes; tells whether the stream that it was of goes too. Nothing of a `dead` mount does.
pub(crate) fn leave(file: Foreign<FILE_OBJECT>, open: &Open, dead: bool) -> NtResult<bool> {
    let Some(named) = &open.node.named else { return Ok(false) };
    {
        let mut fate = named.fate.lock();
        fate.opens -= 1;
        if dead {
            return Ok(false);
        }
        let last = fate.opens == 0;
        if *open.delete_on_close.lock() && fate.mark == Mark::None {
            fate.mark = Mark::Classic;
        }
        let now = fate.mark == Mark::Posix(file.addr()) || (last && fate.mark != Mark::None);
        if fate.gone || !now {
            return Ok(false);
        }
    }
    remove(open.file(), &open.node)?;
    Ok(true)
}

fn remove(file: &Node, stream: &Arc<Node>) -> NtResult<()> {
    go(file, stream)?;
    super::touch(file)
}

/// Takes a stream out of its file.
pub(super) fn go(file: &Node, stream: &Arc<Node>) -> NtResult<()> {
    file.streams()?.remove_stream(stream)?;
    if let Some(named) = &stream.named {
        named.fate.lock().gone = true;
    }
    Ok(())
}

/// The bytes of a stream that nobody has open will not be asked for: their room is free, and the lazy writer writes none.
fn cut(stream: &Node) -> NtResult<()> {
    if stream.object.is_shared_with_the_host() {
        return Ok(()); // the host frees it
    }
    let _main = stream.main.exclusive()?;
    stream.empty()?;
    stream.tell_cache();
    Ok(())
}

/// The file's last name went: so do the bytes of its streams, those of an open one with its last handle.
pub(crate) fn cut_all(file: &Node) -> NtResult<()> {
    let is_closed = |stream: &Arc<Node>| stream.named.as_ref().is_some_and(|named| !named.is_open());
    file.live_streams().iter().filter(|stream| is_closed(stream)).try_for_each(|stream| cut(stream))
}

/// The file is overwritten: its streams go, an open one with its last handle (NT-STR-10).
pub(crate) fn drop_all(file: &Node) -> NtResult<()> {
    let mut open = Vec::new();
    for stream in file.live_streams() {
        let Some(named) = &stream.named else { continue };
        let mut fate = named.fate.lock();
        if fate.opens != 0 {
            if fate.mark == Mark::None {
                fate.mark = Mark::Classic;
            }
            drop(fate);
            open.push(stream);
        } else {
            fate.gone = true;
            drop(fate);
            cut(&stream)?;
        }
    }
    file.streams()?.remove_streams_but(&open)
}

/// May a file with these streams give its name up to another (NT-REN-06, NT-REN-11)?
pub(crate) fn may_be_replaced(file: &Node, posix: bool) -> NtResult<()> {
    for stream in file.live_streams() {
        let sharing = stream.sharing.lock();
        if posix && !sharing.counts.lets_delete() {
            return NtStatus::SHARING_VIOLATION.fail();
        }
        if !posix && sharing.handles != 0 {
            return NtStatus::ACCESS_DENIED.fail();
        }
    }
    Ok(())
}
