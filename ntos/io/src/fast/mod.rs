//! Fast I/O: the tables of drivers, how a routine of theirs is called, and the queries that have one.
//!
//! Room: ntos/io. Called by: `rw`, `control`, `info`, `byname`; filters that pass a call on. IRQL: PASSIVE_LEVEL. Locks: none.
//! Source: FAST_IO_DISPATCH page, FLT_PARAMETERS for IRP_MJ_NETWORK_QUERY_OPEN and for IRP_MJ_QUERY_OPEN pages, sfilter sample
//! (whose device the packet of a query names); rules NT-K-10, NT-QRY-24, NT-QRY-25, NT-QRY-28.
//! Not here: fast reads and writes (`rw`), fast device control (`control`).

pub(crate) mod exports;

use crate::device::Device;
use crate::driver;
use crate::info::class;
use crate::irp::{self, IoStatus, Irp, Stack};
use crate::observe::{self, Request};
use crate::system::System;
use nt_abi::flt::{IRP_MJ_NETWORK_QUERY_OPEN, IRP_MJ_QUERY_OPEN};
use nt_abi::io::{
    DEVICE_OBJECT, DRIVER_OBJECT, FAST_IO_DISPATCH, FILE_OBJECT, IO_STACK_LOCATION, IRP_MJ_QUERY_INFORMATION,
};
use nt_abi::{Code, Field, NtResult, NtStatus};
use nt_cell::{CodePtr, Foreign, Region, callout};
use nt_ex::pool::{self, Scratch};
use nt_ke::Frame;
use nt_ps::counters::Operation;
use nt_trace::rule;

/// A query of an open file by FastIoQueryBasicInfo, FastIoQueryStandardInfo or FastIoQueryNetworkOpenInfo.
#[derive(Clone, Copy, Debug)]
pub struct FastQuery {
    /// The file.
    pub file: Foreign<FILE_OBJECT>,
    /// FILE_INFORMATION_CLASS.
    pub class: u32,
    /// May the routine block?
    pub wait: bool,
    /// Where the class's structure goes.
    pub buffer: Region,
    /// The device called.
    pub device: Device,
}

/// A query of a name, which opens nothing.
#[derive(Clone, Copy, Debug)]
pub struct QueryOpen {
    /// The create that would open it, in the callee's location of the packet.
    pub packet: Irp,
    /// FILE_INFORMATION_CLASS: FileNetworkOpenInformation by FastIoQueryOpen, others as NtQueryInformationByName has them.
    pub class: u32,
    /// Where the class's structure goes.
    pub buffer: Region,
    /// The device called.
    pub device: Device,
}

impl QueryOpen {
    /// As what filters see it.
    #[must_use]
    pub fn major(&self) -> u8 {
        if self.class == class::NETWORK_OPEN { IRP_MJ_NETWORK_QUERY_OPEN } else { IRP_MJ_QUERY_OPEN }
    }
}

/// The size of a FILE_NETWORK_OPEN_INFORMATION.
const NETWORK_OPEN_LENGTH: usize = 56;

/// What the routine of a class writes; `None` for a class that has none.
const fn length(class: u32) -> Option<usize> {
    match class {
        class::BASIC => Some(40),
        class::STANDARD => Some(24),
        class::NETWORK_OPEN => Some(NETWORK_OPEN_LENGTH),
        _ => None,
    }
}

const fn slot(class: u32) -> Option<Field<FAST_IO_DISPATCH, Code>> {
    match class {
        class::BASIC => Some(FAST_IO_DISPATCH::FastIoQueryBasicInfo),
        class::STANDARD => Some(FAST_IO_DISPATCH::FastIoQueryStandardInfo),
        class::NETWORK_OPEN => Some(FAST_IO_DISPATCH::FastIoQueryNetworkOpenInfo),
        _ => None,
    }
}

/// The table of a Rust driver: its routines lead to the trait.
pub(crate) fn native_table() -> NtResult<Foreign<FAST_IO_DISPATCH>> {
    let table = pool::zeroed::<FAST_IO_DISPATCH>(pool::tag(b"Fast"));
    let table = table.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    table.set(FAST_IO_DISPATCH::SizeOfFastIoDispatch, FAST_IO_DISPATCH::SIZE as u32);
    let routines = [
        (FAST_IO_DISPATCH::FastIoRead, exports::native_fast_read()),
        (FAST_IO_DISPATCH::FastIoWrite, exports::native_fast_write()),
        (FAST_IO_DISPATCH::FastIoQueryBasicInfo, exports::native_fast_query_basic()),
        (FAST_IO_DISPATCH::FastIoQueryStandardInfo, exports::native_fast_query_standard()),
        (FAST_IO_DISPATCH::FastIoQueryNetworkOpenInfo, exports::native_fast_query_network_open()),
        (FAST_IO_DISPATCH::FastIoQueryOpen, exports::native_fast_query_open()),
        (FAST_IO_DISPATCH::FastIoDeviceControl, exports::native_fast_control()),
    ];
    for (slot, routine) in routines {
        table.set_code(slot, Some(routine));
    }
    Ok(table)
}

/// Finds a driver's routine: a table that ends before the slot lacks it (NT-K-10).
pub(crate) fn routine(driver: Foreign<DRIVER_OBJECT>, slot: Field<FAST_IO_DISPATCH, Code>) -> Option<CodePtr> {
    let table = driver.ptr(DRIVER_OBJECT::FastIoDispatch)?;
    if table.get(FAST_IO_DISPATCH::SizeOfFastIoDispatch) as usize <= slot.offset() {
        return None;
    }
    table.code(slot)
}

/// Where a caller's own words stand in the block of [`call`], 16 bytes of them.
pub(crate) const BEHIND_STATUS: usize = 16;

/// Calls a routine that fills a status block and says whether it took the call; `arguments` gets the block.
pub(crate) fn call<const COUNT: usize>(
    code: CodePtr,
    arguments: impl FnOnce(Region) -> [u64; COUNT],
) -> Option<IoStatus> {
    let scratch = Scratch::new(2 * BEHIND_STATUS, pool::tag(b"Fast")).ok()?;
    let block = scratch.region();
    let taken = callout::call(code, &arguments(block)).is_ok_and(|answer| answer & 0xFF != 0);
    let status = block.load::<u32>(0).map_or(NtStatus::ACCESS_VIOLATION, NtStatus);
    let information = block.load::<u64>(8).unwrap_or(0);
    taken.then_some(IoStatus::new(status, information))
}

/// Calls the routine of a query's class; `None` when a driver has none or refuses.
#[must_use]
pub fn query(mut query: FastQuery) -> Option<IoStatus> {
    loop {
        let driver = query.device.ptr(DEVICE_OBJECT::DriverObject)?;
        let code = routine(driver, slot(query.class)?)?;
        let taken = driver::with_native(driver, |native| match native.fast_goes_to(IRP_MJ_QUERY_INFORMATION) {
            Some(lower) => Err(lower),
            None => Ok(native.fast_query(&query)),
        });
        match taken {
            Some(Ok(taken)) => return taken,
            Some(Err(lower)) => query.device = lower,
            None => {
                return call(code, |block| {
                    let wait = u64::from(query.wait);
                    [query.file.addr(), wait, query.buffer.addr(), block.addr(), query.device.addr()]
                });
            }
        }
    }
}

/// Asks the drivers of a device about a name; `None` when one has no way or refuses: the name has to be opened. While a driver
/// is called, the packet names its device.
#[must_use]
pub fn query_open(query: QueryOpen) -> Option<IoStatus> {
    let stack = irp::current(query.packet);
    let caller = stack.addr_at(IO_STACK_LOCATION::DeviceObject);
    let taken = query_open_of(query, stack);
    stack.set_addr(IO_STACK_LOCATION::DeviceObject, caller);
    taken
}

fn query_open_of(mut query: QueryOpen, stack: Stack) -> Option<IoStatus> {
    loop {
        stack.set_ptr(IO_STACK_LOCATION::DeviceObject, Some(query.device));
        let driver = query.device.ptr(DEVICE_OBJECT::DriverObject)?;
        let taken = driver::with_native(driver, |native| match native.fast_goes_to(query.major()) {
            Some(lower) => Err(lower),
            None => Ok(native.query_open(&query)),
        });
        match taken {
            Some(Ok(taken)) => return taken,
            Some(Err(lower)) => query.device = lower,
            // A compiled driver's PreQueryOpen would come from FsRtlRegisterFileSystemFilterCallbacks.
            None if query.class != class::NETWORK_OPEN => return None,
            None => {
                let code = routine(driver, FAST_IO_DISPATCH::FastIoQueryOpen)?;
                let arguments = [query.packet.addr(), query.buffer.addr(), query.device.addr()];
                let taken = callout::call(code, &arguments).is_ok_and(|answer| answer & 0xFF != 0);
                return taken.then(|| irp::status(query.packet));
            }
        }
    }
}

/// NtQueryInformationFile's three classes by fast I/O; `None` sends the packet.
pub(crate) fn ask(
    frame: &Frame,
    file: Foreign<FILE_OBJECT>,
    device: Device,
    class: u32,
    buffer: &Scratch,
) -> Option<IoStatus> {
    let driver = device.ptr(DEVICE_OBJECT::DriverObject)?;
    let (_there, length) = (routine(driver, slot(class)?)?, length(class)?);
    rule!(NT_QRY_25);
    let request =
        || Request { length: length as u32, fast: true, ..crate::file::request(frame, file, IRP_MJ_QUERY_INFORMATION) };
    let call = FastQuery { file, class, wait: true, buffer: buffer.region().sub(0, length), device };
    observed(frame, request, || query(call))
}

/// A fast call that shows in reports and traces, also when it is left to a packet.
pub(crate) fn observed(
    frame: &Frame,
    request: impl FnOnce() -> Request,
    body: impl FnOnce() -> Option<IoStatus>,
) -> Option<IoStatus> {
    let system = System::of(&frame.kernel);
    let span = system.begin(request);
    let taken = observe::with_fast_span(span, body);
    let shown = taken.unwrap_or(IoStatus::new(NtStatus::FLT_DISALLOW_FAST_IO, 0));
    system.end(span, shown.status, shown.information);
    if taken.is_some() {
        frame.thread.io().operation(Operation::Other);
    }
    taken
}
