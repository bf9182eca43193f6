//! When a Process routine is called, and what is done with what it leaves.
//!
//! Room: drivers/ks. Called by: pins, filters, drivers (Ks...AttemptProcessing). Calls: Process. IRQL: PASSIVE_LEVEL.
//! Locks: the processing mutex while Process runs. Touches: KSGATE, which drivers change by inline code (KS-AV-15).
//! Source: "Initiating Processing", "AVStream Gates", KSPROCESSPIN pages; rules KS-AV-08 to KS-AV-16.

use crate::avs::filter::AvFilter;
use crate::avs::pin::{AvPin, Flag};
use crate::avs::queue::{self, LEADING};
use crate::avs::{call, finding};
use nt_abi::ks::*;
use nt_abi::{Bytes, NtStatus, Ptr};
use nt_cell::{CodePtr, Foreign};
use nt_ex::pool;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rounds without progress after which a Process routine is taken to be stuck (KS-V-12).
const IDLE: u32 = 1000;

/// Adds an off input to an AND gate, or takes one away.
pub(crate) fn turn(gate: Foreign<KSGATE>, on: bool) {
    gate.add32(KSGATE::Count, if on { 1 } else { -1 });
}

/// KsPinAttemptProcessing: the pin's own Process, or its filter's.
pub fn attempt_pin(pin: &Arc<AvPin>, asynchronous: bool) {
    if pin.process_routine().is_none() {
        return attempt_filter(pin.filter(), asynchronous);
    }
    if asynchronous || pin.has(Flag::Asynchronous) || nt_ke::irql::current() > nt_ke::irql::PASSIVE_LEVEL {
        let pin = Arc::clone(pin);
        pin.expect_work();
        nt_ke::work::WorkQueue::queue(&Arc::clone(&nt_ke::current().kernel), move || {
            run_pin(&pin);
            pin.worked();
        });
    } else {
        run_pin(pin);
    }
}

/// KsFilterAttemptProcessing.
pub fn attempt_filter(filter: &Arc<AvFilter>, asynchronous: bool) {
    if asynchronous || nt_ke::irql::current() > nt_ke::irql::PASSIVE_LEVEL {
        let filter = Arc::clone(filter);
        nt_ke::work::WorkQueue::queue(&Arc::clone(&nt_ke::current().kernel), move || run_filter(&filter));
    } else {
        run_filter(filter);
    }
}

/// What a round of processing came to.
enum Round {
    /// Again, if there is anything left.
    Go,
    /// Not before something happens.
    Rest,
}

/// One thread at a time processes an object: it takes the gate's count from 1 to 0, and gives it back. An attempt that comes
/// meanwhile leaves word.
fn captured(gate: Foreign<KSGATE>, again: &AtomicBool, mut round: impl FnMut() -> Round) {
    again.store(true, Ordering::SeqCst);
    loop {
        if gate.cas32(KSGATE::Count, 1, 0).is_err() {
            return; // closed, or somebody processes and will see the word
        }
        again.store(false, Ordering::SeqCst);
        while matches!(round(), Round::Go) {}
        gate.add32(KSGATE::Count, 1);
        if !again.load(Ordering::SeqCst) {
            return;
        }
    }
}

fn run_pin(pin: &Arc<AvPin>) {
    let Some(code) = pin.process_routine() else { return };
    let mut idle = 0;
    captured(pin.gate(), pin.again(), || {
        if !pin.processes() || !(pin.queue().has_frame(LEADING) || pin.has(Flag::FramesNotRequired)) {
            return Round::Rest;
        }
        let before = pin.queue().progress();
        let status = pin.processing.with(|| call(code, &[pin.body().addr()]));
        if status != NtStatus::SUCCESS {
            return Round::Rest; // KS-AV-10
        }
        idle = if pin.queue().progress() == before { idle + 1 } else { 0 };
        rest_or_go(&mut idle)
    });
}

fn rest_or_go(idle: &mut u32) -> Round {
    if *idle < IDLE {
        return Round::Go;
    }
    *idle = 0;
    finding("KS-V-12", "a Process routine returned STATUS_SUCCESS 1000 times and no pointer moved");
    Round::Rest
}

nt_abi::layout! {
    /// An element of the array that an index entry points to.
    pub struct PROCESS_SLOT: 0x08 {
        /// The process pin.
        To @ 0x00: Ptr<KSPROCESSPIN>;
    }
}

/// The index and the process pins of one call of a filter's Process.
struct Index {
    block: Foreign<Bytes>,
    entries: usize,
    pins: Vec<(Arc<AvPin>, Foreign<KSPROCESSPIN>)>,
}

impl Drop for Index {
    fn drop(&mut self) {
        pool::free(self.block);
    }
}

impl Index {
    /// Lays the index out: one entry for each kind of pin, in order of ids, with the instances that take part (KS-AV-12).
    fn new(filter: &AvFilter) -> Option<Self> {
        let kinds = filter.kinds();
        let members: Vec<Vec<Arc<AvPin>>> =
            (0..kinds).map(|id| filter.instances(id).into_iter().filter(|pin| pin.processes()).collect()).collect();
        let count: usize = members.iter().map(Vec::len).sum();
        let entries = kinds as usize * KSPROCESSPIN_INDEXENTRY::SIZE;
        let size = entries + count * (PROCESS_SLOT::SIZE + KSPROCESSPIN::SIZE);
        let block = pool::allocate(size.max(16), pool::tag(b"KsPi"), pool::PoolKind::NonPaged)?;
        let mut slot = block.addr() + entries as u64;
        let mut body = slot + (count * PROCESS_SLOT::SIZE) as u64;
        let mut pins = Vec::with_capacity(count);
        for (id, members) in members.into_iter().enumerate() {
            let entry = block.view::<KSPROCESSPIN_INDEXENTRY>().element(id);
            entry.set(KSPROCESSPIN_INDEXENTRY::Count, members.len() as u32);
            entry.set_addr(KSPROCESSPIN_INDEXENTRY::Pins, if members.is_empty() { 0 } else { slot });
            for pin in members {
                let process = Foreign::<KSPROCESSPIN>::of_table(body);
                Foreign::<PROCESS_SLOT>::of_table(slot).set_ptr(PROCESS_SLOT::To, Some(process));
                process.set_ptr(KSPROCESSPIN::Pin, Some(pin.body()));
                slot += PROCESS_SLOT::SIZE as u64;
                body += KSPROCESSPIN::SIZE as u64;
                pins.push((pin, process));
            }
        }
        Some(Self { block, entries: kinds as usize, pins })
    }

    /// Whether Process may be called now (KS-AV-12, KS-AV-14).
    fn ready(&self, filter: &AvFilter) -> bool {
        let enough = (0..self.entries as u32).all(|id| {
            let Ok(kind) = filter.kind(id) else { return false };
            let there: Vec<_> = self.pins.iter().map(|(pin, _)| pin).filter(|pin| pin.id() == id).collect();
            if there.len() < kind.get(KSPIN_DESCRIPTOR_EX::InstancesNecessary) as usize {
                return false;
            }
            let flags = kind.get(KSPIN_DESCRIPTOR_EX::Flags);
            let framed = |pin: &&Arc<AvPin>| pin.queue().has_frame(LEADING);
            if flags & Flag::FramesNotRequired as u32 != 0 || there.is_empty() {
                true
            } else if flags & Flag::SomeFramesRequired as u32 != 0 {
                there.iter().any(framed)
            } else {
                there.iter().all(framed)
            }
        });
        enough && !self.pins.is_empty()
    }

    /// Locks each pin's leading edge and says what it has.
    fn open(&self) {
        for (pin, process) in &self.pins {
            let Some(pointer) = pin.queue().edge(LEADING).filter(|_| !pin.queue().lock(LEADING).is_error()) else {
                continue;
            };
            let offset = if pin.input() { KSSTREAM_POINTER::OffsetIn } else { KSSTREAM_POINTER::OffsetOut };
            let offset = pointer.at(offset);
            process.set_ptr(KSPROCESSPIN::StreamPointer, Some(pointer));
            process.set_addr(KSPROCESSPIN::Data, offset.addr_at(KSSTREAM_POINTER_OFFSET::Data));
            process.set(KSPROCESSPIN::BytesAvailable, offset.get(KSSTREAM_POINTER_OFFSET::Remaining));
            if pin.input()
                && let Some(header) = pointer.ptr(KSSTREAM_POINTER::StreamHeader)
            {
                process.set(KSPROCESSPIN::Flags, header.get(KSSTREAM_HEADER::OptionsFlags));
            }
        }
    }

    /// Advances each pin by what was used (KS-AV-13).
    fn close(&self) {
        for (pin, process) in &self.pins {
            let Some(pointer) = process.ptr(KSPROCESSPIN::StreamPointer) else { continue };
            let used = process.get(KSPROCESSPIN::BytesUsed);
            let ends = process.get(KSPROCESSPIN::Terminate) != 0;
            if !pin.input()
                && let Some(header) = pointer.ptr(KSSTREAM_POINTER::StreamHeader)
            {
                header.set(KSSTREAM_HEADER::DataUsed, header.get(KSSTREAM_HEADER::DataUsed) + used);
                let flags = header.get(KSSTREAM_HEADER::OptionsFlags) | process.get(KSPROCESSPIN::Flags);
                header.set(KSSTREAM_HEADER::OptionsFlags, flags);
            }
            let amount = if pin.input() { (used, 0) } else { (0, used) };
            let left = process.get(KSPROCESSPIN::BytesAvailable).saturating_sub(used);
            let done = if used == 0 && left != 0 && !ends {
                pin.queue().unlock(LEADING, false)
            } else {
                let (_, over, done) = pin.queue().advance_offsets(LEADING, amount, ends, true);
                if over {
                    finding("KS-AV-13", "Process used more bytes of a pin than there were");
                }
                done
            };
            queue::finish(pin, done);
        }
    }
}

fn run_filter(filter: &Arc<AvFilter>) {
    let code: Option<CodePtr> = filter.table().and_then(|table| table.code(KSFILTER_DISPATCH::Process));
    let Some(code) = code else { return };
    let mut idle = 0;
    captured(filter.gate(), &filter.again, || {
        let Some(index) = Index::new(filter).filter(|index| index.ready(filter)) else { return Round::Rest };
        let before: Vec<_> = index.pins.iter().map(|(pin, _)| pin.queue().progress()).collect();
        let status = filter.processing.with(|| {
            index.open();
            let status = call(code, &[filter.body().addr(), index.block.addr()]);
            index.close();
            status
        });
        let after: Vec<_> = index.pins.iter().map(|(pin, _)| pin.queue().progress()).collect();
        if status != NtStatus::SUCCESS {
            return Round::Rest;
        }
        idle = if before == after { idle + 1 } else { 0 };
        rest_or_go(&mut idle)
    });
}
