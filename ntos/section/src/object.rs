//! Section objects: NtCreateSection, NtExtendSection.
//!
//! Room: ntos/section. IRQL: PASSIVE_LEVEL. Locks: the file system's, while the data section is taken hold of.
//! Source: ZwCreateSection page, CreateFileMapping page (sizes); rules NT-CC-64, NT-I-09.

use crate::image::Image;
use nt_abi::io::{FILE_EXECUTE, FILE_OBJECT, FILE_READ_DATA, FILE_WRITE_DATA, FO_CLEANUP_COMPLETE};
use nt_abi::mm::*;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cc::SectionRef;
use nt_cell::pool::Shared;
use nt_cell::{Foreign, Slab};
use nt_ex::pool;
use nt_io::{System, event, paging};
use nt_ke::{Frame, Mode};
use nt_ob::access::GenericMapping;
use nt_ob::types::{ObjectType, Routines};
use nt_ob::{Handle, ObjectRef, object};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

/// Bytes of a page.
pub(crate) const PAGE: u64 = PAGE_SIZE;
/// What a section of nobody's file may have: it is pool memory.
const MOST: u64 = 4 << 30;
/// The body of a section object: opaque.
const BODY: usize = 0x40;

/// What a section's bytes are.
pub(crate) enum Backing {
    /// A file's, through the pages of the cache.
    File(SectionRef, ObjectRef<FILE_OBJECT>),
    /// A file's, as a program.
    Image { _held: Arc<Image> },
    /// Nobody's.
    Memory(Arc<Memory>),
}

/// Memory of a section without a file.
pub(crate) struct Memory {
    block: Foreign<Bytes>,
    pub(crate) pages: Shared,
}

impl Drop for Memory {
    fn drop(&mut self) {
        pool::free(self.block);
    }
}

/// What stands behind a section object.
pub(crate) struct Section {
    pub(crate) backing: Backing,
    pub(crate) protection: u32,
    size: AtomicU64,
}

impl Section {
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }
}

static SECTIONS: LazyLock<Slab<Arc<Section>>> = LazyLock::new(Slab::new);

/// The arguments of NtCreateSection.
#[derive(Clone, Copy, Debug)]
pub struct CreateSection {
    /// DesiredAccess.
    pub access: u32,
    /// The handle's attributes.
    pub attributes: u32,
    /// MaximumSize; 0 or none is the file's.
    pub size: Option<i64>,
    /// SectionPageProtection.
    pub protection: u32,
    /// AllocationAttributes.
    pub kind: u32,
    /// FileHandle.
    pub file: Handle,
}

fn register() {
    let delete: fn(Foreign<Bytes>) = |body| {
        SECTIONS.remove(object::native_key(body));
    };
    let mapping = GenericMapping::SECTION;
    nt_ob::types::register(ObjectType::Section, Routines { mapping, close: None, delete: Some(delete), wait: None });
}

/// The section behind a handle.
pub(crate) fn reference(frame: &Frame, handle: Handle, access: u32) -> NtResult<Arc<Section>> {
    let (object, _) = event::reference(frame, handle, ObjectType::Section, access, frame.mode())?;
    let section = SECTIONS.get(object::native_key(object.body()));
    section.map(|section| Arc::clone(&section)).ok_or(NtStatus::INVALID_HANDLE.error())
}

/// What of a file's access a page protection needs.
fn needed(protection: u32) -> NtResult<u32> {
    Ok(match protection {
        PAGE_READONLY | PAGE_WRITECOPY => FILE_READ_DATA,
        PAGE_READWRITE => FILE_READ_DATA | FILE_WRITE_DATA,
        PAGE_EXECUTE => FILE_EXECUTE,
        PAGE_EXECUTE_READ | PAGE_EXECUTE_WRITECOPY => FILE_EXECUTE | FILE_READ_DATA,
        PAGE_EXECUTE_READWRITE => FILE_EXECUTE | FILE_READ_DATA | FILE_WRITE_DATA,
        _ => return NtStatus::INVALID_PAGE_PROTECTION.fail(),
    })
}

/// Whether a page protection lets stores through to what is behind.
pub(crate) const fn stores(protection: u32) -> bool {
    protection & (PAGE_READWRITE | PAGE_EXECUTE_READWRITE) != 0
}

/// NtCreateSection, without a name.
///
/// # Errors
/// INVALID_PARAMETER_6, INVALID_PAGE_PROTECTION for arguments; ACCESS_DENIED where the file's handle grants less than the
/// protection; INVALID_FILE_FOR_SECTION for a directory or a device; MAPPED_FILE_SIZE_ZERO, SECTION_TOO_BIG; what a filter or
/// the file system says.
pub fn create(frame: &Frame, args: &CreateSection) -> NtResult<Handle> {
    const PLAIN: u32 = SEC_COMMIT | SEC_RESERVE;
    let kind = args.kind & (PLAIN | SEC_IMAGE);
    if args.kind & !(PLAIN | SEC_IMAGE | SEC_FILE | SEC_NOCACHE) != 0 || kind.count_ones() != 1 {
        return NtStatus::INVALID_PARAMETER_6.fail();
    }
    let access = needed(args.protection)?;
    let size = u64::try_from(args.size.unwrap_or(0)).map_err(|_| NtStatus::SECTION_TOO_BIG.error())?;
    let (backing, size) = if args.file == Handle::NULL {
        if kind == SEC_IMAGE {
            return NtStatus::INVALID_FILE_FOR_SECTION.fail();
        }
        memory(size)?
    } else {
        let mode = frame.mode();
        let file: ObjectRef<FILE_OBJECT> =
            event::reference(frame, args.file, ObjectType::File, access, mode)?.0.retype();
        if file.ptr(FILE_OBJECT::SectionObjectPointer).is_none()
            || file.get(FILE_OBJECT::Flags) & FO_CLEANUP_COMPLETE != 0
        {
            return NtStatus::INVALID_FILE_FOR_SECTION.fail();
        }
        if kind == SEC_IMAGE {
            Image::of(frame, &file, args.protection)?
        } else {
            data(frame, file, size, args.protection)?
        }
    };
    let section = Section { backing, protection: args.protection, size: AtomicU64::new(size) };
    register();
    let made = object::create::<Bytes>(ObjectType::Section, BODY, frame.kernel.id())?;
    object::set_native_key(made.body(), SECTIONS.insert(Arc::new(section)));
    let granted = GenericMapping::SECTION.map(args.access);
    let kernel = frame.mode() == Mode::Kernel && args.attributes & nt_abi::ob::OBJ_KERNEL_HANDLE != 0;
    let handle = if kernel { Handle(nt_ob::handle::KERNEL_HANDLE) } else { Handle::NULL };
    nt_ps::table_of(frame, handle, kernel).insert(&made, granted, args.attributes)
}

/// A section of a file's data; it is made as large as it asks to be, if it may store.
fn data(frame: &Frame, file: ObjectRef<FILE_OBJECT>, size: u64, protection: u32) -> NtResult<(Backing, u64)> {
    grow(frame, *file, size, protection)?;
    let system = System::of(&frame.kernel);
    let section = system.hold_for_section(*file, protection, || SectionRef::of(*file, stores(protection)))?;
    match section.size() {
        0 => NtStatus::MAPPED_FILE_SIZE_ZERO.fail(),
        now if size > now => NtStatus::SECTION_TOO_BIG.fail(), // it was cut meanwhile
        now => Ok((Backing::File(section, file), if size == 0 { now } else { size })),
    }
}

/// Makes a file at least so large (FsRtlSetFileSize).
fn grow(frame: &Frame, file: Foreign<FILE_OBJECT>, size: u64, protection: u32) -> NtResult<()> {
    let header = file.ptr(FILE_OBJECT::FsContext).ok_or(NtStatus::INVALID_FILE_FOR_SECTION.error())?;
    let now = header.view::<FSRTL_COMMON_FCB_HEADER>().get(FSRTL_COMMON_FCB_HEADER::FileSize).max(0) as u64;
    if size <= now {
        return Ok(());
    }
    if !stores(protection) {
        return NtStatus::SECTION_TOO_BIG.fail();
    }
    let status = paging::set_size(frame, file, size as i64);
    if status.is_error() { status.fail() } else { Ok(()) }
}

/// A section without a file.
fn memory(size: u64) -> NtResult<(Backing, u64)> {
    if size == 0 {
        return NtStatus::INVALID_PARAMETER_4.fail();
    }
    let short = NtStatus::INSUFFICIENT_RESOURCES.error();
    let length = usize::try_from(size.next_multiple_of(PAGE)).ok().filter(|_| size <= MOST).ok_or(short)?;
    let block = pool::allocate(length, pool::tag(b"MmSt"), pool::PoolKind::Paged).ok_or(short)?;
    match nt_cell::pool::share(block, 0..length / PAGE as usize) {
        Ok(pages) => Ok((Backing::Memory(Arc::new(Memory { block, pages })), size)),
        Err(_) => {
            pool::free(block);
            Err(short)
        }
    }
}

/// NtExtendSection: a data section becomes as large as `size`, and so does its file; returns how large it is. A section never
/// becomes smaller.
///
/// # Errors
/// SECTION_NOT_EXTENDED for a section that may not store, or that is of no file; what the file system says.
pub fn extend(frame: &Frame, handle: Handle, size: i64) -> NtResult<i64> {
    let section = reference(frame, handle, SECTION_EXTEND_SIZE)?;
    let asked = u64::try_from(size).map_err(|_| NtStatus::SECTION_TOO_BIG.error())?;
    let Backing::File(_, file) = &section.backing else { return NtStatus::SECTION_NOT_EXTENDED.fail() };
    if !stores(section.protection) {
        return NtStatus::SECTION_NOT_EXTENDED.fail();
    }
    grow(frame, **file, asked, section.protection)?;
    let was = section.size.fetch_max(asked, Ordering::AcqRel);
    Ok(was.max(asked) as i64)
}
