//! Opening and making named streams, and who may have what of a file open at a time.
//!
//! Room: drivers/memfs. Called by: `create`. IRQL: PASSIVE_LEVEL. Locks: the tree, held by the caller; the nodes' sharing, one
//! at a time. Source: rules NT-STR-04 to NT-STR-08, NT-SHR-05.

use crate::node::Node;
use nt_abi::io::{FILE_ATTRIBUTE_READONLY, FILE_OPEN, FILE_OVERWRITE};
use nt_abi::{NtResult, NtStatus};
use nt_io::share::Share;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The stream of a file; made if it is not there and the disposition allows that. Tells whether it was made.
pub(crate) fn find_or_make(
    file: &Arc<Node>,
    name: &[u16],
    exact: bool,
    disposition: u32,
    may_be_made: impl FnOnce() -> NtResult<()>,
) -> NtResult<(Arc<Node>, bool)> {
    let streams = file.streams()?;
    if let Some(stream) = streams.find_stream(file, name, exact)? {
        if stream.named.as_ref().is_some_and(|named| named.is_pending()) {
            return NtStatus::DELETE_PENDING.fail(); // NT-STR-10
        }
        file.streamed.store(true, Ordering::Relaxed);
        return Ok((stream, false));
    }
    if matches!(disposition, FILE_OPEN | FILE_OVERWRITE) {
        return NtStatus::OBJECT_NAME_NOT_FOUND.fail(); // NT-STR-05
    }
    if !file.is_directory() && file.object.meta()?.attributes & FILE_ATTRIBUTE_READONLY != 0 {
        return NtStatus::ACCESS_DENIED.fail();
    }
    may_be_made()?;
    let stream = streams.make_stream(file, name)?;
    file.streamed.store(true, Ordering::Relaxed);
    super::touch(file)?;
    Ok((stream, true))
}

/// An open that made the stream failed: it goes again.
pub(crate) fn unmake(file: &Node, stream: &Arc<Node>) {
    if let Ok(streams) = file.streams() {
        let _told_by_the_open = streams.remove_stream(stream);
    }
}

/// A file cannot be deleted under an open of one of its streams that does not share delete (NT-SHR-05).
pub(crate) fn couples(node: &Node, part: Share) -> NtResult<()> {
    let refused = match &node.named {
        Some(named) => !part.lets_delete() && named.file()?.sharing.lock().counts.has_deleters(),
        None if part.deletes() => node.live_streams().iter().any(|stream| !stream.sharing.lock().counts.lets_delete()),
        None => false,
    };
    if refused { NtStatus::SHARING_VIOLATION.fail() } else { Ok(()) }
}
