//! FSCTL_SET, GET and DELETE_REPARSE_POINT: what may be put on a file, and how it is taken off.
//!
//! Room: drivers/memfs. Called by: `fsctl`. IRQL: PASSIVE_LEVEL. Locks: the tree while a file becomes another kind of thing.
//! Source: FSCTL_SET_REPARSE_POINT and kin, REPARSE_DATA_BUFFER; rules NT-REP-01 to NT-REP-21, NT-REP-32 to NT-REP-34.
//! A file system follows nothing: it hands its data up, and the I/O manager (`nt_io::reparse`) starts the open again.

use crate::backing::Change;
use crate::fileinfo::bad;
use crate::naming::is_filled;
use crate::node::{Node, Open, Volume};
use nt_abi::io::{
    FILE_ATTRIBUTE_ARCHIVE, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_NOTIFY_CHANGE_ATTRIBUTES, IO_REPARSE_TAG_AF_UNIX, IO_REPARSE_TAG_LX_BLK, IO_REPARSE_TAG_LX_CHR,
    IO_REPARSE_TAG_LX_FIFO, IO_REPARSE_TAG_LX_SYMLINK, IO_REPARSE_TAG_MOUNT_POINT, IO_REPARSE_TAG_SYMLINK, IRP,
};
use nt_abi::se::SE_CREATE_SYMBOLIC_LINK_PRIVILEGE;
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use nt_ex::pool;
use nt_io::driver::OwnedIrp;
use nt_io::irp::IoStatus;
use nt_io::reparse::{SYMLINK_DIRECTORY, SYMLINK_FILE};
use nt_trace::rule;

const OF_LINUX: [u32; 5] = [
    IO_REPARSE_TAG_LX_SYMLINK,
    IO_REPARSE_TAG_AF_UNIX,
    IO_REPARSE_TAG_LX_FIFO,
    IO_REPARSE_TAG_LX_CHR,
    IO_REPARSE_TAG_LX_BLK,
];
const MICROSOFT: u32 = 0x8000_0000;
const ON_DIRECTORIES: u32 = 0x1000_0000;
/// Bits of a tag that mean something.
const MEANINGFUL: u32 = 0xF000_FFFF;
/// REPARSE_DATA_BUFFER's header, and REPARSE_GUID_DATA_BUFFER's.
const HEADER: usize = 8;
const GUID_HEADER: usize = 0x18;
/// The smallest buffer that FSCTL_GET_REPARSE_POINT looks at.
const LEAST: usize = 0x1C;
const LARGEST: usize = 0x4000;
const WRITES: u32 = 2 | 0x100;

fn word(data: &[u8], at: usize) -> u32 {
    data.get(at..at + 4).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn half(data: &[u8], at: usize) -> usize {
    data.get(at..at + 2).map_or(0, |bytes| usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
}

fn check_tag(tag: u32) -> NtResult<()> {
    if tag <= 1 || tag & !MEANINGFUL != 0 { NtStatus::IO_REPARSE_TAG_INVALID.fail() } else { Ok(()) }
}

fn may_write(open: &Open) -> NtResult<()> {
    if open.access & WRITES == 0 { NtStatus::ACCESS_DENIED.fail() } else { Ok(()) } // NT-REP-04
}

/// Is `new` of the same kind as what is there?
fn same_kind(there: &[u8], new: &[u8]) -> NtResult<()> {
    if word(there, 0) != word(new, 0) {
        return NtStatus::IO_REPARSE_TAG_MISMATCH.fail();
    }
    if word(new, 0) & MICROSOFT == 0 && there.get(8..24) != new.get(8..24) {
        return NtStatus::REPARSE_ATTRIBUTE_CONFLICT.fail();
    }
    Ok(())
}

/// Does an open of this file, or through it, end here? A directory's tag of the kind that filled directories may have is
/// for filters above: the directory is walked through as any other (NT-REP-08).
pub(crate) fn is_link(node: &Node) -> NtResult<bool> {
    if !node.object.is_reparse_point() {
        return Ok(false);
    }
    let data = node.object.reparse()?;
    Ok(data.is_some_and(|data| !node.is_directory() || word(&data, 0) & ON_DIRECTORIES == 0))
}

/// Ends a create at a reparse point: STATUS_REPARSE, the tag, and the data with `rest`, the units of the name behind it.
pub(crate) fn hand_up(irp: &OwnedIrp, node: &Node, rest: usize, stops: bool) -> NtResult<IoStatus> {
    const FLAGS: usize = 16;
    rule!(NT_REP_21);
    let mut data = node.object.reparse()?.ok_or(NtStatus::NOT_A_REPARSE_POINT.error())?;
    let tag = word(&data, 0);
    if stops && tag == IO_REPARSE_TAG_SYMLINK {
        return NtStatus::STOPPED_ON_SYMLINK.fail();
    }
    let bytes = u16::try_from(rest * 2).map_err(|_| NtStatus::OBJECT_NAME_INVALID.error())?;
    data[6..8].copy_from_slice(&bytes.to_le_bytes());
    if tag == IO_REPARSE_TAG_SYMLINK && data.len() >= FLAGS + 4 {
        let kind = if node.is_directory() { SYMLINK_DIRECTORY } else { SYMLINK_FILE };
        let flags = word(&data, FLAGS) & !(SYMLINK_DIRECTORY | SYMLINK_FILE) | kind;
        data[FLAGS..FLAGS + 4].copy_from_slice(&flags.to_le_bytes());
    }
    let block = pool::allocate(data.len(), pool::tag(b"RamR"), pool::PoolKind::NonPaged);
    let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    Region::pool(block, data.len()).write_from(&data).map_err(bad)?;
    irp.irp().set_ptr(IRP::Tail_AuxiliaryBuffer, Some(block));
    Ok(IoStatus::new(NtStatus::REPARSE, u64::from(tag)))
}

/// What changes on a file beside its data: NT-REP-32. A link that is the host's own the host has dated.
fn note(node: &Node, tag: u32) -> NtResult<()> {
    if node.object.is_shared_with_the_host() && OF_LINUX.contains(&tag) {
        return Ok(());
    }
    let now = Some(nt_ke::current().kernel.clock.system_time());
    let meta = node.object.meta()?;
    let archive = if node.is_directory() { 0 } else { FILE_ATTRIBUTE_ARCHIVE };
    let kept = meta.attributes & !(FILE_ATTRIBUTE_REPARSE_POINT | FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_NORMAL);
    let attributes = Some(kept | archive).filter(|_| meta.attributes & archive != archive);
    node.object.change(&Change { attributes, written: now, changed: now, ..Change::default() })
}

/// FSCTL_SET_REPARSE_POINT_EX (NT-REP-34): which tag the new data takes the place of stands in front of them.
pub(crate) fn set_ex(volume: &Volume, open: &Open, input: Region, from_user: bool) -> NtResult<IoStatus> {
    /// Flags, ExistingReparseTag, ExistingReparseGuid, Reserved.
    const HEAD: usize = 32;
    may_write(open)?;
    if input.len() < HEAD {
        return NtStatus::IO_REPARSE_DATA_INVALID.fail();
    }
    let head = input.sub(0, HEAD).to_vec().map_err(bad)?;
    let existing = Some(&head[4..24]).filter(|_| word(&head, 4) != 0);
    put(volume, open, input.sub(HEAD, input.len() - HEAD), existing, from_user)
}

pub(crate) fn set(volume: &Volume, open: &Open, input: Region, from_user: bool) -> NtResult<IoStatus> {
    put(volume, open, input, None, from_user)
}

/// `existing`: the tag, and of a tag that is not Microsoft's the GUID, that must be there.
fn put(volume: &Volume, open: &Open, input: Region, existing: Option<&[u8]>, from_user: bool) -> NtResult<IoStatus> {
    may_write(open)?;
    if !(HEADER..=LARGEST).contains(&input.len()) {
        return NtStatus::IO_REPARSE_DATA_INVALID.fail(); // NT-REP-05
    }
    let data = input.to_vec().map_err(bad)?;
    let (tag, length) = (word(&data, 0), half(&data, 4));
    let header = if tag & MICROSOFT == 0 { GUID_HEADER } else { HEADER };
    if data.len() != length + header {
        return NtStatus::IO_REPARSE_DATA_INVALID.fail();
    }
    check_tag(tag)?; // NT-REP-06
    let node = open.file();
    if tag == IO_REPARSE_TAG_MOUNT_POINT && !node.is_directory() {
        return NtStatus::NOT_A_DIRECTORY.fail(); // NT-REP-07
    }
    if tag & ON_DIRECTORIES == 0 && is_filled(node)? {
        return NtStatus::DIRECTORY_NOT_EMPTY.fail(); // NT-REP-08
    }
    if tag == IO_REPARSE_TAG_SYMLINK && from_user && !crate::security::may(SE_CREATE_SYMBOLIC_LINK_PRIVILEGE) {
        rule!(NT_REP_12);
        return NtStatus::PRIVILEGE_NOT_HELD.fail();
    }
    if tag == IO_REPARSE_TAG_SYMLINK {
        // NT-REP-09, NT-REP-10: no data of its own, and a name to go to.
        let filled = !node.is_directory() && node.data.read().eof != 0;
        if filled || length < 12 || half(&data, 10) == 0 {
            return NtStatus::IO_REPARSE_DATA_INVALID.fail();
        }
    }
    let place = open.link.as_ref().map(|link| link.spot()).map(|spot| (spot.parent, spot.name));
    let _tree = volume.tree.lock();
    match (node.object.reparse()?, existing) {
        (Some(there), Some(existing)) => {
            let guid = word(existing, 0) & MICROSOFT == 0 && there.get(8..24) != existing.get(4..20);
            if word(&there, 0) != word(existing, 0) || guid {
                return NtStatus::IO_REPARSE_TAG_MISMATCH.fail(); // NT-REP-34
            }
        }
        (Some(there), None) => same_kind(&there, &data)?, // NT-REP-11
        (None, Some(_)) => return NtStatus::IO_REPARSE_TAG_MISMATCH.fail(),
        (None, None) => {}
    }
    node.object.set_reparse(node, place.as_ref(), Some(data))?;
    note(node, tag)?;
    crate::notice::modified(open, FILE_NOTIFY_CHANGE_ATTRIBUTES);
    Ok(IoStatus::new(NtStatus::SUCCESS, 0))
}

pub(crate) fn get(open: &Open, output: Region) -> NtResult<IoStatus> {
    if output.is_empty() {
        return NtStatus::INVALID_USER_BUFFER.fail(); // NT-REP-01
    }
    let data = open.node.object.reparse()?.ok_or(NtStatus::NOT_A_REPARSE_POINT.error())?;
    if output.len() < LEAST {
        return NtStatus::BUFFER_TOO_SMALL.fail(); // NT-REP-02
    }
    let fits = data.len().min(output.len());
    output.sub(0, fits).write_from(&data[..fits]).map_err(bad)?;
    let status = if fits < data.len() { NtStatus::BUFFER_OVERFLOW } else { NtStatus::SUCCESS };
    Ok(IoStatus::new(status, fits as u64)) // NT-REP-03
}

pub(crate) fn delete(volume: &Volume, open: &Open, input: Region) -> NtResult<IoStatus> {
    may_write(open)?;
    if input.is_empty() {
        return NtStatus::INVALID_BUFFER_SIZE.fail(); // NT-REP-14
    }
    let data = input.to_vec().map_err(bad)?;
    // A buffer of the header's size that names the tag and no data; a GUID tag's has the GUID.
    if data.len() != GUID_HEADER || half(&data, 4) != 0 {
        return NtStatus::IO_REPARSE_DATA_INVALID.fail();
    }
    check_tag(word(&data, 0))?; // NT-REP-15
    let place = open.link.as_ref().map(|link| link.spot()).map(|spot| (spot.parent, spot.name));
    let _tree = volume.tree.lock();
    let there = open.node.object.reparse()?.ok_or(NtStatus::NOT_A_REPARSE_POINT.error())?;
    same_kind(&there, &data)?;
    open.file().object.set_reparse(open.file(), place.as_ref(), None)?;
    note(open.file(), word(&data, 0))?;
    crate::notice::modified(open, FILE_NOTIFY_CHANGE_ATTRIBUTES);
    Ok(IoStatus::new(NtStatus::SUCCESS, 0))
}
