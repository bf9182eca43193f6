//! What the file system run-time library exports: byte-range locks, contexts of streams; and where its drivers' addresses become
//! typed.
//!
//! Room: ntos/fsrtl. Called by: compiled file systems and filters, through the loader. Calls: `filelock`.
//! IRQL: <= APC_LEVEL. Locks: none here. Source: ntifs.h, the FsRtl*FileLock* pages.
#![expect(unsafe_code, reason = "unsafe home 3: entry points take a driver's pointers")]

use crate::contexts::{self, Context};
use crate::filelock::{self, FileLock, Owner, Request};
use nt_abi::NtStatus;
use nt_abi::mm::FILE_LOCK;
use nt_cell::{CodePtr, Foreign, Region, exports};
use nt_ex::pool;

/// Names what a driver's pointer points at; `None` for NULL.
pub(crate) fn at<T>(address: u64) -> Option<Foreign<T>> {
    // SAFETY: S-3: a driver's pointer is taken at its word here, once; what lies there is reached by atomics and guarded
    // copies only, never through a reference.
    unsafe { Foreign::from_raw(address) }
}

pub(crate) fn code(address: u64) -> Option<CodePtr> {
    // SAFETY: the driver gave it as a routine of the documented arity; the border answers for faults (S-3).
    unsafe { CodePtr::from_raw(address) }
}

pub(crate) fn bytes(address: u64, length: usize) -> Region {
    // SAFETY: S-3: the header declares a buffer of this length; accesses to it are guarded.
    unsafe { Region::from_raw(address, length) }
}

fn lock_at(address: u64) -> FileLock {
    at(address).expect("a driver passed a NULL FILE_LOCK")
}

fn inserted(done: Option<bool>) -> u32 {
    match done {
        Some(true) => NtStatus::SUCCESS.0,
        Some(false) => NtStatus::INVALID_DEVICE_REQUEST.0,
        None => NtStatus::INVALID_PARAMETER.0,
    }
}

fn found(context: Option<Context>) -> u64 {
    context.map_or(0, Foreign::addr)
}

fn number(address: u64) -> u64 {
    bytes(address, 8).load::<u64>(0).unwrap_or(0)
}

fn store_status(iosb: u64, status: NtStatus) {
    if iosb != 0 {
        let block = bytes(iosb, 16);
        let _gone = block.store::<u64>(8, 0).and_then(|()| block.store::<u32>(0, status.0));
    }
}

exports! { "ntoskrnl.exe" =>
    Full code FsRtlAllocateFileLock(complete: u64, unlock: u64) -> u64 {
        let made = pool::zeroed::<FILE_LOCK>(pool::tag(b"FsLk"));
        if let Some(lock) = made { filelock::initialize(lock, code(complete), code(unlock)); }
        made.map_or(0, Foreign::addr)
    }
    Full code FsRtlFreeFileLock(lock: u64) {
        let lock = lock_at(lock);
        filelock::uninitialize(lock);
        pool::free(lock);
    }
    Full code FsRtlInitializeFileLock(lock: u64, complete: u64, unlock: u64) {
        filelock::initialize(lock_at(lock), code(complete), code(unlock));
    }
    Full code FsRtlUninitializeFileLock(lock: u64) { filelock::uninitialize(lock_at(lock)); }
    Full code FsRtlProcessFileLock(lock: u64, packet: u64, context: u64) -> u32 {
        at(packet).map_or(NtStatus::INVALID_PARAMETER, |packet| filelock::process(lock_at(lock), packet, context)).0
    }
    Full code FsRtlCheckLockForReadAccess(lock: u64, packet: u64) -> u8 {
        u8::from(at(packet).is_some_and(|packet| filelock::packet_may_read(lock_at(lock), packet)))
    }
    Full code FsRtlCheckLockForWriteAccess(lock: u64, packet: u64) -> u8 {
        u8::from(at(packet).is_some_and(|packet| filelock::packet_may_write(lock_at(lock), packet)))
    }
    Full code FsRtlFastCheckLockForRead(lock: u64, start: u64, length: u64, key: u32, file: u64, process: u64) -> u8 {
        u8::from(filelock::may_read(lock_at(lock), number(start), number(length), Owner { file, process, key }))
    }
    Full code FsRtlFastCheckLockForWrite(lock: u64, start: u64, length: u64, key: u32, file: u64, process: u64) -> u8 {
        u8::from(filelock::may_write(lock_at(lock), number(start), number(length), Owner { file, process, key }))
    }
    Full code FsRtlPrivateLock(lock: u64, file: u64, start: u64, length: u64, process: u64, key: u32, fail: u8, exclusive: u8, iosb: u64, packet: u64, context: u64, _synchronized: u8) -> u8 {
        let owner = Owner { file, process, key };
        let wanted = Request { start: number(start), length: number(length), owner, fail_immediately: fail != 0, exclusive: exclusive != 0 };
        let done = filelock::request(lock_at(lock), &wanted, at(packet), context);
        store_status(iosb, done.unwrap_or(NtStatus::PENDING));
        u8::from(done.is_some())
    }
    Full code FsRtlFastUnlockSingle(lock: u64, file: u64, start: u64, length: u64, process: u64, key: u32, context: u64, _synchronized: u8) -> u32 {
        filelock::unlock_single(lock_at(lock), number(start), number(length), Owner { file, process, key }, context).0
    }
    Full code FsRtlFastUnlockAll(lock: u64, file: u64, process: u64, context: u64) -> u32 {
        filelock::unlock_all(lock_at(lock), file, Some(process), None, context).0
    }
    Full code FsRtlFastUnlockAllByKey(lock: u64, file: u64, process: u64, key: u32, context: u64) -> u32 {
        filelock::unlock_all(lock_at(lock), file, Some(process), Some(key), context).0
    }
    Full code FsRtlGetNextFileLock(lock: u64, restart: u8) -> u64 {
        filelock::next(lock_at(lock), restart != 0).map_or(0, Foreign::addr)
    }
    Full code FsRtlInsertPerStreamContext(header: u64, context: u64) -> u32 {
        inserted(at(header).zip(at(context)).map(|(header, context)| contexts::insert(header, context)))
    }
    Full code FsRtlLookupPerStreamContextInternal(header: u64, owner: u64, instance: u64) -> u64 {
        found(at(header).and_then(|header| contexts::look_up(header, owner, instance)))
    }
    Full code FsRtlRemovePerStreamContext(header: u64, owner: u64, instance: u64) -> u64 {
        found(at(header).and_then(|header| contexts::remove(header, owner, instance)))
    }
    Full code FsRtlTeardownPerStreamContexts(header: u64) { if let Some(header) = at(header) { contexts::tear_down(header); } }
    Full code FsRtlInsertPerFileContext(slot: u64, context: u64) -> u32 {
        inserted(at(slot).zip(at(context)).map(|(slot, context)| contexts::insert_for_file(slot, context)))
    }
    Full code FsRtlLookupPerFileContext(slot: u64, owner: u64, instance: u64) -> u64 {
        found(at(slot).and_then(|slot| contexts::look_up_for_file(slot, owner, instance)))
    }
    Full code FsRtlRemovePerFileContext(slot: u64, owner: u64, instance: u64) -> u64 {
        found(at(slot).and_then(|slot| contexts::remove_for_file(slot, owner, instance)))
    }
    Full code FsRtlTeardownPerFileContexts(slot: u64) { if let Some(slot) = at(slot) { contexts::tear_down_for_file(slot); } }
}
