//! Where contexts hang: the tables of volumes, instances, files, streams and file objects.
//!
//! Room: drivers/fltmgr. IRQL: <= APC_LEVEL. Locks: a context's place, then one table. Rules FLT-C-06 to FLT-C-18.

use super::{Context, kind_of, meta, reference, release};
use crate::calls::volume_of;
use crate::filter::{Filter, Instance};
use crate::volume::Volume;
use nt_abi::flt::*;
use nt_abi::io::FILE_OBJECT;
use nt_abi::mm::{FSRTL_ADVANCED_FCB_HEADER, FSRTL_FLAG2_IS_PAGING_FILE, FSRTL_PER_STREAM_CONTEXT};
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Foreign, Slab};
use nt_ex::pool;
use nt_fsrtl::contexts as fsrtl;
use nt_ke::Mutex;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Weak};

/// {the filter's or instance's opaque pointer, its context}.
pub(crate) type Table = Mutex<Vec<(u64, Context)>>;

/// The contexts on one object, made when the first is set.
#[derive(Clone, Default)]
pub(crate) struct Links(Option<Arc<Table>>);

/// The table that a context is in.
pub(super) struct Place(Weak<Table>);

impl Links {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
    fn table(&mut self) -> Arc<Table> {
        Arc::clone(self.0.get_or_insert_with(Arc::default))
    }
    /// The object goes: every context loses the reference of its link.
    pub(crate) fn drop_all(&self) {
        if let Some(table) = &self.0 {
            take_all(table, |_| true);
        }
    }
}

fn take_all(table: &Table, which: impl Fn(u64) -> bool) {
    let mut gone = Vec::new();
    table.lock().retain(|(owner, context)| {
        let goes = which(*owner);
        if goes {
            gone.push(*context);
        }
        !goes
    });
    for context in gone {
        if let Some(meta) = meta(context) {
            meta.place.lock().take();
        }
        release(context);
    }
}

/// Takes a context out of its table; `true` when it was linked, and its link's reference is the caller's now.
pub(super) fn unlink(context: Context, meta: &super::Meta) -> bool {
    let place = meta.place.lock().take();
    let Some(table) = place.and_then(|place| place.0.upgrade()) else { return false };
    let mut table = table.lock();
    let before = table.len();
    table.retain(|(_, each)| *each != context);
    table.len() != before
}

/// What a context can hang on.
#[derive(Clone, Copy)]
pub enum Object<'a> {
    /// A volume, for one filter.
    Volume(&'a Arc<Filter>, &'a Arc<Volume>),
    /// An instance.
    Instance(&'a Arc<Instance>),
    /// The file, stream or stream handle (FLT_*_CONTEXT) behind a file object, for one instance.
    File(u16, &'a Arc<Instance>, Option<Foreign<FILE_OBJECT>>),
}

impl Object<'_> {
    fn kind(&self) -> u16 {
        match self {
            Self::Volume(..) => FLT_VOLUME_CONTEXT,
            Self::Instance(_) => FLT_INSTANCE_CONTEXT,
            Self::File(kind, ..) => *kind,
        }
    }
    fn owner(&self) -> u64 {
        match self {
            Self::Volume(filter, _) => filter.pointer().addr(),
            Self::Instance(instance) | Self::File(_, instance, _) => instance.pointer().addr(),
        }
    }
    fn going(&self) -> bool {
        match self {
            Self::Volume(filter, volume) => filter.going.load(Ordering::Acquire) || volume.is_gone(),
            Self::Instance(instance) | Self::File(_, instance, _) => instance.gone.load(Ordering::Acquire),
        }
    }
    /// The object's table; `make` it when there is none yet.
    fn table(&self, make: bool) -> NtResult<Option<Arc<Table>>> {
        let of = |links: &Mutex<Links>| {
            let mut links = links.lock();
            if make { Some(links.table()) } else { links.0.clone() }
        };
        match self {
            Self::Volume(_, volume) => Ok(of(&volume.contexts)),
            Self::Instance(instance) => Ok(of(&instance.contexts)),
            Self::File(kind, instance, file) => {
                let (file, header) = header_of(*file)?;
                let volume = volume_of(instance, Some(file))?;
                if *kind == FLT_STREAMHANDLE_CONTEXT {
                    if make {
                        return Ok(Some(volume.gate.files.with(file, |state| state.contexts.table())));
                    }
                    return Ok(if volume.gate.files.any() {
                        volume.gate.files.with(file, |state| state.contexts.0.clone())
                    } else {
                        None
                    });
                }
                stream_table(&volume, header, *kind == FLT_FILE_CONTEXT, make)
            }
        }
    }
}

/// The FCB header of an open file whose file system takes contexts; NOT_SUPPORTED otherwise (FLT-C-14).
fn header_of(file: Option<Foreign<FILE_OBJECT>>) -> NtResult<(Foreign<FILE_OBJECT>, fsrtl::Header)> {
    let unsupported = NtStatus::NOT_SUPPORTED.error();
    let file = file.ok_or(unsupported)?;
    let header = file.ptr(FILE_OBJECT::FsContext).ok_or(unsupported)?.view::<FSRTL_ADVANCED_FCB_HEADER>();
    let paging = header.get(FSRTL_ADVANCED_FCB_HEADER::Flags2) & FSRTL_FLAG2_IS_PAGING_FILE != 0;
    if paging || !fsrtl::supported(header) { Err(unsupported) } else { Ok((file, header)) }
}

/// FltSupportsFileContexts, FltSupportsStreamContexts, FltSupportsStreamHandleContexts (FLT-C-14, FLT-C-15).
#[must_use]
pub fn supports(kind: u16, file: Option<Foreign<FILE_OBJECT>>) -> bool {
    match header_of(file) {
        Ok((_, header)) => kind != FLT_FILE_CONTEXT || fsrtl::of_file(header).is_some(),
        Err(_) => false,
    }
}

nt_abi::layout! {
    /// Ours on a stream or a file: the documented structure, then the key of its table.
    pub struct STREAM: 0x30 {
        /// What FsRtl links.
        Base @ 0x00: FSRTL_PER_STREAM_CONTEXT;
        /// The key.
        Key @ 0x28: u64;
    }
}

static TABLES: LazyLock<Slab<Arc<Table>>> = LazyLock::new(Slab::new);

fn table_of(found: fsrtl::Context) -> Option<Arc<Table>> {
    TABLES.get(found.view::<STREAM>().get(STREAM::Key)).map(|entry| Arc::clone(&entry))
}

/// The table that hangs on the stream, or on the whole file where the file system keeps files apart from their streams.
fn stream_table(volume: &Arc<Volume>, header: fsrtl::Header, file: bool, make: bool) -> NtResult<Option<Arc<Table>>> {
    let owner = volume.pointer().addr();
    // FLT-C-15: without support for files the contexts of a file are kept on its only stream, under another id.
    let instance = owner + u64::from(file);
    let slot = if file { fsrtl::of_file(header) } else { None };
    let _one = volume.making.lock();
    let found = match slot {
        Some(slot) => fsrtl::look_up_for_file(slot, owner, instance),
        None => fsrtl::look_up(header, owner, instance),
    };
    if let Some(found) = found {
        return Ok(table_of(found));
    }
    if !make {
        return Ok(None);
    }
    let table: Arc<Table> = Arc::default();
    let made = pool::zeroed::<STREAM>(pool::tag(b"FMst")).ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    let base = made.at(STREAM::Base);
    base.set(FSRTL_PER_STREAM_CONTEXT::OwnerId, owner);
    base.set(FSRTL_PER_STREAM_CONTEXT::InstanceId, instance);
    base.set_code(FSRTL_PER_STREAM_CONTEXT::FreeCallback, Some(super::exports::stream_routine()));
    made.set(STREAM::Key, TABLES.insert(Arc::clone(&table)));
    let inserted = match slot {
        Some(slot) => fsrtl::insert_for_file(slot, base),
        None => fsrtl::insert(header, base),
    };
    if !inserted {
        TABLES.remove(made.get(STREAM::Key));
        pool::free(made);
        return NtStatus::NOT_SUPPORTED.fail();
    }
    let mut streams = volume.streams.lock();
    streams.retain(|each| each.strong_count() != 0);
    streams.push(Arc::downgrade(&table));
    Ok(Some(table))
}

/// The FreeCallback of a stream or file that its file system frees (FLT-C-13).
pub(crate) fn stream_gone(base: fsrtl::Context) {
    let table = table_of(base);
    let stream = base.view::<STREAM>();
    TABLES.remove(stream.get(STREAM::Key));
    pool::free(stream);
    if let Some(table) = table {
        take_all(&table, |_| true);
    }
}

/// Everything that hangs somewhere for this instance goes: its teardown is at its end.
pub(crate) fn drop_instance(instance: &Instance, volume: &Volume) {
    let owner = instance.pointer().addr();
    let mine = |each: u64| each == owner;
    let streams: Vec<Arc<Table>> = volume.streams.lock().iter().filter_map(Weak::upgrade).collect();
    let mut handles = Vec::new();
    volume.gate.files.each(|state| handles.extend(state.contexts.0.clone()));
    for table in streams.iter().chain(&handles) {
        take_all(table, mine);
    }
    instance.contexts.lock().clone().drop_all();
}

/// A volume's contexts of one filter go.
pub(crate) fn drop_volume(filter: &Filter, volume: &Volume) {
    let owner = filter.pointer().addr();
    let links = volume.contexts.lock().clone();
    if let Some(table) = &links.0 {
        take_all(table, |each| each == owner);
    }
}

/// FltSetXxxContext. `old`: the caller wants the context that was there, with a reference (FLT-C-06 to FLT-C-08).
pub fn set(object: Object<'_>, replace: bool, new: Context, old: bool) -> (NtResult<()>, Option<Context>) {
    let refused = |status: NtStatus| (status.fail(), None);
    let Some(meta_new) = meta(new) else { return refused(NtStatus::INVALID_PARAMETER) };
    if kind_of(new) != Some(object.kind()) {
        return refused(NtStatus::INVALID_PARAMETER);
    }
    if object.going() {
        return refused(NtStatus::FLT_DELETING_OBJECT);
    }
    let table = match object.table(true) {
        Ok(Some(table)) => table,
        Ok(None) => return refused(NtStatus::NOT_SUPPORTED),
        Err(error) => return (Err(error), None),
    };
    let mut place = meta_new.place.lock();
    if place.is_some() {
        return refused(NtStatus::FLT_CONTEXT_ALREADY_LINKED);
    }
    let owner = object.owner();
    let former = {
        let mut entries = table.lock();
        let there = entries.iter_mut().find(|(each, _)| *each == owner);
        match there {
            Some((_, there)) if !replace => {
                let there = *there;
                if old {
                    reference(there);
                }
                return (NtStatus::FLT_CONTEXT_ALREADY_DEFINED.fail(), old.then_some(there));
            }
            Some((_, there)) => Some(std::mem::replace(there, new)),
            None => {
                entries.push((owner, new));
                None
            }
        }
    };
    reference(new);
    *place = Some(Place(Arc::downgrade(&table)));
    drop(place);
    if let Some(former) = former {
        if let Some(meta) = meta(former) {
            meta.place.lock().take();
        }
        if !old {
            release(former);
        }
    }
    (Ok(()), former.filter(|_| old))
}

/// FltGetXxxContext: with a reference (FLT-C-10).
pub fn get(object: Object<'_>) -> NtResult<Context> {
    let missing = NtStatus::NOT_FOUND.error();
    let table = object.table(false)?.ok_or(missing)?;
    let owner = object.owner();
    let entries = table.lock();
    let found = entries.iter().find(|(each, _)| *each == owner).map(|(_, context)| *context);
    found.inspect(|context| reference(*context)).ok_or(missing)
}

/// FltDeleteXxxContext: the link's reference goes, or to the caller when it wants the context (FLT-C-11).
pub fn delete_from(object: Object<'_>, old: bool) -> NtResult<Option<Context>> {
    let missing = NtStatus::NOT_FOUND.error();
    let table = object.table(false)?.ok_or(missing)?;
    let owner = object.owner();
    let found = {
        let mut entries = table.lock();
        let at = entries.iter().position(|(each, _)| *each == owner).ok_or(missing)?;
        entries.swap_remove(at).1
    };
    if let Some(meta) = meta(found) {
        meta.place.lock().take();
    }
    if old {
        return Ok(Some(found));
    }
    release(found);
    Ok(None)
}
