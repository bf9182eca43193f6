//! The only way to call a pointer that may lie in a driver.
//!
//! Room: ntos/cell. Called by: every room that runs a callback. Calls: drivers. IRQL: any. Locks: none may be held.
//! Native win64 routines (those in this program's own code) are called directly. Everything else, a wild pointer
//! included, goes through the border `ntcell_call_pe`, whose return address is the label by which the unwinder ends its
//! walk; nothing unwinds across Rust. Either way a raise comes back as `Err`.

use crate::foreign::CodePtr;
use crate::{fault, kpcr, raise};
use core::arch::global_asm;
use nt_abi::NtStatus;

/// An exception that left the called routine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Raised {
    /// The exception code.
    pub status: NtStatus,
    /// Where it was raised or faulted; 0 for a native routine.
    pub address: u64,
    /// Set when nobody handled it, or the driver asked for it: the machine is dead, the driver's frames were dropped
    /// without termination handlers. Only where bugchecks are configured to come back (tests); else the process ended.
    pub bugcheck: Option<Bugcheck>,
}

/// A stop code with its parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bugcheck {
    /// The stop code (1Eh KMODE_EXCEPTION_NOT_HANDLED, 139h KERNEL_SECURITY_CHECK_FAILURE ...).
    pub code: u32,
    /// The four parameters.
    pub parameters: [u64; 4],
}

/// The most arguments that [`call`] passes.
pub const MOST_ARGUMENTS: usize = 16;

/// What a border returns in RAX and RDX.
#[repr(C)]
struct Outcome {
    value: u64,
    raised: u64,
}

unsafe extern "sysv64" {
    fn ntcell_call_pe(code: u64, args: *const u64, count: usize) -> Outcome;
    fn ntcell_call_native(code: u64, args: *const u64, count: usize) -> u64;
    safe static ntcell_border_return: u8;
    safe static ntcell_border_raised: u8;
    /// The linker's names for the range of this program's code.
    safe static __executable_start: u8;
    safe static etext: u8;
}

/// Whether an address lies in this program's own code.
#[inline(always)]
fn is_native(code: u64) -> bool {
    let at = |label: &u8| core::ptr::from_ref(label).addr() as u64;
    code >= at(&__executable_start) && code < at(&etext)
}

// Frame of the border, from RBP down: RBX R12 R13 R14 R15, one word for alignment, the former border; RSP then is what
// KPCR.BORDER holds. Both exits restore from there, so that nothing depends on what the driver did to registers. win64
// keeps RBX, RBP, R12 to R15, which are all that sysv64 asks for.
global_asm!(
    ".pushsection .text.ntcell_callout,\"ax\",@progbits",
    ".balign 32",
    ".globl ntcell_call_pe",
    "ntcell_call_pe:",
    ".cfi_startproc",
    "push rbp",
    ".cfi_def_cfa_offset 16",
    ".cfi_offset rbp, -16",
    "mov rbp, rsp",
    ".cfi_def_cfa_register rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "sub rsp, 8",
    "stmxcsr [rsp]",
    "fnstcw [rsp + 4]",
    "push qword ptr gs:[{border}]",
    "mov gs:[{border}], rsp",
    "mov rax, rdi",
    "cmp rdx, 4",
    "ja 3f",
    "sub rsp, 40",
    "mov rcx, [rsi]",
    "mov rdx, [rsi + 8]",
    "mov r8, [rsi + 16]",
    "mov r9, [rsi + 24]",
    "call rax",
    ".globl ntcell_border_return",
    "ntcell_border_return:",
    "xor edx, edx",
    "2: mov rsp, gs:[{border}]",
    "pop qword ptr gs:[{border}]",
    "add rsp, 8",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    ".cfi_remember_state",
    ".cfi_def_cfa rsp, 8",
    "ret",
    ".cfi_restore_state",
    "3: lea rcx, [rdx * 8 + 15]",
    "and rcx, -16",
    "sub rsp, rcx",
    "sub rsp, 8",
    "mov rcx, rdx",
    "mov rdi, rsp",
    "rep movsq",
    "mov rcx, [rsp]",
    "mov rdx, [rsp + 8]",
    "mov r8, [rsp + 16]",
    "mov r9, [rsp + 24]",
    "lea r10, [rip + ntcell_border_return]",
    "push r10",
    "jmp rax",
    // The dispatcher continues here, with any register contents, when an exception leaves the driver.
    ".globl ntcell_border_raised",
    "ntcell_border_raised:",
    "cld",
    "mov rsp, gs:[{border}]",
    "fnclex",
    "fldcw [rsp + 12]",
    "ldmxcsr [rsp + 8]",
    "mov edx, 1",
    "jmp 2b",
    ".cfi_endproc",
    // ---- a native win64 routine
    ".balign 16",
    ".globl ntcell_call_native",
    "ntcell_call_native:",
    ".cfi_startproc",
    "push rbp",
    ".cfi_def_cfa_offset 16",
    ".cfi_offset rbp, -16",
    "mov rbp, rsp",
    ".cfi_def_cfa_register rbp",
    "mov rax, rdi",
    "lea rcx, [rdx * 8 + 15]",
    "and rcx, -16",
    "sub rsp, rcx",
    "mov rcx, rdx",
    "mov rdi, rsp",
    "rep movsq",
    "mov rcx, [rsp]",
    "mov rdx, [rsp + 8]",
    "mov r8, [rsp + 16]",
    "mov r9, [rsp + 24]",
    "call rax",
    "mov rsp, rbp",
    "pop rbp",
    ".cfi_def_cfa rsp, 8",
    "ret",
    ".cfi_endproc",
    ".popsection",
    border = const kpcr::BORDER,
);

/// Calls `code` with integer or pointer arguments and returns what it left in RAX.
///
/// # Errors
/// [`Raised`] if an exception left the routine: the caller cleans up and either raises it again
/// (`raise::raise(raised.status)`) or turns it into a status.
///
/// # Panics
/// For more than [`MOST_ARGUMENTS`] arguments.
#[inline]
pub fn call(code: CodePtr, args: &[u64]) -> Result<u64, Raised> {
    let mut few = [0; 4];
    let args = if args.len() < 4 {
        few[..args.len()].copy_from_slice(args);
        &few
    } else {
        assert!(args.len() <= MOST_ARGUMENTS, "too many arguments for a callback");
        args
    };
    let block = kpcr::current();
    if is_native(code.addr()) {
        // SAFETY: contract of `CodePtr::from_raw`: a win64 routine of this arity.
        let value = unsafe { ntcell_call_native(code.addr(), args.as_ptr(), args.len()) };
        if block.get(kpcr::RAISE_SLOT) == 0 { Ok(value) } else { Err(native_raise()) }
    } else {
        if block.get(kpcr::BORDER) == 0 && block.get(kpcr::DEAD) != 0 {
            block.set(kpcr::DEAD, 0);
        }
        // SAFETY: GS names this thread's KPCR (`current` above). The border keeps the sysv64 registers over a win64
        // routine, gives it at least its four home slots and an aligned stack, and copies `args.len()` >= 4 words. What the
        // driver does is the driver's affair (S-3); exceptions end at the border (S-4).
        let done = unsafe { ntcell_call_pe(code.addr(), args.as_ptr(), args.len()) };
        if done.raised == 0 { Ok(done.value) } else { Err(verdict(block)) }
    }
}

#[cold]
fn native_raise() -> Raised {
    Raised { status: raise::take().unwrap_or_default(), address: 0, bugcheck: None }
}

/// Reads what the dispatcher left for the border.
#[cold]
fn verdict(block: kpcr::Block) -> Raised {
    let word = |index: usize| block.get(kpcr::VERDICT + 8 * index);
    if word(2) >> 32 != 0 && block.get(kpcr::BORDER) != 0 {
        block.set(kpcr::DEAD, 1);
    }
    let dead = Bugcheck { code: word(2) as u32, parameters: [word(3), word(4), word(5), word(6)] };
    Raised { status: NtStatus(word(0) as u32), address: word(1), bugcheck: (word(2) >> 32 != 0).then_some(dead) }
}

/// Ends the driver's call that the running import was called from, without its handlers: its frames are dropped when the import
/// returns, and the border reports `status` with stop code 0. For an import whose row says `raises`, and a thread that ends.
pub fn abandon(status: NtStatus) {
    leave_verdict(Raised { status, address: 0, bugcheck: Some(Bugcheck { code: 0, parameters: [0; 4] }) });
    kpcr::current().set(kpcr::DEAD, 1);
    raise::raise(status);
}

/// Stores what the border will report; the loader's dispatcher calls it before it continues at [`border_raised`].
pub fn leave_verdict(raised: Raised) {
    let block = kpcr::current();
    let set = |index: usize, value: u64| block.set(kpcr::VERDICT + 8 * index, value);
    set(0, u64::from(raised.status.0));
    set(1, raised.address);
    set(2, raised.bugcheck.map_or(0, |dead| 1 << 32 | u64::from(dead.code)));
    for (index, value) in raised.bugcheck.map_or([0; 4], |dead| dead.parameters).into_iter().enumerate() {
        set(3 + index, value);
    }
}

/// Returns the return address that every border frame carries.
#[must_use]
pub fn border_return() -> u64 {
    core::ptr::from_ref(&ntcell_border_return).addr() as u64
}

/// Returns where a thread continues to leave the innermost border with what [`leave_verdict`] stored.
#[must_use]
pub fn border_raised() -> u64 {
    core::ptr::from_ref(&ntcell_border_raised).addr() as u64
}

/// Prepares signal handling and this thread for calls into drivers.
pub fn ensure() {
    fault::ensure();
    kpcr::ensure();
}

#[cfg(test)]
mod tests {
    use super::*;

    extern "win64" fn nine(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, g: u64, h: u64, i: u64) -> u64 {
        [a, b, c, d, e, f, g, h, i].into_iter().enumerate().map(|(at, v)| (v & 15) << (4 * at)).sum()
    }
    extern "win64" fn two(a: u64, b: u64) -> u64 {
        a * 100 + b
    }
    extern "win64" fn raises() -> u64 {
        raise::raise(NtStatus(0xc000_0005));
        7
    }

    fn code(addr: *const ()) -> CodePtr {
        // SAFETY: the tests below pass routines of this module with their arity.
        unsafe { CodePtr::from_raw(addr.expose_provenance() as u64) }.expect("a routine")
    }

    #[test]
    fn nine_arguments_arrive_in_order_by_both_ways() {
        let args = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(call(code(nine as *const ()), &args), Ok(0x9_8765_4321));
        kpcr::ensure();
        for count in [4, 5, 8, 9, 12] {
            let args: Vec<u64> = (1..=count).collect();
            // SAFETY: a win64 routine reads at most the arguments it is given; the missing ones are stack words.
            let done = unsafe { ntcell_call_pe(nine as *const () as u64, args.as_ptr(), args.len()) };
            let mask = (1u64 << (4 * count.min(9))) - 1;
            assert_eq!((done.value & mask, done.raised), (0x9_8765_4321 & mask, 0));
        }
        assert_eq!(call(code(two as *const ()), &[3, 4]), Ok(304));
        assert_eq!(kpcr::current().get(kpcr::BORDER), 0);
    }

    #[test]
    fn a_native_routine_that_raises_comes_back_as_err_once() {
        let got = call(code(raises as *const ()), &[]);
        assert_eq!(got.map_err(|raised| raised.status.0), Err(0xc000_0005));
        assert_eq!(raise::take(), None);
    }

    #[test]
    fn each_thread_has_its_own_gs_and_processor_number() {
        let mine = kpcr::processor();
        let gs = || -> (u64, u64) {
            kpcr::ensure();
            let (block, number): (u64, u64);
            // SAFETY: reads two words of the KPCR that GS names after `ensure`.
            unsafe {
                core::arch::asm!("mov {}, gs:[0x18]", "movzx {:e}, byte ptr gs:[0x184]", out(reg) block, out(reg) number)
            };
            (block, number)
        };
        let other = std::thread::spawn(move || {
            kpcr::set_irql(2);
            (gs(), kpcr::current().addr(), kpcr::processor(), kpcr::irql())
        });
        let ((block, number), addr, processor, irql) = other.join().expect("thread");
        assert_eq!((block, number, irql), (addr, u64::from(processor), 2));
        assert_ne!(processor, mine);
        assert_eq!(gs(), (kpcr::current().addr(), u64::from(mine)));
        assert_eq!(kpcr::irql(), 0);
    }
}
