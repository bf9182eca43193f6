//! Cache manager: cached streams, their pages, and the paging requests that fill and empty them.
//!
//! Room: ntos/cc (ntoskrnl.exe, Cc*). Called by: file systems, drivers (exports). Calls: `nt_io` (paging requests enter
//! at the top of the stack), `nt_ke` (work items, timer), `nt_ob` (the file object that a cache map holds).
//! Touches: SECTION_OBJECT_POINTERS, SHARED_CACHE_MAP, PRIVATE_CACHE_MAP, pages of the pool by guarded copies.
//! IRQL: PASSIVE_LEVEL; paging reads are sent at APC_LEVEL (NT-CC-29).
//! Locks: births of the machine, then a map's pages, then its flights; none is held across a call into a driver. What
//! waits for a paging request of another thread waits for its flight to land.
//! Source: cc.md; rules NT-CC-01 to NT-CC-86.
//! Not here: end of file and valid data length of a file (the file system), section objects (`nt_section`).

pub mod ahead;
pub mod client;
mod copy;
pub mod exports;
mod fault;
mod flush;
pub mod layout;
pub mod lazy;
mod manager;
mod map;
mod mapped;
mod mdl;
mod pages;
mod section;
mod sizes;
mod throttle;
mod views;

pub use client::{CacheClient, Callbacks};
pub use copy::{copy_read, copy_write, read_resident, write_resident, zero_data};
pub use flush::{coherency_flush_and_purge, flush, flush_stream, flushed_valid_data, purge};
pub use manager::{Loss, Manager, Policy};
pub use map::{CacheMap, initialize, is_cached, map_of, set_attributes, uninitialize, uninitialize_all};
pub use mdl::{mdl_read, mdl_read_complete, mdl_write_abort, mdl_write_complete, prepare_mdl_write};
pub use pages::PAGE;
pub use section::{SectionRef, close_unused, user_references, user_writable_references};
pub use sizes::{Sizes, set_file_sizes, set_sizes};
pub use throttle::{can_write, defer_write, set_dirty_page_threshold, write_will_not_flush};
pub use views::{UserView, ViewKind};
