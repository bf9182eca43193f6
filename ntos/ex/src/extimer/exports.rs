//! The names of EX_TIMER.
//!
//! Room: ntos/ex. Called by: compiled drivers, DPCs. IRQL: as each DDI page says. An address that arrives here is a driver's word
//! and becomes a `Foreign` at the edge (S-3).
#![expect(unsafe_code, reason = "entry points that take raw pointers: SOUNDNESS.md, S-3 and S-4")]

use super::{Deletion, EX_TIMER};
use crate::exports::{at, code};
use nt_cell::{Foreign, Region, exports};

nt_cell::thunk! {
    /// The deferred routine of every EX_TIMER.
    expired, ex_timer_expired(_dpc: u64, timer: u64) -> u64 {
        if let Some(timer) = at::<EX_TIMER>(timer) { super::fired(timer); }
        0
    }
}

nt_cell::thunk! {
    /// The deferred routine that frees one.
    ended, ex_timer_ended(_dpc: u64, timer: u64) -> u64 {
        if let Some(timer) = at::<EX_TIMER>(timer) { super::gone(timer); }
        0
    }
}

fn kernel() -> std::sync::Arc<nt_ke::Kernel> {
    std::sync::Arc::clone(&nt_ke::current().kernel)
}

/// EXT_DELETE_PARAMETERS: Version, Reserved, DeleteCallback @ 8, DeleteContext @ 10h.
fn deletion(cancel: u8, wait: u8, parameters: u64) -> Deletion {
    // SAFETY: S-3: NULL or the caller's structure; the loads are guarded.
    let block = (parameters != 0).then(|| unsafe { Region::from_raw(parameters, 0x18) });
    let callback = block.and_then(|block| Some((code(block.load::<u64>(8).ok()?)?, block.load::<u64>(16).ok()?)));
    Deletion { cancel: cancel != 0, wait: wait != 0, callback }
}

exports! { "ntoskrnl.exe" =>
    Full code ExAllocateTimer(callback: u64, context: u64, attributes: u32) -> u64 {
        super::allocate(code(callback), context, attributes).map_or(0, Foreign::addr)
    }
    Full code ExSetTimer(timer: u64, due: i64, period: i64, _parameters: u64) -> u8 {
        at::<EX_TIMER>(timer).map_or(0, |timer| u8::from(super::set(&kernel(), timer, due, period)))
    }
    Full code ExCancelTimer(timer: u64, _parameters: u64) -> u8 { at::<EX_TIMER>(timer).map_or(0, |timer| u8::from(super::cancel(&kernel(), timer))) }
    Full code ExDeleteTimer(timer: u64, cancel: u8, wait: u8, parameters: u64) -> u8 {
        at::<EX_TIMER>(timer).map_or(0, |timer| u8::from(super::delete(&kernel(), timer, deletion(cancel, wait, parameters))))
    }
}
