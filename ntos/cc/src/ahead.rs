//! Read-ahead: one transfer in front of a reader that reads in sequence.
//!
//! Room: ntos/cc. Called by: `copy`. IRQL: PASSIVE_LEVEL, in a system worker thread. Locks: the file system's, by
//! AcquireForReadAhead. Source: CcSetReadAheadGranularity page; rule NT-CC-52.

use crate::layout::PRIVATE_CACHE_MAP;
use crate::manager::Manager;
use crate::map::CacheMap;
use crate::pages::PAGE;
use nt_abi::io::{FILE_OBJECT, FO_RANDOM_ACCESS, FO_SEQUENTIAL_ONLY};
use nt_cell::Foreign;
use nt_ke::work::WorkQueue;
use std::sync::Arc;

/// The least that is read ahead.
const LEAST: u64 = 64 << 10;

/// CcSetReadAheadGranularity: a power of two, not less than a page.
pub fn set_granularity(file: Foreign<FILE_OBJECT>, granularity: u32) {
    if let Some(private) = file.ptr(FILE_OBJECT::PrivateCacheMap) {
        private.view::<PRIVATE_CACHE_MAP>().set(PRIVATE_CACHE_MAP::ReadAheadMask, granularity.wrapping_sub(1));
    }
}

/// Notes a read; the second in sequence starts the worker.
pub(crate) fn note_read(map: &Arc<CacheMap>, file: Foreign<FILE_OBJECT>, start: u64, length: u64) {
    if !map.manager.read_ahead()
        || !map.read_ahead.load(std::sync::atomic::Ordering::Relaxed)
        || file.get(FILE_OBJECT::Flags) & FO_RANDOM_ACCESS != 0
    {
        return;
    }
    let Some(private) = file.ptr(FILE_OBJECT::PrivateCacheMap).map(Foreign::view::<PRIVATE_CACHE_MAP>) else { return };
    let (former, end) = (private.get(PRIVATE_CACHE_MAP::BeyondLastByte2), start + length);
    private.set(PRIVATE_CACHE_MAP::FileOffset1, private.get(PRIVATE_CACHE_MAP::FileOffset2));
    private.set(PRIVATE_CACHE_MAP::BeyondLastByte1, former);
    private.set(PRIVATE_CACHE_MAP::FileOffset2, start as i64);
    private.set(PRIVATE_CACHE_MAP::BeyondLastByte2, end as i64);
    let sequential = former != 0 && former as u64 == start;
    let count = if sequential { private.get(PRIVATE_CACHE_MAP::SequentialReadCount) + 1 } else { 0 };
    private.set(PRIVATE_CACHE_MAP::SequentialReadCount, count);
    if count == 0 {
        return;
    }
    let only = file.get(FILE_OBJECT::Flags) & FO_SEQUENTIAL_ONLY != 0;
    let step = (u64::from(private.get(PRIVATE_CACHE_MAP::ReadAheadMask)) + 1).max(LEAST).max(length);
    let target = end + if only { 2 * step } else { step };
    let reached = private.get(PRIVATE_CACHE_MAP::ReadAheadBeyondLastByte) as u64;
    if target < reached.saturating_add(step / 2) {
        return; // the former transfer reaches far enough
    }
    private.set(PRIVATE_CACHE_MAP::ReadAheadBeyondLastByte, target as i64);
    schedule(map, end, target);
}

/// CcScheduleReadAhead: reads `[start, end)` in by a worker; errors are dropped.
pub(crate) fn schedule(map: &Arc<CacheMap>, start: u64, end: u64) {
    let map = Arc::clone(map);
    let Some(kernel) = map.manager.kernel() else { return };
    let _manager = Manager::of(&kernel);
    WorkQueue::queue(&kernel, move || {
        let Some(callbacks) = map.callbacks() else { return };
        if !callbacks.acquire_for_read_ahead() {
            return;
        }
        let frame = nt_ke::current();
        while map.opens() != 0 && map.page_in(&frame, start / PAGE, end.div_ceil(PAGE)).is_ok_and(|more| more) {}
        callbacks.release_from_read_ahead();
    });
}
