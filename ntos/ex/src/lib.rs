//! Executive: pool, lookaside lists, resources, work items.
//!
//! Room: ntos/ex (ntoskrnl.exe, Ex*). Called by: every room above. Calls: `nt_cell`, `nt_ke`.
//! IRQL: pool <= DISPATCH_LEVEL. Locks: those of the structures themselves.

pub mod exports;
pub mod pool;
pub mod resource;
