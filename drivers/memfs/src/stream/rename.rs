//! FileRenameInformation of a stream.
//!
//! Room: drivers/memfs. Called by: `fileinfo`. IRQL: PASSIVE_LEVEL. Locks: the tree, throughout.
//! Source: FSA 2.1.5.15.11.1; FILE_RENAME_INFORMATION page; rules NT-REN-34, NT-LNK-11.

use super::name::{Part, part};
use crate::naming::{Kind, REPLACE, VALID_FLAGS};
use crate::node::{CCB, Node, OPENS, Open, Units, Volume, upcase};
use nt_abi::io::FILE_OBJECT;
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;
use nt_fsrtl::filelock;
use nt_ke::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

const COLON: u16 = b':' as u16;

/// Is it a stream that this rename or link is about?
pub(crate) fn concerns(open: &Open, name: &[u16]) -> bool {
    open.node.named.is_some() || name.first() == Some(&COLON)
}

/// Gives a stream another name within its file.
pub(crate) fn rename(
    volume: &Volume,
    object: Foreign<FILE_OBJECT>,
    open: &Open,
    name: &[u16],
    flags: u32,
    kind: Kind,
) -> NtResult<()> {
    let invalid = || NtStatus::INVALID_PARAMETER.error();
    let Some((&COLON, name)) = name.split_first() else { return Err(invalid()) };
    if flags & !VALID_FLAGS != 0 || kind == Kind::Link {
        return Err(invalid()); // NT-LNK-11
    }
    let new = match part(name).map_err(|_| invalid())? {
        Part::Stream(new) => new,
        Part::Unnamed => Units::new(),
        _ => return Err(invalid()),
    };
    let _tree = volume.tree.lock();
    if open.node.is_directory() || (new.is_empty() && open.file().is_directory()) {
        return Err(invalid()); // its names are no data
    }
    if open.is_pending() {
        return NtStatus::ACCESS_DENIED.fail(); // NT-REN-28
    }
    let (stream, file) = (&open.node, open.file());
    let old = stream.named.as_ref().map(|named| named.name()).unwrap_or_default();
    if old == new {
        return Ok(());
    }
    let streams = file.streams()?;
    if upcase(&old) != upcase(&new) {
        let there = if new.is_empty() { Some(Arc::clone(file)) } else { streams.find_stream(file, &new, false)? };
        if let Some(there) = there {
            make_way(file, &there, flags)?;
        }
    }
    match &stream.named {
        Some(_) if new.is_empty() => lose_name(object, open)?,
        Some(named) => {
            streams.rename_stream(stream, &new)?;
            named.set_name(&new);
            crate::notice::stream_moved(open, &old);
        }
        None => get_name(object, open, &new)?,
    }
    super::touch(file)
}

/// Only an empty stream that nobody has open is replaced.
fn make_way(file: &Arc<Node>, there: &Arc<Node>, flags: u32) -> NtResult<()> {
    if flags & REPLACE == 0 {
        return NtStatus::OBJECT_NAME_COLLISION.fail();
    }
    let open = there.named.as_ref().map_or_else(|| there.sharing.lock().handles != 0, |named| named.is_open());
    if open || there.data.read().eof != 0 {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if there.named.is_some() { file.streams()?.remove_stream(there) } else { Ok(()) }
}

/// The unnamed stream's bytes get a name; an empty unnamed stream stays.
fn get_name(object: Foreign<FILE_OBJECT>, open: &Open, new: &[u16]) -> NtResult<()> {
    let file = &open.node;
    let stream = file.streams()?.make_stream(file, new)?;
    file.streamed.store(true, Ordering::Relaxed);
    hand_over(object, open, &stream, Some(file)).inspect_err(|_| super::unmake(file, &stream))?;
    crate::notice::stream_at(&open.mount.changes, &stream, open.link.as_ref(), true);
    Ok(())
}

/// A named stream's bytes become the file's.
fn lose_name(object: Foreign<FILE_OBJECT>, open: &Open) -> NtResult<()> {
    let (stream, file) = (&open.node, open.file());
    hand_over(object, open, file, None)?;
    crate::notice::stream(open, nt_abi::io::FILE_ACTION_REMOVED_STREAM);
    super::fate::go(file, stream)
}

/// Gives the bytes of an open's stream to another, and the handle with them. Whoever else had it open would be left with
/// nothing: then it is refused.
fn hand_over(object: Foreign<FILE_OBJECT>, open: &Open, to: &Arc<Node>, file: Option<&Arc<Node>>) -> NtResult<()> {
    let from = &open.node;
    if from.sharing.lock().handles != 1 || filelock::any(from.lock()) {
        return NtStatus::SHARING_VIOLATION.fail();
    }
    from.date()?;
    let frozen = open.frozen.load(Ordering::Relaxed);
    // Until the handle has gone over: a transfer that waits for it meanwhile finds that it has (`cached::start`).
    let (_from, _to) = (from.main.exclusive()?, to.main.exclusive()?);
    from.flush_range(0, u64::MAX)?;
    let _off = nt_cc::uninitialize(object, None, None);
    if !nt_cc::purge(from.sections(), None) {
        return NtStatus::USER_MAPPED_FILE.fail();
    }
    open.file().streams()?.move_bytes(from, to)?;
    from.tell_cache();
    open.freeze(0);
    let anew = Open {
        node: Arc::clone(to),
        file: file.cloned(),
        link: open.link.clone(),
        by_short: AtomicU32::new(open.by_short.load(Ordering::Relaxed)),
        hinders: open.hinders,
        access: open.access,
        part: open.part,
        delete_on_close: Mutex::new(*open.delete_on_close.lock()),
        opened_to_delete: open.opened_to_delete,
        scan: Mutex::default(),
        ea: Mutex::new(*open.ea.lock()),
        frozen: AtomicU8::new(0),
        mount: Arc::clone(&open.mount),
        generation: open.generation,
        dismounted: AtomicBool::new(false),
        extended: AtomicBool::new(false),
        manages: open.manages,
    };
    anew.freeze(frozen);
    {
        let mut sharing = from.sharing.lock();
        open.part.into_iter().for_each(|part| sharing.counts.remove(part));
        sharing.leave(object);
    }
    {
        let mut sharing = to.sharing.lock();
        open.part.into_iter().for_each(|part| sharing.counts.add(part));
        sharing.enter(object);
    }
    if let Some(named) = &from.named {
        named.left();
    }
    if let Some(named) = &to.named {
        named.enter();
    }
    if let Some(ccb) = object.ptr(FILE_OBJECT::FsContext2) {
        let ccb = ccb.view::<CCB>();
        let before = ccb.get(CCB::Key);
        ccb.set(CCB::Key, OPENS.insert(Arc::new(anew)));
        OPENS.remove(before);
    }
    object.set_ptr(FILE_OBJECT::FsContext, Some(to.fcb.view()));
    object.set_ptr(FILE_OBJECT::SectionObjectPointer, Some(to.sections()));
    Ok(())
}
