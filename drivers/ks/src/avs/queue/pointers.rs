//! What stream pointers do: lock, unlock, advance, clone, delete, and what they stand on.
//!
//! Room: drivers/ks. Called by: `pointer`, processing. IRQL: <= DISPATCH_LEVEL. Locks: the queue's, a leaf.
//! Source: KSSTREAM_POINTER, KsStreamPointer... pages; rules KS-AV-19 to KS-AV-33, KS-H-10.

use super::{Done, Id, Inner, LEADING, Pointer, Queue, TRAILING};
use crate::probe;
use nt_abi::io::IRP;
use nt_abi::ks::{KSSTREAM_HEADER, KSSTREAM_POINTER, KSSTREAM_POINTER_OFFSET};
use nt_abi::mm::MDL;
use nt_abi::{NtResult, NtStatus};
use nt_cell::{CodePtr, Foreign};
use nt_io::irp::Irp;
use nt_mm::mdl;

impl Queue {
    /// Returns how many clones there are.
    #[must_use]
    pub fn clones(&self) -> usize {
        self.inner.lock().pointers.iter().filter(|pointer| pointer.id > TRAILING).count()
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
        let Some(at) = inner.frame_of(&inner.pointers[index]) else { return };
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
        inner.locked_pointer(id).is_some()
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
        (status, done)
    }

    /// KsStreamPointerAdvanceOffsets, and with `leave` ...AndUnlock (KS-AV-22, KS-AV-23); `true` when a count was too large.
    pub fn advance_offsets(&self, id: Id, used: (u32, u32), eject: bool, leave: bool) -> (NtStatus, bool, Done) {
        let mut done = Done::default();
        let mut inner = self.inner.lock();
        let Some(index) = inner.locked_pointer(id) else {
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
        block.set_addr(KSSTREAM_POINTER::Offset, block.at(self.side()).addr());
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
        let at = inner.pointer(id).and_then(|index| inner.frame_of(&inner.pointers[index]));
        let Some(at) = at else { return NtStatus::DEVICE_NOT_READY };
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
        let index = inner.locked_pointer(id)?;
        let at = inner.frame_of(&inner.pointers[index])?;
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
        let index = inner.locked_pointer(id)?;
        let at = inner.frame_of(&inner.pointers[index])?;
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
        let left = inner
            .pointer(LEADING)
            .map_or(0, |index| inner.pointers[index].block.at(self.side()).get(KSSTREAM_POINTER_OFFSET::Remaining));
        (inner.leading, left, inner.frames.len())
    }
}
