//! Tunnel caches: what a name had that was removed a moment ago, for one that is made in its place.
//!
//! Room: ntos/fsrtl (ntoskrnl.exe, FsRtl*TunnelCache). Called by: file systems, native and compiled. Calls: nothing.
//! IRQL: <= APC_LEVEL. Locks: a cache's own, held for a look. Source: FsRtlAddToTunnelCache and FsRtlFindInTunnelCache pages, the
//! registry values MaximumTunnelEntryAgeInSeconds and MaximumTunnelEntries; rule NT-REN-37.
//! A program that saves a file by renaming it away and making it anew keeps its creation time so.

use nt_abi::{NtResult, NtStatus};
use nt_cell::{Foreign, Slab};
use nt_ke::Mutex;
use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

pub mod exports;

/// How long an entry counts, in units of 100 ns.
pub const AGE: i64 = 15 * 10_000_000;
/// Entries of a cache; the oldest gives way.
const MOST: usize = 256;

nt_abi::layout! {
    /// A compiled file system's TUNNEL: only we look into it.
    pub struct TUNNEL: 0x58 {
        /// Where Windows has the tree; the key of ours.
        Cache @ 0x38: u64;
        /// NumEntries.
        NumEntries @ 0x50: u16;
    }
}

/// What is remembered of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tunneled {
    /// The 8.3 name, empty without one.
    pub short: Vec<u16>,
    /// The long name, as it was spelled.
    pub long: Vec<u16>,
    /// What the file system keeps with it.
    pub data: Vec<u8>,
}

struct Entry {
    directory: u64,
    key: Vec<u16>,
    since: i64,
    what: Tunneled,
}

/// A tunnel cache.
#[derive(Default)]
pub struct Tunnel {
    entries: Mutex<VecDeque<Entry>>,
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tunnel of {}", self.entries.lock().len())
    }
}

/// The clock of entries: of the machine that the caller is in.
#[must_use]
pub fn now() -> i64 {
    nt_ke::current().kernel.clock.interrupt_time()
}

fn upper(name: &[u16]) -> Vec<u16> {
    name.iter().map(|&unit| nt_rtl::cases::upcase(unit)).collect()
}

impl Tunnel {
    /// Remembers a name that goes, in the place of what was known of it; `by_short`: it went by its 8.3 name.
    pub fn add(&self, now: i64, directory: u64, by_short: bool, what: Tunneled) {
        let key = upper(if by_short { &what.short } else { &what.long });
        let mut entries = self.entries.lock();
        entries.retain(|entry| now - entry.since < AGE && !(entry.directory == directory && entry.key == key));
        if entries.len() == MOST {
            entries.pop_front();
        }
        entries.push_back(Entry { directory, key, since: now, what });
    }

    /// What a name had that went less than [`AGE`] ago; case makes no difference.
    #[must_use]
    pub fn find(&self, now: i64, directory: u64, name: &[u16]) -> Option<Tunneled> {
        let mut entries = self.entries.lock();
        entries.retain(|entry| now - entry.since < AGE);
        let key = upper(name);
        entries.iter().find(|entry| entry.directory == directory && entry.key == key).map(|entry| entry.what.clone())
    }

    /// Forgets what stood in a directory: the directory goes.
    pub fn forget(&self, directory: u64) {
        self.entries.lock().retain(|entry| entry.directory != directory);
    }

    fn len(&self) -> usize {
        self.entries.lock().len()
    }
}

static TUNNELS: LazyLock<Slab<Arc<Tunnel>>> = LazyLock::new(Slab::new);

/// FsRtlInitializeTunnelCache.
pub fn initialize(at: Foreign<TUNNEL>) {
    at.set(TUNNEL::Cache, TUNNELS.insert(Arc::new(Tunnel::default())));
    at.set(TUNNEL::NumEntries, 0);
}

/// The cache behind a driver's structure.
pub fn of(at: Foreign<TUNNEL>) -> NtResult<Arc<Tunnel>> {
    let found = TUNNELS.get(at.get(TUNNEL::Cache)).map(|tunnel| Arc::clone(&tunnel));
    found.ok_or(NtStatus::INVALID_PARAMETER.error())
}

/// FsRtlDeleteTunnelCache.
pub fn delete(at: Foreign<TUNNEL>) {
    TUNNELS.remove(at.get(TUNNEL::Cache));
    at.set(TUNNEL::Cache, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }
    fn what(long: &str, data: u8) -> Tunneled {
        Tunneled { short: units("SHORT~1"), long: units(long), data: vec![data] }
    }

    #[test]
    fn nt_ren_37_a_name_is_remembered_for_fifteen_seconds_in_its_directory() {
        let tunnel = Tunnel::default();
        tunnel.add(1000, 5, false, what("A long name", 1));
        assert_eq!(tunnel.find(1000 + AGE - 1, 5, &units("A LONG NAME")), Some(what("A long name", 1)));
        assert_eq!(tunnel.find(1001, 6, &units("a long name")), None, "of another directory");
        assert_eq!(tunnel.find(1001, 5, &units("SHORT~1")), None, "it went by its long name");
        assert_eq!(tunnel.find(1000 + AGE, 5, &units("a long name")), None);
        assert_eq!(tunnel.len(), 0, "what is too old goes");
        tunnel.add(2000, 5, true, what("other", 2));
        tunnel.add(2001, 5, true, what("other again", 3));
        assert_eq!(tunnel.find(2002, 5, &units("short~1")), Some(what("other again", 3)), "the last one counts");
        assert_eq!(tunnel.len(), 1);
        tunnel.add(2003, 6, false, what("elsewhere", 4));
        tunnel.forget(5);
        assert_eq!((tunnel.find(2004, 5, &units("short~1")), tunnel.len()), (None, 1));
        for number in 0..2 * MOST {
            tunnel.add(2005, 7, false, what(&format!("{number}"), 0));
        }
        assert_eq!((tunnel.len(), tunnel.find(2006, 6, &units("elsewhere"))), (MOST, None), "the oldest gave way");
    }
}
