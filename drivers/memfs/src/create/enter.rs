//! The end of a create: what the open breaks, whom it shares with, what it overwrites, and what the file object gets.
//!
//! Room: drivers/memfs. Called by: `create`, with the tree held. IRQL: PASSIVE_LEVEL. Locks: the node's sharing, then its data.
//! Source: IRP_MJ_CREATE page; rules NT-A-13, NT-OPL-05, NT-OPL-12, NT-QRY-20, NT-NFY-21, NT-NFY-22.

use super::{READS, Request, SETTABLE, WRITES};
use crate::backing::{Attribute, Change};
use crate::fileinfo;
use crate::link::Link;
use crate::node::{CCB, FCB, Found, Node, OPENS, Open, Scan, Units, Volume};
use crate::notice;
use crate::oplock;
use crate::sections;
use crate::security;
use crate::stream;
use nt_abi::io::*;
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;
use nt_ex::pool;
use nt_fsrtl::oplock::{Operation, is_batch_held, is_quiet, opening};
use nt_io::irp::IoStatus;
use nt_io::share::Share;
use nt_ke::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

/// The end of a create: sharing, overwriting, and what the file object gets.
pub(super) fn enter(
    volume: &Volume,
    file: Foreign<FILE_OBJECT>,
    node: Arc<Node>,
    link: Option<Arc<Link>>,
    request: &Request<'_>,
    information: u32,
    eas: Vec<Attribute>,
) -> NtResult<IoStatus> {
    node.object.open(request.access & READS != 0, request.access & WRITES != 0 || information != FILE_OPENED)?;
    if let Some((class, out)) = request.query {
        let file = node.named.as_ref().map(|named| named.file()).transpose()?;
        let found = Found { node: &node, file: file.as_deref().unwrap_or(&node), link: link.as_deref() };
        return Ok(IoStatus::new(NtStatus::SUCCESS, fileinfo::plain(found, class, out)?));
    }
    admit(&node, request)?;
    let replaces = matches!(information, FILE_OVERWRITTEN | FILE_SUPERSEDED);
    let deletes = request.options & FILE_DELETE_ON_CLOSE != 0;
    sections::may_be_opened(&node, (request.access, request.share), deletes, replaces)?;
    share(&node, request)?;
    let mut streams = Vec::new();
    if replaces {
        streams = notice::streams_of(&volume.mount.changes, &node);
        overwrite(&node, request, eas)?;
    }
    if information == FILE_SUPERSEDED && node.named.is_none() {
        request.opener.replace(&node, security::parent_of(link.as_ref()).as_deref())?;
    }
    if request.allocation > 0 && information != FILE_OPENED {
        let mut data = node.data.write();
        let asked = request.allocation as u64;
        if asked > data.allocation {
            data.allocate(asked)?;
            node.publish(&data);
        }
    }
    announce(volume, (&node, file), link.as_ref(), information, &streams);
    attach(volume, file, node, link, request)?;
    Ok(IoStatus::new(NtStatus::SUCCESS, u64::from(information)))
}

/// Tells who watches of a file or stream that was made or overwritten; `streams` were there before.
pub(super) fn announce(
    volume: &Volume,
    (node, file): (&Node, Foreign<FILE_OBJECT>),
    link: Option<&Arc<Link>>,
    information: u32,
    streams: &[Units],
) {
    const OVERWRITTEN: u32 = FILE_NOTIFY_CHANGE_SIZE | FILE_NOTIFY_CHANGE_LAST_WRITE | FILE_NOTIFY_CHANGE_ATTRIBUTES;
    let changes = &volume.mount.changes;
    match information {
        FILE_CREATED | FILE_OVERWRITTEN | FILE_SUPERSEDED if node.named.is_some() => {
            notice::stream_at(changes, node, link, information == FILE_CREATED); // NT-NFY-21
        }
        FILE_CREATED => {
            if let Some(link) = link {
                oplock::children(&link.parent(), file);
            }
            notice::added(changes, node, link);
        }
        FILE_OVERWRITTEN | FILE_SUPERSEDED => {
            notice::lost(changes, node, link, streams);
            notice::modified_at(changes, node, link, OVERWRITTEN); // NT-NFY-22
        }
        _ => {}
    }
}

fn overwrite(node: &Node, request: &Request<'_>, eas: Vec<Attribute>) -> NtResult<()> {
    let sparse = node.object.meta()?.attributes & FILE_ATTRIBUTE_SPARSE_FILE != 0;
    {
        // What the cache holds of the old data never reaches the medium (NT-CC-77).
        let _main = node.main.exclusive()?;
        node.empty()?;
        node.tell_cache();
    }
    if node.named.is_some() {
        return node.object.modified(false); // NT-STR-10: the rest is the file's
    }
    stream::drop_all(node)?;
    let attributes = (request.attributes & SETTABLE & !FILE_ATTRIBUTE_NORMAL) | FILE_ATTRIBUTE_ARCHIVE;
    node.temporary.store(attributes & FILE_ATTRIBUTE_TEMPORARY != 0, Ordering::Relaxed);
    node.object.set_eas(eas, true)?;
    let created = (request.disposition == FILE_SUPERSEDE).then(|| nt_ke::current().kernel.clock.system_time());
    if sparse {
        node.object.mark_sparse(false)?; // NT-SPA-04
    }
    node.object.change(&Change { attributes: Some(attributes), created, ..Change::default() })?; // NT-QRY-20
    node.object.modified(false)
}

/// Breaks what the open breaks, batch and filter oplocks before sharing is looked at, the others after (NT-OPL-12).
pub(super) fn admit(node: &Arc<Node>, request: &Request<'_>) -> NtResult<()> {
    let oplock = node.oplock();
    if is_quiet(oplock) {
        return Ok(());
    }
    let operation = opening(request.access, request.share, request.disposition << 24 | request.options);
    if is_batch_held(oplock) {
        return request.turn.meet(node, operation);
    }
    let part = Share::new(request.access, request.share);
    let conflicts = part.is_some_and(|part| node.sharing.lock().counts.check(part).is_err());
    request.turn.meet(node, if conflicts { Operation::Conflict } else { operation })
}

/// Joins the opens of the stream, when they let it (NT-A-13).
pub(super) fn share(node: &Node, request: &Request<'_>) -> NtResult<()> {
    let Some(part) = Share::new(request.access, request.share) else { return Ok(()) };
    stream::couples(node, part)?;
    let counts = &mut node.sharing.lock().counts;
    counts.check(part)?;
    counts.add(part);
    Ok(())
}

pub(super) fn attach(
    volume: &Volume,
    file: Foreign<FILE_OBJECT>,
    node: Arc<Node>,
    link: Option<Arc<Link>>,
    request: &Request<'_>,
) -> NtResult<()> {
    let ccb = pool::zeroed::<CCB>(pool::tag(b"RamC")).ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    let fcb = node.fcb;
    if request.protected && !node.protected.swap(true, Ordering::Relaxed) {
        crate::lock::tell(&node);
    }
    let part = Share::new(request.access, request.share);
    let of = node.named.as_ref().map(|named| named.file()).transpose()?;
    let open = Open {
        file: of,
        link,
        by_short: AtomicU32::new(request.by_short),
        hinders: !request.exact,
        access: request.access,
        part,
        delete_on_close: Mutex::new(request.options & FILE_DELETE_ON_CLOSE != 0),
        opened_to_delete: request.options & FILE_DELETE_ON_CLOSE != 0,
        scan: Mutex::new(Scan::default()),
        ea: Mutex::default(),
        frozen: AtomicU8::new(0),
        mount: Arc::clone(&volume.mount),
        generation: volume.mount.generation(),
        dismounted: AtomicBool::new(false),
        extended: AtomicBool::new(false),
        manages: request.opener.may(nt_abi::se::SE_MANAGE_VOLUME_PRIVILEGE),
        node,
    };
    open.node.sharing.lock().enter(file);
    let caches = request.options & FILE_NO_INTERMEDIATE_BUFFERING == 0 && !open.node.is_directory();
    if open.node.temporary.load(Ordering::Relaxed) {
        file.or32(FILE_OBJECT::Flags, FO_TEMPORARY_FILE);
    }
    if caches {
        file.or32(FILE_OBJECT::Flags, FO_CACHE_SUPPORTED); // NT-CC-04
    }
    if let Some(named) = &open.node.named {
        named.enter();
    }
    if let Some(link) = &open.link {
        link.enter(open.hinders);
    }
    ccb.set(CCB::Key, OPENS.insert(Arc::new(open)));
    file.set_ptr(FILE_OBJECT::FsContext, Some(fcb.view()));
    file.set_ptr(FILE_OBJECT::FsContext2, Some(ccb.view()));
    file.set_ptr(FILE_OBJECT::SectionObjectPointer, Some(fcb.at(FCB::Sections)));
    Share::mark(file, part);
    Ok(())
}
