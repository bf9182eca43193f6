//! Sending a packet to a driver.
//!
//! Room: ntos/io. IRQL: <= DISPATCH_LEVEL. Locks: none. Source: IoCallDriver; rule NT-M-04, NT-P-05.

use crate::device::Device;
use crate::driver::{self, OwnedIrp};
use crate::irp::{self, Irp};
use nt_abi::NtStatus;
use nt_abi::io::{DEVICE_OBJECT, DRIVER_OBJECT, IO_STACK_LOCATION, IRP, IRP_MJ_POWER};
use nt_cell::callout;

/// IoCallDriver: moves to the next location, names the device in it, calls its driver; returns what that returns.
///
/// # Panics
/// When no location is left (bug check 0x35 NO_MORE_IRP_STACK_LOCATIONS), or on a device without a driver.
pub fn call_driver(device: Device, packet: Irp) -> NtStatus {
    let _sending = crate::settle::Sending::enter();
    assert!(
        packet.get(IRP::CurrentLocation) > 1,
        "bug check 0x35 NO_MORE_IRP_STACK_LOCATIONS: IRP {:#x} sent to device {:#x}",
        packet.addr(),
        device.addr()
    );
    irp::advance(packet, -1);
    let stack = irp::current(packet);
    stack.set_ptr(IO_STACK_LOCATION::DeviceObject, Some(device));
    let driver = device.ptr(DEVICE_OBJECT::DriverObject).expect("a device without a driver object");
    let major = usize::from(stack.get(IO_STACK_LOCATION::MajorFunction).min(27));
    let code = driver.code(DRIVER_OBJECT::MajorFunction.index(major)).unwrap_or_else(crate::exports::invalid_request);
    let _power = (major == usize::from(IRP_MJ_POWER)).then(crate::verify::in_power_irp);
    if code == driver::native_dispatch()
        && let Some(status) =
            driver::with_native(driver, |native| native.dispatch(device, OwnedIrp::arrived(packet)).status())
    {
        return status;
    }
    match callout::call(code, &[device.addr(), packet.addr()]) {
        Ok(status) => NtStatus(status as u32),
        Err(raised) => crate::exports::dispatch_raised(driver, major, &raised),
    }
}
