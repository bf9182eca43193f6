//! IRP_MJ_DIRECTORY_CONTROL: enumeration.
//!
//! Room: drivers/memfs. IRQL: PASSIVE_LEVEL. Locks: the open's scan, then the tree where short names are made, then the
//! directory's children.
//! Source: ZwQueryDirectoryFile; FSCC directory classes; rules NT-DIR-05 to NT-DIR-46. The caller's buffer is its own
//! (neither I/O): every store is guarded, and nothing past Information is touched.

use crate::backing::{Entry, Sizes};
use crate::fileinfo::{bad, shown};
use crate::node::{Open, Scan, Units, Volume, open_of, upcase};
use crate::shorts::ShortNames;
use crate::write::buffer;
use nt_abi::io::{
    FILE_ATTRIBUTE_REPARSE_POINT, FILE_OBJECT, FO_OPENED_CASE_SENSITIVE, FO_VOLUME_OPEN, IO_STACK_LOCATION,
    IRP_MN_QUERY_DIRECTORY, SL_RESTART_SCAN, SL_RETURN_SINGLE_ENTRY,
};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use nt_io::directory::SL_NO_CURSOR_UPDATE;
use nt_io::driver::OwnedIrp;
use nt_io::irp::IoStatus;
use nt_ke::WindowsVersion;
use nt_rtl::expression::{has_wildcards, matches};
use nt_rtl::unicode::bytes_of;
use std::sync::Arc;

/// Where a class keeps its parts; 0 for what it lacks.
struct Shape {
    name: usize,
    ea: usize,
    tag: usize,
    id: usize,
    /// ShortNameLength; ShortName follows at the next even offset.
    short: usize,
}

const DOT: u16 = b'.' as u16;
const NAMES: u32 = 12;

const fn shape(class: u32) -> Option<Shape> {
    const fn of(name: usize, ea: usize, tag: usize, id: usize, short: usize) -> Shape {
        Shape { name, ea, tag, id, short }
    }
    Some(match class {
        1 => of(0x40, 0, 0, 0, 0),
        2 => of(0x44, 0x40, 0, 0, 0),
        3 => of(0x5E, 0x40, 0, 0, 0x44),
        NAMES => of(0x0C, 0, 0, 0, 0),
        37 => of(0x68, 0x40, 0, 0x60, 0x44),
        38 => of(0x50, 0x40, 0, 0x48, 0),
        50 => of(0x5C, 0, 0, 0x40, 0),
        60 => of(0x58, 0x40, 0x44, 0x48, 0),
        63 => of(0x72, 0x40, 0x44, 0x48, 0x58),
        _ => return None,
    })
}

pub(crate) fn query(volume: &Volume, irp: &OwnedIrp) -> NtResult<IoStatus> {
    let stack = irp.stack();
    if stack.get(IO_STACK_LOCATION::MinorFunction) != IRP_MN_QUERY_DIRECTORY {
        return NtStatus::NOT_SUPPORTED.fail();
    }
    let file = irp.file().ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let open = open_of(file)?;
    if !open.node.is_directory() || file.get(FILE_OBJECT::Flags) & FO_VOLUME_OPEN != 0 {
        return NtStatus::INVALID_PARAMETER.fail(); // NT-DIR-04
    }
    let length = stack.get(IO_STACK_LOCATION::QueryDirectory_Length) as usize;
    let class = stack.get(IO_STACK_LOCATION::QueryDirectory_FileInformationClass);
    let shape = shape(class).ok_or(NtStatus::INVALID_INFO_CLASS.error())?;
    if length < shape.name + 2 {
        return NtStatus::INFO_LENGTH_MISMATCH.fail();
    }
    let flags = stack.get(IO_STACK_LOCATION::Flags);
    let out = buffer(irp, length)?;
    let asked = match stack.ptr(IO_STACK_LOCATION::QueryDirectory_FileName) {
        Some(name) => Some(nt_rtl::unicode::units(name).map_err(bad)?).filter(|name| !name.is_empty()),
        None => None, // NT-DIR-20
    };
    let mut scan = open.scan.lock();
    let first = !scan.started;
    if first || flags & SL_RESTART_SCAN != 0 {
        // NT-DIR-19: the first query's pattern stays; from Windows 8 on a restarted one may bring another.
        let may_replace = first || nt_ke::current().kernel.windows() >= WindowsVersion::Win8;
        let kept = scan.pattern.take();
        let pattern = if may_replace { asked.or(kept) } else { kept };
        let root = Arc::ptr_eq(&open.node, &volume.root);
        *scan = Scan { started: true, dots: !root, names: snapshot(volume, &open, root)?, at: 0, pattern };
    }
    let shorts = &volume.mount.shorts;
    let call = Call {
        open: &open,
        shorts: shorts.is_on().then_some(shorts),
        class,
        shape,
        single: flags & SL_RETURN_SINGLE_ENTRY != 0,
        ignore_case: file.get(FILE_OBJECT::Flags) & FO_OPENED_CASE_SENSITIVE == 0,
    };
    let before = scan.at;
    let filled = fill(&call, &mut scan, out);
    if flags & SL_NO_CURSOR_UPDATE != 0 || filled.is_err() {
        scan.at = before;
    }
    match filled? {
        Filled::Nothing if first => NtStatus::NO_SUCH_FILE.fail(),
        Filled::Nothing => Ok(IoStatus::new(NtStatus::NO_MORE_FILES, 0)), // NT-DIR-17, NT-DIR-18
        Filled::Cut => Ok(IoStatus::new(NtStatus::BUFFER_OVERFLOW, length as u64)), // NT-DIR-05 to NT-DIR-07
        Filled::Bytes(used) => Ok(IoStatus::new(NtStatus::SUCCESS, used as u64)),
    }
}

struct Call<'a> {
    open: &'a Open,
    /// Where the volume makes short names.
    shorts: Option<&'a ShortNames>,
    class: u32,
    shape: Shape,
    single: bool,
    ignore_case: bool,
}

enum Filled {
    Nothing,
    /// The first entry does not fit: as much of it as does.
    Cut,
    Bytes(usize),
}

/// The names as they are now: "." and ".." first, but in the root, then ascending by upper-cased units, names that differ
/// in case only by their units (NT-DIR-10 to NT-DIR-12).
fn snapshot(volume: &Volume, open: &Open, root: bool) -> NtResult<Vec<Units>> {
    let shorts = &volume.mount.shorts;
    let tree = shorts.is_on().then(|| volume.tree.lock());
    let mut names = open.node.directory()?.names()?;
    if tree.is_some() {
        shorts.update(&open.node, &names)?;
    }
    drop(tree);
    names.sort_by_cached_key(|name| (upcase(name), name.clone()));
    if !root {
        names.splice(0..0, [vec![DOT], vec![DOT, DOT]]);
    }
    Ok(names)
}

/// What to tell of a name; `None` when it is gone since.
fn told(open: &Open, name: &[u16], dots: bool) -> NtResult<Option<Entry>> {
    if !dots {
        return open.node.directory()?.entry(name);
    }
    let parent = open.link.as_ref().map(|link| link.parent());
    let node = match (name.len(), parent) {
        (2, Some(parent)) => parent, // NT-DIR-34
        _ => Arc::clone(&open.node),
    };
    Ok(Some(Entry { id: node.id(), meta: node.object.meta()?, sizes: Sizes::default(), ea_size: 0 }))
}

/// Does the scan want this name? A pattern without wildcards is compared as a name (NT-DIR-22). The name is found by its
/// short one too, but by who minds case (NT-DIR-23).
fn wanted(call: &Call<'_>, scan: &Scan, name: &[u16], short: Option<&Units>, dots: bool) -> bool {
    let Some(pattern) = &scan.pattern else { return true };
    // NT-DIR-28: "." and ".." match together.
    let asked: &[u16] = if dots { &name[..1] } else { name };
    match (call.ignore_case, has_wildcards(pattern)) {
        (true, wild) => {
            let pattern = upcase(pattern);
            let is = |name: &[u16]| if wild { matches(&pattern, name, true) } else { pattern == upcase(name) };
            is(asked) || short.is_some_and(|short| is(short))
        }
        (false, true) => matches(pattern, asked, false),
        (false, false) => pattern == asked,
    }
}

fn fill(call: &Call<'_>, scan: &mut Scan, out: Region) -> NtResult<Filled> {
    let mut used = 0_usize;
    let mut last = None;
    while let Some(name) = scan.names.get(scan.at) {
        let dots = scan.dots && scan.at < 2;
        let short = call.shorts.filter(|_| !dots).and_then(|shorts| shorts.known(&call.open.node, name));
        let wanted = wanted(call, scan, name, short.as_ref(), dots);
        let found = if wanted { told(call.open, name, dots)? } else { None };
        if let Some(found) = found {
            let at = used.next_multiple_of(8);
            let room = out.len().saturating_sub(at);
            let needed = call.shape.name + name.len() * 2;
            if needed > room {
                if last.is_none() {
                    let fits = (out.len() - call.shape.name) / 2;
                    entry(call, (&found, short.as_deref()), name, fits, out)?;
                    return Ok(Filled::Cut);
                }
                break; // NT-DIR-09: left for the next call
            }
            if let Some(previous) = last {
                out.store::<u32>(previous, (at - previous) as u32).map_err(bad)?;
            }
            entry(call, (&found, short.as_deref()), name, name.len(), out.sub(at, needed))?;
            last = Some(at);
            used = at + needed;
        }
        scan.at += 1;
        if call.single && last.is_some() {
            break;
        }
    }
    Ok(if last.is_some() { Filled::Bytes(used) } else { Filled::Nothing })
}

/// Writes an entry with the first `fits` units of its name; the length told is the full one.
fn entry(
    call: &Call<'_>,
    (found, short): (&Entry, Option<&[u16]>),
    name: &[u16],
    fits: usize,
    out: Region,
) -> NtResult<()> {
    let shape = &call.shape;
    let mut fixed = vec![0_u8; shape.name];
    let mut put = |at: usize, bytes: &[u8]| fixed[at..at + bytes.len()].copy_from_slice(bytes);
    let length = (name.len() * 2) as u32;
    if call.class == NAMES {
        put(8, &length.to_le_bytes());
    } else {
        let meta = found.meta;
        for (at, time) in [meta.created, meta.accessed, meta.written, meta.changed].into_iter().enumerate() {
            put(8 + at * 8, &time.to_le_bytes());
        }
        put(0x28, &found.sizes.eof.to_le_bytes());
        put(0x30, &found.sizes.allocation.to_le_bytes());
        put(0x38, &shown(meta.attributes).to_le_bytes());
        put(0x3C, &length.to_le_bytes());
        // NT-DIR-31: the one member of the older classes holds the tag of a reparse point.
        let is_tag = meta.attributes & FILE_ATTRIBUTE_REPARSE_POINT != 0;
        match (shape.ea, shape.tag) {
            (0, _) => {}
            (ea, 0) => put(ea, &found.ea_size.to_le_bytes()),
            (_, tag) if is_tag => put(tag, &found.ea_size.to_le_bytes()),
            (ea, _) => put(ea, &found.ea_size.to_le_bytes()),
        }
        if let Some(short) = short.filter(|_| shape.short != 0) {
            let bytes = bytes_of(short);
            put(shape.short, &[bytes.len() as u8]);
            put(shape.short + 2, &bytes);
        }
        if shape.id != 0 {
            put(shape.id, &found.id.to_le_bytes());
        }
    }
    out.sub(0, fixed.len()).write_from(&fixed).map_err(bad)?;
    let bytes = bytes_of(&name[..fits.min(name.len())]);
    out.sub(shape.name, bytes.len()).write_from(&bytes).map_err(bad)
}
