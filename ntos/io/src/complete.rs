//! Completion: the walk up the stack, and telling the caller.
//!
//! Room: ntos/io. IRQL: <= DISPATCH_LEVEL. Locks: none held while a routine runs.
//! Source: IoCompleteRequest, IoCompletion routine pages; rules NT-M-05 to NT-M-10, NT-C-01 to NT-C-12, NT-P-06, NT-Q-05.
//! Stage 2 runs where the completion happens, in place of Windows' special kernel APC, because nothing of ours depends
//! on the thread's address space; while the thread has such APCs disabled it waits for them (NT-E-02, NT-M-16). The order
//! that callers can see is NT-C-11's.

use crate::irp::{
    self, IRP_PREFIX, IoStatus, Irp, PREFIX_CHECK_BLOCK, PREFIX_CLOSED, PREFIX_DEFER, PREFIX_KEPT, PREFIX_SERVICE,
    STATE_COMPLETED, STATE_DONE, STATE_LEFT,
};
use crate::observe;
use crate::port;
use crate::system::System;
use crate::twice;
use nt_abi::io::{
    FILE_OBJECT, FO_SKIP_SET_EVENT, FO_SYNCHRONOUS_IO, IO_STACK_LOCATION, IRP, IRP_ASSOCIATED_IRP, IRP_BUFFERED_IO,
    IRP_CREATE_OPERATION, IRP_DEALLOCATE_BUFFER, IRP_INPUT_OPERATION, IRP_PAGING_IO, IRP_READ_OPERATION,
    IRP_SYNCHRONOUS_API, SL_ERROR_RETURNED, SL_INVOKE_ON_CANCEL, SL_INVOKE_ON_ERROR, SL_INVOKE_ON_SUCCESS,
    SL_PENDING_RETURNED,
};
use nt_abi::ke::KEVENT;
use nt_abi::{Bytes, NtStatus};
use nt_cell::{Foreign, callout};
use nt_ex::pool;
use nt_ke::apc::{Held, UserApc};
use nt_ke::{dispatcher, irql};
use nt_ob::object;
use nt_trace::rule;
use std::cell::Cell;

thread_local! {
    /// The packet that this host thread's innermost service is sending, 0 for none.
    static SENDING: Cell<u64> = const { Cell::new(0) };
}

/// Runs `send`, which sends a packet of a service: a completion on this stack meanwhile tells the service by a plain store.
#[inline]
pub(crate) fn while_sending<R>(packet: Irp, send: impl FnOnce() -> R) -> R {
    let outer = SENDING.replace(packet.addr());
    let result = send();
    SENDING.set(outer);
    result
}

/// IoCompleteRequest.
///
/// # Panics
/// On a packet that is already complete (bug check 0x44) or whose status is PENDING (NT-M-09).
pub fn complete_request(packet: Irp) {
    let _rules = observe::completing(packet);
    let count = packet.get(IRP::StackCount);
    if packet.get(IRP::CurrentLocation) > count && resume_kept(packet) {
        return finish(packet, packet.get(IRP::PendingReturned) != 0);
    }
    if packet.get(IRP::CurrentLocation) > count || irp::status(packet).status == NtStatus::PENDING {
        twice::bug_check(packet);
    }
    if nt_ke::Kernel::ever_verified() {
        twice::remember(packet);
    }
    let mut pended = false;
    while packet.get(IRP::CurrentLocation) <= count {
        let done = irp::current(packet);
        let control = done.get(IO_STACK_LOCATION::Control);
        pended = control & SL_PENDING_RETURNED != 0;
        packet.set(IRP::PendingReturned, u8::from(pended));
        done.set(IO_STACK_LOCATION::Control, 0);
        irp::advance(packet, 1);
        let status = irp::status(packet).status;
        let at_top = packet.get(IRP::CurrentLocation) > count;
        if status.is_error() && control & SL_ERROR_RETURNED == 0 && !at_top {
            irp::current(packet).or8(IO_STACK_LOCATION::Control, SL_ERROR_RETURNED);
        }
        let wanted = (status.is_success() && control & SL_INVOKE_ON_SUCCESS != 0)
            || (!status.is_success() && control & SL_INVOKE_ON_ERROR != 0)
            || (packet.get(IRP::Cancel) != 0 && control & SL_INVOKE_ON_CANCEL != 0);
        match done.code(IO_STACK_LOCATION::CompletionRoutine).filter(|_| wanted) {
            Some(routine) => {
                let owner = if at_top { 0 } else { irp::current(packet).addr_at(IO_STACK_LOCATION::DeviceObject) };
                let context = done.addr_at(IO_STACK_LOCATION::Context);
                let offered = at_top && offer(packet);
                let answer = callout::call(routine, &[owner, packet.addr(), context]);
                if answer.is_ok_and(|status| NtStatus(status as u32) == NtStatus::MORE_PROCESSING_REQUIRED) {
                    if offered {
                        kept();
                    }
                    return; // from here on the packet is the routine's, and may be gone
                }
                if offered {
                    resume_kept(packet);
                }
            }
            None if pended && !at_top => irp::mark_pending(packet),
            None => {}
        }
    }
    finish(packet, pended);
}

/// Before the routine of a service's own submitter runs: should it keep the packet (KS-S-23), nobody waits for the packet
/// any more, and the thread that sent it has no hold on it. False for a packet that is no service's.
fn offer(packet: Irp) -> bool {
    let service = |prefix: &Foreign<IRP_PREFIX>| prefix.get(IRP_PREFIX::Kind) & PREFIX_SERVICE != 0;
    let Some(prefix) = irp::prefix(packet).filter(service) else { return false };
    prefix.or32(IRP_PREFIX::Kind, PREFIX_KEPT);
    let frame = nt_ke::current();
    if let Some(thread) = nt_ps::process::processes(&frame.kernel).thread_at(packet.addr_at(IRP::Tail_Thread)) {
        thread.remove_irp(packet.addr());
    }
    frame.thread.io().packet_ended();
    true
}

/// KS-V-06. A packet that its owner frees takes the counts of file and event with it.
#[cold]
fn kept() {
    let text = "a completion routine kept a service's packet: file and event stay referenced until it is completed";
    System::of(&nt_ke::current().kernel).finding("KS-V-06", "warning", "", text);
}

/// Takes up a packet that was [`offer`]ed to its routine; false for any other.
fn resume_kept(packet: Irp) -> bool {
    let Some(prefix) = irp::prefix(packet) else { return false };
    let kept = prefix.and32(IRP_PREFIX::Kind, !PREFIX_KEPT) & PREFIX_KEPT != 0;
    if kept {
        nt_ke::current().thread.io().packet_sent();
    }
    kept
}

/// What follows the walk: associated packets, paging packets, packets of services; a driver's own has nothing more.
fn finish(packet: Irp, pended: bool) {
    if packet.get(IRP::Flags) & IRP_ASSOCIATED_IRP != 0 {
        return complete_associated(packet);
    }
    let Some(prefix) = irp::prefix(packet) else { return };
    let kind = prefix.get(IRP_PREFIX::Kind);
    if kind & PREFIX_SERVICE == 0 {
        tell_builder(packet);
        return;
    }
    let deferred = kind & PREFIX_DEFER != 0 && !pended;
    if deferred && SENDING.get() == packet.addr() {
        // Its service waits below us on this very stack and has not left it: it finds the note when we return.
        prefix.set(IRP_PREFIX::State, STATE_COMPLETED);
        return;
    }
    let late = deferred && prefix.swap32(IRP_PREFIX::State, STATE_COMPLETED) == STATE_LEFT;
    if deferred && !late {
        return;
    }
    // A packet whose driver returned PENDING without the mark is treated as pended (NT-C-09).
    let thread = thread_of(packet);
    let work = move |thread: Option<&nt_ke::Thread>| {
        let _told_by_the_packet = stage_two(packet, pended || late, thread);
        irp::release(packet);
    };
    match thread {
        // NT-M-16: a special kernel APC of the requesting thread. It waits while the thread has them disabled (NT-E-02).
        Some(thread) => {
            let kept = std::sync::Arc::clone(&thread);
            nt_ke::apc::special(&thread, Box::new(move || work(Some(&kept))));
        }
        None => work(None),
    }
}

fn thread_of(packet: Irp) -> Option<std::sync::Arc<nt_ke::Thread>> {
    nt_ps::process::processes(&nt_ke::current().kernel).thread_at(packet.addr_at(IRP::Tail_Thread))
}

/// The master packet is completed when its last associated one is.
fn complete_associated(packet: Irp) {
    let master = packet.ptr(IRP::AssociatedIrp_SystemBuffer).map(Foreign::<Bytes>::view::<IRP>);
    free_buffers(packet, irp::status(packet));
    irp::release(packet);
    if let Some(master) = master
        && master.view::<IRP>().add32(IRP::AssociatedIrp_IrpCount, -1) == 1
    {
        complete_request(master);
    }
}

/// Packets built by IoBuildSynchronousFsdRequest and kin: status block and event of the builder, then freed.
fn tell_builder(packet: Irp) {
    let result = irp::status(packet);
    let event = packet.ptr(IRP::UserEvent);
    let iosb = packet.ptr(IRP::UserIosb);
    if event.is_none() && iosb.is_none() {
        return;
    }
    if packet.get(IRP::Flags) & IRP_PAGING_IO == 0 {
        free_buffers(packet, result); // the MDL of a paging request stays its sender's (NT-CC-28)
    }
    if let Some(iosb) = iosb {
        write_status(iosb, result);
    }
    if let Some(event) = event {
        dispatcher::set_event(event);
    }
    irp::release(packet);
}

fn write_status(block: Foreign<nt_abi::io::IO_STATUS_BLOCK>, result: IoStatus) {
    block.set(nt_abi::io::IO_STATUS_BLOCK::Information, result.information);
    block.set(nt_abi::io::IO_STATUS_BLOCK::Status, result.status);
}

/// Copies a buffered read back and frees the packet's buffer and MDLs; returns the final result (NT-P-06).
fn free_buffers(packet: Irp, result: IoStatus) -> IoStatus {
    let flags = packet.get(IRP::Flags);
    let mut result = result;
    if flags & IRP_BUFFERED_IO != 0 {
        if flags & (IRP_INPUT_OPERATION | IRP_READ_OPERATION) != 0
            && !result.status.is_error()
            && result.status != NtStatus::VERIFY_REQUIRED
            && result.information != 0
        {
            let length = result.information as usize;
            let room = packet.ptr(IRP::AssociatedIrp_SystemBuffer).and_then(|b| pool::size_of_block(b.addr()));
            let length = length.min(room.unwrap_or(0));
            let from = packet.region_at(IRP::AssociatedIrp_SystemBuffer, length);
            // NT-R-08: bytes told of a buffer that is not there fault, as any copy from nowhere does.
            if room.is_none() || packet.region_at(IRP::UserBuffer, length).copy_from(from).is_err() {
                result = IoStatus::new(NtStatus::ACCESS_VIOLATION, 0);
            }
        }
        if flags & IRP_DEALLOCATE_BUFFER != 0
            && let Some(buffer) = packet.ptr(IRP::AssociatedIrp_SystemBuffer)
        {
            pool::free(buffer);
            packet.set_ptr(IRP::AssociatedIrp_SystemBuffer, None);
        }
    }
    if flags & IRP_CREATE_OPERATION == 0 {
        crate::lock::free_auxiliary(packet); // of a create it is reparse data, which who sent it takes
    }
    let mut next = packet.ptr(IRP::MdlAddress);
    while let Some(mdl) = next {
        next = mdl.ptr(nt_abi::mm::MDL::Next);
        nt_mm::mdl::release(mdl);
    }
    packet.set_ptr(IRP::MdlAddress, None);
    result
}

/// Tells the caller of a service, in the order of NT-C-11. The caller of this keeps a hold on the packet. Returns whether
/// what was written through failed to reach the medium: the packet's status is that failure then.
pub(crate) fn stage_two(packet: Irp, pended: bool, thread: Option<&nt_ke::Thread>) -> bool {
    let Some(prefix) = irp::prefix(packet) else { return false };
    // Windows does this in a special kernel APC: a completion at DISPATCH_LEVEL comes down to APC_LEVEL for it.
    let _level = (irql::current() > irql::APC_LEVEL).then(|| irql::at(irql::APC_LEVEL));
    let frame = nt_ke::current();
    let system = System::of(&frame.kernel);
    system.inspected(packet);
    let own = free_buffers(packet, irp::status(packet));
    let file = packet.ptr(IRP::Tail_OriginalFileObject);
    let result = file.map_or(own, |file| crate::settle::settled(file, own));
    irp::set_status(packet, result);
    let event = packet.ptr(IRP::UserEvent);
    let flags = file.map_or(0, |file| file.get(FILE_OBJECT::Flags));
    let synchronous = flags & FO_SYNCHRONOUS_IO != 0;
    let own_event = packet.get(IRP::Flags) & IRP_SYNCHRONOUS_API != 0;
    // NT-Q-14: its process closed its last handle. Nobody is told, but for the packet of a port.
    let closed = prefix.get(IRP_PREFIX::Kind) & PREFIX_CLOSED != 0 && result.status == NtStatus::CANCELLED;
    let notify = !closed && (!result.status.is_error() || (pended && !synchronous));
    match (result.status.is_error(), pended, synchronous) {
        _ if closed => rule!(NT_Q_14),
        (false, _, _) if result.status.is_warning() => rule!(NT_C_05),
        (false, true, false) => rule!(NT_C_13),
        (false, _, _) => {}
        (true, true, false) => rule!(NT_C_04),
        (true, false, false) => rule!(NT_C_03),
        (true, _, true) => rule!(NT_C_02),
    }
    if prefix.get(IRP_PREFIX::Kind) & PREFIX_CHECK_BLOCK != 0 && system.observer(|_| ()).is_some() {
        check_block(system, packet.addr_at(IRP::UserIosb));
    }
    if notify {
        if packet.addr_at(IRP::UserIosb) != 0 {
            let block = packet.region_at(IRP::UserIosb, 16);
            let stored = block.store::<u64>(8, result.information);
            if stored.and_then(|()| block.store::<u32>(0, result.status.0)).is_err() {
                rule!(NT_B_09); // a status block that went away is the caller's loss, silently
            }
        }
        if let Some(event) = event {
            dispatcher::set_event(event);
        }
    }
    if let Some(file) = file {
        let signal = if notify {
            synchronous || (event.is_none() && flags & FO_SKIP_SET_EVENT == 0)
        } else {
            pended && synchronous
        };
        if signal {
            file.set(FILE_OBJECT::FinalStatus, result.status);
            dispatcher::set_event(file.at(FILE_OBJECT::Event));
        }
    }
    if let Some(thread) = thread {
        thread.remove_irp(packet.addr());
    }
    if notify || (closed && event.is_none()) {
        deliver(packet, file, pended, result, thread);
    }
    system.end(prefix.get(IRP_PREFIX::Span), result.status, result.information);
    frame.thread.io().packet_ended();
    prefix.set(IRP_PREFIX::State, STATE_DONE);
    if let Some(event) = event.filter(|_| !own_event) {
        object::dereference::<KEVENT>(event);
    }
    if let Some(file) = file {
        object::dereference::<FILE_OBJECT>(file);
    }
    result.status != own.status
}

/// KS-V-03, as far as it can be told: the status block lies in the pool, in no live block.
fn check_block(system: &System, iosb: u64) {
    if pool::is_pool(iosb) && pool::kind_of_block(iosb).is_none() {
        system.finding("KS-V-03", "violation", "", "the status block was freed before the request was complete");
    }
}

fn deliver(
    packet: Irp,
    file: Option<Foreign<FILE_OBJECT>>,
    pended: bool,
    result: IoStatus,
    thread: Option<&nt_ke::Thread>,
) {
    let context = packet.addr_at(IRP::UserApcContext);
    let iosb = packet.addr_at(IRP::UserIosb);
    if packet.get(IRP::Flags) & IRP_PAGING_IO != 0 {
        return;
    }
    match (packet.code(IRP::UserApcRoutine), thread) {
        (Some(routine), Some(thread)) => {
            // NT-Q-03: the APC lies in the packet, which stays until it has run or the thread is gone.
            let held = irp::prefix(packet).map(|prefix| {
                prefix.add32(IRP_PREFIX::Holders, 1);
                Held::new(packet.addr(), |packet| irp::release(Foreign::of_table(packet)))
            });
            nt_ke::apc::queue(thread, UserApc { routine, arguments: [context, iosb, 0], held, object: None });
        }
        (Some(_), None) => {}
        (None, _) => {
            if let Some(file) = file.filter(|_| context != 0) {
                port::queue_completion(file, context, result, pended);
            }
        }
    }
}
