//! Cancelling requests: `NtCancelIoFile`, `NtCancelIoFileEx`, `NtCancelSynchronousIoFile`, and what closes and exits cancel.
//!
//! Room: ntos/io. IRQL: PASSIVE_LEVEL. Locks: a thread's IRP list, while packets are counted; none while they are cancelled.
//! Source: NtCancelIoFile, CancelIoEx, CancelSynchronousIo pages; rules NT-X-01 to NT-X-04, NT-Q-14, NT-P-07, NT-M-11.

use crate::irp::{self, IRP_PREFIX, IoStatus, Irp, PREFIX_CLOSED};
use crate::{cancelable, event, file, service};
use nt_abi::io::{
    FILE_OBJECT, IO_STACK_LOCATION, IRP, IRP_MJ_DIRECTORY_CONTROL, IRP_MJ_FILE_SYSTEM_CONTROL, IRP_SYNCHRONOUS_API,
};
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::{Addr, Foreign};
use nt_ke::{Frame, Mode, Thread, wait};
use nt_ob::Handle;
use nt_ob::types::ObjectType;
use nt_ps::Process;
use std::cell::Cell;
use std::sync::Arc;

const THREAD_TERMINATE: u32 = 1;

/// Cancels the packets of a thread that `wanted` picks; returns how many.
fn cancel_of(thread: &Thread, wanted: impl Fn(Irp) -> bool, more: u32) -> usize {
    // A packet stays on the list until its stage 2; counted under the list's lock it stays ours until we let it go.
    let mut picked = Vec::new();
    thread.with_irps(|address| {
        let packet = Foreign::<IRP>::of_table(address);
        if let Some(prefix) = irp::prefix(packet)
            && wanted(packet)
        {
            prefix.add32(IRP_PREFIX::Holders, 1);
            prefix.or32(IRP_PREFIX::Kind, more);
            picked.push(packet);
        }
    });
    for &packet in &picked {
        cancelable::cancel_irp(packet);
        irp::release(packet);
    }
    picked.len()
}

fn is_of(file: Foreign<FILE_OBJECT>) -> impl Fn(Irp) -> bool {
    move |packet| packet.ptr(IRP::Tail_OriginalFileObject) == Some(file)
}

fn threads_of(frame: &Frame, process: &Process) -> Vec<Arc<Thread>> {
    nt_ps::process::processes(&frame.kernel).threads_of(process)
}

/// Stores `{status, 0}` in the service's status block and returns it.
fn answer(frame: &Frame, iosb: Addr, status: NtStatus) -> NtResult<NtStatus> {
    service::store_status(iosb, frame.mode() == Mode::Kernel, IoStatus::new(status, 0))?;
    Ok(status)
}

fn probe(frame: &Frame, iosb: Addr) -> NtResult<()> {
    if frame.mode() == Mode::Kernel {
        return Ok(());
    }
    service::probe_block(iosb)
}

/// NtCancelIoFile: this thread's requests on the file (NT-X-01).
#[must_use]
pub fn nt_cancel_io_file(frame: &Frame, handle: Handle, iosb: Addr) -> NtStatus {
    let cancel = || {
        probe(frame, iosb)?;
        let (object, _) = event::reference(frame, handle, ObjectType::File, 0, frame.mode())?;
        cancel_of(&frame.thread, is_of(object.body().view()), 0);
        answer(frame, iosb, NtStatus::SUCCESS)
    };
    frame.service(|| cancel().unwrap_or_else(NtError::status))
}

/// NtCancelIoFileEx: the process's requests on the file, or the one with this status block (NT-X-02).
#[must_use]
pub fn nt_cancel_io_file_ex(frame: &Frame, handle: Handle, request: Addr, iosb: Addr) -> NtStatus {
    let cancel = || {
        probe(frame, iosb)?;
        let (object, _) = event::reference(frame, handle, ObjectType::File, 0, frame.mode())?;
        let mine = is_of(object.body().view());
        let wanted =
            |packet: Irp| mine(packet) && (request.is_null() || packet.addr_at(IRP::UserIosb) == request.value());
        let process = nt_ps::current_process(frame);
        let count: usize = threads_of(frame, process).iter().map(|thread| cancel_of(thread, wanted, 0)).sum();
        answer(frame, iosb, if count == 0 { NtStatus::NOT_FOUND } else { NtStatus::SUCCESS })
    };
    frame.service(|| cancel().unwrap_or_else(NtError::status))
}

/// Cancels what a thread is blocked in; returns how many packets.
pub fn cancel_synchronous(thread: &Thread) -> usize {
    cancel_of(thread, blocks, 0)
}

/// Whether the thread that issued a packet waits for it.
fn blocks(packet: Irp) -> bool {
    let opened = packet.ptr(IRP::Tail_OriginalFileObject);
    packet.get(IRP::Flags) & IRP_SYNCHRONOUS_API != 0 || opened.is_some_and(file::is_synchronous)
}

/// NtCancelSynchronousIoFile: what a thread is blocked in (NT-X-03).
#[must_use]
pub fn nt_cancel_synchronous_io_file(frame: &Frame, thread: Handle, request: Addr, iosb: Addr) -> NtStatus {
    let cancel = || {
        probe(frame, iosb)?;
        let thread = crate::thread::by_handle(frame, thread, THREAD_TERMINATE)?;
        let wanted =
            |packet: Irp| blocks(packet) && (request.is_null() || packet.addr_at(IRP::UserIosb) == request.value());
        let count = cancel_of(&thread, wanted, 0);
        answer(frame, iosb, if count == 0 { NtStatus::NOT_FOUND } else { NtStatus::SUCCESS })
    };
    frame.service(|| cancel().unwrap_or_else(NtError::status))
}

/// Is it a request that file systems keep for the life of a handle and end at its cleanup: for changes, for an oplock?
fn ends_at_cleanup(packet: Irp) -> bool {
    let first = irp::location(packet, packet.get(IRP::StackCount));
    matches!(first.get(IO_STACK_LOCATION::MajorFunction), IRP_MJ_DIRECTORY_CONTROL | IRP_MJ_FILE_SYSTEM_CONTROL)
}

/// A process closed its last handle to a file, or `everybody` did: its pended requests are cancelled, and tell nobody but a
/// port (NT-Q-14). At the last handle of all, those that the cleanup ends are left to it (NT-NFY-13, NT-OPL-11).
/// Returns whether any were.
pub(crate) fn process_closed(frame: &Frame, file: Foreign<FILE_OBJECT>, everybody: bool) -> bool {
    let room = nt_ps::process::processes(&frame.kernel);
    let threads = if everybody { room.threads() } else { room.threads_of(nt_ps::current_process(frame)) };
    let (mine, left) = (is_of(file), Cell::new(false));
    let wanted = |packet| {
        let leave = mine(packet) && everybody && ends_at_cleanup(packet);
        left.set(left.get() || leave);
        mine(packet) && !leave
    };
    for thread in threads {
        cancel_of(&thread, wanted, PREFIX_CLOSED);
    }
    left.get()
}

/// The file's cleanup is over: what is still under way is cancelled.
pub(crate) fn everybody_closed(frame: &Frame, file: Foreign<FILE_OBJECT>) {
    for thread in nt_ps::process::processes(&frame.kernel).threads() {
        cancel_of(&thread, is_of(file), PREFIX_CLOSED);
    }
}

/// The calling thread ends: what it issued is cancelled and waited for a while, then APCs are run down (NT-P-07, NT-Q-03).
pub fn thread_ends(frame: &Frame) {
    cancel_of(&frame.thread, |_| true, 0);
    // Drivers without a cancel routine complete in their own time; Windows gives them minutes, then drops the packets.
    for _ in 0..500 {
        if frame.thread.irps().is_empty() {
            break;
        }
        let _waited = wait::delay(frame, Mode::Kernel, false, -100_000);
    }
    frame.thread.end();
}
