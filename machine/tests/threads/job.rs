//! What one thread does: operations in an order that its seed gives.

use crate::call::{self, Call};
use crate::{LOCKS, RECORDS, SHARED, spec};
use nt_abi::NtStatus;
use nt_cell::Addr;
use nt_cell::arena::UserBlock;
use nt_io::service::Caller;
use nt_io::{cancel, event, info, port, thread};
use nt_ke::dispatcher::EventType;
use nt_ke::{Frame, Mode, wait};
use nt_machine::Machine;
use nt_ob::Handle;
use nt_ps::Process;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub const THREADS: usize = 48;
pub const RECORD: usize = 512;
/// Bytes of the shared file that belong to one thread.
const REGION: i64 = 16 << 10;
const PIECE: usize = 1024;
/// Ten seconds: a request that is later is lost.
const LONG: i64 = -100_000_000;

/// Numbers from a seed (an xorshift).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub synchronous: u64,
    pub overlapped: u64,
    pub packets: u64,
    pub apcs: u64,
    pub cancelled: u64,
    pub locks: u64,
    pub appended: u64,
    pub ended: u64,
    pub closed_under: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.synchronous += other.synchronous;
        self.overlapped += other.overlapped;
        self.packets += other.packets;
        self.apcs += other.apcs;
        self.cancelled += other.cancelled;
        self.locks += other.locks;
        self.appended += other.appended;
        self.ended += other.ended;
        self.closed_under += other.closed_under;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { synchronous, overlapped, packets, apcs, cancelled, locks, appended, ended, closed_under } = self;
        write!(
            f,
            "{synchronous} synchronous, {overlapped} overlapped, {packets} packets of ports, {apcs} APCs, {cancelled} \
             cancelled, {locks} locks, {appended} records, {ended} threads ended with requests, {closed_under} uses of \
             handles that others closed"
        )
    }
}

/// One thread's work.
pub struct Job {
    number: usize,
    random: Random,
    ids: Arc<Vec<AtomicU64>>,
    tally: Tally,
    /// What each piece of the region holds.
    pieces: Vec<u8>,
    serial: u64,
}

/// What a thread works with while it lives.
struct Open {
    synchronous: Handle,
    asynchronous: Handle,
    ported: Handle,
    port: Handle,
    records: Handle,
    locks: Handle,
    event: Handle,
}

impl Job {
    pub fn new(number: usize, seed: u64, ids: Arc<Vec<AtomicU64>>) -> Self {
        let pieces = vec![0; REGION as usize / PIECE];
        let random = Random::new(seed + number as u64);
        Self { number, random, ids, tally: Tally::default(), pieces, serial: 0 }
    }

    pub fn run(mut self, machine: &Machine, process: &Arc<Process>, rounds: u32) -> Tally {
        // A few lives: the thread ends in between, sometimes with requests under way.
        for life in 0..3 {
            let client = machine.client_of(process).expect("a thread");
            client.call(|frame| {
                self.ids[self.number].store(frame.thread.id(), Ordering::Release);
                let open = self.open(frame);
                if life == 0 {
                    self.clear(frame, &open);
                }
                for _ in 0..rounds {
                    self.turn(frame, &open);
                }
                self.check(frame, &open);
                let late = self.end(frame, &open);
                for handle in
                    [open.synchronous, open.asynchronous, open.ported, open.port, open.records, open.locks, open.event]
                {
                    event::close(frame, handle).expect("open");
                }
                drop(late);
            });
        }
        self.tally
    }

    fn open(&self, frame: &Frame) -> Open {
        let open = |name, options| nt_io::create::nt_create_file(frame, &spec(name, options)).expect("an open").0;
        let made = Open {
            synchronous: open(SHARED, 0x20),
            asynchronous: open(SHARED, 0),
            ported: open(SHARED, 0),
            port: port::create(frame, 0x001F_0003).expect("a port"),
            records: open(RECORDS, 0x20),
            locks: open(LOCKS, 0),
            event: event::create(frame, 0x001F_0003, 0, EventType::Notification, false).expect("an event"),
        };
        let block = UserBlock::new(64).expect("arena");
        block.region().store::<u64>(16, made.port.0).expect("block");
        block.region().store::<u64>(24, self.number as u64).expect("block");
        let args = info::InfoArguments {
            handle: made.ported,
            iosb: Addr::user(block.addr()),
            buffer: Addr::user(block.addr() + 16),
            length: 16,
            class: info::class::COMPLETION,
        };
        assert_eq!(info::nt_set_information_file(frame, &args), NtStatus::SUCCESS);
        made
    }

    fn offset(&self, piece: usize) -> i64 {
        self.number as i64 * REGION + (piece * PIECE) as i64
    }

    fn clear(&mut self, frame: &Frame, open: &Open) {
        for piece in 0..self.pieces.len() {
            let call = Call::new(open.synchronous, self.offset(piece), &[0; PIECE]);
            assert_eq!(call.write(frame), NtStatus::SUCCESS);
        }
    }

    /// A piece and the byte that it shall hold next.
    fn next(&mut self) -> (usize, u8) {
        self.serial += 1;
        (self.random.below(self.pieces.len()), self.serial as u8)
    }

    fn wait(frame: &Frame, open: &Open, call: &Call) -> (NtStatus, u64) {
        assert_eq!(event::wait_for(frame, open.event, false, Some(LONG)), Ok(NtStatus::SUCCESS), "a lost request");
        call.ended().expect("the event comes after the status block")
    }

    fn turn(&mut self, frame: &Frame, open: &Open) {
        match self.random.below(10) {
            0 | 1 => self.synchronous(frame, open),
            2 => self.overlapped(frame, open),
            3 => self.with_port(frame, open),
            4 => self.with_apcs(frame, open),
            5 => self.cancelled(frame, open),
            6 => self.append(frame, open),
            7 => self.blocked(frame, open),
            8 => self.lock(frame, open),
            _ => self.cancel_another(frame),
        }
    }

    fn synchronous(&mut self, frame: &Frame, open: &Open) {
        let (piece, byte) = self.next();
        let call = Call::new(open.synchronous, self.offset(piece), &[byte; PIECE]);
        let returned = call.write(frame);
        // Another thread may cancel what this one is blocked in; a write that was done is not undone.
        assert_eq!((returned, call.ended()), (NtStatus::SUCCESS, Some((NtStatus::SUCCESS, PIECE as u64))));
        self.pieces[piece] = byte;
        self.tally.synchronous += 1;
    }

    fn overlapped(&mut self, frame: &Frame, open: &Open) {
        let (piece, byte) = self.next();
        let call = Call::new(open.asynchronous, self.offset(piece), &[byte; PIECE]).event(open.event);
        let returned = call.write(frame);
        assert!(matches!(returned, NtStatus::SUCCESS | NtStatus::PENDING), "{returned}");
        assert_eq!(Self::wait(frame, open, &call), (NtStatus::SUCCESS, PIECE as u64));
        self.pieces[piece] = byte;
        let back = Call::new(open.asynchronous, self.offset(piece), &[!byte; PIECE]).event(open.event);
        let returned = back.read(frame);
        assert!(matches!(returned, NtStatus::SUCCESS | NtStatus::PENDING), "{returned}");
        assert_eq!(Self::wait(frame, open, &back), (NtStatus::SUCCESS, PIECE as u64));
        assert!(back.data().iter().all(|&read| read == byte), "piece {piece} of thread {}", self.number);
        self.tally.overlapped += 2;
    }

    fn with_port(&mut self, frame: &Frame, open: &Open) {
        let count = 1 + self.random.below(6);
        let first = self.random.below(self.pieces.len());
        let calls: Vec<_> = (0..count)
            .map(|at| {
                let piece = (first + at) % self.pieces.len();
                self.serial += 1;
                let byte = self.serial as u8;
                self.pieces[piece] = byte;
                Call::new(open.ported, self.offset(piece), &[byte; PIECE]).context(1 + at as u64)
            })
            .collect();
        for call in &calls {
            let returned = call.write(frame);
            assert!(matches!(returned, NtStatus::SUCCESS | NtStatus::PENDING), "{returned}");
        }
        let mut missing: Vec<u64> = (1..=count as u64).collect();
        while !missing.is_empty() {
            let taken = port::remove_several(frame, open.port, 8, Some(LONG), false).expect("a port");
            for packet in taken.expect("a lost packet") {
                assert_eq!((packet.key, packet.result.status), (self.number as u64, NtStatus::SUCCESS));
                let at = missing.iter().position(|&each| each == packet.context).expect("a packet twice");
                missing.swap_remove(at);
                self.tally.packets += 1;
            }
        }
        assert!(calls.iter().all(|call| call.ended() == Some((NtStatus::SUCCESS, PIECE as u64))));
        self.tally.overlapped += count as u64;
    }

    fn with_apcs(&mut self, frame: &Frame, open: &Open) {
        let count = 1 + self.random.below(4);
        let before = call::apcs();
        let mut calls = Vec::new();
        for _ in 0..count {
            let (piece, byte) = self.next();
            // The same piece twice could end in either order.
            if calls.iter().any(|(other, _)| *other == piece) {
                continue;
            }
            self.pieces[piece] = byte;
            let call = Call::new(open.asynchronous, self.offset(piece), &[byte; PIECE]).apc().context(1);
            let returned = call.write(frame);
            assert!(matches!(returned, NtStatus::SUCCESS | NtStatus::PENDING), "{returned}");
            calls.push((piece, call));
        }
        for _ in 0..10_000 {
            if call::apcs() - before == calls.len() as u64 {
                break;
            }
            let _woken = thread::nt_delay_execution(frame, true, -10_000);
        }
        assert_eq!(call::apcs() - before, calls.len() as u64, "lost APCs");
        self.tally.apcs += calls.len() as u64;
        self.tally.overlapped += calls.len() as u64;
    }

    /// An overlapped write that is cancelled at once: it was done, or nothing of it.
    fn cancelled(&mut self, frame: &Frame, open: &Open) {
        let (piece, byte) = self.next();
        let call = Call::new(open.asynchronous, self.offset(piece), &[byte; PIECE]).event(open.event);
        let returned = call.write(frame);
        assert!(matches!(returned, NtStatus::SUCCESS | NtStatus::PENDING), "{returned}");
        let block = UserBlock::new(16).expect("arena");
        let block_at = Addr::user(block.addr());
        let answered = match self.random.below(3) {
            0 => cancel::nt_cancel_io_file(frame, call.handle, block_at),
            1 => cancel::nt_cancel_io_file_ex(frame, call.handle, Addr::NULL, block_at),
            _ => cancel::nt_cancel_io_file_ex(frame, call.handle, Addr::user(call.at()), block_at),
        };
        assert!(matches!(answered, NtStatus::SUCCESS | NtStatus::NOT_FOUND), "{answered}");
        match Self::wait(frame, open, &call) {
            (NtStatus::SUCCESS, count) if count == PIECE as u64 => self.pieces[piece] = byte,
            (NtStatus::CANCELLED, 0) => self.tally.cancelled += 1,
            other => panic!("{other:?}"),
        }
        self.tally.overlapped += 1;
    }

    fn append(&mut self, frame: &Frame, open: &Open) {
        self.serial += 1;
        let word = ((self.number as u64) << 32 | self.serial).to_le_bytes();
        let call = Call::new(open.records, -1, &word.repeat(RECORD / 8));
        assert_eq!((call.write(frame), call.ended()), (NtStatus::SUCCESS, Some((NtStatus::SUCCESS, RECORD as u64))));
        self.tally.appended += 1;
    }

    /// A range of everybody's, waited for a while, then given up.
    fn lock(&mut self, frame: &Frame, open: &Open) {
        let at = self.random.below(4) as i64 * 16;
        let call = Call::new(open.locks, at, &[]).event(open.event);
        let returned = call.lock(frame, 16);
        let mut ended = match returned {
            NtStatus::SUCCESS => Some((NtStatus::SUCCESS, 0)),
            NtStatus::PENDING => None,
            other => panic!("{other}"),
        };
        if ended.is_none() {
            let patience = -(self.random.below(20_000) as i64);
            if event::wait_for(frame, open.event, false, Some(patience)) != Ok(NtStatus::SUCCESS) {
                let block = UserBlock::new(16).expect("arena");
                let _found =
                    cancel::nt_cancel_io_file_ex(frame, call.handle, Addr::user(call.at()), Addr::user(block.addr()));
            }
            ended = Some(Self::wait(frame, open, &call));
        }
        match ended {
            Some((NtStatus::SUCCESS, _)) => {
                self.tally.locks += 1;
                let _held = wait::delay(frame, Mode::Kernel, false, -(self.random.below(10_000) as i64));
                let undo = Call::new(open.locks, at, &[]);
                undo.block.region().store::<i64>(24, 16).expect("block");
                let (iosb, offset) = (Addr::user(undo.at()), Addr::user(undo.at() + 16));
                let args = nt_io::lock::LockArguments {
                    caller: Caller::plain(open.locks, iosb),
                    byte_offset: offset,
                    length: Addr::user(undo.at() + 24),
                    key: 0,
                    fail_immediately: true,
                    exclusive: true,
                };
                assert_eq!(nt_io::lock::nt_unlock_file(frame, &args), NtStatus::SUCCESS);
            }
            Some((NtStatus::CANCELLED, 0)) => self.tally.cancelled += 1,
            other => panic!("{other:?}"),
        }
    }

    /// A lock on a synchronous handle of its own, which blocks until somebody lets go or cancels; closed with the lock held.
    fn blocked(&mut self, frame: &Frame, _open: &Open) {
        let (handle, _) = nt_io::create::nt_create_file(frame, &spec(LOCKS, 0x20)).expect("an open");
        let call = Call::new(handle, 64 + self.random.below(2) as i64 * 16, &[]);
        match call.lock(frame, 16) {
            NtStatus::SUCCESS => {
                self.tally.locks += 1;
                let _held = wait::delay(frame, Mode::Kernel, false, -(self.random.below(10_000) as i64));
            }
            NtStatus::CANCELLED => self.tally.cancelled += 1,
            other => panic!("{other}"),
        }
        event::close(frame, handle).expect("open");
        self.tally.synchronous += 1;
    }

    /// Cancels what some other thread of the process is blocked in.
    fn cancel_another(&mut self, frame: &Frame) {
        let id = self.ids[self.random.below(self.ids.len())].load(Ordering::Acquire);
        let Ok(other) = thread::open(frame, id, 0x1F_FFFF) else { return };
        let block = UserBlock::new(16).expect("arena");
        let answered = cancel::nt_cancel_synchronous_io_file(frame, other, Addr::NULL, Addr::user(block.addr()));
        let may = [NtStatus::SUCCESS, NtStatus::NOT_FOUND, NtStatus::THREAD_IS_TERMINATING];
        assert!(may.contains(&answered), "{answered}");
        event::close(frame, other).expect("open");
    }

    fn check(&self, frame: &Frame, open: &Open) {
        for (piece, &byte) in self.pieces.iter().enumerate() {
            let call = Call::new(open.synchronous, self.offset(piece), &[!byte; PIECE]);
            assert_eq!(call.read(frame), NtStatus::SUCCESS);
            assert!(call.data().iter().all(|&read| read == byte), "piece {piece} of thread {}", self.number);
        }
    }

    /// The thread ends, with a lock request that waits for nobody's good and APCs that it will not see.
    fn end(&mut self, frame: &Frame, open: &Open) -> Vec<Call> {
        let (piece, byte) = self.next();
        self.pieces[piece] = byte;
        let write = Call::new(open.asynchronous, self.offset(piece), &[byte; PIECE]).apc().context(1);
        let returned = write.write(frame);
        assert!(matches!(returned, NtStatus::SUCCESS | NtStatus::PENDING), "{returned}");
        let mine = Call::new(open.locks, 1000 + self.number as i64 * 8, &[]).event(open.event);
        assert_eq!(mine.lock(frame, 8), NtStatus::SUCCESS);
        let (second, _) = nt_io::create::nt_create_file(frame, &spec(LOCKS, 0)).expect("an open");
        let waits = Call::new(second, 1000 + self.number as i64 * 8, &[]);
        assert_eq!(waits.lock(frame, 8), NtStatus::PENDING);
        cancel::thread_ends(frame);
        assert!(frame.thread.irps().is_empty());
        assert_eq!(waits.ended(), Some((NtStatus::CANCELLED, 0)));
        assert_eq!(write.ended(), Some((NtStatus::SUCCESS, PIECE as u64)));
        event::close(frame, second).expect("open");
        self.tally.ended += 1;
        vec![write, mine, waits]
    }
}
