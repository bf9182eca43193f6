//! Object manager: headers and counts, handles, the namespace, access masks.
//!
//! Room: ntos/ob (ntoskrnl.exe, Ob*). Called by: `nt_ps`, `nt_io`, drivers through exports. Calls: `nt_ex` (pool).
//! Touches: object headers in pool. IRQL: counts <= DISPATCH_LEVEL, handles and names PASSIVE_LEVEL.
//! Locks: a handle entry's lock bit; the namespace lock. Neither is held while a driver runs.
//! Not here: what a file, device or process is; they register their type's routines (`types::register`).

pub mod access;
pub mod handle;
pub mod namespace;
pub mod object;
pub mod types;

pub use handle::{Handle, HandleTable};
pub use namespace::{Lookup, Namespace, Node};
pub use object::ObjectRef;
pub use types::{ObjectType, Routines};
