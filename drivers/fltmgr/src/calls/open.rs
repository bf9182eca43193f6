//! Creates of a filter's own: below its instance, or from the top of the stack.
//!
//! Room: drivers/fltmgr. Called by: `exports`, `name`. Calls: `nt_io::create`. IRQL: PASSIVE_LEVEL. Locks: none across a
//! request. Source: FltCreateFileEx, FltCancelFileOpen pages; rules FLT-G-08, FLT-G-09, FLT-G-15.

use super::Target;
use crate::filter::Instance;
use crate::volume::Volume;
use nt_abi::io::{
    DEVICE_OBJECT, FILE_ADD_FILE, FILE_OBJECT, FILE_OPEN, FILE_OPEN_FOR_BACKUP_INTENT, FILE_SHARE_READ,
    FILE_SHARE_WRITE, FO_CLEANUP_COMPLETE, FO_FILE_OPEN_CANCELLED, FO_HANDLE_CREATED, IRP_MJ_CLEANUP, IRP_MJ_CLOSE,
};
use nt_abi::ob::{OBJ_CASE_INSENSITIVE, OBJ_KERNEL_HANDLE};
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Foreign, Region};
use nt_io::create::{self, Below, CreateSpec};
use nt_io::file::FileObject;
use nt_io::info::class;
use nt_io::irp::IoStatus;
use nt_io::service::violation;
use nt_io::system::System;
use nt_io::{device, event, target};
use nt_ke::{Frame, Mode};
use nt_ob::access::SYNCHRONIZE;
use nt_ob::types::ObjectType;
use nt_ob::{Handle, ObjectRef};
use std::sync::Arc;

/// A file that a filter opened without a handle: cleanup and close go to where the create went (FLT-G-09).
#[derive(Debug)]
pub struct Opened {
    file: Option<FileObject>,
    /// The create's {status, Information}.
    pub result: IoStatus,
    granted: u32,
}

impl Opened {
    /// Returns the file object.
    ///
    /// # Panics
    /// Never: the file object is given up only with the value.
    #[must_use]
    pub fn file(&self) -> Foreign<FILE_OBJECT> {
        self.file.as_ref().expect("open until dropped").body()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            create::abandon(file);
        }
    }
}

/// Opens or creates a file: below `instance`, or from the top of the stack without one.
///
/// # Errors
/// What the create ends with, and Information where it tells more (`nt_io::create::is_told`).
pub fn create(frame: &Frame, instance: Option<&Arc<Instance>>, spec: &CreateSpec) -> Result<Opened, IoStatus> {
    let opened = frame.with_mode(Mode::Kernel, || match instance {
        None => create::open(frame, spec, None),
        Some(instance) => {
            let volume = instance.volume.upgrade().ok_or(IoStatus::new(NtStatus::FLT_DELETING_OBJECT, 0))?;
            check_volume(frame, &volume, spec)?;
            let aimed = volume.aim(instance);
            let below = Below { device: volume.device, again: &|| aimed.again() };
            let opened = create::open(frame, spec, Some(below));
            aimed.done(opened.is_ok());
            opened
        }
    });
    let (file, result, granted) = opened?;
    Ok(Opened { file: Some(file), result, granted })
}

/// The name must lead to the instance's own volume.
fn check_volume(frame: &Frame, volume: &Volume, spec: &CreateSpec) -> NtResult<()> {
    let device = if spec.root == Handle::NULL {
        let found = System::of(&frame.kernel).namespace.lookup(&spec.name)?;
        if found.kind != ObjectType::Device {
            return NtStatus::OBJECT_TYPE_MISMATCH.fail();
        }
        found.object.body().view::<DEVICE_OBJECT>()
    } else {
        let (root, _) = event::reference(frame, spec.root, ObjectType::File, 0, Mode::Kernel)?;
        root.body().view::<FILE_OBJECT>().ptr(FILE_OBJECT::DeviceObject).ok_or(NtStatus::INVALID_HANDLE.error())?
    };
    if device::mounted_on(device) == device::top_of_stack(volume.device) {
        Ok(())
    } else {
        NtStatus::INVALID_DEVICE_OBJECT_PARAMETER.fail()
    }
}

/// FltCreateFileEx: a handle, and the file object if it is asked for.
pub fn create_file(
    frame: &Frame,
    instance: Option<&Arc<Instance>>,
    spec: &CreateSpec,
) -> Result<(Handle, ObjectRef<FILE_OBJECT>, IoStatus), IoStatus> {
    let mut opened = create(frame, instance, spec)?;
    let table = if spec.attributes & OBJ_KERNEL_HANDLE != 0 {
        &nt_ps::process::processes(&frame.kernel).system().handles
    } else {
        &nt_ps::current_process(frame).handles
    };
    let file = opened.file.clone().ok_or(IoStatus::new(NtStatus::FILE_CLOSED, 0))?;
    let handle = table.insert(&file.clone().retype::<Bytes>(), opened.granted, spec.attributes)?;
    opened.file.take();
    Ok((handle, file, opened.result))
}

/// FltCancelFileOpen: the file system below forgets an open that it granted; a file that was made stays (FLT-G-15).
pub fn cancel_open(frame: &Frame, target: Target<'_>) -> NtResult<()> {
    let file = target.file;
    let flags = file.get(FILE_OBJECT::Flags);
    if flags & (FO_HANDLE_CREATED | FO_FILE_OPEN_CANCELLED) != 0 || file.addr_at(FILE_OBJECT::FsContext) == 0 {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    file.or32(FILE_OBJECT::Flags, FO_FILE_OPEN_CANCELLED | FO_CLEANUP_COMPLETE);
    for major in [IRP_MJ_CLEANUP, IRP_MJ_CLOSE] {
        let _status = super::send(frame, target, major, 0, |_, _| Ok(()))?;
    }
    Ok(())
}

/// The directory that a rename or link leads to, opened below the instance (FLT-G-14); `None`: the name stands beside the old.
pub(super) fn target_directory(
    frame: &Frame,
    target: Target<'_>,
    class: u32,
    data: Foreign<Bytes>,
    length: u32,
) -> NtResult<Option<Opened>> {
    const SEPARATOR: u16 = b'\\' as u16;
    if !matches!(class, class::RENAME | class::RENAME_EX | class::LINK | class::LINK_EX) {
        return Ok(None);
    }
    if length < 20 {
        return NtStatus::INFO_LENGTH_MISMATCH.fail();
    }
    let region = Region::pool(data, length as usize);
    let root = Handle(region.load::<u64>(8).map_err(violation)?);
    let name = target::name_in(region)?;
    let absolute = name.first() == Some(&SEPARATOR);
    if root == Handle::NULL && !absolute {
        return Ok(None);
    }
    let spec = CreateSpec {
        access: FILE_ADD_FILE | SYNCHRONIZE,
        root,
        name,
        attributes: OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE,
        share: FILE_SHARE_READ | FILE_SHARE_WRITE,
        disposition: FILE_OPEN,
        options: FILE_OPEN_FOR_BACKUP_INTENT,
        target_directory: true,
        ..CreateSpec::default()
    };
    match create(frame, Some(target.instance), &spec) {
        Ok(opened) => Ok(Some(opened)),
        Err(refused) if refused.status == NtStatus::INVALID_DEVICE_OBJECT_PARAMETER => NtStatus::NOT_SAME_DEVICE.fail(),
        Err(refused) => refused.status.fail(),
    }
}
