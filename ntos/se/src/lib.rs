//! The security reference monitor: identifiers, descriptors, tokens, the access check.
//!
//! Room: ntos/se. Called by: the I/O manager and file systems at an open, drivers through the `Se` and `Rtl` names.
//! Touches: token objects and descriptors in pool. IRQL: PASSIVE_LEVEL; checks also at APC_LEVEL. Locks: a process's token.
//! Source: "Access Control" pages, MS-DTYP 2.4 and 2.5; rules NT-SEC. Access is decided once, at the open: no transfer
//! comes here. Not here: auditing, impersonation, restricted tokens, object ACEs, conditional ACEs, integrity policy.

pub mod acl;
pub mod assign;
pub mod check;
pub mod descriptor;
pub mod exports;
pub mod rtl;
pub mod sid;
pub mod subject;
pub mod token;

pub use acl::{Ace, Acl};
pub use descriptor::Descriptor;
pub use sid::Sid;
pub use token::{Token, TokenRef, TokenSpec};
