//! How named streams go: by disposition, with their last handle, with the file's overwriting.
//!
//! Room: drivers/memfs. Called by: `naming`, `cleanup`, `create`. IRQL: PASSIVE_LEVEL. Locks: the tree, held by the caller, but for
//! what is buried. Source: FSA 2.1.5.15.3; rules NT-STR-10, NT-STR-14, NT-DEL-31, NT-CC-74.

use crate::link::Mark;
use crate::node::{Node, Open};
use nt_abi::io::FILE_OBJECT;
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;
use nt_section::doors;
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

/// The file that a stream belongs to has lost its last name: the bytes that nobody has open go now, those of an open stream
/// with its last handle (NT-CC-74). The section goes too, with the file object that it holds; its IRP_MJ_CLOSE may lead anywhere,
/// so the caller holds no lock.
fn bury(stream: &Node) -> NtResult<()> {
    if stream.sharing.lock().handles == 0 {
        stream.discard()?;
        let _views_go_on = stream.is_mapped() || doors::force_section_closed(stream.sections());
    }
    Ok(())
}

/// As [`bury`], of all named streams of a file.
pub(crate) fn bury_all(file: &Node) -> NtResult<()> {
    file.live_streams().iter().try_for_each(|stream| bury(stream))
}

/// A file has given a name up to another: if that was its last one, [`bury`] for it and its streams.
pub(crate) fn replaced(file: &Node) -> NtResult<()> {
    if !file.is_directory() {
        if !file.is_gone()? {
            return Ok(());
        }
        bury(file)?;
    }
    bury_all(file)
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
            stream.discard()?;
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
