//! Overlapped reads and writes as futures, for any executor.
//!
//! Room: machine. Called by: embedding programs, the `ntio` crate. Calls: the services of `nt_io` with PreviousMode = UserMode.
//! Touches: the user arena. IRQL: PASSIVE_LEVEL. Locks: its own tables, leaf. Source: NtWriteFile, NtCreateIoCompletion,
//! NtCancelIoFileEx pages; rules NT-Q-05, NT-X-02. An [`Overlapped`] is a completion port of a process and one host thread that
//! sleeps in NtRemoveIoCompletion: the machine's own completion wakes it, and it wakes the futures. A request that ends
//! inside its call (NT-I-17's skip mode) needs neither.
//!
//! A request's status block and buffer belong to a record in the port's table, not to its future: the record goes when the
//! packet has come, so a future that is dropped, or forgotten, frees nothing that the kernel may still write to. Dropping
//! cancels the request, and does not wait. The table of a port whose requests never end is never freed.

use crate::Client;
use crate::client::{ARGUMENTS, IOSB, Loan, OFFSET};
use nt_abi::ke::KSEMAPHORE;
use nt_abi::{NtResult, NtStatus};
use nt_cell::Addr;
use nt_io::create::CreateSpec;
use nt_io::info::class;
use nt_io::irp::IoStatus;
use nt_io::port::{self, Packet};
use nt_io::rw::{Arguments, Direction};
use nt_ke::{Mode, Mutex};
use nt_ob::types::ObjectType;
use nt_ob::{Handle, ObjectRef};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

/// FILE_SYNCHRONOUS_IO_ALERT and FILE_SYNCHRONOUS_IO_NONALERT: what an overlapped file is not opened with.
const SYNCHRONOUS: u32 = 0x30;
/// FILE_SKIP_COMPLETION_PORT_ON_SUCCESS.
const SKIP_PORT: u32 = 1;
/// The packet that ends the port's thread. Requests are numbered from 1.
const STOP: u64 = 0;
/// How long the end of a port waits for requests that were cancelled, in 100 ns.
const PATIENCE: i64 = -50_000_000;

/// Where a request writes to: the blocks stay until it has ended.
struct Memory {
    arguments: Loan,
    data: Loan,
}

/// A request, shared by its future and the table.
#[derive(Default)]
struct Request {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    memory: Option<Memory>,
    result: Option<IoStatus>,
    waker: Option<Waker>,
}

/// What the port's thread and everybody else share.
struct Inner {
    handle: Handle,
    port: ObjectRef<KSEMAPHORE>,
    next: AtomicU64,
    under_way: Mutex<HashMap<u64, Arc<Request>>>,
    /// Threads of the process that issue requests, one host thread at a time each. They end last: a request that a thread
    /// issued is cancelled with it.
    idle: Mutex<Vec<Client>>,
    first: Mutex<Client>,
}

impl Inner {
    /// Runs `body` as a thread of the process that nobody else runs as.
    fn with<R>(&self, body: impl FnOnce(&Client) -> R) -> NtResult<R> {
        let idle = self.idle.lock().pop();
        let client = match idle {
            Some(client) => client,
            None => self.first.lock().thread()?,
        };
        let result = body(&client);
        self.idle.lock().push(client);
        Ok(result)
    }

    /// Sleeps until packets come, and tells whom they are for.
    fn serve(&self, client: &Client) {
        let mut patience = None;
        loop {
            let taken = client.call(|frame| port::remove(frame, self.handle, patience));
            match taken {
                Ok(Ok(packet)) if packet.context == STOP => patience = Some(PATIENCE),
                Ok(Ok(packet)) => self.ended(packet),
                _ => break, // too long after the end, or the process is gone
            }
            if patience.is_some() && self.under_way.lock().is_empty() {
                return;
            }
        }
        // What never ended keeps its memory for ever.
        std::mem::forget(std::mem::take(&mut *self.under_way.lock()));
    }

    fn ended(&self, packet: Packet) {
        let Some(request) = self.under_way.lock().remove(&packet.context) else { return };
        let waker = {
            let mut state = request.state.lock();
            state.result = Some(packet.result);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A completion port of a process, and the thread that serves it: what overlapped files are opened with.
///
/// Files and futures keep it; the machine must outlive them all, else its shutdown reports what was left open.
#[derive(Clone)]
pub struct Overlapped(Arc<Owner>);

struct Owner {
    inner: Arc<Inner>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Overlapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Overlapped with {} request(s) under way", self.0.inner.under_way.lock().len())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // All files are closed by now: what was under way on them is cancelled, and its packets come (NT-Q-14).
        port::queue(*self.inner.port, Packet { key: 0, context: STOP, result: IoStatus::new(NtStatus::SUCCESS, 0) });
        let Some(thread) = self.thread.lock().take() else { return };
        if thread.thread().id() != std::thread::current().id() {
            let _panicked = thread.join();
        }
        let _gone = self.inner.with(|client| client.close(self.inner.handle));
    }
}

impl Client {
    /// Makes a completion port in this process, and starts the thread that serves it.
    ///
    /// # Errors
    /// INSUFFICIENT_RESOURCES when the host refuses the thread; what NtCreateIoCompletion says.
    pub fn overlapped(&self) -> NtResult<Overlapped> {
        let handle = self.call(|frame| port::create(frame, 0x001F_0003))?;
        let kind = ObjectType::IoCompletion;
        let (object, _) = self.call(|frame| nt_io::event::reference(frame, handle, kind, 0, Mode::Kernel))?;
        let inner = Arc::new(Inner {
            handle,
            port: object.retype(),
            next: AtomicU64::new(STOP + 1),
            under_way: Mutex::default(),
            idle: Mutex::default(),
            first: Mutex::new(self.thread()?),
        });
        let (served, client) = (Arc::clone(&inner), self.thread()?);
        let thread = std::thread::Builder::new().name("nt port".into()).spawn(move || served.serve(&client));
        let thread = thread.map_err(|_| NtStatus::INSUFFICIENT_RESOURCES.error())?;
        Ok(Overlapped(Arc::new(Owner { inner, thread: Mutex::new(Some(thread)) })))
    }
}

impl Overlapped {
    /// NtCreateFile of a file for overlapped use: the synchronous options of `spec` are left out.
    ///
    /// # Errors
    /// What NtCreateFile says.
    pub fn open(&self, spec: &CreateSpec) -> NtResult<OverlappedFile> {
        let spec = CreateSpec { options: spec.options & !SYNCHRONOUS, ..spec.clone() };
        let inner = &self.0.inner;
        inner.with(|client| {
            let (handle, _) = client.create(&spec)?;
            let file = Arc::new(File { handle, port: self.clone() });
            let association = [inner.handle.0.to_le_bytes(), 0_u64.to_le_bytes()].concat();
            client.set_information(handle, class::COMPLETION, &association)?;
            client.set_information(handle, class::IO_COMPLETION_NOTIFICATION, &SKIP_PORT.to_le_bytes())?;
            Ok(OverlappedFile(file))
        })?
    }
}

/// The handle; requests that are under way keep it open.
struct File {
    handle: Handle,
    port: Overlapped,
}

impl Drop for File {
    fn drop(&mut self) {
        let _gone = self.port.0.inner.with(|client| client.close(self.handle));
    }
}

/// A file whose reads and writes are futures. Any number may be under way; each says where it starts.
#[derive(Clone)]
pub struct OverlappedFile(Arc<File>);

impl std::fmt::Debug for OverlappedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OverlappedFile {:#x}", self.0.handle.0)
    }
}

impl OverlappedFile {
    /// Returns the handle, for services that have no method here.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.0.handle
    }

    /// NtWriteFile, called before this returns; the bytes are copied. An offset of -1 appends. The future gives the number
    /// of bytes written; dropped before, it cancels the request.
    #[must_use = "dropping the future cancels the write"]
    pub fn write_overlapped(&self, offset: i64, bytes: &[u8]) -> WriteOverlapped {
        WriteOverlapped(self.start(Direction::Write, offset, bytes.len(), Some(bytes)))
    }

    /// NtReadFile of up to `length` bytes, called before this returns. The future gives what was read; END_OF_FILE is an
    /// error. Dropped before, it cancels the request.
    #[must_use = "dropping the future cancels the read"]
    pub fn read_overlapped(&self, offset: i64, length: usize) -> ReadOverlapped {
        ReadOverlapped(self.start(Direction::Read, offset, length, None))
    }

    fn start(&self, direction: Direction, offset: i64, length: usize, bytes: Option<&[u8]>) -> Pending {
        let request = Arc::new(Request::default());
        let number = match self.submit(&request, direction, offset, length, bytes) {
            Ok(number) => number,
            Err(error) => {
                request.state.lock().result = Some(IoStatus::new(error.status(), 0));
                0
            }
        };
        Pending { file: Arc::clone(&self.0), request, number }
    }

    fn submit(
        &self,
        request: &Arc<Request>,
        direction: Direction,
        offset: i64,
        length: usize,
        bytes: Option<&[u8]>,
    ) -> NtResult<u64> {
        let inner = &self.0.port.0.inner;
        let memory = Memory { arguments: Loan::new(ARGUMENTS)?, data: Loan::new(length)? };
        memory.arguments.clear()?;
        let stored = memory.arguments.block().region().store::<i64>(OFFSET as usize, offset);
        stored.map_err(|_| NtStatus::ACCESS_VIOLATION.error())?;
        if let Some(bytes) = bytes {
            memory.data.put(bytes)?;
        }
        let number = inner.next.fetch_add(1, Ordering::Relaxed);
        let call = Arguments {
            handle: self.0.handle,
            event: Handle::NULL,
            apc_routine: None,
            apc_context: number,
            iosb: Addr::user(memory.arguments.addr() + IOSB),
            buffer: Addr::user(memory.data.addr()),
            length: u32::try_from(length).map_err(|_| NtStatus::INVALID_PARAMETER.error())?,
            byte_offset: Addr::user(memory.arguments.addr() + OFFSET),
            key: Addr::NULL,
        };
        request.state.lock().memory = Some(memory);
        inner.under_way.lock().insert(number, Arc::clone(request));
        let returned = inner.with(|client| match direction {
            Direction::Write => client.nt_write_file(&call),
            Direction::Read => client.nt_read_file(&call),
        });
        let status = returned.unwrap_or_else(nt_abi::NtError::status);
        if status != NtStatus::PENDING {
            // It has ended, and no packet comes.
            inner.under_way.lock().remove(&number);
            let mut state = request.state.lock();
            let told = state.memory.as_ref().map_or(0, |memory| memory.arguments.status().information);
            state.result = Some(IoStatus::new(status, if status.is_error() { 0 } else { told }));
        }
        Ok(number)
    }
}

/// A request of a future.
struct Pending {
    file: Arc<File>,
    request: Arc<Request>,
    number: u64,
}

impl Pending {
    /// Takes the result, and the memory with it, once the request has ended.
    fn poll(&self, context: &Context<'_>) -> Poll<(IoStatus, Option<Memory>)> {
        let mut state = self.request.state.lock();
        match state.result {
            Some(result) => Poll::Ready((result, state.memory.take())),
            None => {
                // Kept under the lock that the end takes: it sees this waker, or this poll sees the result.
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let block = {
            let mut state = self.request.state.lock();
            state.waker = None;
            match (&state.result, &state.memory) {
                (None, Some(memory)) => memory.arguments.addr() + IOSB,
                _ => return,
            }
        };
        let inner = &self.file.port.0.inner;
        if !inner.under_way.lock().contains_key(&self.number) {
            return;
        }
        // NtCancelIoFileEx picks the request by its status block. Between the look above and here it may end; its block is
        // not used again before this returns, because we hold the request.
        let Ok(told) = Loan::new(ARGUMENTS) else { return };
        let (block, told_at) = (Addr::user(block), Addr::user(told.addr()));
        let _ended_meanwhile = inner.with(|client| {
            client.call(|frame| nt_io::cancel::nt_cancel_io_file_ex(frame, self.file.handle, block, told_at))
        });
    }
}

/// A write that is under way: gives the number of bytes written.
#[must_use = "dropping the future cancels the write"]
pub struct WriteOverlapped(Pending);

impl std::fmt::Debug for WriteOverlapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WriteOverlapped #{}", self.0.number)
    }
}

impl Future for WriteOverlapped {
    type Output = NtResult<usize>;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context).map(|(result, _memory)| match result.status.is_error() {
            true => result.status.fail(),
            false => Ok(result.information as usize),
        })
    }
}

/// A read that is under way: gives the bytes read.
#[must_use = "dropping the future cancels the read"]
pub struct ReadOverlapped(Pending);

impl std::fmt::Debug for ReadOverlapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReadOverlapped #{}", self.0.number)
    }
}

impl Future for ReadOverlapped {
    type Output = NtResult<Vec<u8>>;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context).map(|(result, memory)| {
            if result.status.is_error() {
                return result.status.fail();
            }
            let data = memory.map(|memory| memory.data).ok_or(NtStatus::FILE_CLOSED.error())?;
            let mut bytes = vec![0; (result.information as usize).min(data.block().len())];
            data.take(&mut bytes)?;
            Ok(bytes)
        })
    }
}
