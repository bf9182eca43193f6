//! FLT_PARAMETERS of every major: where the words of a stack location and the buffers of a packet stand in the union.
//!
//! Room: drivers/fltmgr. IRQL: <= DISPATCH_LEVEL; locking a buffer <= APC_LEVEL. Locks: none.
//! Source: FLT_PARAMETERS pages (one a major), FltDecodeParameters, FltLockUserBuffer; rules FLT-D-01 to FLT-D-06,
//! FLT-D-11, FLT-D-12. The stack location's four words stand first in the union, in their order; buffers and MDLs follow.

use crate::data::{BLOCK, IOPB_WORDS};
use nt_abi::flt::{FLT_CALLBACK_DATA, FLT_IO_PARAMETER_BLOCK, FLTFL_CALLBACK_DATA_SYSTEM_BUFFER};
use nt_abi::io::*;
use nt_abi::mm::MDL;
use nt_abi::{Bytes, Field, NtResult, NtStatus, Ptr};
use nt_cell::Foreign;
use nt_io::device::Device;
use nt_io::irp::{self, Irp};
use nt_io::rw;

/// The first word of the union among the words of the parameter block.
const UNION: usize = 3;

/// What a lock for the transfer is taken for: LOCK_OPERATION.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Access {
    /// IoReadAccess.
    Read = 0,
    /// IoWriteAccess.
    Write = 1,
}

/// Where a request keeps its data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Data {
    /// Nowhere.
    None,
    /// One buffer, an MDL for it if the major has one: words of the union.
    One { buffer: usize, mdl: Option<usize> },
    /// A control request of a transfer method.
    Control(u32),
}

/// How one kind of request lies in the union.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// So many words of the stack location come first.
    words: usize,
    data: Data,
    /// The word with the buffer's length.
    length: Option<usize>,
    access: Access,
}

const fn shape(major: u8, minor: u8, code: u32) -> Shape {
    match major {
        IRP_MJ_READ => Shape::one(3, 3, Some(4), Access::Write),
        IRP_MJ_WRITE => Shape::one(3, 3, Some(4), Access::Read),
        IRP_MJ_QUERY_INFORMATION | IRP_MJ_QUERY_VOLUME_INFORMATION => Shape::one(2, 2, None, Access::Write),
        IRP_MJ_SET_VOLUME_INFORMATION => Shape::one(2, 2, None, Access::Read),
        IRP_MJ_SET_INFORMATION => Shape::one(4, 4, None, Access::Read),
        IRP_MJ_QUERY_EA | IRP_MJ_QUERY_QUOTA => Shape::one(4, 4, Some(5), Access::Write),
        IRP_MJ_SET_EA | IRP_MJ_SET_QUOTA => Shape::one(1, 1, Some(2), Access::Read),
        IRP_MJ_DIRECTORY_CONTROL => match minor {
            IRP_MN_QUERY_DIRECTORY => Shape::one(4, 4, Some(5), Access::Write),
            IRP_MN_NOTIFY_CHANGE_DIRECTORY => Shape::one(2, 4, Some(5), Access::Write),
            IRP_MN_NOTIFY_CHANGE_DIRECTORY_EX => Shape::one(3, 4, Some(5), Access::Write),
            _ => Shape::bare(4),
        },
        IRP_MJ_FILE_SYSTEM_CONTROL => match minor {
            IRP_MN_MOUNT_VOLUME | IRP_MN_VERIFY_VOLUME => Shape::bare(2),
            _ => Shape::control(code & 3),
        },
        IRP_MJ_DEVICE_CONTROL | IRP_MJ_INTERNAL_DEVICE_CONTROL => Shape::control(code & 3),
        IRP_MJ_QUERY_SECURITY => Shape { length: Some(1), ..Shape::one(2, 2, Some(3), Access::Write) },
        IRP_MJ_LOCK_CONTROL => Shape::bare(3),
        IRP_MJ_SET_SECURITY => Shape::bare(2),
        IRP_MJ_FLUSH_BUFFERS | IRP_MJ_CLEANUP | IRP_MJ_CLOSE | IRP_MJ_SHUTDOWN => Shape::bare(0),
        _ => Shape::bare(4),
    }
}

impl Shape {
    const fn one(words: usize, buffer: usize, mdl: Option<usize>, access: Access) -> Self {
        Self { words, data: Data::One { buffer, mdl }, length: Some(0), access }
    }
    const fn bare(words: usize) -> Self {
        Self { words, data: Data::None, length: None, access: Access::Read }
    }
    /// OUT_DIRECT and NEITHER requests write their output buffer; IN_DIRECT reads it; BUFFERED has one for both.
    const fn control(method: u32) -> Self {
        let access = if method == 1 { Access::Read } else { Access::Write };
        Self { words: 3, data: Data::Control(method), length: Some(0), access }
    }
}

fn word(index: usize) -> Field<IOPB_WORDS, u64> {
    IOPB_WORDS::Words.index(UNION + index)
}

fn stack_word(index: usize) -> Field<IO_STACK_LOCATION, u64> {
    IO_STACK_LOCATION::Parameters.index(index)
}

/// A word of the union as the member that a request keeps there.
const fn member<V>(index: usize) -> Field<FLT_IO_PARAMETER_BLOCK, V> {
    Field::at(FLT_IO_PARAMETER_BLOCK::Parameters.offset() + 8 * index)
}

fn of_block(iopb: Foreign<FLT_IO_PARAMETER_BLOCK>) -> Shape {
    let (major, minor) =
        (iopb.get(FLT_IO_PARAMETER_BLOCK::MajorFunction), iopb.get(FLT_IO_PARAMETER_BLOCK::MinorFunction));
    shape(major, minor, iopb.get(FLT_IO_PARAMETER_BLOCK::DeviceIoControl_IoControlCode))
}

/// Fills the parameter block from a packet's current location (FLT-D-01, FLT-D-02).
pub fn from_packet(block: Foreign<BLOCK>, packet: Irp) {
    let stack = irp::current(packet);
    let iopb = block.at(BLOCK::Iopb);
    let major = stack.get(IO_STACK_LOCATION::MajorFunction);
    iopb.set(FLT_IO_PARAMETER_BLOCK::IrpFlags, packet.get(IRP::Flags));
    iopb.set(FLT_IO_PARAMETER_BLOCK::MajorFunction, major);
    iopb.set(FLT_IO_PARAMETER_BLOCK::MinorFunction, stack.get(IO_STACK_LOCATION::MinorFunction));
    iopb.set(FLT_IO_PARAMETER_BLOCK::OperationFlags, stack.get(IO_STACK_LOCATION::Flags));
    block.at(BLOCK::Data).set(FLT_CALLBACK_DATA::RequestorMode, packet.get(IRP::RequestorMode));
    block.set_ptr(BLOCK::Packet, Some(packet));
    let words = iopb.view::<IOPB_WORDS>();
    let shape = shape(
        major,
        stack.get(IO_STACK_LOCATION::MinorFunction),
        stack.get(IO_STACK_LOCATION::DeviceIoControl_IoControlCode),
    );
    for index in 0..shape.words {
        words.set(word(index), stack.get(stack_word(index)));
    }
    let system = packet.addr_at(IRP::AssociatedIrp_SystemBuffer);
    let buffer = if system != 0 { system } else { packet.addr_at(IRP::UserBuffer) };
    let mark = |is_system: bool| {
        if is_system {
            block.at(BLOCK::Data).or32(FLT_CALLBACK_DATA::Flags, FLTFL_CALLBACK_DATA_SYSTEM_BUFFER);
        }
    };
    match shape.data {
        Data::None => {}
        Data::One { buffer: at, mdl } => {
            words.set(word(at), buffer);
            mark(system != 0);
            if let Some(mdl) = mdl {
                words.set(word(mdl), packet.addr_at(IRP::MdlAddress));
            }
        }
        Data::Control(0) => {
            words.set(word(3), system);
            mark(system != 0);
        }
        Data::Control(method) => {
            let input = if method == 3 { stack.get(stack_word(3)) } else { system };
            words.set(word(3), input);
            let mdl = packet.ptr(IRP::MdlAddress);
            let output = match packet.addr_at(IRP::UserBuffer) {
                0 => mdl.map_or(0, nt_mm::mdl::virtual_address),
                address => address,
            };
            words.set(word(4), output);
            words.set(word(5), packet.addr_at(IRP::MdlAddress));
        }
    }
    match major {
        IRP_MJ_CREATE | IRP_MJ_CREATE_NAMED_PIPE | IRP_MJ_CREATE_MAILSLOT => {
            iopb.set_addr(FLT_IO_PARAMETER_BLOCK::Create_EaBuffer, system);
            iopb.set(FLT_IO_PARAMETER_BLOCK::Create_AllocationSize, packet.get(IRP::Overlay_AllocationSize));
        }
        IRP_MJ_LOCK_CONTROL => {
            let flags = stack.get(IO_STACK_LOCATION::Flags);
            let now = u8::from(flags & SL_FAIL_IMMEDIATELY != 0);
            let alone = u8::from(flags & SL_EXCLUSIVE_LOCK != 0);
            iopb.set(FLT_IO_PARAMETER_BLOCK::LockControl_FailImmediately, now);
            iopb.set(FLT_IO_PARAMETER_BLOCK::LockControl_ExclusiveLock, alone);
            let frame = nt_ke::current();
            let thread = nt_ps::process::processes(&frame.kernel).thread_at(packet.addr_at(IRP::Tail_Thread));
            let process = thread.and_then(|thread| thread.process_arc::<nt_ps::Process>());
            let process = process.map(|process| process.object());
            iopb.set_ptr(FLT_IO_PARAMETER_BLOCK::LockControl_ProcessId, process);
        }
        _ => {}
    }
}

/// Puts changed parameters into the packet's next location (FLT-D-03).
pub fn to_packet(block: Foreign<BLOCK>, packet: Irp, stack: irp::Stack) {
    let iopb = block.at(BLOCK::Iopb);
    let words = iopb.view::<IOPB_WORDS>();
    stack.set(IO_STACK_LOCATION::MinorFunction, iopb.get(FLT_IO_PARAMETER_BLOCK::MinorFunction));
    stack.set(IO_STACK_LOCATION::Flags, iopb.get(FLT_IO_PARAMETER_BLOCK::OperationFlags));
    stack.set_ptr(IO_STACK_LOCATION::FileObject, iopb.ptr(FLT_IO_PARAMETER_BLOCK::TargetFileObject));
    let shape = of_block(iopb);
    for index in 0..shape.words {
        stack.set(stack_word(index), words.get(word(index)));
    }
    let had_system = packet.addr_at(IRP::AssociatedIrp_SystemBuffer) != 0;
    match shape.data {
        Data::None => {}
        Data::One { buffer, mdl } => {
            let field = if had_system { IRP::AssociatedIrp_SystemBuffer } else { IRP::UserBuffer };
            packet.set_addr(field, words.get(word(buffer)));
            if let Some(mdl) = mdl {
                packet.set_addr(IRP::MdlAddress, words.get(word(mdl)));
            }
        }
        Data::Control(0) => packet.set_addr(IRP::AssociatedIrp_SystemBuffer, words.get(word(3))),
        Data::Control(method) => {
            if method == 3 {
                stack.set(stack_word(3), words.get(word(3)));
                packet.set_addr(IRP::UserBuffer, words.get(word(4)));
            } else {
                packet.set_addr(IRP::AssociatedIrp_SystemBuffer, words.get(word(3)));
            }
            packet.set_addr(IRP::MdlAddress, words.get(word(5)));
        }
    }
    if iopb.get(FLT_IO_PARAMETER_BLOCK::MajorFunction) == IRP_MJ_CREATE {
        packet.set(IRP::Overlay_AllocationSize, iopb.get(FLT_IO_PARAMETER_BLOCK::Create_AllocationSize));
    }
}

/// Fills a packet that stands in our location from a parameter block that a filter filled in (FLT-G-01). `true`: the packet's
/// MDL is the filter's.
pub(crate) fn build(iopb: Foreign<FLT_IO_PARAMETER_BLOCK>, packet: Irp, device: Device) -> NtResult<bool> {
    let stack = irp::current(packet);
    let words = iopb.view::<IOPB_WORDS>();
    let major = iopb.get(FLT_IO_PARAMETER_BLOCK::MajorFunction);
    if major > IRP_MJ_PNP {
        return NtStatus::INVALID_PARAMETER.fail(); // only requests that travel in packets can be made
    }
    packet.set(IRP::Flags, iopb.get(FLT_IO_PARAMETER_BLOCK::IrpFlags));
    stack.set(IO_STACK_LOCATION::MajorFunction, major);
    stack.set(IO_STACK_LOCATION::MinorFunction, iopb.get(FLT_IO_PARAMETER_BLOCK::MinorFunction));
    stack.set(IO_STACK_LOCATION::Flags, iopb.get(FLT_IO_PARAMETER_BLOCK::OperationFlags));
    let shape = of_block(iopb);
    for index in 0..shape.words {
        stack.set(stack_word(index), words.get(word(index)));
    }
    let length = shape.length.map_or(0, |at| iopb.get::<u32>(member(at)));
    let given = |at: usize| words.get(word(at));
    match (shape.data, major) {
        (Data::One { buffer, mdl }, IRP_MJ_READ | IRP_MJ_WRITE) => {
            if let Some(mdl) = mdl.map(given).filter(|mdl| *mdl != 0) {
                packet.set_addr(IRP::MdlAddress, mdl);
                packet.set_addr(IRP::UserBuffer, given(buffer));
                return Ok(true);
            }
            let direction = if major == IRP_MJ_WRITE { rw::Direction::Write } else { rw::Direction::Read };
            packet.or32(IRP::Flags, if major == IRP_MJ_WRITE { IRP_WRITE_OPERATION } else { IRP_READ_OPERATION });
            let at: Option<Foreign<Bytes>> = iopb.ptr(member(buffer));
            rw::give_buffer(packet, device, direction, at.into(), length, true)?;
        }
        (Data::One { buffer, .. }, IRP_MJ_DIRECTORY_CONTROL | IRP_MJ_QUERY_SECURITY) => {
            packet.set_addr(IRP::UserBuffer, given(buffer));
        }
        (Data::One { buffer, .. }, _) => {
            packet.or32(IRP::Flags, IRP_BUFFERED_IO);
            packet.set_addr(IRP::AssociatedIrp_SystemBuffer, given(buffer));
        }
        (Data::Control(0), _) => packet.set_addr(IRP::AssociatedIrp_SystemBuffer, given(3)),
        (Data::Control(3), _) => {
            stack.set(stack_word(3), given(3));
            packet.set_addr(IRP::UserBuffer, given(4));
        }
        (Data::Control(method), _) => {
            packet.set_addr(IRP::AssociatedIrp_SystemBuffer, given(3));
            if given(5) != 0 {
                packet.set_addr(IRP::MdlAddress, given(5));
                return Ok(true);
            }
            if length != 0 && given(4) != 0 {
                let mdl = nt_mm::mdl::allocate(iopb.region_at(member::<Ptr<Bytes>>(4), length as usize))?;
                nt_mm::mdl::probe_and_lock(mdl, true, method == 2)?;
                packet.set_ptr(IRP::MdlAddress, Some(mdl));
            }
        }
        (Data::None, IRP_MJ_CREATE) => {
            packet.set_addr(IRP::AssociatedIrp_SystemBuffer, iopb.addr_at(FLT_IO_PARAMETER_BLOCK::Create_EaBuffer));
            packet.set(IRP::Overlay_AllocationSize, iopb.get(FLT_IO_PARAMETER_BLOCK::Create_AllocationSize));
        }
        (Data::None, _) => {}
    }
    Ok(false)
}

/// Where a request's MDL, buffer and length stand: FltDecodeParameters (FLT-D-12).
#[derive(Clone, Copy)]
pub struct Decoded {
    /// The member with the MDL; `None`: the major has none.
    pub mdl: Option<Field<FLT_IO_PARAMETER_BLOCK, Ptr<MDL>>>,
    /// The member with the buffer.
    pub buffer: Field<FLT_IO_PARAMETER_BLOCK, Ptr<Bytes>>,
    /// The member with the length.
    pub length: Option<Field<FLT_IO_PARAMETER_BLOCK, u32>>,
    /// What the request does with the buffer.
    pub access: Access,
}

/// FltDecodeParameters; `None` for a request without a buffer.
#[must_use]
pub fn decode(iopb: Foreign<FLT_IO_PARAMETER_BLOCK>) -> Option<Decoded> {
    let shape = of_block(iopb);
    let (buffer, mdl) = match shape.data {
        Data::None => return None,
        Data::One { buffer, mdl } => (buffer, mdl),
        Data::Control(0) => (3, None),
        Data::Control(_) => (4, Some(5)),
    };
    Some(Decoded {
        mdl: mdl.map(member),
        buffer: member(buffer),
        length: shape.length.map(member),
        access: shape.access,
    })
}

/// Where buffer and MDL stand among the words of the parameter block.
pub(crate) fn buffer_words(block: Foreign<BLOCK>) -> impl Iterator<Item = usize> {
    let (first, second) = match of_block(block.at(BLOCK::Iopb)).data {
        Data::None => (None, None),
        Data::One { buffer, mdl } => (Some(buffer), mdl),
        Data::Control(0) => (Some(3), None),
        Data::Control(_) => (Some(4), Some(5)),
    };
    first.into_iter().chain(second).map(|word| UNION + word)
}

/// Does the request move its data by an MDL that exists at completion only (FLT-D-11)?
#[must_use]
pub fn is_mdl_transfer(iopb: Foreign<FLT_IO_PARAMETER_BLOCK>) -> bool {
    matches!(iopb.get(FLT_IO_PARAMETER_BLOCK::MajorFunction), IRP_MJ_READ | IRP_MJ_WRITE)
        && iopb.get(FLT_IO_PARAMETER_BLOCK::MinorFunction) & IRP_MN_MDL != 0
}
