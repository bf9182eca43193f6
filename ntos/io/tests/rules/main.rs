//! The rules of the I/O manager that need no volume, natively: one device whose driver does what a test tells it.
//!
//! Source: spec/ledger/nt-io.md. The rules on data, sizes and offsets are tested on a volume (`drivers/memfs/tests`).

mod cancels;
mod completion;
mod environment;
mod packets;
mod queues;
mod rooms;
mod support;
mod validation;
