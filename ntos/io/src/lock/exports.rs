//! The lock services under their exported names.
//!
//! Room: ntos/io. Called by: compiled drivers, through the loader. Calls: the lock services.

use super::{LockArguments, nt_lock_file, nt_unlock_file};
use crate::exports::{caller, given, zw};
use crate::service::Caller;
use nt_cell::exports;
use nt_ke::Frame;

fn arguments(
    frame: &Frame,
    caller: Caller,
    offset: u64,
    length: u64,
    key: u32,
    fail: u8,
    exclusive: u8,
) -> LockArguments {
    LockArguments {
        caller,
        byte_offset: given(frame, offset),
        length: given(frame, length),
        key,
        fail_immediately: fail != 0,
        exclusive: exclusive != 0,
    }
}

exports! { "ntoskrnl.exe" =>
    Full code NtLockFile(handle: u64, event: u64, apc: u64, context: u64, iosb: u64, offset: u64, length: u64, key: u32, fail: u8, exclusive: u8) -> u32 {
        let frame = nt_ke::current();
        nt_lock_file(&frame, &arguments(&frame, caller(&frame, handle, event, apc, context, iosb), offset, length, key, fail, exclusive)).0
    }
    Full code ZwLockFile(handle: u64, event: u64, apc: u64, context: u64, iosb: u64, offset: u64, length: u64, key: u32, fail: u8, exclusive: u8) -> u32 {
        zw(|frame| nt_lock_file(frame, &arguments(frame, caller(frame, handle, event, apc, context, iosb), offset, length, key, fail, exclusive)).0)
    }
    Full code NtUnlockFile(handle: u64, iosb: u64, offset: u64, length: u64, key: u32) -> u32 {
        let frame = nt_ke::current();
        nt_unlock_file(&frame, &arguments(&frame, caller(&frame, handle, 0, 0, 0, iosb), offset, length, key, 0, 0)).0
    }
    Full code ZwUnlockFile(handle: u64, iosb: u64, offset: u64, length: u64, key: u32) -> u32 {
        zw(|frame| nt_unlock_file(frame, &arguments(frame, caller(frame, handle, 0, 0, 0, iosb), offset, length, key, 0, 0)).0)
    }
}
