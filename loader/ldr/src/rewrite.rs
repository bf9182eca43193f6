//! Code that bypasses imports: CR8, the shared-data page, `int 29h`, privileged instructions.
//!
//! Room: loader/ldr. Called by: `image` (before the code can run), `fault` (in signal context), `ntio imports`.
//! `mov reg,cr8` and `mov cr8,reg`, where `irql` could not rewrite them, trap and are emulated on the KPCR's IRQL. The shared-data page's address is always a
//! 64-bit immediate, so every such value in executable sections is replaced by the address of our page.

use crate::context::HOST_REGISTERS;
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use nt_cell::fault::Signal;
use nt_cell::{Region, kpcr};
use nt_pe::Pe;
use std::sync::OnceLock;

const SHARED_PAGE: u64 = 0xffff_f780_0000_0000;

/// Code that reaches past imports.
#[derive(Clone, Debug)]
pub struct Site {
    /// Where it lies.
    pub rva: u32,
    /// What it does.
    pub kind: SiteKind,
}

/// What a [`Site`] does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SiteKind {
    /// Reads or writes the IRQL in CR8: rewritten where possible, else emulated at about a microsecond each.
    Irql,
    /// Names a member of the KPCR at this offset of GS; offsets that are filled work.
    Kpcr(u64),
    /// Names the shared-data page at this offset: redirected to our page.
    SharedData(u32),
    /// An instruction that only kernel mode may run: raises STATUS_PRIVILEGED_INSTRUCTION.
    Privileged,
}

fn decode(bytes: &[u8], rip: u64) -> Decoder<'_> {
    Decoder::with_ip(64, bytes, rip, DecoderOptions::NONE)
}

/// Lists the code of an image that bypasses imports.
#[must_use]
pub fn scan(pe: &Pe<'_>) -> Vec<Site> {
    let mut sites = Vec::new();
    for section in pe.sections.iter().filter(|section| section.execute) {
        let bytes = &pe.bytes[section.raw.clone()];
        for span in spans(pe, section).windows(2) {
            let start = section.rva + span[0] as u32;
            // Between functions lie leaves without unwind data, but also import tables and strings.
            let sure = pe.functions.iter().any(|function| function.begin == start);
            for instruction in decode(&bytes[span[0]..span[1]], u64::from(start)).iter() {
                if let Some(kind) = judge(&instruction).filter(|kind| sure || *kind != SiteKind::Privileged) {
                    sites.push(Site { rva: instruction.ip() as u32, kind });
                }
            }
        }
        for (offset, _) in shared_words(bytes) {
            let value = u32::from_le_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]]);
            sites.push(Site { rva: section.rva + offset as u32, kind: SiteKind::SharedData(value & 0xfff) });
        }
    }
    sites.sort_by_key(|site| site.rva);
    sites.dedup_by_key(|site| site.rva);
    sites
}

/// Where decoding starts afresh in a section, as offsets: at each function, so that data between functions cannot shift
/// what follows. The last is the end.
pub(crate) fn spans(pe: &Pe<'_>, section: &nt_pe::Section) -> Vec<usize> {
    let len = section.raw.len();
    let edges = pe.functions.iter().flat_map(|f| [f.begin, f.end]).chain([section.rva]);
    let mut starts: Vec<usize> =
        edges.filter_map(|rva| rva.checked_sub(section.rva)).map(|at| at as usize).filter(|at| *at < len).collect();
    starts.push(len);
    starts.sort_unstable();
    starts.dedup();
    starts
}

fn judge(instruction: &Instruction) -> Option<SiteKind> {
    let cr8 = (0..instruction.op_count())
        .any(|op| instruction.op_kind(op) == OpKind::Register && instruction.op_register(op) == Register::CR8);
    if cr8 {
        return Some(SiteKind::Irql);
    }
    let memory = (0..instruction.op_count()).any(|op| instruction.op_kind(op) == OpKind::Memory);
    let absolute =
        memory && instruction.memory_base() == Register::None && instruction.memory_index() == Register::None;
    if instruction.segment_prefix() == Register::GS && absolute && instruction.memory_displacement64() < 0x1_0000 {
        return Some(SiteKind::Kpcr(instruction.memory_displacement64()));
    }
    instruction.is_privileged().then_some(SiteKind::Privileged)
}

fn shared_words(bytes: &[u8]) -> impl Iterator<Item = (usize, u64)> {
    bytes.windows(8).enumerate().filter_map(|(offset, word)| {
        let value = u64::from_le_bytes(word.try_into().ok()?);
        (value & !0xfff == SHARED_PAGE).then_some((offset, value))
    })
}

/// Returns our KUSER_SHARED_DATA page (InterruptTime 08h, SystemTime 14h, TickCount 320h ...), for the clock to fill.
#[must_use]
pub fn shared_data() -> Region {
    static PAGE: OnceLock<u64> = OnceLock::new();
    let at = *PAGE.get_or_init(|| {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh anonymous mapping.
        let at = unsafe { libc::mmap(core::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        assert!(at != libc::MAP_FAILED, "no memory for the shared-data page");
        at.expose_provenance() as u64
    });
    // SAFETY: the page mapped above, never unmapped, no Rust object.
    unsafe { Region::from_raw(at, 4096) }
}

/// Tells drivers the time: interrupt time and system time in units of 100 ns, and the tick count. Each is a
/// KSYSTEM_TIME, written high part first and last, so that a reader sees when it raced.
pub fn set_shared_time(interrupt: u64, system: u64, ticks: u64) {
    let page = shared_data();
    for (offset, value) in [(0x08, interrupt), (0x14, system), (0x320, ticks)] {
        let (low, high) = (value as u32, (value >> 32) as u32);
        for (part, bits) in [(8, high), (0, low), (4, high)] {
            page.store::<u32>(offset + part, bits).expect("our own page is mapped");
        }
    }
}

/// Redirects the shared-data page in a section's bytes.
pub(crate) fn redirect_shared(bytes: &mut [u8]) {
    let found: Vec<(usize, u64)> = shared_words(bytes).collect();
    for (offset, value) in found {
        let ours = shared_data().addr() + (value & 0xfff);
        bytes[offset..offset + 8].copy_from_slice(&ours.to_le_bytes());
    }
}

/// Makes the decoder build its tables, so that signal handlers can use it.
pub(crate) fn warm_up() {
    let _ = decode(&[0x90], 0).decode();
}

/// What stands at a general-protection fault.
pub(crate) enum Faulting {
    FastFail,
    Assertion,
    Privileged,
    Other,
}

/// Copies the instruction at RIP, which lies in an image.
fn code_at(rip: u64) -> [u8; 16] {
    let mut code = [0; 16];
    let left = nt_cell::images::find(rip).map_or(0, |image| image.base + image.size - rip).min(16) as usize;
    for (index, byte) in code[..left].iter_mut().enumerate() {
        let at = rip + index as u64;
        if index > 0 && at.is_multiple_of(4096) {
            // The next page may be inaccessible; the instruction was fetched, so it needs that page only if it goes on there.
            break;
        }
        // SAFETY: the processor fetched the instruction from this page, so it is mapped and readable.
        *byte = unsafe { (at as usize as *const u8).read() };
    }
    code
}

/// Judges the instruction that a general-protection fault stopped at.
pub(crate) fn at_fault(rip: u64) -> Faulting {
    let code = code_at(rip);
    match code {
        [0xcd, 0x29, ..] => Faulting::FastFail,
        [0xcd, 0x2c, ..] => Faulting::Assertion,
        _ if decode(&code, rip).decode().is_privileged() => Faulting::Privileged,
        _ => Faulting::Other,
    }
}

/// Tells division by zero from a quotient that does not fit.
pub(crate) fn divides_by_zero(signal: &Signal<'_>, rip: u64) -> bool {
    let code = code_at(rip);
    let instruction = decode(&code, rip).decode();
    if !matches!(instruction.mnemonic(), Mnemonic::Div | Mnemonic::Idiv) || instruction.op0_kind() != OpKind::Register {
        // A divisor in memory is not read from signal context; zero is what it nearly always is.
        return true;
    }
    let register = instruction.op0_register();
    let value = signal.register(HOST_REGISTERS[register.full_register().number() & 15]);
    let bits = 8 * register.size() as u32;
    value & (u64::MAX >> (64 - bits)) == 0
}

/// Carries out `mov reg,cr8` or `mov cr8,reg` on the KPCR's IRQL.
pub(crate) fn emulate_cr8(signal: &mut Signal<'_>) -> bool {
    let rip = signal.register(libc::REG_RIP);
    // REX.R (44h, 45h with REX.B; W is ignored), 0F 20 read or 0F 22 write, ModRM 11 000 reg.
    let [rex, 0x0f, operation @ (0x20 | 0x22), modrm, ..] = code_at(rip) else { return false };
    if rex & 0xf4 != 0x44 || modrm & 0xf8 != 0xc0 {
        return false;
    }
    let which = HOST_REGISTERS[usize::from(modrm & 7) | usize::from(rex & 1) << 3];
    if operation == 0x20 {
        signal.set_register(which, u64::from(kpcr::irql()));
    } else {
        kpcr::set_irql(signal.register(which) as u8 & 15);
    }
    signal.set_register(libc::REG_RIP, rip + 4);
    true
}
