//! The same cases through every door: natively, from a compiled driver (Nt and Zw names), through the FUSE mount.
//!
//! Room: tests. Called by: its own test, `cargo run -p ntio_conformance`. Calls: `nt_machine`, `ntio_fuse`, real parts only.
//! Source: style, sections 5 and 6; house rule 3. A case is written once, as a function whose name is a claim about
//! a rule; a door that cannot express one of its steps says why. Each door runs the whole list twice: as it is, and with
//! fast I/O refused by a filter, so that the packet's path is the oracle of the fast one.
//! Not here: what one door alone can see (completion ports, APCs, a driver's packets): tests of the rooms.

pub mod cases;
pub mod door;
pub mod doors;
pub mod house;
pub mod model;
pub mod run;
pub mod table;

pub use door::{Door, Stop};
pub use run::Run;
