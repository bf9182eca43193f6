//! As much of the PnP manager as a driver with AddDevice needs: a device below its own, its start, its removal.
//!
//! Room: ntos/io. Called by: machines that load drivers. Calls: AddDevice, the driver's IRP_MJ_PNP. IRQL: PASSIVE_LEVEL.
//! Locks: none. Source: "AddDevice routine", IRP_MN_START_DEVICE, IRP_MN_REMOVE_DEVICE pages. Not here: resources, buses,
//! queries, rebalancing, power: a driver that needs an answer to them gets NOT_SUPPORTED.

use crate::device::{self, Device, DeviceSpec};
use crate::driver::{self, Answer, NativeDriver, OwnedIrp};
use crate::irp::{self, IoStatus};
use crate::{file, irp::Irp};
use nt_abi::io::{
    DEVICE_OBJECT, DRIVER_EXTENSION, DRIVER_OBJECT, FILE_DEVICE_UNKNOWN, IO_STACK_LOCATION, IRP_MJ_PNP, IRP_MJ_POWER,
    IRP_MN_REMOVE_DEVICE, IRP_MN_START_DEVICE,
};
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Foreign, callout};
use nt_ke::Frame;
use nt_ob::ObjectRef;
use std::sync::Arc;

/// The driver of the devices below.
struct Bus;

impl NativeDriver for Bus {
    fn dispatch(&self, _device: Device, irp: OwnedIrp) -> Answer {
        let stack = irp.stack();
        let minor = stack.get(IO_STACK_LOCATION::MinorFunction);
        match stack.get(IO_STACK_LOCATION::MajorFunction) {
            IRP_MJ_PNP if matches!(minor, IRP_MN_START_DEVICE | IRP_MN_REMOVE_DEVICE) => {
                irp.complete(NtStatus::SUCCESS, 0)
            }
            IRP_MJ_PNP | IRP_MJ_POWER => {
                let status = irp::status(irp.irp()); // a bus that does not know a request leaves its status
                irp.complete(status.status, status.information)
            }
            _ => irp.complete(NtStatus::INVALID_DEVICE_REQUEST, 0),
        }
    }
}

/// A device that a driver was given by AddDevice.
pub struct Added {
    below: Device,
    bus: ObjectRef<DRIVER_OBJECT>,
}

impl std::fmt::Debug for Added {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Added({:#x})", self.below.addr())
    }
}

fn send(frame: &Frame, below: Device, minor: u8) -> NtStatus {
    let top = device::top_of_stack(below);
    let Ok(packet) = irp::allocate(top.get(DEVICE_OBJECT::StackSize)) else {
        return NtStatus::INSUFFICIENT_RESOURCES;
    };
    prepare(packet, minor);
    file::send_for_result(frame, packet, top).status
}

fn prepare(packet: Irp, minor: u8) {
    irp::set_status(packet, IoStatus::new(NtStatus::NOT_SUPPORTED, 0));
    let stack = irp::next(packet);
    stack.set(IO_STACK_LOCATION::MajorFunction, IRP_MJ_PNP);
    stack.set(IO_STACK_LOCATION::MinorFunction, minor);
}

/// Calls AddDevice with a new device and starts what the driver put on top of it; `None` for a driver without AddDevice.
pub fn add(frame: &Frame, driver: Foreign<DRIVER_OBJECT>, name: &str) -> NtResult<Option<Added>> {
    let extension = driver.ptr(DRIVER_OBJECT::DriverExtension);
    let Some(code) = extension.and_then(|extension| extension.code(DRIVER_EXTENSION::AddDevice)) else {
        return Ok(None);
    };
    let kernel = &frame.kernel;
    let bus = driver::create_native(kernel, &format!("\\Driver\\NtioBus.{name}"), Arc::new(Bus))?;
    let spec = DeviceSpec { kind: FILE_DEVICE_UNKNOWN, ..DeviceSpec::default() };
    let below = device::create(kernel, bus.body(), &spec)?.body();
    device::ready(below);
    let added = Added { below, bus };
    let status = match callout::call(code, &[driver.addr(), below.addr()]) {
        Ok(status) => NtStatus(status as u32),
        Err(raised) => raised.status,
    };
    if status.is_error() {
        discard(frame, added);
        return status.fail();
    }
    let status = send(frame, below, IRP_MN_START_DEVICE);
    if status.is_error() {
        remove(frame, added);
        return status.fail();
    }
    Ok(Some(added))
}

/// Removes the device: IRP_MN_REMOVE_DEVICE, on which the driver detaches and deletes its own.
pub fn remove(frame: &Frame, added: Added) {
    let _removed = send(frame, added.below, IRP_MN_REMOVE_DEVICE);
    discard(frame, added);
}

fn discard(frame: &Frame, added: Added) {
    device::delete(&frame.kernel, added.below, None);
    driver::remove(&frame.kernel, &added.bus);
}
