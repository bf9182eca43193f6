//! Object bags: memory that goes when the object goes.
//!
//! Room: drivers/ks. Called by: drivers (KsAddItemToObjectBag and kin), AVStream objects that end. IRQL: PASSIVE_LEVEL.
//! Locks: the table of items, never held while a driver's routine runs; the caller holds the mutex of the bag's object.
//! Source: "Object Bags", KsEdit pages; rules KS-AV-04, KS-AV-05.

use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{CodePtr, Foreign, Region, callout};
use nt_ex::pool;
use nt_ke::Mutex;
use std::collections::HashMap;
use std::sync::LazyLock;

nt_abi::layout! {
    /// What KSOBJECT_BAG points to.
    pub struct KS_BAG: 0x10 {
        /// A mark.
        Mark @ 0x00: u64;
        /// Reserved.
        Spare @ 0x08: u64;
    }
}

const MARK: u64 = 0x4B53_4241_4721_2121;

/// The handle of a bag.
pub type Handle = Foreign<KS_BAG>;

#[derive(Default)]
struct Table {
    /// Items by bag, with their routines.
    bags: HashMap<u64, Vec<(u64, Option<CodePtr>)>>,
    /// In how many bags an item is.
    counts: HashMap<u64, u32>,
}

static TABLE: LazyLock<Mutex<Table>> = LazyLock::new(Mutex::default);

fn free(item: u64, routine: Option<CodePtr>) {
    match routine {
        Some(routine) => {
            let _raised = callout::call(routine, &[item]);
        }
        None => pool::free(Foreign::<Bytes>::of_table(item)),
    }
}

/// KsAllocateObjectBag.
pub fn allocate() -> NtResult<Handle> {
    let bag = pool::zeroed::<KS_BAG>(pool::tag(b"KsBg")).ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    bag.set(KS_BAG::Mark, MARK);
    TABLE.lock().bags.insert(bag.addr(), Vec::new());
    Ok(bag)
}

/// KsFreeObjectBag: each item that is in no other bag is freed, the newest first.
pub fn release(bag: Handle) {
    let gone = {
        let mut table = TABLE.lock();
        let items = table.bags.remove(&bag.addr()).unwrap_or_default();
        let mut gone = Vec::new();
        for (item, routine) in items.into_iter().rev() {
            if table.leave(item) == 1 {
                gone.push((item, routine));
            }
        }
        gone
    };
    for (item, routine) in gone {
        free(item, routine);
    }
    bag.set(KS_BAG::Mark, 0);
    pool::free(bag);
}

impl Table {
    /// One bag less holds the item; returns how many did.
    fn leave(&mut self, item: u64) -> u32 {
        let count = self.counts.get(&item).copied().unwrap_or(1);
        if count <= 1 {
            self.counts.remove(&item);
        } else {
            self.counts.insert(item, count - 1);
        }
        count
    }
}

/// KsAddItemToObjectBag.
pub fn add(bag: Handle, item: u64, routine: Option<CodePtr>) -> NtStatus {
    let mut table = TABLE.lock();
    let Some(items) = table.bags.get_mut(&bag.addr()) else { return NtStatus::INVALID_PARAMETER };
    items.push((item, routine));
    *table.counts.entry(item).or_insert(0) += 1;
    NtStatus::SUCCESS
}

/// KsRemoveItemFromObjectBag: returns in how many bags the item was; freed when that was this one only and `free_it`.
pub fn remove(bag: Handle, item: u64, free_it: bool) -> u32 {
    let (count, routine) = {
        let mut table = TABLE.lock();
        let Some(items) = table.bags.get_mut(&bag.addr()) else { return 0 };
        let Some(at) = items.iter().rposition(|(each, _)| *each == item) else { return 0 };
        let (_, routine) = items.remove(at);
        (table.leave(item), routine)
    };
    if count == 1 && free_it {
        free(item, routine);
    }
    count
}

/// KsCopyObjectBagItems.
pub fn copy(to: Handle, from: Handle) -> NtStatus {
    let items = TABLE.lock().bags.get(&from.addr()).cloned();
    let Some(items) = items else { return NtStatus::INVALID_PARAMETER };
    items.into_iter().map(|(item, routine)| add(to, item, routine)).find(|status| status.is_error()).unwrap_or_default()
}

/// _KsEdit: the address of the copy, or of the item itself when it is in the bag and large enough (KS-AV-05). `old` names what
/// the caller's pointer points to.
pub fn edit(bag: Handle, old: Region, new_size: usize, tag: u32) -> NtResult<u64> {
    let there =
        TABLE.lock().bags.get(&bag.addr()).is_some_and(|items| items.iter().any(|(item, _)| *item == old.addr()));
    if there && new_size <= old.len() {
        return Ok(old.addr());
    }
    let made = pool::allocate(new_size.max(1), tag, pool::PoolKind::NonPaged);
    let made = made.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    let kept = old.len().min(new_size);
    if Region::pool(made, new_size).sub(0, kept).copy_from(old.sub(0, kept)).is_err() {
        pool::free(made);
        return NtStatus::ACCESS_VIOLATION.fail();
    }
    let status = add(bag, made.addr(), None);
    if status.is_error() {
        pool::free(made);
        return status.fail();
    }
    if there {
        remove(bag, old.addr(), true);
    }
    Ok(made.addr())
}
