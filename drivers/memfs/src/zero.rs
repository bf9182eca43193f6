//! FSCTL_SET_ZERO_DATA and FSCTL_QUERY_ALLOCATED_RANGES: ranges of a file that are zeroed, ranges that are there.
//!
//! Room: drivers/memfs. Called by: `fsctl`. IRQL: PASSIVE_LEVEL. Locks: the node's main lock, then its data. Source: the pages of
//! both codes: a file that is not sparse has all of its ranges, and zeroing changes neither its length nor what is allocated.

use crate::cached;
use crate::node::Node;
use nt_abi::{NtResult, NtStatus};

/// Zeroes `[start, beyond)` inside the file.
pub(crate) fn set_zero_data(node: &Node, start: i64, beyond: i64) -> NtResult<()> {
    let invalid = |_| NtStatus::INVALID_PARAMETER.error();
    let (start, beyond) = (u64::try_from(start).map_err(invalid)?, u64::try_from(beyond).map_err(invalid)?);
    if beyond < start || node.is_directory() {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    {
        let _main = node.main.exclusive()?;
        cached::make_way(node, start, beyond - start)?;
        let mut data = node.data.write();
        if !node.is_dirty() {
            data.refresh()?;
        }
        // Past the valid length the file reads as zero already.
        let end = beyond.min(data.valid);
        if start < end {
            data.content.zero(start, end)?;
        }
    }
    crate::node::wrote(node.fcb);
    node.date()
}

/// The part of `[start, start + length)` that lies in the file; `None` when none does.
pub(crate) fn allocated_range(node: &Node, start: i64, length: i64) -> NtResult<Option<(u64, u64)>> {
    let invalid = |_| NtStatus::INVALID_PARAMETER.error();
    let (start, length) = (u64::try_from(start).map_err(invalid)?, u64::try_from(length).map_err(invalid)?);
    if node.is_directory() {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let end = start.saturating_add(length).min(node.data.read().eof);
    Ok((start < end).then(|| (start, end - start)))
}
