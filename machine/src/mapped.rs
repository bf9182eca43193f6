//! Sections and views of a user-mode process, as a Rust program uses them.
//!
//! Room: machine. Called by: embedding programs, the `ntio` crate, tests. Calls: `nt_section`. IRQL: PASSIVE_LEVEL.
//! Locks: none. A view is loaded from and stored to by copies, because its bytes change under everybody's hands.

use crate::client::Client;
use nt_abi::mm::{PAGE_READONLY, PAGE_READWRITE, PAGE_WRITECOPY, SEC_COMMIT, SECTION_ALL_ACCESS};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use nt_ob::Handle;
use nt_section::{CreateSection, MapView};

/// What a section or view allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protect {
    /// PAGE_READONLY.
    Read,
    /// PAGE_READWRITE: stores are the file's.
    ReadWrite,
    /// PAGE_WRITECOPY: stores are the view's own.
    WriteCopy,
}

impl Protect {
    const fn page(self) -> u32 {
        match self {
            Self::Read => PAGE_READONLY,
            Self::ReadWrite => PAGE_READWRITE,
            Self::WriteCopy => PAGE_WRITECOPY,
        }
    }
}

/// A view of a section; it is unmapped when it is dropped.
#[derive(Debug)]
pub struct MappedView<'a> {
    client: &'a Client,
    region: Region,
}

impl Client {
    /// NtCreateSection of a file's data, as large as the file is; with `size` the file is made as large as that.
    pub fn create_section(&self, file: Handle, protect: Protect, size: Option<u64>) -> NtResult<Handle> {
        let size = size.map(|size| i64::try_from(size).unwrap_or(i64::MAX));
        self.nt_create_section(&CreateSection {
            access: SECTION_ALL_ACCESS,
            attributes: 0,
            size,
            protection: protect.page(),
            kind: SEC_COMMIT,
            file,
        })
    }

    /// NtCreateSection with raw arguments.
    pub fn nt_create_section(&self, args: &CreateSection) -> NtResult<Handle> {
        self.call(|frame| nt_section::create(frame, args))
    }

    /// NtExtendSection: the section and its file become at least so large.
    pub fn extend_section(&self, section: Handle, size: u64) -> NtResult<u64> {
        let size = i64::try_from(size).map_err(|_| NtStatus::SECTION_TOO_BIG.error())?;
        self.call(|frame| nt_section::extend(frame, section, size)).map(|size| size as u64)
    }

    /// NtMapViewOfSection of `length` bytes from `offset` on (a multiple of 64 KiB), 0 for all that follows.
    pub fn map_view(&self, section: Handle, offset: u64, length: u64, protect: Protect) -> NtResult<MappedView<'_>> {
        let args = MapView {
            section,
            process: Handle::CURRENT_PROCESS,
            base: 0,
            offset: i64::try_from(offset).map_err(|_| NtStatus::INVALID_VIEW_SIZE.error())?,
            size: length,
            protection: protect.page(),
        };
        let region = self.call(|frame| nt_section::map(frame, &args))?;
        Ok(MappedView { client: self, region })
    }
}

impl MappedView<'_> {
    /// Returns the address of the first byte: what a raw call can be given as a buffer.
    #[must_use]
    pub fn addr(&self) -> u64 {
        self.region.addr()
    }

    /// Returns the length in bytes: whole pages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.region.len()
    }

    /// Returns whether the view has no bytes: none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.region.is_empty()
    }

    fn part(&self, offset: usize, length: usize) -> NtResult<Region> {
        let fits = offset.checked_add(length).is_some_and(|end| end <= self.region.len());
        if fits { Ok(self.region.sub(offset, length)) } else { NtStatus::ACCESS_VIOLATION.fail() }
    }

    /// Loads bytes. IN_PAGE_ERROR where a page cannot be read, ACCESS_VIOLATION outside of the view.
    pub fn read(&self, offset: usize, to: &mut [u8]) -> NtResult<()> {
        let part = self.part(offset, to.len())?;
        self.client.call(|_| nt_section::read(part, to))
    }

    /// Stores bytes; a cached read sees them at once. Errors as of [`MappedView::read`], and ACCESS_VIOLATION where the view
    /// does not allow it.
    pub fn write(&self, offset: usize, from: &[u8]) -> NtResult<()> {
        let part = self.part(offset, from.len())?;
        self.client.call(|_| nt_section::write(part, from))
    }

    /// NtFlushVirtualMemory of `length` bytes from `offset` on, 0 for all that follows: what was stored goes to the medium.
    pub fn flush(&self, offset: usize, length: usize) -> NtResult<()> {
        let part = self.part(offset, length)?;
        let (_, done) =
            self.client.call(|frame| nt_section::flush(frame, Handle::CURRENT_PROCESS, part.addr(), length as u64))?;
        if done.status.is_error() { done.status.fail() } else { Ok(()) }
    }
}

impl Drop for MappedView<'_> {
    fn drop(&mut self) {
        let _the_process_may_have = self
            .client
            .call(|frame| frame.service(|| nt_section::unmap(frame, Handle::CURRENT_PROCESS, self.region.addr())));
    }
}
