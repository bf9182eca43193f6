//! System worker threads: what work items, deferred completions and the lazy writer run on.
//!
//! Room: ntos/ke. IRQL: queued at <= DISPATCH_LEVEL, run at PASSIVE_LEVEL in a thread of the system process.
//! Locks: the queue's own, never held while an item runs. Source: ExQueueWorkItem, IoQueueWorkItem pages.

use crate::context::{Mode, enter};
use crate::kernel::Kernel;
use crate::lock::{Condvar, Mutex};
use nt_cell::sync::thread;
use std::collections::VecDeque;
use std::sync::Arc;

type Job = Box<dyn FnOnce() + Send>;

/// The worker threads of one machine.
#[derive(Default)]
pub struct WorkQueue {
    state: Mutex<State>,
    wake: Condvar,
    idle: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Every thread that was started; those of them that still run are counted by `threads`.
    started: Vec<thread::JoinHandle<()>>,
    threads: usize,
    waiting: usize,
    running: usize,
    stop: bool,
}

/// More threads than this are never started: an item that waits for another item past the limit is a driver's bug.
const MOST_THREADS: usize = 64;

impl WorkQueue {
    /// Queues a job for a worker thread of `kernel`; starts a thread when none is idle.
    ///
    /// # Panics
    /// If the host refuses a thread.
    pub fn queue(kernel: &Arc<Kernel>, job: impl FnOnce() + Send + 'static) {
        let mut state = kernel.work.state.lock();
        state.jobs.push_back(Box::new(job));
        if state.jobs.len() > state.waiting && state.threads < MOST_THREADS && !state.stop {
            state.threads += 1;
            let weak = Arc::downgrade(kernel);
            let started = thread::Builder::new()
                .name("nt worker".into())
                .spawn(move || {
                    let Some(kernel) = weak.upgrade() else { return };
                    let thread = kernel.system_thread();
                    let _entered = enter(&kernel, &thread, Mode::Kernel);
                    kernel.work.serve();
                })
                .expect("the host refused a worker thread");
            state.started.push(started);
        }
        drop(state);
        kernel.work.wake.notify_one();
    }

    fn serve(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                state.running += 1;
                drop(state);
                job();
                state = self.state.lock();
                state.running -= 1;
                if state.running == 0 && state.jobs.is_empty() {
                    self.idle.notify_all();
                }
                continue;
            }
            if state.stop {
                state.threads -= 1;
                self.idle.notify_all();
                return;
            }
            state.waiting += 1;
            self.wake.wait(&mut state);
            state.waiting -= 1;
        }
    }

    /// Waits until nothing is queued or running.
    pub fn drain(&self) {
        let mut state = self.state.lock();
        while state.running > 0 || !state.jobs.is_empty() {
            self.idle.wait(&mut state);
        }
    }

    /// Finishes what is queued and ends all worker threads.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        state.stop = true;
        self.wake.notify_all();
        while state.threads > 0 {
            self.idle.wait(&mut state);
        }
        let started = std::mem::take(&mut state.started);
        drop(state);
        // What a thread gives back as it ends, the pool's blocks among it, is given back when this returns.
        for each in started.into_iter().filter(|each| each.thread().id() != thread::current().id()) {
            let _panicked = each.join();
        }
    }
}
