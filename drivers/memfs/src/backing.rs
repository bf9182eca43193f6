//! What a volume keeps its files in: the seam between the file system driver and where bytes and names lie.
//!
//! Room: drivers/memfs. Called by: every operation of the driver. Implemented by: `ram`, `dir`.
//! Locks: names change under the volume's tree lock; a node's data lock guards its [`Content`]. An object guards its own
//! metadata. A call may block on the host: the implementation goes through `nt_ke::host_call`.
//! Not here: sharing, access, delete pending, positions, the cache: these are the driver's and the same on each volume.

use crate::node::{Node, Units};
use crate::security::Security;
use crate::shorts::Pair;
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use std::sync::Arc;

/// An extended attribute: name, value, flags.
pub(crate) type Attribute = (Vec<u8>, Vec<u8>, u8);

/// Times and attributes, as FileBasicInformation has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) created: i64,
    pub(crate) accessed: i64,
    pub(crate) written: i64,
    pub(crate) changed: i64,
    pub(crate) attributes: u32,
    /// It keeps a security descriptor of its own.
    pub(crate) secured: bool,
}

/// What shall change; the rest stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Change {
    pub(crate) created: Option<i64>,
    pub(crate) accessed: Option<i64>,
    pub(crate) written: Option<i64>,
    pub(crate) changed: Option<i64>,
    pub(crate) attributes: Option<u32>,
}

/// The lengths of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) eof: u64,
    pub(crate) allocation: u64,
}

impl Sizes {
    /// Is less allocated than the file is long: has it holes?
    pub(crate) fn lack_room(self) -> bool {
        self.allocation < self.eof
    }
}

/// What a directory tells of a name without opening it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) meta: Meta,
    pub(crate) sizes: Sizes,
    /// EaSize, or the tag of a reparse point (NT-DIR-31).
    pub(crate) ea_size: u32,
}

/// A file or directory to be made.
pub(crate) struct New {
    pub(crate) directory: bool,
    pub(crate) attributes: u32,
    pub(crate) eas: Vec<Attribute>,
    pub(crate) security: Security,
}

/// Room on a volume, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    pub(crate) total: u64,
    /// What is free.
    pub(crate) free: u64,
    /// What of it the caller may use.
    pub(crate) available: u64,
}

/// Where a volume lies.
pub(crate) trait Backing: Send + Sync {
    fn root(&self) -> Arc<Node>;
    fn space(&self) -> NtResult<Space>;
    /// Makes all of it durable.
    fn sync(&self) -> NtResult<()>;
    /// The object id that it got when it was formatted, where it has one.
    fn object_id(&self) -> Option<[u8; 16]> {
        None
    }
    /// Whether holes in files take no room here (NT-SPA-05).
    fn keeps_holes(&self) -> bool;
    /// Does nothing of it change, as long as it is mounted?
    fn is_read_only(&self) -> bool {
        false
    }
    /// The bytes of its sectors, where it has any.
    fn sectors(&self) -> Option<u64> {
        None
    }
}

/// A file or directory: identity, metadata, and for a directory its names.
pub(crate) trait Object: Send + Sync {
    /// For the backing to find its own type again.
    fn as_any(&self) -> &dyn std::any::Any;
    fn id(&self) -> u64;
    /// Do others see what is written: a cache of ours must not keep it back (house rule 9)?
    fn is_shared_with_the_host(&self) -> bool {
        false
    }
    fn links(&self) -> NtResult<u32>;
    /// An open asks for the data: makes sure that it will be there.
    fn open(&self, read: bool, write: bool) -> NtResult<()>;
    fn meta(&self) -> NtResult<Meta>;
    /// Sets times and attributes; whether it is sparse stays as it is (NT-SPA-04).
    fn change(&self, change: &Change) -> NtResult<()>;
    /// Sets or clears FILE_ATTRIBUTE_SPARSE_FILE.
    fn mark_sparse(&self, sparse: bool) -> NtResult<()>;
    /// The data changed through an open that now ends (NT-S-09); `late` when the cache has some of it yet.
    fn modified(&self, late: bool) -> NtResult<()>;
    fn eas(&self) -> NtResult<Vec<Attribute>>;
    /// Sets attributes, an empty value takes one away; `replace` drops those that are not named.
    fn set_eas(&self, list: Vec<Attribute>, replace: bool) -> NtResult<()>;
    /// Its security descriptor, where it keeps one of its own.
    fn security(&self) -> NtResult<Security>;
    fn set_security(&self, security: Security) -> NtResult<()>;
    fn reparse(&self) -> NtResult<Option<Vec<u8>>>;
    fn is_reparse_point(&self) -> bool;
    /// Makes the file, known as `node` and opened under `place`, a reparse point or an ordinary file.
    fn set_reparse(&self, node: &Arc<Node>, place: Option<&(Arc<Node>, Units)>, data: Option<Vec<u8>>) -> NtResult<()>;
    /// Does this directory mind case, whoever opens below it?
    fn minds_case(&self) -> NtResult<bool> {
        Ok(false)
    }
    fn set_minds_case(&self, _minds: bool) -> NtResult<()> {
        NtStatus::INVALID_PARAMETER.fail()
    }
    /// Makes data and metadata durable.
    fn sync(&self) -> NtResult<()>;
    fn directory(&self) -> Option<&dyn Directory>;
    /// Its named streams; what is a stream itself has none.
    fn streams(&self) -> Option<&dyn Streams>;
}

/// The named streams of a file or directory. Of one stream all callers get the same node as long as anybody has it open.
pub(crate) trait Streams {
    /// Every stream: its name as it was made, and its lengths.
    fn streams_listed(&self) -> NtResult<Vec<(Units, Sizes)>>;
    /// Those that have a node.
    fn streams_live(&self) -> Vec<Arc<Node>>;
    /// The stream of `file`, which this object is of, that has the name; `exact`: in this case.
    fn find_stream(&self, file: &Arc<Node>, name: &[u16], exact: bool) -> NtResult<Option<Arc<Node>>>;
    /// Makes an empty stream under a free name.
    fn make_stream(&self, file: &Arc<Node>, name: &[u16]) -> NtResult<Arc<Node>>;
    /// Takes a stream away: its opens keep its bytes.
    fn remove_stream(&self, stream: &Arc<Node>) -> NtResult<()>;
    /// Takes all away but these.
    fn remove_streams_but(&self, kept: &[Arc<Node>]) -> NtResult<()>;
    /// Gives the bytes of one stream of the file to another, which is empty.
    fn move_bytes(&self, from: &Node, to: &Node) -> NtResult<()>;
    /// Gives a stream a free name.
    fn rename_stream(&self, stream: &Arc<Node>, to: &[u16]) -> NtResult<()>;
}

/// The names in a directory. Of one file all callers get the same node as long as anybody holds it.
pub(crate) trait Directory: Send + Sync {
    /// Finds a child: by its exact name, else, when case does not count, by a name that differs in case only.
    fn child(&self, name: &[u16], exact: bool) -> NtResult<Option<(Units, Arc<Node>)>>;
    /// The short names that an earlier mount kept of names here: long and short; a later pair replaces an earlier one.
    fn kept_shorts(&self) -> NtResult<Vec<Pair>> {
        Ok(Vec::new())
    }
    /// Keeps short names for the next mount, besides those that are kept or, `anew`, in their place.
    fn keep_shorts(&self, _pairs: &[Pair], _anew: bool) -> NtResult<()> {
        Ok(())
    }
    /// All names, in no order.
    fn names(&self) -> NtResult<Vec<Units>>;
    /// Tells of a name; `None` when it is gone.
    fn entry(&self, name: &[u16]) -> NtResult<Option<Entry>>;
    fn is_empty(&self) -> NtResult<bool>;
    fn make(&self, name: &[u16], new: New) -> NtResult<Arc<Node>>;
    /// Whether names can be taken away here at all: a delete is promised before it is done.
    fn lets_go(&self) -> NtResult<()> {
        Ok(())
    }
    /// Takes a name away if it still leads to `node`; tells whether it did.
    fn remove(&self, name: &[u16], node: &Arc<Node>) -> NtResult<bool>;
    /// Gives `node` another name here, in the place of `replaced`.
    fn link(&self, name: &[u16], node: &Arc<Node>, replaced: Option<&Arc<Node>>) -> NtResult<()>;
    /// Moves `node` from `name` here to `new` in the directory `to`, in the place of `replaced`.
    fn rename(
        &self,
        name: &[u16],
        node: &Arc<Node>,
        to: &Arc<Node>,
        new: &[u16],
        replaced: Option<&Arc<Node>>,
    ) -> NtResult<()>;
}

/// The bytes of a file. The driver keeps the lengths and calls `&mut` members with the data lock held exclusively.
pub(crate) trait Content: Send + Sync {
    /// May `[start, start + length)`, inside the file, be written with the lock held shared?
    fn holds(&self, start: u64, length: usize) -> bool;
    /// Has a sparse stream room for `[start, end)`, which lies inside it, so that the cache may bring the bytes later?
    fn has_room(&self, start: u64, end: u64) -> NtResult<bool>;
    /// Makes memory for `[start, start + length)`.
    fn reserve(&mut self, start: u64, length: usize) -> NtResult<()>;
    /// Is there room for bytes that the cache will bring, `late` when nobody waits for them (NT-S-05)?
    fn promise(&mut self, _start: u64, _length: u64, _late: bool) -> NtResult<()> {
        Ok(())
    }
    /// Reads bytes inside the file and tells how many there were: fewer where somebody else cut it. Holes are zero.
    fn read(&self, start: u64, to: Region) -> NtResult<usize>;
    /// Writes bytes; the length follows.
    fn write(&self, start: u64, from: Region) -> NtResult<()>;
    /// Writes bytes of a change that was dated before (NT-S-09): the times stay as they are.
    fn write_late(&self, start: u64, from: Region) -> NtResult<()> {
        self.write(start, from)
    }
    /// Zeroes `[start, end)` where bytes are held.
    fn zero(&self, start: u64, end: u64) -> NtResult<()>;
    /// Sets the length: cuts, or adds zeroes.
    fn set_length(&mut self, end: u64) -> NtResult<()>;
    /// A write of `[start, end)` needs room: of a sparse stream for these bytes, of any other for all before them too. Tells
    /// what is allocated then; DISK_FULL, and nothing changed, when it does not fit (NT-S-05).
    fn room(&mut self, start: u64, end: u64) -> NtResult<u64>;
    /// Sets what is allocated for a stream of length `eof`, of a sparse one behind its end, and tells what that is;
    /// DISK_FULL when it does not fit.
    fn allocate(&mut self, allocation: u64, eof: u64) -> NtResult<u64>;
    /// Makes the stream sparse, or fills its holes, and tells what is allocated then; DISK_FULL, and nothing changed, when
    /// they do not fit (NT-SPA-02).
    fn set_sparse(&mut self, sparse: bool, eof: u64) -> NtResult<u64>;
    /// Zeroes `[start, end)` and keeps its room (NT-SPA-10).
    fn blank(&self, start: u64, end: u64) -> NtResult<()> {
        self.zero(start, end)
    }
    /// Zeroes `[start, end)` of a sparse stream of length `eof`, gives back the room of whole units (NT-SPA-11), and tells
    /// what is allocated then.
    fn punch(&mut self, start: u64, end: u64, eof: u64) -> NtResult<u64>;
    /// The first part of `[start, end)`, inside a sparse stream, that is allocated.
    fn allocated(&self, start: u64, end: u64) -> NtResult<Option<(u64, u64)>>;
    /// The lengths as they are outside, where others may change them.
    fn outside(&self) -> NtResult<Option<Sizes>>;
}
