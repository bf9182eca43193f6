//! Processes and threads: handle tables, I/O counters, who runs where.
//!
//! Room: ntos/ps (ntoskrnl.exe, Ps*). Called by: doors (through `nt_machine`), `nt_io`. Calls: `nt_ob`, `nt_ke`.
//! IRQL: PASSIVE_LEVEL. Locks: the process list.
//! Source: PsGetCurrentProcess, "Object Handles"; rules NT-E-03, NT-E-04, KS-W-11 (counters).

pub mod counters;
pub mod process;

pub use counters::{IoCounters, ProcessCounters};
pub use process::{Process, Processes, current_process, table_of};
