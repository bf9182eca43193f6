//! Queues of pended callback data, safe against cancelling: FLT_CALLBACK_DATA_QUEUE.
//!
//! Room: drivers/fltmgr. Called by: `exports`. Calls: the filter's queue routines, which own list and lock.
//! Touches: the packet's cancel routine and DriverContext while a filter holds it. IRQL: what the filter's lock allows.
//! Locks: the filter's, taken by its Acquire routine. Source: FltCbdqInitialize, FltCbdqInsertIo pages; rules FLT-Q-01 to FLT-Q-07.

pub mod exports;

use crate::data::BLOCK;
use crate::operation::Operation;
use nt_abi::flt::*;
use nt_abi::io::{IO_CSQ_IRP_CONTEXT, IRP};
use nt_abi::{NtResult, NtStatus};
use nt_cell::{CodePtr, Foreign, callout};
use nt_ex::pool::{self, Scratch};
use nt_io::cancelable::{self, Keeper, routine_of};
use nt_io::irp::Irp;
use nt_io::service::violation;

/// A queue: the filter's memory.
pub(crate) type Queue = Foreign<FLT_CALLBACK_DATA_QUEUE>;
type Data = Foreign<FLT_CALLBACK_DATA>;

/// The queue takes entries.
const ENABLED: u32 = 1;
/// Where the packet names its queue, and its data, while it is in one.
const QUEUE_WORD: usize = 3;
const DATA_WORD: usize = 1;

/// The routines that FltCbdqInitialize is given.
pub(crate) struct Routines {
    pub(crate) insert: CodePtr,
    pub(crate) remove: CodePtr,
    pub(crate) peek: CodePtr,
    pub(crate) acquire: CodePtr,
    pub(crate) release: CodePtr,
    pub(crate) complete: CodePtr,
}

/// FltCbdqInitialize: the queue is enabled.
pub(crate) fn initialize(queue: Queue, instance: Foreign<nt_abi::Bytes>, routines: &Routines) {
    queue.set_ptr(FLT_CALLBACK_DATA_QUEUE::Instance, Some(instance));
    queue.set_code(FLT_CALLBACK_DATA_QUEUE::InsertIo, Some(routines.insert));
    queue.set_code(FLT_CALLBACK_DATA_QUEUE::RemoveIo, Some(routines.remove));
    queue.set_code(FLT_CALLBACK_DATA_QUEUE::PeekNextIo, Some(routines.peek));
    queue.set_code(FLT_CALLBACK_DATA_QUEUE::Acquire, Some(routines.acquire));
    queue.set_code(FLT_CALLBACK_DATA_QUEUE::Release, Some(routines.release));
    queue.set_code(FLT_CALLBACK_DATA_QUEUE::CompleteCanceledIo, Some(routines.complete));
    enable(queue, true);
}

/// FltCbdqEnable, FltCbdqDisable: entries that are there stay (FLT-Q-05).
pub(crate) fn enable(queue: Queue, enabled: bool) {
    queue.set(FLT_CALLBACK_DATA_QUEUE::Flags, if enabled { ENABLED } else { 0 });
}

fn call(queue: Queue, field: nt_abi::Field<FLT_CALLBACK_DATA_QUEUE, nt_abi::Code>, arguments: &[u64]) -> u64 {
    let Some(routine) = queue.code(field) else { return 0 };
    callout::call(routine, arguments).unwrap_or(0)
}

/// The filter's lock, held by its own routine.
struct Locked {
    queue: Queue,
    irql: u64,
}

fn lock(queue: Queue) -> NtResult<Locked> {
    let word = Scratch::new(8, pool::tag(b"FMcq"))?;
    call(queue, FLT_CALLBACK_DATA_QUEUE::Acquire, &[queue.addr(), word.block().addr()]);
    let irql = word.region().load::<u8>(0).map_err(violation)?.into();
    Ok(Locked { queue, irql })
}

impl Drop for Locked {
    fn drop(&mut self) {
        call(self.queue, FLT_CALLBACK_DATA_QUEUE::Release, &[self.queue.addr(), self.irql]);
    }
}

fn set_words(packet: Irp, queue: u64, data: u64) {
    packet.set(IRP::Tail_DriverContext.index(QUEUE_WORD), queue);
    packet.set(IRP::Tail_DriverContext.index(DATA_WORD), data);
}

fn data_of(packet: Irp) -> Option<Data> {
    let address = packet.get(IRP::Tail_DriverContext.index(DATA_WORD));
    (address != 0).then(|| Foreign::of_table(address))
}

/// FltCbdqInsertIo: what the filter's Insert returned; the caller then returns PENDING (FLT-Q-02).
pub(crate) fn insert(
    queue: Queue,
    operation: &Operation,
    context: Option<Foreign<IO_CSQ_IRP_CONTEXT>>,
    insert_context: u64,
) -> NtResult<NtStatus> {
    let packet = operation.packet.ok_or(NtStatus::INVALID_PARAMETER.error())?;
    if queue.get(FLT_CALLBACK_DATA_QUEUE::Flags) & ENABLED == 0 {
        return NtStatus::FLT_CBDQ_DISABLED.fail();
    }
    let data = operation.block.at(BLOCK::Data);
    let locked = lock(queue)?;
    let arguments = [queue.addr(), data.addr(), insert_context];
    let status = NtStatus(call(queue, FLT_CALLBACK_DATA_QUEUE::InsertIo, &arguments) as u32);
    if !status.is_success() {
        return Ok(status);
    }
    if let Some(context) = context {
        context.set_ptr(IO_CSQ_IRP_CONTEXT::Irp, Some(packet));
        context.set_ptr(IO_CSQ_IRP_CONTEXT::Csq, Some(queue.at(FLT_CALLBACK_DATA_QUEUE::Csq)));
    }
    set_words(packet, queue.addr(), data.addr());
    if cancelable::set_routine(packet, routine_of::<Queued>()) {
        set_words(packet, 0, 0);
        call(queue, FLT_CALLBACK_DATA_QUEUE::RemoveIo, &[queue.addr(), data.addr()]);
        drop(locked);
        call(queue, FLT_CALLBACK_DATA_QUEUE::CompleteCanceledIo, &[queue.addr(), data.addr()]);
    }
    Ok(status)
}

/// Takes an entry out if nobody cancels it.
fn take(queue: Queue, packet: Irp, data: Data) -> bool {
    if !cancelable::take_routine(packet) {
        return false;
    }
    set_words(packet, 0, 0);
    call(queue, FLT_CALLBACK_DATA_QUEUE::RemoveIo, &[queue.addr(), data.addr()]);
    true
}

/// FltCbdqRemoveIo: the entry of a context; `None` when it was cancelled or removed already (FLT-Q-03).
pub(crate) fn remove(queue: Queue, context: Foreign<IO_CSQ_IRP_CONTEXT>) -> Option<Data> {
    let _locked = lock(queue).ok()?;
    let packet = context.ptr(IO_CSQ_IRP_CONTEXT::Irp)?;
    context.set_ptr(IO_CSQ_IRP_CONTEXT::Irp, None);
    if packet.get(IRP::Tail_DriverContext.index(QUEUE_WORD)) != queue.addr() {
        return None;
    }
    let data = data_of(packet)?;
    take(queue, packet, data).then_some(data)
}

/// FltCbdqRemoveNextIo: the first entry that the filter's Peek names and nobody cancels (FLT-Q-03).
pub(crate) fn remove_next(queue: Queue, peek_context: u64) -> Option<Data> {
    let _locked = lock(queue).ok()?;
    let mut last = 0;
    loop {
        let next = call(queue, FLT_CALLBACK_DATA_QUEUE::PeekNextIo, &[queue.addr(), last, peek_context]);
        let data: Data = (next != 0).then(|| Foreign::of_table(next))?;
        let packet = crate::data::block_of(data).and_then(|block| block.ptr(BLOCK::Packet))?;
        if take(queue, packet, data) {
            return Some(data);
        }
        last = next;
    }
}

struct Queued;

impl Keeper for Queued {
    /// A queued request is cancelled: Remove under the lock, then CompleteCanceled without it (FLT-Q-04).
    fn cancelled(packet: Irp) {
        let address = packet.get(IRP::Tail_DriverContext.index(QUEUE_WORD));
        let Some(data) = data_of(packet).filter(|_| address != 0) else { return };
        let queue: Queue = Foreign::of_table(address);
        {
            let Ok(_locked) = lock(queue) else { return };
            set_words(packet, 0, 0);
            call(queue, FLT_CALLBACK_DATA_QUEUE::RemoveIo, &[queue.addr(), data.addr()]);
        }
        call(queue, FLT_CALLBACK_DATA_QUEUE::CompleteCanceledIo, &[queue.addr(), data.addr()]);
    }
}
