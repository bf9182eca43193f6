//! The POSIX door: a volume of a machine as a mounted Linux file system.
//!
//! Room: front/fuse. Called by: front/cli, the `ntio` crate. Calls: `nt_machine` clients, which call the NT services.
//! Touches: nothing of the machine directly. IRQL: PASSIVE_LEVEL. Locks: node table, callers, handles: leaves all three.
//! Source: docs of the POSIX door; house rules 3, 4, 15 and the POSIX face. Every read(2) and write(2) is one NT
//! request with the program's own offset and length, in a process that stands for the calling one.
//! Not here: policy. What a filter answered reaches the program through the one table in `errno`.

mod attr;
mod attributes;
pub mod bench;
mod caller;
mod data;
mod dispatch;
mod door;
pub mod errno;
mod handle;
mod intake;
mod links;
mod nodes;
#[cfg(test)]
mod page;
mod paths;
mod protocol;
mod session;
mod space;
mod streams;
mod transport;

pub use caller::{Identify, Identity};
pub use door::{MountError, MountOptions, Mounted, mount, mount_with};
pub use transport::unmount;
