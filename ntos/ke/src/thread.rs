//! Threads: what waits, what APCs are queued to, what IRPs belong to.
//!
//! Room: ntos/ke. IRQL: <= DISPATCH_LEVEL. Locks: the thread's APC queue, innermost.
//! Source: "Waits and APCs", "Disabling APCs" pages. Rules: NT-E-02, NT-E-06, NT-Q-01, NT-Q-03.

use crate::apc::{Special, UserApc};
use crate::counters::IoCounters;
use crate::kernel::Kernel;
use crate::lock::{Mutex, SpinLock};
use crate::wait::Parker;
use nt_cell::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use nt_cell::typed::Typed;
use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

/// An NT thread.
pub struct Thread {
    id: u64,
    object: AtomicU64,
    process: OnceLock<Typed>,
    pub(crate) parker: Parker,
    pub(crate) apcs: Mutex<VecDeque<UserApc>>,
    pub(crate) specials: Mutex<Vec<Special>>,
    pub(crate) specials_due: AtomicBool,
    pub(crate) kernel_apcs: crate::kapc::KernelApcs,
    pub(crate) user_apcs_due: AtomicBool,
    pub(crate) alerted: AtomicBool,
    pub(crate) place: nt_cell::kpcr::Place,
    ended: AtomicBool,
    recovering: AtomicBool,
    /// The completion port that the thread took a packet from last, 0 for none (NT-Q-13).
    pub port: AtomicU64,
    critical: AtomicI32,
    guarded: AtomicI32,
    irps: SpinLock<Vec<u64>>,
    io: Arc<IoCounters>,
    top_level: AtomicU64,
}

impl std::fmt::Debug for Thread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Thread#{}", self.id)
    }
}

impl Thread {
    /// Makes a thread; `nt_ps` gives it its process and its object.
    #[must_use]
    pub fn new(_kernel: &Arc<Kernel>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(2);
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed) * 4,
            object: AtomicU64::new(0),
            process: OnceLock::new(),
            parker: Parker::default(),
            apcs: Mutex::new(VecDeque::new()),
            specials: Mutex::new(Vec::new()),
            specials_due: AtomicBool::new(false),
            kernel_apcs: crate::kapc::KernelApcs::default(),
            user_apcs_due: AtomicBool::new(false),
            alerted: AtomicBool::new(false),
            place: nt_cell::kpcr::Place::default(),
            ended: AtomicBool::new(false),
            recovering: AtomicBool::new(false),
            port: AtomicU64::new(0),
            critical: AtomicI32::new(0),
            guarded: AtomicI32::new(0),
            irps: SpinLock::new(Vec::new()),
            io: Arc::default(),
            top_level: AtomicU64::new(0),
        })
    }

    /// Returns the thread id.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns the I/O counters; only the thread itself counts.
    #[must_use]
    pub fn io(&self) -> &Arc<IoCounters> {
        &self.io
    }

    /// Returns the address of the thread object (PETHREAD), 0 before `nt_ps` made one.
    #[must_use]
    pub fn object(&self) -> u64 {
        self.object.load(Ordering::Relaxed)
    }

    /// Gives the thread its object's address.
    pub fn set_object(&self, address: u64) {
        self.object.store(address, Ordering::Relaxed);
    }

    /// Gives the thread its process.
    pub fn set_process(&self, process: Arc<dyn Any + Send + Sync>) {
        let _second = self.process.set(Typed::new(process));
    }

    /// Returns the process, as the type that `nt_ps` stored.
    #[inline]
    #[must_use]
    pub fn process<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.process.get().and_then(Typed::get::<T>)
    }

    /// Returns a shared handle to the process.
    #[must_use]
    pub fn process_arc<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.process.get().and_then(Typed::arc::<T>)
    }

    /// KeEnterCriticalRegion: holds back normal kernel APCs and user APCs (NT-E-02).
    pub fn enter_critical_region(&self) {
        // Only the thread itself enters and leaves: a plain load and store lose nothing.
        self.critical.store(self.critical.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
    /// KeLeaveCriticalRegion.
    pub fn leave_critical_region(&self) {
        self.critical.store(self.critical.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    }
    /// KeEnterGuardedRegion: holds back special kernel APCs too.
    pub fn enter_guarded_region(&self) {
        self.guarded.fetch_add(1, Ordering::SeqCst);
    }
    /// KeLeaveGuardedRegion: special kernel APCs that came meanwhile run now.
    pub fn leave_guarded_region(&self) {
        self.guarded.fetch_sub(1, Ordering::SeqCst);
        self.special_apcs_enabled();
    }
    /// The calling thread lowered its IRQL or left a region: what waited for it runs.
    #[inline]
    pub fn special_apcs_enabled(&self) {
        if crate::apc::specials_due(self) {
            crate::apc::run_specials(self);
        }
        if self.kernel_apcs.due.load(Ordering::Relaxed) {
            crate::kapc::deliver(self);
        }
    }
    /// KeAreApcsDisabled: inside a critical or guarded region (NT-E-08).
    #[must_use]
    pub fn apcs_disabled(&self) -> bool {
        self.critical.load(Ordering::Relaxed) != 0 || self.all_apcs_disabled()
    }
    /// KeAreAllApcsDisabled: inside a guarded region or at APC_LEVEL and above.
    #[must_use]
    pub fn all_apcs_disabled(&self) -> bool {
        self.guarded.load(Ordering::SeqCst) != 0 || crate::irql::current() >= crate::irql::APC_LEVEL
    }
    /// Whether this thread, which may be another than the caller, has special kernel APCs disabled.
    pub(crate) fn specials_disabled(&self) -> bool {
        (self.guarded.load(Ordering::SeqCst) != 0 || self.place.irql() >= crate::irql::APC_LEVEL)
            && !self.recovering.load(Ordering::SeqCst)
    }
    /// Whether normal kernel APCs are held back: in a region, or above PASSIVE_LEVEL.
    pub(crate) fn normals_disabled(&self) -> bool {
        self.critical.load(Ordering::Relaxed) != 0 || self.specials_disabled()
    }
    /// Lets special kernel APCs run in spite of a region or an IRQL: the thread is about to wait for one that could never
    /// run. Returns the former state.
    pub fn recover(&self, on: bool) -> bool {
        self.recovering.swap(on, Ordering::SeqCst)
    }

    /// Marks the thread as ended: no APC reaches it any more, and waits in user mode are over (NT-E-06, NT-Q-03).
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        crate::apc::run_down(self);
        self.parker.interrupt();
        if self.object() != 0 {
            crate::dispatcher::end_of_thread(self.object());
        }
    }
    /// Returns whether the thread has ended, or was told to.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// IoGetTopLevelIrp: the packet, or the marker, of the request that this thread works for; 0 for none.
    #[must_use]
    pub fn top_level(&self) -> u64 {
        self.top_level.load(Ordering::Relaxed)
    }
    /// IoSetTopLevelIrp; returns the former one.
    pub fn set_top_level(&self, packet: u64) -> u64 {
        // Only the thread itself has one: a plain load and store lose nothing.
        let was = self.top_level.load(Ordering::Relaxed);
        self.top_level.store(packet, Ordering::Relaxed);
        was
    }

    /// Puts an IRP on the thread's list (NT-P-07).
    pub fn add_irp(&self, irp: u64) {
        self.irps.lock().push(irp);
    }
    /// Takes an IRP off the list.
    pub fn remove_irp(&self, irp: u64) {
        let mut irps = self.irps.lock();
        if let Some(at) = irps.iter().rposition(|&each| each == irp) {
            irps.swap_remove(at);
        }
    }
    /// Shows the addresses of the thread's IRPs, with the list locked: none of them goes meanwhile.
    pub fn with_irps(&self, mut show: impl FnMut(u64)) {
        self.irps.lock().iter().for_each(|&irp| show(irp));
    }
    /// Returns the IRPs that the thread has issued and that are not complete.
    #[must_use]
    pub fn irps(&self) -> Vec<u64> {
        self.irps.lock().clone()
    }
}
