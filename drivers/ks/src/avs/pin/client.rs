//! What the client of a pin asks for: stream requests, properties, events, the end.
//!
//! Room: drivers/ks. Called by: the dispatcher. Calls: the pin's queue, processing. IRQL: PASSIVE_LEVEL. Locks: the filter's
//! control mutex for states and formats, the queue's; a stream request takes no mutex.
//! Source: KSPIN, KSALLOCATOR_FRAMING_EX pages; rules KS-I-15, KS-PN-19 to KS-PN-22, KS-AL-06, KS-AV-08, KS-AV-09, KS-H-20.

use super::{AvPin, Flag};
use crate::avs::{filter, process, queue, word};
use crate::dispatch;
use crate::header::Headers;
use crate::object::KsObject;
use crate::probe;
use crate::property::{self, Property, Request, Value};
use nt_abi::io::IO_STACK_LOCATION;
use nt_abi::ks::*;
use nt_abi::{NtResult, NtStatus};
use nt_io::driver::{Answer, OwnedIrp};
use nt_io::irp::Irp;
use nt_io::service::violation;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A pin as the dispatcher sees it.
pub(super) struct PinObject(pub(super) Arc<AvPin>);

impl AvPin {
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
