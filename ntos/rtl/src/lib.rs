//! Run-time library: counted strings, formatted text, calendar time, memory compare.
//!
//! Room: ntos/rtl (ntoskrnl.exe, Rtl*, DbgPrint*, the C runtime names). Called by: every room above, drivers (exports).
//! Calls: `nt_cell`, `nt_ex` (pool), `nt_ke` (debug output). Touches: caller strings and buffers, by guarded copies only.
//! IRQL: PASSIVE_LEVEL for whatever allocates, any for the rest. Locks: none.
//! The ANSI code page of a machine is UTF-8 (as Windows has it under "UTF-8 for worldwide language support").

pub mod cases;
pub mod exports;
pub mod expression;
pub mod format;
pub mod posix;
pub mod short;
pub mod time;
pub mod unicode;
