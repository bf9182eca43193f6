//! Page write-back that comes from outside: the host's page cache gives back what a program wrote through a mapping.
//!
//! Room: machine. Called by: front/fuse. Calls: `nt_io::paging`, `nt_cc`. IRQL: PASSIVE_LEVEL. Locks: none.
//! House rule 3: this is no NtWriteFile. It enters at the top of the stack as paging I/O of the system process, with an
//! explicit offset, so that an append-only handle does not append it, the position stays, and the file does not grow.

use crate::client::Client;
use nt_abi::io::{FILE_OBJECT, IRP_MJ_WRITE};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use nt_ex::pool;
use nt_io::paging;
use nt_ke::Mode;
use nt_ob::types::ObjectType;
use nt_ob::{Handle, ObjectRef};

impl Client {
    /// Writes pages of the stream behind `handle`; what lies past the end of the file is left out. `system` is a thread
    /// of the system process that runs on this host thread only.
    pub fn paging_write(&self, system: &Client, handle: Handle, offset: i64, from: Region) -> NtResult<u64> {
        let opened: ObjectRef<FILE_OBJECT> =
            self.call(|frame| nt_io::event::reference(frame, handle, ObjectType::File, 0, Mode::Kernel))?.0.retype();
        system.call(|frame| {
            let block = pool::allocate(from.len().max(8), pool::tag(b"MmPg"), pool::PoolKind::NonPaged);
            let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
            let region = Region::pool(block, from.len());
            // The host's mapping and our cache are two: what ours holds goes down before, and goes (NT-CC-65).
            let sections = opened.ptr(FILE_OBJECT::SectionObjectPointer);
            let make_way = || {
                if let Some(sections) = sections {
                    let _let_be =
                        nt_cc::coherency_flush_and_purge(sections, offset.max(0) as u64, from.len() as u64, false);
                }
            };
            make_way();
            let result = region
                .copy_from(from)
                .map_err(|_| NtStatus::ACCESS_VIOLATION.error())
                .map(|()| paging::transfer(frame, *opened, IRP_MJ_WRITE, paging::MAPPED, offset, region));
            make_way();
            pool::free(block);
            let result = result?;
            if result.status.is_error() { result.status.fail() } else { Ok(result.information) }
        })
    }
}
