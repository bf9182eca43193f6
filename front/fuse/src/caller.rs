//! Who calls: an NT process for each Linux process, an NT thread for each of our readers in it.
//!
//! Room: front/fuse. Called by: every operation. Calls: `nt_machine`. Locks: the callers' map.
//! DEVIATES from house rule 4: the NT thread belongs to the reader that serves the call, not to the calling Linux thread,
//! because one Linux thread can have several requests under way (aio, split reads) and an NT thread runs in one place.

use nt_machine::{Client, Machine, NtResult};
use parking_lot::Mutex;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// A calling process. Open files keep it; it ends when it has none and others need its place.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) process: Arc<nt_machine::Process>,
}

/// Callers beyond this are ended when nothing of theirs is open.
const MOST_IDLE: usize = 128;
/// Threads that one reader keeps.
const MOST_THREADS: usize = 64;

/// All callers of a mount.
#[derive(Default)]
pub(crate) struct Callers {
    all: Mutex<HashMap<u32, Arc<Caller>>>,
}

thread_local! {
    static CLIENTS: RefCell<HashMap<(u64, u64), Client>> = RefCell::new(HashMap::new());
}

impl Callers {
    /// Returns the caller of a request; 0 is the kernel's own (write-back, release).
    pub(crate) fn of(&self, machine: &Machine, pid: u32) -> NtResult<Arc<Caller>> {
        let mut all = self.all.lock();
        if let Some(caller) = all.get(&pid) {
            return Ok(Arc::clone(caller));
        }
        if all.len() >= MOST_IDLE {
            all.retain(|_, caller| {
                let kept = Arc::strong_count(caller) > 1;
                if !kept {
                    machine.end_process(&caller.process);
                }
                kept
            });
        }
        let name = if pid == 0 { "unknown (outside)".to_owned() } else { format!("pid {pid}") };
        let caller = Arc::new(Caller { process: machine.new_process(&name)? });
        all.insert(pid, Arc::clone(&caller));
        Ok(caller)
    }
}

/// Runs `body` in a thread of `process` that belongs to this reader.
pub(crate) fn enter<R>(
    machine: &Machine,
    process: &Arc<nt_machine::Process>,
    body: impl FnOnce(&Client) -> NtResult<R>,
) -> NtResult<R> {
    let key = (machine.kernel().id(), process.id());
    // Taken out for the call: a call may enter another process.
    let kept = CLIENTS.with_borrow_mut(|clients| clients.remove(&key));
    let client = match kept {
        Some(client) => client,
        None => machine.client_of(process)?,
    };
    let result = body(&client);
    CLIENTS.with_borrow_mut(|clients| {
        if clients.len() >= MOST_THREADS {
            clients.clear();
        }
        clients.insert(key, client);
    });
    result
}

/// Gives back what this host thread kept.
pub(crate) fn forget_threads() {
    CLIENTS.with_borrow_mut(HashMap::clear);
}
