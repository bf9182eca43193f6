//! Short (8.3) names beside the long ones, on volumes that make them.
//!
//! Room: drivers/memfs. Called by: `path` and `naming` (lookups), `mount` (names that come and go), `directory`, `fileinfo`.
//! Touches: what the backing keeps of them for the next mount. IRQL: PASSIVE_LEVEL. Locks: the tables' own, under the tree's,
//! which every caller holds that may change something; over calls of the backing.
//! Source: RtlGenerate8dot3Name, FSCC 2.1.5.2.1 and 2.4.44, FSA 2.1.5.15.13; rules NT-NAM-21, NT-NAM-26, NT-DIR-23, NT-REN-37.
//! A volume that makes none, as volumes are, pays one load where a name is not found, comes or goes.
//!
//! A directory's names have theirs from when the directory is first looked at: files that the host made, or that were there
//! before, get them then, in the order of their names; a file that is made here gets its own at once. A long name always
//! wins: where somebody makes a file whose name is another's short name (the host, or who minds case and so looks for long
//! names only), the other one gets a new one.
//!
//! A directory is listed when it is first looked at. From then on what comes and goes here is noted, so a name costs the same
//! in a directory of any size. What the host does behind that is seen when a directory is listed anyway, or when a short name
//! leads to nothing; a name that comes asks the host only whether its short one is free.

use crate::fileinfo::bad;
use crate::node::{Node, Open, Units, Volume, upcase};
use crate::notice;
use nt_abi::io::{
    FILE_ACTION_ADDED, FILE_ACTION_REMOVED, FILE_ACTION_RENAMED_NEW_NAME, FILE_ACTION_RENAMED_OLD_NAME,
    FILE_WRITE_ATTRIBUTES, FILE_WRITE_DATA,
};
use nt_abi::se::SE_RESTORE_PRIVILEGE;
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use nt_ke::Mutex;
use nt_rtl::short::{Generator, is_short};
use nt_trace::rule;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A long name and its short one.
pub(crate) type Pair = (Units, Units);

/// The short names of a volume.
#[derive(Default)]
pub(crate) struct ShortNames {
    on: AtomicBool,
    /// By directory.
    tables: Mutex<HashMap<u64, Table>>,
}

/// The short names in a directory.
#[derive(Default)]
struct Table {
    /// That of a long name; empty where it is to have none.
    shorts: HashMap<Units, Units>,
    /// Whose a short name is.
    longs: HashMap<Units, Units>,
    /// The long names that short ones must keep clear of: in upper case, where that is an 8.3 name, and as they are.
    plain: BTreeSet<(Units, Units)>,
    /// Every name was seen, and what came and went here since.
    seen: bool,
    /// Pairs that the backing was given since it got the whole table.
    added: usize,
}

/// What a component of a path leads to.
pub(crate) struct Child {
    /// Its long name.
    pub(crate) name: Units,
    pub(crate) node: Arc<Node>,
    /// It was asked for by its short name.
    pub(crate) short: bool,
}

impl Table {
    /// Gives a name its short one, which nobody else has from now on; returns what it had.
    fn insert(&mut self, long: &[u16], short: Units) -> Option<Units> {
        let before = self.remove(long);
        if let Some(other) = self.longs.remove(&short) {
            self.shorts.remove(&other);
        }
        if !short.is_empty() {
            self.longs.insert(short.clone(), long.to_vec());
        }
        self.shorts.insert(long.to_vec(), short);
        before
    }

    fn remove(&mut self, long: &[u16]) -> Option<Units> {
        let short = self.shorts.remove(long)?;
        self.longs.remove(&short);
        Some(short).filter(|short| !short.is_empty())
    }

    fn of(&self, long: &[u16]) -> Option<Units> {
        self.shorts.get(long).filter(|short| !short.is_empty()).cloned()
    }

    /// What `plain` holds of a name.
    fn plain(long: &[u16]) -> Option<(Units, Units)> {
        let upper = upcase(long);
        is_short(&upper).then(|| (upper, long.to_vec()))
    }

    /// The long names that are this short one but for their case.
    fn namesakes(&self, short: &[u16]) -> impl Iterator<Item = &Units> {
        let from = (short.to_vec(), Units::new());
        self.plain.range(from..).take_while(move |(upper, _)| upper == short).map(|(_, long)| long)
    }

    fn is_free(&self, short: &Units) -> bool {
        !self.longs.contains_key(short) && self.namesakes(short).next().is_none()
    }

    /// Is there nothing to be learnt by listing the directory?
    fn is_complete(&self, directory: &Node) -> bool {
        self.seen && !directory.object.is_shared_with_the_host()
    }

    /// Gives these names short ones as far as they are to have some and have none; returns what is new. `taken` tells of
    /// what the table does not know.
    fn name(&mut self, mut names: Vec<&[u16]>, taken: impl Fn(&[u16]) -> bool) -> Vec<Pair> {
        names.retain(|name| !self.shorts.contains_key(*name) && !is_short(name));
        names.sort_by_cached_key(|name| (upcase(name), *name));
        let mut fresh = Vec::with_capacity(names.len());
        for long in names {
            let mut generator = Generator::default();
            let mut all = std::iter::from_fn(|| generator.next(long, false));
            let short = all.find(|short| self.is_free(short) && !taken(short)).unwrap_or_default();
            self.insert(long, short.clone());
            fresh.push((long.to_vec(), short));
        }
        fresh
    }

    /// All names there are: makes what is missing, drops what is left over; returns what is new.
    fn update(&mut self, names: &[Units]) -> Vec<Pair> {
        let there: HashSet<&[u16]> = names.iter().map(Vec::as_slice).collect();
        let gone: Vec<Units> = self.shorts.keys().filter(|long| !there.contains(long.as_slice())).cloned().collect();
        gone.iter().for_each(|long| _ = self.remove(long));
        self.plain = names.iter().filter_map(|name| Self::plain(name)).collect();
        self.seen = true;
        let is_lost = |short: &Units| self.namesakes(short).next().is_some();
        let lost: Vec<Units> =
            self.longs.iter().filter(|(short, _)| is_lost(short)).map(|(_, long)| long.clone()).collect();
        lost.iter().for_each(|long| _ = self.remove(long));
        self.name(names.iter().map(Vec::as_slice).collect(), |_| false)
    }

    /// A name came, and `former` is the short one that it had before; returns what is new.
    fn came(&mut self, long: &[u16], former: Option<&[u16]>, taken: impl Fn(&[u16]) -> bool) -> Vec<Pair> {
        self.remove(long);
        self.plain.extend(Self::plain(long));
        let loser = self.longs.get(&upcase(long)).cloned();
        if let Some(loser) = &loser {
            self.remove(loser);
        }
        let former =
            former.map(<[u16]>::to_vec).filter(|short| is_short(short) && self.is_free(short) && !taken(short));
        let mut fresh = Vec::new();
        if let Some(short) = former {
            self.insert(long, short.clone());
            fresh.push((long.to_vec(), short));
        }
        let names = loser.as_deref().into_iter().chain([long]).collect();
        fresh.extend(self.name(names, taken));
        fresh
    }

    /// A name went; returns its short one.
    fn went(&mut self, long: &[u16]) -> Option<Units> {
        if let Some(plain) = Self::plain(long) {
            self.plain.remove(&plain);
        }
        self.remove(long)
    }

    /// Hands new pairs to the backing, or everything where much of what it has is old.
    fn keep(&mut self, directory: &Node, fresh: &[Pair]) -> NtResult<()> {
        if fresh.is_empty() {
            return Ok(());
        }
        self.added += fresh.len();
        if self.added <= 2 * self.shorts.len() + 16 {
            return directory.directory()?.keep_shorts(fresh, false);
        }
        let all: Vec<Pair> = self.shorts.iter().map(|(long, short)| (long.clone(), short.clone())).collect();
        self.added = all.len();
        directory.directory()?.keep_shorts(&all, true)
    }
}

impl ShortNames {
    pub(crate) fn set(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
        if !on {
            // What comes and goes meanwhile is not noted.
            self.tables.lock().values_mut().for_each(|table| table.seen = false);
        }
    }

    /// Does the volume make them?
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    fn with<R>(&self, directory: &Node, act: impl FnOnce(&mut Table) -> NtResult<R>) -> NtResult<R> {
        let mut tables = self.tables.lock();
        if let Some(table) = tables.get_mut(&directory.id()) {
            return act(table);
        }
        let mut table = Table::default();
        for (long, short) in directory.directory()?.kept_shorts()? {
            table.insert(&long, short);
            table.added += 1;
        }
        act(tables.entry(directory.id()).or_insert(table))
    }

    /// Brings the table of a directory up to date with its names.
    pub(crate) fn update(&self, directory: &Node, names: &[Units]) -> NtResult<()> {
        self.with(directory, |table| {
            if !table.is_complete(directory) {
                let fresh = table.update(names);
                // Where they cannot be kept the next mount makes others.
                let _they_hold_for_this_one = table.keep(directory, &fresh);
            }
            Ok(())
        })
    }

    /// The short name of an entry, as far as that was looked at.
    pub(crate) fn known(&self, directory: &Node, long: &[u16]) -> Option<Units> {
        self.tables.lock().get(&directory.id()).and_then(|table| table.of(long))
    }

    /// The short name of an entry.
    pub(crate) fn of(&self, directory: &Node, long: &[u16]) -> NtResult<Option<Units>> {
        if !self.is_on() {
            return Ok(None);
        }
        let is_known = |table: &Table| table.seen && (table.shorts.contains_key(long) || is_short(long));
        if !self.with(directory, |table| Ok(is_known(table)))? {
            self.update(directory, &directory.directory()?.names()?)?;
        }
        Ok(self.known(directory, long))
    }

    /// Finds an entry: by its long name, else, when case does not count, by its short one.
    pub(crate) fn child(&self, directory: &Node, name: &[u16], exact: bool) -> NtResult<Option<Child>> {
        let found = directory.directory()?.child(name, exact)?;
        match found {
            Some((name, node)) => Ok(Some(Child { name, node, short: false })),
            None if exact || !self.is_on() || !is_short(name) => Ok(None),
            None => self.find(directory, name),
        }
    }

    #[cold]
    fn find(&self, directory: &Node, short: &[u16]) -> NtResult<Option<Child>> {
        rule!(NT_NAM_21);
        let key = upcase(short);
        if key != short && directory.object.minds_case()? {
            return Ok(None);
        }
        let known = || self.with(directory, |table| Ok((table.longs.get(&key).cloned(), table.is_complete(directory))));
        let there = |long: Option<Units>| match long {
            Some(long) => directory.directory()?.child(&long, true),
            None => Ok(None),
        };
        let (long, complete) = known()?;
        let mut found = there(long)?;
        if found.is_none() && !complete {
            self.update(directory, &directory.directory()?.names()?)?;
            found = there(known()?.0)?;
        }
        Ok(found.map(|(name, node)| Child { name, node, short: true }))
    }

    /// A name came; `former`: the short name that it had a moment ago.
    pub(crate) fn came(&self, directory: &Node, long: &[u16], former: Option<&[u16]>) -> NtResult<()> {
        if !self.is_on() {
            return Ok(());
        }
        let children = directory.directory()?;
        let others = if self.with(directory, |table| Ok(table.seen))? {
            None
        } else {
            let mut names = children.names()?;
            names.retain(|name| name != long);
            Some(names)
        };
        let is_shared = directory.object.is_shared_with_the_host();
        // A long name wins where a lookup finds one.
        let taken = |short: &[u16]| is_shared && matches!(children.child(short, true), Ok(Some(_)));
        self.with(directory, |table| {
            let mut fresh = others.map(|names| table.update(&names)).unwrap_or_default();
            fresh.extend(table.came(long, former, taken));
            let _they_hold_for_this_one = table.keep(directory, &fresh);
            Ok(())
        })
    }

    /// A name went; returns its short name.
    pub(crate) fn went(&self, directory: &Node, long: &[u16]) -> Option<Units> {
        if !self.is_on() {
            return None;
        }
        self.tables.lock().get_mut(&directory.id())?.went(long)
    }

    /// A directory went: its identifier may become another's.
    pub(crate) fn forget(&self, directory: &Node) {
        if self.is_on() {
            self.tables.lock().remove(&directory.id());
        }
    }

    /// Gives an entry another short name, or none; returns the former one.
    fn rename(&self, directory: &Node, long: &[u16], short: &[u16]) -> NtResult<Option<Units>> {
        if !self.with(directory, |table| Ok(table.is_complete(directory)))? {
            self.update(directory, &directory.directory()?.names()?)?;
        }
        self.with(directory, |table| {
            let other_long = table.namesakes(short).any(|name| name.as_slice() != long);
            let other_short = table.longs.get(short).is_some_and(|other| other.as_slice() != long);
            if !short.is_empty() && (other_long || other_short) {
                return NtStatus::OBJECT_NAME_COLLISION.fail();
            }
            // A name that is its own short name has none beside it.
            let short = if upcase(long) == short { Units::new() } else { short.to_vec() };
            let before = table.insert(long, short.clone());
            let kept = table.keep(directory, &[(long.to_vec(), short)]);
            match kept {
                Ok(()) => Ok(before),
                Err(error) => {
                    table.insert(long, before.unwrap_or_default());
                    Err(error)
                }
            }
        })
    }
}

/// The short name by which an open's file may be opened too.
pub(crate) fn alternate(volume: &Volume, open: &Open) -> NtResult<Units> {
    let none = NtStatus::OBJECT_NAME_NOT_FOUND.error();
    let link = open.link.as_ref().filter(|link| !link.is_gone()).ok_or(none)?;
    let _tree = volume.tree.lock();
    let spot = link.spot();
    volume.mount.shorts.of(&spot.parent, &spot.name)?.ok_or(none)
}

/// FileShortNameInformation: the checks in FSA's order.
pub(crate) fn set(volume: &Volume, open: &Open, input: Region, from_user: bool, insensitive: bool) -> NtResult<()> {
    rule!(NT_NAM_26);
    let invalid = || NtStatus::INVALID_PARAMETER.error();
    let length = input.load::<u32>(0).map_err(bad)? as usize;
    if length > input.len() - 4 || !length.is_multiple_of(2) {
        return Err(invalid());
    }
    let short = upcase(&nt_rtl::unicode::units_of(&input.sub(4, length).to_vec().map_err(bad)?));
    let link = open.link.as_ref().filter(|_| open.node.named.is_none()).ok_or_else(invalid)?;
    let dots = matches!(short.as_slice(), [0x2E] | [0x2E, 0x2E]);
    if dots || !(short.is_empty() || is_short(&short)) || !insensitive {
        return Err(invalid());
    }
    let _tree = volume.tree.lock();
    let writes = open.access & (FILE_WRITE_DATA | FILE_WRITE_ATTRIBUTES) != 0;
    if !writes || link.is_pending() || *open.delete_on_close.lock() {
        return NtStatus::ACCESS_DENIED.fail();
    }
    if from_user && !crate::security::may(SE_RESTORE_PRIVILEGE) {
        return NtStatus::PRIVILEGE_NOT_HELD.fail();
    }
    let shorts = &volume.mount.shorts;
    if !shorts.is_on() {
        return NtStatus::SHORT_NAMES_NOT_ENABLED_ON_VOLUME.fail();
    }
    if open.node.is_directory() && link.is_held_below() {
        return NtStatus::ACCESS_DENIED.fail();
    }
    let spot = link.spot();
    let before = shorts.rename(&spot.parent, &spot.name, &short)?;
    let after = shorts.known(&spot.parent, &spot.name);
    if before == after {
        return Ok(());
    }
    open.node.object.change(&crate::backing::Change::default())?;
    if open.mount.changes.any() {
        let actions = match (&before, &after) {
            (Some(_), Some(_)) => [FILE_ACTION_RENAMED_OLD_NAME, FILE_ACTION_RENAMED_NEW_NAME],
            _ => [FILE_ACTION_REMOVED, FILE_ACTION_ADDED],
        };
        let paths = [&before, &after].map(|name| name.as_ref().map(|name| notice::path_in(spot.up.as_ref(), name)));
        let changed: Vec<_> = paths
            .iter()
            .zip(actions)
            .filter_map(|(path, action)| {
                let (node, parent) = (&*open.node, &*spot.parent);
                Some(notice::Named { path: path.as_ref()?, node, parent, action, stream: None })
            })
            .collect();
        notice::names(&open.mount.changes, &changed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn nt_nam_21_a_name_among_thousands_alike_has_its_short_one_after_a_few_tries() {
        const NAMES: usize = 8000;
        let (mut table, tries) = (Table::default(), Cell::new(0_usize));
        table.update(&[]);
        let count = |_: &[u16]| {
            tries.set(tries.get() + 1);
            false
        };
        for number in 0..NAMES {
            let long: Units = format!("a long name among many {number}.text").encode_utf16().collect();
            assert_eq!(table.came(&long, None, count).len(), 1);
        }
        assert_eq!((table.longs.len(), tries.get()), (NAMES, NAMES), "only what is free here is asked of the host");
        // Of what is in use nine names with the digits of a hash are tried at most, and four without.
        let two_digits = |short: &Units| {
            short.iter().skip_while(|unit| **unit != 0x7E).take_while(|unit| **unit != 0x2E).count() > 2
        };
        assert!(!table.longs.keys().any(two_digits), "the hash spreads them");
    }
}
