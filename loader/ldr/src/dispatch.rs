//! Structured exceptions: search, unwind, `__C_specific_handler`.
//!
//! Room: loader/ldr. Called by: the assembler stubs of `asm`, on the driver's stack. Calls: filters and handlers.
//! Locks: none; plain data only (no `Drop`), because a raise in a filter or in a `__finally` abandons these frames.
//! The dispatcher never jumps: it finishes a CONTEXT and returns, and the stub restores that.

use crate::asm::{self, ntldr_call_handler, ntldr_handler_return};
use crate::context::{
    Context, Dispatcher, Exception, NONCONTINUABLE, Pointers, R8, R9, RAX, RCX, RDX, RSP, TARGET_UNWIND, UNWIND,
    UNWINDING,
};
use crate::image::{self, Info, MissingImport};
use crate::report;
use crate::unwind::{self, Frame, SEARCH, TERMINATION};
use nt_abi::NtStatus;
use nt_cell::{Bugcheck, Raised, callout, images, kpcr, raise};

/// What handlers return; the last is ours: `__C_specific_handler` found a filter that takes the exception.
const CONTINUE_EXECUTION: u32 = 0;
const CONTINUE_SEARCH: u32 = 1;
const EXECUTE_HANDLER: u32 = 0x4e54_0001;

/// KPCR words of the loader behind the record list and the missing import: where `__except` goes on.
const TARGET: usize = kpcr::LOADER + 16;

const KMODE_EXCEPTION_NOT_HANDLED: u32 = 0x1e;
const KERNEL_SECURITY_CHECK_FAILURE: u32 = 0x139;
const DRIVER_ENTRYPOINT_NOT_FOUND: u32 = 0xc000_0139;
const STATUS_NONCONTINUABLE_EXCEPTION: u32 = 0xc000_0025;
const STATUS_UNWIND: u32 = 0xc000_0027;
const STATUS_INVALID_UNWIND_TARGET: u32 = 0xc000_0029;
const STATUS_FAST_FAIL: u32 = 0xc000_0409;

/// A handler under way: how a walk that meets its border goes on.
#[repr(C)]
struct Record {
    previous: u64,
    /// The frame to go on from: the raising one for a filter, the frame being unwound for a `__finally`.
    context: *const Context,
    /// Which scope of that frame comes next.
    scope: *const u32,
}

/// A walk up the driver's frames.
struct Walk {
    context: Context,
    scope: u32,
    record: u64,
}

enum Place {
    Driver(&'static Info),
    Border,
    Lost,
}

enum Found {
    Continue,
    Handler { establisher: u64, ip: u64 },
    Border,
    Lost,
}

/// An import's body left a status: raise it where the driver called.
pub(crate) extern "C" fn on_raise(context: *mut Context) {
    // SAFETY: the stub passes the record it has just filled on this stack; nothing else names it.
    let context = unsafe { &mut *context };
    if kpcr::current().get(kpcr::DEAD) != 0 {
        // A driver that this one called ended the machine; the same verdict leaves this one, and nothing of it runs.
        let _ = raise::take();
        return cross_border(context);
    }
    let missing = kpcr::current().get(asm::MISSING);
    if missing != 0 {
        kpcr::current().set(asm::MISSING, 0);
        // SAFETY: stubs pass addresses of leaked records (`bind`).
        let missing: &'static MissingImport = unsafe { &*(missing as usize as *const MissingImport) };
        let dead = Bugcheck { code: DRIVER_ENTRYPOINT_NOT_FOUND, parameters: [context.rip, 0, 0, 0] };
        let raised =
            Raised { status: NtStatus(DRIVER_ENTRYPOINT_NOT_FOUND), address: context.rip, bugcheck: Some(dead) };
        return bugcheck(context, raised, Some(missing));
    }
    let status = raise::take().unwrap_or_default();
    let mut exception = Exception::new(status.0, NONCONTINUABLE, context.rip);
    dispatch(context, &mut exception);
}

/// `_local_unwind(frame, ip)`: a driver leaves a `__try` by `return` or `goto`; termination handlers on the way run.
pub(crate) extern "C" fn on_local_unwind(context: *mut Context) {
    // SAFETY: as in `on_raise`.
    let context = unsafe { &mut *context };
    let mut exception = Exception::new(STATUS_UNWIND, NONCONTINUABLE, context.rip);
    unwind_for_driver(context, &mut exception, 0);
}

/// `RtlUnwindEx(frame, ip, exception, value, ..)`: a handler of the driver's own takes an exception.
pub(crate) extern "C" fn on_unwind(context: *mut Context) {
    // SAFETY: as in `on_raise`.
    let context = unsafe { &mut *context };
    let mut own = Exception::new(STATUS_UNWIND, NONCONTINUABLE, context.rip);
    let exception = match context.gpr[R8] {
        0 => &mut own,
        // SAFETY: the driver passes the record that its handler got, which lives in a frame below its own.
        at => unsafe { &mut *(at as usize as *mut Exception) },
    };
    let value = context.gpr[R9];
    unwind_for_driver(context, exception, value);
}

fn unwind_for_driver(context: &mut Context, exception: &mut Exception, value: u64) {
    let (frame, ip) = (context.gpr[RCX], context.gpr[RDX]);
    if frame == 0 || !unwind_to(context, exception, Some(frame), ip) {
        let lost = Exception::new(STATUS_INVALID_UNWIND_TARGET, NONCONTINUABLE, context.rip);
        return unhandled(context, &lost);
    }
    context.rip = ip;
    context.gpr[RAX] = value;
    drop_records(context.rsp());
}

/// A driver faulted; the signal handler built both records.
pub(crate) extern "C" fn on_fault(context: *mut Context, exception: *mut Exception) {
    // SAFETY: the signal handler placed both records below the driver's stack pointer; nothing else names them.
    let (context, exception) = unsafe { (&mut *context, &mut *exception) };
    if exception.code == STATUS_FAST_FAIL {
        let dead = Bugcheck { code: KERNEL_SECURITY_CHECK_FAILURE, parameters: [exception.information[0], 0, 0, 0] };
        let raised = Raised { status: NtStatus(exception.code), address: exception.address, bugcheck: Some(dead) };
        return bugcheck(context, raised, None);
    }
    dispatch(context, exception);
}

/// Finds who takes the exception and leaves in `context` where the thread goes on.
fn dispatch(context: &mut Context, exception: &mut Exception) {
    for _ in 0..2 {
        match search(context, exception) {
            Found::Continue if exception.flags & NONCONTINUABLE == 0 => return,
            Found::Continue => {
                *exception = Exception::new(STATUS_NONCONTINUABLE_EXCEPTION, NONCONTINUABLE, exception.address)
            }
            Found::Handler { establisher, ip } => {
                let done = unwind_to(context, exception, Some(establisher), ip);
                if !done {
                    return unhandled(context, exception);
                }
                context.rip = ip;
                context.gpr[RAX] = u64::from(exception.code);
                return drop_records(context.rsp());
            }
            Found::Border if outer_border() != 0 => {
                // Another driver's frames lie beyond ours: leave this driver by its termination handlers, let Rust clean up
                // and raise again there.
                unwind_to(context, exception, None, 0);
                let raised = Raised { status: NtStatus(exception.code), address: exception.address, bugcheck: None };
                return leave(context, raised);
            }
            Found::Border | Found::Lost => return unhandled(context, exception),
        }
    }
    unhandled(context, exception);
}

fn unhandled(context: &mut Context, exception: &Exception) {
    let [first, second, ..] = exception.information;
    let parameters = [u64::from(exception.code), exception.address, first, second];
    let dead = Bugcheck { code: KMODE_EXCEPTION_NOT_HANDLED, parameters };
    let raised = Raised { status: NtStatus(exception.code), address: exception.address, bugcheck: Some(dead) };
    bugcheck(context, raised, None);
}

/// Reports, and either ends the process or leaves the innermost border without running anything of the driver.
fn bugcheck(context: &mut Context, raised: Raised, missing: Option<&MissingImport>) {
    report::bugcheck(context, &raised, missing);
    leave(context, raised);
}

fn leave(context: &mut Context, raised: Raised) {
    callout::leave_verdict(raised);
    cross_border(context);
}

/// Makes the thread go on behind the innermost border.
fn cross_border(context: &mut Context) {
    let border = kpcr::current().get(kpcr::BORDER);
    drop_records(border);
    context.rip = callout::border_raised();
    context.gpr[RSP] = border - 64;
    context.eflags &= !0x400;
}

/// Returns the border around the innermost one, or 0.
fn outer_border() -> u64 {
    match kpcr::current().get(kpcr::BORDER) {
        0 => 0,
        border => unwind::load::<u64>(border).unwrap_or(0),
    }
}

/// Forgets handlers whose frames lie below `rsp`: they are abandoned.
fn drop_records(rsp: u64) {
    let block = kpcr::current();
    let mut at = block.get(kpcr::LOADER);
    while at != 0 && at < rsp {
        at = unwind::load::<u64>(at).unwrap_or(0);
    }
    block.set(kpcr::LOADER, at);
}

impl Walk {
    fn new(context: &Context) -> Self {
        Self { context: *context, scope: 0, record: kpcr::current().get(kpcr::LOADER) }
    }

    /// Says where the walk stands; steps over the borders of handlers.
    fn place(&mut self) -> Place {
        loop {
            let rip = self.context.rip;
            if rip == callout::border_return() {
                return Place::Border;
            }
            if rip == asm::address(&ntldr_handler_return) && self.record != 0 {
                // SAFETY: records on the list lie in live frames of `ask` (frames that are gone were dropped from it).
                let record = unsafe { &*(self.record as usize as *const Record) };
                // SAFETY: as above; both pointers name locals of that frame's callers.
                let next = unsafe { (*record.context, *record.scope) };
                (self.context, self.scope) = next;
                self.record = record.previous;
                continue;
            }
            return match image::info_at(rip) {
                Some(info) => Place::Driver(info),
                None => Place::Lost,
            };
        }
    }
}

/// Phase 1: asks each frame's handler, innermost first.
fn search(origin: &mut Context, exception: &mut Exception) -> Found {
    let mut walk = Walk::new(origin);
    loop {
        let info = match walk.place() {
            Place::Driver(info) => info,
            Place::Border => return Found::Border,
            Place::Lost => return Found::Lost,
        };
        let mut caller = walk.context;
        let Ok(frame) = unwind::step(info, &mut caller, SEARCH) else { return Found::Lost };
        if frame.handler.is_some() {
            let start = 0;
            let mut asked = asked(info, &mut walk, &frame, 0);
            match ask(&frame, exception, origin, &mut asked, origin, &raw const start) {
                CONTINUE_EXECUTION => return Found::Continue,
                EXECUTE_HANDLER => {
                    let block = kpcr::current();
                    return Found::Handler { establisher: block.get(TARGET), ip: block.get(TARGET + 8) };
                }
                _ => {}
            }
        }
        (walk.context, walk.scope) = (caller, 0);
    }
}

/// Phase 2: runs termination handlers up to the frame `target` (or the border) and leaves that frame's registers in
/// `context`. Returns false when the stack cannot be walked.
fn unwind_to(context: &mut Context, exception: &mut Exception, target: Option<u64>, ip: u64) -> bool {
    exception.flags |= UNWINDING;
    let mut walk = Walk::new(context);
    loop {
        let info = match walk.place() {
            Place::Driver(info) => info,
            Place::Border => return target.is_none(),
            Place::Lost => return false,
        };
        let mut caller = walk.context;
        let Ok(frame) = unwind::step(info, &mut caller, TERMINATION) else { return false };
        let last = target == Some(frame.establisher);
        if last {
            exception.flags |= TARGET_UNWIND;
        }
        if frame.handler.is_some() {
            let here = &raw mut walk.context;
            let mut asked = asked(info, &mut walk, &frame, ip);
            let scope = &raw const asked.scope;
            ask(&frame, exception, here, &mut asked, here, scope);
        }
        if last {
            exception.flags &= !TARGET_UNWIND;
            *context = walk.context;
            return true;
        }
        (walk.context, walk.scope) = (caller, 0);
    }
}

fn asked(info: &Info, walk: &mut Walk, frame: &Frame, target_ip: u64) -> Dispatcher {
    let (handler, data) = frame.handler.unwrap_or((0, 0));
    Dispatcher {
        control_pc: walk.context.rip,
        image_base: info.base,
        function: frame.function,
        establisher: frame.establisher,
        target_ip,
        context: &raw mut walk.context,
        handler,
        data,
        history: 0,
        scope: walk.scope,
        fill: 0,
    }
}

/// Calls a frame's language handler through its pointer, with a record of how to go on if it raises.
fn ask(
    frame: &Frame,
    exception: &mut Exception,
    context: *mut Context,
    asked: &mut Dispatcher,
    go_on: *const Context,
    scope: *const u32,
) -> u32 {
    let block = kpcr::current();
    let record = Record { previous: block.get(kpcr::LOADER), context: go_on, scope };
    block.set(kpcr::LOADER, (&raw const record).addr() as u64);
    let at = |pointer: *mut ()| pointer.expose_provenance() as u64;
    // SAFETY: the address comes from the image's unwind data; the handler has the win64 signature of
    // EXCEPTION_ROUTINE. If it raises, this frame may be abandoned: it holds plain data only.
    let disposition = unsafe {
        ntldr_call_handler(
            asked.handler,
            at((&raw mut *exception).cast()),
            frame.establisher,
            at(context.cast()),
            at((&raw mut *asked).cast()),
        )
    };
    block.set(kpcr::LOADER, record.previous);
    disposition as u32
}

/// `__C_specific_handler` as an import binds to it.
pub(crate) const C_SPECIFIC_HANDLER: unsafe extern "win64" fn() = {
    // SAFETY: a change of type only; the loader stores the address, drivers call it with the real signature.
    unsafe {
        core::mem::transmute::<
            extern "win64" fn(*mut Exception, u64, *mut Context, *mut Dispatcher) -> u32,
            unsafe extern "win64" fn(),
        >(c_specific_handler)
    }
};

/// The handler of every function with `__try`: its data is a table of scopes {begin, end, filter or finally, target}.
extern "win64" fn c_specific_handler(
    exception: *mut Exception,
    establisher: u64,
    context: *mut Context,
    asked: *mut Dispatcher,
) -> u32 {
    // SAFETY: called by `ask`, directly or through a handler of the driver's that passes its arguments on; the records
    // outlive the call, and no other reference to them is used meanwhile.
    let (flags, data, base, pc, target) =
        unsafe { ((*exception).flags, (*asked).data, (*asked).image_base, (*asked).control_pc, (*asked).target_ip) };
    let word = |at: u64| unwind::load::<u32>(at).unwrap_or(0);
    let rva = pc.wrapping_sub(base) as u32;
    let target = target.wrapping_sub(base) as u32;
    // More scopes than a function has bytes: damaged data, which must not become an endless search.
    let count = word(data).min(1 << 20);
    // SAFETY: as above.
    let mut index = unsafe { (*asked).scope };
    while index < count {
        let entry = data + 4 + 16 * u64::from(index);
        let (begin, end, code, jump) = (word(entry), word(entry + 4), word(entry + 8), word(entry + 12));
        index += 1;
        if rva < begin || rva >= end {
            continue;
        }
        if flags & UNWIND == 0 {
            if jump == 0 {
                continue;
            }
            let mut pointers = Pointers { exception, context };
            let answer = if code == 1 {
                1
            } else {
                let pointers = (&raw mut pointers).expose_provenance() as u64;
                // SAFETY: the scope table names a filter of this image: win64, (EXCEPTION_POINTERS*, frame). If it raises,
                // this frame may be abandoned.
                unsafe { ntldr_call_handler(base + u64::from(code), pointers, establisher, 0, 0) as i32 }
            };
            if answer < 0 {
                return CONTINUE_EXECUTION;
            }
            if answer > 0 {
                let block = kpcr::current();
                block.set(TARGET, establisher);
                block.set(TARGET + 8, base + u64::from(jump));
                return EXECUTE_HANDLER;
            }
            continue;
        }
        // Where the unwind stops inside this scope, the scope is not left. LLVM extends a scope one byte past a call that
        // does not return, and the `__except` block may start on that very byte: it counts as outside.
        if flags & TARGET_UNWIND != 0 && (target == jump || (target >= begin && target + 1 < end)) {
            return CONTINUE_SEARCH;
        }
        if jump == 0 {
            // SAFETY: as above: the next scope to run, should this handler raise.
            unsafe { (*asked).scope = index };
            // SAFETY: the scope table names a termination handler of this image: win64, (abnormal, frame).
            unsafe { ntldr_call_handler(base + u64::from(code), 1, establisher, 0, 0) };
        }
    }
    CONTINUE_SEARCH
}

/// Lists return addresses from `context` to the border, innermost first, for reports.
pub(crate) fn trace(context: &Context, mut visit: impl FnMut(u64)) {
    let mut walk = Walk::new(context);
    for _ in 0..64 {
        visit(walk.context.rip);
        let Place::Driver(info) = walk.place() else { return };
        if unwind::step(info, &mut walk.context, 0).is_err() {
            return;
        }
        if !images::contains(walk.context.rip) && walk.context.rip != asm::address(&ntldr_handler_return) {
            return;
        }
    }
}
