//! The built-in streaming devices: `null` and `rawsink`, each `\Device\NtioKs\NAME` with the link `\??\NtioKs.NAME`.
//!
//! Room: drivers/ks. Called by: machines. Calls: `nt_io`, `object`, `pin`. IRQL: PASSIVE_LEVEL. Locks: none.
//! Source: the command line's contract, "Specs"; KSPROPSETID_Pin pages; rules KS-D-07, KS-I-04, KS-PN-03, KS-PN-08,
//! KS-PN-11, KS-PR-19 to KS-PR-21.
//! Each has the filter class "" (the device's own name) with three kinds of pins: 0 takes a stream, 1 takes plain writes,
//! 2 gives a stream of zeros.

use crate::connect::{self, PINS, PinKind};
use crate::dispatch::{self, Header, KS_CONTEXT};
use crate::object::{self, ItemList, KsFactory, KsObject, NativeItem, ObjectCall};
use crate::pin::{self, Pin};
use crate::property::{self, Property, Request, Value};
use crate::sink::Sink;
use nt_abi::io::{DEVICE_OBJECT, FILE_DEVICE_KS, FILE_OBJECT, IO_STACK_LOCATION};
use nt_abi::ks::{
    IOCTL_KS_PROPERTY, KSINTERFACE_STANDARD_STREAMING, KSINTERFACESETID_Standard, KSMEDIUMSETID_Standard, KSNAME_Pin,
    KSP_PIN, KSPROPERTY_PIN_CINSTANCES, KSPROPERTY_PIN_COMMUNICATION, KSPROPERTY_PIN_CTYPES, KSPROPERTY_PIN_DATAFLOW,
    KSPROPERTY_PIN_DATARANGES, KSPROPERTY_PIN_INTERFACES, KSPROPERTY_PIN_MEDIUMS, KSPROPSETID_Pin,
};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;
use nt_io::device::{self, Device, DeviceSpec};
use nt_io::driver::{self, Answer, FastCall, NativeDriver, OwnedIrp};
use nt_io::irp::IoStatus;
use nt_io::rw::Direction;
use nt_io::system::System;
use nt_ke::Kernel;
use nt_ob::Node;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A device that ntio brings along.
#[derive(Debug)]
pub struct BuiltIn {
    name: String,
    sink: Arc<Sink>,
    header: Header,
    /// The create items that the header names; they go when the device does.
    _items: ItemList,
}

impl BuiltIn {
    /// Makes the device `name`; what its pins take goes to `sink`.
    pub fn install(kernel: &Arc<Kernel>, name: &str, sink: Sink) -> NtResult<Self> {
        let sink = Arc::new(sink);
        let driver = driver::create_native(kernel, &format!("\\Driver\\NtioKs.{name}"), Arc::new(Dispatcher))?;
        // The second device finds the directory there.
        let _there = System::of(kernel).namespace.insert("\\Device\\NtioKs", Node::Directory);
        let full = format!("\\Device\\NtioKs\\{name}");
        let spec = DeviceSpec {
            name: Some(&full),
            kind: FILE_DEVICE_KS,
            extension: KS_CONTEXT::SIZE,
            ..DeviceSpec::default()
        };
        let made = device::create(kernel, driver.body(), &spec)?.body();
        pin::direct(made);
        let factory = Arc::new(FilterFactory { sink: Arc::clone(&sink) });
        let items = ItemList::new(vec![NativeItem { class: String::new(), parameters: false, factory }])?;
        let header = dispatch::allocate_device_header(items.count(), Some(items.items()))?;
        if let Some(extension) = made.ptr(DEVICE_OBJECT::DeviceExtension) {
            dispatch::give(extension.view(), header);
        }
        device::ready(made);
        System::of(kernel).namespace.insert(&format!("\\??\\NtioKs.{name}"), Node::Link(full))?;
        Ok(Self { name: name.to_owned(), sink, header, _items: items })
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns {requests, bytes} that its pins took.
    #[must_use]
    pub fn taken(&self) -> (u64, u64) {
        self.sink.taken()
    }
}

impl Drop for BuiltIn {
    fn drop(&mut self) {
        dispatch::free_header(self.header);
    }
}

/// The driver of the built-in devices: ks.sys's dispatcher, and nothing else.
struct Dispatcher;

fn call_fast(direction: Direction, call: &FastCall) -> Option<IoStatus> {
    let FastCall { file, offset, length, wait, key, buffer, device } = *call;
    let call = ObjectCall { file, offset: Some(offset), length, wait, key, buffer, device };
    dispatch::call_fast(dispatch::object_header(file)?, direction, &call)?
}

impl NativeDriver for Dispatcher {
    fn dispatch(&self, device: Device, irp: OwnedIrp) -> Answer {
        OwnedIrp::answered(dispatch::dispatch(device, irp.into_irp()))
    }
    fn has_fast_io(&self) -> bool {
        true
    }
    fn fast_write(&self, call: &FastCall) -> Option<IoStatus> {
        call_fast(Direction::Write, call)
    }
    fn fast_read(&self, call: &FastCall) -> Option<IoStatus> {
        call_fast(Direction::Read, call)
    }
}

/// An instance of a filter.
#[derive(Debug)]
pub struct Filter {
    sink: Arc<Sink>,
    instances: [AtomicU32; PINS.len()],
}

impl Filter {
    /// Returns where the data goes.
    pub(crate) fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Counts a new instance of a pin (KS-PN-08).
    fn enter(&self, pin: u32, kind: &PinKind) -> NtResult<()> {
        let more = |count: u32| (count < kind.possible).then_some(count + 1);
        let counted = self.instances[pin as usize].fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        counted.map_or_else(|_| NtStatus::INVALID_DEVICE_STATE.fail(), |_| Ok(()))
    }

    /// A pin is gone.
    pub(crate) fn leave(&self, pin: u32) {
        self.instances[pin as usize].fetch_sub(1, Ordering::AcqRel);
    }
}

fn kind_of(request: &Request) -> NtResult<&'static PinKind> {
    PINS.get(request.pin_id() as usize).ok_or(NtStatus::INVALID_PARAMETER.error()) // KS-PR-19
}

fn word(value: u32) -> Value {
    Value::Fixed(value.to_le_bytes().to_vec())
}

fn identifier(set: nt_abi::ks::GUID, id: u32) -> Value {
    let mut raw = set.to_bytes().to_vec();
    raw.extend(id.to_le_bytes());
    raw.extend(0_u32.to_le_bytes());
    Value::List(1, raw)
}

const fn about(id: u32, request: usize, get: fn(&FilterObject, &Request) -> NtResult<Value>) -> Property<FilterObject> {
    Property { set: KSPROPSETID_Pin, id, request, data: 0, get: Some(get), put: None }
}

const PROPERTIES: &[Property<FilterObject>] = &[
    about(KSPROPERTY_PIN_CTYPES, 24, |_, _| Ok(word(PINS.len() as u32))),
    about(KSPROPERTY_PIN_DATAFLOW, KSP_PIN::SIZE, |_, request| Ok(word(kind_of(request)?.flow()))),
    about(KSPROPERTY_PIN_COMMUNICATION, KSP_PIN::SIZE, |_, request| Ok(word(kind_of(request)?.communication))),
    about(KSPROPERTY_PIN_CINSTANCES, KSP_PIN::SIZE, |filter, request| {
        let possible = kind_of(request)?.possible;
        let current = filter.0.instances[request.pin_id() as usize].load(Ordering::Acquire);
        Ok(Value::Fixed([possible.to_le_bytes(), current.to_le_bytes()].concat()))
    }),
    about(KSPROPERTY_PIN_DATARANGES, KSP_PIN::SIZE, |_, request| {
        kind_of(request).map(|_| Value::List(1, connect::stream_format().to_vec()))
    }),
    about(KSPROPERTY_PIN_INTERFACES, KSP_PIN::SIZE, |_, request| {
        kind_of(request).map(|_| identifier(KSINTERFACESETID_Standard, KSINTERFACE_STANDARD_STREAMING))
    }),
    about(KSPROPERTY_PIN_MEDIUMS, KSP_PIN::SIZE, |_, request| {
        kind_of(request).map(|_| identifier(KSMEDIUMSETID_Standard, 0))
    }),
];

struct FilterObject(Arc<Filter>);

impl KsObject for FilterObject {
    fn device_control(&self, irp: OwnedIrp) -> Answer {
        if irp.stack().get(IO_STACK_LOCATION::DeviceIoControl_IoControlCode) == IOCTL_KS_PROPERTY {
            let result = property::handle(PROPERTIES, self, irp.irp());
            return irp.complete(result.status, result.information);
        }
        OwnedIrp::answered(dispatch::default_device_io_completion(irp.into_irp()))
    }
}

struct FilterFactory {
    sink: Arc<Sink>,
}

fn opened(irp: OwnedIrp, made: impl FnOnce(Foreign<FILE_OBJECT>, &OwnedIrp) -> NtResult<()>) -> Answer {
    let result = match irp.file() {
        Some(file) => made(file, &irp),
        None => NtStatus::INVALID_PARAMETER.fail(),
    };
    irp.finish(result.map(|()| (NtStatus::SUCCESS, 0)))
}

impl KsFactory for FilterFactory {
    fn create(&self, _parameters: Option<&[u8]>, irp: OwnedIrp) -> Answer {
        opened(irp, |file, irp| {
            let filter = Arc::new(Filter { sink: Arc::clone(&self.sink), instances: Default::default() });
            let factory = Arc::new(PinFactory { filter: Arc::clone(&filter) });
            let children = vec![NativeItem { class: connect::class_of(KSNAME_Pin), parameters: true, factory }];
            object::attach(file, Arc::new(FilterObject(filter)), children, irp.irp())
        })
    }
}

struct PinFactory {
    filter: Arc<Filter>,
}

impl KsFactory for PinFactory {
    fn create(&self, parameters: Option<&[u8]>, irp: OwnedIrp) -> Answer {
        opened(irp, |file, irp| {
            let connect = connect::validate(parameters.unwrap_or_default(), &PINS)?;
            let (id, kind) = (connect.pin, PINS[connect.pin as usize]);
            self.filter.enter(id, &kind)?;
            let pin = Pin::new(&self.filter, kind, connect).inspect_err(|_| self.filter.leave(id))?;
            object::attach(file, Arc::new(pin), Vec::new(), irp.irp())
        })
    }
}
