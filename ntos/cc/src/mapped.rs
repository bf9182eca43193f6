//! The mapped page writer: what views have stored goes to the medium, about a second later.
//!
//! Room: ntos/cc. Called by: `lazy`, whose rounds it shares. IRQL: PASSIVE_LEVEL, its requests APC_LEVEL, in a thread of the
//! system process. Locks: none of ours while a request is on its way.
//! Source: FLT_PARAMETERS for IRP_MJ_ACQUIRE_FOR_MOD_WRITE page; rules NT-CC-27 to NT-CC-30, NT-CC-33, NT-CC-66, NT-CC-80.

use crate::client::MOD_WRITE_TOP_LEVEL;
use crate::flush::{Pick, Run, is_failure};
use crate::map::CacheMap;
use crate::pages::PAGE;
use nt_abi::NtStatus;
use nt_abi::flt::{IRP_MJ_ACQUIRE_FOR_MOD_WRITE, IRP_MJ_RELEASE_FOR_MOD_WRITE};
use nt_abi::io::IRP_MJ_WRITE;
use nt_cell::Region;
use nt_ex::pool;
use nt_io::irp::IoStatus;
use nt_io::system::Notice;
use nt_io::{System, paging};
use nt_ke::{Frame, irql};
use std::sync::atomic::Ordering;

impl CacheMap {
    /// Writes what views have stored; the caller is a thread of the system process. `false` when the stream ended with it.
    pub(crate) fn mapped_write(&self) -> bool {
        self.collect(0, u64::MAX);
        let has_some = |pages: &crate::pages::Pages| pages.views(0, u64::MAX).any(|view| !view.by_view.none());
        if self.dirty_pages() == 0 || !has_some(&self.pages.read()) {
            return true;
        }
        let frame = nt_ke::current();
        let (status, _) = self.write_runs(&frame, 0, u64::MAX, Pick::ByView, |run| self.send_mapped(&frame, run));
        if is_failure(status) {
            self.failed(status);
        } else {
            self.failures.store(0, Ordering::Relaxed);
        }
        !(self.opens() == 0 && self.users().0 == 0 && self.tear_down(None))
    }

    /// Sends one request between its two notices. A filter that cannot have it now says CANT_WAIT: the pages stay dirty.
    fn send_mapped(&self, frame: &Frame, run: &Run) -> IoStatus {
        let system = System::of(&frame.kernel);
        let Some(block) = pool::allocate(16, pool::tag(b"MmMw"), pool::PoolKind::NonPaged) else {
            return IoStatus::new(NtStatus::INSUFFICIENT_RESOURCES, 0);
        };
        let words = Region::pool(block, 16);
        let _own_memory = words.store::<u64>(0, run.to * PAGE).and_then(|()| words.store::<u64>(8, 0));
        let parameters = [words.addr(), words.addr() + 8];
        let acquired = system.ask_filters(self.file, Notice { major: IRP_MJ_ACQUIRE_FOR_MOD_WRITE, parameters });
        let result = if acquired.is_error() {
            IoStatus::new(acquired, 0)
        } else {
            let outer = frame.thread.set_top_level(MOD_WRITE_TOP_LEVEL);
            let _level = irql::at(irql::APC_LEVEL); // NT-CC-29
            let (offset, bytes) = ((run.from * PAGE) as i64, run.view.bytes(run.from * PAGE, run.to * PAGE));
            let result = paging::transfer(frame, self.file, IRP_MJ_WRITE, paging::MAPPED, offset, bytes);
            frame.thread.set_top_level(outer);
            let resource = words.load::<u64>(8).unwrap_or(0);
            let _may_not_fail = system
                .ask_filters(self.file, Notice { major: IRP_MJ_RELEASE_FOR_MOD_WRITE, parameters: [resource, 0] });
            result
        };
        pool::free(block);
        result
    }
}
