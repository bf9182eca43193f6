//! A machine with one device whose driver does what a test tells it, and a user process, for tests of the I/O manager.

use nt_abi::NtStatus;
use nt_abi::io::{
    DEVICE_OBJECT, FILE_OBJECT, IO_STACK_LOCATION, IRP, IRP_MJ_DEVICE_CONTROL, IRP_MJ_READ, IRP_MJ_WRITE,
};
use nt_cell::arena::UserBlock;
use nt_cell::{Addr, CodePtr, Foreign};
use nt_io::create::{self, CreateSpec};
use nt_io::device::{self, Device, DeviceSpec};
use nt_io::driver::{self, Answer, FastCall, NativeDriver, OwnedIrp, PendedIrp};
use nt_io::info::{self, InfoArguments};
use nt_io::irp::{self, IoStatus};
use nt_io::observe::{Hop, Observer, Request};
use nt_io::rw::Arguments;
use nt_io::system::System;
use nt_io::{event, port, read, write};
use nt_ke::dispatcher::{self, EventType};
use nt_ke::{Entered, Frame, Kernel, Mode, Mutex, WindowsVersion};
use nt_ob::types::ObjectType;
use nt_ob::{Handle, ObjectRef};
use nt_ps::{Process, Processes};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

mod call;
mod done;
mod script;
pub use call::{Call, Ran, apcs, noting_apc};
pub use done::*;
use script::SCRIPTS;
pub use script::{Plan, Script};

pub const READ_DATA: u32 = 1;
pub const WRITE_DATA: u32 = 2;
pub const APPEND_DATA: u32 = 4;
pub const SYNCHRONIZE: u32 = 0x10_0000;
pub const ALERT: u32 = 0x10;
pub const NONALERT: u32 = 0x20;
pub const NONCACHED: u32 = 8;
pub const SECTOR: u16 = 512;

/// Findings that the machine reported: {rule, severity, text}.
#[derive(Default)]
pub struct Findings(Mutex<Vec<(String, String, String)>>);

impl Findings {
    pub fn take(&self) -> Vec<(String, String, String)> {
        std::mem::take(&mut *self.0.lock())
    }
    pub fn rules(&self) -> Vec<String> {
        self.take().into_iter().map(|(rule, _, _)| rule).collect()
    }
}

impl Observer for Findings {
    fn begin(&self, _request: &Request) -> u64 {
        0
    }
    fn end(&self, _span: u64, _status: NtStatus, _information: u64) {}
    fn finding(&self, rule: &str, severity: &str, _driver: &str, message: &str) {
        self.0.lock().push((rule.into(), severity.into(), message.into()));
    }
    fn hop(&self, _span: u64, _hop: &Hop<'_>) {}
}

pub struct World {
    pub kernel: Arc<Kernel>,
    pub processes: Arc<Processes>,
    pub process: Arc<Process>,
    pub script: Arc<Script>,
    pub device: Device,
    pub findings: Arc<Findings>,
    entered: Option<Entered>,
}

impl World {
    pub fn new() -> Self {
        Self::windows(WindowsVersion::default())
    }

    pub fn windows(windows: WindowsVersion) -> Self {
        let kernel = Kernel::new(windows);
        let processes = Processes::install(&kernel).expect("processes");
        let _system = System::install(&kernel);
        let findings = Arc::new(Findings::default());
        System::of(&kernel).observe(Some(Arc::clone(&findings) as nt_io::observe::SharedObserver));
        let script = Arc::new(Script::default());
        let native = Arc::clone(&script) as Arc<dyn NativeDriver>;
        let driver = driver::create_native(&kernel, "\\Driver\\Script", native).expect("driver");
        let spec = DeviceSpec { name: Some("\\Device\\Script"), kind: 0x22, ..DeviceSpec::default() };
        let made = device::create(&kernel, *driver, &spec).expect("device");
        let device = made.body();
        device.set(DEVICE_OBJECT::SectorSize, SECTOR);
        device::ready(device);
        SCRIPTS.lock().push((device.addr(), Arc::clone(&script)));
        let process = processes.create_process(&kernel, "test.exe").expect("process");
        let thread = processes.create_thread(&kernel, &process).expect("thread");
        let entered = nt_ke::enter(&kernel, &thread, Mode::User);
        Self { kernel, processes, process, script, device, findings, entered: Some(entered) }
    }

    pub fn frame(&self) -> Rc<Frame> {
        nt_ke::current()
    }

    pub fn system(&self) -> &System {
        System::of(&self.kernel)
    }

    /// DO_BUFFERED_IO, DO_DIRECT_IO or neither.
    pub fn method(&self, flags: u32) {
        self.device.and32(DEVICE_OBJECT::Flags, !0x14);
        self.device.or32(DEVICE_OBJECT::Flags, flags);
    }

    pub fn try_open(&self, access: u32, options: u32) -> Result<Handle, NtStatus> {
        let spec =
            CreateSpec { access, name: "\\Device\\Script".encode_utf16().collect(), options, ..CreateSpec::default() };
        create::nt_create_file(&self.frame(), &spec).map(|(handle, _)| handle).map_err(NtStatus::from)
    }

    pub fn open(&self, access: u32, options: u32) -> File {
        let handle = self.try_open(access, options).expect("the device opens");
        let (object, _) = event::reference(&self.frame(), handle, ObjectType::File, 0, Mode::User).expect("open");
        File { handle, object: Some(object.retype()) }
    }

    /// An S-handle, not alertable.
    pub fn synchronous(&self) -> File {
        self.open(READ_DATA | WRITE_DATA | SYNCHRONIZE, NONALERT)
    }

    /// An A-handle.
    pub fn asynchronous(&self) -> File {
        self.open(READ_DATA | WRITE_DATA | SYNCHRONIZE, 0)
    }

    pub fn event(&self, signaled: bool) -> Handle {
        event::create(&self.frame(), 0x001F_0003, 0, EventType::Notification, signaled).expect("event")
    }

    /// Is the object of this handle signalled?
    pub fn signaled(&self, handle: Handle) -> bool {
        event::wait_for(&self.frame(), handle, false, Some(0)).expect("wait") == NtStatus::SUCCESS
    }

    pub fn port(&self) -> Handle {
        port::create(&self.frame(), 0x001F_0003).expect("port")
    }

    pub fn associate(&self, file: &File, port: Handle, key: u64) -> NtStatus {
        let mut data = [0; 16];
        data[..8].copy_from_slice(&port.0.to_le_bytes());
        data[8..].copy_from_slice(&key.to_le_bytes());
        self.set(file, info::class::COMPLETION, &data).returned
    }

    /// The next packet of a port: {key, context, status, Information}, or what an empty one returns.
    pub fn packet(&self, port: Handle) -> Result<(u64, u64, NtStatus, u64), NtStatus> {
        let taken = port::remove(&self.frame(), port, Some(0)).expect("a port");
        taken.map(|p| (p.key, p.context, p.result.status, p.result.information))
    }

    pub fn set(&self, file: &File, class: u32, data: &[u8]) -> Done {
        let buffer = UserBlock::new(data.len() + 16).expect("arena");
        buffer.region().sub(16, data.len()).write_from(data).expect("buffer");
        fill_pattern(&buffer);
        let args = InfoArguments {
            handle: file.handle,
            iosb: Addr::user(buffer.addr()),
            buffer: Addr::user(buffer.addr() + 16),
            length: data.len() as u32,
            class,
        };
        let returned = info::nt_set_information_file(&self.frame(), &args);
        Done { returned, iosb: iosb_at(&buffer) }
    }

    /// Completion modes: 1 skip the port on success, 2 skip the file's event, 4 skip the event on fast I/O.
    pub fn modes(&self, file: &File, flags: u32) {
        let done = self.set(file, info::class::IO_COMPLETION_NOTIFICATION, &flags.to_le_bytes());
        assert_eq!(done.returned, NtStatus::SUCCESS);
    }

    /// A write of `bytes` at offset 0, ready to be changed and made.
    pub fn write(&self, file: &File, bytes: &[u8]) -> Call {
        Call::new(file.handle, bytes, false)
    }

    pub fn read(&self, file: &File, length: usize) -> Call {
        Call::new(file.handle, &vec![0xEE; length], true)
    }

    /// An alertable sleep of one millisecond.
    pub fn alertable(&self) -> NtStatus {
        nt_io::thread::nt_delay_execution(&self.frame(), true, -10_000)
    }

    /// Runs `body` in another thread of the same process.
    pub fn spawn<R: Send + 'static>(&self, body: impl FnOnce(&Frame) -> R + Send + 'static) -> Other<R> {
        self.spawn_in(&self.process, body)
    }

    pub fn spawn_in<R: Send + 'static>(
        &self,
        process: &Arc<Process>,
        body: impl FnOnce(&Frame) -> R + Send + 'static,
    ) -> Other<R> {
        self.spawn_as(process, Mode::User, body)
    }

    pub fn spawn_as<R: Send + 'static>(
        &self,
        process: &Arc<Process>,
        mode: Mode,
        body: impl FnOnce(&Frame) -> R + Send + 'static,
    ) -> Other<R> {
        let thread = self.processes.create_thread(&self.kernel, process).expect("thread");
        let (kernel, runs) = (Arc::clone(&self.kernel), Arc::clone(&thread));
        let join = std::thread::spawn(move || {
            let entered = nt_ke::enter(&kernel, &runs, mode);
            body(entered.frame())
        });
        Other { thread, join }
    }

    /// Waits, for at most 100 seconds, until `ready` is true.
    pub fn until(&self, ready: impl Fn() -> bool) {
        for _ in 0..20_000 {
            if ready() {
                return;
            }
            let _slept = nt_ke::wait::delay(&self.frame(), Mode::Kernel, false, -50_000);
        }
        panic!("it did not happen in 100 seconds");
    }
}

pub struct Other<R> {
    pub thread: Arc<nt_ke::Thread>,
    join: std::thread::JoinHandle<R>,
}

impl<R> Other<R> {
    pub fn is_over(&self) -> bool {
        self.join.is_finished()
    }
    pub fn join(self) -> R {
        self.join.join().expect("the other thread")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.processes.end(&self.process);
        while let Some(left) = self.script.take(None) {
            left.irp().swap_code(IRP::CancelRoutine, None);
            left.complete(NtStatus::CANCELLED, 0);
        }
        let in_flight = self.processes.in_flight();
        if !std::thread::panicking() {
            assert_eq!(in_flight, 0, "requests in flight at shutdown");
        }
        SCRIPTS.lock().retain(|(at, _)| *at != self.device.addr());
        self.kernel.stop();
        self.system().shutdown();
        self.entered = None;
    }
}

/// An open file: its handle, and its object while a test looks at it.
pub struct File {
    pub handle: Handle,
    object: Option<ObjectRef<FILE_OBJECT>>,
}

impl File {
    pub fn object(&self) -> Foreign<FILE_OBJECT> {
        **self.object.as_ref().expect("not let go")
    }
    /// FILE_OBJECT.Event.
    pub fn event(&self) -> bool {
        dispatcher::read_state(self.object().at(FILE_OBJECT::Event))
    }
    pub fn set_event(&self, signaled: bool) {
        let event = self.object().at(FILE_OBJECT::Event);
        if signaled {
            dispatcher::set_event(event);
        } else {
            dispatcher::clear_event(event);
        }
    }
    pub fn seek(&self, to: i64) {
        self.object().set(FILE_OBJECT::CurrentByteOffset, to);
    }
    /// Makes the I/O manager try fast I/O.
    pub fn cache(&self) {
        self.object().set_addr(FILE_OBJECT::PrivateCacheMap, 8);
    }
    /// Closes the handle; the object goes too.
    pub fn close(mut self) {
        self.object = None;
        event::close(&nt_ke::current(), self.handle).expect("open");
        self.handle = Handle::NULL;
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.object = None;
        if self.handle != Handle::NULL && nt_ke::try_current().is_some() {
            let _closed = event::close(&nt_ke::current(), self.handle);
        }
    }
}
