//! Kernel Streaming: ks.sys. So far: KsWriteFile and KsReadFile; streams, pins and properties are absent and say so.
//!
//! Room: drivers/ks. Called by: drivers (exports), machines. Calls: `nt_io`. IRQL: PASSIVE_LEVEL. Locks: none.
//! Source: spec/ledger/ks.md sections 3 and 4; `ntio rules` lists what is absent.

pub mod clientio;
pub mod exports;
