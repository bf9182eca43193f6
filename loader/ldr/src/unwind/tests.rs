//! The unwinder against the processor: a routine is run step by step, and from each instruction, prologues and epilogues
//! included, walking back to the border must give the registers with which the border called.

use super::step;
use crate::context::{Context, RSP};
use crate::image::{Image, Options, info_at};
use crate::{Binder, fault};
use core::cell::Cell;
use nt_cell::fault::Signal;
use nt_cell::{callout, images};
use std::path::PathBuf;

/// RBX RSP RBP RSI RDI R12 to R15, which a win64 callee preserves.
const PRESERVED: [usize; 9] = [3, 4, 5, 6, 7, 12, 13, 14, 15];

/// Those, and XMM6 to XMM15.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kept([u64; 9], [u8; 160]);

thread_local! {
    static EXPECTED: Cell<Option<Kept>> = const { Cell::new(None) };
    static STEPS: Cell<u64> = const { Cell::new(0) };
    static DEEPEST: Cell<u64> = const { Cell::new(0) };
    static WRONG: Cell<u64> = const { Cell::new(0) };
}

fn registers(context: &Context) -> Kept {
    let mut wide = [0; 160];
    wide.copy_from_slice(&context.float[Context::xmm(6)..Context::xmm(16)]);
    Kept(PRESERVED.map(|index| context.gpr[index]), wide)
}

fn hook(signal: &mut Signal<'_>) -> bool {
    if signal.number != libc::SIGTRAP || signal.trap != 1 {
        return fault::hook(signal);
    }
    if !images::contains(signal.register(libc::REG_RIP)) {
        return true;
    }
    let mut context = fault::capture(signal);
    let Some(expected) = EXPECTED.get() else {
        // The first instruction: nothing is pushed but the return address.
        context.gpr[RSP] += 8;
        EXPECTED.set(Some(registers(&context)));
        return true;
    };
    let (at, mut depth) = (context.rip, 0);
    while let Some(info) = info_at(context.rip) {
        depth += 1;
        if step(info, &mut context, 0).is_err() || depth > 100 {
            break;
        }
    }
    STEPS.set(STEPS.get() + 1);
    DEEPEST.set(DEEPEST.get().max(depth));
    if context.rip != callout::border_return() || registers(&context) != expected {
        WRONG.set(at);
    }
    true
}

/// Puts values into XMM6 to XMM15 that a zeroed or swapped register does not match.
fn mark_wide_registers() {
    // SAFETY: changes registers that sysv64 does not preserve; they are declared.
    unsafe {
        core::arch::asm!(
            "pcmpeqd xmm6, xmm6", "movdqa xmm7, xmm6", "psrlq xmm7, 3", "movdqa xmm12, xmm6", "psrlq xmm12, 5",
            "movdqa xmm15, xmm6", "psrlq xmm15, 7",
            out("xmm6") _, out("xmm7") _, out("xmm12") _, out("xmm15") _,
        );
    }
}

fn trap_flag(on: bool) {
    // SAFETY: changes the trap flag only; the handler above is installed while it is set.
    unsafe {
        if on {
            core::arch::asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq");
        } else {
            core::arch::asm!("pushfq", "and qword ptr [rsp], -0x101", "popfq");
        }
    }
}

#[test]
fn every_instruction_unwinds_to_the_border() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/drivers/");
    let cases: [(&str, &[&str], u64); 4] = [
        ("t_unwind.sys", &["Few", "Saves", "Large", "Variable", "All"], 9),
        ("t_seh.sys", &["Case04", "Case19", "Case21", "Case22", "Case24", "CallThrough"], 40),
        ("t_import.sys", &["Fourteen", "None", "Variadic"], 1),
        ("t_fault.sys", &["InitOnly"], 1),
    ];
    for (file, names, deep) in cases {
        let bytes = std::fs::read(path.join(file)).expect("a fixture");
        // Raising routines return here, so that the ordinary paths are run to their ends.
        let names_of = ["ExRaiseStatus", "IofCallDriver", "DbgPrint", "KeGetCurrentIrql", "FltCreateFile", "_stricmp"];
        let stubs = names_of.into_iter().chain(["IoFileObjectType"]).map(|name| (name.to_owned(), 0)).collect();
        let options = Options { allow_missing: false, stubs };
        let image = Image::load(file, &bytes, &Binder::new(&[]), &options).expect("loads");
        nt_cell::fault::set_hook(hook);
        DEEPEST.set(0);
        for name in names {
            let code = image.export(name).expect("exported");
            EXPECTED.set(None);
            STEPS.set(0);
            mark_wide_registers();
            trap_flag(true);
            let done = callout::call(code, &[4; 4]);
            trap_flag(false);
            assert!(done.is_ok(), "{name}");
            assert!(STEPS.get() > 0, "{name} was stepped");
            assert_eq!(WRONG.get(), 0, "{name}: {}", crate::symbolize(WRONG.get()));
        }
        assert!(DEEPEST.get() >= deep, "{file}: {} frames", DEEPEST.get());
    }
    nt_cell::fault::set_hook(fault::hook);
}
