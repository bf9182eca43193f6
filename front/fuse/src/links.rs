//! Where a link of the volume leads, in words that a Linux program can follow.
//!
//! Room: front/fuse. Called by: `attr`, `paths`. Calls: `nt_machine::Client`. Locks: none.
//! Source: REPARSE_DATA_BUFFER page; docs of the POSIX door. The kernel follows links itself, so a target on this volume becomes
//! one from the link's own place; a target elsewhere stays the NT name that it is, and leads nowhere. The door translates and
//! judges nothing: what NT would refuse of a target, Linux reads as it stands.

use crate::attr::{LX_SYMLINK, MOUNT_POINT, SYMLINK};
use nt_abi::io::SYMLINK_FLAG_RELATIVE;
use nt_io::info::class;
use nt_io::system::System;
use nt_machine::{Client, Handle, NtResult, NtStatus};
use nt_rtl::unicode::units_of;

const SEPARATOR: u16 = b'\\' as u16;
const RELATIVE: u8 = SYMLINK_FLAG_RELATIVE as u8;

fn half(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..at + 2).map_or(0, |part| usize::from(u16::from_le_bytes([part[0], part[1]])))
}

/// An NT name with the separators of Linux.
fn posix(name: &[u16]) -> Vec<u8> {
    let part =
        |part: &[u16]| nt_rtl::posix::to_host(part).unwrap_or_else(|| String::from_utf16_lossy(part).into_bytes());
    name.split(|&unit| unit == SEPARATOR).map(part).collect::<Vec<_>>().join(&b'/')
}

/// What stands behind the volume in an absolute name, if it leads to this volume.
fn within(client: &Client, volume: &[u16], name: &[u16]) -> Option<Vec<u16>> {
    let found = client.call(|frame| System::of(&frame.kernel).namespace.lookup(name)).ok()?;
    let own = String::from_utf16_lossy(volume);
    found.name.eq_ignore_ascii_case(&own).then_some(found.rest)
}

/// Directories between the volume's root and an open link.
fn depth(client: &Client, handle: Handle) -> NtResult<usize> {
    let mut name = vec![0; 4 + 0x1_0000];
    let count = client.query_information(handle, class::NAME, &mut name)?;
    let separators = units_of(name.get(4..count).unwrap_or(&[])).iter().filter(|&&unit| unit == SEPARATOR).count();
    Ok(separators.saturating_sub(1))
}

/// Turns the reparse data of an open link into its target.
pub(crate) fn target(client: &Client, handle: Handle, volume: &[u16], tag: u32, data: &[u8]) -> NtResult<Vec<u8>> {
    let names = match tag {
        LX_SYMLINK => return Ok(data.get(4..).unwrap_or(&[]).to_vec()),
        SYMLINK => 12,
        MOUNT_POINT => 8,
        _ => return NtStatus::NOT_A_REPARSE_POINT.fail(),
    };
    let (start, length) = (names + half(data, 0), half(data, 2));
    let name = units_of(data.get(start..start + length).unwrap_or(&[]));
    let relative = tag == SYMLINK && data.get(8).is_some_and(|flags| flags & RELATIVE != 0);
    let from_root = match (relative, name.first()) {
        (true, Some(&SEPARATOR)) => Some(name.clone()),
        (true, _) => None,
        (false, _) => within(client, volume, &name),
    };
    let Some(rest) = from_root else { return Ok(posix(&name)) };
    let mut parts = vec![b"..".to_vec(); depth(client, handle)?];
    let rest = rest.strip_suffix(&[SEPARATOR]).unwrap_or(&rest);
    if let Some(rest) = rest.strip_prefix(&[SEPARATOR]) {
        parts.push(posix(rest));
    }
    Ok(if parts.is_empty() { b".".to_vec() } else { parts.join(&b'/') })
}
