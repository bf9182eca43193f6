//! Filters and instances: registration, start, attach, teardown, unload.
//!
//! Room: drivers/fltmgr. IRQL: PASSIVE_LEVEL. Locks: the lists; none held while a driver's routine runs.
//! Source: FltRegisterFilter, FltStartFiltering, FltUnregisterFilter, FltAttachVolume pages; rules FLT-R-01 to FLT-R-13,
//! FLT-I-03 to FLT-I-10.

use crate::altitude::Altitude;
use crate::context;
use crate::native::MiniFilter;
use crate::volume::Volume;
use nt_abi::flt::{FLT_OPERATION_REGISTRATION, FLT_RELATED_OBJECTS};
use nt_abi::io::DRIVER_OBJECT;
use nt_abi::{Bytes, NtError, NtResult, NtStatus};
use nt_cell::{CodePtr, Foreign, Slab, callout};
use nt_ex::pool;
use nt_io::system::System;
use nt_ke::kernel::Slot;
use nt_ke::{Kernel, Mutex, RwLock};
use nt_ob::ObjectRef;
use nt_ob::object;
use nt_ob::types::ObjectType;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Weak};

/// The Filter Manager's state of one machine.
pub struct FltMgr {
    pub(crate) volumes: RwLock<Vec<Arc<Volume>>>,
    pub(crate) filters: RwLock<Vec<Arc<Filter>>>,
}

/// What a filter gave for one major.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) flags: u32,
    pub(crate) pre: Option<CodePtr>,
    pub(crate) post: Option<CodePtr>,
}

/// The routines of FLT_REGISTRATION.
#[derive(Clone, Copy, Default, Debug)]
pub struct Routines {
    /// FilterUnloadCallback.
    pub unload: Option<CodePtr>,
    /// InstanceSetupCallback.
    pub setup: Option<CodePtr>,
    /// InstanceQueryTeardownCallback.
    pub query_teardown: Option<CodePtr>,
    /// InstanceTeardownStartCallback.
    pub teardown_start: Option<CodePtr>,
    /// InstanceTeardownCompleteCallback.
    pub teardown_complete: Option<CodePtr>,
}

/// A registered filter.
pub struct Filter {
    pub(crate) name: String,
    pub(crate) object: ObjectRef<Bytes>,
    pub(crate) operations: Box<[Option<Operation>; 256]>,
    pub(crate) routines: Routines,
    pub(crate) native: Option<Arc<dyn MiniFilter>>,
    pub(crate) altitude: Altitude,
    pub(crate) instance_name: String,
    pub(crate) started: AtomicBool,
    pub(crate) driver: Option<Foreign<DRIVER_OBJECT>>,
    pub(crate) former_unload: Option<CodePtr>,
    pub(crate) kernel: Weak<Kernel>,
    /// What it may allocate, and what it has allocated.
    pub(crate) contexts: Vec<context::Entry>,
    pub(crate) live: Mutex<Vec<(context::Context, u16)>>,
    /// Its communication ports.
    pub(crate) ports: Mutex<Vec<Arc<crate::port::Server>>>,
    /// FltUnregisterFilter has begun.
    pub(crate) going: AtomicBool,
    /// FLTFL_REGISTRATION_*.
    pub(crate) flags: u32,
    /// It is being unloaded whatever it says.
    pub(crate) mandatory: AtomicBool,
}

/// A filter on a volume.
pub struct Instance {
    pub(crate) filter: Arc<Filter>,
    pub(crate) volume: Weak<Volume>,
    pub(crate) altitude: Altitude,
    pub(crate) name: String,
    pub(crate) object: ObjectRef<Bytes>,
    /// TeardownStart has begun: no new pre callbacks.
    pub(crate) going: AtomicBool,
    /// TeardownComplete is over.
    pub(crate) gone: AtomicBool,
    pub(crate) contexts: Mutex<context::Links>,
    /// Post callbacks that are still to come.
    pub(crate) owed: AtomicU32,
    /// Operations that the filter holds.
    pub(crate) held: AtomicU32,
}

/// What stands behind an opaque pointer of ours.
#[derive(Clone)]
pub(crate) enum Opaque {
    Filter(Arc<Filter>),
    Volume(Arc<Volume>),
    Instance(Arc<Instance>),
}

static OPAQUES: LazyLock<Slab<Opaque>> = LazyLock::new(Slab::new);

/// Makes the object behind an opaque pointer; what it stands for is put in with [`bind`].
pub(crate) fn opaque(machine: u64) -> NtResult<ObjectRef<Bytes>> {
    object::create::<Bytes>(ObjectType::Filter, 0x40, machine)
}

pub(crate) fn bind(object: &ObjectRef<Bytes>, what: Opaque) {
    object::set_native_key(object.body(), OPAQUES.insert(what));
}

pub(crate) fn unbind(object: &ObjectRef<Bytes>) {
    OPAQUES.remove(object::native_key(object.body()));
}

/// Returns what an opaque pointer stands for; `None` for a pointer that is not ours or no longer.
pub(crate) fn look_up(pointer: Foreign<Bytes>) -> Option<Opaque> {
    if object::kind_of(pointer) != Some(ObjectType::Filter) {
        return None;
    }
    OPAQUES.get(object::native_key(pointer)).map(|entry| Opaque::clone(&entry))
}

pub(crate) fn instance_at(pointer: Option<Foreign<Bytes>>) -> Option<Arc<Instance>> {
    match look_up(pointer?)? {
        Opaque::Instance(instance) => Some(instance),
        _ => None,
    }
}

pub(crate) fn filter_at(pointer: Option<Foreign<Bytes>>) -> Option<Arc<Filter>> {
    match look_up(pointer?)? {
        Opaque::Filter(filter) => Some(filter),
        _ => None,
    }
}

impl Instance {
    /// Returns the altitude.
    #[must_use]
    pub fn altitude(&self) -> &Altitude {
        &self.altitude
    }
    /// Returns the filter.
    #[must_use]
    pub fn filter(&self) -> &Arc<Filter> {
        &self.filter
    }
    /// Returns the opaque pointer.
    #[must_use]
    pub fn pointer(&self) -> Foreign<Bytes> {
        self.object.body()
    }
    /// Returns the instance's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Filter {
    /// Returns the filter's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Returns the opaque pointer.
    #[must_use]
    pub fn pointer(&self) -> Foreign<Bytes> {
        self.object.body()
    }
    /// Returns the altitude of the default instance.
    #[must_use]
    pub fn altitude(&self) -> &Altitude {
        &self.altitude
    }
}

/// A table of operations as FLT_OPERATION_REGISTRATION gives it.
pub(crate) fn read_operations(
    first: Option<Foreign<FLT_OPERATION_REGISTRATION>>,
) -> NtResult<Box<[Option<Operation>; 256]>> {
    let mut table: Box<[Option<Operation>; 256]> = Box::new([None; 256]);
    let Some(first) = first else { return Ok(table) };
    for index in 0..256 {
        let entry = first.element(index);
        let major = entry.get(FLT_OPERATION_REGISTRATION::MajorFunction);
        if major == nt_abi::flt::IRP_MJ_OPERATION_END {
            return Ok(table);
        }
        let post = entry.code(FLT_OPERATION_REGISTRATION::PostOperation);
        let refused = matches!(major, 0x16 | 0x18) || (major == nt_abi::io::IRP_MJ_SHUTDOWN && post.is_some());
        if refused {
            return NtStatus::INVALID_PARAMETER.fail(); // FLT-R-07
        }
        table[usize::from(major)] = Some(Operation {
            flags: entry.get(FLT_OPERATION_REGISTRATION::Flags),
            pre: entry.code(FLT_OPERATION_REGISTRATION::PreOperation),
            post,
        });
    }
    NtStatus::INVALID_PARAMETER.fail()
}

/// The type that our volumes have: FLT_FSTYPE_NTFS.
pub(crate) const FLT_FSTYPE_NTFS: u64 = 2;

/// What [`FltMgr::register`] needs.
pub(crate) struct Registration {
    pub(crate) name: String,
    pub(crate) contexts: Vec<context::Entry>,
    pub(crate) operations: Box<[Option<Operation>; 256]>,
    pub(crate) routines: Routines,
    pub(crate) native: Option<Arc<dyn MiniFilter>>,
    pub(crate) altitude: Altitude,
    pub(crate) instance_name: String,
    pub(crate) driver: Option<Foreign<DRIVER_OBJECT>>,
    pub(crate) flags: u32,
}

impl FltMgr {
    /// Makes the room's state and installs it in the kernel.
    #[must_use]
    pub fn install(kernel: &Kernel) -> Arc<Self> {
        let room = Arc::new(Self { volumes: RwLock::new(Vec::new()), filters: RwLock::new(Vec::new()) });
        kernel.install(Slot::Flt, Arc::clone(&room));
        nt_io::System::of(kernel).set_notices(Some(Arc::new(crate::notice::Teller)));
        room
    }

    /// Returns the room's state of a machine; FLT_NOT_INITIALIZED where there is none (FLT-R-04).
    pub fn of(kernel: &Kernel) -> NtResult<Arc<Self>> {
        kernel.try_room::<Self>(Slot::Flt).ok_or(NtStatus::FLT_NOT_INITIALIZED.error())
    }

    /// Returns the registered filters.
    #[must_use]
    pub fn filters(&self) -> Vec<Arc<Filter>> {
        self.filters.read().clone()
    }

    /// Returns the volumes.
    #[must_use]
    pub fn volumes(&self) -> Vec<Arc<Volume>> {
        self.volumes.read().clone()
    }

    pub(crate) fn register(&self, kernel: &Arc<Kernel>, registration: Registration) -> NtResult<Arc<Filter>> {
        let mut filters = self.filters.write();
        if filters.iter().any(|filter| filter.altitude == registration.altitude) {
            return NtStatus::FLT_INSTANCE_ALTITUDE_COLLISION.fail(); // FLT-R-05
        }
        let object = opaque(kernel.id())?;
        let former_unload = registration.driver.and_then(|driver| driver.code(DRIVER_OBJECT::DriverUnload));
        if let Some(driver) = registration.driver {
            driver.set_code(DRIVER_OBJECT::DriverUnload, Some(crate::exports::driver_unload())); // FLT-R-06
        }
        let filter = Arc::new(Filter {
            name: registration.name,
            object,
            operations: registration.operations,
            routines: registration.routines,
            native: registration.native,
            altitude: registration.altitude,
            instance_name: registration.instance_name,
            started: AtomicBool::new(false),
            driver: registration.driver,
            former_unload,
            kernel: Arc::downgrade(kernel),
            contexts: registration.contexts,
            live: Mutex::default(),
            ports: Mutex::default(),
            going: AtomicBool::new(false),
            flags: registration.flags,
            mandatory: AtomicBool::new(false),
        });
        bind(&filter.object, Opaque::Filter(Arc::clone(&filter)));
        filters.push(Arc::clone(&filter));
        Ok(filter)
    }

    /// FltStartFiltering: attaches to every volume; a second call is INVALID_PARAMETER (FLT-R-09).
    pub fn start(&self, kernel: &Kernel, filter: &Arc<Filter>) -> NtResult<()> {
        if filter.started.swap(true, Ordering::AcqRel) {
            return NtStatus::INVALID_PARAMETER.fail();
        }
        for volume in self.volumes() {
            self.attach_automatically(kernel, filter, &volume, 0);
        }
        Ok(())
    }

    /// The attachment of the default instance to one volume (FLT-I-04): a refusal is the filter's right, the report tells.
    pub(crate) fn attach_automatically(&self, kernel: &Kernel, filter: &Arc<Filter>, volume: &Arc<Volume>, flags: u32) {
        let name = filter.instance_name.clone();
        let flags = flags | nt_abi::flt::FLTFL_INSTANCE_SETUP_AUTOMATIC_ATTACHMENT;
        if let Err(error) = self.attach(kernel, filter, volume, &name, filter.altitude.clone(), flags) {
            let text = format!("not attached to {}: {}", volume.name(), error.status());
            System::of(kernel).finding("FLT-I-05", "note", &filter.name, &text);
        }
    }

    /// Attaches a filter to a volume: InstanceSetup decides.
    pub fn attach(
        &self,
        kernel: &Kernel,
        filter: &Arc<Filter>,
        volume: &Arc<Volume>,
        name: &str,
        altitude: Altitude,
        flags: u32,
    ) -> NtResult<Arc<Instance>> {
        if !filter.started.load(Ordering::Acquire) {
            return NtStatus::FLT_FILTER_NOT_READY.fail(); // FLT-R-10
        }
        let there = volume.instances();
        if there
            .iter()
            .any(|instance| instance.name.eq_ignore_ascii_case(name) && Arc::ptr_eq(&instance.filter, filter))
        {
            return NtStatus::FLT_INSTANCE_NAME_COLLISION.fail();
        }
        if there.iter().any(|instance| instance.altitude == altitude) {
            return NtStatus::FLT_INSTANCE_ALTITUDE_COLLISION.fail();
        }
        let instance = Arc::new(Instance {
            filter: Arc::clone(filter),
            volume: Arc::downgrade(volume),
            altitude,
            name: name.to_owned(),
            object: opaque(kernel.id())?,
            going: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            contexts: Mutex::default(),
            owed: AtomicU32::new(0),
            held: AtomicU32::new(0),
        });
        bind(&instance.object, Opaque::Instance(Arc::clone(&instance)));
        let answered = match (&filter.native, filter.routines.setup) {
            (Some(native), _) => Some(native.setup(&instance, flags)),
            (None, None) => None,
            (None, Some(setup)) => {
                let related = related(&instance, volume)?;
                let kind = u64::from(volume.lower.get(nt_abi::io::DEVICE_OBJECT::DeviceType));
                let answer = callout::call(setup, &[related.addr(), u64::from(flags), kind, FLT_FSTYPE_NTFS]);
                pool::free(related);
                Some(answer.map_or_else(|raised| raised.status, |status| NtStatus(status as u32)))
            }
        };
        if let Some(status) = answered.filter(|status| status.is_error() || status.is_warning()) {
            instance.gone.store(true, Ordering::Release);
            context::drop_instance(&instance, volume);
            unbind(&instance.object);
            return Err(NtError::new(status));
        }
        volume.insert(Arc::clone(&instance));
        Ok(instance)
    }
}

/// Makes FLT_RELATED_OBJECTS for a call about an instance.
pub(crate) fn related(instance: &Instance, volume: &Volume) -> NtResult<Foreign<FLT_RELATED_OBJECTS>> {
    let block = pool::zeroed::<FLT_RELATED_OBJECTS>(pool::tag(b"FMro"));
    let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    block.set(FLT_RELATED_OBJECTS::Size, FLT_RELATED_OBJECTS::SIZE as u16);
    block.set_addr(FLT_RELATED_OBJECTS::Filter, instance.filter.pointer().addr());
    block.set_addr(FLT_RELATED_OBJECTS::Volume, volume.pointer().addr());
    block.set_addr(FLT_RELATED_OBJECTS::Instance, instance.pointer().addr());
    Ok(block)
}

/// A list that is read far more often than it changes.
pub(crate) type Shared<T> = Mutex<Arc<Vec<T>>>;
