//! The mounted `ntio` and its end.
//!
//! Room: tests. Only processes that were started here are killed, each by its number.

use crate::{PATIENCE, Plan};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A mounted volume: the supervisor, and the server that is its child.
#[derive(Debug)]
pub struct Server {
    supervisor: Child,
    at: PathBuf,
}

fn device(at: &Path) -> Result<u64, String> {
    std::fs::metadata(at).map(|meta| meta.dev()).map_err(|error| format!("{}: {error}", at.display()))
}

impl Server {
    /// Mounts `content` at `at`.
    ///
    /// # Errors
    /// When it is not mounted in time.
    pub fn start(plan: &Plan, at: &Path, content: &Path) -> Result<Self, String> {
        let before = device(at)?;
        let supervisor = Command::new(&plan.program)
            .arg("mount")
            .arg(at)
            .args(["-v", &format!("dir:{}", content.display()), "--report", "none"])
            .args(&plan.words)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", plan.program.display()))?;
        let mut server = Self { supervisor, at: at.to_owned() };
        let end = Instant::now() + PATIENCE;
        while device(at)? == before {
            if let Ok(Some(status)) = server.supervisor.try_wait() {
                return Err(format!("ntio mount ended: {status}"));
            }
            if Instant::now() >= end {
                return Err("the volume was not mounted in time".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// The server's process.
    fn child(&self) -> Result<Pid, String> {
        let id = self.supervisor.id();
        let list = format!("/proc/{id}/task/{id}/children");
        let text = std::fs::read_to_string(&list).map_err(|error| format!("{list}: {error}"))?;
        let first = text.split_whitespace().next().and_then(|word| word.parse().ok());
        first.map(Pid::from_raw).ok_or_else(|| "the supervisor has no server".to_owned())
    }

    /// Kills the server: it has no chance to do anything more.
    ///
    /// # Errors
    /// When there is none.
    pub fn kill(&mut self) -> Result<(), String> {
        kill(self.child()?, Signal::SIGKILL).map_err(|error| format!("kill: {error}"))
    }

    /// Waits for the supervisor, which must end by itself and leave no mount behind.
    ///
    /// # Errors
    /// When it does not.
    pub fn finish(mut self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.supervisor.try_wait().map_err(|error| error.to_string())? {
                Some(_) => break,
                None if Instant::now() >= end => return Err("the supervisor did not end in time".into()),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        match std::fs::read_dir(&self.at).map(Iterator::count) {
            Ok(0) => Ok(()),
            Ok(_) => Err("the mount is still there".into()),
            Err(error) => Err(format!("a dead mount was left behind: {error}")),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(child) = self.child() {
            let _gone = kill(child, Signal::SIGKILL);
        }
        let _killed = self.supervisor.kill();
        let _ended = self.supervisor.wait();
        let quiet = || Stdio::null();
        let _gone = Command::new("umount").arg("-l").arg(&self.at).stderr(quiet()).status();
    }
}
