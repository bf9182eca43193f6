//! Cancelable queues: requests on a driver's list, each owned by whoever takes its cancel routine.
//!
//! Room: drivers/ks. Called by: drivers, pins. IRQL: <= DISPATCH_LEVEL. Locks: the list's own spin lock, then nothing.
//! Source: KsAddIrpToCancelableQueue, KsRemoveIrpFromCancelableQueue, KsCancelIo pages; rules KS-Q-01 to KS-Q-08, KS-Q-13.
//! The one rule of ownership: a request may be taken only by the one who swapped its cancel routine to NULL.

use nt_abi::NtStatus;
use nt_abi::io::IRP;
use nt_abi::ke::LIST_ENTRY;
use nt_abi::ks::KsListEntryTail;
use nt_cell::{CodePtr, Foreign};
use nt_io::cancelable::{self, Keeper, acquire_cancel_lock, release_cancel_lock, take_routine};
use nt_io::complete;
use nt_io::irp::{self, IoStatus, Irp};
use nt_ke::list::{self, List};
use nt_ke::spin::{self, SPIN_LOCK};

nt_abi::layout! {
    /// A list with its lock, for rooms that keep both in one block.
    pub struct QUEUE_BLOCK: 0x18 {
        /// The list.
        List @ 0x00: LIST_ENTRY;
        /// The lock.
        Lock @ 0x10: SPIN_LOCK;
    }
}

/// A spin lock.
pub type Lock = Foreign<SPIN_LOCK>;

/// KSLIST_ENTRY_LOCATION.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// KsListEntryTail.
    Tail,
    /// KsListEntryHead.
    Head,
}

impl End {
    /// Sorts a driver's word: 0 is the tail.
    #[must_use]
    pub const fn from_raw(raw: u32) -> Self {
        if raw == KsListEntryTail { Self::Tail } else { Self::Head }
    }
}

/// KSIRP_REMOVAL_OPERATION.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removal {
    /// KsAcquireOnly.
    AcquireOnly,
    /// KsAcquireAndRemove.
    AcquireAndRemove,
    /// KsAcquireOnlySingleItem.
    AcquireOnlySingleItem,
    /// KsAcquireAndRemoveOnlySingleItem.
    AcquireAndRemoveOnlySingleItem,
}

impl Removal {
    /// Sorts a driver's word.
    #[must_use]
    pub const fn from_raw(raw: u32) -> Self {
        match raw {
            0 => Self::AcquireOnly,
            1 => Self::AcquireAndRemove,
            2 => Self::AcquireOnlySingleItem,
            _ => Self::AcquireAndRemoveOnlySingleItem,
        }
    }
}

pub(crate) fn unlink(entry: List) {
    if list::remove(entry) {
        list::initialize(entry);
    }
}

/// Returns the requests of a list from one end on; the lock is held.
fn walk(list: List, end: End) -> impl Iterator<Item = Irp> {
    let step = match end {
        End::Tail => LIST_ENTRY::Blink,
        End::Head => LIST_ENTRY::Flink,
    };
    let on_list = move |entry: Option<List>| entry.filter(|&entry| entry != list);
    std::iter::successors(on_list(list.ptr(step)), move |entry| on_list(entry.ptr(step)))
        .map(|entry| entry.container(IRP::Tail_ListEntry))
}

fn lock_of(packet: Irp) -> Option<Lock> {
    match packet.get(IRP::Tail_DriverContext.index(1)) {
        0 => None,
        address => Some(Foreign::of_table(address)),
    }
}

/// Lets a listed request be cancelled by `routine`, KsCancelRoutine when there is none; returns the routine that is to run when it
/// was cancelled already.
fn set_routine(packet: Irp, routine: Option<CodePtr>) -> Option<CodePtr> {
    let routine = routine.unwrap_or_else(cancelable::routine_of::<Listed>);
    cancelable::set_routine(packet, routine).then_some(routine)
}

/// Links a request; returns the routine to run when it is cancelled already: the request then belongs to the caller, who
/// runs it with [`cancelled`] once it holds no lock.
#[must_use]
pub fn insert(list: List, lock: Lock, packet: Irp, end: End, routine: Option<CodePtr>) -> Option<CodePtr> {
    let _held = spin::hold(lock);
    let entry = packet.at(IRP::Tail_ListEntry);
    let before = match end {
        End::Head => list,
        End::Tail => list::last(list),
    };
    list::insert_after(before, entry);
    packet.set(IRP::Tail_DriverContext.index(1), lock.addr());
    set_routine(packet, routine)
}

/// KsAddIrpToCancelableQueue (KS-Q-01, KS-Q-02).
pub fn add(list: List, lock: Lock, packet: Irp, end: End, routine: Option<CodePtr>) {
    if let Some(routine) = insert(list, lock, packet, end, routine) {
        cancelable::run(packet, routine);
    }
}

/// KsRemoveIrpFromCancelableQueue (KS-Q-03 to KS-Q-05).
#[must_use]
pub fn remove(list: List, lock: Lock, end: End, operation: Removal) -> Option<Irp> {
    let _held = spin::hold(lock);
    let single = matches!(operation, Removal::AcquireOnlySingleItem | Removal::AcquireAndRemoveOnlySingleItem);
    let count = if single { 1 } else { usize::MAX };
    let taken = walk(list, end).take(count).find(|&packet| take_routine(packet))?;
    if matches!(operation, Removal::AcquireAndRemove | Removal::AcquireAndRemoveOnlySingleItem) {
        unlink(taken.at(IRP::Tail_ListEntry));
    }
    Some(taken)
}

/// KsRemoveSpecificIrpFromCancelableQueue (KS-Q-07).
pub fn remove_specific(packet: Irp) {
    if let Some(lock) = lock_of(packet) {
        let _held = spin::hold(lock);
        unlink(packet.at(IRP::Tail_ListEntry));
    }
}

/// KsReleaseIrpOnCancelableQueue (KS-Q-06).
pub fn release(packet: Irp, routine: Option<CodePtr>) {
    let Some(lock) = lock_of(packet) else { return };
    let run = {
        let _held = spin::hold(lock);
        set_routine(packet, routine)
    };
    if let Some(routine) = run {
        cancelable::run(packet, routine);
    }
}

/// KsCancelIo (KS-Q-08): those that are on the list now; a request that comes while routines run stays.
pub fn cancel_io(list: List, lock: Lock) {
    {
        let _held = spin::hold(lock);
        walk(list, End::Head).for_each(|packet| packet.set(IRP::Cancel, 1));
    }
    loop {
        let next = {
            let _held = spin::hold(lock);
            walk(list, End::Head).filter(|packet| packet.get(IRP::Cancel) != 0).find_map(|packet| {
                let routine = packet.swap_code(IRP::CancelRoutine, None)?;
                Some((packet, routine))
            })
        };
        match next {
            Some((packet, routine)) => cancelable::run(packet, routine),
            None => return,
        }
    }
}

/// The requests of cancelable queues, by KsCancelRoutine (KS-Q-13).
pub(crate) struct Listed;

impl Keeper for Listed {
    fn cancelled(packet: Irp) {
        remove_specific(packet);
        irp::set_status(packet, IoStatus::new(NtStatus::CANCELLED, 0));
        complete::complete_request(packet);
    }
}

/// Returns whether nothing is linked.
#[must_use]
pub fn is_empty(list: List, lock: Lock) -> bool {
    let _held = spin::hold(lock);
    list::is_empty(list)
}

/// Runs `body` with a source's lock held, and a destination's when it has one of its own, behind the cancel lock (KS-Q-10).
pub(crate) fn with_locks<R>(source: Lock, destination: Option<Lock>, body: impl FnOnce() -> R) -> R {
    let Some(destination) = destination else {
        let _source = spin::hold(source);
        return body();
    };
    let irql = nt_ke::irql::current();
    acquire_cancel_lock();
    let result = {
        let _source = spin::hold(source);
        let _destination = spin::hold(destination);
        body()
    };
    release_cancel_lock(irql);
    result
}

/// Returns the requests of a list from one end on; its lock is held.
pub(crate) fn snapshot(list: List, end: End) -> Vec<Irp> {
    walk(list, end).collect()
}

/// Moves a request to the other end of another list, so that the order stays; both locks are held.
pub(crate) fn relink(packet: Irp, list: List, end: End, lock: Option<Lock>) {
    let entry = packet.at(IRP::Tail_ListEntry);
    unlink(entry);
    let before = match end {
        End::Head => list::last(list),
        End::Tail => list,
    };
    list::insert_after(before, entry);
    if let Some(lock) = lock {
        packet.set(IRP::Tail_DriverContext.index(1), lock.addr());
    }
}
