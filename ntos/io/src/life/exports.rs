//! Cancelling, completion ports, parts of requests and attaching under their exported names.
//!
//! Room: ntos/io. Called by: compiled drivers, through the loader. Calls: [`crate::cancel`], [`crate::port`], [`super`].

use crate::exports::{at, given, status, store, timeout, zw};
use crate::irp::IoStatus;
use crate::port::{self, Packet};
use crate::{cancel, life};
use nt_abi::io::IRP;
use nt_abi::ke::KSEMAPHORE;
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Foreign, exports};
use nt_ke::{Frame, Mode};
use nt_ob::Handle;

fn create_port(frame: &Frame, out: u64, access: u32) -> NtResult<NtStatus> {
    store::<u64>(frame, out, 0)?;
    let handle = port::create(frame, access)?;
    store::<u64>(frame, out, handle.0)?;
    Ok(NtStatus::SUCCESS)
}

/// {key, context, status, Information} as FILE_IO_COMPLETION_INFORMATION has them.
fn store_packet(frame: &Frame, to: u64, packet: &Packet) -> NtResult<()> {
    store::<u64>(frame, to, packet.key)?;
    store::<u64>(frame, to + 8, packet.context)?;
    store::<u64>(frame, to + 16, u64::from(packet.result.status.0))?;
    store::<u64>(frame, to + 24, packet.result.information)
}

fn remove(frame: &Frame, handle: u64, key: u64, context: u64, iosb: u64, at_most: u64) -> NtResult<NtStatus> {
    for (out, size) in [(key, 8), (context, 8), (iosb, 16)] {
        let region = given(frame, out).region(size, frame.mode() == Mode::Kernel);
        region.and_then(|region| region.probe_write()).map_err(|_| NtStatus::ACCESS_VIOLATION.error())?;
    }
    match port::remove(frame, Handle(handle), timeout(frame, at_most)?)? {
        Err(other) => Ok(other),
        Ok(packet) => {
            store::<u64>(frame, key, packet.key)?;
            store::<u64>(frame, context, packet.context)?;
            store::<u64>(frame, iosb, u64::from(packet.result.status.0))?;
            store::<u64>(frame, iosb + 8, packet.result.information)?;
            Ok(NtStatus::SUCCESS)
        }
    }
}

fn remove_several(
    frame: &Frame,
    handle: u64,
    out: u64,
    count: u32,
    removed: u64,
    at_most: u64,
    alertable: bool,
) -> NtResult<NtStatus> {
    match port::remove_several(frame, Handle(handle), count, timeout(frame, at_most)?, alertable)? {
        Err(other) => Ok(other),
        Ok(packets) => {
            for (packet, to) in packets.iter().zip((out..).step_by(32)) {
                store_packet(frame, to, packet)?;
            }
            store::<u32>(frame, removed, packets.len() as u32)?;
            Ok(NtStatus::SUCCESS)
        }
    }
}

fn process_of(packet: Foreign<IRP>) -> Option<std::sync::Arc<nt_ps::Process>> {
    let room = nt_ke::current();
    let thread = nt_ps::process::processes(&room.kernel).thread_at(packet.addr_at(IRP::Tail_Thread))?;
    thread.process_arc::<nt_ps::Process>()
}

exports! { "ntoskrnl.exe" =>
    Full code ZwCancelIoFile(handle: u64, iosb: u64) -> u32 {
        zw(|frame| cancel::nt_cancel_io_file(frame, Handle(handle), given(frame, iosb)).0)
    }
    Full code ZwCancelIoFileEx(handle: u64, request: u64, iosb: u64) -> u32 {
        zw(|frame| cancel::nt_cancel_io_file_ex(frame, Handle(handle), given(frame, request), given(frame, iosb)).0)
    }
    Full code ZwCancelSynchronousIoFile(thread: u64, request: u64, iosb: u64) -> u32 {
        zw(|frame| cancel::nt_cancel_synchronous_io_file(frame, Handle(thread), given(frame, request), given(frame, iosb)).0)
    }
    Partial("ports without a name only; the number of concurrent threads is not limited") code ZwCreateIoCompletion(out: u64, access: u32, _attributes: u64, _threads: u32) -> u32 {
        zw(|frame| status(create_port(frame, out, access)))
    }
    Full code ZwSetIoCompletion(port: u64, key: u64, context: u64, last: u32, information: u64) -> u32 {
        let packet = Packet { key, context, result: IoStatus::new(NtStatus(last), information) };
        zw(|frame| status(port::set(frame, Handle(port), packet).map(|()| NtStatus::SUCCESS)))
    }
    Full code ZwRemoveIoCompletion(port: u64, key: u64, context: u64, iosb: u64, at_most: u64) -> u32 {
        zw(|frame| status(remove(frame, port, key, context, iosb, at_most)))
    }
    Full code ZwRemoveIoCompletionEx(port: u64, out: u64, count: u32, removed: u64, at_most: u64, alertable: u8) -> u32 {
        zw(|frame| status(remove_several(frame, port, out, count, removed, at_most, alertable != 0)))
    }
    Partial("no quota is charged") code IoSetIoCompletion(port: u64, key: u64, context: u64, last: u32, information: u64, _quota: u8) -> u32 {
        let Some(port) = at::<KSEMAPHORE>(port) else { return NtStatus::INVALID_PARAMETER.0 };
        port::queue(port, Packet { key, context, result: IoStatus::new(NtStatus(last), information) });
        NtStatus::SUCCESS.0
    }
    Full code IoMakeAssociatedIrp(master: u64, stack_size: i8) -> u64 {
        at::<IRP>(master).and_then(|master| life::make_associated(master, stack_size).ok()).map_or(0, Foreign::addr)
    }
    Full code IoGetRequestorProcess(packet: u64) -> u64 {
        at::<IRP>(packet).and_then(process_of).map_or(0, |process| process.object().addr())
    }
    Full code IoGetRequestorProcessId(packet: u64) -> u32 {
        at::<IRP>(packet).and_then(process_of).map_or(0, |process| process.id() as u32)
    }
    Full code KeStackAttachProcess(process: u64, state: u64) {
        let frame = nt_ke::current();
        if let Some(process) = nt_ps::process::processes(&frame.kernel).process_at(process) {
            life::attach(&process, state);
        }
    }
    Full code KeUnstackDetachProcess(state: u64) { life::detach(state); }
}
