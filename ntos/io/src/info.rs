//! Query and set information: files, volumes, extended attributes.
//!
//! Room: ntos/io. IRQL: PASSIVE_LEVEL. Locks: the file object's, for synchronous files.
//! Source: ZwQueryInformationFile, ZwSetInformationFile pages; rules NT-I-01 to NT-I-17. The order of checks is NT-I-01's:
//! class, length, probes, then the handle. Position, mode, access and alignment are answered here, all else by the
//! file system, with the data in the packet's system buffer.

use crate::device::{self, Device};
use crate::irp::{self, IoStatus};
use crate::observe::{self, Request};
use crate::service::{self, violation};
use crate::system::System;
use crate::{event, fast, file, port, target};
use nt_abi::io::{
    DEVICE_OBJECT, FILE_OBJECT, FILE_READ_ATTRIBUTES, FILE_READ_DATA, FILE_WRITE_ATTRIBUTES, FILE_WRITE_DATA,
    FO_ALERTABLE_IO, FO_NO_INTERMEDIATE_BUFFERING, FO_SEQUENTIAL_ONLY, FO_SKIP_COMPLETION_PORT, FO_SKIP_SET_EVENT,
    FO_SKIP_SET_FAST_IO, FO_SYNCHRONOUS_IO, FO_WRITE_THROUGH, IO_STACK_LOCATION, IRP, IRP_BUFFERED_IO,
    IRP_MJ_QUERY_INFORMATION, IRP_MJ_QUERY_VOLUME_INFORMATION, IRP_MJ_SET_INFORMATION, IRP_MJ_SET_VOLUME_INFORMATION,
};
use nt_abi::ob::DELETE;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Addr, Foreign, Region};
use nt_ex::pool::{self, Scratch};
use nt_ke::{Frame, Mode, dispatcher};
use nt_ob::types::ObjectType;
use nt_ob::{Handle, ObjectRef};
use nt_trace::rule;

/// FILE_INFORMATION_CLASS values that this room or its volumes know.
pub mod class {
    /// FileBasicInformation.
    pub const BASIC: u32 = 4;
    /// FileStandardInformation.
    pub const STANDARD: u32 = 5;
    /// FileInternalInformation.
    pub const INTERNAL: u32 = 6;
    /// FileEaInformation.
    pub const EA: u32 = 7;
    /// FileAccessInformation.
    pub const ACCESS: u32 = 8;
    /// FileNameInformation.
    pub const NAME: u32 = 9;
    /// FileRenameInformation.
    pub const RENAME: u32 = 10;
    /// FileLinkInformation.
    pub const LINK: u32 = 11;
    /// FileDispositionInformation.
    pub const DISPOSITION: u32 = 13;
    /// FilePositionInformation.
    pub const POSITION: u32 = 14;
    /// FileModeInformation.
    pub const MODE: u32 = 16;
    /// FileAlignmentInformation.
    pub const ALIGNMENT: u32 = 17;
    /// FileAllInformation.
    pub const ALL: u32 = 18;
    /// FileAllocationInformation.
    pub const ALLOCATION: u32 = 19;
    /// FileEndOfFileInformation.
    pub const END_OF_FILE: u32 = 20;
    /// FileCompressionInformation.
    pub const COMPRESSION: u32 = 28;
    /// FileNumaNodeInformation.
    pub const NUMA_NODE: u32 = 53;
    /// FileVolumeNameInformation.
    pub const VOLUME_NAME: u32 = 58;
    /// FileCaseSensitiveInformation.
    pub const CASE_SENSITIVE: u32 = 71;
    /// FileAlternateNameInformation.
    pub const ALTERNATE_NAME: u32 = 21;
    /// FileStreamInformation.
    pub const STREAM: u32 = 22;
    /// FileCompletionInformation.
    pub const COMPLETION: u32 = 30;
    /// FileNetworkOpenInformation.
    pub const NETWORK_OPEN: u32 = 34;
    /// FileAttributeTagInformation.
    pub const ATTRIBUTE_TAG: u32 = 35;
    /// FileValidDataLengthInformation.
    pub const VALID_DATA_LENGTH: u32 = 39;
    /// FileShortNameInformation.
    pub const SHORT_NAME: u32 = 40;
    /// FileIoCompletionNotificationInformation.
    pub const IO_COMPLETION_NOTIFICATION: u32 = 41;
    /// FileHardLinkInformation.
    pub const HARD_LINK: u32 = 46;
    /// FileNormalizedNameInformation.
    pub const NORMALIZED_NAME: u32 = 48;
    /// FileStandardLinkInformation.
    pub const STANDARD_LINK: u32 = 54;
    /// FileIdInformation.
    pub const ID: u32 = 59;
    /// FileHardLinkFullIdInformation.
    pub const HARD_LINK_FULL_ID: u32 = 62;
    /// FileStatInformation.
    pub const STAT: u32 = 68;
    /// FileStatLxInformation.
    pub const STAT_LX: u32 = 70;
    /// FileReplaceCompletionInformation.
    pub const REPLACE_COMPLETION: u32 = 61;
    /// FileDispositionInformationEx.
    pub const DISPOSITION_EX: u32 = 64;
    /// FileRenameInformationEx.
    pub const RENAME_EX: u32 = 65;
    /// FileLinkInformationEx.
    pub const LINK_EX: u32 = 72;
}

/// A class's shortest buffer and the access that it needs.
struct Shape {
    length: u32,
    access: u32,
}

const fn query_shape(class: u32) -> Option<Shape> {
    let (length, access) = match class {
        class::BASIC => (40, FILE_READ_ATTRIBUTES),
        class::STANDARD => (24, 0),
        class::INTERNAL => (8, 0),
        class::EA | class::ACCESS | class::MODE | class::ALIGNMENT => (4, 0),
        class::NAME | class::NORMALIZED_NAME | class::ALTERNATE_NAME => (8, 0),
        class::STREAM => (32, 0),
        class::COMPRESSION => (16, 0),
        class::NUMA_NODE => (2, 0),
        class::VOLUME_NAME => (8, 0),
        class::CASE_SENSITIVE => (4, FILE_READ_ATTRIBUTES),
        class::STANDARD_LINK => (12, 0),
        class::ID => (24, 0),
        class::HARD_LINK | class::HARD_LINK_FULL_ID => (32, 0),
        class::STAT => (72, FILE_READ_ATTRIBUTES),
        class::STAT_LX => (96, FILE_READ_ATTRIBUTES),
        class::POSITION => (8, FILE_READ_DATA | FILE_WRITE_DATA),
        class::ALL => (104, FILE_READ_ATTRIBUTES),
        class::NETWORK_OPEN => (56, FILE_READ_ATTRIBUTES),
        class::ATTRIBUTE_TAG => (8, FILE_READ_ATTRIBUTES),
        class::IO_COMPLETION_NOTIFICATION => (4, 0),
        _ => return None,
    };
    Some(Shape { length, access })
}

const fn set_shape(class: u32) -> Option<Shape> {
    let (length, access) = match class {
        class::BASIC => (40, FILE_WRITE_ATTRIBUTES),
        class::RENAME | class::RENAME_EX => (24, DELETE),
        class::LINK | class::LINK_EX => (24, 0),
        class::SHORT_NAME => (8, DELETE),
        class::DISPOSITION => (1, DELETE),
        class::DISPOSITION_EX => (4, DELETE),
        class::CASE_SENSITIVE => (4, FILE_WRITE_ATTRIBUTES),
        class::POSITION => (8, FILE_READ_DATA | FILE_WRITE_DATA),
        class::MODE => (4, 0),
        class::ALLOCATION | class::END_OF_FILE | class::VALID_DATA_LENGTH => (8, FILE_WRITE_DATA),
        class::COMPLETION | class::REPLACE_COMPLETION => (16, 0),
        class::IO_COMPLETION_NOTIFICATION => (4, 0),
        _ => return None,
    };
    Some(Shape { length, access })
}

/// The arguments of a query or set.
#[derive(Clone, Copy, Debug)]
pub struct InfoArguments {
    /// FileHandle.
    pub handle: Handle,
    /// IoStatusBlock.
    pub iosb: Addr,
    /// FileInformation.
    pub buffer: Addr,
    /// Length.
    pub length: u32,
    /// FileInformationClass.
    pub class: u32,
}

struct Opened {
    file: ObjectRef<FILE_OBJECT>,
    granted: u32,
    top: Device,
    flags: u32,
}

fn open(frame: &Frame, handle: Handle, any_of: u32) -> NtResult<Opened> {
    let (object, granted) = event::reference(frame, handle, ObjectType::File, 0, frame.mode())?;
    let file: ObjectRef<FILE_OBJECT> = object.retype();
    if frame.mode() == Mode::User && any_of != 0 && granted & any_of == 0 {
        return NtStatus::ACCESS_DENIED.fail();
    }
    let top = device::related(*file).ok_or(NtStatus::INVALID_DEVICE_REQUEST.error())?;
    let flags = file.get(FILE_OBJECT::Flags);
    Ok(Opened { file, granted, top, flags })
}

fn probe(frame: &Frame, args: &InfoArguments, write: bool) -> NtResult<()> {
    if frame.mode() == Mode::Kernel {
        return Ok(());
    }
    service::probe_block(args.iosb)?;
    let buffer = args.buffer.region(args.length as usize, false).map_err(violation)?;
    if write { buffer.probe_write() } else { buffer.probe_read() }.map_err(violation)
}

fn answer(frame: &Frame, args: &InfoArguments, result: IoStatus) -> NtResult<NtStatus> {
    service::store_status(args.iosb, frame.mode() == Mode::Kernel, result)?;
    Ok(result.status)
}

/// How a request of a synchronous service ended.
#[derive(Clone, Copy, Debug)]
pub struct Exchanged {
    /// Status and Information.
    pub result: IoStatus,
    /// A driver had kept it for a while.
    pub pended: bool,
}

/// Sends a request with its data in a system buffer of `length` bytes and waits; the data comes back in the buffer.
#[expect(clippy::too_many_arguments, reason = "the parameters of one request, each of its own type")]
pub fn exchange(
    frame: &Frame,
    opened: Foreign<FILE_OBJECT>,
    top: Device,
    major: u8,
    class: u32,
    buffer: Foreign<Bytes>,
    length: u32,
    fill: impl FnOnce(irp::Stack),
) -> Exchanged {
    let Ok(packet) = irp::allocate(top.get(DEVICE_OBJECT::StackSize)) else {
        let result = IoStatus::new(NtStatus::INSUFFICIENT_RESOURCES, 0);
        return Exchanged { result, pended: false };
    };
    frame.thread.io().operation(nt_ps::counters::Operation::Other);
    packet.set(IRP::Flags, nt_abi::io::IRP_SYNCHRONOUS_API | IRP_BUFFERED_IO);
    packet.set(IRP::RequestorMode, frame.mode() as u8);
    packet.set_addr(IRP::Tail_Thread, frame.thread.object());
    packet.set_ptr(IRP::Tail_OriginalFileObject, Some(opened));
    packet.set_ptr(IRP::AssociatedIrp_SystemBuffer, Some(buffer));
    let stack = irp::next(packet);
    stack.set(IO_STACK_LOCATION::MajorFunction, major);
    stack.set_ptr(IO_STACK_LOCATION::FileObject, Some(opened));
    stack.set(IO_STACK_LOCATION::QueryFile_Length, length);
    stack.set(IO_STACK_LOCATION::QueryFile_FileInformationClass, class);
    fill(stack);
    let system = System::of(&frame.kernel);
    let span = system.begin(|| Request { length, ..file::request(frame, opened, major) });
    irp::set_span(packet, span);
    let (result, pended) = file::send_for_answer(frame, packet, top);
    system.end(span, result.status, result.information);
    Exchanged { result, pended }
}

/// The system buffer of a request; zeroed, length 0 has a block too.
pub fn system_buffer(length: usize) -> NtResult<Scratch> {
    Scratch::new(length, pool::tag(b"IoIn"))
}

/// NtQueryInformationFile.
#[must_use]
pub fn nt_query_information_file(frame: &Frame, args: &InfoArguments) -> NtStatus {
    observe::service(frame, "NtQueryInformationFile", IRP_MJ_QUERY_INFORMATION, args.handle, || query(frame, args))
}

fn query(frame: &Frame, args: &InfoArguments) -> NtResult<NtStatus> {
    let shape = query_shape(args.class).ok_or(NtStatus::INVALID_INFO_CLASS.error())?;
    if args.length < shape.length {
        return NtStatus::INFO_LENGTH_MISMATCH.fail();
    }
    probe(frame, args, true)?;
    let opened = open(frame, args.handle, shape.access)?;
    let out = args.buffer.region(args.length as usize, frame.mode() == Mode::Kernel).map_err(violation)?;
    let synchronous = opened.flags & FO_SYNCHRONOUS_IO != 0;
    let word = |value: u32| out.store::<u32>(0, value).map(|()| IoStatus::new(NtStatus::SUCCESS, 4)).map_err(violation);
    let result = match args.class {
        class::POSITION if synchronous => {
            // NT-I-05: the position is the I/O manager's.
            out.store::<i64>(0, opened.file.get(FILE_OBJECT::CurrentByteOffset)).map_err(violation)?;
            IoStatus::new(NtStatus::SUCCESS, 8)
        }
        class::MODE => word(mode_of(opened.flags))?,
        class::ALIGNMENT => word(opened.top.get(DEVICE_OBJECT::AlignmentRequirement))?,
        class::ACCESS => word(opened.granted)?,
        class::VOLUME_NAME => volume_name(frame, &opened, out)?,
        class::IO_COMPLETION_NOTIFICATION => word(
            u32::from(opened.flags & FO_SKIP_COMPLETION_PORT != 0)
                | u32::from(opened.flags & FO_SKIP_SET_EVENT != 0) << 1
                | u32::from(opened.flags & FO_SKIP_SET_FAST_IO != 0) << 2,
        )?,
        _ => {
            let _lock = if synchronous { file::lock(frame, *opened.file).ok() } else { None };
            let buffer = system_buffer(args.length as usize)?;
            begin(&opened, synchronous);
            let (file, top, class) = (*opened.file, opened.top, args.class);
            let end = match fast::ask(frame, file, top, class, &buffer) {
                Some(result) => Exchanged { result, pended: false },
                None => {
                    let block = buffer.block();
                    exchange(frame, file, top, IRP_MJ_QUERY_INFORMATION, class, block, args.length, |_| {})
                }
            };
            let result = end.result;
            finish(&opened, synchronous, result);
            if result.status.is_error() {
                return failed(frame, args, synchronous, end);
            }
            if args.class == class::ALL {
                complete_all(&opened, &buffer)?;
            }
            let length = (result.information as usize).min(args.length as usize);
            out.sub(0, length).copy_from(buffer.region().sub(0, length)).map_err(violation)?;
            result
        }
    };
    answer(frame, args, result)
}

/// FileVolumeNameInformation: the name of the device that was opened, and as much of it as fits (NT-QRY-29).
fn volume_name(frame: &Frame, opened: &Opened, out: Region) -> NtResult<IoStatus> {
    let device = opened.file.ptr(FILE_OBJECT::DeviceObject).ok_or(NtStatus::INVALID_DEVICE_REQUEST.error())?;
    let name = System::of(&frame.kernel).namespace.name_of(device.view()).unwrap_or_default();
    let bytes: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let fits = bytes.len().min(out.len() - 4) & !1;
    out.store::<u32>(0, bytes.len() as u32).map_err(violation)?;
    out.sub(4, fits).write_from(&bytes[..fits]).map_err(violation)?;
    let status = if fits < bytes.len() { NtStatus::BUFFER_OVERFLOW } else { NtStatus::SUCCESS };
    Ok(IoStatus::new(status, 4 + fits as u64))
}

/// The parts of FileAllInformation that are the I/O manager's: access, position, mode, alignment.
fn complete_all(opened: &Opened, buffer: &Scratch) -> NtResult<()> {
    let region = buffer.region();
    let position = opened.file.get(FILE_OBJECT::CurrentByteOffset);
    region.store::<u32>(76, opened.granted).map_err(violation)?;
    region.store::<i64>(80, position).map_err(violation)?;
    region.store::<u32>(88, mode_of(opened.flags)).map_err(violation)?;
    region.store::<u32>(92, opened.top.get(DEVICE_OBJECT::AlignmentRequirement)).map_err(violation)
}

fn begin(opened: &Opened, synchronous: bool) {
    if !synchronous {
        rule!(NT_I_03);
        dispatcher::clear_event(opened.file.at(FILE_OBJECT::Event));
    }
}

fn finish(opened: &Opened, synchronous: bool, result: IoStatus) {
    if !synchronous && opened.file.get(FILE_OBJECT::Flags) & FO_SKIP_SET_EVENT == 0 {
        dispatcher::set_event(opened.file.at(FILE_OBJECT::Event));
    }
    if synchronous {
        opened.file.set(FILE_OBJECT::FinalStatus, result.status);
    }
}

/// A failed request leaves the status block alone, but for one that came late on an asynchronous handle (NT-I-03).
fn failed(frame: &Frame, args: &InfoArguments, synchronous: bool, end: Exchanged) -> NtResult<NtStatus> {
    if end.pended && !synchronous {
        service::store_status(args.iosb, frame.mode() == Mode::Kernel, end.result)?;
    }
    Ok(end.result.status)
}

/// NT-I-13: which bits FileModeInformation tells.
fn mode_of(flags: u32) -> u32 {
    let synchronous = match (flags & FO_SYNCHRONOUS_IO != 0, flags & FO_ALERTABLE_IO != 0) {
        (true, true) => 0x10,
        (true, false) => 0x20,
        (false, _) => 0,
    };
    let bit = |flag: u32, mode: u32| if flags & flag != 0 { mode } else { 0 };
    synchronous | bit(FO_WRITE_THROUGH, 2) | bit(FO_SEQUENTIAL_ONLY, 4) | bit(FO_NO_INTERMEDIATE_BUFFERING, 8)
}

/// NtSetInformationFile.
#[must_use]
pub fn nt_set_information_file(frame: &Frame, args: &InfoArguments) -> NtStatus {
    observe::service(frame, "NtSetInformationFile", IRP_MJ_SET_INFORMATION, args.handle, || set(frame, args))
}

fn set(frame: &Frame, args: &InfoArguments) -> NtResult<NtStatus> {
    let shape = set_shape(args.class).ok_or(NtStatus::INVALID_INFO_CLASS.error())?;
    if args.length < shape.length {
        return NtStatus::INFO_LENGTH_MISMATCH.fail();
    }
    probe(frame, args, false)?;
    let opened = open(frame, args.handle, shape.access)?;
    let input = args.buffer.region(args.length as usize, frame.mode() == Mode::Kernel).map_err(violation)?;
    let synchronous = opened.flags & FO_SYNCHRONOUS_IO != 0;
    let done = IoStatus::new(NtStatus::SUCCESS, 0);
    let result = match args.class {
        class::POSITION if synchronous => {
            let _lock = file::lock(frame, *opened.file).ok();
            opened.file.set(FILE_OBJECT::CurrentByteOffset, input.load::<i64>(0).map_err(violation)?);
            done
        }
        class::COMPLETION | class::REPLACE_COMPLETION => {
            let handle = Handle(input.load::<u64>(0).map_err(violation)?);
            let tie = if args.class == class::COMPLETION { port::associate } else { port::replace };
            tie(frame, *opened.file, handle, input.load::<u64>(8).map_err(violation)?)?;
            if opened.flags & FO_SKIP_SET_EVENT == 0 {
                rule!(NT_I_16);
                dispatcher::set_event(opened.file.at(FILE_OBJECT::Event));
            }
            done
        }
        class::IO_COMPLETION_NOTIFICATION => {
            let flags = input.load::<u32>(0).map_err(violation)?;
            if flags & 1 != 0 && synchronous {
                rule!(NT_I_17);
                return NtStatus::INVALID_PARAMETER.fail();
            }
            let bit = |mode: u32, flag: u32| if flags & mode != 0 { flag } else { 0 };
            let sticky = bit(1, FO_SKIP_COMPLETION_PORT) | bit(2, FO_SKIP_SET_EVENT) | bit(4, FO_SKIP_SET_FAST_IO);
            opened.file.or32(FILE_OBJECT::Flags, sticky);
            done
        }
        class::MODE => return NtStatus::NOT_SUPPORTED.fail(),
        _ => {
            let _lock = if synchronous { file::lock(frame, *opened.file).ok() } else { None };
            let buffer = system_buffer(args.length as usize)?;
            buffer.region().copy_from(input).map_err(violation)?;
            let target = match args.class {
                class::RENAME | class::RENAME_EX | class::LINK | class::LINK_EX => {
                    target::open(frame, *opened.file, &buffer)?
                }
                _ => None,
            };
            begin(&opened, synchronous);
            let end = exchange(
                frame,
                *opened.file,
                opened.top,
                IRP_MJ_SET_INFORMATION,
                args.class,
                buffer.block(),
                args.length,
                |stack| {
                    stack.set_ptr(IO_STACK_LOCATION::SetFile_FileObject, target.as_ref().map(target::Target::file));
                    if matches!(args.class, class::RENAME | class::LINK) {
                        let replace = buffer.region().load::<u8>(0).unwrap_or(0);
                        stack.set(IO_STACK_LOCATION::SetFile_ReplaceIfExists, replace);
                    }
                },
            );
            let result = end.result;
            finish(&opened, synchronous, result);
            if result.status.is_error() {
                return failed(frame, args, synchronous, end);
            }
            if matches!(args.class, class::DISPOSITION | class::DISPOSITION_EX) {
                // NT-DEL-36: for drivers to read.
                let delete = buffer.region().load::<u8>(0).unwrap_or(0) & 1;
                opened.file.set(FILE_OBJECT::DeletePending, delete);
            }
            result
        }
    };
    answer(frame, args, result)
}

/// FS_INFORMATION_CLASS values.
pub mod volume_class {
    /// FileFsVolumeInformation.
    pub const VOLUME: u32 = 1;
    /// FileFsLabelInformation.
    pub const LABEL: u32 = 2;
    /// FileFsSizeInformation.
    pub const SIZE: u32 = 3;
    /// FileFsDeviceInformation.
    pub const DEVICE: u32 = 4;
    /// FileFsAttributeInformation.
    pub const ATTRIBUTE: u32 = 5;
    /// FileFsControlInformation.
    pub const CONTROL: u32 = 6;
    /// FileFsFullSizeInformation.
    pub const FULL_SIZE: u32 = 7;
    /// FileFsObjectIdInformation.
    pub const OBJECT_ID: u32 = 8;
    /// FileFsSectorSizeInformation.
    pub const SECTOR_SIZE: u32 = 11;
    /// FileFsFullSizeInformationEx.
    pub const FULL_SIZE_EX: u32 = 14;
}

const fn volume_shape(class: u32, query: bool) -> Option<Shape> {
    use volume_class as class;
    let (length, access) = match (class, query) {
        (class::VOLUME, true) => (24, 0),
        (class::SIZE, true) => (24, 0),
        (class::DEVICE, true) => (8, 0),
        (class::ATTRIBUTE, true) => (16, 0),
        (class::CONTROL, true) => (48, FILE_READ_DATA),
        (class::FULL_SIZE, true) => (32, 0),
        (class::OBJECT_ID, true) => (64, 0),
        (class::SECTOR_SIZE, true) => (28, 0),
        (class::FULL_SIZE_EX, true) => (96, 0),
        (9 | 10 | 12 | 13, true) => (8, 0),
        (class::LABEL, false) => (8, FILE_WRITE_DATA),
        (class::CONTROL, false) => (48, FILE_WRITE_DATA),
        (class::OBJECT_ID, false) => (64, FILE_WRITE_DATA),
        _ => return None,
    };
    Some(Shape { length, access })
}

/// NtQueryVolumeInformationFile.
#[must_use]
pub fn nt_query_volume_information_file(frame: &Frame, args: &InfoArguments) -> NtStatus {
    observe::service(frame, "NtQueryVolumeInformationFile", IRP_MJ_QUERY_VOLUME_INFORMATION, args.handle, || {
        volume(frame, args, IRP_MJ_QUERY_VOLUME_INFORMATION, true)
    })
}

/// NtSetVolumeInformationFile.
#[must_use]
pub fn nt_set_volume_information_file(frame: &Frame, args: &InfoArguments) -> NtStatus {
    observe::service(frame, "NtSetVolumeInformationFile", IRP_MJ_SET_VOLUME_INFORMATION, args.handle, || {
        volume(frame, args, IRP_MJ_SET_VOLUME_INFORMATION, false)
    })
}

/// The order of checks is NT-VOL-01's: class, length, addresses, alignment, handle.
fn volume(frame: &Frame, args: &InfoArguments, major: u8, query: bool) -> NtResult<NtStatus> {
    let shape = volume_shape(args.class, query).ok_or(NtStatus::INVALID_INFO_CLASS.error())?;
    if args.length < shape.length {
        return NtStatus::INFO_LENGTH_MISMATCH.fail();
    }
    if frame.mode() == Mode::User && !args.buffer.value().is_multiple_of(4) {
        return NtStatus::DATATYPE_MISALIGNMENT.fail();
    }
    probe(frame, args, query)?;
    let opened = open(frame, args.handle, shape.access)?;
    let region = args.buffer.region(args.length as usize, frame.mode() == Mode::Kernel).map_err(violation)?;
    if args.class == volume_class::DEVICE
        && let Some(device) = opened.file.ptr(FILE_OBJECT::DeviceObject).filter(|_| query)
    {
        // NT-VOL-11: the file system is not asked.
        const IS_MOUNTED: u32 = 0x20;
        let mounted = if opened.file.addr_at(FILE_OBJECT::Vpb) == 0 { 0 } else { IS_MOUNTED };
        region.store::<u32>(0, device.get(DEVICE_OBJECT::DeviceType)).map_err(violation)?;
        region.store::<u32>(4, device.get(DEVICE_OBJECT::Characteristics) | mounted).map_err(violation)?;
        return answer(frame, args, IoStatus::new(NtStatus::SUCCESS, 8));
    }
    let synchronous = opened.flags & FO_SYNCHRONOUS_IO != 0;
    let _lock = if synchronous { file::lock(frame, *opened.file).ok() } else { None };
    let buffer = system_buffer(args.length as usize)?;
    if !query {
        buffer.region().copy_from(region).map_err(violation)?;
    }
    begin(&opened, synchronous);
    let end = exchange(frame, *opened.file, opened.top, major, args.class, buffer.block(), args.length, |_| {});
    let result = end.result;
    finish(&opened, synchronous, result);
    if result.status.is_error() {
        return failed(frame, args, synchronous, end);
    }
    if query {
        let length = (result.information as usize).min(args.length as usize);
        region.sub(0, length).copy_from(buffer.region().sub(0, length)).map_err(violation)?;
    }
    answer(frame, args, result)
}
