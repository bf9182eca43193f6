//! Compiled drivers, mapped and run in this process: unsafe home 2.
//!
//! Room: loader/ldr. Called by: `nt_machine`, `ntio imports`. Calls: `nt_pe`, `nt_cell`.
//! Touches: the image region, driver stacks, the KPCR's loader words. IRQL: PASSIVE_LEVEL to load, any to dispatch.
//! Locks: the list of symbol tables, never held while driver code runs.
//! Three rules carry the soundness argument (S-4): Rust enters a driver by `nt_cell::callout` only; an import that may
//! raise returns first and raises in its edge stub; no exception crosses a Rust frame except the dispatcher's own, which
//! hold plain data only.
#![expect(unsafe_code, reason = "unsafe home 2: SOUNDNESS.md, S-3 and S-4")]

mod asm;
mod bind;
mod context;
mod dispatch;
mod fault;
mod image;
mod irql;
mod leaves;
mod paging;
mod report;
mod rewrite;
mod strings;
mod unwind;

pub use bind::{Binder, ImportRow, imports};
pub use image::{Image, LoadError, Missing, Options};
pub use leaves::EXPORTS;
pub use report::{Ending, driver_stack, set_ending, symbolize, take_report};
pub use rewrite::{Site, SiteKind, scan, set_shared_time, shared_data};
pub use strings::EXPORTS as STRING_EXPORTS;
