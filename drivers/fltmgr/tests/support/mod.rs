//! The machine of `memfs`' tests with the Filter Manager on its volume, and filters that record.
#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

#[path = "../../../memfs/tests/support/mod.rs"]
mod machine;

pub use machine::*;
use nt_abi::NtStatus;
use nt_abi::io::{FILE_OBJECT, IRP_PAGING_IO};
use nt_cell::{Addr, Foreign};
use nt_fltmgr::context::{Context, ContextSpec};
use nt_fltmgr::generated::Transfer;
use nt_fltmgr::{CallbackData, FltMgr, MiniFilter, PostOp, PreOp};
use nt_io::event;
use nt_ke::{Mode, WindowsVersion};
use std::sync::Arc;

/// A machine whose volume is under the Filter Manager.
pub fn filtered() -> World {
    filtered_with(WindowsVersion::default(), None)
}

/// As [`filtered`], of this version of Windows and this size.
pub fn filtered_with(windows: WindowsVersion, size: Option<u64>) -> World {
    let mut world = World::with(windows, size);
    let manager = FltMgr::install(&world.kernel);
    nt_fltmgr::Volume::attach(&world.kernel, &manager, world.volume.device, &world.volume.name).expect("attach");
    world.at_end(|kernel| FltMgr::of(kernel).expect("room").shutdown());
    world
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

/// FLTFL_CALLBACK_DATA_GENERATED_IO.
const GENERATED: u32 = 0x1_0000;

pub type Log = Arc<nt_ke::Mutex<Vec<Seen>>>;
pub type Decide = Box<dyn Fn(&Probe, CallbackData) -> PreOp + Send + Sync>;
pub type Finish = Box<dyn Fn(&Probe, CallbackData) -> PostOp + Send + Sync>;

/// A filter that records what it sees of writes and reads and answers as the test says. What the cache manager reads and writes,
/// when it likes, is none of its business.
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
            generated: data.flags() & GENERATED != 0,
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
        if data.irp_flags() & IRP_PAGING_IO != 0 && data.flags() & GENERATED == 0 {
            return PreOp::NoCallback;
        }
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

/// A write that asks for nothing else.
pub fn plain_write(file: Foreign<FILE_OBJECT>, offset: Option<i64>, buffer: Addr, length: u32) -> Transfer {
    Transfer { file, offset, length, buffer, mdl: None, flags: 0, key: 0, write: true }
}

/// What a [`Watch`] does in its callbacks.
pub type Pre = Box<dyn Fn(CallbackData) -> PreOp + Send + Sync>;
/// As [`Pre`], after the operation.
pub type Post = Box<dyn Fn(CallbackData) -> PostOp + Send + Sync>;

/// A filter of any majors, with contexts; it records {name, major, post}.
pub struct Watch {
    pub name: &'static str,
    pub altitude: &'static str,
    pub majors: Vec<u8>,
    pub contexts: Vec<ContextSpec>,
    pub seen: nt_ke::Mutex<Vec<(u8, bool)>>,
    pub cleaned: nt_ke::Mutex<Vec<u16>>,
    /// The thread that cleaned up last.
    pub cleaner: nt_ke::Mutex<Option<std::thread::ThreadId>>,
    pub pre: Pre,
    pub post: Post,
}

impl Watch {
    /// One that passes everything on.
    pub fn new(name: &'static str, altitude: &'static str, majors: &[u8]) -> Self {
        Self {
            name,
            altitude,
            majors: majors.to_vec(),
            contexts: Vec::new(),
            seen: nt_ke::Mutex::default(),
            cleaned: nt_ke::Mutex::default(),
            cleaner: nt_ke::Mutex::default(),
            pre: Box::new(|_| PreOp::WithCallback(0)),
            post: Box::new(|_| PostOp::Finished),
        }
    }
    /// The majors whose pre callback ran since the last call.
    pub fn pres(&self) -> Vec<u8> {
        std::mem::take(&mut *self.seen.lock()).into_iter().filter(|(_, post)| !post).map(|(major, _)| major).collect()
    }
}

impl MiniFilter for Watch {
    fn name(&self) -> &str {
        self.name
    }
    fn altitude(&self) -> &str {
        self.altitude
    }
    fn operations(&self) -> Vec<(u8, u32)> {
        self.majors.iter().map(|major| (*major, 0)).collect()
    }
    fn pre_operation(&self, data: CallbackData) -> PreOp {
        self.seen.lock().push((data.major(), false));
        (self.pre)(data)
    }
    fn post_operation(&self, data: CallbackData, _context: u64) -> PostOp {
        self.seen.lock().push((data.major(), true));
        (self.post)(data)
    }
    fn query_teardown(&self) -> NtStatus {
        NtStatus::SUCCESS
    }
    fn contexts(&self) -> Vec<ContextSpec> {
        self.contexts.clone()
    }
    fn context_cleanup(&self, _context: Context, kind: u16) {
        *self.cleaner.lock() = Some(std::thread::current().id());
        self.cleaned.lock().push(kind);
    }
}

/// A registered [`Watch`] with its instance on `C:`.
pub struct Watching {
    pub watch: Arc<Watch>,
    pub filter: Arc<nt_fltmgr::Filter>,
    pub instance: Arc<nt_fltmgr::Instance>,
}

impl World {
    pub fn watch(&self, watch: Watch) -> Watching {
        let watch = Arc::new(watch);
        let filter = nt_fltmgr::register_native(&self.kernel, watch.clone()).expect("register");
        let instance = self.instance(&filter);
        Watching { watch, filter, instance }
    }
}

/// The name of a file on `C:` as a filter's own create spells it.
pub fn device_name(world: &World, name: &str) -> Vec<u16> {
    format!("{}\\{name}", world.volume.name).encode_utf16().collect()
}

/// A filter's own create of a file for reading and writing.
pub fn own_create(world: &World, name: &str, options: u32) -> nt_io::create::CreateSpec {
    nt_io::create::CreateSpec {
        access: GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE,
        name: device_name(world, name),
        attributes: 0x240,
        options,
        disposition: 3,
        ..nt_io::create::CreateSpec::default()
    }
}
