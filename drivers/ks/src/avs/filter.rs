//! Filters of AVStream drivers.
//!
//! Room: drivers/ks. Called by: the dispatcher, pins. Calls: KSFILTER_DISPATCH, automation tables. IRQL: PASSIVE_LEVEL.
//! Locks: the filter control mutex and the processing mutex for drivers; the list of pins, a leaf.
//! Source: KSFILTER, KSFILTER_DESCRIPTOR pages, "KSPROPSETID_Pin"; rules KS-AV-03, KS-AV-06, KS-PR-17 to KS-PR-22, KS-PN-15 to
//! KS-PN-17.

use crate::avs::bag;
use crate::avs::device::{Factory, SLOT};
use crate::avs::pin::{AvPin, PinFactory};
use crate::avs::{AvMutex, Block, Level, Object, call};
use crate::connect;
use crate::dispatch;
use crate::events::{self, Events};
use crate::object::{self, KsFactory, KsObject, NativeItem};
use crate::property::{self, Property, Request, Value};
use crate::sets::{self, Sets};
use nt_abi::io::{FILE_OBJECT, IO_STACK_LOCATION};
use nt_abi::ks::*;
use nt_abi::{Bytes, Code, Field, NtResult, NtStatus, Ptr};
use nt_cell::{Foreign, Region};
use nt_ex::pool::{self, Scratch};
use nt_io::driver::{Answer, OwnedIrp};
use nt_io::irp::{self, IoStatus, Irp};
use nt_io::service::violation;
use nt_ke::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

/// A filter that somebody opened.
pub struct AvFilter {
    block: Block<KSFILTER>,
    factory: Arc<Factory>,
    kinds: Mutex<Vec<Foreign<KSPIN_DESCRIPTOR_EX>>>,
    pins: Mutex<Vec<Weak<AvPin>>>,
    /// KsFilterAcquireControl.
    pub control: AvMutex,
    /// KsFilterAcquireProcessingMutex.
    pub processing: AvMutex,
    /// An attempt came while processing went on.
    pub(crate) again: AtomicBool,
    /// What clients want to be told.
    pub(crate) events: Events,
}

impl std::fmt::Debug for AvFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AvFilter({:#x} of {:?})", self.block.body().addr(), self.factory)
    }
}

/// Opens filters of one factory.
pub(crate) struct FilterFactory(Arc<Factory>);

impl FilterFactory {
    pub(crate) fn new(factory: Arc<Factory>) -> Self {
        Self(factory)
    }
}

impl KsFactory for FilterFactory {
    fn create(&self, _parameters: Option<&[u8]>, irp: OwnedIrp) -> Answer {
        let started = self.0.device().is_some_and(|device| device.started());
        let made = match irp.file() {
            Some(_) if !started => NtStatus::DEVICE_NOT_READY.fail(), // KS-D-17
            Some(file) => AvFilter::open(&self.0, file, irp.irp()),
            None => NtStatus::INVALID_PARAMETER.fail(),
        };
        irp.finish(made.map(|()| (NtStatus::SUCCESS, 0)))
    }
}

impl AvFilter {
    fn open(factory: &Arc<Factory>, file: Foreign<FILE_OBJECT>, packet: Irp) -> NtResult<()> {
        let descriptor = factory.descriptor();
        let block = Block::<KSFILTER>::new(KSFILTER::SIZE)?;
        let body = block.body();
        body.set_ptr(KSFILTER::Descriptor, Some(descriptor));
        body.set_addr(KSFILTER::Context, factory.body().addr_at(KSFILTERFACTORY::Context));
        let (control, processing) = (AvMutex::new(Level::Control)?, AvMutex::new(Level::Processing)?);
        body.set_addr(KSFILTER::Bag, bag::allocate()?.addr());
        let stride = u64::from(descriptor.get(KSFILTER_DESCRIPTOR::PinDescriptorSize));
        let first = descriptor.addr_at(KSFILTER_DESCRIPTOR::PinDescriptors);
        let count = u64::from(descriptor.get(KSFILTER_DESCRIPTOR::PinDescriptorsCount));
        let kinds = (0..count).map(|index| Foreign::of_table(first + index * stride)).collect();
        let made = Arc::new(Self {
            block,
            factory: Arc::clone(factory),
            kinds: Mutex::new(kinds),
            pins: Mutex::default(),
            control,
            processing,
            again: AtomicBool::new(false),
            events: Events::new()?,
        });
        made.block.publish(Object::Filter(Arc::clone(&made)));
        let status = made.callback(KSFILTER_DISPATCH::Create, packet);
        let item = || NativeItem {
            class: connect::class_of(KSNAME_Pin),
            parameters: true,
            factory: Arc::new(PinFactory::new(Arc::clone(&made))),
        };
        let result = if status.is_error() {
            status.fail()
        } else {
            object::attach(file, Arc::new(FilterObject(Arc::clone(&made))), vec![item()], packet)
        };
        if result.is_err() {
            made.retire();
        }
        result
    }

    fn retire(&self) {
        self.block.retire();
        bag::release(self.bag());
    }

    /// Returns the KSFILTER.
    #[must_use]
    pub fn body(&self) -> Foreign<KSFILTER> {
        self.block.body()
    }
    pub(crate) fn gate(&self) -> Foreign<KSGATE> {
        self.block.gate()
    }
    /// Returns the bag.
    #[must_use]
    pub fn bag(&self) -> bag::Handle {
        Foreign::of_table(self.body().addr_at(KSFILTER::Bag))
    }
    /// Returns the factory.
    #[must_use]
    pub fn factory(&self) -> &Arc<Factory> {
        &self.factory
    }
    /// Returns the dispatch table.
    #[must_use]
    pub fn table(&self) -> Option<Foreign<KSFILTER_DISPATCH>> {
        self.factory.descriptor().ptr(KSFILTER_DESCRIPTOR::Dispatch)
    }

    pub(crate) fn callback(&self, slot: Field<KSFILTER_DISPATCH, Code>, packet: Irp) -> NtStatus {
        match self.table().and_then(|table| table.code(slot)) {
            Some(code) => call(code, &[self.body().addr(), packet.addr()]),
            None => NtStatus::SUCCESS,
        }
    }

    /// Returns the descriptor of a kind of pin.
    pub fn kind(&self, id: u32) -> NtResult<Foreign<KSPIN_DESCRIPTOR_EX>> {
        self.kinds.lock().get(id as usize).copied().ok_or(NtStatus::INVALID_PARAMETER.error())
    }
    /// Returns how many kinds of pins there are.
    #[must_use]
    pub fn kinds(&self) -> u32 {
        self.kinds.lock().len() as u32
    }
    /// KsFilterCreatePinFactory (KS-AV-06): one more kind of pin; returns its id.
    pub fn add_kind(&self, kind: Foreign<KSPIN_DESCRIPTOR_EX>) -> u32 {
        let mut kinds = self.kinds.lock();
        kinds.push(kind);
        kinds.len() as u32 - 1
    }

    /// Returns the instances of a kind of pin, in the order in which they were made.
    #[must_use]
    pub fn instances(&self, id: u32) -> Vec<Arc<AvPin>> {
        self.pins.lock().iter().filter_map(Weak::upgrade).filter(|pin| pin.id() == id).collect()
    }
    /// Returns all pins.
    #[must_use]
    pub fn pins(&self) -> Vec<Arc<AvPin>> {
        self.pins.lock().iter().filter_map(Weak::upgrade).collect()
    }
    /// Counts a new pin, unless there are as many as there may be (KS-PN-08).
    pub(crate) fn enter(&self, pin: &Arc<AvPin>, possible: u32) -> NtResult<()> {
        let mut pins = self.pins.lock();
        pins.retain(|each| each.strong_count() != 0);
        let there = pins.iter().filter_map(Weak::upgrade).filter(|each| each.id() == pin.id()).count();
        if there >= possible as usize {
            return NtStatus::INVALID_DEVICE_STATE.fail();
        }
        pins.push(Arc::downgrade(pin));
        Ok(())
    }
    pub(crate) fn leave(&self, pin: &AvPin) {
        self.pins.lock().retain(|each| each.upgrade().is_some_and(|each| !std::ptr::eq(&*each, pin)));
    }

    /// KSPROPERTY_PIN_DATAINTERSECTION (KS-PN-15 to KS-PN-17).
    fn intersect(&self, packet: Irp) -> NtResult<IoStatus> {
        let raw = property::input(packet)?;
        let word = |at| super::word(&raw, at);
        let kind = self.kind(word(KSIDENTIFIER::SIZE))?;
        let (size, count, start) = (word(KSP_PIN::SIZE) as usize, word(KSP_PIN::SIZE + 4), KSP_PIN::SIZE + 8);
        if raw.len() < start || KSP_PIN::SIZE + size > raw.len() {
            return NtStatus::INVALID_BUFFER_SIZE.fail();
        }
        let out = property::output(packet)?;
        let scratch = Scratch::new(raw.len().next_multiple_of(16) + out.len() + 16, pool::tag(b"KsSc"))?;
        scratch.region().sub(0, raw.len()).write_from(&raw).map_err(violation)?;
        let mut at = start;
        for _ in 0..count {
            let length = word(at) as usize;
            if length < KSDATAFORMAT::SIZE || at + length > KSP_PIN::SIZE + size {
                return NtStatus::INVALID_BUFFER_SIZE.fail();
            }
            for range in ranges(kind) {
                let own = range.region().to_vec().map_err(violation)?;
                if !meets(&raw[at..at + KSDATAFORMAT::SIZE], &own) {
                    continue;
                }
                let result = self.intersection(&scratch, kind, range, packet, at, out);
                if result.status != NtStatus::NO_MATCH {
                    return Ok(result);
                }
            }
            at += length.next_multiple_of(8);
        }
        NtStatus::NO_MATCH.fail()
    }

    /// One caller's range, at `at` of the request, against one of the pin's.
    fn intersection(
        &self,
        scratch: &Scratch,
        kind: Foreign<KSPIN_DESCRIPTOR_EX>,
        range: Foreign<KSDATAFORMAT>,
        packet: Irp,
        at: usize,
        out: Region,
    ) -> IoStatus {
        let base = scratch.region().addr();
        let space = scratch.region().len() - out.len() - 16;
        let Some(code) = kind.code(KSPIN_DESCRIPTOR_EX::IntersectHandler) else {
            return bare(range, out);
        };
        let (data, said) = (scratch.region().sub(space, out.len()), scratch.region().sub(space + out.len(), 4));
        let given = if out.is_empty() { 0 } else { data.addr() };
        let arguments = [
            self.body().addr(),
            packet.addr(),
            base,
            base + at as u64,
            range.addr(),
            out.len() as u64,
            given,
            said.addr(),
        ];
        let status = call(code, &arguments);
        let size = said.load::<u32>(0).unwrap_or(0) as usize;
        if status == NtStatus::SUCCESS
            && out.sub(0, size.min(out.len())).copy_from(data.sub(0, size.min(out.len()))).is_err()
        {
            return IoStatus::new(NtStatus::ACCESS_VIOLATION, 0);
        }
        IoStatus::new(status, size as u64)
    }
}

/// Without a handler only ranges without a specifier intersect (KS-PN-17).
fn bare(range: Foreign<KSDATAFORMAT>, out: Region) -> IoStatus {
    let size = KSDATAFORMAT::SIZE;
    let Ok(mut format) = range.region().to_vec() else { return IoStatus::new(NtStatus::ACCESS_VIOLATION, 0) };
    if format[48..64] != KSDATAFORMAT_SPECIFIER_NONE.to_bytes() {
        return IoStatus::new(NtStatus::NO_MATCH, 0);
    }
    format[..4].copy_from_slice(&(size as u32).to_le_bytes());
    let status = match out.len() {
        0 => NtStatus::BUFFER_OVERFLOW,
        room if room < size => NtStatus::BUFFER_TOO_SMALL,
        _ if out.sub(0, size).write_from(&format).is_err() => NtStatus::ACCESS_VIOLATION,
        _ => NtStatus::SUCCESS,
    };
    IoStatus::new(status, size as u64)
}

/// Whether two ranges have formats in common, wildcards on both sides (KS-PN-15).
fn meets(one: &[u8], other: &[u8]) -> bool {
    let nothing = GUID_NULL.to_bytes();
    [16, 32, 48].into_iter().all(|at| {
        let (a, b) = (&one[at..at + 16], &other[at..at + 16]);
        a == b || a == nothing || b == nothing
    })
}

/// Returns the pointers to the data ranges of a kind of pin.
fn slots(kind: Foreign<KSPIN_DESCRIPTOR_EX>) -> Vec<Foreign<SLOT>> {
    let descriptor = kind.at(KSPIN_DESCRIPTOR_EX::PinDescriptor);
    let first = descriptor.ptr(KSPIN_DESCRIPTOR::DataRanges).map(Foreign::<Bytes>::view::<SLOT>);
    let count = descriptor.get(KSPIN_DESCRIPTOR::DataRangesCount) as usize;
    (0..count).filter_map(|index| first.map(|first| first.element(index))).collect()
}

/// Returns the data ranges of a kind of pin.
pub(crate) fn ranges(kind: Foreign<KSPIN_DESCRIPTOR_EX>) -> Vec<Foreign<KSDATAFORMAT>> {
    slots(kind).into_iter().filter_map(|slot| Some(slot.ptr(SLOT::To)?.view())).collect()
}

/// Reads the identifiers that a pin descriptor points to; `standard` is what stands for none (KS-PR-20).
pub(crate) fn identifiers(
    kind: Foreign<KSPIN_DESCRIPTOR_EX>,
    count: Field<KSPIN_DESCRIPTOR, u32>,
    list: Field<KSPIN_DESCRIPTOR, Ptr<KSIDENTIFIER>>,
    standard: GUID,
) -> NtResult<Vec<[u8; 24]>> {
    let descriptor = kind.at(KSPIN_DESCRIPTOR_EX::PinDescriptor);
    let count = descriptor.get(count) as usize;
    if count == 0 || descriptor.addr_at(list) == 0 {
        let mut one = [0; 24];
        one[..16].copy_from_slice(&standard.to_bytes());
        return Ok(vec![one]);
    }
    let raw = descriptor.region_at(list, count * KSIDENTIFIER::SIZE).to_vec().map_err(violation)?;
    Ok(raw.chunks_exact(24).map(|one| one.try_into().unwrap_or([0; 24])).collect())
}

fn word(value: u32) -> Value {
    Value::Fixed(value.to_le_bytes().to_vec())
}

fn list(items: &[[u8; 24]]) -> Value {
    Value::List(items.len() as u32, items.concat())
}

/// Variable items, each padded to eight bytes (KS-PR-20).
fn data_ranges(kind: Foreign<KSPIN_DESCRIPTOR_EX>) -> NtResult<Value> {
    let mut raw = Vec::new();
    let found = slots(kind);
    for slot in &found {
        let range = slot.ptr(SLOT::To).map(Foreign::<Bytes>::view::<KSDATAFORMAT>);
        let size = range.map_or(0, |range| range.get(KSDATAFORMAT::FormatSize)) as usize;
        raw.extend(slot.region_at(SLOT::To, size).to_vec().map_err(violation)?);
        raw.resize(raw.len().next_multiple_of(8), 0);
    }
    Ok(Value::List(found.len() as u32, raw))
}

type Ask = fn(&AvFilter, Foreign<KSPIN_DESCRIPTOR_EX>, u32) -> NtResult<Value>;

fn guid_value(kind: Foreign<KSPIN_DESCRIPTOR_EX>, at: Field<KSPIN_DESCRIPTOR, Ptr<GUID>>) -> NtResult<Value> {
    let found = sets::guid_at(kind.at(KSPIN_DESCRIPTOR_EX::PinDescriptor), at);
    found.map(|guid| Value::Fixed(guid.to_bytes().to_vec())).ok_or(NtStatus::NOT_FOUND.error())
}

macro_rules! about {
    ($id:ident, $ask:expr) => {
        Property {
            set: KSPROPSETID_Pin,
            id: $id,
            request: KSP_PIN::SIZE,
            data: 0,
            get: Some(|filter: &AvFilter, request: &Request| {
                let ask: Ask = $ask;
                ask(filter, filter.kind(request.pin_id())?, request.pin_id())
            }),
            put: None,
        }
    };
}

macro_rules! topology {
    ($id:ident, $get:expr) => {
        Property {
            set: KSPROPSETID_Topology,
            id: $id,
            request: KSIDENTIFIER::SIZE,
            data: 0,
            get: Some(|filter: &AvFilter, _: &Request| {
                let get: fn(Foreign<KSFILTER_DESCRIPTOR>) -> NtResult<Value> = $get;
                get(filter.factory.descriptor())
            }),
            put: None,
        }
    };
}

const PROPERTIES: &[Property<AvFilter>] = &[
    Property {
        set: KSPROPSETID_Pin,
        id: KSPROPERTY_PIN_CTYPES,
        request: KSIDENTIFIER::SIZE,
        data: 0,
        get: Some(|filter, _| Ok(word(filter.kinds()))),
        put: None,
    },
    about!(KSPROPERTY_PIN_CINSTANCES, |filter, kind, id| {
        let possible = kind.get(KSPIN_DESCRIPTOR_EX::InstancesPossible);
        Ok(Value::Fixed([possible.to_le_bytes(), (filter.instances(id).len() as u32).to_le_bytes()].concat()))
    }),
    about!(KSPROPERTY_PIN_NECESSARYINSTANCES, |_, kind, _| Ok(word(kind.get(KSPIN_DESCRIPTOR_EX::InstancesNecessary)))),
    about!(KSPROPERTY_PIN_DATAFLOW, |_, kind, _| {
        Ok(word(kind.at(KSPIN_DESCRIPTOR_EX::PinDescriptor).get(KSPIN_DESCRIPTOR::DataFlow)))
    }),
    about!(KSPROPERTY_PIN_COMMUNICATION, |_, kind, _| {
        Ok(word(kind.at(KSPIN_DESCRIPTOR_EX::PinDescriptor).get(KSPIN_DESCRIPTOR::Communication)))
    }),
    about!(KSPROPERTY_PIN_DATARANGES, |_, kind, _| data_ranges(kind)),
    about!(KSPROPERTY_PIN_INTERFACES, |_, kind, _| {
        let (count, at) = (KSPIN_DESCRIPTOR::InterfacesCount, KSPIN_DESCRIPTOR::Interfaces);
        Ok(list(&identifiers(kind, count, at, KSINTERFACESETID_Standard)?))
    }),
    about!(KSPROPERTY_PIN_MEDIUMS, |_, kind, _| {
        let (count, at) = (KSPIN_DESCRIPTOR::MediumsCount, KSPIN_DESCRIPTOR::Mediums);
        Ok(list(&identifiers(kind, count, at, KSMEDIUMSETID_Standard)?))
    }),
    about!(KSPROPERTY_PIN_CATEGORY, |_, kind, _| guid_value(kind, KSPIN_DESCRIPTOR::Category)),
    topology!(KSPROPERTY_TOPOLOGY_CATEGORIES, |it| {
        let count = it.get(KSFILTER_DESCRIPTOR::CategoriesCount);
        let raw = records(it, KSFILTER_DESCRIPTOR::Categories, count as usize * 16)?;
        Ok(Value::List(count, raw))
    }),
    topology!(KSPROPERTY_TOPOLOGY_NODES, |it| {
        let (count, stride) =
            (it.get(KSFILTER_DESCRIPTOR::NodeDescriptorsCount), it.get(KSFILTER_DESCRIPTOR::NodeDescriptorSize));
        let first = it.addr_at(KSFILTER_DESCRIPTOR::NodeDescriptors);
        let node = |index: u32| Foreign::<KSNODE_DESCRIPTOR>::of_table(first + u64::from(index * stride));
        let kinds = (0..count).map(|index| sets::guid_at(node(index), KSNODE_DESCRIPTOR::Type).unwrap_or(GUID_NULL));
        Ok(Value::List(count, kinds.flat_map(|kind| kind.to_bytes()).collect()))
    }),
    topology!(KSPROPERTY_TOPOLOGY_CONNECTIONS, |it| {
        let count = it.get(KSFILTER_DESCRIPTOR::ConnectionsCount);
        let raw = records(it, KSFILTER_DESCRIPTOR::Connections, count as usize * KSTOPOLOGY_CONNECTION::SIZE)?;
        Ok(Value::List(count, raw))
    }),
];

fn records<T>(
    of: Foreign<KSFILTER_DESCRIPTOR>,
    at: Field<KSFILTER_DESCRIPTOR, Ptr<T>>,
    size: usize,
) -> NtResult<Vec<u8>> {
    if size == 0 { Ok(Vec::new()) } else { of.region_at(at, size).to_vec().map_err(violation) }
}

/// Carries out a property or method request: what the driver's automation table has comes first (KS-PR-18).
pub(crate) fn automate<T: ?Sized>(
    irp: OwnedIrp,
    table: Option<Foreign<KSAUTOMATION_TABLE>>,
    own: &[Property<T>],
    on: &T,
    events: &Events,
    ends: bool,
) -> Answer {
    let packet = irp.irp();
    let code = irp.stack().get(IO_STACK_LOCATION::DeviceIoControl_IoControlCode);
    let properties = Sets {
        first: table.and_then(|table| table.ptr(KSAUTOMATION_TABLE::PropertySets)),
        count: table.map_or(0, |table| table.get(KSAUTOMATION_TABLE::PropertySetsCount)),
        item_size: table.map_or(0, |table| table.get(KSAUTOMATION_TABLE::PropertyItemSize)),
        allocator: None,
    };
    let methods = Sets {
        first: table.and_then(|table| table.ptr(KSAUTOMATION_TABLE::MethodSets)),
        count: table.map_or(0, |table| table.get(KSAUTOMATION_TABLE::MethodSetsCount)),
        item_size: table.map_or(0, |table| table.get(KSAUTOMATION_TABLE::MethodItemSize)),
        allocator: None,
    };
    let status = match code {
        IOCTL_KS_PROPERTY if drivers(packet, &properties) => sets::property_handler(packet, &properties),
        IOCTL_KS_PROPERTY => {
            let result = property::handle_with(own, &sets::property_sets(&properties), on, packet);
            return irp.complete(result.status, result.information);
        }
        IOCTL_KS_METHOD => sets::method_handler(packet, &methods),
        IOCTL_KS_ENABLE_EVENT => {
            let offered = Sets {
                first: table.and_then(|table| table.ptr(KSAUTOMATION_TABLE::EventSets)),
                count: table.map_or(0, |table| table.get(KSAUTOMATION_TABLE::EventSetsCount)),
                item_size: table.map_or(0, |table| table.get(KSAUTOMATION_TABLE::EventItemSize)),
                allocator: None,
            };
            let (list, guard) = events.parts();
            let ours = events::end_of_stream();
            let wanted = if ends && events::is_for(packet, &ours) { ours } else { offered };
            events::enable(packet, &wanted, Some(list), guard)
        }
        IOCTL_KS_DISABLE_EVENT => {
            let (list, guard) = events.parts();
            events::disable(packet, list, guard)
        }
        _ => return OwnedIrp::answered(dispatch::default_device_io_completion(irp.into_irp())),
    };
    if status == NtStatus::PENDING {
        return OwnedIrp::answered(status); // the handler has marked the packet, and keeps it (KS-PR-10)
    }
    let information = irp::status(packet).information;
    irp.complete(status, information)
}

/// KS-EV-13: the file object that a close is about wants to be told nothing any more.
pub(crate) fn free_events(packet: Irp, events: &Events) {
    if let Some(file) = irp::current(packet).ptr(IO_STACK_LOCATION::FileObject) {
        let (list, guard) = events.parts();
        events::free_list(file, list, guard);
    }
}

/// Whether a property request is the driver's to answer.
fn drivers(packet: Irp, sets: &Sets<KSPROPERTY_SET>) -> bool {
    let Ok(raw) = property::input(packet) else { return false };
    if raw.len() < KSIDENTIFIER::SIZE {
        return false;
    }
    let request = Request { raw };
    if request.flags() & KSPROPERTY_TYPE_SETSUPPORT != 0 {
        return false;
    }
    sets::has_property(sets, request.set(), request.id())
}

/// A filter as the dispatcher sees it.
struct FilterObject(Arc<AvFilter>);

impl KsObject for FilterObject {
    fn device_control(&self, irp: OwnedIrp) -> Answer {
        let packet = irp.irp();
        let code = irp.stack().get(IO_STACK_LOCATION::DeviceIoControl_IoControlCode);
        if code == IOCTL_KS_PROPERTY && wants_intersection(packet) {
            let result = self.0.intersect(packet).unwrap_or_else(|error| IoStatus::new(error.status(), 0));
            return irp.complete(result.status, result.information);
        }
        let table = self.0.factory.descriptor().ptr(KSFILTER_DESCRIPTOR::AutomationTable);
        automate(irp, table, PROPERTIES, &*self.0, &self.0.events, false)
    }

    fn close(&self, packet: Irp) {
        free_events(packet, &self.0.events);
        let _nothing = self.0.callback(KSFILTER_DISPATCH::Close, packet);
        self.0.retire();
    }

    fn av_filter(&self) -> Option<Arc<AvFilter>> {
        Some(Arc::clone(&self.0))
    }
}

fn wants_intersection(packet: Irp) -> bool {
    let Ok(raw) = property::input(packet) else { return false };
    if raw.len() < KSP_PIN::SIZE {
        return false;
    }
    let request = Request { raw };
    let wanted = (KSPROPSETID_Pin, KSPROPERTY_PIN_DATAINTERSECTION, KSPROPERTY_TYPE_GET);
    (request.set(), request.id(), request.flags()) == wanted
}
