//! A machine with t_avs.sys loaded, its lines, and what a client of its pins needs.
#![allow(dead_code, reason = "each test file uses its part")]

use nt_abi::ks::*;
use nt_cell::{Addr, Foreign, Region};
use nt_io::service::Caller;
use nt_machine::driver::{Driver, DriverOptions, Unloaded};
use nt_machine::file::{OPEN, spec};
use nt_machine::{CreateSpec, KernelClient, KernelFile, Machine, NtError, NtStatus, Recorder};
use std::sync::{Arc, Mutex};

pub const T_SET: GUID = GUID::parse("5D1F7A10-0001-4B53-A101-6E74696F0001");
pub const T_METHODS: GUID = GUID::parse("5D1F7A10-0002-4B53-A101-6E74696F0002");

type Lines = Arc<Mutex<Vec<String>>>;

pub struct Avs {
    lines: Lines,
    good: Mutex<usize>,
    told: Mutex<Vec<String>>,
    driver: Option<Driver>,
    kernel: Option<KernelClient>,
    machine: Option<Machine>,
}

/// A test that failed leaves the image where it is: what it left behind may still call it.
impl Drop for Avs {
    fn drop(&mut self) {
        std::mem::forget((self.driver.take(), self.machine.take()));
    }
}

impl Avs {
    pub fn new() -> Self {
        let lines = Lines::default();
        let sink = Arc::clone(&lines);
        let machine = Machine::builder()
            .recorder(Recorder::new(None))
            .debug(move |line| sink.lock().expect("no other holder panics").push(line.trim_end().to_owned()))
            .build()
            .expect("a machine");
        let image = include_bytes!("../../../tests/drivers/t_avs.sys");
        let driver = machine.load_driver("t_avs.sys", image, &DriverOptions::default()).expect("the driver loads");
        let kernel = machine.kernel_client().expect("a thread");
        Self {
            lines,
            good: Mutex::new(0),
            told: Mutex::default(),
            driver: Some(driver),
            kernel: Some(kernel),
            machine: Some(machine),
        }
    }

    /// Opens the device, with a reference string behind it.
    pub fn open(&self, reference: &str) -> Result<KernelFile, NtError> {
        self.kernel
            .as_ref()
            .expect("a thread")
            .open(&CreateSpec { disposition: OPEN, ..spec(&format!("\\??\\NtioKs.t_avs{reference}")) })
    }

    fn machine(&self) -> &Machine {
        self.machine.as_ref().expect("a machine")
    }

    /// All lines but those of checks; a check that failed fails the test.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.lines.lock().expect("no other holder panics").clone();
        let failed: Vec<_> = lines.iter().filter(|line| line.starts_with("not ok")).collect();
        assert!(failed.is_empty(), "{failed:#?}");
        lines.into_iter().filter(|line| !line.starts_with("ok ")).collect()
    }

    /// The lines since the last call.
    pub fn take_lines(&self) -> Vec<String> {
        let lines = self.lines();
        let mut all = self.lines.lock().expect("no other holder panics");
        *self.good.lock().expect("no other holder panics") += all.iter().filter(|line| line.starts_with("ok ")).count();
        all.clear();
        lines
    }

    /// How many checks of the driver held.
    pub fn good(&self) -> usize {
        self.take_lines();
        *self.good.lock().expect("no other holder panics")
    }

    /// The rules that the machine found broken; the end of the machine finds no others.
    pub fn findings(&self) -> Vec<String> {
        let found = found(self.machine());
        self.told.lock().expect("no other holder panics").clone_from(&found);
        found
    }

    /// Clears or sets KSDEVICE.Started.
    pub fn pretend_not_started(&self, not: bool) {
        let body = nt_ks::avs::device::of_driver(self.driver.as_ref().expect("a driver").object().body())
            .expect("a device")
            .body();
        body.set(KSDEVICE::Started, u8::from(!not));
    }

    /// Unloads the driver and ends the machine: nothing may be left.
    pub fn end(mut self) {
        self.kernel = None;
        let (driver, machine) = (self.driver.take().expect("a driver"), self.machine.take().expect("a machine"));
        let (lines, told) = (Arc::clone(&self.lines), std::mem::take(&mut self.told));
        assert_eq!(machine.unload_driver(driver), Unloaded::Yes);
        let last = lines.lock().expect("no other holder panics").clone();
        assert!(last.iter().any(|line| line == "device remove, started 1"), "{last:?}");
        let failed: Vec<_> = last.iter().filter(|line| line.starts_with("not ok")).collect();
        assert!(failed.is_empty(), "{failed:#?}");
        assert_eq!(found(&machine), told.into_inner().expect("no other holder panics"));
        let leaks = machine.shutdown();
        assert!(leaks.is_empty(), "{leaks:?}");
    }
}

fn found(machine: &Machine) -> Vec<String> {
    let report = machine.recorder().expect("it was built with one").report();
    report.findings.into_iter().filter(|each| each.severity != "note").map(|finding| finding.rule).collect()
}

/// A pin in the state of running, with a mode.
pub fn running(filter: &KernelFile, id: u32, mode: u32) -> KernelFile {
    let pin = filter.pin(id, false).expect("pin");
    set_mode(&pin, mode);
    pin.set_state(KSSTATE_RUN).expect("run");
    pin
}

/// A block of nonpaged pool for one call.
struct Block(Foreign<nt_abi::Bytes>, usize);

impl Block {
    fn of(bytes: &[u8]) -> Self {
        let kind = nt_ex::pool::PoolKind::NonPaged;
        let block = nt_ex::pool::allocate(bytes.len().max(1), nt_ex::pool::tag(b"tAvs"), kind).expect("pool");
        let made = Self(block, bytes.len());
        made.region().write_from(bytes).expect("own block");
        made
    }
    fn region(&self) -> Region {
        Region::pool(self.0, self.1)
    }
    fn named(&self) -> (Addr, u32) {
        (if self.1 == 0 { Addr::NULL } else { Addr::from(self.0) }, self.1 as u32)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        nt_ex::pool::free(self.0);
    }
}

/// KsSynchronousIoControlDevice: {status, Information} and the output buffer.
fn control(file: &KernelFile, code: u32, input: &[u8], output: &[u8]) -> ((NtStatus, u64), Vec<u8>) {
    let (input, output) = (Block::of(input), Block::of(output));
    let request = nt_ks::streamio::ControlRequest {
        file: file.object(),
        mode: nt_ke::Mode::Kernel,
        code,
        input: input.named(),
        output: output.named(),
    };
    let result = file.client().call(|frame| nt_ks::streamio::synchronous_control(frame, &request));
    ((result.status, result.information), output.region().to_vec().expect("own block"))
}

fn identifier(set: GUID, id: u32, flags: u32, length: usize) -> Vec<u8> {
    let mut raw = set.to_bytes().to_vec();
    raw.extend(id.to_le_bytes());
    raw.extend(flags.to_le_bytes());
    raw.resize(length, 0);
    raw
}

/// A property request with so many bytes of request and of room.
pub fn raw_property(
    file: &KernelFile,
    set: GUID,
    id: u32,
    flags: u32,
    length: usize,
    room: usize,
) -> ((NtStatus, u64), Vec<u8>) {
    control(file, IOCTL_KS_PROPERTY, &identifier(set, id, flags, length), &vec![0; room])
}

/// A property's value.
pub fn property(file: &KernelFile, set: GUID, id: u32, flags: u32, room: usize) -> Result<Vec<u8>, NtStatus> {
    let ((status, count), bytes) = raw_property(file, set, id, flags, 24, room);
    if status == NtStatus::SUCCESS { Ok(bytes[..count as usize].to_vec()) } else { Err(status) }
}

fn put(file: &KernelFile, set: GUID, id: u32, value: &[u8]) -> Result<(), NtError> {
    let request = identifier(set, id, KSPROPERTY_TYPE_SET, 24);
    let ((status, _), _) = control(file, IOCTL_KS_PROPERTY, &request, value);
    if status == NtStatus::SUCCESS { Ok(()) } else { Err(status.error()) }
}

pub fn set_mode(pin: &KernelFile, mode: u32) {
    put(pin, T_SET, 0, &mode.to_le_bytes()).expect("the mode");
}

pub fn release(pin: &KernelFile, what: u32) -> Result<(), NtError> {
    put(pin, T_SET, 2, &what.to_le_bytes())
}

/// What the driver keeps for a pin.
pub struct Counts {
    pub bytes: u32,
    pub sum: u32,
    pub calls: u32,
}

pub fn counts(pin: &KernelFile) -> Counts {
    let raw = property(pin, T_SET, 1, KSPROPERTY_TYPE_GET, 16).expect("the counts");
    let word = |at: usize| u32::from_le_bytes(raw[at..at + 4].try_into().expect("four bytes"));
    Counts { bytes: word(4), sum: word(8), calls: word(12) }
}

/// The driver's sum of bytes, in order.
pub fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)))
}

/// A method request on one word of data; returns {status, Information} and the word afterwards.
pub fn method(pin: &KernelFile, id: u32, flags: u32, data: Option<u32>) -> ((NtStatus, u64), u32) {
    let flags = if flags == 0 { KSMETHOD_TYPE_SEND } else { flags };
    let output = data.map_or(Vec::new(), |data| data.to_le_bytes().to_vec());
    let (said, output) = control(pin, IOCTL_KS_METHOD, &identifier(T_METHODS, id, flags, 24), &output);
    (said, output.first_chunk().map_or(0, |word| u32::from_le_bytes(*word)))
}

/// A property of KSPROPSETID_Pin about one kind of pin.
pub fn about_pin(filter: &KernelFile, id: u32, pin: u32, room: usize) -> Result<Vec<u8>, NtStatus> {
    let mut request = identifier(KSPROPSETID_Pin, id, KSPROPERTY_TYPE_GET, 32);
    request[24..28].copy_from_slice(&pin.to_le_bytes());
    let ((status, count), bytes) = control(filter, IOCTL_KS_PROPERTY, &request, &vec![0; room]);
    if status == NtStatus::SUCCESS { Ok(bytes[..count as usize].to_vec()) } else { Err(status) }
}

/// The byte stream format with a sample size.
pub fn format(sample: u32) -> Vec<u8> {
    let mut raw = nt_ks::connect::stream_format().to_vec();
    raw[8..12].copy_from_slice(&sample.to_le_bytes());
    raw
}

pub fn set_format(pin: &KernelFile, id: u32, format: &[u8]) -> Result<(), NtError> {
    put(pin, KSPROPSETID_Connection, id, format)
}

pub fn get_format(pin: &KernelFile) -> Vec<u8> {
    let id = KSPROPERTY_CONNECTION_DATAFORMAT;
    property(pin, KSPROPSETID_Connection, id, KSPROPERTY_TYPE_GET, 64).expect("the format")
}

pub fn reset(pin: &KernelFile, value: u32) -> Result<(), NtStatus> {
    let ((status, _), _) = control(pin, IOCTL_KS_RESET_STATE, &value.to_le_bytes(), &[]);
    if status == NtStatus::SUCCESS { Ok(()) } else { Err(status) }
}

/// A write request that nobody waits for.
pub struct Pending {
    local: nt_io::event::LocalEvent,
    packet: Option<u64>,
    client: KernelClient,
    _frames: nt_ks::frames::FrameList,
}

impl Pending {
    pub fn write(avs: &Avs, pin: &KernelFile, frames: &[&[u8]]) -> Self {
        Self::start(avs, pin, frames, false)
    }

    fn start(_avs: &Avs, pin: &KernelFile, frames: &[&[u8]], last: bool) -> Self {
        let count = frames.len();
        let local = nt_io::event::LocalEvent::new().expect("pool");
        let frames = nt_ks::frames::FrameList::filled(frames).expect("pool");
        if last {
            frames.header(count - 1).set(KSSTREAM_HEADER::OptionsFlags, KSSTREAM_HEADER_OPTIONSF_ENDOFSTREAM);
        }
        let request = nt_ks::streamio::StreamRequest::of_kernel(pin.object(), &frames, &local, KSSTREAM_WRITE);
        let client = pin.client().clone();
        let packet = client.call(|frame| {
            let status = nt_ks::streamio::stream_io(frame, &request);
            assert_eq!(status, NtStatus::PENDING);
            frame.thread.irps().last().copied()
        });
        Self { local, packet, client, _frames: frames }
    }

    /// The result, once there is one.
    pub fn result(&self) -> Option<(NtStatus, u64)> {
        let result = self.local.result();
        nt_ke::dispatcher::read_state(self.local.event()).then_some((result.status, result.information))
    }

    pub fn wait(&self) {
        let header = self.local.event().at(nt_abi::ke::KEVENT::Header);
        self.client.call(|frame| {
            let _done = nt_ke::wait::wait_for_single(frame, header, nt_ke::Mode::Kernel, false, None);
        });
    }

    pub fn cancel(&self) {
        let packet = Foreign::of_table(self.packet.expect("the request pends"));
        self.client.call(|_| nt_io::cancelable::cancel_irp(packet));
    }
}

/// IOCTL_KS_RESET_STATE with any input.
pub fn raw_reset(pin: &KernelFile, input: &[u8]) -> (NtStatus, u64) {
    control(pin, IOCTL_KS_RESET_STATE, input, &[]).0
}

/// A method request of any set, with so many bytes of request.
pub fn raw_method(pin: &KernelFile, set: GUID, id: u32, length: usize, data: &[u8]) -> ((NtStatus, u64), Vec<u8>) {
    control(pin, IOCTL_KS_METHOD, &identifier(set, id, KSMETHOD_TYPE_SEND, length), data)
}

/// A property of KSPROPSETID_Pin, as it was answered.
pub fn about_pin_raw(filter: &KernelFile, id: u32, pin: u32, room: usize) -> ((NtStatus, u64), Vec<u8>) {
    let mut request = identifier(KSPROPSETID_Pin, id, KSPROPERTY_TYPE_GET, 32);
    request[24..28].copy_from_slice(&pin.to_le_bytes());
    control(filter, IOCTL_KS_PROPERTY, &request, &vec![0; room])
}

/// KSPROPERTY_PIN_DATAINTERSECTION with the caller's ranges.
pub fn intersection(filter: &KernelFile, pin: u32, ranges: &[&[u8]], room: usize) -> ((NtStatus, u64), Vec<u8>) {
    let mut request = identifier(KSPROPSETID_Pin, KSPROPERTY_PIN_DATAINTERSECTION, KSPROPERTY_TYPE_GET, 32);
    request[24..28].copy_from_slice(&pin.to_le_bytes());
    let size = 8 + ranges.iter().map(|range| range.len()).sum::<usize>();
    request.extend((size as u32).to_le_bytes());
    request.extend((ranges.len() as u32).to_le_bytes());
    request.extend(ranges.concat());
    control(filter, IOCTL_KS_PROPERTY, &request, &vec![0; room])
}

/// A format with another major type.
pub fn with_major(format: &[u8], major: GUID) -> Vec<u8> {
    let mut raw = format.to_vec();
    raw[16..32].copy_from_slice(&major.to_bytes());
    raw
}

/// Connects to a pin with a format.
pub fn pin_with(filter: &KernelFile, id: u32, format: &[u8]) -> Result<KernelFile, NtError> {
    let name = nt_ks::connect::pin_name(&nt_ks::connect::client_connect(id), format);
    let spec = CreateSpec { access: 0x4000_0000, root: filter.handle(), name, ..CreateSpec::default() };
    filter.client().open(&spec)
}

impl Avs {
    /// What a user-mode process gets that connects to a pin of the first filter.
    pub fn pin_by_user(&self, id: u32) -> NtStatus {
        self.by_user(|frame, root| {
            let name = nt_ks::connect::pin_name(&nt_ks::connect::client_connect(id), &nt_ks::connect::stream_format());
            let pin = CreateSpec { access: 0x4000_0000, root, name, ..CreateSpec::default() };
            match nt_io::create::nt_create_file(frame, &pin) {
                Ok((handle, _)) => {
                    nt_io::event::close(frame, handle).expect("close");
                    NtStatus::SUCCESS
                }
                Err(error) => error.status(),
            }
        })
    }
}

pub const T_EVENTS: GUID = GUID::parse("5D1F7A10-0005-4B53-A101-6E74696F0005");

/// An event that a client wants to be told, and what it is told by.
pub struct Wanted {
    record: Block,
    object: Foreign<nt_abi::ke::DISPATCHER_HEADER>,
    /// The block of an object that is no object manager's.
    own: Option<Foreign<nt_abi::Bytes>>,
    handle: Option<(nt_ob::Handle, KernelClient)>,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        if let Some((handle, client)) = &self.handle {
            client.call(|frame| nt_io::event::close(frame, *handle)).expect("close");
        }
        if let Some(own) = self.own {
            nt_ex::pool::free(own);
        }
    }
}

impl Wanted {
    fn record(kind: u32, value: u64, adjustment: u32) -> Block {
        let mut raw = u64::from(kind).to_le_bytes().to_vec();
        raw.extend(value.to_le_bytes());
        raw.extend((u64::from(adjustment) << 32).to_le_bytes());
        raw.resize(40, 0);
        Block::of(&raw)
    }
    fn pool() -> Foreign<nt_abi::Bytes> {
        nt_ex::pool::allocate(32, nt_ex::pool::tag(b"tAvE"), nt_ex::pool::PoolKind::NonPaged).expect("pool")
    }

    /// An event that kernel code keeps itself.
    pub fn object() -> Self {
        let own = Self::pool();
        let kind = nt_ke::dispatcher::EventType::Notification;
        nt_ke::dispatcher::initialize_event(own.view(), kind, false);
        Self {
            record: Self::record(KSEVENTF_EVENT_OBJECT, own.addr(), 0),
            object: own.view(),
            own: Some(own),
            handle: None,
        }
    }

    /// A semaphore that kernel code keeps itself.
    pub fn semaphore(adjustment: u32) -> Self {
        let own = Self::pool();
        let semaphore: Foreign<nt_abi::ke::KSEMAPHORE> = own.view();
        let header = semaphore.at(nt_abi::ke::KSEMAPHORE::Header);
        nt_ke::dispatcher::initialize_header(header, nt_ke::dispatcher::kind::SEMAPHORE, 8, 0);
        semaphore.set(nt_abi::ke::KSEMAPHORE::Limit, 1000);
        let record = Self::record(KSEVENTF_SEMAPHORE_OBJECT, own.addr(), adjustment);
        Self { record, object: header, own: Some(own), handle: None }
    }

    /// An event of the object manager, by its handle.
    pub fn handle(file: &KernelFile) -> Self {
        let client = file.client().clone();
        let (handle, object) = client.call(|frame| {
            let kind = nt_ke::dispatcher::EventType::Notification;
            let handle = nt_io::event::create(frame, 0x001F_0003, 0x200, kind, false).expect("event");
            let of = nt_ob::types::ObjectType::Event;
            let (object, _) = nt_io::event::reference(frame, handle, of, 0, nt_ke::Mode::Kernel).expect("event");
            (handle, object.body().view())
        });
        let record = Self::record(KSEVENTF_EVENT_HANDLE, handle.0, 0);
        Self { record, object, own: None, handle: Some((handle, client)) }
    }

    pub fn state(&self) -> i32 {
        self.object.get(nt_abi::ke::DISPATCHER_HEADER::SignalState)
    }
    pub fn references(&self) -> i64 {
        nt_ob::object::pointer_count(self.object)
    }

    fn ask(&self, file: &KernelFile, code: u32, input: (Addr, u32), output: (Addr, u32)) -> (NtStatus, u64) {
        let mode = nt_ke::Mode::Kernel;
        let request = nt_ks::streamio::ControlRequest { file: file.object(), mode, code, input, output };
        let result = file.client().call(|frame| nt_ks::streamio::synchronous_control(frame, &request));
        (result.status, result.information)
    }

    /// IOCTL_KS_ENABLE_EVENT with so many bytes of record.
    pub fn enable_with(&mut self, file: &KernelFile, set: GUID, id: u32, flags: u32, length: u32) -> (NtStatus, u64) {
        let request = Block::of(&identifier(set, id, flags, 24));
        let room = if length == 0 { (Addr::NULL, 0) } else { (self.record.named().0, length) };
        self.ask(file, IOCTL_KS_ENABLE_EVENT, request.named(), room)
    }
    pub fn enable(&mut self, file: &KernelFile, set: GUID, id: u32, flags: u32) -> NtStatus {
        self.enable_with(file, set, id, flags, 32).0
    }
    /// IOCTL_KS_DISABLE_EVENT with so many bytes of record.
    pub fn disable_length(&self, file: &KernelFile, length: u32) -> NtStatus {
        let input = if length == 0 { (Addr::NULL, 0) } else { (self.record.named().0, length) };
        self.ask(file, IOCTL_KS_DISABLE_EVENT, input, (Addr::NULL, 0)).0
    }
    pub fn disable(&self, file: &KernelFile) -> NtStatus {
        self.disable_length(file, 32)
    }
}

impl Pending {
    /// A write whose last header ends the stream.
    pub fn last(avs: &Avs, pin: &KernelFile, frames: &[&[u8]]) -> Self {
        Self::start(avs, pin, frames, true)
    }
}

impl Avs {
    /// What a user-mode process gets that wants to be told an event of a pin by a kind of notification; `good`: its handle is one.
    pub fn enable_by_user(&self, kind: u32, good: bool) -> NtStatus {
        self.by_user(|frame, root| {
            let name = nt_ks::connect::pin_name(&nt_ks::connect::client_connect(0), &nt_ks::connect::stream_format());
            let pin = CreateSpec { access: 0x4000_0000, root, name, ..CreateSpec::default() };
            let (pin, _) = nt_io::create::nt_create_file(frame, &pin).expect("pin");
            let made = nt_ke::dispatcher::EventType::Notification;
            let event = nt_io::event::create(frame, 0x001F_0003, 0, made, false).expect("event");
            let block = nt_cell::UserBlock::new(128).expect("arena");
            let region = block.region();
            region.sub(0, 24).write_from(&identifier(T_EVENTS, 0, KSEVENT_TYPE_ENABLE, 24)).expect("block");
            region.store::<u32>(32, kind).expect("block");
            region.store::<u64>(40, if good { event.0 } else { 0x9990 }).expect("block");
            let arguments = nt_io::control::ControlArguments {
                caller: Caller::plain(pin, Addr::user(block.addr() + 96)),
                code: IOCTL_KS_ENABLE_EVENT,
                input: (Addr::user(block.addr()), 24),
                output: (Addr::user(block.addr() + 32), 32),
                file_system: false,
            };
            let status = nt_io::control::nt_control_file(frame, &arguments);
            for handle in [pin, event] {
                nt_io::event::close(frame, handle).expect("close");
            }
            status
        })
    }

    fn by_user(&self, body: impl FnOnce(&nt_ke::Frame, nt_ob::Handle) -> NtStatus) -> NtStatus {
        let processes = self.machine().processes();
        let process = processes.create_process(self.machine().kernel(), "client.exe").expect("process");
        let thread = processes.create_thread(self.machine().kernel(), &process).expect("thread");
        let entered = nt_ke::enter(self.machine().kernel(), &thread, nt_ke::Mode::User);
        let filter = CreateSpec { disposition: OPEN, ..spec("\\??\\NtioKs.t_avs") };
        let (root, _) = nt_io::create::nt_create_file(entered.frame(), &filter).expect("filter");
        let status = body(entered.frame(), root);
        nt_io::event::close(entered.frame(), root).expect("close");
        drop(entered);
        processes.end(&process);
        status
    }
}
