//! The doors that speak NT: arguments in the user arena, statuses and status blocks as they are.
//!
//! Room: tests/conformance. Used by: `native`, `driver`. Touches: the user arena. The status block is filled with a pattern before each
//! call, so that "untouched" can be told from zero.

use crate::door::*;
use nt_cell::arena::{Protection, UserBlock};
use nt_machine::{CreateSpec, NtStatus};
use std::time::Duration;

/// The nine arguments of NtReadFile and NtWriteFile, the APC's left out.
#[derive(Clone, Copy, Debug)]
pub struct Raw {
    /// FileHandle.
    pub file: u64,
    /// Event.
    pub event: u64,
    /// IoStatusBlock.
    pub block: u64,
    /// Buffer.
    pub buffer: u64,
    /// Length.
    pub length: u32,
    /// ByteOffset.
    pub offset: u64,
    /// Key.
    pub key: u64,
}

/// How a door makes the calls.
pub trait Calls {
    /// The column's name.
    fn name(&self) -> &'static str;
    /// Is the caller a user?
    fn user(&self) -> bool;
    /// Are waits checked as a user's?
    fn waits_as_user(&self) -> bool {
        false
    }
    /// NtCreateFile: status, Information, handle.
    fn create(&self, spec: &CreateSpec) -> (NtStatus, u64, u64);
    /// NtClose.
    fn close(&self, handle: u64) -> NtStatus;
    /// NtReadFile or NtWriteFile.
    fn transfer(&self, direction: Direction, raw: &Raw) -> NtStatus;
    /// NtQueryInformationFile {handle, status block, buffer, length, class}.
    fn query(&self, handle: u64, block: u64, buffer: u64, length: u32, class: u32) -> NtStatus;
    /// NtSetInformationFile.
    fn set(&self, handle: u64, block: u64, buffer: u64, length: u32, class: u32) -> NtStatus;
    /// NtCreateEvent.
    fn event(&self, access: u32, notification: bool, signalled: bool) -> Result<u64, NtStatus>;
    /// NtWaitForSingleObject with a relative timeout in milliseconds.
    fn wait(&self, handle: u64, milliseconds: u32) -> NtStatus;
}

/// A door behind which NT calls are made.
#[derive(Debug)]
pub struct NtDoor<C> {
    calls: C,
}

const PATTERN: u64 = 0xEADB_EEF0_EADB_EEF0;
const PAGE: usize = 4096;

/// A block of the arena where a case wants it.
struct Block {
    memory: Option<UserBlock>,
    address: u64,
}

impl Block {
    fn new(place: Place, data: &[u8]) -> Self {
        let kernel = nt_cell::arena::bounds().1 + 0x1000;
        match place {
            Place::Null => Self { memory: None, address: 0 },
            Place::Kernel => Self { memory: None, address: kernel },
            Place::Good | Place::Misaligned => {
                let memory = UserBlock::new(data.len() + 16).expect("arena");
                let skip = usize::from(place == Place::Misaligned);
                memory.region().sub(skip, data.len()).write_from(data).expect("arena");
                Self { address: memory.addr() + skip as u64, memory: Some(memory) }
            }
            Place::ReadOnly | Place::NoAccess | Place::HalfThere => {
                let whole = data.len().max(1).next_multiple_of(PAGE) + PAGE;
                let memory = UserBlock::pages(whole).expect("arena");
                let (skip, from, protection) = match place {
                    Place::ReadOnly => (0, 0, Protection::ReadOnly),
                    Place::NoAccess => (0, 0, Protection::NoAccess),
                    // The first half lies before the last page.
                    _ => (whole - PAGE - data.len() / 2, whole - PAGE, Protection::NoAccess),
                };
                memory.region().sub(skip, data.len()).write_from(data).expect("arena");
                memory.protect(from, whole - from, protection).expect("pages");
                Self { address: memory.addr() + skip as u64, memory: Some(memory) }
            }
        }
    }

    /// The bytes, where they lie in good memory.
    fn bytes(&self, place: Place, length: usize) -> Vec<u8> {
        match &self.memory {
            Some(memory) if place == Place::Good => memory.region().sub(0, length).to_vec().expect("arena"),
            _ => Vec::new(),
        }
    }
}

fn status_block(bytes: &[u8]) -> crate::door::Block {
    let word = |at: usize| bytes.get(at..at + 8).and_then(|w| w.first_chunk()).map(|w| u64::from_le_bytes(*w));
    match (word(0), word(8)) {
        (Some(PATTERN), Some(PATTERN)) => crate::door::Block::Untouched,
        (Some(status), Some(information)) => crate::door::Block::Is(NtStatus(status as u32), information),
        _ => crate::door::Block::Unseen,
    }
}

fn pattern() -> [u8; 16] {
    let mut block = [0; 16];
    block[..8].copy_from_slice(&PATTERN.to_le_bytes());
    block[8..].copy_from_slice(&PATTERN.to_le_bytes());
    block
}

impl<C: Calls> NtDoor<C> {
    /// A door over calls.
    pub fn new(calls: C) -> Self {
        Self { calls }
    }

    /// Shows how the calls are made.
    pub fn as_calls(&self) -> &C {
        &self.calls
    }

    /// Returns how the calls are made.
    pub fn calls(self) -> C {
        self.calls
    }

    /// What a query or set left; both wait for their end themselves.
    fn information(&self, data: &Block, length: usize, call: impl FnOnce(&C, u64, u64) -> NtStatus) -> (Done, Vec<u8>) {
        let block = Block::new(Place::Good, &pattern());
        let returned = call(&self.calls, block.address, data.address);
        let done = Done { returned: Word::Status(returned), block: status_block(&block.bytes(Place::Good, 16)) };
        let count = match done.block {
            crate::door::Block::Is(_, count) => (count as usize).min(length),
            _ => 0,
        };
        (done, data.bytes(Place::Good, count))
    }
}

impl<C: Calls> Door for NtDoor<C> {
    fn name(&self) -> &'static str {
        self.calls.name()
    }
    fn checks_its_caller(&self) -> bool {
        self.calls.user()
    }
    fn waits_as_user(&self) -> bool {
        self.calls.waits_as_user()
    }
    fn has_events(&self) -> bool {
        true
    }

    fn create(&self, create: &Create) -> Express<(Word, Option<u64>, Option<Handle>)> {
        let spec = CreateSpec {
            access: create.access,
            name: format!("\\??\\{}", create.name).encode_utf16().collect(),
            file_attributes: create.attributes,
            share: create.share,
            disposition: create.disposition,
            options: create.options,
            allocation: create.allocation,
            ..CreateSpec::default()
        };
        let (status, information, handle) = self.calls.create(&spec);
        if status.is_success() {
            return Ok((Word::Status(status), Some(information), Some(Handle(handle))));
        }
        Ok((Word::Status(status), None, None))
    }

    fn close(&self, file: Handle) -> Express<Word> {
        Ok(Word::Status(self.calls.close(file.0)))
    }

    fn transfer(&self, transfer: &Transfer) -> Express<(Done, Vec<u8>)> {
        if !self.calls.user() && transfer.odd_places() {
            return not_expressible("Zw names take their caller's addresses on trust");
        }
        let length = transfer.data.len();
        let buffer = Block::new(transfer.buffer, &transfer.data);
        let block = Block::new(transfer.block, &pattern());
        let offset = transfer.offset.map(|offset| Block::new(transfer.offset_at, &offset.to_le_bytes()));
        let key = transfer.key.map(|key| Block::new(transfer.key_at, &key.to_le_bytes()));
        let raw = Raw {
            file: transfer.file.0,
            event: transfer.event.map_or(0, |event| event.0),
            block: block.address,
            buffer: buffer.address,
            length: u32::try_from(length).expect("a case's length"),
            offset: offset.as_ref().map_or(0, |offset| offset.address),
            key: key.as_ref().map_or(0, |key| key.address),
        };
        let returned = self.calls.transfer(transfer.direction, &raw);
        let mut left = status_block(&block.bytes(transfer.block, 16));
        // Stage 2 may still be on its way: the status block tells.
        for _ in 0..120_000 {
            if returned != NtStatus::PENDING || left != crate::door::Block::Untouched {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
            left = status_block(&block.bytes(transfer.block, 16));
        }
        let bytes = buffer.bytes(transfer.buffer, length);
        Ok((Done { returned: Word::Status(returned), block: left }, bytes))
    }

    fn query(&self, file: Handle, class: u32, length: usize) -> Express<(Done, Vec<u8>)> {
        let data = Block::new(Place::Good, &vec![0xEE; length]);
        Ok(self.information(&data, length, |calls, block, at| calls.query(file.0, block, at, length as u32, class)))
    }

    fn set(&self, file: Handle, class: u32, data: &[u8]) -> Express<Done> {
        let from = Block::new(Place::Good, data);
        let length = data.len() as u32;
        Ok(self.information(&from, 0, |calls, block, at| calls.set(file.0, block, at, length, class)).0)
    }

    fn event(&self, access: u32, notification: bool, signalled: bool) -> Express<Handle> {
        match self.calls.event(access, notification, signalled) {
            Ok(handle) => Ok(Handle(handle)),
            Err(status) => Err(Stop::Wrong {
                step: "NtCreateEvent".to_owned(),
                expected: format!("{:?}", NtStatus::SUCCESS),
                seen: format!("{status:?}"),
            }),
        }
    }

    fn wait(&self, handle: Handle, milliseconds: u32) -> Express<Word> {
        Ok(Word::Status(self.calls.wait(handle.0, milliseconds)))
    }

    fn odd_handle(&self, process: bool) -> Express<Handle> {
        Ok(Handle(if process { u64::MAX } else { 0x7770 }))
    }
}
