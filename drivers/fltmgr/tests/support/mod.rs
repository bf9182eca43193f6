//! A machine with one `ram` volume under the Filter Manager, a user process on it, and filters that record.
#![expect(dead_code, reason = "each test file uses its part")]

use nt_abi::NtStatus;
use nt_abi::io::FILE_OBJECT;
use nt_cell::Addr;
use nt_cell::arena::UserBlock;
use nt_fltmgr::{CallbackData, MiniFilter, PostOp, PreOp};
use nt_io::create::{self, CreateSpec};
use nt_io::info::{self, InfoArguments, class};
use nt_io::rw::Arguments;
use nt_io::system::{AsyncPolicy, System};
use nt_io::{event, read, write};
use nt_ke::{Entered, Frame, Kernel, Mode, WindowsVersion};
use nt_memfs::MountedVolume;
use nt_ob::Handle;
use nt_ps::{Process, Processes};
use std::rc::Rc;
use std::sync::Arc;

pub const GENERIC_WRITE: u32 = 0x4000_0000;
pub const GENERIC_READ: u32 = 0x8000_0000;
pub const SYNCHRONIZE: u32 = 0x10_0000;
pub const WRITE_DATA: u32 = 2;
pub const APPEND_DATA: u32 = 4;
pub const READ_DATA: u32 = 1;
pub const SYNC: u32 = 0x20;
pub const NONCACHED: u32 = 8;
pub const PATTERN: u64 = 0xEADB_EEF0_EADB_EEF0;

pub struct World {
    pub kernel: Arc<Kernel>,
    pub processes: Arc<Processes>,
    pub process: Arc<Process>,
    pub volume: MountedVolume,
    entered: Option<Entered>,
}

impl World {
    pub fn new() -> Self {
        Self::with(WindowsVersion::default(), None)
    }

    pub fn with(windows: WindowsVersion, size: Option<u64>) -> Self {
        let kernel = Kernel::new(windows);
        let processes = Processes::install(&kernel).expect("processes");
        let _system = System::install(&kernel);
        let manager = nt_fltmgr::FltMgr::install(&kernel);
        let volume = nt_memfs::mount(&kernel, 1, size).expect("volume");
        nt_fltmgr::Volume::attach(&kernel, &manager, volume.device, &volume.name).expect("attach");
        let process = processes.create_process(&kernel, "test.exe").expect("process");
        let thread = processes.create_thread(&kernel, &process).expect("thread");
        let entered = nt_ke::enter(&kernel, &thread, Mode::User);
        Self { kernel, processes, process, volume, entered: Some(entered) }
    }

    pub fn frame(&self) -> Rc<Frame> {
        Rc::clone(self.entered.as_ref().expect("entered").frame())
    }

    pub fn system(&self) -> &System {
        System::of(&self.kernel)
    }

    pub fn policy(&self, policy: AsyncPolicy) {
        *self.system().policy.lock() = policy;
    }

    /// Opens or creates `C:\NAME`.
    pub fn try_open(&self, name: &str, access: u32, options: u32, disposition: u32) -> Result<(Handle, u64), NtStatus> {
        let spec = CreateSpec {
            access,
            name: format!("\\??\\C:\\{name}").encode_utf16().collect(),
            options,
            disposition,
            ..CreateSpec::default()
        };
        create::nt_create_file(&self.frame(), &spec)
            .map(|(handle, result)| (handle, result.information))
            .map_err(NtStatus::from)
    }

    /// A file handle for synchronous reading and writing, created if absent.
    pub fn sync_file(&self, name: &str) -> File<'_> {
        self.file(name, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC)
    }

    /// The same, asynchronous.
    pub fn async_file(&self, name: &str) -> File<'_> {
        self.file(name, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, 0)
    }

    pub fn file(&self, name: &str, access: u32, options: u32) -> File<'_> {
        let (handle, _) = self.try_open(name, access, options, 3).unwrap_or_else(|status| panic!("{name}: {status}"));
        File { world: self, handle, block: UserBlock::new(64).expect("arena"), event: Handle::NULL, context: 0 }
    }

    pub fn event(&self, signaled: bool) -> Handle {
        let kind = nt_ke::dispatcher::EventType::Notification;
        event::create(&self.frame(), 0x001F_0003, 0, kind, signaled).expect("event")
    }

    /// Is the object signalled? A wait with timeout zero says.
    pub fn signaled(&self, handle: Handle) -> bool {
        event::wait_for(&self.frame(), handle, false, Some(0)).expect("wait") == NtStatus::SUCCESS
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.processes.end(&self.process);
        let in_flight = self.system().in_flight.load(std::sync::atomic::Ordering::SeqCst);
        if !std::thread::panicking() {
            assert_eq!(in_flight, 0, "requests in flight at shutdown");
        }
        self.kernel.stop();
        nt_fltmgr::FltMgr::of(&self.kernel).expect("room").shutdown();
        self.system().shutdown();
        self.entered = None;
    }
}

/// What a request left in the status block, and what it returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Done {
    pub returned: NtStatus,
    pub iosb: Iosb,
}

/// A status block as a test sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Iosb {
    Untouched,
    Is(NtStatus, u64),
}

/// E0/E1/E2: the status, and nothing in the status block.
pub fn refused(status: NtStatus) -> Done {
    Done { returned: status, iosb: Iosb::Untouched }
}

/// S(n).
pub fn success(count: u64) -> Done {
    Done { returned: NtStatus::SUCCESS, iosb: Iosb::Is(NtStatus::SUCCESS, count) }
}

/// P(st, n).
pub fn pended(status: NtStatus, count: u64) -> Done {
    Done { returned: NtStatus::PENDING, iosb: Iosb::Is(status, count) }
}

pub struct File<'a> {
    pub world: &'a World,
    pub handle: Handle,
    block: UserBlock,
    pub event: Handle,
    pub context: u64,
}

impl File<'_> {
    fn arguments(&self, buffer: Addr, length: u32, offset: Option<i64>, key: Option<u32>) -> Arguments {
        let region = self.block.region();
        region.sub(0, 16).store::<u64>(0, PATTERN).expect("block");
        region.sub(0, 16).store::<u64>(8, PATTERN).expect("block");
        region.store::<i64>(16, offset.unwrap_or(0)).expect("block");
        region.store::<u32>(24, key.unwrap_or(0)).expect("block");
        let at = self.block.addr();
        Arguments {
            handle: self.handle,
            event: self.event,
            apc_routine: None,
            apc_context: self.context,
            iosb: Addr::user(at),
            buffer,
            length,
            byte_offset: if offset.is_some() { Addr::user(at + 16) } else { Addr::NULL },
            key: if key.is_some() { Addr::user(at + 24) } else { Addr::NULL },
        }
    }

    pub fn iosb(&self) -> Iosb {
        let region = self.block.region();
        let (low, high) = (region.load::<u64>(0).expect("block"), region.load::<u64>(8).expect("block"));
        if low == PATTERN && high == PATTERN { Iosb::Untouched } else { Iosb::Is(NtStatus(low as u32), high) }
    }

    pub fn raw_write(&self, buffer: Addr, length: u32, offset: Option<i64>) -> Done {
        let args = self.arguments(buffer, length, offset, None);
        let returned = write::nt_write_file(&self.world.frame(), &args);
        Done { returned, iosb: self.iosb() }
    }

    pub fn with_arguments(&self, change: impl FnOnce(&mut Arguments)) -> Done {
        let mut args = self.arguments(Addr::NULL, 0, Some(0), None);
        change(&mut args);
        let returned = write::nt_write_file(&self.world.frame(), &args);
        Done { returned, iosb: self.iosb() }
    }

    pub fn write(&self, data: &[u8], offset: Option<i64>) -> Done {
        let buffer = UserBlock::new(data.len().max(1)).expect("arena");
        buffer.region().sub(0, data.len()).write_from(data).expect("buffer");
        self.raw_write(Addr::user(buffer.addr()), data.len() as u32, offset)
    }

    pub fn raw_read(&self, buffer: Addr, length: u32, offset: Option<i64>) -> Done {
        let args = self.arguments(buffer, length, offset, None);
        let returned = read::nt_read_file(&self.world.frame(), &args);
        Done { returned, iosb: self.iosb() }
    }

    pub fn read(&self, length: usize, offset: Option<i64>) -> (Done, Vec<u8>) {
        let buffer = UserBlock::new(length.max(1)).expect("arena");
        buffer.region().fill(0xEE).expect("buffer");
        let done = self.raw_read(Addr::user(buffer.addr()), length as u32, offset);
        let count = match done.iosb {
            Iosb::Is(_, count) => count as usize,
            Iosb::Untouched => 0,
        };
        let bytes = buffer.region().sub(0, count.min(length)).to_vec().expect("buffer");
        (done, bytes)
    }

    fn query(&self, class: u32, length: usize) -> Vec<u8> {
        let buffer = UserBlock::new(length).expect("arena");
        let iosb = UserBlock::new(16).expect("arena");
        let args = InfoArguments {
            handle: self.handle,
            iosb: Addr::user(iosb.addr()),
            buffer: Addr::user(buffer.addr()),
            length: length as u32,
            class,
        };
        let status = info::nt_query_information_file(&self.world.frame(), &args);
        assert_eq!(status, NtStatus::SUCCESS, "query class {class}");
        buffer.region().to_vec().expect("buffer")
    }

    pub fn set(&self, class: u32, data: &[u8]) -> NtStatus {
        let buffer = UserBlock::new(data.len()).expect("arena");
        buffer.region().sub(0, data.len()).write_from(data).expect("buffer");
        let iosb = UserBlock::new(16).expect("arena");
        let args = InfoArguments {
            handle: self.handle,
            iosb: Addr::user(iosb.addr()),
            buffer: Addr::user(buffer.addr()),
            length: data.len() as u32,
            class,
        };
        info::nt_set_information_file(&self.world.frame(), &args)
    }

    pub fn position(&self) -> i64 {
        let bytes = self.query(class::POSITION, 8);
        i64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
    }

    pub fn seek(&self, to: i64) {
        assert_eq!(self.set(class::POSITION, &to.to_le_bytes()), NtStatus::SUCCESS);
    }

    pub fn eof(&self) -> u64 {
        let bytes = self.query(class::STANDARD, 24);
        u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes"))
    }

    /// The whole content, read through a handle of its own.
    pub fn bytes_of(&self, name: &str) -> Vec<u8> {
        let reader = self.world.file(name, GENERIC_READ | SYNCHRONIZE, SYNC);
        let length = reader.eof() as usize;
        reader.read(length, Some(0)).1
    }
}

impl Drop for File<'_> {
    fn drop(&mut self) {
        let _closed = event::close(&self.world.frame(), self.handle);
    }
}

/// One callback as a [`Probe`] saw it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub filter: &'static str,
    pub post: bool,
    pub major: u8,
    pub fast: bool,
    pub generated: bool,
    pub offset: i64,
    pub length: u32,
    pub irp_flags: u32,
    pub status: NtStatus,
    pub information: u64,
    pub position: i64,
}

pub type Log = Arc<nt_ke::Mutex<Vec<Seen>>>;
pub type Decide = Box<dyn Fn(&Probe, CallbackData) -> PreOp + Send + Sync>;
pub type Finish = Box<dyn Fn(&Probe, CallbackData) -> PostOp + Send + Sync>;

/// A filter that records what it sees of writes and reads and answers as the test says.
pub struct Probe {
    name: &'static str,
    altitude: &'static str,
    flags: u32,
    log: Log,
    pre: Decide,
    post: Finish,
}

impl Probe {
    fn record(&self, data: CallbackData, post: bool) {
        let status = data.status();
        self.log.lock().push(Seen {
            filter: self.name,
            post,
            major: data.major(),
            fast: data.is_fast_io(),
            generated: data.flags() & 0x10000 != 0,
            offset: data.offset(),
            length: data.length(),
            irp_flags: data.irp_flags(),
            status: status.status,
            information: status.information,
            position: data.file().map_or(0, |file| file.get(FILE_OBJECT::CurrentByteOffset)),
        });
    }
}

impl MiniFilter for Probe {
    fn name(&self) -> &str {
        self.name
    }
    fn altitude(&self) -> &str {
        self.altitude
    }
    fn operations(&self) -> Vec<(u8, u32)> {
        vec![(3, self.flags), (4, self.flags)]
    }
    fn pre_operation(&self, data: CallbackData) -> PreOp {
        self.record(data, false);
        (self.pre)(self, data)
    }
    fn post_operation(&self, data: CallbackData, _context: u64) -> PostOp {
        self.record(data, true);
        (self.post)(self, data)
    }
}

impl World {
    /// Adds a filter that passes everything on and records it.
    pub fn probe(&self, name: &'static str, altitude: &'static str, log: &Log) -> Arc<nt_fltmgr::Filter> {
        self.deciding(name, altitude, log, |_, _| PreOp::WithCallback(7))
    }

    pub fn deciding(
        &self,
        name: &'static str,
        altitude: &'static str,
        log: &Log,
        pre: impl Fn(&Probe, CallbackData) -> PreOp + Send + Sync + 'static,
    ) -> Arc<nt_fltmgr::Filter> {
        self.filter(name, altitude, 0, log, pre, |_, _| PostOp::Finished)
    }

    pub fn filter(
        &self,
        name: &'static str,
        altitude: &'static str,
        flags: u32,
        log: &Log,
        pre: impl Fn(&Probe, CallbackData) -> PreOp + Send + Sync + 'static,
        post: impl Fn(&Probe, CallbackData) -> PostOp + Send + Sync + 'static,
    ) -> Arc<nt_fltmgr::Filter> {
        let log = Arc::clone(log);
        let probe = Probe { name, altitude, flags, log, pre: Box::new(pre), post: Box::new(post) };
        nt_fltmgr::register_native(&self.kernel, Arc::new(probe)).expect("register")
    }

    /// The instance of a filter on `C:`.
    pub fn instance(&self, filter: &Arc<nt_fltmgr::Filter>) -> Arc<nt_fltmgr::Instance> {
        let manager = nt_fltmgr::FltMgr::of(&self.kernel).expect("room");
        let instances = manager.volumes()[0].instances();
        instances.iter().find(|each| Arc::ptr_eq(each.filter(), filter)).cloned().expect("attached")
    }
}

impl File<'_> {
    /// The file object behind the handle.
    pub fn object(&self) -> nt_ob::ObjectRef<FILE_OBJECT> {
        let kind = nt_ob::types::ObjectType::File;
        let (object, _) = event::reference(&self.world.frame(), self.handle, kind, 0, Mode::Kernel).expect("file");
        object.retype()
    }
}

/// Everything that was reported, as {rule, driver, text}.
#[derive(Default)]
pub struct Findings(nt_ke::Mutex<Vec<(String, String, String)>>);

impl nt_io::observe::Observer for Findings {
    fn begin(&self, _request: &nt_io::observe::Request) -> u64 {
        0
    }
    fn end(&self, _span: u64, _status: NtStatus, _information: u64) {}
    fn finding(&self, rule: &str, _severity: &str, driver: &str, message: &str) {
        self.0.lock().push((rule.to_owned(), driver.to_owned(), message.to_owned()));
    }
    fn hop(&self, _span: u64, _hop: &nt_io::observe::Hop<'_>) {}
}

impl Findings {
    /// Takes what was reported since the last call, one text a finding.
    pub fn take(&self, rule: &str) -> Vec<String> {
        let all = std::mem::take(&mut *self.0.lock());
        all.into_iter().filter(|(each, _, _)| each == rule).map(|(_, _, text)| text).collect()
    }
}

impl World {
    /// Listens for findings from now on.
    pub fn findings(&self) -> Arc<Findings> {
        let findings = Arc::new(Findings::default());
        self.system().observe(Some(findings.clone()));
        findings
    }
}

/// A kernel buffer with these bytes.
pub fn pool_buffer(data: &[u8]) -> nt_cell::Foreign<nt_abi::Bytes> {
    let block = nt_ex::pool::allocate(data.len().max(1), nt_ex::pool::tag(b"tBuf"), nt_ex::pool::PoolKind::NonPaged);
    let block = block.expect("pool");
    nt_cell::Region::pool(block, data.len()).write_from(data).expect("own block");
    block
}
