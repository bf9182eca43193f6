//! Contexts: what a filter hangs on volumes, instances, files, streams and file objects.
//!
//! Room: drivers/fltmgr. Called by: `exports`, filters written in Rust. Calls: `nt_fsrtl::contexts` (streams and files).
//! Touches: the block in front of each context; the list in a stream's FCB header. IRQL: get, set, delete <= APC_LEVEL;
//! reference and release <= DISPATCH_LEVEL. Locks: a context's place, then one table; none while a routine runs.
//! Source: FltAllocateContext, FltSetStreamContext, FltDeleteContext pages; rules FLT-C-01 to FLT-C-18.

pub mod exports;
mod place;
mod registration;

pub(crate) use place::{Links, Table, drop_instance, drop_volume, stream_gone};
pub use place::{Object, delete_from, get, set, supports};
pub use registration::ContextSpec;
pub(crate) use registration::{Entry, check, read};

use crate::filter::Filter;
use nt_abi::flt::*;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Foreign, Slab, callout};
use nt_ex::pool::{self, PoolKind};
use nt_io::system::System;
use nt_ke::{Kernel, Mutex, irql};
use place::Place;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Weak};

nt_abi::layout! {
    /// What stands in front of a context.
    pub struct CTX: 0x20 {
        /// [`MARK`] as long as the context lives.
        Mark @ 0x00: u64;
        /// References.
        Count @ 0x08: i32;
        /// FLT_*_CONTEXT.
        Kind @ 0x0C: u32;
        /// The key of the [`Meta`].
        Key @ 0x10: u64;
        /// Bytes of the body.
        Size @ 0x18: u64;
    }
}
const MARK: u64 = 0x464C_545F_4354_5800;

/// A context as filters hold it: the address of its body.
pub type Context = Foreign<Bytes>;

/// What we know of a context.
pub(crate) struct Meta {
    filter: Weak<Filter>,
    kernel: Weak<Kernel>,
    name: String,
    entry: Entry,
    /// Where it is linked.
    place: Mutex<Option<Place>>,
}

static METAS: LazyLock<Slab<Arc<Meta>>> = LazyLock::new(Slab::new);

fn header(context: Context) -> Option<Foreign<CTX>> {
    let header = context.preceding::<CTX>();
    (header.get(CTX::Mark) == MARK).then_some(header)
}

pub(crate) fn meta(context: Context) -> Option<Arc<Meta>> {
    METAS.get(header(context)?.get(CTX::Key)).map(|entry| Arc::clone(&entry))
}

/// Returns FLT_*_CONTEXT; `None` for an address that is no living context.
#[must_use]
pub fn kind_of(context: Context) -> Option<u16> {
    Some(header(context)?.get(CTX::Kind) as u16)
}

/// Returns the number of references, 0 for a context that is gone.
#[must_use]
pub fn count(context: Context) -> i32 {
    header(context).map_or(0, |header| header.get(CTX::Count))
}

/// FltAllocateContext: one reference, linked nowhere (FLT-C-01 to FLT-C-04).
pub fn allocate(filter: &Arc<Filter>, kind: u16, size: usize, pool: PoolKind) -> NtResult<Context> {
    if size == 0 || !registration::is_kind(kind) {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if size > 0xFFFF {
        return NtStatus::INVALID_BUFFER_SIZE.fail();
    }
    if kind == FLT_VOLUME_CONTEXT && pool == PoolKind::Paged {
        return NtStatus::FLT_MUST_BE_NONPAGED_POOL.fail();
    }
    if filter.going.load(Ordering::Acquire) {
        return NtStatus::FLT_DELETING_OBJECT.fail();
    }
    let entry = registration::best(&filter.contexts, kind, size);
    let entry = entry.ok_or(NtStatus::FLT_CONTEXT_ALLOCATION_NOT_FOUND.error())?;
    let whole = CTX::SIZE + entry.size.unwrap_or(size).max(size);
    let block = match entry.allocate {
        Some(routine) => {
            let kind_of_pool = u64::from(pool == PoolKind::Paged);
            let made = callout::call(routine, &[kind_of_pool, whole as u64, u64::from(kind)]).unwrap_or(0);
            (made != 0).then(|| Foreign::<Bytes>::of_table(made))
        }
        None => pool::allocate(whole, entry.tag, pool),
    };
    let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    let meta = Arc::new(Meta {
        filter: Arc::downgrade(filter),
        kernel: filter.kernel.clone(),
        name: filter.name().to_owned(),
        entry,
        place: Mutex::new(None),
    });
    let header = block.view::<CTX>();
    header.set(CTX::Count, 1);
    header.set(CTX::Kind, u32::from(kind));
    header.set(CTX::Size, size as u64);
    header.set(CTX::Key, METAS.insert(meta));
    header.set(CTX::Mark, MARK);
    let body = header.following::<Bytes>();
    filter.live.lock().push((body, kind));
    Ok(body)
}

fn finding(meta: Option<&Meta>, text: &str) {
    let kernel =
        meta.and_then(|meta| meta.kernel.upgrade()).or_else(|| nt_ke::try_current().map(|f| Arc::clone(&f.kernel)));
    if let Some(kernel) = kernel {
        System::of(&kernel).finding("FLT-V-06", "violation", meta.map_or("", |meta| &meta.name), text);
    }
}

/// FltReferenceContext.
pub fn reference(context: Context) {
    match header(context) {
        Some(header) => {
            header.add32(CTX::Count, 1);
        }
        None => {
            finding(None, &format!("a reference to {:#x}, which is no context or one that is gone", context.addr()))
        }
    }
}

/// FltReleaseContext: the last reference runs the cleanup routine and frees, at PASSIVE_LEVEL (FLT-C-12).
pub fn release(context: Context) {
    let Some(header) = header(context) else {
        return finding(None, &format!("{:#x} was released, which is no context or one that is gone", context.addr()));
    };
    let left = header.add32(CTX::Count, -1) - 1;
    if left > 0 {
        return;
    }
    if left < 0 {
        header.add32(CTX::Count, 1);
        return finding(meta(context).as_deref(), "a context was released once too often");
    }
    let deferred = meta(context).and_then(|meta| meta.kernel.upgrade());
    match deferred {
        Some(kernel) if irql::current() >= irql::DISPATCH_LEVEL => {
            nt_ke::work::WorkQueue::queue(&kernel, move || free(context));
        }
        _ => free(context),
    }
}

fn free(context: Context) {
    let Some(header) = header(context) else { return };
    let (kind, key) = (header.get(CTX::Kind) as u16, header.get(CTX::Key));
    let Some(meta) = meta(context) else { return };
    if let Some(filter) = meta.filter.upgrade() {
        if let Some(native) = &filter.native {
            native.context_cleanup(context, kind);
        }
        filter.live.lock().retain(|(each, _)| *each != context);
    }
    if let Some(routine) = meta.entry.cleanup {
        let _raised = callout::call(routine, &[context.addr(), u64::from(kind)]);
    }
    header.set(CTX::Mark, 0);
    METAS.remove(key);
    match meta.entry.free {
        Some(routine) => {
            let _raised = callout::call(routine, &[header.addr(), u64::from(kind)]);
        }
        None => pool::free(header),
    }
}

/// FltDeleteContext: no get finds it any more; the caller's own reference stays (FLT-C-11).
pub fn delete(context: Context) {
    let Some(meta) = meta(context) else {
        return finding(None, &format!("{:#x} was deleted, which is no context or one that is gone", context.addr()));
    };
    if place::unlink(context, &meta) {
        release(context);
    }
}

/// What a filter left referenced when it was unregistered: told, cleaned up and freed (FLT-C-17).
pub(crate) fn force_out(filter: &Filter) {
    let leaked = filter.live.lock().clone();
    for (context, kind) in leaked {
        let Some(header) = header(context) else { continue };
        let count = header.get(CTX::Count);
        let text = format!(
            "a {} context of {} bytes still has {count} reference(s) at FltUnregisterFilter",
            registration::name_of(kind),
            header.get(CTX::Size)
        );
        finding(meta(context).as_deref(), &text);
        header.set(CTX::Count, 1);
        release(context);
    }
}

/// The filter that a context belongs to.
pub(crate) fn owner_of(context: Context) -> Option<Arc<Filter>> {
    meta(context)?.filter.upgrade()
}
