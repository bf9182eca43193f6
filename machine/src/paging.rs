//! Page write-back that comes from outside: the host's page cache gives back what a program wrote through a mapping.
//!
//! Room: machine. Called by: front/fuse. Calls: `nt_io::send`. IRQL: PASSIVE_LEVEL. Locks: none.
//! House rule 3: this is no NtWriteFile. It enters at the top of the stack as paging I/O of the system process, with an
//! explicit offset, so that an append-only handle does not append it, the position stays, and the file does not grow.

use crate::client::Client;
use nt_abi::io::{
    DEVICE_OBJECT, FILE_OBJECT, IO_STACK_LOCATION, IRP, IRP_MJ_WRITE, IRP_NOCACHE, IRP_PAGING_IO, IRP_WRITE_OPERATION,
};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use nt_ex::pool;
use nt_io::observe::Request;
use nt_io::{System, device, irp};
use nt_ke::Mode;
use nt_ob::types::ObjectType;
use nt_ob::{Handle, ObjectRef};

const FLAGS: u32 = IRP_PAGING_IO | IRP_NOCACHE | IRP_WRITE_OPERATION;

impl Client {
    /// Writes pages of the stream behind `handle`; what lies past the end of the file is left out. `system` is a thread
    /// of the system process that runs on this host thread only.
    pub fn paging_write(&self, system: &Client, handle: Handle, offset: i64, bytes: &[u8]) -> NtResult<u64> {
        let opened: ObjectRef<FILE_OBJECT> =
            self.call(|frame| nt_io::event::reference(frame, handle, ObjectType::File, 0, Mode::Kernel))?.0.retype();
        let length = u32::try_from(bytes.len()).map_err(|_| NtStatus::INVALID_PARAMETER.error())?;
        system.call(|frame| {
            let top = device::related(*opened).ok_or(NtStatus::INVALID_DEVICE_REQUEST.error())?;
            let block = pool::allocate(bytes.len().max(8), pool::tag(b"MmPg"), pool::PoolKind::NonPaged);
            let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
            let region = Region::pool(block, bytes.len());
            let sent = region
                .write_from(bytes)
                .map_err(|_| NtStatus::ACCESS_VIOLATION.error())
                .and_then(|()| nt_mm::mdl::allocate(region))
                .and_then(|mdl| {
                    nt_mm::mdl::probe_and_lock(mdl, true, false)?;
                    let packet = irp::allocate(top.get(DEVICE_OBJECT::StackSize))?;
                    packet.set(IRP::Flags, FLAGS);
                    packet.set_ptr(IRP::MdlAddress, Some(mdl));
                    packet.set_addr(IRP::UserBuffer, region.addr());
                    packet.set_addr(IRP::Tail_Thread, frame.thread.object());
                    packet.set_ptr(IRP::Tail_OriginalFileObject, Some(*opened));
                    let stack = irp::next(packet);
                    stack.set(IO_STACK_LOCATION::MajorFunction, IRP_MJ_WRITE);
                    stack.set_ptr(IO_STACK_LOCATION::FileObject, Some(*opened));
                    stack.set(IO_STACK_LOCATION::Write_Length, length);
                    stack.set(IO_STACK_LOCATION::Write_ByteOffset, offset);
                    Ok(packet)
                });
            let result = sent.map(|packet| {
                let io = System::of(&frame.kernel);
                let request = Request {
                    major: IRP_MJ_WRITE,
                    file: Some(*opened),
                    offset,
                    length,
                    flags: FLAGS,
                    fast: false,
                    generated: false,
                    process: nt_ps::current_process(frame).id(),
                };
                let span = io.observer(|observer| observer.begin(&request)).unwrap_or(0);
                if let Some(prefix) = irp::prefix(packet) {
                    prefix.set(irp::IRP_PREFIX::Span, span);
                }
                let result = nt_io::file::send_for_result(frame, packet, top);
                io.observer(|observer| observer.end(span, result.status, result.information));
                result
            });
            pool::free(block);
            let result = result?;
            if result.status.is_error() { result.status.fail() } else { Ok(result.information) }
        })
    }
}
