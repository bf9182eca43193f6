//! What a writer's folder must hold, and what each call does to it.
//!
//! Room: tests.

use crate::unflushed::Unflushed;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    /// Returns the next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// Returns a number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }
}

/// A name's file or link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Thing {
    File(Arc<Vec<u8>>),
    Link(String),
}

impl From<Vec<u8>> for Thing {
    fn from(bytes: Vec<u8>) -> Self {
        Self::File(Arc::new(bytes))
    }
}

/// The names of a folder.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Folder(pub(crate) BTreeMap<String, Thing>);

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Create {
        name: String,
    },
    Write {
        name: String,
        at: usize,
        data: Vec<u8>,
    },
    Append {
        name: String,
        data: Vec<u8>,
    },
    Cut {
        name: String,
        to: usize,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove {
        name: String,
    },
    Symlink {
        name: String,
        target: String,
    },
    Flush {
        name: String,
    },
    /// Into the part of the shared file.
    Shared {
        at: usize,
        data: Vec<u8>,
    },
    FlushShared,
}

fn overlay(bytes: &mut Vec<u8>, at: usize, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    if bytes.len() < at + data.len() {
        bytes.resize(at + data.len(), 0);
    }
    bytes[at..at + data.len()].copy_from_slice(data);
}

/// How many bytes two spans begin with alike.
pub(crate) fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

impl Folder {
    fn file(&mut self, name: &str) -> &mut Vec<u8> {
        let thing = self.0.entry(name.to_owned()).or_insert_with(|| Vec::new().into());
        match thing {
            Thing::File(bytes) => Arc::make_mut(bytes),
            Thing::Link(_) => unreachable!("links are not written to"),
        }
    }

    /// Returns the length of a name's file.
    pub(crate) fn length(&self, name: &str) -> usize {
        match self.0.get(name) {
            Some(Thing::File(bytes)) => bytes.len(),
            _ => 0,
        }
    }

    /// Does a call, or the first `part` bytes of it.
    pub(crate) fn apply(&mut self, step: &Step, part: usize) {
        match step {
            Step::Create { name } => {
                self.file(name);
            }
            Step::Write { name, at, data } => overlay(self.file(name), *at, &data[..part.min(data.len())]),
            Step::Append { name, data } => {
                let bytes = self.file(name);
                bytes.extend_from_slice(&data[..part.min(data.len())]);
            }
            Step::Cut { name, to } => self.file(name).resize(*to, 0),
            Step::Rename { from, to } => {
                let thing = self.0.remove(from).unwrap_or_else(|| Vec::new().into());
                self.0.insert(to.clone(), thing);
            }
            Step::Remove { name } => {
                self.0.remove(name);
            }
            Step::Symlink { name, target } => {
                self.0.insert(name.clone(), Thing::Link(target.clone()));
            }
            Step::Flush { .. } | Step::Shared { .. } | Step::FlushShared => {}
        }
    }
}

/// The call that was under way when the server fell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Under(pub(crate) Option<Step>);

impl Under {
    pub(crate) fn is_nothing(&self) -> bool {
        self.0.is_none()
    }

    /// Is `there` what the calls before left, or that with this call done or begun?
    pub(crate) fn explains(&self, before: &Folder, there: &Folder) -> bool {
        if before == there {
            return true;
        }
        let Some(step) = &self.0 else { return false };
        let after = |part| {
            let mut folder = before.clone();
            folder.apply(step, part);
            folder
        };
        match step {
            // As many bytes as are there, and what follows as before.
            Step::Write { name, at, data } => match there.0.get(name) {
                Some(Thing::File(bytes)) => after(common(data, bytes.get(*at..).unwrap_or_default())) == *there,
                _ => false,
            },
            Step::Append { name, .. } => after(there.length(name).saturating_sub(before.length(name))) == *there,
            // Made as an empty file first; under a name of the volume's own until it takes its place.
            Step::Symlink { name, .. } => {
                let mut empty = before.clone();
                empty.file(name);
                let mut rest = there.clone();
                rest.0.retain(|name, _| !name.starts_with(".ntio-"));
                rest == *before || rest == empty || rest == after(0)
            }
            _ => after(0) == *there,
        }
    }
}

impl Under {
    /// As `explains`, when only what was flushed must be there: why not, or nothing.
    pub(crate) fn misfit(&self, before: &Folder, files: &Unflushed, there: &Folder) -> Option<String> {
        let why = files.misfit(before, there)?;
        let Some(step) = &self.0 else { return Some(why) };
        let (mut after, mut rest, mut done) = (before.clone(), there.clone(), files.clone());
        if let Step::Symlink { name, .. } = step {
            // A link begins as an empty file, under a name of the volume's own.
            rest.0.retain(|name, _| !name.starts_with(".ntio-"));
            files.misfit(before, &rest)?;
            let create = Step::Create { name: name.clone() };
            let (mut empty, mut made) = (before.clone(), files.clone());
            made.apply(&empty, &create);
            empty.apply(&create, 0);
            made.misfit(&empty, &rest)?;
        }
        done.apply(before, step);
        after.apply(step, usize::MAX);
        match step {
            // A flush that did not return promised nothing.
            Step::Flush { .. } => Some(why),
            _ => done.misfit(&after, &rest).map(|_| why),
        }
    }
}

/// Tells in what two folders differ.
pub(crate) fn difference(expected: &Folder, there: &Folder) -> String {
    for (name, thing) in &expected.0 {
        match (thing, there.0.get(name)) {
            (_, None) => return format!("'{name}' is gone"),
            (thing, Some(other)) if thing == other => {}
            (Thing::File(old), Some(Thing::File(new))) => {
                let at = old.iter().zip(new.iter()).position(|(a, b)| a != b).unwrap_or(old.len().min(new.len()));
                return format!("'{name}': {} bytes expected, {} there, different from {at} on", old.len(), new.len());
            }
            (thing, Some(other)) => return format!("'{name}': {thing:?} expected, {other:?} there"),
        }
    }
    let more: Vec<&String> = there.0.keys().filter(|name| !expected.0.contains_key(*name)).collect();
    format!("nobody made {more:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(things: &[(&str, &[u8])]) -> Folder {
        Folder(things.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec().into())).collect())
    }

    #[test]
    fn what_was_acknowledged_must_be_there() {
        let before = folder(&[("a", b"12345"), ("b", b"")]);
        assert!(Under::default().explains(&before, &before));
        assert!(!Under::default().explains(&before, &folder(&[("a", b"1234"), ("b", b"")])));
        assert!(!Under::default().explains(&before, &folder(&[("a", b"12345")])));
        let write = Under(Some(Step::Write { name: "a".into(), at: 1, data: b"xyz".to_vec() }));
        for there in [&b"12345"[..], b"1x345", b"1xy45", b"1xyz5"] {
            assert!(write.explains(&before, &folder(&[("a", there), ("b", b"")])));
        }
        for there in [&b"12y45"[..], b"1xyz", b"1xyz56"] {
            assert!(!write.explains(&before, &folder(&[("a", there), ("b", b"")])));
        }
        let append = Under(Some(Step::Append { name: "b".into(), data: b"xy".to_vec() }));
        assert!(append.explains(&before, &folder(&[("a", b"12345"), ("b", b"x")])));
        assert!(!append.explains(&before, &folder(&[("a", b"12345"), ("b", b"y")])));
    }
}
