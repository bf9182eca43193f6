//! Rename, link and delete: FileRenameInformation, FileLinkInformation, FileDispositionInformation and their newer forms.
//!
//! Room: drivers/memfs. Called by: `fileinfo`. IRQL: PASSIVE_LEVEL. Locks: the tree, while names change.
//! Source: the pages of the three structures; nt-fs.md sections 4 to 6; rules NT-REN, NT-DEL, NT-LNK.

use crate::link::{Link, Mark, Spot};
use crate::mount::Mount;
use crate::node::{Node, Open, Units, Volume};
use crate::notice::{self, Named, path_in};
use crate::oplock::{Kept, Turn};
use crate::path::check;
use nt_abi::io::{
    FILE_ACTION_ADDED, FILE_ACTION_REMOVED, FILE_ACTION_REMOVED_STREAM, FILE_ACTION_RENAMED_NEW_NAME,
    FILE_ACTION_RENAMED_OLD_NAME, FILE_ATTRIBUTE_READONLY, FILE_OBJECT, FO_OPENED_CASE_SENSITIVE,
};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;
use nt_trace::rule;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const DELETE: u32 = 1;
const DELETE_POSIX: u32 = 2;
const ON_CLOSE: u32 = 8;
const IGNORE_READONLY: u32 = 16;
const VALID_DISPOSITION: u32 = 0x1F;

fn is_readonly(node: &Node) -> NtResult<bool> {
    Ok(node.object.meta()?.attributes & FILE_ATTRIBUTE_READONLY != 0)
}

/// A directory with something in it.
pub(crate) fn is_filled(node: &Node) -> NtResult<bool> {
    node.object.directory().map_or(Ok(false), |names| names.is_empty().map(|empty| !empty))
}

/// Marks a link, and counts it on its file.
pub(crate) fn mark(link: &Link, node: &Node, to: Mark) {
    let before = link.set_mark(to);
    match (before == Mark::None, to == Mark::None) {
        (true, false) => _ = node.marked.fetch_add(1, Ordering::Relaxed),
        (false, true) => _ = node.marked.fetch_sub(1, Ordering::Relaxed),
        _ => {}
    }
}

/// The name is taken away: its opens stay without one.
fn gone(link: &Link, node: &Node) {
    mark(link, node, Mark::None);
    link.vanish();
}

/// Takes an open's name out of its directory, unless it is a directory that filled up; tells whether it went.
pub(crate) fn unlink(mount: &Mount, open: &Open, link: &Link) -> NtResult<bool> {
    let node = open.file();
    if is_filled(node)? {
        mark(link, node, Mark::None); // NT-DEL-26
        return Ok(false);
    }
    let spot = link.spot();
    let remembered = mount.remembered(node);
    spot.parent.directory()?.remove(&spot.name, node)?;
    mount.name_went(remembered, &spot.parent, &spot.name, open.is_by_short());
    mount.directory_went(node);
    gone(link, node);
    Ok(true)
}

/// Disposition: `newer` tells the flags of the newer class from the older one's Boolean.
pub(crate) fn dispose(volume: &Volume, file: Foreign<FILE_OBJECT>, open: &Open, flags: u32) -> NtResult<()> {
    if flags & !VALID_DISPOSITION != 0 {
        return NtStatus::INVALID_PARAMETER.fail(); // NT-DEL-20
    }
    let _tree = volume.tree.lock();
    let delete = flags & DELETE != 0;
    let link = open.link.as_ref();
    if link.is_some_and(|link| link.is_gone()) {
        return NtStatus::FILE_DELETED.fail(); // NT-DEL-15
    }
    // NT-DEL-10, NT-DEL-12: what runs stays; what is mapped stays, but for who deletes by another way.
    let classic = flags & (DELETE_POSIX | ON_CLOSE) == 0;
    if delete && (open.node.is_running() || (classic && open.node.is_mapped())) {
        rule!(NT_CC_75);
        return NtStatus::CANNOT_DELETE.fail();
    }
    if open.node.named.is_some() && flags & ON_CLOSE == 0 {
        if delete && flags & IGNORE_READONLY == 0 && !open.file().is_directory() && is_readonly(open.file())? {
            return NtStatus::CANNOT_DELETE.fail();
        }
        return crate::stream::dispose(file, open, delete, flags & DELETE_POSIX != 0); // NT-DEL-31
    }
    if delete && open.node.named.is_none() {
        let link = link.ok_or(NtStatus::CANNOT_DELETE.error())?; // NT-DEL-37
        if flags & IGNORE_READONLY == 0 && is_readonly(open.file())? {
            return NtStatus::CANNOT_DELETE.fail();
        }
        if is_filled(open.file())? {
            return NtStatus::DIRECTORY_NOT_EMPTY.fail();
        }
        link.spot().parent.directory()?.lets_go()?;
        if flags & ON_CLOSE == 0 {
            let posix = flags & DELETE_POSIX != 0;
            mark(link, open.file(), if posix { Mark::Posix(file.addr()) } else { Mark::Classic });
            notice::doomed(&open.mount.changes, open.file());
            return Ok(());
        }
    }
    if flags & ON_CLOSE != 0 {
        // NT-DEL-18, NT-DEL-19: only what was opened so can be changed.
        if !open.opened_to_delete {
            return NtStatus::NOT_SUPPORTED.fail();
        }
        *open.delete_on_close.lock() = delete;
        return Ok(());
    }
    if let Some(link) = link {
        mark(link, open.file(), Mark::None);
    }
    Ok(())
}

pub(crate) const REPLACE: u32 = 1;
const POSIX: u32 = 2;
const IGNORE_READONLY_TARGET: u32 = 0x40;
pub(crate) const VALID_FLAGS: u32 = 0x1FF;

/// Where a rename or link leads.
pub(crate) struct Target {
    pub(crate) directory: Arc<Node>,
    /// The directory's link, `None` for the root.
    pub(crate) link: Option<Arc<Link>>,
    pub(crate) name: Units,
}

impl Target {
    /// A simple name: the directory that the source stands in (NT-REN-19, NT-REN-20).
    pub(crate) fn beside(open: &Open, name: &[u16]) -> NtResult<Self> {
        let source = open.link.as_ref().ok_or(NtStatus::INVALID_PARAMETER.error())?.spot();
        Ok(Self { directory: source.parent, link: source.up, name: name.to_vec() })
    }
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Rename,
    Link,
}

/// FileRenameInformation, FileLinkInformation. What they replaced gives its room back before they return (NT-CC-74).
pub(crate) fn rename(
    volume: &Volume,
    file: Foreign<FILE_OBJECT>,
    open: &Open,
    target: impl FnOnce() -> NtResult<Target>,
    flags: u32,
    kind: (Kind, bool),
    turn: &Turn,
) -> NtResult<()> {
    if let Some(replaced) = give_name(volume, file, open, target, flags, kind, turn)? {
        // What cannot be dropped goes as any dirty data does; the name is given.
        let _later = crate::stream::replaced(&replaced);
    }
    Ok(())
}

/// Gives the name, and returns the file that had it.
fn give_name(
    volume: &Volume,
    file: Foreign<FILE_OBJECT>,
    open: &Open,
    target: impl FnOnce() -> NtResult<Target>,
    flags: u32,
    (kind, from_user): (Kind, bool),
    turn: &Turn,
) -> NtResult<Option<Arc<Node>>> {
    if flags & !VALID_FLAGS != 0 {
        return NtStatus::INVALID_PARAMETER.fail(); // NT-REN-35
    }
    let _kept = Kept::begin();
    let _tree = volume.tree.lock();
    if kind == Kind::Link && open.file().is_directory() {
        return NtStatus::FILE_IS_A_DIRECTORY.fail(); // NT-LNK-04
    }
    let source = open.link.clone().ok_or(NtStatus::INVALID_PARAMETER.error())?; // NT-REN-25
    if source.is_pending() {
        return NtStatus::ACCESS_DENIED.fail(); // NT-REN-28, NT-LNK-10
    }
    let mut target = target()?;
    check(&target.name)?; // NT-REN-29
    if target.link.as_ref().is_some_and(|link| link.is_pending()) {
        return NtStatus::DELETE_PENDING.fail();
    }
    if kind == Kind::Rename && open.file().is_directory() && source.is_held_below() {
        let beneath = |each: &Arc<Open>| each.link.as_ref().is_some_and(|link| link.is_under(&source));
        for each in volume.oplocked().iter().filter(|each| beneath(each)) {
            turn.free_name(&each.node)?; // NT-REN-24
        }
    }
    let inside = target.link.as_ref().is_some_and(|link| link.is_under(&source));
    if kind == Kind::Rename && open.file().is_directory() && (inside || source.is_held_below()) {
        return NtStatus::ACCESS_DENIED.fail(); // NT-REN-23, NT-REN-26
    }
    let exact = file.get(FILE_OBJECT::Flags) & FO_OPENED_CASE_SENSITIVE != 0;
    let mount = &open.mount;
    let found = mount.shorts.child(&target.directory, &target.name, exact)?.map(|found| (found.name, found.node));
    let tunnelled = match (&found, kind) {
        (None, Kind::Rename) => mount.name_for(&target.directory, &target.name)?,
        _ => None,
    };
    let asked = tunnelled.map(|long| std::mem::replace(&mut target.name, long));
    let step = Step { volume, open, source: &source, target, asked, flags, from_user, turn };
    let old = source.parent();
    let before = open.mount.changes.any().then(|| (source.path(), source.parent()));
    let taken = before.as_ref().and(found.clone());
    let lost = taken.as_ref().map(|(_, node)| notice::streams_of(&open.mount.changes, node)).unwrap_or_default();
    let replaced = found.as_ref().map(|(_, node)| Arc::clone(node)).filter(|node| !Arc::ptr_eq(node, open.file()));
    match (found, kind) {
        (Some((name, node)), _) if step.is_source(&name, &node) => step.onto_itself(&name, kind),
        (Some((name, node)), _) => step.over(&name, &node, kind),
        (None, Kind::Link) => step.link(None),
        (None, Kind::Rename) => step.move_to(None),
    }?;
    crate::oplock::children(&old, file);
    crate::oplock::children(&step.target.directory, file);
    if let Some((path, parent)) = before {
        step.tell(&path, &parent, taken, &lost, kind);
    }
    Ok(replaced)
}

struct Step<'a> {
    volume: &'a Volume,
    open: &'a Open,
    source: &'a Arc<Link>,
    target: Target,
    /// The short name that was asked for, where the target's is the long one that is tunnelled for it.
    asked: Option<Units>,
    flags: u32,
    from_user: bool,
    turn: &'a Turn,
}

impl Step<'_> {
    fn is_source(&self, name: &[u16], node: &Arc<Node>) -> bool {
        let spot = self.source.spot();
        Arc::ptr_eq(node, self.open.file()) && Arc::ptr_eq(&spot.parent, &self.target.directory) && spot.name == name
    }

    /// Tells who watches of what the step did to which names (NT-REN-32).
    fn tell(&self, before: &[u16], parent: &Arc<Node>, taken: Option<(Units, Arc<Node>)>, lost: &[Units], kind: Kind) {
        let (node, to) = (self.open.file(), &self.target);
        let after = path_in(to.link.as_ref(), &to.name);
        let same_directory = Arc::ptr_eq(parent, &to.directory);
        let mut all = Vec::new();
        let taken = taken.map(|(name, there)| (path_in(to.link.as_ref(), &name), there));
        // Another name of the file itself stays where it is, but for its case.
        let own = taken.as_ref().filter(|(_, there)| Arc::ptr_eq(there, node));
        let named = |path, node, parent, action| Named { path, node, parent, action, stream: None };
        if let Some((path, there)) = taken.as_ref().filter(|_| own.is_none()) {
            all.extend(lost.iter().filter(|_| there.object.links() == Ok(0)).map(|stream| Named {
                stream: Some(stream),
                ..named(path, there, &to.directory, FILE_ACTION_REMOVED_STREAM)
            }));
            all.push(named(path, there, &to.directory, FILE_ACTION_REMOVED));
            notice::doomed(&self.open.mount.changes, there);
        }
        let from = match (kind, own) {
            (Kind::Rename, Some((path, _))) if path != before => {
                all.push(named(before, node, parent, FILE_ACTION_REMOVED));
                Some(path.as_slice())
            }
            (Kind::Rename, _) if same_directory => Some(before),
            (Kind::Rename, _) => {
                all.push(named(before, node, parent, FILE_ACTION_REMOVED));
                None
            }
            (Kind::Link, own) => own.map(|(path, _)| path.as_slice()),
        };
        match from {
            Some(path) if path == after => {}
            Some(path) => {
                all.push(named(path, node, &to.directory, FILE_ACTION_RENAMED_OLD_NAME));
                all.push(named(&after, node, &to.directory, FILE_ACTION_RENAMED_NEW_NAME));
            }
            None => all.push(named(&after, node, &to.directory, FILE_ACTION_ADDED)),
        }
        notice::names(&self.open.mount.changes, &all);
    }

    fn link(&self, replaced: Option<&Arc<Node>>) -> NtResult<()> {
        let (to, file) = (&self.target, self.open.file());
        to.directory.directory()?.link(&to.name, file, replaced)?;
        self.open.mount.shorts.came(&to.directory, &to.name, None)
    }

    /// Moves the source to the free name; `replaced` gives its place up in the same step.
    fn move_to(&self, replaced: Option<&Arc<Node>>) -> NtResult<()> {
        let (spot, to) = (self.source.spot(), &self.target);
        let (mount, file) = (&self.open.mount, self.open.file());
        let remembered = mount.remembered(file);
        spot.parent.directory()?.rename(&spot.name, file, &to.directory, &to.name, replaced)?;
        mount.name_went(remembered, &spot.parent, &spot.name, self.open.is_by_short());
        match replaced {
            None => mount.name_came(&to.directory, &to.name, self.asked.as_deref().unwrap_or(&to.name), file),
            Some(_) => mount.shorts.came(&to.directory, &to.name, None)?,
        }
        self.open.by_short.fetch_and(!1, Ordering::Relaxed);
        let (parent, up) = (Arc::clone(&to.directory), to.link.clone());
        self.source.relocate(Spot { parent, name: to.name.clone(), up });
        Ok(())
    }

    /// The target is the very name of the source, in this or another case (NT-REN-15, NT-REN-16, NT-LNK-05, NT-LNK-06).
    fn onto_itself(&self, name: &[u16], kind: Kind) -> NtResult<()> {
        if kind == Kind::Link && self.flags & REPLACE == 0 {
            return NtStatus::OBJECT_NAME_COLLISION.fail();
        }
        if self.target.name == name { Ok(()) } else { self.move_to(None) }
    }

    /// Something else has the name.
    fn over(&self, name: &[u16], node: &Arc<Node>, kind: Kind) -> NtResult<()> {
        if self.flags & REPLACE == 0 {
            return NtStatus::OBJECT_NAME_COLLISION.fail();
        }
        let directory = self.target.directory.directory()?;
        if Arc::ptr_eq(node, self.open.file()) {
            return self.onto_sibling(name, kind);
        }
        self.replaceable(node)?;
        crate::security::may_delete(node, &self.target.directory, self.from_user)?;
        let taken = self.volume.links.find(&self.target.directory, name);
        let same_case = self.target.name == name;
        if !same_case {
            directory.remove(name, node)?;
            self.open.mount.shorts.went(&self.target.directory, name);
        }
        match kind {
            Kind::Link => self.link(same_case.then_some(node))?,
            Kind::Rename => self.move_to(same_case.then_some(node))?,
        }
        self.open.mount.directory_went(node);
        if let Some(link) = taken {
            gone(&link, node); // NT-REN-12: at once, its opens stay
        }
        Ok(())
    }

    /// The name is another link of the same file: a rename takes the source's name away, a link may change the case.
    fn onto_sibling(&self, name: &[u16], kind: Kind) -> NtResult<()> {
        let (spot, to) = (self.source.spot(), &self.target);
        if kind == Kind::Rename {
            spot.parent.directory()?.remove(&spot.name, self.open.file())?;
            self.open.mount.shorts.went(&spot.parent, &spot.name);
            let (parent, up) = (Arc::clone(&to.directory), to.link.clone());
            self.source.relocate(Spot { parent, name: name.to_vec(), up });
        }
        if to.name != name {
            to.directory.directory()?.rename(name, self.open.file(), &to.directory, &to.name, None)?;
            self.open.mount.shorts.went(&to.directory, name);
            self.open.mount.shorts.came(&to.directory, &to.name, None)?;
        }
        Ok(())
    }

    /// May `there` make way?
    fn replaceable(&self, there: &Arc<Node>) -> NtResult<()> {
        let posix = self.flags & POSIX != 0;
        match (self.open.file().is_directory(), there.is_directory()) {
            (_, true) if !posix => return NtStatus::ACCESS_DENIED.fail(), // NT-REN-08
            (false, true) => return NtStatus::FILE_IS_A_DIRECTORY.fail(), // NT-REN-14
            (true, false) if posix => return NtStatus::NOT_A_DIRECTORY.fail(),
            (true, true) if is_filled(there)? => return NtStatus::DIRECTORY_NOT_EMPTY.fail(),
            _ => {}
        }
        if self.flags & IGNORE_READONLY_TARGET == 0 && is_readonly(there)? {
            return NtStatus::ACCESS_DENIED.fail(); // NT-REN-09
        }
        crate::stream::may_be_replaced(there, posix)?;
        self.turn.free_name(there)?; // NT-REN-24
        let sharing = there.sharing.lock();
        if posix && !sharing.counts.lets_delete() {
            return NtStatus::SHARING_VIOLATION.fail(); // NT-REN-10, NT-REN-11
        }
        if (!posix && (sharing.handles != 0 || there.is_mapped())) || there.is_running() {
            return NtStatus::ACCESS_DENIED.fail(); // NT-REN-06
        }
        Ok(())
    }
}
