//! Memory manager: memory descriptor lists and probes.
//!
//! Room: ntos/mm (ntoskrnl.exe, Mm*, Probe*, and IoAllocateMdl's family). Called by: `nt_io`, file systems, drivers.
//! Calls: `nt_cell`, `nt_ex` (pool). Touches: MDLs, and the bytes they describe by guarded reads and writes of their own
//! value. IRQL: DISPATCH_LEVEL at most. Locks: none.
//! Here is one address space, and physical addresses are virtual ones: frame number = address / 4096, and the system
//! address of locked pages is the address that was locked.
//! Not here: sections (`nt_section`) and the cache (`nt_cc`).

pub mod exports;
pub mod mdl;
pub mod probe;
