//! Sparse streams: their holes, and the controls that make, fill and list them.
//!
//! Room: drivers/memfs. Called by: `fsctl`, `create`. Calls: the backing, `cached`. IRQL: PASSIVE_LEVEL. Locks: the node's
//! main lock, then its data. Source: FSCTL_SET_SPARSE, FSCTL_SET_ZERO_DATA and FSCTL_QUERY_ALLOCATED_RANGES pages; MS-FSA
//! 2.1.5.10.22, .38, .39; rules NT-SPA.
//! Not here: where a write takes the room for a hole (`Data::make_room`).

use crate::node::{Node, Open, Volume};
use crate::{cached, notice};
use nt_abi::io::{
    FILE_APPEND_DATA, FILE_ATTRIBUTE_SPARSE_FILE, FILE_NOTIFY_CHANGE_ATTRIBUTES, FILE_OBJECT, FILE_WRITE_ATTRIBUTES,
    FILE_WRITE_DATA,
};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;
use nt_fsrtl::filelock;
use nt_trace::rule;
use std::sync::atomic::Ordering;

/// What a hole of a `ram` volume is made of, as on NTFS: 16 clusters.
pub(crate) const UNIT: u64 = 64 << 10;

impl Node {
    /// Notes at an open that the file was made sparse, maybe before this mount.
    pub(crate) fn recall_sparse(&self, attributes: u32) {
        let marked = attributes & FILE_ATTRIBUTE_SPARSE_FILE != 0 && self.object.is_shared_with_the_host();
        if marked && self.named.is_none() && !self.is_directory() && !self.sparse.load(Ordering::Relaxed) {
            let mut data = self.data.write();
            data.sparse = true;
            self.publish(&data);
        }
    }

    /// Is some stream of this file sparse?
    fn any_sparse(&self) -> NtResult<bool> {
        if self.data.read().sparse {
            return Ok(true);
        }
        let streams = self.streams()?;
        Ok(streams.streams_live().iter().any(|stream| stream.data.read().sparse)
            || streams.streams_listed()?.iter().any(|(_, sizes)| sizes.lack_room()))
    }
}

/// FSCTL_SET_SPARSE: makes the stream sparse, or fills its holes.
pub(crate) fn set(volume: &Volume, open: &Open, sparse: bool) -> NtResult<()> {
    const MAY: u32 = FILE_WRITE_DATA | FILE_APPEND_DATA | FILE_WRITE_ATTRIBUTES;
    let node = &open.node;
    if node.is_directory() {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if open.access & MAY == 0 {
        return NtStatus::ACCESS_DENIED.fail();
    }
    if !volume.backing.keeps_holes() {
        rule!(NT_SPA_05);
        return NtStatus::INVALID_DEVICE_REQUEST.fail();
    }
    {
        let _main = node.main.exclusive()?;
        if node.object.is_shared_with_the_host() {
            node.flush_range(0, u64::MAX)?; // only what has come to the host has its holes there
        }
        let mut data = node.data.write();
        data.refresh()?;
        if data.sparse != sparse {
            data.set_sparse(sparse)?;
            node.publish(&data);
        }
    }
    let file = open.file();
    let (before, now) = {
        let _tree = volume.tree.lock();
        let before = file.object.meta()?.attributes & FILE_ATTRIBUTE_SPARSE_FILE != 0;
        let now = sparse || file.any_sparse()?; // NT-SPA-20
        if before != now || (sparse && file.object.is_shared_with_the_host()) {
            file.object.mark_sparse(now)?;
        }
        (before, now)
    };
    if before != now {
        notice::modified(open, FILE_NOTIFY_CHANGE_ATTRIBUTES);
    }
    Ok(())
}

fn offsets(first: i64, second: i64) -> NtResult<(u64, u64)> {
    let invalid = |_| NtStatus::INVALID_PARAMETER.error();
    Ok((u64::try_from(first).map_err(invalid)?, u64::try_from(second).map_err(invalid)?))
}

/// FSCTL_SET_ZERO_DATA: zeroes `[start, beyond)` inside the stream, and frees what it can of a sparse one.
pub(crate) fn set_zero_data(file: Foreign<FILE_OBJECT>, node: &Node, start: i64, beyond: i64) -> NtResult<()> {
    let (start, beyond) = offsets(start, beyond)?;
    if beyond < start || node.is_directory() {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    {
        let _main = node.main.exclusive()?;
        {
            let mut data = node.data.write();
            if !node.is_dirty() {
                data.refresh()?;
            }
            node.publish(&data);
        }
        let end = beyond.min(node.data.read().eof);
        if start >= end {
            return Ok(());
        }
        let length = end - start;
        if !filelock::may_write(node.lock(), start, length, filelock::caller(file, 0)) {
            rule!(NT_SPA_12);
            return NtStatus::FILE_LOCK_CONFLICT.fail();
        }
        if cached::leave_cache(node, start, length) {
            zero_medium(node, start, end)?;
            if node.is_cached() {
                // A page that was read in meanwhile has the old bytes.
                let _what_is_locked_stays = nt_cc::purge(node.sections(), Some((start, length)));
            }
        } else {
            // A view looks at the pages, or somebody has locked them: they are zeroed where they are (NT-SPA-18).
            let valid = node.data.read().valid;
            cached::start(file, node)?;
            nt_cc::zero_data(file, start, end.min(valid).max(start), true)?;
        }
    }
    crate::node::wrote(node.fcb);
    node.date()
}

/// Zeroes a range that the cache does not hold.
fn zero_medium(node: &Node, start: u64, end: u64) -> NtResult<()> {
    let mut data = node.data.write();
    if data.sparse {
        let eof = data.eof;
        data.allocation = data.content.punch(start, end, eof)?;
        node.publish(&data);
        return Ok(());
    }
    // Past the valid length the file reads as zero already.
    let end = end.min(data.valid);
    if start < end { data.content.blank(start, end) } else { Ok(()) }
}

/// FSCTL_QUERY_ALLOCATED_RANGES: tells `each` the allocated parts of `[start, start + length)` inside the stream, in order,
/// as long as it wants more.
pub(crate) fn allocated_ranges(
    node: &Node,
    start: i64,
    length: i64,
    mut each: impl FnMut(u64, u64) -> NtResult<bool>,
) -> NtResult<()> {
    if start.checked_add(length).is_none() || node.is_directory() {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let (start, length) = offsets(start, length)?;
    node.refresh()?;
    let _main = node.main.shared()?;
    if node.sparse.load(Ordering::Relaxed) && node.object.is_shared_with_the_host() {
        node.flush_range(start, length)?; // the host tells of what it has
    }
    let data = node.data.read();
    let (mut at, end) = (start, (start + length).min(data.eof));
    while at < end {
        let range = if data.sparse { data.content.allocated(at, end)? } else { Some((at, end)) };
        let Some((from, to)) = range else { break };
        if !each(from, to)? {
            break;
        }
        at = to;
    }
    Ok(())
}
