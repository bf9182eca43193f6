//! The only native code that touches memory which may not be there.
//!
//! Room: ntos/cell. Called by: `region`. IRQL: any. Locks: none.
//! Every routine below is a leaf without a stack frame between two labels. A fault inside that range makes the signal
//! handler (`fault`) set RAX to the faulting address, RDX to 1 (read) or 3 (write), and RIP to one common `ret`: the
//! range table has a single row because there is nothing to unwind.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU8, Ordering};

/// What a guarded routine returns in RAX and RDX: a value and 0, or the faulting address and 1 | write << 1.
#[repr(C)]
pub(crate) struct Outcome {
    pub(crate) value: u64,
    pub(crate) fault: u64,
}

unsafe extern "sysv64" {
    safe static ntcell_wide: AtomicU8;
    pub(crate) safe static ntcell_guard_begin: u8;
    pub(crate) safe static ntcell_guard_end: u8;
    pub(crate) safe static ntcell_guard_resume: u8;
    pub(crate) fn ntcell_copy(to: u64, from: u64, len: usize) -> Outcome;
    pub(crate) fn ntcell_copy_down(to: u64, from: u64, len: usize) -> Outcome;
    pub(crate) fn ntcell_fill(to: u64, byte: u64, len: usize) -> Outcome;
    pub(crate) fn ntcell_touch_read(at: u64, len: usize) -> Outcome;
    pub(crate) fn ntcell_touch_write(at: u64, len: usize) -> Outcome;
    pub(crate) fn ntcell_touch_own(at: u64, len: usize) -> Outcome;
    pub(crate) fn ntcell_load1(at: u64) -> Outcome;
    pub(crate) fn ntcell_load2(at: u64) -> Outcome;
    pub(crate) fn ntcell_load4(at: u64) -> Outcome;
    pub(crate) fn ntcell_load8(at: u64) -> Outcome;
    pub(crate) fn ntcell_store1(at: u64, bits: u64) -> Outcome;
    pub(crate) fn ntcell_store2(at: u64, bits: u64) -> Outcome;
    pub(crate) fn ntcell_store4(at: u64, bits: u64) -> Outcome;
    pub(crate) fn ntcell_store8(at: u64, bits: u64) -> Outcome;
}

// Up to 64 bytes are loaded whole before anything is stored, so short copies may overlap either way. Between 128 bytes and
// 16 KiB blocks of 128 bytes in YMM registers, where the processor has them: into memory that no cache holds they take two
// thirds of what the microcode's string move takes, into a hot one four fifths (docs/speed.md). From there on, and from
// 1 KiB on without YMM, the string move; below, 64-byte blocks. What is left of a block goes round again from the top.
// A fault leaves the upper halves of YMM registers set: slow at worst, and nobody's to keep by either calling convention.
global_asm!(
    ".pushsection .text.ntcell_guarded,\"ax\",@progbits",
    ".balign 64",
    ".globl ntcell_guard_begin",
    "ntcell_guard_begin:",
    // ---- ntcell_copy(rdi to, rsi from, rdx len)
    ".globl ntcell_copy",
    "ntcell_copy:",
    "cmp rdx, 16",
    "ja 20f",
    "cmp edx, 8",
    "jae 18f",
    "cmp edx, 4",
    "jae 14f",
    "cmp edx, 2",
    "jae 12f",
    "test edx, edx",
    "jz 10f",
    "movzx eax, byte ptr [rsi]",
    "mov [rdi], al",
    "10: xor eax, eax",
    "xor edx, edx",
    "ret",
    "12: movzx eax, word ptr [rsi]",
    "movzx ecx, word ptr [rsi + rdx - 2]",
    "mov [rdi], ax",
    "mov [rdi + rdx - 2], cx",
    "jmp 10b",
    "14: mov eax, [rsi]",
    "mov ecx, [rsi + rdx - 4]",
    "mov [rdi], eax",
    "mov [rdi + rdx - 4], ecx",
    "jmp 10b",
    "18: mov rax, [rsi]",
    "mov rcx, [rsi + rdx - 8]",
    "mov [rdi], rax",
    "mov [rdi + rdx - 8], rcx",
    "jmp 10b",
    "20: cmp rdx, 32",
    "ja 21f",
    "movups xmm0, [rsi]",
    "movups xmm1, [rsi + rdx - 16]",
    "movups [rdi], xmm0",
    "movups [rdi + rdx - 16], xmm1",
    "jmp 10b",
    "21: cmp rdx, 64",
    "ja 22f",
    "movups xmm0, [rsi]",
    "movups xmm1, [rsi + 16]",
    "movups xmm2, [rsi + rdx - 32]",
    "movups xmm3, [rsi + rdx - 16]",
    "movups [rdi], xmm0",
    "movups [rdi + 16], xmm1",
    "movups [rdi + rdx - 32], xmm2",
    "movups [rdi + rdx - 16], xmm3",
    "jmp 10b",
    "22: cmp rdx, 128",
    "jb 23f",
    "cmp byte ptr [rip + ntcell_wide], 0",
    "je 24f",
    "cmp rdx, 16384",
    "jae 25f",
    "26: vmovups ymm0, [rsi]",
    "vmovups ymm1, [rsi + 32]",
    "vmovups ymm2, [rsi + 64]",
    "vmovups ymm3, [rsi + 96]",
    "vmovups [rdi], ymm0",
    "vmovups [rdi + 32], ymm1",
    "vmovups [rdi + 64], ymm2",
    "vmovups [rdi + 96], ymm3",
    "sub rsi, -128",
    "sub rdi, -128",
    "add rdx, -128",
    "cmp rdx, 128",
    "jae 26b",
    "vzeroupper",
    "jmp ntcell_copy",
    "24: cmp rdx, 1024",
    "jae 25f",
    "23: movups xmm0, [rsi]",
    "movups xmm1, [rsi + 16]",
    "movups xmm2, [rsi + 32]",
    "movups xmm3, [rsi + 48]",
    "movups [rdi], xmm0",
    "movups [rdi + 16], xmm1",
    "movups [rdi + 32], xmm2",
    "movups [rdi + 48], xmm3",
    "add rsi, 64",
    "add rdi, 64",
    "sub rdx, 64",
    "cmp rdx, 64",
    "jae 23b",
    "jmp ntcell_copy",
    "25: mov rcx, rdx",
    "rep movsb",
    "jmp 10b",
    // ---- ntcell_copy_down: for a target that overlaps the end of its source
    ".globl ntcell_copy_down",
    "ntcell_copy_down:",
    "30: cmp rdx, 8",
    "jb 31f",
    "mov rax, [rsi + rdx - 8]",
    "mov [rdi + rdx - 8], rax",
    "sub rdx, 8",
    "jmp 30b",
    "31: test rdx, rdx",
    "jz 10b",
    "movzx eax, byte ptr [rsi + rdx - 1]",
    "mov [rdi + rdx - 1], al",
    "dec rdx",
    "jmp 31b",
    // ---- ntcell_fill(rdi to, rsi byte, rdx len)
    ".globl ntcell_fill",
    "ntcell_fill:",
    "mov eax, esi",
    "mov rcx, rdx",
    "rep stosb",
    "jmp 10b",
    // ---- ntcell_touch_read(rdi at, rsi len), len > 0: one byte of each page
    ".globl ntcell_touch_read",
    "ntcell_touch_read:",
    "lea rsi, [rdi + rsi - 1]",
    "40: movzx eax, byte ptr [rdi]",
    "or rdi, 4095",
    "inc rdi",
    "cmp rdi, rsi",
    "jbe 40b",
    "jmp 10b",
    // ---- ntcell_touch_own(rdi at, rsi len), len > 0: as touch_write, of bytes that only the caller writes
    ".globl ntcell_touch_own",
    "ntcell_touch_own:",
    "lea rsi, [rdi + rsi - 1]",
    "42: or byte ptr [rdi], 0",
    "or rdi, 4095",
    "inc rdi",
    "cmp rdi, rsi",
    "jbe 42b",
    "jmp 10b",
    ".globl ntcell_touch_write",
    "ntcell_touch_write:",
    "lea rsi, [rdi + rsi - 1]",
    "41: lock or byte ptr [rdi], 0",
    "or rdi, 4095",
    "inc rdi",
    "cmp rdi, rsi",
    "jbe 41b",
    "jmp 10b",
    // ---- single loads and stores
    ".globl ntcell_load1",
    "ntcell_load1: movzx eax, byte ptr [rdi]",
    "xor edx, edx",
    "ret",
    ".globl ntcell_load2",
    "ntcell_load2: movzx eax, word ptr [rdi]",
    "xor edx, edx",
    "ret",
    ".globl ntcell_load4",
    "ntcell_load4: mov eax, [rdi]",
    "xor edx, edx",
    "ret",
    ".globl ntcell_load8",
    "ntcell_load8: mov rax, [rdi]",
    "xor edx, edx",
    "ret",
    ".globl ntcell_store1",
    "ntcell_store1: mov [rdi], sil",
    "xor edx, edx",
    "ret",
    ".globl ntcell_store2",
    "ntcell_store2: mov [rdi], si",
    "xor edx, edx",
    "ret",
    ".globl ntcell_store4",
    "ntcell_store4: mov [rdi], esi",
    "xor edx, edx",
    "ret",
    ".globl ntcell_store8",
    "ntcell_store8: mov [rdi], rsi",
    "xor edx, edx",
    "ret",
    ".globl ntcell_guard_resume",
    "ntcell_guard_resume:",
    "ret",
    ".globl ntcell_guard_end",
    "ntcell_guard_end:",
    ".popsection",
    ".pushsection .data.ntcell_wide,\"aw\",@progbits",
    ".globl ntcell_wide",
    "ntcell_wide: .byte 0",
    ".popsection",
);

/// Chooses the copy that this processor is best at. Either is right at any time.
pub(crate) fn choose() {
    ntcell_wide.store(u8::from(std::arch::is_x86_feature_detected!("avx")), Ordering::Relaxed);
}

/// Returns the range whose faults are recovered, and where.
pub(crate) fn range() -> (u64, u64, u64) {
    let at = |label: &u8| core::ptr::from_ref(label).addr() as u64;
    (at(&ntcell_guard_begin), at(&ntcell_guard_end), at(&ntcell_guard_resume))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Region;
    use crate::arena::UserBlock;

    fn at(block: &UserBlock, from: usize, len: usize) -> Region {
        block.region().sub(from, len)
    }

    fn check(block: &UserBlock, bytes: &[u8], to: usize, from: usize, len: usize) {
        block.region().write_from(bytes).expect("the arena");
        at(block, to, len).copy_from(at(block, from, len)).expect("the arena");
        let mut expected = bytes.to_vec();
        expected.copy_within(from..from + len, to);
        let got = block.region().to_vec().expect("the arena");
        assert!(
            got == expected,
            "{len} bytes from {from} to {to}, in wide blocks: {}",
            ntcell_wide.load(Ordering::Relaxed)
        );
    }

    #[test]
    fn copies_of_every_length_and_overlap_are_moves_by_either_way() {
        crate::fault::ensure();
        let block = UserBlock::new(64 << 10).expect("the arena");
        let bytes: Vec<u8> = (0..64_u32 << 10).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let own = ntcell_wide.load(Ordering::Relaxed);
        for wide in [own, 0] {
            ntcell_wide.store(wide, Ordering::Relaxed);
            for len in (0..=530).step_by(7).chain([1023, 1024, 1025, 4095, 4096, 4097, 16_383, 16_384, 20_000]) {
                for (to, from) in
                    [(30_000, 5), (40_001, 64), (100, 101), (100, 227), (101, 100), (300, 100), (1000, 1000)]
                {
                    check(&block, &bytes, to, from, len);
                }
            }
        }
        ntcell_wide.store(own, Ordering::Relaxed);
    }

    #[test]
    fn a_copy_that_faults_names_the_first_byte_of_the_page_that_is_not_there() {
        let block = UserBlock::new(16 << 10).expect("the arena");
        block.protect(8192, 8192, crate::arena::Protection::NoAccess).expect("the arena");
        let there = UserBlock::new(16 << 10).expect("the arena");
        for len in [200, 500, 3000, 6000] {
            let start = 8192 - len / 2;
            let read = at(&there, 0, len).copy_from(at(&block, start, len)).expect_err("no access");
            assert_eq!((read.address, read.write), (block.addr() + 8192, false), "{len}");
            let write = at(&block, start, len).copy_from(at(&there, 0, len)).expect_err("no access");
            assert_eq!((write.address, write.write), (block.addr() + 8192, true), "{len}");
        }
    }
}
