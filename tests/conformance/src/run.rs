//! What a case is written in: steps that check.
//!
//! Room: tests/conformance. Called by: `cases`. Calls: one door. A step that finds something else ends its case with what it
//! expected and what it saw; one that the door cannot express ends it with the reason.

use crate::door::*;
use crate::house::House;
use nt_io::info::class;
use nt_machine::NtStatus;
use std::cell::RefCell;
use std::fmt::Debug;

/// How a case ends.
pub type Outcome = Result<(), Stop>;

/// How a refused call leaves things (nt-io.md, 1.2): all of them keep position, end and bytes, and the status block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing at all happened: the event keeps its state, no driver was asked.
    E0,
    /// The event was reset; no driver was asked.
    E1,
    /// The event and the file's were reset.
    E2,
}

const ELSEWHERE: &str = "the machine is another process's, and counts by itself";

/// One case on its way through one door.
pub struct Run<'a> {
    door: &'a dyn Door,
    /// The machine, where it is this process's.
    house: Option<&'a House>,
    folder: String,
    /// Files of `C:` are the host's, which may be sparse.
    hosted: bool,
    open: RefCell<Vec<Handle>>,
    /// What was opened on the small volume.
    small: RefCell<Vec<String>>,
}

/// Opens or creates for reading and writing, synchronous.
#[must_use]
pub fn sync(name: &str) -> Create {
    Create {
        name: name.to_owned(),
        access: GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE,
        share: 7,
        disposition: 3,
        options: SYNCHRONOUS,
        attributes: 0,
        allocation: 0,
    }
}

/// The same without FO_SYNCHRONOUS_IO.
#[must_use]
pub fn asynchronous(name: &str) -> Create {
    sync(name).options(0)
}

/// A synchronous handle that may append only.
#[must_use]
pub fn appender(name: &str) -> Create {
    sync(name).access(APPEND_DATA | SYNCHRONIZE)
}

/// A synchronous handle past the cache.
#[must_use]
pub fn noncached(name: &str) -> Create {
    sync(name).with(NONCACHED)
}

/// The current end of the file.
pub const END: Option<i64> = Some(-1);
/// The position, said as a number.
pub const POINTER: Option<i64> = Some(-2);
/// The position, said by no offset at all.
pub const NULL: Option<i64> = None;

/// An explicit offset.
#[must_use]
pub const fn at(offset: i64) -> Option<i64> {
    Some(offset)
}

fn wrong<T>(step: impl Into<String>, expected: &impl Debug, seen: &impl Debug) -> Express<T> {
    let text = |value: &dyn Debug| {
        let text = format!("{value:?}");
        if text.len() > 200 {
            format!("{}... ({} characters)", text.get(..200).unwrap_or(""), text.len())
        } else {
            text
        }
    };
    Err(Stop::Wrong { step: step.into(), expected: text(expected), seen: text(seen) })
}

/// Does what a door showed agree with an NTSTATUS? Through the POSIX door by the table between the two.
fn agrees(seen: Word, expected: NtStatus, context: ntio_fuse::errno::Context) -> bool {
    match seen {
        Word::Status(status) => status == expected,
        Word::Errno(0) => expected == NtStatus::SUCCESS,
        Word::Errno(number) => expected.is_error() && ntio_fuse::errno::code(expected, context) == number,
    }
}

fn same(seen: Done, expected: Done) -> bool {
    let Word::Status(status) = expected.returned else { return seen == expected };
    let block = match (seen.block, expected.block) {
        (Block::Unseen, _) => true,
        (Block::Count(count), Block::Is(_, information)) => status.is_error() || count == information,
        (Block::Count(_), Block::Untouched) => status.is_error(),
        (seen, expected) => seen == expected,
    };
    block && agrees(seen.returned, status, ntio_fuse::errno::Context::Data)
}

impl<'a> Run<'a> {
    /// Starts a case in a folder of its own.
    pub fn new(door: &'a dyn Door, house: Option<&'a House>, folder: &str, hosted: bool) -> Self {
        Self { hosted, door, house, folder: folder.to_owned(), open: RefCell::default(), small: RefCell::default() }
    }

    /// Closes what the case left open, and gives the small volume its space back.
    pub fn end(&self) {
        for file in self.open.take() {
            let _closed = self.door.close(file);
        }
        for name in self.small.take() {
            if let Ok((_, _, Some(file))) = self.door.create(&Create { name, disposition: 1, ..sync("") }) {
                let _cut = self.door.set(file, class::END_OF_FILE, &[0; 8]);
                let _closed = self.door.close(file);
            }
        }
    }

    fn placed(&self, create: Create) -> Create {
        let name = match create.name.strip_prefix("D:\\") {
            Some(rest) => {
                let name = format!("D:\\{}-{rest}", self.folder);
                self.small.borrow_mut().push(name.clone());
                name
            }
            None => format!("C:\\{}-{}", self.folder, create.name),
        };
        Create { name, ..create }
    }

    /// Goes on only through a door that takes nothing of its caller on trust.
    pub fn as_user(&self) -> Outcome {
        if self.door.checks_its_caller() { Ok(()) } else { not_expressible("Zw names vouch for their caller") }
    }

    /// Goes on only where fast I/O is to be had.
    pub fn with_fast_io(&self) -> Outcome {
        match self.house {
            Some(house) if house.refuses_fast_io() => not_expressible("a filter refuses fast I/O in this run"),
            _ => Ok(()),
        }
    }

    /// Goes on only on a volume that allocates what a file's length covers.
    pub fn with_own_files(&self) -> Outcome {
        if self.hosted { not_expressible("a file of the host may be sparse") } else { Ok(()) }
    }

    /// Goes on only through a door that has events: for cases that are about nothing else.
    pub fn with_events(&self) -> Outcome {
        if self.door.has_events() { Ok(()) } else { not_expressible("no events") }
    }

    /// Goes on only through a door that shows statuses and status blocks as they are: for cases about the form of an answer.
    pub fn as_nt(&self) -> Outcome {
        if self.door.has_events() {
            Ok(())
        } else {
            not_expressible("an errno has not the form that the rule is about")
        }
    }

    /// Goes on only where names are looked up without their case.
    pub fn with_windows_names(&self) -> Outcome {
        if self.door.has_events() { Ok(()) } else { not_expressible("the POSIX door is case-sensitive") }
    }

    /// Compares two values.
    pub fn equal<T: PartialEq + Debug>(&self, step: &str, seen: T, expected: T) -> Outcome {
        if seen == expected { Ok(()) } else { wrong(step, &expected, &seen) }
    }

    /// Opens or creates; it must succeed.
    pub fn open(&self, create: Create) -> Express<Handle> {
        let create = self.placed(create);
        let (word, _, handle) = self.door.create(&create)?;
        match handle {
            Some(handle) => {
                self.open.borrow_mut().push(handle);
                Ok(handle)
            }
            None => wrong(format!("create {}", create.name), &NtStatus::SUCCESS, &word),
        }
    }

    /// Opens or creates with this Information.
    pub fn opens(&self, create: Create, information: u64) -> Express<Handle> {
        let create = self.placed(create);
        let (word, seen, handle) = self.door.create(&create)?;
        let Some(handle) = handle else { return wrong(format!("create {create:?}"), &NtStatus::SUCCESS, &word) };
        self.open.borrow_mut().push(handle);
        match seen {
            Some(seen) if seen != information => wrong(format!("create {create:?}"), &information, &seen),
            _ => Ok(handle),
        }
    }

    /// A create that fails with this status.
    pub fn refuses(&self, create: Create, status: NtStatus) -> Outcome {
        let create = self.placed(create);
        let (word, _, handle) = self.door.create(&create)?;
        if let Some(handle) = handle {
            self.open.borrow_mut().push(handle);
        }
        if agrees(word, status, ntio_fuse::errno::Context::Path) {
            return Ok(());
        }
        wrong(format!("create {create:?}"), &status, &word)
    }

    /// Closes a file or an event.
    pub fn close(&self, handle: Handle) -> Outcome {
        self.open.borrow_mut().retain(|open| *open != handle);
        let word = self.door.close(handle)?;
        if agrees(word, NtStatus::SUCCESS, ntio_fuse::errno::Context::Data) {
            return Ok(());
        }
        wrong("close", &NtStatus::SUCCESS, &word)
    }

    /// A handle's second close.
    pub fn is_closed(&self, handle: Handle) -> Outcome {
        let word = self.door.close(handle)?;
        if word == Word::Status(NtStatus::INVALID_HANDLE) {
            return Ok(());
        }
        wrong("close", &NtStatus::INVALID_HANDLE, &word)
    }

    /// Any call of the two services; returns what it did.
    pub fn call(&self, transfer: &Transfer) -> Express<Done> {
        self.door.transfer(transfer).map(|(done, _)| done)
    }

    /// Any call of the two services, with what it must do; returns the bytes that a read brought.
    pub fn transfer(&self, transfer: Transfer, expected: Done) -> Express<Vec<u8>> {
        let mut bytes = self.whole_buffer(transfer, expected)?;
        if let Block::Is(_, count) = expected.block {
            bytes.truncate(count as usize);
        }
        Ok(bytes)
    }

    /// The same; returns all of the buffer as the call left it.
    pub fn whole_buffer(&self, transfer: Transfer, expected: Done) -> Express<Vec<u8>> {
        let (done, bytes) = self.door.transfer(&transfer)?;
        if same(done, expected) {
            return Ok(bytes);
        }
        let Transfer { direction, offset, data, .. } = transfer;
        wrong(format!("{direction:?} of {} at {offset:?}", data.len()), &expected, &done)
    }

    /// NtWriteFile.
    pub fn write(&self, file: Handle, offset: Option<i64>, data: &[u8], expected: Done) -> Outcome {
        self.transfer(Transfer::write(file, offset, data), expected).map(|_| ())
    }

    /// NtWriteFile that writes all of it.
    pub fn writes(&self, file: Handle, offset: Option<i64>, data: &[u8]) -> Outcome {
        self.write(file, offset, data, success(data.len() as u64))
    }

    /// NtReadFile that brings these bytes, which may be fewer than `length`.
    pub fn reads(&self, file: Handle, offset: Option<i64>, length: usize, bytes: &[u8]) -> Outcome {
        let seen = self.transfer(Transfer::read(file, offset, length), success(bytes.len() as u64))?;
        if seen == bytes { Ok(()) } else { wrong(format!("read of {length} at {offset:?}"), &bytes, &seen) }
    }

    /// NtReadFile that fails, or ends in some other way, and brings nothing.
    pub fn read(&self, file: Handle, offset: Option<i64>, length: usize, expected: Done) -> Outcome {
        self.transfer(Transfer::read(file, offset, length), expected).map(|_| ())
    }

    /// A call that is refused, with all that the ledger's shorthand says of it (nt-io.md, 1.2).
    pub fn leaves(&self, state: State, transfer: Transfer, status: NtStatus) -> Outcome {
        let file = transfer.file;
        let known = self.open.borrow().contains(&file);
        let before = if known { Some(self.sizes(file)?) } else { None };
        let event = if self.door.has_events() { Some(self.event(true)?) } else { None };
        let transfer = Transfer { event: transfer.event.or(event), ..transfer };
        let label = format!("{:?} of {} at {:?}", transfer.direction, transfer.data.len(), transfer.offset);
        let signalled = known && self.door.has_events() && self.is_signalled(file).unwrap_or(false);
        let asked = self.house.map(House::transfers);
        self.transfer(transfer, refused(status))?;
        if state != State::E2 {
            self.equal(&format!("requests that a driver saw after {label}"), self.house.map(House::transfers), asked)?;
        }
        if let Some(event) = event {
            self.equal(&format!("the event after {label}"), self.is_signalled(event)?, state == State::E0)?;
            if signalled {
                self.equal(&format!("the file's event after {label}"), self.is_signalled(file)?, state != State::E2)?;
            }
            self.close(event)?;
        }
        match before {
            Some(before) => self.equal(&format!("position and end after {label}"), self.sizes(file)?, before),
            None => Ok(()),
        }
    }

    /// The position, where the door shows it, and the end.
    fn sizes(&self, file: Handle) -> Express<(Option<i64>, i64)> {
        let position = match self.door.query(file, class::POSITION, 8) {
            Ok((_, bytes)) => bytes.first_chunk().map(|word| i64::from_le_bytes(*word)),
            Err(Stop::NotExpressible(_)) => None,
            Err(stop) => return Err(stop),
        };
        Ok((position, self.end_of(file)?))
    }

    fn number(&self, file: Handle, class: u32, length: usize, at: usize) -> Express<i64> {
        let (done, bytes) = self.door.query(file, class, length)?;
        match bytes.get(at..at + 8).and_then(|word| word.first_chunk()) {
            Some(word) => Ok(i64::from_le_bytes(*word)),
            None => wrong(format!("query of class {class}"), &success(length as u64), &done),
        }
    }

    /// The end of the file.
    pub fn end_of(&self, file: Handle) -> Express<i64> {
        self.number(file, class::STANDARD, 24, 8)
    }

    /// The allocation.
    pub fn allocation(&self, file: Handle) -> Express<i64> {
        self.number(file, class::STANDARD, 24, 0)
    }

    /// The end of the file is here.
    pub fn ends(&self, file: Handle, expected: i64) -> Outcome {
        self.equal("the end of the file", self.end_of(file)?, expected)
    }

    /// The position is here.
    pub fn stands(&self, file: Handle, expected: i64) -> Outcome {
        self.equal("the position", self.number(file, class::POSITION, 8, 0)?, expected)
    }

    /// Moves the position.
    pub fn seek(&self, file: Handle, to: i64) -> Outcome {
        self.sets(file, class::POSITION, &to.to_le_bytes(), success(0))
    }

    /// Moves the end.
    pub fn set_end(&self, file: Handle, to: i64) -> Outcome {
        self.sets(file, class::END_OF_FILE, &to.to_le_bytes(), success(0))
    }

    /// NtSetInformationFile.
    pub fn sets(&self, file: Handle, class: u32, data: &[u8], expected: Done) -> Outcome {
        let done = self.door.set(file, class, data)?;
        if same(done, expected) { Ok(()) } else { wrong(format!("set of class {class}"), &expected, &done) }
    }

    /// NtQueryInformationFile; returns the bytes.
    pub fn queries(&self, file: Handle, class: u32, length: usize, expected: Done) -> Express<Vec<u8>> {
        let (done, bytes) = self.door.query(file, class, length)?;
        if same(done, expected) { Ok(bytes) } else { wrong(format!("query of class {class}"), &expected, &done) }
    }

    /// The file holds these bytes and no more, as another handle reads it.
    pub fn holds(&self, name: &str, expected: &[u8]) -> Outcome {
        let file = self.open(sync(name).access(GENERIC_READ | SYNCHRONIZE).disposition(1))?;
        let length = usize::try_from(self.end_of(file)?).unwrap_or(0);
        let seen = if length == 0 {
            Vec::new()
        } else {
            self.transfer(Transfer::read(file, at(0), length), success(length as u64))?
        };
        self.close(file)?;
        if seen == expected {
            return Ok(());
        }
        if seen.len() < 64 && expected.len() < 64 {
            return wrong(
                format!("the bytes of {name}"),
                &expected.escape_ascii().to_string(),
                &seen.escape_ascii().to_string(),
            );
        }
        let differs = seen.iter().zip(expected).position(|(a, b)| a != b);
        wrong(
            format!("the bytes of {name}"),
            &expected.len(),
            &format!("{} bytes, first difference at {differs:?}", seen.len()),
        )
    }

    /// A notification event.
    pub fn event(&self, signalled: bool) -> Express<Handle> {
        self.event_with(0x001F_0003, true, signalled)
    }

    /// An event of some kind and access.
    pub fn event_with(&self, access: u32, notification: bool, signalled: bool) -> Express<Handle> {
        let event = self.door.event(access, notification, signalled)?;
        self.open.borrow_mut().push(event);
        Ok(event)
    }

    fn is_signalled(&self, handle: Handle) -> Express<bool> {
        Ok(self.door.wait(handle, 0)? == Word::Status(NtStatus::SUCCESS))
    }

    /// The event or file is signalled (it is given time), or is not.
    pub fn signalled(&self, handle: Handle, expected: bool) -> Outcome {
        let seen = self.door.wait(handle, if expected { 120_000 } else { 0 })?;
        let wanted = if expected { NtStatus::SUCCESS } else { NtStatus::TIMEOUT };
        if seen == Word::Status(wanted) { Ok(()) } else { wrong("a wait", &wanted, &seen) }
    }

    /// What a user's wait for a handle returns.
    pub fn waits_as_user(&self, handle: Handle, expected: NtStatus) -> Outcome {
        if !self.door.waits_as_user() {
            return not_expressible("the driver waits by ZwWaitForSingleObject");
        }
        let seen = self.door.wait(handle, 0)?;
        if seen == Word::Status(expected) { Ok(()) } else { wrong("a wait", &expected, &seen) }
    }

    /// A handle that stands for nothing, or for the process.
    pub fn odd_handle(&self, process: bool) -> Express<Handle> {
        self.door.odd_handle(process)
    }

    /// How many read and write requests were started so far, fast or as packets.
    ///
    /// # Errors
    /// The machine is another process's.
    pub fn transfers(&self) -> Express<u64> {
        self.house.map_or_else(|| not_expressible(ELSEWHERE), |house| Ok(house.transfers()))
    }

    /// Was the last write taken by fast I/O? How many were, so far.
    ///
    /// # Errors
    /// The machine is another process's.
    pub fn fast_transfers(&self) -> Express<u64> {
        self.house.map_or_else(|| not_expressible(ELSEWHERE), |house| Ok(house.fast_transfers()))
    }
}
