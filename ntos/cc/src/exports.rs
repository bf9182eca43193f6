//! The cache manager's names in ntoskrnl.exe.
//!
//! Room: ntos/cc. Called by: compiled file systems and filters, the DPC of the lazy writer's timer. IRQL: as each DDI
//! page says; the DPC at DISPATCH_LEVEL. Locks: none here.
#![expect(unsafe_code, reason = "entry points that take raw pointers: SOUNDNESS.md, S-3 and S-4")]

use crate::client::Callbacks;
use crate::layout::CACHE_UNINITIALIZE_EVENT;
use crate::map::own_map;
use crate::{Manager, Sizes, ahead, copy, flush, map, mdl, throttle};
use nt_abi::io::{FILE_OBJECT, IO_STATUS_BLOCK};
use nt_abi::mm::{CACHE_MANAGER_CALLBACKS, CC_FILE_SIZES, MDL, SECTION_OBJECT_POINTERS};
use nt_abi::{NtResult, NtStatus};
use nt_cell::{CodePtr, Foreign, Region, callout, exports, raise};
use nt_io::irp::IoStatus;
use std::sync::Arc;

/// Names what a driver's pointer points at; `None` for NULL.
fn at<T>(address: u64) -> Option<Foreign<T>> {
    // SAFETY: S-3: a driver's pointer is taken at its word here, once; what lies there is reached by atomics and guarded
    // copies only.
    unsafe { Foreign::from_raw(address) }
}

/// A required structure; NULL raises ACCESS_VIOLATION, as touching it does (NT-CC-14).
fn need<T>(address: u64) -> NtResult<Foreign<T>> {
    at(address).ok_or(NtStatus::ACCESS_VIOLATION.error())
}

/// The driver's bytes at an address.
fn bytes(address: u64, length: usize) -> Region {
    // SAFETY: S-3: the caller answers for the buffer; accesses to it are guarded.
    unsafe { Region::from_raw(address, length) }
}

fn large(address: u64) -> NtResult<i64> {
    if address == 0 {
        return NtStatus::ACCESS_VIOLATION.fail();
    }
    bytes(address, 8).load::<i64>(0).map_err(|_| NtStatus::ACCESS_VIOLATION.error())
}

fn offset(address: u64) -> NtResult<u64> {
    u64::try_from(large(address)?).map_err(|_| NtStatus::INVALID_PARAMETER.error())
}

fn raised<T>(result: NtResult<T>, otherwise: T) -> T {
    result.unwrap_or_else(|error| {
        raise::raise(error.status());
        otherwise
    })
}

fn store(block: u64, result: IoStatus) {
    if let Some(block) = at::<IO_STATUS_BLOCK>(block) {
        block.set(IO_STATUS_BLOCK::Information, result.information);
        block.set(IO_STATUS_BLOCK::Status, result.status);
    }
}

fn range(at: u64, length: u32) -> NtResult<Option<(u64, u64)>> {
    if at == 0 { Ok(None) } else { Ok(Some((offset(at)?, u64::from(length)))) }
}

fn hand_over((first, result): (Foreign<MDL>, IoStatus), chain: u64, iosb: u64) {
    let _a_bad_pointer_loses_it = bytes(chain, 8).store::<u64>(0, first.addr());
    store(iosb, result);
}

extern "win64" fn lazy_scan_thunk(_dpc: u64, _context: u64, _first: u64, _second: u64) {
    nt_cell::export::body("CcLazyScan", || Manager::scan_later(&nt_ke::current().kernel));
}

/// The DPC routine of the lazy writer's timer.
pub(crate) fn lazy_scan() -> CodePtr {
    let routine: extern "win64" fn(u64, u64, u64, u64) = lazy_scan_thunk;
    // SAFETY: the address of a win64 routine of this process, of the arity of a DPC routine.
    unsafe { CodePtr::from_raw(routine as usize as u64) }.expect("a function has an address")
}

fn initialize(file: u64, sizes: u64, callbacks: u64, context: u64) -> NtResult<()> {
    let table = need::<CACHE_MANAGER_CALLBACKS>(callbacks)?;
    let codes = [
        table.code(CACHE_MANAGER_CALLBACKS::AcquireForLazyWrite),
        table.code(CACHE_MANAGER_CALLBACKS::ReleaseFromLazyWrite),
        table.code(CACHE_MANAGER_CALLBACKS::AcquireForReadAhead),
        table.code(CACHE_MANAGER_CALLBACKS::ReleaseFromReadAhead),
    ];
    let sizes = Sizes::read(need::<CC_FILE_SIZES>(sizes)?);
    map::initialize(need::<FILE_OBJECT>(file)?, sizes, Callbacks::Driver(codes, context))
}

fn copy_write(file: u64, start: u64, length: u32, wait: u8, buffer: u64) -> NtResult<bool> {
    let (file, start) = (need::<FILE_OBJECT>(file)?, offset(start)?);
    copy::copy_write(file, start, bytes(buffer, length as usize), wait != 0)
}

fn copy_read(file: u64, start: u64, length: u32, wait: u8, buffer: u64, iosb: u64) -> NtResult<bool> {
    let (file, start) = (need::<FILE_OBJECT>(file)?, offset(start)?);
    let done = copy::copy_read(file, start, bytes(buffer, length as usize), wait != 0)?;
    if let Some(result) = done {
        store(iosb, result);
    }
    Ok(done.is_some())
}

fn deferred(routine: u64, first: u64, second: u64) -> NtResult<impl FnOnce() + Send + 'static> {
    // SAFETY: the driver gave it as a routine of two arguments (PCC_POST_DEFERRED_WRITE); the border answers for faults.
    let code = unsafe { CodePtr::from_raw(routine) }.ok_or(NtStatus::ACCESS_VIOLATION.error())?;
    Ok(move || {
        let _raised = callout::call(code, &[first, second]);
    })
}

fn set_attributes(file: u64, disable_read_ahead: u8, disable_write_behind: u8) {
    if let Some(file) = at::<FILE_OBJECT>(file) {
        map::set_attributes(file, disable_read_ahead != 0, disable_write_behind != 0);
    }
}

exports! { "ntoskrnl.exe" =>
    Partial("PinAccess changes nothing: pages are never paged out")
    raises CcInitializeCacheMap(file: u64, sizes: u64, _pin_access: u8, callbacks: u64, context: u64) {
        raised(initialize(file, sizes, callbacks, context), ());
    }
    Full code CcUninitializeCacheMap(file: u64, truncate: u64, event: u64) -> u8 {
        let Some(file) = at::<FILE_OBJECT>(file) else { return 0 };
        let truncate = if truncate == 0 { None } else { offset(truncate).ok() };
        u8::from(map::uninitialize(file, truncate, at::<CACHE_UNINITIALIZE_EVENT>(event)))
    }
    Full raises CcCopyRead(file: u64, start: u64, length: u32, wait: u8, buffer: u64, iosb: u64) -> u8 {
        u8::from(raised(copy_read(file, start, length, wait, buffer, iosb), false))
    }
    Partial("the issuing thread is not accounted")
    raises CcCopyReadEx(file: u64, start: u64, length: u32, wait: u8, buffer: u64, iosb: u64, _thread: u64) -> u8 {
        u8::from(raised(copy_read(file, start, length, wait, buffer, iosb), false))
    }
    Full raises CcFastCopyRead(file: u64, start: u32, length: u32, _pages: u32, buffer: u64, iosb: u64) {
        let done = need::<FILE_OBJECT>(file)
            .and_then(|file| copy::copy_read(file, u64::from(start), bytes(buffer, length as usize), true));
        if let Some(result) = raised(done, None) {
            store(iosb, result);
        }
    }
    Full raises CcCopyWrite(file: u64, start: u64, length: u32, wait: u8, buffer: u64) -> u8 {
        u8::from(raised(copy_write(file, start, length, wait, buffer), false))
    }
    Partial("the issuing thread is not accounted")
    raises CcCopyWriteEx(file: u64, start: u64, length: u32, wait: u8, buffer: u64, _thread: u64) -> u8 {
        u8::from(raised(copy_write(file, start, length, wait, buffer), false))
    }
    Full raises CcFastCopyWrite(file: u64, start: u32, length: u32, buffer: u64) {
        let done = need::<FILE_OBJECT>(file)
            .and_then(|file| copy::copy_write(file, u64::from(start), bytes(buffer, length as usize), true));
        raised(done.map(drop), ());
    }
    Full raises CcZeroData(file: u64, start: u64, end: u64, wait: u8) -> u8 {
        let done = need::<FILE_OBJECT>(file)
            .and_then(|file| copy::zero_data(file, offset(start)?, offset(end)?, wait != 0));
        u8::from(raised(done, false))
    }
    Full raises CcSetFileSizes(file: u64, sizes: u64) {
        let done = need::<FILE_OBJECT>(file)
            .and_then(|file| {
                crate::set_file_sizes(file, Sizes::read(need::<CC_FILE_SIZES>(sizes)?));
                Ok(())
            });
        raised(done, ());
    }
    Full code CcFlushCache(sections: u64, start: u64, length: u32, iosb: u64) {
        let Some(sections) = at::<SECTION_OBJECT_POINTERS>(sections) else { return };
        let result = range(start, length).map_or_else(|e| IoStatus::new(e.status(), 0), |range| flush::flush(sections, range));
        store(iosb, result);
    }
    Full code CcPurgeCacheSection(sections: u64, start: u64, length: u32, flags: u32) -> u8 {
        let Some(sections) = at::<SECTION_OBJECT_POINTERS>(sections) else { return 1 };
        if flags & 1 != 0 {
            map::uninitialize_all(sections);
        }
        u8::from(range(start, length).is_ok_and(|range| flush::purge(sections, range)))
    }
    Full code CcCoherencyFlushAndPurgeCache(sections: u64, start: u64, length: u32, iosb: u64, flags: u32) {
        let Some(sections) = at::<SECTION_OBJECT_POINTERS>(sections) else { return };
        let result = range(start, length).map_or_else(
            |error| IoStatus::new(error.status(), 0),
            |range| {
                let (offset, length) = range.unwrap_or((0, u64::MAX));
                flush::coherency_flush_and_purge(sections, offset, length, flags & 1 != 0)
            },
        );
        store(iosb, result);
    }
    Full code CcGetFlushedValidData(sections: u64, _cached: u8) -> i64 {
        at::<SECTION_OBJECT_POINTERS>(sections).map_or(i64::MAX, flush::flushed_valid_data)
    }
    Full code CcIsFileCached(file: u64) -> u8 { u8::from(at::<FILE_OBJECT>(file).is_some_and(map::is_cached)) }
    Full code CcIsThereDirtyData(vpb: u64) -> u8 {
        let dirty = |manager: &Manager| manager.maps.lock().iter().any(|map| {
            map.dirty_pages() != 0 && (vpb == 0 || map.file.addr_at(FILE_OBJECT::Vpb) == vpb)
        });
        u8::from(dirty(Manager::of(&nt_ke::current().kernel)))
    }
    Full code CcCanIWrite(file: u64, bytes: u32, wait: u8, retrying: u8) -> u8 {
        at::<FILE_OBJECT>(file).map_or(1, |file| u8::from(throttle::can_write(file, bytes.into(), wait != 0, retrying != 0)))
    }
    Full code CcDeferWrite(file: u64, routine: u64, first: u64, second: u64, bytes: u32, retrying: u8) {
        if let (Some(file), Ok(post)) = (at::<FILE_OBJECT>(file), deferred(routine, first, second)) {
            throttle::defer_write(file, bytes.into(), retrying != 0, post);
        }
    }
    Full code CcCopyWriteWontFlush(file: u64, _start: u64, length: u32) -> u8 {
        at::<FILE_OBJECT>(file).map_or(0, |file| u8::from(throttle::write_will_not_flush(file, length)))
    }
    Full code CcSetDirtyPageThreshold(file: u64, pages: u32) {
        if let Some(file) = at::<FILE_OBJECT>(file) {
            throttle::set_dirty_page_threshold(file, pages);
        }
    }
    Full code CcSetReadAheadGranularity(file: u64, granularity: u32) {
        if let Some(file) = at::<FILE_OBJECT>(file) {
            ahead::set_granularity(file, granularity);
        }
    }
    Full code CcScheduleReadAhead(file: u64, start: u64, length: u32) {
        if let (Some(file), Ok(start)) = (at::<FILE_OBJECT>(file), offset(start)) {
            let _uncached = own_map(file, |map: &Arc<crate::CacheMap>| ahead::schedule(map, start, start + u64::from(length)));
        }
    }
    Full code CcSetAdditionalCacheAttributes(file: u64, disable_read_ahead: u8, disable_write_behind: u8) {
        set_attributes(file, disable_read_ahead, disable_write_behind);
    }
    Partial("of the flags only the ones that disable read-ahead and write-behind do something")
    code CcSetAdditionalCacheAttributesEx(file: u64, flags: u32) {
        set_attributes(file, u8::from(flags & 2 != 0), u8::from(flags & 4 != 0));
    }
    Full code CcWaitForCurrentLazyWriterActivity() -> u32 {
        Manager::of(&nt_ke::current().kernel).write_all();
        NtStatus::SUCCESS.0
    }
    Full raises CcPrepareMdlWrite(file: u64, start: u64, length: u32, chain: u64, iosb: u64) {
        let lent = need::<FILE_OBJECT>(file).and_then(|file| mdl::prepare_mdl_write(file, offset(start)?, length.into()));
        raised(lent.map(|lent| hand_over(lent, chain, iosb)), ());
    }
    Full raises CcMdlRead(file: u64, start: u64, length: u32, chain: u64, iosb: u64) {
        let lent = need::<FILE_OBJECT>(file).and_then(|file| mdl::mdl_read(file, offset(start)?, length.into()));
        match lent {
            Ok(lent) => hand_over(lent, chain, iosb),
            Err(error) if error.status() == NtStatus::END_OF_FILE => store(iosb, IoStatus::new(error.status(), 0)),
            Err(error) => raised(Err(error), ()),
        }
    }
    Full raises CcMdlWriteComplete(file: u64, start: u64, chain: u64) {
        let done = need::<FILE_OBJECT>(file)
            .and_then(|file| mdl::mdl_write_complete(file, offset(start)?, need::<MDL>(chain)?));
        raised(done, ());
    }
    Full raises CcMdlReadComplete(file: u64, chain: u64) {
        let done = need::<FILE_OBJECT>(file).and_then(|file| mdl::mdl_read_complete(file, need::<MDL>(chain)?));
        raised(done, ());
    }
    Full raises CcMdlWriteAbort(file: u64, chain: u64) {
        let done = need::<FILE_OBJECT>(file).and_then(|file| mdl::mdl_read_complete(file, need::<MDL>(chain)?));
        raised(done, ());
    }
    Absent("pinned data is not there: metadata streams of compiled file systems would need it") missing CcMapData;
    Absent("pinned data is not there: metadata streams of compiled file systems would need it") missing CcPinRead;
    Absent("pinned data is not there: metadata streams of compiled file systems would need it") missing CcPinMappedData;
    Absent("pinned data is not there: metadata streams of compiled file systems would need it") missing CcPreparePinWrite;
    Absent("pinned data is not there: metadata streams of compiled file systems would need it") missing CcSetDirtyPinnedData;
    Absent("pinned data is not there: metadata streams of compiled file systems would need it") missing CcUnpinData;
    Absent("pinned data is not there: metadata streams of compiled file systems would need it") missing CcUnpinDataForThread;
    Absent("pinned data is not there: metadata streams of compiled file systems would need it") missing CcRemapBcb;
    Absent("pinned data is not there: metadata streams of compiled file systems would need it") missing CcRepinBcb;
    Absent("pinned data is not there: metadata streams of compiled file systems would need it") missing CcUnpinRepinnedBcb;
    Absent("pinned data is not there: metadata streams of compiled file systems would need it") missing CcSetBcbOwnerPointer;
    Absent("pinned data is not there: metadata streams of compiled file systems would need it") missing CcGetFileObjectFromBcb;
    Absent("pinned data is not there: metadata streams of compiled file systems would need it") missing CcGetDirtyPages;
    Absent("pinned data is not there: metadata streams of compiled file systems would need it") missing CcSetLogHandleForFile;
    Full code CcGetFileObjectFromSectionPtrs(sections: u64) -> u64 {
        at::<SECTION_OBJECT_POINTERS>(sections).and_then(map::map_of).map_or(0, |map| map.file.addr())
    }
    Full code CcGetFileObjectFromSectionPtrsRef(sections: u64) -> u64 {
        at::<SECTION_OBJECT_POINTERS>(sections).and_then(map::map_of)
            .map_or(0, |map| nt_ob::object::reference(map.file).into_raw().addr())
    }
}
