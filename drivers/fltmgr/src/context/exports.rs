//! The names of FLTMGR.SYS for contexts.
//!
//! Room: drivers/fltmgr. Called by: compiled minifilters, `nt_fsrtl` (the FreeCallback). IRQL: as each DDI page says. Locks: none.
//! Addresses become typed by `crate::exports`, which answers for them.

use super::{Context, Object};
use crate::exports::{at, code, filter_of, status, store, volume_at};
use crate::filter::{self, Instance};
use nt_abi::flt::*;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{CodePtr, Foreign, exports};
use nt_ex::pool::PoolKind;
use std::sync::{Arc, LazyLock};

extern "win64" fn stream_thunk(context: u64) {
    nt_cell::export::body("fltmgr stream contexts", move || {
        if let Some(context) = at(context) {
            super::stream_gone(context);
        }
    });
}

/// The FreeCallback of our FSRTL_PER_STREAM_CONTEXT.
pub(crate) fn stream_routine() -> CodePtr {
    static ADDRESS: LazyLock<CodePtr> = LazyLock::new(|| {
        let routine: extern "win64" fn(u64) = stream_thunk;
        code(routine as usize as u64).expect("a function has an address")
    });
    *ADDRESS
}

fn instance_of(pointer: u64) -> NtResult<Arc<Instance>> {
    filter::instance_at(at(pointer)).ok_or(NtStatus::INVALID_PARAMETER.error())
}

fn allocate(filter: u64, kind: u16, size: u64, pool: u32, out: u64) -> NtResult<NtStatus> {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let pool = if pool & 1 != 0 { PoolKind::Paged } else { PoolKind::NonPaged };
    store(out, super::allocate(&filter_of(filter)?, kind, size, pool)?.addr());
    Ok(NtStatus::SUCCESS)
}

fn set(object: Object<'_>, operation: u32, new: u64, old: u64) -> NtResult<NtStatus> {
    let new = at::<Bytes>(new).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    if operation > FLT_SET_CONTEXT_KEEP_IF_EXISTS {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let replace = operation == FLT_SET_CONTEXT_REPLACE_IF_EXISTS;
    let (result, former) = super::set(object, replace, new, old != 0);
    store(old, former.map_or(0, Foreign::addr));
    result.map(|()| NtStatus::SUCCESS)
}

fn give(out: u64, found: NtResult<Context>) -> u32 {
    store(out, found.as_ref().map_or(0, |context| context.addr()));
    status(found.map(|_| NtStatus::SUCCESS))
}

fn delete(object: Object<'_>, old: u64) -> NtResult<NtStatus> {
    let former = super::delete_from(object, old != 0);
    store(old, former.as_ref().ok().and_then(|former| *former).map_or(0, Foreign::addr));
    former.map(|_| NtStatus::SUCCESS)
}

fn of_file(kind: u16, instance: u64, file: u64, body: impl FnOnce(Object<'_>) -> NtResult<NtStatus>) -> u32 {
    status(instance_of(instance).and_then(|instance| body(Object::File(kind, &instance, at(file)))))
}

fn get_of_file(kind: u16, instance: u64, file: u64, out: u64) -> u32 {
    let found = instance_of(instance).and_then(|instance| super::get(Object::File(kind, &instance, at(file))));
    give(out, found)
}

fn of_instance(instance: u64, body: impl FnOnce(Object<'_>) -> NtResult<NtStatus>) -> u32 {
    status(instance_of(instance).and_then(|instance| body(Object::Instance(&instance))))
}

/// FltGetContexts: those asked for, NULL where there is none (FLT-C-16).
fn get_all(related: u64, wanted: u16, out: u64) {
    let (Some(related), Some(out)) = (at::<FLT_RELATED_OBJECTS>(related), at::<FLT_RELATED_CONTEXTS>(out)) else {
        return;
    };
    let filter = related.ptr(FLT_RELATED_OBJECTS::Filter).map(Foreign::<Bytes>::addr).unwrap_or_default();
    let volume = related.ptr(FLT_RELATED_OBJECTS::Volume).map(Foreign::<Bytes>::addr).unwrap_or_default();
    let instance = related.ptr(FLT_RELATED_OBJECTS::Instance).map(Foreign::<Bytes>::addr).unwrap_or_default();
    let file = related.ptr(FLT_RELATED_OBJECTS::FileObject);
    let of_file =
        |kind: u16| instance_of(instance).and_then(|instance| super::get(Object::File(kind, &instance, file)));
    for (kind, field) in [
        (FLT_VOLUME_CONTEXT, FLT_RELATED_CONTEXTS::VolumeContext),
        (FLT_INSTANCE_CONTEXT, FLT_RELATED_CONTEXTS::InstanceContext),
        (FLT_FILE_CONTEXT, FLT_RELATED_CONTEXTS::FileContext),
        (FLT_STREAM_CONTEXT, FLT_RELATED_CONTEXTS::StreamContext),
        (FLT_STREAMHANDLE_CONTEXT, FLT_RELATED_CONTEXTS::StreamHandleContext),
        (FLT_TRANSACTION_CONTEXT, FLT_RELATED_CONTEXTS::TransactionContext),
    ] {
        let found = match kind {
            _ if wanted & kind == 0 => None,
            FLT_VOLUME_CONTEXT => filter_of(filter)
                .and_then(|filter| volume_at(volume).and_then(|volume| super::get(Object::Volume(&filter, &volume))))
                .ok(),
            FLT_INSTANCE_CONTEXT => {
                instance_of(instance).and_then(|instance| super::get(Object::Instance(&instance))).ok()
            }
            FLT_TRANSACTION_CONTEXT => None,
            kind => of_file(kind).ok(),
        };
        out.set_ptr(field, found);
    }
}

fn release_all(contexts: u64) {
    let Some(contexts) = at::<FLT_RELATED_CONTEXTS>(contexts) else { return };
    for field in [
        FLT_RELATED_CONTEXTS::VolumeContext,
        FLT_RELATED_CONTEXTS::InstanceContext,
        FLT_RELATED_CONTEXTS::FileContext,
        FLT_RELATED_CONTEXTS::StreamContext,
        FLT_RELATED_CONTEXTS::StreamHandleContext,
        FLT_RELATED_CONTEXTS::TransactionContext,
    ] {
        if let Some(context) = contexts.ptr(field) {
            super::release(context);
            contexts.set_ptr(field, None);
        }
    }
}

exports! { "fltmgr.sys" =>
    Full code FltAllocateContext(filter: u64, kind: u16, size: u64, pool: u32, out: u64) -> u32 {
        let result = allocate(filter, kind, size, pool, out);
        if result.is_err() { store(out, 0); }
        status(result)
    }
    Full code FltReferenceContext(context: u64) { if let Some(context) = at(context) { super::reference(context); } }
    Full code FltReleaseContext(context: u64) { if let Some(context) = at(context) { super::release(context); } }
    Full code FltDeleteContext(context: u64) { if let Some(context) = at(context) { super::delete(context); } }
    Full code FltSetVolumeContext(volume: u64, operation: u32, new: u64, old: u64) -> u32 {
        let owner = at::<Bytes>(new).and_then(super::owner_of).ok_or(NtStatus::INVALID_PARAMETER.error());
        status(owner.and_then(|filter| volume_at(volume).and_then(|volume| set(Object::Volume(&filter, &volume), operation, new, old))))
    }
    Full code FltGetVolumeContext(filter: u64, volume: u64, out: u64) -> u32 {
        give(out, filter_of(filter).and_then(|filter| volume_at(volume).and_then(|volume| super::get(Object::Volume(&filter, &volume)))))
    }
    Full code FltDeleteVolumeContext(filter: u64, volume: u64, old: u64) -> u32 {
        status(filter_of(filter).and_then(|filter| volume_at(volume).and_then(|volume| delete(Object::Volume(&filter, &volume), old))))
    }
    Full code FltSetInstanceContext(instance: u64, operation: u32, new: u64, old: u64) -> u32 { of_instance(instance, |object| set(object, operation, new, old)) }
    Full code FltGetInstanceContext(instance: u64, out: u64) -> u32 {
        give(out, instance_of(instance).and_then(|instance| super::get(Object::Instance(&instance))))
    }
    Full code FltDeleteInstanceContext(instance: u64, old: u64) -> u32 { of_instance(instance, |object| delete(object, old)) }
    Full code FltSetFileContext(instance: u64, file: u64, operation: u32, new: u64, old: u64) -> u32 { of_file(FLT_FILE_CONTEXT, instance, file, |object| set(object, operation, new, old)) }
    Full code FltGetFileContext(instance: u64, file: u64, out: u64) -> u32 { get_of_file(FLT_FILE_CONTEXT, instance, file, out) }
    Full code FltDeleteFileContext(instance: u64, file: u64, old: u64) -> u32 { of_file(FLT_FILE_CONTEXT, instance, file, |object| delete(object, old)) }
    Full code FltSetStreamContext(instance: u64, file: u64, operation: u32, new: u64, old: u64) -> u32 { of_file(FLT_STREAM_CONTEXT, instance, file, |object| set(object, operation, new, old)) }
    Full code FltGetStreamContext(instance: u64, file: u64, out: u64) -> u32 { get_of_file(FLT_STREAM_CONTEXT, instance, file, out) }
    Full code FltDeleteStreamContext(instance: u64, file: u64, old: u64) -> u32 { of_file(FLT_STREAM_CONTEXT, instance, file, |object| delete(object, old)) }
    Full code FltSetStreamHandleContext(instance: u64, file: u64, operation: u32, new: u64, old: u64) -> u32 { of_file(FLT_STREAMHANDLE_CONTEXT, instance, file, |object| set(object, operation, new, old)) }
    Full code FltGetStreamHandleContext(instance: u64, file: u64, out: u64) -> u32 { get_of_file(FLT_STREAMHANDLE_CONTEXT, instance, file, out) }
    Full code FltDeleteStreamHandleContext(instance: u64, file: u64, old: u64) -> u32 { of_file(FLT_STREAMHANDLE_CONTEXT, instance, file, |object| delete(object, old)) }
    Full code FltGetContexts(related: u64, wanted: u16, out: u64) { get_all(related, wanted, out); }
    Full code FltReleaseContexts(contexts: u64) { release_all(contexts); }
    Full code FltSupportsFileContexts(file: u64) -> u8 { u8::from(super::supports(FLT_FILE_CONTEXT, at(file))) }
    Full code FltSupportsFileContextsEx(file: u64, instance: u64) -> u8 {
        let kind = if instance == 0 { FLT_FILE_CONTEXT } else { FLT_STREAM_CONTEXT };
        u8::from(super::supports(kind, at(file)))
    }
    Full code FltSupportsStreamContexts(file: u64) -> u8 { u8::from(super::supports(FLT_STREAM_CONTEXT, at(file))) }
    Full code FltSupportsStreamHandleContexts(file: u64) -> u8 { u8::from(super::supports(FLT_STREAMHANDLE_CONTEXT, at(file))) }
    Absent("the machine has no transactions; look it up with FltGetRoutineAddress") missing FltSetTransactionContext;
    Absent("the machine has no transactions; look it up with FltGetRoutineAddress") missing FltGetTransactionContext;
    Absent("the machine has no transactions; look it up with FltGetRoutineAddress") missing FltEnlistInTransaction;
}
