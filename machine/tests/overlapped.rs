//! Overlapped requests as futures: their ends, their cancelling, and who keeps their memory.

use nt_abi::io::{IO_STACK_LOCATION, IRP_MJ_READ, IRP_MJ_WRITE};
use nt_io::cancelable::{self, Keeper, routine_of};
use nt_io::device::{self, DeviceSpec};
use nt_io::driver::{self, Answer, NativeDriver, OwnedIrp};
use nt_io::irp::Irp;
use nt_io::system::AsyncPolicy;
use nt_machine::file::spec;
use nt_machine::{Machine, NtResult, NtStatus, OverlappedFile};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

/// Counts how often it is woken, and unparks the thread that waits.
struct Woken(Thread, AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unpark();
    }
}

/// Runs a future to its end in this thread; returns how often it was polled too.
fn run<F: Future>(future: F) -> (F::Output, usize) {
    let woken = Arc::new(Woken(std::thread::current(), AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut future = pin!(future);
    let mut polls = 0;
    loop {
        polls += 1;
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return (output, polls);
        }
        while woken.1.swap(0, Ordering::SeqCst) == 0 {
            std::thread::park();
        }
    }
}

fn polled_once<F: Future + Unpin>(future: &mut F) -> bool {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// The bottom of a stack: reads and writes wait until they are let go, or cancelled.
#[derive(Default)]
struct Holds {
    held: Mutex<Vec<Irp>>,
}

impl Keeper for Holds {
    fn cancelled(packet: Irp) {
        let _ended = OwnedIrp::arrived(packet).complete(NtStatus::CANCELLED, 0);
    }
}

impl NativeDriver for Holds {
    fn dispatch(&self, _device: device::Device, irp: OwnedIrp) -> Answer {
        if !matches!(irp.stack().get(IO_STACK_LOCATION::MajorFunction), IRP_MJ_READ | IRP_MJ_WRITE) {
            return irp.complete(NtStatus::SUCCESS, 0);
        }
        let (pended, answer) = irp.pend();
        assert!(!cancelable::set_routine(pended.irp(), routine_of::<Self>()), "nobody cancels what is not issued yet");
        self.held.lock().expect("no other holder panics").push(pended.irp());
        answer
    }
}

impl Holds {
    fn install(machine: &Machine) -> Arc<Self> {
        let holds = Arc::new(Self::default());
        let _system = machine.enter_system();
        let native = Arc::clone(&holds) as Arc<dyn NativeDriver>;
        let made = driver::create_native(machine.kernel(), "\\Driver\\Holds", native).expect("a driver");
        let spec = DeviceSpec { name: Some("\\Device\\Holds"), kind: 0x22, ..DeviceSpec::default() };
        let device = device::create(machine.kernel(), *made, &spec).expect("a device");
        device::ready(device.body());
        holds
    }

    /// Completes what nobody cancelled; returns how many.
    fn let_go(&self, machine: &Machine, count: u64) -> usize {
        let held = std::mem::take(&mut *self.held.lock().expect("no other holder panics"));
        let _system = machine.enter_system();
        let mine = held.into_iter().filter(|&packet| cancelable::take_routine(packet));
        let ended: Vec<_> = mine.map(|packet| OwnedIrp::arrived(packet).complete(NtStatus::SUCCESS, count)).collect();
        ended.len()
    }

    fn count(&self) -> usize {
        self.held.lock().expect("no other holder panics").len()
    }
}

fn nothing_left(machine: Machine) {
    let leaks = machine.shutdown();
    // Pool is the process's: another test of this file may hold some.
    assert_eq!((leaks.requests, leaks.handles.len()), (0, 0), "{leaks:?}");
}

#[test]
fn requests_end_as_futures_under_every_policy() {
    for policy in [AsyncPolicy::Inline, AsyncPolicy::Pend, AsyncPolicy::Worker, AsyncPolicy::Dispatch] {
        let machine = Machine::builder().completion(policy).build().expect("a machine");
        let client = machine.process("futures").expect("a process");
        let port = client.overlapped().expect("a port");
        let file = port.open(&spec("C:\\futures")).expect("a file");
        let all = async {
            // All under way at once; each tells of its own.
            let writes: Vec<_> = (0..64_u8).map(|at| file.write_overlapped(i64::from(at) * 100, &[at; 100])).collect();
            for write in writes {
                assert_eq!(write.await, Ok(100));
            }
            let reads: Vec<_> = (0..64_u8).map(|at| file.read_overlapped(i64::from(at) * 100, 100)).collect();
            for (at, read) in (0..64_u8).zip(reads) {
                assert_eq!(read.await, Ok(vec![at; 100]));
            }
            assert_eq!(file.write_overlapped(-1, b"end").await, Ok(3));
            assert_eq!(file.read_overlapped(6400, 100).await, Ok(b"end".to_vec()), "up to the end");
            assert_eq!(file.read_overlapped(9999, 1).await, NtStatus::END_OF_FILE.fail());
            assert_eq!(file.write_overlapped(-2, b"x").await, NtStatus::INVALID_PARAMETER.fail());
        };
        let (_, polls) = run(all);
        assert!(polls <= 200, "woken by ends only: {polls}");
        drop((file, port, client));
        nothing_left(machine);
    }
}

#[test]
fn a_future_is_polled_again_when_its_request_ends_and_not_before() {
    let machine = Machine::builder().build().expect("a machine");
    let holds = Holds::install(&machine);
    let client = machine.process("futures").expect("a process");
    let port = client.overlapped().expect("a port");
    let file = port.open(&spec("\\Device\\Holds")).expect("a device");
    let write = file.write_overlapped(0, b"held");
    // Futures and files go to other threads.
    let waiter = std::thread::spawn(move || run(write));
    while holds.count() == 0 {
        std::thread::yield_now();
    }
    assert!(!waiter.is_finished());
    assert_eq!(holds.let_go(&machine, 4), 1);
    let (result, polls) = waiter.join().expect("no panic");
    assert_eq!(result, Ok(4));
    assert!(polls <= 2, "{polls}");
    drop((file, port, client));
    nothing_left(machine);
}

#[test]
fn a_dropped_future_cancels_its_request_and_no_other() {
    let machine = Machine::builder().build().expect("a machine");
    let holds = Holds::install(&machine);
    let client = machine.process("futures").expect("a process");
    let port = client.overlapped().expect("a port");
    let file = port.open(&spec("\\Device\\Holds")).expect("a device");
    let (mut first, mut second) = (file.write_overlapped(0, b"one"), file.read_overlapped(0, 8));
    assert!(polled_once(&mut first) && polled_once(&mut second));
    drop(first);
    assert_eq!(holds.count(), 2);
    assert_eq!(holds.let_go(&machine, 3), 1, "the other one is still there");
    assert_eq!(run(second).0.map(|bytes| bytes.len()), Ok(3));
    // One that ended meanwhile is not cancelled, and a forgotten one keeps its memory until it ends.
    let third = file.write_overlapped(0, b"three");
    assert_eq!(holds.let_go(&machine, 5), 1);
    drop(third);
    std::mem::forget(file.write_overlapped(0, b"four"));
    while format!("{port:?}") != "Overlapped with 1 request(s) under way" {
        std::thread::yield_now(); // the ends of the others are on their way
    }
    assert_eq!(holds.let_go(&machine, 4), 1);
    // The file and the port go with requests under way: they are cancelled, and told of.
    let last: Vec<_> = (0..8).map(|_| file.write_overlapped(0, b"last")).collect();
    drop((file, port));
    let _still = holds.count();
    for write in last {
        drop(write);
    }
    drop(client);
    // The forgotten future holds its file: that is the one handle that is left, and its port's.
    let leaks = machine.shutdown();
    assert_eq!(leaks.requests, 0, "{leaks:?}");
}

#[test]
fn files_and_futures_can_be_sent_and_shared() {
    fn check<T: Send + Sync + 'static>() {}
    check::<OverlappedFile>();
    check::<nt_machine::Overlapped>();
    check::<nt_machine::WriteOverlapped>();
    check::<nt_machine::ReadOverlapped>();
}

#[test]
fn a_machine_that_is_dropped_ends_and_tells_what_was_left() -> NtResult<()> {
    let lines = Arc::new(Mutex::new(Vec::<String>::new()));
    let sink = Arc::clone(&lines);
    let debug = move |line: &str| sink.lock().expect("no other holder panics").push(line.to_owned());
    let machine = Machine::builder().debug(debug).build()?;
    let client = machine.process("careless")?;
    let (file, _) = client.create(&spec("C:\\left"))?;
    client.write(file, Some(0), b"left")?;
    drop(client);
    drop(machine);
    let told = std::mem::take(&mut *lines.lock().expect("no other holder panics"));
    assert!(told.iter().any(|line| line == "ntio: 1 handle(s) of 'careless' were left open\n"), "{told:?}");
    let machine = Machine::builder().build()?;
    let client = machine.process("careful")?;
    drop((client, machine));
    Ok(())
}
