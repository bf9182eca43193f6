//! Oplock keys: whose an open is, told by its creator; kept behind the file object.
//!
//! Room: ntos/io. Called by: `nt_fsrtl::oplock`, `file` (the end), `ecp::exports` (IoGetOplockKeyContext). Calls: `ecp`.
//! Touches: FILE_OBJECT.FileObjectExtension, which is opaque and laid out here. IRQL: <= APC_LEVEL. Locks: none; a key is put
//! behind a file object while it is created and stays.
//! Source: OPLOCK_KEY_ECP_CONTEXT, DUAL_OPLOCK_KEY_ECP_CONTEXT, OPLOCK_KEY_CONTEXT, IoGetOplockKeyContextEx pages; rule NT-OPL-14.

use crate::ecp::{self, Found, guid_at};
use crate::irp::{self, Irp};
use nt_abi::io::{
    DUAL_OPLOCK_KEY_ECP_CONTEXT, FILE_OBJECT, GUID_ECP_DUAL_OPLOCK_KEY, GUID_ECP_OPLOCK_KEY, IO_STACK_LOCATION,
    OPLOCK_KEY_CONTEXT, OPLOCK_KEY_ECP_CONTEXT, OPLOCK_KEY_FLAG_PARENT_KEY, OPLOCK_KEY_FLAG_TARGET_KEY,
    OPLOCK_KEY_VERSION_WIN7, OPLOCK_KEY_VERSION_WIN8,
};
use nt_abi::{Bytes, Field, GUID, NtResult, NtStatus};
use nt_cell::{Foreign, Region};
use nt_ex::pool::{self, PoolKind};
use nt_trace::rule;

/// The keys of an open.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Keys {
    /// Of the directory that the file is in.
    pub parent: Option<GUID>,
    /// Of the file.
    pub target: Option<GUID>,
}

const EXTENSION_TAG: u32 = pool::tag(b"IoFE");

/// The OPLOCK_KEY_CONTEXT of a file object: IoGetOplockKeyContextEx.
#[must_use]
pub fn context(file: Foreign<FILE_OBJECT>) -> Option<Foreign<OPLOCK_KEY_CONTEXT>> {
    file.ptr(FILE_OBJECT::FileObjectExtension).map(Foreign::view)
}

/// The OPLOCK_KEY_ECP_CONTEXT of a file object that has a key for the file: IoGetOplockKeyContext. It is the tail of the newer
/// structure: both end with the key and a reserved word.
#[must_use]
pub fn target_context(file: Foreign<FILE_OBJECT>) -> Option<Foreign<OPLOCK_KEY_ECP_CONTEXT>> {
    const TAIL: Field<OPLOCK_KEY_CONTEXT, OPLOCK_KEY_ECP_CONTEXT> =
        Field::at(OPLOCK_KEY_CONTEXT::TargetOplockKey.offset());
    context(file).filter(|_| of(file).target.is_some()).map(|context| context.at(TAIL))
}

/// The keys that the creator of a file object gave.
#[must_use]
pub fn of(file: Foreign<FILE_OBJECT>) -> Keys {
    let Some(context) = context(file) else { return Keys::default() };
    let (flags, from) =
        (context.get(OPLOCK_KEY_CONTEXT::Flags), Region::pool(context.view(), OPLOCK_KEY_CONTEXT::SIZE));
    let key = |flag, field: Field<OPLOCK_KEY_CONTEXT, GUID>| {
        if flags & flag != 0 { guid_at(from, field.offset()) } else { None }
    };
    Keys {
        parent: key(OPLOCK_KEY_FLAG_PARENT_KEY, OPLOCK_KEY_CONTEXT::ParentOplockKey),
        target: key(OPLOCK_KEY_FLAG_TARGET_KEY, OPLOCK_KEY_CONTEXT::TargetOplockKey),
    }
}

/// What an ECP of a size tells; `None` for one too small to hold the structure.
fn told(ecp: &Found, size: usize) -> Option<Region> {
    (ecp.size as usize >= size).then(|| Region::pool(ecp.context, size))
}

fn single(ecp: &Found) -> Option<Keys> {
    let from = told(ecp, OPLOCK_KEY_ECP_CONTEXT::SIZE)?;
    Some(Keys { parent: None, target: guid_at(from, OPLOCK_KEY_ECP_CONTEXT::OplockKey.offset()) })
}

fn dual(ecp: &Found) -> Option<Keys> {
    use DUAL_OPLOCK_KEY_ECP_CONTEXT as Dual;
    let from = told(ecp, Dual::SIZE)?;
    let key = |is_set: Field<Dual, u8>, at: Field<Dual, GUID>| {
        if from.load::<u8>(is_set.offset()) == Ok(0) { None } else { guid_at(from, at.offset()) }
    };
    Some(Keys {
        parent: key(Dual::ParentOplockKeySet, Dual::ParentOplockKey),
        target: key(Dual::TargetOplockKeySet, Dual::TargetOplockKey),
    })
}

/// A file system looks at the oplocks of a create: the file object gets the keys that came with it, once.
///
/// # Errors
/// INSUFFICIENT_RESOURCES.
pub fn adopt(create: Irp) -> NtResult<()> {
    let Ok(Some(list)) = ecp::of_packet(create) else { return Ok(()) };
    let Some(file) = irp::current(create).ptr(IO_STACK_LOCATION::FileObject) else { return Ok(()) };
    if context(file).is_some() {
        return Ok(());
    }
    // The dual key stands for both kinds where a create has both: it took the older one's place.
    let newer = ecp::find(list, GUID_ECP_DUAL_OPLOCK_KEY).and_then(|ecp| dual(&ecp));
    let (keys, version) = match newer {
        Some(keys) => (keys, OPLOCK_KEY_VERSION_WIN8),
        None => match ecp::find(list, GUID_ECP_OPLOCK_KEY).and_then(|ecp| single(&ecp)) {
            Some(keys) => (keys, OPLOCK_KEY_VERSION_WIN7),
            None => return Ok(()),
        },
    };
    rule!(NT_OPL_14);
    let kept = [
        (keys.parent, OPLOCK_KEY_FLAG_PARENT_KEY, OPLOCK_KEY_CONTEXT::ParentOplockKey),
        (keys.target, OPLOCK_KEY_FLAG_TARGET_KEY, OPLOCK_KEY_CONTEXT::TargetOplockKey),
    ];
    if kept.iter().all(|(key, ..)| key.is_none()) {
        return Ok(());
    }
    let size = OPLOCK_KEY_CONTEXT::SIZE;
    let block = pool::allocate(size, EXTENSION_TAG, PoolKind::NonPaged);
    let block: Foreign<Bytes> = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    let context = block.view::<OPLOCK_KEY_CONTEXT>();
    context.set(OPLOCK_KEY_CONTEXT::Version, version);
    for (key, flag, field) in kept {
        if let Some(key) = key {
            let _ours = Region::pool(block, size).sub(field.offset(), 16).write_from(&key.to_bytes());
            context.set(OPLOCK_KEY_CONTEXT::Flags, context.get(OPLOCK_KEY_CONTEXT::Flags) | flag);
        }
    }
    file.set_ptr(FILE_OBJECT::FileObjectExtension, Some(block));
    Ok(())
}

/// The file object goes.
pub(crate) fn release(file: Foreign<FILE_OBJECT>) {
    if let Some(block) = file.ptr(FILE_OBJECT::FileObjectExtension) {
        file.set_ptr(FILE_OBJECT::FileObjectExtension, None);
        pool::free(block);
    }
}
