//! Queries by name, without a handle: `NtQueryInformationByName`, `NtQueryFullAttributesFile`, `NtQueryAttributesFile`.
//!
//! Room: ntos/io. IRQL: PASSIVE_LEVEL. Locks: none. Source: the pages of them; rules NT-QRY-24, NT-QRY-25, NT-QRY-28.
//! The drivers are asked about the name first; when one has to see an open it is an internal one for READ_ATTRIBUTES, a query,
//! and its close.

use crate::create::{self, CreateSpec};
use crate::device;
use crate::info::{class, exchange, system_buffer};
use crate::irp::IoStatus;
use crate::service::{self, violation};
use nt_abi::io::{FILE_OPEN, FILE_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES, IRP_MJ_QUERY_INFORMATION};
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::{Addr, Region};
use nt_ex::pool::Scratch;
use nt_ke::{Frame, Mode, WindowsVersion};
use nt_ob::Handle;

/// What is named: OBJECT_ATTRIBUTES.
#[derive(Clone, Debug)]
pub struct Named {
    /// RootDirectory.
    pub root: Handle,
    /// ObjectName.
    pub name: Vec<u16>,
    /// Attributes.
    pub attributes: u32,
}

/// NtQueryInformationByName: FileStatInformation and FileStatLxInformation.
#[must_use]
pub fn nt_query_information_by_name(
    frame: &Frame,
    named: &Named,
    iosb: Addr,
    buffer: Addr,
    length: u32,
    class: u32,
) -> NtStatus {
    frame.service(|| {
        let least = match class {
            class::STAT => 72,
            class::STAT_LX => 96,
            _ => return NtStatus::INVALID_INFO_CLASS,
        };
        if length < least {
            return NtStatus::INFO_LENGTH_MISMATCH;
        }
        query(frame, named, class, iosb, buffer, length).unwrap_or_else(NtError::status)
    })
}

/// NtQueryFullAttributesFile: FILE_NETWORK_OPEN_INFORMATION of a name.
#[must_use]
pub fn nt_query_full_attributes_file(frame: &Frame, named: &Named, buffer: Addr) -> NtStatus {
    frame.service(|| query(frame, named, class::NETWORK_OPEN, Addr::NULL, buffer, 56).unwrap_or_else(NtError::status))
}

/// NtQueryAttributesFile: FILE_BASIC_INFORMATION of a name.
#[must_use]
pub fn nt_query_attributes_file(frame: &Frame, named: &Named, buffer: Addr) -> NtStatus {
    frame.service(|| attributes(frame, named, buffer).unwrap_or_else(NtError::status))
}

fn attributes(frame: &Frame, named: &Named, buffer: Addr) -> NtResult<NtStatus> {
    const TIMES: usize = 32;
    let out = target(frame, buffer, 40)?;
    let (data, result) = ask(frame, named, class::NETWORK_OPEN, 56)?;
    let (basic, attributes) = (data.region(), data.region().load::<u32>(48).map_err(violation)?);
    out.sub(0, TIMES).copy_from(basic.sub(0, TIMES)).map_err(violation)?;
    out.store::<u64>(TIMES, attributes.into()).map_err(violation)?;
    Ok(result.status)
}

/// The caller's buffer.
fn target(frame: &Frame, buffer: Addr, length: u32) -> NtResult<Region> {
    let kernel = frame.mode() == Mode::Kernel;
    let out = buffer.region(length as usize, kernel).map_err(violation)?;
    if !kernel {
        out.probe_write().map_err(violation)?;
    }
    Ok(out)
}

fn query(frame: &Frame, named: &Named, class: u32, iosb: Addr, buffer: Addr, length: u32) -> NtResult<NtStatus> {
    let out = target(frame, buffer, length)?;
    let (data, result) = ask(frame, named, class, length)?;
    let count = (result.information as usize).min(length as usize);
    out.sub(0, count).copy_from(data.region().sub(0, count)).map_err(violation)?;
    if !iosb.is_null() {
        service::store_status(iosb, frame.mode() == Mode::Kernel, result)?;
    }
    Ok(result.status)
}

/// The answer of the file system, in a system buffer.
fn ask(frame: &Frame, named: &Named, class: u32, length: u32) -> NtResult<(Scratch, IoStatus)> {
    let spec = CreateSpec {
        access: FILE_READ_ATTRIBUTES,
        root: named.root,
        name: named.name.clone(),
        attributes: named.attributes,
        disposition: FILE_OPEN,
        options: FILE_OPEN_REPARSE_POINT,
        ..CreateSpec::default()
    };
    let data = system_buffer(length as usize)?;
    // IRP_MJ_QUERY_OPEN is a thing of Windows 10.
    if (class == class::NETWORK_OPEN || frame.kernel.windows() >= WindowsVersion::Win10)
        && let Some(result) = create::ask(frame, &spec, class, data.region())?
    {
        return Ok((data, result));
    }
    let (opened, _, _) = create::open(frame, &spec, None).map_err(IoStatus::error)?;
    let result = device::related(*opened)
        .map(|top| exchange(frame, *opened, top, IRP_MJ_QUERY_INFORMATION, class, data.block(), length, |_| {}).result);
    create::abandon(opened);
    match result {
        Some(result) if !result.status.is_error() => Ok((data, result)),
        Some(result) => result.status.fail(),
        None => NtStatus::INVALID_DEVICE_REQUEST.fail(),
    }
}
