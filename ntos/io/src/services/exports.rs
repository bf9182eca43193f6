//! What drivers import of the file services beside reading, writing and opening.
//!
//! Room: ntos/io. Called by: compiled drivers, through the loader. Calls: the services. A Zw name runs as kernel mode, an Nt
//! name as its caller's previous mode (NT-B-11, NT-B-12).

use crate::byname::{self, Named};
use crate::control::{self, ControlArguments};
use crate::directory::{self, DirectoryArguments};
use crate::ea::{self, EaArguments};
use crate::exports::{
    RawCreate, attributes, caller, create_file, given, load, need_nonzero, query, status, store, text, zw,
};
use crate::service::{Caller, violation};
use crate::{create, flush, info};
use nt_abi::NtStatus;
use nt_abi::{NtError, NtResult};
use nt_cell::{Region, exports};
use nt_ke::{Frame, Mode};
use nt_ob::Handle;

/// FileName of a directory query: NULL and an empty one name no pattern.
fn pattern(frame: &Frame, address: u64) -> NtResult<Option<Vec<u16>>> {
    let name = if address == 0 { Vec::new() } else { text(frame, address)? };
    Ok((!name.is_empty()).then_some(name))
}

struct Entries {
    buffer: u64,
    length: u32,
    class: u32,
    flags: u8,
    name: u64,
}

fn entries(frame: &Frame, caller: Caller, entries: &Entries) -> NtResult<NtStatus> {
    let args = DirectoryArguments {
        caller,
        buffer: given(frame, entries.buffer),
        length: entries.length,
        class: entries.class,
        flags: entries.flags,
        pattern: pattern(frame, entries.name)?,
    };
    Ok(directory::nt_query_directory_file(frame, &args))
}

struct EaQuery {
    handle: u64,
    iosb: u64,
    buffer: u64,
    length: u32,
    single: u8,
    list: u64,
    list_length: u32,
    index: u64,
    restart: u8,
}

fn query_ea(frame: &Frame, raw: &EaQuery) -> NtResult<NtStatus> {
    let kernel = frame.mode() == Mode::Kernel;
    let list = match raw.list {
        0 => None,
        list => {
            let list = given(frame, list).region(raw.list_length as usize, kernel);
            Some(list.and_then(Region::to_vec).map_err(violation)?)
        }
    };
    let index = match raw.index {
        0 => None,
        index => Some(load(frame, index)?),
    };
    let args = EaArguments {
        handle: Handle(raw.handle),
        iosb: given(frame, raw.iosb),
        buffer: given(frame, raw.buffer),
        length: raw.length,
        single: raw.single != 0,
        list,
        index,
        restart: raw.restart != 0,
    };
    Ok(ea::nt_query_ea_file(frame, &args))
}

fn named(frame: &Frame, address: u64) -> NtResult<Named> {
    let (root, name, attributes) = attributes(frame, need_nonzero(address)?)?;
    Ok(Named { root, name, attributes })
}

fn delete_file(frame: &Frame, address: u64) -> NtResult<NtStatus> {
    let Named { root, name, attributes } = named(frame, address)?;
    Ok(create::nt_delete_file(frame, root, &name, attributes))
}

fn by_name(frame: &Frame, address: u64, iosb: u64, out: u64, length: u32, class: u32) -> NtResult<NtStatus> {
    let named = named(frame, address)?;
    let (iosb, out) = (given(frame, iosb), given(frame, out));
    Ok(byname::nt_query_information_by_name(frame, &named, iosb, out, length, class))
}

fn full_attributes(frame: &Frame, address: u64, out: u64) -> NtResult<NtStatus> {
    Ok(byname::nt_query_full_attributes_file(frame, &named(frame, address)?, given(frame, out)))
}

fn flush_ex(frame: &Frame, handle: u64, flags: u32, parameters: (u64, u32), iosb: u64) -> NtResult<NtStatus> {
    if parameters != (0, 0) {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    Ok(flush::nt_flush_buffers_file_ex(frame, Handle(handle), flags, given(frame, iosb)))
}

/// The arguments of a control service.
fn control_arguments(
    frame: &Frame,
    caller: Caller,
    control_code: u32,
    input: (u64, u32),
    output: (u64, u32),
    file_system: bool,
) -> ControlArguments {
    ControlArguments {
        caller,
        code: control_code,
        input: (given(frame, input.0), input.1),
        output: (given(frame, output.0), output.1),
        file_system,
    }
}

/// NtOpenFile.
fn open_file(
    frame: &Frame,
    handle: u64,
    access: u32,
    attributes: u64,
    iosb: u64,
    share: u32,
    options: u32,
) -> NtResult<NtStatus> {
    let (disposition, ea) = (nt_abi::io::FILE_OPEN, 0);
    let (allocation, file_attributes, ea_length) = (0, 0, 0);
    create_file(
        frame,
        &RawCreate {
            handle,
            access,
            attributes,
            iosb,
            allocation,
            file_attributes,
            share,
            disposition,
            options,
            ea,
            ea_length,
        },
    )
}

fn here<R>(body: impl FnOnce(&Frame) -> R) -> R {
    body(&nt_ke::current())
}

fn ended(result: NtResult<NtStatus>) -> u32 {
    result.unwrap_or_else(NtError::status).0
}

exports! { "ntoskrnl.exe" =>
    Full code NtQueryDirectoryFile(handle: u64, event: u64, apc: u64, context: u64, iosb: u64, buffer: u64, length: u32, class: u32, single: u8, name: u64, restart: u8) -> u32 {
        let flags = DirectoryArguments::flags(single != 0, restart != 0);
        here(|frame| ended(entries(frame, caller(frame, handle, event, apc, context, iosb), &Entries { buffer, length, class, flags, name })))
    }
    Full code ZwQueryDirectoryFile(handle: u64, event: u64, apc: u64, context: u64, iosb: u64, buffer: u64, length: u32, class: u32, single: u8, name: u64, restart: u8) -> u32 {
        let flags = DirectoryArguments::flags(single != 0, restart != 0);
        zw(|frame| ended(entries(frame, caller(frame, handle, event, apc, context, iosb), &Entries { buffer, length, class, flags, name })))
    }
    Full code NtQueryDirectoryFileEx(handle: u64, event: u64, apc: u64, context: u64, iosb: u64, buffer: u64, length: u32, class: u32, flags: u32, name: u64) -> u32 {
        let Ok(flags) = u8::try_from(flags) else { return NtStatus::INVALID_PARAMETER.0 };
        here(|frame| ended(entries(frame, caller(frame, handle, event, apc, context, iosb), &Entries { buffer, length, class, flags, name })))
    }
    Full code ZwQueryDirectoryFileEx(handle: u64, event: u64, apc: u64, context: u64, iosb: u64, buffer: u64, length: u32, class: u32, flags: u32, name: u64) -> u32 {
        let Ok(flags) = u8::try_from(flags) else { return NtStatus::INVALID_PARAMETER.0 };
        zw(|frame| ended(entries(frame, caller(frame, handle, event, apc, context, iosb), &Entries { buffer, length, class, flags, name })))
    }
    Full code NtQueryEaFile(handle: u64, iosb: u64, buffer: u64, length: u32, single: u8, list: u64, list_length: u32, index: u64, restart: u8) -> u32 {
        here(|frame| ended(query_ea(frame, &EaQuery { handle, iosb, buffer, length, single, list, list_length, index, restart })))
    }
    Full code ZwQueryEaFile(handle: u64, iosb: u64, buffer: u64, length: u32, single: u8, list: u64, list_length: u32, index: u64, restart: u8) -> u32 {
        zw(|frame| ended(query_ea(frame, &EaQuery { handle, iosb, buffer, length, single, list, list_length, index, restart })))
    }
    Full code NtSetEaFile(handle: u64, iosb: u64, buffer: u64, length: u32) -> u32 {
        here(|frame| ea::nt_set_ea_file(frame, Handle(handle), given(frame, iosb), given(frame, buffer), length).0)
    }
    Full code ZwSetEaFile(handle: u64, iosb: u64, buffer: u64, length: u32) -> u32 {
        zw(|frame| ea::nt_set_ea_file(frame, Handle(handle), given(frame, iosb), given(frame, buffer), length).0)
    }
    Full code NtDeleteFile(attributes: u64) -> u32 { here(|frame| ended(delete_file(frame, attributes))) }
    Full code ZwDeleteFile(attributes: u64) -> u32 { zw(|frame| ended(delete_file(frame, attributes))) }
    Partial("FileStatInformation and FileStatLxInformation") code NtQueryInformationByName(attributes: u64, iosb: u64, buffer: u64, length: u32, class: u32) -> u32 {
        here(|frame| ended(by_name(frame, attributes, iosb, buffer, length, class)))
    }
    Partial("FileStatInformation and FileStatLxInformation") code ZwQueryInformationByName(attributes: u64, iosb: u64, buffer: u64, length: u32, class: u32) -> u32 {
        zw(|frame| ended(by_name(frame, attributes, iosb, buffer, length, class)))
    }
    Full code ZwQueryFullAttributesFile(attributes: u64, buffer: u64) -> u32 {
        zw(|frame| ended(full_attributes(frame, attributes, buffer)))
    }
    Partial("the classes that info::class names") code NtQueryVolumeInformationFile(handle: u64, iosb: u64, buffer: u64, length: u32, class: u32) -> u32 {
        here(|frame| info::nt_query_volume_information_file(frame, &query(frame, handle, iosb, buffer, length, class)).0)
    }
    Partial("the label only") code NtSetVolumeInformationFile(handle: u64, iosb: u64, buffer: u64, length: u32, class: u32) -> u32 {
        here(|frame| info::nt_set_volume_information_file(frame, &query(frame, handle, iosb, buffer, length, class)).0)
    }
    Partial("the label only") code ZwSetVolumeInformationFile(handle: u64, iosb: u64, buffer: u64, length: u32, class: u32) -> u32 {
        zw(|frame| info::nt_set_volume_information_file(frame, &query(frame, handle, iosb, buffer, length, class)).0)
    }
    Full code NtFlushBuffersFileEx(handle: u64, flags: u32, parameters: u64, size: u32, iosb: u64) -> u32 {
        here(|frame| ended(flush_ex(frame, handle, flags, (parameters, size), iosb)))
    }
    Full code ZwFlushBuffersFileEx(handle: u64, flags: u32, parameters: u64, size: u32, iosb: u64) -> u32 {
        zw(|frame| ended(flush_ex(frame, handle, flags, (parameters, size), iosb)))
    }
    Full code NtFsControlFile(handle: u64, event: u64, apc: u64, context: u64, iosb: u64, control: u32, input: u64, input_length: u32, output: u64, output_length: u32) -> u32 {
        here(|frame| control::nt_control_file(frame, &control_arguments(frame, caller(frame, handle, event, apc, context, iosb), control, (input, input_length), (output, output_length), true)).0)
    }
    Full code NtDeviceIoControlFile(handle: u64, event: u64, apc: u64, context: u64, iosb: u64, control: u32, input: u64, input_length: u32, output: u64, output_length: u32) -> u32 {
        here(|frame| control::nt_control_file(frame, &control_arguments(frame, caller(frame, handle, event, apc, context, iosb), control, (input, input_length), (output, output_length), false)).0)
    }
    Partial("as NtCreateFile") code NtOpenFile(handle: u64, access: u32, attributes: u64, iosb: u64, share: u32, options: u32) -> u32 {
        status(open_file(&nt_ke::current(), handle, access, attributes, iosb, share, options))
    }
    Full code NtSetEvent(handle: u64, previous: u64) -> u32 {
        here(|frame| status(crate::event::change(frame, Handle(handle), true).and_then(|was| {
            if previous != 0 {
                store(frame, previous, was)?;
            }
            Ok(NtStatus::SUCCESS)
        })))
    }
    Partial("as NtCreateFile") code ZwOpenFile(handle: u64, access: u32, attributes: u64, iosb: u64, share: u32, options: u32) -> u32 {
        zw(|frame| status(open_file(frame, handle, access, attributes, iosb, share, options)))
    }
    Partial("size, volume, device and attribute classes") code ZwQueryVolumeInformationFile(handle: u64, iosb: u64, buffer: u64, length: u32, class: u32) -> u32 {
        zw(|frame| info::nt_query_volume_information_file(frame, &query(frame, handle, iosb, buffer, length, class)).0)
    }
    Full code ZwFlushBuffersFile(handle: u64, iosb: u64) -> u32 {
        zw(|frame| flush::nt_flush_buffers_file(frame, Handle(handle), given(frame, iosb)).0)
    }
    Full code ZwDeviceIoControlFile(handle: u64, event: u64, apc: u64, context: u64, iosb: u64, control_code: u32, input: u64, input_length: u32, output: u64, output_length: u32) -> u32 {
        zw(|frame| {
            let caller = caller(frame, handle, event, apc, context, iosb);
            control::nt_control_file(frame, &control_arguments(frame, caller, control_code, (input, input_length), (output, output_length), false)).0
        })
    }
    Full code ZwFsControlFile(handle: u64, event: u64, apc: u64, context: u64, iosb: u64, control_code: u32, input: u64, input_length: u32, output: u64, output_length: u32) -> u32 {
        zw(|frame| {
            let caller = caller(frame, handle, event, apc, context, iosb);
            control::nt_control_file(frame, &control_arguments(frame, caller, control_code, (input, input_length), (output, output_length), true)).0
        })
    }
}
