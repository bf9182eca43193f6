//! What a case may ask of a door, and what a door answers.
//!
//! Room: tests/conformance. Implemented by: `doors`. Calls: nothing. A door never judges: it tells what it saw, or why it
//! cannot be asked.

use nt_machine::NtStatus;

/// FILE_READ_DATA.
pub const READ_DATA: u32 = 1;
/// FILE_WRITE_DATA.
pub const WRITE_DATA: u32 = 2;
/// FILE_APPEND_DATA.
pub const APPEND_DATA: u32 = 4;
/// SYNCHRONIZE.
pub const SYNCHRONIZE: u32 = 0x10_0000;
/// GENERIC_READ.
pub const GENERIC_READ: u32 = 0x8000_0000;
/// GENERIC_WRITE.
pub const GENERIC_WRITE: u32 = 0x4000_0000;
/// FILE_WRITE_THROUGH.
pub const WRITE_THROUGH: u32 = 0x02;
/// FILE_NO_INTERMEDIATE_BUFFERING.
pub const NONCACHED: u32 = 0x08;
/// FILE_SYNCHRONOUS_IO_NONALERT.
pub const SYNCHRONOUS: u32 = 0x20;
/// FILE_DIRECTORY_FILE.
pub const DIRECTORY: u32 = 0x01;

/// Why a case ends early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The door has no words for a step.
    NotExpressible(String),
    /// The door did something else.
    Wrong {
        /// Which step.
        step: String,
        /// What the case says.
        expected: String,
        /// What the door showed.
        seen: String,
    },
}

/// A door's answer, or why there is none.
pub type Express<T> = Result<T, Stop>;

/// Says that a door has no words for a step.
pub fn not_expressible<T>(why: &str) -> Express<T> {
    Err(Stop::NotExpressible(why.to_owned()))
}

/// What NtCreateFile is asked for.
#[derive(Clone, Debug)]
pub struct Create {
    /// The name, from the case's own folder of a volume.
    pub name: String,
    /// DesiredAccess.
    pub access: u32,
    /// ShareAccess.
    pub share: u32,
    /// CreateDisposition.
    pub disposition: u32,
    /// CreateOptions.
    pub options: u32,
    /// FileAttributes.
    pub attributes: u32,
    /// AllocationSize.
    pub allocation: i64,
}

impl Create {
    /// Changes the access.
    #[must_use]
    pub fn access(self, access: u32) -> Self {
        Self { access, ..self }
    }
    /// Changes the share access.
    #[must_use]
    pub fn share(self, share: u32) -> Self {
        Self { share, ..self }
    }
    /// Changes the disposition.
    #[must_use]
    pub fn disposition(self, disposition: u32) -> Self {
        Self { disposition, ..self }
    }
    /// Adds options.
    #[must_use]
    pub fn with(self, options: u32) -> Self {
        Self { options: self.options | options, ..self }
    }
    /// Changes all options.
    #[must_use]
    pub fn options(self, options: u32) -> Self {
        Self { options, ..self }
    }
    /// Changes the attributes of a new file.
    #[must_use]
    pub fn attributes(self, attributes: u32) -> Self {
        Self { attributes, ..self }
    }
}

/// An open file or an event, as its door names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(pub u64);

/// Which of the two services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// NtReadFile.
    Read,
    /// NtWriteFile.
    Write,
}

/// Where a block of memory of the caller lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In good memory.
    Good,
    /// At NULL.
    Null,
    /// Behind the end of user addresses.
    Kernel,
    /// One byte off its alignment.
    Misaligned,
    /// In a page that can be read only.
    ReadOnly,
    /// In a page that cannot be touched.
    NoAccess,
    /// Its first half in a good page, the second in one that cannot be touched.
    HalfThere,
}

/// One call of NtReadFile or NtWriteFile.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Which service.
    pub direction: Direction,
    /// FileHandle.
    pub file: Handle,
    /// Event.
    pub event: Option<Handle>,
    /// Where the status block lies.
    pub block: Place,
    /// The bytes of a write; their count is the Length of either.
    pub data: Vec<u8>,
    /// Where the buffer lies.
    pub buffer: Place,
    /// *ByteOffset.
    pub offset: Option<i64>,
    /// Where the offset lies.
    pub offset_at: Place,
    /// *Key.
    pub key: Option<u32>,
    /// Where the key lies.
    pub key_at: Place,
}

impl Transfer {
    /// A write of bytes.
    #[must_use]
    pub fn write(file: Handle, offset: Option<i64>, data: &[u8]) -> Self {
        Self {
            direction: Direction::Write,
            file,
            event: None,
            block: Place::Good,
            data: data.to_vec(),
            buffer: Place::Good,
            offset,
            offset_at: Place::Good,
            key: None,
            key_at: Place::Good,
        }
    }
    /// A read of a number of bytes.
    #[must_use]
    pub fn read(file: Handle, offset: Option<i64>, length: usize) -> Self {
        Self { direction: Direction::Read, ..Self::write(file, offset, &vec![0xEE; length]) }
    }
    /// Passes an event.
    #[must_use]
    pub fn event(self, event: Handle) -> Self {
        Self { event: Some(event), ..self }
    }
    /// Passes a key.
    #[must_use]
    pub fn key(self, key: u32) -> Self {
        Self { key: Some(key), ..self }
    }
    /// Puts the buffer elsewhere.
    #[must_use]
    pub fn buffer(self, buffer: Place) -> Self {
        Self { buffer, ..self }
    }
    /// Puts the status block elsewhere.
    #[must_use]
    pub fn block(self, block: Place) -> Self {
        Self { block, ..self }
    }
    /// Puts the offset elsewhere.
    #[must_use]
    pub fn offset_at(self, offset_at: Place) -> Self {
        Self { offset_at, ..self }
    }
    /// Puts the key elsewhere.
    #[must_use]
    pub fn key_at(self, key_at: Place) -> Self {
        Self { key_at, ..self }
    }
    /// Is any block anywhere but in good memory?
    #[must_use]
    pub fn odd_places(&self) -> bool {
        [self.block, self.buffer, self.offset_at, self.key_at].iter().any(|place| *place != Place::Good)
    }
}

/// What a call returned, in the door's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// An NTSTATUS.
    Status(NtStatus),
    /// An errno; 0 for success.
    Errno(i32),
}

/// What a call left in its status block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Its former bytes.
    Untouched,
    /// {Status, Information}.
    Is(NtStatus, u64),
    /// The door has no status block; this is the count that the call returned.
    Count(u64),
    /// The door shows nothing of it.
    Unseen,
}

/// What a call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// What it returned.
    pub returned: Word,
    /// What it left in the status block, once it had ended.
    pub block: Block,
}

impl Done {
    /// Did it return success?
    #[must_use]
    pub fn returned_well(&self) -> bool {
        matches!(self.returned, Word::Status(NtStatus::SUCCESS) | Word::Errno(0))
    }
}

/// Answered S(n) of the ledger: SUCCESS and {SUCCESS, n}.
#[must_use]
pub fn success(count: u64) -> Done {
    Done { returned: Word::Status(NtStatus::SUCCESS), block: Block::Is(NtStatus::SUCCESS, count) }
}

/// The call's value is an error, and the status block keeps its bytes.
#[must_use]
pub fn refused(status: NtStatus) -> Done {
    Done { returned: Word::Status(status), block: Block::Untouched }
}

/// P(st, n): PENDING and, at the end, {st, n}.
#[must_use]
pub fn pended(status: NtStatus, count: u64) -> Done {
    Done { returned: Word::Status(NtStatus::PENDING), block: Block::Is(status, count) }
}

/// The call's value and the status block's both tell an error (fast I/O does so: NT-K-05).
#[must_use]
pub fn told(status: NtStatus) -> Done {
    Done { returned: Word::Status(status), block: Block::Is(status, 0) }
}

/// What a door is and can do.
pub trait Door {
    /// The column's name.
    fn name(&self) -> &'static str;
    /// Does it validate its callers (user mode)?
    fn checks_its_caller(&self) -> bool;
    /// Are its waits checked as a user's?
    fn waits_as_user(&self) -> bool {
        false
    }
    /// Has it events?
    fn has_events(&self) -> bool;
    /// NtCreateFile: what it returned, Information where the door shows it, the handle on success.
    fn create(&self, create: &Create) -> Express<(Word, Option<u64>, Option<Handle>)>;
    /// NtClose.
    fn close(&self, file: Handle) -> Express<Word>;
    /// NtReadFile or NtWriteFile, waited for; all of a read's buffer, as it was left.
    fn transfer(&self, transfer: &Transfer) -> Express<(Done, Vec<u8>)>;
    /// NtQueryInformationFile.
    fn query(&self, file: Handle, class: u32, length: usize) -> Express<(Done, Vec<u8>)>;
    /// NtSetInformationFile.
    fn set(&self, file: Handle, class: u32, data: &[u8]) -> Express<Done>;
    /// Makes an event with this access: notification or synchronization, signalled or not.
    fn event(&self, access: u32, notification: bool, signalled: bool) -> Express<Handle>;
    /// Waits for a handle: true when it was signalled within this many milliseconds.
    fn wait(&self, handle: Handle, milliseconds: u32) -> Express<Word>;
    /// A handle value that stands for nothing (`None`) or for the current process.
    fn odd_handle(&self, process: bool) -> Express<Handle>;
}
