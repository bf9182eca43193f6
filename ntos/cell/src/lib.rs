//! Memory and calls shared with drivers: unsafe home 1.
//!
//! Room: ntos/cell. Called by: every room. Calls: nothing in the house but `nt_abi`.
//! Touches: the pool arena, the user arena, driver images, the KPCR; see SOUNDNESS.md for the argument.
//! IRQL: any. Locks: none that is held across a call into a driver.
#![expect(unsafe_code, reason = "unsafe home 1: SOUNDNESS.md, S-2 to S-4")]

pub mod addr;
pub mod arena;
pub mod biased;
pub mod callout;
pub mod export;
pub mod fault;
pub mod foreign;
mod guarded;
pub mod hazard;
pub mod hostfile;
pub mod hostmap;
pub mod images;
pub mod kpcr;
pub mod pool;
pub mod raise;
pub mod region;
pub mod slab;
pub mod steady;
pub mod sync;
mod tally;
pub mod typed;

pub use addr::Addr;
pub use arena::{Protection, UserBlock};
pub use callout::{Bugcheck, Raised};
pub use export::{Entry, Export, Support};
pub use foreign::{CodePtr, Foreign};
pub use hostmap::HostMap;
pub use region::{Fault, Region};
pub use slab::Slab;
pub use steady::{Held, Steady};
