//! What a thread owes before its outermost service returns: under `--cache through` the pages that its cached writes
//! have dirtied.
//!
//! Room: ntos/io (owns the trait; `nt_cc` implements it). IRQL: PASSIVE_LEVEL. Locks: none.
//! Source: cc.md section 15, house rule 9. Only the outermost service call of a thread waits: waiting inside a filter's
//! callback could need a lock that the filter holds. A thread that owes nothing pays one load of a thread-local.

use crate::irp::IoStatus;
use nt_abi::NtStatus;
use nt_abi::io::FILE_OBJECT;
use nt_cell::Foreign;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// Something that a thread owes: written out by [`Debt::pay`].
pub trait Debt: Send + Sync {
    /// The stream that it is about: the address of its SECTION_OBJECT_POINTERS.
    fn stream(&self) -> u64;
    /// Writes it out; the status is the outcome.
    fn pay(&self) -> NtStatus;
}

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static OWED: Cell<bool> = const { Cell::new(false) };
    static DEBTS: RefCell<Vec<Arc<dyn Debt>>> = const { RefCell::new(Vec::new()) };
}

/// Notes that this thread owes `debt`.
pub fn owe(debt: &Arc<impl Debt + 'static>) {
    DEBTS.with_borrow_mut(|debts| {
        if !debts.iter().any(|each| each.stream() == debt.stream()) {
            debts.push(Arc::clone(debt) as Arc<dyn Debt>);
        }
    });
    OWED.set(true);
}

/// A service call of this thread; the end of the outermost one pays what is left, whatever comes of it.
#[derive(Debug)]
pub struct Service(());

impl Service {
    /// Enters a service.
    #[inline]
    #[must_use]
    pub fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self(())
    }
}

/// A request on its way down that no service of this thread sent: what filters owe by it is paid at its end.
#[derive(Debug)]
pub struct Sending(bool);

impl Sending {
    /// Sends.
    #[inline]
    #[must_use]
    pub fn enter() -> Self {
        let outermost = DEPTH.get() == 0;
        if outermost {
            DEPTH.set(1);
        }
        Self(outermost)
    }
}

impl Drop for Sending {
    #[inline]
    fn drop(&mut self) {
        if self.0 {
            if OWED.get() {
                let _nobody_to_tell = pay(None);
            }
            DEPTH.set(0);
        }
    }
}

impl Drop for Service {
    #[inline]
    fn drop(&mut self) {
        if DEPTH.get() == 1 && OWED.get() {
            let _nobody_to_tell = pay(None);
        }
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Pays for the stream of a write that has ended and whose caller was not told yet; returns the result to tell: an error
/// of the paging write is the write's (NT-CC section 15).
#[inline]
#[must_use]
pub fn settled(file: Foreign<FILE_OBJECT>, result: IoStatus) -> IoStatus {
    if !OWED.get() || DEPTH.get() > 1 || nt_ke::irql::current() > nt_ke::irql::PASSIVE_LEVEL {
        return result;
    }
    let status = pay(Some(file.addr_at(FILE_OBJECT::SectionObjectPointer)));
    if status.is_error() && !result.status.is_error() { IoStatus::new(status, 0) } else { result }
}

#[cold]
fn pay(stream: Option<u64>) -> NtStatus {
    let mut worst = NtStatus::SUCCESS;
    // What a payment leads to may be written through as well: until nothing is left.
    while let Some(debt) = take(stream) {
        let status = debt.pay();
        if status.is_error() {
            worst = status;
        }
    }
    worst
}

fn take(stream: Option<u64>) -> Option<Arc<dyn Debt>> {
    DEBTS.with_borrow_mut(|debts| {
        let at = match stream {
            Some(stream) => debts.iter().position(|each| each.stream() == stream),
            None => debts.len().checked_sub(1),
        };
        let taken = at.map(|at| debts.remove(at));
        OWED.set(!debts.is_empty());
        taken
    })
}
