//! The names of FLTMGR.SYS for oplocks.
//!
//! Room: drivers/fltmgr. Called by: compiled minifilters. IRQL: <= APC_LEVEL. Locks: none.
//! Addresses become typed by `crate::exports`, which answers for them. Source: fltKernel.h, the FltOplock* pages.

use super::Routines;
use crate::exports::{at, code, operation_of};
use nt_abi::flt::FLT_PREOP_COMPLETE;
use nt_cell::exports;
use nt_fsrtl::oplock::{self, OPLOCK, OPLOCK_FLAG_COMPLETE_IF_OPLOCKED, Operation, Oplock};

fn oplock_at(address: u64) -> Oplock {
    at::<OPLOCK>(address).expect("a minifilter passed a NULL POPLOCK")
}

fn check(oplock: u64, data: u64, instead: Option<Operation>, flags: u32, routines: (u64, u64, u64)) -> u32 {
    let Some(request) = operation_of(data) else { return FLT_PREOP_COMPLETE };
    let (context, completion, pre_post) = routines;
    let routines = Routines { context, completion: code(completion), pre_post: code(pre_post) };
    super::check(oplock_at(oplock), &request, instead, flags, routines)
}

fn control(oplock: u64, data: u64, opens: u32, flags: u32) -> u32 {
    operation_of(data).map_or(FLT_PREOP_COMPLETE, |request| super::control(oplock_at(oplock), &request, opens, flags))
}

fn is(oplock: u64, which: fn(Oplock) -> bool) -> u8 {
    u8::from(which(oplock_at(oplock)))
}

exports! { "fltmgr.sys" =>
    Full code FltInitializeOplock(oplock: u64) { oplock::initialize(oplock_at(oplock)); }
    Full code FltUninitializeOplock(oplock: u64) { oplock::uninitialize(oplock_at(oplock)); }
    Partial("a create reserves nothing: it is told whether it would break one") code FltOplockFsctrl(oplock: u64, data: u64, opens: u32) -> u32 { control(oplock, data, opens, 0) }
    Partial("a create reserves nothing: it is told whether it would break one") code FltOplockFsctrlEx(oplock: u64, data: u64, opens: u32, flags: u32) -> u32 { control(oplock, data, opens, flags) }
    Full code FltCheckOplock(oplock: u64, data: u64, context: u64, completion: u64, pre_post: u64) -> u32 {
        check(oplock, data, None, 0, (context, completion, pre_post))
    }
    Partial("OPLOCK_FLAG_CLOSING_DELETE_ON_CLOSE and OPLOCK_FLAG_BACK_OUT_ATOMIC_OPLOCK do nothing") code FltCheckOplockEx(oplock: u64, data: u64, flags: u32, context: u64, completion: u64, pre_post: u64) -> u32 {
        check(oplock, data, None, flags, (context, completion, pre_post))
    }
    Full code FltOplockBreakToNone(oplock: u64, data: u64, context: u64, completion: u64, pre_post: u64) -> u32 {
        check(oplock, data, Some(Operation::Everything), 0, (context, completion, pre_post))
    }
    Full code FltOplockBreakToNoneEx(oplock: u64, data: u64, flags: u32, context: u64, completion: u64, pre_post: u64) -> u32 {
        check(oplock, data, Some(Operation::Everything), flags & OPLOCK_FLAG_COMPLETE_IF_OPLOCKED, (context, completion, pre_post))
    }
    Full code FltOplockBreakH(oplock: u64, data: u64, flags: u32, context: u64, completion: u64, pre_post: u64) -> u32 {
        check(oplock, data, Some(Operation::Conflict), flags, (context, completion, pre_post))
    }
    Full code FltOplockIsFastIoPossible(oplock: u64) -> u8 { is(oplock, oplock::is_fast_io_possible) }
    Full code FltOplockIsSharedRequest(data: u64) -> u8 { operation_of(data).map_or(0, |request| u8::from(super::is_shared_request(&request))) }
    Full code FltCurrentOplock(oplock: u64) -> u8 { is(oplock, oplock::is_held) }
    Full code FltCurrentBatchOplock(oplock: u64) -> u8 { is(oplock, oplock::is_batch_held) }
    Full code FltCurrentOplockH(oplock: u64) -> u8 { is(oplock, oplock::is_handle_held) }
    Full code FltOplockKeysEqual(left: u64, right: u64) -> u8 { u8::from(oplock::are_keys_equal(at(left), at(right))) }
}
