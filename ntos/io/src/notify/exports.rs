//! The requests for changes under their exported names.
//!
//! Room: ntos/io. Called by: compiled drivers, through the loader. Calls: the service.

use super::{CLASS_PLAIN, NotifyArguments, nt_notify_change_directory_file};
use crate::exports::{caller, given, zw};
use crate::service::Caller;
use nt_cell::exports;
use nt_ke::Frame;

fn arguments(
    frame: &Frame,
    caller: Caller,
    buffer: u64,
    length: u32,
    filter: u32,
    tree: u8,
    class: u32,
) -> NotifyArguments {
    NotifyArguments { caller, buffer: given(frame, buffer), length, filter, watch_tree: tree != 0, class }
}

exports! { "ntoskrnl.exe" =>
    Full code NtNotifyChangeDirectoryFile(handle: u64, event: u64, apc: u64, context: u64, iosb: u64, buffer: u64, length: u32, filter: u32, tree: u8) -> u32 {
        let frame = nt_ke::current();
        nt_notify_change_directory_file(&frame, &arguments(&frame, caller(&frame, handle, event, apc, context, iosb), buffer, length, filter, tree, CLASS_PLAIN)).0
    }
    Full code ZwNotifyChangeDirectoryFile(handle: u64, event: u64, apc: u64, context: u64, iosb: u64, buffer: u64, length: u32, filter: u32, tree: u8) -> u32 {
        zw(|frame| nt_notify_change_directory_file(frame, &arguments(frame, caller(frame, handle, event, apc, context, iosb), buffer, length, filter, tree, CLASS_PLAIN)).0)
    }
    Full code NtNotifyChangeDirectoryFileEx(handle: u64, event: u64, apc: u64, context: u64, iosb: u64, buffer: u64, length: u32, filter: u32, tree: u8, class: u32) -> u32 {
        let frame = nt_ke::current();
        nt_notify_change_directory_file(&frame, &arguments(&frame, caller(&frame, handle, event, apc, context, iosb), buffer, length, filter, tree, class)).0
    }
    Full code ZwNotifyChangeDirectoryFileEx(handle: u64, event: u64, apc: u64, context: u64, iosb: u64, buffer: u64, length: u32, filter: u32, tree: u8, class: u32) -> u32 {
        zw(|frame| nt_notify_change_directory_file(frame, &arguments(frame, caller(frame, handle, event, apc, context, iosb), buffer, length, filter, tree, class)).0)
    }
}
