//! The machine under test: two processes of it do the operations.
//!
//! Room: tests/conformance. Called by: `model`. Calls: `nt_machine`, the services of `nt_io`. Touches: the user arena; the status block
//! of a lock request that waits is kept until the end.

use super::ops::{NAMES, Op, SLOTS, bytes};
use super::reference::Waiter;
use crate::door::{Block, Create, Direction, Done, Door, Handle, Transfer, Word};
use crate::doors::{NativeCalls, NtDoor};
use nt_abi::io::{FSCTL_QUERY_ALLOCATED_RANGES, FSCTL_SET_SPARSE, FSCTL_SET_ZERO_DATA};
use nt_cell::{Addr, UserBlock};
use nt_io::control::ControlArguments;
use nt_io::info::class;
use nt_io::lock::LockArguments;
use nt_io::service::Caller;
use nt_io::system::AsyncPolicy;
use nt_ke::Frame;
use nt_machine::{Machine, NtStatus, VolumeSpec};

const PATTERN: u64 = 0xEADB_EEF0_EADB_EEF0;

/// What an operation showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The slot is empty.
    Nothing,
    /// A call, and the bytes that it brought.
    Done(Done, Vec<u8>),
    /// A create: its status and Information.
    Created(NtStatus, u64),
    /// Standard information {end, delete pending}, position.
    Sizes(u64, bool, Option<i64>),
    /// {start, end} of allocated ranges.
    Ranges(Vec<(u64, u64)>),
}

/// The machine and what is open in it.
pub struct Subject {
    machine: Machine,
    /// A slot belongs to the process of its parity.
    doors: [NtDoor<NativeCalls>; 2],
    slots: [Option<Handle>; SLOTS],
    waiters: Vec<UserBlock>,
    argument: UserBlock,
}

impl Subject {
    /// A machine with an empty volume.
    ///
    /// # Errors
    /// What the machine refused.
    pub fn new(volume: VolumeSpec, policy: AsyncPolicy) -> Result<Self, String> {
        let machine = Machine::builder().volume(volume).completion(policy).build();
        let machine = machine.map_err(|error| format!("the machine: {error:?}"))?;
        let door = |name: &str| machine.process(name).map(|client| NtDoor::new(NativeCalls::new(client)));
        let doors = [door("even"), door("odd")].map(|door| door.expect("a process"));
        let argument = UserBlock::new(64).ok_or("the arena is full")?;
        Ok(Self { machine, doors, slots: [None; SLOTS], waiters: Vec::new(), argument })
    }

    /// Ends the machine; what was left behind is an error.
    ///
    /// # Errors
    /// The leak.
    pub fn end(self) -> Result<(), String> {
        let Self { machine, doors, .. } = self;
        drop(doors);
        let leaks = machine.shutdown();
        if leaks.is_empty() { Ok(()) } else { Err(format!("left behind: {leaks:?}")) }
    }

    fn call<R>(&self, slot: usize, body: impl FnOnce(&Frame) -> R) -> R {
        self.doors[slot % 2].as_calls().client().call(body)
    }

    fn block(&self, at: usize) -> Block {
        let word = |offset: usize| self.argument.region().load::<u64>(at + offset).expect("arena");
        match (word(0), word(8)) {
            (PATTERN, PATTERN) => Block::Untouched,
            (status, information) => Block::Is(NtStatus(status as u32), information),
        }
    }

    fn fresh(block: &UserBlock) {
        block.region().store::<u64>(0, PATTERN).expect("arena");
        block.region().store::<u64>(8, PATTERN).expect("arena");
    }

    /// How a lock request that waited stands: as its status block tells.
    #[must_use]
    pub fn waiter(&self, at: usize) -> Option<Waiter> {
        let region = self.waiters.get(at)?.region();
        match (region.load::<u64>(0).ok()?, region.load::<u64>(8).ok()?) {
            (PATTERN, PATTERN) => Some(Waiter::Waits),
            (status, 0) if status as u32 == 0 => Some(Waiter::Granted),
            (status, 0) if status as u32 == NtStatus::CANCELLED.0 => Some(Waiter::Cancelled),
            _ => None,
        }
    }

    /// Forgets the waiters: their handles are closed.
    pub fn forget(&mut self) {
        self.waiters.clear();
    }

    /// Does the operation.
    pub fn step(&mut self, op: &Op) -> Seen {
        if let Op::Open { slot, name, disposition, access, share, options } = *op {
            let create =
                Create { name: file_name(name), access, share, disposition, options, attributes: 0, allocation: 0 };
            return match self.doors[slot % 2].create(&create) {
                Ok((Word::Status(status), information, handle)) => {
                    if handle.is_some() {
                        let _closed = self.close(slot);
                        self.slots[slot] = handle;
                    }
                    Seen::Created(status, information.unwrap_or(0))
                }
                other => panic!("the native door: {other:?}"),
            };
        }
        let (Op::Write { slot, .. }
        | Op::Read { slot, .. }
        | Op::SetEnd { slot, .. }
        | Op::Sparse { slot, .. }
        | Op::Zero { slot, .. }
        | Op::Ranges { slot }
        | Op::Seek { slot, .. }
        | Op::Look { slot }
        | Op::Rename { slot, .. }
        | Op::Delete { slot, .. }
        | Op::Lock { slot, .. }
        | Op::Unlock { slot, .. }
        | Op::Cancel { slot, .. }
        | Op::Close { slot }
        | Op::Open { slot, .. }) = *op;
        let Some(handle) = self.slots[slot] else { return Seen::Nothing };
        let set = |class: u32, data: &[u8]| {
            Seen::Done(self.doors[slot % 2].set(handle, class, data).expect("NT"), Vec::new())
        };
        match *op {
            Op::Write { at, length, fill, key, .. } => {
                self.transfer(slot, &Transfer::write(handle, at, &bytes(length, fill)).key(key))
            }
            Op::Read { at, length, key, .. } => self.transfer(slot, &Transfer::read(handle, at, length).key(key)),
            Op::SetEnd { end, .. } => set(class::END_OF_FILE, &end.to_le_bytes()),
            Op::Sparse { on, .. } => {
                Seen::Done(self.control(slot, handle, FSCTL_SET_SPARSE, &[u8::from(on)]).0, Vec::new())
            }
            Op::Zero { range: (start, beyond), .. } => {
                let input = [start.to_le_bytes(), beyond.to_le_bytes()].concat();
                Seen::Done(self.control(slot, handle, FSCTL_SET_ZERO_DATA, &input).0, Vec::new())
            }
            Op::Ranges { .. } => {
                let input = [0_i64.to_le_bytes(), i64::MAX.to_le_bytes()].concat();
                let (done, bytes) = self.control(slot, handle, FSCTL_QUERY_ALLOCATED_RANGES, &input);
                if done.returned != Word::Status(NtStatus::SUCCESS) {
                    return Seen::Done(done, Vec::new());
                }
                let long = |part: &[u8]| part.first_chunk().copied().map_or(0, u64::from_le_bytes);
                let ranges = bytes.chunks_exact(16).map(|range| (long(range), long(range) + long(&range[8..])));
                Seen::Ranges(ranges.collect())
            }
            Op::Seek { to, .. } => set(class::POSITION, &to.to_le_bytes()),
            Op::Delete { on, .. } => set(class::DISPOSITION, &[u8::from(on)]),
            Op::Rename { name, replace, .. } => {
                let name: Vec<u8> = leaf(name).encode_utf16().flat_map(u16::to_le_bytes).collect();
                let mut data = vec![0; 20];
                data[0] = u8::from(replace);
                data[16..20].copy_from_slice(&(name.len() as u32).to_le_bytes());
                data.extend(name);
                data.resize(data.len().max(24), 0);
                set(class::RENAME, &data)
            }
            Op::Look { .. } => self.look(slot, handle),
            Op::Lock { range, exclusive, at_once, .. } => self.lock(slot, handle, range, Some((exclusive, at_once))),
            Op::Unlock { range, .. } => self.lock(slot, handle, range, None),
            Op::Cancel { ex, .. } => {
                Self::fresh(&self.argument);
                let (file, iosb) = (nt_machine::Handle(handle.0), Addr::user(self.argument.addr()));
                let returned = self.call(slot, |frame| match ex {
                    true => nt_io::cancel::nt_cancel_io_file_ex(frame, file, Addr::NULL, iosb),
                    false => nt_io::cancel::nt_cancel_io_file(frame, file, iosb),
                });
                Seen::Done(Done { returned: Word::Status(returned), block: self.block(0) }, Vec::new())
            }
            Op::Close { .. } | Op::Open { .. } => {
                let returned = self.close(slot);
                let block = if returned == Word::Status(NtStatus::SUCCESS) {
                    Block::Is(NtStatus::SUCCESS, 0)
                } else {
                    Block::Unseen
                };
                Seen::Done(Done { returned, block }, Vec::new())
            }
        }
    }

    /// NtFsControlFile, and the bytes that it brought.
    fn control(&self, slot: usize, handle: Handle, code: u32, input: &[u8]) -> (Done, Vec<u8>) {
        Self::fresh(&self.argument);
        let from = UserBlock::new(input.len()).expect("arena");
        from.region().write_from(input).expect("arena");
        let to = UserBlock::new(8192).expect("arena");
        let arguments = ControlArguments {
            caller: Caller::plain(nt_machine::Handle(handle.0), Addr::user(self.argument.addr())),
            code,
            input: (Addr::user(from.addr()), input.len() as u32),
            output: (Addr::user(to.addr()), 8192),
            file_system: true,
        };
        let returned = self.call(slot, |frame| nt_io::control::nt_control_file(frame, &arguments));
        let block = self.block(0);
        let count = if let Block::Is(_, count) = block { count as usize } else { 0 };
        (Done { returned: Word::Status(returned), block }, to.region().sub(0, count.min(8192)).to_vec().expect("arena"))
    }

    fn transfer(&self, slot: usize, transfer: &Transfer) -> Seen {
        let (done, mut bytes) = self.doors[slot % 2].transfer(transfer).expect("NT");
        let count = match done.block {
            Block::Is(_, count) if transfer.direction == Direction::Read => count as usize,
            _ => 0,
        };
        bytes.truncate(count);
        Seen::Done(done, bytes)
    }

    fn look(&self, slot: usize, handle: Handle) -> Seen {
        let door = &self.doors[slot % 2];
        let (_, standard) = door.query(handle, class::STANDARD, 24).expect("NT");
        let (_, position) = door.query(handle, class::POSITION, 8).expect("NT");
        let word = |bytes: &[u8], at: usize| bytes.get(at..at + 8).and_then(|word| word.first_chunk().copied());
        let end = word(&standard, 8).map_or(u64::MAX, u64::from_le_bytes);
        let pending = standard.get(20).is_some_and(|byte| *byte != 0);
        Seen::Sizes(end, pending, word(&position, 0).map(i64::from_le_bytes))
    }

    /// NtLockFile with {exclusive, fail at once}, or NtUnlockFile.
    fn lock(&mut self, slot: usize, handle: Handle, range: (u64, u64, u32), kind: Option<(bool, bool)>) -> Seen {
        // {0 status block, 16 offset, 24 length}; a status block that may be written later has a block of its own.
        let own = UserBlock::new(16).expect("arena");
        Self::fresh(&own);
        self.argument.region().store::<u64>(16, range.0).expect("arena");
        self.argument.region().store::<u64>(24, range.1).expect("arena");
        let at = self.argument.addr();
        let synchronous = self.call(slot, |frame| {
            let found = nt_io::event::reference(
                frame,
                nt_machine::Handle(handle.0),
                nt_ob::types::ObjectType::File,
                0,
                nt_ke::Mode::Kernel,
            );
            found.is_ok_and(|(object, _)| nt_io::file::is_synchronous(object.body().view()))
        });
        let (exclusive, at_once) = kind.unwrap_or((false, true));
        let arguments = LockArguments {
            caller: Caller::plain(nt_machine::Handle(handle.0), Addr::user(own.addr())),
            byte_offset: Addr::user(at + 16),
            length: Addr::user(at + 24),
            key: range.2,
            // Nobody else runs here: a synchronous handle that waited would wait for ever.
            fail_immediately: at_once || synchronous,
            exclusive,
        };
        let returned = self.call(slot, |frame| match kind {
            Some(_) => nt_io::lock::nt_lock_file(frame, &arguments),
            None => nt_io::lock::nt_unlock_file(frame, &arguments),
        });
        let word = |offset: usize| own.region().load::<u64>(offset).expect("arena");
        let block = match (word(0), word(8)) {
            (PATTERN, PATTERN) => Block::Untouched,
            (status, information) => Block::Is(NtStatus(status as u32), information),
        };
        if returned == NtStatus::PENDING {
            self.waiters.push(own);
        }
        Seen::Done(Done { returned: Word::Status(returned), block }, Vec::new())
    }

    fn close(&mut self, slot: usize) -> Word {
        match self.slots[slot].take() {
            Some(handle) => self.doors[slot % 2].close(handle).expect("NT"),
            None => Word::Status(NtStatus::SUCCESS),
        }
    }

    /// Closes all, and returns what each name that is there holds; then the names are gone.
    pub fn sweep(&mut self) -> Vec<(usize, Vec<u8>)> {
        for slot in 0..SLOTS {
            let _closed = self.close(slot);
        }
        let mut found = Vec::new();
        for name in 0..NAMES {
            let open = Op::Open { slot: 0, name, disposition: 1, access: 0x11_0001, share: 0, options: 0x1020 };
            if !matches!(self.step(&open), Seen::Created(NtStatus::SUCCESS, _)) {
                continue;
            }
            let Seen::Sizes(end, ..) = self.step(&Op::Look { slot: 0 }) else { continue };
            let read = Op::Read { slot: 0, at: Some(0), length: end as usize, key: 0 };
            let bytes = match self.step(&read) {
                Seen::Done(_, bytes) => bytes,
                _ => Vec::new(),
            };
            let _closed = self.close(0);
            found.push((name, bytes));
        }
        found
    }
}

fn leaf(name: usize) -> String {
    format!("n{name}")
}

fn file_name(name: usize) -> String {
    format!("C:\\{}", leaf(name))
}
