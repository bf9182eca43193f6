//! Object types: a number for us, an opaque OBJECT_TYPE block for drivers (`*IoFileObjectType`).
//!
//! Room: ntos/ob. IRQL: any. Locks: none. Source: ObReferenceObjectByHandle page; wdm.h type exports.

use crate::access::GenericMapping;
use crate::handle::Left;
use nt_abi::Bytes;
use nt_cell::Foreign;
use nt_ex::pool;
use std::sync::OnceLock;

/// The kinds of objects that have handles or counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum ObjectType {
    /// A file object.
    File = 1,
    /// A KEVENT.
    Event,
    /// A device object.
    Device,
    /// A driver object.
    Driver,
    /// A process.
    Process,
    /// A thread.
    Thread,
    /// A completion port.
    IoCompletion,
    /// A semaphore.
    Semaphore,
    /// A mutant.
    Mutant,
    /// A registry key.
    Key,
    /// A section.
    Section,
    /// A filter, volume or instance of the Filter Manager.
    Filter,
    /// A communication port of the Filter Manager.
    FilterPort,
    /// A token.
    Token,
    /// A symbolic link of the namespace, opened.
    SymbolicLink,
}

/// One more than the largest type number.
pub const TYPES: usize = 16;

impl ObjectType {
    /// Sorts a header's type number.
    #[must_use]
    pub const fn from_raw(raw: u32) -> Option<Self> {
        Some(match raw {
            1 => Self::File,
            2 => Self::Event,
            3 => Self::Device,
            4 => Self::Driver,
            5 => Self::Process,
            6 => Self::Thread,
            7 => Self::IoCompletion,
            8 => Self::Semaphore,
            9 => Self::Mutant,
            10 => Self::Key,
            11 => Self::Section,
            12 => Self::Filter,
            13 => Self::FilterPort,
            14 => Self::Token,
            15 => Self::SymbolicLink,
            _ => return None,
        })
    }

    /// Returns the pool tag of the type's objects, as Windows' own leak reports spell them.
    #[must_use]
    pub const fn tag(self) -> u32 {
        pool::tag(match self {
            Self::File => b"File",
            Self::Event => b"Even",
            Self::Device => b"Devi",
            Self::Driver => b"Driv",
            Self::Process => b"Proc",
            Self::Thread => b"Thre",
            Self::IoCompletion => b"IoCo",
            Self::Semaphore => b"Sema",
            Self::Mutant => b"Muta",
            Self::Key => b"Key ",
            Self::Section => b"Sect",
            Self::Filter => b"FltO",
            Self::FilterPort => b"FltP",
            Self::Token => b"Toke",
            Self::SymbolicLink => b"Symb",
        })
    }

    /// Returns the address of the type's OBJECT_TYPE block, as `*IoFileObjectType` holds it.
    ///
    /// # Panics
    /// If there is no memory for the block.
    #[must_use]
    pub fn block(self) -> Foreign<Bytes> {
        static BLOCKS: [OnceLock<Foreign<Bytes>>; TYPES] = [const { OnceLock::new() }; TYPES];
        *BLOCKS[self as usize].get_or_init(|| pool::allocate_permanent(0x100).expect("no pool for an object type"))
    }

    /// Finds the type whose block lies at `address`.
    #[must_use]
    pub fn from_block(address: u64) -> Option<Self> {
        (1..TYPES as u32).filter_map(Self::from_raw).find(|kind| kind.block().addr() == address)
    }

    /// Returns what the room that owns the type registered.
    #[must_use]
    pub fn routines(self) -> &'static Routines {
        const NONE: &Routines = &Routines { mapping: GenericMapping::NONE, close: None, delete: None, wait: None };
        REGISTERED[self as usize].get().unwrap_or(NONE)
    }
}

/// What the owner of a type supplies.
#[derive(Debug)]
pub struct Routines {
    /// What the generic access bits mean.
    pub mapping: GenericMapping,
    /// Called when a handle was closed: the object and the handles left (IRP_MJ_CLEANUP when there is none).
    pub close: Option<fn(Foreign<Bytes>, Left)>,
    /// Called when the last count went (IRP_MJ_CLOSE); the memory is freed after it.
    pub delete: Option<fn(Foreign<Bytes>)>,
    /// The dispatcher header that a wait on the object uses, as an offset from the body.
    pub wait: Option<u64>,
}

static REGISTERED: [OnceLock<Routines>; TYPES] = [const { OnceLock::new() }; TYPES];

/// Registers a type's routines; the first registration of a process stands.
pub fn register(kind: ObjectType, routines: Routines) {
    let _again = REGISTERED[kind as usize].set(routines);
}
