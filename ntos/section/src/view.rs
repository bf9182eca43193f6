//! Views: NtMapViewOfSection, NtUnmapViewOfSection, NtFlushVirtualMemory, and access to them from Rust.
//!
//! Room: ntos/section. IRQL: PASSIVE_LEVEL; access <= APC_LEVEL. Locks: the list of views, not held while one is made or goes.
//! Source: ZwMapViewOfSection, FlushViewOfFile pages; rules NT-CC-65, NT-CC-67.

use crate::object::{Backing, Memory, PAGE, reference, stores};
use nt_abi::mm::*;
use nt_abi::{NtResult, NtStatus};
use nt_cc::{UserView, ViewKind};
use nt_cell::{Fault, Protection, Region, UserBlock, arena};
use nt_io::irp::IoStatus;
use nt_ke::{Frame, Kernel, Mutex};
use nt_ob::Handle;
use nt_ob::types::ObjectType;
use nt_ps::Process;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a view may begin in a section, and in memory.
const GRANULARITY: u64 = 0x1_0000;

enum Mapped {
    File(UserView),
    Memory { _memory: Arc<Memory>, block: UserBlock },
}

impl Mapped {
    fn region(&self) -> Region {
        match self {
            Self::File(view) => view.region(),
            Self::Memory { block, .. } => block.region(),
        }
    }
}

struct View {
    machine: u64,
    process: u64,
    mapped: Mapped,
}

/// Views of all machines, by address: there is one arena.
static VIEWS: Mutex<BTreeMap<u64, View>> = Mutex::new(BTreeMap::new());

/// The arguments of NtMapViewOfSection.
#[derive(Clone, Copy, Debug)]
pub struct MapView {
    /// SectionHandle.
    pub section: Handle,
    /// ProcessHandle.
    pub process: Handle,
    /// *BaseAddress: 0 leaves the choice to us.
    pub base: u64,
    /// *SectionOffset.
    pub offset: i64,
    /// *ViewSize: 0 goes to the end of the section.
    pub size: u64,
    /// Win32Protect.
    pub protection: u32,
}

/// The id of the process behind a handle.
fn process(frame: &Frame, handle: Handle) -> NtResult<u64> {
    const PROCESS_VM_OPERATION: u32 = 8;
    let (object, _) = nt_io::event::reference(frame, handle, ObjectType::Process, PROCESS_VM_OPERATION, frame.mode())?;
    let found = nt_ps::process::processes(&frame.kernel).process_at(object.body().addr());
    found.map(|process| process.id()).ok_or(NtStatus::PROCESS_IS_TERMINATING.error())
}

fn kind(protection: u32, of_section: u32) -> NtResult<(ViewKind, u32)> {
    Ok(match protection {
        PAGE_READONLY => (ViewKind::ReadOnly, SECTION_MAP_READ),
        PAGE_WRITECOPY => (ViewKind::WriteCopy, SECTION_MAP_READ),
        PAGE_READWRITE if stores(of_section) => (ViewKind::ReadWrite, SECTION_MAP_WRITE),
        PAGE_READWRITE => return NtStatus::SECTION_PROTECTION.fail(),
        PAGE_EXECUTE | PAGE_EXECUTE_READ | PAGE_EXECUTE_READWRITE | PAGE_EXECUTE_WRITECOPY => {
            return NtStatus::NOT_SUPPORTED.fail();
        }
        _ => return NtStatus::INVALID_PAGE_PROTECTION.fail(),
    })
}

/// NtMapViewOfSection: returns where the view lies, in whole pages. Nothing is read yet.
///
/// # Errors
/// INVALID_PAGE_PROTECTION, SECTION_PROTECTION, MAPPED_ALIGNMENT, INVALID_VIEW_SIZE for arguments; CONFLICTING_ADDRESSES for an
/// address of the caller's choice; ACCESS_DENIED; NOT_SUPPORTED for images and for pages that run; NO_MEMORY.
pub fn map(frame: &Frame, args: &MapView) -> NtResult<Region> {
    let section = reference(frame, args.section, 0)?;
    let (kind, access) = kind(args.protection, section.protection)?;
    let _granted = reference(frame, args.section, access)?;
    let owner = process(frame, args.process)?;
    let offset = u64::try_from(args.offset).map_err(|_| NtStatus::INVALID_VIEW_SIZE.error())?;
    if !offset.is_multiple_of(GRANULARITY) || !args.base.is_multiple_of(GRANULARITY) {
        return NtStatus::MAPPED_ALIGNMENT.fail();
    }
    let whole = section.size().next_multiple_of(PAGE);
    let size = if args.size == 0 { whole.saturating_sub(offset) } else { args.size };
    let fits = offset.checked_add(size).is_some_and(|end| end <= whole);
    if size == 0 || !fits {
        return NtStatus::INVALID_VIEW_SIZE.fail();
    }
    if args.base != 0 {
        return NtStatus::CONFLICTING_ADDRESSES.fail();
    }
    let pages = size.div_ceil(PAGE);
    let mapped = match &section.backing {
        Backing::Image { .. } => return NtStatus::NOT_SUPPORTED.fail(),
        Backing::File(data, _) => {
            let data = data.again(kind == ViewKind::ReadWrite);
            Mapped::File(UserView::new(data, offset / PAGE, pages, kind)?)
        }
        Backing::Memory(memory) => of_memory(memory, offset, pages, kind)?,
    };
    let region = mapped.region();
    nt_ps::process::set_unmap_all(end_of_process);
    VIEWS.lock().insert(region.addr(), View { machine: frame.kernel.id(), process: owner, mapped });
    Ok(region)
}

fn of_memory(memory: &Arc<Memory>, offset: u64, pages: u64, kind: ViewKind) -> NtResult<Mapped> {
    let none = NtStatus::NO_MEMORY.error();
    let (at, length) = ((offset as usize), (pages * PAGE) as usize);
    let block = UserBlock::reserved(length).ok_or(none)?;
    let rights = if kind == ViewKind::ReadOnly { Protection::ReadOnly } else { Protection::ReadWrite };
    block
        .show(0, length, memory.pages.sub(at, length), kind == ViewKind::WriteCopy)
        .and_then(|()| block.protect(0, length, rights))
        .map_err(|_| none)?;
    Ok(Mapped::Memory { _memory: Arc::clone(memory), block })
}

/// The address of the view of a process that `address` lies in.
fn find(views: &BTreeMap<u64, View>, machine: u64, process: u64, address: u64) -> NtResult<u64> {
    let near = views.range(..=address).next_back();
    let found = near.filter(|(base, view)| {
        let inside = address - **base < view.mapped.region().len() as u64;
        inside && view.machine == machine && view.process == process
    });
    found.map(|(base, _)| *base).ok_or(NtStatus::NOT_MAPPED_VIEW.error())
}

/// NtUnmapViewOfSection: the view that `address` lies in goes; what was stored to it stays with the section.
///
/// # Errors
/// NOT_MAPPED_VIEW where the process has none.
pub fn unmap(frame: &Frame, handle: Handle, address: u64) -> NtResult<()> {
    let owner = process(frame, handle)?;
    let gone = {
        let mut views = VIEWS.lock();
        let base = find(&views, frame.kernel.id(), owner, address)?;
        views.remove(&base)
    };
    drop(gone); // with the list let go: the file may be closed by it
    Ok(())
}

/// NtFlushVirtualMemory: writes what was stored to `length` bytes of a view, 0 for the rest of it; returns the pages that this
/// concerned and what came of it (NT-CC-67).
///
/// # Errors
/// NOT_MAPPED_VIEW where the process has no view there.
pub fn flush(frame: &Frame, handle: Handle, address: u64, length: u64) -> NtResult<(Region, IoStatus)> {
    let owner = process(frame, handle)?;
    let views = VIEWS.lock();
    let base = find(&views, frame.kernel.id(), owner, address)?;
    let View { mapped, .. } = &views[&base];
    let region = mapped.region();
    let from = (address - base) / PAGE * PAGE;
    let rest = region.len() as u64 - from;
    let length = if length == 0 { rest } else { (address - base - from + length).next_multiple_of(PAGE).min(rest) };
    let part = region.sub(from as usize, length as usize);
    let Mapped::File(view) = mapped else { return Ok((part, IoStatus::new(NtStatus::SUCCESS, 0))) };
    let section = view.section().again(false);
    let start = view.offset() + from;
    drop(views);
    let done = section.flush(start, length);
    Ok((part, done))
}

/// The views of a process go with it.
fn end_of_process(process: &Process) {
    let frame = nt_ke::current();
    end_where(|view| view.machine == frame.kernel.id() && view.process == process.id());
}

/// The views of a machine go with it.
pub fn end_all(kernel: &Kernel) {
    end_where(|view| view.machine == kernel.id());
}

fn end_where(goes: impl Fn(&View) -> bool) {
    let gone: Vec<_> = VIEWS.lock().extract_if(.., |_, view| goes(view)).collect();
    drop(gone);
}

/// Brings in what a copy of `region` lacked.
fn serve(region: Region, fault: Fault) -> NtResult<()> {
    match arena::page_in(fault.address, region.addr() + region.len() as u64 - fault.address, fault.write) {
        Some(Ok(())) => Ok(()),
        Some(Err(NtStatus::ACCESS_VIOLATION)) | None => NtStatus::ACCESS_VIOLATION.fail(),
        Some(Err(_)) => NtStatus::IN_PAGE_ERROR.fail(),
    }
}

/// Loads bytes of a view.
///
/// # Errors
/// ACCESS_VIOLATION where there is no view, or none of the file any more; IN_PAGE_ERROR where a page could not be read.
pub fn read(region: Region, to: &mut [u8]) -> NtResult<()> {
    while let Err(fault) = region.read_to(to) {
        serve(region, fault)?;
    }
    Ok(())
}

/// Stores bytes to a view.
///
/// # Errors
/// As [`read`], and ACCESS_VIOLATION for a view that may not be stored to.
pub fn write(region: Region, from: &[u8]) -> NtResult<()> {
    while let Err(fault) = region.write_from(from) {
        serve(region, fault)?;
    }
    Ok(())
}
