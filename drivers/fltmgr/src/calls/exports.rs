//! The names of FLTMGR.SYS for requests that a filter makes itself.
//!
//! Room: drivers/fltmgr. Called by: compiled minifilters. IRQL: as each DDI page says. Locks: none.
//! Addresses become typed by `crate::exports`, which answers for them.

use super::data::{self, Misuse};
use super::{Control, Directory, Target};
use crate::exports::{at, bytes, code, operation_of, status, store};
use crate::filter::{self, Instance};
use crate::generated::Completed;
use nt_abi::flt::FLT_CALLBACK_DATA;
use nt_abi::io::{FILE_OBJECT, IO_STATUS_BLOCK};
use nt_abi::ob::OBJECT_ATTRIBUTES;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Foreign, callout, exports};
use nt_io::create::CreateSpec;
use nt_io::irp::IoStatus;
use nt_io::service::violation;
use nt_io::system::System;
use nt_ke::{Frame, Mode};
use nt_ob::Handle;
use std::sync::Arc;

fn target(instance: u64, file: u64) -> NtResult<(Arc<Instance>, Foreign<FILE_OBJECT>)> {
    let invalid = NtStatus::INVALID_PARAMETER.error();
    Ok((filter::instance_at(at(instance)).ok_or(invalid)?, at(file).ok_or(invalid)?))
}

fn with_target(instance: u64, file: u64, body: impl FnOnce(&Frame, Target<'_>) -> IoStatus) -> IoStatus {
    match target(instance, file) {
        Ok((instance, file)) => body(&nt_ke::current(), Target { instance: &instance, file }),
        Err(error) => IoStatus::new(error.status(), 0),
    }
}

fn counted(result: IoStatus, out: u64) -> u32 {
    if out != 0 && !result.status.is_error() {
        let _gone = bytes(out, 4).store::<u32>(0, result.information as u32);
    }
    result.status.0
}

/// A buffer argument: NULL only where nothing is to be copied.
fn buffer(address: u64) -> Result<Foreign<Bytes>, IoStatus> {
    at(address).ok_or(IoStatus::new(NtStatus::INVALID_PARAMETER, 0))
}

/// The arguments of FltCreateFileEx2.
struct RawCreate {
    instance: u64,
    handle: u64,
    file: u64,
    access: u32,
    attributes: u64,
    iosb: u64,
    allocation: u64,
    file_attributes: u32,
    share: u32,
    disposition: u32,
    options: u32,
    ea: u64,
    ea_length: u32,
    flags: u32,
    context: u64,
}

fn spec_of(raw: &RawCreate) -> NtResult<CreateSpec> {
    let given = at::<OBJECT_ATTRIBUTES>(raw.attributes).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    if given.get(OBJECT_ATTRIBUTES::Length) != OBJECT_ATTRIBUTES::SIZE as u32 {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let name = match given.ptr(OBJECT_ATTRIBUTES::ObjectName) {
        Some(name) => nt_rtl::unicode::units(name).map_err(violation)?,
        None => Vec::new(),
    };
    let allocation = match raw.allocation {
        0 => 0,
        address => bytes(address, 8).load::<i64>(0).map_err(violation)?,
    };
    let ea = match raw.ea_length {
        0 => None,
        length => Some(bytes(raw.ea, length as usize).to_vec().map_err(violation)?),
    };
    let mut spec = CreateSpec {
        access: raw.access,
        root: Handle(given.get(OBJECT_ATTRIBUTES::RootDirectory)),
        name,
        attributes: given.get(OBJECT_ATTRIBUTES::Attributes),
        file_attributes: raw.file_attributes,
        share: raw.share,
        disposition: raw.disposition,
        options: raw.options,
        allocation,
        ea,
        ecps: nt_io::ecp::exports::of_context(raw.context)?,
        ..CreateSpec::default()
    };
    spec.ask(raw.flags);
    Ok(spec)
}

fn create(raw: &RawCreate) -> Result<NtStatus, IoStatus> {
    let frame = nt_ke::current();
    let instance = match raw.instance {
        0 => None,
        pointer => Some(filter::instance_at(at(pointer)).ok_or(IoStatus::new(NtStatus::INVALID_PARAMETER, 0))?),
    };
    let spec = spec_of(raw)?;
    let (handle, file, result) = super::create_file(&frame, instance.as_ref(), &spec)?;
    store(raw.handle, handle.0);
    if raw.file != 0 {
        store(raw.file, file.into_raw().addr());
    }
    if let Some(iosb) = at::<IO_STATUS_BLOCK>(raw.iosb) {
        iosb.set(IO_STATUS_BLOCK::Status, result.status);
        iosb.set(IO_STATUS_BLOCK::Information, result.information);
    }
    Ok(result.status)
}

fn created(raw: &RawCreate) -> u32 {
    create(raw)
        .unwrap_or_else(|refused| {
            if let Some(iosb) = at::<IO_STATUS_BLOCK>(raw.iosb) {
                iosb.set(IO_STATUS_BLOCK::Status, refused.status);
                iosb.set(IO_STATUS_BLOCK::Information, refused.information);
            }
            refused.status
        })
        .0
}

/// The descriptor that a filter gives, whatever its form, as a request carries it.
fn set_security(frame: &Frame, target: Target<'_>, information: u32, descriptor: u64) -> IoStatus {
    let given = nt_se::Descriptor::capture(descriptor, &|address, length| {
        if address == 0 {
            NtStatus::ACCESS_VIOLATION.fail()
        } else {
            bytes(address, length).to_vec().map_err(violation)
        }
    });
    match given {
        Ok(given) => super::set_security(frame, target, information, &given.bytes()),
        Err(error) => IoStatus::new(error.status(), 0),
    }
}

/// What is reported already.
fn misused(_: Misuse) -> NtStatus {
    NtStatus::INVALID_PARAMETER
}

fn data_of(address: u64) -> Result<Foreign<FLT_CALLBACK_DATA>, NtStatus> {
    at(address).ok_or(NtStatus::INVALID_PARAMETER)
}

fn perform_asynchronously(address: u64, routine: u64, context: u64) -> NtStatus {
    let (Ok(data), Some(routine)) = (data_of(address), code(routine)) else { return NtStatus::INVALID_PARAMETER };
    let done: Completed = Box::new(move |data, _| {
        let _raised = callout::call(routine, &[data.addr(), context]);
    });
    data::perform_asynchronously(&nt_ke::current(), data, done).unwrap_or_else(misused)
}

fn allocate_data(instance: u64, file: u64, out: u64) -> NtResult<NtStatus> {
    let instance = filter::instance_at(at(instance)).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    store(out, data::allocate(&instance, at(file))?.addr());
    Ok(NtStatus::SUCCESS)
}

fn reissue(instance: u64, address: u64) {
    let (Some(instance), Some(operation)) = (filter::instance_at(at(instance)), operation_of(address)) else {
        return Misuse::NotOwn.report();
    };
    if let Err(error) = data::reissue(&nt_ke::current(), &instance, &operation) {
        crate::data::set_status(operation.block, IoStatus::new(error.status(), 0));
    }
}

fn cancel_open(instance: u64, file: u64) {
    let done = target(instance, file)
        .and_then(|(instance, file)| super::cancel_open(&nt_ke::current(), Target { instance: &instance, file }));
    if let Err(error) = done {
        let text = format!("FltCancelFileOpen of a file that is not being opened: {}", error.status());
        System::of(&nt_ke::current().kernel).finding("FLT-G-15", "violation", "", &text);
    }
}

exports! { "fltmgr.sys" =>
    Partial("IO_IGNORE_SHARE_ACCESS_CHECK is ignored; as NtCreateFile otherwise") code FltCreateFile(_filter: u64, instance: u64, handle: u64, access: u32, attributes: u64, iosb: u64, allocation: u64, file_attributes: u32, share: u32, disposition: u32, options: u32, ea: u64, ea_length: u32, flags: u32) -> u32 {
        created(&RawCreate { instance, handle, file: 0, access, attributes, iosb, allocation, file_attributes, share, disposition, options, ea, ea_length, flags, context: 0 })
    }
    Partial("IO_IGNORE_SHARE_ACCESS_CHECK is ignored; as NtCreateFile otherwise") code FltCreateFileEx(_filter: u64, instance: u64, handle: u64, file: u64, access: u32, attributes: u64, iosb: u64, allocation: u64, file_attributes: u32, share: u32, disposition: u32, options: u32, ea: u64, ea_length: u32, flags: u32) -> u32 {
        created(&RawCreate { instance, handle, file, access, attributes, iosb, allocation, file_attributes, share, disposition, options, ea, ea_length, flags, context: 0 })
    }
    Partial("IO_IGNORE_SHARE_ACCESS_CHECK is ignored; GUID_ECP_FLT_CREATEFILE_TARGET is not looked at; transactions are refused; as NtCreateFile otherwise") code FltCreateFileEx2(_filter: u64, instance: u64, handle: u64, file: u64, access: u32, attributes: u64, iosb: u64, allocation: u64, file_attributes: u32, share: u32, disposition: u32, options: u32, ea: u64, ea_length: u32, flags: u32, context: u64) -> u32 {
        created(&RawCreate { instance, handle, file, access, attributes, iosb, allocation, file_attributes, share, disposition, options, ea, ea_length, flags, context })
    }
    Full code FltClose(handle: u64) -> u32 {
        let frame = nt_ke::current();
        status(frame.with_mode(Mode::Kernel, || nt_io::event::close(&frame, Handle(handle))).map(|()| NtStatus::SUCCESS))
    }
    Full code FltCancelFileOpen(instance: u64, file: u64) { cancel_open(instance, file); }
    Full code FltQueryInformationFile(instance: u64, file: u64, out: u64, length: u32, class: u32, returned: u64) -> u32 {
        let result = with_target(instance, file, |frame, target| match buffer(out) {
            Ok(out) => super::query_information(frame, target, class, out, length),
            Err(refused) => refused,
        });
        counted(result, returned)
    }
    Full code FltSetInformationFile(instance: u64, file: u64, data: u64, length: u32, class: u32) -> u32 {
        let result = with_target(instance, file, |frame, target| match buffer(data) {
            Ok(data) => super::set_information(frame, target, class, data, length),
            Err(refused) => refused,
        });
        result.status.0
    }
    Full code FltQuerySecurityObject(instance: u64, file: u64, information: u32, out: u64, length: u32, needed: u64) -> u32 {
        let result = with_target(instance, file, |frame, target| super::query_security(frame, target, information, at(out), length));
        if needed != 0 && (!result.status.is_error() || result.status == NtStatus::BUFFER_TOO_SMALL) {
            let _gone = bytes(needed, 4).store::<u32>(0, result.information as u32);
        }
        result.status.0
    }
    Full code FltSetSecurityObject(instance: u64, file: u64, information: u32, descriptor: u64) -> u32 {
        with_target(instance, file, |frame, target| set_security(frame, target, information, descriptor)).status.0
    }
    Full code FltQueryVolumeInformationFile(instance: u64, file: u64, out: u64, length: u32, class: u32, returned: u64) -> u32 {
        let result = with_target(instance, file, |frame, target| match buffer(out) {
            Ok(out) => super::volume_information(frame, target, class, out, length, true),
            Err(refused) => refused,
        });
        counted(result, returned)
    }
    Full code FltFlushBuffers(instance: u64, file: u64) -> u32 { with_target(instance, file, |frame, target| super::flush(frame, target, 0)).status.0 }
    Full code FltFlushBuffers2(instance: u64, file: u64, kind: u32, data: u64) -> u32 {
        let _ = data;
        with_target(instance, file, |frame, target| super::flush(frame, target, kind as u8)).status.0
    }
    Full code FltFsControlFile(instance: u64, file: u64, control_code: u32, input: u64, input_length: u32, output: u64, output_length: u32, returned: u64) -> u32 {
        let request = Control { file_system: true, code: control_code, input: bytes(input, input_length as usize), output: bytes(output, output_length as usize) };
        counted(with_target(instance, file, |frame, target| super::control(frame, target, &request)), returned)
    }
    Full code FltDeviceIoControlFile(instance: u64, file: u64, control_code: u32, input: u64, input_length: u32, output: u64, output_length: u32, returned: u64) -> u32 {
        let request = Control { file_system: false, code: control_code, input: bytes(input, input_length as usize), output: bytes(output, output_length as usize) };
        counted(with_target(instance, file, |frame, target| super::control(frame, target, &request)), returned)
    }
    Full code FltQueryDirectoryFile(instance: u64, file: u64, out: u64, length: u32, class: u32, single: u8, pattern: u64, restart: u8, returned: u64) -> u32 {
        let result = with_target(instance, file, |frame, target| match buffer(out) {
            Ok(out) => {
                let request = Directory { out, length, class, single: single != 0, pattern: at(pattern), restart: restart != 0 };
                super::query_directory(frame, target, &request)
            }
            Err(refused) => refused,
        });
        counted(result, returned)
    }
    Full code FltAllocateCallbackData(instance: u64, file: u64, out: u64) -> u32 { status(allocate_data(instance, file, out)) }
    Full code FltAllocateCallbackDataEx(instance: u64, file: u64, _flags: u32, out: u64) -> u32 { status(allocate_data(instance, file, out)) }
    Full code FltFreeCallbackData(data: u64) {
        let _reported = data_of(data).map(data::free);
    }
    Full code FltReuseCallbackData(data: u64) {
        let _reported = data_of(data).map(data::reuse);
    }
    Full code FltPerformSynchronousIo(data: u64) {
        let _reported = data_of(data).map(|data| data::perform(&nt_ke::current(), data));
    }
    Full code FltPerformAsynchronousIo(data: u64, routine: u64, context: u64) -> u32 { perform_asynchronously(data, routine, context).0 }
    Full code FltReissueSynchronousIo(instance: u64, data: u64) { reissue(instance, data); }
    Full code FltCancelIo(data: u64) -> u8 { data_of(data).map_or(0, |data| u8::from(data::cancel(data))) }
}
