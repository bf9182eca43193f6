//! A device whose driver records the stream requests that reach it, and a caller of KsStreamIo on it.
#![allow(dead_code, reason = "each test file uses its part")]

use crate::device::Came;
use crate::support::{PATTERN, World};
use nt_abi::NtStatus;
use nt_abi::io::{FILE_OBJECT, IO_STACK_LOCATION, IO_STATUS_BLOCK, IRP_MJ_CREATE, IRP_MJ_DEVICE_CONTROL};
use nt_abi::ke::KEVENT;
use nt_abi::ks::{IOCTL_KS_WRITE_STREAM, KSSTREAM_HEADER, KSSTREAM_WRITE};
use nt_cell::arena::UserBlock;
use nt_cell::{Addr, Foreign, Region};
use nt_io::create::{self, CreateSpec};
use nt_io::device::{Device, DeviceSpec};
use nt_io::driver::{self, Answer, FastCall, FastControl, NativeDriver, OwnedIrp, PendedIrp};
use nt_io::irp::IoStatus;
use nt_ke::{Mode, Mutex, dispatcher};
use nt_ks::dispatch;
use nt_ks::frames::FrameList;
use nt_ks::object::{self, KsObject, ObjectCall};
use nt_ks::streamio::{self, ControlRequest, StreamRequest};
use nt_ob::types::ObjectType;
use nt_ob::{Handle, ObjectRef};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

type OnIrp = Box<dyn Fn(OwnedIrp) -> Answer + Send + Sync>;
type OnControl = Box<dyn Fn(&FastControl) -> Option<IoStatus> + Send + Sync>;
type OnObject = Box<dyn Fn(&ObjectCall) -> Option<IoStatus> + Send + Sync>;
type Log = Arc<Mutex<Vec<Came>>>;

/// How the driver answers.
pub struct Kind {
    options: u32,
    packet: OnIrp,
    control: Option<OnControl>,
    object: Option<OnObject>,
    plain: bool,
}

impl Kind {
    /// Each packet goes to `packet`.
    pub fn new(packet: impl Fn(OwnedIrp) -> Answer + Send + Sync + 'static) -> Self {
        Self { options: 0, packet: Box::new(packet), control: None, object: None, plain: false }
    }
    /// Each packet ends at once.
    pub fn answering(status: NtStatus, count: u64) -> Self {
        Self::new(move |irp| irp.complete(status, count))
    }
    /// Each packet ends later, in a worker thread.
    pub fn later(status: NtStatus, count: u64) -> Self {
        Self::new(move |irp| end_later(irp, status, count))
    }
    /// CreateOptions of the open.
    pub fn options(self, options: u32) -> Self {
        Self { options, ..self }
    }
    /// The driver has FastIoDeviceControl.
    pub fn control(self, body: impl Fn(&FastControl) -> Option<IoStatus> + Send + Sync + 'static) -> Self {
        Self { control: Some(Box::new(body)), ..self }
    }
    /// The file object is a KS object, with FastRead and FastWrite in its table.
    pub fn object(self, body: impl Fn(&ObjectCall) -> Option<IoStatus> + Send + Sync + 'static) -> Self {
        Self { object: Some(Box::new(body)), ..self }
    }
    /// The driver has plain FastIoRead and FastIoWrite, which no stream request may reach.
    pub fn plain(self) -> Self {
        Self { plain: true, ..self }
    }
}

/// Completes a packet in a worker thread.
pub fn end_later(irp: OwnedIrp, status: NtStatus, count: u64) -> Answer {
    let (pended, answer) = irp.pend();
    let kernel = Arc::clone(&nt_ke::current().kernel);
    nt_ke::work::WorkQueue::queue(&kernel, move || pended.complete(status, count));
    answer
}

struct Driver {
    log: Log,
    kind: Arc<Kind>,
}

struct Object(Driver);

impl KsObject for Object {
    fn device_control(&self, irp: OwnedIrp) -> Answer {
        self.0.log.lock().push(Came::Packet);
        (self.0.kind.packet)(irp)
    }
    fn fast_read(&self, call: &ObjectCall) -> Option<IoStatus> {
        self.fast_write(call)
    }
    fn fast_write(&self, call: &ObjectCall) -> Option<IoStatus> {
        self.0.log.lock().push(Came::Fast);
        self.0.kind.object.as_ref().and_then(|body| body(call))
    }
}

impl NativeDriver for Driver {
    fn dispatch(&self, device: Device, irp: OwnedIrp) -> Answer {
        let major = irp.stack().get(IO_STACK_LOCATION::MajorFunction);
        if self.kind.object.is_some() && major != IRP_MJ_CREATE {
            return OwnedIrp::answered(dispatch::dispatch(device, irp.into_irp()));
        }
        match (major, irp.file()) {
            (IRP_MJ_CREATE, Some(file)) if self.kind.object.is_some() => {
                let own = Self { log: Arc::clone(&self.log), kind: Arc::clone(&self.kind) };
                object::attach(file, Arc::new(Object(own)), Vec::new(), irp.irp()).expect("pool");
                irp.complete(NtStatus::SUCCESS, 0)
            }
            (IRP_MJ_DEVICE_CONTROL, _) => {
                self.log.lock().push(Came::Packet);
                (self.kind.packet)(irp)
            }
            _ => irp.complete(NtStatus::SUCCESS, 0),
        }
    }
    fn fast_device_control(&self, call: &FastControl) -> Option<IoStatus> {
        let body = self.kind.control.as_ref()?;
        self.log.lock().push(Came::Fast);
        body(call)
    }
    fn fast_write(&self, _call: &FastCall) -> Option<IoStatus> {
        panic!("a header list is no data");
    }
    fn fast_read(&self, _call: &FastCall) -> Option<IoStatus> {
        panic!("a header list is no room");
    }
    fn has_fast_io(&self) -> bool {
        self.kind.control.is_some() || self.kind.plain
    }
}

/// The device, opened, and a list of one frame of eight bytes.
pub struct Stream<'a> {
    pub world: &'a World,
    pub device: Device,
    pub handle: Handle,
    pub file: ObjectRef<FILE_OBJECT>,
    pub log: Log,
    pub iosb: Foreign<IO_STATUS_BLOCK>,
    pub list: FrameList,
    name: Vec<u16>,
}

impl<'a> Stream<'a> {
    pub fn new(world: &'a World, kind: Kind) -> Self {
        let (log, options) = (Log::default(), kind.options);
        let native = Driver { log: Arc::clone(&log), kind: Arc::new(kind) };
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let driver = format!("\\Driver\\Streamer{number}");
        let driver = driver::create_native(&world.kernel, &driver, Arc::new(native)).expect("driver");
        let name = format!("\\Device\\Streamer{number}");
        let spec = DeviceSpec { name: Some(&name), kind: 0x2F, ..DeviceSpec::default() };
        let device = nt_io::device::create(&world.kernel, driver.body(), &spec).expect("device").body();
        nt_io::device::ready(device);
        let name: Vec<u16> = name.encode_utf16().collect();
        let spec =
            CreateSpec { access: 0x0010_0003, name: name.clone(), options, disposition: 1, ..CreateSpec::default() };
        let (handle, _) = create::nt_create_file(&world.frame(), &spec).expect("open");
        let file = file_of(world, handle);
        let iosb = nt_ex::pool::zeroed(nt_ex::pool::tag(b"tKsS")).expect("pool");
        let list = FrameList::filled(&[b"abcdefgh"]).expect("pool");
        let made = Self { world, device, handle, file, log, iosb, list, name };
        made.reset();
        made
    }

    /// Forgets what came before.
    pub fn reset(&self) {
        self.iosb.set(IO_STATUS_BLOCK::Status, NtStatus(PATTERN as u32));
        self.iosb.set(IO_STATUS_BLOCK::Information, PATTERN);
        self.log.lock().clear();
    }

    /// A write request of the list, by kernel code.
    pub fn request(&self) -> StreamRequest {
        StreamRequest {
            file: self.file.body(),
            event: None,
            port_context: 0,
            completion: None,
            iosb: self.iosb,
            headers: self.list.addr(),
            length: self.list.length(),
            flags: KSSTREAM_WRITE,
            mode: Mode::Kernel,
        }
    }

    /// The same list by KsSynchronousIoControlDevice.
    pub fn control(&self) -> ControlRequest {
        let output = (self.list.addr(), self.list.length());
        let (file, input) = (self.file.body(), (Addr::NULL, 0));
        ControlRequest { file, mode: Mode::Kernel, code: IOCTL_KS_WRITE_STREAM, input, output }
    }

    /// One more handle to the device.
    pub fn open(&self, access: u32) -> Handle {
        let spec = CreateSpec { access, name: self.name.clone(), disposition: 1, ..CreateSpec::default() };
        create::nt_create_file(&self.world.frame(), &spec).expect("open").0
    }

    /// KsStreamIo by kernel code.
    pub fn go(&self, request: &StreamRequest) -> NtStatus {
        self.go_as(Mode::Kernel, request)
    }

    /// KsStreamIo under a previous mode.
    pub fn go_as(&self, previous: Mode, request: &StreamRequest) -> NtStatus {
        let frame = self.world.frame();
        frame.with_mode(previous, || streamio::stream_io(&frame, request))
    }

    /// What reached the driver, in order.
    pub fn came(&self) -> Vec<Came> {
        self.log.lock().clone()
    }
    pub fn result(&self) -> (NtStatus, u64) {
        (self.iosb.get(IO_STATUS_BLOCK::Status), self.iosb.get(IO_STATUS_BLOCK::Information))
    }
    pub fn untouched(&self) -> bool {
        self.result() == (NtStatus(PATTERN as u32), PATTERN)
    }
    pub fn file_event(&self) -> Foreign<KEVENT> {
        self.file.at(FILE_OBJECT::Event)
    }
    pub fn file_signalled(&self) -> bool {
        dispatcher::read_state(self.file_event())
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        let _closed = nt_io::event::close(&self.world.frame(), self.handle);
        self.world.kernel.drain();
        nt_ex::pool::free(self.iosb);
    }
}

/// The file object of a handle.
pub fn file_of(world: &World, handle: Handle) -> ObjectRef<FILE_OBJECT> {
    let found = nt_io::event::reference(&world.frame(), handle, ObjectType::File, 0, Mode::Kernel);
    found.expect("file").0.retype()
}

/// One header as a user-mode caller lays it out.
#[derive(Clone, Copy)]
pub struct Head {
    pub size: u32,
    pub extent: u32,
    pub used: u32,
    pub options: u32,
    pub data: Option<u64>,
}

impl Head {
    /// A frame of so many bytes, of which so many are used; the frame lies behind the list.
    pub fn of(extent: u32, used: u32) -> Self {
        Self { size: KSSTREAM_HEADER::SIZE as u32, extent, used, options: 0, data: None }
    }
}

/// A header list with its frames in user memory; frame `i` is filled with `i + 1`.
pub struct UserList {
    pub block: UserBlock,
    pub length: u32,
}

impl UserList {
    pub fn new(heads: &[Head]) -> Self {
        let length: u32 = heads.iter().map(|head| head.size).sum();
        let room: u32 = heads.iter().map(|head| head.extent.next_multiple_of(16)).sum();
        let block = UserBlock::pages(((length.next_multiple_of(16) + room).max(1) as usize).next_multiple_of(4096))
            .expect("arena");
        let (mut at, mut data) = (0_usize, length.next_multiple_of(16) as usize);
        for (index, head) in heads.iter().enumerate() {
            let record = block.region().sub(at, KSSTREAM_HEADER::SIZE);
            let word = |field: usize, value: u32| record.store::<u32>(field, value).expect("block");
            word(KSSTREAM_HEADER::Size.offset(), head.size);
            word(KSSTREAM_HEADER::PresentationTime_Numerator.offset(), 1);
            word(KSSTREAM_HEADER::PresentationTime_Denominator.offset(), 1);
            word(KSSTREAM_HEADER::FrameExtent.offset(), head.extent);
            word(KSSTREAM_HEADER::DataUsed.offset(), head.used);
            word(KSSTREAM_HEADER::OptionsFlags.offset(), head.options);
            let lies = head.data.unwrap_or(if head.extent == 0 { 0 } else { block.addr() + data as u64 });
            record.store::<u64>(KSSTREAM_HEADER::Data.offset(), lies).expect("block");
            if head.data.is_none() {
                block.region().sub(data, head.extent as usize).fill(index as u8 + 1).expect("block");
                data += head.extent.next_multiple_of(16) as usize;
            }
            at += head.size as usize;
        }
        Self { block, length }
    }
    pub fn addr(&self) -> Addr {
        Addr::user(self.block.addr())
    }
    fn word(&self, index: usize, field: usize) -> u64 {
        self.region().load::<u64>(index * KSSTREAM_HEADER::SIZE + field).expect("block")
    }
    /// DataUsed of each header; all are base records.
    pub fn used(&self) -> Vec<u32> {
        let count = self.length as usize / KSSTREAM_HEADER::SIZE;
        (0..count).map(|index| (self.word(index, KSSTREAM_HEADER::FrameExtent.offset()) >> 32) as u32).collect()
    }
    /// The bytes of a frame; all headers are base records.
    pub fn frame(&self, index: usize) -> Vec<u8> {
        let at = (self.word(index, KSSTREAM_HEADER::Data.offset()) - self.block.addr()) as usize;
        let extent = self.word(index, KSSTREAM_HEADER::FrameExtent.offset()) as u32 as usize;
        self.block.region().sub(at, extent).to_vec().expect("block")
    }
    pub fn region(&self) -> Region {
        self.block.region().sub(0, self.length as usize)
    }
}

pub const OK8: (NtStatus, u64) = (NtStatus::SUCCESS, 8);

/// A kind that keeps each packet, and the place where it keeps it.
pub fn holding() -> (Kind, Arc<Mutex<Vec<PendedIrp>>>) {
    let held = Arc::new(Mutex::new(Vec::new()));
    let store = Arc::clone(&held);
    let kind = Kind::new(move |irp| {
        let (pended, answer) = irp.pend();
        store.lock().push(pended);
        answer
    });
    (kind, held)
}

/// A kind that notes something about each packet, then ends it.
pub fn noting<T: Send + 'static>(note: impl Fn(&OwnedIrp) -> T + Send + Sync + 'static) -> (Kind, Arc<Mutex<Vec<T>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let store = Arc::clone(&seen);
    let kind = Kind::new(move |irp| {
        store.lock().push(note(&irp));
        irp.complete(NtStatus::SUCCESS, 8)
    });
    (kind, seen)
}

pub fn code_of(irp: &OwnedIrp) -> (u8, u32) {
    let stack = irp.stack();
    (stack.get(IO_STACK_LOCATION::MajorFunction), stack.get(IO_STACK_LOCATION::DeviceIoControl_IoControlCode))
}

pub trait PendAndEnd {
    fn pend_and_end(self, count: u64) -> Answer;
}
impl PendAndEnd for OwnedIrp {
    /// Marks a packet as pending and completes it before the dispatch routine returns.
    fn pend_and_end(self, count: u64) -> Answer {
        let (pended, answer) = self.pend();
        pended.complete(NtStatus::SUCCESS, count);
        answer
    }
}
