//! The lock-free parts under the model checker: each test names the argument that its code rests on.

use nt_abi::Bytes;
use nt_abi::ke::*;
use nt_cell::sync::atomic::{AtomicU32, Ordering};
use nt_cell::sync::thread;
use nt_cell::{Foreign, Region};
use nt_ex::{pool, pushlock, rundown, slist};
use nt_ke::dispatcher::{self, EventType};
use nt_ke::{Kernel, Mode, Thread, WindowsVersion, apc, wait};
use nt_ob::types::ObjectType;
use nt_ob::{Handle, HandleTable, object};
use ntio_models::check::explore;
use std::sync::Arc;

fn made<T>() -> Foreign<T> {
    pool::zeroed(pool::tag(b"tMod")).expect("pool")
}

fn link(entry: u64) -> Option<Region> {
    Some(Region::pool(Foreign::of_table(entry), 8))
}

/// `ob/handle.rs`: a close at the same time either finds the count raised, or the lookup finds nothing.
#[test]
fn a_lookup_that_meets_a_close_has_a_live_object_or_nothing() {
    explore(|| {
        let table = Arc::new(HandleTable::new(false));
        let one = object::create::<Bytes>(ObjectType::Event, 0x40, 1).expect("pool");
        let body = one.body();
        let handle = table.insert(&one, 7, 0).expect("a handle");
        drop(one);
        let lookups: Vec<_> = (0..2)
            .map(|_| {
                let table = Arc::clone(&table);
                thread::spawn(move || {
                    if let Ok(found) = table.reference(handle) {
                        assert_eq!((found.object.body(), found.granted), (body, 7));
                        assert!(object::pointer_count(body) >= 1 && object::kind_of(body) == Some(ObjectType::Event));
                    }
                })
            })
            .collect();
        let closes: Vec<_> = (0..2)
            .map(|_| {
                let table = Arc::clone(&table);
                thread::spawn(move || table.close(handle).is_ok())
            })
            .collect();
        lookups.into_iter().for_each(|lookup| lookup.join().expect("no panic"));
        let closed = closes.into_iter().filter_map(|close| close.join().ok()).filter(|&closed| closed).count();
        assert_eq!(closed, 1, "one of two closes of a handle succeeds");
        assert_eq!(pool::size_of_block(body.addr() - 0x40), None, "the last count freed the object");
    });
}

/// `ob/handle.rs`: an index that a close gave back and an insert took again is never seen half written.
#[test]
fn a_handle_that_is_used_again_shows_the_new_object_with_its_own_access() {
    explore(|| {
        let table = Arc::new(HandleTable::new(false));
        let [first, second] = [1, 2].map(|_| object::create::<Bytes>(ObjectType::Event, 0x40, 1).expect("pool"));
        let bodies = [first.body(), second.body()];
        let handle = table.insert(&first, 1, 0).expect("a handle");
        let reader = {
            let table = Arc::clone(&table);
            thread::spawn(move || {
                if let Ok(found) = table.reference(handle) {
                    let expected = if found.object.body() == bodies[0] { 1 } else { 2 };
                    assert_eq!(found.granted, expected, "access of one object with the other");
                }
            })
        };
        table.close(handle).expect("open");
        let again = table.insert(&second, 2, 0).expect("a handle");
        assert_eq!(again, handle);
        reader.join().expect("no panic");
        table.close(again).expect("open");
    });
}

/// `ob/handle.rs`: inserts of two threads get two handles, and a walk sees no more than there are.
#[test]
fn inserts_at_the_same_time_get_handles_of_their_own() {
    explore(|| {
        let table = Arc::new(HandleTable::new(false));
        let one = object::create::<Bytes>(ObjectType::Event, 0x40, 1).expect("pool");
        let insert = |table: &Arc<HandleTable>| {
            let (table, one) = (Arc::clone(table), one.clone());
            thread::spawn(move || table.insert(&one, 0, 0).expect("a handle"))
        };
        let (a, b) = (insert(&table), insert(&table));
        assert!(table.handles().len() <= 2);
        let (a, b) = (a.join().expect("no panic"), b.join().expect("no panic"));
        assert_ne!(a, b);
        for handle in [a, b] {
            table.close(handle).expect("open");
        }
        assert!(table.close(Handle(4)).is_err());
    });
}

/// `ex/slist.rs`: the sequence tells a head that came back from one that never went (no ABA).
#[test]
fn pops_and_pushes_of_one_list_lose_and_double_nothing() {
    explore(|| {
        let head = made::<SLIST_HEADER>();
        slist::initialize(head);
        let entries: Vec<_> = (0..3).map(|_| made::<SLIST_ENTRY>()).collect();
        entries.iter().for_each(|&entry| {
            slist::push(head, entry);
        });
        let swap = || {
            thread::spawn(move || {
                let (first, second) = (slist::pop(head, link), slist::pop(head, link));
                assert!(first != second || first == 0);
                for entry in [first, second] {
                    if entry != 0 {
                        slist::push(head, Foreign::of_table(entry));
                    }
                }
            })
        };
        let (a, b) = (swap(), swap());
        a.join().expect("no panic");
        b.join().expect("no panic");
        assert_eq!(slist::depth(head), 3);
        let mut left: Vec<u64> = std::iter::from_fn(|| Some(slist::pop(head, link)).filter(|&at| at != 0)).collect();
        left.sort_unstable();
        let mut all: Vec<u64> = entries.iter().map(|entry| entry.addr()).collect();
        all.sort_unstable();
        assert_eq!(left, all);
        entries.into_iter().for_each(pool::free);
        pool::free(head);
    });
}

/// `ex/pushlock.rs`, `ke/park.rs`: nobody is inside beside a writer, and the last release wakes whoever waits.
#[test]
fn a_push_lock_lets_one_writer_or_readers_in_and_forgets_no_waiter() {
    explore(|| {
        let lock = made::<pushlock::EX_PUSH_LOCK>();
        let inside = Arc::new(AtomicU32::new(0));
        let user = |exclusive: bool| {
            let inside = Arc::clone(&inside);
            thread::spawn(move || {
                let step = if exclusive { 0x100 } else { 1 };
                pushlock::acquire(lock, exclusive);
                let others = inside.fetch_add(step, Ordering::SeqCst);
                assert!(others < 0x100 && !(exclusive && others != 0), "{others:#x} beside");
                inside.fetch_sub(step, Ordering::SeqCst);
                pushlock::release(lock);
            })
        };
        let all = [user(true), user(false), user(true), user(false)];
        all.into_iter().for_each(|one| one.join().expect("no panic"));
        assert_eq!(lock.get(pushlock::EX_PUSH_LOCK::Value), 0);
        pool::free(lock);
    });
}

/// `ex/rundown.rs`: after the wait no use runs, and none begins.
#[test]
fn run_down_returns_when_no_use_is_left_and_none_can_begin() {
    explore(|| {
        let word = made::<EX_RUNDOWN_REF>();
        let alive = Arc::new(AtomicU32::new(1));
        let users: Vec<_> = (0..2)
            .map(|_| {
                let alive = Arc::clone(&alive);
                thread::spawn(move || {
                    if rundown::acquire(word, 1) {
                        assert_eq!(alive.load(Ordering::SeqCst), 1, "in use after its end");
                        rundown::release(word, 1);
                    }
                })
            })
            .collect();
        rundown::wait(word);
        alive.store(0, Ordering::SeqCst);
        assert!(!rundown::acquire(word, 1));
        users.into_iter().for_each(|user| user.join().expect("no panic"));
        pool::free(word);
    });
}

fn enter(kernel: &Arc<Kernel>) -> nt_ke::Entered {
    let thread = Thread::new(kernel);
    thread.set_object(0x1000 + thread.id());
    nt_ke::enter(kernel, &thread, Mode::Kernel)
}

fn in_machine<R: Send + 'static>(
    kernel: &Arc<Kernel>,
    body: impl FnOnce() -> R + Send + 'static,
) -> thread::JoinHandle<R> {
    let kernel = Arc::clone(kernel);
    thread::spawn(move || {
        let _entered = enter(&kernel);
        body()
    })
}

fn wait_on(event: Foreign<KEVENT>) -> u32 {
    wait::wait_for_single(&nt_ke::current(), event.at(KEVENT::Header), Mode::Kernel, false, None).0
}

/// `ke/wait.rs`: a signaller that finds nobody in the bucket is done after one load, and no waiter sleeps through the signal.
#[test]
fn a_signal_reaches_a_waiter_that_comes_at_the_same_time() {
    explore(|| {
        let kernel = Kernel::new(WindowsVersion::default());
        let event = made::<KEVENT>();
        dispatcher::initialize_event(event, EventType::Notification, false);
        let waiters = [in_machine(&kernel, move || wait_on(event)), in_machine(&kernel, move || wait_on(event))];
        dispatcher::set_event(event);
        for waiter in waiters {
            assert_eq!(waiter.join().expect("no panic"), 0);
        }
        pool::free(event);
    });
}

/// `ke/wait.rs`: a synchronization event lets exactly one waiter go for each signal; a semaphore as many as it counts.
#[test]
fn each_signal_of_a_synchronization_event_lets_one_waiter_go() {
    explore(|| {
        let kernel = Kernel::new(WindowsVersion::default());
        let event = made::<KEVENT>();
        dispatcher::initialize_event(event, EventType::Synchronization, false);
        let through = Arc::new(AtomicU32::new(0));
        let waiter = || {
            let through = Arc::clone(&through);
            in_machine(&kernel, move || {
                assert_eq!(wait_on(event), 0);
                through.fetch_add(1, Ordering::SeqCst);
            })
        };
        let waiters = [waiter(), waiter()];
        dispatcher::set_event(event);
        while through.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        assert_eq!((through.load(Ordering::SeqCst), dispatcher::read_state(event)), (1, false));
        dispatcher::set_event(event);
        waiters.into_iter().for_each(|waiter| waiter.join().expect("no panic"));
        pool::free(event);
    });
}

/// `ke/wait.rs`: a wait for all takes all objects or none, with two that want the same ones.
#[test]
fn waits_for_all_share_their_objects_without_a_deadlock() {
    explore(|| {
        let kernel = Kernel::new(WindowsVersion::default());
        let events = [made::<KEVENT>(), made::<KEVENT>()];
        for event in events {
            dispatcher::initialize_event(event, EventType::Synchronization, true);
        }
        let user = |order: [usize; 2]| {
            in_machine(&kernel, move || {
                let headers = order.map(|at| events[at].at(KEVENT::Header));
                let frame = nt_ke::current();
                let got = wait::wait_for_multiple(&frame, &headers, wait::WaitType::All, Mode::Kernel, false, None);
                assert_eq!(got.0, 0);
                events.iter().for_each(|&event| assert!(!dispatcher::read_state(event), "both were taken"));
                for event in events {
                    dispatcher::set_event(event);
                }
            })
        };
        let users = [user([0, 1]), user([1, 0])];
        users.into_iter().for_each(|user| user.join().expect("no panic"));
        for event in events {
            assert!(dispatcher::read_state(event));
            pool::free(event);
        }
    });
}

/// `ke/apc.rs`: a thread that leaves a region at the time of a special APC sees it, or the completer sees the region gone.
#[test]
fn a_special_apc_runs_once_whoever_sees_whom() {
    explore(|| {
        let kernel = Kernel::new(WindowsVersion::default());
        let entered = enter(&kernel);
        let target = Arc::clone(&entered.frame().thread);
        let ran = Arc::new(AtomicU32::new(0));
        target.enter_guarded_region();
        let completer = {
            let (target, ran) = (Arc::clone(&target), Arc::clone(&ran));
            thread::spawn(move || {
                apc::special(
                    &target,
                    Box::new(move || {
                        ran.fetch_add(1, Ordering::SeqCst);
                    }),
                );
            })
        };
        target.leave_guarded_region();
        completer.join().expect("no panic");
        target.special_apcs_enabled();
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    });
}

/// `ke/work.rs`: a job that is queued is run, and a drain returns after it.
#[test]
fn queued_jobs_run_before_a_drain_returns_and_a_stop_ends_the_threads() {
    explore(|| {
        let kernel = Kernel::new(WindowsVersion::default());
        let ran = Arc::new(AtomicU32::new(0));
        for _ in 0..2 {
            let ran = Arc::clone(&ran);
            nt_ke::work::WorkQueue::queue(&kernel, move || {
                ran.fetch_add(1, Ordering::SeqCst);
            });
        }
        kernel.work.drain();
        assert_eq!(ran.load(Ordering::SeqCst), 2);
        kernel.work.stop();
    });
}

/// `ke/counters.rs`: one writer a counter, so a load and a store lose nothing, and a sum at rest is exact.
#[test]
fn counters_of_two_threads_add_up_while_a_third_reads() {
    explore(|| {
        let all: [Arc<nt_ke::counters::IoCounters>; 2] = Default::default();
        let threads = all.clone().map(|own| {
            thread::spawn(move || {
                for _ in 0..2 {
                    own.packet_sent();
                    own.transferred(nt_ke::counters::Operation::Write, 512);
                    own.packet_ended();
                }
            })
        });
        let sum = || {
            let mut sum = nt_ke::counters::IoCounters::default();
            all.iter().for_each(|one| sum.absorb(one));
            sum
        };
        assert!((-2..=2).contains(&sum().in_flight()));
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert_eq!((sum().in_flight(), sum().read(nt_ke::counters::Operation::Write).1), (0, 2048));
    });
}
