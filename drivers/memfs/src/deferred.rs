//! Writes that another thread does: until the cache has room, or because their own thread must not wait.
//!
//! Room: drivers/memfs. Called by: dispatch. Calls: `nt_cc`, `write`. IRQL: PASSIVE_LEVEL; the cancel routine at
//! DISPATCH_LEVEL. Locks: the cancel lock, by the routine. Source: CcDeferWrite, "Canceling IRPs"; rules NT-CC-15, NT-S-13, NT-X-08.
//! Until a worker takes such a write it can be cancelled: nothing of it is done then. Whoever takes the packet's cancel
//! routine out owns the packet; the worker's hold keeps its memory until the worker has looked.

use crate::node::Volume;
use crate::write;
use nt_abi::io::{FILE_OBJECT, IO_STACK_LOCATION, IRP, IRP_MJ_READ};
use nt_abi::{NtResult, NtStatus};
use nt_io::cancelable::{Keeper, routine_of, set_routine, take_routine};
use nt_io::driver::{Answer, OwnedIrp};
use nt_io::irp::{self, IRP_PREFIX, Irp, PREFIX_SERVICE};
use nt_ke::work::WorkQueue;
use nt_mm::mdl;
use nt_ob::ObjectRef;
use nt_trace::rule;
use std::sync::Weak;

/// A count of a packet's memory.
struct Hold(Irp);

impl Hold {
    /// Holds a packet of a service; others belong to drivers, who may use them again.
    fn new(packet: Irp) -> Option<Self> {
        let prefix = irp::prefix(packet)?;
        if prefix.get(IRP_PREFIX::Kind) & PREFIX_SERVICE == 0 {
            return None;
        }
        prefix.add32(IRP_PREFIX::Holders, 1);
        Some(Self(packet))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        irp::release(self.0);
    }
}

impl Keeper for Lent {
    fn cancelled(packet: Irp) {
        rule!(NT_X_08);
        let _ended = OwnedIrp::arrived(packet).complete(NtStatus::CANCELLED, 0);
    }
}

/// What keeps a packet usable for another thread: its memory, its file object.
pub(crate) struct Lent {
    hold: Option<Hold>,
    _opened: Option<ObjectRef<FILE_OBJECT>>,
}

/// Gets a packet ready for another thread. The packet of a service takes an MDL of its buffer along when it ends; another's is its
/// driver's, who knows of none.
pub(crate) fn lend(irp: &OwnedIrp, length: u32) -> NtResult<Lent> {
    let hold = Hold::new(irp.irp());
    if hold.is_some() {
        lock_buffer(irp, length)?;
    }
    Ok(Lent { hold, _opened: irp.file().map(nt_ob::object::reference) })
}

/// Locks the caller's buffer, so that another thread reaches it (NT-S-13).
fn lock_buffer(irp: &OwnedIrp, length: u32) -> NtResult<()> {
    let packet = irp.irp();
    if length == 0 || packet.ptr(IRP::MdlAddress).is_some() {
        return Ok(());
    }
    let mdl = mdl::allocate(packet.region_at(IRP::UserBuffer, length as usize))?;
    let filled = irp.stack().get(IO_STACK_LOCATION::MajorFunction) == IRP_MJ_READ;
    if mdl::probe_and_lock(mdl, !irp.from_user(), filled).is_err() {
        mdl::free(mdl);
        return NtStatus::INVALID_USER_BUFFER.fail();
    }
    packet.set_ptr(IRP::MdlAddress, Some(mdl));
    Ok(())
}

/// What a write that was put off waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// Room in the cache (NT-CC-15).
    Room,
    /// A thread that may wait: the request's own may not (NT-S-13).
    Worker,
}

/// Puts a write off: the caller gets PENDING, a worker does it.
pub(crate) fn put_off(volume: &Weak<Volume>, irp: OwnedIrp, until: Until) -> Answer {
    let (length, file) = (irp.stack().get(IO_STACK_LOCATION::Write_Length), irp.file());
    let lent = match lend(&irp, length) {
        Ok(lent) => lent,
        Err(error) => return irp.complete(error.status(), 0),
    };
    let (pended, answer) = irp.pend();
    let (packet, volume) = (pended.irp(), Weak::clone(volume));
    // Who waits for room may wait long; what a worker takes up at once is done, and not cancelled.
    let cancelable = lent.hold.is_some() && until == Until::Room;
    if cancelable && set_routine(packet, routine_of::<Lent>()) {
        pended.complete(NtStatus::CANCELLED, 0);
        return answer;
    }
    let work = move || {
        let _lent = lent;
        if cancelable && !take_routine(packet) {
            return; // cancelled meanwhile
        }
        rule!(NT_S_13);
        let irp = OwnedIrp::arrived(packet);
        let result = crate::within(&irp, |irp| write::write(&volume, irp, true));
        pended.complete(result.status, result.information);
    };
    // The routine only posts: the next deferred write waits for its return.
    let post = move || WorkQueue::queue(&nt_ke::current().kernel, work);
    match file {
        Some(file) if until == Until::Room => nt_cc::defer_write(file, length.into(), false, post),
        _ => post(),
    }
    answer
}
