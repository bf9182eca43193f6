//! Callback data of a filter's own: a request of any kind, filled in by the filter and sent below its instance.
//!
//! Room: drivers/fltmgr. Called by: `exports`, filters written in Rust. IRQL: PASSIVE_LEVEL, <= APC_LEVEL with IRP_PAGING_IO.
//! Locks: the request's packet, for a copy of a pointer. Source: FltAllocateCallbackData, FltPerformAsynchronousIo,
//! FltReuseCallbackData, FltReissueSynchronousIo pages; rules FLT-G-01 to FLT-G-06, FLT-V-12.

use super::{packet_for, volume_of};
use crate::data::{self, BLOCK, CallbackData};
use crate::filter::Instance;
use crate::generated::{Completed, Launch, first_below};
use crate::operation::{Operation, PreEnd};
use crate::parameters;
use crate::volume::Volume;
use nt_abi::flt::*;
use nt_abi::io::{FILE_OBJECT, IRP, IRP_MJ_CREATE, IRP_PAGING_IO, IRP_SYNCHRONOUS_API};
use nt_abi::mm::MDL;
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Foreign, Slab};
use nt_ex::pool;
use nt_io::irp::{IoStatus, Irp};
use nt_io::system::System;
use nt_ke::{Frame, Mutex, irql};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

/// A block that a filter allocated itself bears this mark.
const OWN: u64 = 0x464C_545F_4F57_4E00;

struct Own {
    instance: Arc<Instance>,
    file: Option<Foreign<FILE_OBJECT>>,
    outstanding: AtomicBool,
    packet: Mutex<Option<Irp>>,
}

static OWNS: LazyLock<Slab<Arc<Own>>> = LazyLock::new(Slab::new);

fn own_of(data: Foreign<FLT_CALLBACK_DATA>) -> Option<(Foreign<BLOCK>, Arc<Own>)> {
    let block = data.container(BLOCK::Data);
    if block.get(BLOCK::Mark) != OWN {
        return None;
    }
    OWNS.get(block.get(BLOCK::Key)).map(|own| (block, Arc::clone(&own)))
}

fn prepare(block: Foreign<BLOCK>, own: &Own) {
    let data = block.at(BLOCK::Data);
    data.set(FLT_CALLBACK_DATA::Flags, FLTFL_CALLBACK_DATA_IRP_OPERATION | FLTFL_CALLBACK_DATA_GENERATED_IO);
    data.set_ptr(FLT_CALLBACK_DATA::Iopb, Some(block.at(BLOCK::Iopb)));
    data.set_addr(FLT_CALLBACK_DATA::Thread, nt_ke::current().thread.object());
    data.set(FLT_CALLBACK_DATA::RequestorMode, 0);
    data::set_status(block, IoStatus::new(NtStatus::SUCCESS, 0));
    data::restore(block, &[0; 9]);
    let iopb = block.at(BLOCK::Iopb);
    iopb.set_ptr(FLT_IO_PARAMETER_BLOCK::TargetFileObject, own.file);
    iopb.set_addr(FLT_IO_PARAMETER_BLOCK::TargetInstance, own.instance.pointer().addr());
}

/// FltAllocateCallbackData: a zeroed parameter block that names the instance and the file (FLT-G-01).
pub fn allocate(instance: &Arc<Instance>, file: Option<Foreign<FILE_OBJECT>>) -> NtResult<Foreign<FLT_CALLBACK_DATA>> {
    let block = pool::zeroed::<BLOCK>(pool::tag(b"FMgd")).ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    let own = Arc::new(Own {
        instance: Arc::clone(instance),
        file,
        outstanding: AtomicBool::new(false),
        packet: Mutex::new(None),
    });
    prepare(block, &own);
    block.set(BLOCK::Key, OWNS.insert(own));
    block.set(BLOCK::Mark, OWN);
    Ok(block.at(BLOCK::Data))
}

/// Why a call on callback data was refused (FLT-V-12).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misuse {
    /// It is a callback's, not one that the filter allocated.
    NotOwn,
    /// The request is still under way.
    Outstanding,
}

impl Misuse {
    pub(crate) fn report(self) {
        System::of(&nt_ke::current().kernel).finding("FLT-V-12", "violation", "", self.text());
    }
    /// Returns what the report says.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotOwn => "callback data that the filter did not allocate (FLT-G-04)",
            Self::Outstanding => "callback data of a request that is still under way (FLT-G-04)",
        }
    }
}

fn idle(data: Foreign<FLT_CALLBACK_DATA>) -> Result<(Foreign<BLOCK>, Arc<Own>), Misuse> {
    let misuse = match own_of(data) {
        Some((_, own)) if own.outstanding.load(Ordering::Acquire) => Misuse::Outstanding,
        Some(found) => return Ok(found),
        None => Misuse::NotOwn,
    };
    misuse.report();
    Err(misuse)
}

/// Frees the MDLs that the filter left in the parameter block.
fn free_mdls(block: Foreign<BLOCK>) {
    let iopb = block.at(BLOCK::Iopb);
    if let Some(field) = parameters::decode(iopb).and_then(|decoded| decoded.mdl)
        && let Some(mdl) = iopb.ptr::<MDL>(field)
    {
        iopb.set_ptr(field, None);
        nt_mm::mdl::release(mdl);
    }
}

/// FltFreeCallbackData.
pub fn free(data: Foreign<FLT_CALLBACK_DATA>) -> Result<(), Misuse> {
    let (block, _) = idle(data)?;
    free_mdls(block);
    block.set(BLOCK::Mark, 0);
    OWNS.remove(block.get(BLOCK::Key));
    pool::free(block);
    Ok(())
}

/// FltReuseCallbackData: instance and file stay, all else is as after the allocation (FLT-G-04).
pub fn reuse(data: Foreign<FLT_CALLBACK_DATA>) -> Result<(), Misuse> {
    let (block, own) = idle(data)?;
    free_mdls(block);
    prepare(block, &own);
    Ok(())
}

/// A packet with these parameters; `true`: its MDL is the filter's.
fn packet_of(
    frame: &Frame,
    volume: &Volume,
    file: Option<Foreign<FILE_OBJECT>>,
    iopb: Foreign<FLT_IO_PARAMETER_BLOCK>,
) -> NtResult<(Irp, bool)> {
    let packet = packet_for(frame, volume, file)?;
    let built = parameters::build(iopb, packet, volume.lower);
    built.map(|own_mdl| (packet, own_mdl)).inspect_err(|_| nt_io::irp::release(packet))
}

fn build(frame: &Frame, own: &Own, block: Foreign<BLOCK>, synchronous: bool) -> NtResult<Launch> {
    let iopb = block.at(BLOCK::Iopb);
    let file = iopb.ptr(FLT_IO_PARAMETER_BLOCK::TargetFileObject);
    let create = iopb.get(FLT_IO_PARAMETER_BLOCK::MajorFunction) == IRP_MJ_CREATE;
    let volume = volume_of(&own.instance, file.filter(|_| !create))?;
    let (packet, own_mdl) = packet_of(frame, &volume, file, iopb)?;
    if synchronous {
        packet.or32(IRP::Flags, IRP_SYNCHRONOUS_API);
    }
    let first = first_below(&volume, &own.instance);
    let kind = FLTFL_CALLBACK_DATA_GENERATED_IO;
    Ok(Launch { volume, file, packet, first, span: 0, position: None, own_mdl, kind })
}

/// FltPerformSynchronousIo: the result is in the data's IoStatus (FLT-G-02).
pub fn perform(frame: &Frame, data: Foreign<FLT_CALLBACK_DATA>) -> Result<IoStatus, Misuse> {
    let (block, own) = idle(data)?;
    own.outstanding.store(true, Ordering::Release);
    let result = build(frame, &own, block, true).and_then(|launch| {
        *own.packet.lock() = Some(launch.packet);
        launch.go(frame, None)
    });
    own.packet.lock().take();
    let result = result.map_or_else(|error| IoStatus::new(error.status(), 0), |(result, _)| result);
    data::set_status(block, result);
    own.outstanding.store(false, Ordering::Release);
    Ok(result)
}

/// FltPerformAsynchronousIo: `done` runs once, also when the request could not be sent (FLT-G-03).
pub fn perform_asynchronously(
    frame: &Frame,
    data: Foreign<FLT_CALLBACK_DATA>,
    done: Completed,
) -> Result<NtStatus, Misuse> {
    let (block, own) = idle(data)?;
    let iopb = block.at(BLOCK::Iopb);
    let paging = iopb.get(FLT_IO_PARAMETER_BLOCK::IrpFlags) & IRP_PAGING_IO != 0;
    let refused = if iopb.get(FLT_IO_PARAMETER_BLOCK::MajorFunction) == IRP_MJ_CREATE {
        Some(NtStatus::FLT_INVALID_ASYNCHRONOUS_REQUEST)
    } else if irql::current() > if paging { irql::APC_LEVEL } else { irql::PASSIVE_LEVEL } {
        Some(NtStatus::INVALID_PARAMETER)
    } else {
        None
    };
    own.outstanding.store(true, Ordering::Release);
    let end = {
        let own = Arc::clone(&own);
        move |result: IoStatus| {
            own.packet.lock().take();
            data::set_status(block, result);
            own.outstanding.store(false, Ordering::Release);
            done(block.at(BLOCK::Data), result);
        }
    };
    if let Some(status) = refused {
        end(IoStatus::new(status, 0));
        return Ok(status);
    }
    let launch = match build(frame, &own, block, false) {
        Ok(launch) => launch,
        Err(error) => {
            end(IoStatus::new(error.status(), 0));
            return Ok(error.status());
        }
    };
    *own.packet.lock() = Some(launch.packet);
    let went = launch.go(frame, Some(Box::new(move |_, result| end(result))));
    Ok(match went {
        Ok((_, PreEnd::Completed)) => NtStatus::FLT_IO_COMPLETE,
        Ok((result, _)) if result.status == NtStatus::PENDING => NtStatus::PENDING,
        Ok(_) => NtStatus::SUCCESS,
        Err(error) => error.status(),
    })
}

/// FltCancelIo: `true` when the packet had a cancel routine, and it ran (FLT-G-06).
pub fn cancel(data: Foreign<FLT_CALLBACK_DATA>) -> bool {
    let Some((_, own)) = own_of(data) else { return false };
    let packet = *own.packet.lock();
    packet.is_some_and(nt_io::cancelable::cancel_irp)
}

/// FltReissueSynchronousIo for a filter written in Rust: the operation of its callback goes below its instance once more, with
/// the parameters as they stand now; the result is the operation's.
///
/// # Errors
/// INVALID_PARAMETER for fast I/O, for a cancelled open and for callback data of no operation under way.
/// IRQL: PASSIVE_LEVEL. Source: FltReissueSynchronousIo page.
pub fn reissue_synchronously(data: CallbackData) -> NtResult<IoStatus> {
    let invalid = NtStatus::INVALID_PARAMETER.error();
    let operation = data::block_of(data.data()).and_then(crate::operation::of_block).ok_or(invalid)?;
    let instance = data.target_instance().ok_or(invalid)?;
    reissue(&nt_ke::current(), &instance, &operation)
}

/// FltReissueSynchronousIo: a callback's operation goes below the instance once more (FLT-G-05).
pub(crate) fn reissue(frame: &Frame, instance: &Arc<Instance>, operation: &Operation) -> NtResult<IoStatus> {
    let iopb = operation.block.at(BLOCK::Iopb);
    let file = iopb.ptr(FLT_IO_PARAMETER_BLOCK::TargetFileObject);
    let cancelled = |file: Foreign<FILE_OBJECT>| file.get(FILE_OBJECT::Flags) & nt_abi::io::FO_FILE_OPEN_CANCELLED != 0;
    if operation.is_fast() || file.is_some_and(cancelled) {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let volume = volume_of(instance, None)?;
    let (packet, own_mdl) = packet_of(frame, &volume, file, iopb)?;
    packet.or32(IRP::Flags, IRP_SYNCHRONOUS_API);
    let first = first_below(&volume, instance);
    let kind = FLTFL_CALLBACK_DATA_GENERATED_IO | FLTFL_CALLBACK_DATA_REISSUED_IO;
    let launch = Launch { volume, file, packet, first, span: 0, position: None, own_mdl, kind };
    let (result, _) = launch.go(frame, None)?;
    data::set_status(operation.block, result);
    Ok(result)
}
