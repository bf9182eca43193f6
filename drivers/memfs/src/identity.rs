//! What newer query classes tell: identity, all names, one view of everything a stat(2) asks for.
//!
//! Room: drivers/memfs. Called by: `fileinfo`. IRQL: PASSIVE_LEVEL. Locks: none; FileHardLinkInformation takes the tree.
//! Source: FSCC layouts; rules NT-LNK-15, NT-LNK-18, NT-QRY-10, NT-QRY-26, NT-QRY-27.

use crate::fileinfo::{accessible, bad, shown, sizes, times};
use crate::link::{Link, Spot};
use crate::node::{Found, Node, Open, Units, Volume, serial};
use nt_abi::io::{FILE_ALL_ACCESS, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_REPARSE_POINT};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use nt_io::irp::IoStatus;
use nt_trace::rule;
use std::sync::Arc;

/// The tag of a reparse point, 0 for any other file.
pub(crate) fn tag(node: &Node, attributes: u32) -> NtResult<u32> {
    let reparse = if attributes & FILE_ATTRIBUTE_REPARSE_POINT == 0 { None } else { node.object.reparse()? };
    Ok(reparse.as_deref().and_then(|data| data.first_chunk::<4>()).map_or(0, |tag| u32::from_le_bytes(*tag)))
}

/// FileStandardLinkInformation: names that lead here, and those with the marked ones.
pub(crate) fn standard_link(open: &Open, out: Region) -> NtResult<u64> {
    let total = if open.file().is_directory() { 1 } else { open.node.object.links()? };
    out.store::<u32>(0, accessible(open.found())?).map_err(bad)?;
    out.store::<u32>(4, total).map_err(bad)?;
    out.store::<u8>(8, u8::from(open.is_pending())).map_err(bad)?;
    out.store::<u8>(9, u8::from(open.node.is_directory())).map_err(bad)?;
    Ok(12)
}

/// FileIdInformation.
pub(crate) fn id(volume: &Volume, node: &Node, out: Region) -> NtResult<u64> {
    out.store::<u64>(0, u64::from(serial(volume.index))).map_err(bad)?;
    out.store::<u64>(8, node.id()).map_err(bad)?;
    out.store::<u64>(16, 0).map_err(bad)?;
    Ok(24)
}

/// FileCaseSensitiveInformation (NT-QRY-30).
pub(crate) fn set_case_sensitive(volume: &Volume, open: &Open, flags: u32) -> NtResult<()> {
    const SENSITIVE: u32 = 1;
    /// FILE_WRITE_ATTRIBUTES, FILE_ADD_FILE, FILE_ADD_SUBDIRECTORY, FILE_DELETE_CHILD.
    const RIGHTS: u32 = 0x100 | 2 | 4 | 0x40;
    rule!(NT_QRY_30);
    let node = &open.node;
    if flags & !SENSITIVE != 0 || !node.is_directory() {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if open.access & RIGHTS != RIGHTS {
        return NtStatus::ACCESS_DENIED.fail();
    }
    let _tree = volume.tree.lock();
    let (minds, wanted) = (node.object.minds_case()?, flags & SENSITIVE != 0);
    if minds == wanted {
        return Ok(());
    }
    let directory = node.directory()?;
    if wanted && !directory.is_empty()? {
        return NtStatus::DIRECTORY_NOT_EMPTY.fail();
    }
    if !wanted {
        let mut names: Vec<Units> = directory.names()?.iter().map(|name| crate::node::upcase(name)).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return NtStatus::CASE_DIFFERING_NAMES_IN_DIR.fail();
        }
    }
    node.object.set_minds_case(wanted)
}

/// FileStatInformation, and with `linux` FileStatLxInformation.
pub(crate) fn stat(found: Found<'_>, out: Region, linux: bool) -> NtResult<u64> {
    let node = found.node;
    let (allocation, eof) = sizes(node);
    out.store::<u64>(0, node.id()).map_err(bad)?;
    let meta = times(node, out.sub(8, 32))?;
    out.store::<u64>(0x28, allocation).map_err(bad)?;
    out.store::<u64>(0x30, eof).map_err(bad)?;
    let words = [shown(meta.attributes), tag(node, meta.attributes)?, accessible(found)?, FILE_ALL_ACCESS];
    for (at, word) in words.into_iter().enumerate() {
        out.store::<u32>(0x38 + at * 4, word).map_err(bad)?;
    }
    if !linux {
        return Ok(0x48);
    }
    let eas = node.object.eas()?;
    let value = |name: &[u8]| eas.iter().find(|ea| ea.0 == name).map(|ea| ea.1.as_slice());
    let word = |name: &[u8], at: usize| {
        let bytes = value(name).and_then(|value| value.get(at..at + 4)?.first_chunk::<4>());
        bytes.map(|bytes| u32::from_le_bytes(*bytes))
    };
    let parts = [word(b"$LXUID", 0), word(b"$LXGID", 0), word(b"$LXMOD", 0)];
    let device = [word(b"$LXDEV", 0), word(b"$LXDEV", 4)];
    let has = |present: bool, flag: u32| if present { flag } else { 0 };
    let flags = has(parts[0].is_some(), 1)
        | has(parts[1].is_some(), 2)
        | has(parts[2].is_some(), 4)
        | has(device.iter().all(Option::is_some), 8)
        | has(node.is_directory() && node.object.minds_case()?, 0x10);
    out.store::<u32>(0x48, flags).map_err(bad)?;
    for (at, part) in parts.into_iter().chain(device).enumerate() {
        out.store::<u32>(0x4C + at * 4, part.unwrap_or(0)).map_err(bad)?;
    }
    Ok(0x60)
}

/// Finds a file by its id: the first name that leads to it.
pub(crate) fn find(volume: &Volume, id: u64) -> NtResult<Option<crate::path::Start>> {
    if volume.root.id() == id {
        return Ok(Some((Arc::clone(&volume.root), None)));
    }
    let mut directories = vec![(Arc::clone(&volume.root), None::<Arc<Link>>)];
    while let Some((parent, up)) = directories.pop() {
        let names = parent.directory()?;
        for name in names.names()? {
            let Some(entry) = names.entry(&name)? else { continue };
            let kind = entry.meta.attributes & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT);
            if entry.id != id && kind != FILE_ATTRIBUTE_DIRECTORY {
                continue;
            }
            let Some((_, node)) = names.child(&name, true)? else { continue };
            let link = volume.links.get(Spot { parent: Arc::clone(&parent), name, up: up.clone() });
            if entry.id == id {
                return Ok(Some((node, Some(link))));
            }
            directories.push((node, Some(link)));
        }
    }
    Ok(None)
}

/// Every name of a file, with the id of its directory.
fn names_of(open: &Open, volume: &Volume) -> NtResult<Vec<(u64, Units)>> {
    if let Some(link) = open.link.as_ref().filter(|_| open.file().is_directory()) {
        let spot = link.spot();
        return Ok(vec![(spot.parent.id(), spot.name)]);
    }
    let _tree = volume.tree.lock();
    let (id, mut found) = (open.node.id(), Vec::new());
    let mut directories = vec![Arc::clone(&volume.root)];
    while let Some(at) = directories.pop() {
        let names = at.directory()?;
        for name in names.names()? {
            let Some(entry) = names.entry(&name)? else { continue };
            let kind = entry.meta.attributes & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT);
            if entry.id == id {
                found.push((at.id(), name));
            } else if kind == FILE_ATTRIBUTE_DIRECTORY
                && let Some((_, below)) = names.child(&name, true)?
            {
                directories.push(below);
            }
        }
    }
    Ok(found)
}

/// FileHardLinkInformation; with `wide` the form with 128-bit ids.
pub(crate) fn hard_links(volume: &Volume, open: &Open, out: Region, wide: bool) -> NtResult<IoStatus> {
    let names = names_of(open, volume)?;
    let head = if wide { 24 } else { 20 };
    let needed = names.iter().fold(8, |at: usize, (_, name)| at.next_multiple_of(8) + head + name.len() * 2);
    let (mut used, mut last, mut count) = (8_usize, None, 0_u32);
    for (parent, name) in &names {
        let at = used.next_multiple_of(8);
        let end = at + head + name.len() * 2;
        if end > out.len() {
            break;
        }
        if let Some(last) = last {
            out.store::<u32>(last, (at - last) as u32).map_err(bad)?;
        }
        out.store::<u32>(at, 0).map_err(bad)?;
        let id = parent.to_le_bytes();
        out.sub(at + if wide { 4 } else { 8 }, 8).write_from(&id).map_err(bad)?;
        out.store::<u32>(at + head - 4, name.len() as u32).map_err(bad)?;
        let bytes = nt_rtl::unicode::bytes_of(name);
        out.sub(at + head, bytes.len()).write_from(&bytes).map_err(bad)?;
        (last, used, count) = (Some(at), end, count + 1);
    }
    out.store::<u32>(0, needed as u32).map_err(bad)?;
    out.store::<u32>(4, count).map_err(bad)?;
    let status = if count as usize == names.len() { NtStatus::SUCCESS } else { NtStatus::BUFFER_OVERFLOW };
    Ok(IoStatus::new(status, used as u64))
}
