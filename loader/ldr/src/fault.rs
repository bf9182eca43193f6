//! Faults of driver code: from the signal handler to the dispatcher.
//!
//! Room: loader/ldr. Called by: `nt_cell::fault`, in signal context: no locks, no allocation, no guarded loads. Filters
//! never run here: the handler writes the records below the driver's stack pointer and sends the thread to the
//! dispatcher's stub; the signal mask restores itself on return.

use crate::asm::{self, ntldr_fault_entry, ntldr_page_entry};
use crate::context::{Context, Exception, HOST_REGISTERS, RDI, RSI, RSP};
use crate::leaves::{self, Leaf};
use crate::{image, paging, report, rewrite};
use nt_abi::NtStatus;
use nt_cell::fault::{RawLine, Signal};
use nt_cell::{Bugcheck, Raised, arena, callout, images, kpcr};

const UNEXPECTED_KERNEL_MODE_TRAP: u32 = 0x7f;
const DOUBLE_FAULT: u64 = 8;
/// What the dispatcher needs below the driver's stack pointer.
const ROOM: u64 = 0x8000;
/// Reads a word that is known to be mapped.
fn word(addr: u64) -> u64 {
    // SAFETY: callers pass stack addresses inside this thread's stack bounds.
    unsafe { (addr as usize as *const u64).read_unaligned() }
}

fn on_stack(addr: u64) -> bool {
    let (low, high) = kpcr::stack();
    addr >= low && addr.saturating_add(8) <= high
}

/// Decides whether a signal is a driver's fault, and if so where its thread goes on.
pub(crate) fn hook(signal: &mut Signal<'_>) -> bool {
    let rip = signal.register(libc::REG_RIP);
    let rsp = signal.register(libc::REG_RSP);
    if kpcr::current().get(kpcr::BORDER) == 0 {
        return false;
    }
    let leaf = leaves::find(rip);
    let in_image = images::find(rip).is_some();
    let fetch = signal.number == libc::SIGSEGV && signal.trap == 14 && signal.address == rip && !mapped_fetch(signal);
    let wild = fetch && on_stack(rsp) && (images::find(word(rsp)).is_some() || word(rsp) == callout::border_return());
    if !(in_image || wild || (leaf.is_some() && images::find(word_if(rsp)).is_some())) {
        on_behalf(signal, rip, rsp);
        return false;
    }
    let (low, _) = kpcr::stack();
    if rsp < low.saturating_add(ROOM) {
        stack_overflow(signal, rip);
        return true;
    }
    if in_image && signal.trap == 13 && rewrite::emulate_cr8(signal) {
        return true;
    }
    let mut context = capture(signal);
    let mut exception = classify(signal, rip, in_image && !wild);
    if signal.number == libc::SIGSEGV && signal.trap == 14 && !fetch && arena::may_be_paged(signal.address) {
        match paging::given_up(signal.address) {
            None => {
                send_to_pager(signal, &context, rsp);
                return true;
            }
            Some(NtStatus::ACCESS_VIOLATION) => {}
            Some(status) => exception.be_in_page(status),
        }
    }
    if wild || leaf.is_some() {
        if leaf == Some(Leaf::Parked) {
            context.gpr[RDI] = context.gpr[10];
            context.gpr[RSI] = context.gpr[11];
        }
        context.eflags &= !0x400;
        context.rip = word(rsp);
        context.gpr[RSP] = rsp + 8;
        exception.address = if wild { rip } else { context.rip };
    } else if signal.number == libc::SIGTRAP {
        context.rip -= 1;
        exception.address = context.rip;
    }
    let at = (rsp - 256 - size_of::<Exception>() as u64 - size_of::<Context>() as u64) & !63;
    let exception_at = at + size_of::<Context>() as u64;
    // SAFETY: `ROOM` bytes of this thread's stack below RSP were checked above; the driver keeps nothing below RSP (win64 has
    // no red zone).
    unsafe {
        (at as usize as *mut Context).write(context);
        (exception_at as usize as *mut Exception).write(exception);
    }
    signal.set_register(libc::REG_RDI, at);
    signal.set_register(libc::REG_RBX, at);
    signal.set_register(libc::REG_RSI, exception_at);
    signal.set_register(libc::REG_RSP, at - 64);
    signal.set_register(libc::REG_RIP, asm::address(&ntldr_fault_entry));
    true
}

/// Sends the thread to the pager, which tries the instruction again: by then the page is there, or the page was given up.
fn send_to_pager(signal: &mut Signal<'_>, context: &Context, rsp: u64) {
    let at = (rsp - 256 - size_of::<Context>() as u64) & !63;
    // SAFETY: as for the records of an exception: `ROOM` bytes of this thread's stack below RSP are free.
    unsafe { (at as usize as *mut Context).write(*context) };
    signal.set_register(libc::REG_RBX, at);
    signal.set_register(libc::REG_RDI, signal.address);
    signal.set_register(libc::REG_RSI, signal.error >> 1 & 1);
    signal.set_register(libc::REG_R14, u64::from(std::arch::is_x86_feature_detected!("xsave")));
    signal.set_register(libc::REG_RSP, at - 64);
    signal.set_register(libc::REG_RIP, asm::address(&ntldr_page_entry));
}

/// Finds the newest return address into a driver between `stack` and the border that this thread went through last.
fn caller(stack: u64) -> Option<u64> {
    let border = kpcr::current().get(kpcr::BORDER);
    // A stack pointer that a driver lost says nothing of where its frames are.
    if !on_stack(stack) || !on_stack(border) {
        return None;
    }
    let mut words = (stack.next_multiple_of(8)..border).step_by(8).map(word);
    words.find(|&to| image::info_at(to).is_some_and(|info| info.within_function((to - info.base) as u32)))
}

/// Appends to a report which driver called, or, on a thread that no driver runs on, which are loaded.
pub(crate) fn blame(stack: u64, line: &mut RawLine) {
    match caller(stack) {
        Some(rip) => {
            line.text(", called from ");
            report::raw_name(rip, line);
        }
        None => {
            let mut before = "; loaded at the time: ";
            for info in images::all().filter_map(|image| image::info_at(image.base)) {
                line.text(before).text(info.name);
                before = ", ";
            }
            let mut before = "; unloaded before: ";
            for info in image::unloaded() {
                line.text(before).text(info.name);
                before = ", ";
            }
        }
    }
}

/// A fault in no code of a driver's while a driver's call is under way: it passed what it must not, or went where nothing is. Nothing
/// of it can run on from here, so the process ends with a report that names it.
fn on_behalf(signal: &Signal<'_>, rip: u64, rsp: u64) {
    let exception = classify(signal, rip, false);
    let [first, second, ..] = exception.information;
    report::raw_on_behalf([u64::from(exception.code), rip, first, second], |line| blame(rsp, line));
}

fn word_if(addr: u64) -> u64 {
    if on_stack(addr) { word(addr) } else { 0 }
}

/// A data access by the instruction at RIP to RIP itself cannot be told from a fetch by address alone.
fn mapped_fetch(signal: &Signal<'_>) -> bool {
    signal.error & 16 == 0 && images::find(signal.address).is_some()
}

pub(crate) fn capture(signal: &Signal<'_>) -> Context {
    let mut context = Context::ZERO;
    for (index, which) in HOST_REGISTERS.into_iter().enumerate() {
        context.gpr[index] = signal.register(which);
    }
    context.rip = signal.register(libc::REG_RIP);
    context.eflags = signal.register(libc::REG_EFL) as u32;
    let float = signal.context.uc_mcontext.fpregs.cast::<[u8; 512]>();
    if !float.is_null() {
        // SAFETY: the kernel saved an fxsave64 image there for the time of this handler.
        context.float = unsafe { float.read_unaligned() };
        context.mxcsr =
            u32::from_le_bytes([context.float[24], context.float[25], context.float[26], context.float[27]]);
    }
    context
}

/// Names the exception.
fn classify(signal: &Signal<'_>, rip: u64, code_readable: bool) -> Exception {
    let new = |code| Exception::new(code, 0, rip);
    let violation = |kind: u64, address: u64| {
        let mut exception = new(0xc000_0005);
        exception.count = 2;
        (exception.information[0], exception.information[1]) = (kind, address);
        exception
    };
    match (signal.number, signal.trap) {
        (libc::SIGSEGV, 14) if signal.error & 16 != 0 => violation(8, signal.address),
        (libc::SIGSEGV, 14) => violation(signal.error >> 1 & 1, signal.address),
        (libc::SIGSEGV, 13) if code_readable => match rewrite::at_fault(rip) {
            rewrite::Faulting::FastFail => {
                let mut exception = new(0xc000_0409);
                exception.count = 1;
                exception.information[0] = signal.register(libc::REG_RCX) & 0xffff_ffff;
                exception
            }
            rewrite::Faulting::Assertion => new(0xc000_0420),
            rewrite::Faulting::Privileged => new(0xc000_0096),
            rewrite::Faulting::Other => violation(0, u64::MAX),
        },
        (libc::SIGSEGV, _) => violation(0, u64::MAX),
        (libc::SIGBUS, _) => {
            let mut exception = violation(signal.error >> 1 & 1, signal.address);
            exception.be_in_page(NtStatus::END_OF_FILE);
            exception
        }
        (libc::SIGFPE, 0) => new(if rewrite::divides_by_zero(signal, rip) { 0xc000_0094 } else { 0xc000_0095 }),
        (libc::SIGFPE, _) => new(0xc000_0090),
        (libc::SIGTRAP, 3) => new(0x8000_0003),
        (libc::SIGTRAP, _) => new(0x8000_0004),
        _ => new(0xc000_001d),
    }
}

/// The driver used up its stack: nothing of it can run any more. The report is made here, on the alternate stack.
fn stack_overflow(signal: &mut Signal<'_>, rip: u64) {
    let parameters = [DOUBLE_FAULT, signal.address, rip, signal.register(libc::REG_RSP)];
    let dead = Bugcheck { code: UNEXPECTED_KERNEL_MODE_TRAP, parameters };
    report::raw_stack_overflow(rip);
    callout::leave_verdict(Raised { status: NtStatus(0xc000_00fd), address: rip, bugcheck: Some(dead) });
    kpcr::current().set(kpcr::LOADER, 0);
    signal.set_register(libc::REG_RIP, callout::border_raised());
}
