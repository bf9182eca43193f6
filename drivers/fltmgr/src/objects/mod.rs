//! What can be asked of filters, volumes and instances: lists, neighbours, properties.
//!
//! Room: drivers/fltmgr. Called by: `exports`, filters written in Rust. IRQL: <= APC_LEVEL. Locks: the lists, for a copy.
//! Source: FltEnumerateInstances, FltGetVolumeProperties, FltGetUpperInstance pages; rules FLT-G-12, FLT-I-12 to FLT-I-14.

pub mod exports;

use crate::filter::{Filter, FltMgr, Instance};
use crate::volume::Volume;
use nt_abi::io::{DEVICE_OBJECT, DRIVER_OBJECT, VPB};
use nt_abi::{NtResult, NtStatus};
use nt_io::device::Device;
use nt_ke::Kernel;
use std::sync::Arc;

/// Where an instance is looked for.
#[derive(Clone, Copy)]
pub enum Neighbour<'a> {
    /// The highest of a volume.
    Top(&'a Arc<Volume>),
    /// The lowest.
    Bottom(&'a Arc<Volume>),
    /// The next one above.
    Above(&'a Arc<Instance>),
    /// The next one below.
    Below(&'a Arc<Instance>),
}

/// FltGetTopInstance, FltGetBottomInstance, FltGetUpperInstance, FltGetLowerInstance (FLT-G-12).
pub fn neighbour(which: Neighbour<'_>) -> NtResult<Arc<Instance>> {
    let found = match which {
        Neighbour::Top(volume) => volume.instances().first().cloned(),
        Neighbour::Bottom(volume) => volume.instances().last().cloned(),
        Neighbour::Above(own) | Neighbour::Below(own) => {
            let volume = own.volume.upgrade().ok_or(NtStatus::FLT_DELETING_OBJECT.error())?;
            let all = volume.instances();
            if matches!(which, Neighbour::Above(_)) {
                all.iter().rev().find(|each| each.altitude > own.altitude).cloned()
            } else {
                all.iter().find(|each| each.altitude < own.altitude).cloned()
            }
        }
    };
    found.ok_or(NtStatus::NO_MORE_ENTRIES.error())
}

/// The instances of a volume, of a filter, of both, or all.
#[must_use]
pub fn instances(manager: &FltMgr, volume: Option<&Arc<Volume>>, filter: Option<&Arc<Filter>>) -> Vec<Arc<Instance>> {
    let on = |each: &Arc<Volume>| volume.is_none_or(|volume| Arc::ptr_eq(volume, each));
    let of = |each: &Arc<Instance>| filter.is_none_or(|filter| Arc::ptr_eq(filter, each.filter()));
    let volumes = manager.volumes();
    let all = volumes.iter().filter(|volume| on(volume)).flat_map(|volume| volume.instances().to_vec());
    all.filter(of).collect()
}

/// The storage device that the volume is mounted on: FltGetDiskDeviceObject.
#[must_use]
pub fn disk(volume: &Volume) -> Option<Device> {
    volume.base.ptr(DEVICE_OBJECT::Vpb).and_then(|vpb| vpb.ptr(VPB::RealDevice))
}

/// FLT_VOLUME_PROPERTIES without the strings' places.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Properties {
    /// DeviceType, DeviceCharacteristics, DeviceObjectFlags, AlignmentRequirement.
    pub device: [u32; 4],
    /// SectorSize.
    pub sector: u16,
    /// FileSystemDriverName, FileSystemDeviceName, RealDeviceName.
    pub names: [String; 3],
}

/// FltGetVolumeProperties. Our file systems have no control device, so FileSystemDeviceName is empty.
#[must_use]
pub fn properties(volume: &Volume) -> Properties {
    let real = disk(volume).unwrap_or(volume.base);
    let driver = volume.base.ptr(DEVICE_OBJECT::DriverObject);
    let driver = driver.map(|driver| nt_rtl::unicode::text(driver.at(DRIVER_OBJECT::DriverName))).unwrap_or_default();
    Properties {
        device: [
            real.get(DEVICE_OBJECT::DeviceType),
            real.get(DEVICE_OBJECT::Characteristics),
            real.get(DEVICE_OBJECT::Flags),
            real.get(DEVICE_OBJECT::AlignmentRequirement),
        ],
        sector: real.get(DEVICE_OBJECT::SectorSize),
        names: [driver, String::new(), volume.name().to_owned()],
    }
}

/// FltUnloadFilter by name.
pub fn unload(kernel: &Kernel, name: &str) -> NtResult<()> {
    let manager = FltMgr::of(kernel)?;
    manager.unload(&manager.filter_named(name)?)
}
