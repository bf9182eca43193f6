//! The reference: files, handles and locks as the rules have them, in the plainest form.
//!
//! Room: tests/conformance. Called by: `model`. Source: rules NT-A-08 to NT-A-13, NT-A-18, NT-W, NT-O, NT-N-01 to NT-N-06, NT-R, NT-L,
//! NT-I-04, NT-I-08, NT-SPA-03, NT-SPA-06, NT-SPA-10, NT-SPA-12, NT-DEL-02 to NT-DEL-05, NT-DEL-23 to NT-DEL-25, NT-REN-02 to NT-REN-06, NT-REN-15, NT-SHR-02, NT-X-01, NT-X-02, NT-Q-14.

use super::ops::{NAMES, Op, SLOTS, bytes};
use crate::door::{Done, pended, refused, success};
use nt_machine::NtStatus;
use nt_machine::NtStatus as S;

const READ: u32 = 1;
const WRITE: u32 = 2;
const APPEND: u32 = 4;
const DELETE: u32 = 0x1_0000;
const SECTOR: u64 = 512;
/// No file of an episode gets near it; no volume holds it.
const MOST: u64 = 1 << 50;

/// What an operation must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing is asked: the slot is empty.
    Nothing,
    /// What the call does, and the bytes that it brings.
    Done(Done, Option<Vec<u8>>),
    /// The same error, told with or without the status block (NT-K-05).
    Error(NtStatus),
    /// A create: its status and Information.
    Created(NtStatus, u64),
    /// A request that waits.
    Waits,
    /// Standard information {end, delete pending}, position (`None`: ACCESS_DENIED).
    Sizes(u64, bool, Option<i64>),
    /// Ranges in which all lies that is not zero of these bytes.
    Ranges(Vec<u8>),
}

/// How a lock request that waited stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiter {
    /// Its status block has its former bytes.
    Waits,
    /// It was granted.
    Granted,
    /// It was cancelled, and told so.
    Cancelled,
    /// Its handle was closed: nobody is told (NT-Q-14).
    Silent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Lock {
    slot: usize,
    range: (u64, u64, u32),
    exclusive: bool,
}

impl Lock {
    fn owned(&self, slot: usize, key: u32) -> bool {
        self.slot == slot && self.range.2 == key
    }

    fn refuses(&self, wanted: &Self) -> bool {
        let mine = self.owned(wanted.slot, wanted.range.2);
        overlap(self.range, wanted.range) && (wanted.exclusive || (self.exclusive && !mine))
    }
}

/// NT-L-05: an empty range conflicts with one that contains its offset (our decision: with no other empty one).
fn overlap(one: (u64, u64, u32), two: (u64, u64, u32)) -> bool {
    let holds = |range: (u64, u64, u32), at: u64| range.0 <= at && at < range.0 + range.1;
    match (one.1, two.1) {
        (0, 0) => false,
        (0, _) => holds(two, one.0),
        (_, 0) => holds(one, two.0),
        _ => one.0 < two.0 + two.1 && two.0 < one.0 + one.1,
    }
}

#[derive(Clone, Debug, Default)]
struct File {
    data: Vec<u8>,
    name: usize,
    pending: bool,
    locks: Vec<Lock>,
    /// In the order of their coming; the number names the waiter.
    waiting: Vec<(usize, Lock)>,
}

#[derive(Clone, Copy, Debug)]
struct Handle {
    file: usize,
    access: u32,
    share: u32,
    synchronous: bool,
    noncached: bool,
    on_close: bool,
    position: i64,
}

/// The whole of it.
#[derive(Debug)]
pub struct Reference {
    /// Requests on asynchronous handles are marked pending (house rule 14).
    pends: bool,
    files: Vec<File>,
    names: [Option<usize>; NAMES],
    slots: [Option<Handle>; SLOTS],
    /// How each lock request that ever waited stands.
    pub waiters: Vec<Waiter>,
}

impl Reference {
    /// An empty volume.
    #[must_use]
    pub fn new(pends: bool) -> Self {
        Self { pends, files: Vec::new(), names: [None; NAMES], slots: [None; SLOTS], waiters: Vec::new() }
    }

    /// The files that there are, by name.
    pub fn contents(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let there = self.names.iter().enumerate();
        there.filter_map(|(name, file)| Some((name, self.files[(*file)?].data.as_slice())))
    }

    /// Whether a worker may do this write: its handle is asynchronous, and its page may have to be read first (NT-S-13).
    #[must_use]
    pub fn may_be_posted(&self, op: &Op) -> bool {
        match op {
            Op::Write { slot, .. } => self.slots[*slot].is_some_and(|handle| !handle.synchronous),
            _ => false,
        }
    }

    /// Is there an open handle?
    #[must_use]
    pub fn is_open(&self, slot: usize) -> bool {
        self.slots[slot].is_some()
    }

    /// Does the operation, and says what it must show.
    pub fn step(&mut self, op: &Op) -> Expect {
        match *op {
            Op::Open { slot, name, disposition, access, share, options } => {
                self.open(slot, name, disposition, access, share, options)
            }
            Op::Write { slot, at, length, fill, key } => self.write(slot, at, &bytes(length, fill), key),
            Op::Read { slot, at, length, key } => self.read(slot, at, length, key),
            Op::SetEnd { slot, end } => self.set(slot, WRITE, |file, _| match usize::try_from(end) {
                Ok(end) => {
                    file.data.resize(end, 0);
                    S::SUCCESS
                }
                Err(_) => S::INVALID_PARAMETER,
            }),
            Op::Sparse { slot, .. } => self.set(slot, WRITE | APPEND, |_, _| S::SUCCESS),
            Op::Zero { slot, range } => self.zero(slot, range),
            Op::Ranges { slot } => match self.slots[slot] {
                None => Expect::Nothing,
                Some(handle) if handle.access & READ == 0 => Expect::Error(S::ACCESS_DENIED),
                Some(handle) => Expect::Ranges(self.files[handle.file].data.clone()),
            },
            Op::Seek { slot, to } => self.set(slot, READ | WRITE, |_, handle| {
                handle.position = to;
                S::SUCCESS
            }),
            Op::Look { slot } => self.look(slot),
            Op::Rename { slot, name, replace } => self.rename(slot, name, replace),
            Op::Delete { slot, on } => self.set(slot, DELETE, |file, _| {
                file.pending = on;
                S::SUCCESS
            }),
            Op::Lock { slot, range, exclusive, at_once } => self.lock(slot, range, exclusive, at_once),
            Op::Unlock { slot, range } => self.unlock(slot, range),
            Op::Cancel { slot, ex } => self.cancel(slot, ex),
            Op::Close { slot } => {
                if self.slots[slot].is_none() {
                    return Expect::Nothing;
                }
                self.close(slot);
                Expect::Done(success(0), None)
            }
        }
    }

    fn open(&mut self, slot: usize, name: usize, disposition: u32, access: u32, share: u32, options: u32) -> Expect {
        if (options & 8 != 0 && access & APPEND != 0) || (options & 0x1000 != 0 && access & DELETE == 0) {
            return Expect::Created(S::INVALID_PARAMETER, 0); // NT-A-09, NT-A-10
        }
        let mut granted = access & (READ | WRITE | APPEND | DELETE);
        if access & 0x8000_0000 != 0 {
            granted |= READ;
        }
        if access & 0x4000_0000 != 0 {
            granted |= WRITE | APPEND;
        }
        let (file, information) = match self.names[name] {
            Some(file) if self.files[file].pending => return Expect::Created(S::DELETE_PENDING, 0), // NT-DEL-04
            Some(_) if disposition == 2 => return Expect::Created(S::OBJECT_NAME_COLLISION, 0),
            Some(file) => (
                file,
                match disposition {
                    0 => 0,
                    4 | 5 => 3,
                    _ => 1,
                },
            ),
            None if matches!(disposition, 1 | 4) => return Expect::Created(S::OBJECT_NAME_NOT_FOUND, 0),
            None => {
                self.files.push(File { name, ..File::default() });
                (self.files.len() - 1, 2)
            }
        };
        if self.shares_with(file, granted, share) {
            self.names[name] = Some(file);
        } else {
            return Expect::Created(S::SHARING_VIOLATION, 0);
        }
        if matches!(information, 0 | 3) {
            self.files[file].data.clear();
        }
        // The new handle is there before the old one goes: no name is lost on the way.
        let made = Some(Handle {
            file,
            access: granted,
            share,
            synchronous: options & 0x20 != 0,
            noncached: options & 8 != 0,
            on_close: options & 0x1000 != 0,
            position: 0,
        });
        let old = std::mem::replace(&mut self.slots[slot], made);
        if let Some(old) = old {
            self.closed(slot, old);
        }
        Expect::Created(S::SUCCESS, information)
    }

    /// NT-SHR-02, both ways, against each open of the file that takes part (NT-SHR-01).
    fn shares_with(&self, file: usize, granted: u32, share: u32) -> bool {
        // A right and the bit that shares it.
        let kinds = [(READ, 1), (WRITE | APPEND, 2), (DELETE, 4)];
        let takes_part = |access: u32| kinds.iter().any(|(right, _)| access & right != 0);
        !takes_part(granted)
            || self.slots.iter().flatten().filter(|other| other.file == file && takes_part(other.access)).all(|other| {
                kinds.iter().all(|(right, bit)| {
                    (granted & right == 0 || other.share & bit != 0) && (other.access & right == 0 || share & bit != 0)
                })
            })
    }

    fn close(&mut self, slot: usize) {
        if let Some(handle) = self.slots[slot].take() {
            self.closed(slot, handle);
        }
    }

    /// A handle is no longer in its slot.
    fn closed(&mut self, slot: usize, handle: Handle) {
        let file = &mut self.files[handle.file];
        for (waiter, _) in file.waiting.iter().filter(|(_, lock)| lock.slot == slot) {
            self.waiters[*waiter] = Waiter::Silent;
        }
        file.waiting.retain(|(_, lock)| lock.slot != slot);
        file.locks.retain(|lock| lock.slot != slot);
        file.pending |= handle.on_close;
        let (pending, name) = (file.pending, file.name);
        self.advance(handle.file);
        if pending && !self.slots.iter().flatten().any(|other| other.file == handle.file) {
            self.names[name] = None;
        }
    }

    /// Grants what no longer has to wait.
    fn advance(&mut self, file: usize) {
        let file = &mut self.files[file];
        while let Some(at) =
            file.waiting.iter().position(|(_, wanted)| !file.locks.iter().any(|lock| lock.refuses(wanted)))
        {
            let (waiter, lock) = file.waiting.remove(at);
            file.locks.push(lock);
            self.waiters[waiter] = Waiter::Granted;
        }
    }

    /// An error of the file system: told at once on a synchronous handle, later on another.
    fn late(&self, handle: Handle, status: NtStatus) -> Expect {
        if handle.synchronous || !self.pends {
            return Expect::Error(status);
        }
        Expect::Done(pended(status, 0), None)
    }

    fn well(&self, handle: Handle, count: usize, bytes: Option<Vec<u8>>) -> Expect {
        let pends = self.pends && !handle.synchronous;
        let done = if pends { pended(S::SUCCESS, count as u64) } else { success(count as u64) };
        Expect::Done(done, bytes)
    }

    /// What the I/O manager makes of an offset: the start, -1 for the end of the file, or a refusal.
    fn start(handle: Handle, write: bool, at: Option<i64>, length: usize) -> Result<i64, Expect> {
        let invalid = Err(Expect::Done(refused(S::INVALID_PARAMETER), None));
        let at = if write && handle.access & (WRITE | APPEND) == APPEND { Some(-1) } else { at };
        if handle.noncached {
            let ragged = at.is_some_and(|at| at >= 0 && !(at as u64).is_multiple_of(SECTOR));
            if !(length as u64).is_multiple_of(SECTOR) || ragged {
                return invalid;
            }
        }
        match at {
            Some(-1) if write => Ok(-1),
            None | Some(-2) if handle.synchronous => Ok(handle.position),
            Some(at) if at >= 0 => Ok(at),
            _ => invalid,
        }
    }

    fn write(&mut self, slot: usize, at: Option<i64>, data: &[u8], key: u32) -> Expect {
        let Some(handle) = self.slots[slot] else { return Expect::Nothing };
        if handle.access & (WRITE | APPEND) == 0 {
            return Expect::Done(refused(S::ACCESS_DENIED), None);
        }
        let start = match Self::start(handle, true, at, data.len()) {
            Ok(start) => start,
            Err(expect) => return expect,
        };
        if data.is_empty() {
            return self.well(handle, 0, None);
        }
        let length = data.len() as u64;
        let file = &mut self.files[handle.file];
        let start = u64::try_from(start).unwrap_or(file.data.len() as u64);
        let end = start + length;
        if (handle.noncached && !start.is_multiple_of(SECTOR)) || i64::try_from(end).is_err() {
            return self.late(handle, S::INVALID_PARAMETER);
        }
        let range = (start, length, key);
        let refuses = |lock: &Lock| overlap(lock.range, range) && !(lock.exclusive && lock.owned(slot, key));
        if file.locks.iter().any(refuses) {
            if handle.synchronous {
                self.at(slot, start as i64); // NT-O-15 b
            }
            return self.late(handle, S::FILE_LOCK_CONFLICT);
        }
        if end > MOST {
            return self.late(handle, S::DISK_FULL); // NT-S-05
        }
        let (from, to) = (start as usize, end as usize);
        if file.data.len() < to {
            file.data.resize(to, 0);
        }
        file.data[from..to].copy_from_slice(data);
        if handle.synchronous {
            self.at(slot, end as i64);
        }
        self.well(handle, data.len(), None)
    }

    fn at(&mut self, slot: usize, position: i64) {
        if let Some(handle) = &mut self.slots[slot] {
            handle.position = position;
        }
    }

    fn read(&mut self, slot: usize, at: Option<i64>, length: usize, key: u32) -> Expect {
        let Some(handle) = self.slots[slot] else { return Expect::Nothing };
        if handle.access & READ == 0 {
            return Expect::Done(refused(S::ACCESS_DENIED), None);
        }
        let start = match Self::start(handle, false, at, length) {
            Ok(start) => start as u64,
            Err(expect) => return expect,
        };
        if length == 0 {
            return self.well(handle, 0, Some(Vec::new()));
        }
        if handle.noncached && !start.is_multiple_of(SECTOR) {
            return self.late(handle, S::INVALID_PARAMETER);
        }
        let file = &self.files[handle.file];
        let range = (start, length as u64, key);
        if file.locks.iter().any(|lock| lock.exclusive && overlap(lock.range, range) && !lock.owned(slot, key)) {
            return self.late(handle, S::FILE_LOCK_CONFLICT);
        }
        let end = (file.data.len() as u64).min(start.saturating_add(length as u64));
        if start >= end {
            return self.late(handle, S::END_OF_FILE);
        }
        let bytes = file.data[start as usize..end as usize].to_vec();
        if handle.synchronous {
            self.at(slot, end as i64);
        }
        self.well(handle, bytes.len(), Some(bytes))
    }

    /// A set of information, which is synchronous on every handle.
    fn set(&mut self, slot: usize, right: u32, change: impl FnOnce(&mut File, &mut Handle) -> NtStatus) -> Expect {
        let Some(handle) = &mut self.slots[slot] else { return Expect::Nothing };
        if handle.access & right == 0 {
            return Expect::Done(refused(S::ACCESS_DENIED), None);
        }
        match change(&mut self.files[handle.file], handle) {
            S::SUCCESS => Expect::Done(success(0), None),
            status => Expect::Error(status),
        }
    }

    fn zero(&mut self, slot: usize, (start, beyond): (i64, i64)) -> Expect {
        self.set(slot, WRITE, |file, _| {
            if start < 0 || start > beyond {
                return S::INVALID_PARAMETER;
            }
            let end = (beyond as usize).min(file.data.len());
            let start = (start as usize).min(end);
            let range = (start as u64, (end - start) as u64, 0);
            let refuses = |lock: &Lock| overlap(lock.range, range) && !(lock.exclusive && lock.owned(slot, 0));
            if range.1 != 0 && file.locks.iter().any(refuses) {
                return S::FILE_LOCK_CONFLICT;
            }
            file.data[start..end].fill(0);
            S::SUCCESS
        })
    }

    fn look(&self, slot: usize) -> Expect {
        let Some(handle) = self.slots[slot] else { return Expect::Nothing };
        let file = &self.files[handle.file];
        let position = (handle.access & (READ | WRITE) != 0).then_some(handle.position);
        Expect::Sizes(file.data.len() as u64, file.pending, position)
    }

    fn rename(&mut self, slot: usize, name: usize, replace: bool) -> Expect {
        let Some(handle) = self.slots[slot] else { return Expect::Nothing };
        if handle.access & DELETE == 0 {
            return Expect::Done(refused(S::ACCESS_DENIED), None);
        }
        let old = self.files[handle.file].name;
        if self.files[handle.file].pending {
            return Expect::Error(S::ACCESS_DENIED); // NT-REN-28
        }
        if old == name {
            return Expect::Done(success(0), None);
        }
        if let Some(target) = self.names[name] {
            if !replace {
                return Expect::Error(S::OBJECT_NAME_COLLISION);
            }
            if self.slots.iter().flatten().any(|other| other.file == target) {
                return Expect::Error(S::ACCESS_DENIED);
            }
        }
        self.names[old] = None;
        self.names[name] = Some(handle.file);
        self.files[handle.file].name = name;
        Expect::Done(success(0), None)
    }

    fn lock(&mut self, slot: usize, range: (u64, u64, u32), exclusive: bool, at_once: bool) -> Expect {
        let Some(handle) = self.slots[slot] else { return Expect::Nothing };
        if handle.access & (READ | WRITE) == 0 {
            return Expect::Done(refused(S::ACCESS_DENIED), None);
        }
        let wanted = Lock { slot, range, exclusive };
        let file = &mut self.files[handle.file];
        if !file.locks.iter().any(|lock| lock.refuses(&wanted)) {
            file.locks.push(wanted);
            return Expect::Done(success(0), None);
        }
        if at_once || handle.synchronous {
            return Expect::Error(S::LOCK_NOT_GRANTED);
        }
        file.waiting.push((self.waiters.len(), wanted));
        self.waiters.push(Waiter::Waits);
        Expect::Waits
    }

    fn unlock(&mut self, slot: usize, range: (u64, u64, u32)) -> Expect {
        let Some(handle) = self.slots[slot] else { return Expect::Nothing };
        if handle.access & (READ | WRITE) == 0 {
            return Expect::Done(refused(S::ACCESS_DENIED), None);
        }
        let file = &mut self.files[handle.file];
        let mine = |lock: &Lock| lock.slot == slot && lock.range == range;
        let at = file.locks.iter().position(|lock| mine(lock) && lock.exclusive);
        let Some(at) = at.or_else(|| file.locks.iter().position(mine)) else {
            return Expect::Error(S::RANGE_NOT_LOCKED);
        };
        file.locks.remove(at);
        self.advance(handle.file);
        Expect::Done(success(0), None)
    }

    fn cancel(&mut self, slot: usize, ex: bool) -> Expect {
        let Some(handle) = self.slots[slot] else { return Expect::Nothing };
        let file = &mut self.files[handle.file];
        let before = file.waiting.len();
        for (waiter, _) in file.waiting.iter().filter(|(_, lock)| lock.slot == slot) {
            self.waiters[*waiter] = Waiter::Cancelled;
        }
        file.waiting.retain(|(_, lock)| lock.slot != slot);
        if ex && file.waiting.len() == before {
            // The newer call's status block tells too.
            return Expect::Error(S::NOT_FOUND);
        }
        Expect::Done(success(0), None)
    }
}
