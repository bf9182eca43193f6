//! Object headers and counts.
//!
//! Room: ntos/ob. IRQL: <= DISPATCH_LEVEL. Locks: none. Source: ObReferenceObject, ObDereferenceObject pages.
//! The header lies right in front of the body; drivers see the body's address only.

use crate::types::ObjectType;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::Foreign;
use nt_ex::pool;

nt_abi::layout! {
    /// What precedes every object. Ours: drivers never look.
    pub struct OBJECT_HEADER: 0x40 {
        /// References, those of handles included.
        PointerCount @ 0x00: i64;
        /// Open handles.
        HandleCount @ 0x08: i64;
        /// The type number.
        Kind @ 0x10: u32;
        /// OBJ_PERMANENT and ours.
        Flags @ 0x14: u32;
        /// A key into the owner room's table of Rust state, 0 for none.
        Native @ 0x18: u64;
        /// The machine that made the object.
        Machine @ 0x20: u64;
        /// A mark that tells an object from other memory (KS-W-19 checks events by it).
        Mark @ 0x28: u64;
        /// Bytes of the body.
        BodySize @ 0x30: u64;
    }
}

const MARK: u64 = 0x4F42_4A45_4354_4E54;

/// A counted reference to an object body.
///
/// # Invariants
/// The header's PointerCount includes this reference, so the body stays.
pub struct ObjectRef<T> {
    body: Foreign<T>,
}

impl<T> std::fmt::Debug for ObjectRef<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.body.fmt(f)
    }
}

fn header_of<T>(body: Foreign<T>) -> Foreign<OBJECT_HEADER> {
    body.preceding::<OBJECT_HEADER>()
}

/// Makes an object: zeroed body of `size` bytes, one reference, no handle.
pub fn create<T>(kind: ObjectType, size: usize, machine: u64) -> NtResult<ObjectRef<T>> {
    let block = pool::allocate(OBJECT_HEADER::SIZE + size, kind.tag(), pool::PoolKind::NonPaged)
        .ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    let header = block.view::<OBJECT_HEADER>();
    header.set(OBJECT_HEADER::PointerCount, 1);
    header.set(OBJECT_HEADER::Kind, kind as u32);
    header.set(OBJECT_HEADER::Machine, machine);
    header.set(OBJECT_HEADER::Mark, MARK);
    header.set(OBJECT_HEADER::BodySize, size as u64);
    Ok(ObjectRef { body: header.following::<T>() })
}

pub(crate) fn at(address: u64) -> Foreign<Bytes> {
    Foreign::<Bytes>::of_table(address)
}

/// Returns the kind of the object whose body lies at `body`, or `None` if no object lies there.
///
/// The bytes in front of an address that a driver passed may be no header: they are read by a guarded copy.
#[must_use]
pub fn kind_of<T>(body: Foreign<T>) -> Option<ObjectType> {
    let header = header_of(body);
    (header.get(OBJECT_HEADER::Mark) == MARK).then(|| ObjectType::from_raw(header.get(OBJECT_HEADER::Kind)))?
}

/// Returns the number of references, for tests and leak reports.
#[must_use]
pub fn pointer_count<T>(body: Foreign<T>) -> i64 {
    header_of(body).get(OBJECT_HEADER::PointerCount)
}

/// Returns the number of handles.
#[must_use]
pub fn handle_count<T>(body: Foreign<T>) -> i64 {
    header_of(body).get(OBJECT_HEADER::HandleCount)
}

/// Returns the key of the owner room's Rust state.
#[must_use]
pub fn native_key<T>(body: Foreign<T>) -> u64 {
    header_of(body).get(OBJECT_HEADER::Native)
}

/// Stores the key of the owner room's Rust state.
pub fn set_native_key<T>(body: Foreign<T>, key: u64) {
    header_of(body).set(OBJECT_HEADER::Native, key);
}

/// ObReferenceObject on a body that the caller knows to be alive.
pub fn reference<T>(body: Foreign<T>) -> ObjectRef<T> {
    header_of(body).add64(OBJECT_HEADER::PointerCount, 1);
    ObjectRef { body }
}

/// ObDereferenceObject: runs the type's delete routine and frees the memory at the last one.
///
/// # Panics
/// On a count that was already 0: the object was freed (bug check REFERENCE_BY_POINTER).
pub fn dereference<T>(body: Foreign<T>) -> i64 {
    let header = header_of(body);
    let left = header.add64(OBJECT_HEADER::PointerCount, -1) - 1;
    if left == 0 {
        let kind = ObjectType::from_raw(header.get(OBJECT_HEADER::Kind));
        if let Some(delete) = kind.and_then(|kind| kind.routines().delete) {
            delete(body.view::<Bytes>());
        }
        header.set(OBJECT_HEADER::Mark, 0);
        pool::free(header);
    }
    assert!(
        left >= 0,
        "bug check 0x18 REFERENCE_BY_POINTER: object {:#x} was dereferenced once too often",
        body.addr()
    );
    left
}

pub(crate) fn add_handle<T>(body: Foreign<T>) {
    header_of(body).add64(OBJECT_HEADER::HandleCount, 1);
}

pub(crate) fn remove_handle<T>(body: Foreign<T>) -> i64 {
    header_of(body).add64(OBJECT_HEADER::HandleCount, -1) - 1
}

impl<T> ObjectRef<T> {
    /// Returns the body.
    #[inline]
    #[must_use]
    pub fn body(&self) -> Foreign<T> {
        self.body
    }

    /// Gives the reference away: somebody else will call [`dereference`].
    #[must_use]
    pub fn into_raw(self) -> Foreign<T> {
        let body = self.body;
        std::mem::forget(self);
        body
    }

    /// Takes over a reference that was given away with [`ObjectRef::into_raw`].
    #[must_use]
    pub fn adopt(body: Foreign<T>) -> Self {
        Self { body }
    }

    /// Sees the body as another type of the same object.
    #[must_use]
    pub fn retype<U>(self) -> ObjectRef<U> {
        ObjectRef { body: self.into_raw().view() }
    }
}

impl<T> Clone for ObjectRef<T> {
    fn clone(&self) -> Self {
        reference(self.body)
    }
}

impl<T> Drop for ObjectRef<T> {
    fn drop(&mut self) {
        dereference(self.body);
    }
}

impl<T> std::ops::Deref for ObjectRef<T> {
    type Target = Foreign<T>;
    fn deref(&self) -> &Foreign<T> {
        &self.body
    }
}
