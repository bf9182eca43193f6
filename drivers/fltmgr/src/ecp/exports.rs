//! The names of FLTMGR.SYS for extra create parameters: the FsRtl routines with a filter in front, which they do not look at.
//!
//! Room: drivers/fltmgr. Called by: compiled minifilters. Calls: [`super`], `nt_io::ecp`. IRQL: <= APC_LEVEL. Locks: none.
//! Addresses become typed by `crate::exports`, which answers for them. Source: fltKernel.h, the pages of the routines.

use crate::exports::{at, status, store};
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Foreign, exports};
use nt_io::ecp::{self, exports as fsrtl};

fn list_of(data: u64, out: u64) -> NtResult<NtStatus> {
    let list = super::list_of(at(data).ok_or(NtStatus::INVALID_PARAMETER.error())?)?;
    store(out, list.map_or(0, Foreign::addr));
    Ok(NtStatus::SUCCESS)
}

/// A routine about one context, or one list.
fn on<T, R: Default>(address: u64, body: impl FnOnce(Foreign<T>) -> R) -> R {
    at(address).map(body).unwrap_or_default()
}

fn attach(data: u64, list: u64) -> NtStatus {
    at(data).zip(at(list)).map_or(NtStatus::INVALID_PARAMETER_2, |(data, list)| super::attach(data, list))
}

exports! { "fltmgr.sys" =>
    Partial("no quota is charged") code FltAllocateExtraCreateParameterList(_filter: u64, _flags: u32, out: u64) -> u32 { fsrtl::made(ecp::allocate_list(), out) }
    Full code FltFreeExtraCreateParameterList(_filter: u64, list: u64) { on(list, ecp::free_list); }
    Partial("no quota is charged") code FltAllocateExtraCreateParameter(_filter: u64, of: u64, size: u32, flags: u32, cleanup: u64, tag: u32, out: u64) -> u32 {
        fsrtl::allocate(of, size, flags, cleanup, tag, 0, out)
    }
    Partial("no quota is charged") code FltAllocateExtraCreateParameterFromLookasideList(_filter: u64, of: u64, size: u32, flags: u32, cleanup: u64, list: u64, out: u64) -> u32 {
        fsrtl::allocate(of, size, flags, cleanup, ecp::TAG, list, out)
    }
    Full code FltInitExtraCreateParameterLookasideList(_filter: u64, list: u64, flags: u32, size: u64, tag: u32) { fsrtl::initialize_lookaside(list, flags, size, tag); }
    Full code FltDeleteExtraCreateParameterLookasideList(_filter: u64, list: u64, _flags: u32) { fsrtl::delete_lookaside(list); }
    Full code FltFreeExtraCreateParameter(_filter: u64, context: u64) { on(context, ecp::free); }
    Full code FltInsertExtraCreateParameter(_filter: u64, list: u64, context: u64) -> u32 { fsrtl::insert(list, context) }
    Full code FltFindExtraCreateParameter(_filter: u64, list: u64, of: u64, context: u64, size: u64) -> u32 { fsrtl::find(list, of, context, size) }
    Full code FltGetNextExtraCreateParameter(_filter: u64, list: u64, after: u64, of: u64, context: u64, size: u64) -> u32 { fsrtl::next(list, after, of, context, size) }
    Full code FltRemoveExtraCreateParameter(_filter: u64, list: u64, of: u64, context: u64, size: u64) -> u32 { fsrtl::remove(list, of, context, size) }
    Full code FltAcknowledgeEcp(_filter: u64, context: u64) { on(context, ecp::acknowledge); }
    Full code FltIsEcpAcknowledged(_filter: u64, context: u64) -> u8 { on(context, |context| u8::from(ecp::is_acknowledged(context))) }
    Full code FltPrepareToReuseEcp(_filter: u64, context: u64) { on(context, ecp::prepare_to_reuse); }
    Full code FltIsEcpFromUserMode(_filter: u64, _context: u64) -> u8 { 0 }
    Full code FltGetEcpListFromCallbackData(_filter: u64, data: u64, out: u64) -> u32 { status(list_of(data, out)) }
    Full code FltSetEcpListIntoCallbackData(_filter: u64, data: u64, list: u64) -> u32 { attach(data, list).0 }
}
