//! Device objects: making, attaching, and who stands on top.
//!
//! Room: ntos/io. IRQL: PASSIVE_LEVEL; walking <= DISPATCH_LEVEL. Locks: the machine's device list.
//! Source: IoCreateDevice, IoAttachDeviceToDeviceStack, IoGetRelatedDeviceObject; rules NT-M-12, NT-M-13, NT-T-01.

use crate::system::System;
use nt_abi::io::{DEVICE_OBJECT, DO_DEVICE_INITIALIZING, DRIVER_OBJECT, FILE_OBJECT, VPB};
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::Foreign;
use nt_ex::pool;
use nt_ke::Kernel;
use nt_ob::types::ObjectType;
use nt_ob::{Node, ObjectRef, object};
use std::sync::atomic::{AtomicU64, Ordering};

/// A device object's address.
pub type Device = Foreign<DEVICE_OBJECT>;

/// What IoCreateDevice is asked for.
#[derive(Clone, Debug, Default)]
pub struct DeviceSpec<'a> {
    /// Bytes of device extension.
    pub extension: usize,
    /// A name in the namespace, for instance `\Device\HarddiskVolume1`.
    pub name: Option<&'a str>,
    /// FILE_DEVICE_*.
    pub kind: u32,
    /// FILE_DEVICE_SECURE_OPEN and its like.
    pub characteristics: u32,
}

/// IoCreateDevice.
pub fn create(
    kernel: &Kernel,
    driver: Foreign<DRIVER_OBJECT>,
    spec: &DeviceSpec<'_>,
) -> NtResult<ObjectRef<DEVICE_OBJECT>> {
    let system = System::of(kernel);
    let extension = spec.extension.next_multiple_of(16);
    let made = object::create::<DEVICE_OBJECT>(ObjectType::Device, DEVICE_OBJECT::SIZE + extension, kernel.id())?;
    let device = made.body();
    device.set(DEVICE_OBJECT::Type, 3);
    device.set(DEVICE_OBJECT::Size, (DEVICE_OBJECT::SIZE + spec.extension) as u16);
    device.set_ptr(DEVICE_OBJECT::DriverObject, Some(driver));
    device.set(DEVICE_OBJECT::Flags, DO_DEVICE_INITIALIZING);
    device.set(DEVICE_OBJECT::Characteristics, spec.characteristics);
    device.set(DEVICE_OBJECT::DeviceType, spec.kind);
    device.set(DEVICE_OBJECT::StackSize, 1);
    if spec.extension != 0 {
        device.set_ptr(DEVICE_OBJECT::DeviceExtension, Some(device.following::<Bytes>()));
    }
    if let Some(name) = spec.name {
        system.namespace.insert(name, Node::Object(made.clone().retype(), ObjectType::Device))?;
    }
    device.set_ptr(DEVICE_OBJECT::NextDevice, driver.ptr(DRIVER_OBJECT::DeviceObject));
    driver.set_ptr(DRIVER_OBJECT::DeviceObject, Some(device));
    system.devices.lock().push(made.clone());
    Ok(made)
}

/// IoDeleteDevice: takes the device from its driver's list and from the namespace.
pub fn delete(kernel: &Kernel, device: Device, name: Option<&str>) {
    let system = System::of(kernel);
    if let Some(name) = name {
        let _gone = system.namespace.remove(name);
    } else {
        system.namespace.remove_object(device.view());
    }
    if let Some(driver) = device.ptr(DEVICE_OBJECT::DriverObject) {
        let mut at = driver.ptr(DRIVER_OBJECT::DeviceObject);
        if at == Some(device) {
            driver.set_ptr(DRIVER_OBJECT::DeviceObject, device.ptr(DEVICE_OBJECT::NextDevice));
        }
        while let Some(each) = at {
            let next = each.ptr(DEVICE_OBJECT::NextDevice);
            if next == Some(device) {
                each.set_ptr(DEVICE_OBJECT::NextDevice, device.ptr(DEVICE_OBJECT::NextDevice));
            }
            at = next;
        }
    }
    let gone: Vec<_> = {
        let mut devices = system.devices.lock();
        let (gone, kept) = std::mem::take(&mut *devices).into_iter().partition(|each| each.body() == device);
        *devices = kept;
        gone
    };
    drop(gone);
}

/// IoGetAttachedDevice: the top of the stack that `device` is in.
#[must_use]
pub fn top_of_stack(device: Device) -> Device {
    let mut top = device;
    while let Some(above) = top.ptr(DEVICE_OBJECT::AttachedDevice) {
        top = above;
    }
    top
}

/// Changes of who stands in device stacks, of all machines: what was found out before one may not hold after it.
static CHANGES: AtomicU64 = AtomicU64::new(1);

/// Returns a number that changes whenever [`is_paging_seen`] may answer otherwise.
#[inline]
#[must_use]
pub fn changes() -> u64 {
    CHANGES.load(Ordering::Acquire)
}

/// Notes that [`is_paging_seen`] may answer otherwise from now on.
pub fn note_change() {
    CHANGES.fetch_add(1, Ordering::AcqRel);
}

/// Whether a driver above `device` would see a paging request on its way there. A file system whose medium needs none may
/// ask, and leave them out.
#[must_use]
pub fn is_paging_seen(device: Device) -> bool {
    let mut above = device.ptr(DEVICE_OBJECT::AttachedDevice);
    while let Some(at) = above {
        let driver = at.ptr(DEVICE_OBJECT::DriverObject);
        let seen = driver.and_then(|driver| crate::driver::with_native(driver, |native| native.sees_paging(at)));
        if seen.unwrap_or(true) {
            return true;
        }
        above = at.ptr(DEVICE_OBJECT::AttachedDevice);
    }
    false
}

/// IoAttachDeviceToDeviceStack: returns the former top, now below `new` (NT-M-12, NT-M-13).
pub fn attach(new: Device, target: Device) -> NtResult<Device> {
    let below = top_of_stack(target);
    if below.get(DEVICE_OBJECT::Flags) & DO_DEVICE_INITIALIZING != 0 {
        return NtStatus::NO_SUCH_DEVICE.fail();
    }
    new.set(DEVICE_OBJECT::StackSize, below.get(DEVICE_OBJECT::StackSize) + 1);
    new.set(DEVICE_OBJECT::AlignmentRequirement, below.get(DEVICE_OBJECT::AlignmentRequirement));
    new.set(DEVICE_OBJECT::SectorSize, below.get(DEVICE_OBJECT::SectorSize));
    below.set_ptr(DEVICE_OBJECT::AttachedDevice, Some(new));
    note_change();
    Ok(below)
}

/// IoDetachDevice: clears what is attached to `below`.
pub fn detach(below: Device) {
    below.set_ptr(DEVICE_OBJECT::AttachedDevice, None);
    note_change();
}

/// IoGetRelatedDeviceObject: the top of the stack on the mounted volume, or on the device opened (NT-M-12).
#[must_use]
pub fn related(file: Foreign<FILE_OBJECT>) -> Option<Device> {
    base(file).map(top_of_stack)
}

/// The top of the stack that an open of `device` goes to: of the volume mounted on it, or its own.
#[must_use]
pub fn mounted_on(device: Device) -> Device {
    let volume = device.ptr(DEVICE_OBJECT::Vpb).and_then(|vpb| vpb.ptr(VPB::DeviceObject));
    top_of_stack(volume.unwrap_or(device))
}

/// IoGetBaseFileSystemDeviceObject: the bottom of that stack.
#[must_use]
pub fn base(file: Foreign<FILE_OBJECT>) -> Option<Device> {
    let opened = file.ptr(FILE_OBJECT::DeviceObject)?;
    let of_vpb = |vpb: Foreign<VPB>| vpb.ptr(VPB::DeviceObject);
    if let Some(volume) = file.ptr(FILE_OBJECT::Vpb).and_then(of_vpb) {
        return Some(volume);
    }
    Some(opened)
}

/// Binds a file system's volume device to a storage device: what a mount does.
pub fn mount(storage: Device, volume: Device, serial: u32, label: &str) -> NtResult<Foreign<VPB>> {
    let vpb = pool::zeroed::<VPB>(pool::tag(b"Vpb ")).ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    vpb.set(VPB::Type, 10);
    vpb.set(VPB::Size, VPB::SIZE as i16);
    vpb.set(VPB::Flags, 1);
    vpb.set_ptr(VPB::DeviceObject, Some(volume));
    vpb.set_ptr(VPB::RealDevice, Some(storage));
    vpb.set(VPB::SerialNumber, serial);
    let units: Vec<u8> = label.encode_utf16().take(32).flat_map(u16::to_le_bytes).collect();
    vpb.set(VPB::VolumeLabelLength, units.len() as u16);
    let _label = vpb.region().sub(VPB::VolumeLabel.offset(), units.len()).write_from(&units);
    storage.set_ptr(DEVICE_OBJECT::Vpb, Some(vpb));
    volume.set_ptr(DEVICE_OBJECT::Vpb, Some(vpb));
    Ok(vpb)
}

/// Clears DO_DEVICE_INITIALIZING: the device can be opened and attached to.
pub fn ready(device: Device) {
    device.and32(DEVICE_OBJECT::Flags, !DO_DEVICE_INITIALIZING);
}
