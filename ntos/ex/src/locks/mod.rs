//! The locks that drivers import from the executive: fast and guarded mutexes, ERESOURCE, push locks, run-down protection.
//!
//! Room: ntos/ex. The names stand in [`exports`]; the work is done in `resource`, `pushlock`, `rundown`, and here for mutexes.
//! IRQL: <= APC_LEVEL. Source: ExAcquireFastMutex, KeAcquireGuardedMutex pages; rules NT-KR-11, NT-KR-12. On x64 KGUARDED_MUTEX
//! is FAST_MUTEX.

use nt_abi::ke::{FAST_MUTEX, KEVENT};
use nt_cell::{Foreign, kpcr};
use nt_ke::dispatcher::{self, EventType};
use nt_ke::{Mode, irql, wait};

pub mod exports;

/// A mutex: the driver's memory.
pub type Mutex = Foreign<FAST_MUTEX>;

/// ExInitializeFastMutex.
pub fn initialize(mutex: Mutex) {
    mutex.set(FAST_MUTEX::Count, 1);
    mutex.set_addr(FAST_MUTEX::Owner, 0);
    mutex.set(FAST_MUTEX::Contention, 0);
    dispatcher::initialize_event(mutex.at(FAST_MUTEX::Event), EventType::Synchronization, false);
}

/// Takes the mutex, waiting if it must; the caller keeps APCs away.
pub fn acquire(mutex: Mutex) {
    let frame = nt_ke::current();
    if mutex.add32(FAST_MUTEX::Count, -1) != 1 {
        mutex.add_u32(FAST_MUTEX::Contention, 1);
        let event = mutex.at(FAST_MUTEX::Event).at(KEVENT::Header);
        let _status = wait::wait_for_single(&frame, event, Mode::Kernel, false, None);
    }
    mutex.set_addr(FAST_MUTEX::Owner, frame.thread.object());
}

/// Takes the mutex if it is free.
pub fn try_acquire(mutex: Mutex) -> bool {
    let taken = mutex.cas32(FAST_MUTEX::Count, 1, 0).is_ok();
    if taken {
        mutex.set_addr(FAST_MUTEX::Owner, nt_ke::current().thread.object());
    }
    taken
}

/// Lets the mutex go.
pub fn release(mutex: Mutex) {
    mutex.set_addr(FAST_MUTEX::Owner, 0);
    if mutex.add32(FAST_MUTEX::Count, 1) != 0 {
        dispatcher::set_event(mutex.at(FAST_MUTEX::Event));
    }
}

/// Raises to APC_LEVEL, takes the mutex by `take`, and keeps the former level in it; back at that level if it was not taken.
fn at_apc_level(mutex: Mutex, take: impl FnOnce(Mutex) -> bool) -> bool {
    let was = irql::current();
    kpcr::set_irql(irql::APC_LEVEL);
    let taken = take(mutex);
    if taken {
        mutex.set(FAST_MUTEX::OldIrql, u32::from(was));
    } else {
        lower(was);
    }
    taken
}

fn lower(level: u8) {
    kpcr::set_irql(level);
    nt_ke::current().thread.special_apcs_enabled();
}

/// ExAcquireFastMutex.
pub fn acquire_fast(mutex: Mutex) {
    at_apc_level(mutex, |mutex| {
        acquire(mutex);
        true
    });
}

/// ExTryToAcquireFastMutex.
pub fn try_acquire_fast(mutex: Mutex) -> bool {
    at_apc_level(mutex, try_acquire)
}

/// ExReleaseFastMutex.
pub fn release_fast(mutex: Mutex) {
    let was = mutex.get(FAST_MUTEX::OldIrql) as u8;
    release(mutex);
    lower(was);
}

/// KeAcquireGuardedMutex.
pub fn acquire_guarded(mutex: Mutex) {
    nt_ke::current().thread.enter_guarded_region();
    acquire(mutex);
}

/// KeTryToAcquireGuardedMutex.
pub fn try_acquire_guarded(mutex: Mutex) -> bool {
    let frame = nt_ke::current();
    frame.thread.enter_guarded_region();
    let taken = try_acquire(mutex);
    if !taken {
        frame.thread.leave_guarded_region();
    }
    taken
}

/// KeReleaseGuardedMutex.
pub fn release_guarded(mutex: Mutex) {
    release(mutex);
    nt_ke::current().thread.leave_guarded_region();
}
