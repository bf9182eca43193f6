//! What runs later: timers and deferred procedure calls, with the names that drivers import for them.
//!
//! Room: ntos/ke. Called by: every room, compiled drivers. IRQL and locks: as [`dpc`] and [`timer`] say.

pub mod dpc;
pub mod exports;
pub mod timer;
