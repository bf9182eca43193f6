//! Image sections: a file that runs as a program. It is checked and held, not laid out.
//!
//! Room: ntos/section. IRQL: PASSIVE_LEVEL. Locks: the list of images. Source: the PE format (headers), MmFlushImageSection
//! page; rules NT-CC-75, NT-DEL-12, NT-SHR-03: as long as one is there, nobody opens the file for writing or deletes it.

use crate::object::Backing;
use nt_abi::io::{FILE_OBJECT, IRP_MJ_READ};
use nt_abi::mm::{PAGE_SIZE, SECTION_OBJECT_POINTERS};
use nt_abi::{NtResult, NtStatus};
use nt_cc::layout::CONTROL_AREA;
use nt_cell::{Foreign, Region};
use nt_ex::pool;
use nt_io::{System, paging};
use nt_ke::{Frame, Mutex};
use nt_ob::{ObjectRef, object};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// The image section of a stream, shared by all section objects on it.
pub(crate) struct Image {
    control: Foreign<CONTROL_AREA>,
    sections: Foreign<SECTION_OBJECT_POINTERS>,
    /// Kept until nobody holds the image: its CLOSE comes after.
    _file: ObjectRef<FILE_OBJECT>,
    size: u64,
}

/// Images by the address of their stream's pointers.
static IMAGES: Mutex<BTreeMap<u64, Weak<Image>>> = Mutex::new(BTreeMap::new());

impl Image {
    /// Makes or finds the image section of a file.
    pub(crate) fn of(frame: &Frame, file: &ObjectRef<FILE_OBJECT>, protection: u32) -> NtResult<(Backing, u64)> {
        let sections = file.ptr(FILE_OBJECT::SectionObjectPointer).ok_or(NtStatus::INVALID_FILE_FOR_SECTION.error())?;
        if let Some(image) = IMAGES.lock().get(&sections.addr()).and_then(Weak::upgrade) {
            let size = image.size;
            return Ok((Backing::Image { _held: image }, size));
        }
        let size = size_of_image(frame, file)?;
        let made = System::of(&frame.kernel).hold_for_section(**file, protection, || {
            let mut images = IMAGES.lock();
            if let Some(image) = images.get(&sections.addr()).and_then(Weak::upgrade) {
                return Ok(image);
            }
            let control = pool::zeroed::<CONTROL_AREA>(pool::tag(b"MmCi"));
            let control = control.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
            control.set_ptr(CONTROL_AREA::FilePointer, Some(**file));
            let image = Arc::new(Self { control, sections, _file: object::reference(**file), size });
            sections.set_ptr(SECTION_OBJECT_POINTERS::ImageSectionObject, Some(control.view()));
            images.insert(sections.addr(), Arc::downgrade(&image));
            Ok(image)
        })?;
        Ok((Backing::Image { _held: made }, size))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let mut images = IMAGES.lock();
        let own = Some(self.control.view());
        if self.sections.ptr(SECTION_OBJECT_POINTERS::ImageSectionObject) == own {
            self.sections.set_ptr(SECTION_OBJECT_POINTERS::ImageSectionObject, None);
            images.remove(&self.sections.addr());
        }
        drop(images);
        pool::free(self.control);
    }
}

/// Reads the headers as the medium has them, once the cache has written what it holds.
fn size_of_image(frame: &Frame, file: &ObjectRef<FILE_OBJECT>) -> NtResult<u64> {
    if let Some(sections) = file.ptr(FILE_OBJECT::SectionObjectPointer) {
        let flushed = nt_cc::flush(sections, None).status;
        if flushed.is_error() {
            return flushed.fail();
        }
    }
    let length = PAGE_SIZE as usize;
    let block = pool::allocate(length, pool::tag(b"MmHd"), pool::PoolKind::NonPaged);
    let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    let page = Region::pool(block, length);
    let read = paging::transfer(frame, **file, IRP_MJ_READ, paging::SYNCHRONOUS, 0, page);
    let size = match read.status {
        NtStatus::END_OF_FILE => NtStatus::INVALID_FILE_FOR_SECTION.fail(),
        status if status.is_error() => status.fail(),
        _ => headers(page).ok_or(NtStatus::INVALID_IMAGE_FORMAT.error()),
    };
    pool::free(block);
    size
}

/// SizeOfImage, of what has an MZ and a PE header for x64 in its first page.
fn headers(page: Region) -> Option<u64> {
    const MZ: u16 = 0x5A4D;
    const PE: u32 = 0x4550;
    const AMD64: u16 = 0x8664;
    const PE32_PLUS: u16 = 0x20B;
    let at = |offset: usize, size: usize| offset.checked_add(size).filter(|end| *end <= page.len()).map(|_| offset);
    let half = |offset| page.load::<u16>(at(offset, 2)?).ok();
    let word = |offset| page.load::<u32>(at(offset, 4)?).ok();
    let new = word(0x3C).filter(|_| half(0) == Some(MZ))? as usize;
    let right = word(new)? == PE && half(new.checked_add(4)?)? == AMD64 && half(new + 24)? == PE32_PLUS;
    word(new + 24 + 56).filter(|size| right && *size != 0).map(u64::from)
}
