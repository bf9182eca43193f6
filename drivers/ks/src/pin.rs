//! Pins of the built-in devices: states, the queue of a stream, reset.
//!
//! Room: drivers/ks. Called by: `object`, with the requests of one file object. Calls: `probe`, `queue`, `sink`.
//! IRQL: PASSIVE_LEVEL. Locks: the pin's gate, then the queue's spin lock; none while a request is completed.
//! Source: KSPROPERTY_CONNECTION_STATE, IOCTL_KS_WRITE_STREAM, IOCTL_KS_RESET_STATE pages; rules KS-I-10 to KS-I-15, KS-I-17,
//! KS-ST-01, KS-ST-06, KS-ST-09 to KS-ST-12, KS-RS-01 to KS-RS-06, KS-PN-09, KS-PN-13, KS-PN-14, KS-PN-22.
//! One thread at a time takes requests to their end (`processing`); what comes meanwhile is queued, so requests end in the
//! order in which they came.

use crate::connect::{self, Connect, PinKind, Role};
use crate::device::Filter;
use crate::header::StreamHeader;
use crate::object::{KsObject, ObjectCall};
use crate::property::{self, Property, Request, Value};
use crate::queue::{self, End, QUEUE_BLOCK, Removal};
use crate::{dispatch, probe, verify};
use nt_abi::io::{DEVICE_OBJECT, IO_STACK_LOCATION, IRP};
use nt_abi::ke::{DISPATCHER_HEADER, KEVENT};
use nt_abi::ks::{
    IOCTL_KS_PROPERTY, IOCTL_KS_READ_STREAM, IOCTL_KS_RESET_STATE, IOCTL_KS_WRITE_STREAM, KSDATAFORMAT, KSIDENTIFIER,
    KSPROBE_ALLOCATEMDL, KSPROBE_ALLOWFORMATCHANGE, KSPROBE_PROBEANDLOCK, KSPROBE_STREAMREAD, KSPROBE_STREAMWRITE,
    KSPROPERTY_CONNECTION_DATAFORMAT, KSPROPERTY_CONNECTION_PROPOSEDATAFORMAT, KSPROPERTY_CONNECTION_STATE,
    KSPROPERTY_STREAMINTERFACE_HEADERSIZE, KSPROPSETID_Connection, KSPROPSETID_StreamInterface, KSRESET_BEGIN,
    KSRESET_END, KSSTATE_ACQUIRE, KSSTATE_PAUSE, KSSTATE_RUN, KSSTATE_STOP, KSSTREAM_HEADER,
    KSSTREAM_HEADER_OPTIONSF_TYPECHANGED,
};
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::{Foreign, Region};
use nt_ex::pool;
use nt_io::driver::{Answer, OwnedIrp};
use nt_io::irp::{self, IoStatus, Irp};
use nt_io::service::violation;
use nt_io::{cancelable, complete, device};
use nt_ke::dispatcher::{self, EventType};
use nt_ke::{Mode, Mutex, list};
use nt_mm::mdl;
use nt_trace::rule;
use std::sync::Arc;

nt_abi::layout! {
    /// What a pin keeps in pool: its queue, and the event of its rest.
    pub struct PIN_BLOCK: 0x30 {
        /// Requests that wait.
        Queue @ 0x00: QUEUE_BLOCK;
        /// Set while no request is being taken to its end.
        Idle @ 0x18: KEVENT;
    }
}

/// What a request must find open to get through.
#[derive(Debug)]
struct Gate {
    state: u32,
    reset: bool,
    /// The thread object that takes requests to their end now.
    processing: Option<u64>,
}

/// An instance of a pin.
#[derive(Debug)]
pub struct Pin {
    id: u32,
    kind: PinKind,
    filter: Arc<Filter>,
    block: Foreign<PIN_BLOCK>,
    gate: Mutex<Gate>,
    format: Mutex<Vec<u8>>,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.filter.leave(self.id);
        pool::free(self.block);
    }
}

const PROPERTIES: &[Property<Pin>] = &[
    Property {
        set: KSPROPSETID_Connection,
        id: KSPROPERTY_CONNECTION_STATE,
        request: KSIDENTIFIER::SIZE,
        data: 4,
        get: Some(|pin, _| Ok(Value::Fixed(pin.state().to_le_bytes().to_vec()))),
        put: Some(Pin::put_state),
    },
    Property {
        set: KSPROPSETID_Connection,
        id: KSPROPERTY_CONNECTION_DATAFORMAT,
        request: KSIDENTIFIER::SIZE,
        data: KSDATAFORMAT::SIZE,
        get: Some(|pin, _| Ok(Value::Fixed(pin.format.lock().clone()))),
        put: Some(|pin, _, format| pin.change_format(format)),
    },
    Property {
        set: KSPROPSETID_Connection,
        id: KSPROPERTY_CONNECTION_PROPOSEDATAFORMAT,
        request: KSIDENTIFIER::SIZE,
        data: KSDATAFORMAT::SIZE,
        get: None,
        put: Some(|_, _, format| judge_format(format).map(|_| ())),
    },
    Property {
        set: KSPROPSETID_StreamInterface,
        id: KSPROPERTY_STREAMINTERFACE_HEADERSIZE,
        request: KSIDENTIFIER::SIZE,
        data: 4,
        get: Some(|_, _| Ok(Value::Fixed((KSSTREAM_HEADER::SIZE as u32).to_le_bytes().to_vec()))),
        put: None,
    },
];

/// Returns the part of `raw` that is a format which the built-in pins take (KS-PN-05, KS-PN-13).
fn judge_format(raw: &[u8]) -> NtResult<&[u8]> {
    let size = raw.first_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize);
    if size < KSDATAFORMAT::SIZE || size > raw.len() {
        return NtStatus::INVALID_BUFFER_SIZE.fail();
    }
    let format = &raw[..size];
    if connect::accepts(&connect::stream_format(), format) { Ok(format) } else { NtStatus::NO_MATCH.fail() }
}

fn thread() -> u64 {
    nt_ke::try_current().map_or(0, |frame| frame.thread.object())
}

impl Pin {
    /// Makes a stopped pin (KS-PN-09).
    pub(crate) fn new(filter: &Arc<Filter>, kind: PinKind, connect: Connect) -> NtResult<Self> {
        let block = pool::zeroed::<PIN_BLOCK>(pool::tag(b"KsPn")).ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
        list::initialize(block.at(PIN_BLOCK::Queue.then(QUEUE_BLOCK::List)));
        dispatcher::initialize_event(block.at(PIN_BLOCK::Idle), EventType::Notification, true);
        let gate = Mutex::new(Gate { state: KSSTATE_STOP, reset: false, processing: None });
        let format = Mutex::new(connect.format);
        Ok(Self { id: connect.pin, kind, filter: Arc::clone(filter), block, gate, format })
    }

    /// Returns KSSTATE.
    #[must_use]
    pub fn state(&self) -> u32 {
        self.gate.lock().state
    }

    fn list(&self) -> list::List {
        self.block.at(PIN_BLOCK::Queue.then(QUEUE_BLOCK::List))
    }
    fn lock(&self) -> queue::Lock {
        self.block.at(PIN_BLOCK::Queue.then(QUEUE_BLOCK::Lock))
    }

    /// Takes the right to take requests to their end; the gate is held.
    fn begin(&self, gate: &mut Gate) {
        gate.processing = Some(thread());
        dispatcher::clear_event(self.block.at(PIN_BLOCK::Idle));
    }
    fn end(&self, gate: &mut Gate) {
        gate.processing = None;
        dispatcher::set_event(self.block.at(PIN_BLOCK::Idle));
    }

    /// Waits until no other thread takes a request to its end.
    fn rest(&self) {
        let Some(frame) = nt_ke::try_current() else { return };
        let me = frame.thread.object();
        while self.gate.lock().processing.is_some_and(|other| other != me) {
            let idle = self.block.at(PIN_BLOCK::Idle.then(KEVENT::Header)).view::<DISPATCHER_HEADER>();
            let _woken = nt_ke::wait::wait_for_single(&frame, idle, Mode::Kernel, false, None);
        }
    }

    /// Takes what waits to its end, in order, as long as the gate is open.
    fn drain(&self) {
        loop {
            let next = {
                let mut gate = self.gate.lock();
                let open = gate.state == KSSTATE_RUN && !gate.reset;
                let next = if open {
                    queue::remove(self.list(), self.lock(), End::Head, Removal::AcquireAndRemove)
                } else {
                    None
                };
                if next.is_none() {
                    self.end(&mut gate);
                    return;
                }
                next
            };
            if let Some(packet) = next {
                let result = self.consume(packet);
                irp::set_status(packet, result);
                complete::complete_request(packet);
            }
        }
    }

    fn run(&self) {
        let mut gate = self.gate.lock();
        if gate.state == KSSTATE_RUN && !gate.reset && gate.processing.is_none() {
            self.begin(&mut gate);
            drop(gate);
            self.drain();
        }
    }

    fn put_state(&self, _request: &Request, data: &[u8]) -> NtResult<()> {
        let state = data.first_chunk().map_or(u32::MAX, |state| u32::from_le_bytes(*state));
        self.set_state(state)
    }

    /// Changes the state; a stop ends every request (KS-ST-11, KS-ST-12).
    pub fn set_state(&self, state: u32) -> NtResult<()> {
        if !matches!(state, KSSTATE_STOP | KSSTATE_ACQUIRE | KSSTATE_PAUSE | KSSTATE_RUN) {
            rule!(KS_ST_01);
            return NtStatus::INVALID_PARAMETER.fail();
        }
        self.gate.lock().state = state;
        if state == KSSTATE_RUN {
            rule!(KS_ST_09);
            self.run();
            return Ok(());
        }
        self.rest();
        if state == KSSTATE_STOP {
            queue::cancel_io(self.list(), self.lock());
        }
        Ok(())
    }

    fn change_format(&self, raw: &[u8]) -> NtResult<()> {
        let format = judge_format(raw)?;
        format.clone_into(&mut self.format.lock());
        Ok(())
    }

    /// IOCTL_KS_RESET_STATE (KS-RS-01 to KS-RS-06).
    fn reset(&self, packet: Irp) -> NtResult<()> {
        match property::reset_value(packet)? {
            KSRESET_BEGIN => {
                self.gate.lock().reset = true;
                self.rest();
                queue::cancel_io(self.list(), self.lock());
            }
            KSRESET_END => {
                self.gate.lock().reset = false;
                self.run();
            }
            _ => return NtStatus::INVALID_PARAMETER.fail(),
        }
        Ok(())
    }

    /// What a request must find before it is looked at, in the order of KS-I-15.
    fn admit(&self, gate: &Gate, code: u32) -> NtResult<()> {
        let wanted = match self.kind.role {
            Role::Sink => Some(IOCTL_KS_WRITE_STREAM),
            Role::Source => Some(IOCTL_KS_READ_STREAM),
            Role::Raw => None,
        };
        if wanted != Some(code) {
            rule!(KS_I_10);
            return NtStatus::INVALID_DEVICE_REQUEST.fail();
        }
        if gate.reset {
            rule!(KS_I_13);
            return NtStatus::DEVICE_NOT_READY.fail();
        }
        if !matches!(gate.state, KSSTATE_PAUSE | KSSTATE_RUN) {
            rule!(KS_I_12);
            return NtStatus::INVALID_DEVICE_REQUEST.fail();
        }
        Ok(())
    }

    fn stream(&self, irp: OwnedIrp, code: u32) -> Answer {
        let packet = irp.irp();
        let direction = match self.kind.role {
            Role::Source => KSPROBE_STREAMREAD,
            _ => KSPROBE_STREAMWRITE | KSPROBE_ALLOWFORMATCHANGE,
        };
        let flags = direction | KSPROBE_ALLOCATEMDL | KSPROBE_PROBEANDLOCK;
        let admitted = self.admit(&self.gate.lock(), code);
        let probed = admitted.and_then(|()| probe::probe_stream_irp(packet, flags, KSSTREAM_HEADER::SIZE as u32));
        if let Err(error) = probed {
            return irp.complete(error.status(), 0);
        }
        let mut gate = self.gate.lock();
        if let Err(error) = self.admit(&gate, code) {
            drop(gate);
            return irp.complete(error.status(), 0);
        }
        let first = gate.state == KSSTATE_RUN && gate.processing.is_none() && queue::is_empty(self.list(), self.lock());
        if first {
            self.begin(&mut gate);
            drop(gate);
            let result = self.consume(packet);
            let answer = irp.complete(result.status, result.information);
            self.drain();
            return answer;
        }
        let (pended, answer) = irp.pend();
        let cancelled = queue::insert(self.list(), self.lock(), pended.irp(), End::Tail, None);
        drop(gate);
        if let Some(routine) = cancelled {
            cancelable::run(packet, routine);
        } else {
            self.run(); // the gate may have opened, or its holder left, before the request was linked
        }
        answer
    }

    fn consume(&self, packet: Irp) -> IoStatus {
        let result = match self.kind.role {
            Role::Source => fill(packet),
            _ => self.take(packet),
        };
        result.unwrap_or_else(|error| IoStatus::new(error.status(), 0))
    }

    /// Takes the data of a write request (KS-H-02, KS-H-05).
    fn take(&self, packet: Irp) -> NtResult<IoStatus> {
        let mut change: Option<NtError> = None;
        let frames = probe::frames(packet).filter_map(|frame| {
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => return Some(Err(error)),
            };
            verify::header_time(frame.header.options, frame.header.time);
            // A kernel caller's list lies where it is: what it says now may be more than what was judged.
            let data = frame.frame.map(|whole| whole.sub(0, whole.len().min(frame.header.used as usize)));
            if frame.header.options & KSSTREAM_HEADER_OPTIONSF_TYPECHANGED != 0 {
                change = self.take_format(&frame.header, data).err();
                return None;
            }
            data.map(Ok)
        });
        let bytes = self.filter.sink().take(frames)?;
        match change {
            Some(error) => Err(error),
            None => Ok(IoStatus::new(NtStatus::SUCCESS, bytes)),
        }
    }

    /// KS-H-20: the data of a lone header is the new format.
    fn take_format(&self, header: &StreamHeader, data: Option<Region>) -> NtResult<()> {
        let raw = data.map(|data| data.to_vec().map_err(violation)).transpose()?.unwrap_or_default();
        if raw.len() < header.used as usize {
            return NtStatus::INVALID_BUFFER_SIZE.fail();
        }
        self.change_format(&raw)
    }
}

/// Fills the frames of a read request with silence (KS-H-03, KS-H-06).
fn fill(packet: Irp) -> NtResult<IoStatus> {
    let list = probe::list(packet);
    for frame in probe::frames(packet) {
        let frame = frame?;
        if let Some(room) = frame.frame {
            room.fill(0).map_err(violation)?;
        }
        let used = frame.header.offset + KSSTREAM_HEADER::DataUsed.offset();
        list.store::<u32>(used, frame.header.extent).map_err(violation)?;
    }
    Ok(IoStatus::new(NtStatus::SUCCESS, list.len() as u64))
}

impl KsObject for Pin {
    fn device_control(&self, irp: OwnedIrp) -> Answer {
        let packet = irp.irp();
        let result = match irp.stack().get(IO_STACK_LOCATION::DeviceIoControl_IoControlCode) {
            code @ (IOCTL_KS_WRITE_STREAM | IOCTL_KS_READ_STREAM) => return self.stream(irp, code),
            IOCTL_KS_PROPERTY => property::handle(PROPERTIES, self, packet),
            IOCTL_KS_RESET_STATE => match self.reset(packet) {
                Ok(()) => IoStatus::new(NtStatus::SUCCESS, 0),
                Err(error) => IoStatus::new(error.status(), 0),
            },
            _ => return OwnedIrp::answered(dispatch::default_device_io_completion(irp.into_irp())),
        };
        irp.complete(result.status, result.information)
    }

    /// A raw pin takes plain writes in every state: it is no stream.
    fn write(&self, irp: OwnedIrp) -> Answer {
        if self.kind.role != Role::Raw {
            rule!(KS_W_33);
            return irp.complete(NtStatus::INVALID_DEVICE_REQUEST, 0);
        }
        let taken = match irp.irp().ptr(IRP::MdlAddress) {
            Some(described) => mdl::region(described),
            None => Ok(Region::EMPTY),
        };
        let result = taken.and_then(|data| self.filter.sink().take(std::iter::once(Ok(data))));
        irp.finish(result.map(|bytes| (NtStatus::SUCCESS, bytes)))
    }

    fn fast_write(&self, call: &ObjectCall) -> Option<IoStatus> {
        if self.kind.role != Role::Raw || call.offset.is_none() {
            return None; // a header list is no data (KS-S-08)
        }
        let bytes = self.filter.sink().take(std::iter::once(Ok(call.buffer))).ok()?;
        Some(IoStatus::new(NtStatus::SUCCESS, bytes))
    }

    fn cleanup(&self) {
        rule!(KS_PN_22);
        let _stopped = self.set_state(KSSTATE_STOP);
    }
}

/// Makes raw writes of a device's pins come as MDLs.
pub(crate) fn direct(device: device::Device) {
    device.or32(DEVICE_OBJECT::Flags, nt_abi::io::DO_DIRECT_IO);
}
