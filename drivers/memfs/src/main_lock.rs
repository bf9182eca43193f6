//! The main lock of a node: who writes, reads or resizes the stream on behalf of a caller holds it, paging requests do not.
//!
//! Room: drivers/memfs. IRQL: PASSIVE_LEVEL. Locks: this one, before the data lock; held while paging requests that a
//! transfer leads to go down. Source: FSRTL_ADVANCED_FCB_HEADER (Resource); rules NT-CC-10, NT-CC-31, NT-CC-86, NT-S-13.

use nt_abi::{NtResult, NtStatus};
use nt_ke::lock::{Biased, BiasedReadGuard, BiasedWriteGuard};
use std::sync::atomic::{AtomicU64, Ordering};

/// The lock, and which thread has it exclusively.
#[derive(Default)]
pub(crate) struct Main {
    lock: Biased<()>,
    owner: AtomicU64,
}

/// Exclusive ownership.
pub(crate) struct Owned<'a> {
    main: &'a Main,
    _held: BiasedWriteGuard<'a, ()>,
}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        self.main.owner.store(0, Ordering::Relaxed);
    }
}

impl Main {
    /// A filter that does cached I/O on the stream from inside the paging request of a transfer waits for itself on
    /// Windows; here the transfer fails.
    fn not_mine(&self) -> NtResult<()> {
        let owner = self.owner.load(Ordering::Relaxed);
        if owner != 0 && owner == nt_ke::current().thread.id() {
            return NtStatus::POSSIBLE_DEADLOCK.fail();
        }
        Ok(())
    }

    /// As [`Main::not_mine`], and CANT_WAIT for a caller that must not wait for another thread.
    fn may_wait(&self, wait: bool) -> NtResult<()> {
        self.not_mine()?;
        if wait { Ok(()) } else { NtStatus::CANT_WAIT.fail() }
    }

    /// Takes the lock shared; a thread may do so again.
    pub(crate) fn shared(&self) -> NtResult<BiasedReadGuard<'_, ()>> {
        self.shared_or(true)
    }

    /// Takes the lock shared; CANT_WAIT when it is not free and `wait` is not given (NT-S-13).
    pub(crate) fn shared_or(&self, wait: bool) -> NtResult<BiasedReadGuard<'_, ()>> {
        if let Some(guard) = self.lock.try_read() {
            return Ok(guard);
        }
        self.may_wait(wait)?;
        Ok(self.lock.read())
    }

    /// Takes the lock exclusively.
    pub(crate) fn exclusive(&self) -> NtResult<Owned<'_>> {
        self.exclusive_or(true)
    }

    /// Takes the lock exclusively; CANT_WAIT when it is not free and `wait` is not given (NT-S-13).
    pub(crate) fn exclusive_or(&self, wait: bool) -> NtResult<Owned<'_>> {
        let held = match self.lock.try_write() {
            Some(held) => held,
            None => {
                self.may_wait(wait)?;
                self.lock.write()
            }
        };
        self.owner.store(nt_ke::current().thread.id(), Ordering::Relaxed);
        Ok(Owned { main: self, _held: held })
    }

    /// Takes the lock shared if it is free.
    pub(crate) fn try_shared(&self) -> Option<BiasedReadGuard<'_, ()>> {
        self.lock.try_read()
    }
}
