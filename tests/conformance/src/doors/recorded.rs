//! A door that remembers what it showed, so that one column can be held against another, field by field.
//!
//! Room: tests/conformance. Called by: `table`. Calls: the door that it stands before. What differs by its nature is left out: the
//! values of handles, times and file numbers, waits that only gave a request its time, and the event inside a file object,
//! which fast I/O leaves as it is (NT-K-04).

use crate::door::*;
use nt_io::info::class;
use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What one step showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The step: the service and its arguments.
    pub step: String,
    /// What the call returned.
    pub returned: Word,
    /// What it left in its status block, where it has one.
    pub block: Option<Block>,
    /// Information of a create; a digest of the bytes that a read or a query brought.
    pub brought: Option<u64>,
}

impl Shown {
    /// Is it the same as the packet's path showed? NT-K-05: an error of a fast I/O routine is told by the status block
    /// too, one of a packet that was refused in the call is not.
    #[must_use]
    pub fn agrees(&self, other: &Self) -> bool {
        let refusal = |shown: &Self| match (shown.returned, shown.block) {
            (Word::Status(status), Some(Block::Untouched)) if status.is_error() => Some(status),
            (Word::Status(status), Some(Block::Is(same, 0))) if status.is_error() && status == same => Some(status),
            _ => None,
        };
        if refusal(self).is_some() && refusal(self) == refusal(other) {
            return self.step == other.step;
        }
        self == other
    }
}

/// The door and its memory.
pub struct Recorded<'a> {
    door: &'a dyn Door,
    shown: RefCell<Vec<Shown>>,
    events: RefCell<Vec<Handle>>,
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Clears what no two runs share: times, the file's number, the allocation.
fn timeless(class: u32, mut bytes: Vec<u8>) -> Vec<u8> {
    let own = match class {
        class::BASIC | class::NETWORK_OPEN => 0..32,
        // How much is allocated is the volume's own (NT-S-06 has a case).
        class::INTERNAL | class::STANDARD => 0..8,
        class::ALL => 0..bytes.len(),
        _ => 0..0,
    };
    let end = own.end.min(bytes.len());
    if let Some(own) = bytes.get_mut(own.start..end) {
        own.fill(0);
    }
    bytes
}

impl<'a> Recorded<'a> {
    /// Stands before a door.
    #[must_use]
    pub fn new(door: &'a dyn Door) -> Self {
        Self { door, shown: RefCell::default(), events: RefCell::default() }
    }

    /// Returns what was shown since the last time.
    pub fn take(&self) -> Vec<Shown> {
        self.shown.take()
    }

    fn note(&self, step: String, returned: Word, block: Option<Block>, brought: Option<u64>) {
        self.shown.borrow_mut().push(Shown { step, returned, block, brought });
    }
}

impl Door for Recorded<'_> {
    fn name(&self) -> &'static str {
        self.door.name()
    }
    fn checks_its_caller(&self) -> bool {
        self.door.checks_its_caller()
    }
    fn waits_as_user(&self) -> bool {
        self.door.waits_as_user()
    }
    fn has_events(&self) -> bool {
        self.door.has_events()
    }

    fn create(&self, create: &Create) -> Express<(Word, Option<u64>, Option<Handle>)> {
        let (word, information, handle) = self.door.create(create)?;
        self.note(format!("{create:?}"), word, None, information);
        Ok((word, information, handle))
    }

    fn close(&self, file: Handle) -> Express<Word> {
        let word = self.door.close(file)?;
        self.events.borrow_mut().retain(|event| *event != file);
        self.note("close".to_owned(), word, None, None);
        Ok(word)
    }

    fn transfer(&self, transfer: &Transfer) -> Express<(Done, Vec<u8>)> {
        let (done, bytes) = self.door.transfer(transfer)?;
        let Transfer { direction, offset, data, block, buffer, offset_at, key, key_at, .. } = transfer;
        let length = data.len();
        let step = format!(
            "{direction:?} of {length} at {offset:?} ({offset_at:?}), key {key:?} ({key_at:?}), buffer {buffer:?}, block {block:?}"
        );
        let brought = matches!(direction, Direction::Read).then(|| digest(&bytes));
        self.note(step, done.returned, Some(done.block), brought);
        Ok((done, bytes))
    }

    fn query(&self, file: Handle, class: u32, length: usize) -> Express<(Done, Vec<u8>)> {
        let (done, bytes) = self.door.query(file, class, length)?;
        let brought = Some(digest(&timeless(class, bytes.clone())));
        self.note(format!("query of class {class}, {length} bytes"), done.returned, Some(done.block), brought);
        Ok((done, bytes))
    }

    fn set(&self, file: Handle, class: u32, data: &[u8]) -> Express<Done> {
        let done = self.door.set(file, class, data)?;
        self.note(format!("set of class {class} to {data:?}"), done.returned, Some(done.block), None);
        Ok(done)
    }

    fn event(&self, access: u32, notification: bool, signalled: bool) -> Express<Handle> {
        let event = self.door.event(access, notification, signalled)?;
        self.events.borrow_mut().push(event);
        Ok(event)
    }

    fn wait(&self, handle: Handle, milliseconds: u32) -> Express<Word> {
        let word = self.door.wait(handle, milliseconds)?;
        if milliseconds == 0 && self.events.borrow().contains(&handle) {
            self.note("look at an event".to_owned(), word, None, None);
        }
        Ok(word)
    }

    fn odd_handle(&self, process: bool) -> Express<Handle> {
        self.door.odd_handle(process)
    }
}
