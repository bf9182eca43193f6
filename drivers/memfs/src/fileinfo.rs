//! IRP_MJ_QUERY_INFORMATION and IRP_MJ_SET_INFORMATION.
//!
//! Room: drivers/memfs. IRQL: PASSIVE_LEVEL. Locks: the tree for names, the node's for sizes and times.
//! Source: FSCC layouts; rules NT-I-08 to NT-I-15, NT-REN, NT-DEL, NT-LNK families as far as each class says.

use crate::backing::{Change, Meta};
use crate::identity;
use crate::link::Link;
use crate::naming::{self, Kind, Target};
use crate::node::{Found, Node, Open, Units, Volume, open_of};
use crate::notice;
use crate::oplock::Turn;
use crate::sections;
use crate::shorts;
use crate::stream;
use crate::volinfo;
use nt_abi::io::{
    FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_HIDDEN, FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_SYSTEM,
    FILE_ATTRIBUTE_TEMPORARY, FILE_NOTIFY_CHANGE_ATTRIBUTES, FILE_NOTIFY_CHANGE_CREATION,
    FILE_NOTIFY_CHANGE_LAST_ACCESS, FILE_NOTIFY_CHANGE_LAST_WRITE, FILE_OBJECT, FO_FILE_MODIFIED, FO_FILE_SIZE_CHANGED,
    FO_OPENED_CASE_SENSITIVE, IO_STACK_LOCATION, IRP,
};
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::{Fault, Foreign, Region};
use nt_io::driver::OwnedIrp;
use nt_io::fast::FastQuery;
use nt_io::info::class;
use nt_io::irp::IoStatus;
use nt_trace::rule;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) fn bad(_: Fault) -> NtError {
    NtStatus::INVALID_USER_BUFFER.error()
}

/// Attributes as a query shows them: NORMAL when nothing else is set.
pub(crate) fn shown(attributes: u32) -> u32 {
    if attributes == 0 { FILE_ATTRIBUTE_NORMAL } else { attributes }
}

pub(crate) fn query(volume: &Volume, irp: &OwnedIrp) -> NtResult<IoStatus> {
    let stack = irp.stack();
    let file = irp.file().ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let open = open_of(file)?;
    let length = stack.get(IO_STACK_LOCATION::QueryFile_Length) as usize;
    let out = irp.irp().region_at(IRP::AssociatedIrp_SystemBuffer, length);
    let node = &open.node;
    node.refresh()?;
    let count = match stack.get(IO_STACK_LOCATION::QueryFile_FileInformationClass) {
        class::INTERNAL => {
            out.store::<u64>(0, node.id()).map_err(bad)?;
            8
        }
        class::EA => {
            out.store::<u32>(0, crate::ea::size(&node.object.eas()?)).map_err(bad)?;
            4
        }
        class::NAME => return volinfo::text(out, 4, 0, &name(&open, true)),
        class::NORMALIZED_NAME => return volinfo::text(out, 4, 0, &name(&open, false)),
        class::ALTERNATE_NAME => return volinfo::text(out, 4, 0, &shorts::alternate(volume, &open)?),
        class::STREAM => return crate::stream::list(volume, &open, out),
        class::COMPRESSION => {
            // NT-QRY-29: the file's size, of a sparse one what is allocated (NT-SPA-13), and no compression.
            let (allocation, eof) = sizes(node);
            out.store::<u64>(0, if node.sparse.load(Ordering::Relaxed) { allocation } else { eof }).map_err(bad)?;
            out.store::<u64>(8, 0).map_err(bad)?;
            16
        }
        class::NUMA_NODE => {
            out.store::<u16>(0, 0xFFFF).map_err(bad)?;
            2
        }
        class::STANDARD_LINK => identity::standard_link(&open, out)?,
        class::ID => identity::id(volume, node, out)?,
        class @ (class::HARD_LINK | class::HARD_LINK_FULL_ID) => {
            return identity::hard_links(volume, &open, out, class == class::HARD_LINK_FULL_ID);
        }
        class::POSITION => {
            out.store::<i64>(0, file.get(FILE_OBJECT::CurrentByteOffset)).map_err(bad)?;
            8
        }
        class::ATTRIBUTE_TAG => {
            let attributes = node.object.meta()?.attributes;
            out.store::<u32>(0, shown(attributes)).map_err(bad)?;
            out.store::<u32>(4, identity::tag(node, attributes)?).map_err(bad)?;
            8
        }
        class::ALL => {
            basic(node, out)?;
            standard(open.found(), out.sub(40, length - 40))?;
            out.store::<u64>(64, node.id()).map_err(bad)?;
            out.store::<u32>(72, crate::ea::size(&node.object.eas()?)).map_err(bad)?;
            let named = volinfo::text(out.sub(96, length - 96), 4, 0, &name(&open, true))?;
            return Ok(IoStatus::new(named.status, 96 + named.information));
        }
        class => plain(open.found(), class, out)?,
    };
    Ok(IoStatus::new(NtStatus::SUCCESS, count))
}

/// FastIoQueryBasicInfo and kin: what cannot be told here and now is the packet's to say (NT-QRY-25).
pub(crate) fn fast_query(query: &FastQuery) -> Option<IoStatus> {
    let open = open_of(query.file).ok()?;
    open.node.refresh().ok()?;
    let count = plain(open.found(), query.class, query.buffer).ok()?;
    Some(IoStatus::new(NtStatus::SUCCESS, count))
}

/// The classes that need no open: fast routines and queries by name tell them too.
pub(crate) fn plain(found: Found<'_>, class: u32, out: Region) -> NtResult<u64> {
    let node = found.node;
    match class {
        class::BASIC => basic(node, out),
        class::STANDARD => standard(found, out),
        class::NETWORK_OPEN => {
            let (allocation, eof) = sizes(node);
            let meta = times(node, out)?;
            out.store::<u64>(32, allocation).map_err(bad)?;
            out.store::<u64>(40, eof).map_err(bad)?;
            out.store::<u32>(48, shown(meta.attributes)).map_err(bad)?;
            Ok(56)
        }
        class::CASE_SENSITIVE => {
            let minds = node.is_directory() && node.object.minds_case()?;
            out.store::<u32>(0, u32::from(minds)).map_err(bad)?;
            Ok(4)
        }
        class::STAT => identity::stat(found, out, false),
        class::STAT_LX => identity::stat(found, out, true),
        _ => NtStatus::INVALID_INFO_CLASS.fail(),
    }
}

/// What is allocated, and the end of file.
pub(crate) fn sizes(node: &Node) -> (u64, u64) {
    let (mut allocation, eof) = {
        let data = node.data.read();
        (data.allocation, data.eof)
    };
    // A host that leaves holes has not allocated all that lies before the end: it has what it says, and what is on its way there.
    if node.object.is_shared_with_the_host()
        && let Some(pages) = node.is_dirty().then(|| nt_cc::map_of(node.sections())).flatten()
        && let Ok(Some(outside)) = node.data.read().content.outside()
    {
        allocation = allocation.min(outside.allocation + pages.dirty_pages() as u64 * 4096);
    }
    (allocation, eof)
}

/// Stores the four times.
pub(crate) fn times(node: &Node, out: Region) -> NtResult<Meta> {
    node.date()?;
    let meta = node.object.meta()?;
    for (at, time) in [meta.created, meta.accessed, meta.written, meta.changed].into_iter().enumerate() {
        out.store::<i64>(at * 8, time).map_err(bad)?;
    }
    Ok(meta)
}

fn basic(node: &Node, out: Region) -> NtResult<u64> {
    let meta = times(node, out)?;
    out.store::<u32>(32, shown(meta.attributes)).map_err(bad)?;
    Ok(40)
}

fn standard(found: Found<'_>, out: Region) -> NtResult<u64> {
    let node = found.node;
    let (allocation, eof) = sizes(node);
    let pending = found.is_pending();
    out.store::<u64>(0, allocation).map_err(bad)?;
    out.store::<u64>(8, eof).map_err(bad)?;
    out.store::<u32>(16, accessible(found)?).map_err(bad)?;
    out.store::<u8>(20, u8::from(pending)).map_err(bad)?;
    out.store::<u8>(21, u8::from(node.is_directory())).map_err(bad)?;
    Ok(24)
}

/// NumberOfLinks: names that are not marked to go (NT-LNK-15); a directory has one (NT-LNK-16).
pub(crate) fn accessible(found: Found<'_>) -> NtResult<u32> {
    let file = found.file;
    if file.is_directory() {
        return Ok(u32::from(!found.link.is_some_and(|link| link.is_pending())));
    }
    Ok(file.object.links()?.saturating_sub(file.marked.load(Ordering::Relaxed)))
}

/// The path from the volume's root: the normalized one, or `as_opened`, with the short names that it was opened by.
fn name(open: &Open, as_opened: bool) -> Units {
    let by_short = if as_opened { open.by_short.load(Ordering::Relaxed) } else { 0 };
    let shown = |link: &Arc<Link>| match by_short {
        0 => link.path(),
        _ => link.path_with(|depth, spot| {
            let wanted = 1_u32.unbounded_shl(depth) & by_short != 0;
            if wanted { open.mount.shorts.known(&spot.parent, &spot.name) } else { None }
        }),
    };
    let mut path = open.link.as_ref().map_or_else(|| vec![u16::from(b'\\')], shown);
    if let Some(named) = &open.node.named {
        path.push(u16::from(b':')); // NT-STR-13
        path.extend(named.name());
    }
    path
}

pub(crate) fn set(volume: &Volume, irp: &OwnedIrp) -> NtResult<IoStatus> {
    let turn = Turn::new(irp);
    loop {
        let result = set_once(volume, irp, &turn);
        if result.is_ok() || !turn.wait()? {
            return result;
        }
    }
}

/// Sets; RETRY when a break has to be waited for first.
fn set_once(volume: &Volume, irp: &OwnedIrp, turn: &Turn) -> NtResult<IoStatus> {
    let stack = irp.stack();
    let file = irp.file().ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let open = open_of(file)?;
    let length = stack.get(IO_STACK_LOCATION::SetFile_Length) as usize;
    let input = irp.irp().region_at(IRP::AssociatedIrp_SystemBuffer, length);
    match stack.get(IO_STACK_LOCATION::SetFile_FileInformationClass) {
        class::BASIC => set_basic(volume, &open, input)?,
        class::END_OF_FILE => {
            let advance = stack.get(IO_STACK_LOCATION::SetFile_AdvanceOnly) != 0;
            let end = input.load::<i64>(0).map_err(bad)?;
            open.keeping_times(|| set_end(file, &open.node, end, advance))?;
            if !advance {
                file.or32(FILE_OBJECT::Flags, FO_FILE_MODIFIED | FO_FILE_SIZE_CHANGED);
            }
        }
        class::ALLOCATION => {
            let allocation = input.load::<i64>(0).map_err(bad)?;
            if open.keeping_times(|| set_allocation(file, &open.node, allocation))? {
                file.or32(FILE_OBJECT::Flags, FO_FILE_MODIFIED | FO_FILE_SIZE_CHANGED);
            }
        }
        class::VALID_DATA_LENGTH => set_valid(&open, input.load::<i64>(0).map_err(bad)?)?,
        class::POSITION => file.set(FILE_OBJECT::CurrentByteOffset, input.load::<i64>(0).map_err(bad)?),
        class::SHORT_NAME => {
            let insensitive = file.get(FILE_OBJECT::Flags) & FO_OPENED_CASE_SENSITIVE == 0;
            shorts::set(volume, &open, input, irp.from_user(), insensitive)?;
        }
        class::DISPOSITION => {
            let delete = input.load::<u8>(0).map_err(bad)? != 0;
            naming::dispose(volume, file, &open, u32::from(delete))?;
        }
        class::CASE_SENSITIVE => identity::set_case_sensitive(volume, &open, input.load::<u32>(0).map_err(bad)?)?,
        class::DISPOSITION_EX => naming::dispose(volume, file, &open, input.load::<u32>(0).map_err(bad)?)?,
        class @ (class::RENAME | class::RENAME_EX | class::LINK | class::LINK_EX) => {
            let flags = match class {
                class::RENAME_EX | class::LINK_EX => input.load::<u32>(0).map_err(bad)?,
                _ => u32::from(input.load::<u8>(0).map_err(bad)? != 0), // NT-REN-36
            };
            let kind = if matches!(class, class::LINK | class::LINK_EX) { Kind::Link } else { Kind::Rename };
            let name = nt_io::target::name_in(input)?;
            if stream::concerns(&open, &name) {
                stream::rename(volume, file, &open, &name, flags, kind)?;
                return Ok(IoStatus::new(NtStatus::SUCCESS, 0));
            }
            let directory = stack.ptr(IO_STACK_LOCATION::SetFile_FileObject);
            let target = || match directory {
                None => Target::beside(&open, &name),
                Some(directory) => {
                    let there = open_of(directory)?;
                    let name = nt_rtl::unicode::units(directory.at(FILE_OBJECT::FileName)).map_err(bad)?;
                    Ok(Target { directory: Arc::clone(&there.node), link: there.link.clone(), name })
                }
            };
            naming::rename(volume, file, &open, target, flags, (kind, irp.from_user()), turn)?;
        }
        _ => return NtStatus::INVALID_INFO_CLASS.fail(),
    }
    Ok(IoStatus::new(NtStatus::SUCCESS, 0))
}

/// FileBasicInformation: 0 keeps a time, -1 freezes it for this open, -2 lifts that (NT-I-15, NT-QRY-14 to NT-QRY-19).
fn set_basic(volume: &Volume, open: &Open, input: Region) -> NtResult<()> {
    const SETTABLE: u32 = 0x001A_3127;
    let node = &open.node;
    let mut times = [0; 4];
    for (at, time) in times.iter_mut().enumerate() {
        *time = input.load::<i64>(at * 8).map_err(bad)?;
        if *time < -2 {
            return NtStatus::INVALID_PARAMETER.fail(); // NT-QRY-16
        }
    }
    let attributes = input.load::<u32>(32).map_err(bad)?;
    let wrong = if node.is_directory() { FILE_ATTRIBUTE_TEMPORARY } else { FILE_ATTRIBUTE_DIRECTORY };
    if attributes & wrong != 0 {
        return NtStatus::INVALID_PARAMETER.fail(); // NT-QRY-15
    }
    node.date()?; // a time that is set now stays when the writer's handle goes
    let before = node.object.meta()?;
    let mut frozen = open.frozen.load(Ordering::Relaxed);
    for (at, &time) in times.iter().enumerate() {
        match time {
            0 => {}
            -2 => frozen &= !(1 << at),
            _ => frozen |= 1 << at,
        }
    }
    open.freeze(frozen);
    if attributes == 0 && times.iter().all(|&time| time <= 0) {
        return Ok(()); // NT-QRY-17: it changes nothing
    }
    let time = |time: i64| (time > 0).then_some(time);
    let mut change = Change {
        created: time(times[0]),
        accessed: time(times[1]),
        written: time(times[2]),
        changed: time(times[3]).or((frozen & 8 != 0).then_some(before.changed)),
        attributes: None,
    };
    if attributes != 0 {
        let mut chosen = (before.attributes & !SETTABLE) | (attributes & SETTABLE);
        if Arc::ptr_eq(node, &volume.root) {
            let kept = FILE_ATTRIBUTE_HIDDEN | FILE_ATTRIBUTE_SYSTEM;
            chosen = (chosen & !kept) | (before.attributes & kept);
        }
        change.attributes = Some(chosen & !FILE_ATTRIBUTE_NORMAL);
    }
    node.object.change(&change)?;
    let differs = |to: Option<i64>, from: i64, bit: u32| if to.is_some_and(|to| to != from) { bit } else { 0 };
    let other = change.attributes.is_some_and(|attributes| attributes != before.attributes);
    let filter = differs(change.created, before.created, FILE_NOTIFY_CHANGE_CREATION)
        | differs(change.accessed, before.accessed, FILE_NOTIFY_CHANGE_LAST_ACCESS)
        | differs(change.written, before.written, FILE_NOTIFY_CHANGE_LAST_WRITE)
        | if other { FILE_NOTIFY_CHANGE_ATTRIBUTES } else { 0 };
    notice::modified(open, filter); // NT-NFY-20
    Ok(())
}

/// NT-I-08, NT-I-10; pages past a new end go without being written (NT-CC-61).
fn set_end(file: Foreign<FILE_OBJECT>, node: &Node, end: i64, advance: bool) -> NtResult<()> {
    if node.is_directory() {
        return NtStatus::INVALID_DEVICE_REQUEST.fail();
    }
    let end = u64::try_from(end).map_err(|_| NtStatus::INVALID_PARAMETER.error())?;
    if advance {
        // NT-CC-36: the cache tells how far the medium is; it holds no lock of ours.
        let mut data = node.data.write();
        data.valid = data.valid.max(end.min(data.eof));
        node.publish(&data);
        return Ok(());
    }
    {
        let _main = node.main.exclusive()?;
        let _cached = sections::cache_for_the_call(file, node)?;
        let mut data = node.data.write();
        if !node.is_dirty() {
            data.refresh()?;
        }
        let shorter = end < data.eof;
        sections::may_cut(node, shorter, end)?;
        data.extend(end)?;
        data.content.set_length(end)?;
        data.eof = end;
        if shorter {
            data.valid = data.valid.min(end);
            data.allocate(end)?;
        }
        node.publish(&data);
        drop(data);
        node.tell_cache();
    }
    node.object.modified(false)
}

/// NT-I-12: bytes that the file has count as written, and are zero (NT-CC-68).
fn set_valid(open: &Open, valid: i64) -> NtResult<()> {
    if !open.manages {
        return NtStatus::PRIVILEGE_NOT_HELD.fail();
    }
    let node = &open.node;
    let may_be = |valid: &u64| {
        let data = node.data.read();
        *valid != 0 && (data.valid..=data.eof).contains(valid) && !node.is_directory()
    };
    {
        let _main = node.main.exclusive()?;
        let valid = u64::try_from(valid).ok().filter(may_be).ok_or(NtStatus::INVALID_PARAMETER.error())?;
        rule!(NT_CC_68);
        if node.is_cached() {
            let flushed = nt_cc::flush(node.sections(), None).status;
            if flushed.is_error() {
                return flushed.fail();
            }
            let _what_is_locked_stays = nt_cc::purge(node.sections(), None);
        }
        let mut data = node.data.write();
        data.valid = data.valid.max(valid);
        node.publish(&data);
        drop(data);
        node.tell_cache();
    }
    node.object.modified(false)
}

/// NT-I-11; tells whether the file became shorter.
fn set_allocation(file: Foreign<FILE_OBJECT>, node: &Node, allocation: i64) -> NtResult<bool> {
    let allocation = u64::try_from(allocation).map_err(|_| NtStatus::INVALID_PARAMETER.error())?;
    let _main = node.main.exclusive()?;
    let _cached = sections::cache_for_the_call(file, node)?;
    let mut data = node.data.write();
    if !node.is_dirty() {
        data.refresh()?;
    }
    let shorter = allocation < data.eof;
    sections::may_cut(node, shorter, allocation)?;
    if shorter {
        data.content.set_length(allocation)?;
        data.eof = allocation;
        data.valid = data.valid.min(allocation);
    }
    data.allocate(allocation)?;
    node.publish(&data);
    drop(data);
    node.tell_cache();
    Ok(shorter)
}
