//! The kinds of oplocks, the operations that meet them, and what becomes of each kind then.
//!
//! Room: ntos/fsrtl. Called by: `oplock`. IRQL: any. Locks: none. Touches: nothing; the packet of an operation is read.
//! Source: the pages on granting oplocks and on checking the oplock state of IRP_MJ_CREATE, READ, WRITE, LOCK_CONTROL,
//! SET_INFORMATION and FILE_SYSTEM_CONTROL; [MS-FSA] 2.1.4.12; rules NT-OPL-08 to NT-OPL-12.

use nt_abi::io::*;
use nt_abi::{Field, Ptr};
use nt_cell::{Foreign, Region};
use nt_io::info::class;
use nt_io::irp::{self, Irp};

const READ_CONTROL: u32 = 0x2_0000;
const SYNCHRONIZE: u32 = 0x10_0000;

/// What an oplock lets its holder do without asking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Level 1: read and write.
    One,
    /// Level 2: read, with others.
    Two,
    /// Batch: read and write, and keep the handle open.
    Batch,
    /// Filter: get out of the way of writers.
    Filter,
    /// A sum of [`OPLOCK_LEVEL_CACHE_READ`], HANDLE and WRITE.
    Cache(u32),
}

/// The flags of REQUEST_OPLOCK_INPUT_BUFFER.RequestedOplockLevel.
pub const OPLOCK_LEVEL_CACHE_READ: u32 = 1;
/// See [`OPLOCK_LEVEL_CACHE_READ`].
pub const OPLOCK_LEVEL_CACHE_HANDLE: u32 = 2;
/// See [`OPLOCK_LEVEL_CACHE_READ`].
pub const OPLOCK_LEVEL_CACHE_WRITE: u32 = 4;

impl Kind {
    /// The caching kind of these flags; `None` for a sum that is no kind.
    pub(super) fn caching(level: u32) -> Option<Self> {
        matches!(level, 1 | 3 | 5 | 7).then_some(Self::Cache(level))
    }

    pub(super) const fn level(self) -> u32 {
        match self {
            Self::Cache(level) => level,
            _ => 0,
        }
    }

    const fn has(self, level: u32) -> bool {
        self.level() & level != 0
    }

    /// Nobody else can hold one beside it.
    pub(super) const fn is_exclusive(self) -> bool {
        matches!(self, Self::One | Self::Batch | Self::Filter) || self.has(OPLOCK_LEVEL_CACHE_WRITE)
    }

    /// Its break is to be acknowledged (NT-OPL-09).
    pub(super) const fn is_acknowledged(self) -> bool {
        self.is_exclusive() || self.keeps_handles()
    }

    /// Directories have it: read and read-handle.
    #[must_use]
    pub const fn is_for_directories(self) -> bool {
        matches!(self, Self::Cache(OPLOCK_LEVEL_CACHE_READ | 3))
    }

    /// It caches handles, in the sense of CACHE_HANDLE_LEVEL.
    pub(super) const fn keeps_handles(self) -> bool {
        self.has(OPLOCK_LEVEL_CACHE_HANDLE)
    }

    pub(super) const fn is_batch(self) -> bool {
        matches!(self, Self::Batch | Self::Filter)
    }

    fn without(self, level: u32) -> Option<Self> {
        Self::caching(self.level() & !level)
    }

    /// What two breaks leave together.
    pub(super) fn both(left: Option<Self>, right: Option<Self>) -> Option<Self> {
        match (left?, right?) {
            (Self::Cache(left), Self::Cache(right)) => Self::caching(left & right),
            (left, right) => (left == right).then_some(left),
        }
    }
}

/// How an existing stream is opened.
#[derive(Clone, Copy, Default, Debug)]
pub struct Opening {
    /// DesiredAccess.
    pub access: u32,
    /// ShareAccess.
    pub share: u32,
    /// FILE_SUPERSEDE, FILE_OVERWRITE, FILE_OVERWRITE_IF.
    pub replaces: bool,
    /// FILE_RESERVE_OPFILTER.
    pub reserves: bool,
}

impl Opening {
    /// It touches attributes only: no oplock minds it.
    const fn is_quiet(self) -> bool {
        const ATTRIBUTES: u32 = FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES | SYNCHRONIZE;
        self.access & !ATTRIBUTES == 0 && !self.reserves && !self.replaces
    }

    /// It may write, or keeps readers out: what the holder of a filter oplock has to know.
    const fn disturbs_readers(self) -> bool {
        const READERS: u32 = FILE_READ_ATTRIBUTES
            | FILE_WRITE_ATTRIBUTES
            | FILE_READ_DATA
            | FILE_READ_EA
            | FILE_EXECUTE
            | SYNCHRONIZE
            | READ_CONTROL;
        self.access & !READERS != 0 || self.share & FILE_SHARE_READ == 0 || self.reserves || self.replaces
    }
}

/// An operation on a stream, as oplocks see it.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    /// IRP_MJ_CREATE of a stream that is there.
    Open(Opening),
    /// IRP_MJ_READ.
    Read,
    /// IRP_MJ_WRITE, a size that is set, zeroed data.
    Write,
    /// IRP_MJ_LOCK_CONTROL.
    Lock,
    /// A name of the file changes or goes: rename, short name, a link that replaces it.
    Name,
    /// It is marked to be deleted.
    Delete,
    /// FsRtlOplockBreakH: an open that sharing forbids.
    Conflict,
    /// FsRtlOplockBreakToNone.
    Everything,
    /// A name in the directory came, went or changed.
    Children,
}

/// What an operation does to an oplock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Break {
    /// What the holder keeps.
    pub(super) to: Option<Kind>,
    /// The operation waits for the acknowledgement.
    pub(super) wait: bool,
}

impl Break {
    const fn to_none(wait: bool) -> Option<Self> {
        Some(Self { to: None, wait })
    }

    fn waiting(to: Option<Kind>) -> Option<Self> {
        Some(Self { to, wait: true })
    }
}

/// What `operation` does to an oplock of this kind; `own`: both belong to one owner.
pub(super) fn effect(kind: Kind, operation: &Operation, own: bool) -> Option<Break> {
    use Operation as O;
    // Level 2 has no owner: also what its holder writes ends it.
    let always = matches!((kind, operation), (Kind::Two, O::Write | O::Lock) | (_, O::Everything));
    if own && !always {
        return None;
    }
    match operation {
        O::Open(open) if open.is_quiet() => None,
        O::Open(open) if kind == Kind::Filter => open.disturbs_readers().then_some(Break { to: None, wait: true }),
        O::Open(open) if open.replaces || open.reserves => Break::to_none(kind.is_exclusive()),
        O::Open(_) | O::Read => match kind {
            Kind::One | Kind::Batch => Break::waiting(Some(Kind::Two)),
            Kind::Cache(_) if kind.is_exclusive() => Break::waiting(kind.without(OPLOCK_LEVEL_CACHE_WRITE)),
            _ => None,
        },
        O::Lock if kind == Kind::Filter => None,
        O::Write | O::Lock => Break::to_none(kind.is_exclusive()),
        O::Name if kind.is_batch() => Break::to_none(true),
        O::Name | O::Delete | O::Conflict if kind.keeps_handles() => {
            Break::waiting(kind.without(OPLOCK_LEVEL_CACHE_HANDLE))
        }
        O::Name | O::Delete | O::Conflict => None,
        O::Everything => Break::to_none(kind.is_acknowledged()),
        O::Children => Break::to_none(false),
    }
}

/// Whether an oplock of kind `wanted` can stand beside one that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Beside {
    /// It cannot.
    No,
    /// Both stand.
    Yes,
    /// The older one is broken to none.
    Broken,
    /// The older one goes over to the newer (OPLOCK_SWITCHED_TO_NEW_HANDLE).
    Switched,
}

/// The table of the page on granting oplocks.
pub(super) fn beside(wanted: Kind, there: Kind, own: bool) -> Beside {
    const READ: u32 = OPLOCK_LEVEL_CACHE_READ;
    match (wanted, there) {
        (Kind::One | Kind::Batch | Kind::Filter, Kind::Two) => Beside::Broken,
        (Kind::Two, Kind::Two | Kind::Cache(READ)) | (Kind::Cache(READ), Kind::Two) => Beside::Yes,
        (Kind::Cache(READ), Kind::Cache(3)) if own => Beside::No,
        (Kind::Cache(READ | 3), Kind::Cache(READ | 3)) => {
            if own {
                Beside::Switched
            } else {
                Beside::Yes
            }
        }
        // An oplock goes up, never down: each level that is there is part of the wanted one.
        (Kind::Cache(wanted), Kind::Cache(there))
            if own && wanted & OPLOCK_LEVEL_CACHE_WRITE != 0 && there & !wanted == 0 =>
        {
            Beside::Switched
        }
        _ => Beside::No,
    }
}

/// Where a request's parameters stand, as far as oplocks read them.
pub struct Parameters<T> {
    /// MajorFunction.
    pub major: Field<T, u8>,
    /// Create.SecurityContext.
    pub security: Field<T, Ptr<IO_SECURITY_CONTEXT>>,
    /// Create.ShareAccess.
    pub share: Field<T, u16>,
    /// Create.Options.
    pub options: Field<T, u32>,
    /// The class of a set request.
    pub class: Field<T, u32>,
    /// AdvanceOnly of a set request.
    pub advance: Field<T, u8>,
    /// FileSystemControl.FsControlCode.
    pub control: Field<T, u32>,
}

impl<T> Parameters<T> {
    /// What the request at `at` asks of the stream; `None` where no oplock minds. `input` is the buffer of a set request.
    pub fn operation(&self, at: Foreign<T>, irp_flags: u32, input: impl Fn(usize) -> Region) -> Option<Operation> {
        if irp_flags & IRP_PAGING_IO != 0 {
            return None;
        }
        match at.get(self.major) {
            IRP_MJ_CREATE => {
                let access = at.ptr(self.security).map_or(0, |context| context.get(IO_SECURITY_CONTEXT::DesiredAccess));
                Some(opening(access, u32::from(at.get(self.share)), at.get(self.options)))
            }
            IRP_MJ_READ => Some(Operation::Read),
            IRP_MJ_WRITE => Some(Operation::Write),
            IRP_MJ_LOCK_CONTROL => Some(Operation::Lock),
            IRP_MJ_SET_INFORMATION => setting(at.get(self.class), at.get(self.advance) != 0, input),
            IRP_MJ_FILE_SYSTEM_CONTROL => (at.get(self.control) == FSCTL_SET_ZERO_DATA).then_some(Operation::Write),
            _ => None,
        }
    }
}

const IN_STACK_LOCATION: Parameters<IO_STACK_LOCATION> = Parameters {
    major: IO_STACK_LOCATION::MajorFunction,
    security: IO_STACK_LOCATION::Create_SecurityContext,
    share: IO_STACK_LOCATION::Create_ShareAccess,
    options: IO_STACK_LOCATION::Create_Options,
    class: IO_STACK_LOCATION::SetFile_FileInformationClass,
    advance: IO_STACK_LOCATION::SetFile_AdvanceOnly,
    control: IO_STACK_LOCATION::FileSystemControl_FsControlCode,
};

/// What the packet asks of the stream; `None` where no oplock minds.
#[must_use]
pub fn operation_of(packet: Irp) -> Option<Operation> {
    let input = |length| packet.region_at(IRP::AssociatedIrp_SystemBuffer, length);
    IN_STACK_LOCATION.operation(irp::current(packet), packet.get(IRP::Flags), input)
}

/// The operation of a create with these parameters; the disposition is in the top byte of `options`.
#[must_use]
pub const fn opening(access: u32, share: u32, options: u32) -> Operation {
    let replaces = matches!(options >> 24, FILE_SUPERSEDE | FILE_OVERWRITE | FILE_OVERWRITE_IF);
    Operation::Open(Opening { access, share, replaces, reserves: options & FILE_RESERVE_OPFILTER != 0 })
}

/// The operation of IRP_MJ_SET_INFORMATION; the lazy writer's end of file (`advance`) was asked for by the write.
fn setting(class: u32, advance: bool, input: impl Fn(usize) -> Region) -> Option<Operation> {
    match class {
        class::END_OF_FILE if advance => None,
        class::END_OF_FILE | class::ALLOCATION | class::VALID_DATA_LENGTH => Some(Operation::Write),
        class::RENAME | class::RENAME_EX | class::LINK | class::LINK_EX | class::SHORT_NAME => Some(Operation::Name),
        class::DISPOSITION | class::DISPOSITION_EX => {
            (input(1).load::<u8>(0).ok()? & 1 != 0).then_some(Operation::Delete)
        }
        _ => None,
    }
}
