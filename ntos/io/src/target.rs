//! The directory that a rename or link leads to, opened before the request is sent.
//!
//! Room: ntos/io. Called by: `info`. IRQL: PASSIVE_LEVEL. Locks: none of ours.
//! Source: FILE_RENAME_INFORMATION page, SL_OPEN_TARGET_DIRECTORY; rules NT-REN-18 to NT-REN-22. The open is a real
//! IRP_MJ_CREATE, so filters see it and its failures are the rename's.

use crate::create::{self, CreateSpec};
use crate::device;
use crate::file::FileObject;
use crate::irp::IoStatus;
use crate::service::violation;
use nt_abi::io::{
    FILE_ADD_FILE, FILE_OBJECT, FILE_OPEN, FILE_OPEN_FOR_BACKUP_INTENT, FILE_SHARE_READ, FILE_SHARE_WRITE,
    FO_OPENED_CASE_SENSITIVE,
};
use nt_abi::ob::OBJ_CASE_INSENSITIVE;
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Foreign, Region};
use nt_ex::pool::Scratch;
use nt_ke::Frame;
use nt_ob::Handle;
use nt_ob::access::SYNCHRONIZE;

/// The open directory; it is closed with this value.
pub struct Target(Option<FileObject>);

impl Target {
    /// Returns the directory's file object.
    #[must_use]
    pub fn file(&self) -> Foreign<FILE_OBJECT> {
        self.0.as_ref().expect("open as long as the value lives").body()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(opened) = self.0.take() {
            create::abandon(opened);
        }
    }
}

/// The name in FILE_RENAME_INFORMATION or FILE_LINK_INFORMATION, at least 20 bytes of it (NT-REN-01).
///
/// # Errors
/// INVALID_PARAMETER: there is none, half a character, or more than there is.
/// IRQL: any. Source: FILE_RENAME_INFORMATION page.
pub fn name_in(information: Region) -> NtResult<Vec<u16>> {
    let length = information.load::<u32>(16).map_err(violation)? as usize;
    if length == 0 || !length.is_multiple_of(2) || length > information.len() - 20 {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    information.sub(20, length).to_units().map_err(violation)
}

/// Opens the target's directory; `None` for a simple rename, whose name stands beside the old one.
pub fn open(frame: &Frame, source: Foreign<FILE_OBJECT>, information: &Scratch) -> NtResult<Option<Target>> {
    const SEPARATOR: u16 = b'\\' as u16;
    let region = information.region();
    let root = Handle(region.load::<u64>(8).map_err(violation)?);
    let name = name_in(region)?;
    if root == Handle::NULL && name.first() != Some(&SEPARATOR) {
        return if name.contains(&SEPARATOR) { NtStatus::OBJECT_NAME_INVALID.fail() } else { Ok(None) }; // NT-REN-20
    }
    if root != Handle::NULL && name.first() == Some(&SEPARATOR) {
        return NtStatus::OBJECT_NAME_INVALID.fail();
    }
    let sensitive = source.get(FILE_OBJECT::Flags) & FO_OPENED_CASE_SENSITIVE != 0;
    let spec = CreateSpec {
        access: FILE_ADD_FILE | SYNCHRONIZE,
        root,
        name,
        attributes: if sensitive { 0 } else { OBJ_CASE_INSENSITIVE },
        share: FILE_SHARE_READ | FILE_SHARE_WRITE,
        disposition: FILE_OPEN,
        options: FILE_OPEN_FOR_BACKUP_INTENT,
        target_directory: true,
        ..CreateSpec::default()
    };
    let (opened, _, _) = create::open(frame, &spec, None).map_err(IoStatus::error)?;
    let target = Target(Some(opened));
    if device::base(target.file()) != device::base(source) {
        return NtStatus::NOT_SAME_DEVICE.fail(); // NT-REN-19
    }
    Ok(Some(target))
}
