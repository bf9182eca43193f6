//! I/O manager: files, devices, drivers, IRPs and the services that send them.
//!
//! Room: ntos/io (ntoskrnl.exe, Io*, Nt*File). Called by: doors, drivers (exports). Calls: `nt_ob`, `nt_mm`, `nt_ps`.
//! Touches: FILE_OBJECT, IRP, IO_STACK_LOCATION, DEVICE_OBJECT, DRIVER_OBJECT through `nt_cell` only.
//! IRQL: services PASSIVE_LEVEL; sending and completing <= DISPATCH_LEVEL.
//! Locks: file object, then the thread's IRP list; none is held across a call into a driver, but the file object's,
//! which the rules ask for (NT-W-11).
//! Not here: filter callbacks (`nt_fltmgr`), what a file holds (the volume), caching (`nt_cc`).

pub mod byname;
pub mod cancel;
pub mod cancelable;
mod checks;
pub mod complete;
pub mod control;
pub mod create;
pub mod device;
pub mod directory;
pub mod driver;
pub mod ea;
pub mod ecp;
pub mod event;
pub mod exports;
pub mod fast;
pub mod file;
pub mod flush;
pub mod gather;
pub mod handles;
pub mod info;
pub mod irp;
pub mod keys;
pub mod life;
pub mod lock;
pub mod notify;
pub mod observe;
pub mod oplock_key;
pub mod paging;
pub mod pnp;
pub mod port;
pub mod read;
pub mod registry;
pub mod reparse;
pub mod rw;
pub mod security;
pub mod send;
pub mod service;
pub mod services;
pub mod settle;
pub mod share;
pub mod system;
pub mod system_thread;
pub mod tail;
pub mod target;
pub mod thread;
pub mod twice;
pub mod verify;
pub mod write;

pub use driver::{Answer, FastCall, NativeDriver, OwnedIrp, PendedIrp};
pub use file::FileObject;
pub use irp::{IoStatus, Irp, Stack};
pub use system::System;
