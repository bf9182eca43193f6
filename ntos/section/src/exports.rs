//! The sections' names in ntoskrnl.exe.
//!
//! Room: ntos/section. Called by: compiled drivers, through the loader. IRQL: PASSIVE_LEVEL. Locks: none here.
#![expect(unsafe_code, reason = "entry points that take raw pointers: SOUNDNESS.md, S-3 and S-4")]

use crate::doors::{self, FlushFor};
use crate::object::{self, CreateSection};
use crate::view::{self, MapView};
use nt_abi::io::IO_STATUS_BLOCK;
use nt_abi::mm::{MmFlushForDelete, SECTION_OBJECT_POINTERS};
use nt_abi::ob::OBJECT_ATTRIBUTES;
use nt_abi::{NtError, NtResult, NtStatus, Word};
use nt_cell::{Addr, Foreign, exports};
use nt_io::service::violation;
use nt_ke::{Frame, Mode};
use nt_ob::Handle;
use nt_ob::types::ObjectType;

/// Takes an address that a service was called with: a kernel caller vouches for its own, a user caller for nothing.
fn given(frame: &Frame, address: u64) -> Addr {
    match frame.mode() {
        Mode::User => Addr::user(address),
        // SAFETY: S-3: the caller runs in kernel mode and answers for the address by the service's contract.
        Mode::Kernel => unsafe { Addr::vouched(address) },
    }
}

fn load<W: Word>(frame: &Frame, from: u64) -> NtResult<W> {
    given(frame, from).load(frame.mode() == Mode::Kernel).map_err(violation)
}

fn store<W: Word>(frame: &Frame, to: u64, value: W) -> NtResult<()> {
    given(frame, to).store(frame.mode() == Mode::Kernel, value).map_err(violation)
}

/// Runs a service with the caller's previous mode, or as Zw does, with kernel mode (NT-B-11).
fn service(zw: bool, body: impl FnOnce(&Frame) -> NtResult<NtStatus>) -> u32 {
    let frame = nt_ke::current();
    let run = || frame.service(|| body(&frame)).unwrap_or_else(NtError::status).0;
    if zw { frame.with_mode(Mode::Kernel, run) } else { run() }
}

struct Create([u64; 3], u64, u32, u32, u64);

fn create(
    frame: &Frame,
    &Create([out, access, attributes], size, protection, kind, file): &Create,
) -> NtResult<NtStatus> {
    let flags = match attributes {
        0 => 0,
        at => {
            if load::<u64>(frame, at + OBJECT_ATTRIBUTES::ObjectName.offset() as u64)? != 0 {
                return NtStatus::NOT_SUPPORTED.fail(); // sections have no names here
            }
            load::<u32>(frame, at + OBJECT_ATTRIBUTES::Attributes.offset() as u64)?
        }
    };
    let size = if size == 0 { None } else { Some(load::<i64>(frame, size)?) };
    store(frame, out, 0u64)?;
    let args = CreateSection { access: access as u32, attributes: flags, size, protection, kind, file: Handle(file) };
    store(frame, out, object::create(frame, &args)?.0)?;
    Ok(NtStatus::SUCCESS)
}

struct Map([u64; 3], u64, u64, u32);

fn map(frame: &Frame, &Map([section, process, base], offset, size, protection): &Map) -> NtResult<NtStatus> {
    let args = MapView {
        section: Handle(section),
        process: Handle(process),
        base: load(frame, base)?,
        offset: if offset == 0 { 0 } else { load(frame, offset)? },
        size: load(frame, size)?,
        protection,
    };
    let region = view::map(frame, &args)?;
    let told = store(frame, base, region.addr()).and_then(|()| store(frame, size, region.len() as u64));
    if let Err(error) = told {
        view::unmap(frame, args.process, region.addr())?;
        return Err(error);
    }
    Ok(NtStatus::SUCCESS)
}

fn unmap(frame: &Frame, process: u64, address: u64) -> NtResult<NtStatus> {
    view::unmap(frame, Handle(process), address).map(|()| NtStatus::SUCCESS)
}

fn flush(frame: &Frame, process: u64, base: u64, size: u64, iosb: u64) -> NtResult<NtStatus> {
    let (address, length) = (load::<u64>(frame, base)?, load::<u64>(frame, size)?);
    let (part, done) = view::flush(frame, Handle(process), address, length)?;
    store(frame, base, part.addr())?;
    store(frame, size, part.len() as u64)?;
    store(frame, iosb + IO_STATUS_BLOCK::Status.offset() as u64, done.status.0)?;
    store(frame, iosb + IO_STATUS_BLOCK::Information.offset() as u64, done.information)?;
    Ok(done.status)
}

fn extend(frame: &Frame, section: u64, size: u64) -> NtResult<NtStatus> {
    let now = object::extend(frame, Handle(section), load(frame, size)?)?;
    store(frame, size, now)?;
    Ok(NtStatus::SUCCESS)
}

/// The pointers of a stream that a file system names.
fn at(sections: u64) -> Foreign<SECTION_OBJECT_POINTERS> {
    // SAFETY: S-3: a file system passes its SECTION_OBJECT_POINTERS, as the header declares.
    unsafe { Foreign::from_raw(sections) }.expect("a driver passed NULL for SECTION_OBJECT_POINTERS")
}

fn purpose(kind: u32) -> FlushFor {
    if kind == MmFlushForDelete { FlushFor::Delete } else { FlushFor::Write }
}

fn truncatable(sections: u64, size: u64) -> u8 {
    // SAFETY: S-3: NULL, or a LARGE_INTEGER of the caller's.
    let asked =
        (size != 0).then(|| unsafe { nt_cell::Region::from_raw(size, 8) }.load::<i64>(0).unwrap_or(0).max(0) as u64);
    u8::from(doors::can_file_be_truncated(at(sections), asked))
}

exports! { "ntoskrnl.exe" =>
    Partial("sections without a name only; views of images are absent")
    code NtCreateSection(out: u64, access: u32, attributes: u64, size: u64, protection: u32, kind: u32, file: u64) -> u32 {
        service(false, |frame| create(frame, &Create([out, access.into(), attributes], size, protection, kind, file)))
    }
    Partial("sections without a name only; views of images are absent")
    code ZwCreateSection(out: u64, access: u32, attributes: u64, size: u64, protection: u32, kind: u32, file: u64) -> u32 {
        service(true, |frame| create(frame, &Create([out, access.into(), attributes], size, protection, kind, file)))
    }
    Partial("the address is ours to choose; no page of a view runs; no view of an image")
    code NtMapViewOfSection(section: u64, process: u64, base: u64, _zero: u64, _commit: u64, offset: u64, size: u64, _inherit: u32, _kind: u32, protection: u32) -> u32 {
        service(false, |frame| map(frame, &Map([section, process, base], offset, size, protection)))
    }
    Partial("the address is ours to choose; no page of a view runs; no view of an image")
    code ZwMapViewOfSection(section: u64, process: u64, base: u64, _zero: u64, _commit: u64, offset: u64, size: u64, _inherit: u32, _kind: u32, protection: u32) -> u32 {
        service(true, |frame| map(frame, &Map([section, process, base], offset, size, protection)))
    }
    Full code NtUnmapViewOfSection(process: u64, address: u64) -> u32 { service(false, |frame| unmap(frame, process, address)) }
    Full code ZwUnmapViewOfSection(process: u64, address: u64) -> u32 { service(true, |frame| unmap(frame, process, address)) }
    Full code NtFlushVirtualMemory(process: u64, base: u64, size: u64, iosb: u64) -> u32 {
        service(false, |frame| flush(frame, process, base, size, iosb))
    }
    Full code ZwFlushVirtualMemory(process: u64, base: u64, size: u64, iosb: u64) -> u32 {
        service(true, |frame| flush(frame, process, base, size, iosb))
    }
    Full code NtExtendSection(section: u64, size: u64) -> u32 { service(false, |frame| extend(frame, section, size)) }
    Full code ZwExtendSection(section: u64, size: u64) -> u32 { service(true, |frame| extend(frame, section, size)) }
    Full data MmSectionObjectType() -> u64 { nt_io::exports::type_slot(ObjectType::Section) }
    Full code MmCanFileBeTruncated(sections: u64, size: u64) -> u8 { truncatable(sections, size) }
    Full code MmFlushImageSection(sections: u64, kind: u32) -> u8 { u8::from(doors::flush_image_section(at(sections), purpose(kind))) }
    Full code MmDoesFileHaveUserWritableReferences(sections: u64) -> u32 { doors::user_writable_references(at(sections)) }
    Full code MmForceSectionClosed(sections: u64, _delay: u8) -> u8 { u8::from(doors::force_section_closed(at(sections))) }
    Partial("the flags ask for what is not built: pages of images, a wait for their users")
    code MmForceSectionClosedEx(sections: u64, _flags: u32) -> u8 { u8::from(doors::force_section_closed(at(sections))) }
}
