//! A machine: one Windows in one value, and the safe API by which Rust programs use it.
//!
//! Room: machine. Called by: front ends, tests, the `ntio` crate. Calls: every room below.
//! Touches: nothing of a driver's; all memory goes through `nt_cell`. IRQL: PASSIVE_LEVEL. Locks: its own lists.
//! House rule 4: two machines of one process share nothing but addresses. A machine is built by [`MachineBuilder`], used
//! through [`Client`]s, and ended by [`Machine::shutdown`], which says what was left behind; dropped without it, it ends the
//! same way and reports instead.
//! Not here: what a request does (`nt_io`), what a file holds (the volume), the host's doors (front/fuse).

pub mod builder;
pub mod client;
pub mod driver;
pub mod ea;
pub mod file;
pub mod filters;
pub mod imports;
pub mod kernel;
pub mod mapped;
pub mod overlapped;
pub mod paging;
pub mod perfetto;
pub mod recorder;
pub mod report;
pub mod spec;
pub mod statistics;
pub mod watch;

pub use builder::MachineBuilder;
pub use client::Client;
pub use imports::exports;
pub use kernel::{KernelClient, KernelFile};
pub use mapped::{MappedView, Protect};
pub use overlapped::{Overlapped, OverlappedFile, ReadOverlapped, WriteOverlapped};
pub use recorder::Recorder;
pub use report::Report;
pub use spec::{FilterKind, FilterSpec, KsSpec, SpecError, VolumeSpec};
pub use statistics::IoStatistics;
pub use watch::{Changed, Changes, WatchSpec, Watching};

use nt_ke::{Entered, Kernel, Mode, Thread};
use nt_ks::device::BuiltIn;
use nt_memfs::MountedVolume;
use nt_ps::Processes;

use std::sync::Arc;

pub use nt_abi::{NtError, NtResult, NtStatus};
pub use nt_cc::Policy as CachePolicy;
pub use nt_io::create::CreateSpec;
pub use nt_ke::WindowsVersion;
pub use nt_ob::Handle;
pub use nt_ps::Process;
pub use nt_se as security;

/// One Windows.
pub struct Machine {
    kernel: Arc<Kernel>,
    processes: Arc<Processes>,
    io: Arc<nt_io::System>,
    volumes: Vec<MountedVolume>,
    streams: Vec<BuiltIn>,
    recorder: Option<Arc<Recorder>>,
    system_thread: Arc<Thread>,
    ended: bool,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Machine on {:?} with {} volume(s)", self.kernel, self.volumes.len())
    }
}

/// What a machine left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaks {
    /// Requests that were never completed.
    pub requests: i64,
    /// Handles that were open at the end: {process, count}.
    pub handles: Vec<(String, usize)>,
    /// Pool blocks by tag: {tag, blocks, bytes}.
    pub pool: Vec<(String, usize, usize)>,
}

impl Leaks {
    /// Returns whether nothing was left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests == 0 && self.handles.is_empty() && self.pool.is_empty()
    }

    /// Says what was left, one sentence each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.requests != 0 {
            lines.push(format!("{} request(s) were never completed", self.requests));
        }
        for (process, count) in &self.handles {
            lines.push(format!("{count} handle(s) of '{process}' were left open"));
        }
        for (tag, blocks, bytes) in &self.pool {
            lines.push(format!("pool tag '{tag}': {blocks} block(s), {bytes} bytes were not freed"));
        }
        lines
    }
}

impl Machine {
    /// Starts the description of a machine.
    #[must_use]
    pub fn builder() -> MachineBuilder {
        MachineBuilder::default()
    }

    /// Returns the kernel.
    #[must_use]
    pub fn kernel(&self) -> &Arc<Kernel> {
        &self.kernel
    }

    /// Returns the I/O manager's state.
    #[must_use]
    pub fn io(&self) -> &Arc<nt_io::System> {
        &self.io
    }

    /// Returns the processes.
    #[must_use]
    pub fn processes(&self) -> &Arc<Processes> {
        &self.processes
    }

    /// Returns the volumes, `C:` first.
    #[must_use]
    pub fn volumes(&self) -> &[MountedVolume] {
        &self.volumes
    }

    /// Returns the streaming devices.
    #[must_use]
    pub fn streams(&self) -> &[BuiltIn] {
        &self.streams
    }

    /// Returns what listens to the requests, if the machine was built with it.
    #[must_use]
    pub fn recorder(&self) -> Option<&Arc<Recorder>> {
        self.recorder.as_ref()
    }

    /// Enters the machine as the system process, in kernel mode.
    #[must_use]
    pub fn enter_system(&self) -> Entered {
        nt_ke::enter(&self.kernel, &self.system_thread, Mode::Kernel)
    }

    /// Makes a user-mode process with one thread.
    pub fn process(&self, name: &str) -> NtResult<Client> {
        let _system = self.enter_system();
        let process = self.processes.create_process(&self.kernel, name)?;
        self.client_of(&process)
    }

    /// Makes a user-mode process without a thread.
    pub fn new_process(&self, name: &str) -> NtResult<Arc<Process>> {
        let _system = self.enter_system();
        self.processes.create_process(&self.kernel, name)
    }

    /// Makes a process that stands for one of the host's: its id is the host's, rounded up to a multiple of 4.
    pub fn new_process_of(&self, name: &str, host: u64) -> NtResult<Arc<Process>> {
        let _system = self.enter_system();
        self.processes.create_process_of(&self.kernel, name, host)
    }

    /// Cancels what a thread waits in, as NtCancelSynchronousIoFile does; returns how many requests.
    pub fn cancel_synchronous(&self, thread: &nt_ke::Thread) -> usize {
        let _system = self.enter_system();
        nt_io::cancel::cancel_synchronous(thread)
    }

    /// Makes another thread of a process, for another host thread.
    pub fn client_of(&self, process: &Arc<Process>) -> NtResult<Client> {
        let thread = self.processes.create_thread(&self.kernel, process)?;
        Ok(Client::new(Arc::clone(&self.kernel), Arc::clone(process), thread))
    }

    /// Makes a thread of the system process, for write-back from outside; its calls have PreviousMode = UserMode unless
    /// they say otherwise.
    pub fn system_client(&self) -> NtResult<Client> {
        self.client_of(self.processes.system())
    }

    /// Ends a process: closes what it left open.
    pub fn end_process(&self, process: &Arc<Process>) {
        let _system = self.enter_system();
        self.account(process);
        self.processes.end(process);
    }

    /// Flushes every volume, as NtFlushBuffersFile does on a volume's handle; goes on with the next one when one refuses.
    pub fn flush(&self) -> NtResult<()> {
        let client = self.system_client()?;
        let flush = |name: &str| {
            let spec = CreateSpec {
                access: 0x10_0003,
                name: name.encode_utf16().collect(),
                disposition: 1,
                options: 0x20,
                ..CreateSpec::default()
            };
            let (handle, _) = client.create(&spec)?;
            let flushed = client.flush(handle);
            client.close(handle)?;
            flushed
        };
        self.volumes.iter().map(|volume| flush(&volume.name)).fold(Ok(()), NtResult::and)
    }

    /// Ends the machine and says what was left behind. Handles of processes that are still there are closed.
    #[must_use]
    pub fn shutdown(mut self) -> Leaks {
        self.end()
    }

    fn end(&mut self) -> Leaks {
        self.ended = true;
        let entered = self.enter_system();
        self.kernel.work.drain();
        let mut leaks = Leaks::default();
        for process in self.processes.all() {
            self.account(&process);
            let open = process.handles.handles().len();
            if open != 0 {
                leaks.handles.push((process.name().to_owned(), open));
            }
            if process.id() == self.processes.system().id() {
                for handle in process.handles.handles() {
                    let _closed = process.handles.close(handle);
                }
            } else {
                self.processes.end(&process);
            }
        }
        if let Some(recorder) = &self.recorder {
            recorder.close_processes();
        }
        self.kernel.work.drain();
        nt_section::end_all(&self.kernel);
        nt_cc::Manager::of(&self.kernel).shutdown();
        self.kernel.work.drain();
        leaks.requests = self.processes.in_flight();
        self.kernel.stop();
        if let Ok(manager) = nt_fltmgr::FltMgr::of(&self.kernel) {
            manager.shutdown();
        }
        self.volumes.clear();
        self.streams.clear();
        self.io.shutdown();
        drop(entered);
        leaks.pool = pool_left(&self.kernel);
        nt_ex::pool::forget(self.kernel.id());
        leaks
    }
}

impl Drop for Machine {
    /// A machine that nobody shut down ends as [`Machine::shutdown`] would have ended it; what was left behind goes to the
    /// recorder and to where drivers print. A panic on its way ends nothing: it may come from inside a request.
    fn drop(&mut self) {
        if self.ended || std::thread::panicking() {
            return;
        }
        for line in self.end().lines() {
            self.kernel.debug_print(&format!("ntio: {line}\n"));
            if let Some(recorder) = &self.recorder {
                recorder.add_finding(report::Finding {
                    severity: "error".to_owned(),
                    message: line,
                    ..report::Finding::default()
                });
            }
        }
    }
}

/// Returns what a machine has in the pool. Tags of kernel objects that live as long as somebody holds the machine's own
/// values (threads, processes, tokens) are not leaks of a driver and are left out.
fn pool_left(kernel: &Kernel) -> Vec<(String, usize, usize)> {
    let left = nt_ex::pool::outstanding(kernel.id()).into_iter();
    let left = left.filter(|(tag, ..)| !matches!(&tag.to_le_bytes(), b"Proc" | b"Thre" | b"Toke"));
    left.map(|(tag, blocks, bytes)| (tag_text(tag), blocks, bytes)).collect()
}

/// Spells a pool tag as drivers write it.
#[must_use]
pub fn tag_text(tag: u32) -> String {
    tag.to_le_bytes().iter().map(|&b| if b.is_ascii_graphic() || b == b' ' { char::from(b) } else { '.' }).collect()
}
