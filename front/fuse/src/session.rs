//! The conversation with the kernel: readers, answers, interrupts.
//!
//! Room: front/fuse. Called by: `door`. Calls: a [`Service`], the host. Locks: the readers' list; each reader's own.
//! A request runs on the reader that took it, to its end. When the last idle reader takes one another is made, so requests that
//! wait for a filter never keep the next one waiting; when there are as many as can be, the last one only takes interrupts, which let
//! the others go, and puts the rest aside.

use crate::intake::{Aside, Intake};
use crate::protocol::{Answer, Header, Reply, Request, opcode};
use parking_lot::{Mutex, RwLock};
use rustix::event::{self, PollFd, PollFlags, Timespec};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The longest write in one request.
pub(crate) const MAX_WRITE: usize = 1 << 20;
/// Readers that stay when there is nothing to do.
const KEPT: usize = 6;
/// Readers at most, each of which may be waiting in a filter, where nobody says how many. One that waits holds a stack and what
/// its request brought; the host gives fewer threads where it has fewer.
pub(crate) const MOST: usize = 4096;
/// How often a request that cannot be cancelled yet is tried again.
const AGAIN: Duration = Duration::from_millis(10);

/// What one reader is doing.
#[derive(Default)]
pub(crate) struct Reader {
    /// The request's number; 0 is none.
    unique: AtomicU64,
    interrupted: AtomicBool,
    /// The NT thread that it runs as, or ran as last.
    thread: Mutex<Option<Arc<nt_ke::Thread>>>,
}

thread_local! {
    static READER: RefCell<Option<Arc<Reader>>> = const { RefCell::new(None) };
}

/// Notes which NT thread this reader runs as from now on, a request's end included: it has no other request then. Returns the one
/// before, where it was another.
pub(crate) fn runs_as(thread: &Arc<nt_ke::Thread>) -> Option<Arc<nt_ke::Thread>> {
    READER.with_borrow(|reader| {
        let mut noted = reader.as_ref()?.thread.lock();
        if noted.as_ref().is_some_and(|noted| Arc::ptr_eq(noted, thread)) {
            return None;
        }
        noted.replace(Arc::clone(thread))
    })
}

/// Who does what the requests ask.
pub(crate) trait Service: Send + Sync + 'static {
    /// Does what a request asks; `None` for one that wants no answer.
    fn serve(&self, request: &Request) -> Option<Result<Reply, i32>>;
    /// Cancels what a thread waits in; tells whether there was anything.
    fn cancel(&self, thread: &nt_ke::Thread) -> bool;
    /// The mount is over.
    fn end(&self);
}

/// A mount's descriptor and who serves it.
pub(crate) struct Session<S> {
    device: OwnedFd,
    operations: S,
    most: usize,
    readers: RwLock<Vec<Arc<Reader>>>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    idle: AtomicUsize,
    /// Requests that the last reader took while all others waited in theirs: whoever comes free does them.
    deferred: Mutex<VecDeque<Aside>>,
    ended: AtomicBool,
    failed: Mutex<Option<io::Error>>,
}

impl<S: Service> Session<S> {
    /// Answers the kernel's INIT.
    pub(crate) fn new(device: OwnedFd, operations: S, most: usize) -> io::Result<Self> {
        let session = Self {
            device,
            operations,
            most,
            readers: RwLock::default(),
            threads: Mutex::default(),
            idle: AtomicUsize::new(0),
            deferred: Mutex::default(),
            ended: AtomicBool::new(false),
            failed: Mutex::new(None),
        };
        let mut intake = Intake::new()?;
        loop {
            if !session.receive(&mut intake)? {
                return Err(io::Error::other("the kernel left at once"));
            }
            let request = intake.request().ok_or_else(|| io::Error::other("not a request"))?;
            if request.header.opcode != opcode::INIT {
                return Err(io::Error::other("the kernel did not begin with INIT"));
            }
            let (major, minor) = (request.body().word(0), request.body().word(4));
            if major < 7 || (major == 7 && minor < 31) {
                session.answer(&request.header, Err(libc::EPROTO));
                return Err(io::Error::other(format!("the kernel speaks FUSE {major}.{minor}, older than 7.31")));
            }
            session.answer(&request.header, Ok(&init(&request, major)));
            if major == 7 {
                return Ok(session);
            }
        }
    }

    /// Serves requests until the volume is unmounted.
    pub(crate) fn serve(self) -> io::Result<()> {
        let session = Arc::new(self);
        session.spawn()?;
        loop {
            let Some(thread) = session.threads.lock().pop() else { break };
            if thread.join().is_err() {
                session.fail(io::Error::other("a reader panicked"));
            }
        }
        session.operations.end();
        let failed = session.failed.lock().take();
        failed.map_or(Ok(()), Err)
    }

    fn spawn(self: &Arc<Self>) -> io::Result<()> {
        let (session, intake) = (Arc::clone(self), Intake::new()?);
        // It counts as idle from now on, so that one shortage makes one reader.
        self.idle.fetch_add(1, Ordering::SeqCst);
        let spawned = std::thread::Builder::new().name("ntio-fuse".into()).spawn(move || session.read(intake));
        match spawned {
            Ok(thread) => {
                let mut threads = self.threads.lock();
                threads.retain(|thread| !thread.is_finished());
                threads.push(thread);
                Ok(())
            }
            Err(error) => {
                self.idle.fetch_sub(1, Ordering::SeqCst);
                Err(error)
            }
        }
    }

    fn fail(&self, error: io::Error) {
        self.failed.lock().get_or_insert(error);
    }

    /// Reads a request; not at the end of the mount.
    fn receive(&self, intake: &mut Intake) -> io::Result<bool> {
        loop {
            match intake.receive(self.device.as_fd()) {
                Ok(()) => return Ok(true),
                Err(error) => match error.raw_os_error() {
                    // A request that was taken back, a signal.
                    Some(libc::ENOENT | libc::EINTR | libc::EAGAIN) => {}
                    Some(libc::ENODEV) => return Ok(false),
                    _ => return Err(error),
                },
            }
        }
    }

    fn read(self: &Arc<Self>, mut intake: Intake) {
        let reader = Arc::new(Reader::default());
        self.readers.write().push(Arc::clone(&reader));
        READER.set(Some(Arc::clone(&reader)));
        let mut stays_last = false;
        loop {
            // Looked at while this reader counts as idle: then either the last reader sees that, or this one sees the request.
            while !stays_last && self.take_deferred(&mut intake) {
                self.one(&reader, &intake);
                self.idle.fetch_add(1, Ordering::SeqCst);
            }
            if stays_last {
                self.seek_relief();
            }
            let received = self.receive(&mut intake);
            let left = self.idle.fetch_sub(1, Ordering::SeqCst) - 1;
            match received {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.fail(error);
                    break;
                }
            }
            let more = left == 0 && !self.ended.load(Ordering::Relaxed);
            let last = more && (self.is_full() || self.spawn().is_err());
            stays_last = last && !self.as_last(&reader, &mut intake);
            if !last {
                self.one(&reader, &intake);
            }
            self.idle.fetch_add(1, Ordering::SeqCst);
            if left > KEPT && self.goes() {
                self.leave(&reader);
                return;
            }
        }
        self.ended.store(true, Ordering::Relaxed);
        self.leave(&reader);
    }

    fn is_full(&self) -> bool {
        self.readers.read().len() >= self.most
    }

    /// A reader that is idle stops being one, if enough others are and nothing is put aside.
    fn goes(&self) -> bool {
        let spare = |idle: usize| (idle > KEPT).then(|| idle - 1);
        self.deferred.lock().is_empty() && self.idle.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spare).is_ok()
    }

    /// The host had no thread to give when something was put aside: the last reader asks again while no request comes. A new
    /// reader begins with what is there.
    fn seek_relief(self: &Arc<Self>) {
        while !self.is_full() && !self.deferred.lock().is_empty() {
            let soon = Timespec { tv_sec: 0, tv_nsec: i64::from(AGAIN.subsec_nanos()) };
            match event::poll(&mut [PollFd::new(&self.device, PollFlags::IN)], Some(&soon)) {
                Ok(0) => _ = self.spawn(),
                Err(rustix::io::Errno::INTR) => {}
                _ => return,
            }
        }
    }

    /// Takes a deferred request; whoever has one is not idle.
    fn take_deferred(&self, intake: &mut Intake) -> bool {
        let mut deferred = self.deferred.lock();
        let Some(aside) = deferred.pop_front() else { return false };
        self.idle.fetch_sub(1, Ordering::SeqCst);
        drop(deferred);
        self.take_up(intake, aside);
        true
    }

    fn take_up(&self, intake: &mut Intake, aside: Aside) {
        if let Err(error) = intake.take_up(aside) {
            self.fail(error);
        }
    }

    /// The last reader does not wait in anything: interrupts, which let the others go, must find it. Tells whether another one
    /// came free meanwhile, so that this one served the request and is the last no longer.
    fn as_last(&self, reader: &Reader, intake: &mut Intake) -> bool {
        let Some(request) = intake.request() else { return false };
        match request.header.opcode {
            opcode::INTERRUPT => self.interrupt_once(&request, request.body().long(0)),
            opcode::FORGET | opcode::BATCH_FORGET => self.one(reader, intake),
            _ => {
                match intake.put_aside() {
                    Ok(aside) => self.deferred.lock().push_back(aside),
                    Err(error) => self.fail(error),
                }
                if self.idle.load(Ordering::SeqCst) != 0 {
                    let aside = self.deferred.lock().pop_front();
                    if let Some(aside) = aside {
                        self.take_up(intake, aside);
                        self.one(reader, intake);
                        return true;
                    }
                }
            }
        }
        false
    }

    /// As `interrupt`, but comes back at once: the kernel asks again.
    fn interrupt_once(&self, request: &Request, unique: u64) {
        let mut deferred = self.deferred.lock();
        let found = deferred.iter().position(|aside| aside.header().unique == unique);
        if let Some(aside) = found.and_then(|at| deferred.remove(at)) {
            drop(deferred);
            return self.answer(&aside.header(), Err(libc::EINTR));
        }
        drop(deferred);
        let reader = self.readers.read().iter().find(|reader| reader.unique.load(Ordering::SeqCst) == unique).cloned();
        let Some(reader) = reader else { return self.answer(&request.header, Err(libc::EAGAIN)) };
        reader.interrupted.store(true, Ordering::Relaxed);
        let thread = reader.thread.lock().clone();
        if !thread.is_some_and(|thread| self.operations.cancel(&thread)) {
            std::thread::sleep(AGAIN);
            self.answer(&request.header, Err(libc::EAGAIN));
        }
    }

    fn leave(&self, reader: &Arc<Reader>) {
        self.readers.write().retain(|other| !Arc::ptr_eq(other, reader));
        crate::caller::forget_threads();
        READER.set(None);
    }

    fn one(&self, reader: &Reader, intake: &Intake) {
        let Some(request) = intake.request() else { return };
        let header = &request.header;
        if header.opcode == opcode::INTERRUPT {
            return self.interrupt(header, request.body().long(0));
        }
        reader.interrupted.store(false, Ordering::Relaxed);
        reader.unique.store(header.unique, Ordering::SeqCst);
        let result = self.operations.serve(&request);
        reader.unique.store(0, Ordering::SeqCst);
        match result {
            None => {}
            Some(Ok(Reply::Bytes(bytes))) => self.answer(header, Ok(&bytes)),
            Some(Ok(Reply::Room(count))) => {
                let room = request.room.sub(0, count);
                let _gone = room.write_behind(&Answer::head(header, count, 0), self.device.as_fd());
            }
            Some(Err(code)) => {
                let interrupted = reader.interrupted.load(Ordering::Relaxed);
                self.answer(header, Err(if interrupted && code == libc::ECANCELED { libc::EINTR } else { code }));
            }
        }
    }

    /// Cancels what a request waits in. A request that waits in nothing that can be cancelled goes on (NT-X-08) and is tried again:
    /// it may be on its way to where it can.
    fn interrupt(&self, header: &Header, unique: u64) {
        let found = self.readers.read().iter().find(|reader| reader.unique.load(Ordering::SeqCst) == unique).cloned();
        let Some(reader) = found else {
            // Not taken yet, or done: the kernel asks again if it is still there.
            return self.answer(header, Err(libc::EAGAIN));
        };
        while reader.unique.load(Ordering::SeqCst) == unique {
            reader.interrupted.store(true, Ordering::Relaxed);
            let thread = reader.thread.lock().clone();
            if thread.is_some_and(|thread| self.operations.cancel(&thread)) {
                return;
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// Answers; a request that the kernel has taken back has no use for it.
    fn answer(&self, header: &Header, result: Result<&[u8], i32>) {
        let (body, error) = match result {
            Ok(body) => (body, 0),
            Err(code) => (&[][..], -code),
        };
        let head = Answer::head(header, body.len(), error);
        let _gone = rustix::io::writev(&self.device, &[IoSlice::new(&head), IoSlice::new(body)]);
    }
}

/// `struct fuse_init_out`. Not asked for: write-back caching (it merges and delays writes above us), kernel-side locks (POSIX and
/// flock locks stay with the kernel), ATOMIC_O_TRUNC (the kernel then forgets set-user-id), READDIRPLUS, POSIX_ACL, PASSTHROUGH.
fn init(request: &Request, major: u32) -> Vec<u8> {
    const ASYNC_READ: u32 = 1;
    const EXPORT_SUPPORT: u32 = 1 << 4;
    const BIG_WRITES: u32 = 1 << 5;
    /// Pages of a mapping are dropped when an answer tells another time of writing: what native callers, or the host below a
    /// `dir` volume, wrote is then seen.
    const AUTO_INVAL_DATA: u32 = 1 << 12;
    const ASYNC_DIO: u32 = 1 << 15;
    const PARALLEL_DIROPS: u32 = 1 << 18;
    const MAX_PAGES: u32 = 1 << 22;
    const INIT_EXT: u32 = 1 << 30;
    /// Bit 36: a file that is read and written past the page cache can be mapped (Linux 6.6).
    const DIRECT_IO_ALLOW_MMAP: u32 = 1 << 4;
    let body = request.body();
    let offered = body.word(12);
    let wanted = ASYNC_READ | EXPORT_SUPPORT | BIG_WRITES | AUTO_INVAL_DATA | ASYNC_DIO | PARALLEL_DIROPS;
    let flags = offered & (wanted | MAX_PAGES | INIT_EXT);
    let more = if flags & INIT_EXT != 0 { body.word(16) & DIRECT_IO_ALLOW_MMAP } else { 0 };
    let answer = Answer::new().word(7).word(if major == 7 { body.word(4).min(39) } else { 39 });
    // Readahead, flags, requests in the background and where they are held up, the longest write, 100 ns, pages.
    let answer =
        answer.word(body.word(8)).word(flags).half(64).half(48).word(MAX_WRITE as u32).word(100).half(256).half(0);
    answer.word(more).zeroes(28).done()
}
