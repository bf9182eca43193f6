//! What the tests of the door share.
#![expect(dead_code, reason = "each test file uses a part")]

pub mod watcher;

use nt_machine::{Machine, Recorder, VolumeSpec};
use ntio_fuse::MountOptions;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long something may take that a busy machine only delays.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until something is so.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A mount that is taken away, with its machine, when the test ends; what is left behind then fails the test.
pub struct Mount {
    directory: tempfile::TempDir,
    server: Option<std::thread::JoinHandle<()>>,
    machine: Option<Arc<Machine>>,
    pub recorder: Arc<Recorder>,
}

impl Mount {
    /// Mounts a volume of 256 MiB; `None` where there is known to be no FUSE.
    pub fn new() -> Option<Self> {
        Self::with(|_| {})
    }
    /// Mounts it in a machine that `furnish` works on first.
    pub fn with(furnish: impl FnOnce(&Machine)) -> Option<Self> {
        Self::as_told(&MountOptions::default(), furnish)
    }
    pub fn as_told(options: &MountOptions, furnish: impl FnOnce(&Machine)) -> Option<Self> {
        Self::of(VolumeSpec::Ram { size: Some(256 << 20) }, options, furnish)
    }
    /// Mounts any volume.
    pub fn of(volume: VolumeSpec, options: &MountOptions, furnish: impl FnOnce(&Machine)) -> Option<Self> {
        if std::env::var_os("NTIO_NO_FUSE").is_some_and(|value| value == "1") {
            return None;
        }
        let recorder = Recorder::new(None);
        let machine = Machine::builder().volume(volume).recorder(recorder.clone());
        let machine = Arc::new(machine.build().expect("a machine"));
        furnish(&machine);
        let directory = tempfile::tempdir().expect("a directory");
        let mounted = ntio_fuse::mount_with(&machine, 0, directory.path(), options);
        let mounted = mounted.expect("a mount (NTIO_NO_FUSE=1 where there is no FUSE)");
        let server = std::thread::spawn(move || mounted.serve().expect("a session"));
        Some(Self { directory, server: Some(server), machine: Some(machine), recorder })
    }
    /// Runs something as the machine's system process.
    pub fn in_system<R>(&self, body: impl FnOnce() -> R) -> R {
        let machine = self.machine.as_ref().expect("a machine");
        let _system = machine.enter_system();
        body()
    }
    /// A native program on the same machine.
    pub fn native(&self) -> nt_machine::Client {
        self.machine.as_ref().expect("a machine").process("native").expect("a process")
    }
    /// Does something with the machine behind the mount.
    pub fn with_machine<R>(&self, body: impl FnOnce(&Machine) -> R) -> R {
        body(self.machine.as_ref().expect("a machine"))
    }
    /// A path in the mount.
    pub fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A program that another test starts holds our files for the moment between fork and exec.
        let end = Instant::now() + PATIENCE;
        let unmount =
            || Command::new("umount").arg(self.directory.path()).output().is_ok_and(|out| out.status.success());
        let mut lazily = !unmount();
        while lazily && !std::thread::panicking() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
            lazily = !unmount();
        }
        if lazily {
            let _gone = Command::new("umount").arg("-l").arg(self.directory.path()).status();
        }
        self.server.take().expect("served once").join().expect("the server ends");
        let machine = Arc::into_inner(self.machine.take().expect("a machine")).expect("nobody else holds the machine");
        let leaks = machine.shutdown();
        if !std::thread::panicking() {
            assert!(!lazily, "the mount was busy");
            assert_eq!((leaks.requests, leaks.handles.len()), (0, 0), "{leaks:?}");
        }
    }
}
