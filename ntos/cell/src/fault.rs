//! The one signal handler of the process.
//!
//! Room: ntos/cell. Called by: the host. Calls: the loader's hook. IRQL: any. Locks: none; nothing here allocates.
//! A fault inside `guarded` resumes there with an error; anything else is first offered to the loader (driver code,
//! leaf imports); what is left is the host's own bug: a raw report, then what was installed before us.

use crate::guarded;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::Once;

/// A fault as the host saw it; the hook may change `registers` to continue elsewhere.
pub struct Signal<'a> {
    /// SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGTRAP.
    pub number: i32,
    /// si_code.
    pub code: i32,
    /// si_addr.
    pub address: u64,
    /// The processor's trap number (14 page fault, 13 general protection ...).
    pub trap: u64,
    /// The processor's error code (for page faults bit 1 write, bit 4 instruction fetch).
    pub error: u64,
    /// The interrupted machine state.
    pub context: &'a mut libc::ucontext_t,
}

/// The loader's part: returns whether the thread can continue.
pub type Hook = fn(&mut Signal<'_>) -> bool;

static HOOK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
static INSTALLED: Once = Once::new();
static RANGE: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
const SIGNALS: [i32; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP];
static FORMER: [AtomicPtr<libc::sigaction>; 5] = [const { AtomicPtr::new(core::ptr::null_mut()) }; 5];

impl Signal<'_> {
    /// Reads a register by its `libc::REG_*` number.
    #[must_use]
    pub fn register(&self, which: i32) -> u64 {
        self.context.uc_mcontext.gregs[which as usize] as u64
    }

    /// Changes a register.
    pub fn set_register(&mut self, which: i32, value: u64) {
        self.context.uc_mcontext.gregs[which as usize] = value as i64;
    }
}

/// The loader's other part: appends which driver called, or which are loaded, to a report. `stack` is where to begin to look.
pub type Blame = fn(stack: u64, line: &mut RawLine);
static BLAME: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Registers who names the driver in a report.
pub fn set_blame(blame: Blame) {
    BLAME.store(blame as *mut (), Ordering::Release);
}

/// Appends which driver called the routine that runs on this stack.
pub fn blame(line: &mut RawLine) {
    let here = 0u64;
    let stack = (&raw const here).addr() as u64 & !7;
    blame_from(stack, line);
}

fn blame_from(stack: u64, line: &mut RawLine) {
    let blame = BLAME.load(Ordering::Acquire);
    if !blame.is_null() {
        // SAFETY: only `set_blame` stores here, and it stores a `Blame`.
        let blame: Blame = unsafe { core::mem::transmute::<*mut (), Blame>(blame) };
        blame(stack, line);
    }
}

/// Installs the handler, once.
#[inline(always)]
pub fn ensure() {
    if !INSTALLED.is_completed() {
        install();
    }
}

/// Registers the loader's part.
pub fn set_hook(hook: Hook) {
    HOOK.store(hook as *mut (), Ordering::Release);
    ensure();
}

#[cold]
fn install() {
    INSTALLED.call_once(|| {
        guarded::choose();
        let (begin, end, resume) = guarded::range();
        for (cell, value) in RANGE.iter().zip([begin, end, resume]) {
            cell.store(value, Ordering::Release);
        }
        for (signal, former) in SIGNALS.into_iter().zip(&FORMER) {
            // SAFETY: an all-zero sigaction is a valid one (default action, empty mask).
            let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            // SAFETY: as above.
            let mut old: Box<libc::sigaction> = Box::new(unsafe { core::mem::zeroed() });
            // SAFETY: `handler` has the form that SA_SIGINFO asks for and lives for ever.
            let done = unsafe { libc::sigaction(signal, &raw const action, &raw mut *old) };
            assert_eq!(done, 0, "sigaction failed");
            former.store(Box::into_raw(old), Ordering::Release);
        }
    });
}

extern "C" fn handler(number: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: clears the flag of alignment checks, which the kernel leaves as a driver set it: Rust code does not keep to it.
    unsafe { core::arch::asm!("pushfq", "and dword ptr [rsp], 0xfffbffff", "popfq") };
    // SAFETY: the kernel passes a ucontext_t that is ours until this handler returns.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    // SAFETY: the kernel passes a siginfo_t; for these signals si_addr is filled (or 0).
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr().addr() as u64) };
    let (trap, error) = {
        let registers = &context.uc_mcontext.gregs;
        (registers[libc::REG_TRAPNO as usize] as u64, registers[libc::REG_ERR as usize] as u64)
    };
    let mut signal = Signal { number, code, address, trap, error, context };
    const STORE_WITHOUT_RIGHT: u64 = 3;
    if number == libc::SIGSEGV && trap == 14 && error & 0x13 == STORE_WITHOUT_RIGHT && crate::pool::is_moving(address) {
        return;
    }
    let rip = signal.register(libc::REG_RIP);
    let [begin, end, resume] = [0, 1, 2].map(|i| RANGE[i].load(Ordering::Relaxed));
    if rip >= begin && rip < end && (number == libc::SIGSEGV || number == libc::SIGBUS) {
        let (mut at, mut write) = (address, error & 2 != 0);
        if trap == 13 {
            // A non-canonical address carries no fault address: it is the source if that is bad, else the target.
            let (to, from) = (signal.register(libc::REG_RDI), signal.register(libc::REG_RSI));
            let bad = |addr: u64| (addr as i64) << 16 >> 16 != addr as i64;
            (at, write) = if bad(from) && !bad(to) { (from, false) } else { (to, false) };
        }
        if number == libc::SIGBUS && trap == 18 {
            write = false;
        }
        signal.set_register(libc::REG_RAX, at);
        signal.set_register(libc::REG_RDX, 1 | u64::from(write) << 1);
        signal.set_register(libc::REG_RIP, resume);
        return;
    }
    let hook = HOOK.load(Ordering::Acquire);
    if !hook.is_null() {
        // SAFETY: only `set_hook` stores here, and it stores a `Hook`.
        let hook: Hook = unsafe { core::mem::transmute::<*mut (), Hook>(hook) };
        if hook(&mut signal) {
            return;
        }
    }
    host_fault(&signal, rip);
}

/// Reports a fault of our own and hands it to what was installed before us, which sees the access fail again.
fn host_fault(signal: &Signal<'_>, rip: u64) {
    let mut line = RawLine::new();
    line.text("ntio: host fault: signal ").hex(signal.number as u64).text(" at RIP ").hex(rip);
    line.text(", address ").hex(signal.address).text(", RSP ").hex(signal.register(libc::REG_RSP));
    blame_from(signal.register(libc::REG_RSP), &mut line);
    line.text("\n").write();
    let index = SIGNALS.iter().position(|s| *s == signal.number).unwrap_or(0);
    let former = FORMER[index].load(Ordering::Acquire);
    if !former.is_null() {
        // SAFETY: a sigaction that the kernel filled; restoring it is what a handler may do. The instruction runs again.
        unsafe { libc::sigaction(signal.number, former, core::ptr::null_mut()) };
    }
}

/// A line of text that needs no memory: for signal handlers and dying threads.
pub struct RawLine {
    bytes: [u8; 1024],
    len: usize,
}

impl Default for RawLine {
    fn default() -> Self {
        Self::new()
    }
}

impl RawLine {
    /// Starts an empty line.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; 1024], len: 0 }
    }

    /// Appends text, as far as it fits.
    pub fn text(&mut self, text: &str) -> &mut Self {
        for byte in text.bytes() {
            if self.len < self.bytes.len() {
                self.bytes[self.len] = byte;
                self.len += 1;
            }
        }
        self
    }

    /// Appends a number in hex.
    pub fn hex(&mut self, value: u64) -> &mut Self {
        self.text("0x");
        let digits = (64 - value.leading_zeros()).div_ceil(4).max(1);
        for digit in (0..digits).rev() {
            let nibble = (value >> (4 * digit) & 15) as usize;
            self.text(&"0123456789abcdef"[nibble..=nibble]);
        }
        self
    }

    /// Returns what was appended.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }

    /// Writes the line to standard error with one system call.
    pub fn write(&self) {
        // SAFETY: writes initialised bytes of a live buffer.
        unsafe { libc::write(2, self.bytes.as_ptr().cast(), self.len) };
    }
}
