//! Paging reads and writes, and the size news that follows them: the requests that the cache manager and the memory
//! manager make.
//!
//! Room: ntos/io. Called by: `nt_cc`, `nt_machine` (page write-back of the host). IRQL: <= APC_LEVEL. Locks: none.
//! Source: IRP_MJ_WRITE (ifs) page; rules NT-CC-22 to NT-CC-28, NT-CC-36. Each enters at the top of the stack, where
//! filters see it; kernel mode, no key, no position.

use crate::irp::{self, IoStatus};
use crate::observe::Request;
use crate::system::System;
use crate::{device, file, info};
use nt_abi::NtStatus;
use nt_abi::io::{
    DEVICE_OBJECT, FILE_OBJECT, IO_STACK_LOCATION, IRP, IRP_MJ_READ, IRP_MJ_SET_INFORMATION, IRP_NOCACHE,
    IRP_PAGING_IO, IRP_SYNCHRONOUS_API, IRP_SYNCHRONOUS_PAGING_IO,
};
use nt_abi::mm::{MDL, MDL_IO_PAGE_READ};
use nt_cell::{Foreign, Region};
use nt_ke::Frame;

/// Flags of a paging request of the mapped page writer: 03 (NT-CC-27).
pub const MAPPED: u32 = IRP_NOCACHE | IRP_PAGING_IO;
/// Flags of a synchronous paging request: 43 (NT-CC-27).
pub const SYNCHRONOUS: u32 = MAPPED | IRP_SYNCHRONOUS_PAGING_IO;

/// Sends `pages` at `offset` of the stream behind `opened` as a paging read or write, and waits. The memory is described
/// by an MDL whose pages are locked (NT-CC-23), which stays the sender's (NT-CC-28).
#[must_use]
pub fn transfer(
    frame: &Frame,
    opened: Foreign<FILE_OBJECT>,
    major: u8,
    flags: u32,
    offset: i64,
    pages: Region,
) -> IoStatus {
    let (Some(top), Ok(length)) = (device::related(opened), u32::try_from(pages.len())) else {
        return IoStatus::new(NtStatus::INVALID_PARAMETER, 0);
    };
    let read = major == IRP_MJ_READ;
    let mdl = match nt_mm::mdl::allocate(pages) {
        Ok(mdl) => mdl,
        Err(error) => return IoStatus::new(error.status(), 0),
    };
    if let Err(error) = nt_mm::mdl::probe_and_lock(mdl, true, read) {
        nt_mm::mdl::free(mdl);
        return IoStatus::new(error.status(), 0);
    }
    if read {
        mdl.set(MDL::MdlFlags, mdl.get(MDL::MdlFlags) | MDL_IO_PAGE_READ);
    }
    let Ok(packet) = irp::allocate(top.get(DEVICE_OBJECT::StackSize)) else {
        nt_mm::mdl::release(mdl);
        return IoStatus::new(NtStatus::INSUFFICIENT_RESOURCES, 0);
    };
    packet.set(IRP::Flags, flags);
    packet.set_ptr(IRP::MdlAddress, Some(mdl));
    packet.set_addr(IRP::UserBuffer, pages.addr());
    packet.set_addr(IRP::Tail_Thread, frame.thread.object());
    packet.set_ptr(IRP::Tail_OriginalFileObject, Some(opened));
    let stack = irp::next(packet);
    stack.set(IO_STACK_LOCATION::MajorFunction, major);
    stack.set_ptr(IO_STACK_LOCATION::FileObject, Some(opened));
    stack.set(IO_STACK_LOCATION::Write_Length, length);
    stack.set(IO_STACK_LOCATION::Write_ByteOffset, offset);
    let system = System::of(&frame.kernel);
    let span = system.begin(|| Request { offset, length, flags, ..file::request(frame, opened, major) });
    irp::set_span(packet, span);
    let result = file::send_for_result(frame, packet, top);
    system.end(span, result.status, result.information);
    nt_mm::mdl::release(mdl);
    result
}

/// Tells the file system how far the valid data on the medium reaches now: FileEndOfFileInformation with AdvanceOnly
/// (NT-CC-36).
#[must_use]
pub fn advance(frame: &Frame, opened: Foreign<FILE_OBJECT>, valid: i64) -> NtStatus {
    set_end(frame, opened, valid, true)
}

/// FsRtlSetFileSize: a section is to be larger than its file.
#[must_use]
pub fn set_size(frame: &Frame, opened: Foreign<FILE_OBJECT>, size: i64) -> NtStatus {
    set_end(frame, opened, size, false)
}

fn set_end(frame: &Frame, opened: Foreign<FILE_OBJECT>, end: i64, advance: bool) -> NtStatus {
    let flags = if advance { SYNCHRONOUS } else { IRP_SYNCHRONOUS_API };
    let Some(top) = device::related(opened) else { return NtStatus::INVALID_PARAMETER };
    let Ok(buffer) = info::system_buffer(8) else { return NtStatus::INSUFFICIENT_RESOURCES };
    let _own_memory = buffer.region().store::<i64>(0, end);
    let Ok(packet) = irp::allocate(top.get(DEVICE_OBJECT::StackSize)) else {
        return NtStatus::INSUFFICIENT_RESOURCES;
    };
    packet.set(IRP::Flags, flags);
    packet.set_addr(IRP::Tail_Thread, frame.thread.object());
    packet.set_ptr(IRP::Tail_OriginalFileObject, Some(opened));
    packet.set_ptr(IRP::AssociatedIrp_SystemBuffer, Some(buffer.block()));
    let stack = irp::next(packet);
    stack.set(IO_STACK_LOCATION::MajorFunction, IRP_MJ_SET_INFORMATION);
    stack.set_ptr(IO_STACK_LOCATION::FileObject, Some(opened));
    stack.set(IO_STACK_LOCATION::SetFile_Length, 8);
    stack.set(IO_STACK_LOCATION::SetFile_FileInformationClass, info::class::END_OF_FILE);
    stack.set_ptr(IO_STACK_LOCATION::SetFile_FileObject, Some(opened));
    stack.set(IO_STACK_LOCATION::SetFile_AdvanceOnly, u8::from(advance));
    let system = System::of(&frame.kernel);
    let span = system.begin(|| Request { length: 8, flags, ..file::request(frame, opened, IRP_MJ_SET_INFORMATION) });
    let result = file::send_for_result(frame, packet, top);
    system.end(span, result.status, result.information);
    result.status
}
