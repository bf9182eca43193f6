//! The single checks of the validation order (nt-io.md section 3).
//!
//! Room: ntos/io. Called by: `rw`. IRQL: PASSIVE_LEVEL. Locks: none. Rules NT-V-03, NT-V-04, NT-V-06, NT-V-08 to NT-V-11.
//! Not here: their order.

use crate::device::Device;
use crate::rw::{Arguments, Direction, FILE_USE_FILE_POINTER_POSITION, FILE_WRITE_TO_END_OF_FILE};
use crate::service::violation;
use nt_abi::io::{DEVICE_OBJECT, FILE_APPEND_DATA, FILE_READ_DATA, FILE_WRITE_DATA, FO_NAMED_PIPE};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Addr;
use nt_trace::rule;

/// Probes a status block of a user caller: aligned, writable (V-04).
pub(crate) fn probe_status_block(iosb: Addr) -> NtResult<()> {
    if !iosb.value().is_multiple_of(4) {
        rule!(NT_V_04);
        return NtStatus::DATATYPE_MISALIGNMENT.fail();
    }
    iosb.region(16, false).and_then(|block| block.probe_own()).map_err(|fault| {
        rule!(NT_V_04);
        violation(fault)
    })
}

#[inline(always)]
pub(crate) fn capture<W: nt_abi::Word>(at: Addr, kernel: bool) -> NtResult<Option<W>> {
    if at.value() == 0 {
        return Ok(None);
    }
    if !kernel && !at.value().is_multiple_of(4) {
        return NtStatus::DATATYPE_MISALIGNMENT.fail();
    }
    at.load(kernel).map(Some).map_err(violation)
}

pub(crate) fn check_access(direction: Direction, granted: u32, flags: u32) -> NtResult<()> {
    let enough = match direction {
        Direction::Read => granted & FILE_READ_DATA != 0,
        Direction::Write if flags & FO_NAMED_PIPE != 0 => granted & FILE_WRITE_DATA != 0,
        Direction::Write => granted & (FILE_WRITE_DATA | FILE_APPEND_DATA) != 0,
    };
    if enough {
        return Ok(());
    }
    match direction {
        Direction::Read => rule!(NT_R_01),
        Direction::Write => rule!(NT_A_02),
    }
    rule!(NT_V_03);
    NtStatus::ACCESS_DENIED.fail()
}

pub(crate) fn check_noncached(
    direction: Direction,
    args: &Arguments,
    top: Device,
    offset: Option<i64>,
    synchronous: bool,
) -> NtResult<()> {
    let sector = i64::from(top.get(DEVICE_OBJECT::SectorSize));
    if sector != 0 && i64::from(args.length) % sector != 0 {
        rule!(NT_V_08);
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if args.buffer.value() & u64::from(top.get(DEVICE_OBJECT::AlignmentRequirement)) != 0 {
        rule!(NT_V_09);
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let exempt = match offset {
        None => true,
        Some(FILE_WRITE_TO_END_OF_FILE) => direction == Direction::Write,
        Some(FILE_USE_FILE_POINTER_POSITION) => synchronous,
        Some(_) => false,
    };
    match offset {
        Some(at) if !exempt && sector != 0 && at.rem_euclid(sector) != 0 => {
            rule!(NT_V_10);
            NtStatus::INVALID_PARAMETER.fail()
        }
        _ => Ok(()),
    }
}
