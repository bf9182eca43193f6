//! Counted UTF-16 strings in driver-visible memory.
//!
//! Room: ntos/rtl. IRQL: PASSIVE_LEVEL. Locks: none. Source: UNICODE_STRING page.

use nt_abi::ob::UNICODE_STRING;
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Fault, Foreign, Region};
use nt_ex::pool;

pub use crate::cases::upcase;

/// Reads a string.
pub fn units(string: Foreign<UNICODE_STRING>) -> Result<Vec<u16>, Fault> {
    let length = usize::from(string.get(UNICODE_STRING::Length)) & !1;
    let mut bytes = vec![0; length];
    string.region_at(UNICODE_STRING::Buffer, length).read_to(&mut bytes)?;
    Ok(bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect())
}

/// Reads a string for people: what is no UTF-16 becomes U+FFFD.
#[must_use]
pub fn text(string: Foreign<UNICODE_STRING>) -> String {
    units(string).map_or_else(|_| "<unreadable>".to_owned(), |units| String::from_utf16_lossy(&units))
}

/// Gives a string its own pool copy of `name`; NAME_TOO_LONG past 65,534 bytes.
pub fn store(string: Foreign<UNICODE_STRING>, name: &str) -> NtResult<()> {
    let units: Vec<u16> = name.encode_utf16().collect();
    store_units(string, &units)
}

/// As [`store`], of code units. The former buffer is freed.
pub fn store_units(string: Foreign<UNICODE_STRING>, units: &[u16]) -> NtResult<()> {
    let length = units.len() * 2;
    let counted = u16::try_from(length).ok().filter(|length| *length < 0xFFFF);
    let counted = counted.ok_or(NtStatus::NAME_TOO_LONG.error())?;
    let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let buffer = pool::allocate(length + 2, pool::tag(b"UniS"), pool::PoolKind::NonPaged);
    let buffer = buffer.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    let _own_block = Region::pool(buffer, length).write_from(&bytes);
    release(string);
    string.set_ptr(UNICODE_STRING::Buffer, Some(buffer));
    string.set(UNICODE_STRING::Length, counted);
    string.set(UNICODE_STRING::MaximumLength, counted.saturating_add(2));
    Ok(())
}

/// Frees the buffer of a string that [`store`] filled, and empties it. A buffer that a driver put there is its own
/// pool block and is freed alike (IoReplaceFileObjectName's contract).
pub fn release(string: Foreign<UNICODE_STRING>) {
    if let Some(buffer) = string.ptr(UNICODE_STRING::Buffer) {
        string.set_ptr(UNICODE_STRING::Buffer, None);
        string.set(UNICODE_STRING::Length, 0);
        string.set(UNICODE_STRING::MaximumLength, 0);
        if pool::size_of_block(buffer.addr()).is_some() {
            pool::free(buffer);
        }
    }
}
