//! Walking names.
//!
//! Room: drivers/memfs. Locks: the caller holds the tree. Source: nt-fs.md section 14 (NT-NAM).

use crate::link::Link;
use crate::node::{Node, Units, Volume};
use crate::reparse::is_link;
use nt_abi::{NtResult, NtStatus};
use nt_trace::rule;
use std::sync::Arc;

const SEPARATOR: u16 = b'\\' as u16;

/// Where a name leads: its directory, its last component, and what is there.
pub(crate) struct Place {
    pub(crate) parent: Option<Arc<Node>>,
    pub(crate) name: Units,
    pub(crate) found: Option<Arc<Node>>,
    /// The link that the walk started at, and the directories and names that it came by.
    pub(crate) base: Option<Arc<Link>>,
    pub(crate) trail: Vec<(Arc<Node>, Units)>,
    /// Which components were short names: bit 0 the last one, bit 1 the one before.
    pub(crate) shorts: u32,
}

/// Where a walk ended.
pub(crate) enum Walk {
    Place(Place),
    /// At a reparse point with this many units of the name behind it.
    Through(Arc<Node>, usize),
}

pub(crate) fn check(component: &[u16]) -> NtResult<()> {
    let forbidden = |&unit: &u16| unit < 32 || b"\"*/:<>?|".iter().any(|&bad| u16::from(bad) == unit);
    // NT-NAM-13, NT-NAM-15, NT-NAM-16.
    let dots = matches!(component, [0x2E] | [0x2E, 0x2E]);
    if component.len() > 255 || dots || component.iter().any(forbidden) {
        return NtStatus::OBJECT_NAME_INVALID.fail();
    }
    Ok(())
}

/// Where a walk starts: a file, and the link that it was opened by.
pub(crate) type Start = (Arc<Node>, Option<Arc<Link>>);

/// Walks `name` from `start` (the root, or what a relative name is relative to).
pub(crate) fn walk(volume: &Volume, start: Option<Start>, name: &[u16], exact: bool) -> NtResult<Walk> {
    let relative = start.is_some();
    if relative && name.first() == Some(&SEPARATOR) {
        return NtStatus::OBJECT_NAME_INVALID.fail();
    }
    let (mut at, base) = start.unwrap_or_else(|| (Arc::clone(&volume.root), None));
    let whole = name;
    let name = if name.starts_with(&[SEPARATOR; 2]) { &name[1..] } else { name }; // NT-NAM-02
    let name = name.strip_prefix(&[SEPARATOR]).unwrap_or(name);
    let name = name.strip_suffix(&[SEPARATOR]).unwrap_or(name);
    let (mut trail, mut shorts) = (Vec::new(), 0_u32);
    if name.is_empty() {
        return Ok(Walk::Place(Place { parent: None, name: Vec::new(), found: Some(at), base, trail, shorts }));
    }
    // Of the whole name: what stands in front of the first component.
    let mut walked = whole.len() - name.len() - usize::from(whole.len() > 1 && whole.ends_with(&[SEPARATOR]));
    let mut parts = name.split(|&unit| unit == SEPARATOR).peekable();
    while let Some(part) = parts.next() {
        walked += part.len();
        check(part)?;
        if part.is_empty() {
            return NtStatus::OBJECT_NAME_INVALID.fail();
        }
        if !at.is_directory() {
            return NtStatus::OBJECT_PATH_NOT_FOUND.fail();
        }
        let found = volume.mount.shorts.child(&at, part, exact)?;
        shorts = shorts << 1 | u32::from(found.as_ref().is_some_and(|found| found.short));
        if parts.peek().is_none() {
            let (name, found) = match found {
                Some(found) => (found.name, Some(found.node)),
                None => (part.to_vec(), None),
            };
            return Ok(Walk::Place(Place { parent: Some(at), name, found, base, trail, shorts }));
        }
        match found {
            Some(found) if is_link(&found.node)? => {
                rule!(NT_REP_20);
                return Ok(Walk::Through(found.node, whole.len() - walked));
            }
            Some(found) => trail.push((std::mem::replace(&mut at, found.node), found.name)),
            None => return NtStatus::OBJECT_PATH_NOT_FOUND.fail(),
        }
        walked += 1;
    }
    NtStatus::OBJECT_NAME_INVALID.fail()
}
