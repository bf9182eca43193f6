//! The cache's own pages lent to a caller, described by MDLs.
//!
//! Room: ntos/cc. Called by: file systems. IRQL: PASSIVE_LEVEL. Locks: the map's pages, for the bits. A lent view is
//! pinned: it can neither be purged nor given back. Source: CcMdlRead, CcPrepareMdlWrite, CcMdlWriteComplete pages; rule
//! NT-CC-21.

use crate::copy::{pieces, span};
use crate::map::{CacheMap, map_of_file};
use crate::pages::{PAGE, Pages};
use nt_abi::io::{FILE_OBJECT, FO_WRITE_THROUGH};
use nt_abi::mm::MDL;
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;
use nt_io::irp::IoStatus;
use nt_mm::mdl;
use std::sync::Arc;
use std::sync::atomic::Ordering;

type File = Foreign<FILE_OBJECT>;

fn map_for(file: File) -> NtResult<Arc<CacheMap>> {
    map_of_file(file).ok_or(NtStatus::INVALID_PARAMETER.error())
}

/// CcPrepareMdlWrite: pages for the caller to fill. What it covers in part is read first; the pages become dirty when
/// they come back.
pub fn prepare_mdl_write(file: File, start: u64, length: u64) -> NtResult<(Foreign<MDL>, IoStatus)> {
    let map = map_for(file)?;
    let end = start.checked_add(length).filter(|_| length != 0).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    lend(&map, start, end, true)
}

/// CcMdlRead: the pages themselves, up to the end of the file.
pub fn mdl_read(file: File, start: u64, length: u64) -> NtResult<(Foreign<MDL>, IoStatus)> {
    let map = map_for(file)?;
    let end = start.saturating_add(length).min(map.sizes().file);
    if start >= end {
        return NtStatus::END_OF_FILE.fail();
    }
    lend(&map, start, end, false)
}

/// Pins and describes `[start, end)`; `whole` for a caller that fills all of it, so that only the pages at its ends are read
/// in first.
fn lend(map: &CacheMap, start: u64, end: u64, whole: bool) -> NtResult<(Foreign<MDL>, IoStatus)> {
    let frame = nt_ke::current();
    let lacking = |pages: &Pages| {
        (start / PAGE..end.div_ceil(PAGE)).find(|&page| {
            let filled = whole && start <= page * PAGE && (page + 1) * PAGE <= end;
            let there = pages.get(page).is_some_and(|view| view.resident.get(view.index(page)));
            !filled && !there && page * PAGE < pages.sizes.valid.min(pages.sizes.file)
        })
    };
    // Between a page's arrival and the lock it may have gone again: purged, or let go of.
    let mut pages = loop {
        let pages = map.pages.write();
        let Some(page) = lacking(&pages) else { break pages };
        drop(pages);
        let last = if whole { page + 1 } else { end.div_ceil(PAGE) };
        map.page_in(&frame, page, last)?;
    };
    let mut first: Option<Foreign<MDL>> = None;
    for (at, stop) in pieces(start, end) {
        let view = Arc::clone(pages.ensure(at / PAGE)?);
        let (a, b) = span(&view, at, stop);
        for index in (a..b).filter(|&index| !view.resident.get(index)) {
            let page = (view.first + u64::from(index)) * PAGE;
            let _own_memory = view.bytes(page, page + PAGE).fill(0);
        }
        view.resident.set(a, b);
        let made = mdl::allocate(view.bytes(at, stop)).and_then(|made| {
            mdl::probe_and_lock(made, true, whole).and_then(|()| mdl::map(made)).inspect_err(|_| mdl::free(made))?;
            Ok(made)
        });
        let made = match made {
            Ok(made) => made,
            Err(error) => {
                give_back(&pages, start, first, |_, _, _| {});
                return Err(error);
            }
        };
        view.pins.fetch_add(1, Ordering::AcqRel);
        match first {
            Some(first) => mdl::append(first, made),
            None => first = Some(made),
        }
    }
    let first = first.ok_or(NtStatus::INVALID_PARAMETER.error())?;
    Ok((first, IoStatus::new(NtStatus::SUCCESS, end - start)))
}

/// Unpins and frees a chain that was lent from `start` on.
fn give_back(
    pages: &Pages,
    start: u64,
    chain: Option<Foreign<MDL>>,
    mut each: impl FnMut(&Arc<crate::pages::View>, u64, u64),
) {
    let mut at = start;
    let chain: Vec<_> = mdl::chain(chain).collect();
    for lent in chain {
        let stop = at + u64::from(lent.get(MDL::ByteCount));
        if let Some(view) = pages.get(at / PAGE) {
            each(view, at, stop);
            view.pins.fetch_sub(1, Ordering::AcqRel);
        }
        mdl::release(lent);
        at = stop;
    }
}

/// CcMdlReadComplete: the pages come back as they are. Where they lie in the file is found by their address.
pub fn mdl_read_complete(file: File, chain: Foreign<MDL>) -> NtResult<()> {
    let map = map_for(file)?;
    let pages = map.pages.write();
    let at = mdl::virtual_address(chain);
    let start = pages.views(0, u64::MAX).find_map(|view| {
        let all = view.bytes(view.first * PAGE, view.end() * PAGE);
        (all.addr()..all.addr() + all.len() as u64).contains(&at).then(|| view.first * PAGE + (at - all.addr()))
    });
    give_back(&pages, start.ok_or(NtStatus::INVALID_PARAMETER.error())?, Some(chain), |_, _, _| {});
    Ok(())
}

/// CcMdlWriteComplete: the pages are dirty now; on a write-through handle they are written before this returns.
pub fn mdl_write_complete(file: File, start: u64, chain: Foreign<MDL>) -> NtResult<()> {
    let map = map_for(file)?;
    let mut end = start;
    {
        let mut pages = map.pages.write();
        give_back(&pages, start, Some(chain), |view, at, stop| {
            let (a, b) = span(view, at, stop);
            map.soiled(view.dirty.set(a, b));
            end = stop;
        });
        if pages.sizes.valid < end {
            pages.sizes.valid = end;
        }
        map.show(&pages.sizes);
    }
    if file.get(FILE_OBJECT::Flags) & FO_WRITE_THROUGH != 0 {
        let written = map.flush_range(start, end - start, true);
        if written.status.is_error() {
            return written.status.fail();
        }
    }
    Ok(())
}

/// CcMdlWriteAbort: the pages come back as they are; nothing is dirty by it.
pub fn mdl_write_abort(file: File, chain: Foreign<MDL>) -> NtResult<()> {
    mdl_read_complete(file, chain)
}
