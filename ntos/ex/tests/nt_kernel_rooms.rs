//! The kernel rooms as native code uses them: DPCs, timers, locks, lists. A machine without processes is enough.

use nt_abi::ke::*;
use nt_cell::{CodePtr, Foreign, Region};
use nt_ex::lists::Spec;
use nt_ex::locks;
use nt_ex::resource::{self, How};
use nt_ex::{extimer, lists, pool, pushlock, rundown, slist, workitem};
use nt_ke::{Entered, Kernel, Mode, Mutex, WindowsVersion, dpc, irql, spin, timer, wait};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

struct World {
    kernel: Arc<Kernel>,
    _entered: Entered,
}

impl Drop for World {
    fn drop(&mut self) {
        self.kernel.stop();
    }
}

fn world() -> World {
    let kernel = Kernel::new(WindowsVersion::default());
    let thread = kernel.system_thread();
    thread.set_object(0x1000 + thread.id());
    let entered = nt_ke::enter(&kernel, &thread, Mode::Kernel);
    World { kernel, _entered: entered }
}

/// Runs `body` in a thread of the machine.
fn beside<R: Send>(kernel: &Arc<Kernel>, body: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let thread = kernel.system_thread();
            thread.set_object(0x1000 + thread.id());
            let _entered = nt_ke::enter(kernel, &thread, Mode::Kernel);
            body()
        });
        other.join().expect("no panic beside")
    })
}

fn made<T>() -> Foreign<T> {
    pool::zeroed(pool::tag(b"tKro")).expect("pool")
}

/// Frees a structure of a test; the next one at its address starts without calls.
fn done<T>(block: Foreign<T>) {
    CALLS.lock().retain(|(arguments, _)| arguments[0] != block.addr());
    pool::free(block);
}

type Call = ([u64; 4], u8);
static CALLS: Mutex<Vec<Call>> = Mutex::new(Vec::new());

/// The calls of one test: their first argument is one of its own structures.
fn calls(of: u64) -> Vec<Call> {
    CALLS.lock().iter().filter(|(arguments, _)| arguments[0] == of).copied().collect()
}

extern "win64" fn deferred(a: u64, b: u64, c: u64, d: u64) -> u64 {
    CALLS.lock().push(([a, b, c, d], irql::current()));
    0
}

fn plain() -> Option<CodePtr> {
    let routine: extern "win64" fn(u64, u64, u64, u64) -> u64 = deferred;
    Some(CodePtr::from(routine))
}

static GATE: Mutex<()> = Mutex::new(());
extern "win64" fn at_gate(_: u64, _: u64, _: u64, _: u64) -> u64 {
    drop(GATE.lock());
    0
}

/// Holds the machine's DPC processor until the result goes.
fn hold(world: &World) -> (nt_ke::lock::MutexGuard<'static, ()>, Foreign<KDPC>) {
    let held = GATE.lock();
    let blocker = made::<KDPC>();
    let routine: extern "win64" fn(u64, u64, u64, u64) -> u64 = at_gate;
    dpc::initialize(blocker, Some(CodePtr::from(routine)), 0, false);
    assert!(dpc::insert(&world.kernel, blocker, 0, 0));
    while blocker.addr_at(KDPC::DpcData) != 0 {
        std::thread::yield_now();
    }
    (held, blocker)
}

#[test]
fn nt_kr_01_a_dpc_is_queued_once_and_runs_at_dispatch_level_with_its_arguments() {
    let world = world();
    let (held, blocker) = hold(&world);
    let one = made::<KDPC>();
    dpc::initialize(one, plain(), 7, false);
    assert_eq!((one.get(KDPC::Type), one.get(KDPC::Importance)), (DpcObject, 1));
    assert!(dpc::insert(&world.kernel, one, 8, 9));
    assert!(!dpc::insert(&world.kernel, one, 1, 2), "queued already: the arguments stay");
    drop(held);
    world.kernel.dpcs.flush();
    assert_eq!(calls(one.addr()), [([one.addr(), 7, 8, 9], irql::DISPATCH_LEVEL)]);
    done(one);
    pool::free(blocker);
}

static AGAIN: AtomicU64 = AtomicU64::new(0);
extern "win64" fn queues_itself(of: u64, times: u64, round: u64, _: u64) -> u64 {
    AGAIN.fetch_add(1, Ordering::SeqCst);
    let own = Foreign::<KDPC>::of_table(of);
    if round < times {
        assert!(dpc::insert(&nt_ke::current().kernel, own, round + 1, 0), "it is off the queue while it runs");
    } else {
        pool::free(own);
    }
    0
}

#[test]
fn nt_kr_02_a_dpc_may_queue_itself_again_or_free_itself() {
    let world = world();
    let own = made::<KDPC>();
    let routine: extern "win64" fn(u64, u64, u64, u64) -> u64 = queues_itself;
    dpc::initialize(own, Some(CodePtr::from(routine)), 3, false);
    assert!(dpc::insert(&world.kernel, own, 1, 0));
    world.kernel.dpcs.flush();
    assert_eq!(AGAIN.load(Ordering::SeqCst), 3);
    assert_eq!(pool::size_of_block(own.addr()), None, "freed by its own routine");
}

#[test]
fn nt_kr_03_a_removed_dpc_does_not_run() {
    let world = world();
    let (held, blocker) = hold(&world);
    let one = made::<KDPC>();
    dpc::initialize(one, plain(), 0, false);
    assert!(!dpc::remove(&world.kernel, one), "not queued");
    assert!(dpc::insert(&world.kernel, one, 0, 0) && dpc::remove(&world.kernel, one));
    drop(held);
    world.kernel.dpcs.flush();
    assert!(calls(one.addr()).is_empty());
    assert!(dpc::insert(&world.kernel, one, 0, 0), "it can be queued again");
    world.kernel.dpcs.flush();
    assert_eq!(calls(one.addr()).len(), 1);
    done(one);
    pool::free(blocker);
}

#[test]
fn nt_kr_04_dpcs_run_in_order_and_one_of_high_importance_before_them() {
    let world = world();
    let (held, blocker) = hold(&world);
    let all: Vec<_> = (0..4).map(|_| made::<KDPC>()).collect();
    for (&one, importance) in all.iter().zip([MediumImportance, LowImportance, MediumImportance, HighImportance]) {
        dpc::initialize(one, plain(), 0, false);
        dpc::set_importance(one, importance);
        assert!(dpc::insert(&world.kernel, one, 0, 0));
    }
    drop(held);
    world.kernel.dpcs.flush();
    let of = |address: u64| all.iter().position(|each| each.addr() == address);
    let order: Vec<_> = CALLS.lock().iter().filter_map(|(arguments, _)| of(arguments[0])).collect();
    assert_eq!(order, [3, 0, 1, 2]);
    all.into_iter().for_each(done);
    pool::free(blocker);
}

#[test]
fn nt_kr_05_a_threaded_dpc_runs_at_passive_level_and_a_flush_waits_for_all() {
    let world = world();
    let (threaded, direct) = (made::<KDPC>(), made::<KDPC>());
    dpc::initialize(threaded, plain(), 1, true);
    dpc::initialize(direct, plain(), 2, false);
    assert_eq!(threaded.get(KDPC::Type), ThreadedDpcObject);
    for one in [threaded, direct] {
        assert!(dpc::insert(&world.kernel, one, 0, 0));
    }
    world.kernel.dpcs.flush();
    assert_eq!(calls(threaded.addr()), [([threaded.addr(), 1, 0, 0], irql::PASSIVE_LEVEL)]);
    assert_eq!(calls(direct.addr()), [([direct.addr(), 2, 0, 0], irql::DISPATCH_LEVEL)]);
    done(threaded);
    done(direct);
}

fn wait_for(object: Foreign<DISPATCHER_HEADER>, timeout: i64) -> u32 {
    wait::wait_for_single(&nt_ke::current(), object, Mode::Kernel, false, Some(timeout)).0
}
const TIMEOUT: u32 = 0x102;
const MS: i64 = -10_000;
/// Ends a test that would hang; and a time that does not come while a test runs.
const FAR: i64 = 120_000 * MS;

#[test]
fn nt_kr_06_a_set_timer_is_signalled_when_it_is_due_and_for_as_many_as_its_kind_says() {
    let world = world();
    for (kind, second) in [(0, 0), (1, TIMEOUT)] {
        let one = made::<KTIMER>();
        timer::initialize(one, kind);
        assert!(!timer::set(&world.kernel, one, 2 * FAR, 0, None), "not set before");
        assert!(!timer::read_state(one));
        assert!(timer::set(&world.kernel, one, 20 * MS, 0, None), "set already: the former time is forgotten");
        assert_eq!(wait_for(one.at(KTIMER::Header), FAR), 0);
        assert_eq!(wait_for(one.at(KTIMER::Header), 0), second, "a synchronization timer lets one waiter go");
        assert!(!timer::set(&world.kernel, one, FAR, 0, None), "it has fired: not set");
        assert!(!timer::read_state(one), "setting it takes the signal away");
        timer::cancel(&world.kernel, one);
        done(one);
    }
}

#[test]
fn nt_kr_07_a_cancelled_timer_never_fires() {
    let world = world();
    let (one, end) = (made::<KTIMER>(), made::<KDPC>());
    timer::initialize(one, 0);
    dpc::initialize(end, plain(), 0, false);
    assert!(!timer::cancel(&world.kernel, one), "not set");
    timer::set(&world.kernel, one, FAR, 0, Some(end));
    assert_eq!(one.at(KTIMER::Header).get(DISPATCHER_HEADER::Inserted), 1);
    assert!(timer::set(&world.kernel, one, 40 * MS, 0, Some(end)));
    assert!(timer::cancel(&world.kernel, one));
    assert_eq!(one.at(KTIMER::Header).get(DISPATCHER_HEADER::Inserted), 0);
    assert_eq!(wait_for(one.at(KTIMER::Header), 80 * MS), TIMEOUT);
    assert!(calls(end.addr()).is_empty());
    // Fired, with its DPC still in the queue: a cancel finds nothing to cancel and leaves the DPC there.
    let (held, blocker) = hold(&world);
    timer::set(&world.kernel, one, MS, 0, Some(end));
    assert_eq!(wait_for(one.at(KTIMER::Header), FAR), 0);
    assert!(!timer::cancel(&world.kernel, one));
    drop(held);
    world.kernel.dpcs.flush();
    assert_eq!(calls(end.addr()).len(), 1);
    done(one);
    done(end);
    pool::free(blocker);
}

#[test]
fn nt_kr_08_a_periodic_timer_fires_until_it_is_cancelled() {
    let world = world();
    let (one, end) = (made::<KTIMER>(), made::<KDPC>());
    timer::initialize(one, 1);
    dpc::initialize(end, plain(), 0, false);
    timer::set(&world.kernel, one, 5 * MS, 5, Some(end));
    // A DPC that still waits in its queue when the next period ends is there once (NT-KR-01).
    while calls(end.addr()).len() < 3 {
        assert_eq!(wait_for(one.at(KTIMER::Header), FAR), 0);
        world.kernel.dpcs.flush();
    }
    assert!(timer::cancel(&world.kernel, one), "set as long as it is periodic");
    world.kernel.dpcs.flush();
    let so_far = calls(end.addr()).len();
    assert_eq!(wait_for(one.at(KTIMER::Header), 0) | wait_for(one.at(KTIMER::Header), 30 * MS), TIMEOUT);
    assert_eq!(calls(end.addr()).len(), so_far);
    done(one);
    done(end);
}

#[test]
fn nt_kr_10_an_absolute_time_that_is_over_fires_at_once() {
    let world = world();
    let one = made::<KTIMER>();
    timer::initialize(one, 0);
    let now = world.kernel.clock.system_time();
    assert!(!timer::set(&world.kernel, one, now - 1, 0, None));
    assert!(timer::read_state(one));
    assert!(!timer::set(&world.kernel, one, now + 300_000, 0, None), "one that is to come is waited for");
    assert!(!timer::read_state(one));
    assert_eq!(wait_for(one.at(KTIMER::Header), FAR), 0);
    assert!(world.kernel.clock.system_time() >= now + 300_000);
    done(one);
}

#[test]
fn nt_kr_11_a_fast_mutex_holds_at_apc_level_and_gives_the_level_back() {
    let world = world();
    let mutex = made::<FAST_MUTEX>();
    locks::initialize(mutex);
    locks::acquire_fast(mutex);
    assert_eq!((irql::current(), mutex.get(FAST_MUTEX::Count)), (irql::APC_LEVEL, 0));
    assert_eq!(mutex.addr_at(FAST_MUTEX::Owner), nt_ke::current().thread.object());
    let tried = beside(&world.kernel, || (locks::try_acquire_fast(mutex), irql::current()));
    assert_eq!(tried, (false, irql::PASSIVE_LEVEL), "not got: the level is as before");
    let (done, waited) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            beside(&world.kernel, || {
                locks::acquire_fast(mutex);
                done.send(irql::current()).expect("a listener");
                locks::release_fast(mutex);
            });
        });
        while mutex.get(FAST_MUTEX::Contention) == 0 {
            std::thread::yield_now();
        }
        assert!(waited.try_recv().is_err(), "it waits");
        locks::release_fast(mutex);
        assert_eq!(waited.recv(), Ok(irql::APC_LEVEL));
    });
    assert_eq!((irql::current(), mutex.get(FAST_MUTEX::Count)), (irql::PASSIVE_LEVEL, 1));
    assert!(locks::try_acquire_fast(mutex));
    locks::release_fast(mutex);
    pool::free(mutex);
}

#[test]
fn nt_kr_12_a_guarded_mutex_holds_in_a_guarded_region_at_the_callers_level() {
    let world = world();
    let (mutex, frame) = (made::<FAST_MUTEX>(), nt_ke::current());
    locks::initialize(mutex);
    locks::acquire_guarded(mutex);
    assert_eq!((irql::current(), frame.thread.all_apcs_disabled()), (irql::PASSIVE_LEVEL, true));
    let tried =
        beside(&world.kernel, || (locks::try_acquire_guarded(mutex), nt_ke::current().thread.all_apcs_disabled()));
    assert_eq!(tried, (false, false));
    locks::release_guarded(mutex);
    assert!(!frame.thread.all_apcs_disabled());
    assert!(locks::try_acquire_guarded(mutex) && frame.thread.all_apcs_disabled());
    locks::release_guarded(mutex);
    pool::free(mutex);
}

#[test]
fn nt_kr_13_a_resource_is_given_by_the_four_ways_of_asking() {
    let _world = world();
    let one = made::<ERESOURCE>();
    resource::initialize(one);
    let get = |thread, how| resource::acquire_as(one, thread, how, false);
    assert!(get(1, How::Shared));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| resource::acquire_as(one, 2, How::Exclusive, true));
        while resource::waiters(one, true) == 0 {
            std::thread::yield_now();
        }
        assert_eq!((resource::waiters(one, true), one.get(ERESOURCE::ContentionCount)), (1, 1));
        assert!(!get(3, How::Shared) && !get(3, How::WaitForExclusive), "a new share queues behind the writer");
        assert!(get(3, How::Starve), "unless it starves writers");
        assert!(get(1, How::Shared), "one more of a thread that shares does not queue");
        assert!(!get(1, How::WaitForExclusive), "unless it asks for that");
        assert_eq!(one.get(ERESOURCE::ActiveEntries), 2);
        for thread in [1, 1, 3] {
            assert!(resource::release(one, thread));
        }
        assert!(writer.join().expect("no panic"));
    });
    assert!(get(2, How::Exclusive) && get(2, How::Shared), "an owner gets more, in any way");
    assert!(!get(1, How::Starve), "nobody else while it is owned");
    resource::convert_to_shared(one, 2);
    assert!(get(1, How::Shared) && !get(1, How::Exclusive));
    assert_eq!((resource::held(one, 2, true), resource::held(one, 2, false)), (0, 3));
    resource::delete(one);
    done(one);
}

#[test]
fn nt_kr_14_a_hold_can_be_given_to_an_owner_pointer_that_any_thread_releases() {
    let _world = world();
    let one = made::<ERESOURCE>();
    resource::initialize(one);
    for how in [How::Exclusive, How::Shared] {
        let owner = one.addr() | 3;
        assert!(resource::acquire_as(one, 1, how, false));
        resource::set_owner(one, 1, owner);
        assert_eq!((resource::held(one, 1, false), resource::release(one, 1)), (0, false), "no longer the thread's");
        assert!(!resource::acquire_as(one, 2, How::Exclusive, false), "held all the same");
        assert!(resource::release(one, owner));
        assert!(resource::acquire_as(one, 2, How::Exclusive, false) && resource::release(one, 2));
    }
    resource::delete(one);
    done(one);
}

#[test]
fn nt_kr_15_a_push_lock_is_held_by_one_or_shared_by_many() {
    let world = world();
    let lock = made::<pushlock::EX_PUSH_LOCK>();
    pushlock::initialize(lock);
    pushlock::acquire(lock, false);
    assert!(beside(&world.kernel, || pushlock::try_acquire(lock, false)), "shared");
    assert!(!pushlock::try_acquire(lock, true));
    pushlock::release(lock);
    pushlock::release(lock);
    assert_eq!(lock.get(pushlock::EX_PUSH_LOCK::Value), 0);
    // Eight threads, exclusively and shared in turn: an exclusive hold sees nobody else.
    let (inside, writes) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for number in 0..8_u64 {
            let (inside, writes, kernel) = (&inside, &writes, &world.kernel);
            scope.spawn(move || {
                beside(kernel, || {
                    for round in 0..500 {
                        let exclusive = (round + number) % 4 == 0;
                        pushlock::acquire(lock, exclusive);
                        let others = inside.fetch_add(if exclusive { 1 << 32 } else { 1 }, Ordering::SeqCst);
                        assert!(others >> 32 == 0 && !(exclusive && others != 0), "{others:#x} beside");
                        if exclusive {
                            // Not atomic as a whole: a second writer would lose one.
                            writes.store(writes.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                        }
                        inside.fetch_sub(if exclusive { 1 << 32 } else { 1 }, Ordering::SeqCst);
                        pushlock::release(lock);
                    }
                });
            });
        }
    });
    assert_eq!((writes.load(Ordering::Relaxed), lock.get(pushlock::EX_PUSH_LOCK::Value)), (8 * 125, 0));
    pool::free(lock);
}

#[test]
fn nt_kr_17_run_down_waits_for_uses_and_lets_no_new_one_begin() {
    let world = world();
    let word = made::<EX_RUNDOWN_REF>();
    rundown::initialize(word);
    assert!(rundown::acquire(word, 1) && rundown::acquire(word, 2));
    std::thread::scope(|scope| {
        let (done, over) = mpsc::channel();
        let kernel = &world.kernel;
        scope.spawn(move || {
            beside(kernel, || rundown::wait(word));
            done.send(()).expect("a listener");
        });
        while rundown::acquire(word, 1) {
            rundown::release(word, 1);
            std::thread::yield_now();
        }
        rundown::release(word, 1);
        assert!(over.recv_timeout(std::time::Duration::from_millis(30)).is_err(), "two uses are left");
        rundown::release(word, 2);
        over.recv().expect("the wait is over");
    });
    assert!(!rundown::acquire(word, 1));
    pool::free(word);
}

#[test]
fn nt_kr_18_after_its_completion_run_down_fails_at_once_until_it_is_made_anew() {
    let _world = world();
    let word = made::<EX_RUNDOWN_REF>();
    rundown::initialize(word);
    rundown::wait(word);
    rundown::completed(word);
    assert!(!rundown::acquire(word, 1));
    rundown::wait(word);
    rundown::initialize(word);
    assert!(rundown::acquire(word, 1));
    rundown::release(word, 1);
    pool::free(word);
}

#[test]
fn nt_kr_20_a_reader_writer_spin_lock_has_many_readers_or_one_writer() {
    let world = world();
    let lock = made::<spin::EX_SPIN_LOCK>();
    spin::acquire_shared(lock);
    spin::acquire_shared(lock);
    assert!(!spin::try_convert(lock), "two readers");
    spin::release_shared(lock);
    assert!(spin::try_convert(lock), "the only one");
    let (done, got) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            beside(&world.kernel, || {
                spin::acquire_shared(lock);
                done.send(()).expect("a listener");
                spin::release_shared(lock);
            });
        });
        assert!(got.recv_timeout(std::time::Duration::from_millis(20)).is_err(), "a reader waits for the writer");
        spin::release_exclusive(lock);
        got.recv().expect("the reader");
    });
    spin::acquire_exclusive(lock);
    spin::release_exclusive(lock);
    assert_eq!(lock.get(spin::EX_SPIN_LOCK::Value), 0);
    pool::free(lock);
}

fn link(entry: u64) -> Option<Region> {
    Some(Region::pool(Foreign::of_table(entry), 8))
}

#[test]
fn nt_kr_21_an_slist_is_the_headers_two_words_last_in_first_out() {
    let head = made::<SLIST_HEADER>();
    slist::initialize(head);
    assert_eq!(slist::pop(head, link), 0);
    let entries: Vec<_> = (0..3).map(|_| made::<SLIST_ENTRY>()).collect();
    let mut before = 0;
    for &entry in &entries {
        assert_eq!(slist::push(head, entry), before, "the former first entry");
        before = entry.addr();
    }
    assert_eq!((slist::depth(head), slist::first(head)), (3, before));
    assert_eq!(head.get(SLIST_HEADER::Alignment) & 0xFFFF, 3, "Depth: the low 16 bits");
    assert_eq!(head.get(SLIST_HEADER::Region), before, "NextEntry: bits 4 to 63 of the second word");
    assert_eq!(slist::pop(head, link), entries[2].addr());
    assert_eq!(slist::flush(head), entries[1].addr());
    assert_eq!(entries[1].addr_at(SLIST_ENTRY::Next), entries[0].addr(), "the chain as it was");
    assert_eq!((slist::depth(head), slist::first(head), slist::flush(head)), (0, 0, 0));
    entries.into_iter().for_each(pool::free);
    pool::free(head);
}

#[test]
fn nt_kr_22_pushes_and_pops_of_several_threads_lose_and_double_nothing() {
    const EACH: u64 = 2000;
    let head = made::<SLIST_HEADER>();
    slist::initialize(head);
    let taken = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let own = made::<SLIST_ENTRY>();
                let mut mine = vec![own];
                for _ in 0..EACH {
                    if let Some(entry) = mine.pop() {
                        slist::push(head, entry);
                    }
                    match slist::pop(head, link) {
                        0 => {}
                        entry => {
                            taken.fetch_add(1, Ordering::Relaxed);
                            mine.push(Foreign::of_table(entry));
                        }
                    }
                }
                mine.into_iter().for_each(|entry| {
                    slist::push(head, entry);
                });
            });
        }
    });
    assert_eq!(slist::depth(head), 4, "after {taken:?} pops");
    let mut left: Vec<u64> = std::iter::from_fn(|| Some(slist::pop(head, link)).filter(|&entry| entry != 0)).collect();
    left.sort_unstable();
    left.dedup();
    assert_eq!(left.len(), 4);
    left.into_iter().for_each(|entry| pool::free(Foreign::<SLIST_ENTRY>::of_table(entry)));
    pool::free(head);
}

#[test]
fn nt_kr_23_interlocked_lists_tell_what_was_there() {
    let (head, lock) = (made::<LIST_ENTRY>(), made::<spin::SPIN_LOCK>());
    for end in [LIST_ENTRY::Flink, LIST_ENTRY::Blink] {
        head.set_ptr(end, Some(head));
    }
    let [a, b, c] = [(); 3].map(|()| made::<LIST_ENTRY>());
    let insert = |entry, front| spin::with(lock, || lists::insert(head, entry, front));
    assert_eq!((insert(b, false), insert(a, true), insert(c, false)), (0, b.addr(), b.addr()));
    for expected in [a.addr(), b.addr(), c.addr(), 0] {
        assert_eq!(spin::with(lock, || lists::remove_head(head)), expected);
    }
    let (single, entry) = (made::<SINGLE_LIST_ENTRY>(), made::<SINGLE_LIST_ENTRY>());
    assert_eq!((lists::push_single(single, entry), lists::push_single(single, a.view())), (0, entry.addr()));
    assert_eq!([(); 3].map(|()| lists::pop_single(single)), [a.addr(), entry.addr(), 0]);
    for block in [head, a, b, c] {
        pool::free(block);
    }
    pool::free(lock);
    pool::free(single);
    pool::free(entry);
}

static GIVEN: Mutex<Vec<[u64; 4]>> = Mutex::new(Vec::new());
extern "win64" fn gives(pool_type: u64, size: u64, tag: u64, list: u64) -> u64 {
    GIVEN.lock().push([pool_type, size, tag, list]);
    made::<[u64; 4]>().addr()
}
static TAKEN: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());
extern "win64" fn takes(block: u64, list: u64) -> u64 {
    TAKEN.lock().push((block, list));
    pool::free(Foreign::<[u64; 4]>::of_table(block));
    0
}

#[test]
fn nt_kr_25_a_lookaside_list_keeps_what_is_freed_up_to_its_depth_and_gives_it_out_first() {
    let list = made::<LOOKASIDE_LIST_EX>();
    let (allocate, free): (extern "win64" fn(u64, u64, u64, u64) -> u64, extern "win64" fn(u64, u64) -> u64) =
        (gives, takes);
    let spec = Spec { pool_type: 1, size: 32, tag: 5, allocate: Some(allocate.into()), free: Some(free.into()) };
    lists::initialize(list, &spec);
    let depth = usize::from(list.get(LOOKASIDE_LIST_EX::Depth));
    let blocks: Vec<u64> = (0..depth + 2).map(|_| lists::allocate(list, link)).collect();
    assert_eq!(*GIVEN.lock(), vec![[1, 32, 5, list.addr()]; depth + 2]);
    for &block in &blocks {
        lists::free(list, Foreign::of_table(block));
    }
    let past: Vec<_> = blocks[depth..].iter().map(|&block| (block, list.addr())).collect();
    assert_eq!(*TAKEN.lock(), past, "past the depth the routine takes them");
    assert_eq!(lists::allocate(list, link), blocks[depth - 1], "the one that was kept last");
    lists::free(list, Foreign::of_table(blocks[depth - 1]));
    let counts = [
        LOOKASIDE_LIST_EX::TotalAllocates,
        LOOKASIDE_LIST_EX::AllocateMisses,
        LOOKASIDE_LIST_EX::TotalFrees,
        LOOKASIDE_LIST_EX::FreeMisses,
    ];
    let all = depth as u32 + 2;
    assert_eq!(counts.map(|count| list.get(count)), [all + 1, all, all + 1, 2]);
    lists::flush(list, link);
    assert_eq!(TAKEN.lock().len(), depth + 2, "a delete hands over every block that was kept");
    pool::free(list);
}

static EXPIRED: Mutex<Vec<(u64, u64, u8)>> = Mutex::new(Vec::new());
extern "win64" fn expired(timer: u64, context: u64) -> u64 {
    EXPIRED.lock().push((timer, context, irql::current()));
    0
}

#[test]
fn nt_kr_29_an_ex_timer_calls_back_can_be_waited_for_and_refuses_attributes_that_clash() {
    let world = world();
    let callback: extern "win64" fn(u64, u64) -> u64 = expired;
    assert!(extimer::allocate(None, 0, 4 | 8).is_none(), "high resolution and no wake");
    assert!(extimer::allocate(None, 0, 1).is_none());
    let one = extimer::allocate(Some(callback.into()), 77, 0).expect("a timer");
    assert!(!extimer::set(&world.kernel, one, 5 * MS, 0));
    assert_eq!(wait_for(one.at(extimer::EX_TIMER::Timer).at(KTIMER::Header), FAR), 0);
    world.kernel.dpcs.flush();
    let mine = |calls: &[(u64, u64, u8)]| calls.iter().filter(|call| call.0 == one.addr()).copied().collect::<Vec<_>>();
    assert_eq!(mine(&EXPIRED.lock()), [(one.addr(), 77, irql::DISPATCH_LEVEL)]);
    let how = extimer::Deletion { cancel: true, wait: true, callback: None };
    assert!(!extimer::delete(&world.kernel, one, how), "it was not set");
    assert_eq!(pool::size_of_block(one.addr()), None);
}

static DELETED: Mutex<Vec<u64>> = Mutex::new(Vec::new());
extern "win64" fn deleted(context: u64) -> u64 {
    DELETED.lock().push(context);
    0
}

#[test]
fn nt_kr_31_an_ex_timer_goes_after_its_callback_with_or_without_a_last_expiry() {
    let world = world();
    let callback: extern "win64" fn(u64, u64) -> u64 = expired;
    let gone: extern "win64" fn(u64) -> u64 = deleted;
    for (cancel, wait, fires, answer) in [(true, true, 0, true), (true, false, 0, true), (false, false, 1, false)] {
        let one = extimer::allocate(Some(callback.into()), 0, 0).expect("a timer");
        EXPIRED.lock().retain(|call| call.0 != one.addr()); // of another test's timer that lay there
        let set = |due| extimer::set(&world.kernel, one, due, 10_000_000);
        assert!(!set(FAR));
        assert!(extimer::cancel(&world.kernel, one) && !extimer::cancel(&world.kernel, one), "NT-KR-30");
        assert!(!set(FAR) && set(if cancel { FAR } else { 200 * MS }));
        let how = extimer::Deletion { cancel, wait, callback: Some((gone.into(), one.addr())) };
        assert_eq!(extimer::delete(&world.kernel, one, how), answer);
        let is_gone = || DELETED.lock().contains(&one.addr());
        assert!(!wait || is_gone(), "a delete that waits returns after it");
        while !is_gone() {
            std::thread::yield_now();
        }
        let calls = EXPIRED.lock().iter().filter(|call| call.0 == one.addr()).count();
        assert_eq!((calls, pool::size_of_block(one.addr())), (fires, None));
        DELETED.lock().retain(|&context| context != one.addr());
    }
}

static WORKED: Mutex<Vec<(u64, u8)>> = Mutex::new(Vec::new());
extern "win64" fn works(parameter: u64) -> u64 {
    WORKED.lock().push((parameter, irql::current()));
    pool::free(Foreign::<WORK_QUEUE_ITEM>::of_table(parameter));
    0
}

#[test]
fn nt_kr_32_a_work_item_runs_once_at_passive_level_and_may_free_itself() {
    let world = world();
    let item = made::<WORK_QUEUE_ITEM>();
    let routine: extern "win64" fn(u64) -> u64 = works;
    item.set_code(WORK_QUEUE_ITEM::WorkerRoutine, Some(routine.into()));
    item.set_addr(WORK_QUEUE_ITEM::Parameter, item.addr());
    workitem::queue(&world.kernel, item);
    world.kernel.drain();
    assert_eq!(*WORKED.lock(), [(item.addr(), irql::PASSIVE_LEVEL)]);
    assert_eq!(pool::size_of_block(item.addr()), None);
}
