//! Change notification: requests for changes, and what is told of each.
//!
//! Room: drivers/memfs. Called by: every operation that changes something. Calls: `nt_fsrtl::notify`.
//! IRQL: PASSIVE_LEVEL. Locks: callers may hold the tree: requests that get something end when the operation is over
//! ([`tell`]). Source: FILE_NOTIFY_INFORMATION; rules NT-NFY-04, NT-NFY-15 to NT-NFY-23, NT-REN-32,
//! NT-DEL-32, NT-S-08, NT-S-09. A volume that nobody watches pays one load for each change.

use crate::link::Link;
use crate::node::{Node, Open, Units, open_of};
use nt_abi::NtStatus;
use nt_abi::io::{
    FILE_ACTION_ADDED, FILE_ACTION_ADDED_STREAM, FILE_ACTION_MODIFIED, FILE_ACTION_MODIFIED_STREAM,
    FILE_ACTION_REMOVED, FILE_ACTION_REMOVED_STREAM, FILE_NOTIFY_CHANGE_DIR_NAME, FILE_NOTIFY_CHANGE_FILE_NAME,
    FILE_NOTIFY_CHANGE_LAST_WRITE, FILE_NOTIFY_CHANGE_SIZE, FILE_NOTIFY_CHANGE_STREAM_NAME,
    FILE_NOTIFY_CHANGE_STREAM_SIZE, FILE_NOTIFY_CHANGE_STREAM_WRITE, FILE_OBJECT, FO_VOLUME_OPEN, IO_STACK_LOCATION,
    SL_WATCH_TREE,
};
use nt_fsrtl::notify::{Change, Facts, Notifier, Place, Told, Watch};
use nt_io::driver::{Answer, OwnedIrp};
use nt_trace::rule;
use std::cell::RefCell;
use std::sync::Arc;

const SEPARATOR: u16 = b'\\' as u16;

thread_local! {
    /// What ends with this thread's operation, once its locks are gone.
    static LATER: RefCell<Vec<Told>> = const { RefCell::new(Vec::new()) };
}

/// Ends the requests that the operation had something for; no lock is held.
pub(crate) fn tell() {
    let told = LATER.with_borrow_mut(std::mem::take);
    drop(told);
}

fn later(told: Told) {
    LATER.with_borrow_mut(|all| all.push(told));
}

/// Where a watched directory is: a rename above it changes its link, so the watch goes on (NT-NFY-23).
struct Standing(Option<Arc<Link>>);

impl Place for Standing {
    fn path(&self) -> Vec<u16> {
        path_of(self.0.as_ref())
    }
}

/// The path of a name; the root's is empty.
pub(crate) fn path_of(link: Option<&Arc<Link>>) -> Units {
    link.map(|link| link.path()).unwrap_or_default()
}

/// The path of a name in a directory.
pub(crate) fn path_in(directory: Option<&Arc<Link>>, name: &[u16]) -> Units {
    let mut path = path_of(directory);
    path.push(SEPARATOR);
    path.extend_from_slice(name);
    path
}

/// IRP_MN_NOTIFY_CHANGE_DIRECTORY and its newer form.
pub(crate) fn watch(irp: OwnedIrp) -> Answer {
    let Some(file) = irp.file() else { return irp.complete(NtStatus::INVALID_PARAMETER, 0) };
    let open = match open_of(file) {
        Ok(open) => open,
        Err(error) => return irp.complete(error.status(), 0),
    };
    if !open.node.is_directory() || file.get(FILE_OBJECT::Flags) & FO_VOLUME_OPEN != 0 {
        rule!(NT_NFY_04);
        return irp.complete(NtStatus::INVALID_PARAMETER, 0);
    }
    if open.is_pending() {
        rule!(NT_NFY_04);
        return irp.complete(NtStatus::DELETE_PENDING, 0);
    }
    let (stack, context) = (irp.stack(), file.addr_at(FILE_OBJECT::FsContext2));
    let watch = Watch {
        context,
        tree: stack.get(IO_STACK_LOCATION::Flags) & SL_WATCH_TREE != 0,
        filter: stack.get(IO_STACK_LOCATION::NotifyDirectory_CompletionFilter),
        ..Watch::default()
    };
    let changes = &open.mount.changes;
    let status = changes.watch(watch, Box::new(Standing(open.link.clone())), irp.into_irp());
    if open.is_pending() {
        drop(changes.deleted(None, open.node.fcb.addr())); // marked meanwhile
    }
    if open_of(file).is_err() {
        changes.cleanup(None, context); // dismounted meanwhile
    }
    OwnedIrp::answered(status)
}

/// The last handle of a watching open went (NT-NFY-13).
pub(crate) fn unwatch(open: &Open, context: u64) {
    if open.mount.changes.any() && open.node.is_directory() {
        open.mount.changes.cleanup(None, context);
    }
}

/// A directory is to go: who watches it is told no more (NT-DEL-32).
pub(crate) fn doomed(changes: &Notifier, node: &Node) {
    if changes.any() && node.is_directory() {
        rule!(NT_NFY_23);
        later(changes.deleted(None, node.fcb.addr()));
    }
}

fn last_of(path: &[u16]) -> usize {
    path.iter().rposition(|&unit| unit == SEPARATOR).map_or(0, |at| at + 1)
}

/// What an extended record tells; a file that cannot be asked any more tells nothing.
fn facts(changes: &Notifier, node: &Node, parent: Option<&Node>) -> Facts {
    if !changes.wants_facts() {
        return Facts::default();
    }
    rule!(NT_NFY_24);
    let meta = node.object.meta().unwrap_or_default();
    let (size, allocation) = {
        let data = node.data.read();
        (data.eof, data.allocation)
    };
    let tag = match crate::identity::tag(node, meta.attributes) {
        Ok(0) | Err(_) => node.object.eas().map_or(0, |eas| crate::ea::size(&eas)),
        Ok(tag) => tag,
    };
    Facts {
        created: meta.created,
        written: meta.written,
        changed: meta.changed,
        accessed: meta.accessed,
        allocation,
        size,
        attributes: crate::fileinfo::shown(meta.attributes),
        tag,
        id: node.id(),
        parent: parent.map_or(0, Node::id),
    }
}

/// What happened to a name.
pub(crate) struct Named<'a> {
    /// Its full path.
    pub(crate) path: &'a [u16],
    /// Its file, and the directory that it stands in.
    pub(crate) node: &'a Node,
    pub(crate) parent: &'a Node,
    /// FILE_ACTION_*.
    pub(crate) action: u32,
    /// The stream that it happened to, with the actions of streams.
    pub(crate) stream: Option<&'a [u16]>,
}

/// Names came, went or changed in one step. A directory that got or lost one is itself modified (NT-NFY-17).
pub(crate) fn names(changes: &Notifier, all: &[Named<'_>]) {
    let mut batch = Vec::with_capacity(all.len() * 2);
    for named in all {
        let last = last_of(named.path);
        let of_names = matches!(named.action, FILE_ACTION_ADDED | FILE_ACTION_REMOVED);
        let directory = &named.path[..last.saturating_sub(1)];
        if of_names && !directory.is_empty() {
            batch.push(Change {
                path: directory,
                last: last_of(directory),
                filter: FILE_NOTIFY_CHANGE_LAST_WRITE,
                action: FILE_ACTION_MODIFIED,
                facts: facts(changes, named.parent, None),
                ..Change::default()
            });
        }
        let filter = match (named.stream, named.node.is_directory()) {
            (Some(_), _) => FILE_NOTIFY_CHANGE_STREAM_NAME,
            (None, true) => FILE_NOTIFY_CHANGE_DIR_NAME,
            (None, false) => FILE_NOTIFY_CHANGE_FILE_NAME,
        };
        batch.push(Change {
            path: named.path,
            last,
            stream: named.stream,
            filter,
            action: named.action,
            facts: facts(changes, named.node, Some(named.parent)),
            ..Change::default()
        });
    }
    later(changes.report(None, &batch));
}

/// A name was made (NT-NFY-15).
pub(crate) fn added(changes: &Notifier, node: &Node, link: Option<&Arc<Link>>) {
    name(changes, node, link, FILE_ACTION_ADDED, &[]);
}

/// A name went; with the last one of a file, its streams (NT-NFY-21).
pub(crate) fn removed(changes: &Notifier, node: &Node, link: Option<&Arc<Link>>, streams: &[Units]) {
    let gone = node.is_directory() || node.object.links() == Ok(0);
    name(changes, node, link, FILE_ACTION_REMOVED, if gone { streams } else { &[] });
}

fn name(changes: &Notifier, node: &Node, link: Option<&Arc<Link>>, action: u32, streams: &[Units]) {
    if changes.any()
        && let Some(link) = link
    {
        let (path, parent) = (link.path(), link.parent());
        let named = |action, stream| Named { path: &path, node, parent: &parent, action, stream };
        let mut all: Vec<_> =
            streams.iter().map(|stream| named(FILE_ACTION_REMOVED_STREAM, Some(stream.as_slice()))).collect();
        all.push(named(action, None));
        names(changes, &all);
    }
}

/// The named streams of a file; none where nobody watches.
pub(crate) fn streams_of(changes: &Notifier, file: &Node) -> Vec<Units> {
    let listed = if changes.any() { file.object.streams().map(|streams| streams.streams_listed()) } else { None };
    listed.and_then(Result::ok).unwrap_or_default().into_iter().map(|(name, _)| name).collect()
}

/// An overwritten file lost those of its streams that are not there any more (NT-STR-10).
pub(crate) fn lost(changes: &Notifier, file: &Node, link: Option<&Arc<Link>>, before: &[Units]) {
    let Some(link) = link.filter(|_| !before.is_empty()) else { return };
    let (path, parent, left) = (link.path(), link.parent(), streams_of(changes, file));
    let gone: Vec<_> = before
        .iter()
        .filter(|name| !left.contains(name))
        .map(|name| Named {
            path: &path,
            node: file,
            parent: &parent,
            action: FILE_ACTION_REMOVED_STREAM,
            stream: Some(name),
        })
        .collect();
    names(changes, &gone);
}

/// The stream of an open came or went.
pub(crate) fn stream(open: &Open, action: u32) {
    if let Some(named) = &open.node.named {
        one_stream(&open.mount.changes, &open.node, open.link.as_ref(), &[(action, &named.name())]);
    }
}

/// A stream has another name now.
pub(crate) fn stream_moved(open: &Open, before: &[u16]) {
    if let Some(named) = &open.node.named {
        let all = [(FILE_ACTION_REMOVED_STREAM, before), (FILE_ACTION_ADDED_STREAM, &named.name())];
        one_stream(&open.mount.changes, &open.node, open.link.as_ref(), &all);
    }
}

/// A stream was made, or else overwritten.
pub(crate) fn stream_at(changes: &Notifier, node: &Node, link: Option<&Arc<Link>>, made: bool) {
    let Some(named) = &node.named else { return };
    if made {
        one_stream(changes, node, link, &[(FILE_ACTION_ADDED_STREAM, &named.name())]);
    } else {
        modified_at(changes, node, link, FILE_NOTIFY_CHANGE_SIZE | FILE_NOTIFY_CHANGE_LAST_WRITE);
    }
}

fn one_stream(changes: &Notifier, node: &Node, link: Option<&Arc<Link>>, all: &[(u32, &[u16])]) {
    let Some(link) = link.filter(|link| changes.any() && !link.is_gone()) else { return };
    let (path, parent) = (link.path(), link.parent());
    let named =
        |&(action, stream): &(u32, _)| Named { path: &path, node, parent: &parent, action, stream: Some(stream) };
    names(changes, &all.iter().map(named).collect::<Vec<_>>());
}

/// The bits that a named stream has in the place of its file's.
const fn of_stream(filter: u32) -> u32 {
    const SIZE: u32 = FILE_NOTIFY_CHANGE_STREAM_SIZE;
    const WRITE: u32 = FILE_NOTIFY_CHANGE_STREAM_WRITE;
    (if filter & FILE_NOTIFY_CHANGE_SIZE != 0 { SIZE } else { 0 })
        | if filter & FILE_NOTIFY_CHANGE_LAST_WRITE != 0 { WRITE } else { 0 }
}

/// Something of an open file changed, by the bits of `filter`.
pub(crate) fn modified(open: &Open, filter: u32) {
    modified_at(&open.mount.changes, open.file(), open.link.as_ref(), filter);
}

/// The bytes of an open file or stream changed.
pub(crate) fn written(open: &Open, filter: u32) {
    modified_at(&open.mount.changes, &open.node, open.link.as_ref(), filter);
}

/// As [`modified`], by node and name: of a named stream, its bytes changed.
pub(crate) fn modified_at(changes: &Notifier, node: &Node, link: Option<&Arc<Link>>, filter: u32) {
    if !changes.any() || filter == 0 {
        return;
    }
    // The root has no directory that would tell of it, and a name that is gone none either.
    let Some(link) = link.filter(|link| !link.is_gone()) else { return };
    let stream = node.named.as_ref().map(|named| named.name());
    let (filter, action) = match stream {
        Some(_) => (of_stream(filter), FILE_ACTION_MODIFIED_STREAM),
        None => (filter, FILE_ACTION_MODIFIED),
    };
    let (path, parent) = (link.path(), link.parent());
    let facts = facts(changes, node, Some(&parent));
    let last = last_of(&path);
    let change = Change { path: &path, last, stream: stream.as_deref(), filter, action, facts, ..Change::default() };
    later(changes.report(None, &[change]));
}
