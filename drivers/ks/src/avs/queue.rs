//! The queue of a pin: requests, their frames, the leading edge and the stream pointers.
//!
//! Room: drivers/ks. Called by: pins, stream pointers, processing. Calls: nothing with the lock held. IRQL: <= DISPATCH_LEVEL.
//! Locks: the queue's, a leaf; what is done is returned as [`Done`], to be finished after it.
//! Source: "Stream Pointers", KSSTREAM_POINTER pages; rules KS-AV-17 to KS-AV-35, KS-H-08 to KS-H-14.
//! A frame has a number that only grows; the leading edge is the number of the frame that it stands on, or the number that the
//! next frame will get.

use crate::avs::pin::{AvPin, Flag};
use crate::probe;
use nt_abi::io::IRP;
use nt_abi::ks::{
    KSEVENT_CONNECTION_ENDOFSTREAM, KSEVENTSETID_Connection, KSSTREAM_HEADER, KSSTREAM_HEADER_OPTIONSF_ENDOFSTREAM,
    KSSTREAM_POINTER, KSSTREAM_POINTER_OFFSET,
};
use nt_abi::mm::MDL;
use nt_abi::{NtResult, NtStatus};
use nt_cell::{CodePtr, Foreign};
use nt_io::irp::{self, IoStatus, Irp};
use nt_ke::Mutex;
use nt_mm::mdl;
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
    fn is_locked(&self, packet: u64) -> bool {
        self.pointers.iter().any(|pointer| {
            pointer.locked
                && self
                    .number_of(pointer)
                    .and_then(|n| self.frame(n))
                    .is_some_and(|at| self.frames[at].packet == packet)
        })
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

    /// Returns how many clones there are.
    #[must_use]
    pub fn clones(&self) -> usize {
        self.inner.lock().pointers.iter().filter(|pointer| pointer.id > TRAILING).count()
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
        packet.set_code(IRP::CancelRoutine, Some(super::exports::cancel_routine()));
        if packet.get(IRP::Cancel) != 0 && packet.swap_code(IRP::CancelRoutine, None).is_some() {
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

    /// After a lock was dropped: a request that was cancelled meanwhile ends now.
    fn after_unlock(&self, inner: &mut Inner, done: &mut Done) {
        let late: Vec<u64> =
            inner.requests.iter().filter(|each| each.cancelled).map(|each| each.packet.addr()).collect();
        for packet in late.into_iter().filter(|packet| !inner.is_locked(*packet)).collect::<Vec<_>>() {
            self.drop_request(inner, packet, done);
        }
    }

    /// Returns the stream pointer of an edge, if the queue is open and has it.
    #[must_use]
    pub fn edge(&self, id: Id) -> Option<Foreign<KSSTREAM_POINTER>> {
        let inner = self.inner.lock();
        if !inner.alive {
            return None;
        }
        inner.pointer(id).map(|at| inner.pointers[at].block)
    }

    fn fill(&self, inner: &mut Inner, index: usize, number: u64) {
        let Some(at) = inner.frame(number) else { return };
        let (header, data) = (inner.frames[at].header, inner.frames[at].data);
        let count = if self.input { inner.frames[at].used } else { inner.frames[at].extent };
        let pointer = &mut inner.pointers[index];
        let block = pointer.block;
        let (ours, other) = if self.input {
            (block.at(KSSTREAM_POINTER::OffsetIn), block.at(KSSTREAM_POINTER::OffsetOut))
        } else {
            (block.at(KSSTREAM_POINTER::OffsetOut), block.at(KSSTREAM_POINTER::OffsetIn))
        };
        if pointer.offsets_of != Some(number) {
            pointer.offsets_of = Some(number);
            ours.set_addr(KSSTREAM_POINTER_OFFSET::Data, data);
            ours.set(KSSTREAM_POINTER_OFFSET::Count, count);
            ours.set(KSSTREAM_POINTER_OFFSET::Remaining, count);
            other.set_addr(KSSTREAM_POINTER_OFFSET::Data, 0);
            other.set(KSSTREAM_POINTER_OFFSET::Count, 0);
            other.set(KSSTREAM_POINTER_OFFSET::Remaining, 0);
        }
        block.set_addr(KSSTREAM_POINTER::Offset, ours.addr());
        block.set_ptr(KSSTREAM_POINTER::StreamHeader, Some(header));
    }

    fn lock_in(&self, inner: &mut Inner, index: usize) -> NtStatus {
        let Some(number) = inner.number_of(&inner.pointers[index]) else {
            return NtStatus::DEVICE_NOT_READY;
        };
        self.fill(inner, index, number);
        inner.pointers[index].locked = true;
        NtStatus::SUCCESS
    }

    fn unlock_in(&self, inner: &mut Inner, index: usize) {
        self.note_used(inner, index);
        inner.pointers[index].locked = false;
        inner.pointers[index].block.set_addr(KSSTREAM_POINTER::StreamHeader, 0);
    }

    /// KS-H-10: with mappings the runtime says how much of an output frame was used.
    fn note_used(&self, inner: &mut Inner, index: usize) {
        if self.input || !self.mappings {
            return;
        }
        let Some(at) = inner.number_of(&inner.pointers[index]).and_then(|number| inner.frame(number)) else { return };
        let out = inner.pointers[index].block.at(KSSTREAM_POINTER::OffsetOut);
        let used = out.get(KSSTREAM_POINTER_OFFSET::Count) - out.get(KSSTREAM_POINTER_OFFSET::Remaining);
        inner.frames[at].header.set(KSSTREAM_HEADER::DataUsed, used);
    }

    /// KsStreamPointerLock (KS-AV-19).
    pub fn lock(&self, id: Id) -> NtStatus {
        let mut inner = self.inner.lock();
        match inner.pointer(id) {
            Some(index) => self.lock_in(&mut inner, index),
            None => NtStatus::DEVICE_NOT_READY,
        }
    }

    /// Returns whether a stream pointer is locked.
    #[must_use]
    pub fn locked(&self, id: Id) -> bool {
        let inner = self.inner.lock();
        inner.pointer(id).is_some_and(|index| inner.pointers[index].locked)
    }

    /// KsStreamPointerUnlock (KS-AV-24).
    pub fn unlock(&self, id: Id, eject: bool) -> Done {
        let mut done = Done::default();
        let mut inner = self.inner.lock();
        if let Some(index) = inner.pointer(id) {
            self.unlock_in(&mut inner, index);
            if eject {
                Self::step(&mut inner, index);
            }
            self.after_unlock(&mut inner, &mut done);
            self.settle(&mut inner, &mut done);
        }
        done
    }

    /// Moves a pointer to the next frame.
    fn step(inner: &mut Inner, index: usize) {
        let Some(number) = inner.number_of(&inner.pointers[index]) else { return };
        let next = inner.frames.get(inner.from(number + 1)).map_or(inner.next, |frame| frame.number);
        match inner.pointers[index].id {
            LEADING => inner.leading = next,
            TRAILING => inner.trailing = Some(next),
            _ => {
                if let Some(at) = inner.frame(number) {
                    inner.frames[at].clones -= 1;
                }
                let there = inner.frame(next);
                if let Some(at) = there {
                    inner.frames[at].clones += 1;
                }
                inner.pointers[index].number = there.map(|_| next);
            }
        }
    }

    /// KsStreamPointerAdvance (KS-AV-21).
    pub fn advance(&self, id: Id) -> (NtStatus, Done) {
        let mut done = Done::default();
        let mut inner = self.inner.lock();
        let Some(index) = inner.pointer(id) else { return (NtStatus::DEVICE_NOT_READY, done) };
        let was = inner.pointers[index].locked;
        if was {
            self.unlock_in(&mut inner, index);
        }
        Self::step(&mut inner, index);
        let status = if was { self.lock_in(&mut inner, index) } else { NtStatus::SUCCESS };
        self.after_unlock(&mut inner, &mut done);
        self.settle(&mut inner, &mut done);
        (status, done)
    }

    /// KsStreamPointerAdvanceOffsets, and with `leave` ...AndUnlock (KS-AV-22, KS-AV-23); `true` when a count was too large.
    pub fn advance_offsets(&self, id: Id, used: (u32, u32), eject: bool, leave: bool) -> (NtStatus, bool, Done) {
        let mut done = Done::default();
        let mut inner = self.inner.lock();
        let Some(index) = inner.pointer(id).filter(|&index| inner.pointers[index].locked) else {
            return (NtStatus::DEVICE_NOT_READY, false, done);
        };
        let block = inner.pointers[index].block;
        let mut over = false;
        let mut go = |offset: Foreign<KSSTREAM_POINTER_OFFSET>, used: u32| {
            let left = offset.get(KSSTREAM_POINTER_OFFSET::Remaining);
            over |= used > left;
            let used = used.min(left);
            offset.set(KSSTREAM_POINTER_OFFSET::Remaining, left - used);
            let data = offset.addr_at(KSSTREAM_POINTER_OFFSET::Data);
            offset.set_addr(KSSTREAM_POINTER_OFFSET::Data, data + u64::from(used));
            left - used
        };
        let left =
            (go(block.at(KSSTREAM_POINTER::OffsetIn), used.0), go(block.at(KSSTREAM_POINTER::OffsetOut), used.1));
        let left = if self.input { left.0 } else { left.1 };
        let mut status = NtStatus::SUCCESS;
        if left == 0 || eject {
            self.unlock_in(&mut inner, index);
            Self::step(&mut inner, index);
            if !leave {
                status = self.lock_in(&mut inner, index);
            }
        } else if leave {
            self.unlock_in(&mut inner, index);
        }
        self.after_unlock(&mut inner, &mut done);
        self.settle(&mut inner, &mut done);
        (status, over, done)
    }

    /// KsStreamPointerClone: a new pointer on the same frame, in the same state (KS-AV-25).
    pub fn clone_of(&self, id: Id, block: Foreign<KSSTREAM_POINTER>, cancel: Option<CodePtr>) -> NtResult<Id> {
        let mut inner = self.inner.lock();
        let index = inner.pointer(id).ok_or(NtStatus::DEVICE_NOT_READY.error())?;
        let number = inner.number_of(&inner.pointers[index]).ok_or(NtStatus::DEVICE_NOT_READY.error())?;
        let (locked, offsets_of) = (inner.pointers[index].locked, inner.pointers[index].offsets_of);
        let made = inner.next_id;
        inner.next_id += 1;
        inner.pointers.push(Pointer { id: made, block, number: Some(number), locked, offsets_of, cancel });
        if let Some(at) = inner.frame(number) {
            inner.frames[at].clones += 1;
        }
        let offset = if self.input { KSSTREAM_POINTER::OffsetIn } else { KSSTREAM_POINTER::OffsetOut };
        block.set_addr(KSSTREAM_POINTER::Offset, block.at(offset).addr());
        Ok(made)
    }

    /// KsStreamPointerDelete (KS-AV-26); `None` for an edge, which stays.
    pub fn delete(&self, id: Id) -> Option<Done> {
        let mut done = Done::default();
        let mut inner = self.inner.lock();
        let index = inner.pointer(id).filter(|_| id > TRAILING)?;
        self.note_used(&mut inner, index);
        let pointer = inner.pointers.remove(index);
        if let Some(at) = pointer.number.and_then(|number| inner.frame(number)) {
            inner.frames[at].clones -= 1;
        }
        self.after_unlock(&mut inner, &mut done);
        self.settle(&mut inner, &mut done);
        Some(done)
    }

    /// KsPinGetFirstCloneStreamPointer, and after `id` KsStreamPointerGetNextClone (KS-AV-27).
    #[must_use]
    pub fn next_clone(&self, id: Id) -> Option<Foreign<KSSTREAM_POINTER>> {
        let inner = self.inner.lock();
        inner.pointers.iter().find(|pointer| pointer.id > id.max(TRAILING)).map(|pointer| pointer.block)
    }

    /// KsStreamPointerSetStatusCode (KS-AV-31): the first error of a request is its status.
    pub fn set_status(&self, id: Id, status: NtStatus) -> NtStatus {
        let mut inner = self.inner.lock();
        let number = inner.pointer(id).and_then(|index| inner.number_of(&inner.pointers[index]));
        let Some(at) = number.and_then(|number| inner.frame(number)) else { return NtStatus::DEVICE_NOT_READY };
        let packet = inner.frames[at].packet;
        if let Some(request) = inner.requests.iter_mut().find(|request| request.packet.addr() == packet)
            && !request.status.is_error()
        {
            request.status = status;
        }
        NtStatus::SUCCESS
    }

    /// KsStreamPointerGetIrp: the packet of a locked pointer, and whether its frame is the first and the last one of the packet.
    #[must_use]
    pub fn packet_of(&self, id: Id) -> Option<(Irp, bool, bool)> {
        let inner = self.inner.lock();
        let index = inner.pointer(id).filter(|&index| inner.pointers[index].locked)?;
        let at = inner.frame(inner.number_of(&inner.pointers[index])?)?;
        let frame = &inner.frames[at];
        let request = inner.requests.iter().find(|request| request.packet.addr() == frame.packet)?;
        let list = request.packet.addr_at(IRP::AssociatedIrp_SystemBuffer);
        let last = frame.end as usize == probe::list(request.packet).len();
        Some((request.packet, frame.header.addr() == list, last))
    }

    /// KsStreamPointerGetMdl.
    #[must_use]
    pub fn mdl_of(&self, id: Id) -> Option<Foreign<MDL>> {
        let inner = self.inner.lock();
        let index = inner.pointer(id).filter(|&index| inner.pointers[index].locked)?;
        let at = inner.frame(inner.number_of(&inner.pointers[index])?)?;
        inner.frames[at].mdl.filter(|mdl| mdl::span(*mdl).1 != 0)
    }

    /// Returns whether the pointer stands on a frame.
    #[must_use]
    pub fn has_frame(&self, id: Id) -> bool {
        let inner = self.inner.lock();
        inner.pointer(id).is_some_and(|index| inner.number_of(&inner.pointers[index]).is_some())
    }

    /// Returns the leading edge's number and what is left of its frame: what changes when processing gets on.
    #[must_use]
    pub fn progress(&self) -> (u64, u32, usize) {
        let inner = self.inner.lock();
        let left = inner.pointer(LEADING).map_or(0, |index| {
            let block = inner.pointers[index].block;
            let offset = if self.input { KSSTREAM_POINTER::OffsetIn } else { KSSTREAM_POINTER::OffsetOut };
            block.at(offset).get(KSSTREAM_POINTER_OFFSET::Remaining)
        });
        (inner.leading, left, inner.frames.len())
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
            let offset = if self.input { KSSTREAM_POINTER::OffsetIn } else { KSSTREAM_POINTER::OffsetOut };
            let offset = pointer.block.at(offset);
            let gone = offset.get(KSSTREAM_POINTER_OFFSET::Count) - offset.get(KSSTREAM_POINTER_OFFSET::Remaining);
            all -= u64::from(gone);
        }
        Some(all)
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
        let _cleared = packet.swap_code(IRP::CancelRoutine, None);
        irp::set_status(packet, result);
        nt_io::complete::complete_request(packet);
    }
}
