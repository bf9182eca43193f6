//! What an OPLOCK stands for: who holds it, which breaks are not acknowledged, what waits.
//!
//! Room: ntos/fsrtl. Called by: `oplock`, `control`. Calls: `nt_io`. IRQL: <= APC_LEVEL. Locks: the state's; a packet is ended and
//! a routine called without it. Source: "Breaking Oplocks", [MS-FSA] 2.1.1.10, 2.1.4.12; rules NT-OPL-08 to NT-OPL-11.
//! A packet in here can be cancelled: who takes its cancel routine out has it; its own cancel routine finds it here.

use super::kind::{self, Kind, Opening, Operation, operation_of};
use super::packet::{End, Ended, Request, arm};
use super::{Act, OPLOCK, OPLOCK_FLAG_IGNORE_OPLOCK_KEYS, Oplock, Owner, STATES, Subject};
use nt_abi::NtStatus;
use nt_abi::io::{IO_STACK_LOCATION, IRP, IRP_MJ_CREATE};
use nt_abi::ke::KEVENT;
use nt_io::cancelable::{self, take_routine};
use nt_io::event::LocalEvent;
use nt_io::irp::{self, IoStatus, Irp};
use nt_ke::dispatcher;
use nt_ke::{Mode, Mutex, wait};
use std::sync::OnceLock;

/// A break that its holder has yet to acknowledge.
pub(super) struct Breaking {
    /// What the holder was told that it keeps.
    pub(super) told: Option<Kind>,
    /// What it keeps by what came since.
    pub(super) to: Option<Kind>,
    /// Only its cleanup ends the break.
    pub(super) until_close: bool,
}

/// An oplock that is held, or was and is breaking.
pub(super) struct Holder {
    pub(super) owner: Owner,
    pub(super) kind: Kind,
    /// The request; none while the break is not acknowledged.
    pub(super) request: Option<Request>,
    pub(super) breaking: Option<Breaking>,
}

impl Holder {
    /// Its request ends with the news; tells whether a break is left that has to be acknowledged.
    pub(super) fn broken(
        &mut self,
        request: Request,
        to: Option<Kind>,
        modes: Option<Opening>,
        ended: &mut Vec<Ended>,
    ) -> bool {
        let news = Ended::new(request, self.kind, to, NtStatus::SUCCESS);
        if !self.kind.is_acknowledged() {
            ended.push(news);
            return false;
        }
        ended.push(news.acknowledged(modes));
        self.breaking = Some(Breaking { told: to, to, until_close: false });
        true
    }

    /// Its request waits, and is not being cancelled.
    pub(super) fn is_held(&self) -> bool {
        self.request.as_ref().is_some_and(|request| request.irp.code(IRP::CancelRoutine).is_some())
    }

    /// Takes its request from whoever could cancel it; `false` when it is being cancelled.
    pub(super) fn lets_go(&self) -> bool {
        self.request.as_ref().is_none_or(|request| take_routine(request.irp))
    }

    /// What is told when nothing of it is left.
    pub(super) fn ended(self, status: impl FnOnce(Kind) -> NtStatus) -> Option<Ended> {
        let Self { request, kind, .. } = self;
        request.map(|request| Ended::new(request, kind, None, status(kind)))
    }
}

/// An operation that waits.
pub(super) struct Waiter {
    pub(super) subject: Subject,
    pub(super) flags: u32,
    pub(super) after: End,
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) holders: Vec<Holder>,
    pub(super) waiters: Vec<Waiter>,
    /// FSCTL_OPLOCK_BREAK_NOTIFY.
    pub(super) notified: Vec<Request>,
    /// No longer the state of any OPLOCK.
    pub(super) retired: bool,
}

pub(super) struct State {
    oplock: Oplock,
    key: OnceLock<u64>,
    pub(super) inner: Mutex<Inner>,
}

/// What is to be done once the lock is let go of.
#[derive(Default)]
pub(super) struct Due {
    pub(super) ended: Vec<Ended>,
    pub(super) released: Vec<(Waiter, NtStatus)>,
    pub(super) notified: Vec<Request>,
}

impl Due {
    fn settle(self) {
        self.ended.into_iter().for_each(Ended::give);
        for request in self.notified {
            request.finish(NtStatus::SUCCESS, 0);
        }
        for (waiter, status) in self.released {
            waiter.release(status);
        }
    }
}

impl Waiter {
    fn release(self, status: NtStatus) {
        irp::set_status(self.subject.irp, IoStatus::new(status, 0));
        (self.after)(self.subject.irp);
    }
}

impl Inner {
    /// Breaks what `act` breaks; tells whether it has to wait for an acknowledgement.
    pub(super) fn break_for(&mut self, act: &Act, by: Option<Irp>, flags: u32, ended: &mut Vec<Ended>) -> bool {
        let mut waits = false;
        self.holders.retain_mut(|holder| {
            let own = flags & OPLOCK_FLAG_IGNORE_OPLOCK_KEYS == 0 && holder.owner.is_one_with(&act.owner);
            let Some(effect) = kind::effect(holder.kind, &act.operation, own) else { return true };
            if let Some(breaking) = &mut holder.breaking {
                breaking.to = Kind::both(breaking.to, effect.to);
                waits |= effect.wait;
                return true;
            }
            // One that is being cancelled is gone: its cancel routine takes it out.
            let Some(request) = holder.request.take_if(|request| take_routine(request.irp)) else { return true };
            waits |= effect.wait;
            let modes = matches!(act.operation, Operation::Conflict).then(|| by.and_then(create_of)).flatten();
            holder.broken(request, effect.to, modes, ended)
        });
        waits
    }

    /// Lets go of what waits and no longer has to.
    fn advance(&mut self, due: &mut Due) {
        let mut at = 0;
        while at < self.waiters.len() {
            let (subject, flags) = (self.waiters[at].subject, self.waiters[at].flags);
            if self.break_for(&subject.act, Some(subject.irp), flags, &mut due.ended) || !take_routine(subject.irp) {
                at += 1;
            } else {
                due.released.push((self.waiters.remove(at), NtStatus::SUCCESS));
            }
        }
        if !self.is_breaking() {
            due.notified.extend(self.notified.extract_if(.., |request| take_routine(request.irp)));
        }
    }

    pub(super) fn is_breaking(&self) -> bool {
        self.holders.iter().any(|holder| holder.breaking.is_some())
    }

    fn is_empty(&self) -> bool {
        self.holders.is_empty() && self.waiters.is_empty() && self.notified.is_empty()
    }
}

/// The open that a create asks for.
fn create_of(packet: Irp) -> Option<Opening> {
    let create = irp::current(packet).get(IO_STACK_LOCATION::MajorFunction) == IRP_MJ_CREATE;
    match operation_of(packet).filter(|_| create) {
        Some(Operation::Open(open)) => Some(open),
        _ => None,
    }
}

impl State {
    pub(super) fn new(oplock: Oplock) -> Self {
        Self { oplock, key: OnceLock::new(), inner: Mutex::default() }
    }

    /// Tells the state its own key.
    pub(super) fn set_key(&self, key: u64) {
        self.key.get_or_init(|| key);
    }

    pub(super) fn key(&self) -> u64 {
        self.key.get().copied().unwrap_or(0)
    }

    /// Acts on the state, lets go of what no longer waits, and ends what is to end. A state that keeps nothing goes.
    pub(super) fn change<R>(&self, act: impl FnOnce(&mut Inner, &mut Due) -> R) -> R {
        let mut due = Due::default();
        let result = {
            let mut inner = self.inner.lock();
            let result = act(&mut inner, &mut due);
            inner.advance(&mut due);
            if inner.is_empty() {
                self.retire(&mut inner);
            }
            result
        };
        due.settle();
        result
    }

    fn retire(&self, inner: &mut Inner) {
        let key = self.key();
        if !std::mem::replace(&mut inner.retired, true) {
            let _was_replaced = self.oplock.cas64(OPLOCK::Key, key, 0);
        }
        STATES.remove(key);
    }
}

impl State {
    /// Lets an operation wait; at once released where the break was acknowledged meanwhile.
    pub(super) fn enqueue(&self, waiter: Waiter) {
        let packet = waiter.subject.irp;
        self.change(|inner, due| {
            if !inner.break_for(&waiter.subject.act, Some(packet), waiter.flags, &mut due.ended) {
                due.released.push((waiter, NtStatus::SUCCESS));
                return;
            }
            inner.waiters.push(waiter);
            if arm(packet, self.key())
                && let Some(waiter) = inner.waiters.pop()
            {
                due.released.push((waiter, NtStatus::CANCELLED));
            }
        });
    }

    /// Waits in this thread. A user's thread that ends stops waiting: its packet is cancelled.
    pub(super) fn wait(&self, subject: &Subject, flags: u32) -> NtStatus {
        let Some(over) = LocalEvent::new() else { return NtStatus::INSUFFICIENT_RESOURCES };
        let event = over.event();
        self.enqueue(Waiter { subject: *subject, flags, after: Box::new(move |_| _ = dispatcher::set_event(event)) });
        let (frame, header) = (nt_ke::current(), event.at(KEVENT::Header));
        let mode = if subject.irp.get(IRP::RequestorMode) == 0 { Mode::Kernel } else { Mode::User };
        if wait::wait_for_single(&frame, header, mode, false, None) != NtStatus::SUCCESS {
            cancelable::cancel_irp(subject.irp);
            let _over = wait::wait_for_single(&frame, header, Mode::Kernel, false, None);
        }
        irp::status(subject.irp).status
    }
}
