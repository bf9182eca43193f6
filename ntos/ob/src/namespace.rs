//! The namespace of one machine: directories, symbolic links, named objects.
//!
//! Room: ntos/ob. IRQL: PASSIVE_LEVEL. Locks: the tree's lock; no object routine runs under it.
//! Source: "Object Names", IoCreateSymbolicLink pages. `\??`, `\DosDevices` and `\GLOBAL??` are one directory.

use crate::object::ObjectRef;
use crate::types::ObjectType;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_ke::RwLock;
use std::collections::HashMap;
use std::sync::Arc;

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum Node {
    /// A directory of names.
    Directory,
    /// A symbolic link: the rest of the name follows this target.
    Link(String),
    /// An object, kept by the namespace.
    Object(ObjectRef<Bytes>, ObjectType),
}

/// The result of a walk.
#[derive(Debug)]
pub struct Lookup {
    /// The object reached.
    pub object: ObjectRef<Bytes>,
    /// What it is.
    pub kind: ObjectType,
    /// What is left of the name (UTF-16), with its leading backslash if there was one: a device parses it.
    pub rest: Vec<u16>,
    /// The object's own name.
    pub name: Arc<str>,
}

/// A machine's names. Keys are upper-cased paths; the namespace ignores case, as Windows' does for devices.
#[derive(Default)]
pub struct Namespace {
    names: RwLock<HashMap<String, (Arc<str>, Node)>>,
}

const MOST_LINKS: usize = 32;

/// What leads to one directory, in upper case, and its own name.
const ALIASES: [&str; 2] = ["\\??", "\\GLOBAL??"];
const DOS_DEVICES: &str = "\\DOSDEVICES";
/// Units of a path that room is made for at first: an object's own name is seldom longer.
const MOST_KEPT: usize = 32;

fn canonical(path: &str) -> String {
    let path = path.trim_end_matches('\\').to_uppercase();
    for alias in ALIASES {
        if let Some(rest) = path.strip_prefix(alias)
            && (rest.is_empty() || rest.starts_with('\\'))
        {
            return format!("{DOS_DEVICES}{rest}");
        }
    }
    path
}

/// Adds units in upper case; tells whether they are UTF-16.
fn push_upper(key: &mut String, units: &[u16]) -> bool {
    if units.iter().all(|&unit| unit < 0x80) {
        key.extend(units.iter().map(|&unit| char::from(unit as u8).to_ascii_uppercase()));
        return true;
    }
    let Ok(text) = String::from_utf16(units) else { return false };
    key.push_str(&text.to_uppercase());
    true
}

impl Namespace {
    /// Makes a namespace with the directories every machine has.
    #[must_use]
    pub fn new() -> Self {
        let tree = Self::default();
        for directory in [
            "\\Device",
            "\\DosDevices",
            "\\Driver",
            "\\FileSystem",
            "\\FileSystem\\Filters",
            "\\BaseNamedObjects",
            "\\Callback",
        ] {
            let _exists = tree.insert(directory, Node::Directory);
        }
        tree
    }

    /// Gives a name to a node; OBJECT_NAME_COLLISION if it is taken, OBJECT_PATH_NOT_FOUND without its directory.
    pub fn insert(&self, path: &str, node: Node) -> NtResult<()> {
        let key = canonical(path);
        let Some((parent, last)) = key.rsplit_once('\\') else { return NtStatus::OBJECT_PATH_SYNTAX_BAD.fail() };
        if last.is_empty() {
            return NtStatus::OBJECT_NAME_INVALID.fail();
        }
        let mut names = self.names.write();
        if !parent.is_empty() && !matches!(names.get(parent), Some((_, Node::Directory))) {
            return NtStatus::OBJECT_PATH_NOT_FOUND.fail();
        }
        if names.contains_key(&key) {
            return NtStatus::OBJECT_NAME_COLLISION.fail();
        }
        names.insert(key, (path.into(), node));
        Ok(())
    }

    /// Takes a name away; OBJECT_NAME_NOT_FOUND if there is none.
    pub fn remove(&self, path: &str) -> NtResult<()> {
        let removed = self.names.write().remove(&canonical(path));
        removed.map(drop).ok_or(NtStatus::OBJECT_NAME_NOT_FOUND.error())
    }

    /// Takes away every name of an object.
    pub fn remove_object(&self, body: nt_cell::Foreign<Bytes>) {
        let is_other = |node: &Node| !matches!(node, Node::Object(object, _) if object.body() == body);
        self.names.write().retain(|_, (_, node)| is_other(node));
    }

    /// Returns the name of an object; of several, the first in order.
    #[must_use]
    pub fn name_of(&self, body: nt_cell::Foreign<Bytes>) -> Option<String> {
        let names = self.names.read();
        let own = names.values().filter(|(_, node)| matches!(node, Node::Object(object, _) if object.body() == body));
        own.map(|(name, _)| name.to_string()).min()
    }

    /// Returns the target of a symbolic link.
    #[must_use]
    pub fn link_target(&self, path: &str) -> Option<String> {
        match self.names.read().get(&canonical(path)) {
            Some((_, Node::Link(target))) => Some(target.clone()),
            _ => None,
        }
    }

    /// Walks a path, following links, to the first object; the rest of the name is the object's to parse.
    pub fn lookup(&self, path: &[u16]) -> NtResult<Lookup> {
        let mut next;
        let mut path = path;
        for _ in 0..MOST_LINKS {
            match self.step(path)? {
                Step::Found(found) => return Ok(found),
                Step::Follow(target) => next = target,
            }
            path = &next;
        }
        NtStatus::OBJECT_PATH_NOT_FOUND.fail()
    }

    /// As [`Namespace::lookup`], for an open that follows nothing (OBJ_DONT_REPARSE): REPARSE_POINT_ENCOUNTERED at a link.
    pub fn lookup_without_links(&self, path: &[u16]) -> NtResult<Lookup> {
        match self.step(path)? {
            Step::Found(found) => Ok(found),
            Step::Follow(_) => NtStatus::REPARSE_POINT_ENCOUNTERED.fail(),
        }
    }

    fn step(&self, path: &[u16]) -> NtResult<Step> {
        const SEPARATOR: u16 = b'\\' as u16;
        if path.first() != Some(&SEPARATOR) {
            return NtStatus::OBJECT_PATH_SYNTAX_BAD.fail();
        }
        // The canonical form of what was walked so far, made as it goes: each open of a file comes here.
        let mut key = String::with_capacity(2 * path.len().min(MOST_KEPT));
        let names = self.names.read();
        let mut end = 0;
        while end < path.len() {
            let start = end;
            end = path[end + 1..].iter().position(|&c| c == SEPARATOR).map_or(path.len(), |at| end + 1 + at);
            if !push_upper(&mut key, &path[start..end]) {
                return NtStatus::OBJECT_NAME_INVALID.fail();
            }
            if start == 0 && ALIASES.contains(&&*key) {
                key.clear();
                key.push_str(DOS_DEVICES);
            }
            let last = end == path.len();
            match names.get(key.trim_end_matches('\\')) {
                Some((_, Node::Directory)) if last => return NtStatus::OBJECT_NAME_INVALID.fail(),
                Some((_, Node::Directory)) => {}
                Some((_, Node::Link(target))) => {
                    let mut next: Vec<u16> = target.encode_utf16().collect();
                    next.extend_from_slice(&path[end..]);
                    return Ok(Step::Follow(next));
                }
                Some((name, Node::Object(object, kind))) => {
                    let (object, rest, name) = (object.clone(), path[end..].to_vec(), Arc::clone(name));
                    return Ok(Step::Found(Lookup { object, kind: *kind, rest, name }));
                }
                None if last => return NtStatus::OBJECT_NAME_NOT_FOUND.fail(),
                None => return NtStatus::OBJECT_PATH_NOT_FOUND.fail(),
            }
        }
        NtStatus::OBJECT_NAME_NOT_FOUND.fail()
    }

    /// Lists the names that stand directly in a directory.
    #[must_use]
    pub fn list(&self, directory: &str) -> Vec<String> {
        let prefix = format!("{}\\", canonical(directory));
        let names = self.names.read();
        let inside = names.iter().filter_map(|(key, (name, _))| {
            key.strip_prefix(&prefix).filter(|rest| !rest.contains('\\')).map(|_| name.to_string())
        });
        let mut list: Vec<String> = inside.collect();
        list.sort();
        list
    }

    /// Drops every name: the machine is shut down.
    pub fn clear(&self) {
        let all = std::mem::take(&mut *self.names.write());
        drop(all);
    }
}

enum Step {
    Found(Lookup),
    Follow(Vec<u16>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(tree: &Namespace, path: &str) -> Option<NtStatus> {
        tree.lookup(&path.encode_utf16().collect::<Vec<_>>()).err().map(|error| error.status())
    }

    #[test]
    fn a_walk_finds_what_was_named_in_any_case_and_by_either_alias() {
        let tree = Namespace::new();
        for (name, target) in [("\\??\\C:", "\\Device"), ("\\Device\\Gr\u{fc}n", "\\DosDevices\\C:")] {
            tree.insert(name, Node::Link(target.to_owned())).expect("a free name");
        }
        // A walk that ends at a directory has come through: it is no object.
        let through = Some(NtStatus::OBJECT_NAME_INVALID);
        for path in
            ["\\??\\c:", "\\global??\\C:", "\\DOSDEVICES\\c:\\", "\\device\\GR\u{dc}N", "\\Device\\\\", "\\Device"]
        {
            assert_eq!(met(&tree, path), through, "{path}");
        }
        for (path, status) in [
            ("\\??\\D:", NtStatus::OBJECT_NAME_NOT_FOUND),
            ("\\??\\D:\\f", NtStatus::OBJECT_PATH_NOT_FOUND),
            ("\\???\\C:", NtStatus::OBJECT_PATH_NOT_FOUND),
            ("\\??C:", NtStatus::OBJECT_NAME_NOT_FOUND),
            ("\\Device\\??\\C:", NtStatus::OBJECT_PATH_NOT_FOUND),
            ("\\Device\\Gr\u{fc}n\\f", NtStatus::OBJECT_NAME_NOT_FOUND),
            ("\\", NtStatus::OBJECT_NAME_NOT_FOUND),
            ("", NtStatus::OBJECT_PATH_SYNTAX_BAD),
        ] {
            assert_eq!(met(&tree, path), Some(status), "{path}");
        }
        let broken = [u16::from(b'\\'), 0xD800];
        assert_eq!(tree.lookup(&broken).err().map(|error| error.status()), Some(NtStatus::OBJECT_NAME_INVALID));
    }
}
