//! Byte-range locks: FILE_LOCK, and the lock requests that wait for one.
//!
//! Room: ntos/fsrtl. Called by: file systems (IRP_MJ_LOCK_CONTROL, reads, writes, cleanup), `exports`.
//! Touches: FILE_LOCK (LockInformation is the key of our state), lock IRPs while they wait here.
//! IRQL: <= APC_LEVEL. Locks: the state's; a packet is completed and a driver's routine called without it.
//! Source: FsRtlProcessFileLock, FsRtlCheckLockForWriteAccess, FsRtlFastUnlockAll pages; rules NT-L-01 to NT-L-11.

use crate::range::{self, Lock, Range};
use nt_abi::io::{
    FILE_OBJECT, IO_STACK_LOCATION, IRP, IRP_MN_LOCK, IRP_MN_UNLOCK_ALL, IRP_MN_UNLOCK_ALL_BY_KEY,
    IRP_MN_UNLOCK_SINGLE, SL_EXCLUSIVE_LOCK, SL_FAIL_IMMEDIATELY,
};
use nt_abi::mm::{FILE_LOCK, FILE_LOCK_INFO};
use nt_abi::{NtResult, NtStatus};
use nt_cell::{CodePtr, Foreign, Region, Slab, callout};
use nt_ex::pool;
use nt_io::cancelable::{Keeper, routine_of, set_routine, take_routine};
use nt_io::complete;
use nt_io::irp::{self, IoStatus, Irp};
use nt_ke::Mutex;
use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

pub use crate::range::Owner;

/// A FILE_LOCK's address.
pub type FileLock = Foreign<FILE_LOCK>;

/// What FsRtlPrivateLock is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// FileOffset.
    pub start: u64,
    /// Length.
    pub length: u64,
    /// Who asks.
    pub owner: Owner,
    /// FailImmediately.
    pub fail_immediately: bool,
    /// ExclusiveLock.
    pub exclusive: bool,
}

struct Waiting {
    lock: Lock,
    packet: Irp,
    context: u64,
}

#[derive(Default)]
struct Held {
    granted: Vec<Lock>,
    waiting: VecDeque<Waiting>,
}

struct State {
    lock: FileLock,
    held: Mutex<Held>,
}

static STATES: LazyLock<Slab<Arc<State>>> = LazyLock::new(Slab::new);
const KEY: nt_abi::Field<FILE_LOCK, u64> = FILE_LOCK::LockInformation;

/// FsRtlInitializeFileLock: no lock, and the file system's routines.
pub fn initialize(lock: FileLock, complete: Option<CodePtr>, unlock: Option<CodePtr>) {
    lock.set(KEY, 0);
    lock.set(FILE_LOCK::FastIoIsQuestionable, 0);
    lock.set(FILE_LOCK::LastReturnedLock, 0);
    lock.set(FILE_LOCK::LockRequestsInProgress, 0);
    lock.set_code(FILE_LOCK::CompleteLockIrpRoutine, complete);
    lock.set_code(FILE_LOCK::UnlockRoutine, unlock);
}

/// FsRtlUninitializeFileLock: what still waits ends RANGE_NOT_LOCKED.
pub fn uninitialize(lock: FileLock) {
    let Some(state) = existing(lock) else { return };
    let waiting = std::mem::take(&mut state.held.lock().waiting);
    STATES.remove(lock.get(KEY));
    lock.set(KEY, 0);
    lock.set(FILE_LOCK::FastIoIsQuestionable, 0);
    for request in waiting {
        if take_routine(request.packet) {
            end_packet(lock, request.packet, request.context, NtStatus::RANGE_NOT_LOCKED);
        }
    }
}

/// FsRtlAreThereCurrentFileLocks.
#[must_use]
pub fn any(lock: FileLock) -> bool {
    lock.get(FILE_LOCK::FastIoIsQuestionable) != 0
}

fn existing(lock: FileLock) -> Option<Arc<State>> {
    STATES.get(lock.get(KEY)).map(|state| Arc::clone(&state))
}

/// The state of a lock; made at its first request.
fn state(lock: FileLock) -> Arc<State> {
    loop {
        if let Some(state) = existing(lock) {
            return state;
        }
        let made = Arc::new(State { lock, held: Mutex::default() });
        let (was, key) = (lock.get(KEY), STATES.insert(Arc::clone(&made)));
        // A key that names no state is damage or a race just lost: the next turn finds which.
        if lock.cas64(KEY, was, key).is_ok() {
            return made;
        }
        STATES.remove(key);
    }
}

impl State {
    fn publish(&self, held: &Held) {
        let busy = !(held.granted.is_empty() && held.waiting.is_empty());
        self.lock.set(FILE_LOCK::FastIoIsQuestionable, u8::from(busy));
    }

    /// Grants what waits and no longer has to; completes those packets.
    fn advance(&self) {
        loop {
            let ready = {
                let mut held = self.held.lock();
                let free = |w: &Waiting| !held.granted.iter().any(|each| range::refuses(each, &w.lock));
                // A packet without a cancel routine is being cancelled: its routine takes it out.
                let at = held.waiting.iter().position(|w| free(w) && take_routine(w.packet));
                let ready = at.and_then(|at| held.waiting.remove(at));
                if let Some(ready) = &ready {
                    held.granted.push(ready.lock);
                }
                self.publish(&held);
                ready
            };
            let Some(ready) = ready else { return };
            if end_packet(self.lock, ready.packet, ready.context, NtStatus::SUCCESS).is_error() {
                self.remove(|lock| *lock == ready.lock, 1, ready.context);
            }
        }
    }

    /// Takes granted locks away, at most `count`, exclusive ones first (NT-L-03); tells the file system of each.
    fn remove(&self, which: impl Fn(&Lock) -> bool, count: usize, context: u64) -> usize {
        let mut gone = Vec::new();
        {
            let mut held = self.held.lock();
            for exclusive in [true, false] {
                let mut at = 0;
                while at < held.granted.len() && gone.len() < count {
                    if held.granted[at].exclusive == exclusive && which(&held.granted[at]) {
                        gone.push(held.granted.remove(at));
                    } else {
                        at += 1;
                    }
                }
            }
            self.publish(&held);
        }
        if let Some(routine) = self.lock.code(FILE_LOCK::UnlockRoutine)
            && let Some(info) = pool::zeroed::<FILE_LOCK_INFO>(pool::tag(b"FsLk"))
        {
            for each in &gone {
                describe(info, each);
                let _raised = callout::call(routine, &[context, info.addr()]);
            }
            pool::free(info);
        }
        gone.len()
    }
}

fn describe(info: Foreign<FILE_LOCK_INFO>, lock: &Lock) {
    info.set(FILE_LOCK_INFO::StartingByte, lock.range.start as i64);
    info.set(FILE_LOCK_INFO::Length, lock.range.length as i64);
    info.set(FILE_LOCK_INFO::EndingByte, lock.range.last() as i64);
    info.set(FILE_LOCK_INFO::ExclusiveLock, u8::from(lock.exclusive));
    info.set(FILE_LOCK_INFO::Key, lock.owner.key);
    info.set_addr(FILE_LOCK_INFO::FileObject, lock.owner.file);
    info.set_addr(FILE_LOCK_INFO::ProcessId, lock.owner.process);
}

/// Ends a lock request: through the file system's routine, if it has one; returns the status that came of it.
fn end_packet(lock: FileLock, packet: Irp, context: u64, status: NtStatus) -> NtStatus {
    irp::set_status(packet, IoStatus::new(status, 0));
    match lock.code(FILE_LOCK::CompleteLockIrpRoutine) {
        None => {
            complete::complete_request(packet);
            status
        }
        Some(routine) => match callout::call(routine, &[context, packet.addr()]) {
            Ok(answer) => NtStatus(answer as u32),
            Err(raised) => raised.status,
        },
    }
}

/// FsRtlPrivateLock: grants, refuses, or (with a packet) lets the request wait.
///
/// `None` when the lock cannot be had now: the packet waits, or there was none. A packet that did not wait is complete
/// when this returns.
pub fn request(lock: FileLock, request: &Request, packet: Option<Irp>, context: u64) -> Option<NtStatus> {
    let end = |status| match packet {
        Some(packet) => end_packet(lock, packet, context, status),
        None => status,
    };
    let range = match Range::new(request.start, request.length) {
        Ok(range) => range,
        Err(error) => return Some(end(error.status())),
    };
    let wanted = Lock { range, exclusive: request.exclusive, owner: request.owner };
    let state = state(lock);
    let mut held = state.held.lock();
    if !held.granted.iter().any(|each| range::refuses(each, &wanted)) {
        held.granted.push(wanted);
        state.publish(&held);
        drop(held);
        let status = end(NtStatus::SUCCESS);
        if status.is_error() {
            state.remove(|each| *each == wanted, 1, context);
        }
        return Some(status);
    }
    if request.fail_immediately {
        drop(held);
        return Some(end(NtStatus::LOCK_NOT_GRANTED));
    }
    let packet = packet?;
    irp::mark_pending(packet);
    packet.set(IRP::Tail_DriverContext.index(0), lock.get(KEY));
    held.waiting.push_back(Waiting { lock: wanted, packet, context });
    state.publish(&held);
    let cancelled = set_routine(packet, routine_of::<Waiting>());
    drop(held);
    if cancelled {
        Waiting::cancelled(packet);
    }
    None
}

impl Keeper for Waiting {
    fn cancelled(packet: Irp) {
        let key = packet.get(IRP::Tail_DriverContext.index(0));
        let Some(state) = STATES.get(key).map(|state| Arc::clone(&state)) else { return };
        let found = {
            let mut held = state.held.lock();
            let at = held.waiting.iter().position(|each| each.packet == packet);
            let found = at.and_then(|at| held.waiting.remove(at));
            state.publish(&held);
            found
        };
        if let Some(request) = found {
            end_packet(state.lock, packet, request.context, NtStatus::CANCELLED);
        }
    }
}

/// The process in whose name a packet came.
fn requestor(packet: Irp) -> u64 {
    let frame = nt_ke::current();
    let thread = nt_ps::process::processes(&frame.kernel).thread_at(packet.addr_at(IRP::Tail_Thread));
    let process = thread.and_then(|thread| thread.process_arc::<nt_ps::Process>());
    process.map_or_else(|| nt_ps::current_process(&frame).object().addr(), |process| process.object().addr())
}

fn owner(packet: Irp) -> Owner {
    let stack = irp::current(packet);
    // Key stands at the same place in the parameters of reads, writes and lock requests.
    let key = stack.get(IO_STACK_LOCATION::LockControl_Key);
    Owner { file: stack.addr_at(IO_STACK_LOCATION::FileObject), process: requestor(packet), key }
}

/// FsRtlProcessFileLock: does what a lock request asks for, and completes it or lets it wait (PENDING).
pub fn process(lock: FileLock, packet: Irp, context: u64) -> NtStatus {
    let stack = irp::current(packet);
    let who = owner(packet);
    let length = || -> NtResult<u64> {
        let at = Region::pool(
            stack.ptr(IO_STACK_LOCATION::LockControl_Length).ok_or(NtStatus::INVALID_PARAMETER.error())?,
            8,
        );
        at.load::<u64>(0).map_err(|_| NtStatus::INVALID_PARAMETER.error())
    };
    let start = stack.get(IO_STACK_LOCATION::LockControl_ByteOffset) as u64;
    let flags = stack.get(IO_STACK_LOCATION::Flags);
    let status = match (stack.get(IO_STACK_LOCATION::MinorFunction), length()) {
        (IRP_MN_LOCK, Ok(length)) => {
            let wanted = Request {
                start,
                length,
                owner: who,
                fail_immediately: flags & SL_FAIL_IMMEDIATELY != 0,
                exclusive: flags & SL_EXCLUSIVE_LOCK != 0,
            };
            return request(lock, &wanted, Some(packet), context).unwrap_or(NtStatus::PENDING);
        }
        (IRP_MN_UNLOCK_SINGLE, Ok(length)) => unlock_single(lock, start, length, who, context),
        (IRP_MN_LOCK | IRP_MN_UNLOCK_SINGLE, Err(error)) => error.status(),
        (IRP_MN_UNLOCK_ALL, _) => unlock_all(lock, who.file, Some(who.process), None, context),
        (IRP_MN_UNLOCK_ALL_BY_KEY, _) => unlock_all(lock, who.file, Some(who.process), Some(who.key), context),
        _ => NtStatus::INVALID_DEVICE_REQUEST,
    };
    end_packet(lock, packet, context, status)
}

/// FsRtlFastUnlockSingle: the exact range, one lock (NT-L-03).
pub fn unlock_single(lock: FileLock, start: u64, length: u64, owner: Owner, context: u64) -> NtStatus {
    let Some(state) = existing(lock) else { return NtStatus::RANGE_NOT_LOCKED };
    let range = Range { start, length };
    if state.remove(|each| each.range == range && each.owner == owner, 1, context) == 0 {
        return NtStatus::RANGE_NOT_LOCKED;
    }
    state.advance();
    NtStatus::SUCCESS
}

/// FsRtlFastUnlockAll and FsRtlFastUnlockAllByKey; without a process, those of all processes. What waits for the same
/// file object ends too (NT-L-11).
pub fn unlock_all(lock: FileLock, file: u64, process: Option<u64>, key: Option<u32>, context: u64) -> NtStatus {
    let Some(state) = existing(lock) else { return NtStatus::RANGE_NOT_LOCKED };
    let its = |each: &Lock| {
        each.owner.file == file
            && process.is_none_or(|process| each.owner.process == process)
            && key.is_none_or(|key| each.owner.key == key)
    };
    let removed = state.remove(its, usize::MAX, context);
    loop {
        let gone = {
            let mut held = state.held.lock();
            let at = held.waiting.iter().position(|w| its(&w.lock) && take_routine(w.packet));
            let gone = at.and_then(|at| held.waiting.remove(at));
            state.publish(&held);
            gone
        };
        let Some(gone) = gone else { break };
        end_packet(lock, gone.packet, gone.context, NtStatus::RANGE_NOT_LOCKED);
    }
    state.advance();
    if removed == 0 { NtStatus::RANGE_NOT_LOCKED } else { NtStatus::SUCCESS }
}

/// FsRtlFastCheckLockForRead: may `owner` read these bytes?
#[must_use]
pub fn may_read(lock: FileLock, start: u64, length: u64, owner: Owner) -> bool {
    allowed(lock, start, length, owner, range::refuses_read)
}

/// FsRtlFastCheckLockForWrite: may `owner` write these bytes? A write of nothing always may (NT-W-08).
#[must_use]
pub fn may_write(lock: FileLock, start: u64, length: u64, owner: Owner) -> bool {
    allowed(lock, start, length, owner, range::refuses_write)
}

fn allowed(lock: FileLock, start: u64, length: u64, owner: Owner, refuses: fn(&Lock, Range, Owner) -> bool) -> bool {
    if !any(lock) || length == 0 {
        return true;
    }
    // A range that wraps is not this check's to refuse: its transfer fails for the offset.
    let range = Range { start, length: length.min((u64::MAX - start).saturating_add(1)) };
    existing(lock).is_none_or(|state| !state.held.lock().granted.iter().any(|each| refuses(each, range, owner)))
}

/// FsRtlCheckLockForReadAccess: as the packet's requestor, with its key.
#[must_use]
pub fn packet_may_read(lock: FileLock, packet: Irp) -> bool {
    let stack = irp::current(packet);
    let start = stack.get(IO_STACK_LOCATION::Read_ByteOffset) as u64;
    !any(lock) || may_read(lock, start, u64::from(stack.get(IO_STACK_LOCATION::Read_Length)), owner(packet))
}

/// FsRtlCheckLockForWriteAccess: as the packet's requestor, with its key.
#[must_use]
pub fn packet_may_write(lock: FileLock, packet: Irp) -> bool {
    let start = irp::current(packet).get(IO_STACK_LOCATION::Write_ByteOffset) as u64;
    packet_may_write_at(lock, packet, start)
}

/// As [`packet_may_write`], from where the write really starts: the end of the file for an append (NT-L-10).
#[must_use]
pub fn packet_may_write_at(lock: FileLock, packet: Irp, start: u64) -> bool {
    let length = irp::current(packet).get(IO_STACK_LOCATION::Write_Length);
    !any(lock) || may_write(lock, start, u64::from(length), owner(packet))
}

/// Who a fast I/O call is: the current process, the file object, the key given.
#[must_use]
pub fn caller(file: Foreign<FILE_OBJECT>, key: u32) -> Owner {
    Owner { file: file.addr(), process: nt_ps::current_process(&nt_ke::current()).object().addr(), key }
}

/// FsRtlGetNextFileLock: describes the next granted lock in the FILE_LOCK itself; `None` after the last.
pub fn next(lock: FileLock, restart: bool) -> Option<Foreign<FILE_LOCK_INFO>> {
    let state = existing(lock)?;
    let at = if restart { 0 } else { lock.get(FILE_LOCK::LastReturnedLock) };
    let each = *state.held.lock().granted.get(usize::try_from(at).ok()?)?;
    lock.set(FILE_LOCK::LastReturnedLock, at + 1);
    let info = lock.at(FILE_LOCK::LastReturnedLockInfo);
    describe(info, &each);
    Some(info)
}
