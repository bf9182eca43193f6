//! Pins of AVStream drivers: how a client is connected to one, and the format of the connection.
//!
//! Room: drivers/ks. Called by: the dispatcher, stream pointers, processing. Calls: KSPIN_DISPATCH. IRQL: PASSIVE_LEVEL.
//! Locks: the filter's control mutex around connection (KS-ST-15). States are in `state`, what a client asks for in `client`.
//! Source: KSPIN, KSPIN_DISPATCH, KSPIN_DESCRIPTOR_EX pages; rules KS-PN-03 to KS-PN-13.

mod client;
mod state;

use crate::avs::filter::{self, AvFilter};
use crate::avs::pointer::{self, Pointer};
use crate::avs::queue::Queue;
use crate::avs::{AvMutex, Block, Level, Object, bag, call, finding, word};
use crate::connect;
use crate::events::Events;
use crate::object::{self, KsFactory};
use nt_abi::io::FILE_OBJECT;
use nt_abi::ks::*;
use nt_abi::{Bytes, Code, Field, NtResult, NtStatus};
use nt_cell::{CodePtr, Foreign, Region};
use nt_ex::pool;
use nt_io::driver::{Answer, OwnedIrp};
use nt_io::irp::Irp;
use nt_io::service::violation;
use nt_ke::Mutex;
use nt_ob::{ObjectRef, object as ob};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// KSPIN_FLAG_*.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Flag {
    /// KSPIN_FLAG_ASYNCHRONOUS_PROCESSING.
    Asynchronous = 0x8,
    /// KSPIN_FLAG_DO_NOT_INITIATE_PROCESSING.
    DoNotInitiate = 0x10,
    /// KSPIN_FLAG_INITIATE_PROCESSING_ON_EVERY_ARRIVAL.
    EveryArrival = 0x20,
    /// KSPIN_FLAG_FRAMES_NOT_REQUIRED_FOR_PROCESSING.
    FramesNotRequired = 0x40,
    /// KSPIN_FLAG_ENFORCE_FIFO.
    EnforceFifo = 0x80,
    /// KSPIN_FLAG_GENERATE_MAPPINGS.
    GenerateMappings = 0x100,
    /// KSPIN_FLAG_DISTINCT_TRAILING_EDGE.
    DistinctTrailingEdge = 0x200,
    /// KSPIN_FLAG_PROCESS_IN_RUN_STATE_ONLY.
    RunStateOnly = 0x1_0000,
    /// KSPIN_FLAG_DO_NOT_USE_STANDARD_TRANSPORT.
    NoStandardTransport = 0x8_0000,
    /// KSPIN_FLAG_FIXED_FORMAT.
    FixedFormat = 0x10_0000,
    /// KSPIN_FLAG_GENERATE_EOS_EVENTS.
    EosEvents = 0x20_0000,
    /// KSPIN_FLAG_SOME_FRAMES_REQUIRED_FOR_PROCESSING.
    SomeFramesRequired = 0x80_0000,
    /// KSPIN_FLAG_DENY_USERMODE_ACCESS.
    DenyUserMode = 0x8000_0000,
}

/// A pin that somebody is connected to.
pub struct AvPin {
    block: Block<KSPIN>,
    filter: Arc<AvFilter>,
    kind: Foreign<KSPIN_DESCRIPTOR_EX>,
    queue: Queue,
    /// The state that the last step led to.
    state: AtomicU32,
    edges: Mutex<Vec<Pointer>>,
    format: Mutex<Option<Foreign<Bytes>>>,
    /// KsPinAcquireProcessingMutex.
    pub processing: AvMutex,
    again: AtomicBool,
    /// What clients want to be told.
    pub(crate) events: Events,
    /// Processing that was queued and has not run.
    expected: AtomicU32,
    /// The filter's file object stays as long as its pins.
    _parent: Option<ObjectRef<FILE_OBJECT>>,
}

impl std::fmt::Debug for AvPin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AvPin({} of {:?})", self.id(), self.filter)
    }
}

impl Drop for AvPin {
    fn drop(&mut self) {
        for edge in self.edges.lock().drain(..) {
            pointer::free(edge);
        }
        if let Some(format) = self.format.lock().take() {
            pool::free(format);
        }
    }
}

/// Connects to the pins of one filter.
pub(crate) struct PinFactory(Arc<AvFilter>);

impl PinFactory {
    pub(crate) fn new(filter: Arc<AvFilter>) -> Self {
        Self(filter)
    }
}

impl KsFactory for PinFactory {
    fn create(&self, parameters: Option<&[u8]>, irp: OwnedIrp) -> Answer {
        let made = match irp.file() {
            Some(file) => self.0.control.with(|| AvPin::connect(&self.0, parameters.unwrap_or_default(), file, &irp)),
            None => NtStatus::INVALID_PARAMETER.fail(),
        };
        irp.finish(made.map(|()| (NtStatus::SUCCESS, 0)))
    }
}

/// Whether an identifier is in a list: set and id count, flags do not.
fn offered(list: &[[u8; 24]], wanted: &[u8]) -> bool {
    list.iter().any(|one| one[..20] == wanted[..20])
}

/// Judges a connect request, in the order of KS-PN-03; returns the pin's kind and the format.
fn judge<'a>(filter: &AvFilter, raw: &'a [u8], user: bool) -> NtResult<(u32, Foreign<KSPIN_DESCRIPTOR_EX>, &'a [u8])> {
    let body = KSPIN_CONNECT::SIZE;
    let format = raw.get(body..).filter(|format| format.len() >= KSDATAFORMAT::SIZE);
    let format = format.ok_or(NtStatus::INVALID_BUFFER_SIZE.error())?;
    let size = word(format, 0) as usize;
    if size < KSDATAFORMAT::SIZE || size > format.len() {
        return NtStatus::INVALID_BUFFER_SIZE.fail();
    }
    let id = word(raw, KSPIN_CONNECT::PinId.offset());
    let kind = filter.kind(id)?;
    let interfaces = filter::identifiers(
        kind,
        KSPIN_DESCRIPTOR::InterfacesCount,
        KSPIN_DESCRIPTOR::Interfaces,
        KSINTERFACESETID_Standard,
    )?;
    let mediums =
        filter::identifiers(kind, KSPIN_DESCRIPTOR::MediumsCount, KSPIN_DESCRIPTOR::Mediums, KSMEDIUMSETID_Standard)?;
    if !offered(&interfaces, &raw[..24]) || !offered(&mediums, &raw[24..48]) {
        return NtStatus::NO_MATCH.fail();
    }
    let communication = kind.at(KSPIN_DESCRIPTOR_EX::PinDescriptor).get(KSPIN_DESCRIPTOR::Communication);
    let peer = KSPIN_CONNECT::PinToHandle.offset();
    if raw[peer..peer + 8] != [0; 8] {
        // KS-PN-04: a pin that sends to another one needs SOURCE or BOTH; that transport is not there.
        return match communication {
            KSPIN_COMMUNICATION_SOURCE | KSPIN_COMMUNICATION_BOTH => NtStatus::NOT_SUPPORTED.fail(),
            _ => NtStatus::INVALID_DEVICE_REQUEST.fail(),
        };
    }
    if !matches!(communication, KSPIN_COMMUNICATION_SINK | KSPIN_COMMUNICATION_BOTH | KSPIN_COMMUNICATION_BRIDGE) {
        return NtStatus::INVALID_DEVICE_REQUEST.fail();
    }
    if user && kind.get(KSPIN_DESCRIPTOR_EX::Flags) & Flag::DenyUserMode as u32 != 0 {
        return NtStatus::ACCESS_DENIED.fail(); // KS-PN-12
    }
    Ok((id, kind, &format[..size]))
}

impl AvPin {
    fn connect(filter: &Arc<AvFilter>, raw: &[u8], file: Foreign<FILE_OBJECT>, irp: &OwnedIrp) -> NtResult<()> {
        let (id, kind, format) = judge(filter, raw, irp.from_user())?;
        let block = Block::<KSPIN>::new(KSPIN::SIZE)?;
        let body = block.body();
        let flags = kind.get(KSPIN_DESCRIPTOR_EX::Flags);
        let flow = kind.at(KSPIN_DESCRIPTOR_EX::PinDescriptor).get(KSPIN_DESCRIPTOR::DataFlow);
        let has = |flag: Flag| flags & flag as u32 != 0;
        let queue = Queue::new(
            flow == KSPIN_DATAFLOW_IN,
            has(Flag::EnforceFifo),
            has(Flag::GenerateMappings),
            has(Flag::DistinctTrailingEdge),
        );
        body.set_ptr(KSPIN::Descriptor, Some(kind));
        body.set_addr(KSPIN::Context, filter.body().addr_at(KSFILTER::Context));
        body.set(KSPIN::Id, id);
        body.set(KSPIN::Communication, KSPIN_COMMUNICATION_SINK);
        body.set(KSPIN::ConnectionIsExternal, 1);
        let connection = body.region().sub(KSPIN::ConnectionInterface.offset(), 48 + 8);
        connection.sub(0, 48).write_from(&raw[..48]).map_err(violation)?;
        let priority = KSPIN_CONNECT::Priority.offset();
        connection.sub(48, 8).write_from(&raw[priority..priority + 8]).map_err(violation)?;
        body.set(KSPIN::DataFlow, flow);
        body.set(KSPIN::ResetState, KSRESET_END);
        body.set_addr(KSPIN::Bag, bag::allocate()?.addr());
        block.gate().set(KSGATE::Count, 0); // off until the pin rises (KS-AV-08)
        let made = Arc::new(Self {
            block,
            filter: Arc::clone(filter),
            kind,
            queue,
            state: AtomicU32::new(KSSTATE_STOP),
            edges: Mutex::default(),
            format: Mutex::default(),
            processing: AvMutex::new(Level::Processing)?,
            again: AtomicBool::new(false),
            events: Events::new()?,
            expected: AtomicU32::new(0),
            _parent: file.ptr(FILE_OBJECT::RelatedFileObject).map(ob::reference),
        });
        made.block.publish(Object::Pin(Arc::clone(&made)));
        let result = made.begin(format, file, irp.irp());
        if result.is_err() {
            made.retire(); // KS-PN-11
        }
        result
    }

    fn begin(self: &Arc<Self>, format: &[u8], file: Foreign<FILE_OBJECT>, packet: Irp) -> NtResult<()> {
        self.filter.enter(self, self.kind.get(KSPIN_DESCRIPTOR_EX::InstancesPossible))?;
        self.put_format(format)?;
        if self.slot(KSPIN_DISPATCH::Process).is_none()
            && self.filter.table().and_then(|table| table.code(KSFILTER_DISPATCH::Process)).is_none()
            && !self.has(Flag::NoStandardTransport)
            && self.has(Flag::DoNotInitiate)
        {
            return NtStatus::INVALID_DEVICE_REQUEST.fail(); // KS-AV-42
        }
        let status = self.callback(KSPIN_DISPATCH::Create, &[packet.addr()]);
        if status.is_error() {
            return status.fail();
        }
        object::attach(file, Arc::new(client::PinObject(Arc::clone(self))), Vec::new(), packet)
    }

    fn retire(&self) {
        self.filter.leave(self);
        self.block.retire();
        bag::release(self.bag());
    }

    /// Returns the KSPIN.
    #[must_use]
    pub fn body(&self) -> Foreign<KSPIN> {
        self.block.body()
    }
    pub(crate) fn gate(&self) -> Foreign<KSGATE> {
        self.block.gate()
    }
    pub(crate) fn again(&self) -> &AtomicBool {
        &self.again
    }
    /// Returns the bag.
    #[must_use]
    pub fn bag(&self) -> bag::Handle {
        Foreign::of_table(self.body().addr_at(KSPIN::Bag))
    }
    /// Returns the id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.body().get(KSPIN::Id)
    }
    /// Returns the filter.
    #[must_use]
    pub fn filter(&self) -> &Arc<AvFilter> {
        &self.filter
    }
    /// Returns the queue.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }
    /// Returns whether data goes into the pin.
    #[must_use]
    pub fn input(&self) -> bool {
        self.body().get(KSPIN::DataFlow) == KSPIN_DATAFLOW_IN
    }
    pub(crate) fn has(&self, flag: Flag) -> bool {
        self.kind.get(KSPIN_DESCRIPTOR_EX::Flags) & flag as u32 != 0
    }

    fn slot(&self, slot: Field<KSPIN_DISPATCH, Code>) -> Option<CodePtr> {
        self.kind.ptr(KSPIN_DESCRIPTOR_EX::Dispatch)?.code(slot)
    }
    fn callback(&self, slot: Field<KSPIN_DISPATCH, Code>, arguments: &[u64]) -> NtStatus {
        match self.slot(slot) {
            Some(code) => call(code, &[&[self.body().addr()], arguments].concat()),
            None => NtStatus::SUCCESS,
        }
    }
    pub(crate) fn process_routine(&self) -> Option<CodePtr> {
        self.slot(KSPIN_DISPATCH::Process)
    }

    fn minimum(&self) -> u32 {
        if self.has(Flag::RunStateOnly) { KSSTATE_RUN } else { KSSTATE_PAUSE } // KS-ST-14
    }
    /// Returns whether the pin is in a state in which it processes.
    pub(crate) fn processes(&self) -> bool {
        self.state.load(Ordering::Acquire) >= self.minimum()
    }
    pub(crate) fn expect_work(&self) {
        self.expected.fetch_add(1, Ordering::AcqRel);
    }
    pub(crate) fn worked(&self) {
        self.expected.fetch_sub(1, Ordering::AcqRel);
    }
    /// KS-PN-07, KS-PN-13: each range that matches is offered to the driver, with the new format in ConnectionFormat.
    fn put_format(&self, format: &[u8]) -> NtResult<()> {
        let block = pool::allocate(format.len(), pool::tag(b"KsFm"), pool::PoolKind::NonPaged);
        let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
        let written = Region::pool(block, format.len()).write_from(format);
        let old = self.body().addr_at(KSPIN::ConnectionFormat);
        self.body().set_addr(KSPIN::ConnectionFormat, block.addr());
        let mut answer = NtStatus::NO_MATCH;
        for range in filter::ranges(self.kind) {
            let own = range.region().to_vec().map_err(violation)?;
            if written.is_err() || !connect::accepts(&own, format) {
                continue;
            }
            answer = self.callback(KSPIN_DISPATCH::SetDataFormat, &[old, 0, range.addr(), 0]);
            if answer == NtStatus::PENDING {
                finding("KS-V-10", "SetDataFormat returned STATUS_PENDING");
            }
            if answer != NtStatus::NO_MATCH {
                break;
            }
        }
        if answer.is_error() {
            self.body().set_addr(KSPIN::ConnectionFormat, old);
            pool::free(block);
            return answer.fail();
        }
        if let Some(former) = self.format.lock().replace(block) {
            pool::free(former);
        }
        Ok(())
    }

    fn format_bytes(&self) -> NtResult<Vec<u8>> {
        let size = self.body().ptr(KSPIN::ConnectionFormat).map_or(0, |format| format.get(KSDATAFORMAT::FormatSize));
        self.body().region_at(KSPIN::ConnectionFormat, size as usize).to_vec().map_err(violation)
    }

    fn change_format(&self, raw: &[u8]) -> NtResult<()> {
        let format = self.judge_format(raw)?;
        if self.has(Flag::FixedFormat) {
            return NtStatus::INVALID_DEVICE_REQUEST.fail();
        }
        self.put_format(format)
    }

    fn judge_format<'a>(&self, raw: &'a [u8]) -> NtResult<&'a [u8]> {
        let size = word(raw, 0) as usize;
        let format = raw.get(..size).filter(|format| format.len() >= KSDATAFORMAT::SIZE);
        let format = format.ok_or(NtStatus::INVALID_BUFFER_SIZE.error())?;
        let fits =
            |range: Foreign<KSDATAFORMAT>| range.region().to_vec().is_ok_and(|own| connect::accepts(&own, format));
        if filter::ranges(self.kind).into_iter().any(fits) { Ok(format) } else { NtStatus::NO_MATCH.fail() }
    }
}
