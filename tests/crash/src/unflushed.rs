//! What may lie on the host when writes are acknowledged before they are there (`--cache behind`).
//!
//! Room: tests. A completed flush promises what the file held at that moment; each call after it may have reached the host
//! whole, in part, page by page in any order, or not at all. So a byte must have one of the values it had since the flush,
//! and the length must lie between the shortest and the longest the file was. Names are the host's at once, as without a cache.

use crate::model::{Folder, Step, Thing};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, data: Arc<Vec<u8>> },
    Cut { to: usize },
}

/// A file's content at its last flush, and what was done to it since.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loose {
    flushed: Arc<Vec<u8>>,
    later: Vec<Change>,
}

impl Loose {
    /// A content that is on the host.
    pub(crate) fn flushed(bytes: Arc<Vec<u8>>) -> Self {
        Self { flushed: bytes, later: Vec::new() }
    }

    /// Notes a write that was acknowledged, or may have begun.
    pub(crate) fn write(&mut self, at: usize, data: &[u8]) {
        self.later.push(Change::Write { at, data: Arc::new(data.to_vec()) });
    }

    /// Tells why the bytes that are there can't be, or nothing when they can.
    pub(crate) fn misfit(&self, there: &[u8]) -> Option<String> {
        let (mut now, mut shortest, mut longest) = (self.flushed.to_vec(), self.flushed.len(), self.flushed.len());
        // Past the flushed end a page may lie before one that was written earlier: the host has zeroes between.
        let mut fits: Vec<bool> =
            there.iter().enumerate().map(|(at, byte)| now.get(at).map_or(*byte == 0, |value| value == byte)).collect();
        for change in &self.later {
            let touched = match change {
                Change::Write { at, data } => {
                    let gap = now.len().min(*at);
                    if now.len() < at + data.len() {
                        now.resize(at + data.len(), 0);
                    }
                    now[*at..at + data.len()].copy_from_slice(data);
                    gap..at + data.len()
                }
                Change::Cut { to } => {
                    let gap = now.len().min(*to);
                    now.resize(*to, 0);
                    // What is cut off may come back as zeroes with a later write behind it.
                    for (fit, byte) in fits.iter_mut().zip(there).skip(*to) {
                        *fit |= *byte == 0;
                    }
                    gap..*to
                }
            };
            for at in touched.start..touched.end.min(there.len()) {
                fits[at] |= there[at] == now[at];
            }
            (shortest, longest) = (shortest.min(now.len()), longest.max(now.len()));
        }
        if !(shortest..=longest).contains(&there.len()) {
            return Some(format!(
                "{} bytes; {} were flushed, and it was {shortest} to {longest} long since",
                there.len(),
                self.flushed.len()
            ));
        }
        let at = fits.iter().position(|fit| !fit)?;
        Some(format!(
            "byte {at} of {} is what it never was since the flush of {} bytes",
            there.len(),
            self.flushed.len()
        ))
    }
}

/// The files of a folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unflushed(BTreeMap<String, Loose>);

impl Unflushed {
    /// All that a folder holds is on the host.
    pub(crate) fn of(folder: &Folder) -> Self {
        let files = folder.0.iter().filter_map(|(name, thing)| match thing {
            Thing::File(bytes) => Some((name.clone(), Loose::flushed(Arc::clone(bytes)))),
            Thing::Link(_) => None,
        });
        Self(files.collect())
    }

    /// Notes a call; `before` is the folder without it.
    pub(crate) fn apply(&mut self, before: &Folder, step: &Step) {
        match step {
            Step::Create { name } => {
                self.0.insert(name.clone(), Loose::default());
            }
            Step::Write { name, at, data } => self.file(name).write(*at, data),
            Step::Append { name, data } => self.file(name).write(before.length(name), data),
            Step::Cut { name, to } => self.file(name).later.push(Change::Cut { to: *to }),
            Step::Rename { from, to } => {
                let moved = self.0.remove(from);
                self.0.remove(to);
                self.0.extend(moved.map(|file| (to.clone(), file)));
            }
            Step::Remove { name } => {
                self.0.remove(name);
            }
            Step::Flush { name } => {
                if let Some(Thing::File(bytes)) = before.0.get(name) {
                    self.0.insert(name.clone(), Loose::flushed(Arc::clone(bytes)));
                }
            }
            Step::Symlink { .. } | Step::Shared { .. } | Step::FlushShared => {}
        }
    }

    fn file(&mut self, name: &str) -> &mut Loose {
        self.0.entry(name.to_owned()).or_default()
    }

    /// Tells why the folder that is there can't be `names` with these files, or nothing when it can.
    pub(crate) fn misfit(&self, names: &Folder, there: &Folder) -> Option<String> {
        if let Some(name) = there.0.keys().find(|name| !names.0.contains_key(*name)) {
            return Some(format!("nobody made '{name}'"));
        }
        names.0.iter().find_map(|(name, thing)| match (thing, there.0.get(name)) {
            (_, None) => Some(format!("'{name}' is gone")),
            (Thing::Link(target), Some(Thing::Link(other))) if target == other => None,
            (Thing::File(_), Some(Thing::File(bytes))) => {
                let why =
                    self.0.get(name).map_or_else(|| Some("not a file of this run".into()), |file| file.misfit(bytes));
                why.map(|why| format!("'{name}': {why}"))
            }
            (_, Some(_)) => Some(format!("'{name}' is of another kind")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loose(flushed: &[u8]) -> Loose {
        Loose::flushed(Arc::new(flushed.to_vec()))
    }

    #[test]
    fn what_was_flushed_must_be_there() {
        let file = loose(b"12345");
        assert_eq!(file.misfit(b"12345"), None);
        for there in [&b"1234"[..], b"12340", b"12\x0045", b"123456", b""] {
            assert!(file.misfit(there).is_some(), "{there:?}");
        }
    }

    #[test]
    fn what_came_after_the_flush_may_be_there_in_any_part_of_it() {
        let mut file = loose(b"12345");
        file.write(4, b"xyz");
        for there in [&b"12345"[..], b"1234x", b"1234xyz", b"1234xy", b"12345yz", b"12345\0\0", b"12345\0z"] {
            assert_eq!(file.misfit(there), None, "{there:?}");
        }
        for there in [&b"1234"[..], b"x2345", b"12345zz", b"1234xyz\0", b"\x002345"] {
            assert!(file.misfit(there).is_some(), "{there:?}");
        }
        file.later.push(Change::Cut { to: 2 });
        file.write(3, b"!");
        for there in [&b"12"[..], b"12\0!", b"123", b"123!", b"12\0!xyz"] {
            assert_eq!(file.misfit(there), None, "{there:?}");
        }
        assert!(file.misfit(b"1").is_some() && file.misfit(b"13\0!").is_some());
    }

    #[test]
    fn a_flush_ends_what_may_be_missing() {
        let mut folder = Folder::default();
        let mut files = Unflushed::default();
        for step in [
            Step::Create { name: "a".into() },
            Step::Append { name: "a".into(), data: b"12".to_vec() },
            Step::Rename { from: "a".into(), to: "b".into() },
        ] {
            files.apply(&folder, &step);
            folder.apply(&step, usize::MAX);
        }
        let with = |bytes: &[u8]| Folder([("b".to_owned(), bytes.to_vec().into())].into());
        assert_eq!(files.misfit(&folder, &with(b"")), None);
        files.apply(&folder, &Step::Flush { name: "b".into() });
        assert!(files.misfit(&folder, &with(b"")).is_some());
        assert_eq!(files.misfit(&folder, &with(b"12")), None);
    }
}
