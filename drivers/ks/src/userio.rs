//! KsSynchronousDeviceControl as user-mode programs call it: an HRESULT, whatever the handle was opened for.
//!
//! Room: drivers/ks. Called by: user-mode clients written in Rust. Calls: `nt_io::control`. IRQL: PASSIVE_LEVEL. Locks: none.
//! Source: KsSynchronousDeviceControl, DeviceIoControl pages; rules KS-X-01, KS-X-02. The Win32 codes are winerror.h's.

use nt_abi::NtStatus;
use nt_abi::io::IO_STATUS_BLOCK;
use nt_abi::ob::EVENT_ALL_ACCESS;
use nt_cell::{Addr, UserBlock};
use nt_io::control::{self, ControlArguments};
use nt_io::event;
use nt_io::service::Caller;
use nt_ke::Frame;
use nt_ke::dispatcher::EventType;
use nt_ob::Handle;

/// An HRESULT.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct HResult(pub u32);

impl HResult {
    /// NOERROR.
    pub const NOERROR: Self = Self(0);

    /// HRESULT_FROM_WIN32 of the code that the Win32 layer makes of a status.
    #[must_use]
    pub const fn of(status: NtStatus) -> Self {
        match win32_of(status) {
            0 => Self::NOERROR,
            code => Self(0x8007_0000 | code & 0xFFFF),
        }
    }
}

/// The Win32 code of a status that a control request ends with (RtlNtStatusToDosError).
const fn win32_of(status: NtStatus) -> u32 {
    match status {
        NtStatus::SUCCESS => 0,
        NtStatus::NOT_IMPLEMENTED | NtStatus::INVALID_DEVICE_REQUEST => 1,
        NtStatus::NO_SUCH_FILE | NtStatus::OBJECT_NAME_NOT_FOUND => 2,
        NtStatus::ACCESS_DENIED => 5,
        NtStatus::INVALID_HANDLE | NtStatus::OBJECT_TYPE_MISMATCH => 6,
        NtStatus::NO_MEMORY => 8,
        NtStatus::DEVICE_NOT_READY => 21,
        NtStatus::INVALID_DEVICE_STATE => 22,
        NtStatus::INFO_LENGTH_MISMATCH => 24,
        NtStatus::UNSUCCESSFUL => 31,
        NtStatus::SHARING_VIOLATION => 32,
        NtStatus::END_OF_FILE => 38,
        NtStatus::NOT_SUPPORTED => 50,
        NtStatus::INVALID_PARAMETER => 87,
        NtStatus::DISK_FULL => 112,
        NtStatus::BUFFER_TOO_SMALL => 122,
        NtStatus::DEVICE_BUSY => 170,
        NtStatus::BUFFER_OVERFLOW => 234,
        NtStatus::CANCELLED => 995,
        NtStatus::ACCESS_VIOLATION => 998,
        NtStatus::IO_DEVICE_ERROR => 1117,
        NtStatus::NOT_FOUND => 1168,
        NtStatus::NO_MATCH => 1169,
        NtStatus::PROPSET_NOT_FOUND => 1170,
        NtStatus::INSUFFICIENT_RESOURCES => 1450,
        NtStatus::INVALID_BUFFER_SIZE => 1784,
        _ => 317, // ERROR_MR_MID_NOT_FOUND, what the table says of a status that it does not have
    }
}

/// Sends a control request and waits for its end; returns the HRESULT and BytesReturned.
///
/// The event is the call's own, and no completion context goes with the request: a port that the handle is bound to gets
/// no packet (KS-X-02).
#[must_use]
pub fn synchronous_device_control(
    frame: &Frame,
    handle: Handle,
    code: u32,
    input: (Addr, u32),
    output: (Addr, u32),
) -> (HResult, u32) {
    let Ok(own) = event::create(frame, EVENT_ALL_ACCESS, 0, EventType::Notification, false) else {
        return (HResult::of(NtStatus::INSUFFICIENT_RESOURCES), 0);
    };
    let result = match UserBlock::new(IO_STATUS_BLOCK::SIZE) {
        Some(block) => {
            let arguments = ControlArguments {
                caller: Caller { event: own, ..Caller::plain(handle, Addr::user(block.addr())) },
                code,
                input,
                output,
                file_system: false,
            };
            send(frame, &arguments, &block)
        }
        None => (HResult::of(NtStatus::INSUFFICIENT_RESOURCES), 0),
    };
    let _closed = event::close(frame, own);
    result
}

fn send(frame: &Frame, arguments: &ControlArguments, block: &UserBlock) -> (HResult, u32) {
    let mut status = control::nt_control_file(frame, arguments);
    let region = block.region();
    if status == NtStatus::PENDING {
        // The block must not go before the request ends, so nothing but the event ends this wait.
        while event::wait_for(frame, arguments.caller.event, false, None) != Ok(NtStatus::SUCCESS) {}
        status = region.load::<u32>(IO_STATUS_BLOCK::Status.offset()).map_or(NtStatus::ACCESS_VIOLATION, NtStatus);
    }
    let information = region.load::<u64>(IO_STATUS_BLOCK::Information.offset()).unwrap_or(0);
    (HResult::of(status), information as u32)
}
