//! Read service: `NtReadFile`, `ZwReadFile`.
//!
//! Room: ntos/io (ntoskrnl.exe). Called by: `exports`, doors through `nt_machine`. Calls: `rw`.
//! IRQL: PASSIVE_LEVEL. Locks: the file object's. Source: ZwReadFile page; rules NT-R-01 to NT-R-08, NT-B-02, NT-O-12.

use crate::rw::{Arguments, Direction, transfer};
use nt_abi::NtStatus;
use nt_ke::Frame;

/// NtReadFile with the frame's previous mode.
#[must_use]
pub fn nt_read_file(frame: &Frame, args: &Arguments) -> NtStatus {
    transfer(frame, Direction::Read, args)
}
