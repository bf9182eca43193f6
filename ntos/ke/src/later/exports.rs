//! The Ke names of DPCs and timers.
//!
//! Room: ntos/ke. Called by: compiled drivers. IRQL: as each DDI page says. Locks: those of [`super::dpc`] and [`super::timer`].
//! An address that arrives here is a driver's word and becomes a `Foreign` at this edge (S-3).

use super::{dpc, timer};
use crate::context::current;
use crate::exports::{at, code};
use nt_abi::ke::{KDPC, KTIMER};
use nt_cell::exports;

fn set(at_: u64, due: i64, period: i32, dpc: u64) -> u8 {
    at::<KTIMER>(at_).map_or(0, |timer| u8::from(timer::set(&current().kernel, timer, due, period, at::<KDPC>(dpc))))
}

exports! { "ntoskrnl.exe" =>
    Full code KeInitializeDpc(dpc: u64, routine: u64, context: u64) {
        if let Some(dpc) = at::<KDPC>(dpc) { dpc::initialize(dpc, code(routine), context, false); }
    }
    Full code KeInitializeThreadedDpc(dpc: u64, routine: u64, context: u64) {
        if let Some(dpc) = at::<KDPC>(dpc) { dpc::initialize(dpc, code(routine), context, true); }
    }
    Full code KeInsertQueueDpc(dpc: u64, first: u64, second: u64) -> u8 {
        at::<KDPC>(dpc).map_or(0, |dpc| u8::from(dpc::insert(&current().kernel, dpc, first, second)))
    }
    Full code KeRemoveQueueDpc(dpc: u64) -> u8 { at::<KDPC>(dpc).map_or(0, |dpc| u8::from(dpc::remove(&current().kernel, dpc))) }
    Full code KeFlushQueuedDpcs() { current().kernel.dpcs.flush(); }
    Full code KeSetImportanceDpc(dpc: u64, importance: u32) { if let Some(dpc) = at::<KDPC>(dpc) { dpc::set_importance(dpc, importance); } }
    Partial("a machine has one processor for DPCs: every number is that one") code KeSetTargetProcessorDpc(dpc: u64, number: i8) {
        if let Some(dpc) = at::<KDPC>(dpc) { dpc.set(KDPC::Number, number as u8 as u16); }
    }
    Full code KeInitializeTimer(timer: u64) { if let Some(timer) = at::<KTIMER>(timer) { timer::initialize(timer, 0); } }
    Full code KeInitializeTimerEx(timer: u64, kind: u32) { if let Some(timer) = at::<KTIMER>(timer) { timer::initialize(timer, kind); } }
    Full code KeSetTimer(timer: u64, due: i64, dpc: u64) -> u8 { set(timer, due, 0, dpc) }
    Full code KeSetTimerEx(timer: u64, due: i64, period: i32, dpc: u64) -> u8 { set(timer, due, period, dpc) }
    Full code KeSetCoalescableTimer(timer: u64, due: i64, period: u32, _tolerable: u32, dpc: u64) -> u8 {
        set(timer, due, i32::try_from(period).unwrap_or(i32::MAX), dpc)
    }
    Full code KeCancelTimer(timer: u64) -> u8 { at::<KTIMER>(timer).map_or(0, |timer| u8::from(timer::cancel(&current().kernel, timer))) }
    Full code KeReadStateTimer(timer: u64) -> u8 { at::<KTIMER>(timer).map_or(0, |timer| u8::from(timer::read_state(timer))) }
}
