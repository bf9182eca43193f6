//! Executive: pool, lists, locks, timers and work items of drivers.
//!
//! Room: ntos/ex (ntoskrnl.exe, Ex*). Called by: every room above. Calls: `nt_cell`, `nt_ke`.
//! IRQL: pool <= DISPATCH_LEVEL. Locks: those of the structures themselves.

pub mod exports;
pub mod extimer;
pub mod lists;
pub mod locks;
pub mod pool;
pub mod pushlock;
pub mod resource;
pub mod rundown;
pub mod slist;
pub mod workitem;
