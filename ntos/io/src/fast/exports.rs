//! The thunks that stand in the fast I/O tables of native drivers.
//!
//! Room: ntos/io. Called by: `rw`, `control`, `fast` and compiled drivers above, through FAST_IO_DISPATCH slots.
//! IRQL: PASSIVE_LEVEL. Locks: none. Source: FAST_IO_DISPATCH page, the FAST_IO_* types of wdm.h.
#![expect(unsafe_code, reason = "entry points that take raw pointers: SOUNDNESS.md, S-3 and S-4")]

use super::{FastQuery, QueryOpen};
use crate::driver::{self, FastCall, FastControl};
use crate::exports::at;
use crate::info::class;
use crate::irp::{self, IoStatus};
use nt_abi::io::DEVICE_OBJECT;
use nt_cell::Region;

fn fast_call(arguments: [u64; 8]) -> Option<FastCall> {
    let [file, offset, length, wait, key, buffer, _, device] = arguments;
    let offset = if offset == 0 {
        0
    } else {
        // SAFETY: FastIoRead/FastIoWrite's contract: FileOffset is NULL or points to a LARGE_INTEGER.
        unsafe { Region::from_raw(offset, 8) }.load::<i64>(0).ok()?
    };
    Some(FastCall {
        file: at(file)?,
        offset,
        length: length as u32,
        wait: wait & 0xFF != 0,
        key: key as u32,
        // SAFETY: S-3: the caller of a fast I/O routine answers for the buffer; accesses to it are guarded.
        buffer: unsafe { Region::from_raw(buffer, length as u32 as usize) },
        device: at(device)?,
    })
}

fn fast_result(iosb: u64, result: Option<IoStatus>) -> u8 {
    let Some(result) = result else { return 0 };
    // SAFETY: the caller of a fast I/O routine gives a status block (16 bytes); the stores are guarded.
    let block = unsafe { Region::from_raw(iosb, 16) };
    let stored = block.store::<u64>(8, result.information).and_then(|()| block.store::<u32>(0, result.status.0));
    u8::from(stored.is_ok())
}

/// Runs a fast I/O routine of the Rust driver behind a device.
fn native_fast(device: u64, body: impl FnOnce(&dyn driver::NativeDriver) -> Option<IoStatus>) -> Option<IoStatus> {
    let driver = at::<DEVICE_OBJECT>(device)?.ptr(DEVICE_OBJECT::DriverObject)?;
    driver::with_native(driver, body)?
}

nt_cell::thunk! {
    /// FastIoRead of Rust drivers.
    native_fast_read, native_fast_read_thunk(file: u64, offset: u64, length: u32, wait: u8, key: u32, buffer: u64, iosb: u64, device: u64) -> u8 {
        let call = fast_call([file, offset, length.into(), wait.into(), key.into(), buffer, iosb, device]);
        let Some(call) = call else { return 0 };
        fast_result(iosb, native_fast(device, |native| native.fast_read(&call)))
    }
}
nt_cell::thunk! {
    /// FastIoWrite of Rust drivers.
    native_fast_write, native_fast_write_thunk(file: u64, offset: u64, length: u32, wait: u8, key: u32, buffer: u64, iosb: u64, device: u64) -> u8 {
        let call = fast_call([file, offset, length.into(), wait.into(), key.into(), buffer, iosb, device]);
        let Some(call) = call else { return 0 };
        fast_result(iosb, native_fast(device, |native| native.fast_write(&call)))
    }
}
nt_cell::thunk! {
    /// FastIoDeviceControl of Rust drivers.
    native_fast_control, native_fast_control_thunk(file: u64, wait: u8, input: u64, input_length: u32, output: u64, output_length: u32, code: u32, iosb: u64, device: u64) -> u8 {
        let (Some(file), Some(device_at)) = (at(file), at(device)) else { return 0 };
        let call = FastControl {
            file,
            wait: wait != 0,
            input: (input, input_length),
            output: (output, output_length),
            code,
            device: device_at,
        };
        fast_result(iosb, native_fast(device, |native| native.fast_device_control(&call)))
    }
}

/// A query of the class that a slot is for.
fn fast_query(class: u32, [file, wait, buffer, iosb, device]: [u64; 5]) -> u8 {
    let (Some(file), Some(device_at), Some(length)) = (at(file), at(device), super::length(class)) else { return 0 };
    // SAFETY: S-3: the caller of a fast I/O routine answers for a buffer of the class's size; accesses to it are guarded.
    let buffer = unsafe { Region::from_raw(buffer, length) };
    let call = FastQuery { file, class, wait: wait & 0xFF != 0, buffer, device: device_at };
    fast_result(iosb, native_fast(device, |native| native.fast_query(&call)))
}

nt_cell::thunk! {
    /// FastIoQueryBasicInfo of Rust drivers.
    native_fast_query_basic, native_fast_query_basic_thunk(file: u64, wait: u8, buffer: u64, iosb: u64, device: u64) -> u8 {
        fast_query(class::BASIC, [file, wait.into(), buffer, iosb, device])
    }
}
nt_cell::thunk! {
    /// FastIoQueryStandardInfo of Rust drivers.
    native_fast_query_standard, native_fast_query_standard_thunk(file: u64, wait: u8, buffer: u64, iosb: u64, device: u64) -> u8 {
        fast_query(class::STANDARD, [file, wait.into(), buffer, iosb, device])
    }
}
nt_cell::thunk! {
    /// FastIoQueryNetworkOpenInfo of Rust drivers.
    native_fast_query_network_open, native_fast_query_network_open_thunk(file: u64, wait: u8, buffer: u64, iosb: u64, device: u64) -> u8 {
        fast_query(class::NETWORK_OPEN, [file, wait.into(), buffer, iosb, device])
    }
}
nt_cell::thunk! {
    /// FastIoQueryOpen of Rust drivers: the status goes into the packet.
    native_fast_query_open, native_fast_query_open_thunk(packet: u64, information: u64, device: u64) -> u8 {
        let (Some(packet), Some(device_at)) = (at(packet), at(device)) else { return 0 };
        // SAFETY: S-3: the caller gives a FILE_NETWORK_OPEN_INFORMATION; the stores into it are guarded.
        let buffer = unsafe { Region::from_raw(information, super::NETWORK_OPEN_LENGTH) };
        let call = QueryOpen { packet, class: class::NETWORK_OPEN, buffer, device: device_at };
        let Some(result) = native_fast(device, |native| native.query_open(&call)) else { return 0 };
        irp::set_status(packet, result);
        1
    }
}
