//! `NtNotifyChangeDirectoryFile`, `NtNotifyChangeDirectoryFileEx`.
//!
//! Room: ntos/io. IRQL: PASSIVE_LEVEL. Locks: the file object's, for synchronous files.
//! Source: the pages of both, IRP_MJ_DIRECTORY_CONTROL; rules NT-NFY-01 to NT-NFY-04, NT-NFY-14, NT-NFY-24, NT-NFY-25. The
//! order of checks is class, status block, filter, buffer, handle.
//! Not here: which change is told to whom (`nt_fsrtl::notify`, for the file system).

pub mod exports;

use crate::service::{self, Caller, violation};
use nt_abi::io::{
    FILE_LIST_DIRECTORY, IO_STACK_LOCATION, IRP, IRP_MJ_DIRECTORY_CONTROL, IRP_MN_NOTIFY_CHANGE_DIRECTORY,
    IRP_MN_NOTIFY_CHANGE_DIRECTORY_EX, SL_WATCH_TREE,
};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Addr;
use nt_ke::{Frame, Mode};
use nt_trace::rule;

/// FILE_NOTIFY_VALID_MASK.
pub const VALID_FILTER: u32 = 0xFFF;
/// DirectoryNotifyInformation: records of FILE_NOTIFY_INFORMATION.
pub const CLASS_PLAIN: u32 = 1;
/// DirectoryNotifyExtendedInformation: records of FILE_NOTIFY_EXTENDED_INFORMATION.
pub const CLASS_EXTENDED: u32 = 2;

/// The arguments of a request for changes.
#[derive(Clone, Copy, Debug)]
pub struct NotifyArguments {
    /// The directory's handle, event, APC, status block.
    pub caller: Caller,
    /// Where the records go; may be none.
    pub buffer: Addr,
    /// Its length.
    pub length: u32,
    /// CompletionFilter: FILE_NOTIFY_CHANGE_*.
    pub filter: u32,
    /// WatchTree: everything beneath the directory too.
    pub watch_tree: bool,
    /// DirectoryNotifyInformationClass: [`CLASS_PLAIN`], or another with the newer call.
    pub class: u32,
}

/// NtNotifyChangeDirectoryFile, NtNotifyChangeDirectoryFileEx: PENDING on an asynchronous handle, until something changes.
///
/// # Errors
/// INVALID_INFO_CLASS, ACCESS_VIOLATION, DATATYPE_MISALIGNMENT, INVALID_PARAMETER (no filter, or an unknown bit of it),
/// INVALID_HANDLE, ACCESS_DENIED (the handle lacks FILE_LIST_DIRECTORY); what the file system answers.
#[must_use]
pub fn nt_notify_change_directory_file(frame: &Frame, args: &NotifyArguments) -> NtStatus {
    frame.service(|| {
        crate::observe::service(
            frame,
            "NtNotifyChangeDirectoryFile",
            IRP_MJ_DIRECTORY_CONTROL,
            args.caller.handle,
            || notify(frame, args),
        )
    })
}

fn notify(frame: &Frame, args: &NotifyArguments) -> NtResult<NtStatus> {
    if !matches!(args.class, CLASS_PLAIN | CLASS_EXTENDED) {
        rule!(NT_NFY_24);
        return NtStatus::INVALID_INFO_CLASS.fail();
    }
    let user = frame.mode() == Mode::User;
    if user {
        service::probe_block(args.caller.iosb).inspect_err(|_| rule!(NT_NFY_01))?;
    }
    if args.filter == 0 || args.filter & !VALID_FILTER != 0 {
        rule!(NT_NFY_02);
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if user && args.length != 0 {
        if !args.buffer.value().is_multiple_of(4) {
            return NtStatus::DATATYPE_MISALIGNMENT.fail();
        }
        args.buffer.region(args.length as usize, false).and_then(|out| out.probe_write()).map_err(violation)?;
    }
    let opened = service::open(frame, args.caller.handle, FILE_LIST_DIRECTORY)?;
    service::send(frame, &args.caller, opened, IRP_MJ_DIRECTORY_CONTROL, args.length, |packet, stack| {
        packet.set_addr(IRP::UserBuffer, args.buffer.value());
        let minor =
            if args.class == CLASS_PLAIN { IRP_MN_NOTIFY_CHANGE_DIRECTORY } else { IRP_MN_NOTIFY_CHANGE_DIRECTORY_EX };
        stack.set(IO_STACK_LOCATION::MinorFunction, minor);
        stack.set(IO_STACK_LOCATION::Flags, if args.watch_tree { SL_WATCH_TREE } else { 0 });
        stack.set(IO_STACK_LOCATION::NotifyDirectory_Length, args.length);
        stack.set(IO_STACK_LOCATION::NotifyDirectory_CompletionFilter, args.filter);
        if args.class != CLASS_PLAIN {
            stack.set(IO_STACK_LOCATION::NotifyDirectoryEx_DirectoryNotifyInformationClass, args.class);
        }
        Ok(())
    })
}
