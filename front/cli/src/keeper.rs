//! The keeper: takes away what a supervisor that was killed leaves behind.
//!
//! Room: front/cli. Called by: `supervisor`, as a process of its own that lives as long as the mount. Calls: the host.
//! A supervisor that is killed (SIGKILL, no memory) can end nothing. The keeper sees the end of its socket, which no signal can
//! prevent and nothing can race with: it ends the command, unmounts, waits for the server (which then flushes), and removes the
//! directory. The server sees the end of its own socket too (`server`), for the case that the keeper was killed as well.

use crate::verdict::{BROKEN, FINE, USAGE, say};
use crate::wire::{Incoming, send};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long what is ended gently may take before it is killed.
const GENTLY: Duration = Duration::from_secs(2);
/// How long the server may take to write back what it has.
const TO_FLUSH: Duration = Duration::from_secs(40);
/// How long programs that are not ours may keep the mount.
const TO_LET_GO: Duration = Duration::from_secs(5);

/// What the keeper is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    /// Where the volume is or will be mounted, and whether the directory was made for it.
    Mount {
        #[serde(with = "crate::wire::path")]
        at: PathBuf,
        ours: bool,
        server: u32,
    },
    Command(u32),
    /// All is taken away: the supervisor did it.
    Done,
}

/// The supervisor's hold on its keeper.
pub(crate) struct Keeper {
    line: UnixStream,
    child: Child,
}

impl Keeper {
    /// Starts the keeper of a mount that a server, which does not know of it yet, will make.
    pub(crate) fn start(at: &Path, ours: bool, server: u32) -> std::io::Result<Self> {
        let (line, theirs) = UnixStream::pair()?;
        let child = Command::new(std::env::current_exe()?)
            .arg("__keeper")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .env_clear()
            // fusermount3 is found by it.
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .current_dir("/")
            .process_group(0)
            .spawn()?;
        let mut keeper = Self { line, child };
        keeper.tell(&Word::Mount { at: at.to_owned(), ours, server });
        Ok(keeper)
    }

    /// Tells it something; one that was killed has no use for it.
    pub(crate) fn tell(&mut self, word: &Word) {
        let _gone = send(&mut self.line, word);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // A supervisor that panics took nothing away.
        if std::thread::panicking() {
            let _ended = self.line.shutdown(std::net::Shutdown::Both);
        } else {
            self.tell(&Word::Done);
        }
        let _code = self.child.wait();
    }
}

/// What is to be taken away.
#[derive(Default)]
struct Left {
    mount: Option<(PathBuf, bool)>,
    server: Option<OwnedFd>,
    command: Option<(u32, OwnedFd)>,
}

/// A handle of a process that is not reused: made while its parent, the supervisor, had not waited for it.
fn handle(process: u32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(process.cast_signed())?, PidfdFlags::empty()).ok()
}

/// Waits for the end of a process; tells whether it came in time.
fn ended(process: &OwnedFd, within: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let limit = Timespec { tv_sec: within.as_secs().cast_signed(), tv_nsec: within.subsec_nanos().into() };
    let mut asked = [PollFd::new(process, PollFlags::IN)];
    poll(&mut asked, Some(&limit)).is_ok_and(|ready| ready != 0)
}

/// Keeps; returns the exit code of this process.
pub(crate) fn keep() -> u8 {
    let Ok(descriptor) = std::io::stdin().as_fd().try_clone_to_owned() else { return BROKEN };
    let mut incoming = Incoming::new(UnixStream::from(descriptor));
    let mut left = Left::default();
    loop {
        match incoming.next::<Word>() {
            Ok(Some(Word::Mount { at, ours, server })) => {
                left.mount = Some((at, ours));
                left.server = handle(server);
            }
            Ok(Some(Word::Command(process))) => left.command = handle(process).map(|its| (process, its)),
            Ok(Some(Word::Done)) => return FINE,
            Ok(None) if left.mount.is_some() => break,
            _ => {
                say("ntio: this command is ntio's own; it starts it itself");
                return USAGE;
            }
        }
    }
    clean(left);
    FINE
}

fn clean(left: Left) {
    let Some((at, ours)) = left.mount else { return };
    say(&format!("ntio: the supervisor was killed; {} is unmounted", at.display()));
    if ours {
        // One that has ended has given its number back.
        let command = left.command.filter(|(_, its)| !ended(its, Duration::ZERO));
        end_command(command.map(|(process, _)| process), &at);
    }
    // A server that was about to mount sees the end of its own socket, before or after.
    let end = Instant::now() + TO_FLUSH;
    let mut unmounted = unmount(&at, TO_LET_GO);
    if let Some(server) = &left.server {
        while !ended(server, Duration::from_millis(100)) {
            unmounted = unmount(&at, Duration::ZERO);
            if Instant::now() >= end {
                say("ntio: the server does not end; it is killed");
                let _gone = pidfd_send_signal(server, Signal::KILL);
                let _ended = ended(server, GENTLY);
                break;
            }
        }
    }
    clear(&at);
    if let Err(why) = unmounted {
        say(&format!("ntio: {}: {why}", at.display()));
    }
    if ours {
        // Never what is in it: it is empty, or still a volume.
        let _stays = std::fs::remove_dir(&at);
    }
}

/// Ends the command and what it started: its descendants, and who else carries the mount's name in the environment.
fn end_command(command: Option<u32>, at: &Path) {
    let mark = [b"NTIO_MOUNT=", at.as_os_str().as_bytes()].concat();
    let end = Instant::now() + GENTLY;
    // What was found once stays known: a child whose parent ends is nobody's descendant any more.
    let mut known: HashMap<u32, OwnedFd> = HashMap::new();
    loop {
        for process in descendants(command, known.keys(), &mark) {
            if let Entry::Vacant(place) = known.entry(process)
                && let Some(its) = handle(process)
            {
                let _gone = pidfd_send_signal(place.insert(its), Signal::TERM);
            }
        }
        known.retain(|_, its| !ended(its, Duration::ZERO));
        let late = Instant::now().saturating_duration_since(end);
        if known.is_empty() || late >= GENTLY {
            return;
        }
        if !late.is_zero() {
            for its in known.values() {
                let _gone = pidfd_send_signal(its, Signal::KILL);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The command, if it is still there, and every process that was started with the mark; their descendants, and those of the known.
fn descendants<'a>(command: Option<u32>, known: impl Iterator<Item = &'a u32>, mark: &[u8]) -> HashSet<u32> {
    let own = std::process::id();
    let mut parents = Vec::new();
    let mut found: HashSet<u32> = known.copied().collect();
    for process in processes() {
        let file = |name: &str| format!("/proc/{process}/{name}");
        let Ok(status) = std::fs::read_to_string(file("status")) else { continue };
        let word = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        // What has ended and only waits to be asked for counts no more.
        if process == own || word("State:").is_some_and(|state| state.starts_with(['Z', 'X'])) {
            continue;
        }
        let marked = std::fs::read(file("environ")).is_ok_and(|all| all.split(|&b| b == 0).any(|one| one == mark));
        if marked {
            found.insert(process);
        }
        parents.push((process, word("PPid:").and_then(|parent| parent.parse::<u32>().ok()).unwrap_or(0)));
    }
    // What wiped its environment is found by descent.
    found.extend(command.filter(|command| parents.iter().any(|(process, _)| process == command)));
    loop {
        let more: Vec<u32> = parents
            .iter()
            .filter(|(process, parent)| found.contains(parent) && !found.contains(process))
            .map(|(process, _)| *process)
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// Unmounts; programs that were left behind get a moment to let go.
pub(crate) fn unmount(at: &Path, patience: Duration) -> Result<(), String> {
    let end = Instant::now() + patience;
    loop {
        if !is_mounted(at) {
            return Ok(());
        }
        match ntio_fuse::unmount(at, false).map_err(|error| (error.raw_os_error(), error)) {
            Ok(()) | Err((Some(libc::EINVAL | libc::ENOENT), _)) => return Ok(()),
            Err((Some(libc::EBUSY) | None, _)) => {} // None: fusermount3 could not
            Err((_, error)) => return Err(error.to_string()),
        }
        if Instant::now() >= end {
            return Err(match ntio_fuse::unmount(at, true).map_err(|error| error.to_string()) {
                Ok(()) => "a program is still using it; it was detached".into(),
                Err(said) => format!("it could not be detached either ({said}); {}", remedy(&said)),
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What to do when neither umount2 nor fusermount3 took the mount away.
fn remedy(said: &str) -> &'static str {
    if said.contains("/etc/mtab") {
        "fusermount3 needs the table of mounts: ln -s /proc/self/mounts /etc/mtab, then fusermount3 -u"
    } else {
        "end the programs that use it (fuser -m shows which), then fusermount3 -u"
    }
}

/// Whether ntio has a volume there.
pub(crate) fn is_mounted(at: &Path) -> bool {
    mounts(at).iter().any(|kind| kind.starts_with("fuse"))
}

/// A path as the kernel names it.
pub(crate) fn resolved(at: &Path) -> PathBuf {
    let whole = std::path::absolute(at).unwrap_or_else(|_| at.to_owned());
    // The directory itself may be the mount of a server that is gone.
    let by_parent = || Some(std::fs::canonicalize(whole.parent()?).ok()?.join(whole.file_name()?));
    std::fs::canonicalize(&whole).ok().or_else(by_parent).unwrap_or(whole)
}

/// What is mounted at a resolved path: the kinds of file system, the newest last.
pub(crate) fn mounts(at: &Path) -> Vec<String> {
    table("self").into_iter().filter(|mount| mount.at == at).map(|mount| mount.kind).collect()
}

/// The device number of ntio's volume at a resolved path, which all of its mounts have in common.
pub(crate) fn device(at: &Path) -> Option<String> {
    let ours = |mount: &Mount| mount.at == at && mount.kind.starts_with("fuse");
    table("self").into_iter().rfind(ours).map(|mount| mount.device)
}

/// A process in whose mount namespace, not ours, a device is mounted: a container that was started meanwhile has copies of all
/// mounts. Its number and its program; of each namespace one process is looked at.
pub(crate) fn holder(device: &str) -> Option<(u32, String)> {
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    let mut seen = HashSet::from([namespace("self")?]);
    for process in processes() {
        let name = process.to_string();
        let another = namespace(&name).is_some_and(|its| seen.insert(its));
        if another && table(&name).iter().any(|mount| mount.device == device) {
            let program = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
            return Some((process, program.trim_end().to_owned()));
        }
    }
    None
}

/// The processes of the host that this one sees.
fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Where something is mounted below a resolved path, each place once.
pub(crate) fn mounts_below(at: &Path) -> Vec<PathBuf> {
    let mut below: Vec<PathBuf> =
        table("self").into_iter().map(|mount| mount.at).filter(|place| place != at && place.starts_with(at)).collect();
    below.sort();
    below.dedup();
    below
}

/// A line of mountinfo, as proc_pid_mountinfo(5) tells it.
#[derive(PartialEq, Eq, Debug)]
struct Mount {
    device: String,
    at: PathBuf,
    /// The kind of file system.
    kind: String,
}

/// The mounts of a process's namespace.
fn table(process: &str) -> Vec<Mount> {
    let table = std::fs::read(format!("/proc/{process}/mountinfo")).unwrap_or_default();
    table.split(|&byte| byte == b'\n').filter_map(mount_of).collect()
}

fn mount_of(line: &[u8]) -> Option<Mount> {
    let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
    let mut words = line.split(|&byte| byte == b' ');
    let device = text(words.nth(2)?);
    let at = OsString::from_vec(unescape(words.nth(1)?)).into();
    let kind = text(words.skip_while(|word| *word != b"-").nth(1)?);
    Some(Mount { device, at, kind })
}

/// Space, tab, newline and backslash stand as three octal digits.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&first, others)) = rest.split_first() {
        let digits = if first == b'\\' { others.get(..3) } else { None };
        let code = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|text| u8::from_str_radix(text, 8).ok());
        rest = match code {
            Some(code) => {
                out.push(code);
                &others[3..]
            }
            None => {
                out.push(first);
                others
            }
        };
    }
    out
}

/// Takes away the mount of a server that fell: nobody answers there any more.
pub(crate) fn clear(at: &Path) {
    let dead = std::fs::metadata(at).is_err_and(|error| error.raw_os_error() == Some(libc::ENOTCONN));
    if dead {
        let _gone = ntio_fuse::unmount(at, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_read_by_its_unescaped_name() {
        let line = b"36 35 0:31 / /mnt/a\\040b\\134c rw,nosuid shared:1 master:2 - fuse.ntio ntio:x rw";
        let expected = Mount { device: "0:31".into(), at: "/mnt/a b\\c".into(), kind: "fuse.ntio".into() };
        assert_eq!(mount_of(line), Some(expected));
        assert_eq!(mount_of(b""), None);
        assert_eq!(unescape(b"a\\04"), b"a\\04");
    }

    #[test]
    fn descendants_and_marked_processes_are_found() {
        // A mark of this run's own: the one that runs beside it ends what has its mark.
        let mount = format!("/no/such/{}", std::process::id());
        let mark = format!("NTIO_MOUNT={mount}").into_bytes();
        let mut child =
            Command::new("sh").args(["-c", "sleep 600 & wait; exit 1"]).env("NTIO_MOUNT", &mount).spawn().expect("sh");
        let pid = child.id();
        let by = |command, mark: &[u8]| {
            (0..6000).any(|_| {
                std::thread::sleep(Duration::from_millis(20));
                descendants(command, [].iter(), mark).len() == 2
            })
        };
        assert!(by(Some(pid), b"NTIO_MOUNT=/another"), "the child and its own, by descent");
        assert!(by(None, &mark), "and by the mark");
        assert!(descendants(None, [].iter(), b"NTIO_MOUNT=/another").is_empty());
        end_command(Some(pid), Path::new(&mount));
        assert!(descendants(Some(pid), [].iter(), &mark).is_empty());
        assert!(!child.wait().expect("ended").success());
    }
}
