//! Processes of one machine.
//!
//! Room: ntos/ps. IRQL: PASSIVE_LEVEL. Locks: the process list.

use crate::counters::{Operation, ProcessCounters};
use nt_abi::{Bytes, NtResult};
use nt_cell::Foreign;
use nt_ke::kernel::Slot;
use nt_ke::{Entered, Frame, Kernel, Mutex, Thread};
use nt_ob::types::ObjectType;
use nt_ob::{Handle, HandleTable, ObjectRef, object};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The size that we give to the opaque EPROCESS and ETHREAD bodies.
const BODY: usize = 0x200;

/// A process.
pub struct Process {
    id: u64,
    /// The id of the host's process that it stands for; 0 is none.
    host: u64,
    name: String,
    object: ObjectRef<Bytes>,
    /// Its handles.
    pub handles: HandleTable,
    /// Its I/O counters.
    pub counters: ProcessCounters,
    /// Its primary token, as `nt_se` knows it; none stands for the default one.
    token: Mutex<Option<ObjectRef<Bytes>>>,
}

/// A thread that runs here: its object's address, its object, itself.
type Running = (u64, ObjectRef<Bytes>, std::sync::Weak<Thread>);

/// The processes of one machine.
pub struct Processes {
    system: Arc<Process>,
    all: Mutex<Vec<Arc<Process>>>,
    next: AtomicU64,
    ended: ProcessCounters,
    threads: Mutex<Vec<Running>>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Process#{} {}", self.id, self.name)
    }
}

impl Process {
    fn new(id: u64, host: u64, name: &str, machine: u64, kernel: bool) -> NtResult<Arc<Self>> {
        let object = object::create::<Bytes>(ObjectType::Process, BODY, machine)?;
        let header = object.body().view::<nt_abi::ke::DISPATCHER_HEADER>();
        nt_ke::dispatcher::initialize_header(header, nt_ke::dispatcher::kind::PROCESS, 6, 0);
        Ok(Arc::new(Self {
            id,
            host,
            name: name.to_owned(),
            object,
            handles: HandleTable::new(kernel),
            counters: ProcessCounters::default(),
            token: Mutex::new(None),
        }))
    }

    /// Returns the process id; the system process is 4.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns the id of the host's process that it stands for.
    #[must_use]
    pub fn host_id(&self) -> Option<u64> {
        (self.host != 0).then_some(self.host)
    }

    /// Returns the image name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the object of its primary token, if it was given one.
    #[must_use]
    pub fn token(&self) -> Option<ObjectRef<Bytes>> {
        self.token.lock().clone()
    }

    /// Gives it another primary token.
    pub fn set_token(&self, token: Option<ObjectRef<Bytes>>) {
        let former = std::mem::replace(&mut *self.token.lock(), token);
        drop(former); // with the lock let go: the last reference deletes the object
    }

    /// Returns the process object (PEPROCESS).
    #[must_use]
    pub fn object(&self) -> Foreign<Bytes> {
        self.object.body()
    }
}

impl Processes {
    /// Makes the room's state: the system process and nothing else, and installs it in the kernel.
    pub fn install(kernel: &Arc<Kernel>) -> NtResult<Arc<Self>> {
        let system = Process::new(4, 0, "System", kernel.id(), true)?;
        let room = Arc::new(Self {
            system: Arc::clone(&system),
            all: Mutex::new(vec![system]),
            next: AtomicU64::new(8),
            ended: ProcessCounters::default(),
            threads: Mutex::new(Vec::new()),
        });
        kernel.install(Slot::Ps, Arc::clone(&room));
        let weak = Arc::downgrade(&room);
        kernel.set_system_thread_maker(move |kernel| {
            let room = weak.upgrade().expect("the machine is shut down");
            let system = Arc::clone(&room.system);
            room.create_thread(kernel, &system).expect("no pool for a system thread")
        });
        Ok(room)
    }

    /// Returns the system process (PID 4).
    #[must_use]
    pub fn system(&self) -> &Arc<Process> {
        &self.system
    }

    /// Makes a process.
    pub fn create_process(&self, kernel: &Kernel, name: &str) -> NtResult<Arc<Process>> {
        self.create_process_of(kernel, name, 0)
    }

    /// Makes a process that stands for one of the host's, with an id as near as ids here go: a multiple of 4 that no other has.
    pub fn create_process_of(&self, kernel: &Kernel, name: &str, host: u64) -> NtResult<Arc<Process>> {
        let mut all = self.all.lock();
        let mut id = host.next_multiple_of(4);
        while id < 8 || all.iter().any(|process| process.id == id) {
            id = self.next.fetch_add(4, Ordering::Relaxed);
        }
        let process = Process::new(id, host, name, kernel.id(), false)?;
        all.push(Arc::clone(&process));
        Ok(process)
    }

    /// Makes a thread of a process.
    pub fn create_thread(&self, kernel: &Arc<Kernel>, process: &Arc<Process>) -> NtResult<Arc<Thread>> {
        let thread = Thread::new(kernel);
        let body = object::create::<Bytes>(ObjectType::Thread, BODY, kernel.id())?;
        let header = body.body().view::<nt_abi::ke::DISPATCHER_HEADER>();
        nt_ke::dispatcher::initialize_header(header, nt_ke::dispatcher::kind::THREAD, 6, 0);
        thread.set_object(body.body().addr());
        thread.set_process(Arc::clone(process) as Arc<dyn std::any::Any + Send + Sync>);
        process.counters.join(thread.io());
        let mut threads = self.threads.lock();
        threads.retain(|(_, _, thread)| thread.strong_count() > 0);
        threads.push((body.body().addr(), body, Arc::downgrade(&thread)));
        Ok(thread)
    }

    /// Finds the thread whose object lies at `address` (Tail.Overlay.Thread of an IRP).
    #[must_use]
    pub fn thread_at(&self, address: u64) -> Option<Arc<Thread>> {
        let threads = self.threads.lock();
        threads.iter().find(|(at, _, _)| *at == address).and_then(|(_, _, thread)| thread.upgrade())
    }

    /// Finds a thread by its id.
    #[must_use]
    pub fn thread_by_id(&self, id: u64) -> Option<Arc<Thread>> {
        let threads = self.threads.lock();
        threads.iter().filter_map(|(_, _, thread)| thread.upgrade()).find(|thread| thread.id() == id)
    }

    /// Returns the living threads of all processes.
    #[must_use]
    pub fn threads(&self) -> Vec<Arc<Thread>> {
        self.threads.lock().iter().filter_map(|(_, _, thread)| thread.upgrade()).collect()
    }

    /// Returns the living threads of a process.
    #[must_use]
    pub fn threads_of(&self, process: &Process) -> Vec<Arc<Thread>> {
        let threads = self.threads.lock();
        let all = threads.iter().filter_map(|(_, _, thread)| thread.upgrade());
        all.filter(|thread| thread.process::<Process>().is_some_and(|own| std::ptr::eq(own, process))).collect()
    }

    /// Finds a process by its id.
    #[must_use]
    pub fn process_by_id(&self, id: u64) -> Option<Arc<Process>> {
        self.all.lock().iter().find(|process| process.id == id).cloned()
    }

    /// Finds a process by its object's address.
    #[must_use]
    pub fn process_at(&self, address: u64) -> Option<Arc<Process>> {
        self.all.lock().iter().find(|process| process.object().addr() == address).cloned()
    }

    /// Unmaps every view of a process and closes every handle, as its end does, and forgets it.
    pub fn end(&self, process: &Arc<Process>) {
        if let Some(unmap) = UNMAP_ALL.get() {
            unmap(process);
        }
        for handle in process.handles.handles() {
            let _closed = process.handles.close(handle);
        }
        let mut all = self.all.lock();
        if let Some(at) = all.iter().position(|each| Arc::ptr_eq(each, process)) {
            all.remove(at);
            process.counters.leave_to(&self.ended);
            nt_ke::dispatcher::end_of_thread(process.object().addr());
        }
    }

    /// Returns the system-wide {operations, bytes}, processes that ended included (KS-W-11).
    #[must_use]
    pub fn counters(&self, operation: Operation) -> (u64, u64) {
        let all = self.all.lock();
        let ended = self.ended.read(operation);
        let living = all.iter().map(|process| process.counters.read(operation));
        living.fold(ended, |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Returns how many packets of services are in flight; 0 at a clean shutdown.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        let all = self.all.lock();
        self.ended.in_flight() + all.iter().map(|process| process.counters.in_flight()).sum::<i64>()
    }

    /// Returns all processes.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Process>> {
        self.all.lock().clone()
    }
}

static UNMAP_ALL: OnceLock<fn(&Process)> = OnceLock::new();

/// Registers who unmaps the views of a process that ends; the first registration stands.
pub fn set_unmap_all(unmap: fn(&Process)) {
    let _again = UNMAP_ALL.set(unmap);
}

/// Returns the room's state of a machine.
#[must_use]
pub fn processes(kernel: &Kernel) -> &Processes {
    kernel.room::<Processes>(Slot::Ps)
}

/// Attaches the running thread to a process until the result goes: its handles are those of that process (NT-E-03).
#[must_use]
pub fn attach(frame: &Frame, process: &Arc<Process>) -> Entered {
    nt_ke::context::attach(frame, Arc::clone(process) as Arc<dyn std::any::Any + Send + Sync>)
}

/// Returns the process of the running thread, or the one that it is attached to; a thread without one belongs to the
/// system process.
#[must_use]
pub fn current_process(frame: &Frame) -> &Process {
    if let Some(attached) = frame.attached.as_ref().and_then(|process| process.downcast_ref::<Process>()) {
        return attached;
    }
    match frame.thread.process::<Process>() {
        Some(process) => process,
        None => &processes(&frame.kernel).system,
    }
}

/// Returns the table in which a handle is looked up. A kernel handle counts only for KernelMode (NT-B-12): for a user
/// caller it is looked up in the caller's own table, where it does not exist.
#[must_use]
pub fn table_of(frame: &Frame, handle: Handle, kernel_mode: bool) -> &HandleTable {
    if handle.is_kernel() && kernel_mode {
        &processes(&frame.kernel).system.handles
    } else {
        &current_process(frame).handles
    }
}
