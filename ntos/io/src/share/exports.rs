//! Io*ShareAccess: the writers of a file system's SHARE_ACCESS.
//!
//! Room: ntos/io. Called by: compiled file systems, through the loader. Calls: [`super`]. IRQL: PASSIVE_LEVEL. Locks: the
//! caller's. Source: wdm.h, the pages of the routines; rule NT-SHR-07.

use super::{Counts, Share};
use crate::exports::{at, bytes};
use nt_abi::NtStatus;
use nt_abi::io::{FILE_OBJECT, SHARE_ACCESS};
use nt_cell::{Foreign, exports};

/// Marks the file object with the part of its open and returns it.
fn part(access: u32, share: u32, file: Foreign<FILE_OBJECT>, permission: u64) -> Option<Share> {
    let writes = permission == 0 || bytes(permission, 1).load::<u8>(0) != Ok(0);
    let part = Share::new(access, share).map(|part| if writes { part } else { part.without_write_permission() });
    Share::mark(file, part);
    part
}

fn check(access: u32, share: u32, file: u64, counts: u64, update: bool, permission: u64) -> u32 {
    let (Some(file), Some(at)) = (at(file), at::<SHARE_ACCESS>(counts)) else {
        return NtStatus::INVALID_PARAMETER.0;
    };
    let Some(part) = part(access, share, file, permission) else { return NtStatus::SUCCESS.0 };
    let mut counts = Counts::load(at);
    if let Err(error) = counts.check(part) {
        return error.status().0;
    }
    if update {
        counts.add(part);
        counts.store(at);
    }
    NtStatus::SUCCESS.0
}

fn set(access: u32, share: u32, file: u64, counts: u64, permission: u64) {
    let (Some(file), Some(at)) = (at(file), at::<SHARE_ACCESS>(counts)) else { return };
    let mut counts = Counts::default();
    if let Some(part) = part(access, share, file, permission) {
        counts.add(part);
    }
    counts.store(at);
}

fn change(file: u64, counts: u64, change: impl FnOnce(&mut Counts, Share)) {
    let (Some(file), Some(at)) = (at(file), at::<SHARE_ACCESS>(counts)) else { return };
    let Some(part) = Share::of(file) else { return };
    let mut counts = Counts::load(at);
    change(&mut counts, part);
    counts.store(at);
}

exports! { "ntoskrnl.exe" =>
    Full code IoCheckShareAccess(access: u32, share: u32, file: u64, counts: u64, update: u8) -> u32 {
        check(access, share, file, counts, update != 0, 0)
    }
    Full code IoCheckShareAccessEx(access: u32, share: u32, file: u64, counts: u64, update: u8, permission: u64) -> u32 {
        check(access, share, file, counts, update != 0, permission)
    }
    Full code IoSetShareAccess(access: u32, share: u32, file: u64, counts: u64) { set(access, share, file, counts, 0); }
    Full code IoSetShareAccessEx(access: u32, share: u32, file: u64, counts: u64, permission: u64) {
        set(access, share, file, counts, permission);
    }
    Full code IoUpdateShareAccess(file: u64, counts: u64) { change(file, counts, Counts::add); }
    Full code IoRemoveShareAccess(file: u64, counts: u64) { change(file, counts, Counts::remove); }
}
