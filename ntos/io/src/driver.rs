//! Driver objects, and drivers written in Rust.
//!
//! Room: ntos/io. IRQL: dispatch as the request's. Locks: none across a driver.
//! Source: DRIVER_OBJECT, FAST_IO_DISPATCH pages; rules NT-T-05, NT-K-02, NT-K-10, NT-M-08, NT-M-18.
//! A native driver has a real DRIVER_OBJECT whose tables point at win64 thunks (`exports`); behind them stands the safe
//! trait of this file. Ownership of a request is a type: a dispatch routine must give its `OwnedIrp` up to get an
//! [`Answer`], so completing twice does not compile.

use crate::device::Device;
use crate::fast::{FastQuery, QueryOpen};
use crate::irp::{self, IoStatus, Irp, Stack};
use crate::system::System;
use crate::{complete, send};
use nt_abi::io::{DRIVER_OBJECT, FILE_OBJECT, IO_STACK_LOCATION, IRP};
use nt_abi::{NtResult, NtStatus};
use nt_cell::{CodePtr, Foreign, Region};
use nt_ex::pool;
use nt_ke::Kernel;
use nt_ob::types::ObjectType;
use nt_ob::{Node, ObjectRef, object};
use std::sync::Arc;

/// What a dispatch routine returns: got only by completing, pending or passing on the request.
#[must_use]
#[derive(Debug)]
pub struct Answer(NtStatus);

impl Answer {
    /// Returns the status that the dispatch routine returns to its caller.
    #[must_use]
    pub const fn status(&self) -> NtStatus {
        self.0
    }
}

/// A request that this driver owns.
#[must_use]
#[derive(Debug)]
pub struct OwnedIrp(Irp);

/// A request that was marked pending and that somebody will complete.
#[must_use]
#[derive(Debug)]
pub struct PendedIrp(Irp);

impl OwnedIrp {
    /// Takes a request that a driver's dispatch routine was called with.
    pub fn arrived(irp: Irp) -> Self {
        Self(irp)
    }
    /// Returns the packet.
    #[must_use]
    pub fn irp(&self) -> Irp {
        self.0
    }
    /// Returns the current stack location.
    #[must_use]
    pub fn stack(&self) -> Stack {
        irp::current(self.0)
    }
    /// Returns the file object of the request.
    #[must_use]
    pub fn file(&self) -> Option<Foreign<FILE_OBJECT>> {
        self.stack().ptr(IO_STACK_LOCATION::FileObject)
    }
    /// Returns whether the requestor is user mode.
    #[must_use]
    pub fn from_user(&self) -> bool {
        self.0.get(IRP::RequestorMode) != 0
    }
    /// Completes the request with a status and Information (NT-M-18).
    pub fn complete(self, status: NtStatus, information: u64) -> Answer {
        irp::set_status(self.0, IoStatus::new(status, information));
        complete::complete_request(self.0);
        Answer(status)
    }
    /// Completes the request with a result; an error has Information 0.
    pub fn finish(self, result: NtResult<(NtStatus, u64)>) -> Answer {
        match result {
            Ok((status, information)) => self.complete(status, information),
            Err(error) => self.complete(error.status(), 0),
        }
    }
    /// Marks the request pending; the dispatch routine returns PENDING.
    pub fn pend(self) -> (PendedIrp, Answer) {
        irp::mark_pending(self.0);
        (PendedIrp(self.0), Answer(NtStatus::PENDING))
    }
    /// Hands the request to the next driver, in this driver's own stack location.
    pub fn skip_to(self, device: Device) -> Answer {
        irp::advance(self.0, 1);
        Answer(send::call_driver(device, self.0))
    }
    /// Gives the packet to code that answers for it by other means; `status` is what the dispatch routine returns.
    pub fn leave(self, status: NtStatus) -> (Irp, Answer) {
        (self.0, Answer(status))
    }
    /// Takes the packet out to send it on with a completion routine; the caller returns the lower driver's status.
    #[must_use]
    pub fn into_irp(self) -> Irp {
        self.0
    }
    /// Makes the answer of a request that [`OwnedIrp::into_irp`] took out.
    pub fn answered(status: NtStatus) -> Answer {
        Answer(status)
    }
}

impl PendedIrp {
    /// Returns the packet.
    #[must_use]
    pub fn irp(&self) -> Irp {
        self.0
    }
    /// Completes the request.
    pub fn complete(self, status: NtStatus, information: u64) {
        irp::set_status(self.0, IoStatus::new(status, information));
        complete::complete_request(self.0);
    }
}

/// A call of a fast I/O routine.
#[derive(Clone, Copy, Debug)]
pub struct FastCall {
    /// The file.
    pub file: Foreign<FILE_OBJECT>,
    /// Where it starts; 0 for KS objects, which have no offset.
    pub offset: i64,
    /// Length in bytes.
    pub length: u32,
    /// May the routine block?
    pub wait: bool,
    /// LockKey.
    pub key: u32,
    /// The caller's buffer.
    pub buffer: Region,
    /// The device called.
    pub device: Device,
}

/// A driver written in Rust.
///
/// What it holds is dropped with the machine, not at unload: a volume or another thing that must go earlier is held weakly.
pub trait NativeDriver: Send + Sync + 'static {
    /// Takes a request.
    fn dispatch(&self, device: Device, irp: OwnedIrp) -> Answer;
    /// The device below, when nobody here looks at fast calls of a major now: such a call may as well go there itself.
    fn fast_goes_to(&self, _major: u8) -> Option<Device> {
        None
    }
    /// FastIoRead: `None` means "not this way".
    fn fast_read(&self, _call: &FastCall) -> Option<IoStatus> {
        None
    }
    /// FastIoWrite: `None` means "not this way".
    fn fast_write(&self, _call: &FastCall) -> Option<IoStatus> {
        None
    }
    /// FastIoQueryBasicInfo, FastIoQueryStandardInfo, FastIoQueryNetworkOpenInfo.
    fn fast_query(&self, _query: &FastQuery) -> Option<IoStatus> {
        None
    }
    /// FastIoQueryOpen, and for the classes of NtQueryInformationByName what PreQueryOpen is for: looks at a file by the
    /// create in a packet, which it does not complete.
    fn query_open(&self, _query: &QueryOpen) -> Option<IoStatus> {
        None
    }
    /// FastIoDeviceControl, with code, input and output.
    fn fast_device_control(&self, _call: &FastControl) -> Option<IoStatus> {
        None
    }
    /// Whether a paging request that passes `device` would be seen by anybody.
    fn sees_paging(&self, _device: Device) -> bool {
        true
    }
    /// AcquireFileForNtCreateSection: runs `body` while the sizes of the file stand still.
    fn hold_for_section(&self, _file: Foreign<FILE_OBJECT>, body: &mut dyn FnMut()) {
        body();
    }
    /// Whether the driver has a fast I/O table at all.
    fn has_fast_io(&self) -> bool {
        false
    }
}

/// A call of FastIoDeviceControl.
#[derive(Clone, Copy, Debug)]
pub struct FastControl {
    /// The file.
    pub file: Foreign<FILE_OBJECT>,
    /// May the routine block?
    pub wait: bool,
    /// The input buffer's address and length.
    pub input: (u64, u32),
    /// The output buffer's address and length.
    pub output: (u64, u32),
    /// The control code.
    pub code: u32,
    /// The device called.
    pub device: Device,
}

/// Runs `body` with the Rust driver behind a driver object of this thread's machine, if it is one.
///
/// Drivers stay in the machine's table until the machine goes, so that a request takes no count and no lock to reach
/// one; the number in the object header finds a driver or nothing, never freed memory.
pub fn with_native<R>(driver: Foreign<DRIVER_OBJECT>, body: impl FnOnce(&dyn NativeDriver) -> R) -> Option<R> {
    let key = usize::try_from(object::native_key(driver)).ok()?.checked_sub(1)?;
    let frame = nt_ke::try_current()?;
    let native = System::of(&frame.kernel).natives.get(key)?;
    Some(body(&**native))
}

/// Makes a driver object with every MajorFunction failing INVALID_DEVICE_REQUEST (NT-T-05).
pub fn create(kernel: &Kernel, name: &str) -> NtResult<ObjectRef<DRIVER_OBJECT>> {
    let made = object::create::<DRIVER_OBJECT>(ObjectType::Driver, DRIVER_OBJECT::SIZE, kernel.id())?;
    let driver = made.body();
    driver.set(DRIVER_OBJECT::Type, 4);
    driver.set(DRIVER_OBJECT::Size, DRIVER_OBJECT::SIZE as i16);
    let extension = pool::allocate(0x50, pool::tag(b"DrvE"), pool::PoolKind::NonPaged);
    let extension = extension.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    extension.view::<irp::u64word>().set(irp::u64word::Value, driver.addr());
    driver.set_ptr(DRIVER_OBJECT::DriverExtension, Some(extension.view()));
    nt_rtl::unicode::store(driver.at(DRIVER_OBJECT::DriverName), name)?;
    for major in 0..28 {
        driver.set_code(DRIVER_OBJECT::MajorFunction.index(major), Some(crate::exports::invalid_request()));
    }
    System::of(kernel).namespace.insert(name, Node::Object(made.clone().retype(), ObjectType::Driver))?;
    System::of(kernel).drivers.lock().push(made.clone());
    Ok(made)
}

/// Makes the driver object of a Rust driver: all majors, and the fast I/O table if it has one, lead to the trait.
pub fn create_native(kernel: &Kernel, name: &str, native: Arc<dyn NativeDriver>) -> NtResult<ObjectRef<DRIVER_OBJECT>> {
    let made = create(kernel, name)?;
    let driver = made.body();
    if native.has_fast_io() {
        let table = crate::fast::native_table()?;
        driver.set_ptr(DRIVER_OBJECT::FastIoDispatch, Some(table));
    }
    for major in 0..28 {
        driver.set_code(DRIVER_OBJECT::MajorFunction.index(major), Some(native_dispatch()));
    }
    object::set_native_key(driver, System::of(kernel).natives.push(native) as u64 + 1);
    Ok(made)
}

/// The address that stands in the tables of Rust drivers.
#[must_use]
pub fn native_dispatch() -> CodePtr {
    crate::exports::native_dispatch()
}

/// Takes a driver's devices and its own name away: it was unloaded, or its DriverEntry failed.
pub fn remove(kernel: &Kernel, driver: &ObjectRef<DRIVER_OBJECT>) {
    while let Some(device) = driver.ptr(DRIVER_OBJECT::DeviceObject) {
        crate::device::delete(kernel, device, None);
    }
    let system = System::of(kernel);
    system.namespace.remove_object(driver.body().view());
    let gone: Vec<_> = {
        let mut drivers = system.drivers.lock();
        let (gone, kept) = std::mem::take(&mut *drivers).into_iter().partition(|each| each.body() == driver.body());
        *drivers = kept;
        gone
    };
    drop(gone);
}

pub(crate) fn delete(driver: Foreign<DRIVER_OBJECT>) {
    let key = object::native_key(driver);
    if let Some(table) = driver.ptr(DRIVER_OBJECT::FastIoDispatch).filter(|_| key != 0) {
        pool::free(table);
    }
    if let Some(extension) = driver.ptr(DRIVER_OBJECT::DriverExtension) {
        pool::free(extension);
    }
    nt_rtl::unicode::release(driver.at(DRIVER_OBJECT::DriverName));
}
