//! Threads: what waits, what APCs are queued to, what IRPs belong to.
//!
//! Room: ntos/ke. IRQL: <= DISPATCH_LEVEL. Locks: the thread's APC queue, innermost.
//! Source: "Waits and APCs", "Disabling APCs" pages. Rules: NT-E-02, NT-E-06, NT-Q-01, NT-Q-03.

use crate::apc::UserApc;
use crate::kernel::Kernel;
use crate::lock::Mutex;
use crate::wait::Parker;
use std::any::Any;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// An NT thread.
pub struct Thread {
    id: u64,
    object: AtomicU64,
    process: OnceLock<Arc<dyn Any + Send + Sync>>,
    pub(crate) parker: Parker,
    pub(crate) apcs: Mutex<VecDeque<UserApc>>,
    pub(crate) alerted: AtomicBool,
    critical: AtomicI32,
    guarded: AtomicI32,
    irps: Mutex<Vec<u64>>,
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
            alerted: AtomicBool::new(false),
            critical: AtomicI32::new(0),
            guarded: AtomicI32::new(0),
            irps: Mutex::new(Vec::new()),
        })
    }

    /// Returns the thread id.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
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
        let _second = self.process.set(process);
    }

    /// Returns the process, as the type that `nt_ps` stored.
    #[must_use]
    pub fn process<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.process.get().and_then(|process| process.downcast_ref::<T>())
    }

    /// Returns a shared handle to the process.
    #[must_use]
    pub fn process_arc<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.process.get().cloned().and_then(|process| process.downcast::<T>().ok())
    }

    /// KeEnterCriticalRegion: holds back normal kernel APCs and user APCs (NT-E-02).
    pub fn enter_critical_region(&self) {
        self.critical.fetch_add(1, Ordering::Relaxed);
    }
    /// KeLeaveCriticalRegion.
    pub fn leave_critical_region(&self) {
        self.critical.fetch_sub(1, Ordering::Relaxed);
    }
    /// KeEnterGuardedRegion: holds back special kernel APCs too.
    pub fn enter_guarded_region(&self) {
        self.guarded.fetch_add(1, Ordering::Relaxed);
    }
    /// KeLeaveGuardedRegion.
    pub fn leave_guarded_region(&self) {
        self.guarded.fetch_sub(1, Ordering::Relaxed);
    }
    /// KeAreApcsDisabled: inside a critical or guarded region (NT-E-08).
    #[must_use]
    pub fn apcs_disabled(&self) -> bool {
        self.critical.load(Ordering::Relaxed) != 0 || self.all_apcs_disabled()
    }
    /// KeAreAllApcsDisabled: inside a guarded region or at APC_LEVEL and above.
    #[must_use]
    pub fn all_apcs_disabled(&self) -> bool {
        self.guarded.load(Ordering::Relaxed) != 0 || crate::irql::current() >= crate::irql::APC_LEVEL
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
    /// Returns the IRPs that the thread has issued and that are not complete.
    #[must_use]
    pub fn irps(&self) -> Vec<u64> {
        self.irps.lock().clone()
    }
}
