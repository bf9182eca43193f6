//! A machine with one `ram` volume, and a user process on it, for tests of the write path.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod directory;
#[path = "../../../../ntos/io/tests/rules/support/done.rs"]
mod done;
mod ground;
pub mod names;
pub mod notify;
pub mod oplock;
pub mod pool;
pub mod reparse;
pub mod security;

pub use done::*;
pub use ground::Ground;

use nt_abi::NtStatus;
use nt_cell::Addr;
use nt_cell::arena::UserBlock;
use nt_io::control::{self, ControlArguments};
use nt_io::create::{self, CreateSpec};
use nt_io::info::{self, InfoArguments, class};
use nt_io::lock::LockArguments;
use nt_io::rw::Arguments;
use nt_io::service::Caller;
use nt_io::system::{AsyncPolicy, System};
use nt_io::{event, read, write};
use nt_ke::{Entered, Frame, Kernel, Mode, WindowsVersion};
use nt_memfs::MountedVolume;
use nt_ob::Handle;
use nt_ps::{Process, Processes};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

pub const GENERIC_WRITE: u32 = 0x4000_0000;
pub const GENERIC_READ: u32 = 0x8000_0000;
pub const SYNCHRONIZE: u32 = 0x10_0000;
pub const WRITE_DATA: u32 = 2;
pub const APPEND_DATA: u32 = 4;
pub const READ_DATA: u32 = 1;
pub const SYNC: u32 = 0x20;
pub const NONCACHED: u32 = 8;
/// This binary runs the list on a `dir` volume.
pub fn on_dir() -> bool {
    env!("CARGO_CRATE_NAME").ends_with("_on_dir")
}

/// A symbolic link's REPARSE_DATA_BUFFER.
pub fn symlink_data(target: &str, relative: bool) -> Vec<u8> {
    let name: Vec<u8> = target.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let length = name.len() as u16;
    let mut data = 0xA000_000C_u32.to_le_bytes().to_vec();
    for word in [12 + 2 * length, 0, 0, length, length, length, u16::from(relative), 0] {
        data.extend_from_slice(&word.to_le_bytes());
    }
    data.extend_from_slice(&name);
    data.extend_from_slice(&name);
    data
}

/// What a Linux symbolic link is kept as: LX_SYMLINK with the target's bytes.
pub fn lx_symlink_data(target: &str) -> Vec<u8> {
    let mut data = 0xA000_001D_u32.to_le_bytes().to_vec();
    data.extend_from_slice(&(target.len() as u16 + 4).to_le_bytes());
    data.extend_from_slice(&[0, 0, 2, 0, 0, 0]);
    data.extend_from_slice(target.as_bytes());
    data
}

pub struct World {
    pub kernel: Arc<Kernel>,
    pub processes: Arc<Processes>,
    pub process: Arc<Process>,
    pub volume: MountedVolume,
    /// Where a `dir` volume lies.
    pub ground: Option<Ground>,
    entered: Option<Entered>,
    end: Option<fn(&Kernel)>,
}

impl World {
    pub fn new() -> Self {
        Self::with(WindowsVersion::default(), None)
    }

    pub fn with(windows: WindowsVersion, size: Option<u64>) -> Self {
        // The same list runs on each kind of volume: the crate's name says on which.
        let ground = env!("CARGO_CRATE_NAME").ends_with("_on_dir").then(|| match size {
            None => Some(Ground::new()),
            Some(size) => Ground::small(size),
        });
        Self::on(windows, size, ground.flatten())
    }

    /// A machine with a `dir` volume there, else a `ram` volume.
    pub fn on(windows: WindowsVersion, size: Option<u64>, ground: Option<Ground>) -> Self {
        let kernel = Kernel::new(windows);
        let processes = Processes::install(&kernel).expect("processes");
        let _system = System::install(&kernel);
        let volume = match &ground {
            None => nt_memfs::mount(&kernel, 1, size),
            Some(ground) => nt_memfs::mount_dir(&kernel, 1, ground.path()),
        };
        let volume = volume.expect("volume");
        let process = processes.create_process(&kernel, "test.exe").expect("process");
        let thread = processes.create_thread(&kernel, &process).expect("thread");
        let entered = nt_ke::enter(&kernel, &thread, Mode::User);
        Self { kernel, processes, process, volume, ground, entered: Some(entered), end: None }
    }

    /// What else ends with the machine, before its devices go.
    pub fn at_end(&mut self, end: fn(&Kernel)) {
        self.end = Some(end);
    }

    pub fn frame(&self) -> Rc<Frame> {
        Rc::clone(self.entered.as_ref().expect("entered").frame())
    }

    pub fn system(&self) -> &System {
        System::of(&self.kernel)
    }

    pub fn policy(&self, policy: AsyncPolicy) {
        self.system().set_policy(policy);
    }

    /// Opens or creates `C:\NAME`.
    pub fn try_open(&self, name: &str, access: u32, options: u32, disposition: u32) -> Result<(Handle, u64), NtStatus> {
        let spec = CreateSpec {
            access,
            name: format!("\\??\\C:\\{name}").encode_utf16().collect(),
            options,
            disposition,
            ..CreateSpec::default()
        };
        create::nt_create_file(&self.frame(), &spec)
            .map(|(handle, result)| (handle, result.information))
            .map_err(NtStatus::from)
    }

    /// Opens the volume itself, for synchronous use.
    pub fn volume(&self, access: u32) -> File<'_> {
        let spec = CreateSpec {
            access: access | SYNCHRONIZE,
            name: "\\??\\C:".encode_utf16().collect(),
            options: SYNC,
            ..CreateSpec::default()
        };
        let (handle, _) = create::nt_create_file(&self.frame(), &spec).expect("the volume");
        self.adopt(handle)
    }

    /// Takes over a handle.
    pub fn adopt(&self, handle: Handle) -> File<'_> {
        File {
            world: self,
            handle,
            block: UserBlock::new(64).expect("arena"),
            event: Handle::NULL,
            context: 0,
            kept: RefCell::default(),
        }
    }

    /// A file handle for synchronous reading and writing, created if absent.
    pub fn sync_file(&self, name: &str) -> File<'_> {
        self.file(name, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC)
    }

    /// The same, asynchronous.
    pub fn async_file(&self, name: &str) -> File<'_> {
        self.file(name, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, 0)
    }

    pub fn file(&self, name: &str, access: u32, options: u32) -> File<'_> {
        let (handle, _) = self.try_open(name, access, options, 3).unwrap_or_else(|status| panic!("{name}: {status}"));
        self.adopt(handle)
    }

    /// Lets the clock go on.
    pub fn pause(&self) {
        let _over = nt_ke::wait::delay(&self.frame(), Mode::Kernel, false, -50_000);
    }

    pub fn event(&self, signaled: bool) -> Handle {
        let kind = nt_ke::dispatcher::EventType::Notification;
        event::create(&self.frame(), 0x001F_0003, 0, kind, signaled).expect("event")
    }

    /// Is the object signalled? A wait with timeout zero says.
    pub fn signaled(&self, handle: Handle) -> bool {
        event::wait_for(&self.frame(), handle, false, Some(0)).expect("wait") == NtStatus::SUCCESS
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.processes.end(&self.process);
        nt_cc::Manager::of(&self.kernel).shutdown();
        let in_flight = self.processes.in_flight();
        if !std::thread::panicking() {
            assert_eq!(in_flight, 0, "requests in flight at shutdown");
        }
        self.kernel.stop();
        if let Some(end) = self.end {
            end(&self.kernel);
        }
        self.system().shutdown();
        self.entered = None;
    }
}

/// Records one behind the other, each with the offset of the next in its first word.
pub fn chain(mut records: Vec<Vec<u8>>) -> Vec<u8> {
    let last = records.len().saturating_sub(1);
    for record in records.iter_mut().take(last) {
        record.resize(record.len().next_multiple_of(4), 0);
        let next = (record.len() as u32).to_le_bytes();
        record[..4].copy_from_slice(&next);
    }
    records.concat()
}

/// FILE_FULL_EA_INFORMATION: {name, value, flags} of each.
pub fn ea_list(entries: &[(&[u8], &[u8], u8)]) -> Vec<u8> {
    let record = |&(name, value, flags): &(&[u8], &[u8], u8)| {
        let head = [0, 0, 0, 0, flags, name.len() as u8, value.len() as u8, (value.len() >> 8) as u8];
        [&head, name, &[0], value].concat()
    };
    chain(entries.iter().map(record).collect())
}

/// Leaves its blocks to a request that still waits when its test lets go of it: it ends with the handle, later, and writes there
/// then; they would be another test's.
pub fn leave(blocks: [&mut UserBlock; 2]) {
    std::mem::forget(blocks.map(|block| std::mem::replace(block, UserBlock::new(8).expect("arena"))));
}

/// NtSetInformationFile: what it returned, and the status block.
pub fn set_information(frame: &Frame, handle: Handle, class: u32, data: &[u8]) -> (NtStatus, Iosb) {
    let buffer = UserBlock::new(data.len().max(1)).expect("arena");
    buffer.region().sub(0, data.len()).write_from(data).expect("buffer");
    let iosb = pattern_block();
    let args = InfoArguments {
        handle,
        iosb: Addr::user(iosb.addr()),
        buffer: Addr::user(buffer.addr()),
        length: data.len() as u32,
        class,
    };
    let status = info::nt_set_information_file(frame, &args);
    (status, iosb_at(&iosb))
}

pub struct File<'a> {
    pub world: &'a World,
    pub handle: Handle,
    block: UserBlock,
    pub event: Handle,
    pub context: u64,
    /// Buffers of requests that were pending when their call returned.
    kept: RefCell<Vec<UserBlock>>,
}

impl File<'_> {
    fn arguments(&self, buffer: Addr, length: u32, offset: Option<i64>, key: Option<u32>) -> Arguments {
        let region = self.block.region();
        fill_pattern(&self.block);
        region.store::<i64>(16, offset.unwrap_or(0)).expect("block");
        region.store::<u32>(24, key.unwrap_or(0)).expect("block");
        let at = self.block.addr();
        Arguments {
            handle: self.handle,
            event: self.event,
            apc_routine: None,
            apc_context: self.context,
            iosb: Addr::user(at),
            buffer,
            length,
            byte_offset: if offset.is_some() { Addr::user(at + 16) } else { Addr::NULL },
            key: if key.is_some() { Addr::user(at + 24) } else { Addr::NULL },
        }
    }

    pub fn iosb(&self) -> Iosb {
        iosb_at(&self.block)
    }

    pub fn raw_write(&self, buffer: Addr, length: u32, offset: Option<i64>) -> Done {
        let args = self.arguments(buffer, length, offset, None);
        let returned = write::nt_write_file(&self.world.frame(), &args);
        Done { returned, iosb: self.iosb() }
    }

    pub fn with_arguments(&self, change: impl FnOnce(&mut Arguments)) -> Done {
        let mut args = self.arguments(Addr::NULL, 0, Some(0), None);
        change(&mut args);
        let returned = write::nt_write_file(&self.world.frame(), &args);
        Done { returned, iosb: self.iosb() }
    }

    pub fn write(&self, data: &[u8], offset: Option<i64>) -> Done {
        let buffer = UserBlock::new(data.len().max(1)).expect("arena");
        buffer.region().sub(0, data.len()).write_from(data).expect("buffer");
        let done = self.raw_write(Addr::user(buffer.addr()), data.len() as u32, offset);
        if done.returned == NtStatus::PENDING {
            self.kept.borrow_mut().push(buffer);
        }
        done
    }

    pub fn raw_read(&self, buffer: Addr, length: u32, offset: Option<i64>) -> Done {
        let args = self.arguments(buffer, length, offset, None);
        let returned = read::nt_read_file(&self.world.frame(), &args);
        Done { returned, iosb: self.iosb() }
    }

    pub fn read(&self, length: usize, offset: Option<i64>) -> (Done, Vec<u8>) {
        let buffer = UserBlock::new(length.max(1)).expect("arena");
        buffer.region().fill(0xEE).expect("buffer");
        let done = self.raw_read(Addr::user(buffer.addr()), length as u32, offset);
        let count = match done.iosb {
            Iosb::Is(_, count) => count as usize,
            Iosb::Untouched => 0,
        };
        let bytes = buffer.region().sub(0, count.min(length)).to_vec().expect("buffer");
        (done, bytes)
    }

    pub fn query(&self, class: u32, length: usize) -> Vec<u8> {
        let (status, bytes, _) = self.try_query(class, length);
        assert_eq!(status, NtStatus::SUCCESS, "query class {class}");
        bytes
    }

    /// A query: what it returned, the buffer (filled with EE before), the status block.
    fn ask_for(
        &self,
        service: fn(&Frame, &InfoArguments) -> NtStatus,
        class: u32,
        length: usize,
    ) -> (NtStatus, Vec<u8>, Iosb) {
        let buffer = UserBlock::new(length.max(1)).expect("arena");
        buffer.region().fill(0xEE).expect("buffer");
        let iosb = pattern_block();
        let args = InfoArguments {
            handle: self.handle,
            iosb: Addr::user(iosb.addr()),
            buffer: Addr::user(buffer.addr()),
            length: length as u32,
            class,
        };
        let status = service(&self.world.frame(), &args);
        (status, buffer.region().sub(0, length).to_vec().expect("buffer"), iosb_at(&iosb))
    }

    /// NtQueryInformationFile: what it returned, the buffer (filled with EE before), the status block.
    pub fn try_query(&self, class: u32, length: usize) -> (NtStatus, Vec<u8>, Iosb) {
        self.ask_for(info::nt_query_information_file, class, length)
    }

    pub fn set(&self, class: u32, data: &[u8]) -> NtStatus {
        self.try_set(class, data).0
    }

    /// NtSetInformationFile: what it returned, and the status block.
    pub fn try_set(&self, class: u32, data: &[u8]) -> (NtStatus, Iosb) {
        set_information(&self.world.frame(), self.handle, class, data)
    }

    /// NtFsControlFile: the status, the status block, the output buffer (filled with EE before).
    pub fn control(&self, code: u32, input: &[u8], output: usize) -> (NtStatus, Iosb, Vec<u8>) {
        let from = UserBlock::new(input.len().max(1)).expect("arena");
        from.region().sub(0, input.len()).write_from(input).expect("arena");
        let to = UserBlock::new(output.max(1)).expect("arena");
        to.region().fill(0xEE).expect("arena");
        let iosb = pattern_block();
        let args = ControlArguments {
            caller: Caller::plain(self.handle, Addr::user(iosb.addr())),
            code,
            input: (if input.is_empty() { Addr::NULL } else { Addr::user(from.addr()) }, input.len() as u32),
            output: (if output == 0 { Addr::NULL } else { Addr::user(to.addr()) }, output as u32),
            file_system: true,
        };
        let status = control::nt_control_file(&self.world.frame(), &args);
        (status, iosb_at(&iosb), to.region().sub(0, output).to_vec().expect("arena"))
    }

    /// NtSetEaFile.
    pub fn set_ea(&self, list: &[u8]) -> NtStatus {
        self.try_set_ea(list).0
    }

    pub fn try_set_ea(&self, list: &[u8]) -> (NtStatus, Iosb) {
        let buffer = UserBlock::new(list.len().max(1)).expect("arena");
        buffer.region().sub(0, list.len()).write_from(list).expect("buffer");
        let iosb = pattern_block();
        let (block, bytes) = (Addr::user(iosb.addr()), Addr::user(buffer.addr()));
        let status = nt_io::ea::nt_set_ea_file(&self.world.frame(), self.handle, block, bytes, list.len() as u32);
        (status, iosb_at(&iosb))
    }

    /// NtQueryVolumeInformationFile.
    pub fn try_query_volume(&self, class: u32, length: usize) -> (NtStatus, Iosb, Vec<u8>) {
        let (status, bytes, iosb) = self.ask_for(info::nt_query_volume_information_file, class, length);
        (status, iosb, bytes)
    }

    pub fn query_volume(&self, class: u32, length: usize) -> Result<Vec<u8>, NtStatus> {
        match self.try_query_volume(class, length) {
            (NtStatus::SUCCESS, _, bytes) => Ok(bytes),
            (status, ..) => Err(status),
        }
    }

    /// A control without data: its status.
    pub fn fsctl(&self, code: u32) -> NtStatus {
        self.control(code, &[], 0).0
    }

    pub fn position(&self) -> i64 {
        let bytes = self.query(class::POSITION, 8);
        i64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
    }

    pub fn seek(&self, to: i64) {
        assert_eq!(self.set(class::POSITION, &to.to_le_bytes()), NtStatus::SUCCESS);
    }

    pub fn eof(&self) -> u64 {
        let bytes = self.query(class::STANDARD, 24);
        u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes"))
    }

    pub fn with_read_arguments(&self, change: impl FnOnce(&mut Arguments)) -> Done {
        let mut args = self.arguments(Addr::NULL, 0, Some(0), None);
        change(&mut args);
        let returned = read::nt_read_file(&self.world.frame(), &args);
        Done { returned, iosb: self.iosb() }
    }

    /// NtWriteFile with a key.
    pub fn write_keyed(&self, data: &[u8], offset: Option<i64>, key: Option<u32>) -> Done {
        let buffer = UserBlock::new(data.len().max(1)).expect("arena");
        buffer.region().sub(0, data.len()).write_from(data).expect("buffer");
        let args = self.arguments(Addr::user(buffer.addr()), data.len() as u32, offset, key);
        let returned = write::nt_write_file(&self.world.frame(), &args);
        if returned == NtStatus::PENDING {
            self.kept.borrow_mut().push(buffer);
        }
        Done { returned, iosb: self.iosb() }
    }

    /// The arguments of a lock: exclusive or shared, at once or waiting.
    pub fn lock_arguments(&self, start: u64, length: u64, key: u32, exclusive: bool, wait: bool) -> LockArguments {
        let region = self.block.region();
        fill_pattern(&self.block);
        region.store::<u64>(32, start).expect("block");
        region.store::<u64>(40, length).expect("block");
        let at = self.block.addr();
        LockArguments {
            caller: Caller {
                handle: self.handle,
                event: self.event,
                apc_routine: None,
                apc_context: self.context,
                iosb: Addr::user(at),
            },
            byte_offset: Addr::user(at + 32),
            length: Addr::user(at + 40),
            key,
            fail_immediately: !wait,
            exclusive,
        }
    }

    /// NtLockFile, FailImmediately.
    pub fn lock(&self, start: u64, length: u64, key: u32, exclusive: bool) -> Done {
        let args = self.lock_arguments(start, length, key, exclusive, false);
        let returned = nt_io::lock::nt_lock_file(&self.world.frame(), &args);
        Done { returned, iosb: self.iosb() }
    }

    /// NtUnlockFile.
    pub fn unlock(&self, start: u64, length: u64, key: u32) -> Done {
        let args = self.lock_arguments(start, length, key, false, false);
        let returned = nt_io::lock::nt_unlock_file(&self.world.frame(), &args);
        Done { returned, iosb: self.iosb() }
    }

    /// The whole content, read through a handle of its own.
    pub fn bytes_of(&self, name: &str) -> Vec<u8> {
        let reader = self.world.file(name, GENERIC_READ | SYNCHRONIZE, SYNC);
        let length = reader.eof() as usize;
        reader.read(length, Some(0)).1
    }
}

impl Drop for File<'_> {
    fn drop(&mut self) {
        let _closed = event::close(&self.world.frame(), self.handle);
    }
}
