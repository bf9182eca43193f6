//! Compiled drivers: loading a `.sys`, calling DriverEntry, unloading.
//!
//! Room: machine. Called by: `front/cli`, embedding programs. Calls: `nt_ldr` (maps and binds), `nt_io` (driver object).
//! IRQL: PASSIVE_LEVEL; DriverEntry and DriverUnload run in a thread of the system process, as on Windows.
//! Source: "Writing a DriverEntry routine", DRIVER_OBJECT; rule NT-M-13. A driver whose DriverEntry fails is unloaded
//! without its unload routine (FLT-R-11).

use crate::Machine;
use nt_abi::NtStatus;
use nt_abi::io::{DEVICE_OBJECT, DRIVER_OBJECT};
use nt_abi::ob::UNICODE_STRING;
use nt_cell::callout;
use nt_ex::pool;
use nt_io::pnp::{self, Added};
use nt_io::registry::{Value, service_key};
use nt_ldr::{Binder, Image, LoadError, Options};
use nt_ob::ObjectRef;
use std::fmt;

/// How to load a driver.
#[derive(Clone, Debug, Default)]
pub struct DriverOptions {
    /// The altitude of its only instance, if the registry is to have one (`x.sys@ALTITUDE`).
    pub altitude: Option<String>,
    /// Values for the service key: {subkey, name, value}, from `--reg` and `--inf`.
    pub registry: Vec<(String, String, Value)>,
    /// Bind unknown imports to stubs that report when called.
    pub allow_missing: bool,
    /// Bind these imports to stubs that return the value.
    pub stubs: Vec<(String, u64)>,
}

/// Why a driver did not load.
#[derive(Debug)]
pub enum DriverError {
    /// The file is no driver image, or imports are missing: nothing ran.
    Load(LoadError),
    /// DriverEntry returned this status.
    Entry(NtStatus),
    /// DriverEntry raised an exception that it did not catch.
    Raised(String),
    /// AddDevice, or the start of the device that it made, failed.
    Device(NtStatus),
    /// The machine itself could not make what a driver needs.
    Machine(NtStatus),
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(error) => error.fmt(f),
            Self::Entry(status) => write!(f, "DriverEntry returned {status}"),
            Self::Raised(text) => write!(f, "DriverEntry raised an exception and did not catch it: {text}"),
            Self::Device(status) => write!(f, "AddDevice, or the start of its device, failed with {status}"),
            Self::Machine(status) => write!(f, "the machine could not make the driver's objects: {status}"),
        }
    }
}

impl std::error::Error for DriverError {}

/// A loaded driver.
pub struct Driver {
    name: String,
    image: Image,
    object: ObjectRef<DRIVER_OBJECT>,
    /// What AddDevice was called with, for a driver that has one.
    added: Option<Added>,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Driver({})", self.name)
    }
}

/// How an unload went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unloaded {
    /// The unload routine ran.
    Yes,
    /// The driver has no unload routine: it stays until the machine ends.
    NoRoutine,
    /// The unload routine raised an exception.
    Raised(NtStatus),
}

impl Driver {
    /// Returns the driver's name: the file's, without `.sys`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the driver object.
    #[must_use]
    pub fn object(&self) -> &ObjectRef<DRIVER_OBJECT> {
        &self.object
    }
}

/// What a service key says of a minifilter's instance (FLT-I-04).
fn write_instance(machine: &Machine, name: &str, altitude: &str) {
    let key = service_key(name);
    let instance = format!("{name} Instance");
    let registry = &machine.io().registry;
    registry.set(&format!("{key}\\Instances"), "DefaultInstance", Value::Text(instance.clone()));
    registry.set(&format!("{key}\\Instances\\{instance}"), "Altitude", Value::Text(altitude.to_owned()));
    registry.set(&format!("{key}\\Instances\\{instance}"), "Flags", Value::Dword(0));
}

impl Machine {
    /// Loads a driver image and calls DriverEntry.
    pub fn load_driver(&self, name: &str, bytes: &[u8], options: &DriverOptions) -> Result<Driver, DriverError> {
        let binder = Binder::new(&crate::imports::exports());
        let loading = Options { allow_missing: options.allow_missing, stubs: options.stubs.clone() };
        let image = Image::load(name, bytes, &binder, &loading).map_err(DriverError::Load)?;
        let name = name.strip_suffix(".sys").unwrap_or(name).to_owned();
        let entered = self.enter_system();
        let registry = &self.io().registry;
        registry.create(&service_key(&name));
        if let Some(altitude) = &options.altitude {
            write_instance(self, &name, altitude);
        }
        for (subkey, value_name, value) in &options.registry {
            let key = service_key(&name);
            let key = if subkey.is_empty() { key } else { format!("{key}\\{subkey}") };
            registry.set(&key, value_name, value.clone());
        }
        let machine = |error: nt_abi::NtError| DriverError::Machine(error.status());
        let object = nt_io::driver::create(self.kernel(), &format!("\\Driver\\{name}")).map_err(machine)?;
        object.set_addr(DRIVER_OBJECT::DriverStart, image.base());
        object.set(DRIVER_OBJECT::DriverSize, image.size() as u32);
        object.set_code(DRIVER_OBJECT::DriverInit, Some(image.entry()));
        let path = pool::zeroed::<UNICODE_STRING>(pool::tag(b"RegP"));
        let path = path.ok_or(DriverError::Machine(NtStatus::INSUFFICIENT_RESOURCES))?;
        nt_rtl::unicode::store(path, &service_key(&name)).map_err(machine)?;
        // Inline clock reads (KeQuerySystemTime) see the shared page. It tells the time of the newest load: nothing moves it
        // on yet, the README says so.
        let (interrupt, system) = (self.kernel().clock.interrupt_time(), self.kernel().clock.system_time());
        nt_ldr::set_shared_time(interrupt as u64, system as u64, interrupt as u64 / 156_250);
        let returned = callout::call(image.entry(), &[object.body().addr(), path.addr()]);
        nt_rtl::unicode::release(path);
        pool::free(path);
        image.discard_initialization();
        let failed = match returned {
            Ok(status) if NtStatus(status as u32).is_success() => None,
            Ok(status) => Some(DriverError::Entry(NtStatus(status as u32))),
            Err(raised) => {
                Some(DriverError::Raised(format!("{} at {}", raised.status, image.symbolize(raised.address))))
            }
        };
        if let Some(error) = failed {
            nt_io::driver::remove(self.kernel(), &object);
            return Err(error);
        }
        // NT-M-13: devices made in DriverEntry can be opened from now on.
        let mut device = object.ptr(DRIVER_OBJECT::DeviceObject);
        while let Some(each) = device {
            nt_io::device::ready(each);
            device = each.ptr(DEVICE_OBJECT::NextDevice);
        }
        let added = pnp::add(entered.frame(), object.body(), &name).map_err(|error| {
            nt_io::driver::remove(self.kernel(), &object);
            DriverError::Device(error.status())
        })?;
        drop(entered);
        Ok(Driver { name, image, object, added })
    }

    /// Unloads a driver: calls its unload routine, then takes its objects and its image away.
    ///
    /// A driver without one stays, image and all, until the process ends.
    pub fn unload_driver(&self, mut driver: Driver) -> Unloaded {
        let entered = self.enter_system();
        let Some(routine) = driver.object.code(DRIVER_OBJECT::DriverUnload) else {
            std::mem::forget(driver.image);
            return Unloaded::NoRoutine;
        };
        let Driver { added, object, .. } = &mut driver;
        if let Some(added) = added.take() {
            pnp::remove(entered.frame(), added);
        }
        let returned = callout::call(routine, &[object.body().addr()]);
        self.kernel().drain();
        nt_io::driver::remove(self.kernel(), &driver.object);
        match returned {
            Ok(_) => Unloaded::Yes,
            Err(raised) => Unloaded::Raised(raised.status),
        }
    }
}
