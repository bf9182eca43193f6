//! Which machine, thread and previous mode the running code belongs to.
//!
//! Room: ntos/ke. Called by: every door (pushes a frame), every export (reads it). IRQL: any. Locks: none.
//! House rule 4: an export finds its machine through the current thread; a door pushes {machine, thread, mode, IRQL}
//! and pops it when the call is over. The KPCR mirrors the thread for drivers that read GS.

use crate::kernel::Kernel;
use crate::thread::Thread;
use nt_cell::sync::thread_local;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// KPROCESSOR_MODE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Mode {
    /// KernelMode.
    Kernel = 0,
    /// UserMode.
    User = 1,
}

impl Mode {
    /// Sorts a driver's byte: 0 is kernel, all else user, as the probes treat it.
    #[must_use]
    pub const fn from_raw(raw: u8) -> Self {
        if raw == 0 { Self::Kernel } else { Self::User }
    }
}

/// One entry of the stack of contexts on this host thread.
pub struct Frame {
    /// The machine's kernel.
    pub kernel: Arc<Kernel>,
    /// The NT thread that runs here.
    pub thread: Arc<Thread>,
    /// The process that the thread is attached to, as `nt_ps` knows it.
    pub attached: Option<Arc<dyn Any + Send + Sync>>,
    mode: Cell<Mode>,
    services: Cell<u32>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame of thread {} in {:?} mode", self.thread.id(), self.mode())
    }
}

thread_local! {
    static STACK: RefCell<Vec<Rc<Frame>>> = const { RefCell::new(Vec::new()) };
}

impl Frame {
    /// Returns PreviousMode.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode.get()
    }

    /// Runs a system service. On the way out of the outermost one to user mode, user APCs that ended an alertable wait
    /// inside it run (NT-Q-01, NT-X-05): the service is over by then, as on Windows.
    pub fn service<R>(&self, body: impl FnOnce() -> R) -> R {
        self.services.set(self.services.get() + 1);
        let result = body();
        self.services.set(self.services.get() - 1);
        self.thread.special_apcs_enabled();
        if self.services.get() == 0 {
            crate::apc::user_apcs_enabled(&self.thread);
        }
        result
    }

    /// KeLeaveCriticalRegion: user APCs that ended a wait inside the region run now, outside of services (NT-E-02).
    pub fn leave_critical_region(&self) {
        self.thread.leave_critical_region();
        self.kernel_apcs_enabled();
        if !self.in_service() {
            crate::apc::user_apcs_enabled(&self.thread);
        }
    }

    /// Returns whether a system service is running in this frame.
    #[must_use]
    pub fn in_service(&self) -> bool {
        self.services.get() != 0
    }

    /// Runs `body` with another previous mode: what a Zw routine does around the service (NT-B-11).
    pub fn with_mode<R>(&self, mode: Mode, body: impl FnOnce() -> R) -> R {
        let was = self.mode.replace(mode);
        let result = body();
        self.mode.set(was);
        result
    }
}

/// Leaves the context again.
#[derive(Debug)]
pub struct Entered {
    irql: u8,
    charged: u32,
    frame: Rc<Frame>,
}

impl Entered {
    /// Returns the context that was entered.
    #[must_use]
    pub fn frame(&self) -> &Rc<Frame> {
        &self.frame
    }
}

/// Enters a machine as `thread` with the given previous mode, at PASSIVE_LEVEL.
#[must_use]
pub fn enter(kernel: &Arc<Kernel>, thread: &Arc<Thread>, mode: Mode) -> Entered {
    nt_cell::kpcr::ensure();
    let entered = push(kernel, thread, mode, None, 0);
    nt_cell::kpcr::set_irql(crate::irql::PASSIVE_LEVEL);
    entered
}

/// Goes on as the same thread in another process, until the result goes: KeStackAttachProcess. No user APC runs meanwhile.
#[must_use]
pub fn attach(frame: &Frame, process: Arc<dyn Any + Send + Sync>) -> Entered {
    push(&frame.kernel, &frame.thread, frame.mode(), Some(process), frame.services.get() + 1)
}

fn push(
    kernel: &Arc<Kernel>,
    thread: &Arc<Thread>,
    mode: Mode,
    attached: Option<Arc<dyn Any + Send + Sync>>,
    services: u32,
) -> Entered {
    let irql = nt_cell::kpcr::irql();
    nt_cell::kpcr::set_current_thread(thread.object());
    thread.place.here();
    let frame = Rc::new(Frame {
        kernel: Arc::clone(kernel),
        thread: Arc::clone(thread),
        attached,
        mode: Cell::new(mode),
        services: Cell::new(services),
    });
    STACK.with(|stack| stack.borrow_mut().push(Rc::clone(&frame)));
    let charged = nt_cell::pool::charge(kernel.id() as u32);
    Entered { irql, charged, frame }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.frame.thread.special_apcs_enabled();
        let outer = STACK.with(|stack| {
            let mut stack = stack.borrow_mut();
            stack.pop();
            stack.last().map(|frame| Arc::clone(&frame.thread))
        });
        nt_cell::pool::charge(self.charged);
        nt_cell::kpcr::set_irql(self.irql);
        nt_cell::kpcr::set_current_thread(outer.as_ref().map_or(0, |thread| thread.object()));
        if outer.is_none_or(|outer| !Arc::ptr_eq(&outer, &self.frame.thread)) {
            self.frame.thread.place.nowhere();
        }
    }
}

/// Returns the current context.
///
/// # Panics
/// If this host thread is in no machine: a door forgot to enter.
#[must_use]
pub fn current() -> Rc<Frame> {
    try_current().expect("this host thread has entered no machine")
}

/// Returns the current context, or `None` outside every machine.
#[must_use]
pub fn try_current() -> Option<Rc<Frame>> {
    STACK.with(|stack| stack.borrow().last().cloned())
}
