//! Threads that drivers start.
//!
//! Room: ntos/ke. Called by: `nt_io` (PsCreateSystemThread). IRQL: PASSIVE_LEVEL. Locks: the list of threads.
//! Source: PsCreateSystemThread, PsTerminateSystemThread pages; rules NT-KR-42, NT-KR-43.

use crate::context::{Mode, enter};
use crate::kernel::Kernel;
use crate::lock::{Condvar, Mutex};
use crate::thread::Thread;
use std::sync::Arc;
use std::thread;

/// The threads of one machine's drivers.
#[derive(Default)]
pub struct SystemThreads(Mutex<Vec<thread::JoinHandle<()>>>);

/// Starts `thread` in the machine; `body` is what it does, and then it has ended. `false` when the host refuses.
pub fn start(kernel: &Arc<Kernel>, thread: Arc<Thread>, body: impl FnOnce() + Send + 'static) -> bool {
    let own = Arc::clone(kernel);
    let spawned = thread::Builder::new().name("nt system thread".into()).spawn(move || {
        let _entered = enter(&own, &thread, Mode::Kernel);
        body();
        nt_cell::kpcr::set_irql(crate::irql::PASSIVE_LEVEL);
        thread.end();
    });
    let Ok(handle) = spawned else { return false };
    let mut all = kernel.threads.0.lock();
    all.retain(|each| !each.is_finished());
    all.push(handle);
    true
}

impl SystemThreads {
    /// Waits for the threads to end, as the machine's shutdown does: a driver that unloads has ended its own.
    pub(crate) fn stop(&self, kernel: &Kernel) {
        let all = std::mem::take(&mut *self.0.lock());
        let (ended, never) = (Mutex::new(()), Condvar::new());
        for _ in 0..500 {
            if all.iter().all(thread::JoinHandle::is_finished) {
                break;
            }
            // Ten milliseconds, by the machine's clock: nobody wakes this wait.
            let mut alone = ended.lock();
            let _timed_out = never.wait_until(&mut alone, kernel.clock.deadline(-100_000));
        }
        for each in all {
            if each.is_finished() {
                let _panicked = each.join();
            } else {
                kernel.debug_print("ntio: a driver's system thread still runs while its machine ends\n");
            }
        }
    }
}
