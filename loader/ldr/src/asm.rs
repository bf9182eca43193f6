//! The assembler of the loader: edge stubs, capture, restore, the border of handlers.
//!
//! Room: loader/ldr. Nothing here is called by Rust except `ntldr_call_handler`; drivers jump in through the stubs that
//! `bind` writes behind each image. win64 lets a callee change RAX RCX RDX R8 to R11 and XMM0 to XMM5 only.

use core::arch::global_asm;

unsafe extern "win64" {
    /// `_local_unwind`: a driver calls it, never Rust.
    pub(crate) fn ntldr_local_unwind();
    /// `RtlUnwind` and `RtlUnwindEx`: likewise.
    pub(crate) fn ntldr_unwind();
}
unsafe extern "C" {
    pub(crate) safe static ntldr_edge: u8;
    pub(crate) safe static ntldr_variadic: u8;
    pub(crate) safe static ntldr_missing: u8;
    pub(crate) safe static ntldr_fault_entry: u8;
    pub(crate) safe static ntldr_page_entry: u8;
    pub(crate) safe static ntldr_handler_return: u8;
    /// Calls a win64 routine with four arguments; exceptions in it end their walk at `ntldr_handler_return`.
    pub(crate) fn ntldr_call_handler(code: u64, a: u64, b: u64, c: u64, d: u64) -> u64;
}

/// Returns the address of a label.
pub(crate) fn address(label: &u8) -> u64 {
    core::ptr::from_ref(label).addr() as u64
}

/// KPCR word: the import that `ntldr_missing` was asked for.
pub(crate) const MISSING: usize = nt_cell::kpcr::LOADER + 8;

global_asm!(
    ".pushsection .text.ntldr_asm,\"ax\",@progbits",
    // ---- R11 = body of an import that may raise. Stack arguments 5 to 16 are copied, for the body has its own frame.
    ".balign 32",
    ".globl ntldr_edge",
    "ntldr_edge:",
    "sub rsp, 0x88",
    "movups xmm4, [rsp + 0xb0]",
    "movups xmm5, [rsp + 0xc0]",
    "movups [rsp + 0x20], xmm4",
    "movups [rsp + 0x30], xmm5",
    "movups xmm4, [rsp + 0xd0]",
    "movups xmm5, [rsp + 0xe0]",
    "movups [rsp + 0x40], xmm4",
    "movups [rsp + 0x50], xmm5",
    "movups xmm4, [rsp + 0xf0]",
    "movups xmm5, [rsp + 0x100]",
    "movups [rsp + 0x60], xmm4",
    "movups [rsp + 0x70], xmm5",
    "call r11",
    "add rsp, 0x88",
    "cmp qword ptr gs:[{slot}], 0",
    "jne ntldr_raise",
    "ret",
    // ---- R11 = body of a variadic import: it gets the address of the spilled arguments, a win64 va_list
    ".balign 32",
    ".globl ntldr_variadic",
    "ntldr_variadic:",
    "mov [rsp + 8], rcx",
    "mov [rsp + 16], rdx",
    "mov [rsp + 24], r8",
    "mov [rsp + 32], r9",
    "lea rcx, [rsp + 8]",
    "sub rsp, 40",
    "call r11",
    "add rsp, 40",
    "cmp qword ptr gs:[{slot}], 0",
    "jne ntldr_raise",
    "ret",
    // ---- R11 = record of an import that is not there
    ".globl ntldr_missing",
    "ntldr_missing:",
    "mov gs:[{missing}], r11",
    // ---- [RSP] = return address into the driver, whose preserved registers are all intact
    "ntldr_raise:",
    "lea rax, [rip + {on_raise}]",
    "jmp ntldr_capture",
    ".globl ntldr_local_unwind",
    "ntldr_local_unwind:",
    "lea rax, [rip + {on_local_unwind}]",
    "jmp ntldr_capture",
    ".globl ntldr_unwind",
    "ntldr_unwind:",
    "lea rax, [rip + {on_unwind}]",
    // ---- RAX = what to do with the context of the caller; the context's RAX slot keeps it
    "ntldr_capture:",
    "mov r11, rsp",
    "sub rsp, 0x580",
    "and rsp, -64",
    "mov [rsp + 0x78], rax",
    "mov [rsp + 0x80], rcx",
    "mov [rsp + 0x88], rdx",
    "mov [rsp + 0x90], rbx",
    "lea rax, [r11 + 8]",
    "mov [rsp + 0x98], rax",
    "mov [rsp + 0xa0], rbp",
    "mov [rsp + 0xa8], rsi",
    "mov [rsp + 0xb0], rdi",
    "mov [rsp + 0xb8], r8",
    "mov [rsp + 0xc0], r9",
    "mov [rsp + 0xc8], r10",
    "mov [rsp + 0xd0], r11",
    "mov [rsp + 0xd8], r12",
    "mov [rsp + 0xe0], r13",
    "mov [rsp + 0xe8], r14",
    "mov [rsp + 0xf0], r15",
    "mov rax, [r11]",
    "mov [rsp + 0xf8], rax",
    "fxsave64 [rsp + 0x100]",
    "stmxcsr [rsp + 0x34]",
    "pushfq",
    "pop rax",
    "mov [rsp + 0x44], eax",
    "mov dword ptr [rsp + 0x30], 0x10000f",
    "mov rdi, rsp",
    "mov rbx, rsp",
    "call [rsp + 0x78]",
    "mov rdi, rbx",
    "jmp ntldr_restore",
    // ---- the signal handler sends a faulting driver here: RDI = RBX = context, RSI = exception, RSP aligned below both
    ".balign 16",
    ".globl ntldr_fault_entry",
    "ntldr_fault_entry:",
    "cld",
    "call {on_fault}",
    "mov rdi, rbx",
    // ---- RDI = context to continue with. The four words below its RSP are free: win64 has no red zone.
    "ntldr_restore:",
    "fxrstor64 [rdi + 0x100]",
    "mov rax, [rdi + 0x98]",
    "sub rax, 32",
    "mov ecx, [rdi + 0x44]",
    "mov [rax], rcx",
    "mov rcx, [rdi + 0xb0]",
    "mov [rax + 8], rcx",
    "mov rcx, [rdi + 0x78]",
    "mov [rax + 16], rcx",
    "mov rcx, [rdi + 0xf8]",
    "mov [rax + 24], rcx",
    "mov rcx, [rdi + 0x80]",
    "mov rdx, [rdi + 0x88]",
    "mov rbx, [rdi + 0x90]",
    "mov rbp, [rdi + 0xa0]",
    "mov rsi, [rdi + 0xa8]",
    "mov r8, [rdi + 0xb8]",
    "mov r9, [rdi + 0xc0]",
    "mov r10, [rdi + 0xc8]",
    "mov r11, [rdi + 0xd0]",
    "mov r12, [rdi + 0xd8]",
    "mov r13, [rdi + 0xe0]",
    "mov r14, [rdi + 0xe8]",
    "mov r15, [rdi + 0xf0]",
    "mov rsp, rax",
    "popfq",
    "pop rdi",
    "pop rax",
    "ret",
    // ---- the signal handler sends a driver that touched a view here: RBX = context, RDI = address, RSI = write, R14 = XSAVE is
    // there, RSP aligned below the context. What fxrstor does not restore is kept: the upper halves of vector registers.
    ".balign 16",
    ".globl ntldr_page_entry",
    "ntldr_page_entry:",
    "cld",
    "sub rsp, 0x1000",
    "test r14, r14",
    "jz 2f",
    "xor eax, eax",
    "lea rcx, [rsp + 512]",
    "1: mov [rcx], rax",
    "add rcx, 8",
    "lea rdx, [rsp + 576]",
    "cmp rcx, rdx",
    "jb 1b",
    "mov eax, 0xe4",
    "xor edx, edx",
    "xsave64 [rsp]",
    "2: call {on_page}",
    "test r14, r14",
    "jz 3f",
    "mov eax, 0xe4",
    "xor edx, edx",
    "xrstor64 [rsp]",
    "3: mov rdi, rbx",
    "jmp ntldr_restore",
    // ---- the border of filters, termination handlers and language handlers
    ".balign 16",
    ".globl ntldr_call_handler",
    "ntldr_call_handler:",
    ".cfi_startproc",
    "sub rsp, 40",
    ".cfi_def_cfa_offset 48",
    "mov rax, rdi",
    "mov r9, r8",
    "mov r8, rcx",
    "mov rcx, rsi",
    "call rax",
    ".globl ntldr_handler_return",
    "ntldr_handler_return:",
    "add rsp, 40",
    ".cfi_def_cfa_offset 8",
    "ret",
    ".cfi_endproc",
    ".popsection",
    slot = const nt_cell::kpcr::RAISE_SLOT,
    missing = const MISSING,
    on_raise = sym crate::dispatch::on_raise,
    on_local_unwind = sym crate::dispatch::on_local_unwind,
    on_unwind = sym crate::dispatch::on_unwind,
    on_fault = sym crate::dispatch::on_fault,
    on_page = sym crate::paging::on_page,
);
