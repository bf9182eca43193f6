//! The packets of requests for changes: how they wait, and how they get their records.
//!
//! Room: ntos/fsrtl. Called by: `notify`. Calls: `nt_io`. Touches: notify IRPs. IRQL: <= APC_LEVEL; the cancel routine at
//! DISPATCH_LEVEL. Locks: the cancel lock, by the routine. Source: IRP_MJ_DIRECTORY_CONTROL page; rule NT-NFY-12.
//! A user's buffer is written by completion, in the requesting thread's context (NT-P-06): the records go with the packet
//! in a system buffer. An MDL's and a kernel caller's own buffer are written here.

use nt_abi::NtStatus;
use nt_abi::io::{IO_STACK_LOCATION, IRP, IRP_BUFFERED_IO, IRP_DEALLOCATE_BUFFER, IRP_INPUT_OPERATION};
use nt_abi::ke::LIST_ENTRY;
use nt_cell::{Foreign, Region};
use nt_ex::pool;
use nt_io::cancelable::{self, Keeper, routine_of};
use nt_io::complete;
use nt_io::irp::{self, IoStatus, Irp};

/// A packet that is to end.
pub(super) struct Ended {
    pub(super) packet: Irp,
    pub(super) status: NtStatus,
    pub(super) bytes: Vec<u8>,
}

impl Ended {
    pub(super) const fn new(packet: Irp, status: NtStatus) -> Self {
        Self { packet, status, bytes: Vec::new() }
    }
}

/// The length of a request's buffer.
pub(super) fn length(packet: Irp) -> usize {
    irp::current(packet).get(IO_STACK_LOCATION::NotifyDirectory_Length) as usize
}

/// A file system's list; 0 is none.
pub(super) fn list_at(address: u64) -> Option<Foreign<LIST_ENTRY>> {
    (address != 0).then(|| Foreign::of_table(address))
}

/// Frees the subject context that a driver left to the package, if it is a block of the pool.
pub(super) fn free_subject(address: u64) {
    if pool::kind_of_block(address).is_some() {
        pool::free(Foreign::<LIST_ENTRY>::of_table(address));
    }
}

struct Requests;

impl Keeper for Requests {
    fn cancelled(packet: Irp) {
        super::cancel(packet.get(IRP::Tail_DriverContext.index(0)), packet);
    }
}

/// Lets a packet wait; `true` when it was cancelled already, and is the caller's to end.
pub(super) fn pend(packet: Irp, key: u64) -> bool {
    packet.set(IRP::Tail_DriverContext.index(0), key);
    cancelable::set_routine(packet, routine_of::<Requests>())
}

/// Puts the records where the requestor gets them.
fn fill(packet: Irp, bytes: &[u8]) -> NtStatus {
    let flags = packet.get(IRP::Flags);
    let into = |region: Region| match region.sub(0, bytes.len().min(region.len())).write_from(bytes) {
        Ok(()) => NtStatus::SUCCESS,
        Err(_) => NtStatus::INVALID_USER_BUFFER,
    };
    if let Some(mdl) = packet.ptr(IRP::MdlAddress) {
        return nt_mm::mdl::region(mdl).map_or(NtStatus::INVALID_USER_BUFFER, into);
    }
    if flags & IRP_BUFFERED_IO != 0 && packet.ptr(IRP::AssociatedIrp_SystemBuffer).is_some() {
        return into(packet.region_at(IRP::AssociatedIrp_SystemBuffer, bytes.len()));
    }
    if packet.get(IRP::RequestorMode) == 0 {
        return into(packet.region_at(IRP::UserBuffer, bytes.len()));
    }
    let Some(block) = pool::uninitialized(bytes.len(), pool::tag(b"FSrN"), pool::PoolKind::NonPaged) else {
        return NtStatus::NOTIFY_ENUM_DIR; // what happened cannot be told, that something did can
    };
    packet.set_ptr(IRP::AssociatedIrp_SystemBuffer, Some(block));
    packet.or32(IRP::Flags, IRP_BUFFERED_IO | IRP_INPUT_OPERATION | IRP_DEALLOCATE_BUFFER);
    into(Region::pool(block, bytes.len()))
}

/// Completes packets; no lock of ours is held.
pub(super) fn give(ended: Vec<Ended>) {
    for Ended { packet, mut status, bytes } in ended {
        if !bytes.is_empty() {
            status = fill(packet, &bytes);
        }
        let information = if status == NtStatus::SUCCESS { bytes.len() as u64 } else { 0 };
        irp::set_status(packet, IoStatus::new(status, information));
        complete::complete_request(packet);
    }
}
