//! Kernel Streaming: ks.sys. KsWriteFile, KsReadFile, KsStreamIo, the stream control codes with KsProbeStreamIrp, object
//! headers and dispatch tables, cancelable queues, and the built-in devices. Absent, and say so: AVStream, property sets of drivers.
//!
//! Room: drivers/ks. Called by: drivers (exports), machines. Calls: `nt_io`. IRQL: PASSIVE_LEVEL. Locks: none.
//! Source: spec/ledger/ks.md sections 3 to 12 and 15 to 17; `ntio rules` lists what is absent.

pub mod avs;
pub mod clientio;
pub mod completion;
pub mod connect;
pub mod device;
pub mod dispatch;
pub mod events;
pub mod exports;
pub mod forward;
pub mod frames;
pub mod header;
pub mod object;
pub mod pin;
pub mod probe;
pub mod property;
pub mod queue;
pub mod sets;
pub mod sink;
pub mod streamio;
pub mod userio;
mod verify;
