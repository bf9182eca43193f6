//! Building a machine.
//!
//! Room: machine. Called by: front ends, tests. Calls: every room's `install`. IRQL: PASSIVE_LEVEL. Locks: none.
//! The order is the order of dependence: kernel, I/O manager with the namespace, processes, volumes.

use crate::Machine;
use crate::recorder::Recorder;
use crate::spec::{KsSpec, VolumeSpec};
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cc::Policy as CachePolicy;
use nt_io::system::AsyncPolicy;
use nt_io::twice::DriverStacks;
use nt_ke::kernel::DebugSink;
use nt_ke::{Kernel, Mode, WindowsVersion};
use nt_ks::device::BuiltIn;
use nt_ks::sink::Sink;
use nt_ps::Processes;
use std::sync::Arc;

/// What a machine is built with.
#[derive(Default)]
pub struct MachineBuilder {
    windows: WindowsVersion,
    volumes: Vec<VolumeSpec>,
    streams: Vec<KsSpec>,
    policy: AsyncPolicy,
    cache: Option<CachePolicy>,
    read_only: bool,
    recorder: Option<Arc<Recorder>>,
    debug: Option<DebugSink>,
}

impl std::fmt::Debug for MachineBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MachineBuilder").field("windows", &self.windows).field("volumes", &self.volumes).finish()
    }
}

impl MachineBuilder {
    /// Chooses which Windows the machine behaves as.
    #[must_use]
    pub fn windows(mut self, windows: WindowsVersion) -> Self {
        self.windows = windows;
        self
    }

    /// Adds a volume; the first is `C:`. Without any the machine gets one `ram` volume.
    #[must_use]
    pub fn volume(mut self, volume: VolumeSpec) -> Self {
        self.volumes.push(volume);
        self
    }

    /// Adds a streaming device.
    #[must_use]
    pub fn ks(mut self, device: KsSpec) -> Self {
        self.streams.push(device);
        self
    }

    /// Chooses how drivers that may choose complete their requests.
    #[must_use]
    pub fn completion(mut self, policy: AsyncPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Chooses when cached data is written; `None`, as it is without this, leaves it to each volume: `ram` behind, `dir`
    /// through.
    #[must_use]
    pub fn cache(mut self, policy: Option<CachePolicy>) -> Self {
        self.cache = policy;
        self
    }

    /// Write-protects all volumes: they take no change, and say so. A `dir` volume on a file system of the host that is mounted
    /// read-only is protected anyway.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Listens to the requests.
    #[must_use]
    pub fn recorder(mut self, recorder: Arc<Recorder>) -> Self {
        self.recorder = Some(recorder);
        self
    }

    /// Sends what drivers print somewhere.
    #[must_use]
    pub fn debug(mut self, sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.debug = Some(Box::new(sink));
        self
    }

    /// Builds the machine.
    pub fn build(self) -> NtResult<Machine> {
        let kernel = Kernel::new(self.windows);
        kernel.set_debug_sink(self.debug);
        let io = nt_io::System::install(&kernel);
        nt_io::keys::set_routines(crate::imports::routine);
        nt_io::twice::set_driver_stacks(DriverStacks { capture: nt_ldr::driver_stack, name: nt_ldr::symbolize });
        io.set_policy(self.policy);
        nt_cc::Manager::of(&kernel).set_policy(self.cache);
        let processes = Processes::install(&kernel)?;
        let system_thread = processes.create_thread(&kernel, processes.system())?;
        let mut specs = self.volumes;
        if specs.is_empty() {
            specs.push(VolumeSpec::Ram { size: None });
        }
        let mut volumes = Vec::new();
        let mut streams = Vec::new();
        {
            let _system = nt_ke::enter(&kernel, &system_thread, Mode::Kernel);
            let manager = nt_fltmgr::FltMgr::install(&kernel);
            for (index, spec) in (1..).zip(&specs) {
                let mounted = match spec {
                    VolumeSpec::Ram { size } => nt_memfs::mount(&kernel, index, *size)?,
                    VolumeSpec::Dir { path } => nt_memfs::mount_dir(&kernel, index, path)?,
                };
                if self.read_only {
                    mounted.protect()?;
                }
                nt_fltmgr::Volume::attach(&kernel, &manager, mounted.device, &mounted.name)?;
                volumes.push(mounted);
            }
            for spec in &self.streams {
                let sink = match spec {
                    KsSpec::Null => Sink::nothing(),
                    KsSpec::RawSink { path } => Sink::file(path).map_err(|error| sink_error(&error))?,
                };
                streams.push(BuiltIn::install(&kernel, spec.name(), sink)?);
            }
        }
        if let Some(recorder) = &self.recorder {
            recorder.start(&kernel);
            io.observe(Some(Arc::clone(recorder) as nt_io::observe::SharedObserver));
        }
        Ok(Machine { kernel, processes, io, volumes, streams, recorder: self.recorder, system_thread, ended: false })
    }
}

fn sink_error(error: &std::io::Error) -> NtError {
    match error.kind() {
        std::io::ErrorKind::NotFound => NtStatus::OBJECT_PATH_NOT_FOUND.error(),
        std::io::ErrorKind::PermissionDenied => NtStatus::ACCESS_DENIED.error(),
        std::io::ErrorKind::IsADirectory => NtStatus::FILE_IS_A_DIRECTORY.error(),
        _ => NtStatus::IO_DEVICE_ERROR.error(),
    }
}
