//! File names: what FltGetFileNameInformation gives, parsed and cached for each file object.
//!
//! Room: drivers/fltmgr. Called by: `exports`, filters written in Rust. Calls: `calls` (asks the file system below).
//! Touches: FLT_FILE_NAME_INFORMATION blocks, read-only for filters. IRQL: <= APC_LEVEL. Locks: the table of files for a copy
//! of a pointer. Source: FltGetFileNameInformation, FltParseFileNameInformation pages; rules FLT-N-01 to FLT-N-07.
//! Not here: name providers. A filter that registers one is told so at registration.

pub mod exports;
mod parse;
mod query;

pub use parse::{Parts, parse};
pub use query::{Source, destination, of_open_file, query, tunneled};

use nt_abi::flt::*;
use nt_abi::ob::UNICODE_STRING;
use nt_abi::{Field, NtResult, NtStatus};
use nt_cell::{Foreign, Region};
use nt_ex::pool;

nt_abi::layout! {
    /// A name with what we keep in front of it.
    pub struct NAME: 0x90 {
        /// [`MARK`] as long as the block lives.
        Mark @ 0x00: u64;
        /// References.
        Count @ 0x08: i32;
        /// What filters see.
        Info @ 0x10: FLT_FILE_NAME_INFORMATION;
    }
}
const MARK: u64 = 0x464C_545F_4E41_4D00;

/// FLT_FILE_NAME_INFORMATION.
pub type Info = Foreign<FLT_FILE_NAME_INFORMATION>;

/// A counted reference to a name.
#[derive(Debug)]
pub struct Name(Info);

impl Clone for Name {
    fn clone(&self) -> Self {
        reference(self.0);
        Self(self.0)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        release(self.0);
    }
}

impl Name {
    /// Returns the structure.
    #[must_use]
    pub fn info(&self) -> Info {
        self.0
    }
    /// Gives the reference away: FltReleaseFileNameInformation takes it back.
    #[must_use]
    pub fn into_raw(self) -> Info {
        let info = self.0;
        std::mem::forget(self);
        info
    }
    /// Returns one of its strings.
    #[must_use]
    pub fn text(&self, field: Field<FLT_FILE_NAME_INFORMATION, UNICODE_STRING>) -> String {
        nt_rtl::unicode::text(self.0.at(field))
    }
    /// Returns the whole name.
    #[must_use]
    pub fn name(&self) -> String {
        self.text(FLT_FILE_NAME_INFORMATION::Name)
    }
}

/// What is remembered of a file object's name.
pub(crate) struct Cached {
    pub(crate) format: u32,
    pub(crate) name: Name,
}

fn block_of(info: Info) -> Option<Foreign<NAME>> {
    let block = info.container(NAME::Info);
    (block.get(NAME::Mark) == MARK).then_some(block)
}

/// Is it a name of ours that lives?
pub fn is_name(info: Info) -> bool {
    block_of(info).is_some()
}

/// FltReferenceFileNameInformation.
pub fn reference(info: Info) {
    if let Some(block) = block_of(info) {
        block.add32(NAME::Count, 1);
    }
}

/// FltReleaseFileNameInformation: `false` for a pointer that is no living name.
pub fn release(info: Info) -> bool {
    let Some(block) = block_of(info) else { return false };
    if block.add32(NAME::Count, -1) == 1 {
        block.set(NAME::Mark, 0);
        pool::free(block);
    }
    true
}

fn place(string: Foreign<UNICODE_STRING>, text: Region, at: usize, units: usize) {
    string.set(UNICODE_STRING::Length, (units * 2) as u16);
    string.set(UNICODE_STRING::MaximumLength, (units * 2) as u16);
    string.set_addr(UNICODE_STRING::Buffer, if units == 0 { 0 } else { text.addr() + at as u64 * 2 });
}

/// Makes a structure of a name, whose first `volume` units are the volume's name.
fn make(units: &[u16], volume: usize, format: u32) -> NtResult<Name> {
    if units.len() > 0x7FFE {
        return NtStatus::NAME_TOO_LONG.fail();
    }
    let bytes = nt_rtl::unicode::bytes_of(units);
    let whole = NAME::SIZE + bytes.len() + 2;
    let block = pool::allocate(whole, pool::tag(b"FMfn"), pool::PoolKind::Paged);
    let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    let text = Region::pool(block, whole).sub(NAME::SIZE, bytes.len());
    let _own = text.write_from(&bytes);
    let block = block.view::<NAME>();
    block.set(NAME::Count, 1);
    let info = block.at(NAME::Info);
    info.set(FLT_FILE_NAME_INFORMATION::Size, FLT_FILE_NAME_INFORMATION::SIZE as u16);
    info.set(FLT_FILE_NAME_INFORMATION::Format, format);
    place(info.at(FLT_FILE_NAME_INFORMATION::Name), text, 0, units.len());
    place(info.at(FLT_FILE_NAME_INFORMATION::Volume), text, 0, volume);
    block.set(NAME::Mark, MARK);
    Ok(Name(info))
}

/// FltParseFileNameInformation: the parts point into the name (FLT-N-05).
pub fn parse_info(info: Info) -> NtResult<()> {
    if block_of(info).is_none() {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let name = info.at(FLT_FILE_NAME_INFORMATION::Name);
    let units = nt_rtl::unicode::units(name).map_err(|_| NtStatus::ACCESS_VIOLATION.error())?;
    let short = info.get(FLT_FILE_NAME_INFORMATION::Format) == FLT_FILE_NAME_SHORT;
    let volume = usize::from(info.at(FLT_FILE_NAME_INFORMATION::Volume).get(UNICODE_STRING::Length)) / 2;
    let share = usize::from(info.at(FLT_FILE_NAME_INFORMATION::Share).get(UNICODE_STRING::Length)) / 2;
    let parts = parse(&units, volume + share, short);
    let text = name.region_at(UNICODE_STRING::Buffer, units.len() * 2);
    for (field, range) in [
        (FLT_FILE_NAME_INFORMATION::ParentDir, &parts.parent),
        (FLT_FILE_NAME_INFORMATION::FinalComponent, &parts.component),
        (FLT_FILE_NAME_INFORMATION::Extension, &parts.extension),
        (FLT_FILE_NAME_INFORMATION::Stream, &parts.stream),
    ] {
        place(info.at(field), text, range.start, range.len());
    }
    let mut parsed = FLTFL_FILE_NAME_PARSED_FINAL_COMPONENT | FLTFL_FILE_NAME_PARSED_EXTENSION;
    if !short {
        parsed |= FLTFL_FILE_NAME_PARSED_STREAM | FLTFL_FILE_NAME_PARSED_PARENT_DIR;
    }
    info.set(FLT_FILE_NAME_INFORMATION::NamesParsed, parsed);
    Ok(())
}
