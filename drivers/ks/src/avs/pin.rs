//! Pins of AVStream drivers: connection, states, formats, reset, stream requests.
//!
//! Room: drivers/ks. Called by: the dispatcher, stream pointers, processing. Calls: KSPIN_DISPATCH. IRQL: PASSIVE_LEVEL.
//! Locks: the filter's control mutex around connection and states (KS-ST-15); the queue's. Stream requests take no mutex.
//! Source: KSPIN, KSPIN_DISPATCH, KSPIN_DESCRIPTOR_EX pages; rules KS-PN-03 to KS-PN-22, KS-ST-01 to KS-ST-15, KS-RS-01 to
//! KS-RS-07, KS-AV-08, KS-AV-09.

use crate::avs::filter::{self, AvFilter};
use crate::avs::pointer::{self, Pointer};
use crate::avs::queue::{self, LEADING, Queue, TRAILING};
use crate::avs::{AvMutex, Block, Level, Object, bag, call, finding, process};
use crate::connect;
use crate::dispatch;
use crate::events::Events;
use crate::header::{Headers, violation};
use crate::object::{self, KsFactory, KsObject};
use crate::probe;
use crate::property::{self, Property, Request, Value};
use nt_abi::io::{FILE_OBJECT, IO_STACK_LOCATION};
use nt_abi::ks::*;
use nt_abi::{Bytes, Code, Field, NtResult, NtStatus};
use nt_cell::{CodePtr, Foreign, Region};
use nt_ex::pool;
use nt_io::driver::{Answer, OwnedIrp};
use nt_io::irp::Irp;
use nt_ke::{Mode, Mutex};
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

fn word(raw: &[u8], at: usize) -> u32 {
    raw.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
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
        object::attach(file, Arc::new(PinObject(Arc::clone(self))), Vec::new(), packet)
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

    /// Changes the state, by single steps for pins of the standard transport (KS-ST-02 to KS-ST-06).
    pub fn set_state(self: &Arc<Self>, wanted: u32) -> NtResult<()> {
        if wanted > KSSTATE_RUN {
            return NtStatus::INVALID_PARAMETER.fail();
        }
        self.filter.control.with(|| self.walk(wanted))
    }

    fn walk(self: &Arc<Self>, wanted: u32) -> NtResult<()> {
        let origin = self.state.load(Ordering::Acquire);
        if origin == wanted {
            return Ok(());
        }
        if origin == KSSTATE_STOP {
            self.others_are_there()?;
        }
        self.body().set(KSPIN::DeviceState, wanted);
        let mut now = origin;
        while now != wanted {
            let next = match (self.has(Flag::NoStandardTransport), wanted > now) {
                (true, _) => wanted,
                (false, true) => now + 1,
                (false, false) => now - 1,
            };
            let status = self.step(now, next);
            if status.is_error() && next > now {
                self.body().set(KSPIN::DeviceState, origin);
                while now != origin {
                    let _undone = self.step(now, now - 1); // KS-ST-05
                    now -= 1;
                }
                return status.fail();
            }
            now = next;
        }
        Ok(())
    }

    /// KS-ST-07: other kinds of pins have as many instances as they must.
    fn others_are_there(&self) -> NtResult<()> {
        for id in (0..self.filter.kinds()).filter(|id| *id != self.id()) {
            let necessary = self.filter.kind(id)?.get(KSPIN_DESCRIPTOR_EX::InstancesNecessary);
            if self.filter.instances(id).len() < necessary as usize {
                return NtStatus::DEVICE_NOT_READY.fail();
            }
        }
        Ok(())
    }

    fn step(self: &Arc<Self>, from: u32, to: u32) -> NtStatus {
        let up = to > from;
        if up
            && from == KSSTATE_STOP
            && let Err(error) = self.open_queue()
        {
            return error.status();
        }
        let minimum = self.minimum();
        if !up && from >= minimum && to < minimum {
            self.state.store(to, Ordering::Release);
            process::turn(self.gate(), false);
            self.processing.with(|| ()); // whoever processes now is done when the mutex is free
        }
        let was = self.body().get(KSPIN::ClientState);
        self.body().set(KSPIN::ClientState, to);
        let status = self.callback(KSPIN_DISPATCH::SetDeviceState, &[u64::from(to), u64::from(from)]);
        if status == NtStatus::PENDING {
            finding("KS-V-10", "SetDeviceState returned STATUS_PENDING");
        }
        if status.is_error() && up {
            self.body().set(KSPIN::ClientState, was);
            if from == KSSTATE_STOP {
                self.close_queue();
            }
            return status;
        }
        self.state.store(to, Ordering::Release);
        if up && from < minimum && to >= minimum {
            process::turn(self.gate(), true);
            if self.queue.has_frame(LEADING) {
                process::attempt_pin(self, false); // KS-AV-08 (a)
            }
        }
        if to == KSSTATE_STOP {
            self.close_queue();
        }
        status
    }

    fn open_queue(&self) -> NtResult<()> {
        let mut edges = self.edges.lock();
        edges.drain(..).for_each(pointer::free);
        edges.push(pointer::allocate(self, LEADING, 0)?);
        if self.has(Flag::DistinctTrailingEdge) {
            edges.push(pointer::allocate(self, TRAILING, 0)?);
        }
        self.queue.open(edges[0], edges.get(1).copied());
        Ok(())
    }

    /// KS-ST-11, KS-ST-12: everything ends; frames that are locked elsewhere are waited for.
    fn close_queue(&self) {
        if self.queue.clones() != 0 {
            finding("KS-V-13", "a pin stops while the driver still has clones of its stream pointers");
        }
        queue::finish(self, self.queue.close());
        let frame = nt_ke::current();
        for _ in 0..5000 {
            if self.queue.is_empty() && self.expected.load(Ordering::Acquire) == 0 {
                return;
            }
            let _later = nt_ke::wait::delay(&frame, Mode::Kernel, false, -10_000);
        }
        finding("KS-V-14", "a pin is stopped, and after five seconds a request on it has not ended");
    }

    /// IOCTL_KS_RESET_STATE.
    fn reset(self: &Arc<Self>, packet: Irp) -> NtResult<()> {
        let value = property::reset_value(packet)?;
        if value > KSRESET_END {
            return NtStatus::INVALID_PARAMETER.fail();
        }
        if self.body().get(KSPIN::ResetState) == value {
            return Ok(()); // KS-RS-06
        }
        self.body().set(KSPIN::ResetState, value);
        if value == KSRESET_BEGIN {
            queue::finish(self, self.queue.cancel_all());
        }
        let _nothing = self.callback(KSPIN_DISPATCH::Reset, &[u64::from(value)]); // KS-RS-07
        if let Some(code) = self.filter.table().and_then(|table| table.code(KSFILTER_DISPATCH::Reset)) {
            let _nothing = call(code, &[self.filter.body().addr(), u64::from(value)]);
        }
        Ok(())
    }

    /// What a stream request must find, in the order of KS-I-15.
    fn admit(&self, code: u32) -> NtResult<()> {
        if (code == IOCTL_KS_WRITE_STREAM) != self.input() {
            return NtStatus::INVALID_DEVICE_REQUEST.fail();
        }
        if !self.filter.factory().device().is_some_and(|device| device.started()) {
            return NtStatus::DEVICE_NOT_READY.fail();
        }
        if self.body().get(KSPIN::ResetState) == KSRESET_BEGIN {
            return NtStatus::DEVICE_NOT_READY.fail();
        }
        if self.state.load(Ordering::Acquire) < KSSTATE_PAUSE {
            return NtStatus::INVALID_DEVICE_REQUEST.fail();
        }
        Ok(())
    }

    fn header_size(&self) -> u32 {
        match self.body().get(KSPIN::StreamHeaderSize) {
            0 => KSSTREAM_HEADER::SIZE as u32,
            size => size,
        }
    }

    fn probe(&self, packet: Irp) -> NtResult<()> {
        let direction = if self.input() { KSPROBE_STREAMWRITE | KSPROBE_ALLOWFORMATCHANGE } else { KSPROBE_STREAMREAD };
        let flags = direction | KSPROBE_ALLOCATEMDL | KSPROBE_PROBEANDLOCK | KSPROBE_SYSTEMADDRESS;
        probe::probe_stream_irp(packet, flags, self.header_size())
    }

    fn stream(self: &Arc<Self>, irp: OwnedIrp, code: u32) -> Answer {
        let packet = irp.irp();
        let good = self.admit(code).and_then(|()| self.probe(packet)).and_then(|()| self.format_of(packet));
        match good {
            Err(error) => return irp.complete(error.status(), 0),
            Ok(Some(format)) => {
                let changed = self.filter.control.with(|| self.change_format(&format)); // KS-H-20
                return irp.finish(changed.map(|()| (NtStatus::SUCCESS, 0)));
            }
            Ok(None) => {}
        }
        let (pended, answer) = irp.pend();
        match self.queue.insert(packet) {
            Ok(first) => {
                let wanted = !self.has(Flag::DoNotInitiate) && (first || self.has(Flag::EveryArrival)); // KS-AV-08, KS-AV-09
                if wanted && self.processes() {
                    process::attempt_pin(self, false);
                }
                if self.state.load(Ordering::Acquire) == KSSTATE_STOP {
                    queue::finish(self, self.queue.cancel_all()); // a stop came between
                }
            }
            Err(error) => pended.complete(error.status(), 0),
        }
        answer
    }

    /// Returns the format of a lone header that changes it.
    fn format_of(&self, packet: Irp) -> NtResult<Option<Vec<u8>>> {
        let changes = |header: NtResult<crate::header::StreamHeader>| {
            header.is_ok_and(|header| header.options & KSSTREAM_HEADER_OPTIONSF_TYPECHANGED != 0)
        };
        if !self.input() || !Headers::new(probe::list(packet)).any(changes) {
            return Ok(None);
        }
        let first = probe::frames(packet).next().transpose()?;
        let data = first.and_then(|first| first.frame.map(|data| (data, first.header.used as usize)));
        let (data, used) = data.ok_or(NtStatus::INVALID_BUFFER_SIZE.error())?;
        data.sub(0, used.min(data.len())).to_vec().map(Some).map_err(violation)
    }
}

/// A pin as the dispatcher sees it.
struct PinObject(Arc<AvPin>);

fn fixed(value: u32) -> NtResult<Value> {
    Ok(Value::Fixed(value.to_le_bytes().to_vec()))
}

const fn connection(
    id: u32,
    data: usize,
    get: Option<property::Get<PinObject>>,
    put: Option<property::Put<PinObject>>,
) -> Property<PinObject> {
    Property { set: KSPROPSETID_Connection, id, request: KSIDENTIFIER::SIZE, data, get, put }
}

const PROPERTIES: &[Property<PinObject>] = &[
    connection(
        KSPROPERTY_CONNECTION_STATE,
        4,
        Some(|pin, _| fixed(pin.0.state.load(Ordering::Acquire))),
        Some(|pin, _, data| pin.0.set_state(word(data, 0))),
    ),
    connection(
        KSPROPERTY_CONNECTION_DATAFORMAT,
        KSDATAFORMAT::SIZE,
        Some(|pin, _| pin.0.format_bytes().map(Value::Fixed)),
        Some(|pin, _, format| pin.0.filter.control.with(|| pin.0.change_format(format))),
    ),
    connection(
        KSPROPERTY_CONNECTION_PROPOSEDATAFORMAT,
        KSDATAFORMAT::SIZE,
        None,
        Some(|pin, _, format| pin.0.judge_format(format).map(|_| ())),
    ),
    connection(KSPROPERTY_CONNECTION_ALLOCATORFRAMING, 0, Some(|pin, _| pin.framing().map(Value::Fixed)), None),
    connection(KSPROPERTY_CONNECTION_ALLOCATORFRAMING_EX, 0, Some(|pin, _| pin.framing_ex().map(Value::Fixed)), None),
    Property {
        set: KSPROPSETID_StreamInterface,
        id: KSPROPERTY_STREAMINTERFACE_HEADERSIZE,
        request: KSIDENTIFIER::SIZE,
        data: 4,
        get: Some(|pin, _: &Request| fixed(pin.0.header_size())),
        put: None,
    },
];

impl PinObject {
    /// The whole KSALLOCATOR_FRAMING_EX (KS-AL-06).
    fn framing_ex(&self) -> NtResult<Vec<u8>> {
        let kind = self.0.kind;
        let framing = kind.ptr(KSPIN_DESCRIPTOR_EX::AllocatorFraming).ok_or(NtStatus::NOT_FOUND.error())?;
        let count = framing.get(KSALLOCATOR_FRAMING_EX::CountItems) as usize;
        let size = KSALLOCATOR_FRAMING_EX::FramingItem.offset() + count * KS_FRAMING_ITEM::SIZE;
        kind.region_at(KSPIN_DESCRIPTOR_EX::AllocatorFraming, size).to_vec().map_err(violation)
    }

    /// KSALLOCATOR_FRAMING, from the first item (KS-PN-21, KS-AL-06).
    fn framing(&self) -> NtResult<Vec<u8>> {
        let whole = self.framing_ex()?;
        let item = whole
            .get(KSALLOCATOR_FRAMING_EX::FramingItem.offset()..)
            .filter(|item| item.len() >= KS_FRAMING_ITEM::SIZE);
        let item = item.ok_or(NtStatus::NOT_FOUND.error())?;
        let range = KS_FRAMING_ITEM::FramingRange.offset();
        let words = [
            word(item, KS_FRAMING_ITEM::Flags.offset()),
            0,
            word(item, KS_FRAMING_ITEM::Frames.offset()),
            word(item, range + KS_FRAMING_RANGE::MaxFrameSize.offset()),
            word(item, KS_FRAMING_ITEM::FileAlignment.offset()),
            0,
        ];
        Ok(words.into_iter().flat_map(u32::to_le_bytes).collect())
    }
}

impl KsObject for PinObject {
    fn device_control(&self, irp: OwnedIrp) -> Answer {
        match irp.stack().get(IO_STACK_LOCATION::DeviceIoControl_IoControlCode) {
            code @ (IOCTL_KS_WRITE_STREAM | IOCTL_KS_READ_STREAM) => self.0.stream(irp, code),
            IOCTL_KS_RESET_STATE => {
                let result = self.0.reset(irp.irp());
                irp.finish(result.map(|()| (NtStatus::SUCCESS, 0)))
            }
            IOCTL_KS_PROPERTY | IOCTL_KS_METHOD | IOCTL_KS_ENABLE_EVENT | IOCTL_KS_DISABLE_EVENT => {
                let table = self.0.kind.ptr(KSPIN_DESCRIPTOR_EX::AutomationTable);
                filter::automate(irp, table, PROPERTIES, self, &self.0.events, self.0.has(Flag::EosEvents))
            }
            _ => OwnedIrp::answered(dispatch::default_device_io_completion(irp.into_irp())),
        }
    }

    fn cancel(&self, packet: Irp) {
        queue::finish(&self.0, self.0.queue.cancel(packet));
    }

    fn cleanup(&self) {
        let _down = self.0.set_state(KSSTATE_STOP); // KS-PN-22
    }

    fn close(&self, packet: Irp) {
        filter::free_events(packet, &self.0.events);
        let _nothing = self.0.callback(KSPIN_DISPATCH::Close, &[packet.addr()]);
        self.0.retire();
    }

    fn av_pin(&self) -> Option<Arc<AvPin>> {
        Some(Arc::clone(&self.0))
    }
}
