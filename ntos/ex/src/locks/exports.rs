//! The names of the executive's locks.
//!
//! Room: ntos/ex. Called by: compiled drivers. IRQL: as each DDI page says. Locks: drivers' own.
//! An address that arrives here is a driver's word and becomes a `Foreign` at the edge (S-3).

use crate::exports::at;
use crate::{pool, pushlock, resource, rundown};
use nt_abi::NtStatus;
use nt_abi::ke::EX_RUNDOWN_REF;
use nt_cell::{Foreign, exports};

fn on<T>(address: u64, body: impl FnOnce(Foreign<T>)) {
    if let Some(object) = at::<T>(address) {
        body(object);
    }
}

fn asked<T>(address: u64, body: impl FnOnce(Foreign<T>) -> bool) -> u8 {
    at::<T>(address).map_or(0, |object| u8::from(body(object)))
}

fn this_thread() -> u64 {
    nt_ke::current().thread.object()
}

fn acquire(resource: u64, wait: u8, how: resource::How) -> u8 {
    asked(resource, |resource| resource::acquire_as(resource, this_thread(), how, wait != 0))
}

fn in_region(resource: u64, how: resource::How) -> u64 {
    nt_ke::current().thread.enter_critical_region();
    acquire(resource, 1, how);
    at::<nt_abi::ke::ERESOURCE>(resource)
        .map_or(0, |resource| resource.get(nt_abi::ke::ERESOURCE::ActiveEntries).into())
}

exports! { "ntoskrnl.exe" =>
    Full code ExInitializeFastMutex(mutex: u64) { on(mutex, super::initialize); }
    Full code ExAcquireFastMutex(mutex: u64) { on(mutex, super::acquire_fast); }
    Full code ExTryToAcquireFastMutex(mutex: u64) -> u8 { asked(mutex, super::try_acquire_fast) }
    Full code ExReleaseFastMutex(mutex: u64) { on(mutex, super::release_fast); }
    Full code ExAcquireFastMutexUnsafe(mutex: u64) { on(mutex, super::acquire); }
    Full code ExReleaseFastMutexUnsafe(mutex: u64) { on(mutex, super::release); }
    Full code KeInitializeGuardedMutex(mutex: u64) { on(mutex, super::initialize); }
    Full code KeAcquireGuardedMutex(mutex: u64) { on(mutex, super::acquire_guarded); }
    Full code KeTryToAcquireGuardedMutex(mutex: u64) -> u8 { asked(mutex, super::try_acquire_guarded) }
    Full code KeReleaseGuardedMutex(mutex: u64) { on(mutex, super::release_guarded); }
    Full code KeAcquireGuardedMutexUnsafe(mutex: u64) { on(mutex, super::acquire); }
    Full code KeReleaseGuardedMutexUnsafe(mutex: u64) { on(mutex, super::release); }
    Full code ExInitializeResourceLite(resource: u64) -> u32 { on(resource, resource::initialize); NtStatus::SUCCESS.0 }
    Full code ExReinitializeResourceLite(resource: u64) -> u32 { on(resource, resource::initialize); NtStatus::SUCCESS.0 }
    Full code ExDeleteResourceLite(resource: u64) -> u32 { on(resource, resource::delete); NtStatus::SUCCESS.0 }
    Full code ExAcquireResourceExclusiveLite(resource: u64, wait: u8) -> u8 { acquire(resource, wait, resource::How::Exclusive) }
    Full code ExAcquireResourceSharedLite(resource: u64, wait: u8) -> u8 { acquire(resource, wait, resource::How::Shared) }
    Full code ExAcquireSharedStarveExclusive(resource: u64, wait: u8) -> u8 { acquire(resource, wait, resource::How::Starve) }
    Full code ExAcquireSharedWaitForExclusive(resource: u64, wait: u8) -> u8 { acquire(resource, wait, resource::How::WaitForExclusive) }
    Full code ExEnterCriticalRegionAndAcquireResourceExclusive(resource: u64) -> u64 { in_region(resource, resource::How::Exclusive) }
    Full code ExEnterCriticalRegionAndAcquireResourceShared(resource: u64) -> u64 { in_region(resource, resource::How::Shared) }
    Full code ExEnterCriticalRegionAndAcquireSharedWaitForExclusive(resource: u64) -> u64 { in_region(resource, resource::How::WaitForExclusive) }
    Full code ExReleaseResourceAndLeaveCriticalRegion(resource: u64) {
        on(resource, |resource| { let _owned = resource::release(resource, this_thread()); });
        nt_ke::current().leave_critical_region();
    }
    Full code ExReleaseResourceLite(resource: u64) { on(resource, |resource| { let _owned = resource::release(resource, this_thread()); }); }
    Full code ExReleaseResourceForThreadLite(resource: u64, thread: u64) { on(resource, |resource| { let _owned = resource::release(resource, thread); }); }
    Full code ExSetResourceOwnerPointer(resource: u64, owner: u64) { on(resource, |resource| resource::set_owner(resource, this_thread(), owner)); }
    Full code ExSetResourceOwnerPointerEx(resource: u64, owner: u64, _flags: u32) { on(resource, |resource| resource::set_owner(resource, this_thread(), owner)); }
    Full code ExConvertExclusiveToSharedLite(resource: u64) { on(resource, |resource| resource::convert_to_shared(resource, this_thread())); }
    Full code ExIsResourceAcquiredExclusiveLite(resource: u64) -> u8 { asked(resource, |resource| resource::held(resource, this_thread(), true) != 0) }
    Full code ExIsResourceAcquiredSharedLite(resource: u64) -> u32 { at(resource).map_or(0, |resource| resource::held(resource, this_thread(), false)) }
    Full code ExGetExclusiveWaiterCount(resource: u64) -> u32 { at(resource).map_or(0, |resource| resource::waiters(resource, true)) }
    Full code ExGetSharedWaiterCount(resource: u64) -> u32 { at(resource).map_or(0, |resource| resource::waiters(resource, false)) }
    Partial("nothing is boosted here, so nothing is switched off") code ExDisableResourceBoostLite(_resource: u64) { }
    Full code ExInitializePushLock(lock: u64) { on(lock, pushlock::initialize); }
    Full code ExAcquirePushLockExclusiveEx(lock: u64, _flags: u32) { on(lock, |lock| pushlock::acquire(lock, true)); }
    Full code ExAcquirePushLockSharedEx(lock: u64, _flags: u32) { on(lock, |lock| pushlock::acquire(lock, false)); }
    Full code ExReleasePushLockExclusiveEx(lock: u64, _flags: u32) { on(lock, pushlock::release); }
    Full code ExReleasePushLockSharedEx(lock: u64, _flags: u32) { on(lock, pushlock::release); }
    Full code ExReleasePushLockEx(lock: u64, _flags: u32) { on(lock, pushlock::release); }
    Full code ExTryAcquirePushLockExclusiveEx(lock: u64, _flags: u32) -> u8 { asked(lock, |lock| pushlock::try_acquire(lock, true)) }
    Full code ExTryAcquirePushLockSharedEx(lock: u64, _flags: u32) -> u8 { asked(lock, |lock| pushlock::try_acquire(lock, false)) }
    Full code ExInitializeRundownProtection(word: u64) { on(word, rundown::initialize); }
    Full code ExReInitializeRundownProtection(word: u64) { on(word, rundown::initialize); }
    Full code ExAcquireRundownProtection(word: u64) -> u8 { asked(word, |word| rundown::acquire(word, 1)) }
    Full code ExAcquireRundownProtectionEx(word: u64, count: u32) -> u8 { asked(word, |word| rundown::acquire(word, count)) }
    Full code ExReleaseRundownProtection(word: u64) { on(word, |word| rundown::release(word, 1)); }
    Full code ExReleaseRundownProtectionEx(word: u64, count: u32) { on(word, |word| rundown::release(word, count)); }
    Full code ExWaitForRundownProtectionRelease(word: u64) { on(word, rundown::wait); }
    Full code ExRundownCompleted(word: u64) { on(word, rundown::completed); }
    Full code ExAllocateCacheAwareRundownProtection(pool_type: u32, tag: u32) -> u64 {
        let kind = if pool_type & 1 != 0 { pool::PoolKind::Paged } else { pool::PoolKind::NonPaged };
        pool::allocate(EX_RUNDOWN_REF::SIZE, tag, kind).map_or(0, Foreign::addr)
    }
    Full code ExFreeCacheAwareRundownProtection(word: u64) { on::<EX_RUNDOWN_REF>(word, pool::free); }
    Full code ExSizeOfRundownProtectionCacheAware() -> u64 { EX_RUNDOWN_REF::SIZE as u64 }
    Full code ExInitializeRundownProtectionCacheAware(word: u64, _size: u64) { on(word, rundown::initialize); }
    Full code ExReInitializeRundownProtectionCacheAware(word: u64) { on(word, rundown::initialize); }
    Full code ExAcquireRundownProtectionCacheAware(word: u64) -> u8 { asked(word, |word| rundown::acquire(word, 1)) }
    Full code ExAcquireRundownProtectionCacheAwareEx(word: u64, count: u32) -> u8 { asked(word, |word| rundown::acquire(word, count)) }
    Full code ExReleaseRundownProtectionCacheAware(word: u64) { on(word, |word| rundown::release(word, 1)); }
    Full code ExReleaseRundownProtectionCacheAwareEx(word: u64, count: u32) { on(word, |word| rundown::release(word, count)); }
    Full code ExWaitForRundownProtectionReleaseCacheAware(word: u64) { on(word, rundown::wait); }
    Full code ExRundownCompletedCacheAware(word: u64) { on(word, rundown::completed); }
}
