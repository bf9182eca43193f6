//! Nodes: what the kernel knows by number, and the names under which we open it.
//!
//! Room: front/fuse. Called by: every operation. Calls: nothing. Locks: one over the table, never held across a request.
//! A node's number is the volume's file id, except that the root is 1. Opens go by path, as on Windows, so that filters
//! see names: a node keeps the names by which the kernel reached it, newest last.

use crate::attr::Attr;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The root's number.
pub(crate) const ROOT: u64 = 1;

#[derive(Default)]
struct Node {
    lookups: u64,
    names: Vec<(u64, Vec<u16>)>,
    /// What the kernel was last told of a directory.
    directory: Option<Box<Attr>>,
    /// How far a file reaches, as far as this door knows: see `reach`.
    reach: Arc<AtomicU64>,
}

#[derive(Default)]
struct Table {
    nodes: HashMap<u64, Node>,
    /// Which node a name leads to, as far as the kernel was told.
    by_name: HashMap<(u64, Vec<u16>), u64>,
}

/// The table.
#[derive(Default)]
pub(crate) struct Nodes {
    table: Mutex<Table>,
}

pub(crate) const SEPARATOR: u16 = b'\\' as u16;
/// A path of more components than this is a loop.
const DEEPEST: usize = 16_384;

impl Table {
    fn drop_name(&mut self, parent: u64, name: &[u16]) -> Option<u64> {
        let node = self.by_name.remove(&(parent, name.to_vec()))?;
        if let Some(entry) = self.nodes.get_mut(&node) {
            entry.names.retain(|(at, there)| *at != parent || there != name);
        }
        Some(node)
    }
    fn add_name(&mut self, node: u64, parent: u64, name: &[u16]) {
        self.drop_name(parent, name);
        self.by_name.insert((parent, name.to_vec()), node);
        self.nodes.entry(node).or_default().names.push((parent, name.to_vec()));
    }
}

impl Nodes {
    /// Notes that the kernel was told about a node, and of which size it is.
    pub(crate) fn found(&self, node: u64, size: u64, parent: u64, name: &[u16]) {
        let mut table = self.table.lock();
        let entry = table.nodes.entry(node).or_default();
        entry.lookups += 1;
        entry.reach.store(size, Ordering::Relaxed);
        // Most often it is known, and by this name.
        if !entry.names.last().is_some_and(|(at, there)| *at == parent && there == name) {
            table.add_name(node, parent, name);
        }
    }

    /// Up to where a file is known to reach, for all who have it open: what the kernel was told, and what was written or set
    /// since. Others may have made it longer, or cut it.
    pub(crate) fn reach(&self, node: u64) -> Arc<AtomicU64> {
        Arc::clone(&self.table.lock().nodes.entry(node).or_default().reach)
    }

    /// Notes what the kernel is told of a directory.
    pub(crate) fn told(&self, directory: &Attr) {
        let mut table = self.table.lock();
        let told = &mut table.nodes.entry(directory.node).or_default().directory;
        match told {
            Some(told) => **told = *directory,
            None => *told = Some(Box::new(*directory)),
        }
    }

    /// Returns the group that a directory with the set-group-id bit gives to what is made in it, as the kernel was last told: it
    /// asks before each create, to judge by the answer whether that is allowed.
    pub(crate) fn given(&self, node: u64) -> Option<u32> {
        let table = self.table.lock();
        let told = table.nodes.get(&node)?.directory.as_ref()?;
        (told.mode & 0o2000 != 0).then_some(told.gid)
    }

    /// Returns what a directory was when it lost its name; `None` for one that has a name, and for a file.
    pub(crate) fn gone(&self, node: u64) -> Option<Attr> {
        let table = self.table.lock();
        let entry = table.nodes.get(&node).filter(|entry| node != ROOT && entry.names.is_empty())?;
        entry.directory.as_ref().map(|told| Attr { links: 0, ..**told })
    }

    /// Notes that the kernel forgot.
    pub(crate) fn forget(&self, node: u64, lookups: u64) {
        let mut table = self.table.lock();
        let Some(entry) = table.nodes.get_mut(&node) else { return };
        entry.lookups = entry.lookups.saturating_sub(lookups);
        if entry.lookups == 0 {
            for name in table.nodes.remove(&node).map(|entry| entry.names).unwrap_or_default() {
                table.by_name.remove(&name);
            }
        }
    }

    /// Notes that a name is gone.
    pub(crate) fn unnamed(&self, parent: u64, name: &[u16]) {
        self.table.lock().drop_name(parent, name);
    }

    /// Notes that what had one name has another; what had that other name lost it.
    pub(crate) fn renamed(&self, from: (u64, &[u16]), to: (u64, &[u16])) {
        let mut table = self.table.lock();
        match table.drop_name(from.0, from.1) {
            Some(node) => table.add_name(node, to.0, to.1),
            None => {
                table.drop_name(to.0, to.1);
            }
        }
    }

    /// Returns a path of the node from the volume's root, empty for the root; `None` when it has no name any more.
    #[must_use]
    pub(crate) fn path(&self, node: u64) -> Option<Vec<u16>> {
        self.path_with(node, 0)
    }

    /// As `path`, with room for so many units more.
    fn path_with(&self, node: u64, room: usize) -> Option<Vec<u16>> {
        let table = self.table.lock();
        let (mut at, mut parts) = (node, Vec::new());
        while at != ROOT {
            let (parent, name) = table.nodes.get(&at)?.names.last()?;
            parts.push(name);
            at = *parent;
            if parts.len() > DEEPEST {
                return None;
            }
        }
        let mut path = Vec::with_capacity(parts.iter().map(|part| part.len() + 1).sum::<usize>() + room);
        for part in parts.iter().rev() {
            path.push(SEPARATOR);
            path.extend_from_slice(part);
        }
        Some(path)
    }

    /// Returns the path of a name in a directory.
    #[must_use]
    pub(crate) fn path_of(&self, parent: u64, name: &[u16]) -> Option<Vec<u16>> {
        let mut path = self.path_with(parent, name.len() + 1)?;
        path.push(SEPARATOR);
        path.extend_from_slice(name);
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: Option<Vec<u16>>) -> Option<String> {
        path.map(|path| String::from_utf16_lossy(&path))
    }
    fn units(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    #[test]
    fn paths_follow_renames_of_directories_and_lose_removed_names() {
        let nodes = Nodes::default();
        nodes.found(20, 0, ROOT, &units("d"));
        nodes.found(21, 0, 20, &units("f"));
        nodes.found(21, 0, ROOT, &units("hard"));
        assert_eq!(text(nodes.path(21)).as_deref(), Some("\\hard"));
        nodes.unnamed(ROOT, &units("hard"));
        assert_eq!(text(nodes.path(21)).as_deref(), Some("\\d\\f"));
        nodes.renamed((ROOT, &units("d")), (ROOT, &units("e")));
        assert_eq!(text(nodes.path(21)).as_deref(), Some("\\e\\f"));
        nodes.unnamed(20, &units("f"));
        assert_eq!(nodes.path(21), None);
        nodes.forget(20, 1);
        assert_eq!(nodes.path(20), None);
        assert_eq!(nodes.path(ROOT), Some(Vec::new()));
    }

    #[test]
    fn a_directory_that_lost_its_name_is_what_it_was_without_a_link() {
        let nodes = Nodes::default();
        nodes.found(20, 0, ROOT, &units("d"));
        nodes.told(&Attr { node: 20, mode: libc::S_IFDIR | 0o2750, gid: 7, links: 1, ..Attr::default() });
        assert_eq!((nodes.given(20), nodes.gone(20).is_none()), (Some(7), true));
        nodes.unnamed(ROOT, &units("d"));
        assert_eq!(nodes.gone(20).map(|attr| (attr.links, attr.permissions())), Some((0, 0o2750)));
        nodes.forget(20, 1);
        assert!(nodes.gone(20).is_none());
    }
}
