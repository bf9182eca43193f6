//! Memory and calls shared with drivers: unsafe home 1.
//!
//! Room: ntos/cell. Called by: every room. Calls: nothing in the house but `nt_abi`.
//! Touches: the pool arena, the user arena, driver images, the KPCR; see SOUNDNESS.md for the argument.
//! IRQL: any. Locks: none that is held across a call into a driver.
#![expect(unsafe_code, reason = "unsafe home 1: SOUNDNESS.md, S-2 to S-4")]

pub mod export;
pub mod foreign;

pub use export::{Entry, Export, Support};
pub use foreign::{CodePtr, Foreign};
