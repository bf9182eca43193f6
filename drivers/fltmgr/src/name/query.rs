//! Asking for names: the cache of a file object, the file system below the instance.
//!
//! Room: drivers/fltmgr. IRQL: <= APC_LEVEL. Locks: none while a request is below. Rules FLT-N-01 to FLT-N-04, FLT-N-06.

use super::{Cached, Info, Name, make};
use crate::calls::{self, Directory, Target};
use crate::data::CallbackData;
use crate::filter::Instance;
use crate::volume::Volume;
use nt_abi::flt::*;
use nt_abi::io::*;
use nt_abi::ob::{OBJ_CASE_INSENSITIVE, OBJ_KERNEL_HANDLE, UNICODE_STRING};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;
use nt_ex::pool::{self, Scratch};
use nt_io::create::CreateSpec;
use nt_io::info::class;
use nt_io::irp::IoStatus;
use nt_io::service::violation;
use nt_io::system::System;
use nt_ke::{Frame, irql};
use nt_ob::Handle;
use nt_ob::types::ObjectType;
use nt_rtl::short::is_short;
use nt_rtl::unicode::units_of;
use std::sync::Arc;

const SEPARATOR: u16 = b'\\' as u16;
const COLON: u16 = b':' as u16;
/// FileBothDirectoryInformation: FileName at 94, its length at 60.
const BOTH_DIRECTORY: u32 = 3;
const BOTH_NAME: usize = 94;

/// What a name is asked for: a file object on an instance's volume, and the circumstances.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The instance that asks: the file system is asked below it.
    pub instance: &'a Arc<Instance>,
    /// The file object.
    pub file: Foreign<FILE_OBJECT>,
    /// The file is not open yet: its name is what the create says.
    pub opening: bool,
    /// SL_OPEN_TARGET_DIRECTORY: the name meant is the parent's.
    pub parent: bool,
    /// Asking the file system now would deadlock (FLT-N-02).
    pub unsafe_to_ask: bool,
}

impl<'a> Source<'a> {
    /// The source that an operation is for (FLT-N-02).
    pub(crate) fn of_operation(instance: &'a Arc<Instance>, data: CallbackData) -> NtResult<Self> {
        let file = data.file().ok_or(NtStatus::INVALID_PARAMETER.error())?;
        let post = data.flags() & FLTFL_CALLBACK_DATA_POST_OPERATION != 0;
        let create = data.major() == IRP_MJ_CREATE;
        let asking = matches!(data.major(), IRP_MJ_NETWORK_QUERY_OPEN | IRP_MJ_QUERY_OPEN); // its file is never open
        let opening = asking || create && (!post || data.status().status.is_error());
        let forbidden = match data.major() {
            IRP_MJ_ACQUIRE_FOR_CC_FLUSH
            | IRP_MJ_RELEASE_FOR_CC_FLUSH
            | IRP_MJ_ACQUIRE_FOR_MOD_WRITE
            | IRP_MJ_RELEASE_FOR_MOD_WRITE
            | IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION => true,
            IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION => post,
            _ => false,
        };
        let paging = data.irp_flags() & (IRP_PAGING_IO | IRP_SYNCHRONOUS_PAGING_IO) != 0;
        Ok(Self {
            instance,
            file,
            opening,
            parent: create && data.operation_flags() & SL_OPEN_TARGET_DIRECTORY != 0,
            unsafe_to_ask: forbidden || paging || circumstances(file),
        })
    }
    fn target(&self) -> Target<'a> {
        Target { instance: self.instance, file: self.file }
    }
}

fn circumstances(file: Foreign<FILE_OBJECT>) -> bool {
    let frame = nt_ke::current();
    file.get(FILE_OBJECT::Flags) & FO_CLEANUP_COMPLETE != 0
        || irql::current() > irql::PASSIVE_LEVEL
        || frame.thread.all_apcs_disabled()
        || frame.thread.top_level() != 0
}

/// FltGetFileNameInformation.
pub fn query(frame: &Frame, source: Source<'_>, options: u32) -> NtResult<Name> {
    let (format, method) = (options & 0xFF, options & 0xFF00);
    if !(FLT_FILE_NAME_NORMALIZED..=FLT_FILE_NAME_SHORT).contains(&format)
        || method > FLT_FILE_NAME_QUERY_ALWAYS_ALLOW_CACHE_LOOKUP
        || options > 0xFFFF
    {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let volume = source.instance.volume.upgrade().ok_or(NtStatus::FLT_DELETING_OBJECT.error())?;
    if source.opening && format == FLT_FILE_NAME_SHORT {
        return NtStatus::FLT_INVALID_NAME_REQUEST.fail();
    }
    if !source.opening && method != FLT_FILE_NAME_QUERY_FILESYSTEM_ONLY && volume.gate.files.any() {
        let found = volume.gate.files.with(source.file, |state| {
            state.names.iter().find(|cached| cached.format == format).map(|cached| cached.name.clone())
        });
        if let Some(found) = found {
            return Ok(found);
        }
    }
    match method {
        FLT_FILE_NAME_QUERY_CACHE_ONLY => return NtStatus::FLT_NAME_CACHE_MISS.fail(),
        FLT_FILE_NAME_QUERY_ALWAYS_ALLOW_CACHE_LOOKUP if source.unsafe_to_ask => {
            return NtStatus::FLT_NAME_CACHE_MISS.fail();
        }
        _ if source.unsafe_to_ask => return NtStatus::FLT_INVALID_NAME_REQUEST.fail(),
        _ => {}
    }
    let name = ask(frame, &volume, source, format)?;
    if !source.opening && source.file.get(FILE_OBJECT::Flags) & FO_CLEANUP_COMPLETE == 0 {
        volume.gate.files.with(source.file, |state| state.names.push(Cached { format, name: name.clone() }));
    }
    Ok(name)
}

fn ask(frame: &Frame, volume: &Arc<Volume>, source: Source<'_>, format: u32) -> NtResult<Name> {
    if format == FLT_FILE_NAME_SHORT {
        let units = name_query(frame, source.target(), class::ALTERNATE_NAME)?;
        return make(&units, 0, format);
    }
    let mut path = match format {
        _ if source.opening => opened_path(frame, source)?,
        FLT_FILE_NAME_NORMALIZED => normalized_path(frame, volume, source.target())?,
        _ => own_path(frame, source.target())?,
    };
    if source.parent {
        let end = path.iter().rposition(|&unit| unit == SEPARATOR).unwrap_or(0);
        path.truncate(end.max(1));
    }
    if format == FLT_FILE_NAME_NORMALIZED {
        if source.opening {
            path = normalize(frame, source.instance, volume, &path)?;
        }
        without_type(&mut path);
    }
    let mut units: Vec<u16> = volume.name().encode_utf16().collect();
    let prefix = units.len();
    units.append(&mut path);
    make(&units, prefix, format)
}

/// A query whose answer is FILE_NAME_INFORMATION.
fn name_query(frame: &Frame, target: Target<'_>, class: u32) -> NtResult<Vec<u16>> {
    let bytes = calls::query_bytes(frame, target, class, 0x1_0000 - 8)?;
    let length = bytes.first_chunk::<4>().map_or(0, |length| u32::from_le_bytes(*length) as usize);
    Ok(units_of(bytes.get(4..4 + length).unwrap_or_default()))
}

/// The path of an open file, from the volume's root; nothing for the volume itself.
fn own_path(frame: &Frame, target: Target<'_>) -> NtResult<Vec<u16>> {
    if target.file.get(FILE_OBJECT::Flags) & FO_VOLUME_OPEN != 0 {
        return Ok(Vec::new());
    }
    name_query(frame, target, class::NAME)
}

/// The same with long names only: what the file system says, else what its directories say.
fn normalized_path(frame: &Frame, volume: &Volume, target: Target<'_>) -> NtResult<Vec<u16>> {
    if target.file.get(FILE_OBJECT::Flags) & FO_VOLUME_OPEN != 0 {
        return Ok(Vec::new());
    }
    match name_query(frame, target, class::NORMALIZED_NAME) {
        Err(error) if is_unknown(error.status()) => {
            normalize(frame, target.instance, volume, &own_path(frame, target)?)
        }
        answer => answer,
    }
}

/// Says that the file system does not know a class.
fn is_unknown(status: NtStatus) -> bool {
    matches!(
        status,
        NtStatus::INVALID_PARAMETER
            | NtStatus::INVALID_INFO_CLASS
            | NtStatus::INVALID_DEVICE_REQUEST
            | NtStatus::NOT_SUPPORTED
            | NtStatus::NOT_IMPLEMENTED
    )
}

/// The path that a create asks for (FLT-N-04).
fn opened_path(frame: &Frame, source: Source<'_>) -> NtResult<Vec<u16>> {
    let own = nt_rtl::unicode::units(source.file.at(FILE_OBJECT::FileName)).map_err(violation)?;
    let mut path = match source.file.ptr(FILE_OBJECT::RelatedFileObject) {
        Some(related) => own_path(frame, Target { instance: source.instance, file: related })?,
        None => return Ok(own),
    };
    if own.first() == Some(&COLON) {
        // Beside another stream: both are of the file.
        let last = path.iter().rposition(|&unit| unit == SEPARATOR).map_or(0, |at| at + 1);
        if let Some(colon) = path[last..].iter().position(|&unit| unit == COLON) {
            path.truncate(last + colon);
        }
    }
    if own.is_empty() || own.first() == Some(&COLON) {
        path.extend(own);
        return Ok(path);
    }
    if path.last() != Some(&SEPARATOR) {
        path.push(SEPARATOR);
    }
    path.extend(own);
    Ok(path)
}

/// Takes a stream's type off: `:s:$DATA` is `:s`, `::$DATA` is nothing (FLT-N-06).
fn without_type(path: &mut Vec<u16>) {
    let last = path.iter().rposition(|&unit| unit == SEPARATOR).map_or(0, |at| at + 1);
    let Some(first) = path[last..].iter().position(|&unit| unit == COLON).map(|at| last + at) else { return };
    let Some(second) = path[first + 1..].iter().position(|&unit| unit == COLON).map(|at| first + 1 + at) else {
        return;
    };
    path.truncate(if second == first + 1 { first } else { second });
}

fn spec(volume: &Volume, path: &[u16]) -> CreateSpec {
    let mut name: Vec<u16> = volume.name().encode_utf16().collect();
    name.extend_from_slice(path);
    CreateSpec {
        access: FILE_LIST_DIRECTORY | FILE_READ_ATTRIBUTES | 0x10_0000,
        name,
        attributes: OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE,
        share: 7,
        disposition: FILE_OPEN,
        options: FILE_DIRECTORY_FILE | FILE_SYNCHRONOUS_IO_NONALERT,
        ..CreateSpec::default()
    }
}

/// The path as the directories spell it: the parent must be there, the last component may be missing (FLT-N-04, FLT-N-06).
fn normalize(frame: &Frame, instance: &Arc<Instance>, volume: &Volume, path: &[u16]) -> NtResult<Vec<u16>> {
    let trimmed = path.strip_suffix(&[SEPARATOR]).unwrap_or(path);
    let Some(at) = trimmed.iter().rposition(|&unit| unit == SEPARATOR) else { return Ok(path.to_vec()) };
    let (parent, last) = (&trimmed[..at.max(1)], &trimmed[at + 1..]);
    let parent = calls::create(frame, Some(instance), &spec(volume, parent)).map_err(IoStatus::error)?;
    let target = Target { instance, file: parent.file() };
    let mut whole = normalized_path(frame, volume, target)?;
    if whole.last() != Some(&SEPARATOR) {
        whole.push(SEPARATOR);
    }
    let colon = last.iter().position(|&unit| unit == COLON).unwrap_or(last.len());
    let (name, stream) = last.split_at(colon);
    match listed(frame, target, name)? {
        Some(found) => whole.extend(found),
        None => whole.extend_from_slice(name),
    }
    whole.extend_from_slice(stream);
    Ok(whole)
}

/// How a directory spells a component; `None` when it has none of the name.
fn listed(frame: &Frame, target: Target<'_>, name: &[u16]) -> NtResult<Option<Vec<u16>>> {
    const LENGTH: u32 = 1024;
    let resources = NtStatus::INSUFFICIENT_RESOURCES.error();
    if name.is_empty() {
        return Ok(None);
    }
    let out = Scratch::new(LENGTH as usize, pool::tag(b"FMdi"))?;
    let pattern = pool::zeroed::<UNICODE_STRING>(pool::tag(b"FMpt")).ok_or(resources)?;
    let answer = nt_rtl::unicode::store_units(pattern, name).map(|()| {
        let request = Directory {
            out: out.block(),
            length: LENGTH,
            class: BOTH_DIRECTORY,
            single: true,
            pattern: Some(pattern),
            restart: true,
        };
        calls::query_directory(frame, target, &request)
    });
    nt_rtl::unicode::release(pattern);
    pool::free(pattern);
    let status = answer?.status;
    if status.is_error() || status == NtStatus::NO_MORE_FILES {
        return Ok(None);
    }
    let region = out.region();
    let length = region.load::<u32>(60).unwrap_or(0) as usize;
    let bytes = region.sub(BOTH_NAME, length.min(LENGTH as usize - BOTH_NAME)).to_vec().ok();
    Ok(bytes.map(|bytes| units_of(&bytes)))
}

/// FltGetFileNameInformationUnsafe: of an open file, without callback data (FLT-N-07).
pub fn of_open_file(
    frame: &Frame,
    instance: &Arc<Instance>,
    file: Foreign<FILE_OBJECT>,
    options: u32,
) -> NtResult<Name> {
    if file.addr_at(FILE_OBJECT::FsContext) == 0 {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let source = Source { instance, file, opening: false, parent: false, unsafe_to_ask: circumstances(file) };
    query(frame, source, options)
}

/// FltGetDestinationFileNameInformation: the name that a rename or link of `file` asks for.
pub fn destination(
    frame: &Frame,
    instance: &Arc<Instance>,
    file: Foreign<FILE_OBJECT>,
    root: Handle,
    name: &[u16],
    options: u32,
) -> NtResult<Name> {
    let format = options & 0xFF;
    if !(FLT_FILE_NAME_NORMALIZED..=FLT_FILE_NAME_OPENED).contains(&format) || name.is_empty() {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if circumstances(file) {
        return NtStatus::FLT_INVALID_NAME_REQUEST.fail();
    }
    let volume = instance.volume.upgrade().ok_or(NtStatus::FLT_DELETING_OBJECT.error())?;
    let mut path = if root != Handle::NULL {
        let (directory, _) = nt_io::event::reference(frame, root, ObjectType::File, 0, nt_ke::Mode::Kernel)?;
        let directory = directory.retype::<FILE_OBJECT>();
        let mut path = own_path(frame, Target { instance, file: *directory })?;
        if path.last() != Some(&SEPARATOR) {
            path.push(SEPARATOR);
        }
        path.extend_from_slice(name);
        path
    } else if name.first() == Some(&SEPARATOR) {
        match System::of(&frame.kernel).namespace.lookup(name) {
            Ok(found) if found.kind == ObjectType::Device => {
                let there = nt_io::device::mounted_on(found.object.body().view());
                if there != nt_io::device::top_of_stack(volume.device) {
                    return NtStatus::NOT_SAME_DEVICE.fail();
                }
                found.rest
            }
            _ => name.to_vec(),
        }
    } else {
        let mut path = own_path(frame, Target { instance, file })?;
        if name.first() != Some(&COLON) {
            let end = path.iter().rposition(|&unit| unit == SEPARATOR).map_or(0, |at| at + 1);
            path.truncate(end);
        }
        path.extend_from_slice(name);
        path
    };
    if format == FLT_FILE_NAME_NORMALIZED {
        path = normalize(frame, instance, &volume, &path)?;
        without_type(&mut path);
    }
    let mut units: Vec<u16> = volume.name().encode_utf16().collect();
    let prefix = units.len();
    units.append(&mut path);
    make(&units, prefix, format)
}

/// FltGetTunneledName: a name that was normalized before the operation, as it is now, where that is another (FLT-N-06).
pub fn tunneled(frame: &Frame, data: CallbackData, info: Info) -> NtResult<Option<Name>> {
    let format = info.get(FLT_FILE_NAME_INFORMATION::Format);
    if format != FLT_FILE_NAME_NORMALIZED || data.status().status.is_error() {
        return Ok(None);
    }
    let units = nt_rtl::unicode::units(info.at(FLT_FILE_NAME_INFORMATION::Name)).map_err(violation)?;
    let prefix = usize::from(info.at(FLT_FILE_NAME_INFORMATION::Volume).get(UNICODE_STRING::Length)) / 2;
    let path = units.get(prefix..).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let last = path.iter().rposition(|&unit| unit == SEPARATOR).map_or(path, |at| &path[at + 1..]);
    let component = last.split(|&unit| unit == COLON).next().unwrap_or(last);
    // A long name is made of a short one, and of nothing else.
    if !is_short(component) {
        return Ok(None);
    }
    let instance = data.target_instance().ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let source = Source::of_operation(&instance, data)?;
    if source.unsafe_to_ask {
        return NtStatus::FLT_INVALID_NAME_REQUEST.fail();
    }
    let volume = source.instance.volume.upgrade().ok_or(NtStatus::FLT_DELETING_OBJECT.error())?;
    let now = normalize(frame, source.instance, &volume, path)?;
    if now == path {
        return Ok(None);
    }
    make(&[&units[..prefix], &now].concat(), prefix, format).map(Some)
}

impl CallbackData {
    /// FltGetFileNameInformation of the operation's file.
    pub fn file_name(self, options: u32) -> NtResult<Name> {
        let instance = self.target_instance().ok_or(NtStatus::INVALID_PARAMETER.error())?;
        query(&nt_ke::current(), Source::of_operation(&instance, self)?, options)
    }
}
