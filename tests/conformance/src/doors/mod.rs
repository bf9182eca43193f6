//! The doors.

mod calls;
mod driver;
mod fuse;
mod native;
mod recorded;

pub use calls::{Calls, NtDoor, Raw};
pub use driver::{DriverCalls, Names};
pub use fuse::FuseDoor;
pub use native::NativeCalls;
pub use recorded::{Recorded, Shown};
