//! The directory that a rename or link leads to, opened before the request is sent.
//!
//! Room: ntos/io. Called by: `info`. IRQL: PASSIVE_LEVEL. Locks: none of ours.
//! Source: FILE_RENAME_INFORMATION page, SL_OPEN_TARGET_DIRECTORY; rules NT-REN-18 to NT-REN-22. The open is a real
//! IRP_MJ_CREATE, so filters see it and its failures are the rename's.

use crate::create::{self, CreateSpec};
use crate::device;
use crate::file::FileObject;
use crate::info::SystemBuffer;
use nt_abi::io::{FILE_OBJECT, FILE_OPEN, FILE_OPEN_FOR_BACKUP_INTENT, FO_OPENED_CASE_SENSITIVE};
use nt_abi::ob::OBJ_CASE_INSENSITIVE;
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::Foreign;
use nt_ke::Frame;
use nt_ob::Handle;
use nt_ob::access::SYNCHRONIZE;

const ADD_FILE: u32 = 2;
const SHARE: u32 = 3;

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

fn bad(_: nt_cell::Fault) -> NtError {
    NtStatus::ACCESS_VIOLATION.error()
}

/// Opens the target's directory; `None` for a simple rename, whose name stands beside the old one.
pub fn open(frame: &Frame, source: Foreign<FILE_OBJECT>, information: &SystemBuffer) -> NtResult<Option<Target>> {
    const SEPARATOR: u16 = b'\\' as u16;
    let region = information.region();
    let root = Handle(region.load::<u64>(8).map_err(bad)?);
    let length = region.load::<u32>(16).map_err(bad)? as usize;
    if length == 0 || !length.is_multiple_of(2) || length > region.len() - 20 {
        return NtStatus::INVALID_PARAMETER.fail(); // NT-REN-01
    }
    let raw = region.sub(20, length).to_vec().map_err(bad)?;
    let name: Vec<u16> = raw.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    if root == Handle::NULL && name.first() != Some(&SEPARATOR) {
        return if name.contains(&SEPARATOR) { NtStatus::OBJECT_NAME_INVALID.fail() } else { Ok(None) }; // NT-REN-20
    }
    if root != Handle::NULL && name.first() == Some(&SEPARATOR) {
        return NtStatus::OBJECT_NAME_INVALID.fail();
    }
    let sensitive = source.get(FILE_OBJECT::Flags) & FO_OPENED_CASE_SENSITIVE != 0;
    let spec = CreateSpec {
        access: ADD_FILE | SYNCHRONIZE,
        root,
        name,
        attributes: if sensitive { 0 } else { OBJ_CASE_INSENSITIVE },
        share: SHARE,
        disposition: FILE_OPEN,
        options: FILE_OPEN_FOR_BACKUP_INTENT,
        target_directory: true,
        ..CreateSpec::default()
    };
    let (opened, _, _) = create::open(frame, &spec, None)?;
    let target = Target(Some(opened));
    if device::base(target.file()) != device::base(source) {
        return NtStatus::NOT_SAME_DEVICE.fail(); // NT-REN-19
    }
    Ok(Some(target))
}
