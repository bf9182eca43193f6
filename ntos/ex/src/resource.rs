//! ERESOURCE: locks that one thread holds exclusively or several share, each as often as it likes.
//!
//! Room: ntos/ex. Called by: `exports`, `nt_fltmgr`. IRQL: <= APC_LEVEL; release <= DISPATCH_LEVEL. Locks: one for the table of
//! owners, held for a look and while a thread waits (as the condition's lock).
//! Source: ExAcquireResourceExclusiveLite, ExAcquireSharedStarveExclusive, ExReleaseResourceLite pages.
//! The members that drivers and debuggers read (ActiveEntries, Flag, OwnerEntry, the numbers of waiters) are kept right; who
//! owns a share stands in our own table.

use nt_abi::ke::{ERESOURCE, OWNER_ENTRY};
use nt_cell::Foreign;
use nt_ke::Mutex;
use nt_ke::lock::Condvar;
use std::collections::HashMap;

const OWNED_EXCLUSIVE: u16 = 0x80;

#[derive(Default)]
struct State {
    exclusive: Option<(u64, u32)>,
    shared: Vec<(u64, u32)>,
    waiting_exclusive: u32,
    waiting_shared: u32,
}

static OWNERS: Mutex<Option<HashMap<u64, State>>> = Mutex::new(None);
static CHANGED: Condvar = Condvar::new();

/// How a resource is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// ExAcquireResourceExclusiveLite.
    Exclusive,
    /// ExAcquireResourceSharedLite: a new share queues behind waiting writers, one more of the same thread does not.
    Shared,
    /// ExAcquireSharedStarveExclusive: passes waiting writers.
    Starve,
    /// ExAcquireSharedWaitForExclusive: queues behind waiting writers, whatever the thread holds.
    WaitForExclusive,
}

/// A resource: the driver's memory.
pub type Resource = Foreign<ERESOURCE>;

impl State {
    fn waiting(&mut self, how: How) -> &mut u32 {
        if how == How::Exclusive { &mut self.waiting_exclusive } else { &mut self.waiting_shared }
    }
    fn shares(&self, thread: u64) -> u32 {
        self.shared.iter().find(|(owner, _)| *owner == thread).map_or(0, |(_, count)| *count)
    }
    fn take(&mut self, thread: u64, how: How) -> bool {
        match &mut self.exclusive {
            Some((owner, count)) if *owner == thread => *count += 1, // a share of an owner is one more exclusive one
            Some(_) => return false,
            None if how == How::Exclusive => {
                if !self.shared.is_empty() {
                    return false;
                }
                self.exclusive = Some((thread, 1));
            }
            None => {
                let again = self.shared.iter_mut().find(|(owner, _)| *owner == thread);
                // A share may not queue behind its own thread's wish for more, unless it asks for that.
                let queues = match how {
                    How::Starve => false,
                    How::WaitForExclusive => true,
                    _ => again.is_none(),
                };
                match again {
                    _ if queues && self.waiting_exclusive != 0 => return false,
                    Some((_, count)) => *count += 1,
                    None => self.shared.push((thread, 1)),
                }
            }
        }
        true
    }
    fn publish(&self, resource: Resource) {
        let exclusive = self.exclusive.is_some();
        let count = if exclusive { 1 } else { self.shared.len() };
        resource.set(ERESOURCE::ActiveCount, count as i16);
        resource.set(ERESOURCE::ActiveEntries, count as u32);
        resource.set(ERESOURCE::Flag, if exclusive { OWNED_EXCLUSIVE } else { 0 });
        resource.set(ERESOURCE::NumberOfSharedWaiters, self.waiting_shared);
        resource.set(ERESOURCE::NumberOfExclusiveWaiters, self.waiting_exclusive);
        let (owner, held) = self.exclusive.unwrap_or_default();
        let entry = resource.at(ERESOURCE::OwnerEntry);
        entry.set(OWNER_ENTRY::OwnerThread, owner);
        entry.set(OWNER_ENTRY::OwnerCount, held);
    }
}

/// ExInitializeResourceLite.
pub fn initialize(resource: Resource) {
    OWNERS.lock().get_or_insert_default().insert(resource.addr(), State::default());
    State::default().publish(resource);
}

/// ExDeleteResourceLite.
pub fn delete(resource: Resource) {
    if let Some(table) = OWNERS.lock().as_mut() {
        table.remove(&resource.addr());
    }
}

/// ExAcquireResourceExclusiveLite, ExAcquireResourceSharedLite: `false` only without `wait`.
pub fn acquire(resource: Resource, thread: u64, exclusive: bool, wait: bool) -> bool {
    acquire_as(resource, thread, if exclusive { How::Exclusive } else { How::Shared }, wait)
}

/// As [`acquire`], in any of the four ways.
pub fn acquire_as(resource: Resource, thread: u64, how: How, wait: bool) -> bool {
    let mut owners = OWNERS.lock();
    let mut waited = false;
    loop {
        let state = owners.get_or_insert_default().entry(resource.addr()).or_default();
        if waited {
            *state.waiting(how) -= 1;
        }
        let granted = state.take(thread, how);
        if granted || !wait {
            state.publish(resource);
            return granted;
        }
        if !waited {
            resource.add_u32(ERESOURCE::ContentionCount, 1);
        }
        *state.waiting(how) += 1;
        waited = true;
        state.publish(resource);
        CHANGED.wait(&mut owners);
    }
}

/// ExSetResourceOwnerPointer: the thread's hold becomes that of `owner`, an address with its two low bits set, so that any
/// thread can end it by ExReleaseResourceForThreadLite.
pub fn set_owner(resource: Resource, thread: u64, owner: u64) {
    let mut owners = OWNERS.lock();
    let Some(state) = owners.as_mut().and_then(|table| table.get_mut(&resource.addr())) else { return };
    match &mut state.exclusive {
        Some((own, _)) if *own == thread => *own = owner,
        _ => {
            if let Some((own, _)) = state.shared.iter_mut().find(|(own, _)| *own == thread) {
                *own = owner;
            }
        }
    }
    state.publish(resource);
}

/// ExGetExclusiveWaiterCount, ExGetSharedWaiterCount.
#[must_use]
pub fn waiters(resource: Resource, exclusive: bool) -> u32 {
    resource.get(if exclusive { ERESOURCE::NumberOfExclusiveWaiters } else { ERESOURCE::NumberOfSharedWaiters })
}

/// ExReleaseResourceLite: `false` when the thread does not own it.
pub fn release(resource: Resource, thread: u64) -> bool {
    let mut owners = OWNERS.lock();
    let Some(state) = owners.as_mut().and_then(|table| table.get_mut(&resource.addr())) else { return false };
    let owned = match &mut state.exclusive {
        Some((owner, count)) if *owner == thread => {
            *count -= 1;
            if *count == 0 {
                state.exclusive = None;
            }
            true
        }
        _ => match state.shared.iter().position(|(owner, _)| *owner == thread) {
            Some(at) => {
                state.shared[at].1 -= 1;
                if state.shared[at].1 == 0 {
                    state.shared.swap_remove(at);
                }
                true
            }
            None => false,
        },
    };
    state.publish(resource);
    drop(owners);
    CHANGED.notify_all();
    owned
}

/// ExConvertExclusiveToSharedLite.
pub fn convert_to_shared(resource: Resource, thread: u64) {
    let mut owners = OWNERS.lock();
    if let Some(state) = owners.as_mut().and_then(|table| table.get_mut(&resource.addr()))
        && let Some((owner, count)) = state.exclusive
        && owner == thread
    {
        state.exclusive = None;
        state.shared.push((thread, count));
        state.publish(resource);
    }
    drop(owners);
    CHANGED.notify_all();
}

/// ExIsResourceAcquiredExclusiveLite (`exclusive`), else ExIsResourceAcquiredSharedLite: how often the thread holds it.
pub fn held(resource: Resource, thread: u64, exclusive: bool) -> u32 {
    let owners = OWNERS.lock();
    let Some(state) = owners.as_ref().and_then(|table| table.get(&resource.addr())) else { return 0 };
    let own = state.exclusive.filter(|(owner, _)| *owner == thread).map_or(0, |(_, count)| count);
    if exclusive || own != 0 { own } else { state.shares(thread) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writer_or_many_readers_each_as_often_as_they_like() {
        let resource = crate::pool::zeroed::<ERESOURCE>(crate::pool::tag(b"tRes")).expect("pool");
        initialize(resource);
        let get = |thread, exclusive| acquire(resource, thread, exclusive, false);
        assert!(get(1, true) && get(1, true) && get(1, false), "an owner may take it again");
        assert!(!get(2, false) && !get(2, true));
        assert_eq!((held(resource, 1, true), resource.get(ERESOURCE::Flag)), (3, OWNED_EXCLUSIVE));
        convert_to_shared(resource, 1);
        assert!(get(2, false) && !get(2, true));
        assert_eq!((held(resource, 1, true), held(resource, 1, false), held(resource, 2, false)), (0, 3, 1));
        for thread in [1, 1, 1, 2] {
            assert!(release(resource, thread));
        }
        assert!(!release(resource, 1), "nobody holds it");
        assert!(get(2, true) && release(resource, 2));
        delete(resource);
        crate::pool::free(resource);
    }

    #[test]
    fn a_waiting_writer_comes_before_new_readers() {
        let resource = crate::pool::zeroed::<ERESOURCE>(crate::pool::tag(b"tRes")).expect("pool");
        initialize(resource);
        assert!(acquire(resource, 1, false, false));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let granted = acquire(resource, 2, true, true);
                granted && release(resource, 2)
            });
            while resource.get(ERESOURCE::NumberOfExclusiveWaiters) == 0 {
                std::thread::yield_now();
            }
            assert!(!acquire(resource, 3, false, false), "a new reader queues");
            assert!(acquire_as(resource, 3, How::Starve, false), "unless it starves writers");
            assert!(acquire(resource, 1, false, false), "a reader again does not");
            for thread in [3, 1, 1] {
                assert!(release(resource, thread));
            }
            assert!(writer.join().expect("no panic"));
        });
        delete(resource);
        crate::pool::free(resource);
    }
}
