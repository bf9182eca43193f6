//! Cancelable queues and forwarding, on packets that a driver would hold (ks.md section 12).
mod device;
#[path = "../../memfs/tests/support/mod.rs"]
mod support;

use device::{Target, event_object};
use nt_abi::NtStatus;
use nt_abi::io::{IO_STACK_LOCATION, IRP, IRP_MJ_WRITE};
use nt_abi::ks::{KsStackCopyToNewLocation, KsStackReuseCurrentLocation};
use nt_cell::Foreign;
use nt_ex::pool;
use nt_io::cancelable;
use nt_io::irp::{self, IoStatus, Irp};
use nt_ke::Mutex;
use nt_ks::completion::Routine;
use nt_ks::forward::{self, Ends};
use nt_ks::queue::{self, End, QUEUE_BLOCK, Removal};
use std::sync::Arc;
use support::*;

/// A queue, and packets as a driver holds them: each has one location, and says what it was ended with.
struct Queue {
    block: Foreign<QUEUE_BLOCK>,
    ends: Arc<Mutex<Vec<(u64, IoStatus)>>>,
    packets: Vec<Irp>,
    routine: Routine,
    _world: World,
}

impl Queue {
    fn new(count: usize) -> Self {
        let world = World::new();
        let block = pool::zeroed::<QUEUE_BLOCK>(pool::tag(b"tKsQ")).expect("pool");
        nt_ke::list::initialize(block.at(QUEUE_BLOCK::List));
        let ends = Arc::<Mutex<Vec<_>>>::default();
        let store = Arc::clone(&ends);
        let routine = Routine::new(move |completed| {
            store.lock().push((completed.packet.addr(), irp::status(completed.packet)));
            NtStatus::MORE_PROCESSING_REQUIRED
        });
        let mut made = Self { block, ends, packets: Vec::new(), routine, _world: world };
        for _ in 0..count {
            made.packets.push(made.packet());
        }
        made
    }

    /// A packet whose only location is the driver's; its maker takes it back when it is completed.
    fn packet(&self) -> Irp {
        let packet = irp::allocate(2).expect("pool");
        irp::advance(packet, -1);
        let below = irp::next(packet);
        let completion = self.routine.completion(7);
        below.set_code(IO_STACK_LOCATION::CompletionRoutine, Some(completion.routine));
        below.set_addr(IO_STACK_LOCATION::Context, completion.context);
        below.set(IO_STACK_LOCATION::Control, 0xE0);
        irp::advance(packet, -1);
        packet
    }

    fn add_all(&self) {
        for &packet in &self.packets {
            queue::add(self.list(), self.lock(), packet, End::Tail, None);
        }
    }
    fn list(&self) -> nt_ke::list::List {
        self.block.at(QUEUE_BLOCK::List)
    }
    fn lock(&self) -> queue::Lock {
        self.block.at(QUEUE_BLOCK::Lock)
    }
    fn remove(&self, end: End, how: Removal) -> Option<usize> {
        let taken = queue::remove(self.list(), self.lock(), end, how)?;
        self.packets.iter().position(|packet| *packet == taken)
    }
    /// Which packets were completed as cancelled, in order.
    fn cancelled(&self) -> Vec<usize> {
        let index = |address: u64| self.packets.iter().position(|packet| packet.addr() == address).expect("ours");
        let ends = self.ends.lock();
        assert!(ends.iter().all(|(_, end)| *end == IoStatus::new(NtStatus::CANCELLED, 0)), "{ends:?}");
        ends.iter().map(|(address, _)| index(*address)).collect()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        for &packet in &self.packets {
            irp::release(packet);
        }
        pool::free(self.block);
    }
}

#[test]
fn ks_q_01_a_packet_is_linked_at_either_end_with_its_lock_and_a_cancel_routine() {
    let queue = Queue::new(3);
    let add = |index: usize, end| queue::add(queue.list(), queue.lock(), queue.packets[index], end, None);
    add(0, End::Tail);
    add(1, End::Tail);
    add(2, End::Head);
    for packet in &queue.packets {
        assert_eq!(packet.get(IRP::Tail_DriverContext.index(1)), queue.lock().addr());
        assert!(packet.code(IRP::CancelRoutine).is_some());
    }
    let order: Vec<_> = (0..3).filter_map(|_| queue.remove(End::Head, Removal::AcquireAndRemove)).collect();
    assert_eq!(order, [2, 0, 1]);
    let own = queue.routine.completion(0).routine;
    queue::add(queue.list(), queue.lock(), queue.packets[0], End::Tail, Some(own));
    assert_eq!(queue.packets[0].code(IRP::CancelRoutine), Some(own), "the driver's own routine");
    queue.packets[0].set_code(IRP::CancelRoutine, None);
}

#[test]
fn ks_q_02_a_packet_that_was_cancelled_before_ends_at_once() {
    let queue = Queue::new(1);
    queue.packets[0].set(IRP::Cancel, 1);
    queue.add_all();
    assert_eq!(queue.cancelled(), [0], "CANCELLED, Information 0");
    assert!(queue::is_empty(queue.list(), queue.lock()));
    assert_eq!(queue.remove(End::Head, Removal::AcquireAndRemove), None, "and has one owner");
}

#[test]
fn ks_q_03_the_first_packet_that_can_be_had_is_unlinked() {
    let queue = Queue::new(3);
    queue.add_all();
    assert_eq!(queue.remove(End::Head, Removal::AcquireOnly), Some(0));
    assert_eq!(queue.remove(End::Head, Removal::AcquireAndRemove), Some(1), "an acquired one is skipped");
    assert_eq!(queue.remove(End::Tail, Removal::AcquireAndRemove), Some(2));
    assert_eq!(queue.remove(End::Tail, Removal::AcquireAndRemove), None);
}

#[test]
fn ks_q_04_an_acquired_packet_stays_linked_without_a_routine() {
    let queue = Queue::new(1);
    queue.add_all();
    assert_eq!(queue.remove(End::Head, Removal::AcquireOnly), Some(0));
    assert_eq!(queue.packets[0].code(IRP::CancelRoutine), None);
    assert!(!queue::is_empty(queue.list(), queue.lock()));
    assert!(!cancelable::cancel_irp(queue.packets[0]), "nobody can cancel it");
    assert!(queue.cancelled().is_empty());
}

#[test]
fn ks_q_05_single_item_looks_at_the_first_only() {
    let queue = Queue::new(2);
    queue.add_all();
    assert_eq!(queue.remove(End::Head, Removal::AcquireOnlySingleItem), Some(0));
    assert_eq!(queue.remove(End::Head, Removal::AcquireOnlySingleItem), None);
    assert_eq!(queue.remove(End::Head, Removal::AcquireAndRemoveOnlySingleItem), None);
    assert_eq!(queue.remove(End::Tail, Removal::AcquireAndRemoveOnlySingleItem), Some(1));
}

#[test]
fn ks_q_06_a_release_gives_the_routine_back_and_makes_up_for_a_cancel() {
    let queue = Queue::new(1);
    queue.add_all();
    assert_eq!(queue.remove(End::Head, Removal::AcquireOnly), Some(0));
    queue::release(queue.packets[0], None);
    assert!(queue.packets[0].code(IRP::CancelRoutine).is_some() && queue.cancelled().is_empty());
    assert_eq!(queue.remove(End::Head, Removal::AcquireOnly), Some(0));
    cancelable::cancel_irp(queue.packets[0]);
    assert!(queue.cancelled().is_empty());
    queue::release(queue.packets[0], None);
    assert_eq!(queue.cancelled(), [0]);
    assert!(queue::is_empty(queue.list(), queue.lock()));
}

#[test]
fn ks_q_07_an_acquired_packet_is_unlinked_by_its_own_lock() {
    let queue = Queue::new(2);
    queue.add_all();
    assert_eq!(queue.remove(End::Head, Removal::AcquireOnly), Some(0));
    queue::remove_specific(queue.packets[0]);
    assert_eq!(queue.remove(End::Head, Removal::AcquireAndRemove), Some(1));
    assert!(queue::is_empty(queue.list(), queue.lock()));
}

#[test]
fn ks_q_08_cancelling_the_list_reaches_all_and_leaves_acquired_ones_to_their_owner() {
    let queue = Queue::new(4);
    queue.add_all();
    assert_eq!(queue.remove(End::Head, Removal::AcquireOnly), Some(0));
    queue::cancel_io(queue.list(), queue.lock());
    assert_eq!(queue.cancelled(), [1, 2, 3]);
    assert!(queue.packets.iter().all(|packet| packet.get(IRP::Cancel) != 0));
    queue::release(queue.packets[0], None);
    assert_eq!(queue.cancelled(), [1, 2, 3, 0]);
}

#[test]
fn ks_q_13_the_default_routine_unlinks_and_completes_and_lets_the_cancel_lock_go() {
    let queue = Queue::new(2);
    queue.add_all();
    for index in [1, 0] {
        assert!(cancelable::cancel_irp(queue.packets[index]), "the lock was free again each time");
    }
    assert_eq!(queue.cancelled(), [1, 0]);
    assert_eq!(nt_ke::irql::current(), nt_ke::irql::PASSIVE_LEVEL);
}

/// Moves what `wanted` says of index and count; returns the status and how often it was asked.
fn moved(queue: &Queue, to: Ends, end: End, wanted: impl Fn(usize) -> NtStatus) -> (NtStatus, Vec<Option<usize>>) {
    let mut asked = Vec::new();
    let from = Ends { list: queue.list(), lock: Some(queue.lock()) };
    let status = forward::move_irps(from, to, end, &mut |packet| {
        let index = packet.and_then(|packet| queue.packets.iter().position(|each| *each == packet));
        assert!(index.is_none() || nt_ke::irql::current() == nt_ke::irql::DISPATCH_LEVEL);
        asked.push(index);
        index.map_or(NtStatus::SUCCESS, &wanted)
    });
    (status, asked)
}

#[test]
fn ks_q_09_packets_that_are_wanted_move_in_order() {
    for end in [End::Head, End::Tail] {
        let queue = Queue::new(4);
        queue.add_all();
        assert_eq!(queue.remove(End::Head, Removal::AcquireOnly), Some(0), "acquired ones move too");
        let other = pool::zeroed::<QUEUE_BLOCK>(pool::tag(b"tKsQ")).expect("pool");
        nt_ke::list::initialize(other.at(QUEUE_BLOCK::List));
        let to = Ends { list: other.at(QUEUE_BLOCK::List), lock: None };
        let want = |index| if index == 2 { NtStatus::NO_MATCH } else { NtStatus::SUCCESS };
        let (status, asked) = moved(&queue, to, end, want);
        let order = if end == End::Head { vec![0, 1, 2, 3] } else { vec![3, 2, 1, 0] };
        let expected: Vec<_> = order.into_iter().map(Some).chain([None]).collect();
        assert_eq!((status, asked), (NtStatus::SUCCESS, expected), "once more at the end");
        queue::release(queue.packets[0], None);
        let there = |_| queue::remove(to.list, queue.lock(), End::Head, Removal::AcquireAndRemove);
        let found: Vec<_> = (0..3).filter_map(there).collect();
        assert_eq!(found, [queue.packets[0], queue.packets[1], queue.packets[3]], "the order is kept");
        assert_eq!(queue.remove(End::Head, Removal::AcquireAndRemove), Some(2));
        queue.packets.iter().for_each(|packet| packet.set_code(IRP::CancelRoutine, None));
        pool::free(other);
    }
    let queue = Queue::new(3);
    queue.add_all();
    let to = Ends { list: queue.list(), lock: None };
    let (status, asked) =
        moved(&queue, to, End::Head, |index| if index == 1 { NtStatus::DISK_FULL } else { NtStatus::NO_MATCH });
    assert_eq!((status, asked), (NtStatus::DISK_FULL, vec![Some(0), Some(1), None]), "another status stops");
}

#[test]
fn ks_q_10_a_destination_with_a_lock_of_its_own_owns_what_comes() {
    let queue = Queue::new(2);
    queue.add_all();
    let other = pool::zeroed::<QUEUE_BLOCK>(pool::tag(b"tKsQ")).expect("pool");
    nt_ke::list::initialize(other.at(QUEUE_BLOCK::List));
    let lock = other.at(QUEUE_BLOCK::Lock);
    let to = Ends { list: other.at(QUEUE_BLOCK::List), lock: Some(lock) };
    let only = |index| if index == 0 { NtStatus::SUCCESS } else { NtStatus::NO_MATCH };
    assert_eq!(moved(&queue, to, End::Head, only).0, NtStatus::SUCCESS);
    assert_eq!(queue.packets[0].get(IRP::Tail_DriverContext.index(1)), lock.addr());
    assert_eq!(queue.packets[1].get(IRP::Tail_DriverContext.index(1)), queue.lock().addr());
    assert!(cancelable::cancel_irp(queue.packets[0]), "its cancel routine takes the new lock");
    assert!(queue::is_empty(to.list, lock));
    assert_eq!(nt_ke::irql::current(), nt_ke::irql::PASSIVE_LEVEL);
    pool::free(other);
}

/// A packet with so many locations left, as a driver got it.
fn arrived(left: i8) -> Irp {
    let packet = irp::allocate(left + 1).expect("pool");
    irp::next(packet).set(IO_STACK_LOCATION::MajorFunction, IRP_MJ_WRITE);
    irp::advance(packet, -1);
    packet
}

#[test]
fn ks_q_11_a_request_goes_on_to_the_device_of_a_file() {
    let world = World::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let store = Arc::clone(&seen);
    let target = Target::new(
        &world,
        0,
        move |irp| {
            store.lock().push((irp.irp().get(IRP::CurrentLocation), irp.file()));
            irp.complete(NtStatus::DISK_FULL, 7)
        },
        None,
    );
    for (left, reuse, location) in [(1, false, 1), (0, true, 1), (1, true, 2)] {
        let packet = arrived(left);
        assert_eq!(forward::forward(packet, *target.file, reuse), NtStatus::DISK_FULL);
        assert_eq!(seen.lock().pop(), Some((location, Some(*target.file))));
        assert_eq!(irp::status(packet).information, 7);
        irp::release(packet);
    }
    let packet = arrived(0);
    assert_eq!(forward::forward(packet, *target.file, false), NtStatus::INVALID_DEVICE_REQUEST, "no location left");
    assert!(seen.lock().is_empty());
    irp::release(packet);
}

#[test]
fn ks_q_12_a_request_that_is_caught_comes_back_and_is_not_complete() {
    let world = World::new();
    let event = event_object(&world, false);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let store = Arc::clone(&seen);
    let target = Target::new(
        &world,
        0,
        move |irp| {
            store.lock().push(irp.file());
            let (pended, answer) = irp.pend();
            let kernel = Arc::clone(&nt_ke::current().kernel);
            nt_ke::work::WorkQueue::queue(&kernel, move || pended.complete(NtStatus::DISK_FULL, 7));
            answer
        },
        None,
    );
    for (left, stack_use) in [(1, KsStackCopyToNewLocation), (0, KsStackReuseCurrentLocation)] {
        for file in [Some(*target.file), None] {
            let packet = arrived(left);
            packet.set_ptr(IRP::UserEvent, Some(*event));
            let before = packet.get(IRP::CurrentLocation);
            let status = forward::forward_and_catch(target.device, packet, file, stack_use);
            assert_eq!((status, irp::status(packet).information), (NtStatus::DISK_FULL, 7));
            assert_eq!(packet.get(IRP::CurrentLocation), before, "the caller has its location again");
            assert_eq!(seen.lock().pop(), Some(file), "NULL is stored too");
            assert!(!nt_ke::dispatcher::read_state(*event), "it never ended");
            irp::release(packet);
        }
    }
    let packet = arrived(0);
    let status = forward::forward_and_catch(target.device, packet, None, KsStackCopyToNewLocation);
    assert_eq!(
        (status, irp::status(packet).status),
        (NtStatus::INVALID_DEVICE_REQUEST, NtStatus::SUCCESS),
        "untouched"
    );
    assert!(seen.lock().is_empty());
    irp::release(packet);
}
