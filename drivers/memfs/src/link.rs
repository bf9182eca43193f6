//! Names that are open: what all opens by one name share, and where it stands now.
//!
//! Room: drivers/memfs. Locks: the tree orders all changes; a link's own mutexes are for those who look without it.
//! Source: nt-fs.md section 2 (file, link, stream, open); rules NT-REN-03, NT-REN-23, NT-DEL-03 to NT-DEL-05, NT-DEL-13.
//! A rename changes the link, so every open by it, and every open beneath a directory, shows the new path at once.

use crate::node::{Node, Units};
use nt_ke::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Where a name stands: its directory, itself, and the directory's own link (`None`: the root).
#[derive(Clone)]
pub(crate) struct Spot {
    pub(crate) parent: Arc<Node>,
    pub(crate) name: Units,
    pub(crate) up: Option<Arc<Link>>,
}

/// Is the name to go?
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) enum Mark {
    /// No.
    #[default]
    None,
    /// At the cleanup of its last open.
    Classic,
    /// At the cleanup of the open that said so (its file object's address).
    Posix(u64),
}

#[derive(Default)]
struct State {
    /// Opens by this name.
    opens: u32,
    /// Those of them that hinder a rename of a directory above (NT-REN-23).
    hindering: u32,
    /// Hindering opens of names beneath this directory.
    below: u32,
    mark: Mark,
    gone: bool,
}

/// An open name.
pub(crate) struct Link {
    spot: Mutex<Spot>,
    state: Mutex<State>,
    all: Arc<Links>,
}

type Key = (usize, Units);

/// The open names of a volume.
#[derive(Default)]
pub(crate) struct Links(Mutex<HashMap<Key, Weak<Link>>>);

fn key(parent: &Arc<Node>, name: &[u16]) -> Key {
    (Arc::as_ptr(parent) as usize, name.to_vec())
}

impl Links {
    /// The link of a name, if anybody has it open or has something open beneath it.
    pub(crate) fn find(&self, parent: &Arc<Node>, name: &[u16]) -> Option<Arc<Link>> {
        self.0.lock().get(&key(parent, name)).and_then(Weak::upgrade)
    }

    /// The link of a name, made if there is none.
    pub(crate) fn get(self: &Arc<Self>, spot: Spot) -> Arc<Link> {
        if let Some(link) = self.find(&spot.parent, &spot.name) {
            return link;
        }
        let key = key(&spot.parent, &spot.name);
        let (spot, state) = (Mutex::new(spot), Mutex::default());
        let link = Arc::new(Link { spot, state, all: Arc::clone(self) });
        self.0.lock().insert(key, Arc::downgrade(&link));
        link
    }

    /// The link at the end of a walk that started at `base` and came by the directories of `trail`.
    pub(crate) fn along(
        self: &Arc<Self>,
        base: Option<Arc<Link>>,
        trail: Vec<(Arc<Node>, Units)>,
    ) -> Option<Arc<Link>> {
        trail.into_iter().fold(base, |up, (parent, name)| Some(self.get(Spot { parent, name, up })))
    }

    fn forget(&self, key: &Key, of: *const Link) {
        let mut all = self.0.lock();
        if all.get(key).is_some_and(|there| there.as_ptr() == of) {
            all.remove(key);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let key = {
            let spot = self.spot.lock();
            key(&spot.parent, &spot.name)
        };
        self.all.forget(&key, self);
    }
}

impl Link {
    pub(crate) fn spot(&self) -> Spot {
        self.spot.lock().clone()
    }

    /// The directory that the name stands in.
    pub(crate) fn parent(&self) -> Arc<Node> {
        Arc::clone(&self.spot.lock().parent)
    }

    pub(crate) fn up(&self) -> Option<Arc<Self>> {
        self.spot.lock().up.clone()
    }

    /// The path from the root, with a backslash before each component.
    pub(crate) fn path(&self) -> Units {
        self.path_with(|_, _| None)
    }

    /// The same, where `other` may have another name for a component; it is told how far that is from the last one.
    pub(crate) fn path_with(&self, other: impl Fn(u32, &Spot) -> Option<Units>) -> Units {
        let shown = |depth, link: &Self| {
            let spot = link.spot.lock();
            other(depth, &spot).unwrap_or_else(|| spot.name.clone())
        };
        let mut names = vec![shown(0, self)];
        let mut up = self.up();
        while let Some(link) = up {
            names.push(shown(names.len() as u32, &link));
            up = link.up();
        }
        names.iter().rev().flat_map(|name| std::iter::once(u16::from(b'\\')).chain(name.iter().copied())).collect()
    }

    fn each_above(&self, mut act: impl FnMut(&mut State)) {
        let mut up = self.up();
        while let Some(link) = up {
            act(&mut link.state.lock());
            up = link.up();
        }
    }

    /// An open by this name begins.
    pub(crate) fn enter(&self, hinders: bool) {
        {
            let mut state = self.state.lock();
            state.opens += 1;
            state.hindering += u32::from(hinders);
        }
        if hinders {
            self.each_above(|above| above.below += 1);
        }
    }

    /// The last handle of an open by this name is gone; tells whether it was the last open.
    pub(crate) fn leave(&self, hinders: bool) -> bool {
        let last = {
            let mut state = self.state.lock();
            state.opens -= 1;
            state.hindering -= u32::from(hinders);
            state.opens == 0
        };
        if hinders {
            self.each_above(|above| above.below -= 1);
        }
        last
    }

    /// Is anything open beneath it that hinders a rename?
    pub(crate) fn is_held_below(&self) -> bool {
        self.state.lock().below != 0
    }

    pub(crate) fn mark(&self) -> Mark {
        self.state.lock().mark
    }

    /// Marks the name, or takes the mark off; returns what it was.
    pub(crate) fn set_mark(&self, mark: Mark) -> Mark {
        std::mem::replace(&mut self.state.lock().mark, mark)
    }

    /// Was the name taken away under its opens?
    pub(crate) fn is_gone(&self) -> bool {
        self.state.lock().gone
    }

    /// The name is to go or gone.
    pub(crate) fn is_pending(&self) -> bool {
        let state = self.state.lock();
        state.gone || state.mark != Mark::None
    }

    /// The name is gone: whoever makes it anew gets a link of its own.
    pub(crate) fn vanish(&self) {
        self.state.lock().gone = true;
        let key = {
            let spot = self.spot.lock();
            key(&spot.parent, &spot.name)
        };
        self.all.forget(&key, self);
    }

    /// The name moved: counts follow to the new directories above.
    pub(crate) fn relocate(self: &Arc<Self>, to: Spot) {
        let hindering = self.state.lock().hindering;
        self.each_above(|above| above.below -= hindering);
        let (old, new) = (self.spot(), key(&to.parent, &to.name));
        self.all.forget(&key(&old.parent, &old.name), Arc::as_ptr(self));
        *self.spot.lock() = to;
        self.all.0.lock().insert(new, Arc::downgrade(self));
        self.each_above(|above| above.below += hindering);
    }

    /// Is `other` this link, or somewhere above it?
    pub(crate) fn is_under(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        let mut at = Some(Arc::clone(self));
        while let Some(link) = at {
            if Arc::ptr_eq(&link, other) {
                return true;
            }
            at = link.up();
        }
        false
    }
}
