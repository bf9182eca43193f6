//! Write service: `NtWriteFile`, `ZwWriteFile`.
//!
//! Room: ntos/io (ntoskrnl.exe). Called by: `exports`, doors through `nt_machine`. Calls: `rw`.
//! IRQL: PASSIVE_LEVEL with special kernel APCs enabled (NT-E-01). Locks: the file object's.
//! Source: ZwWriteFile page; rules NT-W-01 to NT-W-20, NT-O-01 to NT-O-17, NT-V-01 to NT-V-24.

use crate::rw::{Arguments, Direction, transfer};
use nt_abi::NtStatus;
use nt_ke::Frame;

/// NtWriteFile with the frame's previous mode; ZwWriteFile is the same under `Frame::with_mode(Mode::Kernel)`.
///
/// References: [ZwWriteFile](https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-ntwritefile).
#[must_use]
pub fn nt_write_file(frame: &Frame, args: &Arguments) -> NtStatus {
    transfer(frame, Direction::Write, args)
}
