//! `NtQueryDirectoryFile`, `NtQueryDirectoryFileEx`.
//!
//! Room: ntos/io. IRQL: PASSIVE_LEVEL. Locks: the file object's, for synchronous files.
//! Source: the pages of both; rules NT-DIR-01 to NT-DIR-04, NT-DIR-41, NT-DIR-42, NT-DIR-44. The scan's position and
//! pattern are the file system's. The order of checks is class, length, addresses, handle.

use crate::service::{self, Caller, violation};
use nt_abi::io::{
    FILE_LIST_DIRECTORY, IO_STACK_LOCATION, IRP, IRP_MJ_DIRECTORY_CONTROL, IRP_MN_QUERY_DIRECTORY, SL_RESTART_SCAN,
    SL_RETURN_ON_DISK_ENTRIES_ONLY, SL_RETURN_SINGLE_ENTRY,
};
use nt_abi::ob::UNICODE_STRING;
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Addr, Region};
use nt_ex::pool;
use nt_ke::{Frame, Mode};

/// SL_NO_CURSOR_UPDATE_QUERY.
pub const SL_NO_CURSOR_UPDATE: u8 = 0x10;
/// What a caller of NtQueryDirectoryFileEx may ask for.
const VALID_FLAGS: u8 = 0x1B;

/// The arguments of a directory query.
#[derive(Clone, Debug)]
pub struct DirectoryArguments {
    /// The directory's handle, event, APC, status block.
    pub caller: Caller,
    /// Where the entries go.
    pub buffer: Addr,
    /// Its length.
    pub length: u32,
    /// FileInformationClass of the entries.
    pub class: u32,
    /// SL_RESTART_SCAN, SL_RETURN_SINGLE_ENTRY and their like.
    pub flags: u8,
    /// FileName: the pattern of the scan.
    pub pattern: Option<Vec<u16>>,
}

impl DirectoryArguments {
    /// The flags of the older call.
    #[must_use]
    pub const fn flags(single: bool, restart: bool) -> u8 {
        (if restart { SL_RESTART_SCAN } else { 0 }) | if single { SL_RETURN_SINGLE_ENTRY } else { 0 }
    }
}

/// The shortest buffer of a directory class: an entry with a name of one unit, as long as the next would start.
const fn shortest(class: u32) -> Option<u32> {
    Some(match class {
        1 | 2 => 0x48,
        3 | 50 | 60 => 0x60,
        12 => 0x10,
        29 => 0x48,
        32 => 0x38,
        33 => 0x10,
        37 => 0x70,
        38 => 0x58,
        63 => 0x78,
        _ => return None,
    })
}

/// NtQueryDirectoryFile and NtQueryDirectoryFileEx.
#[must_use]
pub fn nt_query_directory_file(frame: &Frame, args: &DirectoryArguments) -> NtStatus {
    frame.service(|| {
        crate::observe::service(frame, "NtQueryDirectoryFile", IRP_MJ_DIRECTORY_CONTROL, args.caller.handle, || {
            query(frame, args)
        })
    })
}

fn query(frame: &Frame, args: &DirectoryArguments) -> NtResult<NtStatus> {
    let kernel = frame.mode() == Mode::Kernel;
    if args.flags & !VALID_FLAGS != 0 {
        return NtStatus::INVALID_PARAMETER.fail(); // NT-DIR-42
    }
    let shortest = shortest(args.class).ok_or(NtStatus::INVALID_INFO_CLASS.error())?; // NT-DIR-01
    if args.length < shortest {
        return NtStatus::INFO_LENGTH_MISMATCH.fail(); // NT-DIR-02
    }
    service::probe(frame, args.caller.iosb, args.buffer, args.length)?;
    let opened = service::open(frame, args.caller.handle, FILE_LIST_DIRECTORY)?;
    service::send(frame, &args.caller, opened, IRP_MJ_DIRECTORY_CONTROL, args.length, |packet, stack| {
        args.buffer.region(args.length as usize, kernel).map_err(violation)?;
        packet.set_addr(IRP::UserBuffer, args.buffer.value()); // NT-DIR-44
        stack.set(IO_STACK_LOCATION::MinorFunction, IRP_MN_QUERY_DIRECTORY);
        stack.set(IO_STACK_LOCATION::Flags, args.flags);
        stack.set(IO_STACK_LOCATION::QueryDirectory_Length, args.length);
        stack.set(IO_STACK_LOCATION::QueryDirectory_FileInformationClass, args.class);
        if let Some(units) = &args.pattern {
            let block = string(units)?;
            stack.set_ptr(IO_STACK_LOCATION::QueryDirectory_FileName, Some(block));
            packet.set_ptr(IRP::Tail_AuxiliaryBuffer, Some(block.view()));
        }
        Ok(())
    })
}

/// A counted string with its units behind it, in one block that goes with the packet (Tail.Overlay.AuxiliaryBuffer).
fn string(units: &[u16]) -> NtResult<nt_cell::Foreign<UNICODE_STRING>> {
    let bytes = nt_rtl::unicode::bytes_of(units);
    let length = u16::try_from(bytes.len()).map_err(|_| NtStatus::OBJECT_NAME_INVALID.error())?;
    let block = pool::allocate(UNICODE_STRING::SIZE + bytes.len().max(2), pool::tag(b"IoDp"), pool::PoolKind::NonPaged);
    let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    let string = block.view::<UNICODE_STRING>();
    let data = string.following::<nt_abi::Bytes>();
    let _own = Region::pool(block, UNICODE_STRING::SIZE + bytes.len())
        .sub(UNICODE_STRING::SIZE, bytes.len())
        .write_from(&bytes);
    string.set(UNICODE_STRING::Length, length);
    string.set(UNICODE_STRING::MaximumLength, length);
    string.set_addr(UNICODE_STRING::Buffer, data.addr());
    Ok(string)
}

const _: () = assert!(
    SL_RETURN_ON_DISK_ENTRIES_ONLY | SL_NO_CURSOR_UPDATE | SL_RESTART_SCAN | SL_RETURN_SINGLE_ENTRY == VALID_FLAGS
);
