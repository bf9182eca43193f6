//! IoReplaceFileObjectName under its exported name.
//!
//! Room: ntos/io. Called by: compiled drivers, through the loader. Calls: [`super::replace_name`].

use crate::exports::{at, vouched};
use nt_abi::io::FILE_OBJECT;
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::{Foreign, exports};

fn replace(file: u64, name: u64, length: u16) -> NtResult<()> {
    let invalid = NtStatus::INVALID_PARAMETER.error();
    let file: Foreign<FILE_OBJECT> = at(file).ok_or(invalid)?;
    let length = usize::from(length);
    if !length.is_multiple_of(2) {
        return Err(invalid);
    }
    let bytes = vouched(name).region(length, true).and_then(|name| name.to_vec());
    let bytes = bytes.map_err(|_| NtStatus::ACCESS_VIOLATION.error())?;
    let units = nt_rtl::unicode::units_of(&bytes);
    super::replace_name(file, &units)
}

exports! { "ntoskrnl.exe" =>
    Full code IoReplaceFileObjectName(file: u64, name: u64, length: u16) -> u32 {
        replace(file, name, length).map_or_else(NtError::status, |()| NtStatus::SUCCESS).0
    }
}
