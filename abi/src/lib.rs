//! Windows x64 layouts, constants and status codes: facts, no behaviour.
//!
//! Room: abi. Called by: everyone. Calls: nothing. Touches: nothing; it only says where things are.
//! Source: the layout tables of the ledgers (`spec/layouts.txt`), WDK headers for names and values.
//!
//! A structure that a driver can see is an opaque block of bytes here (`FILE_OBJECT`, spelled as in the header) with
//! one [`Field`] constant for each member, spelled as in the header too: `FILE_OBJECT::CurrentByteOffset`. Nothing in
//! the house ever holds a `&FILE_OBJECT`; rooms read and write members through `nt_cell::Foreign`.
//! Not here: any logic, any memory access.

pub mod field;
mod fileinfo;
pub mod flt;
pub mod io;
mod ioconst;
pub mod ke;
pub mod ks;
mod ksconst;
pub mod mm;
pub mod ob;
pub mod oracle;
pub mod pe;
pub mod se;
pub mod status;

pub use field::{Bytes, Code, Field, Ptr, Word};
pub use ks::GUID;
pub use status::{NtError, NtResult, NtStatus};
