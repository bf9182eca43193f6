//! The I/O manager's state of one machine.
//!
//! Room: ntos/io. IRQL: PASSIVE_LEVEL, but for the observer. Locks: device list.

use crate::device;
use crate::driver::{self, NativeDriver};
use crate::irp::Irp;
use crate::observe::{Observer, Request, SharedObserver};
use nt_abi::flt::{IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION, IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION};
use nt_abi::io::{DEVICE_OBJECT, DRIVER_OBJECT, FILE_OBJECT, VPB};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;
use nt_ke::kernel::Slot;
use nt_ke::{Kernel, Mutex, RwLock};
use nt_ob::{Namespace, ObjectRef};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

/// How drivers that may choose complete their requests (house rule 14).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AsyncPolicy {
    /// In the caller, not marked pending (the form before Windows Vista).
    Inline,
    /// Marked pending, final when the call returns (NT-C-13).
    #[default]
    Pend,
    /// Marked pending, completed by a worker thread.
    Worker,
    /// As `Worker`, at DISPATCH_LEVEL, as the interrupt of a device would (FLT-W-30).
    Dispatch,
}

/// The I/O manager's state of one machine.
pub struct System {
    /// The names.
    pub namespace: Arc<Namespace>,
    /// Service keys of drivers.
    pub registry: crate::registry::Registry,
    /// How volumes complete writes on asynchronous handles.
    policy: AtomicU8,
    pub(crate) natives: boxcar::Vec<Arc<dyn NativeDriver>>,
    pub(crate) drivers: Mutex<Vec<ObjectRef<DRIVER_OBJECT>>>,
    pub(crate) devices: Mutex<Vec<ObjectRef<DEVICE_OBJECT>>>,
    observing: AtomicBool,
    observer: RwLock<Option<SharedObserver>>,
    notices: RwLock<Option<Arc<dyn Notices>>>,
    inspector: OnceLock<fn(&System, Irp)>,
    pub(crate) completions: crate::twice::Completions,
}

/// What the cache and the memory manager do with a file, where that is no IRP: an FS-filter operation (NT-CC-41).
#[derive(Clone, Copy, Debug)]
pub struct Notice {
    /// IRP_MJ_ACQUIRE_FOR_CC_FLUSH and its like.
    pub major: u8,
    /// The words of its FLT_PARAMETERS.
    pub parameters: [u64; 2],
}

/// Who tells filters of FS-filter operations.
pub trait Notices: Send + Sync {
    /// Runs the callbacks on `file`, in this thread; what a filter completed the operation with, else SUCCESS.
    fn notify(&self, file: Foreign<FILE_OBJECT>, notice: Notice) -> NtStatus;
}

impl System {
    /// Makes the room's state and installs it, and the namespace, in the kernel.
    #[must_use]
    pub fn install(kernel: &Kernel) -> Arc<Self> {
        let namespace = Arc::new(Namespace::new());
        kernel.install(Slot::Ob, Arc::clone(&namespace));
        let system = Arc::new(Self {
            namespace,
            registry: crate::registry::Registry::default(),
            policy: AtomicU8::new(AsyncPolicy::default() as u8),
            natives: boxcar::Vec::new(),
            drivers: Mutex::new(Vec::new()),
            devices: Mutex::new(Vec::new()),
            observing: AtomicBool::new(false),
            observer: RwLock::new(None),
            notices: RwLock::new(None),
            inspector: OnceLock::new(),
            completions: crate::twice::Completions::default(),
        });
        kernel.install(Slot::Io, Arc::clone(&system));
        crate::file::register_types();
        system
    }

    /// Returns the room's state of a machine.
    #[must_use]
    pub fn of(kernel: &Kernel) -> &Self {
        kernel.room::<Self>(Slot::Io)
    }

    /// Returns how volumes complete writes on asynchronous handles.
    #[must_use]
    pub fn policy(&self) -> AsyncPolicy {
        const ALL: [AsyncPolicy; 4] =
            [AsyncPolicy::Inline, AsyncPolicy::Pend, AsyncPolicy::Worker, AsyncPolicy::Dispatch];
        ALL[usize::from(self.policy.load(Ordering::Relaxed)) & 3]
    }

    /// Chooses how volumes complete writes on asynchronous handles.
    pub fn set_policy(&self, policy: AsyncPolicy) {
        self.policy.store(policy as u8, Ordering::Relaxed);
    }

    /// Registers the listener.
    pub fn observe(&self, observer: Option<SharedObserver>) {
        self.observing.store(observer.is_some(), Ordering::Release);
        *self.observer.write() = observer;
    }

    /// Runs `body` with the listener, if there is one.
    pub fn observer<R>(&self, body: impl FnOnce(&dyn Observer) -> R) -> Option<R> {
        if !self.observing.load(Ordering::Relaxed) {
            return None;
        }
        let observer = self.observer.read().clone()?;
        Some(body(&*observer))
    }

    /// Registers who looks at each packet of a service before its buffers and MDLs go, while somebody listens.
    pub fn inspect(&self, inspector: fn(&Self, Irp)) {
        let _there = self.inspector.set(inspector);
    }

    pub(crate) fn inspected(&self, packet: Irp) {
        if let Some(inspector) = self.inspector.get().filter(|_| self.observing.load(Ordering::Relaxed)) {
            inspector(self, packet);
        }
    }

    /// Tells the listener that a request starts; 0 when nobody listens. The rules that this thread's service meets are its.
    pub fn begin(&self, request: impl FnOnce() -> Request) -> u64 {
        let Some(span) = self.observer(|observer| observer.begin(&request())) else { return 0 };
        if nt_trace::asked() {
            nt_trace::name_span(span);
        }
        span
    }

    /// Tells the listener that a request ended.
    pub fn end(&self, span: u64, status: NtStatus, information: u64) {
        if span != 0 {
            self.observer(|observer| observer.end(span, status, information));
            if nt_trace::asked() && nt_trace::span() == span {
                nt_trace::name_span(0);
            }
        }
    }

    /// Registers who tells filters of FS-filter operations.
    pub fn set_notices(&self, notices: Option<Arc<dyn Notices>>) {
        *self.notices.write() = notices;
    }

    /// Tells filters of an FS-filter operation that has no parameters and may not fail.
    pub fn notify_filters(&self, file: Foreign<FILE_OBJECT>, major: u8) {
        let _may_not_fail = self.ask_filters(file, Notice { major, parameters: [0; 2] });
    }

    /// Tells filters of an FS-filter operation; returns what one of them made of it.
    pub fn ask_filters(&self, file: Foreign<FILE_OBJECT>, notice: Notice) -> NtStatus {
        let notices = self.notices.read().clone();
        notices.map_or(NtStatus::SUCCESS, |notices| notices.notify(file, notice))
    }

    /// Runs `body` as the creation of a section on `file` (NT-CC-64): filters are asked, then the file system keeps the sizes of
    /// the file still. Whatever a filter fails it with, it fails with INSUFFICIENT_RESOURCES, the one error that is allowed.
    pub fn hold_for_section<R>(
        &self,
        file: Foreign<FILE_OBJECT>,
        protection: u32,
        body: impl FnOnce() -> NtResult<R>,
    ) -> NtResult<R> {
        const SYNC_TYPE_CREATE_SECTION: u64 = 1;
        let words = [SYNC_TYPE_CREATE_SECTION | u64::from(protection) << 32, 0];
        let acquire = Notice { major: IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION, parameters: words };
        if self.ask_filters(file, acquire).is_error() {
            return NtStatus::INSUFFICIENT_RESOURCES.fail();
        }
        let (mut body, mut result) = (Some(body), None);
        let mut once = || result = body.take().map(|body| body());
        let driver = device::base(file).and_then(|base| base.ptr(DEVICE_OBJECT::DriverObject));
        let held = driver.and_then(|driver| driver::with_native(driver, |fs| fs.hold_for_section(file, &mut once)));
        if held.is_none() {
            once();
        }
        self.notify_filters(file, IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION);
        result.unwrap_or_else(|| NtStatus::INVALID_DEVICE_REQUEST.fail())
    }

    /// Reports a broken rule.
    pub fn finding(&self, rule: &str, severity: &str, driver: &str, message: &str) {
        nt_trace::meet_named(rule);
        self.observer(|observer| observer.finding(rule, severity, driver, message));
    }

    /// Deletes devices and drivers that the machine's own rooms made: the machine is shut down.
    pub fn shutdown(&self) {
        self.namespace.clear();
        let devices = std::mem::take(&mut *self.devices.lock());
        for device in &devices {
            if let Some(vpb) = device.ptr(DEVICE_OBJECT::Vpb)
                && vpb.ptr(VPB::RealDevice) == Some(device.body())
            {
                nt_ex::pool::free(vpb);
            }
        }
        drop(devices);
        let drivers = std::mem::take(&mut *self.drivers.lock());
        drop(drivers);
        self.observe(None);
        self.set_notices(None);
    }
}
