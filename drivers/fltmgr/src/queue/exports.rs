//! The names of FLTMGR.SYS for queues of callback data.
//!
//! Room: drivers/fltmgr. Called by: compiled minifilters. IRQL: as each DDI page says. Locks: none.
//! Addresses become typed by `crate::exports`, which answers for them.

use super::{Queue, Routines};
use crate::exports::{at, code, operation_of, status};
use crate::filter;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Foreign, exports};

fn queue_at(address: u64) -> NtResult<Queue> {
    at(address).ok_or(NtStatus::INVALID_PARAMETER.error())
}

fn initialize(instance: u64, address: u64, routines: [u64; 6]) -> NtResult<NtStatus> {
    let invalid = NtStatus::INVALID_PARAMETER.error();
    let instance = at::<Bytes>(instance).filter(|body| filter::instance_at(Some(*body)).is_some()).ok_or(invalid)?;
    let mut made = Vec::with_capacity(routines.len());
    for routine in routines {
        made.push(code(routine).ok_or(invalid)?);
    }
    let [insert, remove, peek, acquire, release, complete] = made[..] else { return Err(invalid) };
    let routines = Routines { insert, remove, peek, acquire, release, complete };
    super::initialize(queue_at(address)?, instance, &routines);
    Ok(NtStatus::SUCCESS)
}

fn insert(address: u64, data: u64, context: u64, insert_context: u64) -> NtResult<NtStatus> {
    let queue = queue_at(address)?;
    let operation = operation_of(data).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    super::insert(queue, &operation, at(context), insert_context)
}

exports! { "fltmgr.sys" =>
    Full code FltCbdqInitialize(instance: u64, queue: u64, insert: u64, remove: u64, peek: u64, acquire: u64, release: u64, complete: u64) -> u32 {
        status(initialize(instance, queue, [insert, remove, peek, acquire, release, complete]))
    }
    Full code FltCbdqEnable(queue: u64) { if let Ok(queue) = queue_at(queue) { super::enable(queue, true); } }
    Full code FltCbdqDisable(queue: u64) { if let Ok(queue) = queue_at(queue) { super::enable(queue, false); } }
    Full code FltCbdqInsertIo(queue: u64, data: u64, context: u64, insert_context: u64) -> u32 { status(insert(queue, data, context, insert_context)) }
    Full code FltCbdqRemoveIo(queue: u64, context: u64) -> u64 {
        queue_at(queue).ok().zip(at(context)).and_then(|(queue, context)| super::remove(queue, context)).map_or(0, Foreign::addr)
    }
    Full code FltCbdqRemoveNextIo(queue: u64, peek_context: u64) -> u64 {
        queue_at(queue).ok().and_then(|queue| super::remove_next(queue, peek_context)).map_or(0, Foreign::addr)
    }
}
