//! Transfers through the cache, and what keeps the cache and the medium in step.
//!
//! Room: drivers/memfs. Called by: `read`, `write`, `cleanup`, `fileinfo`, `create`, `stream`. Calls: `nt_cc`. IRQL: PASSIVE_LEVEL.
//! Locks: the node's main lock, exclusively where a size moves; the data lock only between calls of the cache, because a
//! paging request that a call leads to takes it. Source: cc.md sections 3, 4, 7, 9, 10; rules NT-CC-02, NT-CC-10 to
//! NT-CC-12, NT-CC-17, NT-CC-45, NT-CC-46, NT-CC-53, NT-CC-55, NT-CC-58, NT-CC-60, NT-CC-74, NT-S-10 to NT-S-13, NT-N-07.

use crate::SECTOR;
use crate::node::{Data, FCB, Node};
use crate::straight;
use crate::write::{APPEND, Written, end_of, place};
use nt_abi::io::{FILE_OBJECT, FO_CLEANUP_COMPLETE};
use nt_abi::mm::{MDL, SECTION_OBJECT_POINTERS};
use nt_abi::{NtResult, NtStatus};
use nt_cc::{CacheClient, CacheMap, Callbacks, Policy, Sizes};
use nt_cell::{Foreign, Region};
use nt_trace::rule;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A gap longer than this is left to the medium, which has zeros there already (NT-CC-17).
const LONG_GAP: u64 = 1 << 20;

/// What the cache asks of this file system: no paging request needs a lock that it does not take itself.
struct Client(Policy);

impl CacheClient for Client {
    fn acquire_for_lazy_write(&self, _wait: bool) -> bool {
        true
    }
    fn release_from_lazy_write(&self) {}
    fn policy(&self) -> Policy {
        self.0
    }
}

fn sizes(data: &Data) -> Sizes {
    Sizes { allocation: data.allocation.max(data.eof), file: data.eof, valid: data.valid }
}

impl Node {
    pub(crate) fn sections(&self) -> Foreign<SECTION_OBJECT_POINTERS> {
        self.fcb.at(FCB::Sections)
    }

    pub(crate) fn is_cached(&self) -> bool {
        self.sections().addr_at(SECTION_OBJECT_POINTERS::DataSectionObject) != 0
    }

    /// Whether the cache holds what the medium does not.
    pub(crate) fn is_dirty(&self) -> bool {
        self.is_cached() && nt_cc::map_of(self.sections()).is_some_and(|map| !map.is_clean())
    }

    /// An open of a file that others may have changed: what the cache read of it before does not count.
    pub(crate) fn forget(&self) {
        if self.object.is_shared_with_the_host() && self.is_cached() && !self.is_dirty() {
            let _what_is_locked_stays = nt_cc::purge(self.sections(), None);
        }
    }

    /// Tells the cache of the sizes (NT-CC-60); the caller holds the main lock, not the data lock.
    pub(crate) fn tell_cache(&self) {
        if self.is_cached() {
            let sizes = sizes(&self.data.read());
            nt_cc::set_sizes(self.sections(), sizes);
        }
    }

    /// Nobody will ask for its bytes again: our room for them is free, what the cache holds of them is dropped, unwritten
    /// (NT-CC-74). The views of a file that is deleted keep its data until they go (NT-DEL-11).
    pub(crate) fn discard(&self) -> NtResult<()> {
        if self.is_mapped() {
            return Ok(());
        }
        let _main = self.main.exclusive()?;
        // What has no name on the host any more may still be open there: that is the host's to free.
        if !self.object.is_shared_with_the_host() {
            self.empty()?;
        }
        if self.is_cached() {
            nt_cc::set_sizes(self.sections(), Sizes::default());
        }
        Ok(())
    }

    /// Writes what the cache holds of a range, so that the medium has it (NT-CC-53).
    pub(crate) fn flush_range(&self, start: u64, length: u64) -> NtResult<()> {
        if self.is_cached() {
            let result = nt_cc::flush(self.sections(), Some((start, length)));
            if result.status.is_error() {
                return result.status.fail();
            }
        }
        Ok(())
    }
}

/// The cached streams of the volume that a file object was opened on.
pub(crate) fn streams_of(file: Foreign<FILE_OBJECT>) -> Vec<Arc<CacheMap>> {
    let mut streams = nt_cc::Manager::of(&nt_ke::current().kernel).streams();
    let volume = file.addr_at(FILE_OBJECT::DeviceObject);
    streams.retain(|map| map.file().addr_at(FILE_OBJECT::DeviceObject) == volume);
    streams
}

/// The first cached transfer through a file object gives it a cache map (NT-S-10, NT-CC-02). The caller holds the main
/// lock, so that the sizes stand still.
pub(crate) fn start(file: Foreign<FILE_OBJECT>, node: &Node) -> NtResult<()> {
    if file.addr_at(FILE_OBJECT::PrivateCacheMap) != 0 {
        return Ok(());
    }
    let sizes = sizes(&node.data.read());
    // Cleanup marks the file object, then takes this lock, then takes the object off the cache: one that comes later would
    // hold the object for ever.
    let _sharing = node.sharing.lock();
    let elsewhere = file.addr_at(FILE_OBJECT::FsContext) != node.fcb.addr(); // a stream was renamed under its transfer
    if elsewhere || file.get(FILE_OBJECT::Flags) & FO_CLEANUP_COMPLETE != 0 {
        return NtStatus::FILE_CLOSED.fail();
    }
    nt_cc::initialize(file, sizes, Callbacks::Native(Arc::new(Client(own_policy(node)))))
}

/// When what is cached of a file is written, unless the machine was told otherwise (house rule 9).
fn own_policy(node: &Node) -> Policy {
    if node.object.is_shared_with_the_host() { Policy::Through } else { Policy::Behind }
}

pub(crate) fn policy(node: &Node) -> Policy {
    nt_cc::Manager::of(&nt_ke::current().kernel).policy().unwrap_or(own_policy(node))
}

/// What a cached write is made of.
#[derive(Clone, Copy)]
pub(crate) struct Cached<'a> {
    pub(crate) file: Foreign<FILE_OBJECT>,
    pub(crate) node: &'a Node,
    /// Where, or the end of the file.
    pub(crate) offset: i64,
    pub(crate) from: Region,
    /// Followed by a paging write inside the request (NT-CC-45).
    pub(crate) write_through: bool,
    /// The caller waits for locks and for pages; else CANT_WAIT says that it would have to (NT-S-13).
    pub(crate) wait: bool,
}

impl Cached<'_> {
    /// Writes through the cache; `may` asks the byte-range locks once the start is known.
    pub(crate) fn write(self, may: impl Fn(u64) -> NtResult<()>) -> NtResult<Written> {
        let length = self.from.len() as u64;
        if !self.wait && self.write_through {
            return NtStatus::CANT_WAIT.fail();
        }
        while let Some(main) = straight::enter(self.file, self.node, self.wait)? {
            if let Some(written) = self.write_straight_inside(&may)? {
                return Ok(written);
            }
            drop(main);
            let _main = self.node.main.exclusive_or(self.wait)?;
            if self.node.way.is_straight() {
                return self.extend_straight(may);
            }
        }
        if self.offset > APPEND {
            let start = self.offset as u64;
            let end = end_of(start, length)?;
            let _main = self.node.main.shared_or(self.wait)?;
            let room = {
                let data = self.node.data.read();
                if end <= data.valid { Some(data.has_room(start, end)?) } else { None }
            };
            if let Some(has_room) = room {
                may(start)?; // what they refuse waits for no room
                if has_room {
                    self.copy(start)?;
                    return Ok(Written { end, grew: false });
                }
            }
        }
        if !self.wait {
            return NtStatus::CANT_WAIT.fail(); // a hole takes its room, or the file was cut meanwhile
        }
        let _main = self.node.main.exclusive()?;
        Ok(self.extend(length, may, |at| self.copy(at))?.0)
    }

    /// Lends the pages of a write that its sender fills by itself (NT-S-12).
    pub(crate) fn lend(self, length: u64, may: impl Fn(u64) -> NtResult<()>) -> NtResult<(Written, Foreign<MDL>)> {
        let _main = self.node.main.exclusive()?;
        if self.node.way.is_straight() {
            self.node.way.lends_pages();
        }
        self.extend(length, may, |at| nt_cc::prepare_mdl_write(self.file, at, length).map(|(chain, _)| chain))
    }

    fn copy(self, at: u64) -> NtResult<()> {
        start(self.file, self.node)?;
        match nt_cc::write_resident(self.file, at, self.from) {
            Some(copied) => copied.map_err(|_| {
                rule!(NT_B_10);
                NtStatus::INVALID_USER_BUFFER.error()
            })?,
            None if nt_cc::copy_write(self.file, at, self.from, self.wait)? => {}
            None => return NtStatus::CANT_WAIT.fail(),
        }
        if self.write_through {
            self.node.flush_range(at, self.from.len() as u64)?;
        }
        Ok(())
    }

    /// Past the valid data, or into a hole: the end of file moves before the copy, the valid data length after it (NT-CC-10).
    fn extend<R>(
        self,
        length: u64,
        may: impl Fn(u64) -> NtResult<()>,
        copy: impl FnOnce(u64) -> NtResult<R>,
    ) -> NtResult<(Written, R)> {
        let node = self.node;
        let (at, end, eof, valid, sparse) = {
            let mut data = node.data.write();
            if !node.is_dirty() {
                data.refresh()?;
            }
            let (at, end) = place(&data, self.offset, length, may)?;
            let (eof, valid) = (data.eof, data.valid);
            data.make_room(at, end)?;
            if end > valid || data.sparse {
                data.content.promise(at, length, policy(node) == Policy::Behind)?;
            }
            data.eof = eof.max(end);
            node.publish(&data);
            (at, end, eof, valid, data.sparse)
        };
        if end > eof {
            node.tell_cache();
        }
        let copied = start(self.file, node).and_then(|()| self.fill_gap(valid, at, sparse)).and_then(|()| copy(at));
        let mut data = node.data.write();
        let copied = match copied {
            Ok(copied) => copied,
            Err(error) => {
                rule!(NT_B_03);
                // NT-CC-12: the sizes go back; what was copied below the old end stays.
                data.eof = eof;
                data.valid = data.valid.min(eof);
                node.publish(&data);
                drop(data);
                node.tell_cache();
                return Err(error);
            }
        };
        data.valid = data.valid.max(end);
        node.publish(&data);
        if nt_trace::asked() {
            tell_growth(at, end, eof);
        }
        Ok((Written { end, grew: end > eof }, copied))
    }

    /// Bytes between the valid data and the write are zero (NT-CC-17): in the cache, or on the medium, which has them. The
    /// cache would fill the holes of a sparse file (NT-SPA-17).
    fn fill_gap(self, valid: u64, at: u64, sparse: bool) -> NtResult<()> {
        let from = valid.next_multiple_of(u64::from(SECTOR));
        if from >= at {
            return Ok(());
        }
        if at - from <= LONG_GAP && !sparse {
            return nt_cc::zero_data(self.file, from, at, true).map(|_waited| ());
        }
        let mut data = self.node.data.write();
        data.content.zero(valid, at)?;
        data.valid = data.valid.max(at);
        self.node.publish(&data);
        drop(data);
        self.node.tell_cache();
        Ok(())
    }
}

#[cold]
pub(crate) fn tell_growth(at: u64, end: u64, eof: u64) {
    if at > eof {
        rule!(NT_W_05);
    } else if end > eof {
        rule!(NT_W_04);
    }
}

/// Reads through the cache what lies below the end of the file (NT-CC-51).
pub(crate) fn read(file: Foreign<FILE_OBJECT>, node: &Node, at: u64, to: Region) -> NtResult<u64> {
    node.refresh_past(at.saturating_add(to.len() as u64))?;
    if let Some(_main) = straight::enter(file, node, true)? {
        return straight::read(file, node, at, to);
    }
    let _main = node.main.shared()?;
    let eof = node.data.read().eof;
    if at >= eof {
        rule!(NT_R_03);
        return NtStatus::END_OF_FILE.fail();
    }
    start(file, node)?;
    let count = (eof - at).min(to.len() as u64);
    if count < to.len() as u64 {
        rule!(NT_R_02);
    }
    let done = nt_cc::copy_read(file, at, to.sub(0, count as usize), true)?;
    Ok(done.map_or(0, |done| done.information))
}

/// What the cache holds of a range goes to the medium and out of the cache, before a noncached write (NT-CC-55). The
/// caller holds the main lock exclusively until the medium is written. A page that cannot go, or that could not be written,
/// is let be (NT-CC-57), but for a file in purge-failure mode (NT-N-07).
pub(crate) fn make_way(node: &Node, start: u64, length: u64) -> NtResult<()> {
    if !leave_cache(node, start, length) && node.purge_failures.load(Ordering::Relaxed) != 0 {
        rule!(NT_N_07);
        return NtStatus::PURGE_FAILED.fail();
    }
    Ok(())
}

/// As [`make_way`]; tells whether the range has left the cache.
pub(crate) fn leave_cache(node: &Node, start: u64, length: u64) -> bool {
    !node.is_cached()
        || nt_cc::coherency_flush_and_purge(node.sections(), start, length, false).status == NtStatus::SUCCESS
}
