//! Requests for oplocks, and threads that meet them.

use super::names::full;
use super::*;
use nt_io::create::CreateSpec;
use nt_io::service::Caller;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

pub const LEVEL_1: u32 = 0x9_0000;
pub const LEVEL_2: u32 = 0x9_0004;
pub const BATCH: u32 = 0x9_0008;
pub const ACKNOWLEDGE: u32 = 0x9_000C;
pub const CLOSE_PENDING: u32 = 0x9_0010;
pub const NOTIFY: u32 = 0x9_0014;
pub const NO_2: u32 = 0x9_0050;
pub const FILTER: u32 = 0x9_005C;
pub const REQUEST: u32 = 0x9_0240;
pub const R: u32 = 1;
pub const RH: u32 = 3;
pub const RW: u32 = 5;
pub const RWH: u32 = 7;
pub const TO_2: u64 = 7;
pub const TO_NONE: u64 = 8;

/// REQUEST_OPLOCK_INPUT_BUFFER.
pub fn input(level: u32, flags: u32) -> Vec<u8> {
    let mut bytes = vec![1, 0, 12, 0];
    bytes.extend_from_slice(&level.to_le_bytes());
    bytes.extend_from_slice(&flags.to_le_bytes());
    bytes
}

/// A control on its way: an oplock, as long as it waits.
pub struct Asked {
    pub returned: NtStatus,
    iosb: UserBlock,
    to: UserBlock,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.is_waiting() && self.returned == NtStatus::PENDING {
            leave([&mut self.iosb, &mut self.to]);
        }
    }
}

impl Asked {
    pub fn iosb(&self) -> Iosb {
        iosb_at(&self.iosb)
    }

    pub fn is_waiting(&self) -> bool {
        self.iosb() == Iosb::Untouched
    }

    pub fn is_held(&self) -> bool {
        self.returned == NtStatus::PENDING && self.is_waiting()
    }

    /// REQUEST_OPLOCK_OUTPUT_BUFFER: version, length, original, new, flags.
    pub fn output(&self) -> (u16, u16, u32, u32, u32) {
        let at = self.to.region();
        let word = |offset| at.load::<u32>(offset).expect("arena");
        (at.load(0).expect("arena"), at.load(2).expect("arena"), word(4), word(8), word(12))
    }

    /// Waits until it is broken.
    pub fn wait(&self, world: &World) {
        for _ in 0..20_000 {
            if !self.is_waiting() {
                return;
            }
            world.pause();
        }
        panic!("nobody broke it");
    }
}

impl File<'_> {
    /// A control about oplocks whose blocks outlive the call.
    pub fn ask(&self, code: u32, bytes: &[u8]) -> Asked {
        let from = UserBlock::new(bytes.len().max(1)).expect("arena");
        from.region().sub(0, bytes.len()).write_from(bytes).expect("arena");
        let to = UserBlock::new(24).expect("arena");
        to.region().fill(0xEE).expect("arena");
        let iosb = pattern_block();
        let out = if bytes.is_empty() { (Addr::NULL, 0) } else { (Addr::user(to.addr()), 24) };
        let args = ControlArguments {
            caller: Caller::plain(self.handle, Addr::user(iosb.addr())),
            code,
            input: (if bytes.is_empty() { Addr::NULL } else { Addr::user(from.addr()) }, bytes.len() as u32),
            output: out,
            file_system: true,
        };
        let returned = control::nt_control_file(&self.world.frame(), &args);
        Asked { returned, iosb, to }
    }

    /// FSCTL_REQUEST_OPLOCK with the flag to request.
    pub fn request(&self, level: u32) -> Asked {
        self.ask(REQUEST, &input(level, 1))
    }

    /// FSCTL_REQUEST_OPLOCK with the flag to acknowledge.
    pub fn accept(&self, level: u32) -> Asked {
        self.ask(REQUEST, &input(level, 2))
    }

    /// Requests the kind; legacy kinds are codes, the others levels.
    pub fn hold(&self, kind: u32) -> Asked {
        let asked = if kind < 8 { self.request(kind) } else { self.ask(kind, &[]) };
        assert!(asked.is_held(), "{kind:#x}: {:?}", asked.returned);
        asked
    }
}

/// What a program does in a process of its own.
pub struct Other {
    thread: Option<JoinHandle<()>>,
    done: mpsc::Receiver<Outcome>,
    pub id: Arc<nt_ke::Thread>,
}

/// The statuses of what it did.
pub type Outcome = Vec<NtStatus>;

/// An open of another process.
pub struct Elsewhere<'a> {
    frame: &'a Rc<Frame>,
    pub handle: Handle,
}

impl Elsewhere<'_> {
    fn transfer(&self, write: bool) -> NtStatus {
        let (block, data) = (pattern_block(), UserBlock::new(16).expect("arena"));
        let at = UserBlock::new(8).expect("arena");
        at.region().store::<i64>(0, 0).expect("arena");
        let args = Arguments {
            handle: self.handle,
            event: Handle::NULL,
            apc_routine: None,
            apc_context: 0,
            iosb: Addr::user(block.addr()),
            buffer: Addr::user(data.addr()),
            length: 4,
            byte_offset: Addr::user(at.addr()),
            key: Addr::NULL,
        };
        if write { write::nt_write_file(self.frame, &args) } else { read::nt_read_file(self.frame, &args) }
    }

    pub fn write(&self) -> NtStatus {
        self.transfer(true)
    }

    pub fn read(&self) -> NtStatus {
        self.transfer(false)
    }

    pub fn set(&self, class: u32, data: &[u8]) -> NtStatus {
        set_information(self.frame, self.handle, class, data).0
    }
}

/// How another process opens.
pub fn spec(name: &str, access: u32, options: u32, share: u32, disposition: u32) -> CreateSpec {
    let name = full(name).encode_utf16().collect();
    CreateSpec { access, name, options, share, disposition, ..CreateSpec::default() }
}

/// For reading and writing, synchronous.
pub fn plain(name: &str) -> CreateSpec {
    spec(name, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC, 7, 1)
}

impl World {
    /// Opens in another process, acts on the handle, closes it; the first status is the open's.
    pub fn elsewhere(
        &self,
        spec: CreateSpec,
        act: impl FnOnce(&Elsewhere<'_>) -> Vec<NtStatus> + Send + 'static,
    ) -> Other {
        let (kernel, processes) = (Arc::clone(&self.kernel), Arc::clone(&self.processes));
        let process = processes.create_process(&kernel, "other.exe").expect("process");
        let id = processes.create_thread(&kernel, &process).expect("thread");
        let (tell, done) = mpsc::channel();
        let own = Arc::clone(&id);
        let thread = std::thread::spawn(move || {
            let entered = nt_ke::enter(&kernel, &own, Mode::User);
            let mut outcome = Vec::new();
            match create::nt_create_file(entered.frame(), &spec) {
                Ok((handle, result)) => {
                    outcome.push(result.status);
                    outcome.extend(act(&Elsewhere { frame: entered.frame(), handle }));
                    event::close(entered.frame(), handle).expect("open");
                }
                Err(error) => outcome.push(error.status()),
            }
            tell.send(outcome).expect("the test listens");
            own.end();
            drop(entered);
            processes.end(&process);
        });
        Other { thread: Some(thread), done, id }
    }
}

impl Other {
    /// It waits for something.
    pub fn is_blocked(&self) -> bool {
        self.done.recv_timeout(Duration::from_millis(60)).is_err()
    }

    pub fn finish(mut self) -> Outcome {
        let outcome = self.done.recv_timeout(Duration::from_secs(120)).expect("it came to its end");
        self.thread.take().map(JoinHandle::join);
        outcome
    }
}
