//! Where an open goes on that a driver answered with STATUS_REPARSE.
//!
//! Room: ntos/io. Called by: `create`. IRQL: PASSIVE_LEVEL. Locks: none.
//! Source: REPARSE_DATA_BUFFER, IoReplaceFileObjectName, IO_STOP_ON_SYMLINK, "Create Symbolic Links" pages; rules NT-REP-18 to
//! NT-REP-28. A file system hands its reparse data up in Irp->Tail.Overlay.AuxiliaryBuffer, the length of the name behind the
//! reparse point in the buffer's Reserved; a filter puts another name into the file object and answers IO_REPARSE. Either way
//! a new file object starts from the top of a stack, so that filters see a create like any other.

pub mod exports;

use crate::create::{CreateSpec, Target};
use crate::device;
use crate::info::{class, exchange, system_buffer};
use crate::irp::IoStatus;
use crate::system::System;
use nt_abi::io::{
    DEVICE_OBJECT, FILE_DELETE_ON_CLOSE, FILE_DIRECTORY_FILE, FILE_NON_DIRECTORY_FILE, FILE_OBJECT, FILE_OPEN,
    FILE_OPEN_BY_FILE_ID, FILE_OPENED, FILE_OVERWRITE, IO_REPARSE_TAG_MOUNT_POINT, IO_REPARSE_TAG_SYMLINK,
    IRP_MJ_QUERY_INFORMATION, IRP_MJ_SET_INFORMATION, SYMLINK_FLAG_RELATIVE,
};
use nt_abi::ob::OBJ_DONT_REPARSE;
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;
use nt_ke::{Frame, WindowsVersion};
use nt_ob::types::ObjectType;
use nt_rtl::unicode::units_of;
use nt_trace::rule;

/// Reparse points on one open (NT-REP-23).
pub(crate) const MOST: u32 = 63;
/// Information: the file object has another name now.
const IO_REPARSE: u64 = 0;
const MOUNT_POINT: u64 = IO_REPARSE_TAG_MOUNT_POINT as u64;
const SYMLINK: u64 = IO_REPARSE_TAG_SYMLINK as u64;
/// What the file system tells of the link in the flags of the buffer that it hands up.
pub const SYMLINK_DIRECTORY: u32 = 0x8000_0000;
/// The link is a file.
pub const SYMLINK_FILE: u32 = 0x4000_0000;
const SEPARATOR: u16 = b'\\' as u16;

/// What the link that a name ended in promised its target to be (NT-REP-26).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Promise {
    Directory,
    File,
}

/// Where the open goes on.
pub(crate) struct Restart {
    pub(crate) target: Target,
    pub(crate) promise: Option<Promise>,
}

fn invalid<T>() -> NtResult<T> {
    NtStatus::OBJECT_NAME_INVALID.fail()
}

fn half(data: &[u8], at: usize) -> NtResult<usize> {
    let bytes = data.get(at..at + 2).ok_or(NtStatus::IO_REPARSE_DATA_INVALID.error())?;
    Ok(usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
}

/// The substitute name, and the flags of a symbolic link.
fn substitute(data: &[u8], symlink: bool) -> NtResult<(Vec<u16>, u32)> {
    let bad = NtStatus::IO_REPARSE_DATA_INVALID.error();
    let names = if symlink { 20 } else { 16 };
    let (start, length) = (names + half(data, 8)?, half(data, 10)?);
    let name = units_of(data.get(start..start + length).ok_or(bad)?);
    let flags = match symlink {
        true => data.get(16..20).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes)),
        false => 0,
    };
    Ok((name, flags))
}

/// Decides where the open of `opened` goes on; `data` is what the drivers left in the auxiliary buffer.
pub(crate) fn restart(
    frame: &Frame,
    spec: &CreateSpec,
    opened: Foreign<FILE_OBJECT>,
    information: u64,
    data: Option<&[u8]>,
    below: bool,
) -> NtResult<Restart> {
    if spec.attributes & OBJ_DONT_REPARSE != 0 {
        return NtStatus::REPARSE_POINT_ENCOUNTERED.fail();
    }
    let unreadable = |_| NtStatus::OBJECT_NAME_INVALID.error();
    let name = nt_rtl::unicode::units(opened.at(FILE_OBJECT::FileName)).map_err(unreadable)?;
    let (name, promise) = match (information, data) {
        (IO_REPARSE, _) => (name, None),
        (MOUNT_POINT | SYMLINK, Some(data)) => {
            rule!(NT_REP_21);
            let left = half(data, 6)? / 2;
            let at = name.len().checked_sub(left).ok_or(NtStatus::IO_REPARSE_DATA_INVALID.error())?;
            let (link, rest) = name.split_at(at);
            let (target, flags) = substitute(data, information == SYMLINK)?;
            let promise = match flags {
                _ if rest.iter().any(|&unit| unit != SEPARATOR) => None,
                flags if flags & SYMLINK_DIRECTORY != 0 => Some(Promise::Directory),
                flags if flags & SYMLINK_FILE != 0 => Some(Promise::File),
                _ => None,
            };
            if information == SYMLINK && flags & SYMLINK_FLAG_RELATIVE != 0 {
                let rest =
                    beside(frame, spec, opened, link, &target)?.into_iter().chain(rest.iter().copied()).collect();
                let device = opened.ptr(FILE_OBJECT::DeviceObject).ok_or(NtStatus::NO_SUCH_DEVICE.error())?;
                return Ok(Restart { target: Target { device, rest, related: None }, promise });
            }
            check_absolute(&target, information == SYMLINK)?;
            let target =
                if rest.is_empty() { &target[..] } else { target.strip_suffix(&[SEPARATOR]).unwrap_or(&target) };
            ([target, rest].concat(), promise)
        }
        _ => {
            rule!(NT_REP_18);
            return NtStatus::IO_REPARSE_TAG_NOT_HANDLED.fail();
        }
    };
    let found = System::of(&frame.kernel).namespace.lookup(&name).map_err(|error| match error.status() {
        NtStatus::OBJECT_PATH_SYNTAX_BAD => NtStatus::OBJECT_NAME_INVALID.error(),
        _ => error,
    })?;
    if found.kind != ObjectType::Device {
        return NtStatus::OBJECT_TYPE_MISMATCH.fail();
    }
    let device = found.object.body().view::<DEVICE_OBJECT>();
    let same =
        opened.ptr(FILE_OBJECT::DeviceObject).is_some_and(|old| device::mounted_on(old) == device::mounted_on(device));
    if below && !same {
        return NtStatus::MOUNT_POINT_NOT_RESOLVED.fail();
    }
    Ok(Restart { target: Target { device, rest: found.rest, related: None }, promise })
}

/// The name of an absolute target (NT-REP-22, NT-REP-25).
fn check_absolute(name: &[u16], symlink: bool) -> NtResult<()> {
    let [SEPARATOR, second, ..] = name else { return invalid() };
    if *second == SEPARATOR {
        return invalid();
    }
    if symlink {
        for part in name.split(|&unit| unit == SEPARATOR) {
            match part {
                [0x2E] => return NtStatus::OBJECT_PATH_NOT_FOUND.fail(),
                [0x2E, 0x2E] => return invalid(),
                _ => {}
            }
        }
    }
    Ok(())
}

/// The target of a relative link: the link's directory, changed as the target says (NT-REP-24).
fn beside(
    frame: &Frame,
    spec: &CreateSpec,
    opened: Foreign<FILE_OBJECT>,
    link: &[u16],
    target: &[u16],
) -> NtResult<Vec<u16>> {
    if spec.options & FILE_OPEN_BY_FILE_ID != 0 {
        return NtStatus::IO_REPARSE_DATA_INVALID.fail(); // the open has no name that the target could stand beside
    }
    let above = match opened.ptr(FILE_OBJECT::RelatedFileObject) {
        Some(related) => name_of(frame, related)?,
        None => Vec::new(),
    };
    let parts = |name: &[u16]| -> Vec<Vec<u16>> {
        name.split(|&unit| unit == SEPARATOR).filter(|part| !part.is_empty()).map(<[u16]>::to_vec).collect()
    };
    let mut at = [parts(&above), parts(link)].concat();
    at.pop();
    let target = match target.strip_prefix(&[SEPARATOR]) {
        Some(from_root) => {
            at.clear();
            from_root
        }
        None => target,
    };
    for part in target.strip_suffix(&[SEPARATOR]).unwrap_or(target).split(|&unit| unit == SEPARATOR) {
        match part {
            [] => return invalid(),
            [0x2E] => {}
            [0x2E, 0x2E] => _ = at.pop().ok_or(NtStatus::IO_REPARSE_DATA_INVALID.error())?,
            part => at.push(part.to_vec()),
        }
    }
    if at.is_empty() {
        return Ok(vec![SEPARATOR]);
    }
    Ok(at.iter().flat_map(|part| std::iter::once(&SEPARATOR).chain(part)).copied().collect())
}

/// The path of an open file from its volume's root.
fn name_of(frame: &Frame, opened: Foreign<FILE_OBJECT>) -> NtResult<Vec<u16>> {
    const ROOM: usize = 4 + 0xFFFE;
    let bad = |_| NtStatus::IO_REPARSE_DATA_INVALID.error();
    let top = device::related(opened).ok_or(NtStatus::INVALID_DEVICE_REQUEST.error())?;
    let buffer = system_buffer(ROOM)?;
    let major = IRP_MJ_QUERY_INFORMATION;
    let end = exchange(frame, opened, top, major, class::NAME, buffer.block(), ROOM as u32, |_| {}).result;
    if end.status.is_error() {
        return end.status.fail();
    }
    let length = buffer.region().load::<u32>(0).map_err(bad)? as usize;
    let name = buffer.region().sub(4, length.min(ROOM - 4)).to_vec().map_err(bad)?;
    Ok(units_of(&name))
}

impl Promise {
    /// The promise of a link counts since Windows 10, 1709.
    pub(crate) fn counts(frame: &Frame) -> bool {
        frame.kernel.windows() >= WindowsVersion::Win10
    }

    /// The option that holds an open which makes nothing to the promise.
    pub(crate) fn option(self, spec: &CreateSpec) -> u32 {
        let makes = !matches!(spec.disposition, FILE_OPEN | FILE_OVERWRITE);
        match self {
            _ if makes || spec.options & (FILE_DIRECTORY_FILE | FILE_NON_DIRECTORY_FILE) != 0 => 0,
            Self::Directory => FILE_DIRECTORY_FILE,
            Self::File => FILE_NON_DIRECTORY_FILE,
        }
    }

    /// Whether what was opened, and not made, is of the kind that the link promised.
    pub(crate) fn check(
        self,
        frame: &Frame,
        spec: &CreateSpec,
        opened: Foreign<FILE_OBJECT>,
        result: IoStatus,
    ) -> NtResult<()> {
        if result.information != u64::from(FILE_OPENED) {
            return Ok(());
        }
        let top = device::related(opened).ok_or(NtStatus::INVALID_DEVICE_REQUEST.error())?;
        let buffer = system_buffer(24)?;
        let end = exchange(frame, opened, top, IRP_MJ_QUERY_INFORMATION, class::STANDARD, buffer.block(), 24, |_| {});
        if end.result.status.is_error() {
            return Ok(()); // no file system: nothing that could be a directory
        }
        let is_directory = buffer.region().load::<u8>(21).is_ok_and(|flag| flag != 0);
        let wrong = match self {
            Self::Directory if !is_directory => NtStatus::NOT_A_DIRECTORY,
            Self::File if is_directory => NtStatus::FILE_IS_A_DIRECTORY,
            _ => return Ok(()),
        };
        if spec.options & FILE_DELETE_ON_CLOSE != 0 {
            // What was opened by a false promise is not what the caller wanted deleted.
            const ON_CLOSE: u32 = 8;
            let _kept = buffer.region().store::<u32>(0, ON_CLOSE);
            let (major, class) = (IRP_MJ_SET_INFORMATION, class::DISPOSITION_EX);
            let _end = exchange(frame, opened, top, major, class, buffer.block(), 4, |_| {});
        }
        wrong.fail()
    }
}

/// Puts another name into a file object: IoReplaceFileObjectName.
///
/// # Errors
/// NAME_TOO_LONG, INSUFFICIENT_RESOURCES.
/// IRQL: PASSIVE_LEVEL to APC_LEVEL. Source: IoReplaceFileObjectName page.
pub fn replace_name(opened: Foreign<FILE_OBJECT>, name: &[u16]) -> NtResult<()> {
    let string = opened.at(FILE_OBJECT::FileName);
    nt_rtl::unicode::store_units(string, name)
}
