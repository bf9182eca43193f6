//! The queue of a pin: requests, their frames, and when they end. The operations of stream pointers are in `pointers`.
//!
//! Room: drivers/ks. Called by: pins, stream pointers, processing. Calls: nothing with the lock held. IRQL: <= DISPATCH_LEVEL.
//! Locks: the queue's, a leaf; what is done is returned as [`Done`], to be finished after it.
//! Source: "Stream Pointers", KSSTREAM_POINTER pages; rules KS-AV-17 to KS-AV-20, KS-AV-28, KS-AV-34, KS-H-08 to KS-H-14.
//! A frame has a number that only grows; the leading edge is the number of the frame that it stands on, or the number that the
//! next frame will get.

mod pointers;

use crate::avs::pin::{AvPin, Flag};
use crate::{dispatch, object, probe};
use nt_abi::io::{IO_STACK_LOCATION, IRP};
use nt_abi::ks::{
    KSEVENT_CONNECTION_ENDOFSTREAM, KSEVENTSETID_Connection, KSSTREAM_HEADER, KSSTREAM_HEADER_OPTIONSF_ENDOFSTREAM,
    KSSTREAM_POINTER, KSSTREAM_POINTER_OFFSET,
};
use nt_abi::mm::MDL;
use nt_abi::{Field, NtResult, NtStatus};
use nt_cell::{CodePtr, Foreign};
use nt_io::cancelable::{self, Keeper, routine_of};
use nt_io::irp::{self, IoStatus, Irp};
use nt_ke::Mutex;
use std::collections::VecDeque;

/// Names a stream pointer of the queue.
pub type Id = u64;
/// The leading edge.
pub const LEADING: Id = 1;
/// The trailing edge.
pub const TRAILING: Id = 2;

struct Frame {
    number: u64,
    packet: u64,
    header: Foreign<KSSTREAM_HEADER>,
    /// Where the header ends in the list.
    end: u64,
    extent: u32,
    used: u32,
    data: u64,
    mdl: Option<Foreign<MDL>>,
    clones: u32,
    /// KSSTREAM_HEADER_OPTIONSF_ENDOFSTREAM.
    last: bool,
}

struct Request {
    packet: Irp,
    frames: usize,
    count: u64,
    status: NtStatus,
    cancelled: bool,
}

struct Pointer {
    id: Id,
    block: Foreign<KSSTREAM_POINTER>,
    /// The frame; for the edges the queue knows better.
    number: Option<u64>,
    locked: bool,
    /// The frame that the offsets are of.
    offsets_of: Option<u64>,
    cancel: Option<CodePtr>,
}

struct Inner {
    frames: VecDeque<Frame>,
    requests: VecDeque<Request>,
    pointers: Vec<Pointer>,
    next: u64,
    leading: u64,
    trailing: Option<u64>,
    next_id: Id,
    alive: bool,
}

/// A request that has ended, and what it ends with.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// The packet.
    pub packet: Irp,
    /// Its result.
    pub result: IoStatus,
}

/// What is to be done once the lock is free.
#[derive(Debug, Default)]
#[must_use]
pub struct Done {
    /// Packets to complete, in order.
    pub ended: Vec<Ended>,
    /// Cancel callbacks of clones, with their stream pointers.
    pub callbacks: Vec<(CodePtr, Foreign<KSSTREAM_POINTER>)>,
    /// Frames that ended a stream and were let go.
    pub last: usize,
}

/// The queue.
pub struct Queue {
    inner: Mutex<Inner>,
    /// Data goes in: a write request, Information counts its bytes.
    input: bool,
    fifo: bool,
    mappings: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let inner = self.inner.lock();
        write!(f, "Queue({} frames, {} requests)", inner.frames.len(), inner.requests.len())
    }
}

impl Inner {
    /// The index of the first frame at or behind a number.
    fn from(&self, number: u64) -> usize {
        self.frames.partition_point(|frame| frame.number < number)
    }
    fn frame(&self, number: u64) -> Option<usize> {
        let at = self.from(number);
        (self.frames.get(at)?.number == number).then_some(at)
    }
    fn pointer(&self, id: Id) -> Option<usize> {
        self.pointers.iter().position(|pointer| pointer.id == id)
    }
    fn locked_pointer(&self, id: Id) -> Option<usize> {
        self.pointer(id).filter(|&index| self.pointers[index].locked)
    }
    /// Moves an edge that stands on a frame that is gone to the next one.
    fn settle_edges(&mut self) {
        let next = self.next;
        let at = self.from(self.leading);
        self.leading = self.frames.get(at).map_or(next, |frame| frame.number);
        if let Some(trailing) = self.trailing {
            let at = self.from(trailing);
            self.trailing = Some(self.frames.get(at).map_or(next, |frame| frame.number));
        }
    }
    fn number_of(&self, pointer: &Pointer) -> Option<u64> {
        let number = match pointer.id {
            LEADING => self.leading,
            TRAILING => self.trailing?,
            _ => pointer.number?,
        };
        self.frame(number).map(|_| number)
    }
    /// The index of the frame that a pointer stands on.
    fn frame_of(&self, pointer: &Pointer) -> Option<usize> {
        self.number_of(pointer).and_then(|number| self.frame(number))
    }
    fn is_locked(&self, packet: u64) -> bool {
        let on = |pointer: &Pointer| self.frame_of(pointer).is_some_and(|at| self.frames[at].packet == packet);
        self.pointers.iter().any(|pointer| pointer.locked && on(pointer))
    }
    fn references(&self, frame: &Frame) -> u32 {
        let ahead = u32::from(frame.number >= self.leading);
        let window =
            u32::from(self.trailing.is_some_and(|trailing| trailing <= frame.number && frame.number < self.leading));
        frame.clones + ahead + window
    }
}

impl Queue {
    /// Makes an empty queue.
    #[must_use]
    pub fn new(input: bool, fifo: bool, mappings: bool, distinct_trailing: bool) -> Self {
        let trailing = distinct_trailing.then_some(1);
        let inner = Inner {
            frames: VecDeque::new(),
            requests: VecDeque::new(),
            pointers: Vec::new(),
            next: 1,
            leading: 1,
            trailing,
            next_id: TRAILING + 1,
            alive: false,
        };
        Self { inner: Mutex::new(inner), input, fifo, mappings }
    }

    /// Opens the queue (a pin that rises to ACQUIRE) with the blocks of its edges (KS-ST-08).
    pub fn open(&self, leading: Foreign<KSSTREAM_POINTER>, trailing: Option<Foreign<KSSTREAM_POINTER>>) {
        let mut inner = self.inner.lock();
        inner.alive = true;
        let edge = |id, block| Pointer { id, block, number: None, locked: false, offsets_of: None, cancel: None };
        inner.pointers.retain(|pointer| pointer.id > TRAILING);
        inner.pointers.push(edge(LEADING, leading));
        if let Some(trailing) = trailing {
            inner.pointers.push(edge(TRAILING, trailing));
        }
    }

    /// Closes it (a pin that falls to STOP): the edges go, and every request is cancelled, but for those that are locked.
    pub fn close(&self) -> Done {
        self.inner.lock().alive = false;
        self.cancel_all()
    }

    /// Returns whether the queue is open.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.inner.lock().alive
    }

    /// Returns whether nothing waits for its end.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.lock().requests.is_empty()
    }

    /// Links a probed request; `true` if no frame was at or ahead of the leading edge (KS-AV-08).
    pub fn insert(&self, packet: Irp) -> NtResult<bool> {
        let mut found = Vec::new();
        let mut next = packet.ptr(IRP::MdlAddress);
        let list = packet.ptr(IRP::AssociatedIrp_SystemBuffer).ok_or(NtStatus::INVALID_PARAMETER.error())?;
        for frame in probe::frames(packet) {
            let frame = frame?;
            let own = if frame.frame.is_some() { next } else { None };
            next = own.map_or(next, |mdl| mdl.ptr(MDL::Next));
            found.push((frame.header, own, frame.frame.map_or(0, |data| data.addr())));
        }
        let mut inner = self.inner.lock();
        // With the lock held: the cancel routine finds the request, or it is not called at all.
        if cancelable::set_routine(packet, routine_of::<AvPin>()) {
            return NtStatus::CANCELLED.fail();
        }
        let first = inner.from(inner.leading) == inner.frames.len();
        for (header, mdl, data) in &found {
            let number = inner.next;
            inner.next += 1;
            inner.frames.push_back(Frame {
                number,
                packet: packet.addr(),
                header: Foreign::of_table(list.addr() + header.offset as u64),
                end: header.offset as u64 + u64::from(header.size),
                extent: header.extent,
                used: header.used,
                data: *data,
                mdl: *mdl,
                clones: 0,
                last: header.options & KSSTREAM_HEADER_OPTIONSF_ENDOFSTREAM != 0,
            });
        }
        inner.requests.push_back(Request {
            packet,
            frames: found.len(),
            count: 0,
            status: NtStatus::SUCCESS,
            cancelled: false,
        });
        Ok(first)
    }

    /// Takes frames away that nobody refers to, and requests that have no frames.
    fn settle(&self, inner: &mut Inner, done: &mut Done) {
        inner.settle_edges();
        let mut at = 0;
        while at < inner.frames.len() {
            if inner.references(&inner.frames[at]) != 0 {
                at += 1;
                continue;
            }
            let Some(frame) = inner.frames.remove(at) else { break };
            done.last += usize::from(frame.last);
            let used = if self.input { u64::from(frame.used) } else { frame.end };
            if let Some(request) = inner.requests.iter_mut().find(|request| request.packet.addr() == frame.packet) {
                request.frames -= 1;
                request.count = if self.input { request.count + used } else { request.count.max(used) };
            }
        }
        let mut index = 0;
        while index < inner.requests.len() {
            if inner.requests[index].frames != 0 {
                if self.fifo {
                    break; // KS-H-13
                }
                index += 1;
                continue;
            }
            if let Some(request) = inner.requests.remove(index) {
                let count = if request.status.is_error() && !self.input { 0 } else { request.count };
                done.ended.push(Ended { packet: request.packet, result: IoStatus::new(request.status, count) });
            }
        }
        inner.settle_edges();
    }

    /// Takes a request out; pointers that stood on its frames stand nowhere (KS-AV-28).
    fn drop_request(&self, inner: &mut Inner, packet: u64, done: &mut Done) {
        let numbers: Vec<u64> =
            inner.frames.iter().filter(|frame| frame.packet == packet).map(|frame| frame.number).collect();
        for pointer in &mut inner.pointers {
            if pointer.id > TRAILING && pointer.number.is_some_and(|number| numbers.contains(&number)) {
                pointer.number = None;
                if let Some(cancel) = pointer.cancel {
                    done.callbacks.push((cancel, pointer.block));
                }
            }
        }
        inner.frames.retain(|frame| frame.packet != packet);
        if let Some(at) = inner.requests.iter().position(|request| request.packet.addr() == packet)
            && let Some(request) = inner.requests.remove(at)
        {
            let count = if self.input { request.count } else { 0 };
            done.ended.push(Ended { packet: request.packet, result: IoStatus::new(NtStatus::CANCELLED, count) });
        }
        inner.settle_edges();
    }

    /// A request is cancelled: now, or when its last lock is dropped (KS-AV-20).
    pub fn cancel(&self, packet: Irp) -> Done {
        let mut done = Done::default();
        let mut inner = self.inner.lock();
        let address = packet.addr();
        let Some(request) = inner.requests.iter_mut().find(|request| request.packet.addr() == address) else {
            return done;
        };
        request.cancelled = true;
        if !inner.is_locked(address) {
            self.drop_request(&mut inner, address, &mut done);
            self.settle(&mut inner, &mut done);
        }
        done
    }

    /// Cancels every request, oldest first.
    pub fn cancel_all(&self) -> Done {
        let packets: Vec<Irp> = self.inner.lock().requests.iter().map(|request| request.packet).collect();
        let mut all = Done::default();
        for packet in packets {
            let done = self.cancel(packet);
            all.ended.extend(done.ended);
            all.callbacks.extend(done.callbacks);
            all.last += done.last;
        }
        all
    }

    /// After a lock was dropped: a request that was cancelled meanwhile ends now, and what nobody refers to goes.
    fn after_unlock(&self, inner: &mut Inner, done: &mut Done) {
        let late: Vec<u64> =
            inner.requests.iter().filter(|each| each.cancelled).map(|each| each.packet.addr()).collect();
        for packet in late.into_iter().filter(|packet| !inner.is_locked(*packet)).collect::<Vec<_>>() {
            self.drop_request(inner, packet, done);
        }
        self.settle(inner, done);
    }

    /// The offset that counts: data goes in, or room goes out.
    fn side(&self) -> Field<KSSTREAM_POINTER, KSSTREAM_POINTER_OFFSET> {
        if self.input { KSSTREAM_POINTER::OffsetIn } else { KSSTREAM_POINTER::OffsetOut }
    }

    /// KsPinGetAvailableByteCount: {bytes of data, bytes of room} from the leading edge on (KS-AV-34).
    #[must_use]
    pub fn available(&self) -> Option<u64> {
        let inner = self.inner.lock();
        if !inner.alive {
            return None;
        }
        let bytes = |frame: &Frame| u64::from(if self.input { frame.used } else { frame.extent });
        let mut all: u64 = inner.frames.iter().skip(inner.from(inner.leading)).map(bytes).sum();
        if let Some(index) = inner.pointer(LEADING)
            && let pointer = &inner.pointers[index]
            && pointer.offsets_of.is_some_and(|of| of == inner.leading && inner.frame(of).is_some())
        {
            let offset = pointer.block.at(self.side());
            let gone = offset.get(KSSTREAM_POINTER_OFFSET::Count) - offset.get(KSSTREAM_POINTER_OFFSET::Remaining);
            all -= u64::from(gone);
        }
        Some(all)
    }
}

impl Keeper for AvPin {
    fn cancelled(packet: Irp) {
        let file = irp::current(packet).ptr(IO_STACK_LOCATION::FileObject);
        let object = file.and_then(dispatch::object_header).and_then(object::native);
        if let Some(pin) = object.and_then(|object| object.av_pin()) {
            finish(&pin, pin.queue().cancel(packet));
        }
    }
}

/// Finishes what a queue has let go: the cancel callbacks first, at DISPATCH_LEVEL (KS-AV-28), then the packets.
pub fn finish(pin: &AvPin, done: Done) {
    if pin.has(Flag::EosEvents) {
        let (set, id) = (Some(KSEVENTSETID_Connection), KSEVENT_CONNECTION_ENDOFSTREAM);
        (0..done.last).for_each(|_| {
            pin.events.generate(set, id); // KS-EV-16: before the request ends
        });
    }
    if !done.callbacks.is_empty() {
        let _level = nt_ke::irql::at(nt_ke::irql::DISPATCH_LEVEL);
        for (routine, pointer) in done.callbacks {
            let _nothing = super::call(routine, &[pointer.addr()]);
        }
    }
    for Ended { packet, result } in done.ended {
        let _taken = cancelable::take_routine(packet);
        irp::set_status(packet, result);
        nt_io::complete::complete_request(packet);
    }
}
