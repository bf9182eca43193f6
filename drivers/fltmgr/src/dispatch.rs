//! Requests on their way through our device: packets and fast I/O.
//!
//! Room: drivers/fltmgr. IRQL: dispatch PASSIVE_LEVEL (paging <= APC_LEVEL), completion <= DISPATCH_LEVEL. Locks: none.
//! Source: fltmgr.md sections 4 and 16; rules FLT-O-02, FLT-O-04, FLT-O-06, FLT-O-10, FLT-O-12, FLT-O-15, FLT-O-16, FLT-O-23.

use crate::data::{self, BLOCK};
use crate::deferred;
use crate::operation::{Operation, Origin, PostEnd, PreEnd};
use crate::parameters;
use crate::volume::{self, Gate, Volume};
use nt_abi::flt::*;
use nt_abi::io::{
    FILE_OBJECT, IO_STACK_LOCATION, IRP, IRP_MJ_CREATE, IRP_MJ_DEVICE_CONTROL, IRP_MJ_QUERY_INFORMATION,
    IRP_MJ_SET_INFORMATION, SL_INVOKE_ON_CANCEL, SL_INVOKE_ON_ERROR, SL_INVOKE_ON_SUCCESS,
};
use nt_abi::ke::KEVENT;
use nt_abi::{Bytes, NtStatus};
use nt_cell::Foreign;
use nt_ex::pool;
use nt_io::device::Device;
use nt_io::driver::{Answer, FastCall, FastControl, NativeDriver, OwnedIrp};
use nt_io::fast::{FastQuery, QueryOpen};
use nt_io::irp::{self, IoStatus, Irp};
use nt_io::{complete, control, observe, rw, send};
use nt_ke::{Mode, dispatcher, wait};
use nt_trace::rule;
use std::sync::Arc;

/// The driver behind one device of ours.
pub(crate) struct FltDriver {
    gate: Arc<Gate>,
}

impl FltDriver {
    pub(crate) fn new(gate: Arc<Gate>) -> Self {
        Self { gate }
    }
}

impl NativeDriver for FltDriver {
    fn sees_paging(&self, _device: Device) -> bool {
        self.gate.sees_paging()
    }
    fn dispatch(&self, device: Device, irp: OwnedIrp) -> Answer {
        let major = irp.stack().get(IO_STACK_LOCATION::MajorFunction);
        if let Some(lower) = self.gate.lower()
            && self.gate.is_open_for(major)
        {
            return irp.skip_to(lower);
        }
        let Some(volume) = volume::of_device(device) else {
            return irp.complete(NtStatus::INVALID_DEVICE_REQUEST, 0);
        };
        let first = volume.first_for(major, irp.file());
        let names = major == IRP_MJ_SET_INFORMATION && volume.gate.files.any();
        if !volume.gate.wants(major) && !names {
            volume.leaving(major, irp.file());
            return irp.skip_to(volume.lower);
        }
        let kernel = Arc::clone(&nt_ke::current().kernel);
        let span = irp::span(irp.irp());
        let file = irp.file();
        let made = Operation::new(&volume, &kernel, file, Some(irp.irp()), Origin::Packet, first, span);
        let operation = match made {
            Ok(operation) => operation,
            Err(error) => return irp.complete(error.status(), 0),
        };
        let packet = irp.into_irp();
        prepare(&operation, packet, FLTFL_CALLBACK_DATA_IRP_OPERATION);
        let end = operation.run_pre();
        let status = go_on(&operation, packet, end);
        OwnedIrp::answered(if operation.marked() { NtStatus::PENDING } else { status })
    }

    fn has_fast_io(&self) -> bool {
        true
    }
    fn fast_goes_to(&self, major: u8) -> Option<Device> {
        if self.gate.wants(major) { None } else { self.gate.lower() }
    }
    fn fast_write(&self, call: &FastCall) -> Option<IoStatus> {
        transfer(&self.gate, rw::Direction::Write, call)
    }
    fn fast_read(&self, call: &FastCall) -> Option<IoStatus> {
        transfer(&self.gate, rw::Direction::Read, call)
    }
    fn fast_query(&self, query: &FastQuery) -> Option<IoStatus> {
        ask(&self.gate, query)
    }
    fn query_open(&self, query: &QueryOpen) -> Option<IoStatus> {
        ask_by_name(&self.gate, query)
    }
    fn fast_device_control(&self, call: &FastControl) -> Option<IoStatus> {
        if self.gate.wants(IRP_MJ_DEVICE_CONTROL) {
            return None; // the filters that asked for control requests see the packet
        }
        control::call_fast(&FastControl { device: self.gate.lower()?, ..*call })
    }
}

/// Fills an operation from its packet.
pub(crate) fn prepare(operation: &Operation, packet: Irp, flags: u32) {
    let block = operation.block;
    block.at(BLOCK::Data).or32(FLT_CALLBACK_DATA::Flags, flags);
    block.at(BLOCK::Data).set_addr(FLT_CALLBACK_DATA::Thread, packet.addr_at(IRP::Tail_Thread));
    parameters::from_packet(block, packet);
    *operation.original.lock() = [
        packet.addr_at(IRP::UserBuffer),
        packet.addr_at(IRP::MdlAddress),
        packet.addr_at(IRP::AssociatedIrp_SystemBuffer),
    ];
    operation.begin();
}

/// Continues a packet after its pre callbacks; returns the status for whoever sent it.
pub(crate) fn go_on(operation: &Arc<Operation>, packet: Irp, end: PreEnd) -> NtStatus {
    match end {
        PreEnd::Pended => {
            operation.volume.pended.list(operation);
            NtStatus::PENDING
        }
        PreEnd::Down => send_down(operation, packet),
        PreEnd::Completed | PreEnd::Disallowed => {
            let status = data::status(operation.block).status;
            deferred::tell_status(operation, &data::snapshot(operation.block), status);
            if operation.run_post() == PostEnd::Held {
                return NtStatus::PENDING;
            }
            end_packet(operation, packet)
        }
    }
}

fn send_down(operation: &Arc<Operation>, packet: Irp) -> NtStatus {
    operation.volume.leaving(operation.major(), irp::current(packet).ptr(IO_STACK_LOCATION::FileObject));
    irp::copy_current_to_next(packet);
    let next = irp::next(packet);
    if operation.changed() {
        parameters::to_packet(operation.block, packet, next);
    }
    next.set_code(IO_STACK_LOCATION::CompletionRoutine, Some(crate::exports::completion_routine()));
    next.set_addr(IO_STACK_LOCATION::Context, operation.key);
    next.set(IO_STACK_LOCATION::Control, SL_INVOKE_ON_SUCCESS | SL_INVOKE_ON_ERROR | SL_INVOKE_ON_CANCEL);
    let asked = !operation.watchers.lock().is_empty();
    let snapshot = asked.then(|| data::snapshot(operation.block));
    if !operation.synchronize() {
        let status = send::call_driver(operation.volume.lower, packet);
        if let Some(snapshot) = snapshot {
            deferred::tell_status(operation, &snapshot, status);
        }
        if status == NtStatus::PENDING {
            operation.volume.pended.list(operation);
            return status;
        }
        return data::status(operation.block).status;
    }
    // FLT_PREOP_SYNCHRONIZE: the posts run in this thread, after the lower drivers are done.
    let Some(event) = nt_io::event::LocalEvent::new().map(Arc::new) else {
        return fail(operation, packet, NtStatus::INSUFFICIENT_RESOURCES);
    };
    *operation.done.lock() = Some(Arc::clone(&event));
    let status = send::call_driver(operation.volume.lower, packet);
    if let Some(snapshot) = snapshot {
        deferred::tell_status(operation, &snapshot, status);
    }
    if status == NtStatus::PENDING {
        operation.volume.pended.list(operation);
    }
    let header = event.event().at(KEVENT::Header);
    let _done = wait::wait_for_single(&nt_ke::current(), header, Mode::Kernel, false, None);
    operation.done.lock().take();
    settle_packet(operation, packet);
    if operation.run_post() == PostEnd::Held {
        return NtStatus::PENDING;
    }
    end_packet(operation, packet)
}

fn fail(operation: &Arc<Operation>, packet: Irp, status: NtStatus) -> NtStatus {
    data::set_status(operation.block, IoStatus::new(status, 0));
    let _held = operation.run_post();
    end_packet(operation, packet)
}

/// Takes the result of the lower drivers and puts the packet's own buffers back (FLT-D-09).
fn settle_packet(operation: &Operation, packet: Irp) {
    data::set_status(operation.block, irp::status(packet));
    if operation.major() == IRP_MJ_CREATE {
        // NT-REP-21: what a file system hands up of a reparse point is the filters' TagData.
        let tag = packet.addr_at(IRP::Tail_AuxiliaryBuffer);
        operation.block.at(BLOCK::Data).set_addr(FLT_CALLBACK_DATA::TagData, tag);
    }
    if operation.major() == IRP_MJ_SET_INFORMATION && operation.volume.gate.files.any() {
        let iopb = operation.block.at(BLOCK::Iopb);
        operation.volume.renamed(iopb.get(FLT_IO_PARAMETER_BLOCK::SetFileInformation_FileInformationClass));
    }
    if operation.changed() {
        let [buffer, mdl, system] = *operation.original.lock();
        let swapped = packet.ptr(IRP::MdlAddress).filter(|there| there.addr() != mdl);
        packet.set_addr(IRP::UserBuffer, buffer);
        packet.set_addr(IRP::AssociatedIrp_SystemBuffer, system);
        packet.set_addr(IRP::MdlAddress, mdl);
        *operation.swapped.lock() = swapped.filter(|swapped| !operation.locked.lock().contains(swapped));
    }
}

/// All callbacks have run: the packet is completed, or a filter's own request is told.
fn end_packet(operation: &Arc<Operation>, packet: Irp) -> NtStatus {
    let result = finished(operation, packet);
    match &operation.origin {
        Origin::Packet => complete::complete_request(packet),
        Origin::Generated(_) => tell(operation, result),
        Origin::Fast | Origin::Notice => {}
    }
    result.status
}

/// What the filters made of it goes back into the packet.
fn finished(operation: &Operation, packet: Irp) -> IoStatus {
    let result = data::status(operation.block);
    irp::set_status(packet, result);
    if operation.major() == IRP_MJ_CREATE {
        give_back(operation, packet);
    }
    operation.retire();
    result
}

/// The reparse data of a create is its sender's; a request of a filter's own has nobody who would take it.
fn give_back(operation: &Operation, packet: Irp) {
    let tag = operation.block.at(BLOCK::Data).ptr(FLT_CALLBACK_DATA::TagData);
    let own = matches!(operation.origin, Origin::Packet);
    packet.set_ptr(IRP::Tail_AuxiliaryBuffer, tag.filter(|_| own).map(Foreign::view::<Bytes>));
    if let Some(tag) = tag.filter(|tag| !own && pool::size_of_block(tag.addr()).is_some()) {
        pool::free(tag);
    }
}

fn tell(operation: &Operation, result: IoStatus) {
    if let Origin::Generated(finish) = &operation.origin
        && let Some(finish) = finish.lock().take()
    {
        finish(operation.block, result);
    }
}

/// Our completion routine: `true` when the walk goes on upward.
pub(crate) fn completed(packet: Irp, key: u64) -> bool {
    let Some(operation) = crate::operation::by_key(key) else { return true };
    let synchronized = operation.done.lock().clone();
    if let Some(event) = synchronized {
        dispatcher::set_event(event.event());
        return false;
    }
    settle_packet(&operation, packet);
    if operation.run_post() == PostEnd::Held {
        return false;
    }
    let result = finished(&operation, packet);
    match &operation.origin {
        Origin::Packet => {
            if packet.get(IRP::PendingReturned) != 0 {
                rule!(NT_M_07);
                irp::mark_pending(packet);
            }
            true
        }
        _ => {
            tell(&operation, result);
            false
        }
    }
}

/// FltCompletePendedPreOperation (FLT-O-12).
pub(crate) fn resume_pre(operation: &Arc<Operation>, status: u32, context: u64) {
    let Some(packet) = operation.packet else { return };
    if let Some(end) = operation.resume_pre(status, context) {
        let _status = go_on(operation, packet, end);
    }
}

/// FltCompletePendedPostOperation (FLT-O-16).
pub(crate) fn resume_post(operation: &Arc<Operation>) {
    let Some(packet) = operation.packet else { return };
    if operation.resume_post() == Some(PostEnd::Done) {
        let _status = end_packet(operation, packet);
    }
}

/// A fast call through the filters (FLT-O-04): `None` refuses it. `fill` writes its parameters, `below` calls the drivers below
/// with what the filters made of them.
fn fast(
    device: Device,
    (major, kind): (u8, u32),
    file: Foreign<FILE_OBJECT>,
    fill: impl FnOnce(Foreign<BLOCK>),
    below: impl FnOnce(&Operation, Foreign<FLT_IO_PARAMETER_BLOCK>) -> Option<IoStatus>,
) -> Option<IoStatus> {
    let volume: Arc<Volume> = volume::of_device(device)?;
    rule!(FLT_O_04);
    let frame = nt_ke::current();
    let span = observe::fast_span();
    let origin = if kind == FLTFL_CALLBACK_DATA_FAST_IO_OPERATION { Origin::Fast } else { Origin::Notice };
    let operation = Operation::new(&volume, &frame.kernel, Some(file), None, origin, 0, span).ok()?;
    let block = operation.block;
    let data = block.at(BLOCK::Data);
    data.set(FLT_CALLBACK_DATA::Flags, kind);
    data.set(FLT_CALLBACK_DATA::RequestorMode, frame.mode() as u8);
    data.set_addr(FLT_CALLBACK_DATA::Thread, frame.thread.object());
    let iopb = block.at(BLOCK::Iopb);
    iopb.set(FLT_IO_PARAMETER_BLOCK::MajorFunction, major);
    fill(block);
    operation.begin();
    let taken = match operation.run_pre() {
        PreEnd::Down => {
            let taken = below(&operation, iopb);
            if taken.is_none() {
                rule!(FLT_O_23); // shows as DISALLOW_FAST_IO in the posts
            }
            data::set_status(block, taken.unwrap_or(IoStatus::new(NtStatus::FLT_DISALLOW_FAST_IO, 0)));
            taken.is_some()
        }
        PreEnd::Completed => true,
        PreEnd::Disallowed | PreEnd::Pended => false,
    };
    let _done = operation.run_post();
    operation.retire();
    let result = data::status(block);
    let withdrawn = kind == FLTFL_CALLBACK_DATA_FS_FILTER_OPERATION && result.status == NtStatus::FLT_DISALLOW_FAST_IO;
    (taken && !withdrawn).then_some(result)
}

/// A fast read or write.
fn transfer(gate: &Gate, direction: rw::Direction, call: &FastCall) -> Option<IoStatus> {
    let below = FastCall { device: gate.lower()?, ..*call };
    if !gate.wants(direction.major()) {
        return rw::call_fast(direction, below);
    }
    let fill = |block: Foreign<BLOCK>| {
        let iopb = block.at(BLOCK::Iopb);
        iopb.set(FLT_IO_PARAMETER_BLOCK::Write_Length, call.length);
        iopb.set(FLT_IO_PARAMETER_BLOCK::Write_Key, call.key);
        iopb.set(FLT_IO_PARAMETER_BLOCK::Write_ByteOffset, call.offset);
        iopb.set_addr(FLT_IO_PARAMETER_BLOCK::Write_WriteBuffer, call.buffer.addr());
    };
    let kind = (direction.major(), FLTFL_CALLBACK_DATA_FAST_IO_OPERATION);
    fast(call.device, kind, call.file, fill, |operation, iopb| {
        let below = if operation.changed() {
            let length = iopb.get(FLT_IO_PARAMETER_BLOCK::Write_Length);
            FastCall {
                offset: iopb.get(FLT_IO_PARAMETER_BLOCK::Write_ByteOffset),
                length,
                key: iopb.get(FLT_IO_PARAMETER_BLOCK::Write_Key),
                buffer: iopb.region_at(FLT_IO_PARAMETER_BLOCK::Write_WriteBuffer, length as usize),
                ..below
            }
        } else {
            below
        };
        rw::call_fast(direction, below)
    })
}

/// A query of an open file by a fast routine (NT-QRY-25). A filter may ask for another class that has one, of another buffer.
fn ask(gate: &Gate, query: &FastQuery) -> Option<IoStatus> {
    let below = FastQuery { device: gate.lower()?, ..*query };
    if !gate.wants(IRP_MJ_QUERY_INFORMATION) {
        return nt_io::fast::query(below);
    }
    let fill = |block: Foreign<BLOCK>| {
        let iopb = block.at(BLOCK::Iopb);
        iopb.set(FLT_IO_PARAMETER_BLOCK::QueryFileInformation_Length, query.buffer.len() as u32);
        iopb.set(FLT_IO_PARAMETER_BLOCK::QueryFileInformation_FileInformationClass, query.class);
        iopb.set_addr(FLT_IO_PARAMETER_BLOCK::QueryFileInformation_InfoBuffer, query.buffer.addr());
    };
    let kind = (IRP_MJ_QUERY_INFORMATION, FLTFL_CALLBACK_DATA_FAST_IO_OPERATION);
    fast(query.device, kind, query.file, fill, |_, iopb| {
        let length = iopb.get(FLT_IO_PARAMETER_BLOCK::QueryFileInformation_Length);
        let buffer = iopb.region_at(FLT_IO_PARAMETER_BLOCK::QueryFileInformation_InfoBuffer, length as usize);
        let class = iopb.get(FLT_IO_PARAMETER_BLOCK::QueryFileInformation_FileInformationClass);
        nt_io::fast::query(FastQuery { class, buffer, ..below })
    })
}

/// A query of a name: IRP_MJ_NETWORK_QUERY_OPEN is fast I/O, IRP_MJ_QUERY_OPEN an FS-filter operation (FLT-O-02).
fn ask_by_name(gate: &Gate, query: &QueryOpen) -> Option<IoStatus> {
    let below = QueryOpen { device: gate.lower()?, ..*query };
    let major = query.major();
    if !gate.wants(major) {
        return nt_io::fast::query_open(below);
    }
    let file = irp::current(query.packet).ptr(IO_STACK_LOCATION::FileObject)?;
    let network = major == IRP_MJ_NETWORK_QUERY_OPEN;
    let kind = if network { FLTFL_CALLBACK_DATA_FAST_IO_OPERATION } else { FLTFL_CALLBACK_DATA_FS_FILTER_OPERATION };
    let fill = |block: Foreign<BLOCK>| {
        let iopb = block.at(BLOCK::Iopb);
        // The first two members are those of both unions.
        iopb.set_ptr(FLT_IO_PARAMETER_BLOCK::QueryOpen_Irp, Some(query.packet));
        iopb.set_addr(FLT_IO_PARAMETER_BLOCK::QueryOpen_FileInformation, query.buffer.addr());
        if !network {
            block.set(BLOCK::QueryLength, query.buffer.len() as u32);
            iopb.set_addr(FLT_IO_PARAMETER_BLOCK::QueryOpen_Length, block.addr() + BLOCK::QueryLength.offset() as u64);
            iopb.set(FLT_IO_PARAMETER_BLOCK::QueryOpen_FileInformationClass, query.class);
        }
    };
    fast(query.device, (major, kind), file, fill, |_, iopb| {
        let (class, length) = if network {
            (query.class, query.buffer.len())
        } else {
            let length = iopb.region_at(FLT_IO_PARAMETER_BLOCK::QueryOpen_Length, 4).load::<u32>(0).ok()?;
            (iopb.get(FLT_IO_PARAMETER_BLOCK::QueryOpen_FileInformationClass), length as usize)
        };
        let buffer = iopb.region_at(FLT_IO_PARAMETER_BLOCK::QueryOpen_FileInformation, length);
        nt_io::fast::query_open(QueryOpen { class, buffer, ..below })
    })
}
