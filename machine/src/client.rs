//! A user-mode process of a machine, as a Rust program uses it.
//!
//! Room: machine. Called by: front ends, tests, the `ntio` crate. Calls: the services of `nt_io` with PreviousMode = UserMode.
//! Touches: the user arena: arguments and data are copied into blocks of it, because the services probe them there.
//! IRQL: PASSIVE_LEVEL. Locks: none. House rule 6: the embedding API copies a `&[u8]` into the arena.

use nt_abi::{NtResult, NtStatus};
use nt_cell::{Addr, Region, UserBlock};
use nt_io::byname::Named;
use nt_io::control::ControlArguments;
use nt_io::create::CreateSpec;
use nt_io::directory::DirectoryArguments;
use nt_io::info::InfoArguments;
use nt_io::irp::IoStatus;
use nt_io::rw::Arguments;
use nt_io::service::Caller;
use nt_ke::{Frame, Kernel, Mode, Thread};
use nt_ob::Handle;
use nt_ps::Process;
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::Arc;

/// A thread of a user-mode process. It runs on one host thread at a time; [`Client::thread`] makes another one.
#[derive(Debug)]
pub struct Client {
    kernel: Arc<Kernel>,
    process: Arc<Process>,
    thread: Arc<Thread>,
    one_host_thread: PhantomData<Cell<()>>,
}

/// Where a status block, an offset and a key lie in the argument block.
pub(crate) const IOSB: u64 = 0;
pub(crate) const OFFSET: u64 = 16;
pub(crate) const ARGUMENTS: usize = 64;

thread_local! {
    /// Arena blocks that this host thread uses again: a large block costs two system calls.
    static SPARE: RefCell<Vec<UserBlock>> = const { RefCell::new(Vec::new()) };
}

/// A block of the arena for the time of one call.
#[derive(Debug)]
pub(crate) struct Loan(Option<UserBlock>);

impl Loan {
    /// A block for a status block and what else a call takes by address.
    pub(crate) fn for_arguments() -> NtResult<Self> {
        let loan = Self::new(ARGUMENTS)?;
        loan.clear().map(|()| loan)
    }
    /// Room for a second status block in a block of arguments.
    pub(crate) fn spare(&self) -> u64 {
        self.addr() + OFFSET
    }
    pub(crate) fn new(len: usize) -> NtResult<Self> {
        let spare = SPARE.with_borrow_mut(|spare| {
            let at = spare.iter().position(|block| block.len() >= len && block.len() <= len.max(64) * 64)?;
            Some(spare.swap_remove(at))
        });
        let made = spare.or_else(|| UserBlock::new(len.max(ARGUMENTS).next_power_of_two()));
        made.map(|block| Self(Some(block))).ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())
    }
    pub(crate) fn block(&self) -> &UserBlock {
        self.0.as_ref().expect("a loan ends when it is dropped")
    }
    pub(crate) fn addr(&self) -> u64 {
        self.block().addr()
    }
    pub(crate) fn put(&self, bytes: &[u8]) -> NtResult<()> {
        self.block().region().sub(0, bytes.len()).write_from(bytes).map_err(|_| NtStatus::ACCESS_VIOLATION.error())
    }
    pub(crate) fn take(&self, bytes: &mut [u8]) -> NtResult<()> {
        self.block().region().sub(0, bytes.len()).read_to(bytes).map_err(|_| NtStatus::ACCESS_VIOLATION.error())
    }
    pub(crate) fn status(&self) -> IoStatus {
        let region = self.block().region();
        let status = region.load::<u32>(IOSB as usize).unwrap_or(NtStatus::ACCESS_VIOLATION.0);
        IoStatus::new(NtStatus(status), region.load::<u64>(IOSB as usize + 8).unwrap_or(0))
    }
    pub(crate) fn clear(&self) -> NtResult<()> {
        self.block().region().sub(0, ARGUMENTS).fill(0).map_err(|_| NtStatus::ACCESS_VIOLATION.error())
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(block) = self.0.take() {
            let _gone = SPARE.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                if spare.len() < 8 {
                    spare.push(block);
                }
            });
        }
    }
}

impl Drop for Client {
    /// The thread ends: what it still has under way is cancelled and waited for, its APCs are run down (NT-P-07, NT-Q-03).
    fn drop(&mut self) {
        if self.thread.irps().is_empty() {
            self.thread.end();
        } else {
            self.call(nt_io::cancel::thread_ends);
        }
    }
}

impl Client {
    pub(crate) fn new(kernel: Arc<Kernel>, process: Arc<Process>, thread: Arc<Thread>) -> Self {
        Self { kernel, process, thread, one_host_thread: PhantomData }
    }

    /// Returns the process.
    #[must_use]
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// Returns the thread.
    #[must_use]
    pub fn thread_object(&self) -> &Arc<Thread> {
        &self.thread
    }

    /// Makes another thread of the same process.
    pub fn thread(&self) -> NtResult<Self> {
        let thread = nt_ps::process::processes(&self.kernel).create_thread(&self.kernel, &self.process)?;
        Ok(Self::new(Arc::clone(&self.kernel), Arc::clone(&self.process), thread))
    }

    /// Runs `body` in the machine as this thread, in user mode: for services that have no method here.
    pub fn call<R>(&self, body: impl FnOnce(&Frame) -> R) -> R {
        let entered = nt_ke::enter(&self.kernel, &self.thread, Mode::User);
        body(entered.frame())
    }

    /// NtCreateFile; returns the handle and Information (created, opened, ...).
    pub fn create(&self, spec: &CreateSpec) -> NtResult<(Handle, u64)> {
        self.call(|frame| nt_io::create::nt_create_file(frame, spec))
            .map(|(handle, result)| (handle, result.information))
    }

    /// NtClose.
    pub fn close(&self, handle: Handle) -> NtResult<()> {
        self.call(|frame| nt_io::event::close(frame, handle))
    }

    /// NtWriteFile with raw arguments.
    #[must_use]
    pub fn nt_write_file(&self, arguments: &Arguments) -> NtStatus {
        self.call(|frame| nt_io::write::nt_write_file(frame, arguments))
    }

    /// NtReadFile with raw arguments.
    #[must_use]
    pub fn nt_read_file(&self, arguments: &Arguments) -> NtStatus {
        self.call(|frame| nt_io::read::nt_read_file(frame, arguments))
    }

    /// Waits for a request that is pending; the status block then holds its end.
    fn finish(&self, handle: Handle, status: NtStatus, arguments: &Loan) -> NtResult<u64> {
        if status == NtStatus::PENDING {
            let waited = self.call(|frame| nt_io::event::wait_for(frame, handle, false, None))?;
            if waited.is_error() {
                return Err(waited.error());
            }
            let result = arguments.status();
            return if result.status.is_error() { result.status.fail() } else { Ok(result.information) };
        }
        if status.is_error() { status.fail() } else { Ok(arguments.status().information) }
    }

    fn arguments(
        handle: Handle,
        offset: Option<i64>,
        arguments: &Loan,
        data: u64,
        length: usize,
    ) -> NtResult<Arguments> {
        arguments.clear()?;
        if let Some(offset) = offset {
            let stored = arguments.block().region().store::<i64>(OFFSET as usize, offset);
            stored.map_err(|_| NtStatus::ACCESS_VIOLATION.error())?;
        }
        Ok(Arguments {
            handle,
            event: Handle::NULL,
            apc_routine: None,
            apc_context: 0,
            iosb: Addr::user(arguments.addr() + IOSB),
            buffer: Addr::user(data),
            length: u32::try_from(length).map_err(|_| NtStatus::INVALID_PARAMETER.error())?,
            byte_offset: if offset.is_some() { Addr::user(arguments.addr() + OFFSET) } else { Addr::NULL },
            key: Addr::NULL,
        })
    }

    /// NtWriteFile; `None` writes at the current position. Returns how many bytes were written.
    pub fn write(&self, handle: Handle, offset: Option<i64>, bytes: &[u8]) -> NtResult<u64> {
        let data = Loan::new(bytes.len())?;
        data.put(bytes)?;
        self.write_region(handle, offset, data.block().region().sub(0, bytes.len()))
    }

    /// NtWriteFile from user memory.
    pub fn write_region(&self, handle: Handle, offset: Option<i64>, from: Region) -> NtResult<u64> {
        let arguments = Loan::new(ARGUMENTS)?;
        let call = Self::arguments(handle, offset, &arguments, from.addr(), from.len())?;
        let status = self.nt_write_file(&call);
        self.finish(handle, status, &arguments)
    }

    /// NtReadFile; `None` reads at the current position. Returns how many bytes were read.
    pub fn read(&self, handle: Handle, offset: Option<i64>, bytes: &mut [u8]) -> NtResult<usize> {
        let data = Loan::new(bytes.len())?;
        let count = self.read_region(handle, offset, data.block().region().sub(0, bytes.len()))?;
        data.take(&mut bytes[..count])?;
        Ok(count)
    }

    /// NtReadFile into user memory.
    pub fn read_region(&self, handle: Handle, offset: Option<i64>, to: Region) -> NtResult<usize> {
        let arguments = Loan::new(ARGUMENTS)?;
        let call = Self::arguments(handle, offset, &arguments, to.addr(), to.len())?;
        let status = self.nt_read_file(&call);
        Ok((self.finish(handle, status, &arguments)? as usize).min(to.len()))
    }

    fn info(
        &self,
        handle: Handle,
        class: u32,
        data: &Loan,
        length: usize,
        service: impl FnOnce(&Frame, &InfoArguments) -> NtStatus,
    ) -> NtResult<usize> {
        let arguments = Loan::new(ARGUMENTS)?;
        arguments.clear()?;
        let call = InfoArguments {
            handle,
            iosb: Addr::user(arguments.addr()),
            buffer: Addr::user(data.addr()),
            length: u32::try_from(length).map_err(|_| NtStatus::INVALID_PARAMETER.error())?,
            class,
        };
        let status = self.call(|frame| service(frame, &call));
        self.finish(handle, status, &arguments).map(|count| (count as usize).min(length))
    }

    fn query(
        &self,
        handle: Handle,
        class: u32,
        out: &mut [u8],
        service: fn(&Frame, &InfoArguments) -> NtStatus,
    ) -> NtResult<usize> {
        let data = Loan::new(out.len())?;
        let count = self.info(handle, class, &data, out.len(), service)?;
        data.take(&mut out[..count])?;
        Ok(count)
    }

    fn set(
        &self,
        handle: Handle,
        class: u32,
        bytes: &[u8],
        service: fn(&Frame, &InfoArguments) -> NtStatus,
    ) -> NtResult<()> {
        let data = Loan::new(bytes.len())?;
        data.put(bytes)?;
        self.info(handle, class, &data, bytes.len(), service).map(|_| ())
    }

    /// NtQueryInformationFile; a buffer that was too short for all of it counts as success.
    pub fn query_information(&self, handle: Handle, class: u32, out: &mut [u8]) -> NtResult<usize> {
        self.query(handle, class, out, nt_io::info::nt_query_information_file)
    }

    /// NtQueryInformationByName, of a name whose case counts.
    pub fn query_by_name(&self, name: Vec<u16>, class: u32, out: &mut [u8]) -> NtResult<usize> {
        let data = Loan::new(out.len())?;
        let named = Named { root: Handle::NULL, name, attributes: 0 };
        let count = self.info(Handle::NULL, class, &data, out.len(), |frame, args| {
            nt_io::byname::nt_query_information_by_name(frame, &named, args.iosb, args.buffer, args.length, args.class)
        })?;
        data.take(&mut out[..count])?;
        Ok(count)
    }

    /// NtSetInformationFile.
    pub fn set_information(&self, handle: Handle, class: u32, bytes: &[u8]) -> NtResult<()> {
        self.set(handle, class, bytes, nt_io::info::nt_set_information_file)
    }

    /// NtQueryVolumeInformationFile.
    pub fn query_volume(&self, handle: Handle, class: u32, out: &mut [u8]) -> NtResult<usize> {
        self.query(handle, class, out, nt_io::info::nt_query_volume_information_file)
    }

    /// NtQueryEaFile of the whole list: FILE_FULL_EA_INFORMATION records.
    pub fn query_ea(&self, handle: Handle, out: &mut [u8]) -> NtResult<usize> {
        self.query(handle, 0, out, |frame, args| {
            let call = nt_io::ea::EaArguments {
                handle: args.handle,
                iosb: args.iosb,
                buffer: args.buffer,
                length: args.length,
                single: false,
                list: None,
                index: None,
                restart: true,
            };
            match nt_io::ea::nt_query_ea_file(frame, &call) {
                NtStatus::BUFFER_OVERFLOW => NtStatus::BUFFER_TOO_SMALL, // part of a list is none
                status => status,
            }
        })
    }

    /// NtSetEaFile.
    pub fn set_ea(&self, handle: Handle, list: &[u8]) -> NtResult<()> {
        self.set(handle, 0, list, |frame, args| {
            nt_io::ea::nt_set_ea_file(frame, args.handle, args.iosb, args.buffer, args.length)
        })
    }

    /// NtQuerySecurityObject: the parts that `information` names (OWNER 1, GROUP 2, DACL 4, SACL 8), self-relative.
    pub fn query_security(&self, handle: Handle, information: u32) -> NtResult<Vec<u8>> {
        let told = Loan::new(4)?;
        told.clear()?;
        let mut length = 256;
        loop {
            let data = Loan::new(length)?;
            let (buffer, needed) = (Addr::user(data.addr()), Addr::user(told.addr()));
            let asked = length as u32;
            let status = self.call(|frame| {
                nt_io::security::nt_query_security_object(frame, handle, information, buffer, asked, needed)
            });
            let mut word = [0; 4];
            told.take(&mut word)?;
            let count = u32::from_le_bytes(word) as usize;
            match status {
                NtStatus::BUFFER_TOO_SMALL if count > length => length = count,
                status if status.is_error() => return status.fail(),
                _ => {
                    let mut bytes = vec![0; count.min(length)];
                    data.take(&mut bytes)?;
                    return Ok(bytes);
                }
            }
        }
    }

    /// NtSetSecurityObject with a self-relative descriptor.
    pub fn set_security(&self, handle: Handle, information: u32, descriptor: &[u8]) -> NtResult<()> {
        let data = Loan::new(descriptor.len())?;
        data.put(descriptor)?;
        let read: nt_se::descriptor::Reader<'_> = &nt_io::security::user_reader;
        let status =
            self.call(|frame| nt_io::security::nt_set_security_object(frame, handle, information, data.addr(), read));
        if status.is_error() { status.fail() } else { Ok(()) }
    }

    /// Runs the process as somebody else from now on: what it has open keeps its access.
    pub fn run_as(&self, token: nt_se::TokenSpec) -> NtResult<nt_se::TokenRef> {
        self.call(|frame| nt_se::subject::run_as(&frame.kernel, &self.process, token))
    }

    /// Returns the token that the process runs with.
    #[must_use]
    pub fn token(&self) -> nt_se::TokenRef {
        self.call(|frame| nt_se::subject::token_of(&frame.kernel, &self.process))
    }

    /// NtFlushBuffersFile.
    pub fn flush(&self, handle: Handle) -> NtResult<()> {
        let arguments = Loan::new(ARGUMENTS)?;
        arguments.clear()?;
        let iosb = Addr::user(arguments.addr());
        let status = self.call(|frame| nt_io::flush::nt_flush_buffers_file(frame, handle, iosb));
        self.finish(handle, status, &arguments).map(|_| ())
    }

    /// NtQueryDirectoryFile: fills `out` with entries of `class`; 0 at the end of the directory.
    pub fn query_directory(&self, handle: Handle, class: u32, restart: bool, out: &mut [u8]) -> NtResult<usize> {
        let (arguments, data) = (Loan::new(ARGUMENTS)?, Loan::new(out.len())?);
        arguments.clear()?;
        let call = DirectoryArguments {
            caller: Caller::plain(handle, Addr::user(arguments.addr())),
            buffer: Addr::user(data.addr()),
            length: u32::try_from(out.len()).map_err(|_| NtStatus::INVALID_PARAMETER.error())?,
            class,
            flags: DirectoryArguments::flags(false, restart),
            pattern: None,
        };
        let status = self.call(|frame| nt_io::directory::nt_query_directory_file(frame, &call));
        if matches!(status, NtStatus::NO_MORE_FILES | NtStatus::NO_SUCH_FILE) {
            return Ok(0);
        }
        let count = (self.finish(handle, status, &arguments)? as usize).min(out.len());
        data.take(&mut out[..count])?;
        Ok(count)
    }

    /// NtFsControlFile (`file_system`) or NtDeviceIoControlFile.
    pub fn control(
        &self,
        handle: Handle,
        file_system: bool,
        code: u32,
        input: &[u8],
        out: &mut [u8],
    ) -> NtResult<usize> {
        let arguments = Loan::new(ARGUMENTS)?;
        let (from, to) = (Loan::new(input.len())?, Loan::new(out.len())?);
        arguments.clear()?;
        from.put(input)?;
        let length = |len: usize| u32::try_from(len).map_err(|_| NtStatus::INVALID_PARAMETER.error());
        let call = ControlArguments {
            caller: Caller::plain(handle, Addr::user(arguments.addr())),
            code,
            input: (if input.is_empty() { Addr::NULL } else { Addr::user(from.addr()) }, length(input.len())?),
            output: (if out.is_empty() { Addr::NULL } else { Addr::user(to.addr()) }, length(out.len())?),
            file_system,
        };
        let status = self.call(|frame| nt_io::control::nt_control_file(frame, &call));
        let count = (self.finish(handle, status, &arguments)? as usize).min(out.len());
        to.take(&mut out[..count])?;
        Ok(count)
    }
}
