//! Opportunistic locks: OPLOCK, the requests that hold one, the operations that wait until one is given up.
//!
//! Room: ntos/fsrtl. Called by: file systems, `nt_fltmgr` (FltOplock*), `exports`. Calls: `nt_io`.
//! Touches: OPLOCK (the key of our state; 0 while nobody holds one, so that an operation which meets none pays one load),
//! packets while they are kept here. IRQL: <= APC_LEVEL. Locks: the state's; a packet is ended and a routine called without it.
//! Source: FsRtlOplockFsctrl, FsRtlCheckOplockEx, FsRtlOplockBreakH pages; "Oplock Semantics"; rules NT-OPL-01 to NT-OPL-14.
//! Not here: which kind gives way to which operation (`kind`), the packets (`packet`), who counts as one owner (`owner`).

mod control;
pub mod exports;
mod kind;
mod owner;
mod packet;
mod state;

pub use control::{Control, control, is_shared_request, reserve};
pub use kind::{
    Kind, OPLOCK_LEVEL_CACHE_HANDLE, OPLOCK_LEVEL_CACHE_READ, OPLOCK_LEVEL_CACHE_WRITE, Opening, Operation, Parameters,
    opening, operation_of,
};
pub use owner::{Owner, adopt_key, are_keys_equal};
pub use packet::{End, Request};

use nt_abi::NtStatus;
use nt_abi::io::{FILE_COMPLETE_IF_OPLOCKED, FILE_OPEN_REQUIRING_OPLOCK, IO_STACK_LOCATION, IRP_MJ_CREATE};
use nt_cell::{Foreign, Slab};
use nt_io::irp::{self, Irp};
use nt_trace::rule;
use packet::Ended;
use state::{Holder, State, Waiter};
use std::sync::{Arc, LazyLock};

nt_abi::layout! {
    /// What a POPLOCK points at: a PVOID of the file system's.
    pub struct OPLOCK: 0x08 {
        /// The key of the state; 0 for none.
        Key @ 0x00: u64;
    }
}

/// An OPLOCK's address.
pub type Oplock = Foreign<OPLOCK>;

/// FsRtlCheckOplockEx: the operation goes on, although the break is not acknowledged.
pub const OPLOCK_FLAG_COMPLETE_IF_OPLOCKED: u32 = 1;
/// Nothing is broken.
pub const OPLOCK_FLAG_OPLOCK_KEY_CHECK_ONLY: u32 = 2;
/// Takes back what a create reserved.
pub const OPLOCK_FLAG_BACK_OUT_ATOMIC_OPLOCK: u32 = 4;
/// Also the caller's own oplocks are broken.
pub const OPLOCK_FLAG_IGNORE_OPLOCK_KEYS: u32 = 8;
/// The OPLOCK is that of the directory which the operation's file is in.
pub const OPLOCK_FLAG_PARENT_OBJECT: u32 = 0x10;
/// FsRtlOplockFsctrlEx: all handles that are open have the requestor's key.
pub const OPLOCK_FSCTRL_FLAG_ALL_KEYS_MATCH: u32 = 1;

/// An operation on a stream, and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Act {
    /// Who operates.
    pub owner: Owner,
    /// What it does to the stream.
    pub operation: Operation,
}

/// An act, and the packet that asks for it: that can be cancelled while it waits.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// The packet.
    pub irp: Irp,
    /// What it is about to do.
    pub act: Act,
}

impl Subject {
    /// Of a packet at its current stack location; `None` for one that no oplock minds.
    #[must_use]
    pub fn of(irp: Irp) -> Option<Self> {
        operation_of(irp).map(|operation| Self::doing(irp, operation))
    }

    /// A packet's operation, where the caller knows it better than the packet.
    #[must_use]
    pub fn doing(irp: Irp, operation: Operation) -> Self {
        Self { irp, act: Act { owner: Owner::of_packet(irp), operation } }
    }

    /// The options of a create, 0 of anything else.
    fn options(&self) -> u32 {
        let stack = irp::current(self.irp);
        let create = stack.get(IO_STACK_LOCATION::MajorFunction) == IRP_MJ_CREATE;
        if create { stack.get(IO_STACK_LOCATION::Create_Options) } else { 0 }
    }
}

/// How an operation waits.
pub enum Then {
    /// The calling thread waits inside the call.
    Wait,
    /// `before` runs, the packet is marked pending, the call returns PENDING; `after` gets the packet when the wait is over, with
    /// SUCCESS or CANCELLED in its status block.
    Post {
        /// The file system's PostIrpRoutine.
        before: Box<dyn FnOnce()>,
        /// The file system's CompletionRoutine.
        after: End,
    },
}

impl std::fmt::Debug for Then {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Self::Wait) { "Wait" } else { "Post" })
    }
}

static STATES: LazyLock<Slab<Arc<State>>> = LazyLock::new(Slab::new);

fn at_key(key: u64) -> Option<Arc<State>> {
    STATES.get(key).map(|state| Arc::clone(&state))
}

fn existing(oplock: Oplock) -> Option<Arc<State>> {
    at_key(oplock.get(OPLOCK::Key))
}

/// FsRtlInitializeOplock.
pub fn initialize(oplock: Oplock) {
    oplock.set(OPLOCK::Key, 0);
}

/// FsRtlUninitializeOplock: what is held ends broken to none, what waits goes on.
pub fn uninitialize(oplock: Oplock) {
    let Some(state) = existing(oplock) else { return };
    oplock.set(OPLOCK::Key, 0);
    state.change(|inner, due| {
        inner.retired = true;
        let gone = inner.holders.extract_if(.., |holder| holder.lets_go());
        due.ended.extend(gone.filter_map(|holder| holder.ended(|_| NtStatus::SUCCESS)));
    });
}

/// May a transfer go by fast I/O? While nobody holds one, or the only opener does (NT-OPL-12).
#[must_use]
pub fn is_fast_io_possible(oplock: Oplock) -> bool {
    is_quiet(oplock)
        || existing(oplock).is_none_or(|state| {
            let inner = state.inner.lock();
            inner.holders.iter().all(|holder| holder.kind.is_exclusive() && holder.breaking.is_none())
        })
}

/// Nobody holds one: one load.
#[must_use]
pub fn is_quiet(oplock: Oplock) -> bool {
    oplock.get(OPLOCK::Key) == 0
}

fn holds(oplock: Oplock, which: impl Fn(Kind) -> bool) -> bool {
    !is_quiet(oplock)
        && existing(oplock).is_some_and(|state| state.inner.lock().holders.iter().any(|holder| which(holder.kind)))
}

/// FsRtlCurrentOplock.
#[must_use]
pub fn is_held(oplock: Oplock) -> bool {
    holds(oplock, |_| true)
}

/// FsRtlCurrentBatchOplock: batch or filter.
#[must_use]
pub fn is_batch_held(oplock: Oplock) -> bool {
    holds(oplock, Kind::is_batch)
}

/// FsRtlCurrentOplockH: one that caches the handle.
#[must_use]
pub fn is_handle_held(oplock: Oplock) -> bool {
    holds(oplock, Kind::keeps_handles)
}

/// Would the operation break an oplock, or have to wait for a break?
#[must_use]
pub fn would_break(oplock: Oplock, act: &Act) -> bool {
    !is_quiet(oplock)
        && existing(oplock).is_some_and(|state| {
            state.inner.lock().holders.iter().any(|holder| {
                let own = holder.owner.is_one_with(&act.owner);
                kind::effect(holder.kind, &act.operation, own).is_some_and(|effect| match &holder.breaking {
                    Some(_) => effect.wait,
                    None => holder.is_held(),
                })
            })
        })
}

/// FsRtlCheckOplockEx, FsRtlOplockBreakH and FsRtlOplockBreakToNoneEx, by the subject's operation.
///
/// SUCCESS: the operation goes on. PENDING: its packet waits, as `then` says. OPLOCK_BREAK_IN_PROGRESS: it goes on although
/// the break is not acknowledged (OPLOCK_FLAG_COMPLETE_IF_OPLOCKED). CANCELLED: it waited, and was cancelled.
/// CANNOT_BREAK_OPLOCK: a create that requires an oplock would break one, and broke none.
pub fn check(oplock: Oplock, subject: &Subject, flags: u32, then: Then) -> NtStatus {
    if is_quiet(oplock) || flags & (OPLOCK_FLAG_OPLOCK_KEY_CHECK_ONLY | OPLOCK_FLAG_BACK_OUT_ATOMIC_OPLOCK) != 0 {
        return NtStatus::SUCCESS;
    }
    let Some(state) = existing(oplock) else { return NtStatus::SUCCESS };
    let options = subject.options();
    let of_file = !matches!(subject.act.operation, Operation::Children);
    if options & FILE_OPEN_REQUIRING_OPLOCK != 0 && of_file && would_break(oplock, &subject.act) {
        rule!(NT_OPL_05);
        return NtStatus::CANNOT_BREAK_OPLOCK;
    }
    let goes_on = if options & FILE_COMPLETE_IF_OPLOCKED != 0 { OPLOCK_FLAG_COMPLETE_IF_OPLOCKED } else { 0 };
    let flags = flags | goes_on;
    if !state.change(|inner, due| inner.break_for(&subject.act, Some(subject.irp), flags, &mut due.ended)) {
        return NtStatus::SUCCESS;
    }
    if flags & OPLOCK_FLAG_COMPLETE_IF_OPLOCKED != 0 {
        return NtStatus::OPLOCK_BREAK_IN_PROGRESS;
    }
    match then {
        Then::Wait => state.wait(subject, flags),
        Then::Post { before, after } => {
            before();
            irp::mark_pending(subject.irp);
            state.enqueue(Waiter { subject: *subject, flags, after });
            NtStatus::PENDING
        }
    }
}

/// Breaks what an act breaks without waiting: a change to a directory's names, which have no packet of their own there.
pub fn tell(oplock: Oplock, act: &Act) {
    if !is_quiet(oplock)
        && let Some(state) = existing(oplock)
    {
        state.change(|inner, due| _ = inner.break_for(act, None, 0, &mut due.ended));
    }
}

/// IRP_MJ_CLEANUP: the holder's request ends, and with it the break that waits for its acknowledgement (NT-OPL-11).
pub fn cleanup(oplock: Oplock, file: u64) {
    if is_quiet(oplock) {
        return;
    }
    let Some(state) = existing(oplock) else { return };
    state.change(|inner, due| {
        rule!(NT_OPL_11);
        let gone = inner.holders.extract_if(.., |holder| holder.owner.file == file && holder.lets_go());
        due.ended.extend(gone.filter_map(|holder| {
            holder.ended(|kind| match kind {
                Kind::Cache(_) => NtStatus::OPLOCK_HANDLE_CLOSED,
                _ => NtStatus::SUCCESS,
            })
        }));
    });
}

/// A packet that was kept here is cancelled.
fn cancel(key: u64, packet: Irp) {
    let Some(state) = at_key(key) else { return };
    state.change(|inner, due| {
        if let Some(at) = inner.waiters.iter().position(|waiter| waiter.subject.irp == packet) {
            due.released.push((inner.waiters.remove(at), NtStatus::CANCELLED));
        } else if let Some(at) = inner.notified.iter().position(|request| request.irp == packet) {
            let request = inner.notified.remove(at);
            due.ended.push(Ended::new(request, Kind::Two, None, NtStatus::CANCELLED));
        } else {
            let its = |holder: &Holder| holder.request.as_ref().is_some_and(|request| request.irp == packet);
            if let Some(at) = inner.holders.iter().position(its) {
                rule!(NT_OPL_11);
                due.ended.extend(inner.holders.remove(at).ended(|_| NtStatus::CANCELLED));
            }
        }
    });
}
