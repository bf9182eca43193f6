//! Kernel Streaming: ks.sys. The room is not furnished yet: its names are known and say so.
//!
//! Room: drivers/ks. Called by: nobody yet. Source: spec/ledger/ks.md; `ntio rules` lists what is absent.

pub mod exports;
