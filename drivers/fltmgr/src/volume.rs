//! Volumes: the device on each volume's stack, and the instances in order.
//!
//! Room: drivers/fltmgr. IRQL: reading <= DISPATCH_LEVEL. Locks: the list of instances, for a copy of a pointer.
//! Source: "Filter manager concepts"; rules FLT-I-03, FLT-I-14.

use crate::context;
use crate::dispatch::FltDriver;
use crate::files::{self, Files};
use crate::filter::{FltMgr, Instance, Opaque, Shared, bind, opaque};
use crate::teardown::Pended;
use nt_abi::Bytes;
use nt_abi::NtResult;
use nt_abi::flt::FLTFL_INSTANCE_SETUP_NEWLY_MOUNTED_VOLUME;
use nt_abi::io::{DEVICE_OBJECT, FILE_OBJECT, IRP_MJ_CLOSE, IRP_MJ_CREATE, IRP_MJ_SET_INFORMATION};
use nt_cell::{Foreign, Slab};
use nt_io::device::{self, Device, DeviceSpec};
use nt_io::driver;
use nt_ke::{Kernel, Mutex};
use nt_ob::ObjectRef;
use nt_ob::object;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, Weak};

/// A major among all: those of packets stand first, the others (0xEC and up) behind them; only OPERATION_END (0x80), which nobody
/// calls, shares a bit.
const fn bit(major: u8) -> u64 {
    1 << (major & 63)
}

/// What a request needs to pass a volume that no filter looks at: read without a count and without a lock.
pub(crate) struct Gate {
    lower: OnceLock<Device>,
    majors: AtomicU64,
    /// Whether some instance registered for paging reads or writes.
    paging: AtomicBool,
    /// What is remembered of file objects.
    pub(crate) files: Files,
}

impl Gate {
    /// Returns whether a request may pass without a look: no filter wants it, and it ends nothing that we remember.
    #[inline]
    pub(crate) fn is_open_for(&self, major: u8) -> bool {
        let ours = matches!(major, IRP_MJ_CREATE | IRP_MJ_CLOSE | IRP_MJ_SET_INFORMATION);
        !self.wants(major) && !(ours && (self.files.any() || files::aiming()))
    }

    /// Returns the device below ours.
    #[inline]
    pub(crate) fn lower(&self) -> Option<Device> {
        self.lower.get().copied()
    }

    /// Returns whether some instance would see a paging request.
    pub(crate) fn sees_paging(&self) -> bool {
        self.paging.load(Ordering::Acquire)
    }

    /// Returns whether some instance registered for a major.
    #[inline]
    pub(crate) fn wants(&self, major: u8) -> bool {
        self.majors.load(Ordering::Relaxed) & bit(major) != 0
    }
}

/// A volume that the Filter Manager stands on.
pub struct Volume {
    name: String,
    pub(crate) device: Device,
    pub(crate) lower: Device,
    /// The file system's own device.
    pub(crate) base: Device,
    pub(crate) object: ObjectRef<Bytes>,
    instances: Shared<Arc<Instance>>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) contexts: Mutex<context::Links>,
    /// The tables of contexts on streams and files; one is made at a time.
    pub(crate) streams: Mutex<Vec<Weak<context::Table>>>,
    pub(crate) making: Mutex<()>,
    pub(crate) pended: Pended,
    gone: AtomicBool,
}

static VOLUMES: LazyLock<Slab<Arc<Volume>>> = LazyLock::new(Slab::new);

/// Returns the volume of a device of ours.
pub(crate) fn of_device(device: Device) -> Option<Arc<Volume>> {
    VOLUMES.get(object::native_key(device)).map(|entry| Arc::clone(&entry))
}

impl Volume {
    /// Attaches to a mounted volume's device and lets every started filter attach.
    pub fn attach(kernel: &Kernel, manager: &FltMgr, volume_device: Device, name: &str) -> NtResult<Arc<Self>> {
        let driver_name = format!("\\FileSystem\\FltMgr{}", name.rsplit('\\').next().unwrap_or(name));
        let gate = Arc::new(Gate {
            lower: OnceLock::new(),
            majors: AtomicU64::new(0),
            paging: AtomicBool::new(false),
            files: Files::default(),
        });
        let driver = driver::create_native(kernel, &driver_name, Arc::new(FltDriver::new(Arc::clone(&gate))))?;
        let spec = DeviceSpec { kind: volume_device.get(DEVICE_OBJECT::DeviceType), ..DeviceSpec::default() };
        let made = device::create(kernel, driver.body(), &spec)?.body();
        made.set(DEVICE_OBJECT::Flags, volume_device.get(DEVICE_OBJECT::Flags) | nt_abi::io::DO_DEVICE_INITIALIZING);
        let lower = device::attach(made, volume_device)?;
        let lower = *gate.lower.get_or_init(|| lower);
        let volume = Arc::new(Self {
            name: name.to_owned(),
            device: made,
            lower,
            base: volume_device,
            object: opaque(kernel.id())?,
            instances: Mutex::new(Arc::new(Vec::new())),
            gate,
            contexts: Mutex::default(),
            streams: Mutex::default(),
            making: Mutex::default(),
            pended: Pended::default(),
            gone: AtomicBool::new(false),
        });
        bind(&volume.object, Opaque::Volume(Arc::clone(&volume)));
        object::set_native_key(made, VOLUMES.insert(Arc::clone(&volume)));
        device::ready(made);
        manager.volumes.write().push(Arc::clone(&volume));
        for filter in manager.filters().iter().filter(|filter| filter.started.load(Ordering::Acquire)) {
            manager.attach_automatically(kernel, filter, &volume, FLTFL_INSTANCE_SETUP_NEWLY_MOUNTED_VOLUME);
        }
        Ok(volume)
    }

    /// Finds the volume that a file object is on.
    #[must_use]
    pub fn of_file(kernel: &Kernel, file: Foreign<FILE_OBJECT>) -> Option<Arc<Self>> {
        let top = device::related(file)?;
        let volumes = FltMgr::of(kernel).ok()?.volumes();
        volumes.into_iter().find(|volume| device::top_of_stack(volume.device) == top)
    }

    /// Returns the volume's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the opaque pointer.
    #[must_use]
    pub fn pointer(&self) -> Foreign<Bytes> {
        self.object.body()
    }

    /// Returns the instances, highest first.
    #[must_use]
    pub fn instances(&self) -> Arc<Vec<Arc<Instance>>> {
        Arc::clone(&self.instances.lock())
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Instance>>)) {
        let mut instances = self.instances.lock();
        let mut list = Vec::clone(&instances);
        change(&mut list);
        list.sort_by(|a, b| b.altitude.cmp(&a.altitude));
        let mut majors = 0;
        let skips = nt_abi::flt::FLTFL_OPERATION_REGISTRATION_SKIP_PAGING_IO;
        let paging = list.iter().any(|instance| {
            [nt_abi::io::IRP_MJ_READ, nt_abi::io::IRP_MJ_WRITE]
                .iter()
                .any(|&major| instance.filter.operations[usize::from(major)].is_some_and(|one| one.flags & skips == 0))
        });
        for instance in &list {
            let operations = (0..=u8::MAX).zip(instance.filter.operations.iter());
            majors |=
                operations.filter(|(_, operation)| operation.is_some()).fold(0, |all, (major, _)| all | bit(major));
        }
        *instances = Arc::new(list);
        self.gate.majors.store(majors, Ordering::Relaxed);
        self.gate.paging.store(paging, Ordering::Release);
        nt_io::device::note_change();
    }

    pub(crate) fn insert(&self, instance: Arc<Instance>) {
        self.change(|list| list.push(instance));
    }

    pub(crate) fn remove(&self, instance: &Arc<Instance>) {
        self.change(|list| list.retain(|each| !Arc::ptr_eq(each, instance)));
    }

    /// Is the volume dismounted?
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(crate) fn forget(&self) {
        self.gone.store(true, Ordering::Release);
        device::detach(self.lower);
        VOLUMES.remove(object::native_key(self.device));
    }
}
