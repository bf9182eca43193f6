//! The records that filters and handlers see: CONTEXT, EXCEPTION_RECORD, DISPATCHER_CONTEXT, in their x64 layout.
//!
//! Room: loader/ldr. Source: winnt.h / ntddk.h structure pages; sizes asserted below.

/// CONTEXT. Its FltSave is an fxsave64 image, so capture and restore are one instruction each.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub(crate) struct Context {
    pub(crate) home: [u64; 6],
    pub(crate) flags: u32,
    pub(crate) mxcsr: u32,
    pub(crate) segments: [u16; 6],
    pub(crate) eflags: u32,
    pub(crate) debug: [u64; 6],
    /// RAX RCX RDX RBX RSP RBP RSI RDI R8 to R15, as instructions number them.
    pub(crate) gpr: [u64; 16],
    pub(crate) rip: u64,
    pub(crate) float: [u8; 512],
    pub(crate) vector: [u8; 26 * 16],
    pub(crate) tail: [u64; 6],
}
const _: () = assert!(size_of::<Context>() == 0x4d0);
const _: () = assert!(core::mem::offset_of!(Context, gpr) == 0x78);
const _: () = assert!(core::mem::offset_of!(Context, rip) == 0xf8);
const _: () = assert!(core::mem::offset_of!(Context, float) == 0x100);

pub(crate) const RAX: usize = 0;
pub(crate) const RCX: usize = 1;
pub(crate) const RDX: usize = 2;
pub(crate) const RSP: usize = 4;
pub(crate) const RSI: usize = 6;
pub(crate) const RDI: usize = 7;
pub(crate) const R8: usize = 8;
pub(crate) const R9: usize = 9;
/// Where the register numbers of instructions lie in the host's context.
pub(crate) const HOST_REGISTERS: [i32; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];
/// CONTEXT_AMD64 with control, integer, segments and floating point.
pub(crate) const CONTEXT_FULL: u32 = 0x0010_000f;

impl Context {
    pub(crate) const ZERO: Self = Self {
        home: [0; 6],
        flags: CONTEXT_FULL,
        mxcsr: 0x1f80,
        segments: [0; 6],
        eflags: 0x202,
        debug: [0; 6],
        gpr: [0; 16],
        rip: 0,
        float: [0; 512],
        vector: [0; 26 * 16],
        tail: [0; 6],
    };

    pub(crate) const fn rsp(&self) -> u64 {
        self.gpr[RSP]
    }

    /// Where XMM register `index` lies in `float`.
    pub(crate) const fn xmm(index: usize) -> usize {
        0xa0 + 16 * index
    }
}

/// EXCEPTION_RECORD.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Exception {
    pub(crate) code: u32,
    pub(crate) flags: u32,
    pub(crate) inner: u64,
    pub(crate) address: u64,
    pub(crate) count: u32,
    pub(crate) information: [u64; 15],
}
const _: () = assert!(size_of::<Exception>() == 0x98);

pub(crate) const NONCONTINUABLE: u32 = 1;
pub(crate) const UNWINDING: u32 = 2;
pub(crate) const TARGET_UNWIND: u32 = 0x20;
/// EXCEPTION_UNWIND: any of the four unwinding flags.
pub(crate) const UNWIND: u32 = 0x66;

impl Exception {
    pub(crate) const fn new(code: u32, flags: u32, address: u64) -> Self {
        Self { code, flags, inner: 0, address, count: 0, information: [0; 15] }
    }

    /// Makes an in-page error of an access violation: the page is there, and could not be read for this reason.
    pub(crate) fn be_in_page(&mut self, why: nt_abi::NtStatus) {
        (self.code, self.count, self.information[2]) = (nt_abi::NtStatus::IN_PAGE_ERROR.0, 3, u64::from(why.0));
    }
}

/// EXCEPTION_POINTERS.
#[repr(C)]
pub(crate) struct Pointers {
    pub(crate) exception: *mut Exception,
    pub(crate) context: *mut Context,
}

/// DISPATCHER_CONTEXT.
#[repr(C)]
pub(crate) struct Dispatcher {
    pub(crate) control_pc: u64,
    pub(crate) image_base: u64,
    pub(crate) function: u64,
    pub(crate) establisher: u64,
    pub(crate) target_ip: u64,
    pub(crate) context: *mut Context,
    pub(crate) handler: u64,
    pub(crate) data: u64,
    pub(crate) history: u64,
    pub(crate) scope: u32,
    pub(crate) fill: u32,
}
const _: () = assert!(size_of::<Dispatcher>() == 0x50);
