//! Object and device headers, create items, and the dispatcher that finds an object's table.
//!
//! Room: drivers/ks. Called by: drivers' MajorFunction slots, `exports`. Calls: drivers, by their tables.
//! Touches: FsContext (its first pointer is the object header), the device extension (its first is the device header).
//! IRQL: PASSIVE_LEVEL; fast entries as the caller's. Locks: none.
//! Source: KSDISPATCH_TABLE, KsSetMajorFunctionHandler, KsAllocateObjectHeader pages; rules KS-D-01 to KS-D-13, KS-D-15,
//! KS-I-04.

use crate::object::{self, ObjectCall};
use crate::verify;
use nt_abi::io::{
    DEVICE_OBJECT, DRIVER_OBJECT, FAST_IO_DISPATCH, FILE_OBJECT, IO_STACK_LOCATION, IRP, IRP_MJ_CLEANUP, IRP_MJ_CLOSE,
    IRP_MJ_CREATE, IRP_MJ_DEVICE_CONTROL, IRP_MJ_FLUSH_BUFFERS, IRP_MJ_QUERY_SECURITY, IRP_MJ_READ,
    IRP_MJ_SET_SECURITY, IRP_MJ_WRITE,
};
use nt_abi::ks::{
    GUID, GUID_NULL, IOCTL_KS_DISABLE_EVENT, IOCTL_KS_ENABLE_EVENT, IOCTL_KS_METHOD, IOCTL_KS_PROPERTY,
    IOCTL_KS_READ_STREAM, IOCTL_KS_RESET_STATE, IOCTL_KS_WRITE_STREAM, KSCREATE_ITEM_NOPARAMETERS,
    KSCREATE_ITEM_WILDCARD, KSDISPATCH_FASTIO, KSDISPATCH_TABLE, KSIDENTIFIER, KSOBJECT_CREATE_ITEM,
    KSPROPERTY_TYPE_SETSUPPORT,
};
use nt_abi::ob::UNICODE_STRING;
use nt_abi::{Code, Field, NtResult, NtStatus, Ptr};
use nt_cell::{CodePtr, Foreign, Region, callout};
use nt_ex::pool;
use nt_io::device::Device;
use nt_io::driver::{FastCall, OwnedIrp};
use nt_io::irp::{self, IoStatus, Irp};
use nt_io::rw::{self, Direction};
use nt_io::system::System;
use nt_trace::rule;

nt_abi::layout! {
    /// KSOBJECT_HEADER and KSDEVICE_HEADER: opaque to drivers.
    pub struct KS_HEADER: 0x40 {
        /// A mark that tells a header from other memory.
        Mark @ 0x00: u64;
        /// The header's own address.
        Own @ 0x08: u64;
        /// The object's dispatch table.
        Table @ 0x10: Ptr<KSDISPATCH_TABLE>;
        /// Create items of children.
        Items @ 0x18: Ptr<KSOBJECT_CREATE_ITEM>;
        /// How many there are.
        ItemsCount @ 0x20: u32;
        /// Reserved.
        Spare @ 0x24: u32;
        /// The item that the object was created by.
        CreateItem @ 0x28: Ptr<KSOBJECT_CREATE_ITEM>;
        /// The Rust object behind it, 0 for a driver's.
        Native @ 0x30: u64;
        /// The create items of a Rust object's children.
        Children @ 0x38: u64;
    }
    /// What FsContext and a device extension start with.
    pub struct KS_CONTEXT: 0x08 {
        /// The header.
        Header @ 0x00: Ptr<KS_HEADER>;
    }
}

/// An object's or a device's header.
pub type Header = Foreign<KS_HEADER>;
/// A dispatch table.
pub type Table = Foreign<KSDISPATCH_TABLE>;
/// A list of create items.
pub type Items = Foreign<KSOBJECT_CREATE_ITEM>;

const OBJECT_MARK: u64 = 0x4B53_4F42_4A45_4354;
const DEVICE_MARK: u64 = 0x4B53_4445_5649_4345;

/// A major function of a driver, as [`dispatch`] found it in a table.
type Entry = Field<KSDISPATCH_TABLE, Code>;

fn allocate(mark: u64, count: u32, items: Option<Items>) -> NtResult<Header> {
    let header = pool::zeroed::<KS_HEADER>(pool::tag(b"KsHd")).ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    header.set(KS_HEADER::Own, header.addr());
    header.set_ptr(KS_HEADER::Items, items);
    header.set(KS_HEADER::ItemsCount, count);
    header.set(KS_HEADER::Mark, mark);
    Ok(header)
}

/// KsAllocateObjectHeader (KS-D-05): the caller keeps table and items alive.
pub fn allocate_object_header(
    count: u32,
    items: Option<Items>,
    create: Option<Irp>,
    table: Option<Table>,
) -> NtResult<Header> {
    let header = allocate(OBJECT_MARK, count, items)?;
    header.set_ptr(KS_HEADER::Table, table);
    let item = create.map_or(0, |packet| packet.get(IRP::Tail_DriverContext.index(0)));
    header.set_addr(KS_HEADER::CreateItem, item);
    Ok(header)
}

/// KsAllocateDeviceHeader (KS-D-06).
pub fn allocate_device_header(count: u32, items: Option<Items>) -> NtResult<Header> {
    allocate(DEVICE_MARK, count, items)
}

/// KsFreeObjectHeader, KsFreeDeviceHeader.
pub fn free_header(header: Header) {
    header.set(KS_HEADER::Mark, 0);
    pool::free(header);
}

/// Finds the header that the pointer `context` leads to; other drivers keep anything there, so it is read under guard.
fn header_at(context: Region, named: impl FnOnce() -> Option<Foreign<KS_CONTEXT>>, mark: u64) -> Option<Header> {
    let address = context.load::<u64>(0).ok().filter(|&address| address != 0 && address.is_multiple_of(16))?;
    let context = named()?;
    let body = context.region_at(KS_CONTEXT::Header, KS_HEADER::SIZE);
    let marked = body.load::<u64>(0).ok()? == mark && body.load::<u64>(8).ok()? == address;
    if marked { context.ptr(KS_CONTEXT::Header) } else { None }
}

/// Returns the object header of a file object, if it is one of a KS object (KS-D-03).
#[must_use]
pub fn object_header(file: Foreign<FILE_OBJECT>) -> Option<Header> {
    let context = file.region_at(FILE_OBJECT::FsContext, 8);
    if context.addr() == 0 {
        return None;
    }
    header_at(context, || file.ptr(FILE_OBJECT::FsContext).map(Foreign::view), OBJECT_MARK)
}

/// Returns the header of a device, if its extension starts with one (KS-D-06).
#[must_use]
pub fn device_header(device: Device) -> Option<Header> {
    let context = device.region_at(DEVICE_OBJECT::DeviceExtension, 8);
    if context.addr() == 0 {
        return None;
    }
    header_at(context, || device.ptr(DEVICE_OBJECT::DeviceExtension).map(Foreign::view), DEVICE_MARK)
}

/// KsSetMajorFunctionHandler (KS-D-01, KS-D-02).
#[must_use]
pub fn set_major_function_handler(driver: Foreign<DRIVER_OBJECT>, major: u32) -> NtStatus {
    let plain = (major & !KSDISPATCH_FASTIO) as u8;
    if major & KSDISPATCH_FASTIO != 0 {
        let Some(table) = driver.ptr(DRIVER_OBJECT::FastIoDispatch) else { return NtStatus::INVALID_PARAMETER };
        let (slot, code) = match plain {
            IRP_MJ_READ => (FAST_IO_DISPATCH::FastIoRead, crate::exports::fast_read()),
            IRP_MJ_WRITE => (FAST_IO_DISPATCH::FastIoWrite, crate::exports::fast_write()),
            IRP_MJ_DEVICE_CONTROL => (FAST_IO_DISPATCH::FastIoDeviceControl, crate::exports::fast_control()),
            _ => return NtStatus::INVALID_PARAMETER,
        };
        table.set_code(slot, Some(code));
        return NtStatus::SUCCESS;
    }
    if u32::from(plain) != major || (plain != IRP_MJ_CREATE && entry(plain).is_none()) {
        return NtStatus::INVALID_PARAMETER;
    }
    driver.set_code(DRIVER_OBJECT::MajorFunction.index(usize::from(plain)), Some(crate::exports::dispatch_irp()));
    NtStatus::SUCCESS
}

fn entry(major: u8) -> Option<Entry> {
    Some(match major {
        IRP_MJ_CLOSE => KSDISPATCH_TABLE::Close,
        IRP_MJ_DEVICE_CONTROL => KSDISPATCH_TABLE::DeviceIoControl,
        IRP_MJ_READ => KSDISPATCH_TABLE::Read,
        IRP_MJ_WRITE => KSDISPATCH_TABLE::Write,
        IRP_MJ_FLUSH_BUFFERS => KSDISPATCH_TABLE::Flush,
        IRP_MJ_QUERY_SECURITY => KSDISPATCH_TABLE::QuerySecurity,
        IRP_MJ_SET_SECURITY => KSDISPATCH_TABLE::SetSecurity,
        _ => return None,
    })
}

fn refuse(packet: Irp, status: NtStatus) -> NtStatus {
    OwnedIrp::arrived(packet).complete(status, 0).status()
}

/// KsDispatchIrp (KS-D-15): sends a request to the table of its file object.
pub fn dispatch(device: Device, packet: Irp) -> NtStatus {
    let stack = irp::current(packet);
    let major = stack.get(IO_STACK_LOCATION::MajorFunction);
    let Some(file) = stack.ptr(IO_STACK_LOCATION::FileObject) else {
        return refuse(packet, NtStatus::INVALID_DEVICE_REQUEST);
    };
    if major == IRP_MJ_CREATE {
        return create(device, packet, file);
    }
    let Some(header) = object_header(file) else {
        return refuse(packet, NtStatus::INVALID_DEVICE_REQUEST);
    };
    if major == IRP_MJ_CLEANUP {
        if let Some(object) = object::native(header) {
            object.cleanup();
        }
        return refuse(packet, NtStatus::SUCCESS);
    }
    if major == IRP_MJ_DEVICE_CONTROL {
        accept_input_list(packet);
    }
    let code = entry(major).and_then(|entry| header.ptr(KS_HEADER::Table)?.code(entry));
    let Some(code) = code else {
        missing_entry(device, major); // KS-D-04
        return refuse(packet, NtStatus::INVALID_DEVICE_REQUEST);
    };
    if code == crate::exports::native_object() {
        return object::dispatch(header, device, packet);
    }
    call(device, packet, code, major)
}

fn call(device: Device, packet: Irp, code: CodePtr, major: u8) -> NtStatus {
    match callout::call(code, &[device.addr(), packet.addr()]) {
        Ok(status) => NtStatus(status as u32),
        Err(raised) => match device.ptr(DEVICE_OBJECT::DriverObject) {
            Some(driver) => nt_io::exports::dispatch_raised(driver, usize::from(major), &raised),
            None => raised.status,
        },
    }
}

fn finding(rule: &str, device: Device, message: &str) {
    if let Some(frame) = nt_ke::try_current() {
        let name = device
            .ptr(DEVICE_OBJECT::DriverObject)
            .map_or_else(String::new, |driver| nt_rtl::unicode::text(driver.at(DRIVER_OBJECT::DriverName)));
        System::of(&frame.kernel).finding(rule, "violation", &name, message);
    }
}

#[cold]
fn missing_entry(device: Device, major: u8) {
    finding("KS-D-04", device, &format!("a KS object's dispatch table has no entry for major {major:#x}"));
}

/// KS-I-04: a list in the input buffer is taken as if it stood in the output buffer, which wins when both are given.
fn accept_input_list(packet: Irp) {
    let stack = irp::current(packet);
    let code = stack.get(IO_STACK_LOCATION::DeviceIoControl_IoControlCode);
    let input = stack.get(IO_STACK_LOCATION::DeviceIoControl_InputBufferLength);
    if matches!(code, IOCTL_KS_WRITE_STREAM | IOCTL_KS_READ_STREAM)
        && input != 0
        && stack.get(IO_STACK_LOCATION::DeviceIoControl_OutputBufferLength) == 0
    {
        verify::list_came_as_input(packet);
        packet.set_addr(IRP::UserBuffer, stack.addr_at(IO_STACK_LOCATION::DeviceIoControl_Type3InputBuffer));
        stack.set_addr(IO_STACK_LOCATION::DeviceIoControl_Type3InputBuffer, 0);
        stack.set(IO_STACK_LOCATION::DeviceIoControl_OutputBufferLength, input);
        stack.set(IO_STACK_LOCATION::DeviceIoControl_InputBufferLength, 0);
    }
}

/// A name of a KS object: the class, and the bytes behind the backslash that ends it, if one does (KS-D-07, KS-PN-01).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectName {
    /// The class string.
    pub class: Vec<u16>,
    /// The parameters.
    pub parameters: Option<Vec<u8>>,
}

impl ObjectName {
    /// Splits a name; the first backslash after an optional leading one ends the class.
    #[must_use]
    pub fn parse(raw: &[u8]) -> Self {
        const SEPARATOR: [u8; 2] = [b'\\', 0];
        let raw = raw.strip_prefix(&SEPARATOR).unwrap_or(raw);
        let end = raw.chunks_exact(2).position(|unit| unit == SEPARATOR);
        let class = &raw[..end.map_or(raw.len(), |end| end * 2)];
        Self { class: nt_rtl::unicode::units_of(class), parameters: end.map(|end| raw[end * 2 + 2..].to_vec()) }
    }
}

/// Reads the name that a file object is opened by.
pub fn name_of(file: Foreign<FILE_OBJECT>) -> NtResult<ObjectName> {
    let string = file.at(FILE_OBJECT::FileName);
    let length = usize::from(string.get(UNICODE_STRING::Length));
    if length == 0 {
        return Ok(ObjectName { class: Vec::new(), parameters: None });
    }
    let raw = string.region_at(UNICODE_STRING::Buffer, length).to_vec().map_err(nt_io::service::violation)?;
    Ok(ObjectName::parse(&raw))
}

fn same_class(item: Items, class: &[u16]) -> bool {
    let fold = |unit: u16| u8::try_from(unit).map_or(unit, |byte| u16::from(byte.to_ascii_uppercase()));
    let matches =
        |units: Vec<u16>| units.len() == class.len() && units.iter().zip(class).all(|(&a, &b)| fold(a) == fold(b));
    nt_rtl::unicode::units(item.at(KSOBJECT_CREATE_ITEM::ObjectClass)).is_ok_and(matches)
}

fn find_item(header: Header, name: &ObjectName) -> Option<Items> {
    let first = header.ptr(KS_HEADER::Items)?;
    let count = header.get(KS_HEADER::ItemsCount) as usize;
    let live = || {
        (0..count).map(|index| first.element(index)).filter(|item| item.code(KSOBJECT_CREATE_ITEM::Create).is_some())
    };
    let wildcard = |item: &Items| item.get(KSOBJECT_CREATE_ITEM::Flags) & KSCREATE_ITEM_WILDCARD != 0;
    live().find(|item| !wildcard(item) && same_class(*item, &name.class)).or_else(|| live().find(wildcard)) // KS-D-08
}

fn create(device: Device, packet: Irp, file: Foreign<FILE_OBJECT>) -> NtStatus {
    let header = match file.ptr(FILE_OBJECT::RelatedFileObject) {
        Some(related) => object_header(related),
        None => device_header(device),
    };
    let name = match name_of(file) {
        Ok(name) => name,
        Err(error) => return refuse(packet, error.status()),
    };
    let Some(item) = header.and_then(|header| find_item(header, &name)) else {
        return refuse(packet, NtStatus::OBJECT_NAME_NOT_FOUND);
    };
    if item.get(KSOBJECT_CREATE_ITEM::Flags) & KSCREATE_ITEM_NOPARAMETERS != 0 && name.parameters.is_some() {
        return refuse(packet, NtStatus::OBJECT_NAME_NOT_FOUND);
    }
    let Some(code) = item.code(KSOBJECT_CREATE_ITEM::Create) else {
        return refuse(packet, NtStatus::OBJECT_NAME_NOT_FOUND);
    };
    rule!(KS_D_09);
    packet.set(IRP::Tail_DriverContext.index(0), item.addr());
    if code == crate::exports::native_create() {
        return object::create(device, packet, item);
    }
    call(device, packet, code, IRP_MJ_CREATE)
}

/// KsAddObjectCreateItemToDeviceHeader (KS-D-10): fills an empty slot.
#[must_use]
pub fn add_create_item(header: Header, create: CodePtr, context: u64, class: Region) -> NtStatus {
    let count = header.get(KS_HEADER::ItemsCount) as usize;
    let Some(first) = header.ptr(KS_HEADER::Items) else { return NtStatus::ALLOTTED_SPACE_EXCEEDED };
    let free =
        (0..count).map(|index| first.element(index)).find(|item| item.code(KSOBJECT_CREATE_ITEM::Create).is_none());
    let Some(item) = free else { return NtStatus::ALLOTTED_SPACE_EXCEEDED };
    item.set_addr(KSOBJECT_CREATE_ITEM::Context, context);
    let string = item.at(KSOBJECT_CREATE_ITEM::ObjectClass);
    string.set(UNICODE_STRING::Length, class.len() as u16);
    string.set(UNICODE_STRING::MaximumLength, class.len() as u16);
    string.set_addr(UNICODE_STRING::Buffer, class.addr());
    item.set(KSOBJECT_CREATE_ITEM::Flags, 0);
    item.set_code(KSOBJECT_CREATE_ITEM::Create, Some(create));
    NtStatus::SUCCESS
}

/// KsDefaultDeviceIoCompletion (KS-D-13).
pub fn default_device_io_completion(packet: Irp) -> NtStatus {
    let stack = irp::current(packet);
    let status = match stack.get(IO_STACK_LOCATION::DeviceIoControl_IoControlCode) {
        IOCTL_KS_PROPERTY | IOCTL_KS_METHOD | IOCTL_KS_ENABLE_EVENT if asks_for_sets(packet) => NtStatus::SUCCESS,
        IOCTL_KS_PROPERTY | IOCTL_KS_METHOD | IOCTL_KS_ENABLE_EVENT | IOCTL_KS_DISABLE_EVENT => {
            NtStatus::PROPSET_NOT_FOUND
        }
        IOCTL_KS_RESET_STATE => NtStatus::SUCCESS,
        _ => NtStatus::INVALID_DEVICE_REQUEST,
    };
    refuse(packet, status)
}

fn asks_for_sets(packet: Irp) -> bool {
    let Ok(request) = crate::property::input(packet) else { return false };
    request.get(..KSIDENTIFIER::SIZE).is_some_and(|raw| {
        let set = GUID::from_bytes(raw[..16].try_into().unwrap_or_default());
        let flags = u32::from_le_bytes([raw[20], raw[21], raw[22], raw[23]]);
        set == GUID_NULL && flags & KSPROPERTY_TYPE_SETSUPPORT != 0
    })
}

/// Calls FastRead or FastWrite of an object's table; `None` when it has none, or answers FALSE (KS-S-08).
#[must_use]
pub fn call_fast(header: Header, direction: Direction, call: &ObjectCall) -> Option<Option<IoStatus>> {
    let slot = match direction {
        Direction::Read => KSDISPATCH_TABLE::FastRead,
        Direction::Write => KSDISPATCH_TABLE::FastWrite,
    };
    let code = header.ptr(KS_HEADER::Table)?.code(slot)?;
    if let Some(object) = object::native(header) {
        return Some(match direction {
            Direction::Read => object.fast_read(call),
            Direction::Write => object.fast_write(call),
        });
    }
    let ObjectCall { file, offset, length, wait, key, buffer, device } = *call;
    let fast = FastCall { file, offset: offset.unwrap_or(0), length, wait, key, buffer, device };
    Some(rw::call_fast_code(code, &fast, offset))
}

/// Writes a header's address where a driver asked for it.
pub(crate) fn give(to: Foreign<KS_CONTEXT>, header: Header) {
    to.set_ptr(KS_CONTEXT::Header, Some(header));
}
