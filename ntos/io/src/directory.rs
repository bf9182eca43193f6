//! `NtQueryDirectoryFile`.
//!
//! Room: ntos/io. IRQL: PASSIVE_LEVEL. Locks: the file object's, for synchronous files.
//! Source: ZwQueryDirectoryFile page; rules NT-DIR-*. The scan's position and pattern are the file system's.

use crate::irp::IoStatus;
use crate::rw::store_status;
use crate::{device, event, file, info};
use nt_abi::io::{
    FILE_LIST_DIRECTORY, FILE_OBJECT, IO_STACK_LOCATION, IRP_MJ_DIRECTORY_CONTROL, IRP_MN_QUERY_DIRECTORY,
    SL_RESTART_SCAN, SL_RETURN_SINGLE_ENTRY,
};
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::Addr;
use nt_ex::pool;
use nt_ke::{Frame, Mode};
use nt_ob::types::ObjectType;
use nt_ob::{Handle, ObjectRef};

/// The arguments of a directory query.
#[derive(Clone, Debug)]
pub struct DirectoryArguments {
    /// FileHandle of the directory.
    pub handle: Handle,
    /// IoStatusBlock.
    pub iosb: Addr,
    /// Where the entries go.
    pub buffer: Addr,
    /// Its length.
    pub length: u32,
    /// FileInformationClass of the entries.
    pub class: u32,
    /// ReturnSingleEntry.
    pub single: bool,
    /// FileName: the pattern of the scan.
    pub pattern: Option<Vec<u16>>,
    /// RestartScan.
    pub restart: bool,
}

/// NtQueryDirectoryFile.
#[must_use]
pub fn nt_query_directory_file(frame: &Frame, args: &DirectoryArguments) -> NtStatus {
    query(frame, args).unwrap_or_else(NtError::status)
}

fn query(frame: &Frame, args: &DirectoryArguments) -> NtResult<NtStatus> {
    let violation = |_: nt_cell::Fault| NtStatus::ACCESS_VIOLATION.error();
    let kernel = frame.mode() == Mode::Kernel;
    let out = args.buffer.region(args.length as usize, kernel).map_err(violation)?;
    if !kernel {
        args.iosb.region(16, false).and_then(|block| block.probe_write()).map_err(violation)?;
        out.probe_write().map_err(violation)?;
    }
    let (object, granted) = event::reference(frame, args.handle, ObjectType::File, 0, frame.mode())?;
    if !kernel && granted & FILE_LIST_DIRECTORY == 0 {
        return NtStatus::ACCESS_DENIED.fail();
    }
    let opened: ObjectRef<FILE_OBJECT> = object.retype();
    let top = device::related(*opened).ok_or(NtStatus::INVALID_DEVICE_REQUEST.error())?;
    let _lock = if file::is_synchronous(*opened) { file::lock(frame, *opened).ok() } else { None };
    let pattern = match &args.pattern {
        None => None,
        Some(units) => {
            let block = pool::zeroed::<nt_abi::ob::UNICODE_STRING>(pool::tag(b"IoDp"));
            let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
            nt_rtl::unicode::store_units(block, units)?;
            Some(block)
        }
    };
    let buffer = info::SystemBuffer::new(args.length as usize)?;
    let result = info::exchange(
        frame,
        *opened,
        top,
        IRP_MJ_DIRECTORY_CONTROL,
        args.class,
        buffer.block(),
        args.length,
        |stack| {
            stack.set(IO_STACK_LOCATION::MinorFunction, IRP_MN_QUERY_DIRECTORY);
            let restart = if args.restart { SL_RESTART_SCAN } else { 0 };
            let single = if args.single { SL_RETURN_SINGLE_ENTRY } else { 0 };
            stack.set(IO_STACK_LOCATION::Flags, restart | single);
            stack.set(IO_STACK_LOCATION::QueryDirectory_Length, args.length);
            stack.set_ptr(IO_STACK_LOCATION::QueryDirectory_FileName, pattern);
            stack.set(IO_STACK_LOCATION::QueryDirectory_FileInformationClass, args.class);
        },
    );
    if let Some(pattern) = pattern {
        nt_rtl::unicode::release(pattern);
        pool::free(pattern);
    }
    if result.status.is_error() || result.status == NtStatus::NO_MORE_FILES {
        return Ok(result.status);
    }
    let length = (result.information as usize).min(args.length as usize);
    out.sub(0, length).copy_from(buffer.region().sub(0, length)).map_err(violation)?;
    store_status(args.iosb, kernel, IoStatus::new(result.status, result.information))?;
    Ok(result.status)
}
