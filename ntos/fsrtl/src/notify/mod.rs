//! Directory change notification: who watches which directory, and what they are told.
//!
//! Room: ntos/fsrtl. Called by: file systems (IRP_MJ_DIRECTORY_CONTROL, each change, cleanup), `exports`.
//! Touches: NOTIFY_SYNC (the key of our state), the list of watches of a file system, notify IRPs while they wait here.
//! IRQL: <= APC_LEVEL. Locks: the notifier's; a packet is completed and a driver's routine called without it.
//! Source: the FsRtlNotify* pages, FILE_NOTIFY_INFORMATION; rules NT-NFY-05 to NT-NFY-13, NT-NFY-16, NT-NFY-18, NT-NFY-23.

pub mod exports;
mod packet;
mod record;

pub use record::Facts;

use crate::notify::packet::{Ended, give, pend};
use crate::notify::record::{Form, Kept};
use nt_abi::NtStatus;
use nt_abi::io::{
    FILE_ACTION_RENAMED_OLD_NAME, FILE_OBJECT, FO_CLEANUP_COMPLETE, IO_STACK_LOCATION,
    IRP_MN_NOTIFY_CHANGE_DIRECTORY_EX,
};
use nt_abi::ke::LIST_ENTRY;
use nt_cell::{CodePtr, Foreign, Slab, callout};
use nt_ex::pool;
use nt_io::cancelable;
use nt_io::irp::{self, Irp};
use nt_io::notify::CLASS_EXTENDED;
use nt_ke::{Mutex, list};
use nt_trace::rule;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

nt_abi::layout! {
    /// What stands in a file system's list for each watch.
    pub struct NOTIFY_CHANGE: 0x10 {
        /// The list that FsRtlNotify* were given.
        Links @ 0x00: LIST_ENTRY;
    }
}

/// Where a watched directory is now: its path from the root of the volume.
pub trait Place: Send + Sync {
    /// The path's units, with a backslash before each component.
    fn path(&self) -> Vec<u16>;
}

/// A request for changes, as the file system passes it on.
#[derive(Default)]
pub struct Watch {
    /// The list that the watch stands in: the address of its head, 0 for a file system that keeps none.
    pub list: u64,
    /// FsContext: which open it is, by a number of the file system's.
    pub context: u64,
    /// WatchTree.
    pub tree: bool,
    /// IgnoreBuffer: tell that something happened, not what.
    pub ignore_buffer: bool,
    /// CompletionFilter.
    pub filter: u32,
    /// TraverseCallback, and its SubjectContext.
    pub traverse: Option<CodePtr>,
    /// SubjectContext, given to the callback; ours to free.
    pub subject: u64,
    /// FilterCallback.
    pub allow: Option<CodePtr>,
}

/// Something that changed.
#[derive(Clone, Copy, Default)]
pub struct Change<'a> {
    /// The full path of the file that changed.
    pub path: &'a [u16],
    /// Where in it the last component starts.
    pub last: usize,
    /// The full path of the directory that it stands in, where that is not what `path` says.
    pub parent: Option<&'a [u16]>,
    /// The stream of it that changed.
    pub stream: Option<&'a [u16]>,
    /// FilterMatch: FILE_NOTIFY_CHANGE_*.
    pub filter: u32,
    /// FILE_ACTION_*.
    pub action: u32,
    /// What an extended record tells.
    pub facts: Facts,
    /// TargetContext, for the traverse callback.
    pub target: u64,
    /// FilterContext, for the filter callback.
    pub filter_context: u64,
}

/// Requests that are to end: they do when this is dropped.
#[derive(Default)]
#[must_use = "the requests end when it is dropped, which no lock should be held for"]
pub struct Told(Vec<Ended>);

impl Drop for Told {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.0));
    }
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Told({})", self.0.len())
    }
}

struct Watcher {
    watch: Watch,
    /// FsContext of the request's file object: which directory it is.
    stream: u64,
    place: Box<dyn Place>,
    link: Option<Foreign<NOTIFY_CHANGE>>,
    kept: Kept,
    /// The first half of a rename was told: the second is to go with it (NT-NFY-18).
    half: bool,
    waiting: VecDeque<Irp>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.leave();
        packet::free_subject(self.watch.subject);
    }
}

#[derive(Default)]
struct Room {
    watchers: Mutex<Vec<Watcher>>,
    count: AtomicUsize,
    /// How many want extended records.
    extended: AtomicUsize,
}

/// Everything that is watched on a volume.
pub struct Notifier {
    room: Arc<Room>,
    key: u64,
}

impl std::fmt::Debug for Notifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Notifier({} watches)", self.room.count.load(Ordering::Relaxed))
    }
}

impl Default for Notifier {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.cleanup_all(None);
        ROOMS.remove(self.key);
    }
}

static ROOMS: LazyLock<Slab<Arc<Room>>> = LazyLock::new(Slab::new);

const SEPARATOR: u16 = b'\\' as u16;

fn trimmed(path: &[u16]) -> &[u16] {
    path.strip_suffix(&[SEPARATOR]).unwrap_or(path)
}

/// The name of a changed file relative to a watched directory, and whether it stands in the directory itself; `None`
/// when it is no business of the watch (NT-NFY-06, NT-NFY-16).
fn relative(base: &[u16], tree: bool, change: &Change<'_>) -> Option<(Vec<u16>, bool)> {
    let parent = trimmed(change.parent.unwrap_or(&change.path[..change.last.min(change.path.len())]));
    let below = parent.strip_prefix(trimmed(base))?;
    let direct = below.is_empty();
    if !direct && (!tree || below.first() != Some(&SEPARATOR)) {
        return None;
    }
    let mut name: Vec<u16> = below.strip_prefix(&[SEPARATOR]).unwrap_or(below).to_vec();
    if !name.is_empty() {
        name.push(SEPARATOR);
    }
    name.extend_from_slice(change.path.get(change.last..)?);
    if let Some(stream) = change.stream {
        name.push(u16::from(b':'));
        name.extend_from_slice(stream);
    }
    Some((name, direct))
}

impl Watcher {
    fn is(&self, list: Option<u64>, context: u64) -> bool {
        self.watch.context == context && list.is_none_or(|list| self.watch.list == list)
    }

    /// Leaves the file system's list.
    fn leave(&mut self) {
        if let Some(link) = self.link.take() {
            list::remove(link.at(NOTIFY_CHANGE::Links));
            pool::free(link);
        }
    }

    /// Takes out the first packet that nobody is cancelling.
    fn next(&mut self) -> Option<Irp> {
        let at = self.waiting.iter().position(|&packet| cancelable::take_routine(packet))?;
        self.waiting.remove(at)
    }

    /// Takes out all packets that nobody is cancelling, to end with `status`.
    fn end_all(&mut self, status: NtStatus, ended: &mut Vec<Ended>) {
        while let Some(packet) = self.next() {
            ended.push(Ended::new(packet, status));
        }
    }
}

/// A driver's routine that decides about one watch and one change.
struct Question {
    context: u64,
    list: u64,
    change: usize,
    traverse: Option<CodePtr>,
    subject: u64,
    allow: Option<CodePtr>,
}

impl Notifier {
    /// Makes one that nobody watches by: FsRtlNotifyInitializeSync.
    #[must_use]
    pub fn new() -> Self {
        let room = Arc::<Room>::default();
        let key = ROOMS.insert(Arc::clone(&room));
        Self { room, key }
    }

    /// Does anybody watch? What changes on a volume where nobody does pays this load and no more.
    #[inline]
    #[must_use]
    pub fn any(&self) -> bool {
        self.room.count.load(Ordering::Relaxed) != 0
    }

    /// Does anybody want [`Change::facts`]?
    #[must_use]
    pub fn wants_facts(&self) -> bool {
        self.room.extended.load(Ordering::Relaxed) != 0
    }

    /// FsRtlNotifyFilterChangeDirectory: the packet waits for a change, or gets what happened since the open's last one.
    /// The caller returns PENDING: the packet is marked so, and may be complete already.
    pub fn watch(&self, watch: Watch, place: Box<dyn Place>, packet: Irp) -> NtStatus {
        self.room.watch(watch, place, packet, self.key);
        NtStatus::PENDING
    }

    /// FsRtlNotifyFilterReportChange for each of `changes`, told together: the two halves of a rename, or what else
    /// happened in one step. A watch gives what it got of them to one request.
    ///
    /// The requests that get something are complete when the answer is dropped: a caller drops its locks before.
    pub fn report(&self, list: Option<u64>, changes: &[Change<'_>]) -> Told {
        if self.any() { self.room.report(list, changes) } else { Told(Vec::new()) }
    }

    /// FsRtlNotifyFullChangeDirectory without a packet: the directory is being deleted (NT-DEL-32). It is named by its
    /// file objects' FsContext, or by the context of its watch.
    pub fn deleted(&self, list: Option<u64>, directory: u64) -> Told {
        let mut ended = Vec::new();
        for watcher in self.room.watchers.lock().iter_mut() {
            if watcher.stream == directory || watcher.is(list, directory) {
                watcher.end_all(NtStatus::DELETE_PENDING, &mut ended);
            }
        }
        Told(ended)
    }

    /// FsRtlNotifyCleanup: the last handle of an open went, and its watch with it (NT-NFY-13).
    pub fn cleanup(&self, list: Option<u64>, context: u64) {
        self.room.end(|watcher| watcher.is(list, context));
    }

    /// FsRtlNotifyCleanupAll.
    pub fn cleanup_all(&self, list: Option<u64>) {
        self.room.end(|watcher| list.is_none_or(|list| watcher.watch.list == list));
    }
}

impl Room {
    fn watch(&self, watch: Watch, place: Box<dyn Place>, packet: Irp, key: u64) {
        irp::mark_pending(packet);
        let stack = irp::current(packet);
        let Some(file) = stack.ptr(IO_STACK_LOCATION::FileObject) else {
            packet::free_subject(watch.subject);
            return give(vec![Ended::new(packet, NtStatus::INVALID_PARAMETER)]);
        };
        let mut ended = Vec::new();
        let mut cancelled = false;
        let mut watchers = self.watchers.lock();
        if file.get(FILE_OBJECT::Flags) & FO_CLEANUP_COMPLETE != 0 {
            rule!(NT_NFY_13);
            packet::free_subject(watch.subject);
            ended.push(Ended::new(packet, NtStatus::NOTIFY_CLEANUP));
        } else {
            let known = watchers.iter().position(|watcher| watcher.is(Some(watch.list), watch.context));
            let at = match known {
                Some(at) => {
                    rule!(NT_NFY_08); // the rest of the request counts for nothing
                    packet::free_subject(watch.subject);
                    at
                }
                None => {
                    watchers.push(self.begin(watch, place, packet, file));
                    watchers.len() - 1
                }
            };
            let watcher = &mut watchers[at];
            if watcher.kept.is_empty() || watcher.half {
                watcher.waiting.push_back(packet);
                cancelled = pend(packet, key);
            } else {
                rule!(NT_NFY_09);
                let (status, bytes) = watcher.kept.take(packet::length(packet));
                ended.push(Ended { packet, status, bytes });
            }
        }
        drop(watchers);
        give(ended);
        if cancelled {
            self.cancel(packet);
        }
    }

    /// The first request of an open: what it asks for stays (NT-NFY-08).
    fn begin(&self, watch: Watch, place: Box<dyn Place>, packet: Irp, file: Foreign<FILE_OBJECT>) -> Watcher {
        let stack = irp::current(packet);
        let extended = stack.get(IO_STACK_LOCATION::MinorFunction) == IRP_MN_NOTIFY_CHANGE_DIRECTORY_EX
            && stack.get(IO_STACK_LOCATION::NotifyDirectoryEx_DirectoryNotifyInformationClass) == CLASS_EXTENDED;
        let form = if extended { Form::Extended } else { Form::Plain };
        let room = if watch.ignore_buffer { 0 } else { packet::length(packet) };
        let list = packet::list_at(watch.list);
        let link = list.and_then(|list| {
            let link = pool::zeroed::<NOTIFY_CHANGE>(pool::tag(b"FSrn"))?;
            list::insert_tail(list, link.at(NOTIFY_CHANGE::Links));
            Some(link)
        });
        self.count.fetch_add(1, Ordering::Relaxed);
        self.extended.fetch_add(usize::from(extended), Ordering::Relaxed);
        let stream = file.addr_at(FILE_OBJECT::FsContext);
        Watcher { watch, stream, place, link, kept: Kept::new(form, room), half: false, waiting: VecDeque::new() }
    }

    fn report(&self, list: Option<u64>, changes: &[Change<'_>]) -> Told {
        let refused = self.ask(list, changes);
        let mut ended = Vec::new();
        for watcher in self.watchers.lock().iter_mut() {
            if list.is_some_and(|list| list != watcher.watch.list) {
                continue;
            }
            let mut base = None;
            let mut told = false;
            for (at, change) in changes.iter().enumerate() {
                let who = (watcher.watch.list, watcher.watch.context, at);
                if watcher.watch.filter & change.filter == 0 || refused.contains(&who) {
                    continue;
                }
                let base = base.get_or_insert_with(|| watcher.place.path());
                let Some((name, _)) = relative(base, watcher.watch.tree, change) else { continue };
                watcher.kept.add(change.action, &name, &change.facts);
                watcher.half = change.action == FILE_ACTION_RENAMED_OLD_NAME;
                told = true;
            }
            if told
                && !watcher.half
                && let Some(packet) = watcher.next()
            {
                rule!(NT_NFY_11);
                let (status, bytes) = watcher.kept.take(packet::length(packet));
                ended.push(Ended { packet, status, bytes });
            }
        }
        Told(ended)
    }

    /// Asks the routines of drivers about the changes that their watches would be told of; returns what they refuse. They
    /// run without the lock.
    fn ask(&self, list: Option<u64>, changes: &[Change<'_>]) -> Vec<(u64, u64, usize)> {
        let mut questions = Vec::new();
        for watcher in self.watchers.lock().iter() {
            let watch = &watcher.watch;
            if (watch.traverse.is_none() && watch.allow.is_none()) || list.is_some_and(|list| list != watch.list) {
                continue;
            }
            let base = watcher.place.path();
            for (at, change) in changes.iter().enumerate() {
                if watch.filter & change.filter != 0
                    && let Some((_, direct)) = relative(&base, watch.tree, change)
                {
                    questions.push(Question {
                        context: watch.context,
                        list: watch.list,
                        change: at,
                        traverse: watch.traverse.filter(|_| !direct),
                        subject: watch.subject,
                        allow: watch.allow,
                    });
                }
            }
        }
        questions.retain(|question| {
            let change = &changes[question.change];
            let traverse = question.traverse.is_none_or(|routine| {
                let answer = callout::call(routine, &[question.context, change.target, question.subject]);
                answer.is_ok_and(|status| !NtStatus(status as u32).is_error())
            });
            let allow = question.allow.is_none_or(|routine| {
                callout::call(routine, &[question.context, change.filter_context]).is_ok_and(|yes| yes & 0xFF != 0)
            });
            !(traverse && allow)
        });
        questions.into_iter().map(|question| (question.list, question.context, question.change)).collect()
    }

    /// Ends watches: what waits gets NOTIFY_CLEANUP.
    fn end(&self, which: impl Fn(&Watcher) -> bool) {
        let (mut ended, mut gone) = (Vec::new(), Vec::new());
        {
            let mut watchers = self.watchers.lock();
            let mut at = 0;
            while at < watchers.len() {
                if !which(&watchers[at]) {
                    at += 1;
                    continue;
                }
                let mut watcher = watchers.swap_remove(at);
                self.count.fetch_sub(1, Ordering::Relaxed);
                let extended = usize::from(watcher.kept.form() == Form::Extended);
                self.extended.fetch_sub(extended, Ordering::Relaxed);
                watcher.end_all(NtStatus::NOTIFY_CLEANUP, &mut ended);
                watcher.leave();
                gone.push(watcher);
            }
        }
        give(ended);
    }

    /// A waiting packet was cancelled; whoever took its cancel routine out ends it.
    fn cancel(&self, packet: Irp) {
        for watcher in self.watchers.lock().iter_mut() {
            watcher.waiting.retain(|each| *each != packet);
        }
        rule!(NT_NFY_12);
        give(vec![Ended::new(packet, NtStatus::CANCELLED)]);
    }
}

/// The cancel routine of waiting packets found this one; `key` stands in it.
fn cancel(key: u64, packet: Irp) {
    match ROOMS.get(key).map(|room| Arc::clone(&room)) {
        Some(room) => room.cancel(packet),
        None => give(vec![Ended::new(packet, NtStatus::CANCELLED)]),
    }
}
