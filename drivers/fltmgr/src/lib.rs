//! Filter Manager: FLTMGR.SYS.
//!
//! Room: drivers/fltmgr. Called by: `nt_io` through its dispatch and fast I/O tables; drivers through `exports`; machines.
//! Calls: `nt_io`. Touches: FLT_CALLBACK_DATA and its parameter block, in pool; FILE_OBJECT.CurrentByteOffset (FLT-W-14).
//! IRQL: pre callbacks PASSIVE_LEVEL (paging <= APC_LEVEL), post callbacks <= DISPATCH_LEVEL.
//! Locks: the lists of filters, volumes and instances; none is held while a callback runs.
//! Source: fltmgr.md. One frame; the device stands on each volume's stack (FLT-I-14), and a request that no instance
//! registered for costs one branch (house rule 7).
//! Not here: communication ports, name providers, transactions, sections; the export table says so.

pub mod altitude;
pub mod buffers;
pub mod calls;
pub mod context;
pub mod data;
pub mod deferred;
mod dispatch;
pub mod ecp;
pub mod exports;
mod files;
pub mod filter;
pub mod generated;
mod manual;
pub mod name;
pub mod native;
mod notice;
pub mod objects;
mod operation;
pub mod oplock;
pub mod parameters;
pub mod port;
pub mod queue;
pub mod spy;
mod teardown;
pub mod volume;

pub use altitude::Altitude;
pub use data::CallbackData;
pub use filter::{Filter, FltMgr, Instance};
pub use native::{MiniFilter, PostOp, PreOp, register_native};
pub use volume::Volume;
