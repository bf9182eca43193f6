//! A device whose driver records what reaches it and answers as the test says, and a caller of KsWriteFile on it.
#![allow(dead_code, reason = "each test file uses its part")]

use crate::support::{PATTERN, World};
use nt_abi::io::{DEVICE_OBJECT, FILE_OBJECT, IO_STACK_LOCATION, IO_STATUS_BLOCK, IRP_MJ_WRITE};
use nt_abi::ke::KEVENT;
use nt_abi::{Bytes, NtStatus};
use nt_cell::{Addr, Foreign, Region};
use nt_io::create::{self, CreateSpec};
use nt_io::device::{Device, DeviceSpec};
use nt_io::driver::{self, Answer, FastCall, NativeDriver, OwnedIrp};
use nt_io::irp::IoStatus;
use nt_io::observe::{Hop, Observer, Request};
use nt_io::rw::Direction;
use nt_ke::{Mode, Mutex, dispatcher};
use nt_ks::clientio::{self, Transfer};
use nt_ob::types::ObjectType;
use nt_ob::{Handle, ObjectRef};
use std::sync::Arc;

type OnIrp = Box<dyn Fn(OwnedIrp) -> Answer + Send + Sync>;
type OnFast = Box<dyn Fn(&FastCall) -> Option<IoStatus> + Send + Sync>;

/// What reached the driver, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Came {
    Fast,
    Packet,
}

struct Recorder {
    log: Arc<Mutex<Vec<Came>>>,
    packet: OnIrp,
    fast: Option<OnFast>,
}

impl NativeDriver for Recorder {
    fn dispatch(&self, _device: Device, irp: OwnedIrp) -> Answer {
        if irp.stack().get(IO_STACK_LOCATION::MajorFunction) != IRP_MJ_WRITE {
            return irp.complete(NtStatus::SUCCESS, 0);
        }
        self.log.lock().push(Came::Packet);
        (self.packet)(irp)
    }
    fn fast_write(&self, call: &FastCall) -> Option<IoStatus> {
        self.log.lock().push(Came::Fast);
        self.fast.as_ref().and_then(|fast| fast(call))
    }
    fn has_fast_io(&self) -> bool {
        self.fast.is_some()
    }
}

/// Findings of one rule.
#[derive(Default)]
pub struct Findings(Mutex<Vec<(String, String)>>);

impl Observer for Findings {
    fn begin(&self, _request: &Request) -> u64 {
        0
    }
    fn end(&self, _span: u64, _status: NtStatus, _information: u64) {}
    fn finding(&self, rule: &str, _severity: &str, _driver: &str, message: &str) {
        self.0.lock().push((rule.to_owned(), message.to_owned()));
    }
    fn hop(&self, _span: u64, _hop: &Hop<'_>) {}
}

impl Findings {
    pub fn listen(world: &World) -> Arc<Self> {
        let findings = Arc::new(Self::default());
        world.system().observe(Some(findings.clone()));
        findings
    }
    pub fn rules(&self) -> Vec<String> {
        self.0.lock().iter().map(|(rule, _)| rule.clone()).collect()
    }
}

/// The device, opened.
pub struct Target<'a> {
    pub world: &'a World,
    pub device: Device,
    pub handle: Handle,
    pub file: ObjectRef<FILE_OBJECT>,
    pub log: Arc<Mutex<Vec<Came>>>,
    pub iosb: Foreign<IO_STATUS_BLOCK>,
    pub buffer: Foreign<Bytes>,
}

pub const BYTES: &[u8; 8] = b"abcdefgh";

impl<'a> Target<'a> {
    pub fn new(
        world: &'a World,
        options: u32,
        packet: impl Fn(OwnedIrp) -> Answer + Send + Sync + 'static,
        fast: Option<OnFast>,
    ) -> Self {
        let log = Arc::default();
        let recorder = Recorder { log: Arc::clone(&log), packet: Box::new(packet), fast };
        let driver = driver::create_native(&world.kernel, "\\Driver\\Recorder", Arc::new(recorder)).expect("driver");
        let spec = DeviceSpec { name: Some("\\Device\\Recorder"), kind: 0x1D, ..DeviceSpec::default() };
        let device = nt_io::device::create(&world.kernel, driver.body(), &spec).expect("device").body();
        nt_io::device::ready(device);
        let spec = CreateSpec {
            access: 0x0010_0003,
            name: "\\Device\\Recorder".encode_utf16().collect(),
            options,
            disposition: 1,
            ..CreateSpec::default()
        };
        let (handle, _) = create::nt_create_file(&world.frame(), &spec).expect("open");
        let (file, _) =
            nt_io::event::reference(&world.frame(), handle, ObjectType::File, 0, Mode::Kernel).expect("file");
        let pool = |size| nt_ex::pool::allocate(size, nt_ex::pool::tag(b"tKsD"), nt_ex::pool::PoolKind::NonPaged);
        let (iosb, buffer) = (pool(16).expect("pool").view(), pool(BYTES.len()).expect("pool"));
        Region::pool(buffer, BYTES.len()).write_from(BYTES).expect("own block");
        let made = Self { world, device, handle, file: file.retype(), log, iosb, buffer };
        made.reset();
        made
    }

    /// One that completes every packet at once with this result.
    pub fn answering(world: &'a World, options: u32, status: NtStatus, count: u64) -> Self {
        Self::new(world, options, move |irp| irp.complete(status, count), None)
    }

    pub fn method(self, flags: u32) -> Self {
        self.device.or32(DEVICE_OBJECT::Flags, flags);
        self
    }

    pub fn reset(&self) {
        self.iosb.set(IO_STATUS_BLOCK::Status, NtStatus(PATTERN as u32));
        self.iosb.set(IO_STATUS_BLOCK::Information, PATTERN);
        self.log.lock().clear();
    }

    pub fn request(&self) -> Transfer {
        Transfer {
            file: self.file.body(),
            event: None,
            port_context: 0,
            iosb: self.iosb,
            buffer: Addr::from(self.buffer),
            length: BYTES.len() as u32,
            key: 0,
            mode: Mode::Kernel,
            direction: Direction::Write,
        }
    }

    pub fn go(&self, request: &Transfer) -> NtStatus {
        let frame = self.world.frame();
        frame.with_mode(Mode::Kernel, || clientio::transfer(&frame, request))
    }

    pub fn came(&self) -> Vec<Came> {
        self.log.lock().clone()
    }

    pub fn result(&self) -> (NtStatus, u64) {
        (self.iosb.get(IO_STATUS_BLOCK::Status), self.iosb.get(IO_STATUS_BLOCK::Information))
    }

    pub fn untouched(&self) -> bool {
        self.result() == (NtStatus(PATTERN as u32), PATTERN)
    }

    pub fn file_event(&self) -> bool {
        dispatcher::read_state(self.file.at(FILE_OBJECT::Event))
    }
}

impl Drop for Target<'_> {
    fn drop(&mut self) {
        let _closed = nt_io::event::close(&self.world.frame(), self.handle);
        self.world.kernel.drain();
        nt_ex::pool::free(self.iosb);
        nt_ex::pool::free(self.buffer);
    }
}

/// A notification event of the object manager.
pub fn event_object(world: &World, signaled: bool) -> ObjectRef<KEVENT> {
    let handle = world.event(signaled);
    let kind = ObjectType::Event;
    let (object, _) = nt_io::event::reference(&world.frame(), handle, kind, 0, Mode::Kernel).expect("event");
    object.retype()
}

/// Waits for an event.
pub fn wait_for(world: &World, event: Foreign<KEVENT>) {
    let header = event.at(KEVENT::Header);
    let status = nt_ke::wait::wait_for_single(&world.frame(), header, Mode::Kernel, false, None);
    assert_eq!(status, NtStatus::SUCCESS);
}
