//! The names that ks.sys exports, as far as drivers of the write path ask for them.
//!
//! Room: drivers/ks. Called by: compiled drivers. Read by: the loader, `ntio imports`. IRQL: PASSIVE_LEVEL. Locks: none.
#![expect(unsafe_code, reason = "entry points that take raw pointers: SOUNDNESS.md, S-3 and S-4")]

use crate::clientio::{self, Transfer};
use nt_abi::NtStatus;
use nt_cell::{Addr, Foreign, exports};
use nt_io::rw::Direction;
use nt_ke::Mode;

fn at<T>(address: u64) -> Option<Foreign<T>> {
    // SAFETY: S-3: a driver's pointer is taken at its word here; what lies there is reached by atomics only.
    unsafe { Foreign::from_raw(address) }
}

/// The eight arguments of KsWriteFile and KsReadFile.
type Raw = (u64, u64, u64, u64, u64, u32, u32, u8);

fn transfer(direction: Direction, (file, event, context, iosb, buffer, length, key, mode): Raw) -> u32 {
    let (Some(file), Some(iosb)) = (at(file), at(iosb)) else { return NtStatus::INVALID_PARAMETER.0 };
    let mode = Mode::from_raw(mode);
    let buffer = match mode {
        Mode::User => Addr::user(buffer),
        // SAFETY: S-3: a kernel-mode requestor answers for its buffer (KS-W-15).
        Mode::Kernel => unsafe { Addr::vouched(buffer) },
    };
    let request =
        Transfer { file, event: at(event), port_context: context, iosb, buffer, length, key, mode, direction };
    clientio::transfer(&nt_ke::current(), &request).0
}

exports! { "ks.sys" =>
    Full code KsWriteFile(file: u64, event: u64, context: u64, iosb: u64, buffer: u64, length: u32, key: u32, mode: u8) -> u32 {
        transfer(Direction::Write, (file, event, context, iosb, buffer, length, key, mode))
    }
    Full code KsReadFile(file: u64, event: u64, context: u64, iosb: u64, buffer: u64, length: u32, key: u32, mode: u8) -> u32 {
        transfer(Direction::Read, (file, event, context, iosb, buffer, length, key, mode))
    }
    Absent("streams are not there yet") missing KsStreamIo;
    Absent("streams are not there yet") missing KsSynchronousIoControlDevice;
    Absent("streams are not there yet") missing KsProbeStreamIrp;
    Absent("pins are not there yet") missing KsCreatePin;
    Absent("object headers are not there yet") missing KsAllocateObjectHeader;
    Absent("object headers are not there yet") missing KsFreeObjectHeader;
    Absent("object headers are not there yet") missing KsAllocateDeviceHeader;
    Absent("object headers are not there yet") missing KsFreeDeviceHeader;
    Absent("object headers are not there yet") missing KsSetMajorFunctionHandler;
    Absent("object headers are not there yet") missing KsDispatchIrp;
    Absent("AVStream is not there yet") missing KsInitializeDriver;
}
