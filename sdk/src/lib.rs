//! ntio for Rust programs: a machine to embed, and filters in safe Rust.
//!
//! Room: sdk. Called by: programs and filter authors. Calls: `nt_machine`, `nt_fltmgr`; it adds nothing of its own.
//!
//! A machine, a volume, a file, and writes that are under way at once, as futures of any executor:
//! ```
//! use ntio::{Machine, VolumeSpec, spec};
//!
//! let machine = Machine::builder().volume(VolumeSpec::Ram { size: Some(1 << 20) }).build()?;
//! let port = machine.process("writer")?.overlapped()?; // a completion port, and the thread that sleeps in it
//! let file = port.open(&spec("C:\\notes.txt"))?;
//! let written = pollster::block_on(async {
//!     let (first, second) = (file.write_overlapped(0, b"hello, "), file.write_overlapped(7, b"world"));
//!     Ok::<_, ntio::NtError>(first.await? + second.await?) // a future that is dropped cancels its request
//! })?;
//! assert_eq!(pollster::block_on(file.read_overlapped(0, 64))?, b"hello, world");
//! # assert_eq!(written, 12);
//! # Ok::<(), ntio::NtError>(())
//! ```
//!
//! The same with calls that wait:
//! ```
//! let machine = ntio::Machine::builder().build()?; // without a volume it gets one in memory
//! let client = machine.process("writer")?;
//! let (file, _) = client.create(&ntio::spec("C:\\notes.txt"))?;
//! assert_eq!(client.write(file, Some(0), b"hello")?, 5);
//! client.close(file)?;
//! assert!(machine.shutdown().is_empty()); // requests, handles, pool: what is left is told
//! # Ok::<(), ntio::NtError>(())
//! ```
//!
//! A file as memory: a view shows the pages of the cache, so that a read sees what was stored at once:
//! ```
//! use ntio::{Machine, Protect, spec};
//!
//! let machine = Machine::builder().build()?;
//! let client = machine.process("mapper")?;
//! let (file, _) = client.create(&spec("C:\\notes.txt"))?;
//! let section = client.create_section(file, Protect::ReadWrite, Some(4096))?; // the file is made as large
//! let view = client.map_view(section, 0, 0, Protect::ReadWrite)?;
//! view.write(100, b"hello")?;
//! let mut bytes = [0; 5];
//! client.read(file, Some(100), &mut bytes)?;
//! assert_eq!(&bytes, b"hello");
//! view.flush(0, 0)?; // on the medium
//! drop(view);
//! client.close(section)?;
//! client.close(file)?;
//! assert!(machine.shutdown().is_empty());
//! # Ok::<(), ntio::NtError>(())
//! ```
//!
//! A filter that counts the writes of a program:
//! ```
//! use ntio::{CallbackData, IRP_MJ_WRITE, Machine, MiniFilter, PostOp, PreOp, spec};
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU64, Ordering};
//!
//! #[derive(Default)]
//! struct Counter(AtomicU64);
//! impl MiniFilter for Counter {
//!     fn name(&self) -> &str { "counter" }
//!     fn altitude(&self) -> &str { "370100" }
//!     fn operations(&self) -> Vec<(u8, u32)> { vec![(IRP_MJ_WRITE, 0)] }
//!     fn pre_operation(&self, _data: CallbackData) -> PreOp { PreOp::WithCallback(0) }
//!     fn post_operation(&self, data: CallbackData, _context: u64) -> PostOp {
//!         self.0.fetch_add(data.status().information, Ordering::Relaxed);
//!         PostOp::Finished
//!     }
//! }
//!
//! let machine = Machine::builder().build()?;
//! let counter = Arc::new(Counter::default());
//! machine.add_filter(counter.clone())?;
//! let client = machine.process("writer")?;
//! let (file, _) = client.create(&spec("C:\\notes.txt"))?;
//! client.write(file, Some(0), b"hello")?; // an IRP: the file has no cache map yet
//! client.write(file, None, b" again")?; // fast I/O
//! client.close(file)?;
//! assert_eq!(counter.0.load(Ordering::Relaxed), 11);
//! # Ok::<(), ntio::NtError>(())
//! ```

pub use nt_abi::io::{IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE, IRP_MJ_READ, IRP_MJ_SET_INFORMATION, IRP_MJ_WRITE};
pub use nt_abi::ks::{KSSTATE_ACQUIRE, KSSTATE_PAUSE, KSSTATE_RUN, KSSTATE_STOP};
pub use nt_abi::{NtError, NtResult, NtStatus};
pub use nt_fltmgr::{CallbackData, MiniFilter, PostOp, PreOp};
pub use nt_io::irp::IoStatus;
pub use nt_machine::file::{OPEN as FILE_OPEN, spec};
pub use nt_machine::{
    Changes, Client, Handle, KernelClient, KernelFile, KsSpec, Machine, MachineBuilder, MappedView, Overlapped,
    OverlappedFile, Protect, ReadOverlapped, VolumeSpec, WatchSpec, WindowsVersion, WriteOverlapped,
};
