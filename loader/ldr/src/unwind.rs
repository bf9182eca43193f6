//! One frame of driver code back: x64 unwind data, versions 1 and 2, chained records, epilogues.
//!
//! Room: loader/ldr. Called by: `dispatch`, `report`. Calls: guarded loads for everything it reads (a damaged stack is an
//! error, not a crash). Locks: none. Holds plain data only: its frames may be abandoned.
//! Source: "x64 exception handling", unwind data pages of the Visual C++ documentation.

use crate::context::{Context, RSP};
use crate::image::Info;
use nt_abi::Word;
use nt_cell::{Fault, Region};

/// A frame, as its function's unwind data describes it.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    /// The address that names the frame to handlers.
    pub(crate) establisher: u64,
    /// The function's table entry; 0 for a leaf.
    pub(crate) function: u64,
    /// The language handler and its data, if it asks for `wanted` and the control point lies in the body.
    pub(crate) handler: Option<(u64, u64)>,
}

/// UNW_FLAG_EHANDLER: asked while searching.
pub(crate) const SEARCH: u8 = 1;
/// UNW_FLAG_UHANDLER: asked while unwinding.
pub(crate) const TERMINATION: u8 = 2;
const CHAINED: u8 = 4;
/// How many records may be chained: unwind data that leads in a circle is damaged, not endless.
const HOPS: u32 = 32;

fn next_hop(hops: u32, rip: u64) -> Result<u32, Fault> {
    hops.checked_sub(1).ok_or(Fault { address: rip, write: false })
}

pub(crate) fn load<W: Word>(addr: u64) -> Result<W, Fault> {
    // SAFETY: only read: a driver's stack or image (S-3); a bad address is a `Fault`.
    unsafe { Region::from_raw(addr, size_of::<W>()) }.load::<W>(0)
}

fn pop(context: &mut Context) -> Result<u64, Fault> {
    let value = load::<u64>(context.gpr[RSP])?;
    context.gpr[RSP] = context.gpr[RSP].wrapping_add(8);
    Ok(value)
}

/// Moves `context` from a function of `info` to its caller and describes the frame it left.
pub(crate) fn step(info: &Info, context: &mut Context, wanted: u8) -> Result<Frame, Fault> {
    let rip = context.rip;
    let rva = rip.wrapping_sub(info.base) as u32;
    let Some((index, entry)) = info.function(rva) else {
        let establisher = context.rsp();
        context.rip = pop(context)?;
        return Ok(Frame { establisher, function: 0, handler: None });
    };
    let function = info.base + u64::from(info.table) + 12 * index as u64;
    let mut unwind = entry.unwind;
    let mut hops = HOPS;
    while unwind & 1 != 0 {
        // The entry only names another entry that holds the data.
        hops = next_hop(hops, rip)?;
        unwind = load::<u32>(info.base + u64::from(unwind & !1) + 8)?;
    }
    let mut at = info.base + u64::from(unwind);
    let offset = rva - entry.begin;
    let first = load::<u32>(at)?.to_le_bytes();
    let in_prologue = offset < u32::from(first[1]);
    let establisher = establisher(at, first, context, offset)?;
    if !in_prologue && epilogue(info, entry.begin..entry.end, context, first)? {
        return Ok(Frame { establisher, function, handler: None });
    }
    let mut limit = if in_prologue { offset } else { u32::MAX };
    let mut machine_frame = false;
    let (flags, tail) = loop {
        let head = load::<u32>(at)?.to_le_bytes();
        let (flags, count) = (head[0] >> 3, u32::from(head[2]));
        machine_frame |= undo(at + 4, head, context, establisher, limit)?;
        let tail = at + 4 + u64::from(count.next_multiple_of(2)) * 2;
        if flags & CHAINED == 0 {
            break (flags, tail);
        }
        hops = next_hop(hops, rip)?;
        at = info.base + u64::from(load::<u32>(tail + 8)? & !1);
        limit = u32::MAX;
    };
    if !machine_frame {
        context.rip = pop(context)?;
    }
    let handler = if flags & wanted != 0 && !in_prologue {
        Some((info.base + u64::from(load::<u32>(tail)?), tail + 4))
    } else {
        None
    };
    Ok(Frame { establisher, function, handler })
}

/// Where the frame register points when it is set up; RSP otherwise.
fn establisher(at: u64, head: [u8; 4], context: &Context, offset: u32) -> Result<u64, Fault> {
    let (register, scaled) = (usize::from(head[3] & 15), u64::from(head[3] >> 4) * 16);
    if register == 0 {
        return Ok(context.rsp());
    }
    let mut set = offset >= u32::from(head[1]) || (head[0] >> 3) & CHAINED != 0;
    if !set {
        for index in 0..u64::from(head[2]) {
            let code = load::<u16>(at + 4 + 2 * index)?.to_le_bytes();
            // Slots of other operations can look like this one only in functions that save registers by `mov` and are
            // interrupted in their prologue; `undo` below counts slots exactly.
            set |= code[1] & 15 == 3 && u32::from(code[0]) <= offset;
        }
    }
    Ok(if set { context.gpr[register].wrapping_sub(scaled) } else { context.rsp() })
}

/// Undoes the prologue's operations that have been executed. Returns whether the frame was a machine frame.
fn undo(codes: u64, head: [u8; 4], context: &mut Context, frame: u64, limit: u32) -> Result<bool, Fault> {
    let slot = |index: u32| load::<u16>(codes + 2 * u64::from(index));
    let wide = |index: u32| -> Result<u64, Fault> { Ok(u64::from(slot(index)?) | u64::from(slot(index + 1)?) << 16) };
    let mut index = 0;
    while index < u32::from(head[2]) {
        let [at, operation] = slot(index)?.to_le_bytes();
        let (operation, info) = (operation & 15, usize::from(operation >> 4));
        let slots = match operation {
            1 if info == 0 => 2,
            1 => 3,
            4 | 8 => 2,
            5 | 9 => 3,
            _ => 1,
        };
        if u32::from(at) <= limit {
            match operation {
                0 => context.gpr[info] = pop(context)?,
                1 => {
                    let size = if info == 0 { u64::from(slot(index + 1)?) * 8 } else { wide(index + 1)? };
                    context.gpr[RSP] = context.gpr[RSP].wrapping_add(size);
                }
                2 => context.gpr[RSP] = context.gpr[RSP].wrapping_add(info as u64 * 8 + 8),
                3 => {
                    context.gpr[RSP] = context.gpr[usize::from(head[3] & 15)].wrapping_sub(u64::from(head[3] >> 4) * 16)
                }
                4 => context.gpr[info] = load::<u64>(frame.wrapping_add(u64::from(slot(index + 1)?) * 8))?,
                5 => context.gpr[info] = load::<u64>(frame.wrapping_add(wide(index + 1)?))?,
                8 => load_xmm(context, info, frame.wrapping_add(u64::from(slot(index + 1)?) * 16))?,
                9 => load_xmm(context, info, frame.wrapping_add(wide(index + 1)?))?,
                10 => {
                    let rsp = context.rsp().wrapping_add(8 * info as u64);
                    context.rip = load::<u64>(rsp)?;
                    context.gpr[RSP] = load::<u64>(rsp.wrapping_add(24))?;
                    return Ok(true);
                }
                // 6 marks an epilogue of version 2; the instructions themselves are looked at instead.
                _ => {}
            }
        }
        index += slots;
    }
    Ok(false)
}

fn load_xmm(context: &mut Context, register: usize, from: u64) -> Result<(), Fault> {
    let (low, high) = (load::<u64>(from)?, load::<u64>(from.wrapping_add(8))?);
    let at = Context::xmm(register);
    context.float[at..at + 8].copy_from_slice(&low.to_le_bytes());
    context.float[at + 8..at + 16].copy_from_slice(&high.to_le_bytes());
    Ok(())
}

/// If what follows is the rest of an epilogue, carries it out on `context` and returns true.
fn epilogue(info: &Info, function: core::ops::Range<u32>, context: &mut Context, head: [u8; 4]) -> Result<bool, Fault> {
    let mut code = [0u8; 32];
    let left = (info.base + u64::from(function.end)).saturating_sub(context.rip).min(32) as usize;
    // SAFETY: bytes of the mapped image; a bad address is a `Fault`.
    unsafe { Region::from_raw(context.rip, left) }.read_to(&mut code[..left])?;
    let register = head[3] & 15;
    let mut rsp = context.rsp();
    let mut at = 0;
    match code {
        [0x48, 0x83, 0xc4, n, ..] => (rsp, at) = (rsp.wrapping_add_signed(i64::from(n as i8)), 4),
        [0x48, 0x81, 0xc4, a, b, c, d, ..] => {
            (rsp, at) = (rsp.wrapping_add_signed(i64::from(i32::from_le_bytes([a, b, c, d]))), 7);
        }
        [rex @ (0x48 | 0x49), 0x8d, modrm, ..]
            if register != 0 && modrm & 0x38 == 0x20 && (modrm & 7) | (rex & 1) << 3 == register && modrm & 7 != 4 =>
        {
            let base = context.gpr[usize::from(register)];
            match modrm >> 6 {
                1 => (rsp, at) = (base.wrapping_add_signed(i64::from(code[3] as i8)), 4),
                2 => {
                    let far = i32::from_le_bytes([code[3], code[4], code[5], code[6]]);
                    (rsp, at) = (base.wrapping_add_signed(i64::from(far)), 7);
                }
                _ => return Ok(false),
            }
        }
        _ => {}
    }
    let mut popped = [(0usize, 0u64); 16];
    let mut count = 0;
    while at + 2 < 32 && count < 16 {
        let (which, len) = match (code[at], code[at + 1]) {
            (low @ 0x58..=0x5f, _) => (usize::from(low & 7), 1),
            (0x41, low @ 0x58..=0x5f) => (usize::from(low & 7) + 8, 2),
            _ => break,
        };
        popped[count] = (which, load::<u64>(rsp)?);
        (count, rsp, at) = (count + 1, rsp.wrapping_add(8), at + len);
    }
    let rest = &code[at.min(left)..left];
    let here = context.rip.wrapping_sub(info.base).wrapping_add(at as u64);
    let leaves = |target: u64| target >= u64::from(function.end) || target <= u64::from(function.start);
    let ends = match rest {
        [0xc3 | 0xc2, ..] | [0xf3, 0xc3, ..] | [0xff, 0x25, ..] => true,
        [0xeb, n, ..] => leaves(here.wrapping_add(2).wrapping_add_signed(i64::from(*n as i8))),
        [0xe9, a, b, c, d, ..] => {
            leaves(here.wrapping_add(5).wrapping_add_signed(i64::from(i32::from_le_bytes([*a, *b, *c, *d]))))
        }
        [0x48..=0x4f, 0xff, modrm, ..] => modrm & 0x38 == 0x20,
        _ => false,
    };
    if ends {
        for (which, value) in &popped[..count] {
            context.gpr[*which] = *value;
        }
        context.gpr[RSP] = rsp;
        context.rip = pop(context)?;
    }
    Ok(ends)
}

#[cfg(test)]
mod tests;
