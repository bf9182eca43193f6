//! Whose an oplock and an operation are: file objects with one key are one owner.
//!
//! Room: ntos/fsrtl. Called by: `oplock`, file systems, `nt_fltmgr`. Calls: `nt_io::oplock_key`. Touches: file objects. IRQL:
//! <= APC_LEVEL. Locks: none. Source: "Oplock keys", FsRtlOplockKeysEqual page; rules NT-OPL-10, NT-OPL-14.

use nt_abi::GUID;
use nt_abi::io::{FILE_OBJECT, IO_STACK_LOCATION};
use nt_cell::Foreign;
use nt_io::irp::{self, Irp};
use nt_io::oplock_key;

pub use nt_io::oplock_key::adopt as adopt_key;

/// Who has an oplock or operates on a stream. The default is nobody, who is one with nobody.
#[derive(Clone, Copy, Default, Debug)]
pub struct Owner {
    /// The address of the file object; 0 where the stream is not the file object's.
    pub(super) file: u64,
    key: Option<GUID>,
}

impl Owner {
    /// Through a file object of the stream.
    #[must_use]
    pub fn of(file: Foreign<FILE_OBJECT>) -> Self {
        Self { file: file.addr(), key: oplock_key::of(file).target }
    }

    /// Through a file object of something in the directory whose oplock it is (OPLOCK_FLAG_PARENT_OBJECT).
    #[must_use]
    pub fn of_child(file: Foreign<FILE_OBJECT>) -> Self {
        Self { file: 0, key: oplock_key::of(file).parent }
    }

    pub(super) fn of_packet(packet: Irp) -> Self {
        irp::current(packet).ptr(IO_STACK_LOCATION::FileObject).map_or(Self::default(), Self::of)
    }

    pub(super) fn is_one_with(&self, other: &Self) -> bool {
        (self.file != 0 && self.file == other.file) || (self.key.is_some() && self.key == other.key)
    }
}

/// FsRtlOplockKeysEqual: one file object, or two with one key.
#[must_use]
pub fn are_keys_equal(left: Option<Foreign<FILE_OBJECT>>, right: Option<Foreign<FILE_OBJECT>>) -> bool {
    left.zip(right).is_some_and(|(left, right)| Owner::of(left).is_one_with(&Owner::of(right)))
}
