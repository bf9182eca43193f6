//! `mov reg,cr8` and `mov cr8,reg`, rewritten at load into moves of the KPCR's IRQL.
//!
//! Room: loader/ldr. Called by: `image`, before any thread can run the code. Nothing here touches memory of its own: it
//! edits the bytes that will be mapped.
//! The four-byte instruction and what follows it, five bytes at least, become a jump to a thunk behind the image: the move
//! by GS, the displaced instructions, a jump back. Displaced are only instructions that cannot fault or branch, so no walk
//! ever starts in a thunk, and only where nothing can jump between them; other sites keep trapping and are emulated.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, OpKind, Register};
use nt_pe::Pe;
use std::collections::HashSet;

/// Bytes that one thunk takes at most: the move (10), what it displaces (15 + 4), the jump back (5).
pub(crate) const THUNK: usize = 40;
const JUMP: usize = 5;

/// A site, and how many bytes the jump to its thunk replaces.
struct Site {
    at: usize,
    len: usize,
    read: bool,
    register: u8,
}

/// Counts the places where thunks may be wanted.
pub(crate) fn count(pe: &Pe<'_>) -> usize {
    pe.sections.iter().filter(|s| s.execute).map(|s| moves(&pe.bytes[s.raw.clone()]).count()).sum()
}

/// Finds `mov reg,cr8` and `mov cr8,reg` by their bytes: offset, whether it reads, the register's number.
fn moves(bytes: &[u8]) -> impl Iterator<Item = (usize, bool, u8)> {
    bytes.windows(4).enumerate().filter_map(|(at, code)| match *code {
        [rex, 0x0f, operation @ (0x20 | 0x22), modrm] if rex & 0xf4 == 0x44 && modrm & 0xf8 == 0xc0 => {
            Some((at, operation == 0x20, modrm & 7 | (rex & 1) << 3))
        }
        _ => None,
    })
}

/// Rewrites what can be rewritten; thunks go to `content[room..]`. Returns how many sites were.
pub(crate) fn rewrite(pe: &Pe<'_>, content: &mut [u8], mut room: usize) -> usize {
    let image = pe.size as usize;
    if count(pe) == 0 {
        return 0;
    }
    let mut sites = Vec::new();
    let mut targets = HashSet::new();
    for section in pe.sections.iter().filter(|section| section.execute) {
        let (start, end) = (section.rva as usize, section.rva as usize + section.raw.len());
        for span in crate::rewrite::spans(pe, section).windows(2) {
            let code = &content[start + span[0]..start + span[1]];
            scan(code, start + span[0], &mut sites, &mut targets);
        }
        debug_assert!(end <= image);
    }
    let mut done = 0;
    for site in sites {
        let inside = site.at + 1..site.at + site.len;
        if inside.clone().any(|rva| targets.contains(&(rva as u64))) || named(pe, &content[..image], inside) {
            continue;
        }
        let thunk = thunk(content, &site, room);
        content[room..room + thunk.len()].copy_from_slice(&thunk);
        let displacement = (room as i64 - (site.at + JUMP) as i64) as i32;
        content[site.at] = 0xe9;
        content[site.at + 1..site.at + JUMP].copy_from_slice(&displacement.to_le_bytes());
        content[site.at + JUMP..site.at + site.len].fill(0xcc);
        room += THUNK;
        done += 1;
    }
    done
}

/// Collects sites and branch targets of one stretch of code at `base`.
fn scan(code: &[u8], base: usize, sites: &mut Vec<Site>, targets: &mut HashSet<u64>) {
    let all: Vec<Instruction> = Decoder::with_ip(64, code, base as u64, DecoderOptions::NONE).iter().collect();
    for (index, instruction) in all.iter().enumerate() {
        if instruction.near_branch_target() != 0 {
            targets.insert(instruction.near_branch_target());
        }
        let at = instruction.ip() as usize;
        let Some((0, read, register)) = moves(&code[at - base..(at - base + 4).min(code.len())]).next() else {
            continue;
        };
        // Only the instruction itself: its bytes inside another one are that one's business.
        if instruction.len() != 4 || register == 4 {
            continue;
        }
        let mut len = 4;
        for next in &all[index + 1..] {
            if len >= JUMP || !harmless(next) {
                break;
            }
            len += next.len();
        }
        if len >= JUMP {
            sites.push(Site { at, len, read, register });
        }
    }
}

/// Whether an instruction can run at another address and cannot fault: registers and the stack only.
fn harmless(instruction: &Instruction) -> bool {
    let operands_are = |op: u32| match instruction.op_kind(op) {
        OpKind::Register => !instruction.op_register(op).is_segment_register() && !instruction.op_register(op).is_cr(),
        OpKind::Memory => {
            instruction.memory_base() == Register::RSP
                && instruction.memory_index() == Register::None
                && instruction.segment_prefix() == Register::None
        }
        OpKind::Immediate8
        | OpKind::Immediate32
        | OpKind::Immediate8to32
        | OpKind::Immediate8to64
        | OpKind::Immediate32to64 => true,
        _ => false,
    };
    instruction.flow_control() == FlowControl::Next
        && !instruction.is_privileged()
        && !instruction.is_invalid()
        && instruction.mnemonic() != iced_x86::Mnemonic::Int3
        && !matches!(instruction.mnemonic(), iced_x86::Mnemonic::Div | iced_x86::Mnemonic::Idiv)
        && (0..instruction.op_count()).all(operands_are)
}

/// Whether any word of the image could be a table entry that leads into `inside`: an RVA (scope tables, jump tables,
/// function table) or an address at the preferred base.
fn named(pe: &Pe<'_>, content: &[u8], inside: core::ops::Range<usize>) -> bool {
    let (low, base) = (inside.start as u32, pe.preferred_base as u32);
    let span = inside.len() as u32;
    content.windows(4).any(|word| {
        let value = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        value.wrapping_sub(low) < span || value.wrapping_sub(base).wrapping_sub(low) < span
    })
}

fn thunk(content: &[u8], site: &Site, room: usize) -> Vec<u8> {
    let high = site.register >> 3;
    let modrm = (site.register & 7) << 3 | 4;
    // gs: REX movzx reg32, byte ptr [50h]; or gs: REX mov byte ptr [50h], reg8.
    let mut code = if site.read {
        vec![0x65, 0x40 | high << 2, 0x0f, 0xb6, modrm, 0x25]
    } else {
        vec![0x65, 0x40 | high << 2, 0x88, modrm, 0x25]
    };
    code.extend(0x50u32.to_le_bytes());
    code.extend(&content[site.at + 4..site.at + site.len]);
    code.push(0xe9);
    let back = (site.at + site.len) as i64 - (room + code.len() + 4) as i64;
    code.extend((back as i32).to_le_bytes());
    assert!(code.len() <= THUNK, "a thunk displaces two instructions at most");
    code
}
