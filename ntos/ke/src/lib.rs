//! Kernel proper: dispatcher objects and waits, threads, APCs, IRQL, work items, clocks, locks.
//!
//! Room: ntos/ke (ntoskrnl.exe, Ke*). Called by: every room above. Calls: `nt_cell`.
//! Touches: dispatcher headers (KEVENT, KSEMAPHORE, KMUTANT) in driver memory, the KPCR.
//! IRQL: as each routine says. Locks: wait-table buckets, innermost; never held across a call into a driver.
//! House rule 5: everything in the house that waits, locks, queues or reads a clock does it through this crate.
//! Not here: handles (`nt_ob`), processes (`nt_ps`), I/O completion (`nt_io`).

pub mod apc;
pub mod clock;
pub mod context;
pub mod counters;
pub mod dispatcher;
pub mod exports;
pub mod host;
pub mod irql;
pub mod kapc;
pub mod kernel;
pub mod later;
pub mod list;
pub mod lock;
pub mod park;
pub mod spin;
pub mod systhread;
pub mod thread;
pub mod wait;
pub mod work;

pub use context::{Entered, Frame, Mode, current, enter, try_current};
pub use host::host_call;
pub use kernel::{Kernel, WindowsVersion};
pub use later::{dpc, timer};
pub use lock::{Mutex, RwLock};
pub use thread::Thread;
