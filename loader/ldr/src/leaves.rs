//! Imports written in assembler: the C runtime's memory and string leaves, `__chkstk`, and our `__C_specific_handler`.
//!
//! Room: loader/ldr. Called by: drivers, directly. They have no frame, so that a fault in them is charged to the
//! calling driver; those between the `parked` labels keep the caller's RDI and RSI in R10 and R11, and the fault handler
//! knows it.

use core::arch::global_asm;
use nt_cell::{Entry, Export, Support};

unsafe extern "C" {
    pub(crate) safe static ntldr_parked_begin: u8;
    pub(crate) safe static ntldr_parked_end: u8;
    pub(crate) safe static ntldr_plain_begin: u8;
    pub(crate) safe static ntldr_plain_end: u8;
}
unsafe extern "win64" {
    fn ntldr_memmove();
    fn ntldr_memset();
    fn ntldr_zero();
    fn ntldr_memcmp();
    fn ntldr_compare();
    fn ntldr_strlen();
    fn ntldr_wcslen();
    fn ntldr_strcmp();
    fn ntldr_strncmp();
    fn ntldr_wcscmp();
    fn ntldr_wcscpy();
    fn ntldr_wcsncpy();
    fn ntldr_chkstk();
}

global_asm!(
    ".pushsection .text.ntldr_leaves,\"ax\",@progbits",
    ".balign 64",
    ".globl ntldr_parked_begin",
    "ntldr_parked_begin:",
    ".globl ntldr_memmove",
    "ntldr_memmove:", // rcx to, rdx from, r8 length
    "mov rax, rcx",
    "mov r10, rdi",
    "mov r11, rsi",
    "mov rdi, rcx",
    "mov rsi, rdx",
    "sub rcx, rdx",
    "cmp rcx, r8",
    "mov rcx, r8",
    "jb 3f",
    "cmp r8, 32",
    "jae 2f",
    "shr rcx, 3",
    "jz 1f",
    "4: mov rdx, [rsi]",
    "mov [rdi], rdx",
    "add rsi, 8",
    "add rdi, 8",
    "dec rcx",
    "jnz 4b",
    "1: mov ecx, r8d",
    "and ecx, 7",
    "jz 6f",
    "5: mov dl, [rsi]",
    "mov [rdi], dl",
    "inc rsi",
    "inc rdi",
    "dec ecx",
    "jnz 5b",
    "6: mov rdi, r10",
    "mov rsi, r11",
    "ret",
    "2: rep movsb",
    "jmp 6b",
    "3: lea rdi, [rdi + rcx - 1]",
    "lea rsi, [rsi + rcx - 1]",
    "std",
    "rep movsb",
    "cld",
    "jmp 6b",
    ".globl ntldr_zero",
    "ntldr_zero:", // rcx to, rdx length
    "mov r8, rdx",
    "xor edx, edx",
    ".globl ntldr_memset",
    "ntldr_memset:", // rcx to, dl byte, r8 length
    "mov r9, rcx",
    "mov r10, rdi",
    "mov r11, rsi",
    "mov rdi, rcx",
    "mov eax, edx",
    "mov rcx, r8",
    "rep stosb",
    "mov rax, r9",
    "jmp 6b",
    ".globl ntldr_parked_end",
    "ntldr_parked_end:",
    ".balign 64",
    ".globl ntldr_plain_begin",
    "ntldr_plain_begin:",
    ".globl ntldr_memcmp",
    "ntldr_memcmp:", // rcx, rdx, r8 length
    "xor r9d, r9d",
    "1: cmp r9, r8",
    "je 3f",
    "movzx eax, byte ptr [rcx + r9]",
    "movzx r10d, byte ptr [rdx + r9]",
    "inc r9",
    "sub eax, r10d",
    "jz 1b",
    "ret",
    "3: xor eax, eax",
    "ret",
    ".globl ntldr_compare",
    "ntldr_compare:", // rcx, rdx, r8 length -> how many bytes are equal
    "xor eax, eax",
    "1: cmp rax, r8",
    "je 2f",
    "mov r9b, [rcx + rax]",
    "cmp r9b, [rdx + rax]",
    "jne 2f",
    "inc rax",
    "jmp 1b",
    "2: ret",
    ".globl ntldr_strlen",
    "ntldr_strlen:",
    "xor eax, eax",
    "1: cmp byte ptr [rcx + rax], 0",
    "je 2f",
    "inc rax",
    "jmp 1b",
    "2: ret",
    ".globl ntldr_wcslen",
    "ntldr_wcslen:",
    "xor eax, eax",
    "1: cmp word ptr [rcx + rax * 2], 0",
    "je 2f",
    "inc rax",
    "jmp 1b",
    "2: ret",
    ".globl ntldr_strcmp",
    "ntldr_strcmp:",
    "mov r8, -1",
    ".globl ntldr_strncmp",
    "ntldr_strncmp:",
    "xor r9d, r9d",
    "1: cmp r9, r8",
    "je 3f",
    "movzx eax, byte ptr [rcx + r9]",
    "movzx r10d, byte ptr [rdx + r9]",
    "inc r9",
    "mov r11d, eax",
    "sub eax, r10d",
    "jnz 2f",
    "test r11d, r11d",
    "jnz 1b",
    "3: xor eax, eax",
    "2: ret",
    ".globl ntldr_wcscmp",
    "ntldr_wcscmp:",
    "xor r9d, r9d",
    "1: movzx eax, word ptr [rcx + r9]",
    "movzx r10d, word ptr [rdx + r9]",
    "add r9, 2",
    "mov r11d, eax",
    "sub eax, r10d",
    "jnz 2f",
    "test r11d, r11d",
    "jnz 1b",
    "2: ret",
    ".globl ntldr_wcscpy",
    "ntldr_wcscpy:",
    "mov rax, rcx",
    "xor r9d, r9d",
    "1: movzx r10d, word ptr [rdx + r9]",
    "mov [rcx + r9], r10w",
    "add r9, 2",
    "test r10d, r10d",
    "jnz 1b",
    "ret",
    ".globl ntldr_wcsncpy",
    "ntldr_wcsncpy:", // rcx to, rdx from, r8 units: padded with zeroes
    "mov rax, rcx",
    "xor r9d, r9d",
    "1: cmp r9, r8",
    "je 3f",
    "movzx r10d, word ptr [rdx + r9 * 2]",
    "mov [rcx + r9 * 2], r10w",
    "inc r9",
    "test r10d, r10d",
    "jnz 1b",
    "2: cmp r9, r8",
    "je 3f",
    "mov word ptr [rcx + r9 * 2], 0",
    "inc r9",
    "jmp 2b",
    "3: ret",
    ".globl ntldr_chkstk",
    "ntldr_chkstk:", // rax = bytes that the caller will take; everything is preserved
    "push rcx",
    "push rax",
    "lea rcx, [rsp + 24]",
    "1: cmp rax, 4096",
    "jb 2f",
    "sub rcx, 4096",
    "test byte ptr [rcx], 0",
    "sub rax, 4096",
    "jmp 1b",
    "2: sub rcx, rax",
    "test byte ptr [rcx], 0",
    "pop rax",
    "pop rcx",
    "ret",
    ".globl ntldr_plain_end",
    "ntldr_plain_end:",
    ".popsection",
);

const fn row(name: &'static str, code: unsafe extern "win64" fn()) -> Export {
    Export { image: "ntoskrnl.exe", name, support: Support::Full, entry: Entry::Code(code) }
}

/// What the loader itself exports to drivers.
pub static EXPORTS: &[Export] = &[
    row("memcpy", ntldr_memmove),
    row("memmove", ntldr_memmove),
    row("RtlCopyMemory", ntldr_memmove),
    row("RtlMoveMemory", ntldr_memmove),
    row("memset", ntldr_memset),
    row("RtlZeroMemory", ntldr_zero),
    row("memcmp", ntldr_memcmp),
    row("RtlCompareMemory", ntldr_compare),
    row("strlen", ntldr_strlen),
    row("wcslen", ntldr_wcslen),
    row("strcmp", ntldr_strcmp),
    row("strncmp", ntldr_strncmp),
    row("wcscmp", ntldr_wcscmp),
    row("wcscpy", ntldr_wcscpy),
    row("wcsncpy", ntldr_wcsncpy),
    row("__chkstk", ntldr_chkstk),
    row("__C_specific_handler", crate::dispatch::C_SPECIFIC_HANDLER),
    row("_local_unwind", crate::asm::ntldr_local_unwind),
    row("RtlUnwind", crate::asm::ntldr_unwind),
    Export {
        image: "ntoskrnl.exe",
        name: "RtlUnwindEx",
        support: Support::Partial("an exit unwind (no target frame) is a bugcheck; the history table is not filled"),
        entry: Entry::Code(crate::asm::ntldr_unwind),
    },
];

/// What kind of leaf an address lies in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaf {
    /// RDI and RSI of the caller wait in R10 and R11.
    Parked,
    /// Only registers that a callee may change were changed; RSP is the caller's but for the return address.
    Plain,
}

/// Finds the leaf that an address lies in.
pub(crate) fn find(rip: u64) -> Option<Leaf> {
    let at = crate::asm::address;
    if rip >= at(&ntldr_parked_begin) && rip < at(&ntldr_parked_end) {
        Some(Leaf::Parked)
    } else if rip >= at(&ntldr_plain_begin) && rip < at(&ntldr_plain_end) {
        Some(Leaf::Plain)
    } else {
        None
    }
}
