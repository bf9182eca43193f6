//! The run-time library's names for SIDs, lists and descriptors.
//!
//! Room: ntos/se. Called by: compiled drivers. IRQL: PASSIVE_LEVEL. Locks: none.

pub mod exports;
