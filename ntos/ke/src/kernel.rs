//! The kernel of one machine: its clock, its worker threads, and a place for the state of the rooms above.
//!
//! Room: ntos/ke. Called by: `nt_machine` (builds it), every room (through the current frame). IRQL: any.
//! House rule 4: a machine is a value; two kernels in one process share nothing but addresses.

use crate::clock::Clock;
use crate::lock::Mutex;
use crate::thread::Thread;
use crate::work::WorkQueue;
use nt_cell::typed::Typed;
use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Which Windows the machine behaves as (house rule 13).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum WindowsVersion {
    /// Windows 7.
    Win7,
    /// Windows 8.
    Win8,
    /// Windows 10.
    Win10,
    /// Windows 11.
    #[default]
    Win11,
}

/// Where a room above `ke` keeps its state of this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Slot {
    /// `nt_ob`: the namespace.
    Ob,
    /// `nt_ps`: processes and threads.
    Ps,
    /// `nt_io`: devices, drivers, statistics.
    Io,
    /// `nt_fltmgr`: filters, volumes, instances.
    Flt,
    /// `nt_ks`: streaming devices.
    Ks,
    /// `nt_ldr`'s user: loaded images of this machine.
    Ldr,
    /// Registry (service keys).
    Cm,
    /// `nt_cc`: the cache manager.
    Cc,
    /// `nt_se`: the tokens of processes.
    Se,
    /// `nt_memfs`: the file system's driver.
    Fs,
}
const SLOTS: usize = 10;

/// Receives the lines that drivers print.
pub type DebugSink = Box<dyn Fn(&str) + Send + Sync>;

/// Makes the thread that runs a system routine.
type SystemThread = Box<dyn Fn(&Arc<Kernel>) -> Arc<Thread> + Send + Sync>;

/// The kernel of one machine.
pub struct Kernel {
    id: u64,
    windows: WindowsVersion,
    /// The clocks.
    pub clock: Clock,
    /// System worker threads.
    pub work: WorkQueue,
    verifying: std::sync::atomic::AtomicBool,
    /// Timers.
    pub timers: crate::timer::Timers,
    /// Threads that drivers started.
    pub threads: crate::systhread::SystemThreads,
    /// Deferred procedure calls.
    pub dpcs: crate::dpc::Dpcs,
    rooms: [OnceLock<Typed>; SLOTS],
    system_thread: OnceLock<SystemThread>,
    debug: Mutex<Option<Arc<DebugSink>>>,
}

static EVER_VERIFIED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kernel#{} ({:?})", self.id, self.windows)
    }
}

#[cold]
fn lacks(slot: Slot) -> ! {
    panic!("the machine was built without {slot:?}, or it holds another type")
}

impl Kernel {
    /// Makes the kernel of a new machine.
    #[must_use]
    pub fn new(windows: WindowsVersion) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            windows,
            clock: Clock::default(),
            work: WorkQueue::default(),
            verifying: std::sync::atomic::AtomicBool::new(false),
            timers: crate::timer::Timers::default(),
            threads: crate::systhread::SystemThreads::default(),
            dpcs: crate::dpc::Dpcs::default(),
            rooms: [const { OnceLock::new() }; SLOTS],
            system_thread: OnceLock::new(),
            debug: Mutex::new(None),
        })
    }

    /// Returns a number that no other machine of this process has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns the Windows that this machine behaves as.
    #[must_use]
    pub fn windows(&self) -> WindowsVersion {
        self.windows
    }

    /// Switches the checks of what callers must keep on or off.
    pub fn verify(&self, on: bool) {
        self.verifying.store(on, Ordering::Relaxed);
        EVER_VERIFIED.fetch_or(on, Ordering::Relaxed);
    }

    /// Returns whether the checks were ever on, in any machine of this process: what a hot path asks before it looks for its
    /// machine.
    #[inline]
    #[must_use]
    pub fn ever_verified() -> bool {
        EVER_VERIFIED.load(Ordering::Relaxed)
    }

    /// Returns whether calls are checked for what callers must keep.
    #[inline]
    #[must_use]
    pub fn verifying(&self) -> bool {
        self.verifying.load(Ordering::Relaxed)
    }

    /// Stores a room's state; a room does it once, while the machine is built.
    ///
    /// # Panics
    /// If the room already has state.
    pub fn install<T: Any + Send + Sync>(&self, slot: Slot, state: Arc<T>) {
        assert!(self.rooms[slot as usize].set(Typed::new(state)).is_ok(), "{slot:?} was installed twice");
    }

    /// Returns a room's state.
    ///
    /// # Panics
    /// If the machine was built without that room.
    #[inline]
    #[must_use]
    pub fn room<T: Any + Send + Sync>(&self, slot: Slot) -> &T {
        let state = self.rooms[slot as usize].get().and_then(Typed::get::<T>);
        state.unwrap_or_else(|| lacks(slot))
    }

    /// Returns a room's state; the first caller makes it.
    ///
    /// # Panics
    /// If the slot holds another type.
    #[inline]
    #[must_use]
    pub fn room_or<T: Any + Send + Sync>(&self, slot: Slot, make: impl FnOnce() -> Arc<T>) -> &T {
        let state = self.rooms[slot as usize].get_or_init(|| Typed::new(make()));
        state.get::<T>().unwrap_or_else(|| lacks(slot))
    }

    /// Returns a shared handle to a room's state, if it is there.
    #[must_use]
    pub fn try_room<T: Any + Send + Sync>(&self, slot: Slot) -> Option<Arc<T>> {
        self.rooms[slot as usize].get().and_then(Typed::arc::<T>)
    }

    /// Tells how a thread of the system process is made (`nt_ps` does, while the machine is built).
    pub fn set_system_thread_maker(&self, make: impl Fn(&Arc<Self>) -> Arc<Thread> + Send + Sync + 'static) {
        let _second = self.system_thread.set(Box::new(make));
    }

    /// Makes a thread of the system process.
    #[must_use]
    pub fn system_thread(self: &Arc<Self>) -> Arc<Thread> {
        match self.system_thread.get() {
            Some(make) => make(self),
            None => Thread::new(self),
        }
    }

    /// Sends what drivers print (DbgPrint) somewhere; returns the former sink.
    pub fn set_debug_sink(&self, sink: Option<DebugSink>) -> Option<Arc<DebugSink>> {
        std::mem::replace(&mut *self.debug.lock(), sink.map(Arc::new))
    }

    /// Ends the machine's own threads: drivers' threads are waited for, then timers, DPCs, then workers.
    pub fn stop(&self) {
        self.threads.stop(self);
        self.timers.stop();
        self.dpcs.stop();
        self.work.stop();
    }

    /// Waits until no DPC and no work item is queued or running.
    pub fn drain(&self) {
        self.dpcs.flush();
        self.work.drain();
    }

    /// Prints a driver's text.
    pub fn debug_print(&self, text: &str) {
        let sink = self.debug.lock().clone();
        if let Some(sink) = sink {
            sink(text);
        }
    }
}
