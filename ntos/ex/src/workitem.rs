//! Work items that drivers lay out themselves: WORK_QUEUE_ITEM.
//!
//! Room: ntos/ex. Called by: `exports`. IRQL: <= DISPATCH_LEVEL; the routine runs at PASSIVE_LEVEL in a thread of the system
//! process. Locks: the queue's. Source: ExInitializeWorkItem, ExQueueWorkItem pages; rule NT-KR-32.
//! The queue type is not looked at: each machine has one pool of worker threads, which grows with what waits.

use nt_abi::ke::WORK_QUEUE_ITEM;
use nt_cell::{Foreign, callout};
use nt_ke::Kernel;
use nt_ke::work::WorkQueue;
use std::sync::Arc;

/// ExQueueWorkItem: `routine(parameter)` runs once; it may free or queue the item again.
pub fn queue(kernel: &Arc<Kernel>, item: Foreign<WORK_QUEUE_ITEM>) {
    WorkQueue::queue(kernel, move || {
        let parameter = item.addr_at(WORK_QUEUE_ITEM::Parameter);
        if let Some(routine) = item.code(WORK_QUEUE_ITEM::WorkerRoutine) {
            // What a worker routine raises nobody takes: the border has reported it.
            let _raised = callout::call(routine, &[parameter]);
        }
    });
}
