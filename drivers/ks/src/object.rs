//! KS objects written in Rust: what stands behind a header whose table is ours.
//!
//! Room: drivers/ks. Called by: `dispatch`. Implemented by: filters and pins of the built-in devices.
//! IRQL: PASSIVE_LEVEL; fast entries <= APC_LEVEL. Locks: none.
//! A Rust object has a real object header and a real dispatch table, as a driver's has; a request that arrives through
//! the table's win64 entries comes out at the same methods.

use crate::avs::filter::AvFilter;
use crate::avs::pin::AvPin;
use crate::dispatch::{self, Header, Items, KS_CONTEXT, KS_HEADER, Table};
use nt_abi::io::{FILE_OBJECT, IO_STACK_LOCATION, IRP_MJ_CLOSE, IRP_MJ_DEVICE_CONTROL, IRP_MJ_READ, IRP_MJ_WRITE};
use nt_abi::ks::{KSCREATE_ITEM_NOPARAMETERS, KSDISPATCH_TABLE, KSOBJECT_CREATE_ITEM};
use nt_abi::ob::UNICODE_STRING;
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Foreign, Region, Slab};
use nt_ex::pool;
use nt_io::device::Device;
use nt_io::driver::{Answer, OwnedIrp};
use nt_io::irp::{IoStatus, Irp};
use std::sync::{Arc, LazyLock};

/// A call of FastRead or FastWrite.
#[derive(Clone, Copy, Debug)]
pub struct ObjectCall {
    /// The file.
    pub file: Foreign<FILE_OBJECT>,
    /// FileOffset: `None` for NULL, which a stream request has (KS-S-08).
    pub offset: Option<i64>,
    /// Length in bytes.
    pub length: u32,
    /// May the routine block?
    pub wait: bool,
    /// LockKey.
    pub key: u32,
    /// The data, or the header list of a stream request.
    pub buffer: Region,
    /// The device.
    pub device: Device,
}

/// A KS object.
pub trait KsObject: Send + Sync + 'static {
    /// DeviceIoControl.
    fn device_control(&self, irp: OwnedIrp) -> Answer {
        let packet = irp.into_irp();
        OwnedIrp::answered(dispatch::default_device_io_completion(packet))
    }
    /// Read: refused, unless the object says otherwise (KS-W-33).
    fn read(&self, irp: OwnedIrp) -> Answer {
        irp.complete(NtStatus::INVALID_DEVICE_REQUEST, 0)
    }
    /// Write: refused, unless the object says otherwise (KS-W-33).
    fn write(&self, irp: OwnedIrp) -> Answer {
        irp.complete(NtStatus::INVALID_DEVICE_REQUEST, 0)
    }
    /// FastRead: `None` is FALSE.
    fn fast_read(&self, _call: &ObjectCall) -> Option<IoStatus> {
        None
    }
    /// FastWrite: `None` is FALSE.
    fn fast_write(&self, _call: &ObjectCall) -> Option<IoStatus> {
        None
    }
    /// The last handle was closed.
    fn cleanup(&self) {}
    /// The file object goes; the packet is IRP_MJ_CLOSE.
    fn close(&self, _packet: Irp) {}
    /// The AVStream filter behind the object.
    fn av_filter(&self) -> Option<Arc<AvFilter>> {
        None
    }
    /// The AVStream pin behind the object.
    fn av_pin(&self) -> Option<Arc<AvPin>> {
        None
    }
}

/// Makes objects of one class.
pub trait KsFactory: Send + Sync + 'static {
    /// Takes a create request; `parameters` is what follows the class in the name.
    fn create(&self, parameters: Option<&[u8]>, irp: OwnedIrp) -> Answer;
}

/// A create item to be: class string, KSCREATE_ITEM_* flags, who makes the object.
pub struct NativeItem {
    /// ObjectClass.
    pub class: String,
    /// Whether parameters may follow the class.
    pub parameters: bool,
    /// The maker.
    pub factory: Arc<dyn KsFactory>,
}

static OBJECTS: LazyLock<Slab<Arc<dyn KsObject>>> = LazyLock::new(Slab::new);
static FACTORIES: LazyLock<Slab<Arc<dyn KsFactory>>> = LazyLock::new(Slab::new);

/// The table of every Rust object; it lives as long as the process.
static TABLE: LazyLock<Option<u64>> = LazyLock::new(|| {
    let table: Table = pool::allocate_permanent(KSDISPATCH_TABLE::SIZE)?.view();
    let code = crate::exports::native_object();
    for entry in [
        KSDISPATCH_TABLE::DeviceIoControl,
        KSDISPATCH_TABLE::Read,
        KSDISPATCH_TABLE::Write,
        KSDISPATCH_TABLE::Flush,
        KSDISPATCH_TABLE::Close,
        KSDISPATCH_TABLE::QuerySecurity,
        KSDISPATCH_TABLE::SetSecurity,
    ] {
        table.set_code(entry, Some(code));
    }
    table.set_code(KSDISPATCH_TABLE::FastDeviceIoControl, Some(crate::exports::fast_control_failure()));
    table.set_code(KSDISPATCH_TABLE::FastRead, Some(crate::exports::fast_read()));
    table.set_code(KSDISPATCH_TABLE::FastWrite, Some(crate::exports::fast_write()));
    Some(table.addr())
});

fn table() -> NtResult<Table> {
    TABLE.map(Foreign::of_table).ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())
}

/// Returns the Rust object behind a header, if there is one.
#[must_use]
pub fn native(header: Header) -> Option<Arc<dyn KsObject>> {
    let key = header.get(KS_HEADER::Native);
    if key == 0 { None } else { OBJECTS.get(key).map(|object| Arc::clone(&object)) }
}

/// A list of create items with the strings that they name, and the makers behind them.
#[derive(Debug)]
pub struct ItemList {
    items: Items,
    count: u32,
    keys: Vec<u64>,
}

impl ItemList {
    /// Makes the list.
    pub fn new(items: Vec<NativeItem>) -> NtResult<Self> {
        let count = items.len();
        let text: usize = items.iter().map(|item| item.class.encode_utf16().count() * 2).sum();
        let fixed = count * KSOBJECT_CREATE_ITEM::SIZE;
        let block = pool::allocate(fixed + text, pool::tag(b"KsIt"), pool::PoolKind::NonPaged);
        let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
        let first: Items = block.view();
        let mut keys = Vec::with_capacity(count);
        let mut at = fixed;
        for (index, item) in items.into_iter().enumerate() {
            let to = first.element(index);
            let units: Vec<u8> = item.class.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let _own = Region::pool(block, fixed + text).sub(at, units.len()).write_from(&units);
            let string = to.at(KSOBJECT_CREATE_ITEM::ObjectClass);
            string.set(UNICODE_STRING::Length, units.len() as u16);
            string.set(UNICODE_STRING::MaximumLength, units.len() as u16);
            string.set_addr(UNICODE_STRING::Buffer, block.addr() + at as u64);
            at += units.len();
            let key = FACTORIES.insert(item.factory);
            to.set_addr(KSOBJECT_CREATE_ITEM::Context, key);
            keys.push(key);
            to.set(KSOBJECT_CREATE_ITEM::Flags, if item.parameters { 0 } else { KSCREATE_ITEM_NOPARAMETERS });
            to.set_code(KSOBJECT_CREATE_ITEM::Create, Some(crate::exports::native_create()));
        }
        Ok(Self { items: first, count: count as u32, keys })
    }

    /// Returns the list.
    #[must_use]
    pub fn items(&self) -> Items {
        self.items
    }

    /// Returns how many items there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }
}

impl Drop for ItemList {
    fn drop(&mut self) {
        for &key in &self.keys {
            FACTORIES.remove(key);
        }
        pool::free(self.items);
    }
}

static LISTS: LazyLock<Slab<ItemList>> = LazyLock::new(Slab::new);

/// Puts a Rust object behind a file object that is being created.
pub fn attach(
    file: Foreign<FILE_OBJECT>,
    object: Arc<dyn KsObject>,
    children: Vec<NativeItem>,
    create: Irp,
) -> NtResult<()> {
    let table = table()?;
    let list = if children.is_empty() { None } else { Some(ItemList::new(children)?) };
    let context = pool::zeroed::<KS_CONTEXT>(pool::tag(b"KsFc")).ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    let (count, items) = list.as_ref().map_or((0, None), |list| (list.count(), Some(list.items())));
    let header = match dispatch::allocate_object_header(count, items, Some(create), Some(table)) {
        Ok(header) => header,
        Err(error) => {
            pool::free(context);
            return Err(error);
        }
    };
    header.set(KS_HEADER::Native, OBJECTS.insert(object));
    header.set(KS_HEADER::Children, list.map_or(0, |list| LISTS.insert(list)));
    dispatch::give(context, header);
    file.set_ptr(FILE_OBJECT::FsContext, Some(context.view()));
    Ok(())
}

fn detach(file: Foreign<FILE_OBJECT>, header: Header) {
    if let Some(context) = file.ptr(FILE_OBJECT::FsContext) {
        file.set_ptr(FILE_OBJECT::FsContext, None);
        pool::free(context);
    }
    OBJECTS.remove(header.get(KS_HEADER::Native));
    LISTS.remove(header.get(KS_HEADER::Children));
    dispatch::free_header(header);
}

/// Sends a request to the Rust object behind a header.
pub(crate) fn dispatch(header: Header, _device: Device, packet: Irp) -> NtStatus {
    let irp = OwnedIrp::arrived(packet);
    let Some(object) = native(header) else {
        return irp.complete(NtStatus::INVALID_DEVICE_REQUEST, 0).status();
    };
    let answer = match irp.stack().get(IO_STACK_LOCATION::MajorFunction) {
        IRP_MJ_DEVICE_CONTROL => object.device_control(irp),
        IRP_MJ_WRITE => object.write(irp),
        IRP_MJ_READ => object.read(irp),
        IRP_MJ_CLOSE => {
            object.close(packet);
            if let Some(file) = irp.file() {
                detach(file, header);
            }
            irp.complete(NtStatus::SUCCESS, 0)
        }
        _ => irp.complete(NtStatus::INVALID_DEVICE_REQUEST, 0),
    };
    answer.status()
}

/// Makes an object by a Rust create item.
pub(crate) fn create(_device: Device, packet: Irp, item: Items) -> NtStatus {
    let irp = OwnedIrp::arrived(packet);
    let factory = FACTORIES.get(item.addr_at(KSOBJECT_CREATE_ITEM::Context)).map(|factory| Arc::clone(&factory));
    let name = irp.file().map(dispatch::name_of);
    let (Some(factory), Some(Ok(name))) = (factory, name) else {
        return irp.complete(NtStatus::OBJECT_NAME_NOT_FOUND, 0).status();
    };
    factory.create(name.parameters.as_deref(), irp).status()
}
