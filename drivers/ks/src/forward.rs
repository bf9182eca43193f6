//! Requests that go on to another device, and from one queue to another.
//!
//! Room: drivers/ks. Called by: drivers. Calls: `nt_io`, the next driver. IRQL: PASSIVE_LEVEL where something is waited for.
//! Locks: those of the queues, in the order cancel lock, source, destination (KS-Q-10).
//! Source: KsForwardIrp, KsForwardAndCatchIrp, KsMoveIrpsOnCancelableQueue pages; rules KS-Q-09 to KS-Q-12.

use crate::completion::Routine;
use crate::queue::{self, End, Lock};
use nt_abi::NtStatus;
use nt_abi::io::{FILE_OBJECT, IO_STACK_LOCATION, IRP, SL_INVOKE_ON_CANCEL, SL_INVOKE_ON_ERROR, SL_INVOKE_ON_SUCCESS};
use nt_abi::ke::KEVENT;
use nt_abi::ks::{KsStackReuseCurrentLocation, KsStackUseNewLocation};
use nt_cell::Foreign;
use nt_io::device::{self, Device};
use nt_io::driver::OwnedIrp;
use nt_io::event::LocalEvent;
use nt_io::irp::{self, Irp};
use nt_io::send;
use nt_ke::list::List;
use nt_ke::{Mode, dispatcher};

/// KsForwardIrp: sends the request to the device of `file`; without a location left it ends here (KS-Q-11).
pub fn forward(packet: Irp, file: Foreign<FILE_OBJECT>, reuse: bool) -> NtStatus {
    let room = reuse || packet.get(IRP::CurrentLocation) > 1;
    let Some(device) = device::related(file).filter(|_| room) else {
        return OwnedIrp::arrived(packet).complete(NtStatus::INVALID_DEVICE_REQUEST, 0).status();
    };
    if reuse {
        irp::advance(packet, 1);
    } else {
        irp::copy_current_to_next(packet);
    }
    irp::next(packet).set_ptr(IO_STACK_LOCATION::FileObject, Some(file));
    send::call_driver(device, packet)
}

/// KsForwardAndCatchIrp: sends the request and takes it back when the driver below is done with it (KS-Q-12).
pub fn forward_and_catch(device: Device, packet: Irp, file: Option<Foreign<FILE_OBJECT>>, stack_use: u32) -> NtStatus {
    let count = packet.get(IRP::StackCount);
    let fresh = stack_use == KsStackUseNewLocation;
    let reuse = stack_use == KsStackReuseCurrentLocation && packet.get(IRP::CurrentLocation) <= count;
    if !reuse && packet.get(IRP::CurrentLocation) <= 1 {
        return NtStatus::INVALID_DEVICE_REQUEST;
    }
    let Some(done) = LocalEvent::new() else { return NtStatus::INSUFFICIENT_RESOURCES };
    if reuse {
        irp::advance(packet, 1);
    } else if !fresh {
        irp::copy_current_to_next(packet);
    }
    let next = irp::next(packet);
    next.set_addr(IO_STACK_LOCATION::FileObject, file.map_or(0, Foreign::addr));
    let event = done.event();
    let catch = Routine::new(move |_| {
        dispatcher::set_event(event);
        NtStatus::MORE_PROCESSING_REQUIRED
    });
    let routine = catch.completion(0);
    next.set_code(IO_STACK_LOCATION::CompletionRoutine, Some(routine.routine));
    next.set_addr(IO_STACK_LOCATION::Context, routine.context);
    next.set(IO_STACK_LOCATION::Control, SL_INVOKE_ON_SUCCESS | SL_INVOKE_ON_ERROR | SL_INVOKE_ON_CANCEL);
    let returned = send::call_driver(device, packet);
    let header = event.at(KEVENT::Header);
    let _back = nt_ke::wait::wait_for_single(&nt_ke::current(), header, Mode::Kernel, false, None);
    if reuse {
        irp::advance(packet, -1);
    }
    if returned == NtStatus::PENDING { irp::status(packet).status } else { returned }
}

/// One end of a move: a list and the lock that guards it.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The list.
    pub list: List,
    /// Its lock; `None` for a destination that the source's lock guards too.
    pub lock: Option<Lock>,
}

/// KsMoveIrpsOnCancelableQueue: asks `wanted` about each request, and once more about none at the end (KS-Q-09).
pub fn move_irps(from: Ends, to: Ends, end: End, wanted: &mut dyn FnMut(Option<Irp>) -> NtStatus) -> NtStatus {
    let Some(lock) = from.lock else { return NtStatus::INVALID_PARAMETER };
    let status = queue::with_locks(lock, to.lock, || {
        for packet in queue::snapshot(from.list, end) {
            match wanted(Some(packet)) {
                NtStatus::SUCCESS => queue::relink(packet, to.list, end, to.lock),
                NtStatus::NO_MATCH => {}
                other => return other,
            }
        }
        NtStatus::SUCCESS
    });
    wanted(None);
    status
}
