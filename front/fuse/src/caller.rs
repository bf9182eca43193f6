//! Who calls: an NT process for each Linux process, an NT thread for each of our readers in it.
//!
//! Room: front/fuse. Called by: every operation. Calls: `nt_machine`. Locks: the callers' map; not held while /proc is read.
//! DEVIATES from house rule 4: the NT thread belongs to the reader that serves the call, not to the calling Linux thread,
//! because one Linux thread can have several requests under way (aio, split reads) and an NT thread runs in one place.

use nt_machine::{Client, Machine, NtResult};
use parking_lot::Mutex;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A process of the host: its id, and the name of the program that it runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The process's id.
    pub process: u32,
    /// The last component of the program's path.
    pub name: String,
}

/// Tells which process a thread belongs to; `None` when there is no such thread (any more).
pub type Identify = dyn Fn(u32) -> Option<Identity> + Send + Sync;

impl Identity {
    /// Looks a thread up in /proc.
    #[must_use]
    pub fn of_thread(thread: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
        let process = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()?;
        let program = std::fs::read_link(format!("/proc/{thread}/exe")).ok();
        let program =
            program.as_deref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
        // A kernel thread has no program; its name stands in status.
        let name = program.or_else(|| {
            status.lines().find_map(|line| line.strip_prefix("Name:")).map(|name| name.trim().to_owned())
        })?;
        Some(Self { process, name: name.trim_end_matches(" (deleted)").to_owned() })
    }
}

/// A calling process. Open files keep it; it ends when it has none and others need its place.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) process: Arc<nt_machine::Process>,
}

/// A thread that called, when it was last looked up, and how long that holds.
struct Known {
    caller: Arc<Caller>,
    identity: Option<Identity>,
    looked: Instant,
    holds: Duration,
}

/// Callers beyond this are ended when nothing of theirs is open.
const MOST_IDLE: usize = 128;
/// Threads that one reader keeps.
const MOST_THREADS: usize = 64;
/// A process can run another program, most often soon after it began; and ids are used again. So a thread is looked up again
/// after this long, then after twice as long, and so on.
const AT_FIRST: Duration = Duration::from_micros(500);
const AT_LAST: Duration = Duration::from_secs(1);
/// Who did not call for this long is idle.
const IDLE: Duration = Duration::from_secs(10);

/// All callers of a mount.
pub(crate) struct Callers {
    identify: Option<Arc<Identify>>,
    threads: Mutex<HashMap<u32, Known>>,
}

/// A machine and a process of it.
type Place = (u64, u64);

thread_local! {
    /// This reader's threads, the last used last.
    static CLIENTS: RefCell<Vec<(Place, Client)>> = const { RefCell::new(Vec::new()) };
}

impl Callers {
    pub(crate) fn new(identify: Option<Arc<Identify>>) -> Self {
        Self { identify, threads: Mutex::default() }
    }

    /// Returns the caller of a request by its thread; 0 is the kernel's own (write-back, release) and who is outside.
    pub(crate) fn of(&self, machine: &Machine, thread: u32) -> NtResult<Arc<Caller>> {
        let mut holds = AT_FIRST;
        if let Some(known) = self.threads.lock().get(&thread) {
            if thread == 0 || known.looked.elapsed() < known.holds {
                return Ok(Arc::clone(&known.caller));
            }
            holds = (known.holds * 2).min(AT_LAST);
        }
        let identity = match &self.identify {
            _ if thread == 0 => None,
            Some(identify) => identify(thread),
            None => Identity::of_thread(thread),
        };
        let mut threads = self.threads.lock();
        let same = threads.values().find(|known| known.identity == identity && (identity.is_some() || thread == 0));
        let caller = match same {
            Some(known) => Arc::clone(&known.caller),
            None => Arc::new(Caller {
                process: match &identity {
                    Some(identity) => machine.new_process_of(&identity.name, u64::from(identity.process))?,
                    None if thread == 0 => machine.new_process("unknown (outside)")?,
                    None => machine.new_process_of("unknown", u64::from(thread))?,
                },
            }),
        };
        if threads.len() >= MOST_IDLE {
            forget_idle(machine, &mut threads);
        }
        threads.insert(thread, Known { caller: Arc::clone(&caller), identity, looked: Instant::now(), holds });
        Ok(caller)
    }
}

/// Ends the processes that have nothing open and did not call for a while.
fn forget_idle(machine: &Machine, threads: &mut HashMap<u32, Known>) {
    let mut held: HashMap<*const Caller, usize> = HashMap::new();
    for known in threads.values() {
        *held.entry(Arc::as_ptr(&known.caller)).or_default() += 1;
    }
    let mut gone: HashMap<*const Caller, Arc<Caller>> = HashMap::new();
    for known in threads.values() {
        let at = Arc::as_ptr(&known.caller);
        if held.get(&at) == Some(&Arc::strong_count(&known.caller)) {
            gone.insert(at, Arc::clone(&known.caller));
        }
    }
    for known in threads.values().filter(|known| known.looked.elapsed() < IDLE) {
        gone.remove(&Arc::as_ptr(&known.caller));
    }
    threads.retain(|_, known| !gone.contains_key(&Arc::as_ptr(&known.caller)));
    for caller in gone.into_values() {
        machine.end_process(&caller.process);
    }
}

/// Runs `body` in a thread of `process` that belongs to this reader.
pub(crate) fn enter<R>(
    machine: &Machine,
    process: &Arc<nt_machine::Process>,
    body: impl FnOnce(&Client) -> NtResult<R>,
) -> NtResult<R> {
    // A client that is kept keeps its process, so no other one gets its address.
    let key = (machine.kernel().id(), Arc::as_ptr(process).addr() as u64);
    // Taken out for the call: a call may enter another process.
    let kept = CLIENTS.with_borrow_mut(|clients| {
        let at = clients.iter().rposition(|(place, _)| *place == key)?;
        Some(clients.remove(at).1)
    });
    let client = match kept {
        Some(client) => client,
        None => machine.client_of(process)?,
    };
    let before = crate::session::runs_as(client.thread_object());
    let result = body(&client);
    if let Some(before) = before {
        crate::session::runs_as(&before);
    }
    CLIENTS.with_borrow_mut(|clients| {
        if clients.len() >= MOST_THREADS {
            clients.clear();
        }
        clients.push((key, client));
    });
    result
}

/// Gives back what this host thread kept.
pub(crate) fn forget_threads() {
    CLIENTS.with_borrow_mut(Vec::clear);
}
