//! A packet's cancel routine: who sets it, who takes it out, who calls it.
//!
//! Room: ntos/io. Called by: whoever keeps packets (file systems, queues, filters), `cancel`, `exports`. Touches: Cancel,
//! CancelIrql and CancelRoutine of an IRP. IRQL: <= DISPATCH_LEVEL. Locks: the cancel spin lock, which a routine releases.
//! Source: the IoSetCancelRoutine and IoCancelIrp pages, "Using the System's Cancel Spin Lock"; rule NT-M-11.
//! A packet that is kept belongs to whoever swaps its routine for NULL: its keeper, who then ends it, or the one who cancels it,
//! whose call of the routine does. A keeper needs no lock for that. Who cancels stores Cancel, then swaps; who keeps swaps the
//! routine in, then looks at Cancel. Of the two swaps one comes second: if it is the canceller's, it finds the routine; if it is
//! the keeper's, it acquires what the other released, and Cancel is seen. A plain store of the routine would not do: the
//! processor may look at Cancel before others see the store, and nobody would end the packet.

use crate::irp::{self, Irp};
use nt_abi::io::{IO_STACK_LOCATION, IRP};
use nt_cell::{CodePtr, Foreign, callout};
use nt_ke::irql;
use std::sync::atomic::{AtomicBool, Ordering};

static CANCEL_LOCK: AtomicBool = AtomicBool::new(false);

/// Takes the cancel spin lock; a cancel routine releases it (NT-M-11).
pub fn acquire_cancel_lock() {
    while CANCEL_LOCK.swap(true, Ordering::Acquire) {
        std::thread::yield_now();
    }
    nt_cell::kpcr::set_irql(irql::DISPATCH_LEVEL);
}

/// Releases the cancel spin lock to the IRQL that the cancel routine read from Irp->CancelIrql.
pub fn release_cancel_lock(irql: u8) {
    CANCEL_LOCK.store(false, Ordering::Release);
    nt_cell::kpcr::set_irql(irql);
}

/// Who keeps packets that can be cancelled meanwhile, in Rust.
pub trait Keeper {
    /// Ends a packet whose routine was taken out by [`cancel_irp`]; the cancel spin lock is free again.
    fn cancelled(packet: Irp);
}

/// What a cancel routine does: releases the cancel spin lock, then lets the keeper end the packet.
pub fn cancelled<K: Keeper>(packet: Irp) {
    release_cancel_lock(packet.get(IRP::CancelIrql));
    K::cancelled(packet);
}

extern "win64" fn entry<K: Keeper>(_device: u64, packet: u64) {
    nt_cell::export::body(std::any::type_name::<K>(), || cancelled::<K>(Foreign::of_table(packet)));
}

/// The cancel routine of a keeper, for Irp->CancelRoutine.
#[must_use]
pub fn routine_of<K: Keeper>() -> CodePtr {
    let routine: extern "win64" fn(u64, u64) = entry::<K>;
    CodePtr::from(routine)
}

/// Lets a packet be cancelled; `true` when it was cancelled already, and is the caller's to end.
#[must_use]
pub fn set_routine(packet: Irp, routine: CodePtr) -> bool {
    packet.swap_code(IRP::CancelRoutine, Some(routine));
    packet.get(IRP::Cancel) != 0 && take_routine(packet)
}

/// Takes a packet from whoever could cancel it; `false` when that one has it, or it could not be cancelled.
#[must_use]
pub fn take_routine(packet: Irp) -> bool {
    packet.swap_code(IRP::CancelRoutine, None).is_some()
}

/// IoCancelIrp: marks the packet, and calls its cancel routine if there is one (NT-M-11); says whether there was. The mark and
/// the swap are made under the cancel spin lock, which drivers that take it rely on; the routine releases it.
pub fn cancel_irp(packet: Irp) -> bool {
    let was = irql::current();
    acquire_cancel_lock();
    packet.set(IRP::Cancel, 1);
    let routine = packet.swap_code(IRP::CancelRoutine, None);
    match routine {
        Some(routine) => call(packet, routine, was),
        None => release_cancel_lock(was),
    }
    routine.is_some()
}

/// Calls a cancel routine that the caller took out.
pub fn run(packet: Irp, routine: CodePtr) {
    let was = irql::current();
    acquire_cancel_lock();
    call(packet, routine, was);
}

/// Calls a cancel routine with the cancel spin lock held, which was taken at IRQL `was`.
fn call(packet: Irp, routine: CodePtr, was: u8) {
    packet.set(IRP::CancelIrql, was);
    let device = if packet.get(IRP::CurrentLocation) <= packet.get(IRP::StackCount) {
        irp::current(packet).addr_at(IO_STACK_LOCATION::DeviceObject)
    } else {
        0
    };
    let _raised = callout::call(routine, &[device, packet.addr()]);
}
