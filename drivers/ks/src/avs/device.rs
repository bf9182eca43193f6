//! Devices and filter factories of AVStream drivers: from KsInitializeDriver to the removal.
//!
//! Room: drivers/ks. Called by: drivers, the PnP part of `nt_io`. Calls: KSDEVICE_DISPATCH. IRQL: PASSIVE_LEVEL.
//! Locks: the device mutex for drivers; the list of factories, a leaf.
//! Source: KsInitializeDriver, KsCreateFilterFactory, KSDEVICE pages; rules KS-AV-01 to KS-AV-03, KS-D-17.
//! A device gets the name `\Device\NtioKs\SERVICE` and the link `\??\NtioKs.SERVICE`; a filter is opened by the reference string
//! of its factory behind it, and the first one by the link alone.

use crate::avs::bag;
use crate::avs::filter::FilterFactory;
use crate::avs::{AvMutex, Block, Level, Object, call};
use crate::connect;
use crate::dispatch::{self, Header, KS_HEADER};
use crate::object::{ItemList, NativeItem};
use nt_abi::io::{
    DEVICE_OBJECT, DO_POWER_PAGABLE, DRIVER_EXTENSION, DRIVER_OBJECT, FILE_DEVICE_KS, IO_STACK_LOCATION,
    IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE, IRP_MJ_DEVICE_CONTROL, IRP_MJ_FLUSH_BUFFERS, IRP_MJ_PNP, IRP_MJ_POWER,
    IRP_MJ_READ, IRP_MJ_SYSTEM_CONTROL, IRP_MJ_WRITE, IRP_MN_REMOVE_DEVICE, IRP_MN_START_DEVICE,
};
use nt_abi::ks::{KSDEVICE, KSDEVICE_DESCRIPTOR, KSDEVICE_DISPATCH, KSFILTER_DESCRIPTOR, KSFILTERFACTORY};
use nt_abi::{Bytes, Code, Field, NtResult, NtStatus, Ptr};
use nt_cell::Foreign;
use nt_io::device::{self, Device, DeviceSpec};
use nt_io::driver::OwnedIrp;
use nt_io::irp::{self, Irp};
use nt_io::system::System;
use nt_ke::{Kernel, Mutex};
use nt_ob::Node;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

nt_abi::layout! {
    /// The extension of an AVStream device.
    pub struct AVS_FDO: 0x20 {
        /// The device header, which the dispatcher looks for.
        Header @ 0x00: Ptr<KS_HEADER>;
        /// The KSDEVICE.
        Device @ 0x08: Ptr<KSDEVICE>;
        /// Reserved.
        Spare @ 0x10: [u64; 2];
    }
    /// A pointer in an array of descriptors.
    pub struct SLOT: 0x08 {
        /// The pointer.
        To @ 0x00: Ptr<Bytes>;
    }
}

/// The descriptors that drivers were initialised with, by driver object.
static DESCRIPTORS: LazyLock<Mutex<HashMap<u64, u64>>> = LazyLock::new(Mutex::default);

/// KsInitializeDriver (KS-AV-01).
pub fn initialize_driver(driver: Foreign<DRIVER_OBJECT>, descriptor: Option<Foreign<KSDEVICE_DESCRIPTOR>>) -> NtStatus {
    let Some(extension) = driver.ptr(DRIVER_OBJECT::DriverExtension) else { return NtStatus::INVALID_PARAMETER };
    for major in [IRP_MJ_CREATE, IRP_MJ_CLOSE, IRP_MJ_DEVICE_CONTROL, IRP_MJ_READ, IRP_MJ_WRITE, IRP_MJ_FLUSH_BUFFERS] {
        let status = dispatch::set_major_function_handler(driver, u32::from(major));
        if status.is_error() {
            return status;
        }
    }
    let slot = |major: u8| DRIVER_OBJECT::MajorFunction.index(usize::from(major));
    driver.set_code(slot(IRP_MJ_CLEANUP), Some(crate::exports::dispatch_irp()));
    for major in [IRP_MJ_PNP, IRP_MJ_POWER, IRP_MJ_SYSTEM_CONTROL] {
        driver.set_code(slot(major), Some(super::exports::dispatch_pnp()));
    }
    extension.set_code(DRIVER_EXTENSION::AddDevice, Some(super::exports::add_device()));
    driver.set_code(DRIVER_OBJECT::DriverUnload, Some(super::exports::unload()));
    DESCRIPTORS.lock().insert(driver.addr(), descriptor.map_or(0, Foreign::addr));
    NtStatus::SUCCESS
}

/// The unload routine of AVStream drivers.
pub(crate) fn unload(driver: Foreign<DRIVER_OBJECT>) {
    DESCRIPTORS.lock().remove(&driver.addr());
}

/// A device.
pub struct AvDevice {
    block: Block<KSDEVICE>,
    fdo: Device,
    header: Header,
    link: String,
    /// KsAcquireDevice.
    pub mutex: AvMutex,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    factories: Vec<Arc<Factory>>,
    /// Each list that the header named; the last one is what it names now.
    lists: Vec<ItemList>,
}

/// Makes filters of one kind.
pub struct Factory {
    block: Block<KSFILTERFACTORY>,
    descriptor: Foreign<KSFILTER_DESCRIPTOR>,
    name: String,
    device: Weak<AvDevice>,
}

impl std::fmt::Debug for Factory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Factory({})", self.name)
    }
}

impl Factory {
    /// Returns the KSFILTERFACTORY.
    #[must_use]
    pub fn body(&self) -> Foreign<KSFILTERFACTORY> {
        self.block.body()
    }
    /// Returns the descriptor.
    #[must_use]
    pub fn descriptor(&self) -> Foreign<KSFILTER_DESCRIPTOR> {
        self.descriptor
    }
    /// Returns the device.
    #[must_use]
    pub fn device(&self) -> Option<Arc<AvDevice>> {
        self.device.upgrade()
    }
}

impl std::fmt::Debug for AvDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AvDevice({})", self.link)
    }
}

/// KsAddDevice (KS-AV-02): the functional device object, KSDEVICE, Dispatch.Add, one factory a descriptor.
pub fn add_device(kernel: &Arc<Kernel>, driver: Foreign<DRIVER_OBJECT>, below: Device) -> NtResult<()> {
    let found = DESCRIPTORS.lock().get(&driver.addr()).copied();
    let descriptor = match found.ok_or(NtStatus::INVALID_DEVICE_REQUEST.error())? {
        0 => None,
        address => Some(Foreign::<KSDEVICE_DESCRIPTOR>::of_table(address)),
    };
    let service = nt_rtl::unicode::text(driver.at(DRIVER_OBJECT::DriverName));
    let service = service.rsplit('\\').next().unwrap_or_default().to_owned();
    let _there = System::of(kernel).namespace.insert("\\Device\\NtioKs", Node::Directory);
    let full = format!("\\Device\\NtioKs\\{service}");
    let spec =
        DeviceSpec { name: Some(&full), kind: FILE_DEVICE_KS, extension: AVS_FDO::SIZE, ..DeviceSpec::default() };
    let fdo = device::create(kernel, driver, &spec)?.body();
    let link = format!("\\??\\NtioKs.{service}");
    let made = build(driver, fdo, below, descriptor, link.clone())
        .and_then(|made| System::of(kernel).namespace.insert(&link, Node::Link(full.clone())).map(|_| made));
    let made = match made {
        Ok(made) => made,
        Err(error) => {
            device::delete(kernel, fdo, Some(&full));
            return Err(error);
        }
    };
    crate::pin::direct(fdo);
    fdo.or32(DEVICE_OBJECT::Flags, DO_POWER_PAGABLE);
    device::ready(fdo);
    let status = made.callback(KSDEVICE_DISPATCH::Add, None);
    if status.is_error() {
        made.remove(kernel);
        return status.fail();
    }
    if let Some(descriptor) = descriptor {
        let first = descriptor.ptr(KSDEVICE_DESCRIPTOR::FilterDescriptors).map(Foreign::<Bytes>::view::<SLOT>);
        for index in 0..descriptor.get(KSDEVICE_DESCRIPTOR::FilterDescriptorsCount) as usize {
            let each = first.and_then(|first| first.element(index).ptr(SLOT::To)).map(Foreign::<Bytes>::view);
            let each = each.ok_or(NtStatus::INVALID_PARAMETER.error())?;
            if let Err(error) = made.create_factory(each, None) {
                made.remove(kernel);
                return Err(error);
            }
        }
    }
    Ok(())
}

fn build(
    driver: Foreign<DRIVER_OBJECT>,
    fdo: Device,
    below: Device,
    descriptor: Option<Foreign<KSDEVICE_DESCRIPTOR>>,
    link: String,
) -> NtResult<Arc<AvDevice>> {
    let block = Block::<KSDEVICE>::new(KSDEVICE::SIZE)?;
    let extension = fdo.ptr(DEVICE_OBJECT::DeviceExtension).ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    let extension: Foreign<AVS_FDO> = extension.view();
    let next = device::attach(fdo, below)?;
    let body = block.body();
    body.set_ptr(KSDEVICE::Descriptor, descriptor);
    body.set_addr(KSDEVICE::Bag, bag::allocate()?.addr());
    body.set_ptr(KSDEVICE::FunctionalDeviceObject, Some(fdo));
    body.set_ptr(KSDEVICE::PhysicalDeviceObject, Some(below));
    body.set_ptr(KSDEVICE::NextDeviceObject, Some(next));
    body.set(KSDEVICE::SystemPowerState, 1);
    body.set(KSDEVICE::DevicePowerState, 1);
    let header = dispatch::allocate_device_header(0, None)?;
    extension.set_ptr(AVS_FDO::Header, Some(header));
    extension.set_ptr(AVS_FDO::Device, Some(body));
    let _of = driver;
    let made =
        Arc::new(AvDevice { block, fdo, header, link, mutex: AvMutex::new(Level::Device)?, state: Mutex::default() });
    made.block.publish(Object::Device(Arc::clone(&made)));
    Ok(made)
}

/// Returns the device that a device object belongs to (KsGetDeviceForDeviceObject).
#[must_use]
pub fn of_device_object(fdo: Device) -> Option<Arc<AvDevice>> {
    let extension = fdo.ptr(DEVICE_OBJECT::DeviceExtension)?.view::<AVS_FDO>();
    super::device_of(extension.ptr(AVS_FDO::Device)?)
}

/// Returns the newest device of an AVStream driver.
#[must_use]
pub fn of_driver(driver: Foreign<DRIVER_OBJECT>) -> Option<Arc<AvDevice>> {
    of_device_object(driver.ptr(DRIVER_OBJECT::DeviceObject)?)
}

impl AvDevice {
    /// Returns the KSDEVICE.
    #[must_use]
    pub fn body(&self) -> Foreign<KSDEVICE> {
        self.block.body()
    }
    /// Returns the bag.
    #[must_use]
    pub fn bag(&self) -> bag::Handle {
        Foreign::of_table(self.body().addr_at(KSDEVICE::Bag))
    }
    /// Returns whether the device was started and not removed.
    #[must_use]
    pub fn started(&self) -> bool {
        self.body().get(KSDEVICE::Started) != 0
    }
    /// Returns the factories, in the order in which they were made.
    #[must_use]
    pub fn factories(&self) -> Vec<Arc<Factory>> {
        self.state.lock().factories.clone()
    }

    /// Calls a routine of the dispatch table: (Device), or (Device, Irp) with null resources; SUCCESS if there is none.
    fn callback(&self, slot: Field<KSDEVICE_DISPATCH, Code>, packet: Option<Irp>) -> NtStatus {
        let descriptor = self.body().ptr(KSDEVICE::Descriptor);
        let table = descriptor.and_then(|descriptor| descriptor.ptr(KSDEVICE_DESCRIPTOR::Dispatch));
        match table.and_then(|table| table.code(slot)) {
            Some(code) => call(code, &[self.body().addr(), packet.map_or(0, Foreign::addr), 0, 0]),
            None => NtStatus::SUCCESS,
        }
    }

    /// KsCreateFilterFactory (KS-AV-03): the name is the reference string, or the descriptor's GUID as text.
    pub fn create_factory(
        self: &Arc<Self>,
        descriptor: Foreign<KSFILTER_DESCRIPTOR>,
        reference: Option<String>,
    ) -> NtResult<Arc<Factory>> {
        let guid = crate::sets::guid_at(descriptor, KSFILTER_DESCRIPTOR::ReferenceGuid);
        let name = reference.or_else(|| guid.map(connect::class_of)).ok_or(NtStatus::INVALID_PARAMETER.error())?;
        let block = Block::<KSFILTERFACTORY>::new(KSFILTERFACTORY::SIZE)?;
        block.body().set_ptr(KSFILTERFACTORY::FilterDescriptor, Some(descriptor));
        block.body().set_addr(KSFILTERFACTORY::Bag, bag::allocate()?.addr());
        block.body().set_addr(KSFILTERFACTORY::Context, self.body().addr_at(KSDEVICE::Context));
        let made = Arc::new(Factory { block, descriptor, name, device: Arc::downgrade(self) });
        made.block.publish(Object::Factory(Arc::clone(&made)));
        let mut state = self.state.lock();
        state.factories.push(Arc::clone(&made));
        self.publish_items(&mut state)?;
        Ok(made)
    }

    /// KsDeleteFilterFactory: nobody can open its filters any more.
    pub fn delete_factory(&self, gone: &Arc<Factory>) -> NtResult<()> {
        let mut state = self.state.lock();
        state.factories.retain(|each| !Arc::ptr_eq(each, gone));
        let published = self.publish_items(&mut state);
        drop(state);
        retire(gone);
        published
    }

    /// Tells the dispatcher the names that can be opened.
    fn publish_items(&self, state: &mut State) -> NtResult<()> {
        let named = state.factories.iter().map(|each| (each.name.clone(), each));
        let bare = state.factories.first().map(|first| (String::new(), first));
        let items = named.chain(bare).map(|(class, factory)| NativeItem {
            class,
            parameters: true,
            factory: Arc::new(FilterFactory::new(Arc::clone(factory))),
        });
        let list = ItemList::new(items.collect())?;
        self.header.set(KS_HEADER::ItemsCount, 0);
        self.header.set_ptr(KS_HEADER::Items, Some(list.items()));
        self.header.set(KS_HEADER::ItemsCount, list.count());
        state.lists.push(list);
        Ok(())
    }

    fn start(&self, packet: Irp) -> NtStatus {
        let status = self.callback(KSDEVICE_DISPATCH::Start, Some(packet));
        if !status.is_error() {
            self.body().set(KSDEVICE::Started, 1);
            let _advice = self.callback(KSDEVICE_DISPATCH::PostStart, None);
        }
        status
    }

    /// Takes the device away: Dispatch.Remove, the factories, the device object.
    fn remove(&self, kernel: &Kernel) {
        self.body().set(KSDEVICE::Started, 0);
        self.header.set(KS_HEADER::ItemsCount, 0);
        let factories = std::mem::take(&mut self.state.lock().factories);
        factories.iter().for_each(retire);
        let _link = System::of(kernel).namespace.remove(&self.link);
        if let Some(below) = self.body().ptr(KSDEVICE::NextDeviceObject) {
            device::detach(below);
        }
        bag::release(self.bag());
        self.state.lock().lists.clear();
        dispatch::free_header(self.header);
        self.block.retire();
        device::delete(kernel, self.fdo, Some(&self.link.replace("\\??\\NtioKs.", "\\Device\\NtioKs\\")));
    }
}

fn retire(factory: &Arc<Factory>) {
    factory.block.retire();
    bag::release(Foreign::of_table(factory.body().addr_at(KSFILTERFACTORY::Bag)));
}

/// IRP_MJ_PNP, IRP_MJ_POWER and IRP_MJ_SYSTEM_CONTROL of AVStream devices: what is not ours goes down.
pub(crate) fn dispatch_pnp(fdo: Device, packet: Irp) -> NtStatus {
    let Some(device) = of_device_object(fdo) else {
        return OwnedIrp::arrived(packet).complete(NtStatus::INVALID_DEVICE_REQUEST, 0).status();
    };
    let stack = irp::current(packet);
    let irp = OwnedIrp::arrived(packet);
    let minor = stack.get(IO_STACK_LOCATION::MinorFunction);
    match (stack.get(IO_STACK_LOCATION::MajorFunction), minor) {
        (IRP_MJ_PNP, IRP_MN_START_DEVICE) => {
            let status = device.start(packet);
            irp.complete(status, 0).status()
        }
        (IRP_MJ_PNP, IRP_MN_REMOVE_DEVICE) => {
            if let Some(table) =
                device.body().ptr(KSDEVICE::Descriptor).and_then(|it| it.ptr(KSDEVICE_DESCRIPTOR::Dispatch))
                && let Some(code) = table.code(KSDEVICE_DISPATCH::Remove)
            {
                let _nothing = call(code, &[device.body().addr(), packet.addr()]);
            }
            device.remove(&nt_ke::current().kernel);
            irp.complete(NtStatus::SUCCESS, 0).status()
        }
        _ => match device.body().ptr(KSDEVICE::NextDeviceObject) {
            Some(next) => irp.skip_to(next).status(),
            None => irp.complete(NtStatus::INVALID_DEVICE_REQUEST, 0).status(),
        },
    }
}
