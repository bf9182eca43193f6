//! FLT_CONTEXT_REGISTRATION: which contexts a filter may allocate, and which entry serves a size.
//!
//! Room: drivers/fltmgr. IRQL: PASSIVE_LEVEL. Locks: none. Source: FLT_CONTEXT_REGISTRATION page; rules FLT-C-02, FLT-C-05.

use nt_abi::flt::*;
use nt_abi::{NtResult, NtStatus};
use nt_cell::{CodePtr, Foreign};

/// One entry of the array.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: u16,
    pub(crate) inexact: bool,
    /// `None`: FLT_VARIABLE_SIZED_CONTEXTS.
    pub(crate) size: Option<usize>,
    pub(crate) tag: u32,
    pub(crate) cleanup: Option<CodePtr>,
    pub(crate) allocate: Option<CodePtr>,
    pub(crate) free: Option<CodePtr>,
}

/// What a filter written in Rust registers.
#[derive(Clone, Copy, Debug)]
pub struct ContextSpec {
    /// FLT_*_CONTEXT.
    pub kind: u16,
    /// Bytes; `None` for any size.
    pub size: Option<usize>,
    /// Are smaller sizes served too?
    pub inexact: bool,
}

impl From<ContextSpec> for Entry {
    fn from(spec: ContextSpec) -> Self {
        let ContextSpec { kind, size, inexact } = spec;
        Self { kind, inexact, size, tag: nt_ex::pool::tag(b"FMcx"), cleanup: None, allocate: None, free: None }
    }
}

pub(crate) fn is_kind(kind: u16) -> bool {
    kind.is_power_of_two() && kind <= FLT_SECTION_CONTEXT
}

pub(crate) fn name_of(kind: u16) -> &'static str {
    match kind {
        FLT_VOLUME_CONTEXT => "volume",
        FLT_INSTANCE_CONTEXT => "instance",
        FLT_FILE_CONTEXT => "file",
        FLT_STREAM_CONTEXT => "stream",
        FLT_STREAMHANDLE_CONTEXT => "stream handle",
        FLT_TRANSACTION_CONTEXT => "transaction",
        _ => "section",
    }
}

/// Reads the array; what the page forbids is INVALID_CONTEXT_REGISTRATION (FLT-C-05).
pub(crate) fn read(first: Option<Foreign<FLT_CONTEXT_REGISTRATION>>) -> NtResult<Vec<Entry>> {
    let Some(first) = first else { return Ok(Vec::new()) };
    let mut entries = Vec::new();
    for index in 0..64 {
        let at = first.element(index);
        let kind = at.get(FLT_CONTEXT_REGISTRATION::ContextType);
        if kind == FLT_CONTEXT_END {
            return check(entries);
        }
        let size = at.get(FLT_CONTEXT_REGISTRATION::Size);
        entries.push(Entry {
            kind,
            inexact: at.get(FLT_CONTEXT_REGISTRATION::Flags) & FLTFL_CONTEXT_REGISTRATION_NO_EXACT_SIZE_MATCH != 0,
            size: (size != FLT_VARIABLE_SIZED_CONTEXTS).then_some(size as usize),
            tag: at.get(FLT_CONTEXT_REGISTRATION::PoolTag),
            cleanup: at.code(FLT_CONTEXT_REGISTRATION::ContextCleanupCallback),
            allocate: at.code(FLT_CONTEXT_REGISTRATION::ContextAllocateCallback),
            free: at.code(FLT_CONTEXT_REGISTRATION::ContextFreeCallback),
        });
    }
    NtStatus::FLT_INVALID_CONTEXT_REGISTRATION.fail()
}

pub(crate) fn check(given: Vec<Entry>) -> NtResult<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    for entry in given {
        let same = |each: &&Entry| each.kind == entry.kind && each.size == entry.size && each.inexact == entry.inexact;
        if entries.iter().find(same).is_none() {
            entries.push(entry);
        }
    }
    let good = |entry: &Entry| {
        let of_kind = || entries.iter().filter(|each| each.kind == entry.kind);
        let fixed = of_kind().filter(|each| each.size.is_some()).count();
        let tagged = entry.tag != 0 || entry.allocate.is_some();
        let alone = entry.allocate.is_none() || of_kind().count() == 1;
        let paired = entry.allocate.is_some() == entry.free.is_some();
        is_kind(entry.kind) && fixed <= 3 && of_kind().count() - fixed <= 1 && tagged && alone && paired
    };
    if entries.iter().all(good) { Ok(entries) } else { NtStatus::FLT_INVALID_CONTEXT_REGISTRATION.fail() }
}

/// The entry that serves a size: the smallest fixed one that fits, else the variable one (FLT-C-02).
pub(crate) fn best(entries: &[Entry], kind: u16, size: usize) -> Option<Entry> {
    let of_kind = || entries.iter().filter(move |entry| entry.kind == kind);
    if let Some(own) = of_kind().find(|entry| entry.allocate.is_some()) {
        return Some(Entry { size: None, ..*own }); // Size and PoolTag are ignored: FLT-C-12
    }
    let fits = |entry: &&Entry| entry.size.is_some_and(|fixed| size == fixed || (entry.inexact && size <= fixed));
    let fixed = of_kind().filter(fits).min_by_key(|entry| entry.size);
    fixed.or_else(|| of_kind().find(|entry| entry.size.is_none())).copied()
}
