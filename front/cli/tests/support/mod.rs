//! What the tests of the command line share: who runs ntio, and where.
#![allow(dead_code, reason = "each test file uses a part")]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub const NTIO: &str = env!("CARGO_BIN_EXE_ntio");
pub const NOBODY: u32 = 65534;

pub fn no_fuse() -> bool {
    std::env::var_os("NTIO_NO_FUSE").is_some_and(|value| value == "1")
}
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(120);
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
pub fn signal(name: &str, process: u32) {
    let done = Command::new("kill").args(["-s", name, &process.to_string()]).status().expect("kill");
    assert!(done.success(), "kill -s {name} {process}");
}
pub fn mounted(at: &Path) -> bool {
    let (all, at) = (fs::read("/proc/mounts").expect("the mounts"), at.as_os_str().as_bytes());
    all.split(|&byte| byte == b' ').any(|word| word == at)
}
/// Whether a process is there and has not ended.
pub fn lives(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}
pub fn children(of: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    list.split_whitespace().map(|word| word.parse().expect("a number")).collect()
}
pub fn number(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Who runs ntio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum User {
    Own,
    /// An ordinary user; where root keeps /dev/fuse to itself, with another node for it in a mount namespace of its own.
    Nobody,
}

pub struct Scene {
    pub folder: tempfile::TempDir,
    pub user: User,
}

impl Scene {
    pub fn new(user: User) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
        let scene = Self { folder, user };
        for name in ["mount", "files", "tmp"] {
            fs::create_dir(scene.at(name)).expect("a directory");
            fs::set_permissions(scene.at(name), fs::Permissions::from_mode(0o777)).expect("chmod");
        }
        if user == User::Nobody {
            fs::copy(NTIO, scene.at("ntio")).expect("a copy that everybody can run");
            fs::set_permissions(scene.at("ntio"), fs::Permissions::from_mode(0o755)).expect("chmod");
            std::os::unix::fs::chown(scene.at("mount"), Some(NOBODY), Some(NOBODY)).expect("chown");
        }
        scene
    }
    /// Both users where root runs the test, else the one that does.
    pub fn all() -> Vec<Self> {
        let root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        let users: &[User] = if root { &[User::Own, User::Nobody] } else { &[User::Own] };
        users.iter().map(|&user| Self::new(user)).collect()
    }
    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
    pub fn volume(&self) -> String {
        format!("dir:{}", self.at("files").display())
    }
    /// `ntio` as a command whose process, once it runs, is the supervisor.
    pub fn ntio(&self, words: &[&str]) -> Command {
        let mut command = match self.user {
            User::Own => Command::new(NTIO),
            User::Nobody => {
                // In the namespace of the test where the device can be used by all already.
                let open = fs::metadata("/dev/fuse").is_ok_and(|device| device.permissions().mode() & 0o006 == 0o006);
                let device = self.at("fuse");
                // The namespace is a copy: other tests' mounts, which would last as long as it does, are let go first.
                let script = "umount -l -a -t fuse.ntio || :; [ -e \"$1\" ] || mknod \"$1\" c 10 229; chmod 666 \"$1\"; mount --bind \"$1\" /dev/fuse; shift; exec \"$@\"";
                let mut command = Command::new(if open { "env" } else { "unshare" });
                if !open {
                    command.args(["-m", "--propagation", "slave", "--", "sh", "-euc", script, "sh"]).arg(device);
                }
                command
                    .args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"])
                    .arg(self.at("ntio"));
                command
            }
        };
        command.args(words).env("TMPDIR", self.at("tmp")).stdout(Stdio::null());
        command
    }
    pub fn mount(&self, words: &[&str]) -> Child {
        let at = self.at("mount");
        let mount = self
            .ntio(&["mount", at.to_str().expect("UTF-8"), "--report", "none"])
            .args(words)
            .stderr(Stdio::null())
            .spawn();
        let mount = mount.expect("ntio runs");
        until("it is mounted", || mounted_for(mount.id(), &at));
        mount
    }
}

/// Whether something is mounted there as a process sees it.
pub fn mounted_for(process: u32, at: &Path) -> bool {
    fs::read_to_string(format!("/proc/{process}/mounts")).is_ok_and(|all| all.contains(at.to_str().expect("UTF-8")))
}

pub fn refused(scene: &Scene, words: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = scene.ntio(words).output().expect("ntio runs");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}
