//! What callers of the services must keep, checked: IRQL, APCs, handles of the right process, power requests.
//!
//! Room: ntos/io. Called by: `rw`, `send`. IRQL: any. Locks: none. Rules NT-E-01, NT-E-04, NT-E-07, NT-C-09, NT-C-17,
//! NT-K-11, NT-M-18.
//! Source: ZwWriteFile page (requirements and remarks), "Disabling APCs". The checks run while the machine's verifier is on
//! (`nt_ke::Kernel::verify`); what cannot go on without a remedy is found also without it. A finding goes to the machine's
//! observer and the call goes on.

use crate::device::Device;
use crate::rw::{Direction, fast_routine};
use crate::system::System;
use nt_abi::NtStatus;
use nt_abi::io::{DEVICE_OBJECT, DRIVER_OBJECT};
use nt_ke::{Frame, Mode, irql};
use nt_ob::Handle;
use std::cell::Cell;

thread_local! {
    static POWER: Cell<u32> = const { Cell::new(0) };
}

/// A driver of this host thread handles a power request until this value goes.
#[derive(Debug)]
pub struct PowerIrp(());

/// A power request is sent to a driver.
#[must_use]
pub fn in_power_irp() -> PowerIrp {
    POWER.set(POWER.get() + 1);
    PowerIrp(())
}

impl Drop for PowerIrp {
    fn drop(&mut self) {
        POWER.set(POWER.get() - 1);
    }
}

/// A read or write service was called; `notifies` when it has an event, an APC or a context.
#[inline]
pub(crate) fn service_call(frame: &Frame, handle: Handle, notifies: bool) {
    if frame.kernel.verifying() {
        check_call(frame, handle, notifies);
    }
}

#[cold]
fn check_call(frame: &Frame, handle: Handle, notifies: bool) {
    let system = System::of(&frame.kernel);
    let level = irql::current();
    if level != irql::PASSIVE_LEVEL {
        let text = format!("IRQL: the service was called at level {level}, it runs at PASSIVE_LEVEL only");
        system.finding("NT-E-01", "violation", "", &text);
    } else if frame.thread.all_apcs_disabled() {
        system.finding("NT-E-01", "violation", "", "APCs disabled: the service was called inside a guarded region");
    }
    if POWER.get() != 0 {
        let text = "PowerIrpDDis: the service was called while the driver handled a power request";
        system.finding("NT-E-07", "violation", "", text);
    }
    if frame.mode() != Mode::Kernel {
        return;
    }
    if notifies {
        let text = "a driver passed an event, an APC routine or a context: device and intermediate drivers pass none";
        system.finding("NT-C-17", "note", "", text);
    }
    let process = nt_ps::current_process(frame).id();
    if process != nt_ps::process::processes(&frame.kernel).system().id() && !handle.is_kernel() {
        let text = format!(
            "the handle {:#x} is of the table of process {process}: whoever runs there can close or replace it",
            handle.0
        );
        system.finding("NT-E-04", "violation", "", &text);
    }
}

/// NT-C-09: the dispatch routine returned PENDING and completed the packet without a mark.
#[cold]
pub(crate) fn pending_without_mark(frame: &Frame, device: Device) {
    let text = "a dispatch routine returned STATUS_PENDING for a packet that was never marked pending";
    System::of(&frame.kernel).finding("NT-C-09", "violation", &name_of(device), text);
}

/// NT-M-18: the dispatch routine returned another status than that in the packet. That is allowed, and rarely meant.
#[inline]
pub(crate) fn returned(frame: &Frame, device: Device, returned: NtStatus, last: NtStatus) {
    if returned != last && frame.kernel.verifying() {
        let text = format!("a dispatch routine returned {returned} for a packet that it completed with {last}");
        System::of(&frame.kernel).finding("NT-M-18", "note", &name_of(device), &text);
    }
}

/// NT-K-11: the file has a cache map and its driver no routine for the fast path.
#[inline]
pub(crate) fn refused_fast(frame: &Frame, direction: Direction, device: Device) {
    if !frame.kernel.verifying() {
        return;
    }
    let driver = device.ptr(DEVICE_OBJECT::DriverObject);
    if driver.and_then(|driver| fast_routine(direction, driver)).is_none() {
        let text =
            "a file with a cache map, on a device whose driver has no fast I/O routine: each request is a packet";
        System::of(&frame.kernel).finding("NT-K-11", "note", &name_of(device), text);
    }
}

fn name_of(device: Device) -> String {
    let driver = device.ptr(DEVICE_OBJECT::DriverObject);
    driver.map(|driver| nt_rtl::unicode::text(driver.at(DRIVER_OBJECT::DriverName))).unwrap_or_default()
}

/// Special kernel APCs run again as before.
#[derive(Debug)]
pub(crate) struct Recovered<'a>(&'a Frame);

impl Drop for Recovered<'_> {
    fn drop(&mut self) {
        self.0.thread.recover(false);
    }
}

/// NT-E-01: the caller is about to wait for a completion that its own region or IRQL holds back. That is found, and the
/// completion let through.
pub(crate) fn wait_without_apcs(frame: &Frame) -> Option<Recovered<'_>> {
    if !frame.thread.all_apcs_disabled() {
        return None;
    }
    let text = "the call waits for a request whose completion is a special kernel APC, with those disabled: a deadlock";
    System::of(&frame.kernel).finding("NT-E-01", "violation", "", text);
    frame.thread.recover(true);
    Some(Recovered(frame))
}
