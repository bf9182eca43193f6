//! Exception records, register contexts, unwind entries: ntdef.h, wdm.h, winnt.h.
//!
//! Room: abi. IRQL: any. Locks: none. Source: WDK headers.

use crate::{Bytes, Code, Ptr, constants, layout};

layout! {
    pub struct EXCEPTION_RECORD: 0x98 {
        ExceptionCode @ 0x0: u32; ExceptionFlags @ 0x4: u32; ExceptionRecord @ 0x8: Ptr<EXCEPTION_RECORD>;
        ExceptionAddress @ 0x10: Ptr<Bytes>; NumberParameters @ 0x18: u32; ExceptionInformation @ 0x20: [u64; 15];
    }
    pub struct EXCEPTION_POINTERS: 0x10 {
        ExceptionRecord @ 0x0: Ptr<EXCEPTION_RECORD>; ContextRecord @ 0x8: Ptr<CONTEXT>;
    }
    pub struct RUNTIME_FUNCTION: 0xC align 4 {
        BeginAddress @ 0x0: u32; EndAddress @ 0x4: u32; UnwindData @ 0x8: u32;
    }
    pub struct DISPATCHER_CONTEXT: 0x50 {
        ControlPc @ 0x0: u64; ImageBase @ 0x8: u64; FunctionEntry @ 0x10: Ptr<RUNTIME_FUNCTION>;
        EstablisherFrame @ 0x18: u64; TargetIp @ 0x20: u64; ContextRecord @ 0x28: Ptr<CONTEXT>;
        LanguageHandler @ 0x30: Code; HandlerData @ 0x38: Ptr<Bytes>; HistoryTable @ 0x40: Ptr<Bytes>;
        ScopeIndex @ 0x48: u32; Fill0 @ 0x4C: u32;
    }
    pub struct CONTEXT: 0x4D0 align 16 {
        P1Home @ 0x0: u64; P2Home @ 0x8: u64; P3Home @ 0x10: u64; P4Home @ 0x18: u64; P5Home @ 0x20: u64;
        P6Home @ 0x28: u64; ContextFlags @ 0x30: u32; MxCsr @ 0x34: u32; SegCs @ 0x38: u16; SegDs @ 0x3A: u16;
        SegEs @ 0x3C: u16; SegFs @ 0x3E: u16; SegGs @ 0x40: u16; SegSs @ 0x42: u16; EFlags @ 0x44: u32; Dr0 @ 0x48: u64;
        Dr1 @ 0x50: u64; Dr2 @ 0x58: u64; Dr3 @ 0x60: u64; Dr6 @ 0x68: u64; Dr7 @ 0x70: u64; Rax @ 0x78: u64;
        Rcx @ 0x80: u64; Rdx @ 0x88: u64; Rbx @ 0x90: u64; Rsp @ 0x98: u64; Rbp @ 0xA0: u64; Rsi @ 0xA8: u64;
        Rdi @ 0xB0: u64; R8 @ 0xB8: u64; R9 @ 0xC0: u64; R10 @ 0xC8: u64; R11 @ 0xD0: u64; R12 @ 0xD8: u64;
        R13 @ 0xE0: u64; R14 @ 0xE8: u64; R15 @ 0xF0: u64; Rip @ 0xF8: u64; FltSave @ 0x100: [u64; 64];
        Xmm0 @ 0x1A0: [u64; 2]; Xmm1 @ 0x1B0: [u64; 2]; Xmm2 @ 0x1C0: [u64; 2]; Xmm3 @ 0x1D0: [u64; 2];
        Xmm4 @ 0x1E0: [u64; 2]; Xmm5 @ 0x1F0: [u64; 2]; Xmm6 @ 0x200: [u64; 2]; Xmm7 @ 0x210: [u64; 2];
        Xmm8 @ 0x220: [u64; 2]; Xmm9 @ 0x230: [u64; 2]; Xmm10 @ 0x240: [u64; 2]; Xmm11 @ 0x250: [u64; 2];
        Xmm12 @ 0x260: [u64; 2]; Xmm13 @ 0x270: [u64; 2]; Xmm14 @ 0x280: [u64; 2]; Xmm15 @ 0x290: [u64; 2];
        VectorRegister @ 0x300: [u64; 52]; VectorControl @ 0x4A0: u64; DebugControl @ 0x4A8: u64;
        LastBranchToRip @ 0x4B0: u64; LastBranchFromRip @ 0x4B8: u64; LastExceptionToRip @ 0x4C0: u64;
        LastExceptionFromRip @ 0x4C8: u64;
    }
}

constants! {
    u32: EXCEPTION_NONCONTINUABLE = 0x1, EXCEPTION_UNWINDING = 0x2, EXCEPTION_EXIT_UNWIND = 0x4,
        EXCEPTION_STACK_INVALID = 0x8, EXCEPTION_NESTED_CALL = 0x10, EXCEPTION_TARGET_UNWIND = 0x20,
        EXCEPTION_COLLIDED_UNWIND = 0x40;
    i32: EXCEPTION_EXECUTE_HANDLER = 1, EXCEPTION_CONTINUE_SEARCH = 0, EXCEPTION_CONTINUE_EXECUTION = -1;
    u32: ExceptionContinueExecution = 0, ExceptionContinueSearch = 1, ExceptionNestedException = 2,
        ExceptionCollidedUnwind = 3;
    u8: UNW_FLAG_NHANDLER = 0, UNW_FLAG_EHANDLER = 1, UNW_FLAG_UHANDLER = 2, UNW_FLAG_CHAININFO = 4;
    u32: CONTEXT_AMD64 = 0x10_0000, CONTEXT_CONTROL = 0x10_0001, CONTEXT_INTEGER = 0x10_0002,
        CONTEXT_SEGMENTS = 0x10_0004, CONTEXT_FLOATING_POINT = 0x10_0008, CONTEXT_FULL = 0x10_000B;
}
