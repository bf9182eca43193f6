//! Queries by name, without a handle: `NtQueryInformationByName`, `NtQueryFullAttributesFile`.
//!
//! Room: ntos/io. IRQL: PASSIVE_LEVEL. Locks: none. Source: the pages of both; rules NT-QRY-24, NT-QRY-28.
//! An internal open for READ_ATTRIBUTES, one query, and its close.

use crate::create::{self, CreateSpec};
use crate::device;
use crate::info::{class, exchange, system_buffer};
use crate::irp::IoStatus;
use crate::service::{self, violation};
use nt_abi::io::{FILE_OPEN, FILE_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES, IRP_MJ_QUERY_INFORMATION};
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::Addr;
use nt_ke::{Frame, Mode};
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
        query(frame, named, class, FILE_OPEN_REPARSE_POINT, iosb, buffer, length).unwrap_or_else(NtError::status)
    })
}

/// NtQueryFullAttributesFile: FILE_NETWORK_OPEN_INFORMATION of a name.
#[must_use]
pub fn nt_query_full_attributes_file(frame: &Frame, named: &Named, buffer: Addr) -> NtStatus {
    frame.service(|| {
        query(frame, named, class::NETWORK_OPEN, FILE_OPEN_REPARSE_POINT, Addr::NULL, buffer, 56)
            .unwrap_or_else(NtError::status)
    })
}

fn query(
    frame: &Frame,
    named: &Named,
    class: u32,
    options: u32,
    iosb: Addr,
    buffer: Addr,
    length: u32,
) -> NtResult<NtStatus> {
    let kernel = frame.mode() == Mode::Kernel;
    let out = buffer.region(length as usize, kernel).map_err(violation)?;
    if !kernel {
        out.probe_write().map_err(violation)?;
    }
    let spec = CreateSpec {
        access: FILE_READ_ATTRIBUTES,
        root: named.root,
        name: named.name.clone(),
        attributes: named.attributes,
        disposition: FILE_OPEN,
        options,
        ..CreateSpec::default()
    };
    let (opened, _, _) = create::open(frame, &spec, None)?;
    let result = (|| {
        let top = device::related(*opened).ok_or(NtStatus::INVALID_DEVICE_REQUEST.error())?;
        let data = system_buffer(length as usize)?;
        let major = IRP_MJ_QUERY_INFORMATION;
        let end = exchange(frame, *opened, top, major, class, data.block(), length, |_| {}).result;
        if end.status.is_error() {
            return end.status.fail();
        }
        let count = (end.information as usize).min(length as usize);
        out.sub(0, count).copy_from(data.region().sub(0, count)).map_err(violation)?;
        Ok::<IoStatus, NtError>(end)
    })();
    create::abandon(opened);
    let result = result?;
    if !iosb.is_null() {
        service::store_status(iosb, kernel, result)?;
    }
    Ok(result.status)
}
