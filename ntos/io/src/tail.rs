//! The end of a service that sends a packet: it is sent, waited for where the file is synchronous, and its result returned.
//!
//! Room: ntos/io. Called by: every service that sends a packet of its own. IRQL: PASSIVE_LEVEL. Locks: none here; the caller holds
//! the file object's. Source: nt-io.md sections 7, 10 and 11; rules NT-C table, NT-P-07, NT-M-16, NT-X-05.
//! Not here: what completes the packet (`complete`).

use crate::device::Device;
use crate::irp::{
    self, IRP_PREFIX, IoStatus, Irp, PREFIX_DEFER, PREFIX_NO_ALERT, PREFIX_SERVICE, STATE_COMPLETED, STATE_LEFT,
};
use crate::{cancelable, complete, send, verify};
use nt_abi::NtStatus;
use nt_abi::io::{FILE_OBJECT, FO_ALERTABLE_IO};
use nt_abi::ke::KEVENT;
use nt_cell::Foreign;
use nt_ke::{Frame, Mode, WindowsVersion, wait};

/// Makes a packet the service's: two holders, deferred stage 2, on the thread's list (NT-P-07).
pub fn own_by_service(frame: &Frame, packet: Irp, more: u32) {
    if let Some(prefix) = irp::prefix(packet) {
        prefix.set(IRP_PREFIX::Kind, PREFIX_SERVICE | PREFIX_DEFER | more);
        prefix.set(IRP_PREFIX::Holders, 2);
    }
    frame.thread.io().packet_sent();
    frame.thread.add_irp(packet.addr());
}

/// Sends a packet that [`own_by_service`] prepared and does what the completion contract asks for (NT-C table).
///
/// Returns what the service returns, and the result when it is known. The caller keeps a count of `opened` for a
/// synchronous request, whose end is waited for; of an asynchronous one it is not touched once the packet is sent.
pub fn run_service(
    frame: &Frame,
    packet: Irp,
    top: Device,
    opened: Foreign<FILE_OBJECT>,
    synchronous: bool,
) -> (NtStatus, Option<IoStatus>) {
    let through_port = !synchronous && opened.ptr(FILE_OBJECT::CompletionContext).is_some();
    let returned = complete::while_sending(packet, || send::call_driver(top, packet));
    let Some(prefix) = irp::prefix(packet) else { return (returned, None) };
    // Once it is complete the completion is done with it: there is nobody to leave a note for.
    let before = match prefix.get(IRP_PREFIX::State) {
        STATE_COMPLETED => STATE_COMPLETED,
        _ => prefix.swap32(IRP_PREFIX::State, STATE_LEFT),
    };
    if before == STATE_COMPLETED {
        // Complete, and nobody marked it pending: stage 2 is ours, here and now (NT-M-16).
        let forced = returned == NtStatus::PENDING;
        if forced {
            verify::pending_without_mark(frame, top);
        }
        if complete::stage_two(packet, forced, Some(&frame.thread)) && !forced {
            let result = irp::status(packet);
            irp::release_holds(packet, 2);
            return (result.status, Some(result));
        }
    }
    let holds = if before == STATE_COMPLETED { 2 } else { 1 };
    if returned != NtStatus::PENDING {
        let result = irp::status(packet);
        verify::returned(frame, top, returned, result.status);
        irp::release_holds(packet, holds);
        let warned = returned.is_warning()
            && before == STATE_COMPLETED
            && through_port
            && frame.kernel.windows() >= WindowsVersion::Win8;
        return (if warned { NtStatus::PENDING } else { returned }, Some(result)); // NT-C-01, NT-C-08
    }
    if !synchronous {
        irp::release_holds(packet, holds);
        return (NtStatus::PENDING, None);
    }
    wait_for_file(frame, packet, opened);
    let result = irp::status(packet);
    irp::release_holds(packet, holds);
    (opened.get(FILE_OBJECT::FinalStatus), Some(result)) // NT-C-12
}

/// Waits for a pended request of a synchronous file; an alertable wait that is interrupted cancels it (NT-X-05).
fn wait_for_file(frame: &Frame, packet: Irp, opened: Foreign<FILE_OBJECT>) {
    let _recovered = verify::wait_without_apcs(frame);
    let never = irp::prefix(packet).is_some_and(|prefix| prefix.get(IRP_PREFIX::Kind) & PREFIX_NO_ALERT != 0);
    let alertable = opened.get(FILE_OBJECT::Flags) & FO_ALERTABLE_IO != 0 && !never;
    let header = opened.at(FILE_OBJECT::Event).at(KEVENT::Header);
    if alertable {
        let status = wait::wait_for_single(frame, header, frame.mode(), true, None);
        if status == NtStatus::SUCCESS {
            return;
        }
        cancelable::cancel_irp(packet);
    }
    let _done = wait::wait_for_single(frame, header, Mode::Kernel, false, None);
}
