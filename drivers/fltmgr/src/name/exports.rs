//! The names of FLTMGR.SYS for file names.
//!
//! Room: drivers/fltmgr. Called by: compiled minifilters. IRQL: <= APC_LEVEL. Locks: none.
//! Addresses become typed by `crate::exports`, which answers for them.

use super::{Info, Name};
use crate::data::{self, CallbackData};
use crate::exports::{at, bytes, status, store};
use crate::filter;
use nt_abi::flt::*;
use nt_abi::io::FILE_OBJECT;
use nt_abi::{NtResult, NtStatus};
use nt_cell::exports;
use nt_io::system::System;
use nt_ob::Handle;

fn data_at(callback_data: u64) -> NtResult<CallbackData> {
    let block = at::<FLT_CALLBACK_DATA>(callback_data).and_then(data::block_of);
    block.map(CallbackData::new).ok_or(NtStatus::INVALID_PARAMETER.error())
}

fn of_data(callback_data: u64, options: u32) -> NtResult<Name> {
    data_at(callback_data)?.file_name(options)
}

fn of_file(file: u64, instance: u64, options: u32) -> NtResult<Name> {
    let invalid = NtStatus::INVALID_PARAMETER.error();
    let file = at::<FILE_OBJECT>(file).ok_or(invalid)?;
    let frame = nt_ke::current();
    let instance = match instance {
        0 => crate::volume::Volume::of_file(&frame.kernel, file).and_then(|volume| volume.instances().first().cloned()),
        pointer => filter::instance_at(at(pointer)),
    };
    super::of_open_file(&frame, &instance.ok_or(invalid)?, file, options)
}

fn destination(instance: u64, file: u64, root: u64, name: u64, length: u32, options: u32) -> NtResult<Name> {
    let invalid = NtStatus::INVALID_PARAMETER.error();
    let instance = filter::instance_at(at(instance)).ok_or(invalid)?;
    let file = at::<FILE_OBJECT>(file).ok_or(invalid)?;
    let raw = bytes(name, length as usize).to_vec().map_err(|_| NtStatus::ACCESS_VIOLATION.error())?;
    let name = nt_rtl::unicode::units_of(&raw);
    super::destination(&nt_ke::current(), &instance, file, Handle(root), &name, options)
}

fn tunneled(callback_data: u64, info: u64) -> NtResult<Option<Name>> {
    let invalid = NtStatus::INVALID_PARAMETER.error();
    let info = at(info).filter(|&info| super::is_name(info)).ok_or(invalid)?;
    super::tunneled(&nt_ke::current(), data_at(callback_data)?, info)
}

fn give(out: u64, made: impl FnOnce() -> NtResult<Name>) -> u32 {
    if out == 0 {
        return NtStatus::INVALID_PARAMETER.0;
    }
    let made = made();
    status(match made {
        Ok(name) => {
            store(out, name.into_raw().addr());
            Ok(NtStatus::SUCCESS)
        }
        Err(error) => {
            store(out, 0);
            Err(error)
        }
    })
}

exports! { "fltmgr.sys" =>
    Full code FltGetFileNameInformation(data: u64, options: u32, out: u64) -> u32 { give(out, || of_data(data, options)) }
    Full code FltGetFileNameInformationUnsafe(file: u64, instance: u64, options: u32, out: u64) -> u32 { give(out, || of_file(file, instance, options)) }
    Full code FltGetDestinationFileNameInformation(instance: u64, file: u64, root: u64, name: u64, length: u32, options: u32, out: u64) -> u32 {
        give(out, || destination(instance, file, root, name, length, options))
    }
    Full code FltParseFileNameInformation(info: u64) -> u32 {
        let info: NtResult<Info> = at(info).ok_or(NtStatus::INVALID_PARAMETER.error());
        status(info.and_then(super::parse_info).map(|()| NtStatus::SUCCESS))
    }
    Full code FltReferenceFileNameInformation(info: u64) { if let Some(info) = at(info) { super::reference(info); } }
    Full code FltReleaseFileNameInformation(info: u64) {
        if !at(info).is_some_and(super::release) {
            let frame = nt_ke::current();
            System::of(&frame.kernel).finding("FLT-V-09", "violation", "", &format!("{info:#x} was released, which is no name information or one that is gone"));
        }
    }
    Full code FltGetTunneledName(data: u64, info: u64, out: u64) -> u32 {
        if out == 0 {
            return NtStatus::INVALID_PARAMETER.0;
        }
        store(out, 0);
        status(tunneled(data, info).map(|name| {
            name.into_iter().for_each(|name| store(out, name.into_raw().addr()));
            NtStatus::SUCCESS
        }))
    }
    Full code FltGetFileNameFormat(options: u32) -> u32 { options & 0xFF }
}
