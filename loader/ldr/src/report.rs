//! Bugcheck reports, and how a process ends after one.
//!
//! Room: loader/ldr. Called by: `dispatch` and `fault`. Locks: the symbol tables and the last report. A report allocates;
//! that is tolerable because the thread was in driver code, where it can hold no lock of the host's allocator.

use crate::context::Context;
use crate::image::{self, MissingImport};
use crate::{dispatch, fault, unwind};
use core::fmt::Write as _;
use core::sync::atomic::{AtomicU32, Ordering};
use nt_cell::fault::RawLine;
use nt_cell::{Raised, images, kpcr};
use parking_lot::Mutex;

/// What follows a bugcheck report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The process ends with this exit code.
    Exit(u8),
    /// The driver's frames are dropped without termination handlers and the callout returns `Err`; the machine is dead.
    Err,
}

const AS_ERR: u32 = 1 << 31;
static ENDING: AtomicU32 = AtomicU32::new(1);
static LAST: Mutex<Option<String>> = Mutex::new(None);

/// Chooses what follows a bugcheck report, for the whole process. The default is to exit with code 1 (a finding).
pub fn set_ending(ending: Ending) {
    let word = match ending {
        Ending::Exit(code) => u32::from(code),
        Ending::Err => AS_ERR,
    };
    ENDING.store(word, Ordering::Relaxed);
}

/// Takes the text of the newest bugcheck report that did not end the process.
#[must_use]
pub fn take_report() -> Option<String> {
    LAST.lock().take()
}

/// Names an address of driver code: `driver.sys+0x1234 (symbol+0x10)`, and `<unloaded driver.sys>+...` when it came too late.
#[must_use]
pub fn symbolize(addr: u64) -> String {
    let (info, before, behind) = match (image::info_at(addr), image::unloaded_at(addr)) {
        (Some(info), _) => (info, "", ""),
        (None, Some(info)) => (info, "<unloaded ", ">"),
        _ => return format!("{addr:#x}"),
    };
    let rva = (addr - info.base) as u32;
    let mut text = format!("{before}{}{behind}+{rva:#x}", info.name);
    if let Some((at, name)) = info.symbol(rva) {
        let _ = write!(text, " ({name}+{:#x})", rva - at);
    }
    text
}

/// How far up a stack is looked for return addresses, and how many are told.
const STACK_WORDS: u64 = 4096;
const MOST_FRAMES: usize = 16;

/// Return addresses in driver images on this thread's stack, innermost first: words that lie behind a call instruction. The
/// frames of Rust between them, which have no Windows unwind data, are passed over; a stale address may be among them.
#[must_use]
pub fn driver_stack() -> Vec<u64> {
    let here = 0_u64;
    let start = core::ptr::from_ref(&here).addr() as u64;
    let words = (0..STACK_WORDS).map_while(|index| unwind::load::<u64>(start + index * 8).ok());
    words.filter(|&word| images::contains(word) && follows_a_call(word)).take(MOST_FRAMES).collect()
}

/// Is there a call right before an address: E8 with four bytes, or FF /2 with up to seven?
fn follows_a_call(address: u64) -> bool {
    let byte = |back: u64| unwind::load::<u8>(address.wrapping_sub(back)).unwrap_or(0);
    let indirect = |length: u64| byte(length) == 0xFF && byte(length - 1) & 0x38 == 0x10;
    byte(5) == 0xE8 || (2..=7).any(indirect)
}

fn name_of(code: u32) -> &'static str {
    match code {
        0x1e => "KMODE_EXCEPTION_NOT_HANDLED",
        0x7f => "UNEXPECTED_KERNEL_MODE_TRAP",
        0x139 => "KERNEL_SECURITY_CHECK_FAILURE",
        0xc000_0139 => "DRIVER_ENTRYPOINT_NOT_FOUND",
        _ => "?",
    }
}

/// Reports a bugcheck and, unless it is to come back as `Err`, ends the process.
pub(crate) fn bugcheck(context: &Context, raised: &Raised, missing: Option<&MissingImport>) {
    let Some(dead) = raised.bugcheck else { return };
    let mut text = format!("ntio: bugcheck {:#x} ({}): ", dead.code, name_of(dead.code));
    let _ = match missing {
        Some(import) => {
            write!(text, "missing import {}!{} called from {}", import.image, import.name, symbolize(raised.address))
        }
        None => write!(text, "{:?} at {}", raised.status, symbolize(raised.address)),
    };
    if missing.is_none() && image::info_at(raised.address).or_else(|| image::unloaded_at(raised.address)).is_none() {
        let mut line = RawLine::new();
        fault::blame(context.rsp(), &mut line);
        text.push_str(line.as_str());
    }
    let [a, b, c, d] = dead.parameters;
    let _ = write!(text, "\n  parameters {a:#x} {b:#x} {c:#x} {d:#x}, IRQL {}", kpcr::irql());
    dispatch::trace(context, |rip| {
        let _ = write!(text, "\n  {}", if images::contains(rip) { symbolize(rip) } else { format!("{rip:#x}") });
    });
    text.push('\n');
    match ENDING.load(Ordering::Relaxed) {
        AS_ERR => *LAST.lock() = Some(text),
        code => {
            // SAFETY: writes initialised bytes; then ends the process without running anything else of it.
            unsafe {
                libc::write(2, text.as_ptr().cast(), text.len());
                libc::_exit(code as i32);
            }
        }
    }
}

/// Appends the name of an address of driver code, as `symbolize` has it, without taking memory.
pub(crate) fn raw_name(rip: u64, line: &mut RawLine) {
    let Some(info) = image::info_at(rip) else { return };
    let rva = (rip - info.base) as u32;
    line.text(info.name).text("+").hex(u64::from(rva));
    if let Some((at, name)) = info.symbol(rva) {
        line.text(" (").text(name).text("+").hex(u64::from(rva - at)).text(")");
    }
}

/// Reports, from signal context, a fault that is a driver's doing but not in its code: no memory is taken. Returns only where
/// bugchecks come back as `Err`, which this one cannot.
pub(crate) fn raw_on_behalf(parameters: [u64; 4], blame: impl FnOnce(&mut RawLine)) {
    let code = ENDING.load(Ordering::Relaxed);
    if code == AS_ERR {
        return;
    }
    let mut line = RawLine::new();
    line.text("ntio: bugcheck 0x1e (")
        .text(name_of(0x1e))
        .text("): ")
        .hex(parameters[0])
        .text(" at ")
        .hex(parameters[1]);
    line.text(" outside the driver's code");
    blame(&mut line);
    line.text("\n  parameters");
    for parameter in parameters {
        line.text(" ").hex(parameter);
    }
    line.text(", IRQL ").hex(u64::from(kpcr::irql())).text("\n").write();
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(code as i32) };
}

/// Reports a stack overflow from signal context: no memory is taken.
pub(crate) fn raw_stack_overflow(rip: u64) {
    let code = ENDING.load(Ordering::Relaxed);
    if code == AS_ERR {
        return;
    }
    let mut line = RawLine::new();
    line.text("ntio: bugcheck 0x7f (UNEXPECTED_KERNEL_MODE_TRAP): kernel stack used up at ");
    raw_name(rip, &mut line);
    line.text("\n").write();
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(code as i32) };
}
