//! File system run-time library: what file systems share.
//!
//! Room: ntos/fsrtl (ntoskrnl.exe, FsRtl*). Called by: file systems (native and compiled), filters (exports).
//! Calls: `nt_io` (completes the requests that it holds). Touches: FILE_LOCK, FILE_LOCK_INFO, lock, notify and oplock IRPs, NOTIFY_SYNC,
//! OPLOCK, the lists of contexts on FCB headers.
//! IRQL: <= APC_LEVEL. Locks: one lock of a FILE_LOCK's state, never held while a routine of a driver runs.
//! Not here: names and wild cards (`nt_rtl`), copies through the cache.

pub mod contexts;
pub mod exports;
pub mod filelock;
pub mod notify;
pub mod oplock;
mod range;
pub mod tunnel;

pub use filelock::{Owner, Request};
