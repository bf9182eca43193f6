//! IRP_MJ_DIRECTORY_CONTROL: enumeration.
//!
//! Room: drivers/memfs. IRQL: PASSIVE_LEVEL. Locks: the open's scan, then the directory's children.
//! Source: ZwQueryDirectoryFile; FSCC directory classes; rules NT-DIR. NT-DIR-12, NT-DIR-13.

use crate::backing::{Entry, Sizes};
use crate::fileinfo::shown;
use crate::node::{Node, Scan, Units, open_of, upcase};
use nt_abi::io::{IO_STACK_LOCATION, IRP, IRP_MN_QUERY_DIRECTORY, SL_RESTART_SCAN, SL_RETURN_SINGLE_ENTRY};
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::{Fault, Region};
use nt_io::driver::OwnedIrp;
use nt_io::irp::IoStatus;
use nt_rtl::expression::matches;

fn bad(_: Fault) -> NtError {
    NtStatus::INVALID_USER_BUFFER.error()
}

/// Where a class keeps its parts: {name offset, EA size, short name, file id}; 0 for what it lacks.
struct Shape {
    name: usize,
    ea: usize,
    id: usize,
    times: bool,
}

const DOT: u16 = b'.' as u16;

const fn shape(class: u32) -> Option<Shape> {
    Some(match class {
        1 => Shape { name: 64, ea: 0, id: 0, times: true },
        2 => Shape { name: 68, ea: 64, id: 0, times: true },
        3 => Shape { name: 94, ea: 64, id: 0, times: true },
        12 => Shape { name: 12, ea: 0, id: 0, times: false },
        37 => Shape { name: 104, ea: 64, id: 96, times: true },
        38 => Shape { name: 80, ea: 64, id: 72, times: true },
        _ => return None,
    })
}

pub(crate) fn control(irp: &OwnedIrp) -> NtResult<IoStatus> {
    let stack = irp.stack();
    if stack.get(IO_STACK_LOCATION::MinorFunction) != IRP_MN_QUERY_DIRECTORY {
        return NtStatus::NOT_SUPPORTED.fail();
    }
    let file = irp.file().ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let open = open_of(file)?;
    if !open.node.is_directory() {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let length = stack.get(IO_STACK_LOCATION::QueryDirectory_Length) as usize;
    let class = stack.get(IO_STACK_LOCATION::QueryDirectory_FileInformationClass);
    let shape = shape(class).ok_or(NtStatus::INVALID_INFO_CLASS.error())?;
    if length < shape.name {
        return NtStatus::INFO_LENGTH_MISMATCH.fail();
    }
    let flags = stack.get(IO_STACK_LOCATION::Flags);
    let out = irp.irp().region_at(IRP::AssociatedIrp_SystemBuffer, length);
    let mut scan = open.scan.lock();
    let first = !scan.started || flags & SL_RESTART_SCAN != 0;
    if first {
        let pattern = match stack.ptr(IO_STACK_LOCATION::QueryDirectory_FileName) {
            Some(name) => Some(nt_rtl::unicode::units(name).map_err(bad)?).filter(|name| !name.is_empty()),
            None => scan.pattern.take(),
        };
        *scan = Scan { started: true, names: snapshot(&open.node)?, at: 0, pattern };
    }
    let single = flags & SL_RETURN_SINGLE_ENTRY != 0;
    let used = fill(&open.node, &mut scan, out, &shape, single)?;
    match used {
        0 if first => NtStatus::NO_SUCH_FILE.fail(),
        0 => NtError_no_more(),
        _ => Ok(IoStatus::new(NtStatus::SUCCESS, used as u64)),
    }
}

#[expect(non_snake_case, reason = "reads as the status that it gives")]
fn NtError_no_more() -> NtResult<IoStatus> {
    NtStatus::NO_MORE_FILES.fail()
}

/// The names as they are now: "." and ".." first, then ascending by upper-cased units (NT-DIR-10, NT-DIR-12).
fn snapshot(node: &Node) -> NtResult<Vec<Units>> {
    let mut names = node.directory()?.names()?;
    names.sort_by_cached_key(|name| (upcase(name), name.clone()));
    names.splice(0..0, [vec![DOT], vec![DOT, DOT]]);
    Ok(names)
}

/// What to tell of a name; `None` when it is gone since.
fn told(node: &Node, name: &[u16], dots: bool) -> NtResult<Option<Entry>> {
    if !dots {
        return node.directory()?.entry(name);
    }
    Ok(Some(Entry { id: node.id(), meta: node.object.meta()?, sizes: Sizes::default(), ea_size: 0 }))
}

fn fill(node: &Node, scan: &mut Scan, out: Region, shape: &Shape, single: bool) -> NtResult<usize> {
    let mut used = 0_usize;
    let mut last = None;
    while let Some(name) = scan.names.get(scan.at) {
        let dots = scan.at < 2;
        // NT-DIR-28: "." and ".." match together.
        let asked: &[u16] = if dots { &name[..1] } else { name };
        let wanted = scan.pattern.as_ref().is_none_or(|pattern| matches(&upcase(pattern), asked, true));
        let found = if wanted { told(node, name, dots)? } else { None };
        if let Some(found) = found {
            let at = used.next_multiple_of(8);
            let needed = shape.name + name.len() * 2;
            if at + needed > out.len() {
                if last.is_none() {
                    return NtStatus::BUFFER_OVERFLOW.fail();
                }
                break;
            }
            if let Some(previous) = last {
                out.store::<u32>(previous, (at - previous) as u32).map_err(bad)?;
            }
            entry(&found, name, out.sub(at, needed), shape)?;
            last = Some(at);
            used = at + needed;
        }
        scan.at += 1;
        if single && last.is_some() {
            break;
        }
    }
    Ok(used)
}

fn entry(found: &Entry, name: &[u16], out: Region, shape: &Shape) -> NtResult<()> {
    out.sub(0, shape.name).fill(0).map_err(bad)?;
    let bytes: Vec<u8> = name.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    if shape.times {
        let meta = found.meta;
        for (at, time) in [meta.created, meta.accessed, meta.written, meta.changed].into_iter().enumerate() {
            out.store::<i64>(8 + at * 8, time).map_err(bad)?;
        }
        out.store::<u64>(40, found.sizes.eof).map_err(bad)?;
        out.store::<u64>(48, found.sizes.allocation).map_err(bad)?;
        out.store::<u32>(56, shown(meta.attributes)).map_err(bad)?;
        out.store::<u32>(60, bytes.len() as u32).map_err(bad)?;
        if shape.ea != 0 {
            out.store::<u32>(shape.ea, found.ea_size).map_err(bad)?;
        }
        if shape.id != 0 {
            out.store::<u64>(shape.id, found.id).map_err(bad)?;
        }
    } else {
        out.store::<u32>(8, bytes.len() as u32).map_err(bad)?;
    }
    out.sub(shape.name, bytes.len()).write_from(&bytes).map_err(bad)
}
