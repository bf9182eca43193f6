//! FltOplock*: oplocks that a minifilter keeps on its own, by callback data.
//!
//! Room: drivers/fltmgr. Called by: `exports`. Calls: `nt_fsrtl::oplock`. Touches: the packet's cancel routine and DriverContext while
//! the package keeps it. IRQL: <= APC_LEVEL. Locks: none here. Source: the FltOplockFsctrlEx, FltCheckOplockEx, FltOplockBreakH pages;
//! rules NT-OPL-06, NT-OPL-07, FLT-O-12.
//! The package knows packets: a request or an operation of a filter is the packet on its way, and what the callback data says of it.

pub mod exports;

use crate::data::{self, BLOCK};
use crate::dispatch;
use crate::operation::Operation as Request;
use nt_abi::NtStatus;
use nt_abi::flt::*;
use nt_abi::io::*;
use nt_cell::{CodePtr, Foreign, callout};
use nt_fsrtl::oplock::{
    self, Act, Control, OPLOCK_FLAG_PARENT_OBJECT, Operation, Oplock, Owner, Parameters, Subject, Then,
};
use nt_io::irp::{self, IoStatus, Irp};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

type Iopb = Foreign<FLT_IO_PARAMETER_BLOCK>;

fn iopb_of(request: &Request) -> Option<Iopb> {
    request.block.at(BLOCK::Data).ptr(FLT_CALLBACK_DATA::Iopb)
}

const IN_CALLBACK_DATA: Parameters<FLT_IO_PARAMETER_BLOCK> = Parameters {
    major: FLT_IO_PARAMETER_BLOCK::MajorFunction,
    security: FLT_IO_PARAMETER_BLOCK::Create_SecurityContext,
    share: FLT_IO_PARAMETER_BLOCK::Create_ShareAccess,
    options: FLT_IO_PARAMETER_BLOCK::Create_Options,
    class: FLT_IO_PARAMETER_BLOCK::SetFileInformation_FileInformationClass,
    advance: FLT_IO_PARAMETER_BLOCK::SetFileInformation_AdvanceOnly,
    control: FLT_IO_PARAMETER_BLOCK::FileSystemControl_FsControlCode,
};

/// What the callback data asks of the stream, as the filters above left it.
fn operation_of(iopb: Iopb) -> Option<Operation> {
    let input = |length| iopb.region_at(FLT_IO_PARAMETER_BLOCK::SetFileInformation_InfoBuffer, length);
    IN_CALLBACK_DATA.operation(iopb, iopb.get(FLT_IO_PARAMETER_BLOCK::IrpFlags), input)
}

/// What a minifilter passes along: its routines get the callback data and this context.
pub(crate) struct Routines {
    pub(crate) context: u64,
    pub(crate) completion: Option<CodePtr>,
    pub(crate) pre_post: Option<CodePtr>,
}

impl Routines {
    fn then(self, request: &Arc<Request>) -> Then {
        let Self { context, completion, pre_post } = self;
        let Some(completion) = completion else { return Then::Wait };
        let block = request.block;
        let tell = move |routine| _ = callout::call(routine, &[block.at(BLOCK::Data).addr(), context]);
        Then::Post {
            before: Box::new(move || pre_post.into_iter().for_each(tell)),
            after: Box::new(move |packet: Irp| {
                if irp::status(packet).status.is_error() {
                    data::set_status(block, irp::status(packet));
                }
                tell(completion);
            }),
        }
    }
}

/// Ends the operation here.
fn complete(request: &Request, status: NtStatus) -> u32 {
    data::set_status(request.block, IoStatus::new(status, 0));
    FLT_PREOP_COMPLETE
}

/// FltCheckOplockEx; `instead`: FltOplockBreakH, FltOplockBreakToNoneEx.
pub(crate) fn check(
    oplock: Oplock,
    request: &Arc<Request>,
    instead: Option<Operation>,
    flags: u32,
    routines: Routines,
) -> u32 {
    let (Some(packet), Some(iopb)) = (request.packet, iopb_of(request)) else {
        return complete(request, NtStatus::INVALID_DEVICE_REQUEST); // packets only
    };
    let file = iopb.ptr(FLT_IO_PARAMETER_BLOCK::TargetFileObject);
    let major = iopb.get(FLT_IO_PARAMETER_BLOCK::MajorFunction);
    let of_parent = flags & OPLOCK_FLAG_PARENT_OBJECT != 0;
    if instead.is_none() && major == IRP_MJ_CLEANUP && !of_parent {
        oplock::cleanup(oplock, file.map_or(0, Foreign::addr));
        return FLT_PREOP_SUCCESS_WITH_CALLBACK;
    }
    if major == IRP_MJ_CREATE
        && let Err(error) = oplock::adopt_key(packet)
    {
        return complete(request, error.status());
    }
    let (owner, operation) = match file {
        Some(file) if of_parent => (Owner::of_child(file), Some(Operation::Children)),
        Some(file) => (Owner::of(file), instead.or_else(|| operation_of(iopb))),
        None => (Owner::default(), instead.or_else(|| operation_of(iopb))),
    };
    let Some(operation) = operation else { return FLT_PREOP_SUCCESS_WITH_CALLBACK };
    let subject = Subject { irp: packet, act: Act { owner, operation } };
    match oplock::check(oplock, &subject, flags, routines.then(request)) {
        NtStatus::PENDING => FLT_PREOP_PENDING,
        status if status.is_error() => complete(request, status),
        status => {
            if status == NtStatus::OPLOCK_BREAK_IN_PROGRESS {
                data::set_status(request.block, IoStatus::new(status, 0));
            }
            FLT_PREOP_SUCCESS_WITH_CALLBACK
        }
    }
}

/// FltOplockFsctrlEx: COMPLETE with the outcome in the callback data, or PENDING: it is completed when the oplock is broken, without
/// the filter.
pub(crate) fn control(oplock: Oplock, request: &Arc<Request>, opens: u32, flags: u32) -> u32 {
    let (Some(packet), Some(iopb)) = (request.packet, iopb_of(request)) else {
        return complete(request, NtStatus::INVALID_DEVICE_REQUEST);
    };
    if iopb.get(FLT_IO_PARAMETER_BLOCK::MajorFunction) == IRP_MJ_CREATE {
        let status = oplock::reserve(oplock, packet, opens);
        return if status.is_error() { complete(request, status) } else { FLT_PREOP_SUCCESS_WITH_CALLBACK };
    }
    let asked = control_of(iopb);
    let (inside, thread) = (Arc::new(AtomicBool::new(true)), nt_ke::current().thread.id());
    let (still, operation) = (Arc::clone(&inside), Arc::clone(request));
    let end = move |packet: Irp| {
        data::set_status(operation.block, irp::status(packet));
        let returns = still.load(Ordering::Acquire) && nt_ke::current().thread.id() == thread;
        if !returns {
            dispatch::resume_pre(&operation, FLT_PREOP_COMPLETE, 0);
        }
    };
    let status = oplock::control(oplock, oplock::Request::ending(packet, Box::new(end)), &asked, opens, flags);
    inside.store(false, Ordering::Release);
    if status == NtStatus::PENDING { FLT_PREOP_PENDING } else { FLT_PREOP_COMPLETE }
}

fn control_of(iopb: Iopb) -> Control {
    Control {
        owner: iopb.ptr(FLT_IO_PARAMETER_BLOCK::TargetFileObject).map_or(Owner::default(), Owner::of),
        code: iopb.get(FLT_IO_PARAMETER_BLOCK::FileSystemControl_FsControlCode),
        input: iopb.get(FLT_IO_PARAMETER_BLOCK::FileSystemControl_InputBufferLength),
        output: iopb.get(FLT_IO_PARAMETER_BLOCK::FileSystemControl_OutputBufferLength),
    }
}

/// FltOplockIsSharedRequest.
pub(crate) fn is_shared_request(request: &Request) -> bool {
    request
        .packet
        .zip(iopb_of(request))
        .is_some_and(|(packet, iopb)| oplock::is_shared_request(&control_of(iopb), packet))
}
