//! Memory manager: MDLs and probes.
//!
//! Room: ntos/mm (ntoskrnl.exe, Mm*, Probe*). Called by: `nt_io`, drivers. Calls: `nt_ex` (pool).
//! IRQL: <= DISPATCH_LEVEL, probes PASSIVE_LEVEL. Locks: none.

pub mod mdl;
