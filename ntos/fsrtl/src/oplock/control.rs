//! FSCTL_REQUEST_OPLOCK and its older kin: oplocks are granted and breaks acknowledged.
//!
//! Room: ntos/fsrtl. Called by: `oplock`, file systems, `nt_fltmgr`. IRQL: <= APC_LEVEL. Locks: the state's.
//! Source: "Granting Oplocks", "Acknowledging Oplock Breaks", the pages of the controls; rules NT-OPL-01 to NT-OPL-04, NT-OPL-09.

use super::kind::{self, Beside, Kind};
use super::packet::{self, Asked, Ended, Request, arm};
use super::state::{Holder, State};
use super::{
    OPLOCK, OPLOCK_FSCTRL_FLAG_ALL_KEYS_MATCH, Oplock, Owner, STATES, Subject, existing, is_held, would_break,
};
use nt_abi::NtStatus;
use nt_abi::io::*;
use nt_io::cancelable::take_routine;
use nt_io::file;
use nt_io::irp::{self, Irp};
use nt_trace::rule;
use std::sync::Arc;

/// What a control asks of the package.
enum Wish {
    Grant(Kind),
    Acknowledge(Accept),
    Notify,
}

/// How a break is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accept {
    /// FSCTL_OPLOCK_BREAK_ACKNOWLEDGE: what was told.
    Told,
    /// FSCTL_OPLOCK_BREAK_ACK_NO_2.
    NoTwo,
    /// FSCTL_OPBATCH_ACK_CLOSE_PENDING.
    ClosePending,
    /// FSCTL_REQUEST_OPLOCK.
    Level { level: u32, at_close: bool },
}

/// The parameters of an IRP_MJ_FILE_SYSTEM_CONTROL.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// Through which file object.
    pub owner: Owner,
    /// FsControlCode.
    pub code: u32,
    /// InputBufferLength.
    pub input: u32,
    /// OutputBufferLength.
    pub output: u32,
}

impl Control {
    /// Of a packet at its current stack location.
    #[must_use]
    pub fn of(packet: Irp) -> Self {
        let stack = irp::current(packet);
        Self {
            owner: Owner::of_packet(packet),
            code: stack.get(IO_STACK_LOCATION::FileSystemControl_FsControlCode),
            input: stack.get(IO_STACK_LOCATION::FileSystemControl_InputBufferLength),
            output: stack.get(IO_STACK_LOCATION::FileSystemControl_OutputBufferLength),
        }
    }

    /// Is it about oplocks?
    #[must_use]
    pub const fn is_ours(code: u32) -> bool {
        matches!(
            code,
            FSCTL_REQUEST_OPLOCK_LEVEL_1
                | FSCTL_REQUEST_OPLOCK_LEVEL_2
                | FSCTL_REQUEST_BATCH_OPLOCK
                | FSCTL_REQUEST_FILTER_OPLOCK
                | FSCTL_OPLOCK_BREAK_ACKNOWLEDGE
                | FSCTL_OPBATCH_ACK_CLOSE_PENDING
                | FSCTL_OPLOCK_BREAK_NOTIFY
                | FSCTL_OPLOCK_BREAK_ACK_NO_2
                | FSCTL_REQUEST_OPLOCK
        )
    }

    fn wish(&self, packet: Irp) -> Result<Wish, NtStatus> {
        Ok(match self.code {
            FSCTL_REQUEST_OPLOCK_LEVEL_1 => Wish::Grant(Kind::One),
            FSCTL_REQUEST_OPLOCK_LEVEL_2 => Wish::Grant(Kind::Two),
            FSCTL_REQUEST_BATCH_OPLOCK => Wish::Grant(Kind::Batch),
            FSCTL_REQUEST_FILTER_OPLOCK => Wish::Grant(Kind::Filter),
            FSCTL_OPLOCK_BREAK_ACKNOWLEDGE => Wish::Acknowledge(Accept::Told),
            FSCTL_OPLOCK_BREAK_ACK_NO_2 => Wish::Acknowledge(Accept::NoTwo),
            FSCTL_OPBATCH_ACK_CLOSE_PENDING => Wish::Acknowledge(Accept::ClosePending),
            FSCTL_OPLOCK_BREAK_NOTIFY => Wish::Notify,
            FSCTL_REQUEST_OPLOCK => match packet::asked(packet, self.input, self.output) {
                Ok(Asked::Grant(kind)) => Wish::Grant(kind),
                Ok(Asked::Acknowledge { level, at_close }) => Wish::Acknowledge(Accept::Level { level, at_close }),
                Err(error) => return Err(error.status()),
            },
            _ => return Err(NtStatus::INVALID_PARAMETER),
        })
    }

    /// The kind of oplock that a packet requests; `None` for anything else.
    #[must_use]
    pub fn requests(&self, packet: Irp) -> Option<Kind> {
        match self.wish(packet) {
            Ok(Wish::Grant(kind)) => Some(kind),
            _ => None,
        }
    }
}

/// FsRtlOplockIsSharedRequest: does it request level 2, read or read-handle?
#[must_use]
pub fn is_shared_request(control: &Control, packet: Irp) -> bool {
    control.requests(packet).is_some_and(|kind| !kind.is_exclusive())
}

/// FsRtlOplockFsctrlEx of a create: what its options ask for (NT-OPL-05). The packet is not ended.
#[must_use]
pub fn reserve(oplock: Oplock, packet: Irp, opens: u32) -> NtStatus {
    let options = irp::current(packet).get(IO_STACK_LOCATION::Create_Options);
    if options & FILE_RESERVE_OPFILTER != 0 && (opens != 0 || is_held(oplock)) {
        return NtStatus::OPLOCK_NOT_GRANTED;
    }
    let breaks = Subject::of(packet).is_some_and(|subject| would_break(oplock, &subject.act));
    if options & FILE_OPEN_REQUIRING_OPLOCK != 0 && breaks {
        return NtStatus::CANNOT_BREAK_OPLOCK;
    }
    NtStatus::SUCCESS
}

/// FsRtlOplockFsctrlEx: grants, acknowledges, waits for a break; the request is ended here, now or later (PENDING).
///
/// `opens` counts the handles of the stream for a request that is to be the only one, the byte-range locks for a shared one.
pub fn control(oplock: Oplock, request: Request, control: &Control, opens: u32, flags: u32) -> NtStatus {
    let packet = request.irp;
    match control.wish(packet) {
        Err(status) => request.finish(status, 0),
        Ok(Wish::Grant(_)) if file::is_waited_for(packet) => request.finish(NtStatus::OPLOCK_NOT_GRANTED, 0),
        Ok(Wish::Grant(kind)) => grant(oplock, request, control.owner, kind, (opens, flags)),
        Ok(Wish::Acknowledge(accept)) => acknowledge(oplock, request, &control.owner, accept),
        Ok(Wish::Notify) => notify(oplock, request),
    }
}

/// The state, made if there is none.
fn state(oplock: Oplock) -> Arc<State> {
    loop {
        if let Some(state) = existing(oplock)
            && !state.inner.lock().retired
        {
            return state;
        }
        let made = Arc::new(State::new(oplock));
        let (was, key) = (oplock.get(OPLOCK::Key), STATES.insert(Arc::clone(&made)));
        made.set_key(key);
        // A key that names no state is damage or a race just lost: the next turn finds which.
        if oplock.cas64(OPLOCK::Key, was, key).is_ok() {
            return made;
        }
        STATES.remove(key);
    }
}

fn grant(oplock: Oplock, request: Request, owner: Owner, kind: Kind, (opens, flags): (u32, u32)) -> NtStatus {
    let match_all = flags & OPLOCK_FSCTRL_FLAG_ALL_KEYS_MATCH != 0 && matches!(kind, Kind::Cache(_));
    let refused = if kind.is_exclusive() { opens > 1 && !match_all } else { opens != 0 };
    if refused {
        return request.finish(NtStatus::OPLOCK_NOT_GRANTED, 0);
    }
    let mut request = Some(request);
    loop {
        let state = state(oplock);
        let key = state.key();
        let status = state.change(|inner, due| {
            if inner.retired {
                return None;
            }
            let fits = |holder: &Holder| {
                holder.breaking.is_none()
                    && kind::beside(kind, holder.kind, holder.owner.is_one_with(&owner)) != Beside::No
            };
            if !inner.holders.iter().all(fits) {
                return Some(NtStatus::OPLOCK_NOT_GRANTED);
            }
            inner.holders.retain_mut(|holder| {
                let status = match kind::beside(kind, holder.kind, holder.owner.is_one_with(&owner)) {
                    Beside::Switched => NtStatus::OPLOCK_SWITCHED_TO_NEW_HANDLE,
                    Beside::Broken => NtStatus::SUCCESS,
                    Beside::Yes | Beside::No => return true,
                };
                let Some(old) = holder.request.take_if(|request| take_routine(request.irp)) else { return true };
                due.ended.push(Ended::new(old, holder.kind, None, status));
                false
            });
            rule!(NT_OPL_01);
            let request = request.take()?;
            let packet = request.irp;
            irp::mark_pending(packet);
            inner.holders.push(Holder { owner, kind, request: Some(request), breaking: None });
            if arm(packet, key) {
                due.ended.extend(inner.holders.pop().and_then(|holder| holder.ended(|_| NtStatus::CANCELLED)));
            }
            Some(NtStatus::PENDING)
        });
        match (status, request.take()) {
            (Some(NtStatus::PENDING), _) | (None, None) => return NtStatus::PENDING,
            (Some(status), Some(request)) => return request.finish(status, 0),
            (Some(status), None) => return status,
            (None, again) => request = again,
        }
    }
}

/// What an acknowledgement leaves.
enum Left {
    /// It was none: INVALID_OPLOCK_PROTOCOL.
    Wrong,
    /// The holder keeps this much, and the packet waits as its request.
    Kept,
    /// Nothing is left, or it ends with the handle.
    Nothing,
}

fn acknowledge(oplock: Oplock, request: Request, owner: &Owner, accept: Accept) -> NtStatus {
    let Some(state) = existing(oplock) else { return request.finish(NtStatus::INVALID_OPLOCK_PROTOCOL, 0) };
    let key = state.key();
    let mut request = Some(request);
    let left = state.change(|inner, due| {
        let its = |holder: &Holder| holder.owner.file == owner.file && holder.breaking.is_some();
        let Some(at) = inner.holders.iter().position(its) else { return Left::Wrong };
        let holder = &mut inner.holders[at];
        let Some(breaking) = &mut holder.breaking else { return Left::Wrong };
        let to = breaking.to;
        let kept = match (holder.kind, accept) {
            _ if breaking.until_close => return Left::Wrong,
            (Kind::Cache(_), Accept::Level { level, at_close }) => {
                if level & !breaking.told.map_or(0, Kind::level) != 0 {
                    return Left::Wrong;
                }
                if at_close {
                    breaking.until_close = true;
                    return Left::Nothing;
                }
                Kind::caching(level)
            }
            (Kind::Cache(_), _) | (_, Accept::Level { .. }) => return Left::Wrong,
            (Kind::Batch | Kind::Filter, Accept::ClosePending) => {
                breaking.until_close = true;
                return Left::Nothing;
            }
            (_, Accept::Told) => breaking.told,
            (_, Accept::NoTwo | Accept::ClosePending) => None,
        };
        rule!(NT_OPL_09);
        let Some(kept) = kept else {
            inner.holders.remove(at);
            return Left::Nothing;
        };
        let Some(request) = request.take() else { return Left::Wrong };
        let packet = request.irp;
        irp::mark_pending(packet);
        (holder.kind, holder.breaking, holder.request) = (kept, None, Some(request));
        if arm(packet, key) {
            due.ended.extend(inner.holders.remove(at).ended(|_| NtStatus::CANCELLED));
        } else if Kind::both(Some(kept), to) != Some(kept)
            && let Some(request) = holder.request.take_if(|request| take_routine(request.irp))
            && !holder.broken(request, to, None, &mut due.ended)
        {
            inner.holders.remove(at); // it gave way to an operation that did not wait
        }
        Left::Kept
    });
    match (left, request) {
        (Left::Wrong, Some(request)) => request.finish(NtStatus::INVALID_OPLOCK_PROTOCOL, 0),
        (Left::Nothing, Some(request)) => request.finish(NtStatus::SUCCESS, 0),
        (_, _) => NtStatus::PENDING,
    }
}

fn notify(oplock: Oplock, request: Request) -> NtStatus {
    let mut request = Some(request);
    if let Some(state) = existing(oplock) {
        let key = state.key();
        state.change(|inner, due| {
            if inner.is_breaking()
                && let Some(request) = request.take()
            {
                let packet = request.irp;
                irp::mark_pending(packet);
                inner.notified.push(request);
                if arm(packet, key) {
                    let taken = inner.notified.pop();
                    due.ended.extend(taken.map(|request| Ended::new(request, Kind::Two, None, NtStatus::CANCELLED)));
                }
            }
        });
    }
    request.map_or(NtStatus::PENDING, |request| request.finish(NtStatus::SUCCESS, 0))
}
