//! How many pool blocks are live, by machine and tag.
//!
//! Room: ntos/cell. Called by: `pool` only. IRQL: any. Locks: the list of tables, for a new thread and for readers.
//! Each host thread writes a table of its own, so counting takes no locked instruction; a block that one thread allocated
//! and another freed is a birth in one table and a death in the other, and readers add them up.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Slots of one thread: more tags than a thread of a large driver uses.
const SLOTS: usize = 512;
/// Bits of a count that say how many bytes are live: as many as the arena has. Above them are the blocks.
const BYTES: u32 = 36;
/// The key of a slot whose machine is gone: its owner may use it again, and a probe goes on past it.
const GONE: u64 = u64::MAX;

#[derive(Default)]
struct Slot {
    /// Tag, above it the machine, and the top bit; 0 is a free slot. Written by the owner, and by `forget`.
    key: AtomicU64,
    live: AtomicU64,
}

type Table = [Slot; SLOTS];

#[derive(Default)]
struct Tables {
    threads: Vec<Arc<Table>>,
    /// What threads that ended had, and what found no slot.
    others: BTreeMap<u64, u64>,
}

static TABLES: Mutex<Tables> = Mutex::new(Tables { threads: Vec::new(), others: BTreeMap::new() });

struct Own(Arc<Table>);

impl Own {
    fn new() -> Self {
        let table = Arc::new(std::array::from_fn(|_| Slot::default()));
        tables().threads.push(Arc::clone(&table));
        Self(table)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let mut tables = tables();
        tables.threads.retain(|table| !Arc::ptr_eq(table, &self.0));
        for slot in self.0.iter() {
            let key = slot.key.load(Ordering::Relaxed);
            if key != 0 && key != GONE {
                add(&mut tables.others, key, slot.live.load(Ordering::Relaxed));
            }
        }
    }
}

thread_local! {
    /// Where the tag counted last stands: what is allocated is often freed next.
    static LAST: Cell<usize> = const { Cell::new(0) };
    static OWN: Own = Own::new();
}

fn tables() -> MutexGuard<'static, Tables> {
    TABLES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn add(sums: &mut BTreeMap<u64, u64>, key: u64, more: u64) {
    let sum = sums.entry(key).or_default();
    *sum = sum.wrapping_add(more);
    if *sum == 0 {
        sums.remove(&key);
    }
}

fn key(machine: u32, tag: u32) -> u64 {
    u64::from(tag) | u64::from(machine & super::pool::MACHINES) << 32 | 1 << 63
}

fn of_machine(key: u64, machine: u32) -> bool {
    key != 0 && key != GONE && (key >> 32) as u32 & super::pool::MACHINES == machine & super::pool::MACHINES
}

/// Counts `blocks` (1 or -1) blocks of `bytes` bytes.
pub(crate) fn count(machine: u32, tag: u32, bytes: usize, blocks: i64) {
    let key = key(machine, tag);
    let more = (((1 << BYTES) + bytes as i64) * blocks) as u64;
    let counted = OWN.try_with(|own| {
        let last = &own.0[LAST.get()];
        if last.key.load(Ordering::Relaxed) == key {
            last.live.store(last.live.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
            return true;
        }
        let first = (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 55) as usize % SLOTS;
        let mut free = None;
        for step in 0..SLOTS {
            let slot = &own.0[(first + step) % SLOTS];
            match slot.key.load(Ordering::Relaxed) {
                there if there == key => {
                    LAST.set((first + step) % SLOTS);
                    slot.live.store(slot.live.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
                    return true;
                }
                0 => {
                    free = free.or(Some(slot));
                    break;
                }
                GONE => free = free.or(Some(slot)),
                _ => {}
            }
        }
        let Some(slot) = free else { return false };
        slot.live.store(more, Ordering::Relaxed);
        slot.key.store(key, Ordering::Relaxed);
        true
    });
    if !counted.unwrap_or(false) {
        add(&mut tables().others, key, more);
    }
}

fn sums(tables: &Tables, machine: u32) -> BTreeMap<u64, u64> {
    let mut sums: BTreeMap<u64, u64> = BTreeMap::new();
    let slots = tables.threads.iter().flat_map(|table| table.iter());
    let slots = slots.map(|slot| (slot.key.load(Ordering::Relaxed), slot.live.load(Ordering::Relaxed)));
    for (key, live) in slots.chain(tables.others.iter().map(|(&key, &live)| (key, live))) {
        if of_machine(key, machine) {
            add(&mut sums, key, live);
        }
    }
    sums
}

/// Returns {tag, blocks, bytes} of every tag with live blocks of a machine.
#[must_use]
pub fn outstanding(machine: u32) -> Vec<(u32, usize, usize)> {
    let sums = sums(&tables(), machine).into_iter();
    let parts = sums.map(|(key, live)| (key as u32, (live >> BYTES) as usize, (live & ((1 << BYTES) - 1)) as usize));
    parts.filter(|(_, blocks, _)| *blocks != 0).collect()
}

/// A machine is gone, and what it left was told: slots of tags without live blocks are free again.
pub fn forget(machine: u32) {
    let mut tables = tables();
    let live = sums(&tables, machine);
    tables.others.retain(|key, _| !of_machine(*key, machine) || live.contains_key(key));
    for slot in tables.threads.iter().flat_map(|table| table.iter()) {
        let key = slot.key.load(Ordering::Relaxed);
        if of_machine(key, machine) && !live.contains_key(&key) {
            slot.key.store(GONE, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_birth_here_and_a_death_there_cancel_out() {
        let machine = 0xF0_0001;
        count(machine, 7, 100, 1);
        count(machine, 7, 28, 1);
        assert_eq!(outstanding(machine), [(7, 2, 128)]);
        std::thread::spawn(move || count(machine, 7, 100, -1)).join().expect("thread");
        assert_eq!(outstanding(machine), [(7, 1, 28)]);
        forget(machine);
        assert_eq!(outstanding(machine), [(7, 1, 28)], "what is live stays counted");
        count(machine, 7, 28, -1);
        assert_eq!(outstanding(machine), []);
    }

    #[test]
    fn more_tags_than_slots_are_counted_all_the_same() {
        let machine = 0xF0_0002;
        for tag in 1..=SLOTS as u32 + 40 {
            count(machine, tag, 1, 1);
        }
        assert_eq!(outstanding(machine).len(), SLOTS + 40);
        for tag in 1..=SLOTS as u32 + 40 {
            count(machine, tag, 1, -1);
        }
        forget(machine);
        assert_eq!(outstanding(machine), []);
    }
}
