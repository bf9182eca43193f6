//! Sections: memory with a handle, a file's or nobody's, and the views that processes map of it.
//!
//! Room: ntos/section (ntoskrnl.exe, the part of Mm that stands above the cache). Called by: the embedding API, drivers
//! (exports), file systems (`doors`). Calls: `nt_cc`, whose pages the views of a file show; `nt_io`, `nt_ob`.
//! Touches: SECTION_OBJECT_POINTERS, the user arena. IRQL: PASSIVE_LEVEL; a touch of a view <= APC_LEVEL.
//! Locks: the list of views, the list of images; none while a file system or the cache is called.
//! Source: ZwCreateSection, ZwMapViewOfSection, MmFlushImageSection, MmCanFileBeTruncated pages; rules NT-CC-64 to
//! NT-CC-67, NT-CC-75, NT-I-09, NT-DEL-10, NT-DEL-12, NT-SHR-03.
//! There is one address space: a view belongs to a process by name, and every process could read it. Not here: views of images,
//! names of sections.

pub mod doors;
pub mod exports;
mod image;
mod object;
mod view;

pub use doors::{can_file_be_truncated, flush_image_section, force_section_closed};
pub use object::{CreateSection, create, extend};
pub use view::{MapView, end_all, flush, map, read, unmap, write};
