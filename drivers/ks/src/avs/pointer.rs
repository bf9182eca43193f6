//! Stream pointers as drivers hold them: KSSTREAM_POINTER in pool, with the id of the queue's pointer in front.
//!
//! Room: drivers/ks. Called by: drivers. Calls: `queue`. IRQL: <= DISPATCH_LEVEL. Locks: the queue's.
//! Source: KsStreamPointer... and KsPinGet...StreamPointer pages; rules KS-AV-18 to KS-AV-35.

use crate::avs::pin::AvPin;
use crate::avs::queue::{self, Id, LEADING, TRAILING};
use crate::avs::{self, finding};
use nt_abi::ks::{KSSTREAM_POINTER, KSSTREAM_POINTER_STATE_LOCKED};
use nt_abi::{NtResult, NtStatus};
use nt_cell::{CodePtr, Foreign, Region};
use nt_ex::pool;
use std::sync::Arc;

nt_abi::layout! {
    /// What lies in front of a stream pointer.
    pub struct POINTER_EXT: 0x10 {
        /// A mark.
        Mark @ 0x00: u64;
        /// Which of the queue's pointers it is.
        Id @ 0x08: u64;
    }
}

const MARK: u64 = 0x4B53_5374_7250_7472;

/// A stream pointer of a driver.
pub type Pointer = Foreign<KSSTREAM_POINTER>;

/// Makes a block for a pointer of `pin`, with `context` bytes behind it.
pub(crate) fn allocate(pin: &AvPin, id: Id, context: usize) -> NtResult<Pointer> {
    let size = POINTER_EXT::SIZE + KSSTREAM_POINTER::SIZE + context;
    let block = pool::allocate(size, pool::tag(b"KsSp"), pool::PoolKind::NonPaged);
    let ext: Foreign<POINTER_EXT> = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?.view();
    ext.set(POINTER_EXT::Mark, MARK);
    ext.set(POINTER_EXT::Id, id);
    let pointer: Pointer = ext.following();
    pointer.set_ptr(KSSTREAM_POINTER::Pin, Some(pin.body()));
    Ok(pointer)
}

pub(crate) fn free(pointer: Pointer) {
    let ext = pointer.preceding::<POINTER_EXT>();
    ext.set(POINTER_EXT::Mark, 0);
    pool::free(ext);
}

/// Returns the pin and the id of a pointer; `None` for one that was deleted.
fn of(pointer: Pointer) -> Option<(Arc<AvPin>, Id)> {
    let ext = pointer.preceding::<POINTER_EXT>();
    if ext.get(POINTER_EXT::Mark) != MARK {
        return None;
    }
    Some((avs::pin_of(pointer.ptr(KSSTREAM_POINTER::Pin)?)?, ext.get(POINTER_EXT::Id)))
}

/// KsPinGetLeadingEdgeStreamPointer, KsPinGetTrailingEdgeStreamPointer (KS-AV-18, KS-AV-30).
#[must_use]
pub fn edge(pin: &AvPin, trailing: bool, state: u32) -> Option<Pointer> {
    let id = if trailing { TRAILING } else { LEADING };
    let found = pin.queue().edge(id)?;
    if state == KSSTREAM_POINTER_STATE_LOCKED && pin.queue().lock(id).is_error() {
        return None;
    }
    Some(found)
}

/// KsStreamPointerLock.
#[must_use]
pub fn lock(pointer: Pointer) -> NtStatus {
    of(pointer).map_or(NtStatus::DEVICE_NOT_READY, |(pin, id)| pin.queue().lock(id))
}

/// KsStreamPointerUnlock.
pub fn unlock(pointer: Pointer, eject: bool) {
    if let Some((pin, id)) = of(pointer) {
        queue::finish(&pin, pin.queue().unlock(id, eject));
    }
}

/// KsStreamPointerAdvance.
#[must_use]
pub fn advance(pointer: Pointer) -> NtStatus {
    let Some((pin, id)) = of(pointer) else { return NtStatus::DEVICE_NOT_READY };
    let (status, done) = pin.queue().advance(id);
    queue::finish(&pin, done);
    status
}

/// KsStreamPointerAdvanceOffsets, and with `leave` ...AndUnlock.
pub fn advance_offsets(pointer: Pointer, used: (u32, u32), eject: bool, leave: bool) -> NtStatus {
    let Some((pin, id)) = of(pointer) else { return NtStatus::DEVICE_NOT_READY };
    let (status, over, done) = pin.queue().advance_offsets(id, used, eject, leave);
    if over {
        finding("KS-AV-22", "a stream pointer was advanced by more than the frame has left");
    }
    queue::finish(&pin, done);
    status
}

/// KsStreamPointerClone (KS-AV-25).
pub fn clone(pointer: Pointer, cancel: Option<CodePtr>, context: u32) -> NtResult<Pointer> {
    let (pin, id) = of(pointer).ok_or(NtStatus::DEVICE_NOT_READY.error())?;
    let made = allocate(&pin, 0, context as usize)?;
    // The offsets are those of the source; the context starts behind the structure.
    let copied = whole(made).copy_from(whole(pointer));
    made.set_ptr(KSSTREAM_POINTER::Pin, Some(pin.body()));
    let behind = if context == 0 { 0 } else { made.addr() + KSSTREAM_POINTER::SIZE as u64 };
    made.set_addr(KSSTREAM_POINTER::Context, behind);
    let named = match copied {
        Ok(()) => pin.queue().clone_of(id, made, cancel),
        Err(_) => NtStatus::ACCESS_VIOLATION.fail(),
    };
    match named {
        Ok(id) => {
            made.preceding::<POINTER_EXT>().set(POINTER_EXT::Id, id);
            Ok(made)
        }
        Err(error) => {
            free(made);
            Err(error)
        }
    }
}

fn whole(pointer: Pointer) -> Region {
    pointer.region()
}

/// KsStreamPointerDelete (KS-AV-26).
pub fn delete(pointer: Pointer) {
    let Some((pin, id)) = of(pointer) else { return };
    match pin.queue().delete(id) {
        Some(done) => {
            free(pointer);
            queue::finish(&pin, done);
        }
        None => finding("KS-AV-26", "KsStreamPointerDelete was called for an edge, which is the pin's"),
    }
}

/// KsPinGetFirstCloneStreamPointer.
#[must_use]
pub fn first_clone(pin: &AvPin) -> Option<Pointer> {
    pin.queue().next_clone(0)
}

/// KsStreamPointerGetNextClone.
#[must_use]
pub fn next_clone(pointer: Pointer) -> Option<Pointer> {
    let (pin, id) = of(pointer)?;
    if id > TRAILING { pin.queue().next_clone(id) } else { None }
}

/// KsStreamPointerSetStatusCode.
#[must_use]
pub fn set_status(pointer: Pointer, status: NtStatus) -> NtStatus {
    of(pointer).map_or(NtStatus::DEVICE_NOT_READY, |(pin, id)| pin.queue().set_status(id, status))
}

/// KsStreamPointerGetIrp: the packet, and whether the frame is the first and the last one of it (KS-AV-32).
#[must_use]
pub fn packet(pointer: Pointer) -> Option<(nt_io::irp::Irp, bool, bool)> {
    let (pin, id) = of(pointer)?;
    pin.queue().packet_of(id)
}

/// KsStreamPointerGetMdl.
#[must_use]
pub fn mdl(pointer: Pointer) -> Option<Foreign<nt_abi::mm::MDL>> {
    let (pin, id) = of(pointer)?;
    pin.queue().mdl_of(id)
}
