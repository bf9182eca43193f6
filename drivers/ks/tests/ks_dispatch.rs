//! Object and device headers, create items, tables: what a driver with its own KS objects builds on (ks.md section 11).
mod device;
#[path = "../../memfs/tests/support/mod.rs"]
mod support;

use device::Findings;
use nt_abi::NtStatus;
use nt_abi::io::{
    DEVICE_OBJECT, DRIVER_OBJECT, FAST_IO_DISPATCH, FILE_OBJECT, IO_STACK_LOCATION, IRP, IRP_MJ_CLOSE, IRP_MJ_CREATE,
    IRP_MJ_DEVICE_CONTROL, IRP_MJ_FLUSH_BUFFERS, IRP_MJ_PNP, IRP_MJ_QUERY_SECURITY, IRP_MJ_READ, IRP_MJ_SET_SECURITY,
    IRP_MJ_WRITE,
};
use nt_abi::ks::*;
use nt_cell::{Addr, CodePtr, Foreign, callout};
use nt_ex::pool;
use nt_io::control::{self, ControlArguments};
use nt_io::create::{self, CreateSpec};
use nt_io::device::{Device, DeviceSpec};
use nt_io::driver::{self, Answer, NativeDriver, OwnedIrp};
use nt_io::irp;
use nt_io::service::Caller;
use nt_ke::Mutex;
use nt_ks::dispatch::{self, Header, KS_CONTEXT, KS_HEADER};
use nt_ks::exports as thunks;
use nt_ks::object::{self, ItemList, KsFactory, KsObject, NativeItem};
use nt_ob::Handle;
use std::sync::Arc;
use support::*;

type Log = Arc<Mutex<Vec<String>>>;

/// A driver whose requests all go to the dispatcher.
struct Dispatcher;

impl NativeDriver for Dispatcher {
    fn dispatch(&self, device: Device, irp: OwnedIrp) -> Answer {
        OwnedIrp::answered(dispatch::dispatch(device, irp.into_irp()))
    }
}

/// An object that says its name when it is asked something.
struct Named(&'static str, Log);

impl KsObject for Named {
    fn device_control(&self, irp: OwnedIrp) -> Answer {
        self.1.lock().push(self.0.to_owned());
        irp.complete(NtStatus::SUCCESS, 0)
    }
}

struct Maker(&'static str, Log);

impl KsFactory for Maker {
    fn create(&self, parameters: Option<&[u8]>, irp: OwnedIrp) -> Answer {
        let item: Foreign<KSOBJECT_CREATE_ITEM> = Foreign::of_table(irp.irp().get(IRP::Tail_DriverContext.index(0)));
        let class = nt_rtl::unicode::text(item.at(KSOBJECT_CREATE_ITEM::ObjectClass));
        self.1.lock().push(format!("{} by item '{class}', parameters {}", self.0, parameters.map_or(0, <[u8]>::len)));
        let made =
            object::attach(irp.file().expect("file"), Arc::new(Named(self.0, self.1.clone())), Vec::new(), irp.irp());
        irp.finish(made.map(|()| (NtStatus::SUCCESS, 0)))
    }
}

/// A device with create items.
struct Bench {
    log: Log,
    header: Header,
    items: ItemList,
    device: Device,
    world: World,
}

impl Bench {
    fn new(classes: &[(&'static str, bool)]) -> Self {
        let world = World::new();
        let log = Log::default();
        let item = |&(class, parameters): &(&'static str, bool)| NativeItem {
            class: class.to_owned(),
            parameters,
            factory: Arc::new(Maker(class, log.clone())),
        };
        let items = ItemList::new(classes.iter().map(item).collect()).expect("pool");
        let driver = driver::create_native(&world.kernel, "\\Driver\\Own", Arc::new(Dispatcher)).expect("driver");
        let spec = DeviceSpec { name: Some("\\Device\\Own"), kind: 0x2F, extension: 16, ..DeviceSpec::default() };
        let device = nt_io::device::create(&world.kernel, driver.body(), &spec).expect("device").body();
        let header = dispatch::allocate_device_header(items.count(), Some(items.items())).expect("pool");
        let extension: Foreign<KS_CONTEXT> = device.ptr(DEVICE_OBJECT::DeviceExtension).expect("extension").view();
        extension.set_ptr(KS_CONTEXT::Header, Some(header));
        nt_io::device::ready(device);
        Self { log, header, items, device, world }
    }

    fn open(&self, name: &str) -> Result<Handle, NtStatus> {
        let spec = CreateSpec {
            access: 0x0010_0003,
            name: format!("\\Device\\Own{name}").encode_utf16().collect(),
            disposition: 1,
            ..CreateSpec::default()
        };
        create::nt_create_file(&self.world.frame(), &spec).map(|(handle, _)| handle).map_err(NtStatus::from)
    }
    fn close(&self, handle: Handle) {
        nt_io::event::close(&self.world.frame(), handle).expect("close");
    }
    /// Opens and closes; says what was made, or why not.
    fn try_open(&self, name: &str) -> Result<String, NtStatus> {
        let handle = self.open(name)?;
        self.close(handle);
        Ok(self.log.lock().pop().expect("made"))
    }
    fn ask(&self, handle: Handle) -> NtStatus {
        let block = pattern_block();
        let arguments = ControlArguments {
            caller: Caller::plain(handle, Addr::user(block.addr())),
            code: IOCTL_KS_HANDSHAKE,
            input: (Addr::NULL, 0),
            output: (Addr::NULL, 0),
            file_system: false,
        };
        control::nt_control_file(&self.world.frame(), &arguments)
    }
    fn item(&self, index: usize) -> Foreign<KSOBJECT_CREATE_ITEM> {
        self.items.items().element(index)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.world.kernel.drain();
        dispatch::free_header(self.header);
    }
}

fn plain_driver(world: &World) -> Foreign<DRIVER_OBJECT> {
    driver::create(&world.kernel, "\\Driver\\Plain").expect("driver").body()
}

#[test]
fn ks_d_01_the_majors_of_a_table_are_handled_and_no_others() {
    let world = World::new();
    let driver = plain_driver(&world);
    let slot = |major: u8| driver.code(DRIVER_OBJECT::MajorFunction.index(usize::from(major)));
    let mine = [
        IRP_MJ_CREATE,
        IRP_MJ_CLOSE,
        IRP_MJ_DEVICE_CONTROL,
        IRP_MJ_READ,
        IRP_MJ_WRITE,
        IRP_MJ_FLUSH_BUFFERS,
        IRP_MJ_QUERY_SECURITY,
        IRP_MJ_SET_SECURITY,
    ];
    for major in 0..=IRP_MJ_PNP {
        let before = slot(major);
        let status = dispatch::set_major_function_handler(driver, u32::from(major));
        if mine.contains(&major) {
            assert_eq!((status, slot(major)), (NtStatus::SUCCESS, Some(thunks::dispatch_irp())), "{major:#x}");
        } else {
            assert_eq!((status, slot(major)), (NtStatus::INVALID_PARAMETER, before), "{major:#x}");
        }
    }
    assert_eq!(dispatch::set_major_function_handler(driver, 0x100), NtStatus::INVALID_PARAMETER);
}

#[test]
fn ks_d_02_fast_entries_go_into_the_table_that_the_driver_made() {
    let world = World::new();
    let driver = plain_driver(&world);
    let set = |major: u8| dispatch::set_major_function_handler(driver, u32::from(major) | KSDISPATCH_FASTIO);
    driver.set_ptr(DRIVER_OBJECT::FastIoDispatch, None);
    assert_eq!(set(IRP_MJ_WRITE), NtStatus::INVALID_PARAMETER, "no table");
    let table = pool::zeroed::<FAST_IO_DISPATCH>(pool::tag(b"tKsD")).expect("pool");
    driver.set_ptr(DRIVER_OBJECT::FastIoDispatch, Some(table));
    let major = driver.code(DRIVER_OBJECT::MajorFunction.index(usize::from(IRP_MJ_WRITE)));
    for (which, slot, code) in [
        (IRP_MJ_READ, FAST_IO_DISPATCH::FastIoRead, thunks::fast_read()),
        (IRP_MJ_WRITE, FAST_IO_DISPATCH::FastIoWrite, thunks::fast_write()),
        (IRP_MJ_DEVICE_CONTROL, FAST_IO_DISPATCH::FastIoDeviceControl, thunks::fast_control()),
    ] {
        assert_eq!((set(which), table.code(slot)), (NtStatus::SUCCESS, Some(code)));
    }
    assert_eq!(set(IRP_MJ_CREATE), NtStatus::INVALID_PARAMETER);
    assert_eq!(driver.code(DRIVER_OBJECT::MajorFunction.index(usize::from(IRP_MJ_WRITE))), major, "only the table");
    driver.set_ptr(DRIVER_OBJECT::FastIoDispatch, None);
    pool::free(table);
}

#[test]
fn ks_d_03_the_file_object_leads_to_the_table() {
    let bench = Bench::new(&[("one", true), ("two", true)]);
    let (one, two) = (bench.open("\\one").expect("one"), bench.open("\\two").expect("two"));
    bench.log.lock().clear();
    assert_eq!((bench.ask(one), bench.ask(two)), (NtStatus::SUCCESS, NtStatus::SUCCESS));
    assert_eq!(bench.log.lock().drain(..).collect::<Vec<_>>(), ["one", "two"]);
    // The way is FsContext, its first pointer, the header: who changes the pointer changes the object.
    let contexts = [one, two].map(|handle| {
        let found = nt_io::event::reference(
            &bench.world.frame(),
            handle,
            nt_ob::types::ObjectType::File,
            0,
            nt_ke::Mode::Kernel,
        );
        let file: Foreign<FILE_OBJECT> = found.expect("file").0.body().view();
        file.ptr(FILE_OBJECT::FsContext).expect("context").view::<KS_CONTEXT>()
    });
    let headers = contexts.map(|context| context.ptr(KS_CONTEXT::Header).expect("header"));
    contexts[0].set_ptr(KS_CONTEXT::Header, Some(headers[1]));
    assert_eq!(bench.ask(one), NtStatus::SUCCESS);
    assert_eq!(bench.log.lock().pop().as_deref(), Some("two"));
    contexts[0].set_ptr(KS_CONTEXT::Header, Some(headers[0]));
    bench.close(one);
    bench.close(two);
}

#[test]
fn ks_d_04_a_table_without_an_entry_is_reported_and_refuses() {
    let bench = Bench::new(&[("one", true)]);
    let findings = Findings::listen(&bench.world);
    let handle = bench.open("\\one").expect("one");
    let found =
        nt_io::event::reference(&bench.world.frame(), handle, nt_ob::types::ObjectType::File, 0, nt_ke::Mode::Kernel);
    let file: Foreign<FILE_OBJECT> = found.expect("file").0.body().view();
    let header = dispatch::object_header(file).expect("header");
    let whole = header.ptr(KS_HEADER::Table).expect("table");
    let bare = pool::zeroed::<KSDISPATCH_TABLE>(pool::tag(b"tKsD")).expect("pool");
    header.set_ptr(KS_HEADER::Table, Some(bare));
    assert_eq!(bench.ask(handle), NtStatus::INVALID_DEVICE_REQUEST);
    assert_eq!(findings.rules(), ["KS-D-04"]);
    header.set_ptr(KS_HEADER::Table, Some(whole));
    assert_eq!(bench.ask(handle), NtStatus::SUCCESS);
    bench.close(handle);
    pool::free(bare);
}

#[test]
fn ks_d_05_an_object_header_names_table_and_items_and_owns_neither() {
    let world = World::new();
    let table = pool::zeroed::<KSDISPATCH_TABLE>(pool::tag(b"tKsD")).expect("pool");
    let header = dispatch::allocate_object_header(0, None, None, Some(table)).expect("pool");
    assert_eq!(header.ptr(KS_HEADER::Table), Some(table));
    dispatch::free_header(header);
    table.set_code(KSDISPATCH_TABLE::Close, Some(thunks::dispatch_irp()));
    assert_eq!(table.code(KSDISPATCH_TABLE::Close), Some(thunks::dispatch_irp()), "the table is still the caller's");
    pool::free(table);
    drop(world);
}

#[test]
fn ks_d_06_a_device_is_known_by_the_first_pointer_of_its_extension() {
    let bench = Bench::new(&[("one", true)]);
    assert_eq!(dispatch::device_header(bench.device), Some(bench.header));
    let extension: Foreign<KS_CONTEXT> = bench.device.ptr(DEVICE_OBJECT::DeviceExtension).expect("extension").view();
    extension.set_ptr(KS_CONTEXT::Header, None);
    assert_eq!(dispatch::device_header(bench.device), None);
    assert_eq!(bench.open("\\one"), Err(NtStatus::OBJECT_NAME_NOT_FOUND));
    extension.set_ptr(KS_CONTEXT::Header, Some(bench.header));
    assert!(bench.try_open("\\one").is_ok());
}

#[test]
fn ks_d_08_a_wildcard_takes_what_no_other_item_does() {
    let bench = Bench::new(&[("any", true), ("one", false)]);
    assert_eq!(bench.try_open("\\other"), Err(NtStatus::OBJECT_NAME_NOT_FOUND));
    bench.item(0).set(KSOBJECT_CREATE_ITEM::Flags, KSCREATE_ITEM_WILDCARD);
    let other = bench.try_open("\\other").expect("the wildcard");
    assert!(other.starts_with("any by item"), "{other}");
    let one = bench.try_open("\\ONE").expect("its own item, though the wildcard stands first");
    assert!(one.starts_with("one by item"), "{one}");
    assert_eq!(bench.try_open("\\one\\x"), Err(NtStatus::OBJECT_NAME_NOT_FOUND), "NOPARAMETERS");
    bench.item(1).set(KSOBJECT_CREATE_ITEM::Flags, 0);
    assert_eq!(bench.try_open("\\one\\xy").as_deref(), Ok("one by item 'one', parameters 4"));
}

#[test]
fn ks_d_09_the_item_is_in_the_packet_when_create_is_called() {
    let bench = Bench::new(&[("one", true), ("two", true)]);
    assert_eq!(bench.try_open("\\two").as_deref(), Ok("two by item 'two', parameters 0"));
}

#[test]
fn ks_d_10_an_item_is_added_into_an_empty_slot() {
    let bench = Bench::new(&[("one", true), ("two", true)]);
    let class: Vec<u8> = "new".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let text = pool::allocate(class.len(), pool::tag(b"tKsD"), pool::PoolKind::NonPaged).expect("pool");
    let text_region = nt_cell::Region::pool(text, class.len());
    text_region.write_from(&class).expect("pool");
    let (create, context): (CodePtr, u64) = (
        bench.item(1).code(KSOBJECT_CREATE_ITEM::Create).expect("create"),
        bench.item(1).addr_at(KSOBJECT_CREATE_ITEM::Context),
    );
    let add = || dispatch::add_create_item(bench.header, create, context, text_region);
    assert_eq!(add(), NtStatus::ALLOTTED_SPACE_EXCEEDED);
    bench.item(1).set_code(KSOBJECT_CREATE_ITEM::Create, None);
    assert_eq!(bench.try_open("\\two"), Err(NtStatus::OBJECT_NAME_NOT_FOUND), "an empty slot is no item");
    assert_eq!(add(), NtStatus::SUCCESS);
    assert_eq!(bench.try_open("\\new").as_deref(), Ok("two by item 'new', parameters 0"));
    bench.header.set(KS_HEADER::ItemsCount, 0);
    pool::free(text);
}

#[test]
fn ks_d_12_fast_entries_that_fail_return_false_and_touch_nothing() {
    let world = World::new();
    let iosb = pool::allocate(16, pool::tag(b"tKsD"), pool::PoolKind::NonPaged).expect("pool");
    let region = nt_cell::Region::pool(iosb, 16);
    region.fill(0xA5).expect("pool");
    let answer = callout::call(thunks::fast_control_failure(), &[0, 1, 0, 0, 0, 0, 0, iosb.addr(), 0]);
    assert_eq!(answer.expect("it raises nothing") & 0xFF, 0);
    assert_eq!(region.to_vec().expect("pool"), vec![0xA5; 16]);
    pool::free(iosb);
    drop(world);
}

#[test]
fn ks_d_13_the_default_answers_of_control_requests() {
    let world = World::new();
    for (code, expected) in [
        (IOCTL_KS_PROPERTY, NtStatus::PROPSET_NOT_FOUND),
        (IOCTL_KS_METHOD, NtStatus::PROPSET_NOT_FOUND),
        (IOCTL_KS_ENABLE_EVENT, NtStatus::PROPSET_NOT_FOUND),
        (IOCTL_KS_DISABLE_EVENT, NtStatus::PROPSET_NOT_FOUND),
        (IOCTL_KS_RESET_STATE, NtStatus::SUCCESS),
        (IOCTL_KS_WRITE_STREAM, NtStatus::INVALID_DEVICE_REQUEST),
        (0x1234_5678, NtStatus::INVALID_DEVICE_REQUEST),
    ] {
        let packet = irp::allocate(2).expect("pool");
        irp::advance(packet, -1);
        irp::current(packet).set(IO_STACK_LOCATION::DeviceIoControl_IoControlCode, code);
        assert_eq!(dispatch::default_device_io_completion(packet), expected, "{code:#x}");
        assert_eq!((irp::status(packet).status, irp::status(packet).information), (expected, 0));
        irp::release(packet);
    }
    drop(world);
}

#[test]
fn ks_d_15_the_dispatcher_returns_what_the_object_says() {
    let bench = Bench::new(&[("one", true)]);
    let handle = bench.open("\\one").expect("one");
    assert_eq!(bench.ask(handle), NtStatus::SUCCESS, "the object's own status");
    bench.close(handle);
}
